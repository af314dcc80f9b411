//! Payments of PostgreSQL folded from their events again, as many rows at a time as memory should hold.

use std::collections::VecDeque;

use tokio_postgres::{Error, Row};

use super::replay_notes::Notes;
use super::text::{give_back, read_recency, read_register, recency, register};
use crate::payments::{Effect, Payment, Recency, Registers};
use crate::store::HISTORY_MAX;
use crate::store::replay::fold::{Fold, KeptEvent};
use crate::store::replay::outcome::{PaymentState, ReplayFailure};

/// Rows that are fetched from the cursor, and written, at once.
const ROWS: usize = 500;

/// An event, by its tenant and key, that has another effect than was kept.
pub(super) type Changed = (String, Vec<u8>, Effect);

/// A payment's row, and what its events come to, in the order in which they came.
pub(super) struct Folded {
    pub(super) tenant: String,
    pub(super) key: Vec<u8>,
    pub(super) payment_id: String,
    row: Words,
    pub(super) before: Option<PaymentState>,
    pub(super) fold: Fold,
    /// The keys of its events, the latest received last, as many as a payment knows.
    history: VecDeque<Vec<u8>>,
}

/// The words of a row: the last event, and the four registers.
#[derive(PartialEq, Eq)]
pub(super) struct Words {
    pub(super) events: i64,
    pub(super) texts: [Option<String>; 5],
}

impl Folded {
    pub(super) fn is_sound(&self) -> bool {
        self.fold.payment.as_ref().map(words).as_ref() == Some(&self.row)
    }

    /// The column `history`, as a literal.
    pub(super) fn history(&self) -> String {
        let keys = self.history.iter().rev();
        let keys: Vec<String> = keys
            .map(|key| format!("\"\\\\x{}\"", hex::encode(key)))
            .collect();
        format!("{{{}}}", keys.join(","))
    }

    /// What is left of its events cannot be compared with it.
    pub(super) fn has_forgotten(&self) -> bool {
        let found = self.fold.payment.as_ref().map_or(0, Payment::events);
        i64::try_from(found).unwrap_or(i64::MAX) < self.row.events
    }
}

/// Which events payments are folded from.
#[derive(Clone, Copy)]
pub(super) enum Events {
    /// Those that they know by their keys, and those that came to them. Payments that may have more are left out.
    Known,
    /// Those that were gathered.
    Gathered,
}

/// Payments of a table one after another, from a cursor over their events.
pub(super) struct Folding<'a> {
    pub(super) notes: Notes<'a>,
    /// The payment of which more events may come.
    open: Option<Folded>,
    /// Of the events that were folded, those of another effect than was kept.
    pub(super) effects: Vec<Changed>,
    pub(super) is_over: bool,
}

impl<'a> Folding<'a> {
    pub(super) async fn open(
        notes: Notes<'a>,
        table: &str,
        events: Events,
    ) -> Result<Self, ReplayFailure> {
        let found = match events {
            // Asked for one payment after another, by its keys; `OFFSET 0` keeps them from being taken for a join.
            Events::Known => {
                "CROSS JOIN LATERAL (SELECT p.history || ARRAY(SELECT m.key FROM pg_temp.moving m
                     WHERE m.tenant_id = p.tenant_id AND m.to_key = p.key) AS keys OFFSET 0) known
                 LEFT JOIN LATERAL (SELECT e.*, (SELECT true FROM countersign.superseded s
                         WHERE s.tenant_id = e.tenant_id AND s.key = e.key) IS NOT NULL AS late
                     FROM countersign.events e
                     WHERE e.tenant_id = p.tenant_id AND e.key = ANY (known.keys) AND e.payment_key = p.key AND e.verdict = 0
                     OFFSET 0) x ON true
                 WHERE (SELECT true FROM pg_temp.many m WHERE m.tenant_id = t.tenant_id AND m.key = t.key) IS NULL"
            }
            Events::Gathered => {
                "LEFT JOIN pg_temp.parts x ON x.tenant_id = t.tenant_id AND x.payment_key = t.key"
            }
        };
        notes
            .batch(&format!(
                "DECLARE folding NO SCROLL CURSOR FOR
                 SELECT t.tenant_id, t.key, p.payment_id, p.events, p.last, p.status AS status_register,
                     p.amount_minor AS amount_minor_register, p.amount_refunded_minor AS amount_refunded_minor_register,
                     p.currency AS currency_register, x.received_at, x.key AS event_key, x.occurred_at, x.event_id,
                     x.producer, x.status, x.amount_minor, x.amount_refunded_minor, x.currency, x.late
                 FROM pg_temp.{table} t JOIN countersign.payments p ON p.tenant_id = t.tenant_id AND p.key = t.key {found}
                 ORDER BY t.tenant_id, t.key, x.received_at, x.key"
            ))
            .await?;
        Ok(Self {
            notes,
            open: None,
            effects: Vec::new(),
            is_over: false,
        })
    }

    /// The payments that the next rows complete.
    pub(super) async fn next(&mut self) -> Result<Vec<Folded>, ReplayFailure> {
        let rows = self
            .notes
            .query(&format!("FETCH {ROWS} FROM folding"), &[])
            .await?;
        let mut complete = Vec::new();
        for row in &rows {
            let (tenant, key): (&str, &[u8]) = (column(row, "tenant_id")?, column(row, "key")?);
            let same = |open: &Folded| open.tenant == tenant && open.key == key;
            if !self.open.as_ref().is_some_and(same) {
                let begun = begin(row).map_err(ReplayFailure::statement)?;
                complete.extend(self.open.replace(begun));
            }
            if let Some(open) = &mut self.open {
                let effect = add(open, row).map_err(ReplayFailure::statement)?;
                self.effects.extend(effect);
            }
        }
        if rows.len() < ROWS {
            self.is_over = true;
            complete.extend(self.open.take());
        }
        Ok(complete)
    }

    pub(super) async fn close(self) -> Result<(), ReplayFailure> {
        self.notes.batch("CLOSE folding").await
    }
}

pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: &str,
) -> Result<T, ReplayFailure> {
    row.try_get(column).map_err(ReplayFailure::statement)
}

/// A payment's row, without its events. What is damaged of it is nothing.
fn begin(row: &Row) -> Result<Folded, Error> {
    let row_words = Words {
        events: row.try_get("events")?,
        texts: [
            row.try_get("last")?,
            row.try_get("status_register")?,
            row.try_get("amount_minor_register")?,
            row.try_get("amount_refunded_minor_register")?,
            row.try_get("currency_register")?,
        ],
    };
    let [last, status, amount, refunded, currency] = &row_words.texts;
    let word = |text: &Option<String>| {
        let (_, word) = read_register(text.as_deref()?)?;
        Some(word.to_owned())
    };
    let last = last.as_deref().and_then(read_recency);
    let state = PaymentState {
        status: word(status),
        amount_minor: word(amount).and_then(|word| word.parse().ok()),
        amount_refunded_minor: word(refunded).and_then(|word| word.parse().ok()),
        currency: word(currency),
        last_event_id: last.map(|key| key.event_id().to_owned()),
        events: row_words.events,
    };
    Ok(Folded {
        tenant: row.try_get("tenant_id")?,
        key: row.try_get("key")?,
        payment_id: row.try_get("payment_id")?,
        before: Some(state).filter(|state| state.events > 0),
        row: row_words,
        fold: Fold::default(),
        history: VecDeque::new(),
    })
}

/// Adds the event of this row to its payment, and tells its effect if it is another one than was kept.
fn add(folded: &mut Folded, row: &Row) -> Result<Option<Changed>, Error> {
    let Some(received_at) = row.try_get::<_, Option<i64>>("received_at")? else {
        return Ok(None);
    };
    let key: Vec<u8> = row.try_get("event_key")?;
    if folded.history.len() >= HISTORY_MAX as usize {
        folded.history.pop_front();
    }
    folded.history.push_back(key.clone());
    let payment_id = give_back(folded.payment_id.clone());
    let event_id = give_back(row.try_get("event_id")?);
    let effect = folded.fold.take(&KeptEvent {
        payment_id: &payment_id,
        producer: give_back(row.try_get("producer")?).into(),
        event_id: &event_id,
        occurred_at: row.try_get("occurred_at")?,
        received_at,
        status: row.try_get("status")?,
        amount_minor: row.try_get("amount_minor")?,
        amount_refunded_minor: row.try_get("amount_refunded_minor")?,
        currency: row.try_get("currency")?,
    });
    if row.try_get::<_, bool>("late")? == (effect == Effect::Superseded) {
        return Ok(None);
    }
    Ok(Some((folded.tenant.clone(), key, effect)))
}

pub(super) fn words(payment: &Payment) -> Words {
    let Registers {
        events,
        last,
        status,
        amount_minor,
        amount_refunded_minor,
        currency,
    } = payment.registers();
    let amount = |word: Option<(Recency, i64)>| word.map(|(key, n)| register(&key, &n.to_string()));
    Words {
        events: i64::try_from(events).unwrap_or(i64::MAX),
        texts: [
            Some(recency(&last)),
            status.map(|(key, status)| register(&key, status.as_str())),
            amount(amount_minor),
            amount(amount_refunded_minor),
            currency.map(|(key, currency)| register(&key, currency.code())),
        ],
    }
}
