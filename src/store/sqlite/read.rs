//! Reading from the embedded store, newest first.

use std::collections::BinaryHeap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::write::effect_name;
use crate::identity::TenantId;
use crate::inbox::IdempotencyKey;
use crate::refusals::{Book, ClaimedProducer, Group};
use crate::store::HISTORY_MAX;
use crate::store::row::{Verdict, payment_key};
use crate::store::views::{
    ASIDE_MAX, Cursor, EventDetail, EventView, Filter, HistoryView, LeafSeen, LeafView, Page,
    PaymentDetail, PaymentView, RefusalView, SecretSeen, count, millis, time,
};

/// Certificates or secrets in one answer, at most.
const SEEN_MAX: i64 = 10_000;

const EVENT: &str = "SELECT t.tenant_id, p.name AS producer, e.event_id, e.kind,
        coalesce(y.payment_id, e.named_payment_id) AS payment_id, e.verdict, e.effect, e.duplicates,
        e.occurred_at, e.received_at, e.body_sha256, s.reference AS secret, l.subject, l.serial,
        l.sha256 AS leaf_sha256, e.fetch_needed
    FROM events e JOIN tenants t ON t.tenant = e.tenant JOIN producers p ON p.producer = e.producer
        JOIN leaves l ON l.leaf = e.leaf LEFT JOIN secrets s ON s.secret = e.secret
        LEFT JOIN payments y ON y.payment = e.payment
    WHERE e.event = ?1";

const PAYMENT: &str = "SELECT t.tenant_id, y.payment_id, y.status, y.amount_minor, y.amount_refunded_minor, y.currency,
        y.occurred_at, y.last_event_id, y.events
    FROM payments y JOIN tenants t ON t.tenant = y.tenant WHERE y.payment = ?1";

pub(in crate::store) fn events(
    connection: &Connection,
    filter: &Filter,
) -> rusqlite::Result<Page<EventView>> {
    let newest = "SELECT received_at, event FROM events
        WHERE tenant = ?1 AND received_at >= ?2 AND (received_at, event) < (?3, ?4)
        ORDER BY received_at DESC, event DESC";
    page(connection, filter, newest, |number| {
        connection
            .prepare_cached(EVENT)?
            .query_row([number], event_view)
    })
}

pub(in crate::store) fn payments(
    connection: &Connection,
    filter: &Filter,
) -> rusqlite::Result<Page<PaymentView>> {
    let newest = "SELECT changed_at, payment FROM payments
        WHERE tenant = ?1 AND changed_at >= ?2 AND (changed_at, payment) < (?3, ?4)
        ORDER BY changed_at DESC, payment DESC";
    page(connection, filter, newest, |number| {
        connection
            .prepare_cached(PAYMENT)?
            .query_row([number], payment_view)
    })
}

/// A page of what the tenants have, newest first: each tenant's own order comes from its index, and the orders are
/// merged, so that the cost hangs on the page's length and not on the table's.
fn page<T>(
    connection: &Connection,
    filter: &Filter,
    newest: &str,
    mut object: impl FnMut(i64) -> rusqlite::Result<T>,
) -> rusqlite::Result<Page<T>> {
    let limit = limit(filter);
    // What is forgotten stands below zero.
    let since = filter.since.map_or(0, |time| time.as_microsecond().max(0));
    let after = filter.after.unwrap_or(Cursor {
        time: i64::MAX,
        number: i64::MAX,
    });
    let tenants = tenants(connection, filter.tenant.as_deref())?;
    let mut statements = tenants
        .iter()
        .map(|_| connection.prepare(newest))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut orders = Vec::with_capacity(statements.len());
    let mut heads = BinaryHeap::with_capacity(statements.len());
    for (statement, (tenant, _)) in statements.iter_mut().zip(&tenants) {
        let mut rows = statement.query(params![tenant, since, after.time, after.number])?;
        if let Some(cursor) = head(&mut rows)? {
            heads.push((cursor, orders.len()));
        }
        orders.push(rows);
    }
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut last = None;
    while let Some((cursor, order)) = heads.pop() {
        if page.items.len() == limit {
            page.next = last;
            break;
        }
        page.items.push(object(cursor.number)?);
        last = Some(cursor);
        if let Some(rows) = orders.get_mut(order)
            && let Some(cursor) = head(rows)?
        {
            heads.push((cursor, order));
        }
    }
    Ok(page)
}

fn head(rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<Option<Cursor>> {
    rows.next()?
        .map(|row| {
            Ok(Cursor {
                time: row.get(0)?,
                number: row.get(1)?,
            })
        })
        .transpose()
}

fn limit(filter: &Filter) -> usize {
    match filter.limit {
        0 => Filter::LIMIT_MAX,
        limit => limit.min(Filter::LIMIT_MAX),
    }
}

/// The tenants' numbers and ids; of one, if it is named.
fn tenants(connection: &Connection, tenant: Option<&str>) -> rusqlite::Result<Vec<(i64, String)>> {
    connection
        .prepare_cached("SELECT tenant, tenant_id FROM tenants WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY tenant_id")?
        .query_map([tenant], |row| Ok((row.get("tenant")?, row.get("tenant_id")?)))?
        .collect()
}

/// All events with this id: accepted ones before those that are kept aside.
pub(in crate::store) fn events_by_id(
    connection: &Connection,
    tenant: Option<&str>,
    event_id: &str,
) -> rusqlite::Result<Vec<EventDetail>> {
    let mut numbers: Vec<i64> = Vec::new();
    let tenants = tenants(connection, tenant)?;
    // The id alone has no index: with each producer's name it has a key.
    for (number, tenant_id) in &tenants {
        let mut producers = connection
            .prepare_cached("SELECT name FROM producers WHERE tenant = ?1 ORDER BY name")?;
        let names = producers.query_map([number], |row| row.get::<_, String>(0))?;
        for name in names {
            let key = IdempotencyKey {
                tenant: TenantId::new(tenant_id),
                producer: name?.into(),
                event_id: event_id.into(),
            };
            let found = connection
                .prepare_cached(
                    "SELECT event FROM events WHERE tenant = ?1 AND key = ?2 AND received_at >= 0",
                )?
                .query_row(params![number, key.digest()], |row| row.get::<_, i64>(0))
                .optional()?;
            numbers.extend(found);
        }
    }
    for (number, _) in &tenants {
        let mut aside = connection.prepare_cached(
            "SELECT event FROM events WHERE tenant = ?1 AND event_id = ?2 AND verdict IN (1, 2) ORDER BY event LIMIT ?3",
        )?;
        let found = aside.query_map(params![number, event_id, ASIDE_MAX], |row| {
            row.get::<_, i64>(0)
        })?;
        numbers.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    numbers
        .into_iter()
        .map(|number| event_detail(connection, number))
        .collect()
}

fn event_detail(connection: &Connection, number: i64) -> rusqlite::Result<EventDetail> {
    let event = connection
        .prepare_cached(EVENT)?
        .query_row([number], event_view)?;
    let kept = connection
        .prepare_cached("SELECT headers, body FROM bodies WHERE event = ?1")?
        .query_row([number], |row| {
            Ok((
                row.get::<_, String>("headers")?,
                row.get::<_, Vec<u8>>("body")?,
            ))
        })
        .optional()?;
    Ok(EventDetail::new(event, kept))
}

/// All payments with this id: one for each tenant that has it.
pub(in crate::store) fn payments_by_id(
    connection: &Connection,
    tenant: Option<&str>,
    payment_id: &str,
) -> rusqlite::Result<Vec<PaymentDetail>> {
    let mut found = Vec::new();
    for (tenant, _) in tenants(connection, tenant)? {
        let number = connection
            .prepare_cached("SELECT payment FROM payments WHERE tenant = ?1 AND key = ?2")?
            .query_row(params![tenant, payment_key(payment_id)], |row| {
                row.get::<_, i64>(0)
            })
            .optional()?;
        if let Some(number) = number {
            let payment = connection
                .prepare_cached(PAYMENT)?
                .query_row([number], payment_view)?;
            found.push(PaymentDetail {
                payment,
                history: history(connection, tenant, number)?,
            });
        }
    }
    Ok(found)
}

fn history(
    connection: &Connection,
    tenant: i64,
    payment: i64,
) -> rusqlite::Result<Vec<HistoryView>> {
    connection
        .prepare_cached(
            "SELECT e.event_id, p.name AS producer, e.kind, e.effect, e.status, e.amount_minor, e.amount_refunded_minor,
                 e.currency, e.occurred_at, e.received_at
             FROM events e JOIN producers p ON p.producer = e.producer
             WHERE e.tenant = ?1 AND e.payment = ?2
             ORDER BY coalesce(e.occurred_at, e.received_at) DESC, e.event DESC LIMIT ?3",
        )?
        .query_map(params![tenant, payment, HISTORY_MAX], |row| {
            Ok(HistoryView {
                event_id: row.get("event_id")?,
                producer: row.get("producer")?,
                kind: row.get("kind")?,
                effect: row.get::<_, Option<i64>>("effect")?.map(effect_name),
                status: row.get("status")?,
                amount_minor: row.get("amount_minor")?,
                amount_refunded_minor: row.get("amount_refunded_minor")?,
                currency: row.get("currency")?,
                occurred_at: row.get::<_, Option<i64>>("occurred_at")?.map(millis),
                received_at: millis(row.get("received_at")?),
            })
        })?
        .collect()
}

fn event_view(row: &Row<'_>) -> rusqlite::Result<EventView> {
    Ok(EventView {
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
        event_id: row.get("event_id")?,
        kind: row.get("kind")?,
        payment_id: row.get("payment_id")?,
        verdict: Verdict::name(row.get("verdict")?),
        effect: row.get::<_, Option<i64>>("effect")?.map(effect_name),
        fetch_needed: row.get("fetch_needed")?,
        duplicates: count(row.get("duplicates")?),
        occurred_at: row.get::<_, Option<i64>>("occurred_at")?.map(millis),
        received_at: millis(row.get("received_at")?),
        body_sha256: hex_of(row, "body_sha256")?,
        secret: row.get("secret")?,
        leaf: LeafView {
            subject: row.get("subject")?,
            serial: row.get("serial")?,
            sha256: hex_of(row, "leaf_sha256")?,
        },
    })
}

fn payment_view(row: &Row<'_>) -> rusqlite::Result<PaymentView> {
    Ok(PaymentView {
        tenant_id: row.get("tenant_id")?,
        payment_id: row.get("payment_id")?,
        status: row.get("status")?,
        amount_minor: row.get("amount_minor")?,
        amount_refunded_minor: row.get("amount_refunded_minor")?,
        currency: row.get("currency")?,
        occurred_at: row.get::<_, Option<i64>>("occurred_at")?.map(millis),
        last_event_id: row.get("last_event_id")?,
        events: count(row.get("events")?),
    })
}

/// Groups of refusals, the latest first.
pub(in crate::store) fn refusals(
    connection: &Connection,
    filter: &Filter,
) -> rusqlite::Result<Page<RefusalView>> {
    let limit = limit(filter);
    let since = filter.since.map_or(i64::MIN, |time| time.as_microsecond());
    let after = filter.after.unwrap_or(Cursor {
        time: i64::MAX,
        number: i64::MAX,
    });
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut statement = connection.prepare_cached(
        "SELECT last_seen, refusal, gate, reason, subject, issuer, serial, address, server_name, producer, tenant_id,
             first_seen, count, detail
         FROM refusals
         WHERE last_seen >= ?1 AND (last_seen, refusal) < (?2, ?3) AND (?4 IS NULL OR tenant_id = ?4)
         ORDER BY last_seen DESC, refusal DESC",
    )?;
    let mut rows = statement.query(params![since, after.time, after.number, filter.tenant])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.items.len() == limit {
            page.next = last;
            break;
        }
        let cursor = Cursor {
            time: row.get("last_seen")?,
            number: row.get("refusal")?,
        };
        last = Some(cursor);
        page.items.push(RefusalView {
            gate: row.get("gate")?,
            reason: row.get("reason")?,
            subject: row.get("subject")?,
            issuer: row.get("issuer")?,
            serial: row.get("serial")?,
            address: row.get("address")?,
            server_name: row.get("server_name")?,
            producer: row.get("producer")?,
            tenant_id: row.get("tenant_id")?,
            first_seen: millis(row.get("first_seen")?),
            last_seen: millis(cursor.time),
            count: count(row.get("count")?),
            detail: row.get("detail")?,
        });
    }
    Ok(page)
}

/// The refusals as a book takes them up, the latest last.
pub(in crate::store) fn refusal_groups(connection: &Connection) -> rusqlite::Result<Vec<Group>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, gate, reason, subject, issuer, serial, address, server_name, tenant_id, producer, detail,
             first_seen, last_seen, count
         FROM refusals ORDER BY last_seen DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([Book::GROUPS_MAX as i64])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        let (Ok(gate), Ok(address)) = (
            row.get_ref("gate")?.as_str()?.parse(),
            row.get_ref("address")?.as_str()?.parse(),
        ) else {
            continue;
        };
        groups.push(Group {
            key: row.get("key")?,
            gate,
            reason: row.get("reason")?,
            subject: row.get("subject")?,
            issuer: row.get("issuer")?,
            serial: row.get("serial")?,
            address,
            server_name: row.get("server_name")?,
            producer: match (row.get("tenant_id")?, row.get("producer")?) {
                (Some(tenant_id), Some(name)) => Some(ClaimedProducer { tenant_id, name }),
                (_, _) => None,
            },
            detail: row.get("detail")?,
            first_seen: time(row.get("first_seen")?),
            last_seen: time(row.get("last_seen")?),
            count: count(row.get("count")?),
        });
    }
    groups.reverse();
    Ok(groups)
}

/// The client certificates that deliveries came with, by producer, the latest used first.
pub(in crate::store) fn leaves(connection: &Connection) -> rusqlite::Result<Vec<LeafSeen>> {
    connection
        .prepare_cached(
            "SELECT t.tenant_id, p.name AS producer, l.subject, l.issuer, l.serial, l.sha256, l.spki_sha256, l.not_before,
                 l.not_after, l.anchor_subject, l.anchor_sha256, l.first_seen, l.last_seen
             FROM leaves l JOIN tenants t ON t.tenant = l.tenant JOIN producers p ON p.producer = l.producer
             ORDER BY t.tenant_id, p.name, l.last_seen DESC LIMIT ?1",
        )?
        .query_map([SEEN_MAX], |row| {
            Ok(LeafSeen {
                tenant_id: row.get("tenant_id")?,
                producer: row.get("producer")?,
                subject: row.get("subject")?,
                issuer: row.get("issuer")?,
                serial: row.get("serial")?,
                sha256: hex_of(row, "sha256")?,
                spki_sha256: hex_of(row, "spki_sha256")?,
                not_before: millis(row.get("not_before")?),
                not_after: millis(row.get("not_after")?),
                anchor_subject: row.get("anchor_subject")?,
                anchor_sha256: row.get::<_, Option<Vec<u8>>>("anchor_sha256")?.map(hex::encode),
                first_seen: millis(row.get("first_seen")?),
                last_seen: millis(row.get("last_seen")?),
            })
        })?
        .collect()
}

/// The secrets that verified deliveries, by producer, the latest used first.
pub(in crate::store) fn secrets(connection: &Connection) -> rusqlite::Result<Vec<SecretSeen>> {
    connection
        .prepare_cached(
            "SELECT t.tenant_id, p.name AS producer, s.reference, s.first_used, s.last_used
             FROM secrets s JOIN tenants t ON t.tenant = s.tenant JOIN producers p ON p.producer = s.producer
             ORDER BY t.tenant_id, p.name, s.last_used DESC LIMIT ?1",
        )?
        .query_map([SEEN_MAX], |row| {
            Ok(SecretSeen {
                tenant_id: row.get("tenant_id")?,
                producer: row.get("producer")?,
                secret: row.get("reference")?,
                first_used: millis(row.get("first_used")?),
                last_used: millis(row.get("last_used")?),
            })
        })?
        .collect()
}

fn hex_of(row: &Row<'_>, column: &str) -> rusqlite::Result<String> {
    Ok(hex::encode(row.get_ref(column)?.as_blob()?))
}
