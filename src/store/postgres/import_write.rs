//! Rows of one kind as the statements that write them to PostgreSQL. Locks are taken in the order of the keys.

use std::borrow::Cow;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::batch::payment_key;
use super::text::{hold, recency, register};
use crate::payments::{Effect, Registers};
use crate::store::HISTORY_MAX;
use crate::store::row::Verdict;
use crate::store::transfer::lines::Line;
use crate::store::transfer::record::{
    EventRecord, ForgottenRecord, LeafRecord, PaymentRecord, ProducerRecord, Record, RefusalRecord,
    SecretRecord, ShadowRecord,
};

/// Why rows were not written.
#[derive(Debug)]
pub(super) enum Refused {
    Statement(Error),
    /// The row in this place names something that is not there.
    Dangling {
        place: usize,
        what: &'static str,
    },
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

type Text<'a> = Option<Cow<'a, str>>;

/// Writes rows, which are of one kind, inside the caller's transaction.
pub(super) async fn rows(client: &Client, lines: &[Line]) -> Result<(), Refused> {
    let mut producers = Vec::new();
    let mut secrets = Vec::new();
    let mut leaves = Vec::new();
    let mut payments = Vec::new();
    let mut events = Vec::new();
    let mut forgotten = Vec::new();
    let mut refusals = Vec::new();
    let mut shadows = Vec::new();
    for line in lines {
        match &line.record {
            Record::Producer(row) => producers.push(row),
            Record::Secret(row) => secrets.push(row),
            Record::Leaf(row) => leaves.push(row),
            Record::Payment(row) => payments.push(row),
            Record::Event(row) => events.push(&**row),
            Record::Forgotten(row) => forgotten.push(row),
            Record::Refusal(row) => refusals.push(row),
            Record::Shadow(row) => shadows.push(row),
        }
    }
    if !producers.is_empty() {
        write_producers(client, &producers).await?;
    }
    if !secrets.is_empty() {
        write_secrets(client, &secrets).await?;
    }
    if !leaves.is_empty() {
        write_leaves(client, &leaves).await?;
    }
    if !payments.is_empty() {
        write_payments(client, &payments).await?;
    }
    if !events.is_empty() {
        write_events(client, &events).await?;
    }
    if !forgotten.is_empty() {
        write_forgotten(client, &forgotten).await?;
    }
    if !refusals.is_empty() {
        write_refusals(client, &refusals).await?;
    }
    if !shadows.is_empty() {
        write_shadows(client, &shadows).await?;
    }
    Ok(())
}

fn texts<'a, R>(rows: &[&'a R], of: impl Fn(&'a R) -> Option<&'a str>) -> Vec<Text<'a>> {
    rows.iter().map(|row| of(row).map(hold)).collect()
}

fn numbers<R>(rows: &[&R], of: impl Fn(&R) -> Option<i64>) -> Vec<Option<i64>> {
    rows.iter().map(|row| of(row)).collect()
}

fn bytes<R>(rows: &[&R], of: impl Fn(&R) -> Option<Vec<u8>>) -> Vec<Option<Vec<u8>>> {
    rows.iter().map(|row| of(row)).collect()
}

/// The place of the first row whose producer, secret, certificate or payment is not there, as `sql` finds it.
async fn must_name_what_is_there(
    client: &Client,
    what: &'static str,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<(), Refused> {
    let sql = format!("{sql} ORDER BY i LIMIT 1");
    match client.query_typed(&sql, parameters).await?.first() {
        None => Ok(()),
        Some(row) => {
            let place: i64 = row.try_get(0)?;
            let place = usize::try_from(place.saturating_sub(1)).unwrap_or_default();
            Err(Refused::Dangling { place, what })
        }
    }
}

/// Rows whose producer is not there.
const NO_PRODUCER: &str = "SELECT m.i FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS m (tenant_id, producer, i)
    LEFT JOIN countersign.producers p ON p.tenant_id = m.tenant_id AND p.name = m.producer WHERE p.name IS NULL";

/// Rows whose tenant is not there.
const NO_TENANT: &str = "SELECT m.i FROM unnest($1::text[]) WITH ORDINALITY AS m (tenant_id, i)
    LEFT JOIN countersign.tenants t ON t.tenant_id = m.tenant_id WHERE t.tenant_id IS NULL";

async fn write_producers(client: &Client, rows: &[&ProducerRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    let names = texts(rows, |row| Some(&row.producer));
    client
        .execute_typed(
            "INSERT INTO countersign.tenants (tenant_id)
             SELECT DISTINCT tenant_id COLLATE \"C\" FROM unnest($1::text[]) AS row (tenant_id) ORDER BY 1
             ON CONFLICT DO NOTHING",
            &[(&tenants, Type::TEXT_ARRAY)],
        )
        .await?;
    client
        .execute_typed(
            "INSERT INTO countersign.producers (tenant_id, name)
             SELECT tenant_id COLLATE \"C\", name COLLATE \"C\" FROM unnest($1::text[], $2::text[]) AS row (tenant_id, name)
             ORDER BY 1, 2 ON CONFLICT DO NOTHING",
            &[(&tenants, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(())
}

async fn write_secrets(client: &Client, rows: &[&SecretRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    let producers = texts(rows, |row| Some(&row.producer));
    let named: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenants, Type::TEXT_ARRAY), (&producers, Type::TEXT_ARRAY)];
    must_name_what_is_there(client, "producer", NO_PRODUCER, &named).await?;
    client
        .execute_typed(
            "INSERT INTO countersign.secrets AS s (tenant_id, producer, reference, first_used, last_used)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[])
                 AS row (tenant_id, producer, reference)
             ORDER BY tenant_id COLLATE \"C\", producer COLLATE \"C\", reference COLLATE \"C\"
             ON CONFLICT (tenant_id, producer, reference) DO UPDATE
                 SET first_used = least(s.first_used, excluded.first_used),
                     last_used = greatest(s.last_used, excluded.last_used)",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&producers, Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.secret)), Type::TEXT_ARRAY),
                (&numbers(rows, |row| Some(row.first_used.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.last_used.0)), Type::INT8_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

async fn write_leaves(client: &Client, rows: &[&LeafRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    let producers = texts(rows, |row| Some(&row.producer));
    let named: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenants, Type::TEXT_ARRAY), (&producers, Type::TEXT_ARRAY)];
    must_name_what_is_there(client, "producer", NO_PRODUCER, &named).await?;
    client
        .execute_typed(
            "INSERT INTO countersign.leaves AS l (tenant_id, producer, sha256, subject, issuer, serial, spki_sha256, not_before,
                 not_after, anchor_subject, anchor_sha256, first_seen, last_seen)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::bytea[],
                 $8::int8[], $9::int8[], $10::text[], $11::bytea[], $12::int8[], $13::int8[])
                 AS row (tenant_id, producer, sha256)
             ORDER BY tenant_id COLLATE \"C\", producer COLLATE \"C\", sha256
             ON CONFLICT (tenant_id, producer, sha256) DO UPDATE
                 SET first_seen = least(l.first_seen, excluded.first_seen),
                     anchor_subject = CASE WHEN excluded.last_seen >= l.last_seen
                         THEN coalesce(excluded.anchor_subject, l.anchor_subject)
                         ELSE coalesce(l.anchor_subject, excluded.anchor_subject) END,
                     anchor_sha256 = CASE WHEN excluded.last_seen >= l.last_seen
                         THEN coalesce(excluded.anchor_sha256, l.anchor_sha256)
                         ELSE coalesce(l.anchor_sha256, excluded.anchor_sha256) END,
                     last_seen = greatest(l.last_seen, excluded.last_seen)",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&producers, Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.sha256.0.to_vec())), Type::BYTEA_ARRAY),
                (&texts(rows, |row| Some(&row.subject)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.issuer)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.serial)), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.spki_sha256.0.to_vec())), Type::BYTEA_ARRAY),
                (&numbers(rows, |row| Some(row.not_before.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.not_after.0)), Type::INT8_ARRAY),
                (&texts(rows, |row| row.anchor_subject.as_deref()), Type::TEXT_ARRAY),
                (&bytes(rows, |row| row.anchor_sha256.map(|sha256| sha256.0.to_vec())), Type::BYTEA_ARRAY),
                (&numbers(rows, |row| Some(row.first_seen.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.last_seen.0)), Type::INT8_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

async fn write_payments(client: &Client, rows: &[&PaymentRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    must_name_what_is_there(client, "tenant", NO_TENANT, &[(&tenants, Type::TEXT_ARRAY)]).await?;
    // Its soundness was checked with its line.
    let states: Vec<Option<Registers>> = rows
        .iter()
        .map(|row| Some(row.payment().ok()?.registers()))
        .collect();
    let word = |of: fn(&Registers) -> Option<String>| -> Vec<Option<String>> {
        states.iter().map(|state| of(state.as_ref()?)).collect()
    };
    client
        .execute_typed(
            "INSERT INTO countersign.payments (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
                 amount_refunded_minor, currency, history)
             SELECT *, '{}' FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::int8[], $5::text[], $6::text[], $7::text[],
                 $8::text[], $9::text[], $10::text[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(payment_key(&row.tenant_id, &row.payment_id).to_vec())), Type::BYTEA_ARRAY),
                (&numbers(rows, |row| Some(row.changed_at.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.events)), Type::INT8_ARRAY),
                (&texts(rows, |row| Some(&row.payment_id)), Type::TEXT_ARRAY),
                (&word(|state| Some(recency(&state.last))), Type::TEXT_ARRAY),
                (
                    &word(|state| state.status.as_ref().map(|(key, status)| register(key, status.as_str()))),
                    Type::TEXT_ARRAY,
                ),
                (
                    &word(|state| state.amount_minor.as_ref().map(|(key, amount)| register(key, &amount.to_string()))),
                    Type::TEXT_ARRAY,
                ),
                (
                    &word(|state| {
                        let refunded = state.amount_refunded_minor.as_ref();
                        refunded.map(|(key, amount)| register(key, &amount.to_string()))
                    }),
                    Type::TEXT_ARRAY,
                ),
                (
                    &word(|state| state.currency.as_ref().map(|(key, currency)| register(key, currency.code()))),
                    Type::TEXT_ARRAY,
                ),
            ],
        )
        .await?;
    Ok(())
}

async fn write_events(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    must_name_what_they_need(client, rows).await?;
    write_rows(client, rows).await?;
    write_what_came(client, rows).await?;
    write_late(client, rows).await?;
    write_histories(client, rows).await
}

/// The keys of the payments that events were applied to.
fn payments_of(rows: &[&EventRecord]) -> Vec<Option<Vec<u8>>> {
    bytes(rows, |row| {
        let payment_id = row.payment_id.as_deref()?;
        Some(payment_key(&row.tenant_id, payment_id).to_vec())
    })
}

async fn must_name_what_they_need(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    let producers = texts(rows, |row| Some(&row.producer));
    let secrets = texts(rows, |row| row.secret.as_deref());
    let leaves = bytes(rows, |row| Some(row.leaf_sha256.0.to_vec()));
    let payments = payments_of(rows);
    let named: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenants, Type::TEXT_ARRAY),
        (&producers, Type::TEXT_ARRAY),
        (&secrets, Type::TEXT_ARRAY),
    ];
    must_name_what_is_there(
        client,
        "secret",
        "SELECT m.i FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS m (tenant_id, producer, secret, i)
         LEFT JOIN countersign.secrets s
             ON s.tenant_id = m.tenant_id AND s.producer = m.producer AND s.reference = m.secret
         WHERE m.secret IS NOT NULL AND s.reference IS NULL",
        &named,
    )
    .await?;
    let presented: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenants, Type::TEXT_ARRAY),
        (&producers, Type::TEXT_ARRAY),
        (&leaves, Type::BYTEA_ARRAY),
    ];
    must_name_what_is_there(
        client,
        "certificate",
        "SELECT m.i FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS m (tenant_id, producer, sha256, i)
         LEFT JOIN countersign.leaves l
             ON l.tenant_id = m.tenant_id AND l.producer = m.producer AND l.sha256 = m.sha256
         WHERE l.sha256 IS NULL",
        &presented,
    )
    .await?;
    let applied: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenants, Type::TEXT_ARRAY), (&payments, Type::BYTEA_ARRAY)];
    must_name_what_is_there(
        client,
        "payment",
        "SELECT m.i FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS m (tenant_id, key, i)
         LEFT JOIN countersign.payments p ON p.tenant_id = m.tenant_id AND p.key = m.key
         WHERE m.key IS NOT NULL AND p.key IS NULL",
        &applied,
    )
    .await
}

async fn write_rows(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    let verdicts: Vec<i16> = rows
        .iter()
        .map(|row| i16::try_from(row.verdict.number()).unwrap_or_default())
        .collect();
    let beside = bytes(rows, |row| match row.verdict {
        Verdict::Accepted => None,
        Verdict::Conflict | Verdict::Quarantined => Some(row.digest().to_vec()),
    });
    client
        .execute_typed(
            "INSERT INTO countersign.events (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
                 kind, body_sha256, secret, leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
                 named_payment_id, beside, fetch_needed)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::int8[], $5::int8[], $6::int2[], $7::text[],
                 $8::text[], $9::text[], $10::bytea[], $11::text[], $12::bytea[], $13::bytea[], $14::text[], $15::int8[],
                 $16::int8[], $17::text[], $18::text[], $19::bytea[], $20::bool[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&texts(rows, |row| Some(&row.tenant_id)), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.key.0.to_vec())), Type::BYTEA_ARRAY),
                (&numbers(rows, |row| Some(row.received_at.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| row.occurred_at.map(|time| time.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.duplicates)), Type::INT8_ARRAY),
                (&verdicts, Type::INT2_ARRAY),
                (&texts(rows, |row| Some(&row.producer)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.event_id)), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.kind.as_deref()), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.body_sha256.0.to_vec())), Type::BYTEA_ARRAY),
                (&texts(rows, |row| row.secret.as_deref()), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.leaf_sha256.0.to_vec())), Type::BYTEA_ARRAY),
                (&payments_of(rows), Type::BYTEA_ARRAY),
                (&texts(rows, |row| row.status.as_deref()), Type::TEXT_ARRAY),
                (&numbers(rows, |row| row.amount_minor), Type::INT8_ARRAY),
                (&numbers(rows, |row| row.amount_refunded_minor), Type::INT8_ARRAY),
                (&texts(rows, |row| row.currency.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.named_payment_id.as_deref()), Type::TEXT_ARRAY),
                (&beside, Type::BYTEA_ARRAY),
                (&rows.iter().map(|row| row.fetch_needed).collect::<Vec<bool>>(), Type::BOOL_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// Those that were older than what was known already.
async fn write_late(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    let late: Vec<bool> = rows
        .iter()
        .map(|row| row.effect == Some(Effect::Superseded))
        .collect();
    client
        .execute_typed(
            "INSERT INTO countersign.superseded (tenant_id, key)
             SELECT tenant_id, key FROM unnest($1::text[], $2::bytea[], $3::bool[]) AS row (tenant_id, key, late)
             WHERE late ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&texts(rows, |row| Some(&row.tenant_id)), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.key.0.to_vec())), Type::BYTEA_ARRAY),
                (&late, Type::BOOL_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// Puts them before what their payments' histories have.
async fn write_histories(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    let sql = format!(
        "WITH came AS (
             SELECT tenant_id, payment, array_agg(key ORDER BY i DESC) AS keys
             FROM unnest($1::text[], $2::bytea[], $3::bytea[]) WITH ORDINALITY AS row (tenant_id, payment, key, i)
             WHERE payment IS NOT NULL GROUP BY 1, 2
         ), locked AS (
             SELECT p.tenant_id, p.key FROM countersign.payments p JOIN came c
                 ON c.tenant_id = p.tenant_id AND c.payment = p.key
             ORDER BY p.tenant_id, p.key FOR UPDATE OF p
         )
         UPDATE countersign.payments p SET history = (c.keys || p.history)[:{HISTORY_MAX}]
         FROM locked l JOIN came c ON c.tenant_id = l.tenant_id AND c.payment = l.key
         WHERE p.tenant_id = l.tenant_id AND p.key = l.key"
    );
    client
        .execute_typed(
            &sql,
            &[
                (&texts(rows, |row| Some(&row.tenant_id)), Type::TEXT_ARRAY),
                (&payments_of(rows), Type::BYTEA_ARRAY),
                (
                    &bytes(rows, |row| Some(row.key.0.to_vec())),
                    Type::BYTEA_ARRAY,
                ),
            ],
        )
        .await?;
    Ok(())
}

async fn write_what_came(client: &Client, rows: &[&EventRecord]) -> Result<(), Refused> {
    let rows: Vec<&EventRecord> = rows
        .iter()
        .copied()
        .filter(|row| row.headers.is_some())
        .collect();
    let headers: Vec<String> = rows
        .iter()
        .map(|row| serde_json::to_string(&row.headers).unwrap_or_default())
        .collect();
    // Their soundness was checked with their lines.
    let bodies: Vec<Cow<'_, [u8]>> = rows
        .iter()
        .map(|row| row.body_bytes().ok().flatten().unwrap_or_default())
        .collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(|body| &**body).collect();
    client
        .execute_typed(
            "INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
             SELECT * FROM unnest($1::text[], $2::int8[], $3::bytea[], $4::text[], $5::bytea[])",
            &[
                (&texts(&rows, |row| Some(&row.tenant_id)), Type::TEXT_ARRAY),
                (
                    &numbers(&rows, |row| Some(row.received_at.0)),
                    Type::INT8_ARRAY,
                ),
                (
                    &bytes(&rows, |row| Some(row.key.0.to_vec())),
                    Type::BYTEA_ARRAY,
                ),
                (&headers, Type::TEXT_ARRAY),
                (&bodies, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// As pruning leaves them.
async fn write_forgotten(client: &Client, rows: &[&ForgottenRecord]) -> Result<(), Refused> {
    let tenants = texts(rows, |row| Some(&row.tenant_id));
    must_name_what_is_there(client, "tenant", NO_TENANT, &[(&tenants, Type::TEXT_ARRAY)]).await?;
    client
        .execute_typed(
            "INSERT INTO countersign.events (tenant_id, key, received_at, duplicates, verdict, producer, event_id, body_sha256,
                 leaf_sha256)
             SELECT tenant_id, key, received_at, duplicates, 3, '', '', body_sha256, ''
             FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::int8[], $5::bytea[])
                 AS row (tenant_id, key, received_at, duplicates, body_sha256)
             ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.key.0.to_vec())), Type::BYTEA_ARRAY),
                (&numbers(rows, |row| Some(!row.received_at.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.duplicates)), Type::INT8_ARRAY),
                (&bytes(rows, |row| Some(row.body_sha256.0.to_vec())), Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

async fn write_refusals(client: &Client, rows: &[&RefusalRecord]) -> Result<(), Refused> {
    client
        .execute_typed(
            "INSERT INTO countersign.refusals (tenant_id, key, gate, reason, subject, issuer, serial, address, server_name,
                 producer, detail, first_seen, last_seen, count)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                 $9::text[], $10::text[], $11::text[], $12::int8[], $13::int8[], $14::int8[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&texts(rows, |row| Some(row.tenant_id.as_deref().unwrap_or_default())), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.key.0.to_vec())), Type::BYTEA_ARRAY),
                (&texts(rows, |row| Some(&row.gate)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.reason)), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.subject.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.issuer.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.serial.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.address)), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.server_name.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.producer.as_deref()), Type::TEXT_ARRAY),
                (&texts(rows, |row| row.detail.as_deref()), Type::TEXT_ARRAY),
                (&numbers(rows, |row| Some(row.first_seen.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.last_seen.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.count)), Type::INT8_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

async fn write_shadows(client: &Client, rows: &[&ShadowRecord]) -> Result<(), Refused> {
    client
        .execute_typed(
            "INSERT INTO countersign.shadows (tenant_id, key, mark, what, producer, subject, address, accept, agree, refuse,
                 first_seen, last_seen)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                 $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key",
            &[
                (&texts(rows, |row| Some(row.tenant_id.as_deref().unwrap_or_default())), Type::TEXT_ARRAY),
                (&bytes(rows, |row| Some(row.key.0.to_vec())), Type::BYTEA_ARRAY),
                (&texts(rows, |row| Some(&row.mark)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.what)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(row.producer.as_deref().unwrap_or_default())), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.subject)), Type::TEXT_ARRAY),
                (&texts(rows, |row| Some(&row.address)), Type::TEXT_ARRAY),
                (&numbers(rows, |row| Some(row.accept)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.agree)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.refuse)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.first_seen.0)), Type::INT8_ARRAY),
                (&numbers(rows, |row| Some(row.last_seen.0)), Type::INT8_ARRAY),
            ],
        )
        .await?;
    Ok(())
}
