//! What the writer does with a delivery, inside its transaction: dedupe, keep, apply.

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::names::{Names, Producer};
use crate::inbox::{Receipt, Standing};
use crate::payments::{Effect, Payment, UnreadablePayment};
use crate::store::row::{PaymentClaim, Row, Verdict};

/// Why a delivery could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// SQLite refused a statement.
    #[error("the store refused a statement")]
    Statement(#[from] rusqlite::Error),
    /// The payment's row is damaged.
    #[error("the state of the event's payment cannot be read")]
    Payment(#[from] UnreadablePayment),
}

impl WriteError {
    /// Whether it is this row's own, so that its neighbours may go on.
    pub(super) fn is_of_the_row(&self) -> bool {
        match self {
            Self::Payment(_) => true,
            Self::Statement(error) => match error.sqlite_error_code() {
                Some(code) => matches!(
                    code,
                    ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
                ),
                // Not from SQLite: a value that does not convert.
                None => true,
            },
        }
    }

    /// SQLite's code.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Statement(error) => error.sqlite_error_code(),
            Self::Payment(_) => None,
        }
    }
}

/// Writes the events of one delivery.
pub(super) fn write_delivery(
    connection: &Connection,
    names: &mut Names,
    delivery: &[Row],
) -> Result<Vec<Receipt>, WriteError> {
    delivery
        .iter()
        .map(|row| write_event(connection, names, row))
        .collect()
}

fn write_event(
    connection: &Connection,
    names: &mut Names,
    row: &Row,
) -> Result<Receipt, WriteError> {
    let producer = names.producer(connection, &row.tenant, &row.producer)?;
    let known = find(connection, producer.tenant, &row.key)?;
    match (row.standing, known) {
        (Standing::Readable, None) => {
            accept(connection, names, producer, row)?;
            Ok(Receipt::Accepted)
        }
        (Standing::Readable, Some(known)) if known.body_sha256 == row.body_sha256 => {
            count_duplicate(connection, known.event)?;
            Ok(Receipt::Duplicate)
        }
        (Standing::Readable, Some(_)) => {
            let key = row.conflict_key();
            match find(connection, producer.tenant, &key)? {
                Some(known) => {
                    count_duplicate(connection, known.event)?;
                    Ok(Receipt::Duplicate)
                }
                None => {
                    let aside = Columns {
                        key: &key,
                        verdict: Verdict::Conflict,
                        effect: None,
                        payment: None,
                    };
                    insert(connection, names, producer, row, &aside)?;
                    Ok(Receipt::Conflict)
                }
            }
        }
        (Standing::Quarantined, Some(known)) => {
            count_duplicate(connection, known.event)?;
            Ok(Receipt::Quarantined)
        }
        (Standing::Quarantined, None) => {
            let effect = Some(Effect::Unmapped);
            let aside = Columns {
                key: &row.key,
                verdict: Verdict::Quarantined,
                effect,
                payment: None,
            };
            insert(connection, names, producer, row, &aside)?;
            Ok(Receipt::Quarantined)
        }
    }
}

struct Known {
    event: i64,
    body_sha256: [u8; 32],
}

fn find(connection: &Connection, tenant: i64, key: &[u8; 16]) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached("SELECT event, body_sha256 FROM events WHERE tenant = ?1 AND key = ?2")?
        .query_row(params![tenant, key], |row| {
            Ok(Known {
                event: row.get(0)?,
                body_sha256: row.get(1)?,
            })
        })
        .optional()
}

fn count_duplicate(connection: &Connection, event: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE events SET duplicates = duplicates + 1 WHERE event = ?1")?
        .execute([event])
        .map(drop)
}

/// A new event: the ledger first, for its word is part of the event's row.
fn accept(
    connection: &Connection,
    names: &mut Names,
    producer: Producer,
    row: &Row,
) -> Result<(), WriteError> {
    let (effect, payment) = match &row.claim {
        None => (Effect::Unmapped, None),
        Some(claim) => {
            let (effect, payment) = apply(connection, producer.tenant, row, claim)?;
            (effect, Some(payment))
        }
    };
    let columns = Columns {
        key: &row.key,
        verdict: Verdict::Accepted,
        effect: Some(effect),
        payment,
    };
    insert(connection, names, producer, row, &columns)?;
    Ok(())
}

/// Applies the claim to its payment, and returns the payment's number.
fn apply(
    connection: &Connection,
    tenant: i64,
    row: &Row,
    claim: &PaymentClaim,
) -> Result<(Effect, i64), WriteError> {
    let found = connection
        .prepare_cached(
            "SELECT payment, payment_id, state FROM payments WHERE tenant = ?1 AND key = ?2",
        )?
        .query_row(params![tenant, claim.payment_key], |row| {
            let state = Payment::decode(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
            Ok((row.get::<_, i64>(0)?, state))
        })
        .optional()?;
    match found {
        None => {
            let payment = Payment::new(&claim.claim);
            connection
                .prepare_cached(
                    "INSERT INTO payments (tenant, key, payment_id, status, amount_minor, amount_refunded_minor,
                         currency, occurred_at, last_event_id, events, changed_at, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute(params![
                    tenant,
                    claim.payment_key,
                    payment.payment_id(),
                    payment.status().map(|status| status.as_str()),
                    payment.amount_minor(),
                    payment.amount_refunded_minor(),
                    payment.currency().as_ref().map(|currency| currency.code()),
                    payment.occurred_at().map(Timestamp::as_microsecond),
                    payment.last_event_id(),
                    payment.events() as i64,
                    row.received_at,
                    payment.encode(),
                ])?;
            Ok((Effect::Applied, connection.last_insert_rowid()))
        }
        Some((number, payment)) => {
            let mut payment = payment?;
            let effect = payment.apply(&claim.claim);
            let changed_at = match effect {
                Effect::Applied => Some(row.received_at),
                Effect::Superseded | Effect::Unmapped => None,
            };
            connection
                .prepare_cached(
                    "UPDATE payments SET status = ?2, amount_minor = ?3, amount_refunded_minor = ?4, currency = ?5,
                         occurred_at = ?6, last_event_id = ?7, events = ?8, changed_at = max(changed_at, ifnull(?9, changed_at)), state = ?10
                     WHERE payment = ?1",
                )?
                .execute(params![
                    number,
                    payment.status().map(|status| status.as_str()),
                    payment.amount_minor(),
                    payment.amount_refunded_minor(),
                    payment.currency().as_ref().map(|currency| currency.code()),
                    payment.occurred_at().map(Timestamp::as_microsecond),
                    payment.last_event_id(),
                    payment.events() as i64,
                    changed_at,
                    payment.encode(),
                ])?;
            Ok((effect, number))
        }
    }
}

/// What an event's row has besides what came with it.
struct Columns<'a> {
    key: &'a [u8; 16],
    verdict: Verdict,
    effect: Option<Effect>,
    payment: Option<i64>,
}

/// The number that a store has for an effect.
pub(super) fn effect_number(effect: Effect) -> i64 {
    match effect {
        Effect::Applied => 0,
        Effect::Superseded => 1,
        Effect::Unmapped => 2,
    }
}

/// The name of what a store holds as this number.
pub(super) fn effect_name(number: i64) -> &'static str {
    match number {
        0 => Effect::Applied.as_str(),
        1 => Effect::Superseded.as_str(),
        _ => Effect::Unmapped.as_str(),
    }
}

fn insert(
    connection: &Connection,
    names: &mut Names,
    producer: Producer,
    row: &Row,
    columns: &Columns<'_>,
) -> Result<(), WriteError> {
    let secret = match &row.secret {
        Some(reference) => Some(names.secret(connection, producer, reference, row.received_at)?),
        None => None,
    };
    let leaf = names.leaf(connection, producer, &row.leaf, row.received_at)?;
    // What was claimed of a payment is kept for conflicts too: `payment` alone says that the ledger took it.
    let claim = row.claim.as_ref().map(|claim| &claim.claim);
    let named = match (columns.payment, claim) {
        (Some(_), _) => None,
        (None, Some(claim)) => Some(claim.payment_id()),
        (None, None) => row.named_payment_id.as_deref(),
    };
    connection
        .prepare_cached(
            "INSERT INTO events (tenant, key, producer, event_id, kind, verdict, effect, occurred_at, received_at,
                 body_sha256, secret, leaf, payment, status, amount_minor, amount_refunded_minor, currency,
                 named_payment_id, fetch_needed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(params![
            producer.tenant,
            columns.key,
            producer.producer,
            row.event_id,
            row.kind,
            columns.verdict.number(),
            columns.effect.map(effect_number),
            row.occurred_at,
            row.received_at,
            row.body_sha256,
            secret,
            leaf,
            columns.payment,
            claim.and_then(|claim| claim.status()).map(|status| status.as_str()),
            claim.and_then(|claim| claim.amount_minor()),
            claim.and_then(|claim| claim.amount_refunded_minor()),
            claim.and_then(|claim| claim.currency()).as_ref().map(|currency| currency.code()),
            named,
            row.fetch_needed,
        ])?;
    connection
        .prepare_cached("INSERT INTO bodies (event, headers, body) VALUES (?1, ?2, ?3)")?
        .execute(params![
            connection.last_insert_rowid(),
            row.headers.as_str(),
            &*row.body
        ])?;
    Ok(())
}
