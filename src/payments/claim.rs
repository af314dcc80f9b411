//! An event, as far as the ledger understands it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Amount, AmountFault, Currency, Status, UnknownStatus};
use crate::signature::{AmountUnit, PaymentFacts};

/// Which of two events is the later word: the greater one, in the order of the fields.
///
/// Microseconds are what both stores keep, so a finer time must not decide in memory what it could not decide
/// after a restart. The producer stands last: two producers of a tenant may use one id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recency {
    occurred_at_us: i64,
    rank: u8,
    event_id: Box<str>,
    producer: Arc<str>,
}

/// Before every time: among events that have none the rank of the status decides, in whatever order they came.
const NO_TIME_US: i64 = i64::MIN;

impl Recency {
    /// The key of an event that occurred then, if it has a time. `status` is what it states, if it states one.
    #[must_use]
    pub fn new(
        occurred_at: Option<Timestamp>,
        status: Option<Status>,
        event_id: &str,
        producer: &Arc<str>,
    ) -> Self {
        Self {
            occurred_at_us: occurred_at.map_or(NO_TIME_US, Timestamp::as_microsecond),
            rank: status.map_or(0, Status::rank),
            event_id: event_id.into(),
            producer: Arc::clone(producer),
        }
    }

    /// When the event occurred, to the microsecond; `None` if it has no time.
    #[must_use]
    pub fn occurred_at(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.occurred_at_us).ok()
    }

    /// The same, in microseconds since the epoch, as it is stored; the least number if it has no time.
    #[must_use]
    pub const fn occurred_at_us(&self) -> i64 {
        self.occurred_at_us
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// Whose event it is.
    #[must_use]
    pub fn producer(&self) -> &Arc<str> {
        &self.producer
    }

    /// The rank of the status that the event states; 0 if it states none.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        self.rank
    }

    /// The key of which a store kept these fields.
    #[must_use]
    pub fn restore(occurred_at_us: i64, rank: u8, event_id: &str, producer: &str) -> Self {
        Self::from_parts((occurred_at_us, rank, event_id.into(), producer.into()))
    }

    pub(super) fn to_parts(&self) -> RecencyParts {
        (
            self.occurred_at_us,
            self.rank,
            self.event_id.clone(),
            (&*self.producer).into(),
        )
    }

    pub(super) fn from_parts((occurred_at_us, rank, event_id, producer): RecencyParts) -> Self {
        Self {
            occurred_at_us,
            rank,
            event_id,
            producer: producer.into(),
        }
    }
}

/// A key as it is stored: its fields, in their order.
pub(super) type RecencyParts = (i64, u8, Box<str>, Box<str>);

/// What one event states of one payment: at least one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(super) payment_id: Box<str>,
    pub(super) key: Arc<Recency>,
    pub(super) status: Option<Status>,
    pub(super) amount_minor: Option<i64>,
    pub(super) amount_refunded_minor: Option<i64>,
    pub(super) currency: Option<Currency>,
    unreadable: Vec<Unreadable>,
}

/// A field that stands in the body, and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The status is none of the canonical ones.
    #[error("the status")]
    Status(#[source] UnknownStatus),
    /// The currency is none of ISO 4217.
    #[error("the currency is not one of ISO 4217")]
    Currency,
    /// The amount does not convert.
    #[error("the amount")]
    Amount(#[source] AmountFault),
    /// The refunded amount does not convert.
    #[error("the refunded amount")]
    AmountRefunded(#[source] AmountFault),
}

impl Unreadable {
    /// Every field that can be one.
    pub const FIELDS: [&'static str; 4] = ["status", "currency", "amount", "amount_refunded"];

    /// The field's name, out of [`Self::FIELDS`].
    #[must_use]
    pub const fn field(&self) -> &'static str {
        let [status, currency, amount, amount_refunded] = Self::FIELDS;
        match self {
            Self::Status(_) => status,
            Self::Currency => currency,
            Self::Amount(_) => amount,
            Self::AmountRefunded(_) => amount_refunded,
        }
    }
}

/// Why an event that names a payment makes no claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    /// It states nothing of it.
    #[error("states neither a status, nor an amount, nor a currency")]
    StatesNothing,
    /// Nothing that it states can be read.
    #[error("states nothing that can be read")]
    NothingReadable(Vec<Unreadable>),
}

impl Claim {
    /// Reads the facts of an event that occurred at `occurred_at`: its own time, else the time that its
    /// signature covers. When it was received counts for nothing: that differs with the order of arrival.
    ///
    /// An amount is read with the currency of the same event. Where that one cannot be read, neither can the
    /// amount be: an older event's currency must not be put to it.
    ///
    /// # Errors
    /// When no field is stated in a form that can be read.
    pub fn read(
        facts: &PaymentFacts,
        occurred_at: Option<Timestamp>,
        event_id: &str,
        producer: &Arc<str>,
    ) -> Result<Self, Unmapped> {
        let Stated {
            status,
            amount_minor,
            amount_refunded_minor,
            currency,
            unreadable,
        } = Stated::read(facts);
        if status.is_none()
            && amount_minor.is_none()
            && amount_refunded_minor.is_none()
            && currency.is_none()
        {
            return Err(if unreadable.is_empty() {
                Unmapped::StatesNothing
            } else {
                Unmapped::NothingReadable(unreadable)
            });
        }
        Ok(Self {
            payment_id: facts.payment_id.as_str().into(),
            key: Arc::new(Recency::new(occurred_at, status, event_id, producer)),
            status,
            amount_minor,
            amount_refunded_minor,
            currency,
            unreadable,
        })
    }

    /// The claim of which a store kept these fields.
    #[must_use]
    pub fn restore(
        payment_id: &str,
        key: Recency,
        status: Option<Status>,
        amount_minor: Option<i64>,
        amount_refunded_minor: Option<i64>,
        currency: Option<Currency>,
    ) -> Self {
        Self {
            payment_id: payment_id.into(),
            key: Arc::new(key),
            status,
            amount_minor,
            amount_refunded_minor,
            currency,
            unreadable: Vec::new(),
        }
    }

    /// Which payment it speaks of.
    #[must_use]
    pub fn payment_id(&self) -> &str {
        &self.payment_id
    }

    /// How it compares with other events.
    #[must_use]
    pub fn key(&self) -> &Recency {
        &self.key
    }

    /// The status that it states.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        self.status
    }

    /// The amount that it states, in minor units.
    #[must_use]
    pub const fn amount_minor(&self) -> Option<i64> {
        self.amount_minor
    }

    /// The amount refunded so far that it states, in minor units.
    #[must_use]
    pub const fn amount_refunded_minor(&self) -> Option<i64> {
        self.amount_refunded_minor
    }

    /// The currency that it states.
    #[must_use]
    pub const fn currency(&self) -> Option<Currency> {
        self.currency
    }

    /// What it states besides, in a form that could not be read.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }
}

/// What cannot be read of what an event states. Neither the event nor its payment is kept with it.
#[must_use]
pub fn unreadable(facts: &PaymentFacts) -> Vec<Unreadable> {
    Stated::read(facts).unreadable
}

/// The fields that an event states, each by itself.
struct Stated {
    status: Option<Status>,
    amount_minor: Option<i64>,
    amount_refunded_minor: Option<i64>,
    currency: Option<Currency>,
    unreadable: Vec<Unreadable>,
}

impl Stated {
    fn read(facts: &PaymentFacts) -> Self {
        let mut unreadable = Vec::new();
        let status = match facts.status.as_deref().map(str::parse) {
            None => None,
            Some(Ok(status)) => Some(status),
            Some(Err(fault)) => {
                unreadable.push(Unreadable::Status(fault));
                None
            }
        };
        let currency = match facts.currency.as_deref().map(str::parse::<Currency>) {
            None => Ok(None),
            Some(Ok(currency)) => Ok(Some(currency)),
            Some(Err(_unknown)) => {
                unreadable.push(Unreadable::Currency);
                Err(AmountFault::NoCurrency)
            }
        };
        let convert = |text: &str| {
            let currency = currency?;
            match facts.unit {
                AmountUnit::Minor => Amount::minor(text, facts.minor_digits, currency),
                AmountUnit::Major => Amount::major(text, currency.ok_or(AmountFault::NoCurrency)?),
            }
        };
        let mut amount =
            |text: Option<&str>, name: fn(AmountFault) -> Unreadable| match text.map(convert) {
                None => None,
                Some(Ok(amount)) => Some(amount),
                Some(Err(fault)) => {
                    unreadable.push(name(fault));
                    None
                }
            };
        let amount_minor = amount(facts.amount.as_deref(), Unreadable::Amount);
        let amount_refunded_minor =
            amount(facts.amount_refunded.as_deref(), Unreadable::AmountRefunded);
        Self {
            status,
            amount_minor,
            amount_refunded_minor,
            currency: currency.unwrap_or_default(),
            unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> PaymentFacts {
        PaymentFacts {
            payment_id: "pay_1".into(),
            status: Some("succeeded".into()),
            amount: Some("1999".into()),
            amount_refunded: Some("0".into()),
            currency: Some("eur".into()),
            unit: AmountUnit::Minor,
            minor_digits: None,
        }
    }

    fn read(facts: &PaymentFacts) -> Result<Claim, Unmapped> {
        Claim::read(
            facts,
            Some(Timestamp::UNIX_EPOCH),
            "evt_1",
            &Arc::from("acme"),
        )
    }

    #[test]
    fn a_claim_holds_what_the_event_states() {
        let claim = read(&facts()).unwrap();
        assert_eq!(claim.payment_id(), "pay_1");
        assert_eq!(claim.status(), Some(Status::Succeeded));
        assert_eq!(claim.amount_minor(), Some(1999));
        assert_eq!(claim.amount_refunded_minor(), Some(0));
        assert_eq!(claim.currency().unwrap().code(), "EUR");
        assert!(claim.unreadable().is_empty());
    }

    #[test]
    fn an_amount_of_an_unreadable_currency_is_unreadable_too() {
        let claim = read(&PaymentFacts {
            currency: Some("BTC".into()),
            ..facts()
        })
        .unwrap();
        assert_eq!(claim.amount_minor(), None);
        assert_eq!(claim.currency(), None);
        assert_eq!(claim.status(), Some(Status::Succeeded));
        assert_eq!(claim.unreadable().len(), 3);
    }

    #[test]
    fn a_major_amount_needs_a_currency() {
        let major = PaymentFacts {
            unit: AmountUnit::Major,
            amount: Some("19.99".into()),
            ..facts()
        };
        assert_eq!(read(&major).unwrap().amount_minor(), Some(1999));
        let claim = read(&PaymentFacts {
            currency: None,
            ..major
        })
        .unwrap();
        assert_eq!(claim.amount_minor(), None);
        assert_eq!(
            claim.unreadable()[0],
            Unreadable::Amount(AmountFault::NoCurrency)
        );
    }

    #[test]
    fn one_unreadable_field_does_not_hide_the_others() {
        let claim = read(&PaymentFacts {
            amount: Some("a lot".into()),
            ..facts()
        })
        .unwrap();
        assert_eq!(claim.amount_minor(), None);
        assert_eq!(claim.amount_refunded_minor(), Some(0));
        let claim = read(&PaymentFacts {
            status: Some("paid".into()),
            ..facts()
        })
        .unwrap();
        assert_eq!(claim.status(), None);
        assert_eq!(claim.amount_minor(), Some(1999));
    }

    #[test]
    fn what_states_nothing_is_unmapped() {
        let nothing = PaymentFacts {
            status: None,
            amount: None,
            amount_refunded: None,
            currency: None,
            ..facts()
        };
        assert_eq!(read(&nothing), Err(Unmapped::StatesNothing));
        let unreadable = PaymentFacts {
            status: Some("paid".into()),
            ..nothing
        };
        assert!(
            matches!(read(&unreadable), Err(Unmapped::NothingReadable(fields)) if fields.len() == 1)
        );
    }

    #[test]
    fn a_time_finer_than_what_is_stored_does_not_decide() {
        let at = |nanoseconds| Timestamp::new(1_790_000_000, nanoseconds).unwrap();
        let key = |at| Recency::new(Some(at), None, "evt_1", &Arc::from("acme"));
        assert_eq!(key(at(1_999)), key(at(1_000)));
        assert!(key(at(2_000)) > key(at(1_999)));
    }

    #[test]
    fn among_events_without_a_time_the_rank_decides_and_any_time_is_later() {
        let key = |at, status, id| Recency::new(at, Some(status), id, &Arc::from("acme"));
        let paid = key(None, Status::Succeeded, "a");
        assert!(paid > key(None, Status::Pending, "b"));
        assert!(key(Some(Timestamp::MIN), Status::Pending, "a") > paid);
        assert_eq!(paid.occurred_at(), None);
    }
}
