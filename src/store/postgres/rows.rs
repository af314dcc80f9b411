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
/// the planner would read all of a table for each page of it.
pub(super) const BY_INDEX: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

pub(super) const SECRET: &str = "s.tenant_id, s.producer, s.reference, s.first_used, s.last_used";
pub(super) const LEAF: &str =
    "l.tenant_id, l.producer, l.sha256, l.subject, l.issuer, l.serial, l.spki_sha256, l.not_before,
    l.not_after, l.anchor_subject, l.anchor_sha256, l.first_seen, l.last_seen";
pub(super) const PAYMENT: &str =
    "p.tenant_id, p.payment_id, p.changed_at, p.key, p.events, p.last, p.status, p.amount_minor,
    p.amount_refunded_minor, p.currency";
/// `p` is the event's payment.
pub(super) const EVENT: &str = "e.tenant_id, e.producer, e.event_id, e.key, e.kind, e.verdict, s.key IS NOT NULL, e.duplicates,
    e.occurred_at, e.received_at, e.body_sha256, e.secret, e.leaf_sha256, p.payment_id, e.named_payment_id, e.status,
    e.amount_minor, e.amount_refunded_minor, e.currency, e.fetch_needed";
/// How many columns that are.
pub(super) const EVENT_COLUMNS: usize = 20;
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
        tenant_id: row.try_get(0)?,
        producer: text(row, 1)?,
    }))
}

pub(super) fn secret(row: &Row) -> Result<Record, Error> {
    Ok(Record::Secret(SecretRecord {
        tenant_id: row.try_get(0)?,
        producer: text(row, 1)?,
        secret: text(row, 2)?,
        first_used: micros(row, 3)?,
        last_used: micros(row, 4)?,
    }))
}

pub(super) fn leaf(row: &Row) -> Result<Record, Unreadable> {
    Ok(Record::Leaf(LeafRecord {
        tenant_id: row.try_get(0)?,
        producer: text(row, 1)?,
        sha256: bytes(row, 2, "sha256")?,
        subject: text(row, 3)?,
        issuer: text(row, 4)?,
        serial: text(row, 5)?,
        spki_sha256: bytes(row, 6, "spki_sha256")?,
        not_before: micros(row, 7)?,
        not_after: micros(row, 8)?,
        anchor_subject: optional_text(row, 9)?,
        anchor_sha256: match row.try_get::<_, Option<&[u8]>>(10)? {
            None => None,
            Some(_) => Some(bytes(row, 10, "anchor_sha256")?),
        },
        first_seen: micros(row, 11)?,
        last_seen: micros(row, 12)?,
    }))
}

pub(super) fn payment(row: &Row) -> Result<Record, Unreadable> {
    let last = read_recency(row.try_get(5)?).ok_or(Unreadable::Damaged("last"))?;
    let events: i64 = row.try_get(4)?;
    let registers = Registers {
        events: u64::try_from(events).map_err(|_less| Unreadable::Damaged("events"))?,
        last,
        status: register(row, 6, "status", |word| word.parse::<Status>().ok())?,
        amount_minor: register(row, 7, "amount_minor", |word| word.parse().ok())?,
        amount_refunded_minor: register(row, 8, "amount_refunded_minor", |word| word.parse().ok())?,
        currency: register(row, 9, "currency", |word| word.parse::<Currency>().ok())?,
    };
    let payment = Payment::of_registers(&text(row, 1)?, registers);
    Ok(Record::Payment(PaymentRecord::of(
        row.try_get(0)?,
        &payment,
        row.try_get(2)?,
    )))
}

fn register<T>(
    row: &Row,
    column: usize,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<(Recency, T)>, Unreadable> {
    let Some(text) = row.try_get::<_, Option<&str>>(column)? else {
        return Ok(None);
    };
    let read = || {
        let (key, word) = read_register(text)?;
        Some((key, parse(word)?))
    };
    read().map(Some).ok_or(Unreadable::Damaged(name))
}

/// An event without what came with it.
pub(super) fn event(row: &Row) -> Result<EventRecord, Unreadable> {
    let verdict: i16 = row.try_get(5)?;
    let verdict = Verdict::of_number(i64::from(verdict)).ok_or(Unreadable::Damaged("verdict"))?;
    let payment_id = optional_text(row, 13)?;
    let effect = match (verdict, &payment_id, row.try_get(6)?) {
        (Verdict::Conflict, _, _) => None,
        (Verdict::Accepted | Verdict::Quarantined, None, _) => Some(Effect::Unmapped),
        (Verdict::Accepted | Verdict::Quarantined, Some(_), true) => Some(Effect::Superseded),
        (Verdict::Accepted | Verdict::Quarantined, Some(_), false) => Some(Effect::Applied),
    };
    Ok(EventRecord {
        tenant_id: row.try_get(0)?,
        producer: text(row, 1)?,
        event_id: text(row, 2)?,
        key: bytes(row, 3, "key")?,
        kind: optional_text(row, 4)?,
        verdict,
        effect,
        duplicates: row.try_get(7)?,
        occurred_at: row.try_get::<_, Option<i64>>(8)?.map(Micros),
        received_at: micros(row, 9)?,
        body_sha256: bytes(row, 10, "body_sha256")?,
        secret: optional_text(row, 11)?,
        leaf_sha256: bytes(row, 12, "leaf_sha256")?,
        payment_id,
        named_payment_id: optional_text(row, 14)?,
        status: row.try_get(15)?,
        amount_minor: row.try_get(16)?,
        amount_refunded_minor: row.try_get(17)?,
        currency: row.try_get(18)?,
        fetch_needed: row.try_get(19)?,
        headers: None,
        body: None,
        body_base64: None,
    })
}

/// What recognises a forgotten event; `None` where the row is another one.
pub(super) fn forgotten(row: &Row) -> Result<Option<ForgottenRecord>, Unreadable> {
    if i64::from(row.try_get::<_, i16>(5)?) != FORGOTTEN {
        return Ok(None);
    }
    Ok(Some(ForgottenRecord {
        tenant_id: row.try_get(0)?,
        key: bytes(row, 3, "key")?,
        body_sha256: bytes(row, 10, "body_sha256")?,
        duplicates: row.try_get(7)?,
        received_at: Micros(!row.try_get::<_, i64>(9)?),
    }))
}

/// Gives an event the headers in this column and the body in the next, if they are kept.
pub(super) fn came_with(
    event: &mut EventRecord,
    row: &Row,
    column: usize,
) -> Result<(), Unreadable> {
    let headers: Option<&str> = row.try_get(column)?;
    let body: Option<Vec<u8>> = row.try_get(column.saturating_add(1))?;
    if let (Some(headers), Some(body)) = (headers, body) {
        let headers =
            serde_json::from_str(headers).map_err(|_form| Unreadable::Damaged("headers"))?;
        event.keep(headers, body);
    }
    Ok(())
}

pub(super) fn refusal(row: &Row) -> Result<RefusalRecord, Unreadable> {
    Ok(RefusalRecord {
        key: bytes(row, 0, "key")?,
        gate: row.try_get(1)?,
        reason: text(row, 2)?,
        subject: optional_text(row, 3)?,
        issuer: optional_text(row, 4)?,
        serial: optional_text(row, 5)?,
        address: row.try_get(6)?,
        server_name: optional_text(row, 7)?,
        tenant_id: Some(text(row, 8)?).filter(|tenant| !tenant.is_empty()),
        producer: optional_text(row, 9)?,
        detail: optional_text(row, 10)?,
        first_seen: micros(row, 11)?,
        last_seen: micros(row, 12)?,
        count: row.try_get(13)?,
    })
}

pub(super) fn shadow(row: &Row) -> Result<Record, Unreadable> {
    // Empty stands for nobody's.
    let named = |column| text(row, column).map(|text| Some(text).filter(|text| !text.is_empty()));
    Ok(Record::Shadow(ShadowRecord {
        key: bytes(row, 0, "key")?,
        mark: text(row, 1)?,
        what: text(row, 2)?,
        tenant_id: named(3)?,
        producer: named(4)?,
        subject: text(row, 5)?,
        address: text(row, 6)?,
        accept: row.try_get(7)?,
        agree: row.try_get(8)?,
        refuse: row.try_get(9)?,
        first_seen: micros(row, 10)?,
        last_seen: micros(row, 11)?,
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

fn text(row: &Row, column: usize) -> Result<String, Error> {
    row.try_get(column).map(give_back)
}

fn optional_text(row: &Row, column: usize) -> Result<Option<String>, Error> {
    row.try_get::<_, Option<String>>(column)
        .map(|text| text.map(give_back))
}

fn micros(row: &Row, column: usize) -> Result<Micros, Error> {
    row.try_get(column).map(Micros)
}

fn bytes<const N: usize>(
    row: &Row,
    column: usize,
    name: &'static str,
) -> Result<Hex<N>, Unreadable> {
    let bytes: &[u8] = row.try_get(column)?;
    let exact = bytes.try_into().map(Hex);
    exact.map_err(|_long| Unreadable::Damaged(name))
}
