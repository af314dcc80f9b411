//! A store that moves: to PostgreSQL and back, cut off on the way, and copied while deliveries come.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Receiver, eventually,
    peers::{self, Output},
    postgres,
    receiver::binary,
};

/// Deliveries of every kind: payments, the same again, another body, and what cannot be read.
fn deliver(receiver: &Receiver, first: u32, count: u32) {
    let mut producer = receiver.producer();
    for number in first..first + count {
        let payment = number % 7;
        let body = format!(
            r#"{{"id":"evt_{number}","type":"payment.succeeded","created":{},"data":{{"payment_id":"pay_{payment}","amount":{number},"currency":"EUR","status":"succeeded"}}}}"#,
            1_790_000_000 - number * 13 % 50
        );
        assert_eq!(producer.deliver(&body).status, 204);
        if number.is_multiple_of(5) {
            assert_eq!(producer.deliver(&body).status, 204);
            let other = body.replace("EUR", "USD");
            assert_eq!(producer.deliver(&other).status, 204);
            assert_eq!(producer.deliver(&format!("no JSON {number}")).status, 400);
        }
    }
}

/// A configuration beside the receiver's, with another store.
fn configuration(receiver: &Receiver, name: &str, url: &str) {
    let text = fs::read_to_string(receiver.directory().join("countersign.toml")).unwrap();
    let text = text.replace("sqlite:data/countersign.db", url);
    receiver.write(name, &text);
}

/// What the lists show, by this configuration.
fn lists(receiver: &Receiver, file: &str) -> String {
    let mut lists = String::new();
    for kind in ["events", "payments", "refusals"] {
        let listed =
            receiver.countersign(&["--config", file, kind, "list", "--limit", "0", "--json"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        lists.push_str(&listed.stdout);
    }
    lists
}

fn rows(export: &str) -> &str {
    export.split_once('\n').unwrap().1
}

#[track_caller]
fn fails(output: &Output, code: i32, what: &str) {
    assert_eq!(output.code, Some(code), "{output:?}");
    assert!(output.stderr.contains(what), "{output:?}");
}

#[test]
fn a_store_moves_to_postgresql_and_back() {
    let mut receiver = Receiver::start();
    deliver(&receiver, 0, 40);
    receiver.stop();
    let before = lists(&receiver, "countersign.toml");

    let exported = receiver.countersign(&["export", "--out", "data/all.jsonl"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let file = receiver.directory().join("data/all.jsonl");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let export = fs::read_to_string(&file).unwrap();
    for line in export.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap()
                .is_object()
        );
    }
    let again = receiver.countersign(&["export", "--out", "data/all.jsonl"]);
    fails(&again, 2, "already exists");

    // Cut off, as by a lost connection, and gone on with.
    receiver.write("data/part.jsonl.part", &export[..export.len() * 2 / 3]);
    let left = receiver.countersign(&["export", "--out", "data/part.jsonl"]);
    fails(&left, 2, "--resume");
    let resumed = receiver.countersign(&["export", "--out", "data/part.jsonl", "--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let whole = fs::read_to_string(receiver.directory().join("data/part.jsonl")).unwrap();
    assert!(whole == export);
    assert!(!receiver.directory().join("data/part.jsonl.part").exists());

    let Some(url) = postgres::fresh_database() else {
        return;
    };
    configuration(&receiver, "postgres.toml", &url);
    let there = ["--config", "postgres.toml"];
    let empty = receiver.countersign(&[&there[..], &["events", "list"]].concat());
    fails(&empty, 1, "there is no store yet");
    fails(&empty, 1, "countersign migrate");
    let checked = receiver.countersign(&[&there[..], &["check"]].concat());
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let import = [&there[..], &["import", "data/all.jsonl"]].concat();
    let imported = receiver.countersign(&import);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(
        imported
            .stdout
            .contains("every row of the export was read back"),
        "{imported:?}"
    );
    assert_eq!(lists(&receiver, "postgres.toml"), before);
    let verified = receiver.countersign(&[&import[..], &["--verify-only", "--json"]].concat());
    let told = &verified.json_lines()[0];
    assert_eq!(told["equal"], true);
    assert_eq!(
        told["rows"]["events"]["there"],
        told["rows"]["events"]["read"]
    );
    let moved = receiver.countersign(&[&there[..], &["export"]].concat());
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert!(rows(&moved.stdout) == rows(&export));

    // And back, through a pipe, where a receiver goes on with it.
    configuration(&receiver, "back.toml", "sqlite:data/back.db");
    let back =
        receiver.countersign_reading(&["--config", "back.toml", "import", "-"], &moved.stdout);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(lists(&receiver, "back.toml"), before);
    let text = fs::read_to_string(receiver.directory().join("back.toml")).unwrap();
    receiver.write("countersign.toml", &text);
    receiver.restart();
    deliver(&receiver, 0, 40);
    let events = |file| -> Vec<(String, u64)> {
        let listed =
            receiver.countersign(&["--config", file, "events", "list", "--limit", "0", "--json"]);
        let events = listed.json_lines();
        events
            .iter()
            .map(|e| (e["event_id"].to_string(), e["duplicates"].as_u64().unwrap()))
            .collect()
    };
    let (before, after) = (events("postgres.toml"), events("countersign.toml"));
    assert_eq!(before.len(), after.len());
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before.0 == after.0 && before.1 < after.1)
    );
}

/// An export at work, by this configuration.
fn exporting(receiver: &Receiver, file: &str) -> Child {
    at_work(receiver, file, &["export", "--out", "all.jsonl"])
}

/// A command at work, by this configuration.
fn at_work(receiver: &Receiver, file: &str, command: &[&str]) -> Child {
    binary(&[])
        .args(["--config", file])
        .args(command)
        .current_dir(receiver.directory())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupt_ends_an_export_and_tells_how_to_go_on_with_it() {
    let mut receiver = Receiver::start();
    let mut producer = receiver.producer();
    let long = "x".repeat(900_000);
    for number in 0..8 {
        let body = format!(r#"{{"id":"evt_{number}","note":"{long}"}}"#);
        assert_eq!(producer.deliver(&body).status, 204);
    }
    receiver.stop();
    let child = exporting(&receiver, "countersign.toml");
    let pid = Pid::from_child(&child);
    let part = receiver.directory().join("all.jsonl.part");
    eventually(Duration::from_secs(20), || {
        (fs::metadata(&part).ok()?.len() > 0).then_some(())
    });
    // It is not done before it hears of it.
    for signal in [Signal::STOP, Signal::INT, Signal::CONT] {
        kill_process(pid, signal).unwrap();
    }
    let interrupted = peers::finished(child);
    fails(&interrupted, 1, "all.jsonl.part: interrupted");
    fails(&interrupted, 1, "--resume");
    let before = fs::metadata(&part).unwrap().len();
    let resumed = receiver.countersign(&["export", "--out", "all.jsonl", "--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let whole = receiver.directory().join("all.jsonl");
    assert!(before < fs::metadata(&whole).unwrap().len());
    let all = receiver.countersign(&["export"]).stdout;
    assert!(rows(&fs::read_to_string(whole).unwrap()) == rows(&all));
}

#[test]
fn an_interrupt_ends_an_export_that_its_store_keeps_waiting_and_leaves_nothing() {
    let receiver = Receiver::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = silent.local_addr().unwrap();
    let url = format!("postgres://nobody@{database}/none?sslmode=disable");
    configuration(&receiver, "silent.toml", &url);
    let child = exporting(&receiver, "silent.toml");
    let _asked = silent.accept().unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let interrupted = peers::finished(child);
    fails(&interrupted, 1, "interrupted before anything was written");
    assert!(!receiver.directory().join("all.jsonl.part").exists());
}

#[test]
fn an_interrupt_ends_an_import_and_a_replay_and_tells_what_became_of_the_store() {
    let receiver = Receiver::start();
    deliver(&receiver, 0, 2);
    let exported = receiver.countersign(&["export", "--out", "all.jsonl"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    for (command, told) in [
        (
            &["import", "all.jsonl"][..],
            "all.jsonl: interrupted; what was written so far stays; import the same again",
        ),
        (
            &["import", "--verify-only", "all.jsonl"],
            "all.jsonl: interrupted; nothing was written",
        ),
        (
            &["events", "replay", "--since", "1h"],
            "interrupted; the ledger is changed at once or not at all",
        ),
        (
            &["events", "replay", "--since", "1h", "--dry-run"],
            "interrupted; nothing was changed",
        ),
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let database = silent.local_addr().unwrap();
        let url = format!("postgres://nobody@{database}/none?sslmode=disable");
        configuration(&receiver, "silent.toml", &url);
        let child = at_work(&receiver, "silent.toml", command);
        let _asked = silent.accept().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        fails(&peers::finished(child), 1, told);
    }
}

#[test]
fn an_export_that_was_altered_or_cut_off_changes_nothing() {
    let receiver = Receiver::start();
    deliver(&receiver, 0, 6);
    let export = receiver.countersign(&["export"]).stdout;
    configuration(&receiver, "other.toml", "sqlite:data/other.db");
    let import = |name: &str, text: &str| {
        receiver.write(name, text);
        receiver.countersign(&["--config", "other.toml", "import", name])
    };
    let altered = export.replacen("\"amount_minor\":3", "\"amount_minor\":4", 1);
    assert_ne!(altered, export);
    fails(
        &import("altered.jsonl", &altered),
        1,
        "altered.jsonl: line ",
    );
    fails(
        &import("cut.jsonl", &export[..export.len() - 1]),
        1,
        "it was cut off",
    );
    fails(
        &import("diary.jsonl", "dear diary\n"),
        2,
        "this is no export",
    );
    let newer = export.replacen("\"version\":1", "\"version\":9", 1);
    fails(
        &import("newer.jsonl", &newer),
        2,
        "use the newer version that wrote it",
    );
    fails(&import("nothing.jsonl", ""), 1, "it was cut off");
    fails(
        &receiver.countersign(&["--config", "other.toml", "import", "none.jsonl"]),
        1,
        "none.jsonl",
    );
    assert!(!receiver.directory().join("data/other.db").exists());

    let whole = import("whole.jsonl", &export);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(r#"{"id":"evt_plain"}"#).status, 204);
    let later = receiver.countersign(&["export"]).stdout;
    receiver.write("later.jsonl", &later);
    let compare = [
        "--config",
        "other.toml",
        "import",
        "--verify-only",
        "--json",
        "later.jsonl",
    ];
    let compared = receiver.countersign(&compare);
    assert_eq!(compared.code, Some(1), "{compared:?}");
    let told: serde_json::Value = serde_json::from_str(&compared.stdout).unwrap();
    let events = &told["rows"]["events"];
    assert_eq!(
        (&told["equal"], &events["missing"]),
        (&false.into(), &1.into())
    );
    assert_eq!(
        events["there"].as_u64(),
        events["read"].as_u64().map(|read| read - 1)
    );
}

#[test]
fn an_export_that_stops_half_way_says_how_to_go_on_and_does() {
    let mut receiver = Receiver::start();
    deliver(&receiver, 0, 20);
    receiver.stop();
    let whole = receiver.countersign(&["export"]).stdout;
    let alter = |sql: &str| {
        let store = receiver.directory().join("data/countersign.db");
        let store = rusqlite::Connection::open(store).unwrap();
        store.execute_batch(sql).unwrap();
    };
    alter("ALTER TABLE refusals RENAME TO elsewhere");
    let stopped = receiver.countersign(&["export", "--out", "all.jsonl"]);
    fails(&stopped, 1, "all.jsonl.part: the export ends here");
    fails(&stopped, 1, "go on with --resume");
    alter("ALTER TABLE elsewhere RENAME TO refusals");
    let resumed = receiver.countersign(&["export", "--out", "all.jsonl", "--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let made = fs::read_to_string(receiver.directory().join("all.jsonl")).unwrap();
    assert_eq!(rows(&made), rows(&whole));
}

#[test]
fn what_an_import_that_met_a_difference_has_written_is_told() {
    let receiver = Receiver::start();
    deliver(&receiver, 0, 6);
    let exported = receiver.countersign(&["export", "--out", "all.jsonl"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    configuration(&receiver, "other.toml", "sqlite:data/other.db");
    let other = ["--config", "other.toml", "import"];
    let from_file = || receiver.countersign(&[&other[..], &["all.jsonl"]].concat());
    assert_eq!(from_file().code, Some(0));
    // Another state of a payment, and a secret that was not seen as late: such a time is joined.
    rusqlite::Connection::open(receiver.directory().join("data/other.db"))
        .unwrap()
        .execute_batch(
            "UPDATE payments SET changed_at = changed_at + 1 WHERE payment = (SELECT max(payment) FROM payments);
             UPDATE secrets SET last_used = last_used - 1",
        )
        .unwrap();
    let refused = from_file();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stdout
            .contains("not in the store: 1; nothing was written\n"),
        "{refused:?}"
    );
    let export = fs::read_to_string(receiver.directory().join("all.jsonl")).unwrap();
    let stopped = receiver.countersign_reading(&[&other[..], &["-"]].concat(), &export);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    for told in [
        "written before the first difference was met: 1,",
        "put a backup of the store in its place",
        "import from a file",
    ] {
        assert!(stopped.stdout.contains(told), "{stopped:?}");
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_by_every_command() {
    let receiver = Receiver::start();
    deliver(&receiver, 0, 2);
    let export = receiver.countersign(&["export", "--out", "all.jsonl"]);
    assert_eq!(export.code, Some(0), "{export:?}");
    let copied = receiver.countersign(&["backup", "--out", "data/newer.db"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    rusqlite::Connection::open(receiver.directory().join("data/newer.db"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    configuration(&receiver, "newer.toml", "sqlite:data/newer.db");
    let mut stores = vec!["newer.toml"];
    let server = postgres::Postgres::start(&[]);
    if let Some(server) = &server {
        configuration(&receiver, "postgres.toml", &server.create_database("newer"));
        let migrated = receiver.countersign(&["--config", "postgres.toml", "migrate"]);
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let newer = "INSERT INTO countersign.migrations VALUES (99, '0099_later.sql', 99, now())";
        server.psql("newer", newer);
        stores.push("postgres.toml");
    }
    for store in stores {
        for command in [
            &["serve"][..],
            &["migrate"],
            &["events", "list"],
            &["payments", "show", "pay_1"],
            &["refusals", "list"],
            &["prune", "--dry-run"],
            &["prune"],
            &["export"],
            &["export", "--out", "never.jsonl"],
            &["import", "all.jsonl"],
            &["import", "--verify-only", "all.jsonl"],
        ] {
            let refused = receiver.countersign(&[&["--config", store], command].concat());
            fails(
                &refused,
                2,
                "has schema 99, and this countersign knows schemas up to",
            );
            fails(&refused, 2, "use the newer version that wrote it");
        }
        let checked = receiver.countersign(&["--config", store, "check"]);
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(
            checked.stdout.contains("use the newer version"),
            "{checked:?}"
        );
    }
    let copied = receiver.countersign(&["--config", "newer.toml", "backup", "--out", "copy.db"]);
    fails(&copied, 2, "use the newer version that wrote it");
    for left in ["never.jsonl", "never.jsonl.part", "copy.db", "copy.db.part"] {
        assert!(!receiver.directory().join(left).exists(), "{left}");
    }
}

#[test]
fn a_copy_is_made_while_deliveries_come() {
    let receiver = Receiver::start();
    deliver(&receiver, 0, 10);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut next = 100;
            while !stop.load(Ordering::Relaxed) {
                deliver(&receiver, next, 1);
                next += 1;
            }
        });
        let copied = receiver.countersign(&["backup", "--out", "data/copy.db"]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(copied.code, Some(0), "{copied:?}");
        sender.join().unwrap();
    });
    let taken = receiver.countersign(&["backup", "--out", "data/copy.db"]);
    fails(&taken, 2, "already exists");
    configuration(&receiver, "copy.toml", "sqlite:data/copy.db");
    // Whatever moment it is of, it is whole: the export checks each payment and each body.
    let export = receiver.countersign(&["--config", "copy.toml", "export", "--out", "copy.jsonl"]);
    assert_eq!(export.code, Some(0), "{export:?}");
    assert!(lists(&receiver, "copy.toml").contains("\"evt_9\""));

    configuration(
        &receiver,
        "postgres.toml",
        "postgres://nobody@127.0.0.1:9/none",
    );
    let own = receiver.countersign(&["--config", "postgres.toml", "backup", "--out", "copy"]);
    fails(&own, 2, "pg_dump");
}
