//! A batch that took too long: nothing of it is written later than the spool's mover waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::{Access, Target};
use super::engine::Postgres;
use super::mute_tests::waiting;
use super::session::{Purpose, Session};
use super::tests::server;
use crate::inbox::{BatchFailure, Engine, Event, Isolation};
use crate::store::Url;
use crate::store::fixtures::event;
use crate::store::spool::mover::settling;

/// A database of its own on a server, with bounds that are soon reached.
fn target(server: &server::Postgres) -> Arc<Target> {
    let access = Access {
        connect_timeout: Duration::from_millis(300),
        statement_timeout: Duration::from_secs(1),
        patience: Duration::from_millis(50),
        ..Access::default()
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let Url::Postgres(address) = url.with_access(access) else {
        panic!("no PostgreSQL");
    };
    Arc::new(Target::load(&address).unwrap())
}

fn engine(target: &Arc<Target>) -> Postgres {
    Postgres::new(Arc::clone(target), Arc::default(), Arc::default())
}

fn batch(events: impl IntoIterator<Item = Event>) -> Vec<Vec<<Postgres as Engine>::Row>> {
    let deliveries = events.into_iter();
    deliveries
        .map(|event| vec![Postgres::prepare(event)])
        .collect()
}

#[tokio::test]
async fn a_batch_is_given_up_in_time_however_many_parts_it_is_written_in() {
    let Some(server) = server::Postgres::start(&[]) else {
        return;
    };
    let target = target(&server);
    let session = Session::open(&target, Purpose::Write).await.unwrap();
    let mut engine = engine(&target).with_session(session);
    // Each statement takes a while, and one row is refused.
    server.psql(
        "inbox",
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END';
         CREATE TRIGGER dawdle BEFORE INSERT ON countersign.events EXECUTE FUNCTION public.dawdle();
         ALTER TABLE countersign.events ADD CHECK (event_id <> 'evt_15')",
    );
    let batch = batch((0..16).map(|number| event(&format!("evt_{number}"))));
    let began = Instant::now();
    let together = engine.commit(&batch, Isolation::Together).await;
    assert!(
        matches!(together, Err(BatchFailure::Row(_))),
        "{together:?}"
    );
    let apart = engine.commit(&batch, Isolation::Apart).await;
    // Of its parts some are durable.
    assert!(matches!(apart, Err(BatchFailure::Commit(_))), "{apart:?}");
    assert!(began.elapsed() < settling(&target), "{began:?}");
    // The next batch has its own time.
    server.psql("inbox", "DROP TRIGGER dawdle ON countersign.events");
    let next = engine.commit(&batch[..1], Isolation::Together).await;
    assert!(next.is_ok(), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_for_which_a_session_came_too_late_is_not_written() {
    let Some(server) = server::Postgres::start(&[]) else {
        return;
    };
    let target = target(&server);
    let holder = Session::open(&target, Purpose::Look).await.unwrap();
    let hold = "BEGIN; SELECT pg_advisory_xact_lock(1129531214)";
    holder.client.batch_execute(hold).await.unwrap();
    // It has to bring the schema up to date first.
    let mut engine = engine(&target);
    let writing = tokio::spawn(async move {
        let written = engine
            .commit(&batch([event("evt_1")]), Isolation::Together)
            .await;
        (engine, written)
    });
    waiting(&server, "1").await;
    let seconds = settling(&target).as_secs_f64();
    let release = format!("SELECT pg_sleep({seconds}); COMMIT");
    holder.client.batch_execute(&release).await.unwrap();
    let (mut engine, written) = writing.await.unwrap();
    let unavailable = matches!(written, Err(BatchFailure::Unavailable(_)));
    assert!(unavailable, "{written:?}");
    let kept = "SELECT count(*) FROM countersign.events";
    assert_eq!(server.psql("inbox", kept).trim(), "0");
    let next = batch([event("evt_1")]);
    let next = engine.commit(&next, Isolation::Together).await;
    assert!(next.is_ok(), "{next:?}");
}
