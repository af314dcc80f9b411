//! The contract's ledger, in the plainest words.
//!
//! "A payment's state is a pure function of the set of its accepted events: status is the event with the greatest
//! (occurred_at, rank of status, event id). Each field (status, amount, amount refunded, currency) is taken from the
//! greatest event that states it."

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Chance;

/// The canonical statuses, in rank order.
const STATUSES: [&str; 12] = [
    "pending",
    "requires_action",
    "failed",
    "authorized",
    "captured",
    "canceled",
    "succeeded",
    "partially_refunded",
    "refunded",
    "disputed",
    "dispute_won",
    "dispute_lost",
];
/// Few payments and few moments, so that many events meet, and many at the same moment.
const PAYMENTS: u64 = 12;
const MOMENTS: u64 = 40;
/// 2026-09-21.
const EPOCH: i64 = 1_790_000_000;

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) occurred_at: i64,
    /// None for an event that speaks of no payment.
    pub(crate) payment: Option<String>,
    status: Option<&'static str>,
    amount: Option<u64>,
    refunded: Option<u64>,
    currency: Option<&'static str>,
}

impl Told {
    /// An event like any other.
    pub(crate) fn by_chance(id: String, chance: &mut Chance) -> Self {
        let mut told = Self {
            id,
            occurred_at: EPOCH + chance.below(MOMENTS) as i64,
            payment: (!chance.once_in(20)).then(|| format!("pay_{}", chance.below(PAYMENTS))),
            status: (!chance.once_in(6)).then(|| chance.one_of(&STATUSES)),
            amount: (!chance.once_in(3)).then(|| chance.below(1_000_000)),
            refunded: chance.once_in(3).then(|| chance.below(1_000_000)),
            currency: (!chance.once_in(4)).then(|| chance.one_of(&["EUR", "USD", "CHF"])),
        };
        if told.status.is_none() && told.amount.is_none() {
            // A payment event states something.
            told.amount = Some(1);
        }
        told
    }

    /// As a delivery's body. Another `note` makes it another body of the same id.
    pub(crate) fn body(&self, note: &str) -> String {
        let kind = format!("payment.{}", self.status.unwrap_or("noted"));
        let mut body = json!({
            "id": self.id, "type": kind, "created": self.occurred_at, "note": note
        });
        if let Some(payment) = &self.payment {
            let mut data = json!({ "payment_id": payment });
            let mut state = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    data[name] = value;
                }
            };
            state("status", self.status.map(Value::from));
            state("amount", self.amount.map(Value::from));
            state("amount_refunded", self.refunded.map(Value::from));
            state("currency", self.currency.map(Value::from));
            body["data"] = data;
        }
        body.to_string()
    }

    /// What makes one of two events the later word.
    fn recency(&self) -> (i64, usize, &str) {
        let rank = self.status.map_or(0, |status| {
            1 + STATUSES
                .iter()
                .position(|known| *known == status)
                .expect("a canonical status")
        });
        (self.occurred_at, rank, &self.id)
    }
}

/// The ledger of a set of events.
pub(crate) struct Model<'a> {
    /// The events of each payment, the greatest last.
    payments: BTreeMap<&'a str, Vec<&'a Told>>,
}

impl<'a> Model<'a> {
    pub(crate) fn of(events: impl IntoIterator<Item = &'a Told>) -> Self {
        let mut payments: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for event in events {
            if let Some(payment) = &event.payment {
                payments.entry(payment).or_default().push(event);
            }
        }
        for events in payments.values_mut() {
            events.sort_by_key(|event| event.recency());
        }
        Self { payments }
    }

    /// As `payments list --json` tells it, by payment: status, amount, amount refunded, currency, the greatest event's
    /// time (unix seconds) and id, and how many events it has.
    pub(crate) fn payments(&self) -> BTreeMap<String, Value> {
        let told = self.payments.iter().map(|(payment, events)| {
            let greatest = events.last().expect("no payment without an event");
            let value = json!([
                events.iter().rev().find_map(|event| event.status),
                events.iter().rev().find_map(|event| event.amount),
                events.iter().rev().find_map(|event| event.refunded),
                events.iter().rev().find_map(|event| event.currency),
                greatest.occurred_at,
                greatest.id,
                events.len(),
            ]);
            ((*payment).to_owned(), value)
        });
        told.collect()
    }

    /// The events that no order of arrival can make old: the greatest that state a status.
    pub(crate) fn latest(&self) -> impl Iterator<Item = &'a Told> {
        self.payments
            .values()
            .filter_map(|events| events.iter().rev().find(|event| event.status.is_some()))
            .copied()
    }
}
