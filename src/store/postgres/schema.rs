//! PostgreSQL's schema: what a database has, what it needs, and how it gets there, once, however many receivers start.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use super::rights;
use super::session_failure::SessionFailure;
use crate::store::StoreFault;
use crate::store::migrations::{Migration, POSTGRES, known};
use crate::store::pause::jittered;

/// How long a migration may wait for another receiver's, and take.
const MIGRATION_MAX: Duration = Duration::from_secs(600);
/// How long a step waits for a table that somebody holds: whoever comes after it waits as long.
const HELD_UP_MAX: &str = "200ms";
/// The first pause before a table that was held is asked for again.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Days for which bodies have a partition, beside today.
const DAYS_AHEAD: i32 = 7;
/// Whoever holds this advisory lock migrates. "CSGN", as a number.
const LOCK: i64 = 0x4353_474e;

/// What a session met.
#[derive(Debug)]
pub(in crate::store) struct Found {
    pub(super) read_only: bool,
    pub(super) schema: i64,
    /// The oldest program, by the newest schema that it knows, that can use what is there.
    pub(super) serves_from: i64,
}

/// Looks at the database. One round trip, or two where it has our schema.
pub(super) async fn greet(client: &Client, place: &str) -> Result<Found, SessionFailure> {
    match meet(client, place).await {
        Err(SessionFailure::Refused(error))
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            Err(rights::to_look(client, place, error).await)
        }
        met => met,
    }
}

async fn meet(client: &Client, place: &str) -> Result<Found, SessionFailure> {
    let row = client
        .query_typed(
            "SELECT current_setting('transaction_read_only') = 'on' AS read_only, current_setting('server_encoding') AS encoding,
                 to_regclass('countersign.migrations') IS NOT NULL AS has_schema, current_setting('fsync') = 'on' AS has_fsync",
            &[],
        )
        .await?
        .pop()
        .ok_or(SessionFailure::ReadOnly)?;
    let encoding: String = row.try_get("encoding")?;
    if encoding != "UTF8" {
        return Err(SessionFailure::Fault(StoreFault::Encoding {
            place: place.to_owned(),
            found: encoding,
        }));
    }
    if !row.try_get::<_, bool>("has_fsync")? {
        tracing::warn!(
            store = place,
            "the database has fsync = off: what it acknowledges can be lost when its machine stops"
        );
    }
    let mut found = Found {
        read_only: row.try_get("read_only")?,
        schema: 0,
        serves_from: 0,
    };
    if row.try_get("has_schema")? {
        (found.schema, found.serves_from) = schema(client).await?;
    }
    if found.serves_from > known(POSTGRES) {
        return Err(SessionFailure::Fault(newer(&found, place)));
    }
    Ok(found)
}

async fn schema(client: &Client) -> Result<(i64, i64), tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT coalesce(max(number), 0) AS number, coalesce(max(serves_from), 0) AS serves_from FROM countersign.migrations",
            &[],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok((row.try_get("number")?, row.try_get("serves_from")?)),
        None => Ok((0, 0)),
    }
}

fn newer(found: &Found, place: &str) -> StoreFault {
    StoreFault::Newer {
        place: place.to_owned(),
        found: found.schema,
        known: known(POSTGRES),
    }
}

/// Whether a reader can use what is there.
pub(super) fn expect(found: &Found, place: &str) -> Result<(), StoreFault> {
    if found.schema == 0 {
        return Err(StoreFault::NoStore { path: place.into() });
    }
    if found.schema < known(POSTGRES) {
        let place = place.to_owned();
        return Err(StoreFault::Older {
            place,
            found: found.schema,
            known: known(POSTGRES),
        });
    }
    Ok(())
}

/// Whether nothing is left to be made.
pub(super) fn is_up_to_date(found: &Found) -> bool {
    found.schema >= known(POSTGRES)
}

/// Takes the missing steps.
pub(super) async fn bring_up_to_date(
    client: &mut Client,
    found: &Found,
    place: &str,
) -> Result<(), SessionFailure> {
    if !is_up_to_date(found) {
        timeout(MIGRATION_MAX, migrate(client, place))
            .await
            .unwrap_or(Err(SessionFailure::TimedOut(MIGRATION_MAX)))?;
    }
    Ok(())
}

/// Makes the partitions of the days to come, as far as that goes.
pub(super) async fn look_ahead(
    client: &Client,
    limit: Duration,
    place: &str,
) -> Result<(), SessionFailure> {
    match timeout(limit, make_partitions(client, limit / 2)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.as_db_error().is_some() => {
            // The default partition takes what has no other; only the dropping of old days is then slower.
            tracing::warn!(
                store = place,
                error = &error as &dyn std::error::Error,
                "no partitions could be made for the days to come"
            );
            Ok(())
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_elapsed) => Err(SessionFailure::TimedOut(limit)),
    }
}

/// Takes the missing steps, and again while somebody holds a table that one of them alters. A reader may hold it for hours, and
/// deliveries must not queue up behind a step that waits for it.
async fn migrate(client: &mut Client, place: &str) -> Result<(), SessionFailure> {
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let held = match take_all(client, place).await {
            Err(SessionFailure::Refused(error))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
            {
                error
            }
            done => return done,
        };
        if began.elapsed() + pause >= MIGRATION_MAX {
            return Err(SessionFailure::Refused(held));
        }
        tell_holder(client, place).await;
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says for whom a migration waits, as far as that can be told.
async fn tell_holder(client: &Client, place: &str) {
    match oldest_holder(client).await {
        Ok(Some(holder)) => tracing::warn!(
            store = place,
            %holder,
            "the schema's migration waits for a table that another session holds; end that one if it takes too long"
        ),
        Ok(None) | Err(_) => tracing::warn!(
            store = place,
            "the schema's migration waits for a table that another session held"
        ),
    }
}

/// The oldest transaction that holds one of our tables.
async fn oldest_holder(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT concat_ws(' ', 'pid', l.pid, 'on', c.relname, 'as', a.usename, a.application_name, 'since', a.xact_start)
             FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'countersign'
             JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
             LEFT JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.granted AND l.pid <> pg_backend_pid() ORDER BY a.xact_start, l.pid LIMIT 1",
            &[],
        )
        .await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// All steps in one transaction, under a lock that ends with it: a pooler may give each transaction another session.
async fn take_all(client: &mut Client, place: &str) -> Result<(), SessionFailure> {
    // Whatever the database's default is: a stricter level sees what was there before the lock was waited for.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    transaction
        .batch_execute(&format!(
            "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({LOCK}); SET LOCAL lock_timeout = '{HELD_UP_MAX}'"
        ))
        .await?;
    // Whoever had the lock before may have done it all: only now does it hold what we see.
    transaction
        .batch_execute(
            "DO $make$ BEGIN
                 IF to_regnamespace('countersign') IS NULL THEN CREATE SCHEMA countersign; END IF;
             END $make$;
             CREATE TABLE IF NOT EXISTS countersign.migrations (
                 number bigint PRIMARY KEY, name text NOT NULL, serves_from bigint NOT NULL, taken_at timestamptz NOT NULL
             )",
        )
        .await
        .map_err(|error| failed(error, place, first_step()))?;
    let (found, serves_from) = schema(transaction.client()).await?;
    if serves_from > known(POSTGRES) {
        let found = Found {
            read_only: false,
            schema: found,
            serves_from,
        };
        return Err(SessionFailure::Fault(newer(&found, place)));
    }
    for step in POSTGRES.iter().filter(|step| step.number > found) {
        take(&transaction, step)
            .await
            .map_err(|error| failed(error, place, step.name))?;
    }
    transaction.commit().await?;
    tracing::info!(
        store = place,
        schema = known(POSTGRES),
        "the schema was brought up to date"
    );
    Ok(())
}

fn first_step() -> &'static str {
    POSTGRES.first().map_or("", |step| step.name)
}

async fn take(
    transaction: &tokio_postgres::Transaction<'_>,
    step: &Migration,
) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(step.sql).await?;
    let noted = format!(
        "INSERT INTO countersign.migrations (number, name, serves_from, taken_at) VALUES ({}, '{}', {}, now())",
        step.number, step.name, step.serves_from
    );
    transaction.batch_execute(&noted).await
}

/// What the operator must mend stops the start: a step that fails in the same way each time, or a right that is lacking. All else
/// passes, or another host does better.
fn failed(error: tokio_postgres::Error, place: &str, name: &'static str) -> SessionFailure {
    let class = error.code().and_then(|code| code.code().get(..2));
    match class {
        // Feature not supported, data exception, integrity constraint violation, syntax error or missing right.
        Some("0A" | "22" | "23" | "42") => SessionFailure::Fault(StoreFault::Migration {
            place: place.to_owned(),
            name,
            source: error.into(),
        }),
        _ => SessionFailure::Refused(error),
    }
}

/// Makes the partitions of the days to come, unless another receiver is about it. The server itself gives it up after `limit`: a
/// large default partition is looked through under a lock for which deliveries wait.
async fn make_partitions(client: &Client, limit: Duration) -> Result<(), tokio_postgres::Error> {
    let limit = limit.as_millis();
    client
        .batch_execute(&format!(
            "SELECT set_config('statement_timeout', '{limit}', true);
             SELECT countersign.make_partitions_2({DAYS_AHEAD})"
        ))
        .await
}
