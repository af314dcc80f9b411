//! What a replay must leave as it is: payments that cannot be made anew, for an event of theirs has lost its body or its row to
//! its age, and whatever hangs together with them by events that would move from one to the other.

use rusqlite::Connection;

use crate::store::replay::outcome::{Replayed, SkippedPayment};

/// What would move whither, and the payments with a gap. Both are this connection's alone.
const NOTEBOOK: &str = "
    CREATE TEMP TABLE moving (event INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, from_key BLOB, to_key BLOB);
    CREATE TEMP TABLE gapped (tenant INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (tenant, key))";

/// Of the payments that are to be made anew, those of which an event lacks its body, or its row: a payment counts its events.
const LACKING: &str = "
    INSERT INTO gapped SELECT y.tenant, y.key FROM payments y
    WHERE y.payment IN (
            SELECT payment FROM rebuild
            UNION SELECT y.payment FROM moving m JOIN payments y ON y.tenant = m.tenant AND y.key IN (m.from_key, m.to_key))
        AND ((SELECT count(*) FROM events e WHERE e.tenant = y.tenant AND e.payment = y.payment AND e.verdict = 0) < y.events
            OR EXISTS (SELECT 1 FROM events e LEFT JOIN bodies b ON b.event = e.event
                WHERE e.tenant = y.tenant AND e.payment = y.payment AND e.verdict = 0 AND b.event IS NULL))";

/// An event that was forgotten since it was read belongs to a payment that it cannot be moved to any more.
const FORGOTTEN: &str = "
    INSERT OR IGNORE INTO gapped SELECT r.tenant, r.payment_key FROM reread r
    WHERE r.payment_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e
            WHERE e.event = r.event AND e.key = r.key AND e.received_at = r.received_at AND e.verdict = 0)";

/// An event stays where it is if either of its payments must: then the other lacks it, or has it still.
const NEIGHBOURS: &str = "
    INSERT OR IGNORE INTO gapped SELECT m.tenant, m.other FROM (
        SELECT tenant, from_key AS one, to_key AS other FROM moving
        UNION ALL SELECT tenant, to_key, from_key FROM moving) m
    JOIN gapped g ON g.tenant = m.tenant AND g.key = m.one WHERE m.other IS NOT NULL";

/// Whether an event of this payment was forgotten: what is left of it cannot be compared with its state.
pub(super) fn has_forgotten(connection: &Connection, payment: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM events e WHERE e.tenant = y.tenant AND e.payment = y.payment AND e.verdict = 0) < y.events
             FROM payments y WHERE y.payment = ?1",
        )?
        .query_row([payment], |row| row.get(0))
}

/// Takes out of what a replay is about to write all that would make a payment of a part of its events, and names the payments
/// that are left as they are. Once for a connection.
pub(super) fn set_apart(connection: &Connection, replayed: &mut Replayed) -> rusqlite::Result<()> {
    connection.execute_batch(NOTEBOOK)?;
    connection.execute_batch(
        "INSERT INTO moving SELECT r.event, r.tenant, y.key, r.payment_key
         FROM reread r JOIN events e ON e.event = r.event AND e.key = r.key AND e.received_at = r.received_at
             LEFT JOIN payments y ON y.payment = e.payment WHERE e.verdict IN (0, 1)",
    )?;
    connection.execute(LACKING, [])?;
    connection.execute(FORGOTTEN, [])?;
    while connection.execute(NEIGHBOURS, [])? > 0 {}
    let gapped = connection.query_row("SELECT count(*) FROM gapped", [], |row| {
        row.get::<_, i64>(0)
    })?;
    replayed.payments_skipped = gapped.unsigned_abs();
    replayed.skipped = connection
        .prepare(
            "SELECT t.tenant_id, coalesce(y.payment_id,
                 (SELECT payment_id FROM reread r WHERE r.tenant = g.tenant AND r.payment_key = g.key LIMIT 1)) AS payment_id
             FROM gapped g JOIN tenants t ON t.tenant = g.tenant LEFT JOIN payments y ON y.tenant = g.tenant AND y.key = g.key
             ORDER BY 1, 2 LIMIT ?1",
        )?
        .query_map([Replayed::CHANGES_MAX as i64], |row| {
            Ok(SkippedPayment {
                tenant_id: row.get("tenant_id")?,
                payment_id: row.get("payment_id")?,
                skipped: true,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let left = connection.execute(
        "DELETE FROM reread WHERE event NOT IN (SELECT event FROM moving)
             OR event IN (SELECT m.event FROM moving m JOIN gapped g ON g.tenant = m.tenant AND g.key IN (m.from_key, m.to_key))",
        [],
    )?;
    replayed.events_changed = replayed.events_changed.saturating_sub(left as u64);
    replayed.events_left = replayed.events_left.saturating_add(left as u64);
    connection
        .execute(
            "DELETE FROM rebuild WHERE payment IN (
                 SELECT y.payment FROM gapped g JOIN payments y ON y.tenant = g.tenant AND y.key = g.key)",
            [],
        )
        .map(drop)
}
