//! An import into a PostgreSQL that others use: it holds up nobody, and nobody holds it up.

use std::time::Duration;

use super::mute_tests::{address, target};
use super::session::{Purpose, Session};
use super::tests::server::Postgres;
use crate::inbox::{Limits, Receipt};
use crate::store::fixtures::{Place, accept, event, received};
use crate::store::{Export, ImportFailure, ImportMode, Imported, Store, Url, import};

const PARTITIONS: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'countersign.bodies'::regclass";

/// An export of events of so many days, of which none is near today's.
async fn export_of(days: i64) -> Vec<u8> {
    let place = Place::sqlite();
    let store = place.open().await;
    for day in 0..days {
        let event = event(&format!("evt_{day}"));
        accept(&store, received(event, 1_700_000_000 + day * 86_400)).await;
    }
    let mut out = Vec::new();
    let export = Export::default();
    let exported = export.run(&place.url, None, &mut out, &mut |_, _| {}).await;
    exported.unwrap();
    out
}

async fn put(url: &Url, export: &[u8]) -> Result<Imported, ImportFailure> {
    import(url, ImportMode::Write, &mut &*export, &mut |_, _| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_a_reader_keeps_from_being_made_are_asked_for_once() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    Store::migrate(&url).await.unwrap();
    let export = export_of(10).await;
    let reader = Session::open(&target(&url), Purpose::Read).await.unwrap();
    let reading = "BEGIN; SELECT count(*) FROM countersign.bodies";
    reader.client.batch_execute(reading).await.unwrap();
    // What a sequence has counted stays counted, also where nothing else does.
    server.psql(
        "inbox",
        "CREATE SEQUENCE public.asked;
         CREATE FUNCTION public.count() RETURNS event_trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM nextval(''public.asked''); END';
         CREATE EVENT TRIGGER count ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.count()",
    );
    let imported = put(&url, &export).await.unwrap();
    let asked = "SELECT last_value, is_called FROM public.asked";
    assert_eq!(server.psql("inbox", asked).trim(), "1|t");
    assert_eq!((imported.events.written, imported.is_equal()), (10, true));
    let in_default = "SELECT count(*) FROM countersign.bodies_default";
    assert_eq!(server.psql("inbox", in_default).trim(), "10");
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "9");
    reader.client.batch_execute("COMMIT").await.unwrap();
    // Where nobody holds anything, each day has its own.
    let free = address(&server, "free");
    put(&free, &export).await.unwrap();
    assert_eq!(server.psql("free", PARTITIONS).trim(), "19");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_gets_no_answer_is_given_up() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    Store::migrate(&url).await.unwrap();
    let export = export_of(1).await;
    server.psql(
        "inbox",
        "CREATE FUNCTION public.mute() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN
            LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END'",
    );
    server.psql(
        "inbox",
        "CREATE EVENT TRIGGER mute ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.mute()",
    );
    let limit = Duration::from_secs(20);
    let given_up = tokio::time::timeout(limit, put(&url, &export)).await;
    let failure = given_up.unwrap().unwrap_err();
    let no_answer = matches!(failure, ImportFailure::Away { .. });
    assert!(no_answer, "{failure:?}");
    server.psql("inbox", "DROP EVENT TRIGGER mute");
    assert_eq!(put(&url, &export).await.unwrap().events.written, 1);
    let store = Store::open(&url, Limits::default()).await;
    let again = accept(&store.unwrap(), received(event("evt_0"), 1_800_000_000)).await;
    assert_eq!(again, Receipt::Duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_waits_for_no_standby_and_the_rows_in_it_do() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    Store::migrate(&url).await.unwrap();
    server.psql(
        "inbox",
        "CREATE TABLE public.waits (what text, how text);
         CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO public.waits VALUES (tg_tag, current_setting(''synchronous_commit'')); END';
         CREATE FUNCTION public.note_rows() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO public.waits VALUES (tg_op, current_setting(''synchronous_commit'')); RETURN NULL; END';
         CREATE TRIGGER note AFTER INSERT ON countersign.bodies EXECUTE FUNCTION public.note_rows();
         CREATE EVENT TRIGGER note ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.note()",
    );
    put(&url, &export_of(1).await).await.unwrap();
    let waits = server.psql("inbox", "SELECT what, how FROM public.waits ORDER BY what");
    let waits: Vec<&str> = waits.lines().collect();
    assert_eq!(waits, ["CREATE TABLE|off", "INSERT|on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_ended_is_told_to_be_run_again_and_then_goes_on() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    Store::migrate(&url).await.unwrap();
    let export = export_of(3).await;
    server.psql(
        "inbox",
        "CREATE FUNCTION public.ends() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
         CREATE FUNCTION public.refuses() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
            RAISE EXCEPTION ''no room''; END'",
    );
    let mut is_away = Vec::new();
    for does in ["ends", "refuses"] {
        server.psql(
            "inbox",
            &format!(
                "CREATE TRIGGER meets AFTER INSERT ON countersign.events EXECUTE FUNCTION public.{does}()"
            ),
        );
        let failure = put(&url, &export).await.unwrap_err();
        server.psql("inbox", "DROP TRIGGER meets ON countersign.events");
        let told = failure.to_string();
        assert!(told.contains("run the same import again"), "{told}");
        is_away.push(matches!(failure, ImportFailure::Away { .. }));
    }
    assert_eq!(is_away, [true, false]);
    let imported = put(&url, &export).await.unwrap();
    assert_eq!((imported.leaves.there, imported.events.written), (1, 3));
    assert!(imported.is_equal());
}
