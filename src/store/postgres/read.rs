//! Reading from PostgreSQL, newest first. Each answer is one statement, or a few where a page's objects follow its keys.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::batch::payment_key;
use super::bodies::Wanted;
use super::text::{give_back, hold, time_and_event};
use crate::identity::TenantId;
use crate::inbox::IdempotencyKey;
use crate::payments::Effect;
use crate::refusals::{Book, ClaimedProducer, Group};
use crate::store::row::Verdict;
use crate::store::views::{
    ASIDE_MAX, Cursor, EventDetail, EventView, Filter, HistoryView, LeafSeen, LeafView, Millis,
    Page, PaymentDetail, PaymentView, RefusalView, SecretSeen, count, millis, time,
};

/// Certificates or secrets in one answer, at most.
const SEEN_MAX: i64 = 10_000;

/// An event's columns, `e` being its row.
const EVENT: &str = "e.tenant_id, e.producer, e.event_id, e.kind, coalesce(p.payment_id, e.named_payment_id) AS payment_id,
    e.verdict, s.key IS NOT NULL AS superseded, e.duplicates, e.occurred_at, e.received_at, e.body_sha256, e.secret, l.subject, l.serial,
    e.leaf_sha256, e.key, e.payment_key IS NOT NULL AS claims, e.fetch_needed";

const EVENT_PARTS: &str = "LEFT JOIN countersign.leaves l
        ON l.tenant_id = e.tenant_id AND l.producer = e.producer AND l.sha256 = e.leaf_sha256
    LEFT JOIN countersign.payments p ON p.tenant_id = e.tenant_id AND p.key = e.payment_key
    LEFT JOIN countersign.superseded s ON s.tenant_id = e.tenant_id AND s.key = e.key";

const PAYMENT: &str = "p.tenant_id, p.payment_id, p.status, p.amount_minor, p.amount_refunded_minor, p.currency, p.last, p.events,
    p.changed_at, p.key";

/// Where a page begins, as the statements below take it.
struct Beginning {
    tenant: Option<String>,
    since: i64,
    time: i64,
    key: Vec<u8>,
    limit: usize,
    more: i64,
}

impl Beginning {
    fn of(filter: &Filter) -> Self {
        let limit = match filter.limit {
            0 => Filter::LIMIT_MAX,
            limit => limit.min(Filter::LIMIT_MAX),
        };
        let (time, key) = match filter.after {
            // Greater than every key.
            None => (i64::MAX, vec![0xff; 17]),
            Some(after) => (after.time, after.number.to_be_bytes().to_vec()),
        };
        Self {
            tenant: filter
                .tenant
                .as_deref()
                .map(|tenant| hold(tenant).into_owned()),
            // What is forgotten stands below zero.
            since: filter.since.map_or(0, |time| time.as_microsecond().max(0)),
            time,
            key,
            limit,
            // One more tells whether there is a next page.
            more: i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        }
    }

    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 5] {
        [
            (&self.tenant, Type::TEXT),
            (&self.since, Type::INT8),
            (&self.time, Type::INT8),
            (&self.key, Type::BYTEA),
            (&self.more, Type::INT8),
        ]
    }

    /// The page that these rows make, ordered by the column `time` and by their keys.
    fn page<T>(
        &self,
        rows: &[Row],
        time: &str,
        object: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Page<T>, Error> {
        let items = rows
            .iter()
            .take(self.limit)
            .map(object)
            .collect::<Result<_, _>>()?;
        let mut next = None;
        if rows.len() > self.limit
            && let Some(last) = self.limit.checked_sub(1).and_then(|last| rows.get(last))
        {
            next = Some(Cursor {
                time: last.try_get(time)?,
                number: beginning_of_key(last.try_get("key")?),
            });
        }
        Ok(Page { items, next })
    }
}

/// A cursor has room for half of a key. Two keys of one microsecond that begin alike are not to be expected in the life of
/// a database.
fn beginning_of_key(key: &[u8]) -> i64 {
    key.first_chunk::<8>()
        .map_or(0, |first| i64::from_be_bytes(*first))
}

/// The newest of a table, merged from each tenant's own order, which an index has.
///
/// A table of a few tenants is never analyzed, and taken for one of a thousand: a page would seem so dear that it is compiled
/// first, for longer than it takes. Of an array ten are expected.
fn newest(table: &str, time: &str, columns: &str, parts: &str, object: &str) -> String {
    format!(
        "WITH newest AS (
             SELECT n.* FROM unnest(ARRAY(SELECT tenant_id FROM countersign.tenants WHERE $1::text IS NULL OR tenant_id = $1))
                 AS t (tenant_id) CROSS JOIN LATERAL (
                 SELECT tenant_id, {time} AS time, key FROM countersign.{table}
                 WHERE tenant_id = t.tenant_id AND {time} >= $2 AND ({time}, key) < ($3, $4)
                 ORDER BY {time} DESC, key DESC LIMIT $5
             ) n
             ORDER BY n.time DESC, n.key DESC LIMIT $5
         )
         SELECT {columns} FROM newest n JOIN countersign.{object} ON {letter}.tenant_id = n.tenant_id AND {letter}.key = n.key
         {parts} ORDER BY n.time DESC, n.key DESC",
        letter = object.rsplit(' ').next().unwrap_or_default(),
    )
}

pub(in crate::store) async fn events(
    client: &Client,
    filter: &Filter,
) -> Result<Page<EventView>, Error> {
    let beginning = Beginning::of(filter);
    let sql = newest("events", "received_at", EVENT, EVENT_PARTS, "events e");
    let rows = client.query_typed(&sql, &beginning.parameters()).await?;
    beginning.page(&rows, "received_at", event_view)
}

pub(in crate::store) async fn payments(
    client: &Client,
    filter: &Filter,
) -> Result<Page<PaymentView>, Error> {
    let beginning = Beginning::of(filter);
    let sql = newest("payments", "changed_at", PAYMENT, "", "ledger p");
    let rows = client.query_typed(&sql, &beginning.parameters()).await?;
    beginning.page(&rows, "changed_at", payment_view)
}

/// All events with this id: accepted ones before those that are kept aside.
pub(in crate::store) async fn events_by_id(
    client: &Client,
    tenant: Option<&str>,
    event_id: &str,
) -> Result<Vec<EventDetail>, Error> {
    let tenant = tenant.map(hold);
    let producers = client
        .query_typed(
            "SELECT tenant_id, name FROM countersign.producers WHERE $1::text IS NULL OR tenant_id = $1",
            &[(&tenant, Type::TEXT)],
        )
        .await?;
    // The id alone has no index: with each producer's name it has a key.
    let mut tenants = Vec::with_capacity(producers.len());
    let mut keys = Vec::with_capacity(producers.len());
    for row in &producers {
        let (tenant_id, name): (&str, String) = (row.try_get("tenant_id")?, row.try_get("name")?);
        let key = IdempotencyKey {
            tenant: TenantId::new(tenant_id),
            producer: give_back(name).into(),
            event_id: event_id.into(),
        };
        keys.push(key.digest().to_vec());
        tenants.push(tenant_id);
    }
    let sql = format!(
        "WITH meant AS (SELECT * FROM unnest($1::text[], $2::bytea[]) AS row (tenant_id, key)), found AS (
             (SELECT e.* FROM meant m JOIN countersign.events e ON e.tenant_id = m.tenant_id AND e.key = m.key
              WHERE e.received_at >= 0)
             UNION ALL
             (SELECT e.* FROM meant m JOIN countersign.events e ON e.tenant_id = m.tenant_id AND e.beside = m.key
              WHERE e.received_at >= 0 ORDER BY e.received_at, e.key LIMIT $3)
         )
         SELECT {EVENT} FROM found e {EVENT_PARTS}
         ORDER BY e.beside IS NOT NULL, e.tenant_id, e.producer, e.received_at, e.key"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenants, Type::TEXT_ARRAY),
        (&keys, Type::BYTEA_ARRAY),
        (&ASIDE_MAX, Type::INT8),
    ];
    let rows = client.query_typed(&sql, &parameters).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted = Wanted::default();
    for row in &rows {
        let (tenant, key) = (row.try_get("tenant_id")?, row.try_get("key")?);
        wanted.push(tenant, row.try_get("received_at")?, key);
    }
    let sql = Wanted::sql("b.headers, b.body");
    let bodies = client.query_typed(&sql, &wanted.parameters()).await?;
    rows.iter()
        .zip(wanted.placed(bodies)?)
        .map(|(row, body)| event_detail(row, body.as_ref()))
        .collect()
}

/// All payments with this id: one for each tenant that has it.
pub(in crate::store) async fn payments_by_id(
    client: &Client,
    tenant: Option<&str>,
    payment_id: &str,
) -> Result<Vec<PaymentDetail>, Error> {
    let tenant = tenant.map(hold);
    let rows = client
        .query_typed(
            "SELECT tenant_id FROM countersign.tenants WHERE $1::text IS NULL OR tenant_id = $1",
            &[(&tenant, Type::TEXT)],
        )
        .await?;
    let tenants = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<&str>, _>>()?;
    let keys: Vec<_> = tenants
        .iter()
        .map(|tenant| payment_key(tenant, payment_id).to_vec())
        .collect();
    let sql = format!(
        "SELECT {PAYMENT}, p.history FROM unnest($1::text[], $2::bytea[]) AS m (tenant_id, key)
         JOIN countersign.ledger p ON p.tenant_id = m.tenant_id AND p.key = m.key ORDER BY p.tenant_id"
    );
    let meant: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenants, Type::TEXT_ARRAY), (&keys, Type::BYTEA_ARRAY)];
    let mut found = Vec::new();
    for row in client.query_typed(&sql, &meant).await? {
        let history = history(client, row.try_get("tenant_id")?, row.try_get("history")?).await?;
        found.push(PaymentDetail {
            payment: payment_view(&row)?,
            history,
        });
    }
    Ok(found)
}

async fn history(
    client: &Client,
    tenant: &str,
    keys: Vec<&[u8]>,
) -> Result<Vec<HistoryView>, Error> {
    let rows = client
        .query_typed(
            "SELECT e.event_id, e.producer, e.kind, s.key IS NOT NULL AS superseded, e.status, e.amount_minor, e.amount_refunded_minor,
                 e.currency, e.occurred_at, e.received_at
             FROM (SELECT DISTINCT key FROM unnest($2::bytea[]) AS kept (key)) m
             JOIN countersign.events e ON e.tenant_id = $1 AND e.key = m.key
             LEFT JOIN countersign.superseded s ON s.tenant_id = e.tenant_id AND s.key = e.key
             WHERE e.received_at >= 0
             ORDER BY coalesce(e.occurred_at, e.received_at) DESC, e.received_at DESC, e.key DESC",
            &[(&tenant, Type::TEXT), (&keys, Type::BYTEA_ARRAY)],
        )
        .await?;
    let view = |row: &Row| {
        Ok(HistoryView {
            event_id: text(row, "event_id")?,
            producer: text(row, "producer")?,
            kind: optional_text(row, "kind")?,
            effect: Some(effect(Claimed::Something, row.try_get("superseded")?)),
            status: row.try_get("status")?,
            amount_minor: row.try_get("amount_minor")?,
            amount_refunded_minor: row.try_get("amount_refunded_minor")?,
            currency: row.try_get("currency")?,
            occurred_at: row.try_get::<_, Option<i64>>("occurred_at")?.map(millis),
            received_at: millis(row.try_get("received_at")?),
        })
    };
    rows.iter().map(view).collect()
}

/// What an event says of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claimed {
    Something,
    Nothing,
}

fn effect(claimed: Claimed, superseded: bool) -> &'static str {
    let effect = match (claimed, superseded) {
        (Claimed::Something, false) => Effect::Applied,
        (Claimed::Something, true) => Effect::Superseded,
        (Claimed::Nothing, _) => Effect::Unmapped,
    };
    effect.as_str()
}

fn event_view(row: &Row) -> Result<EventView, Error> {
    let verdict = Verdict::name(i64::from(row.try_get::<_, i16>("verdict")?));
    let superseded = row.try_get("superseded")?;
    let claimed = if row.try_get("claims")? {
        Claimed::Something
    } else {
        Claimed::Nothing
    };
    Ok(EventView {
        tenant_id: text(row, "tenant_id")?,
        producer: text(row, "producer")?,
        event_id: text(row, "event_id")?,
        kind: optional_text(row, "kind")?,
        payment_id: optional_text(row, "payment_id")?,
        verdict,
        effect: (verdict != Verdict::name(Verdict::Conflict.number()))
            .then(|| effect(claimed, superseded)),
        fetch_needed: row.try_get("fetch_needed")?,
        duplicates: count(row.try_get("duplicates")?),
        occurred_at: row.try_get::<_, Option<i64>>("occurred_at")?.map(millis),
        received_at: millis(row.try_get("received_at")?),
        body_sha256: hex::encode(row.try_get::<_, &[u8]>("body_sha256")?),
        secret: optional_text(row, "secret")?,
        leaf: LeafView {
            subject: optional_text(row, "subject")?.unwrap_or_default(),
            serial: optional_text(row, "serial")?.unwrap_or_default(),
            sha256: hex::encode(row.try_get::<_, &[u8]>("leaf_sha256")?),
        },
    })
}

fn event_detail(row: &Row, came: Option<&Row>) -> Result<EventDetail, Error> {
    let came = came.map(|came| Ok::<_, Error>((came.try_get("headers")?, came.try_get("body")?)));
    Ok(EventDetail::new(event_view(row)?, came.transpose()?))
}

fn payment_view(row: &Row) -> Result<PaymentView, Error> {
    // Every stored recency was written by us; a damaged one must not stop a list.
    let (occurred_at, last_event_id) = time_and_event(row.try_get("last")?).unzip();
    Ok(PaymentView {
        tenant_id: text(row, "tenant_id")?,
        payment_id: text(row, "payment_id")?,
        status: row.try_get("status")?,
        amount_minor: row.try_get("amount_minor")?,
        amount_refunded_minor: row.try_get("amount_refunded_minor")?,
        currency: row.try_get("currency")?,
        occurred_at: occurred_at.flatten().map(Millis),
        last_event_id,
        events: count(row.try_get("events")?),
    })
}

/// Groups of refusals, the latest first.
pub(in crate::store) async fn refusals(
    client: &Client,
    filter: &Filter,
) -> Result<Page<RefusalView>, Error> {
    let beginning = Beginning::of(filter);
    let rows = client
        .query_typed(
            "SELECT gate, reason, subject, issuer, serial, address, server_name, producer, tenant_id, first_seen, last_seen, count,
                 detail, key
             FROM countersign.refusals
             WHERE ($1::text IS NULL OR tenant_id = $1) AND last_seen >= $2 AND (last_seen, key) < ($3, $4)
             ORDER BY last_seen DESC, key DESC LIMIT $5",
            &beginning.parameters(),
        )
        .await?;
    beginning.page(&rows, "last_seen", |row| {
        Ok(RefusalView {
            gate: row.try_get("gate")?,
            reason: text(row, "reason")?,
            subject: optional_text(row, "subject")?,
            issuer: optional_text(row, "issuer")?,
            serial: optional_text(row, "serial")?,
            address: row.try_get("address")?,
            server_name: optional_text(row, "server_name")?,
            producer: optional_text(row, "producer")?,
            tenant_id: Some(text(row, "tenant_id")?).filter(|tenant| !tenant.is_empty()),
            first_seen: millis(row.try_get("first_seen")?),
            last_seen: millis(row.try_get("last_seen")?),
            count: count(row.try_get("count")?),
            detail: optional_text(row, "detail")?,
        })
    })
}

/// The refusals as a book takes them up, the latest last.
pub(in crate::store) async fn refusal_groups(client: &Client) -> Result<Vec<Group>, Error> {
    let bound = i64::try_from(Book::GROUPS_MAX).unwrap_or(i64::MAX);
    let rows = client
        .query_typed(
            "SELECT key, gate, reason, subject, issuer, serial, address, server_name, tenant_id, producer, detail, first_seen,
                 last_seen, count
             FROM countersign.refusals ORDER BY last_seen DESC LIMIT $1",
            &[(&bound, Type::INT8)],
        )
        .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        let (Ok(gate), Ok(address)) = (
            row.try_get::<_, &str>("gate")?.parse(),
            row.try_get::<_, &str>("address")?.parse(),
        ) else {
            continue;
        };
        let Some(key) = row.try_get::<_, &[u8]>("key")?.first_chunk::<16>().copied() else {
            continue;
        };
        let boxed =
            |column| optional_text(row, column).map(|text| text.map(String::into_boxed_str));
        groups.push(Group {
            key,
            gate,
            reason: text(row, "reason")?.into(),
            subject: boxed("subject")?,
            issuer: boxed("issuer")?,
            serial: boxed("serial")?,
            address,
            server_name: boxed("server_name")?,
            producer: match boxed("producer")? {
                Some(name) => Some(ClaimedProducer {
                    tenant_id: text(row, "tenant_id")?.into(),
                    name,
                }),
                None => None,
            },
            detail: boxed("detail")?,
            first_seen: time(row.try_get("first_seen")?),
            last_seen: time(row.try_get("last_seen")?),
            count: count(row.try_get("count")?),
        });
    }
    Ok(groups)
}

/// The client certificates that deliveries came with, by producer, the latest used first.
pub(in crate::store) async fn leaves(client: &Client) -> Result<Vec<LeafSeen>, Error> {
    let rows = client
        .query_typed(
            "SELECT tenant_id, producer, subject, issuer, serial, sha256, spki_sha256, not_before, not_after, anchor_subject,
                 anchor_sha256, first_seen, last_seen
             FROM countersign.leaves ORDER BY tenant_id, producer, last_seen DESC LIMIT $1",
            &[(&SEEN_MAX, Type::INT8)],
        )
        .await?;
    let view = |row: &Row| {
        Ok(LeafSeen {
            tenant_id: text(row, "tenant_id")?,
            producer: text(row, "producer")?,
            subject: text(row, "subject")?,
            issuer: text(row, "issuer")?,
            serial: text(row, "serial")?,
            sha256: hex::encode(row.try_get::<_, &[u8]>("sha256")?),
            spki_sha256: hex::encode(row.try_get::<_, &[u8]>("spki_sha256")?),
            not_before: millis(row.try_get("not_before")?),
            not_after: millis(row.try_get("not_after")?),
            anchor_subject: optional_text(row, "anchor_subject")?,
            anchor_sha256: row
                .try_get::<_, Option<&[u8]>>("anchor_sha256")?
                .map(hex::encode),
            first_seen: millis(row.try_get("first_seen")?),
            last_seen: millis(row.try_get("last_seen")?),
        })
    };
    rows.iter().map(view).collect()
}

/// The secrets that verified deliveries, by producer, the latest used first.
pub(in crate::store) async fn secrets(client: &Client) -> Result<Vec<SecretSeen>, Error> {
    let rows = client
        .query_typed(
            "SELECT tenant_id, producer, reference, first_used, last_used FROM countersign.secrets
             ORDER BY tenant_id, producer, last_used DESC LIMIT $1",
            &[(&SEEN_MAX, Type::INT8)],
        )
        .await?;
    let view = |row: &Row| {
        Ok(SecretSeen {
            tenant_id: text(row, "tenant_id")?,
            producer: text(row, "producer")?,
            secret: text(row, "reference")?,
            first_used: millis(row.try_get("first_used")?),
            last_used: millis(row.try_get("last_used")?),
        })
    };
    rows.iter().map(view).collect()
}

pub(super) fn text(row: &Row, column: &str) -> Result<String, Error> {
    row.try_get(column).map(give_back)
}

fn optional_text(row: &Row, column: &str) -> Result<Option<String>, Error> {
    row.try_get::<_, Option<String>>(column)
        .map(|text| text.map(give_back))
}
