//! Columns of PostgreSQL as rows of an export.

use std::collections::HashMap;

use tokio_postgres::{Error, Row};

use super::text::{give_back, read_recency, read_register};
use crate::payments::{Currency, Effect, Payment, Recency, Registers, Status};
use crate::store::row::{FORGOTTEN, Verdict};
use crate::store::transfer::record::{
    EventRecord, ForgottenRecord, Hex, LeafRecord, Micros, PaymentRecord, ProducerRecord, Record,
    RefusalRecord, SecretRecord, ShadowRecord,
};

/// For a transaction that reads by keys alone. Tables that were filled a moment ago have no statistics yet, and without them
/// the planner would read all of a table for each page of it; and workers take longer to start than a page takes.
pub(super) const BY_INDEX: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0";

pub(super) const SECRET: &str = "s.tenant_id, s.producer, s.reference, s.first_used, s.last_used";
pub(super) const LEAF: &str =
    "l.tenant_id, l.producer, l.sha256, l.subject, l.issuer, l.serial, l.spki_sha256, l.not_before,
    l.not_after, l.anchor_subject, l.anchor_sha256, l.first_seen, l.last_seen";
pub(super) const PAYMENT: &str =
    "p.tenant_id, p.payment_id, p.changed_at, p.key, p.events, p.last, p.status, p.amount_minor,
    p.amount_refunded_minor, p.currency";
/// `p` is the event's payment.
pub(super) const EVENT: &str = "e.tenant_id, e.producer, e.event_id, e.key, e.kind, e.verdict,
    s.key IS NOT NULL AS superseded, e.duplicates, e.occurred_at, e.received_at, e.body_sha256, e.secret, e.leaf_sha256, p.payment_id, e.named_payment_id, e.status,
    e.amount_minor, e.amount_refunded_minor, e.currency, e.fetch_needed";
pub(super) const EVENT_PARTS: &str =
    "LEFT JOIN countersign.superseded s ON s.tenant_id = e.tenant_id AND s.key = e.key";
pub(super) const REFUSAL: &str =
    "key, gate, reason, subject, issuer, serial, address, server_name, tenant_id, producer, detail,
    first_seen, last_seen, count";
pub(super) const SHADOW: &str = "w.key, w.mark, w.what, w.tenant_id, w.producer, w.subject, w.address, w.accept, w.agree, w.refuse,
    w.first_seen, w.last_seen";

/// Why a row is none of an export.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// A column has not the form that it should have.
    #[error(transparent)]
    Column(#[from] Error),
    /// A register, a key or a number is damaged.
    #[error("its column {0} is damaged")]
    Damaged(&'static str),
}

pub(super) fn producer(row: &Row) -> Result<Record, Error> {
    Ok(Record::Producer(ProducerRecord {
        tenant_id: row.try_get("tenant_id")?,
        producer: text(row, "name")?,
    }))
}

pub(super) fn secret(row: &Row) -> Result<Record, Error> {
    Ok(Record::Secret(SecretRecord {
        tenant_id: row.try_get("tenant_id")?,
        producer: text(row, "producer")?,
        secret: text(row, "reference")?,
        first_used: micros(row, "first_used")?,
        last_used: micros(row, "last_used")?,
    }))
}

pub(super) fn leaf(row: &Row) -> Result<Record, Unreadable> {
    Ok(Record::Leaf(LeafRecord {
        tenant_id: row.try_get("tenant_id")?,
        producer: text(row, "producer")?,
        sha256: bytes(row, "sha256")?,
        subject: text(row, "subject")?,
        issuer: text(row, "issuer")?,
        serial: text(row, "serial")?,
        spki_sha256: bytes(row, "spki_sha256")?,
        not_before: micros(row, "not_before")?,
        not_after: micros(row, "not_after")?,
        anchor_subject: optional_text(row, "anchor_subject")?,
        anchor_sha256: match row.try_get::<_, Option<&[u8]>>("anchor_sha256")? {
            None => None,
            Some(_) => Some(bytes(row, "anchor_sha256")?),
        },
        first_seen: micros(row, "first_seen")?,
        last_seen: micros(row, "last_seen")?,
    }))
}

pub(super) fn payment(row: &Row) -> Result<Record, Unreadable> {
    let last = read_recency(row.try_get("last")?).ok_or(Unreadable::Damaged("last"))?;
    let events: i64 = row.try_get("events")?;
    let registers = Registers {
        events: u64::try_from(events).map_err(|_less| Unreadable::Damaged("events"))?,
        last,
        status: register(row, "status", |word| word.parse::<Status>().ok())?,
        amount_minor: register(row, "amount_minor", |word| word.parse().ok())?,
        amount_refunded_minor: register(row, "amount_refunded_minor", |word| word.parse().ok())?,
        currency: register(row, "currency", |word| word.parse::<Currency>().ok())?,
    };
    let payment = Payment::of_registers(&text(row, "payment_id")?, registers);
    Ok(Record::Payment(PaymentRecord::of(
        row.try_get("tenant_id")?,
        &payment,
        row.try_get("changed_at")?,
    )))
}

fn register<T>(
    row: &Row,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<(Recency, T)>, Unreadable> {
    let Some(text) = row.try_get::<_, Option<&str>>(column)? else {
        return Ok(None);
    };
    let read = || {
        let (key, word) = read_register(text)?;
        Some((key, parse(word)?))
    };
    read().map(Some).ok_or(Unreadable::Damaged(column))
}

/// An event without what came with it.
pub(super) fn event(row: &Row) -> Result<EventRecord, Unreadable> {
    let verdict: i16 = row.try_get("verdict")?;
    let verdict = Verdict::of_number(i64::from(verdict)).ok_or(Unreadable::Damaged("verdict"))?;
    let payment_id = optional_text(row, "payment_id")?;
    let effect = match (verdict, &payment_id, row.try_get("superseded")?) {
        (Verdict::Conflict, _, _) => None,
        (Verdict::Accepted | Verdict::Quarantined, None, _) => Some(Effect::Unmapped),
        (Verdict::Accepted | Verdict::Quarantined, Some(_), true) => Some(Effect::Superseded),
        (Verdict::Accepted | Verdict::Quarantined, Some(_), false) => Some(Effect::Applied),
    };
    Ok(EventRecord {
        tenant_id: row.try_get("tenant_id")?,
        producer: text(row, "producer")?,
        event_id: text(row, "event_id")?,
        key: bytes(row, "key")?,
        kind: optional_text(row, "kind")?,
        verdict,
        effect,
        duplicates: row.try_get("duplicates")?,
        occurred_at: row.try_get::<_, Option<i64>>("occurred_at")?.map(Micros),
        received_at: micros(row, "received_at")?,
        body_sha256: bytes(row, "body_sha256")?,
        secret: optional_text(row, "secret")?,
        leaf_sha256: bytes(row, "leaf_sha256")?,
        payment_id,
        named_payment_id: optional_text(row, "named_payment_id")?,
        status: row.try_get("status")?,
        amount_minor: row.try_get("amount_minor")?,
        amount_refunded_minor: row.try_get("amount_refunded_minor")?,
        currency: row.try_get("currency")?,
        fetch_needed: row.try_get("fetch_needed")?,
        headers: None,
        body: None,
        body_base64: None,
    })
}

/// What recognises a forgotten event; `None` where the row is another one.
pub(super) fn forgotten(row: &Row) -> Result<Option<ForgottenRecord>, Unreadable> {
    if i64::from(row.try_get::<_, i16>("verdict")?) != FORGOTTEN {
        return Ok(None);
    }
    Ok(Some(ForgottenRecord {
        tenant_id: row.try_get("tenant_id")?,
        key: bytes(row, "key")?,
        body_sha256: bytes(row, "body_sha256")?,
        duplicates: row.try_get("duplicates")?,
        received_at: Micros(!row.try_get::<_, i64>("received_at")?),
    }))
}

/// Gives an event the row's headers and body, if they are kept.
pub(super) fn came_with(event: &mut EventRecord, row: &Row) -> Result<(), Unreadable> {
    let headers: Option<&str> = row.try_get("headers")?;
    let body: Option<Vec<u8>> = row.try_get("body")?;
    if let (Some(headers), Some(body)) = (headers, body) {
        let headers =
            serde_json::from_str(headers).map_err(|_form| Unreadable::Damaged("headers"))?;
        event.keep(headers, body);
    }
    Ok(())
}

pub(super) fn refusal(row: &Row) -> Result<RefusalRecord, Unreadable> {
    Ok(RefusalRecord {
        key: bytes(row, "key")?,
        gate: row.try_get("gate")?,
        reason: text(row, "reason")?,
        subject: optional_text(row, "subject")?,
        issuer: optional_text(row, "issuer")?,
        serial: optional_text(row, "serial")?,
        address: row.try_get("address")?,
        server_name: optional_text(row, "server_name")?,
        tenant_id: Some(text(row, "tenant_id")?).filter(|tenant| !tenant.is_empty()),
        producer: optional_text(row, "producer")?,
        detail: optional_text(row, "detail")?,
        first_seen: micros(row, "first_seen")?,
        last_seen: micros(row, "last_seen")?,
        count: row.try_get("count")?,
    })
}

pub(super) fn shadow(row: &Row) -> Result<Record, Unreadable> {
    // Empty stands for nobody's.
    let named = |column| text(row, column).map(|text| Some(text).filter(|text| !text.is_empty()));
    Ok(Record::Shadow(ShadowRecord {
        key: bytes(row, "key")?,
        mark: text(row, "mark")?,
        what: text(row, "what")?,
        tenant_id: named("tenant_id")?,
        producer: named("producer")?,
        subject: text(row, "subject")?,
        address: text(row, "address")?,
        accept: row.try_get("accept")?,
        agree: row.try_get("agree")?,
        refuse: row.try_get("refuse")?,
        first_seen: micros(row, "first_seen")?,
        last_seen: micros(row, "last_seen")?,
    }))
}

/// Makes one of groups that differ in the tenant alone, as they do where its producer was configured between two
/// refusals. The latest come first, and have the word.
pub(super) fn merge_refusals(groups: Vec<RefusalRecord>) -> Vec<RefusalRecord> {
    let mut places: HashMap<Hex<16>, usize> = HashMap::with_capacity(groups.len());
    let mut merged: Vec<RefusalRecord> = Vec::with_capacity(groups.len());
    for group in groups {
        let known = places
            .get(&group.key)
            .and_then(|place| merged.get_mut(*place));
        match known {
            Some(latest) => {
                latest.first_seen = latest.first_seen.min(group.first_seen);
                latest.count = latest.count.saturating_add(group.count);
            }
            None => {
                places.insert(group.key, merged.len());
                merged.push(group);
            }
        }
    }
    merged
}

fn text(row: &Row, column: &str) -> Result<String, Error> {
    row.try_get(column).map(give_back)
}

fn optional_text(row: &Row, column: &str) -> Result<Option<String>, Error> {
    row.try_get::<_, Option<String>>(column)
        .map(|text| text.map(give_back))
}

fn micros(row: &Row, column: &str) -> Result<Micros, Error> {
    row.try_get(column).map(Micros)
}

fn bytes<const N: usize>(row: &Row, column: &'static str) -> Result<Hex<N>, Unreadable> {
    let bytes: &[u8] = row.try_get(column)?;
    let exact = bytes.try_into().map(Hex);
    exact.map_err(|_long| Unreadable::Damaged(column))
}
