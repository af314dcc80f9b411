//! Writing down, beside the deliveries, what was refused and what is in use.

use rusqlite::{Connection, params};

use super::names::Names;
use super::shadows;
use crate::refusals::{Book, Change};
use crate::store::errands::Work;

/// Does an errand within the open transaction.
pub(super) fn run(connection: &Connection, names: &mut Names, work: &Work) -> rusqlite::Result<()> {
    for change in &work.refusals {
        keep_refusals(connection, change)?;
    }
    if !work.refusals.is_empty() {
        bound_refusals(connection)?;
    }
    for sighting in &work.leaves {
        let producer = names.producer(connection, &sighting.tenant, &sighting.producer)?;
        let leaf = names.leaf(
            connection,
            producer,
            &sighting.leaf,
            sighting.first.as_microsecond(),
        )?;
        connection
            .prepare_cached(
                "UPDATE leaves SET last_seen = max(last_seen, ?2), anchor_subject = ?3, anchor_sha256 = ?4
                 WHERE leaf = ?1",
            )?
            .execute(params![
                leaf,
                sighting.last.as_microsecond(),
                sighting.anchor.subject().to_string(),
                sighting.anchor.sha256().0,
            ])?;
    }
    for sighting in &work.secrets {
        let producer = names.producer(connection, &sighting.tenant, &sighting.producer)?;
        let secret = names.secret(
            connection,
            producer,
            &sighting.secret,
            sighting.first.as_microsecond(),
        )?;
        connection
            .prepare_cached("UPDATE secrets SET last_used = max(last_used, ?2) WHERE secret = ?1")?
            .execute(params![secret, sighting.last.as_microsecond()])?;
    }
    shadows::keep(connection, &work.shadows)
}

fn keep_refusals(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    let group = &change.group;
    let producer = group.producer.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO refusals (key, gate, reason, subject, issuer, serial, address, server_name, tenant_id,
                 producer, detail, first_seen, last_seen, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (key) DO UPDATE SET issuer = excluded.issuer, serial = excluded.serial,
                 server_name = excluded.server_name, tenant_id = excluded.tenant_id, producer = excluded.producer,
                 detail = excluded.detail, first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen), count = count + excluded.count",
        )?
        .execute(params![
            group.key,
            group.gate.as_str(),
            group.reason,
            group.subject,
            group.issuer,
            group.serial,
            group.address.to_canonical().to_string(),
            group.server_name,
            producer.map(|claimed| &claimed.tenant_id),
            producer.map(|claimed| &claimed.name),
            group.detail,
            group.first_seen.as_microsecond(),
            group.last_seen.as_microsecond(),
            i64::try_from(change.added).unwrap_or(i64::MAX),
        ])
        .map(drop)
}

/// Keeps the table as small as the book: the longest silent go, strangers before claimed producers.
fn bound_refusals(connection: &Connection) -> rusqlite::Result<()> {
    let groups: i64 = connection
        .prepare_cached("SELECT count(*) FROM refusals")?
        .query_row([], |row| row.get(0))?;
    let surplus = groups.saturating_sub(Book::GROUPS_MAX as i64);
    if surplus > 0 {
        connection
            .prepare_cached(
                "DELETE FROM refusals WHERE refusal IN (
                     SELECT refusal FROM refusals ORDER BY producer IS NOT NULL, last_seen, refusal LIMIT ?1)",
            )?
            .execute([surplus])?;
    }
    Ok(())
}
