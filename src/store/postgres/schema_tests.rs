//! Migrations beside others: receivers that start at once, readers that hold a table, and errors that pass.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::batch::Prepared;
use super::moving::{Moving, move_batch};
use super::mute_tests::{address, target, waiting};
use super::session::{Purpose, Session};
use super::tests::server::Postgres;
use crate::inbox::{InboxFailure, Limits, Receipt};
use crate::store::fixtures::{accept, event};
use crate::store::migrations::{POSTGRES, known};
use crate::store::{Store, StoreFault, Url};

/// Makes a database whose transactions are of this level unless they say otherwise.
fn strict(server: &Postgres, level: &str) -> Url {
    let url = address(server, "inbox");
    server.psql(
        "postgres",
        &format!("ALTER DATABASE inbox SET default_transaction_isolation = '{level}'"),
    );
    url
}

/// A database as a receiver of an older schema left it.
fn at_schema(server: &Postgres, number: i64) -> Url {
    let url = address(server, "inbox");
    server.psql(
        "inbox",
        "CREATE SCHEMA countersign; CREATE TABLE countersign.migrations (
            number bigint PRIMARY KEY, name text NOT NULL, serves_from bigint NOT NULL, taken_at timestamptz NOT NULL)",
    );
    for step in POSTGRES.iter().filter(|step| step.number <= number) {
        server.psql("inbox", step.sql);
        let noted = format!(
            "INSERT INTO countersign.migrations VALUES ({}, '{}', {}, now())",
            step.number, step.name, step.serves_from
        );
        server.psql("inbox", &noted);
    }
    url
}

fn schema(server: &Postgres) -> String {
    let newest = "SELECT max(number) FROM countersign.migrations";
    server.psql("inbox", newest).trim().to_owned()
}

/// Makes every change of the schema fail with this error.
fn refuse_changes(server: &Postgres, code: &str) {
    server.psql(
        "inbox",
        &format!(
            "CREATE OR REPLACE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''not now'' USING ERRCODE = ''{code}''; END'"
        ),
    );
    server.psql(
        "inbox",
        "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION public.refuse()",
    );
}

fn allow_changes(server: &Postgres) {
    server.psql("inbox", "DROP EVENT TRIGGER refuse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_migrate_at_once_both_succeed_whatever_isolation_the_database_has() {
    for level in ["repeatable read", "serializable"] {
        let Some(server) = Postgres::start(&[]) else {
            return;
        };
        let url = strict(&server, level);
        let holder = Session::open(&target(&url), Purpose::Look).await.unwrap();
        let hold = "BEGIN; SELECT pg_advisory_xact_lock(1129531214)";
        holder.client.batch_execute(hold).await.unwrap();
        let migrate = || {
            let url = url.clone();
            tokio::spawn(async move { Store::migrate(&url).await })
        };
        let (one, other) = (migrate(), migrate());
        waiting(&server, "2").await;
        holder.client.batch_execute("COMMIT").await.unwrap();
        one.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        assert_eq!(schema(&server), known(POSTGRES).to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_waited_for_another_goes_on_whatever_isolation_the_database_has() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = strict(&server, "repeatable read");
    let _store = Store::open(&url, Limits::default()).await.unwrap();
    let moving = |position, id| Moving {
        position,
        uncertain: false,
        prepared: Prepared::prepare(event(id)),
    };
    let open = || async { Session::open(&target(&url), Purpose::Write).await.unwrap() };
    let (mut session, holder) = (open().await, open().await);
    let mut names = HashSet::new();
    let batch = [moving(1, "evt_1")];
    let moved = move_batch(&mut session, &mut names, b"run", &batch).await;
    assert_eq!(moved.unwrap().len(), 1);
    let hold = "BEGIN; UPDATE countersign.spools SET moved = 2";
    holder.client.batch_execute(hold).await.unwrap();
    let next = tokio::spawn(async move {
        let batch = [moving(2, "evt_2"), moving(3, "evt_3")];
        let moved = move_batch(&mut session, &mut names, b"run", &batch).await;
        moved.map(|moved| moved.into_iter().map(|(_, receipt)| receipt).collect())
    });
    waiting(&server, "1").await;
    holder.client.batch_execute("COMMIT").await.unwrap();
    let moved: Vec<Receipt> = next.await.unwrap().unwrap();
    assert_eq!(moved, [Receipt::Accepted]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_reader_holds_up_nobody_else() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    // The sixth step alters the table of events.
    let url = at_schema(&server, 5);
    let session = || async { Session::open(&target(&url), Purpose::Look).await.unwrap() };
    let (reader, receiver) = (session().await, session().await);
    let reading = "BEGIN; SELECT count(*) FROM countersign.events";
    reader.client.batch_execute(reading).await.unwrap();
    let migrating = tokio::spawn({
        let url = url.clone();
        async move { Store::migrate(&url).await }
    });
    for _ in 0..3 {
        waiting(&server, "1").await;
        let delivery = "SET statement_timeout = '3s'; BEGIN;
            LOCK TABLE countersign.events IN ROW EXCLUSIVE MODE; COMMIT";
        receiver.client.batch_execute(delivery).await.unwrap();
    }
    assert_eq!(schema(&server), "5");
    reader.client.batch_execute("COMMIT").await.unwrap();
    migrating.await.unwrap().unwrap();
    assert_eq!(schema(&server), known(POSTGRES).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_passes_does_not_stop_the_start() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = at_schema(&server, 4);
    for code in ["57P01", "25006", "40P01", "53300", "08P01"] {
        refuse_changes(&server, code);
        let store = Store::open(&url, Limits::default()).await.unwrap();
        let failure = store.ready().await.unwrap_err();
        let away = matches!(failure, InboxFailure::Unavailable { .. });
        assert!(away, "{code}: {failure:?}");
        store.close().await;
        allow_changes(&server);
    }
    for code in ["42501", "42P07", "22012", "23505", "0A000"] {
        refuse_changes(&server, code);
        let fault = Store::open(&url, Limits::default()).await.unwrap_err();
        let stops = matches!(fault, StoreFault::Migration { .. });
        assert!(stops, "{code}: {fault:?}");
        allow_changes(&server);
    }
    refuse_changes(&server, "57P01");
    let store = Store::open(&url, Limits::default()).await.unwrap();
    allow_changes(&server);
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(failure) = store.ready().await {
        assert!(Instant::now() < deadline, "{failure:?}");
    }
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
}
