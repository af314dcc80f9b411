//! A replay on PostgreSQL: what it reads, without a lock on any row; the difference is written by `replay_write`.
//!
//! All of it is one transaction, for its notebook is of temporary tables, and a pooler gives another transaction another
//! session. Each statement sees what was committed before it. What comes while events are read is read as well, in further
//! rounds; what comes after the last of them is as its receiver read it, like all that comes after the replay.

use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use super::address::{Address, Target};
use super::batch::{durably, payment_key};
use super::bodies::Wanted;
use super::replay_notes::Notes;
use super::replay_write::{look_for_unsound_payments, write};
use super::rows::BY_INDEX;
use super::session::{Purpose, Session};
use super::text::{give_back, hold};
use crate::store::replay::asked::{Mappings, Replay, ReplayMode};
use crate::store::replay::outcome::{ReplayFailure, Replayed};
use crate::store::replay::reading::{ReadEvent, Reading, Today};

/// Events that are read at once, with their bodies.
const PAGE: usize = 100;
/// What came meanwhile is read in another round, until it is fewer events than this.
const LEFT_FOR_LATER: u64 = 500;
/// However much comes, reading ends.
const ROUNDS_MAX: u32 = 8;
/// The level is named, for a database may have another default: rows must be read as they are once they are locked. What
/// is acknowledged must be on disk.
const BEGIN: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '10min';
    SET LOCAL idle_in_transaction_session_timeout = '10min';
    SELECT ",
    durably!()
);

/// What was read; what today's mapping reads otherwise; the payments of all that was read, and those to be made anew; and the
/// events of such, as a payment is made of them.
const NOTEBOOK: &str = "
    CREATE TEMP TABLE seen (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE reread (tenant_id text COLLATE \"C\", key bytea, kind text, occurred_at bigint, payment_key bytea,
        payment_id text, status text, amount_minor bigint, amount_refunded_minor bigint, currency text, named_payment_id text,
        fetch_needed boolean NOT NULL, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE touched (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE rebuild (tenant_id text COLLATE \"C\", key bytea, payment_id text NOT NULL, PRIMARY KEY (tenant_id, key))
        ON COMMIT DROP;
    CREATE TEMP TABLE moving (tenant_id text COLLATE \"C\", key bytea, from_key bytea, to_key bytea,
        PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE gapped (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE parts (tenant_id text COLLATE \"C\", payment_key bytea NOT NULL, received_at bigint NOT NULL, key bytea,
        occurred_at bigint, event_id text, producer text, status text, amount_minor bigint, amount_refunded_minor bigint,
        currency text, late boolean, has_body boolean, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE INDEX ON pg_temp.parts (tenant_id, payment_key, received_at, key)";

/// What was read is looked up for each event by itself: as a join, for each page all of it would be gone through, for the table grows
/// while it has no statistics.
const EVENTS: &str = "
    SELECT e.key, e.received_at, e.event_id, e.producer, e.kind, e.occurred_at, p.payment_id, e.status, e.amount_minor,
        e.amount_refunded_minor, e.currency, e.named_payment_id, e.fetch_needed, e.payment_key,
        e.verdict = 1 AS conflict
    FROM countersign.events e
        LEFT JOIN countersign.payments p ON p.tenant_id = e.tenant_id AND p.key = e.payment_key
    WHERE e.tenant_id = $1 AND (e.received_at, e.key) > ($2, $3) AND e.verdict IN (0, 1) AND ($4 IS NULL OR e.producer = $4)
        AND (SELECT true FROM pg_temp.seen s WHERE s.tenant_id = e.tenant_id AND s.key = e.key) IS NULL
    ORDER BY e.received_at, e.key LIMIT $5";

pub(in crate::store) async fn run(
    address: &Address,
    replay: &Replay,
    mappings: &Mappings,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Replayed, ReplayFailure> {
    let target = Target::load(address)?;
    let session = Session::open(&target, Purpose::Change)
        .await
        .map_err(|failure| failure.into_fault(&target.place))?;
    let again = Again {
        notes: Notes(&session.client),
        replay,
        mappings,
    };
    match again.run(progress).await {
        Ok(replayed) => Ok(replayed),
        Err(failure) => {
            // The server must not go on, with its locks, when nobody waits for it.
            session.abandon().await;
            Err(failure)
        }
    }
}

struct Again<'a> {
    notes: Notes<'a>,
    replay: &'a Replay,
    mappings: &'a Mappings,
}

struct Kept {
    key: Vec<u8>,
    read: ReadEvent,
    payment: Option<Vec<u8>>,
    conflict: bool,
    came: Option<(String, Vec<u8>)>,
}

impl Again<'_> {
    async fn run(
        &self,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Replayed, ReplayFailure> {
        self.notes.batch(BEGIN).await?;
        self.notes.batch(NOTEBOOK).await?;
        self.notes.batch(BY_INDEX).await?;
        let tenants = self.tenants().await?;
        let mut replayed = Replayed::default();
        for _ in 0..ROUNDS_MAX {
            let before = replayed.events_read;
            let mut total = before;
            for tenant in &tenants {
                total = total.saturating_add(self.count(tenant).await?);
            }
            for tenant in &tenants {
                self.read(tenant, &mut replayed, &mut |read| {
                    progress(read, total.max(read));
                })
                .await?;
            }
            if replayed.events_read.saturating_sub(before) < LEFT_FOR_LATER {
                break;
            }
        }
        look_for_unsound_payments(self.notes).await?;
        write(self.notes, &mut replayed).await?;
        match self.replay.mode {
            ReplayMode::Commit => self.notes.commit().await?,
            ReplayMode::DryRun => self.notes.batch("ROLLBACK").await?,
        }
        Ok(replayed)
    }

    /// As the database has them.
    async fn tenants(&self) -> Result<Vec<String>, ReplayFailure> {
        let tenant = self.replay.tenant.as_deref().map(hold);
        let rows = self
            .notes
            .query(
                "SELECT tenant_id FROM countersign.tenants WHERE $1 IS NULL OR tenant_id = $1 ORDER BY tenant_id",
                &[(&tenant, Type::TEXT)],
            )
            .await?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(ReplayFailure::statement))
            .collect()
    }

    fn since(&self) -> i64 {
        self.replay.since.as_microsecond().max(0)
    }

    /// How many events are to be read that were not yet.
    async fn count(&self, tenant: &str) -> Result<u64, ReplayFailure> {
        let producer = self.replay.producer.as_deref().map(hold);
        let rows = self
            .notes
            .query(
                "SELECT count(*) FROM countersign.events e
                 WHERE tenant_id = $1 AND received_at >= $2 AND verdict IN (0, 1) AND ($3 IS NULL OR producer = $3)
                     AND (SELECT true FROM pg_temp.seen s WHERE s.tenant_id = e.tenant_id AND s.key = e.key) IS NULL",
                &[
                    (&tenant, Type::TEXT),
                    (&self.since(), Type::INT8),
                    (&producer, Type::TEXT),
                ],
            )
            .await?;
        let count = rows.first().map(|row| row.try_get::<_, i64>(0));
        count
            .unwrap_or(Ok(0))
            .map(i64::unsigned_abs)
            .map_err(ReplayFailure::statement)
    }

    /// Reads a tenant's events that were not read yet, and notes what is otherwise today.
    async fn read(
        &self,
        tenant: &str,
        replayed: &mut Replayed,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ReplayFailure> {
        let producer = self.replay.producer.as_deref().map(hold);
        let mut after = (self.since(), Vec::new());
        loop {
            let rows = self
                .notes
                .query(
                    EVENTS,
                    &[
                        (&tenant, Type::TEXT),
                        (&after.0, Type::INT8),
                        (&after.1, Type::BYTEA),
                        (&producer, Type::TEXT),
                        (&(PAGE as i64), Type::INT8),
                    ],
                )
                .await?;
            let mut page: Vec<Kept> = rows
                .iter()
                .map(kept)
                .collect::<Result<_, _>>()
                .map_err(ReplayFailure::statement)?;
            drop(rows);
            if let Some(last) = page.last() {
                after = (last.read.received_at, last.key.clone());
                self.read_bodies(tenant, &mut page).await?;
                self.read_page(tenant, &page, replayed).await?;
            }
            progress(replayed.events_read);
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Gives the events of a page what came with them.
    async fn read_bodies(&self, tenant: &str, page: &mut [Kept]) -> Result<(), ReplayFailure> {
        let mut wanted = Wanted::default();
        for kept in &*page {
            wanted.push(tenant, kept.read.received_at, &kept.key);
        }
        let sql = Wanted::sql("b.headers, b.body");
        let rows = self.notes.query(&sql, &wanted.parameters()).await?;
        let placed = wanted.placed(rows).map_err(ReplayFailure::statement)?;
        for (kept, row) in page.iter_mut().zip(placed) {
            let Some(row) = row else { continue };
            kept.came = Some((
                row.try_get("headers").map_err(ReplayFailure::statement)?,
                row.try_get("body").map_err(ReplayFailure::statement)?,
            ));
        }
        Ok(())
    }

    async fn read_page(
        &self,
        tenant: &str,
        page: &[Kept],
        replayed: &mut Replayed,
    ) -> Result<(), ReplayFailure> {
        let name = give_back(tenant.to_owned());
        let mut otherwise = Vec::new();
        let mut payments: Vec<&[u8]> = Vec::new();
        for kept in page {
            replayed.events_read = replayed.events_read.saturating_add(1);
            let profile = self.mappings.of(&name, &kept.read.producer);
            let (Some(profile), Some((headers, body))) = (profile, &kept.came) else {
                replayed.events_left = replayed.events_left.saturating_add(1);
                continue;
            };
            payments.extend(kept.payment.as_deref());
            let (today, why) = kept.read.today(profile, headers, body);
            replayed.tell_of(&name, &kept.read, why);
            let today = match today {
                Today::Read(today) if kept.conflict => Today::Read(without_claim(today.aside())),
                other @ (Today::Read(_) | Today::Left) => other,
            };
            match today {
                Today::Read(today) if today == kept.read.reading => {}
                Today::Read(today) => {
                    replayed.events_changed = replayed.events_changed.saturating_add(1);
                    otherwise.push((kept.key.as_slice(), today));
                }
                Today::Left => replayed.events_left = replayed.events_left.saturating_add(1),
            }
        }
        let keys: Vec<&[u8]> = page.iter().map(|kept| kept.key.as_slice()).collect();
        for (table, keys) in [("seen", &keys), ("touched", &payments)] {
            self.notes
                .execute(
                    &format!(
                        "INSERT INTO pg_temp.{table} SELECT $1, key FROM unnest($2) AS row (key) ON CONFLICT DO NOTHING"
                    ),
                    &[(&tenant, Type::TEXT), (keys, Type::BYTEA_ARRAY)],
                )
                .await?;
        }
        self.note(tenant, &name, &otherwise).await
    }

    /// Notes what is read otherwise.
    async fn note(
        &self,
        tenant: &str,
        name: &str,
        otherwise: &[(&[u8], Reading)],
    ) -> Result<(), ReplayFailure> {
        if otherwise.is_empty() {
            return Ok(());
        }
        let keys: Vec<&[u8]> = otherwise.iter().map(|(key, _)| *key).collect();
        let payments: Vec<Option<Vec<u8>>> = otherwise
            .iter()
            .map(|(_, today)| {
                let payment_id = today.payment_id.as_deref()?;
                Some(payment_key(name, payment_id).to_vec())
            })
            .collect();
        let texts = |of: fn(&Reading) -> &Option<String>| -> Vec<_> {
            let texts = otherwise.iter().map(|(_, today)| of(today).as_deref());
            texts.map(|text| text.map(hold)).collect()
        };
        let numbers = |of: fn(&Reading) -> Option<i64>| -> Vec<_> {
            otherwise.iter().map(|(_, today)| of(today)).collect()
        };
        let marks: Vec<bool> = otherwise
            .iter()
            .map(|(_, today)| today.fetch_needed)
            .collect();
        self.notes
            .execute(
                "INSERT INTO pg_temp.reread
                 SELECT $1, row.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS row ON CONFLICT DO NOTHING",
                &[
                    (&tenant, Type::TEXT),
                    (&keys, Type::BYTEA_ARRAY),
                    (&texts(|today| &today.kind), Type::TEXT_ARRAY),
                    (&numbers(|today| today.occurred_at), Type::INT8_ARRAY),
                    (&payments, Type::BYTEA_ARRAY),
                    (&texts(|today| &today.payment_id), Type::TEXT_ARRAY),
                    (&texts(|today| &today.status), Type::TEXT_ARRAY),
                    (&numbers(|today| today.amount_minor), Type::INT8_ARRAY),
                    (&numbers(|today| today.amount_refunded_minor), Type::INT8_ARRAY),
                    (&texts(|today| &today.currency), Type::TEXT_ARRAY),
                    (&texts(|today| &today.named_payment_id), Type::TEXT_ARRAY),
                    (&marks, Type::BOOL_ARRAY),
                ],
            )
            .await
            .map(drop)
    }
}

/// Of a conflict: here its row has no word of what it claims, or that with which an embedded store had it, and nobody reads it.
fn without_claim(reading: Reading) -> Reading {
    Reading {
        status: None,
        amount_minor: None,
        amount_refunded_minor: None,
        currency: None,
        ..reading
    }
}

fn kept(row: &Row) -> Result<Kept, Error> {
    let text = |column: &str| {
        row.try_get::<_, Option<String>>(column)
            .map(|text| text.map(give_back))
    };
    let conflict: bool = row.try_get("conflict")?;
    let reading = Reading {
        kind: text("kind")?,
        occurred_at: row.try_get("occurred_at")?,
        payment_id: text("payment_id")?,
        status: text("status")?,
        amount_minor: row.try_get("amount_minor")?,
        amount_refunded_minor: row.try_get("amount_refunded_minor")?,
        currency: text("currency")?,
        named_payment_id: text("named_payment_id")?,
        fetch_needed: row.try_get("fetch_needed")?,
    };
    Ok(Kept {
        key: row.try_get("key")?,
        read: ReadEvent {
            received_at: row.try_get("received_at")?,
            event_id: give_back(row.try_get("event_id")?),
            producer: Arc::from(give_back(row.try_get("producer")?)),
            reading: if conflict {
                without_claim(reading)
            } else {
                reading
            },
        },
        payment: row.try_get("payment_key")?,
        conflict,
        came: None,
    })
}
