//! A replay in the embedded store: what it reads, without a lock; what it writes, in one transaction.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::Columns;
use super::engine;
use super::errors::damage;
use super::file::leave;
use super::gaps;
use super::place::{Place, store_at};
use super::write::{WriteError, effect_number};
use crate::payments::Effect;
use crate::store::replay::asked::{Mappings, Replay, ReplayMode};
use crate::store::replay::fold::{Fold, KeptEvent};
use crate::store::replay::outcome::{PaymentChange, PaymentState, ReplayFailure, Replayed};
use crate::store::replay::reading::{ReadEvent, Reading, Today};
use crate::store::row::payment_key;

/// Events that are read at once.
const PAGE: usize = 500;
/// What came meanwhile is read without a lock as well, until it is fewer events than this.
const LEFT_FOR_THE_END: u64 = 500;
/// However much comes, reading ends.
const ROUNDS_MAX: u32 = 8;

/// What today's mapping reads otherwise, and the payments of all that was read. Both are this connection's alone.
///
/// An event is noted by its key and its time as well: its number is given to another, and its key to the same that comes as a new
/// one, once it is pruned.
const NOTEBOOK: &str = "
    CREATE TEMP TABLE reread (event INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, key BLOB NOT NULL, received_at INTEGER NOT NULL,
        kind TEXT, occurred_at INTEGER, payment_key BLOB, payment_id TEXT,
        status TEXT, amount_minor INTEGER, amount_refunded_minor INTEGER, currency TEXT, named_payment_id TEXT,
        fetch_needed INTEGER NOT NULL);
    CREATE TEMP TABLE touched (payment INTEGER PRIMARY KEY, checked INTEGER NOT NULL DEFAULT 0);
    CREATE TEMP TABLE rebuild (payment INTEGER PRIMARY KEY)";

/// The place alone bounds it from below: of two such bounds SQLite seeks the one and reads through to the other.
pub(super) const EVENTS: &str = "
    SELECT e.event, e.key, e.received_at, e.event_id, p.name AS producer, e.kind, e.occurred_at, y.payment_id, e.status, e.amount_minor,
        e.amount_refunded_minor, e.currency, e.named_payment_id, e.payment, b.headers, b.body, e.fetch_needed,
        e.verdict = 1 AS conflict
    FROM events e JOIN producers p ON p.producer = e.producer LEFT JOIN payments y ON y.payment = e.payment
        LEFT JOIN bodies b ON b.event = e.event
    WHERE e.tenant = ?1 AND (e.received_at, e.event) > (?2, ?3)
        AND e.event > ?4 AND e.event <= ?5 AND e.verdict IN (0, 1) AND (?6 IS NULL OR p.name = ?6)
    ORDER BY e.received_at, e.event LIMIT ?7";

pub(in crate::store) fn run(
    path: &Path,
    replay: &Replay,
    mappings: &Mappings,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Replayed, ReplayFailure> {
    store_at(path)?;
    let connection = engine::open(path)?;
    let place = Place::of(path);
    let again = Again {
        connection: &connection,
        replay,
        mappings,
    };
    let replayed = again.run(progress);
    leave(&place, &connection);
    replayed.map_err(|error| match damage(path, error.into()) {
        Ok(fault) => fault.into(),
        Err(source) => ReplayFailure::Statement { source },
    })
}

struct Again<'a> {
    connection: &'a Connection,
    replay: &'a Replay,
    mappings: &'a Mappings,
}

struct Kept {
    event: i64,
    key: [u8; 16],
    read: ReadEvent,
    payment: Option<i64>,
    conflict: bool,
    came: Option<(String, Vec<u8>)>,
}

impl Again<'_> {
    fn run(&self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<Replayed, WriteError> {
        self.connection.execute_batch(NOTEBOOK)?;
        let tenants = self.tenants()?;
        let mut replayed = Replayed::default();
        let mut seen = 0;
        self.read_what_came(&tenants, &mut seen, &mut replayed, progress)?;
        for _ in 1..ROUNDS_MAX {
            // Before a reading, and not after the last: it takes its time, in which more comes.
            self.look_for_unsound_payments()?;
            let read = self.read_what_came(&tenants, &mut seen, &mut replayed, progress)?;
            if read < LEFT_FOR_THE_END {
                break;
            }
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome =
            self.write(&tenants, seen, &mut replayed)
                .and_then(|()| match self.replay.mode {
                    ReplayMode::Commit => Ok(self.connection.execute_batch("COMMIT")?),
                    ReplayMode::DryRun => Ok(self.connection.execute_batch("ROLLBACK")?),
                });
        if outcome.is_err() && !self.connection.is_autocommit() {
            // Closing the connection would do it as well.
            let _rolled_back = self.connection.execute_batch("ROLLBACK");
        }
        outcome.map(|()| replayed)
    }

    fn tenants(&self) -> rusqlite::Result<Vec<(i64, String)>> {
        self.connection
            .prepare("SELECT tenant, tenant_id FROM tenants WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY tenant")?
            .query_map([&self.replay.tenant], |row| Ok((row.get("tenant")?, row.get("tenant_id")?)))?
            .collect()
    }

    /// Below zero stands what is forgotten.
    fn since(&self) -> i64 {
        self.replay.since.as_microsecond().max(0)
    }

    fn last_event(&self) -> rusqlite::Result<i64> {
        self.connection
            .query_row("SELECT ifnull(max(event), 0) FROM events", [], |row| {
                row.get(0)
            })
    }

    fn count(&self, tenants: &[(i64, String)], after: i64, to: i64) -> rusqlite::Result<u64> {
        let mut count = 0_u64;
        let since = self.since();
        for (tenant, _) in tenants {
            let events: i64 = self
                .connection
                .prepare_cached(
                    "SELECT count(*) FROM events WHERE tenant = ?1 AND received_at >= ?2 AND event > ?3 AND event <= ?4",
                )?
                .query_row(params![tenant, since, after, to], |row| row.get(0))?;
            count = count.saturating_add(events.unsigned_abs());
        }
        Ok(count)
    }

    /// Reads all that was not `seen` yet, without a lock. Tells how many events that were.
    fn read_what_came(
        &self,
        tenants: &[(i64, String)],
        seen: &mut i64,
        replayed: &mut Replayed,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<u64, WriteError> {
        let last = self.last_event()?;
        let before = replayed.events_read;
        let total = before.saturating_add(self.count(tenants, *seen, last)?);
        self.read(tenants, *seen..last, replayed, &mut |read| {
            progress(read, total);
        })?;
        *seen = last;
        Ok(replayed.events_read.saturating_sub(before))
    }

    /// Reads the events after the range's start up to its end, and notes what is otherwise today.
    fn read(
        &self,
        tenants: &[(i64, String)],
        range: std::ops::Range<i64>,
        replayed: &mut Replayed,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        for (tenant, tenant_id) in tenants {
            let mut after = (self.since(), i64::MIN);
            loop {
                let page = self.page(*tenant, after, &range)?;
                for kept in &page {
                    after = (kept.read.received_at, kept.event);
                    self.read_event((*tenant, tenant_id), kept, replayed)?;
                }
                progress(replayed.events_read);
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }

    fn page(
        &self,
        tenant: i64,
        after: (i64, i64),
        range: &std::ops::Range<i64>,
    ) -> rusqlite::Result<Vec<Kept>> {
        let mut statement = self.connection.prepare_cached(EVENTS)?;
        let columns = Columns::of(&statement);
        statement
            .query_map(
                params![
                    tenant,
                    after.0,
                    after.1,
                    range.start,
                    range.end,
                    self.replay.producer,
                    PAGE as i64
                ],
                |row| {
                    let row = columns.name(row);
                    let headers: Option<String> = row.get("headers")?;
                    let body: Option<Vec<u8>> = row.get("body")?;
                    Ok(Kept {
                        event: row.get("event")?,
                        key: row.get("key")?,
                        read: ReadEvent {
                            received_at: row.get("received_at")?,
                            event_id: row.get("event_id")?,
                            producer: row.get("producer")?,
                            reading: Reading {
                                kind: row.get("kind")?,
                                occurred_at: row.get("occurred_at")?,
                                payment_id: row.get("payment_id")?,
                                status: row.get("status")?,
                                amount_minor: row.get("amount_minor")?,
                                amount_refunded_minor: row.get("amount_refunded_minor")?,
                                currency: row.get("currency")?,
                                named_payment_id: row.get("named_payment_id")?,
                                fetch_needed: row.get("fetch_needed")?,
                            },
                        },
                        payment: row.get("payment")?,
                        conflict: row.get("conflict")?,
                        came: headers.zip(body),
                    })
                },
            )?
            .collect()
    }

    fn read_event(
        &self,
        (tenant, tenant_id): (i64, &str),
        kept: &Kept,
        replayed: &mut Replayed,
    ) -> Result<(), WriteError> {
        replayed.events_read = replayed.events_read.saturating_add(1);
        let profile = self.mappings.of(tenant_id, &kept.read.producer);
        let (Some(profile), Some((headers, body))) = (profile, &kept.came) else {
            replayed.events_left = replayed.events_left.saturating_add(1);
            return Ok(());
        };
        let (today, why) = kept.read.today(profile, headers, body);
        replayed.tell_of(tenant_id, &kept.read, why);
        if let Some(payment) = kept.payment {
            self.connection
                .prepare_cached("INSERT OR IGNORE INTO touched (payment) VALUES (?1)")?
                .execute([payment])?;
        }
        let today = match today {
            Today::Read(today) if kept.conflict => Today::Read(today.aside()),
            other @ (Today::Read(_) | Today::Left) => other,
        };
        let today = match today {
            Today::Read(today) if today == kept.read.reading => return Ok(()),
            Today::Read(today) => today,
            Today::Left => {
                replayed.events_left = replayed.events_left.saturating_add(1);
                return Ok(());
            }
        };
        replayed.events_changed = replayed.events_changed.saturating_add(1);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO reread VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                kept.event,
                tenant,
                kept.key,
                kept.read.received_at,
                today.kind,
                today.occurred_at,
                today.payment_id.as_deref().map(payment_key),
                today.payment_id,
                today.status,
                today.amount_minor,
                today.amount_refunded_minor,
                today.currency,
                today.named_payment_id,
                today.fetch_needed,
            ])?;
        Ok(())
    }

    /// A row that is not what its events come to is made anew even where no claim changed: this is how a damaged one is mended.
    fn look_for_unsound_payments(&self) -> Result<(), WriteError> {
        loop {
            let page: Vec<i64> = self
                .connection
                .prepare_cached("SELECT payment FROM touched WHERE checked = 0 LIMIT ?1")?
                .query_map([PAGE as i64], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            if page.is_empty() {
                return Ok(());
            }
            // One moment for a payment and its events.
            let moment = self.connection.unchecked_transaction()?;
            for payment in page {
                let folded = self.fold(payment)?;
                let state: Option<String> = self
                    .connection
                    .prepare_cached("SELECT state FROM payments WHERE payment = ?1")?
                    .query_row([payment], |row| row.get(0))
                    .optional()?;
                let sound = folded.fold.payment.map(|payment| payment.encode()) == state
                    && folded.effects.is_empty();
                if !sound && !gaps::has_forgotten(self.connection, payment)? {
                    self.rebuild_later(payment)?;
                }
                self.connection
                    .prepare_cached("UPDATE touched SET checked = 1 WHERE payment = ?1")?
                    .execute([payment])?;
            }
            moment.commit()?;
        }
    }

    fn rebuild_later(&self, payment: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO rebuild (payment) VALUES (?1)")?
            .execute([payment])
            .map(drop)
    }

    fn write(
        &self,
        tenants: &[(i64, String)],
        seen: i64,
        replayed: &mut Replayed,
    ) -> Result<(), WriteError> {
        let last = self.last_event()?;
        self.read(tenants, seen..last, replayed, &mut |_| {})?;
        gaps::set_apart(self.connection, replayed)?;
        self.move_events()?;
        let mut after = 0_i64;
        loop {
            let next: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT payment FROM rebuild WHERE payment > ?1 ORDER BY payment LIMIT 1",
                )?
                .query_row([after], |row| row.get(0))
                .optional()?;
            let Some(payment) = next else {
                return Ok(());
            };
            after = payment;
            self.rebuild(payment, replayed)?;
        }
    }

    /// Gives each event that is read otherwise its new columns, and the payment that it speaks of now.
    fn move_events(&self) -> Result<(), WriteError> {
        let mut after = 0_i64;
        loop {
            let next = self
                .connection
                .prepare_cached(
                    "SELECT r.event, e.tenant, e.payment, r.payment_key, r.payment_id
                     FROM reread r JOIN events e ON e.event = r.event AND e.key = r.key AND e.received_at = r.received_at
                     WHERE r.event > ?1 ORDER BY r.event LIMIT 1",
                )?
                .query_row([after], |row| {
                    let key: Option<[u8; 16]> = row.get("payment_key")?;
                    let id: Option<String> = row.get("payment_id")?;
                    Ok((row.get("event")?, row.get("tenant")?, row.get("payment")?, key.zip(id)))
                })
                .optional()?;
            let Some((event, tenant, old, named)): Option<(i64, i64, Option<i64>, _)> = next else {
                return Ok(());
            };
            after = event;
            let new = match named {
                Some((key, id)) => Some(self.payment_of(tenant, key, &id)?),
                None => None,
            };
            for payment in [old, new].into_iter().flatten() {
                self.rebuild_later(payment)?;
            }
            self.connection
                .prepare_cached(
                    "UPDATE events SET payment = ?2, effect = iif(?2 IS NULL AND verdict = 0, ?3, effect), kind = r.kind,
                         occurred_at = r.occurred_at, status = r.status, amount_minor = r.amount_minor,
                         amount_refunded_minor = r.amount_refunded_minor, currency = r.currency,
                         named_payment_id = r.named_payment_id, fetch_needed = r.fetch_needed
                     FROM reread r
                     WHERE r.event = events.event AND r.key = events.key AND r.received_at = events.received_at
                         AND events.event = ?1",
                )?
                .execute(params![event, new, effect_number(Effect::Unmapped)])?;
        }
    }

    /// The number of a payment. A new one is empty until it is made of its events.
    fn payment_of(&self, tenant: i64, key: [u8; 16], payment_id: &str) -> rusqlite::Result<i64> {
        let found = self
            .connection
            .prepare_cached("SELECT payment FROM payments WHERE tenant = ?1 AND key = ?2")?
            .query_row(params![tenant, key], |row| row.get(0))
            .optional()?;
        if let Some(payment) = found {
            return Ok(payment);
        }
        self.connection
            .prepare_cached(
                "INSERT INTO payments (tenant, key, payment_id, events, changed_at, state) VALUES (?1, ?2, ?3, 0, 0, '')",
            )?
            .execute(params![tenant, key, payment_id])?;
        Ok(self.connection.last_insert_rowid())
    }

    fn rebuild(&self, payment: i64, replayed: &mut Replayed) -> Result<(), WriteError> {
        let (tenant_id, payment_id, before) = self
            .connection
            .prepare_cached(
                "SELECT t.tenant_id, y.payment_id, y.status, y.amount_minor, y.amount_refunded_minor, y.currency,
                     y.last_event_id, y.events
                 FROM payments y JOIN tenants t ON t.tenant = y.tenant WHERE y.payment = ?1",
            )?
            .query_row([payment], |row| {
                let state = PaymentState {
                    status: row.get("status")?,
                    amount_minor: row.get("amount_minor")?,
                    amount_refunded_minor: row.get("amount_refunded_minor")?,
                    currency: row.get("currency")?,
                    last_event_id: row.get("last_event_id")?,
                    events: row.get("events")?,
                };
                Ok((row.get("tenant_id")?, row.get("payment_id")?, Some(state)))
            })?;
        let before = before.filter(|state| state.events > 0);
        let folded = self.fold(payment)?;
        for (event, effect) in &folded.effects {
            self.connection
                .prepare_cached("UPDATE events SET effect = ?2 WHERE event = ?1")?
                .execute(params![event, effect_number(*effect)])?;
        }
        let after = folded.fold.payment.as_ref().map(PaymentState::from);
        match &folded.fold.payment {
            None => {
                self.connection
                    .prepare_cached("DELETE FROM payments WHERE payment = ?1")?
                    .execute([payment])?;
            }
            Some(state) => {
                self.connection
                    .prepare_cached(
                        "UPDATE payments SET status = ?2, amount_minor = ?3, amount_refunded_minor = ?4, currency = ?5,
                             occurred_at = ?6, last_event_id = ?7, events = ?8, changed_at = ?9, state = ?10
                         WHERE payment = ?1",
                    )?
                    .execute(params![
                        payment,
                        state.status().map(|status| status.as_str()),
                        state.amount_minor(),
                        state.amount_refunded_minor(),
                        state.currency().as_ref().map(|currency| currency.code()),
                        state.occurred_at().map(Timestamp::as_microsecond),
                        state.last_event_id(),
                        state.events() as i64,
                        folded.fold.changed_at,
                        state.encode(),
                    ])?;
            }
        }
        replayed.tell(PaymentChange {
            tenant_id,
            payment_id,
            before,
            after,
        });
        Ok(())
    }

    /// What the events of a payment come to, in the order in which they came, and the effects that differ from those kept.
    fn fold(&self, payment: i64) -> Result<Folded, WriteError> {
        let mut folded = Folded::default();
        let mut statement = self.connection.prepare_cached(
            "SELECT e.event, y.payment_id, e.occurred_at, e.received_at, e.event_id, p.name AS producer, e.status, e.amount_minor,
                 e.amount_refunded_minor, e.currency, e.effect
             FROM events e JOIN payments y ON y.payment = e.payment JOIN producers p ON p.producer = e.producer
             WHERE e.tenant = y.tenant AND e.payment = ?1 AND e.verdict = 0 ORDER BY e.event",
        )?;
        let columns = Columns::of(&statement);
        let mut rows = statement.query([payment])?;
        while let Some(row) = rows.next()? {
            let row = columns.name(row);
            let payment_id: String = row.get("payment_id")?;
            let event_id: String = row.get("event_id")?;
            let status: Option<String> = row.get("status")?;
            let currency: Option<String> = row.get("currency")?;
            let effect = folded.fold.take(&KeptEvent {
                payment_id: &payment_id,
                producer: row.get("producer")?,
                event_id: &event_id,
                occurred_at: row.get("occurred_at")?,
                received_at: row.get("received_at")?,
                status: status.as_deref(),
                amount_minor: row.get("amount_minor")?,
                amount_refunded_minor: row.get("amount_refunded_minor")?,
                currency: currency.as_deref(),
            });
            if row.get::<Option<i64>>("effect")? != Some(effect_number(effect)) {
                folded.effects.push((row.get("event")?, effect));
            }
        }
        Ok(folded)
    }
}

#[derive(Default)]
struct Folded {
    fold: Fold,
    effects: Vec<(i64, Effect)>,
}
