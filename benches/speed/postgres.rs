//! PostgreSQL for the benchmark, and what a receiver does that asks it once for each request.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use countersign::inbox::{Event, Inbox, InboxFailure, Receipt};
use tokio_postgres::{Client, NoTls, Statement};

use crate::kit::postgres as server;

static SERVER: OnceLock<Option<server::Postgres>> = OnceLock::new();

/// The address of a fresh database, or `None` where there is no PostgreSQL.
pub fn fresh_database() -> Option<String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(warm_server).as_ref()?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Some(server.create_database(&format!("speed_{number}")))
}

/// A server as it is once it has run for a while: it writes its log into files that it has, where a fresh one would stop
/// for each 16 MiB of it to make another.
fn warm_server() -> Option<server::Postgres> {
    let settings = ["max_wal_size = 4GB", "min_wal_size = 2GB"];
    let server = server::Postgres::start(&settings)?;
    let database = server.create_database("warm");
    server::execute(
        &database,
        "CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 1500000)",
    );
    server::execute(&database, "DROP TABLE filler");
    server::execute(&database, "CHECKPOINT");
    Some(server)
}

/// CPU time that the server and all its processes have used, those that have ended as well; 0 where there is none.
pub fn cpu_seconds() -> f64 {
    let server = SERVER.get().and_then(Option::as_ref);
    let Some(main) = server.and_then(server::Postgres::pid) else {
        return 0.0;
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let used = processes.filter_map(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        let (pid, _) = stat.split_once(' ')?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        // proc_pid_stat(5): utime, stime, and of the main process also those of its children that have ended.
        if pid == main {
            Some(ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?)
        } else if *fields.get(1)? == main {
            Some(ticks(11)? + ticks(12)?)
        } else {
            None
        }
    });
    used.sum::<f64>() / 100.0
}

const SCHEMA: &str = "
CREATE TABLE events (tenant_id text, producer text, event_id text, body bytea, received_at timestamptz,
    PRIMARY KEY (tenant_id, producer, event_id));
CREATE TABLE payments (tenant_id text, payment_id text, status text, amount text, occurred_at bigint, last_event_id text,
    PRIMARY KEY (tenant_id, payment_id))";

const STATEMENT: &str = "
WITH kept AS (
    INSERT INTO events VALUES ($1, $2, $3, $4, now()) ON CONFLICT DO NOTHING RETURNING 1
)
INSERT INTO payments AS p SELECT $1, $5, $6, $7, $8, $3 FROM kept
ON CONFLICT (tenant_id, payment_id) DO UPDATE SET status = excluded.status, amount = excluded.amount,
    occurred_at = excluded.occurred_at, last_event_id = excluded.last_event_id
WHERE (excluded.occurred_at, excluded.last_event_id) > (p.occurred_at, p.last_event_id)";

/// The usual receiver: a pool of sessions, one prepared statement, one transaction and one sync for each request.
pub struct PerRequest {
    sessions: Vec<(Client, Statement)>,
    next: AtomicUsize,
}

impl PerRequest {
    pub async fn open(url: &str, count: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut sessions = Vec::new();
        for number in 0..count {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            if number == 0 {
                client.batch_execute(SCHEMA).await?;
            }
            let statement = client.prepare(STATEMENT).await?;
            sessions.push((client, statement));
        }
        let next = AtomicUsize::new(0);
        Ok(Self { sessions, next })
    }
}

impl Inbox for PerRequest {
    async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.sessions.len();
        let (client, statement) = &self.sessions[turn];
        for event in &delivery {
            let payment = event.payment.as_ref().expect("a payment event");
            let occurred_at = event.occurred_at.map_or(0, |time| time.as_microsecond());
            client
                .execute(
                    statement,
                    &[
                        &event.key.tenant.as_str(),
                        &&*event.key.producer,
                        &&*event.key.event_id,
                        &&event.body[..],
                        &payment.payment_id,
                        &payment.status,
                        &payment.amount,
                        &occurred_at,
                    ],
                )
                .await
                .map_err(|error| InboxFailure::Unavailable {
                    source: Arc::new(error),
                })?;
        }
        Ok(delivery.iter().map(|_event| Receipt::Accepted).collect())
    }
}
