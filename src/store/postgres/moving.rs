//! Moving a batch of the spool into PostgreSQL, exactly once.
//!
//! One transaction: how far this run of the spool was moved for this tenant, and locked; the batch; how far it is now.
//! Whoever was killed before hearing of the commit finds the mark moved on, and leaves out what is there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel};

use super::batch::{Folded, Prepared, durably};
use super::engine::{Name, Unanswered, commit, write_unknown_names};
use super::session::Session;
use crate::inbox::{Cause, Receipt};
use crate::store::row::Verdict;

/// How long a mark is kept after the last move of its run, days. Then a spool that was offline since would have what it had
/// moved just before counted as duplicates.
const MARKS_KEPT_DAYS: i64 = 30;

/// An event of the spool.
#[derive(Debug)]
pub(in crate::store) struct Moving {
    pub(in crate::store) position: i64,
    /// The database was asked to keep this very delivery before, and did not answer.
    pub(in crate::store) uncertain: bool,
    pub(in crate::store) prepared: Prepared,
}

/// Why a batch was not moved. Whatever was not committed stays in the spool.
#[derive(Debug)]
pub(in crate::store) enum MoveFailure {
    /// The database said so, or nothing.
    Database(tokio_postgres::Error),
    /// Its answer does not fit the batch.
    Answer(Cause),
}

impl From<tokio_postgres::Error> for MoveFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// What the move made of an event, or had made of it already: then it was counted before.
pub(super) type Moved<'a> = (&'a Moving, Receipt);

/// Moves events of one tenant and one run, which come in the order of their positions.
pub(in crate::store) async fn move_batch<'a>(
    session: &mut Session,
    names: &mut HashSet<Name>,
    run: &[u8],
    batch: &'a [Moving],
) -> Result<Vec<Moved<'a>>, MoveFailure> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
        return Ok(Vec::new());
    };
    let tenant = first.prepared.row.tenant.as_str();
    let rows = batch.iter().map(|moving| &moving.prepared.row);
    write_unknown_names(&session.client, names, rows).await?;
    // Whatever the database's default is: a stricter level sees what was there before the mark was waited for.
    let transaction = session
        .client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    let client = transaction.client();
    let mark = lock_mark(client, tenant, run).await?;
    let left: Vec<&Moving> = batch
        .iter()
        .filter(|moving| moving.position > mark)
        .collect();
    let there = already_there(client, &left).await?;
    let new: Vec<&Moving> = left
        .iter()
        .copied()
        .filter(|moving| !there.contains_key(&moving.position))
        .collect();
    let mut moved = Vec::with_capacity(left.len());
    if !new.is_empty() {
        let folded = Folded::fold_all(
            new.iter()
                .map(|moving| std::slice::from_ref(&moving.prepared)),
        );
        let receipts = commit(client, &folded)
            .await?
            .and_then(|answers| folded.receipts(&answers));
        let rows = folded.len();
        let receipts =
            receipts.ok_or_else(|| MoveFailure::Answer(Arc::new(Unanswered { rows })))?;
        let receipts = receipts.into_iter().flatten();
        moved.extend(new.iter().copied().zip(receipts));
    }
    moved.extend(
        left.iter()
            .filter_map(|moving| Some((*moving, *there.get(&moving.position)?))),
    );
    if last.position > mark {
        set_mark(client, tenant, run, last.position).await?;
    }
    transaction.commit().await?;
    session
        .replicated()
        .map_err(|failure| MoveFailure::Answer(Arc::new(failure)))?;
    Ok(moved)
}

/// How far this run was moved. Its row is locked until the transaction ends, and the commit is on disk when it is answered.
async fn lock_mark(
    client: &Client,
    tenant: &str,
    run: &[u8],
) -> Result<i64, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            concat!(
                "INSERT INTO countersign.spools AS s (tenant_id, spool_id, moved, moved_at)
                 SELECT $1, $2, 0, extract(epoch FROM now()) * 1000000 FROM ",
                durably!(),
                " ON CONFLICT (tenant_id, spool_id) DO UPDATE SET moved_at = excluded.moved_at RETURNING s.moved"
            ),
            &[(&tenant, Type::TEXT), (&run, Type::BYTEA)],
        )
        .await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

async fn set_mark(
    client: &Client,
    tenant: &str,
    run: &[u8],
    position: i64,
) -> Result<(), tokio_postgres::Error> {
    client
        .execute_typed(
            "UPDATE countersign.spools SET moved = $3 WHERE tenant_id = $1 AND spool_id = $2",
            &[
                (&tenant, Type::TEXT),
                (&run, Type::BYTEA),
                (&position, Type::INT8),
            ],
        )
        .await
        .map(drop)
}

/// Those whose first attempt was kept after all, and what it came to: the same event with the same body, received at the same
/// microsecond, is the same delivery, also where it was a duplicate.
async fn already_there(
    client: &Client,
    left: &[&Moving],
) -> Result<HashMap<i64, Receipt>, tokio_postgres::Error> {
    let uncertain: Vec<&Moving> = left
        .iter()
        .copied()
        .filter(|moving| moving.uncertain)
        .collect();
    if uncertain.is_empty() {
        return Ok(HashMap::new());
    }
    let tenants: Vec<&str> = uncertain
        .iter()
        .map(|moving| moving.prepared.row.tenant.as_str())
        .collect();
    let keys: Vec<&[u8]> = uncertain
        .iter()
        .map(|moving| moving.prepared.row.key.as_slice())
        .collect();
    let other_keys: Vec<&[u8]> = uncertain
        .iter()
        .map(|moving| moving.prepared.other_key())
        .collect();
    let times: Vec<i64> = uncertain
        .iter()
        .map(|moving| moving.prepared.row.received_at)
        .collect();
    let bodies: Vec<&[u8]> = uncertain
        .iter()
        .map(|moving| moving.prepared.row.body_sha256.as_slice())
        .collect();
    let rows = client
        .query_typed(
            "SELECT u.i AS ordinal, e.verdict, e.received_at <> u.received_at AS came_again
             FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::int8[], $5::bytea[]) WITH ORDINALITY
                 AS u (tenant_id, key, other_key, received_at, body_sha256, i)
             JOIN countersign.events e ON e.tenant_id = u.tenant_id AND e.key IN (u.key, u.other_key)
                 AND e.body_sha256 = u.body_sha256
                 AND (e.received_at = u.received_at OR u.received_at = ANY (e.came_again))",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&other_keys, Type::BYTEA_ARRAY),
                (&times, Type::INT8_ARRAY),
                (&bodies, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    let mut there = HashMap::new();
    for row in rows {
        let (ordinal, verdict): (i64, i16) = (row.try_get("ordinal")?, row.try_get("verdict")?);
        let came_again: bool = row.try_get("came_again")?;
        let index = usize::try_from(ordinal).unwrap_or(0).wrapping_sub(1);
        if let Some(moving) = uncertain.get(index) {
            let receipt = match i64::from(verdict) {
                quarantined if quarantined == Verdict::Quarantined.number() => Receipt::Quarantined,
                _ if came_again => Receipt::Duplicate,
                accepted if accepted == Verdict::Accepted.number() => Receipt::Accepted,
                conflict if conflict == Verdict::Conflict.number() => Receipt::Conflict,
                _ => Receipt::Duplicate,
            };
            there.insert(moving.position, receipt);
        }
    }
    Ok(there)
}

/// Forgets the marks of runs that have ended long ago.
pub(in crate::store) async fn forget_old_marks(
    client: &Client,
) -> Result<(), tokio_postgres::Error> {
    client
        .execute_typed(
            "DELETE FROM countersign.spools WHERE moved_at < (extract(epoch FROM now()) - $1 * 86400) * 1000000",
            &[(&MARKS_KEPT_DAYS, Type::INT8)],
        )
        .await
        .map(drop)
}
