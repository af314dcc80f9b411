//! A replay on PostgreSQL: what it reads, without a lock on any row; the difference is written by `replay_write`.
//!
//! All of it is one transaction, for its notebook is of temporary tables, and a pooler gives another transaction another
//! session. Each statement sees what was committed before it. What comes while events are read is read as well, in further
//! rounds; what comes after the last of them is as its receiver read it, like all that comes after the replay.

use std::sync::Arc;

use tokio::try_join;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use super::address::{Address, Target};
use super::batch::{durably, payment_key};
use super::replay_notes::Notes;
use super::replay_write::{look_for_unsound_payments, write};
use super::rows::BY_INDEX;
use super::session::{Purpose, Session};
use super::text::{give_back, hold};
use crate::store::replay::asked::{Mappings, Replay, ReplayMode};
use crate::store::replay::outcome::{ReplayFailure, Replayed};
use crate::store::replay::reading::{ReadEvent, Reading, Today};

/// Events that are read at once, with what came with them.
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

/// What was read; what today's mapping reads otherwise; the payments of all that was read, those among them of which nothing is
/// read otherwise, and those to be made anew; which payment an event leaves and which it comes to; those that may have more events
/// than they know by their keys, and the events of such.
const NOTEBOOK: &str = "
    CREATE TEMP TABLE seen (tenant_id text COLLATE \"C\", received_at bigint, key bytea,
        PRIMARY KEY (tenant_id, received_at, key)) ON COMMIT DROP;
    CREATE TEMP TABLE reread (tenant_id text COLLATE \"C\", key bytea, kind text, occurred_at bigint, payment_key bytea,
        payment_id text, status text, amount_minor bigint, amount_refunded_minor bigint, currency text, named_payment_id text,
        fetch_needed boolean NOT NULL, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE touched (tenant_id text COLLATE \"C\", key bytea, otherwise boolean) ON COMMIT DROP;
    CREATE TEMP TABLE doubtful (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE rebuild (tenant_id text COLLATE \"C\", key bytea, payment_id text NOT NULL, PRIMARY KEY (tenant_id, key))
        ON COMMIT DROP;
    CREATE TEMP TABLE moving (tenant_id text COLLATE \"C\", key bytea, from_key bytea, to_key bytea,
        PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE INDEX ON pg_temp.moving (tenant_id, to_key);
    CREATE TEMP TABLE gapped (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE many (tenant_id text COLLATE \"C\", key bytea, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE TEMP TABLE parts (tenant_id text COLLATE \"C\", payment_key bytea NOT NULL, received_at bigint NOT NULL, key bytea,
        occurred_at bigint, event_id text, producer text, status text, amount_minor bigint, amount_refunded_minor bigint,
        currency text, late boolean, has_body boolean, PRIMARY KEY (tenant_id, key)) ON COMMIT DROP;
    CREATE INDEX ON pg_temp.parts (tenant_id, payment_key, received_at, key)";

/// Of `e`. Looked up for each event by itself: as a join, all of the table would be gone through, for it grows while it has
/// no statistics.
const UNREAD: &str = "(SELECT true FROM pg_temp.seen s
    WHERE s.tenant_id = e.tenant_id AND s.received_at = e.received_at AND s.key = e.key) IS NULL";

/// The events of these tenants that came at or after these times, of which `$4` is the first, with what came with them.
///
/// Each row is looked up by itself, in this order whatever the planner believes: of the latest events it has no statistics, takes
/// them for none, and would sort all of them for each page. `OFFSET 0` keeps it from taking the parts for a join.
fn events() -> String {
    format!(
        "DECLARE reading NO SCROLL CURSOR FOR
         SELECT e.tenant_id, e.key, e.received_at, e.event_id, e.producer, e.kind, e.occurred_at,
             (SELECT p.payment_id FROM countersign.payments p WHERE p.tenant_id = e.tenant_id AND p.key = e.payment_key)
                 AS payment_id,
             e.status, e.amount_minor, e.amount_refunded_minor, e.currency, e.named_payment_id, e.fetch_needed, e.payment_key,
             e.verdict = 1 AS conflict, b.headers, b.body
         FROM unnest($1, $2) AS unread (tenant_id, since)
             CROSS JOIN LATERAL (SELECT e.* FROM countersign.events e
                 WHERE e.tenant_id = unread.tenant_id AND e.received_at >= unread.since AND e.verdict IN (0, 1)
                     AND ($3 IS NULL OR e.producer = $3) AND {UNREAD}
                 ORDER BY e.received_at OFFSET 0) e
             LEFT JOIN LATERAL (SELECT b.headers, b.body FROM countersign.bodies b
                 WHERE b.tenant_id = e.tenant_id AND b.received_at = e.received_at AND b.key = e.key
                     AND b.received_at >= $4 OFFSET 0) b ON true"
    )
}

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

/// Events that are to be read.
#[derive(Default)]
struct Unread<'a> {
    events: u64,
    /// Whose they are, and when the first of each came.
    tenants: Vec<&'a str>,
    since: Vec<i64>,
}

/// What is noted of a page.
#[derive(Default)]
struct Noted<'a> {
    /// Those that speak of a payment, and whether they are read otherwise.
    touched: Vec<(&'a Kept, bool)>,
    otherwise: Vec<(&'a Kept, Reading)>,
}

struct Kept {
    tenant: String,
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
            let unread = self.unread(&tenants).await?;
            let total = before.saturating_add(unread.events);
            self.read(&unread, &mut replayed, &mut |read| {
                progress(read, total.max(read));
            })
            .await?;
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

    /// Which events are to be read that were not yet.
    async fn unread<'t>(&self, tenants: &'t [String]) -> Result<Unread<'t>, ReplayFailure> {
        let producer = self.replay.producer.as_deref().map(hold);
        let sql = format!(
            "SELECT count(*), min(received_at) FROM countersign.events e
             WHERE tenant_id = $1 AND received_at >= $2 AND verdict IN (0, 1) AND ($3 IS NULL OR producer = $3) AND {UNREAD}"
        );
        let mut unread = Unread::default();
        for tenant in tenants {
            let rows = self
                .notes
                .query(
                    &sql,
                    &[
                        (tenant, Type::TEXT),
                        (&self.since(), Type::INT8),
                        (&producer, Type::TEXT),
                    ],
                )
                .await?;
            let Some(row) = rows.first() else { continue };
            let events: i64 = row.try_get(0).map_err(ReplayFailure::statement)?;
            let since: Option<i64> = row.try_get(1).map_err(ReplayFailure::statement)?;
            unread.events = unread.events.saturating_add(events.unsigned_abs());
            if let Some(since) = since {
                unread.tenants.push(tenant);
                unread.since.push(since);
            }
        }
        Ok(unread)
    }

    /// Reads events, and notes what is otherwise today.
    async fn read(
        &self,
        unread: &Unread<'_>,
        replayed: &mut Replayed,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ReplayFailure> {
        let Some(first) = unread.since.iter().min() else {
            progress(replayed.events_read);
            return Ok(());
        };
        let producer = self.replay.producer.as_deref().map(hold);
        self.notes
            .execute(
                &events(),
                &[
                    (&unread.tenants, Type::TEXT_ARRAY),
                    (&unread.since, Type::INT8_ARRAY),
                    (&producer, Type::TEXT),
                    (first, Type::INT8),
                ],
            )
            .await?;
        let mut rows = self.page().await?;
        loop {
            let is_last = rows.len() < PAGE;
            let page: Vec<Kept> = rows
                .iter()
                .map(kept)
                .collect::<Result<_, _>>()
                .map_err(ReplayFailure::statement)?;
            drop(rows);
            let noted = self.read_page(&page, replayed);
            progress(replayed.events_read);
            if is_last {
                self.note(&page, &noted).await?;
                return self.notes.batch("CLOSE reading").await;
            }
            // The next page is asked for with what is noted of this one: over a network that is one wait instead of four.
            (rows, ()) = try_join!(self.page(), self.note(&page, &noted))?;
        }
    }

    async fn page(&self) -> Result<Vec<Row>, ReplayFailure> {
        let sql = format!("FETCH {PAGE} FROM reading");
        self.notes.query(&sql, &[]).await
    }

    fn read_page<'a>(&self, page: &'a [Kept], replayed: &mut Replayed) -> Noted<'a> {
        let mut noted = Noted::default();
        for kept in page {
            replayed.events_read = replayed.events_read.saturating_add(1);
            let tenant = give_back(kept.tenant.clone());
            let profile = self.mappings.of(&tenant, &kept.read.producer);
            let (Some(profile), Some((headers, body))) = (profile, &kept.came) else {
                replayed.events_left = replayed.events_left.saturating_add(1);
                continue;
            };
            let (today, why) = kept.read.today(profile, headers, body);
            replayed.tell_of(&tenant, &kept.read, why);
            let today = match today {
                Today::Read(today) if kept.conflict => Today::Read(without_claim(today.aside())),
                other @ (Today::Read(_) | Today::Left) => other,
            };
            let otherwise = match today {
                Today::Read(today) if today == kept.read.reading => false,
                Today::Read(today) => {
                    replayed.events_changed = replayed.events_changed.saturating_add(1);
                    noted.otherwise.push((kept, today));
                    true
                }
                Today::Left => {
                    replayed.events_left = replayed.events_left.saturating_add(1);
                    false
                }
            };
            if kept.payment.is_some() {
                noted.touched.push((kept, otherwise));
            }
        }
        noted
    }

    /// Notes what was read, the payments of it, and what is read otherwise.
    async fn note(&self, page: &[Kept], noted: &Noted<'_>) -> Result<(), ReplayFailure> {
        try_join!(
            self.note_seen(page),
            self.note_touched(&noted.touched),
            self.note_otherwise(&noted.otherwise),
        )
        .map(drop)
    }

    async fn note_seen(&self, page: &[Kept]) -> Result<(), ReplayFailure> {
        let tenants: Vec<&str> = page.iter().map(|kept| &*kept.tenant).collect();
        let times: Vec<i64> = page.iter().map(|kept| kept.read.received_at).collect();
        let keys: Vec<&[u8]> = page.iter().map(|kept| &*kept.key).collect();
        self.notes
            .execute(
                "INSERT INTO pg_temp.seen SELECT * FROM unnest($1, $2, $3) AS row",
                &[
                    (&tenants, Type::TEXT_ARRAY),
                    (&times, Type::INT8_ARRAY),
                    (&keys, Type::BYTEA_ARRAY),
                ],
            )
            .await
            .map(drop)
    }

    async fn note_touched(&self, touched: &[(&Kept, bool)]) -> Result<(), ReplayFailure> {
        let tenants: Vec<&str> = touched.iter().map(|(kept, _)| &*kept.tenant).collect();
        let payments: Vec<Option<&[u8]>> = touched
            .iter()
            .map(|(kept, _)| kept.payment.as_deref())
            .collect();
        let otherwise: Vec<bool> = touched.iter().map(|(_, otherwise)| *otherwise).collect();
        self.notes
            .execute(
                "INSERT INTO pg_temp.touched SELECT * FROM unnest($1, $2, $3) AS row",
                &[
                    (&tenants, Type::TEXT_ARRAY),
                    (&payments, Type::BYTEA_ARRAY),
                    (&otherwise, Type::BOOL_ARRAY),
                ],
            )
            .await
            .map(drop)
    }

    async fn note_otherwise(&self, otherwise: &[(&Kept, Reading)]) -> Result<(), ReplayFailure> {
        if otherwise.is_empty() {
            return Ok(());
        }
        let tenants: Vec<&str> = otherwise.iter().map(|(kept, _)| &*kept.tenant).collect();
        let keys: Vec<&[u8]> = otherwise.iter().map(|(kept, _)| &*kept.key).collect();
        let payments: Vec<Option<Vec<u8>>> = otherwise
            .iter()
            .map(|(kept, today)| {
                let payment_id = today.payment_id.as_deref()?;
                let tenant = give_back(kept.tenant.clone());
                Some(payment_key(&tenant, payment_id).to_vec())
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
                 SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS row ON CONFLICT DO NOTHING",
                &[
                    (&tenants, Type::TEXT_ARRAY),
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
        tenant: row.try_get("tenant_id")?,
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
        came: row
            .try_get::<_, Option<String>>("headers")?
            .zip(row.try_get("body")?),
    })
}
