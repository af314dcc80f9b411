//! PostgreSQL ends, and comes back; or another takes its place.

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Changes, Load, Scene,
    postgres::{Ending, Postgres},
    scene::on_postgres,
    verify,
};

#[test]
fn a_database_that_is_stopped_and_killed_under_load_loses_nothing() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let store = on_postgres(&server.create_database("inbox"));
    let mut scene = Scene::new(
        "stopped_and_killed_under_load",
        Changes {
            store: &store,
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    for ending in [Ending::Immediate, Ending::Killed, Ending::Fast] {
        load.advance(scene.chance.up_to(80));
        server.stop(ending);
        server.start_again();
    }
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

/// Whether the standby still gets what the primary writes when that one ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replication {
    Flows,
    /// Each commit waits for a standby that gets nothing, until nobody waits for it any more: it is done on the primary, and
    /// gone with it.
    Hangs,
    /// The same, and somebody tells the primary to wait no longer: it says that it has committed.
    IsGivenUp,
}

const GIVE_UP: &str =
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

fn fails_over(test: &str, replication: Replication) {
    let Some(mut primary) = Postgres::start(&[]) else {
        return;
    };
    primary.create_database("inbox");
    let standby = primary.synchronous_standby();
    let store = on_postgres(&format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/inbox?sslmode=disable&target_session_attrs=read-write",
        primary.port(),
        standby.port()
    ));
    let mut scene = Scene::new(
        test,
        Changes {
            store: &store,
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    load.advance(40 + scene.chance.up_to(80));
    match replication {
        Replication::Flows => {
            primary.stop(scene.chance.one_of(&[Ending::Fast, Ending::Immediate]));
        }
        Replication::Hangs | Replication::IsGivenUp => {
            let replicates = "SELECT pid FROM pg_stat_wal_receiver";
            let pid = standby.psql("postgres", replicates).trim().parse();
            let pid = Pid::from_raw(pid.unwrap()).unwrap();
            kill_process(pid, Signal::STOP).unwrap();
            // What was on its way may still be acknowledged; then nothing is.
            load.answered("503", 4);
            let acknowledged = load.acknowledged();
            if replication == Replication::IsGivenUp {
                let enough = load.answers("503") + 40;
                while load.answers("503") < enough && load.acknowledged() == acknowledged {
                    primary.psql("postgres", GIVE_UP);
                }
            }
            load.answered("503", 8);
            assert_eq!(load.acknowledged(), acknowledged);
            primary.stop(Ending::Immediate);
            kill_process(pid, Signal::CONT).unwrap();
        }
    }
    // Nobody can write until somebody says which one is to be the primary.
    load.answered("503", 1);
    standby.promote();
    load.advance(60);
    verify(&scene.receiver, &load.finish());
    let kept = standby.psql("inbox", "SELECT count(*) > 0 FROM countersign.events");
    assert_eq!(kept.trim(), "t");
}

#[test]
fn when_a_synchronous_standby_takes_over_nothing_is_lost() {
    fails_over("a_synchronous_standby_takes_over", Replication::Flows);
}

#[test]
fn a_commit_that_no_standby_has_is_no_success() {
    fails_over("a_commit_that_no_standby_has", Replication::Hangs);
}

#[test]
fn nor_is_one_for_which_somebody_told_the_primary_to_wait_no_longer() {
    fails_over("nor_is_one_for_which_somebody", Replication::IsGivenUp);
}
