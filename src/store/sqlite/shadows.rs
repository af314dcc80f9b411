//! What shadow marks would have decided, in SQLite.

use rusqlite::{Connection, Row, params};

use crate::store::shadows::{ShadowTally, Shadows};
use crate::store::views::{ShadowSeen, count, millis};

/// Adds tallies to those that are kept, within the open transaction.
pub(super) fn keep(connection: &Connection, tallies: &[ShadowTally]) -> rusqlite::Result<()> {
    for tally in tallies {
        add(connection, tally)?;
    }
    if tallies.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "DELETE FROM shadows WHERE shadow IN (SELECT shadow FROM shadows ORDER BY last_seen DESC, shadow LIMIT -1 OFFSET ?1)",
        )?
        .execute([Shadows::TALLIES_MAX as i64])
        .map(drop)
}

fn add(connection: &Connection, tally: &ShadowTally) -> rusqlite::Result<()> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO shadows (key, mark, what, tenant_id, producer, subject, address, accept, agree, refuse, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (key) DO UPDATE SET address = excluded.address, accept = accept + excluded.accept,
                 agree = agree + excluded.agree, refuse = refuse + excluded.refuse,
                 first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)",
        )?
        .execute(params![
            tally.key,
            tally.mark.as_str(),
            tally.what,
            tally.tenant,
            tally.producer,
            tally.subject,
            tally.address.to_canonical().to_string(),
            number(tally.counts.accept),
            number(tally.counts.agree),
            number(tally.counts.refuse),
            tally.first.as_microsecond(),
            tally.last.as_microsecond(),
        ])
        .map(drop)
}

/// All tallies, the latest first.
pub(in crate::store) fn read(connection: &Connection) -> rusqlite::Result<Vec<ShadowSeen>> {
    let view = |row: &Row<'_>| {
        let named = |column: &str| -> rusqlite::Result<Option<String>> {
            let text: String = row.get(column)?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        };
        Ok(ShadowSeen {
            mark: row.get("mark")?,
            what: row.get("what")?,
            tenant_id: named("tenant_id")?,
            producer: named("producer")?,
            subject: row.get("subject")?,
            address: row.get("address")?,
            accept: count(row.get("accept")?),
            agree: count(row.get("agree")?),
            refuse: count(row.get("refuse")?),
            first_seen: millis(row.get("first_seen")?),
            last_seen: millis(row.get("last_seen")?),
        })
    };
    connection
        .prepare_cached(
            "SELECT mark, what, tenant_id, producer, subject, address, accept, agree, refuse, first_seen, last_seen
             FROM shadows ORDER BY last_seen DESC, shadow LIMIT ?1",
        )?
        .query_map([Shadows::TALLIES_MAX as i64], view)?
        .collect()
}
