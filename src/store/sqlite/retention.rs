//! Pruning the embedded store: what has had its time is looked for on a reading connection, and let go in small steps on the
//! writing one, each a short transaction of its own.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::store::retention::keep::Cutoffs;
use crate::store::retention::pruned::{DiskUse, Tally};

/// Events of one step, at most.
const STEP_EVENTS: usize = 400;
/// Bytes of bodies of one step, at most, but for one body: each page of a long one is read before it is given up.
const STEP_BYTES: i64 = 4 << 20;
/// Entries of the index by time that one look passes over, at most.
const LOOK_EVENTS: i64 = 20_000;

/// What one step lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Going {
    /// Bodies and headers alone.
    Bodies,
    /// Events, but for what recognises them.
    Events,
    /// Events, and with them what recognises them.
    EventsAndKeys,
    /// What recognised events that went before.
    Keys,
}

/// A step: events of one tenant that were received before a moment, in microseconds.
#[derive(Clone, Debug)]
pub(in crate::store) struct Step {
    pub(super) tenant: i64,
    pub(super) going: Going,
    pub(super) before: i64,
    /// Numbers of events, and how long what came with each is.
    pub(in crate::store) events: Vec<(i64, i64)>,
}

/// A place in the index by time.
pub(in crate::store) type Position = (i64, i64);

/// What a look found.
#[derive(Debug)]
pub(in crate::store) struct Found {
    pub(in crate::store) step: Step,
    /// How far it looked.
    pub(in crate::store) position: Position,
    /// Whether there is nothing behind that.
    pub(in crate::store) ended: bool,
}

/// The tenants' numbers and ids.
pub(in crate::store) fn tenants(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    connection
        .prepare_cached("SELECT tenant, tenant_id FROM tenants ORDER BY tenant_id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// When the latest event came that came at this moment or before it.
pub(in crate::store) fn witness(
    connection: &Connection,
    settled: i64,
) -> rusqlite::Result<Option<i64>> {
    let mut latest = None;
    for (tenant, _) in tenants(connection)? {
        let kept: Option<i64> = connection
            .prepare_cached(
                "SELECT max(received_at) FROM events WHERE tenant = ?1 AND received_at >= 0 AND received_at <= ?2",
            )?
            .query_row([tenant, settled], |row| row.get(0))?;
        let forgotten: Option<i64> = connection
            .prepare_cached(
                "SELECT ~min(received_at) FROM events WHERE tenant = ?1 AND received_at < 0 AND received_at >= ~?2",
            )?
            .query_row([tenant, settled], |row| row.get(0))?;
        latest = latest.max(kept).max(forgotten);
    }
    Ok(latest)
}

/// The oldest of a tenant (1) that came before a moment (2), from a place on (3, 4), so many (5): times, numbers, lengths.
///
/// The place alone bounds them on its side, and keeps the kept and the forgotten apart ([`beginning`]): of two such bounds
/// SQLite seeks the one and reads through to the other, which is all that was looked through before.
pub(super) fn oldest(going: Going) -> &'static str {
    match going {
        // No event before the first that has a body has one: those are passed over without a look at the bodies.
        Going::Bodies => {
            "SELECT e.received_at, e.event, octet_length(b.body) + octet_length(b.headers)
             FROM events e LEFT JOIN bodies b ON b.event = e.event
             WHERE e.tenant = ?1 AND e.received_at < ?2 AND (e.received_at, e.event) > (?3, ?4)
                 AND e.event >= (SELECT min(event) FROM bodies)
             ORDER BY e.received_at, e.event LIMIT ?5"
        }
        Going::Events | Going::EventsAndKeys => {
            "SELECT e.received_at, e.event, ifnull(octet_length(b.body) + octet_length(b.headers), 0)
             FROM events e LEFT JOIN bodies b ON b.event = e.event
             WHERE e.tenant = ?1 AND e.received_at < ?2 AND (e.received_at, e.event) > (?3, ?4)
             ORDER BY e.received_at, e.event LIMIT ?5"
        }
        Going::Keys => {
            "SELECT ~received_at, event, 0 FROM events
             WHERE tenant = ?1 AND received_at > ~?2 AND (received_at, event) < (~?3, ?4)
             ORDER BY received_at DESC, event DESC LIMIT ?5"
        }
    }
}

/// Looks for the oldest that has had its time, from a place in the index by time on.
pub(in crate::store) fn look(
    connection: &Connection,
    tenant: i64,
    going: Going,
    before: i64,
    from: Position,
) -> rusqlite::Result<Found> {
    let mut found = Found {
        step: Step {
            tenant,
            going,
            before,
            events: Vec::new(),
        },
        position: from,
        ended: false,
    };
    let mut statement = connection.prepare_cached(oldest(going))?;
    let mut rows = statement.query(params![tenant, before, from.0, from.1, LOOK_EVENTS])?;
    let (mut looked, mut bytes) = (0, 0_i64);
    while let Some(row) = rows.next()? {
        let length: Option<i64> = row.get(2)?;
        if let Some(length) = length {
            bytes = bytes.saturating_add(length);
            if !found.step.events.is_empty() && bytes > STEP_BYTES {
                return Ok(found);
            }
            found.step.events.push((row.get(1)?, length));
        }
        found.position = (row.get(0)?, row.get(1)?);
        if found.step.events.len() >= STEP_EVENTS {
            return Ok(found);
        }
        looked += 1;
    }
    found.ended = looked < LOOK_EVENTS;
    Ok(found)
}

/// Where a look for this begins.
pub(in crate::store) fn beginning(going: Going) -> Position {
    match going {
        Going::Bodies | Going::Events | Going::EventsAndKeys => (0, i64::MIN),
        // The times of what is forgotten are looked through from zero down.
        Going::Keys => (0, i64::MAX),
    }
}

/// Lets go what a step names, within the open transaction. What changed since it was looked for stays: another process may
/// have been quicker, and a number may have been given to another event.
pub(in crate::store) fn take(connection: &Connection, step: &Step) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut bodies = connection.prepare_cached(
        "DELETE FROM bodies WHERE event = ?1 AND EXISTS (
             SELECT 1 FROM events e WHERE e.event = ?1 AND e.tenant = ?2 AND e.received_at >= 0 AND e.received_at < ?3)",
    )?;
    let mut event = connection.prepare_cached(match step.going {
        Going::Events | Going::Bodies => {
            "UPDATE events SET received_at = ~received_at, verdict = 3, producer = 0, event_id = '', kind = NULL,
                 effect = NULL, occurred_at = NULL, secret = NULL, leaf = 0, payment = NULL, status = NULL,
                 amount_minor = NULL, amount_refunded_minor = NULL, currency = NULL, named_payment_id = NULL,
                 fetch_needed = 0
             WHERE event = ?1 AND tenant = ?2 AND received_at >= 0 AND received_at < ?3"
        }
        Going::EventsAndKeys => {
            "DELETE FROM events WHERE event = ?1 AND tenant = ?2 AND received_at >= 0 AND received_at < ?3"
        }
        Going::Keys => {
            "DELETE FROM events WHERE event = ?1 AND tenant = ?2 AND received_at < 0 AND received_at > ~?3"
        }
    })?;
    for (number, length) in &step.events {
        let meant = params![number, step.tenant, step.before];
        if step.going != Going::Keys && bodies.execute(meant)? > 0 {
            tally.bodies = tally.bodies.saturating_add(1);
            tally.bytes = tally.bytes.saturating_add(length.unsigned_abs());
        }
        let gone = match step.going {
            Going::Bodies => 0,
            Going::Events | Going::EventsAndKeys | Going::Keys => event.execute(meant)? as u64,
        };
        match step.going {
            Going::Bodies => {}
            Going::Events => tally.events = tally.events.saturating_add(gone),
            Going::EventsAndKeys => {
                tally.events = tally.events.saturating_add(gone);
                tally.keys = tally.keys.saturating_add(gone);
            }
            Going::Keys => tally.keys = tally.keys.saturating_add(gone),
        }
    }
    Ok(tally)
}

/// How much of a tenant's has had its time.
pub(in crate::store) fn count(
    connection: &Connection,
    tenant: i64,
    cutoffs: Cutoffs,
) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    if let Some(before) = cutoffs.bodies {
        (tally.bodies, tally.bytes) = connection
            .prepare_cached(
                "SELECT count(*), ifnull(sum(octet_length(b.body) + octet_length(b.headers)), 0)
                 FROM events e CROSS JOIN bodies b ON b.event = e.event
                 WHERE e.tenant = ?1 AND e.received_at >= 0 AND e.received_at < ?2 AND e.event >= (SELECT min(event) FROM bodies)",
            )?
            .query_row([tenant, before], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
    }
    let mut kept = connection.prepare_cached(
        "SELECT count(*) FROM events WHERE tenant = ?1 AND received_at >= 0 AND received_at < ?2",
    )?;
    if let Some(before) = cutoffs.events {
        tally.events = kept.query_row([tenant, before], |row| number(row, 0))?;
    }
    if let Some(before) = cutoffs.keys {
        let forgotten = connection
            .prepare_cached(
                "SELECT count(*) FROM events WHERE tenant = ?1 AND received_at < 0 AND received_at > ~?2",
            )?
            .query_row([tenant, before], |row| number(row, 0))?;
        tally.keys = kept.query_row([tenant, before], |row| number(row, 0))? + forgotten;
    }
    Ok(tally)
}

/// What the file and its log take on disk.
pub(in crate::store) fn disk_use(
    connection: &Connection,
    path: &Path,
) -> rusqlite::Result<DiskUse> {
    let pragma = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Ok(DiskUse {
        bodies: None,
        store: bytes(path),
        log: Some(bytes(Path::new(&log))),
        free: Some(pragma("freelist_count")?.saturating_mul(pragma("page_size")?)),
    })
}
