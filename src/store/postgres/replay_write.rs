//! What a replay writes to PostgreSQL, under locks and in the caller's transaction.
//!
//! Locks are taken as a batch of deliveries takes them: accepted events by tenant and key, then conflicts, then payments, so that
//! neither can wait for the other in a circle. A batch that speaks of one of these payments waits, and adds its events to what
//! the payment was made of then. Whatever was committed before its payment was locked is among what the payment is made of.

use tokio_postgres::types::Type;

use super::replay_fold::{Changed, Events, Folded, Folding, Words, column, words};
use super::replay_notes::Notes;
use super::text::give_back;
use crate::payments::Effect;
use crate::store::HISTORY_MAX;
use crate::store::replay::outcome::{
    PaymentChange, PaymentState, ReplayFailure, Replayed, SkippedPayment,
};

/// The payments of what was read, of which nothing is read otherwise: the others are made anew in any case.
const DOUBTFUL: &str = "ANALYZE pg_temp.touched;
    INSERT INTO pg_temp.doubtful SELECT tenant_id, key FROM pg_temp.touched
        GROUP BY tenant_id, key HAVING NOT bool_or(otherwise) ORDER BY tenant_id, key;
    ANALYZE pg_temp.doubtful";

/// Nothing is pruned while it is held: what an event is missing must not change between looking and writing.
const NOBODY_PRUNES: &str = "SELECT pg_advisory_xact_lock(hashtext('countersign retention'))";

/// Locks events that are read otherwise, and notes which payments they leave and come to. A batch has all of the one kind before
/// it comes to the other.
const LOCK_ACCEPTED: &str = "INSERT INTO pg_temp.moving
    SELECT r.tenant_id, r.key, e.payment_key, r.payment_key
    FROM pg_temp.reread r JOIN countersign.events e ON e.tenant_id = r.tenant_id AND e.key = r.key
    WHERE e.verdict = 0 ORDER BY e.tenant_id, e.key FOR UPDATE OF e";

const LOCK_CONFLICTS: &str = "INSERT INTO pg_temp.moving
    SELECT r.tenant_id, r.key, e.payment_key, r.payment_key
    FROM pg_temp.reread r JOIN countersign.events e ON e.tenant_id = r.tenant_id AND e.key = r.key
    WHERE e.verdict = 1 ORDER BY e.tenant_id, e.key FOR UPDATE OF e";

/// The payments that events come from, and those that they go to.
const CONCERNED: &str = "INSERT INTO pg_temp.rebuild
    SELECT tenant_id, key, min(payment_id) FROM (
        SELECT m.tenant_id, p.key, p.payment_id FROM pg_temp.moving m
            JOIN countersign.payments p ON p.tenant_id = m.tenant_id AND p.key = m.from_key
            WHERE m.from_key IS DISTINCT FROM m.to_key
        UNION ALL
        SELECT m.tenant_id, r.payment_key, r.payment_id FROM pg_temp.moving m
            JOIN pg_temp.reread r ON r.tenant_id = m.tenant_id AND r.key = m.key WHERE r.payment_key IS NOT NULL
    ) concerned (tenant_id, key, payment_id)
    GROUP BY tenant_id, key ORDER BY tenant_id, key
    ON CONFLICT DO NOTHING";

/// A new one is empty until it is made of its events; so it is locked like the others, which this locks and does not write.
const LOCK_PAYMENTS: &str = "INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, history)
    SELECT tenant_id, key, 0, 0, payment_id, '', '{}' FROM pg_temp.rebuild ORDER BY tenant_id, key
    ON CONFLICT (tenant_id, key) DO UPDATE SET events = p.events WHERE false";

/// What a payment is made of: `e` is an event.
const PART: &str =
    "e.received_at, e.key, e.occurred_at, e.event_id, e.producer, e.status, e.amount_minor,
    e.amount_refunded_minor, e.currency, s.key IS NOT NULL, b.key IS NOT NULL";
const PART_FROM: &str = "LEFT JOIN countersign.superseded s ON s.tenant_id = e.tenant_id AND s.key = e.key
    LEFT JOIN countersign.bodies b ON b.tenant_id = e.tenant_id AND b.received_at = e.received_at AND b.key = e.key";

/// Of the payments to be made anew, those of which an event lacks its body, or its row: a payment counts its events.
const LACKING: &str = "INSERT INTO pg_temp.gapped
    SELECT t.tenant_id, t.key FROM pg_temp.rebuild t
        JOIN countersign.payments p ON p.tenant_id = t.tenant_id AND p.key = t.key
        CROSS JOIN LATERAL (
            SELECT count(*) AS events, bool_and((SELECT true FROM countersign.bodies b
                WHERE b.tenant_id = e.tenant_id AND b.received_at = e.received_at AND b.key = e.key) IS NOT NULL) AS whole
            FROM countersign.events e
            WHERE e.tenant_id = p.tenant_id AND e.key = ANY (p.history) AND e.payment_key = p.key AND e.verdict = 0) found
    WHERE (found.events < p.events OR NOT found.whole)
        AND (SELECT true FROM pg_temp.many m WHERE m.tenant_id = t.tenant_id AND m.key = t.key) IS NULL";

const MANY_LACKING: &str = "INSERT INTO pg_temp.gapped
    SELECT t.tenant_id, t.key FROM pg_temp.many t
        JOIN countersign.payments p ON p.tenant_id = t.tenant_id AND p.key = t.key
        CROSS JOIN LATERAL (SELECT count(*) AS events, bool_and(has_body) AS whole FROM pg_temp.parts x
            WHERE x.tenant_id = t.tenant_id AND x.payment_key = t.key) found
    WHERE found.events < p.events OR NOT found.whole";

/// An event that was forgotten since it was read belongs to a payment that it cannot be moved to any more.
const FORGOTTEN: &str = "INSERT INTO pg_temp.gapped
    SELECT r.tenant_id, r.payment_key FROM pg_temp.reread r
    WHERE r.payment_key IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_temp.moving m WHERE m.tenant_id = r.tenant_id AND m.key = r.key)
    ON CONFLICT DO NOTHING";

/// An event stays where it is if either of its payments must: then the other lacks it, or has it still.
const NEIGHBOURS: &str = "INSERT INTO pg_temp.gapped
    SELECT m.tenant_id, m.other FROM (
        SELECT tenant_id, from_key AS one, to_key AS other FROM pg_temp.moving
        UNION ALL SELECT tenant_id, to_key, from_key FROM pg_temp.moving) m
    JOIN pg_temp.gapped g ON g.tenant_id = m.tenant_id AND g.key = m.one WHERE m.other IS NOT NULL
    ON CONFLICT DO NOTHING";

const LEAVE: &str = "DELETE FROM pg_temp.reread r
    WHERE NOT EXISTS (SELECT FROM pg_temp.moving m WHERE m.tenant_id = r.tenant_id AND m.key = r.key)
        OR EXISTS (SELECT FROM pg_temp.moving m JOIN pg_temp.gapped g ON g.tenant_id = m.tenant_id AND g.key = m.from_key
            WHERE m.tenant_id = r.tenant_id AND m.key = r.key)
        OR EXISTS (SELECT FROM pg_temp.moving m JOIN pg_temp.gapped g ON g.tenant_id = m.tenant_id AND g.key = m.to_key
            WHERE m.tenant_id = r.tenant_id AND m.key = r.key)";

/// And the rows that were made only to be locked.
const LEAVE_PAYMENTS: &str = "
    DELETE FROM pg_temp.rebuild t USING pg_temp.gapped g WHERE g.tenant_id = t.tenant_id AND g.key = t.key;
    DELETE FROM pg_temp.many t USING pg_temp.gapped g WHERE g.tenant_id = t.tenant_id AND g.key = t.key;
    DELETE FROM countersign.payments p USING pg_temp.gapped g
        WHERE g.tenant_id = p.tenant_id AND g.key = p.key AND p.events = 0";

/// Gives each event that is read otherwise its new columns, and the payment that it speaks of now.
const MOVE: &str = "
    UPDATE countersign.events e SET payment_key = r.payment_key, kind = r.kind, occurred_at = r.occurred_at,
        status = r.status, amount_minor = r.amount_minor, amount_refunded_minor = r.amount_refunded_minor,
        currency = r.currency, named_payment_id = r.named_payment_id, fetch_needed = r.fetch_needed
    FROM pg_temp.reread r WHERE e.tenant_id = r.tenant_id AND e.key = r.key;
    DELETE FROM countersign.superseded s USING pg_temp.reread r
        WHERE s.tenant_id = r.tenant_id AND s.key = r.key AND r.payment_key IS NULL";

/// What is as it was stays as it is.
const WRITE_PAYMENTS: &str = "UPDATE countersign.payments p SET changed_at = n.changed_at, events = n.events, last = n.last,
        status = n.status, amount_minor = n.amount_minor, amount_refunded_minor = n.amount_refunded_minor,
        currency = n.currency, previous = NULL, history = n.history::bytea[]
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS n (tenant_id, key, changed_at, events, last, status, amount_minor,
        amount_refunded_minor, currency, history)
    WHERE p.tenant_id = n.tenant_id AND p.key = n.key
        AND (p.changed_at, p.events, p.last, p.status, p.amount_minor, p.amount_refunded_minor, p.currency, p.history)
            IS DISTINCT FROM (n.changed_at, n.events, n.last, n.status, n.amount_minor, n.amount_refunded_minor, n.currency,
                n.history::bytea[])";

const DELETE_PAYMENTS: &str =
    "DELETE FROM countersign.payments p USING unnest($1, $2) AS row (tenant_id, key)
    WHERE p.tenant_id = row.tenant_id AND p.key = row.key";

/// A row that is not what its events come to is made anew even where no claim changed: this is how a damaged one is mended.
pub(super) async fn look_for_unsound_payments(notes: Notes<'_>) -> Result<(), ReplayFailure> {
    notes.batch(DOUBTFUL).await?;
    let many = gather_many(notes, "doubtful").await?;
    note_unsound(Folding::open(notes, "doubtful", Events::Known).await?).await?;
    if many {
        note_unsound(Folding::open(notes, "many", Events::Gathered).await?).await?;
    }
    Ok(())
}

async fn note_unsound(mut folding: Folding<'_>) -> Result<(), ReplayFailure> {
    loop {
        let folded = folding.next().await?;
        let unsound: Vec<&Folded> = folded
            .iter()
            .filter(|folded| !folded.is_sound() && !folded.has_forgotten())
            .collect();
        if !unsound.is_empty() {
            let texts = |of: fn(&Folded) -> &str| -> Vec<_> {
                unsound.iter().map(|folded| of(folded)).collect()
            };
            let keys: Vec<&[u8]> = unsound.iter().map(|folded| folded.key.as_slice()).collect();
            folding
                .notes
                .execute(
                    "INSERT INTO pg_temp.rebuild SELECT * FROM unnest($1, $2, $3) AS row ON CONFLICT DO NOTHING",
                    &[
                        (&texts(|folded| &folded.tenant), Type::TEXT_ARRAY),
                        (&keys, Type::BYTEA_ARRAY),
                        (&texts(|folded| &folded.payment_id), Type::TEXT_ARRAY),
                    ],
                )
                .await?;
        }
        folding.effects.clear();
        if folding.is_over {
            return folding.close().await;
        }
    }
}

/// Writes the difference.
pub(super) async fn write(notes: Notes<'_>, replayed: &mut Replayed) -> Result<(), ReplayFailure> {
    notes.batch("ANALYZE pg_temp.reread").await?;
    for step in [NOBODY_PRUNES, LOCK_ACCEPTED, LOCK_CONFLICTS] {
        notes.execute(step, &[]).await?;
    }
    notes.batch("ANALYZE pg_temp.moving").await?;
    notes.execute(CONCERNED, &[]).await?;
    notes.execute(LOCK_PAYMENTS, &[]).await?;
    notes.batch("ANALYZE pg_temp.rebuild").await?;
    let many = gather_many(notes, "rebuild").await?;
    set_apart(notes, replayed).await?;
    notes.batch(MOVE).await?;
    write_folded(
        Folding::open(notes, "rebuild", Events::Known).await?,
        replayed,
    )
    .await?;
    if many {
        regather(notes).await?;
        write_folded(
            Folding::open(notes, "many", Events::Gathered).await?,
            replayed,
        )
        .await?;
    }
    Ok(())
}

async fn write_folded(
    mut folding: Folding<'_>,
    replayed: &mut Replayed,
) -> Result<(), ReplayFailure> {
    let notes = folding.notes;
    loop {
        let folded = folding.next().await?;
        write_payments(notes, &folded).await?;
        for folded in folded {
            replayed.tell(PaymentChange {
                tenant_id: give_back(folded.tenant),
                payment_id: give_back(folded.payment_id),
                before: folded.before,
                after: folded.fold.payment.as_ref().map(PaymentState::from),
            });
        }
        write_effects(notes, std::mem::take(&mut folding.effects)).await?;
        if folding.is_over {
            return folding.close().await;
        }
    }
}

/// Finds the events of those payments in a table that may have more than the thousand that they know by their keys: all of their
/// tenants' are gone through. Tells whether there are any.
async fn gather_many(notes: Notes<'_>, table: &str) -> Result<bool, ReplayFailure> {
    notes
        .batch("TRUNCATE pg_temp.many; TRUNCATE pg_temp.parts")
        .await?;
    let many = format!(
        "INSERT INTO pg_temp.many SELECT t.tenant_id, t.key
         FROM pg_temp.{table} t JOIN countersign.payments p ON p.tenant_id = t.tenant_id AND p.key = t.key
         WHERE cardinality(p.history) >= {HISTORY_MAX}"
    );
    if notes.execute(&many, &[]).await? == 0 {
        return Ok(false);
    }
    let all = format!(
        "INSERT INTO pg_temp.parts SELECT e.tenant_id, e.payment_key, {PART}
         FROM pg_temp.many t JOIN countersign.events e ON e.tenant_id = t.tenant_id AND e.payment_key = t.key {PART_FROM}
         WHERE e.verdict = 0"
    );
    notes
        .batch(
            "ANALYZE pg_temp.many; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on",
        )
        .await?;
    notes.execute(&all, &[]).await?;
    notes
        .batch("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; ANALYZE pg_temp.parts")
        .await?;
    Ok(true)
}

/// Brings what was gathered in line with what was moved.
async fn regather(notes: Notes<'_>) -> Result<(), ReplayFailure> {
    notes
        .batch(
            "DELETE FROM pg_temp.parts x USING pg_temp.reread r WHERE x.tenant_id = r.tenant_id AND x.key = r.key",
        )
        .await?;
    let arrived = format!(
        "INSERT INTO pg_temp.parts SELECT e.tenant_id, e.payment_key, {PART} FROM pg_temp.reread r
         JOIN pg_temp.many t ON t.tenant_id = r.tenant_id AND t.key = r.payment_key
         JOIN countersign.events e ON e.tenant_id = r.tenant_id AND e.key = r.key {PART_FROM}"
    );
    notes.execute(&arrived, &[]).await.map(drop)
}

/// Takes out all that would make a payment of a part of its events, and names the payments that are left as they are.
async fn set_apart(notes: Notes<'_>, replayed: &mut Replayed) -> Result<(), ReplayFailure> {
    let mut gapped: u64 = 0;
    for step in [LACKING, MANY_LACKING, FORGOTTEN] {
        gapped = gapped.saturating_add(notes.execute(step, &[]).await?);
    }
    loop {
        let more = notes.execute(NEIGHBOURS, &[]).await?;
        gapped = gapped.saturating_add(more);
        if more == 0 {
            break;
        }
    }
    replayed.payments_skipped = gapped;
    let rows = notes
        .query(
            "SELECT g.tenant_id, coalesce(p.payment_id, (
                 SELECT r.payment_id FROM pg_temp.reread r WHERE r.tenant_id = g.tenant_id AND r.payment_key = g.key LIMIT 1), '')
                 AS payment_id
             FROM pg_temp.gapped g LEFT JOIN countersign.payments p ON p.tenant_id = g.tenant_id AND p.key = g.key
             ORDER BY 1, 2 LIMIT $1",
            &[(&(Replayed::CHANGES_MAX as i64), Type::INT8)],
        )
        .await?;
    for row in rows {
        replayed.skipped.push(SkippedPayment {
            tenant_id: give_back(column(&row, "tenant_id")?),
            payment_id: give_back(column(&row, "payment_id")?),
            skipped: true,
        });
    }
    let left = notes.execute(LEAVE, &[]).await?;
    replayed.events_changed = replayed.events_changed.saturating_sub(left);
    replayed.events_left = replayed.events_left.saturating_add(left);
    notes.batch(LEAVE_PAYMENTS).await
}

async fn write_payments(notes: Notes<'_>, folded: &[Folded]) -> Result<(), ReplayFailure> {
    let emptied: Vec<&Folded> = folded
        .iter()
        .filter(|folded| folded.fold.payment.is_none())
        .collect();
    if !emptied.is_empty() {
        let tenants: Vec<&str> = emptied.iter().map(|folded| &*folded.tenant).collect();
        let keys: Vec<&[u8]> = emptied.iter().map(|folded| &*folded.key).collect();
        let rows = [
            (&tenants as _, Type::TEXT_ARRAY),
            (&keys as _, Type::BYTEA_ARRAY),
        ];
        notes.execute(DELETE_PAYMENTS, &rows).await?;
    }
    let made: Vec<(&Folded, Words)> = folded
        .iter()
        .filter_map(|folded| Some((folded, words(folded.fold.payment.as_ref()?))))
        .collect();
    if made.is_empty() {
        return Ok(());
    }
    let tenants: Vec<&str> = made.iter().map(|(folded, _)| &*folded.tenant).collect();
    let keys: Vec<&[u8]> = made.iter().map(|(folded, _)| &*folded.key).collect();
    let times: Vec<i64> = made
        .iter()
        .map(|(folded, _)| folded.fold.changed_at)
        .collect();
    let counts: Vec<i64> = made.iter().map(|(_, words)| words.events).collect();
    let histories: Vec<String> = made.iter().map(|(folded, _)| folded.history()).collect();
    let [last, status, amount, refunded, currency] = [0, 1, 2, 3, 4].map(|word: usize| -> Vec<_> {
        let words = made.iter().map(|(_, words)| words.texts.get(word));
        words.map(|text| text.and_then(Option::as_deref)).collect()
    });
    notes
        .execute(
            WRITE_PAYMENTS,
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&times, Type::INT8_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&last, Type::TEXT_ARRAY),
                (&status, Type::TEXT_ARRAY),
                (&amount, Type::TEXT_ARRAY),
                (&refunded, Type::TEXT_ARRAY),
                (&currency, Type::TEXT_ARRAY),
                (&histories, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map(drop)
}

/// Brings in line which events had no word that stood when they came.
async fn write_effects(notes: Notes<'_>, effects: Vec<Changed>) -> Result<(), ReplayFailure> {
    for (late, sql) in [
        (
            true,
            "INSERT INTO countersign.superseded SELECT * FROM unnest($1, $2) AS row ON CONFLICT DO NOTHING",
        ),
        (
            false,
            "DELETE FROM countersign.superseded s USING unnest($1, $2) AS row (tenant_id, key)
             WHERE s.tenant_id = row.tenant_id AND s.key = row.key",
        ),
    ] {
        let of =
            |(_, _, effect): &&(String, Vec<u8>, Effect)| (*effect == Effect::Superseded) == late;
        let tenants: Vec<&str> = effects
            .iter()
            .filter(of)
            .map(|(tenant, ..)| &**tenant)
            .collect();
        let keys: Vec<&[u8]> = effects
            .iter()
            .filter(of)
            .map(|(_, key, _)| &**key)
            .collect();
        if !keys.is_empty() {
            let rows = [
                (&tenants as _, Type::TEXT_ARRAY),
                (&keys as _, Type::BYTEA_ARRAY),
            ];
            notes.execute(sql, &rows).await?;
        }
    }
    Ok(())
}
