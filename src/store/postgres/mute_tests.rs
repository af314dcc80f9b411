//! A database that holds a session up: by a lock of somebody else's, or by no answer at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::address::{Access, Target};
use super::session::{Purpose, Session};
use super::tests::server::Postgres;
use crate::inbox::{Inbox, InboxFailure, Limits, Receipt};
use crate::store::fixtures::{accept, event, received};
use crate::store::views::Filter;
use crate::store::{ReadFailure, Store, Url};

const PARTITIONS: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'countersign.bodies'::regclass";
/// All partitions but the default one.
const ALL_GONE: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'countersign.bodies'::regclass
        AND inhrelid <> 'countersign.bodies_default'::regclass
    LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$";
/// In the place of what makes partitions: the statement is sent, and no answer comes.
pub(super) const MUTE: &str = "CREATE OR REPLACE FUNCTION countersign.make_partitions_2(days int) RETURNS int LANGUAGE plpgsql
    SET statement_timeout = 0 AS 'BEGIN
        LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END'";
const TALKING: &str =
    "CREATE OR REPLACE FUNCTION countersign.make_partitions_2(days int) RETURNS int LANGUAGE sql
    SET statement_timeout FROM CURRENT AS 'SELECT 0'";

pub(super) fn address(server: &Postgres, name: &str) -> Url {
    let access = Access {
        connect_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(1),
        patience: Duration::from_millis(100),
        ..Access::default()
    };
    let url: Url = server.create_database(name).parse().unwrap();
    url.with_access(access)
}

pub(super) fn target(url: &Url) -> Target {
    let Url::Postgres(address) = url else {
        panic!("no PostgreSQL");
    };
    Target::load(address).unwrap()
}

async fn open(url: &Url) -> Store {
    Store::open(url, Limits::default()).await.unwrap()
}

#[tokio::test]
async fn missing_partitions_are_left_to_another_time_while_a_reader_is_at_work() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let store = open(&url).await;
    let target = target(&url);
    server.psql("inbox", ALL_GONE);
    let reader = Session::open(&target, Purpose::Read).await.unwrap();
    let reading = "BEGIN; SELECT count(*) FROM countersign.bodies";
    reader.client.batch_execute(reading).await.unwrap();
    let began = Instant::now();
    let made = server.psql("inbox", "SELECT countersign.make_partitions_2(7)");
    assert_eq!(made.trim(), "0");
    // The lock was asked for once, not once for each of eight days, and for 50 ms.
    assert!(began.elapsed() < Duration::from_secs(2), "{began:?}");
    Session::open(&target, Purpose::Write).await.unwrap();
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "1");
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    reader.client.batch_execute("COMMIT").await.unwrap();
    // Who lets go what has had its time makes nothing.
    Session::open(&target, Purpose::Change).await.unwrap();
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "1");
    Session::open(&target, Purpose::Write).await.unwrap();
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "9");
}

#[tokio::test]
async fn partitions_that_somebody_dropped_are_made_again_and_no_delivery_is_refused_for_them() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    // Another writer would make them when it opens its session.
    let alone = Access {
        writers: 1,
        ..Access::default()
    };
    let store = open(&address(&server, "inbox").with_access(alone)).await;
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    server.psql("inbox", ALL_GONE);
    server.psql("inbox", "DROP TABLE countersign.bodies_default");
    let now = received(event("evt_2"), Timestamp::now().as_second());
    assert_eq!(accept(&store, now).await, Receipt::Accepted);
}

#[tokio::test]
async fn an_older_receiver_makes_partitions_beside_a_newer_one() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let _store = open(&url).await;
    server.psql("inbox", ALL_GONE);
    let made = |call: &str| server.psql("inbox", &format!("SELECT countersign.{call}"));
    assert_eq!(made("make_partitions_2(2)").trim(), "3");
    assert_eq!(made("make_partitions_1(7)").trim(), "5");
    assert_eq!(made("make_partitions_2(7)").trim(), "0");
}

#[tokio::test]
async fn a_session_that_gets_no_answer_is_given_up_and_holds_up_no_close() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    open(&url).await.close().await;
    server.psql("inbox", MUTE);
    let store = open(&url).await;
    for _ in 0..2 {
        let failure = store.accept(vec![event("evt_1")]).await.unwrap_err();
        let away = matches!(failure, InboxFailure::Unavailable { .. });
        assert!(away, "{failure:?}");
    }
    store.close().await;
    let store = open(&url).await;
    server.psql("inbox", TALKING);
    while let Err(failure) = store.accept(vec![event("evt_1")]).await {
        let away = matches!(failure, InboxFailure::Unavailable { .. });
        assert!(away, "{failure:?}");
    }
    store.close().await;
}

/// Waits until so many of our statements wait for a lock.
pub(super) async fn waiting(server: &Postgres, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while server.psql("inbox", blocked).trim() != expected {
        assert!(Instant::now() < deadline, "not {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_nobody_waits_for_is_stopped_in_the_server() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let hurried = Arc::new(open(&url).await);
    let patient = Arc::new(open(&server.url("inbox").parse().unwrap()).await);
    let holder = Session::open(&target(&url), Purpose::Read).await.unwrap();
    let hold = "BEGIN; LOCK TABLE countersign.events IN ACCESS EXCLUSIVE MODE";
    holder.client.batch_execute(hold).await.unwrap();
    let read = |store: &Arc<Store>| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.views().events(Filter::default()).await })
    };
    let failure = read(&hurried).await.unwrap().unwrap_err();
    let late = matches!(failure, ReadFailure::TookTooLong { .. });
    let mend = failure.mend().unwrap_or_default();
    assert!(mend.contains("pg_blocking_pids"), "{mend}");
    assert!(late, "{failure:?}");
    waiting(&server, "0").await;
    // As when a client hangs up.
    let reading = read(&patient);
    waiting(&server, "1").await;
    reading.abort();
    assert!(reading.await.unwrap_err().is_cancelled());
    waiting(&server, "0").await;
    holder.client.batch_execute("COMMIT").await.unwrap();
    read(&patient).await.unwrap().unwrap();
}
