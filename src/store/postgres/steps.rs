//! The steps by which PostgreSQL lets go what has had its time: each one transaction, and what is asked before it.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, IsolationLevel, Transaction};

use super::session::Session;
use crate::store::retention::keep::{Cutoffs, settled};
use crate::store::retention::pruned::{DiskUse, Tally};

/// Rows of one step, at most.
pub(super) const STEP_ROWS: i64 = 500;
/// Bytes of bodies of one step, at most, but for one body.
const STEP_BYTES: i64 = 16 << 20;

/// A partition of the bodies, and the end of its time; the default one has none.
pub(super) struct Partition {
    /// Quoted, as a statement needs it.
    pub(super) name: String,
    pub(super) end: Option<i64>,
}

impl Partition {
    /// The bodies in it of a tenant `d`, before its time.
    pub(super) fn of_tenants(&self) -> String {
        format!(
            "{} WHERE tenant_id = d.tenant_id AND received_at < d.before",
            self.name
        )
    }
}

/// What became of a partition as a whole.
pub(super) enum Whole {
    /// It went, with this many bodies of each tenant.
    Gone(Vec<(String, Tally)>),
    /// Somebody keeps something in it.
    Needed,
    /// Somebody else was at it, and it is tried again another time.
    Occupied,
}

/// What goes of a tenant's events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    Events,
    EventsAndKeys,
    Keys,
}

impl Going {
    /// Before when what goes in this way was received.
    pub(super) fn before(self, cutoffs: Cutoffs) -> Option<i64> {
        match self {
            Self::Events => cutoffs.events.filter(|_| !cutoffs.forget_nothing()),
            Self::EventsAndKeys => cutoffs.events.filter(|_| cutoffs.forget_nothing()),
            Self::Keys => cutoffs.keys,
        }
    }

    /// What goes so of a tenant `d`, before its time.
    pub(super) fn of_tenants(self) -> &'static str {
        match self {
            Self::Events | Self::EventsAndKeys => {
                "countersign.events WHERE tenant_id = d.tenant_id AND received_at >= 0 AND received_at < d.before"
            }
            Self::Keys => {
                "countersign.events WHERE tenant_id = d.tenant_id AND received_at < 0 AND received_at > ~d.before"
            }
        }
    }
}

/// The places of those tenants of whom something in a table came before their moment.
pub(super) async fn overdue(
    client: &Client,
    table: &str,
    tenants: &[&str],
    before: &[i64],
) -> Result<Vec<usize>, Error> {
    let sql = format!(
        "SELECT d.i - 1 FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS d (tenant_id, before, i)
         WHERE EXISTS (SELECT FROM {table}) ORDER BY d.i"
    );
    let rows = client
        .query_typed(
            &sql,
            &[(&tenants, Type::TEXT_ARRAY), (&before, Type::INT8_ARRAY)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX)))
        .collect()
}

/// A step's transaction; `None` while another receiver is about its own. Nobody is told of what goes, so nobody waits for
/// the disk; and no wait for a lock is long enough to hold up who comes behind.
async fn begin(session: &mut Session) -> Result<Option<Transaction<'_>>, Error> {
    // Whatever the database's default is: a stricter level sees what was there before a lock was waited for.
    let transaction = session
        .client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    let rows = transaction
        .query_typed(
            "SELECT pg_try_advisory_xact_lock(hashtext('countersign retention')) AS ours, set_config('lock_timeout', '50ms', true),
                 set_config('synchronous_commit', 'off', true)",
            &[],
        )
        .await?;
    let ours = match rows.first() {
        Some(row) => row.try_get("ours")?,
        None => false,
    };
    Ok(ours.then_some(transaction))
}

/// The tenants, and when the latest event came that is older than a day.
pub(super) async fn witness(
    client: &Client,
    now: i64,
) -> Result<(Vec<String>, Option<i64>), Error> {
    let rows = client
        .query_typed(
            "SELECT t.tenant_id, greatest(k.latest, f.latest) AS latest
             FROM countersign.tenants t
             LEFT JOIN LATERAL (
                 SELECT received_at AS latest FROM countersign.events
                 WHERE tenant_id = t.tenant_id AND received_at >= 0 AND received_at <= $1 ORDER BY received_at DESC LIMIT 1
             ) k ON true
             LEFT JOIN LATERAL (
                 SELECT ~received_at AS latest FROM countersign.events
                 WHERE tenant_id = t.tenant_id AND received_at < 0 AND received_at >= ~$1 ORDER BY received_at LIMIT 1
             ) f ON true ORDER BY t.tenant_id",
            &[(&settled(now), Type::INT8)],
        )
        .await?;
    let mut latest = None;
    let mut tenants = Vec::with_capacity(rows.len());
    for row in rows {
        tenants.push(row.try_get("tenant_id")?);
        latest = latest.max(row.try_get("latest")?);
    }
    Ok((tenants, latest))
}

/// The partitions of the bodies, the oldest first, the default one last.
pub(super) async fn partitions(client: &Client) -> Result<Vec<Partition>, Error> {
    let rows = client
        .query_typed(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name,
                 substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''?(-?[0-9]+)''?\\)$')::bigint AS to_time
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE i.inhparent = 'countersign.bodies'::regclass ORDER BY 2 NULLS LAST",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Partition {
                name: row.try_get("name")?,
                end: row.try_get("to_time")?,
            })
        })
        .collect()
}

/// Drops a partition in which nobody but these has anything.
pub(super) async fn drop_whole(
    session: &mut Session,
    partition: &Partition,
    passed: &[&str],
) -> Result<Option<Whole>, Error> {
    let Some(transaction) = begin(session).await? else {
        return Ok(None);
    };
    let name = &partition.name;
    // From here on nothing comes in: what is counted is what goes.
    transaction
        .batch_execute(&format!("LOCK TABLE {name} IN SHARE MODE"))
        .await?;
    if needed(transaction.client(), partition, passed).await? {
        return Ok(Some(Whole::Needed));
    }
    let tallies = count_whole(transaction.client(), partition).await?;
    transaction
        .batch_execute(&format!("DROP TABLE {name}"))
        .await?;
    transaction.commit().await?;
    Ok(Some(Whole::Gone(tallies)))
}

/// Whether somebody else than these keeps something in a partition: also a tenant that is nobody's yet, or that came since they were
/// listed. One look into the index for each tenant that has something there.
pub(super) async fn needed(
    client: &Client,
    partition: &Partition,
    passed: &[&str],
) -> Result<bool, Error> {
    let sql = format!(
        "WITH RECURSIVE has (tenant_id) AS (
             (SELECT tenant_id FROM {name} ORDER BY tenant_id LIMIT 1)
             UNION ALL
             SELECT (SELECT b.tenant_id FROM {name} b WHERE b.tenant_id > h.tenant_id ORDER BY b.tenant_id LIMIT 1)
             FROM has h WHERE h.tenant_id IS NOT NULL
         )
         SELECT EXISTS (SELECT FROM has WHERE tenant_id IS NOT NULL
             AND tenant_id NOT IN (SELECT p.tenant_id COLLATE \"C\" FROM unnest($1::text[]) AS p (tenant_id)))",
        name = partition.name
    );
    let rows = client
        .query_typed(&sql, &[(&passed, Type::TEXT_ARRAY)])
        .await?;
    // No answer is no permission.
    rows.first().map_or(Ok(true), |row| row.try_get(0))
}

/// How many bodies of each tenant are in a partition, and each one's share of what it takes on disk: to add up their lengths,
/// all of what is to go would be read.
pub(super) async fn count_whole(
    client: &Client,
    partition: &Partition,
) -> Result<Vec<(String, Tally)>, Error> {
    let sql = format!(
        "SELECT tenant_id, count(*) AS bodies,
             (pg_total_relation_size('{name}'::regclass) * (count(*) / sum(count(*)) OVER ()))::bigint AS bytes
         FROM {name} GROUP BY tenant_id",
        name = partition.name
    );
    let rows = client.query_typed(&sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let tally = Tally {
                bodies: number(row, "bodies")?,
                bytes: number(row, "bytes")?,
                ..Tally::default()
            };
            Ok((row.try_get("tenant_id")?, tally))
        })
        .collect()
}

/// One step through a tenant's bodies in a partition, the oldest first.
pub(super) async fn delete_bodies(
    session: &mut Session,
    partition: &Partition,
    tenant: &str,
    before: i64,
) -> Result<Option<Tally>, Error> {
    let Some(transaction) = begin(session).await? else {
        return Ok(None);
    };
    let sql = format!(
        "WITH gone AS (
             DELETE FROM {name} WHERE ctid = ANY (ARRAY (
                 SELECT ctid FROM (
                     SELECT ctid, row_number() OVER w AS n, sum(bytes) OVER w AS bytes FROM (
                         SELECT ctid, received_at, key, octet_length(body) AS bytes FROM {name}
                         WHERE tenant_id = $1 AND received_at < $2 ORDER BY received_at, key LIMIT $3
                     ) old WINDOW w AS (ORDER BY received_at, key)
                 ) step WHERE n = 1 OR bytes <= $4
             )) RETURNING octet_length(body)::bigint + octet_length(headers) AS bytes
         )
         SELECT count(*) AS bodies, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone",
        name = partition.name
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&tenant, Type::TEXT),
        (&before, Type::INT8),
        (&STEP_ROWS, Type::INT8),
        (&STEP_BYTES, Type::INT8),
    ];
    let rows = transaction.query_typed(&sql, &parameters).await?;
    transaction.commit().await?;
    bodies_of(&rows).map(Some)
}

pub(super) async fn count_bodies(
    client: &Client,
    partition: &Partition,
    tenant: &str,
    before: i64,
) -> Result<Tally, Error> {
    let sql = format!(
        "SELECT count(*) AS bodies, coalesce(sum(octet_length(body)::bigint + octet_length(headers)), 0)::bigint AS bytes
         FROM {} WHERE tenant_id = $1 AND received_at < $2",
        partition.name
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenant, Type::TEXT), (&before, Type::INT8)];
    bodies_of(&client.query_typed(&sql, &parameters).await?)
}

fn bodies_of(rows: &[tokio_postgres::Row]) -> Result<Tally, Error> {
    match rows.first() {
        Some(row) => Ok(Tally {
            bodies: number(row, "bodies")?,
            bytes: number(row, "bytes")?,
            ..Tally::default()
        }),
        None => Ok(Tally::default()),
    }
}

/// One step through a tenant's events, the oldest first. Those that a delivery holds are passed over until the next pass.
pub(super) async fn let_events_go(
    session: &mut Session,
    tenant: &str,
    going: Going,
    before: i64,
) -> Result<Option<u64>, Error> {
    let Some(transaction) = begin(session).await? else {
        return Ok(None);
    };
    let oldest = match going {
        Going::Events | Going::EventsAndKeys => {
            "SELECT key FROM countersign.events WHERE tenant_id = $1 AND received_at >= 0 AND received_at < $2
             ORDER BY received_at LIMIT $3 FOR UPDATE SKIP LOCKED"
        }
        Going::Keys => {
            "SELECT key FROM countersign.events WHERE tenant_id = $1 AND received_at < 0 AND received_at > ~$2
             ORDER BY received_at DESC LIMIT $3 FOR UPDATE SKIP LOCKED"
        }
    };
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenant, Type::TEXT),
        (&before, Type::INT8),
        (&STEP_ROWS, Type::INT8),
    ];
    let rows = transaction.query_typed(oldest, &parameters).await?;
    if rows.is_empty() {
        return Ok(Some(0));
    }
    let keys = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<&[u8]>, _>>()?;
    let meant: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenant, Type::TEXT), (&keys, Type::BYTEA_ARRAY)];
    if going != Going::Keys {
        transaction
            .execute_typed(
                "DELETE FROM countersign.superseded WHERE tenant_id = $1 AND key = ANY ($2)",
                &meant,
            )
            .await?;
    }
    let gone = match going {
        Going::Events => {
            "UPDATE countersign.events SET received_at = ~received_at, verdict = 3, producer = '', event_id = '', kind = NULL,
                 occurred_at = NULL, secret = NULL, leaf_sha256 = '', payment_key = NULL, status = NULL, amount_minor = NULL,
                 amount_refunded_minor = NULL, currency = NULL, named_payment_id = NULL, beside = NULL, fetch_needed = false,
                 came_again = NULL
             WHERE tenant_id = $1 AND key = ANY ($2)"
        }
        Going::EventsAndKeys | Going::Keys => {
            "DELETE FROM countersign.events WHERE tenant_id = $1 AND key = ANY ($2)"
        }
    };
    let gone = transaction.execute_typed(gone, &meant).await?;
    transaction.commit().await?;
    Ok(Some(gone))
}

pub(super) async fn count_events(
    client: &Client,
    tenant: &str,
    cutoffs: Cutoffs,
) -> Result<Tally, Error> {
    let rows = client
        .query_typed(
            "SELECT (SELECT count(*) FROM countersign.events WHERE tenant_id = $1 AND received_at >= 0 AND received_at < $2)
                     AS events,
                 (SELECT count(*) FROM countersign.events WHERE tenant_id = $1 AND received_at >= 0 AND received_at < $3)
                 + (SELECT count(*) FROM countersign.events WHERE tenant_id = $1 AND received_at < 0 AND received_at > ~$3)
                     AS keys",
            &[
                (&tenant, Type::TEXT),
                (&cutoffs.events, Type::INT8),
                (&cutoffs.keys, Type::INT8),
            ],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok(Tally {
            events: number(row, "events")?,
            keys: number(row, "keys")?,
            ..Tally::default()
        }),
        None => Ok(Tally::default()),
    }
}

/// What our tables and their indexes take on disk.
pub(in crate::store) async fn disk_use(client: &Client) -> Result<DiskUse, Error> {
    let rows = client
        .query_typed(
            "SELECT coalesce(sum(bytes), 0)::bigint AS store,
                 coalesce(sum(bytes) FILTER (WHERE of_bodies), 0)::bigint AS bodies
             FROM (
                 SELECT pg_total_relation_size(c.oid) AS bytes,
                     EXISTS (SELECT FROM pg_inherits i
                         WHERE i.inhrelid = c.oid AND i.inhparent = 'countersign.bodies'::regclass) AS of_bodies
                 FROM pg_class c WHERE c.relnamespace = 'countersign'::regnamespace AND c.relkind = 'r'
             ) tables",
            &[],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok(DiskUse {
            store: number(row, "store")?,
            bodies: Some(number(row, "bodies")?),
            ..DiskUse::default()
        }),
        None => Ok(DiskUse::default()),
    }
}

fn number(row: &tokio_postgres::Row, column: &str) -> Result<u64, Error> {
    row.try_get::<_, i64>(column).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::super::mute_tests::{address, target};
    use super::super::session::Purpose;
    use super::super::tests::server::Postgres;
    use super::*;

    #[tokio::test]
    async fn a_step_sees_what_was_committed_while_it_waited_whatever_isolation_the_database_has() {
        let Some(server) = Postgres::start(&[]) else {
            return;
        };
        let url = address(&server, "inbox");
        server.psql(
            "postgres",
            "ALTER DATABASE inbox SET default_transaction_isolation = 'serializable'",
        );
        let opened = Session::open(&target(&url), Purpose::Write).await;
        let mut session = opened.unwrap();
        let step = begin(&mut session).await.unwrap().unwrap();
        let level = step.query_typed("SHOW transaction_isolation", &[]).await;
        let level: String = level.unwrap()[0].get(0);
        assert_eq!(level, "read committed");
    }

    /// Events of two tenants at these moments, and what is left of forgotten ones.
    async fn with_events(server: &Postgres, of_each: [(&str, &[i64]); 2]) -> Session {
        let url = address(server, "inbox");
        let opened = Session::open(&target(&url), Purpose::Write).await;
        for (tenant, times) in of_each {
            let mut sql = format!("INSERT INTO countersign.tenants VALUES ('{tenant}')");
            for (number, time) in times.iter().enumerate() {
                sql += &format!(
                    "; INSERT INTO countersign.events (tenant_id, key, received_at, duplicates, verdict, producer, event_id,
                         body_sha256, leaf_sha256)
                     VALUES ('{tenant}', '\\x{number:032x}', {time}, 0, 0, 'p', '{time}', '', '')",
                );
            }
            server.psql("inbox", &sql);
        }
        opened.unwrap()
    }

    #[tokio::test]
    async fn no_event_that_came_later_bears_witness_not_even_a_forgotten_one() {
        let Some(server) = Postgres::start(&[]) else {
            return;
        };
        let times: [(&str, &[i64]); 2] =
            [("a", &[98, 150, !97, !160]), ("b", &[90, 140, !101, !170])];
        let session = with_events(&server, times).await;
        let settling = -settled(0);
        for (before, latest) in [
            (89, None),
            (90, Some(90)),
            (97, Some(97)),
            (98, Some(98)),
            (100, Some(98)),
            (101, Some(101)),
            (145, Some(140)),
            (1000, Some(170)),
        ] {
            let told = witness(&session.client, before + settling).await.unwrap();
            assert_eq!(
                told,
                (vec!["a".to_owned(), "b".to_owned()], latest),
                "{before}"
            );
        }
    }

    #[tokio::test]
    async fn what_would_go_of_a_tenants_events_is_its_own_and_has_had_its_time() {
        let Some(server) = Postgres::start(&[]) else {
            return;
        };
        let times: [(&str, &[i64]); 2] = [("a", &[10, 20, 30, !5, !20, !40]), ("b", &[1, 2, !3])];
        let session = with_events(&server, times).await;
        for (events, keys, expected) in [
            (None, None, [0, 0]),
            (Some(10), None, [0, 0]),
            (Some(11), Some(10), [1, 1]),
            (Some(31), Some(20), [3, 2]),
            (Some(30), Some(21), [2, 4]),
            (Some(1000), Some(1000), [3, 6]),
        ] {
            let cutoffs = Cutoffs {
                bodies: None,
                events,
                keys,
            };
            let told = count_events(&session.client, "a", cutoffs).await.unwrap();
            assert_eq!([told.events, told.keys], expected, "{events:?} {keys:?}");
        }
    }
}
