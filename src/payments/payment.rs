//! A payment's state: registers that the greatest event wins.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::RecencyParts;
use super::{Claim, Currency, Recency, Status};

/// What the accepted events of one payment come to.
///
/// It begins with its first event ([`Payment::new`]), so there is no payment that nobody spoke of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    payment_id: Box<str>,
    events: u64,
    last: Arc<Recency>,
    status: Register<Status>,
    amount_minor: Register<i64>,
    amount_refunded_minor: Register<i64>,
    currency: Register<Currency>,
}

/// The latest word on each field of a payment, and whose it is: what a store needs to keep it in a form of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// How many events the payment was made of.
    pub events: u64,
    /// The greatest event.
    pub last: Recency,
    /// The status.
    pub status: Option<(Recency, Status)>,
    /// The amount in minor units.
    pub amount_minor: Option<(Recency, i64)>,
    /// How much of it was refunded, in minor units.
    pub amount_refunded_minor: Option<(Recency, i64)>,
    /// The currency.
    pub currency: Option<(Recency, Currency)>,
}

/// What an event did to its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is the latest word on at least one field.
    Applied,
    /// All that it states was known from a later event.
    Superseded,
    /// It makes no claim on a payment.
    Unmapped,
}

impl Effect {
    /// Its name, as `events list` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded",
            Self::Unmapped => "unmapped",
        }
    }
}

/// One field: the greatest claim on it. Two values under one key are no two events, but should they meet, the
/// greater value stands, so that the outcome still does not hang on the order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Register<T>(Option<(Arc<Recency>, T)>);

impl<T: Copy + Ord> Register<T> {
    fn of(key: &Arc<Recency>, value: Option<T>) -> Self {
        Self(value.map(|value| (Arc::clone(key), value)))
    }

    /// Takes the other's claim if it is greater; tells whether it did.
    fn take(&mut self, other: &Self) -> bool {
        let greater = other.0 > self.0;
        if greater {
            self.0.clone_from(&other.0);
        }
        greater
    }

    fn value(&self) -> Option<T> {
        self.0.as_ref().map(|(_, value)| *value)
    }
}

impl Payment {
    /// The payment that this event begins.
    #[must_use]
    pub fn new(claim: &Claim) -> Self {
        Self {
            payment_id: claim.payment_id.clone(),
            events: 1,
            last: Arc::clone(&claim.key),
            status: Register::of(&claim.key, claim.status),
            amount_minor: Register::of(&claim.key, claim.amount_minor),
            amount_refunded_minor: Register::of(&claim.key, claim.amount_refunded_minor),
            currency: Register::of(&claim.key, claim.currency),
        }
    }

    /// Takes in one more event, which no earlier call took in: the inbox tells duplicates.
    pub fn apply(&mut self, claim: &Claim) -> Effect {
        self.merge(&Self::new(claim))
    }

    /// Takes in what other events of the same payment come to: `a.merge(b)` is what all events of both give,
    /// however they were divided. The result tells whether a field is now from one of the other's events.
    pub fn merge(&mut self, other: &Self) -> Effect {
        self.events = self.events.saturating_add(other.events);
        if other.last > self.last {
            self.last = Arc::clone(&other.last);
        }
        // Each is taken: `|` does not stop at the first.
        let applied = self.status.take(&other.status)
            | self.amount_minor.take(&other.amount_minor)
            | self
                .amount_refunded_minor
                .take(&other.amount_refunded_minor)
            | self.currency.take(&other.currency);
        if applied {
            Effect::Applied
        } else {
            Effect::Superseded
        }
    }

    /// Its id, in the provider's words.
    #[must_use]
    pub fn payment_id(&self) -> &str {
        &self.payment_id
    }

    /// Its status, once an event has stated one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status.value()
    }

    /// Its amount in minor units.
    #[must_use]
    pub fn amount_minor(&self) -> Option<i64> {
        self.amount_minor.value()
    }

    /// How much of it has been refunded, in all, in minor units.
    #[must_use]
    pub fn amount_refunded_minor(&self) -> Option<i64> {
        self.amount_refunded_minor.value()
    }

    /// Its currency.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.currency.value()
    }

    /// When the greatest event occurred, if it has a time.
    #[must_use]
    pub fn occurred_at(&self) -> Option<Timestamp> {
        self.last.occurred_at()
    }

    /// The greatest event's id.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.last.event_id()
    }

    /// How many events it was made of.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Its registers, each with its key.
    #[must_use]
    pub fn registers(&self) -> Registers {
        Registers {
            events: self.events,
            last: (*self.last).clone(),
            status: self.status.word(),
            amount_minor: self.amount_minor.word(),
            amount_refunded_minor: self.amount_refunded_minor.word(),
            currency: self.currency.word(),
        }
    }

    /// The payment that has these registers.
    #[must_use]
    pub fn of_registers(payment_id: &str, registers: Registers) -> Self {
        Self {
            payment_id: payment_id.into(),
            events: registers.events,
            last: Arc::new(registers.last),
            status: Register::said(registers.status),
            amount_minor: Register::said(registers.amount_minor),
            amount_refunded_minor: Register::said(registers.amount_refunded_minor),
            currency: Register::said(registers.currency),
        }
    }

    /// The whole state as text, for a store to keep beside the columns that people read.
    #[must_use]
    pub fn encode(&self) -> String {
        let kept: Kept = (
            VERSION,
            self.events,
            self.last.to_parts(),
            self.status.keep(&self.last),
            self.amount_minor.keep(&self.last),
            self.amount_refunded_minor.keep(&self.last),
            self.currency.keep(&self.last),
        );
        // Texts and integers always serialize.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Reads what [`Payment::encode`] wrote.
    ///
    /// # Errors
    /// When the text is none of this version.
    pub fn decode(payment_id: &str, text: &str) -> Result<Self, UnreadablePayment> {
        let kept = serde_json::from_str::<Kept>(text).map_err(UnreadablePayment::Form)?;
        let (VERSION, events, last, status, amount_minor, amount_refunded_minor, currency) = kept
        else {
            return Err(UnreadablePayment::Version(kept.0));
        };
        let last = Arc::new(Recency::from_parts(last));
        Ok(Self {
            payment_id: payment_id.into(),
            events,
            status: Register::restore(status, &last),
            amount_minor: Register::restore(amount_minor, &last),
            amount_refunded_minor: Register::restore(amount_refunded_minor, &last),
            currency: Register::restore(currency, &last),
            last,
        })
    }
}

/// The stored state of a payment is not readable. The kept bodies are: a replay makes it anew.
#[derive(Debug, thiserror::Error)]
pub enum UnreadablePayment {
    /// Not in the form that `encode` writes.
    #[error("the stored state of the payment is damaged; rebuild it: countersign events replay")]
    Form(#[source] serde_json::Error),
    /// Written by another version of countersign.
    #[error("the stored state of the payment has version {0}, and this program reads {VERSION}")]
    Version(u8),
}

/// [`Payment::encode`]'s form: an array, to be short in every row.
type Kept = (
    u8,
    u64,
    RecencyParts,
    KeptRegister<Status>,
    KeptRegister<i64>,
    KeptRegister<i64>,
    KeptRegister<Currency>,
);

/// A value, and the key of its event where that is not the payment's greatest.
type KeptRegister<T> = Option<(T, Option<RecencyParts>)>;

const VERSION: u8 = 1;

impl<T: Copy> Register<T> {
    fn word(&self) -> Option<(Recency, T)> {
        self.0
            .as_ref()
            .map(|(key, value)| ((**key).clone(), *value))
    }

    fn said(word: Option<(Recency, T)>) -> Self {
        Self(word.map(|(key, value)| (Arc::new(key), value)))
    }

    fn keep(&self, last: &Arc<Recency>) -> KeptRegister<T> {
        let (key, value) = self.0.as_ref()?;
        Some((*value, (key != last).then(|| key.to_parts())))
    }

    fn restore(kept: KeptRegister<T>, last: &Arc<Recency>) -> Self {
        Self(kept.map(|(value, key)| {
            let key = key.map_or_else(
                || Arc::clone(last),
                |key| Arc::new(Recency::from_parts(key)),
            );
            (key, value)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::signature::{AmountUnit, PaymentFacts};

    /// An event as the model sees it; few values, so that ties and gaps are common.
    #[derive(Clone, Debug)]
    struct Told {
        at: i64,
        id: u8,
        producer: u8,
        status: Option<Status>,
        amount: Option<i64>,
        refunded: Option<i64>,
        currency: Option<&'static str>,
    }

    impl Told {
        fn claim(&self) -> Claim {
            let facts = PaymentFacts {
                payment_id: "pay_1".into(),
                status: self.status.map(|status| status.to_string()),
                amount: self.amount.map(|amount| amount.to_string()),
                amount_refunded: self.refunded.map(|amount| amount.to_string()),
                currency: self.currency.map(str::to_owned),
                unit: AmountUnit::Minor,
                minor_digits: None,
            };
            let at = Timestamp::from_second(self.at).unwrap();
            Claim::read(&facts, Some(at), &self.id(), &self.producer()).unwrap()
        }

        fn id(&self) -> String {
            format!("evt_{}", self.id)
        }

        fn producer(&self) -> Arc<str> {
            format!("producer-{}", self.producer).into()
        }
    }

    type Row = (
        Option<Status>,
        Option<i64>,
        Option<i64>,
        Option<String>,
        i64,
        String,
        u64,
    );

    /// Sort and fold: what the contract says, in the plainest way.
    fn model(events: &[Told]) -> Row {
        let mut sorted = events.to_vec();
        sorted.sort_by_key(|e| {
            (
                e.at,
                e.status.map_or(0, |s| s as u8 + 1),
                e.id(),
                e.producer(),
            )
        });
        let last = sorted.last().unwrap();
        (
            sorted.iter().rev().find_map(|e| e.status),
            sorted.iter().rev().find_map(|e| e.amount),
            sorted.iter().rev().find_map(|e| e.refunded),
            sorted
                .iter()
                .rev()
                .find_map(|e| e.currency.map(str::to_owned)),
            last.at,
            last.id(),
            events.len() as u64,
        )
    }

    fn row(payment: &Payment) -> Row {
        (
            payment.status(),
            payment.amount_minor(),
            payment.amount_refunded_minor(),
            payment.currency().map(|currency| currency.to_string()),
            payment.occurred_at().unwrap().as_second(),
            payment.last_event_id().to_owned(),
            payment.events(),
        )
    }

    fn fold(events: &[Told]) -> Payment {
        let mut payment = Payment::new(&events[0].claim());
        for event in &events[1..] {
            payment.apply(&event.claim());
        }
        payment
    }

    fn told() -> impl Strategy<Value = Told> {
        let status = proptest::option::of(proptest::sample::select(Status::ALL.to_vec()));
        let amount = || proptest::option::of(0..5_i64);
        let currency = proptest::option::of(proptest::sample::select(vec!["EUR", "JPY"]));
        (
            0..4_i64,
            0..20_u8,
            0..2_u8,
            status,
            amount(),
            amount(),
            currency,
        )
            .prop_map(
                |(at, id, producer, status, amount, refunded, currency)| Told {
                    at,
                    id,
                    producer,
                    status,
                    amount,
                    refunded,
                    currency,
                },
            )
            .prop_filter("states something", |told| {
                told.status.is_some()
                    || told.amount.is_some()
                    || told.refunded.is_some()
                    || told.currency.is_some()
            })
    }

    /// Events of distinct ids, as the inbox lets them through.
    fn set() -> impl Strategy<Value = Vec<Told>> {
        proptest::collection::vec(told(), 1..12).prop_map(|events| {
            let distinct: BTreeMap<_, _> = events
                .into_iter()
                .map(|e| ((e.id, e.producer), e))
                .collect();
            distinct.into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_arrival_the_ledger_ends_the_same(
            (set, shuffled) in set().prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle())),
        ) {
            let payment = fold(&shuffled);
            prop_assert_eq!(row(&payment), model(&set));
            prop_assert_eq!(payment, fold(&set));
        }

        #[test]
        fn however_a_set_is_divided_its_halves_merge_to_the_same(set in set(), cuts: [Index; 2]) {
            let mut cuts = cuts.map(|cut| cut.index(set.len() + 1));
            cuts.sort_unstable();
            let parts: Vec<_> = [&set[..cuts[0]], &set[cuts[0]..cuts[1]], &set[cuts[1]..]]
                .into_iter()
                .filter(|part| !part.is_empty())
                .map(fold)
                .collect();
            let merged = |order: &mut dyn Iterator<Item = &Payment>| {
                let mut all = order.next().unwrap().clone();
                order.for_each(|part| { all.merge(part); });
                all
            };
            prop_assert_eq!(merged(&mut parts.iter()), fold(&set));
            prop_assert_eq!(merged(&mut parts.iter().rev()), fold(&set));
        }

        #[test]
        fn an_event_that_comes_again_changes_nothing_but_the_count(set in set(), again: Index) {
            let mut payment = fold(&set);
            let before = row(&payment);
            prop_assert_eq!(payment.apply(&again.get(&set).claim()), Effect::Superseded);
            let mut expected = before;
            expected.6 += 1;
            prop_assert_eq!(row(&payment), expected);
        }

        #[test]
        fn an_event_is_applied_if_it_is_the_latest_word_on_a_field(set in set(), next in told()) {
            prop_assume!(set.iter().all(|e| (e.id, e.producer) != (next.id, next.producer)));
            let mut payment = fold(&set);
            let claim = next.claim();
            let latest = |states: fn(&Claim) -> bool| {
                states(&claim)
                    && set.iter().map(Told::claim).filter(states).all(|other| other.key() < claim.key())
            };
            let expected = latest(|c| c.status().is_some())
                || latest(|c| c.amount_minor().is_some())
                || latest(|c| c.amount_refunded_minor().is_some())
                || latest(|c| c.currency().is_some());
            prop_assert_eq!(payment.apply(&claim) == Effect::Applied, expected);
        }

        #[test]
        fn what_is_kept_is_read_again(set in set()) {
            let payment = fold(&set);
            let kept = payment.encode();
            prop_assert_eq!(Payment::decode("pay_1", &kept).unwrap(), payment, "{}", kept);
        }
    }

    #[test]
    fn the_kept_form_is_short() {
        let told = Told {
            at: 1_790_000_000,
            id: 1,
            producer: 0,
            status: Some(Status::Succeeded),
            amount: Some(1999),
            refunded: None,
            currency: Some("EUR"),
        };
        let kept = r#"[1,1,[1790000000000000,7,"evt_1","producer-0"],["succeeded",null],[1999,null],null,["EUR",null]]"#;
        assert_eq!(fold(&[told]).encode(), kept);
    }

    #[test]
    fn a_damaged_row_is_told_from_a_newer_one() {
        assert!(matches!(
            Payment::decode("pay_1", "[]"),
            Err(UnreadablePayment::Form(_))
        ));
        let newer = r#"[2,1,[0,0,"",""],null,null,null,null]"#;
        assert!(matches!(
            Payment::decode("pay_1", newer),
            Err(UnreadablePayment::Version(2))
        ));
    }
}
