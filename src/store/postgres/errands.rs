//! What is written to PostgreSQL beside the batches: names, refusals, and which certificates and secrets are in use.
//!
//! Each statement is a transaction of its own and takes its locks in the order of its keys; only an errand's are one together, in
//! the order of the kinds of an export, so that what failed is none of it done, and nothing is counted twice.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::batch::durably;
use super::shadows;
use super::text::hold;
use crate::refusals::{Book, Change};
use crate::store::errands::Work;
use crate::store::row::Row;
use crate::store::seen::{LeafSighting, SecretSighting};
use crate::x509::Certificate;

/// Writes a row, durably.
pub(in crate::store) async fn probe(client: &Client) -> Result<(), Error> {
    client
        .execute_typed(
            concat!(
                "INSERT INTO countersign.probes AS p (tenant_id, at)
                 SELECT '', extract(epoch FROM now()) * 1000000 FROM ",
                durably!(),
                " ON CONFLICT (tenant_id) DO UPDATE SET at = excluded.at"
            ),
            &[],
        )
        .await
        .map(drop)
}

/// What another session holds, so that no delivery can be written until it lets go.
#[derive(Debug, thiserror::Error)]
#[error("{0}: no delivery can be written until it ends, of itself or by pg_terminate_backend")]
pub(in crate::store) struct Held(String);

/// Finds out whether a whole table that deliveries are written to is held. What holds single rows passes, or is another delivery's.
pub(in crate::store) async fn held(client: &Client) -> Result<Option<Held>, Error> {
    let rows = client
        .query_typed(
            "SELECT concat_ws(' ', 'the session with pid', l.pid, 'of', a.usename, a.application_name, 'holds the table', c.relname, 'as', l.mode)
             FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relname IN ('events', 'bodies', 'payments')
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'countersign'
             JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
             LEFT JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.granted AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
             ORDER BY a.xact_start, l.pid LIMIT 1",
            &[],
        )
        .await?;
    rows.first().map(|row| row.try_get(0).map(Held)).transpose()
}

/// Writes the tenants, producers, secrets and certificates of these events, where they are new.
pub(super) async fn write_names(client: &Client, rows: &[&Row]) -> Result<(), Error> {
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.as_str()).collect();
    let producers: Vec<_> = rows.iter().map(|row| hold(&row.producer)).collect();
    let times: Vec<_> = rows.iter().map(|row| row.received_at).collect();
    producers_of(client, &tenants, &producers).await?;
    let secrets: Vec<_> = rows
        .iter()
        .map(|row| row.secret.as_deref().map(hold))
        .collect();
    client
        .execute_typed(
            "INSERT INTO countersign.secrets (tenant_id, producer, reference, first_used, last_used)
             SELECT tenant_id, producer, reference, min(at), min(at)
             FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[]) AS row (tenant_id, producer, reference, at)
             WHERE reference IS NOT NULL GROUP BY 1, 2, 3
             ORDER BY tenant_id COLLATE \"C\", producer COLLATE \"C\", reference COLLATE \"C\" ON CONFLICT DO NOTHING",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&producers, Type::TEXT_ARRAY),
                (&secrets, Type::TEXT_ARRAY),
                (&times, Type::INT8_ARRAY),
            ],
        )
        .await?;
    let leaves: Vec<_> = rows
        .iter()
        .map(|row| LeafRow {
            tenant: row.tenant.as_str(),
            producer: &row.producer,
            leaf: &row.leaf,
            anchor: None,
            first: row.received_at,
            last: row.received_at,
        })
        .collect();
    write_leaves(client, &leaves).await
}

async fn producers_of(
    client: &Client,
    tenants: &(dyn ToSql + Sync),
    producers: &(dyn ToSql + Sync),
) -> Result<(), Error> {
    client
        .execute_typed(
            "INSERT INTO countersign.tenants (tenant_id) SELECT tenant_id
             FROM (SELECT DISTINCT unnest($1::text[]) COLLATE \"C\" AS tenant_id) row ORDER BY 1 ON CONFLICT DO NOTHING",
            &[(tenants, Type::TEXT_ARRAY)],
        )
        .await?;
    client
        .execute_typed(
            "INSERT INTO countersign.producers (tenant_id, name) SELECT DISTINCT tenant_id COLLATE \"C\", name COLLATE \"C\"
             FROM unnest($1::text[], $2::text[]) AS row (tenant_id, name) ORDER BY 1, 2 ON CONFLICT DO NOTHING",
            &[(tenants, Type::TEXT_ARRAY), (producers, Type::TEXT_ARRAY)],
        )
        .await
        .map(drop)
}

/// Does an errand, whole or not at all.
pub(super) async fn run(client: &Client, work: &Work) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    match write(client, work).await {
        Ok(()) => client.batch_execute("COMMIT").await,
        Err(error) => {
            // A session whose statement was cancelled is used again.
            let _ended = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}

async fn write(client: &Client, work: &Work) -> Result<(), Error> {
    let leaves = work.leaves.iter();
    let of_leaves = leaves.map(|seen| (seen.tenant.as_str(), hold(&seen.producer)));
    let secrets = work.secrets.iter();
    let of_secrets = secrets.map(|seen| (seen.tenant.as_str(), hold(&seen.producer)));
    let (tenants, producers): (Vec<_>, Vec<_>) = of_leaves.chain(of_secrets).unzip();
    if !producers.is_empty() {
        producers_of(client, &tenants, &producers).await?;
    }
    if !work.secrets.is_empty() {
        keep_secrets(client, &work.secrets).await?;
    }
    if !work.leaves.is_empty() {
        keep_leaves(client, &work.leaves).await?;
    }
    if !work.refusals.is_empty() {
        keep_refusals(client, &work.refusals).await?;
        bound_refusals(client).await?;
    }
    if !work.shadows.is_empty() {
        shadows::keep(client, &work.shadows).await?;
    }
    Ok(())
}

async fn keep_refusals(client: &Client, changes: &[Change]) -> Result<(), Error> {
    // All receivers name a group by one key, so the sum of what each adds is the count.
    let groups: Vec<_> = changes.iter().map(|change| &change.group).collect();
    let text = |of: fn(&crate::refusals::Group) -> Option<&str>| -> Vec<Option<_>> {
        groups.iter().map(|group| of(group).map(hold)).collect()
    };
    let keys: Vec<&[u8]> = groups.iter().map(|group| group.key.as_slice()).collect();
    let tenants: Vec<_> = groups
        .iter()
        .map(|group| {
            group
                .producer
                .as_ref()
                .map_or_else(|| hold(""), |claimed| hold(&claimed.tenant_id))
        })
        .collect();
    let gates: Vec<_> = groups.iter().map(|group| group.gate.as_str()).collect();
    let addresses: Vec<_> = groups
        .iter()
        .map(|group| group.address.to_canonical().to_string())
        .collect();
    let first: Vec<_> = groups
        .iter()
        .map(|group| group.first_seen.as_microsecond())
        .collect();
    let last: Vec<_> = groups
        .iter()
        .map(|group| group.last_seen.as_microsecond())
        .collect();
    let added: Vec<_> = changes
        .iter()
        .map(|change| i64::try_from(change.added).unwrap_or(i64::MAX))
        .collect();
    client
        .execute_typed(
            "INSERT INTO countersign.refusals AS r (tenant_id, key, gate, reason, subject, issuer, serial, address, server_name,
                 producer, detail, first_seen, last_seen, count)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                 $9::text[], $10::text[], $11::text[], $12::int8[], $13::int8[], $14::int8[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key
             ON CONFLICT (tenant_id, key) DO UPDATE SET issuer = excluded.issuer, serial = excluded.serial,
                 server_name = excluded.server_name, producer = excluded.producer, detail = excluded.detail,
                 first_seen = least(r.first_seen, excluded.first_seen),
                 last_seen = greatest(r.last_seen, excluded.last_seen), count = r.count + excluded.count",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&gates, Type::TEXT_ARRAY),
                (&text(|group| Some(&group.reason)), Type::TEXT_ARRAY),
                (&text(|group| group.subject.as_deref()), Type::TEXT_ARRAY),
                (&text(|group| group.issuer.as_deref()), Type::TEXT_ARRAY),
                (&text(|group| group.serial.as_deref()), Type::TEXT_ARRAY),
                (&addresses, Type::TEXT_ARRAY),
                (&text(|group| group.server_name.as_deref()), Type::TEXT_ARRAY),
                (&text(|group| group.producer.as_ref().map(|claimed| &*claimed.name)), Type::TEXT_ARRAY),
                (&text(|group| group.detail.as_deref()), Type::TEXT_ARRAY),
                (&first, Type::INT8_ARRAY),
                (&last, Type::INT8_ARRAY),
                (&added, Type::INT8_ARRAY),
            ],
        )
        .await
        .map(drop)
}

/// Keeps the table as small as the book: the longest silent go, strangers before claimed producers. A row that another
/// receiver is about to change stays until the next time.
async fn bound_refusals(client: &Client) -> Result<(), Error> {
    let bound = i64::try_from(Book::GROUPS_MAX).unwrap_or(i64::MAX);
    client
        .execute_typed(
            "WITH surplus AS (
                 SELECT tenant_id, key FROM countersign.refusals
                 ORDER BY producer IS NOT NULL, last_seen, key
                 LIMIT greatest(0, (SELECT count(*) FROM countersign.refusals) - $1) FOR UPDATE SKIP LOCKED
             )
             DELETE FROM countersign.refusals r USING surplus s WHERE r.tenant_id = s.tenant_id AND r.key = s.key",
            &[(&bound, Type::INT8)],
        )
        .await
        .map(drop)
}

async fn keep_leaves(client: &Client, sightings: &[LeafSighting]) -> Result<(), Error> {
    let rows: Vec<_> = sightings
        .iter()
        .map(|seen| LeafRow {
            tenant: seen.tenant.as_str(),
            producer: &seen.producer,
            leaf: &seen.leaf,
            anchor: Some(&seen.anchor),
            first: seen.first.as_microsecond(),
            last: seen.last.as_microsecond(),
        })
        .collect();
    write_leaves(client, &rows).await
}

struct LeafRow<'a> {
    tenant: &'a str,
    producer: &'a str,
    leaf: &'a Certificate,
    anchor: Option<&'a Certificate>,
    first: i64,
    last: i64,
}

/// An anchor that is not known leaves the one that is there.
async fn write_leaves(client: &Client, rows: &[LeafRow<'_>]) -> Result<(), Error> {
    let mut rows: Vec<&LeafRow<'_>> = rows.iter().collect();
    let key = |row: &LeafRow<'_>| {
        (
            row.tenant.to_owned(),
            row.producer.to_owned(),
            row.leaf.sha256().0,
        )
    };
    rows.sort_by_cached_key(|row| key(row));
    // One statement may touch a row once.
    rows.dedup_by_key(|row| key(row));
    let text = |of: &dyn Fn(&LeafRow<'_>) -> Option<String>| -> Vec<Option<String>> {
        rows.iter()
            .map(|row| of(row).map(|text| hold(&text).into_owned()))
            .collect()
    };
    let time =
        |of: &dyn Fn(&LeafRow<'_>) -> i64| -> Vec<i64> { rows.iter().map(|row| of(row)).collect() };
    let bytes = |of: &dyn Fn(&LeafRow<'_>) -> Option<Vec<u8>>| -> Vec<Option<Vec<u8>>> {
        rows.iter().map(|row| of(row)).collect()
    };
    client
        .execute_typed(
            "INSERT INTO countersign.leaves AS l (tenant_id, producer, sha256, subject, issuer, serial, spki_sha256, not_before,
                 not_after, anchor_subject, anchor_sha256, first_seen, last_seen)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::bytea[],
                 $8::int8[], $9::int8[], $10::text[], $11::bytea[], $12::int8[], $13::int8[]) AS row (tenant_id, producer, sha256)
             ORDER BY tenant_id COLLATE \"C\", producer COLLATE \"C\", sha256
             ON CONFLICT (tenant_id, producer, sha256) DO UPDATE SET last_seen = greatest(l.last_seen, excluded.last_seen),
                 anchor_subject = coalesce(excluded.anchor_subject, l.anchor_subject),
                 anchor_sha256 = coalesce(excluded.anchor_sha256, l.anchor_sha256)
             WHERE excluded.anchor_sha256 IS NOT NULL",
            &[
                (&text(&|row| Some(row.tenant.to_owned())), Type::TEXT_ARRAY),
                (&text(&|row| Some(row.producer.to_owned())), Type::TEXT_ARRAY),
                (&bytes(&|row| Some(row.leaf.sha256().0.to_vec())), Type::BYTEA_ARRAY),
                (&text(&|row| Some(row.leaf.subject().to_string())), Type::TEXT_ARRAY),
                (&text(&|row| Some(row.leaf.issuer().to_string())), Type::TEXT_ARRAY),
                (&text(&|row| Some(row.leaf.serial().to_string())), Type::TEXT_ARRAY),
                (&bytes(&|row| Some(row.leaf.spki().0.to_vec())), Type::BYTEA_ARRAY),
                (&time(&|row| row.leaf.validity().not_before.as_microsecond()), Type::INT8_ARRAY),
                (&time(&|row| row.leaf.validity().not_after.as_microsecond()), Type::INT8_ARRAY),
                (&text(&|row| row.anchor.map(|anchor| anchor.subject().to_string())), Type::TEXT_ARRAY),
                (&bytes(&|row| row.anchor.map(|anchor| anchor.sha256().0.to_vec())), Type::BYTEA_ARRAY),
                (&time(&|row| row.first), Type::INT8_ARRAY),
                (&time(&|row| row.last), Type::INT8_ARRAY),
            ],
        )
        .await
        .map(drop)
}

async fn keep_secrets(client: &Client, sightings: &[SecretSighting]) -> Result<(), Error> {
    let tenants: Vec<_> = sightings.iter().map(|seen| seen.tenant.as_str()).collect();
    let producers: Vec<_> = sightings.iter().map(|seen| hold(&seen.producer)).collect();
    let references: Vec<_> = sightings.iter().map(|seen| hold(&seen.secret)).collect();
    let first: Vec<_> = sightings
        .iter()
        .map(|seen| seen.first.as_microsecond())
        .collect();
    let last: Vec<_> = sightings
        .iter()
        .map(|seen| seen.last.as_microsecond())
        .collect();
    client
        .execute_typed(
            "INSERT INTO countersign.secrets AS s (tenant_id, producer, reference, first_used, last_used)
             SELECT tenant_id, producer, reference, min(first), max(last)
             FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[])
                 AS row (tenant_id, producer, reference, first, last)
             GROUP BY 1, 2, 3 ORDER BY tenant_id COLLATE \"C\", producer COLLATE \"C\", reference COLLATE \"C\"
             ON CONFLICT (tenant_id, producer, reference) DO UPDATE SET last_used = greatest(s.last_used, excluded.last_used)",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&producers, Type::TEXT_ARRAY),
                (&references, Type::TEXT_ARRAY),
                (&first, Type::INT8_ARRAY),
                (&last, Type::INT8_ARRAY),
            ],
        )
        .await
        .map(drop)
}
