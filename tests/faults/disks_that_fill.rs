//! SQLite's file and its log, on a disk that is full, and where they may not grow.

use std::{fs, time::Duration};

use rusqlite::Connection;

use crate::{
    Changes, Limit, Load, Scene, SmallDisk, eventually,
    postgres::{Ending, Postgres},
    scene::on_postgres,
    verify,
};

const PATIENCE: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;
/// The bodies of these tests fill something.
const LONGER_BY: usize = 20_000;

#[test]
fn a_full_disk_is_told_to_the_sender_and_passes_once_there_is_room() {
    let Some(disk) = SmallDisk::of(48 * MIB) else {
        return;
    };
    disk.fill(46 * 1024);
    let store = format!("url = \"sqlite:{}/countersign.db\"", disk.path().display());
    let mut scene = Scene::new(
        "a_full_disk",
        Changes {
            store: &store,
            run_by: disk.run_by(),
            ..Changes::default()
        },
    );
    let load = Load::of_bodies(&scene, LONGER_BY);
    for killed in [false, true] {
        load.answered("503 store-unavailable", 12);
        assert!(load.acknowledged() > 0);
        if killed {
            // What it had begun to write when there was no room is no part of what it finds; and it starts without any.
            scene.receiver.kill();
            scene.receiver.restart();
            load.answered("503 store-unavailable", 4);
        }
        disk.make_room();
        load.advance(20);
        // As much as is left.
        disk.fill(48 * 1024);
    }
    load.answered("503 store-unavailable", 4);
    let checked = scene.receiver.countersign(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let told = format!("{}/countersign.db: its disk is full", disk.path().display());
    assert!(checked.stdout.contains(&told), "{checked:?}");
    assert!(
        scene.receiver.log().contains(&told),
        "{}",
        scene.receiver.log()
    );
    disk.make_room();
    load.advance(4);
    verify(&scene.receiver, &load.finish());
}

/// What the log holds takes its room once more in the file: a log that had filled the disk could never be moved.
#[test]
fn a_small_disk_is_filled_by_the_file_and_not_by_its_log() {
    let Some(disk) = SmallDisk::of(12 * MIB) else {
        return;
    };
    disk.fill(3 * 1024);
    let store = format!("url = \"sqlite:{}/countersign.db\"", disk.path().display());
    let mut scene = Scene::new(
        "a_small_disk",
        Changes {
            store: &store,
            run_by: disk.run_by(),
            ..Changes::default()
        },
    );
    let load = Load::of_bodies(&scene, LONGER_BY);
    load.answered("503 store-unavailable", 12);
    let (file, log) = (
        disk.bytes_of("countersign.db"),
        disk.bytes_of("countersign.db-wal"),
    );
    assert!(file > 6 * MIB, "{file} beside {log}");
    scene.receiver.kill();
    scene.receiver.restart();
    disk.make_room();
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

#[test]
fn a_log_that_can_not_grow_is_told_to_the_sender_and_passes_once_it_can() {
    let scene = Scene::new(
        "a_log_that_can_not_grow",
        Changes {
            run_by: Limit::of(MIB),
            ..Changes::default()
        },
    );
    let load = Load::of_bodies(&scene, LONGER_BY);
    load.answered("503 store-unavailable", 20);
    assert!(load.acknowledged() > 0);
    let log = scene.receiver.directory().join("data/countersign.db-wal");
    assert!(fs::metadata(log).unwrap().len() <= MIB);
    Limit::lift(scene.receiver.pid());
    load.advance(60);
    verify(&scene.receiver, &load.finish());
}

/// What is in the log can't be moved into the file then: deliveries go on, and nothing is gone.
#[test]
fn a_file_that_can_not_grow_loses_nothing_and_takes_all_once_it_can() {
    let ballast = 24 * MIB;
    let mut scene = Scene::new(
        "a_file_that_can_not_grow",
        Changes {
            run_by: Limit::of(ballast + 2 * MIB),
            ..Changes::default()
        },
    );
    scene.receiver.stop();
    let file = scene.receiver.directory().join("data/countersign.db");
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE ballast AS SELECT zeroblob({ballast}); PRAGMA wal_checkpoint(TRUNCATE)"
        ))
        .unwrap();
    drop(connection);
    let before = fs::metadata(&file).unwrap().len();
    assert!(before > ballast && before < ballast + 2 * MIB);
    scene.receiver.restart();
    let load = Load::of_bodies(&scene, 2 * LONGER_BY);
    eventually(PATIENCE, || {
        scene
            .receiver
            .log()
            .contains("could not be moved into its file")
            .then_some(())
    });
    load.advance(20);
    assert_eq!(load.answers("503"), 0);
    assert!(fs::metadata(&file).unwrap().len() <= ballast + 2 * MIB);
    // It may be killed like this as well: the log is all that there is.
    scene.receiver.kill();
    scene.receiver.restart();
    load.advance(20);
    Limit::lift(scene.receiver.pid());
    let taken = || fs::metadata(&file).unwrap().len() > ballast + 4 * MIB;
    eventually(PATIENCE, || taken().then_some(()));
    verify(&scene.receiver, &load.finish());
}

/// To take something out of a file, SQLite needs room as well.
#[test]
fn a_spool_that_has_filled_its_disk_is_emptied_though_nobody_makes_room() {
    let (Some(mut server), Some(disk)) = (Postgres::start(&[]), SmallDisk::of(24 * MIB)) else {
        return;
    };
    let store = format!(
        "{}[store.spool]\npath = \"{}/spool.db\"\n",
        on_postgres(&server.create_database("inbox")),
        disk.path().display()
    );
    let mut scene = Scene::new(
        "a_spool_that_has_filled_its_disk",
        Changes {
            store: &store,
            run_by: disk.run_by(),
            ..Changes::default()
        },
    );
    let load = Load::of_bodies(&scene, LONGER_BY);
    for killed in [false, true] {
        server.stop(Ending::Fast);
        load.answered("503 store-unavailable", 12);
        if killed {
            scene.receiver.kill();
            scene.receiver.restart();
            load.answered("503 store-unavailable", 4);
        }
        server.start_again();
        load.advance(20);
        eventually(PATIENCE, || {
            let told = scene.receiver.admin("/readyz").body;
            told.contains("\"waiting\":0").then_some(())
        });
    }
    verify(&scene.receiver, &load.finish());
}

/// What the first attempt to empty it was given, deliveries must not take: the database refuses again, and is back for good only then.
#[test]
fn a_spool_that_was_emptied_a_little_and_filled_again_is_emptied_though_nobody_makes_room() {
    let (Some(server), Some(disk)) = (Postgres::start(&[]), SmallDisk::of(24 * MIB)) else {
        return;
    };
    let store = format!(
        "{}[store.spool]\npath = \"{}/spool.db\"\n",
        on_postgres(&server.create_database("inbox")),
        disk.path().display()
    );
    let scene = Scene::new(
        "a_spool_that_was_emptied_a_little",
        Changes {
            store: &store,
            run_by: disk.run_by(),
            ..Changes::default()
        },
    );
    let takes = |events: usize| {
        let refuses = format!(
            "CREATE OR REPLACE FUNCTION countersign.refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT count(*) FROM countersign.events) >= {events} THEN
                     RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100';
                 END IF;
                 RETURN NEW; END $$;
             CREATE OR REPLACE TRIGGER refuses BEFORE INSERT ON countersign.events
                 FOR EACH ROW EXECUTE FUNCTION countersign.refuses()"
        );
        server.psql("inbox", &refuses);
    };
    takes(0);
    let load = Load::of_bodies(&scene, LONGER_BY);
    load.answered("503 store-unavailable", 12);
    let mut events = 0;
    eventually(PATIENCE, || {
        events += 20;
        takes(events);
        scene
            .receiver
            .log()
            .contains("is used to empty it")
            .then_some(())
    });
    load.answered("503 store-unavailable", 24);
    server.psql("inbox", "DROP TRIGGER refuses ON countersign.events");
    load.advance(20);
    eventually(PATIENCE, || {
        let told = scene.receiver.admin("/readyz").body;
        told.contains("\"waiting\":0").then_some(())
    });
    verify(&scene.receiver, &load.finish());
}
