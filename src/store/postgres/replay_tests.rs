//! A replay beside deliveries, and after a move from the embedded store.

use jiff::Timestamp;

use super::mute_tests::{target, waiting};
use super::session::{Purpose, Session};
use super::tests::server::Postgres;
use crate::inbox::{Event, Inbox, Limits, Receipt};
use crate::payments::Status;
use crate::signature::builtin;
use crate::store::fixtures::{Place, accept, payment_event, received, with_body};
use crate::store::replay::asked::{Mappings, Replay, ReplayMode};
use crate::store::replay::outcome::{ReplayFailure, Replayed};
use crate::store::{Export, ImportMode, Store, Url, import};

/// An event that a mapping reads again as it was read when it came.
fn told(id: &str, status: Status) -> Event {
    told_of("pay_1", id, status)
}

fn told_of(payment: &str, id: &str, status: Status) -> Event {
    let event = payment_event(id, payment, status.as_str(), 1_790_000_000);
    let body = format!(
        "{{\"id\":\"{id}\",\"type\":\"payment.{status}\",\"created\":1790000000,\"data\":{{\"payment_id\":\"{payment}\",\
         \"amount\":1999,\"currency\":\"EUR\",\"status\":\"{status}\"}}}}",
        status = status.as_str()
    );
    with_body(event, body)
}

async fn replay(url: &Url, mode: ReplayMode) -> Replayed {
    try_replay(url, mode).await.unwrap()
}

async fn try_replay(url: &Url, mode: ReplayMode) -> Result<Replayed, ReplayFailure> {
    let mut mappings = Mappings::default();
    let profile = builtin().get("timestamped").unwrap();
    mappings.insert(
        "tenant-42",
        "payments-provider",
        std::sync::Arc::clone(profile),
    );
    let replay = Replay {
        since: Timestamp::UNIX_EPOCH,
        tenant: None,
        producer: None,
        mode,
    };
    replay.run(url, mappings, Box::new(|_, _| {})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_takes_its_locks_in_the_order_of_a_batch() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    for number in 0..8 {
        let id = format!("evt_{number}");
        let receipt = accept(&store, told(&id, Status::Pending)).await;
        assert_eq!(receipt, Receipt::Accepted);
        let receipt = accept(&store, told(&id, Status::Succeeded)).await;
        assert_eq!(receipt, Receipt::Conflict);
    }
    // All of them are to be read otherwise.
    server.psql("inbox", "UPDATE countersign.events SET kind = 'otherwise'");
    let ends = server.psql(
        "inbox",
        "SELECT encode((SELECT max(key::text)::bytea FROM countersign.events WHERE verdict = 0), 'hex'),
             encode((SELECT min(key::text)::bytea FROM countersign.events WHERE verdict = 1), 'hex')",
    );
    let (accepted, conflict) = ends.trim().split_once('|').unwrap();
    assert!(conflict < accepted, "no two that could meet in a circle");
    // A batch has its accepted events, and comes to its conflicts.
    let batch = Session::open(&target(&url), Purpose::Look).await.unwrap();
    let touch = |key: &str| {
        format!("UPDATE countersign.events SET duplicates = duplicates + 1 WHERE key = '\\x{key}'")
    };
    let begun = format!("BEGIN; {}", touch(accepted));
    batch.client.batch_execute(&begun).await.unwrap();
    let replaying = tokio::spawn({
        let url = url.clone();
        async move { replay(&url, ReplayMode::Commit).await }
    });
    waiting(&server, "1").await;
    let goes_on = format!("{}; COMMIT", touch(conflict));
    batch.client.batch_execute(&goes_on).await.unwrap();
    assert_eq!(replaying.await.unwrap().events_changed, 16);
    let deadlocks = "SELECT sum(deadlocks) FROM pg_stat_database";
    assert_eq!(server.psql("inbox", deadlocks).trim(), "0");
    assert_eq!(replay(&url, ReplayMode::DryRun).await.events_changed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_move_from_the_embedded_store_a_replay_finds_nothing_otherwise() {
    let (from, Some(to)) = (Place::sqlite(), Place::postgres()) else {
        return;
    };
    let store = from.open().await;
    assert_eq!(
        accept(&store, told("evt_1", Status::Pending)).await,
        Receipt::Accepted
    );
    assert_eq!(
        accept(&store, told("evt_1", Status::Succeeded)).await,
        Receipt::Conflict
    );
    assert_eq!(
        replay(&from.url, ReplayMode::DryRun).await.events_changed,
        0
    );
    let mut out = Vec::new();
    let export = Export::default();
    let exported = export.run(&from.url, None, &mut out, &mut |_, _| {}).await;
    exported.unwrap();
    let imported = import(&to.url, ImportMode::Write, &mut &*out, &mut |_, _| {}).await;
    assert!(imported.unwrap().is_equal());
    let replayed = replay(&to.url, ReplayMode::Commit).await;
    assert_eq!((replayed.events_read, replayed.events_changed), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_whose_commit_was_not_answered_does_not_say_that_nothing_was_changed() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    accept(&store, told("evt_1", Status::Pending)).await;
    drop(store);
    server.psql("inbox", "UPDATE countersign.events SET kind = 'otherwise'");
    // While it commits, its process is killed: nobody says what became of it.
    server.psql(
        "inbox",
        "CREATE FUNCTION public.dies() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN COPY (SELECT 1) TO PROGRAM ''kill -9 $PPID''; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER dies AFTER UPDATE ON countersign.events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION public.dies()",
    );
    let failure = try_replay(&url, ReplayMode::Commit).await.unwrap_err();
    assert!(
        matches!(failure, ReplayFailure::Uncertain { .. }),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_through_the_events_a_few_times_though_the_latest_have_no_statistics() {
    let Some(server) = Postgres::start(&["autovacuum = off"]) else {
        return;
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    let came = async |numbers: std::ops::Range<i64>| {
        let events = numbers.map(|number| {
            let (payment, id) = (format!("pay_{number}"), format!("evt_{number}"));
            received(
                told_of(&payment, &id, Status::Succeeded),
                1_790_000_000 + number,
            )
        });
        store.accept(events.collect()).await.unwrap();
    };
    for first in (0..5_000).step_by(250) {
        if first == 500 {
            server.psql("inbox", "ANALYZE");
        }
        came(first..first + 250).await;
    }
    drop(store);
    server.psql("inbox", "SELECT pg_stat_reset()");
    assert_eq!(replay(&url, ReplayMode::DryRun).await.events_read, 5_000);
    let fetched = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relid = 'countersign.events'::regclass";
    let fetched: u64 = server.psql("inbox", fetched).trim().parse().unwrap();
    assert!((5_000..30_000).contains(&fetched), "{fetched}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_stays_as_it_was_is_not_written() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    for (payment, id, status) in [
        ("pay_1", "evt_1", Status::Pending),
        ("pay_1", "evt_2", Status::Succeeded),
        ("pay_2", "evt_3", Status::Pending),
    ] {
        accept(&store, told_of(payment, id, status)).await;
    }
    server.psql("inbox", "UPDATE countersign.events SET kind = 'otherwise'");
    let rows = || {
        server.psql(
            "inbox",
            "SELECT ctid, payment_id FROM countersign.payments ORDER BY 2",
        )
    };
    let before = rows();
    let replayed = replay(&url, ReplayMode::Commit).await;
    assert_eq!((replayed.events_changed, replayed.payments_changed), (3, 0));
    assert_eq!(rows(), before);
}
