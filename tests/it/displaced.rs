//! A store's file, or its log, is taken away under the real binary, which then is stopped, or killed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Receiver, event, eventually,
    postgres::{Ending, Postgres},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn file(receiver: &Receiver) -> PathBuf {
    receiver.directory().join("data/countersign.db")
}

fn log_of(file: &Path) -> PathBuf {
    format!("{}-wal", file.display()).into()
}

fn deliver(receiver: &Receiver, name: &str, number: usize) {
    let mut producer = receiver.producer();
    for number in 0..number {
        let answer = producer.deliver(&event(&format!("evt_{name}_{number}")));
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

#[track_caller]
fn not_ready(receiver: &Receiver, why: &str) -> serde_json::Value {
    eventually(PATIENCE, || {
        let answer = receiver.admin("/readyz");
        let readiness: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let told = answer.status == 503 && readiness["store"].as_str()?.contains(why);
        told.then_some(readiness)
    })
}

#[track_caller]
fn ready(receiver: &Receiver) {
    eventually(PATIENCE, || {
        (receiver.admin("/readyz").status == 200).then_some(())
    });
}

fn kept(receiver: &Receiver) -> usize {
    let listed = receiver.countersign(&["events", "list", "--json", "--limit", "0"]);
    listed.stdout.lines().count()
}

#[test]
fn a_receiver_that_is_killed_after_its_log_was_taken_away_loses_nothing() {
    let mut receiver = Receiver::start();
    ready(&receiver);
    deliver(&receiver, "first", 40);
    // Nothing comes after it.
    fs::remove_file(log_of(&file(&receiver))).unwrap();
    not_ready(&receiver, "all that was acknowledged is in the file");
    receiver.kill();
    receiver.restart();
    ready(&receiver);
    assert_eq!(kept(&receiver), 40);
    deliver(&receiver, "second", 40);
    fs::write(file(&receiver).with_file_name("another"), "another").unwrap();
    fs::rename(
        file(&receiver).with_file_name("another"),
        log_of(&file(&receiver)),
    )
    .unwrap();
    let refused = receiver.producer().deliver(&event("evt_refused"));
    assert_eq!(refused.status, 503, "{refused:?}");
    not_ready(&receiver, "all that was acknowledged is in the file");
    receiver.stop();
    receiver.restart();
    ready(&receiver);
    deliver(&receiver, "third", 1);
    assert_eq!(kept(&receiver), 81);
}

#[test]
fn a_receiver_that_is_stopped_while_its_file_is_on_another_disk_loses_nothing() {
    let mut receiver = Receiver::start();
    ready(&receiver);
    deliver(&receiver, "first", 40);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db");
    // As a move to another disk does it.
    fs::copy(file(&receiver), &copy).unwrap();
    fs::remove_file(file(&receiver)).unwrap();
    not_ready(&receiver, "removed or replaced");
    receiver.stop();
    let refused = receiver.countersign(&["serve"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("begin anew"), "{refused:?}");
    fs::copy(&copy, file(&receiver)).unwrap();
    receiver.restart();
    ready(&receiver);
    assert_eq!(kept(&receiver), 40);
}

#[test]
fn a_receiver_that_is_killed_after_its_spools_log_was_taken_away_loses_nothing() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let mut receiver = Receiver::start();
    let settings = receiver.directory().join("countersign.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let (before, rest) = text.split_once("[store]").unwrap();
    let (_, after) = rest.split_once("[[tenants]]").unwrap();
    let url = server.create_database("inbox");
    let store = format!("[store]\nurl = \"{url}\"\n[store.spool]\n\n");
    fs::write(settings, format!("{before}{store}[[tenants]]{after}")).unwrap();
    receiver.restart();
    ready(&receiver);
    server.stop(Ending::Fast);
    deliver(&receiver, "first", 40);
    let spool = receiver.directory().join("data/spool.db");
    fs::remove_file(log_of(&spool)).unwrap();
    not_ready(&receiver, "all that was acknowledged is in the file");
    receiver.kill();
    receiver.restart();
    deliver(&receiver, "second", 1);
    server.start_again();
    let count = "SELECT count(*) FROM countersign.events";
    eventually(PATIENCE, || {
        (server.psql("inbox", count).trim() == "41").then_some(())
    });
}
