//! What an event tells, and what it says of a payment: texts, as they stand in the body. The `payments` room gives them meaning.

use jiff::Timestamp;

use crate::signature::AmountUnit;

/// The statuses that a profile's table may name; `payments` gives them their rank.
pub const STATUSES: [&str; 12] = [
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

/// The canonical status of this name.
pub(super) fn canonical(name: &str) -> Option<&'static str> {
    STATUSES.into_iter().find(|status| *status == name)
}

/// What an event says of itself, as far as the signature covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its id; absent where the profile has none, or the body lacks it.
    pub event_id: Option<String>,
    /// Its type, in the provider's words.
    pub event_type: Option<String>,
    /// When it happened, in the provider's words.
    pub occurred_at: Option<Timestamp>,
    /// The provider's customer whose event it is.
    pub account: Option<String>,
    /// What it says of a payment, or why that is nothing.
    pub payment: Result<PaymentFacts, NoPayment>,
    /// Whether the provider must be asked for what the signature leaves uncovered.
    pub fetch: Fetch,
}

/// Whether an event tells, under its signature, all that its provider means to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// It does.
    #[default]
    Unneeded,
    /// The rest is to be fetched from the provider.
    Needed {
        /// The payment's id, where the signature covers it and the event makes no claim.
        reference: Option<Box<str>>,
    },
}

impl Fetch {
    /// Whether the provider must be asked.
    pub fn is_needed(&self) -> bool {
        match self {
            Self::Unneeded => false,
            Self::Needed { .. } => true,
        }
    }

    /// The id by which to ask, where it is no claim's.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Unneeded => None,
            Self::Needed { reference } => reference.as_deref(),
        }
    }
}

/// What an event says of a payment: texts, as they stand in the body. The ledger gives them meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFacts {
    /// The payment's id, in the provider's words.
    pub payment_id: String,
    /// A canonical status, from the profile's table.
    pub status: Option<String>,
    /// The amount: the number as it is written, or the text that holds it.
    pub amount: Option<String>,
    /// How much of it has been refunded so far.
    pub amount_refunded: Option<String>,
    /// The currency's code, in either case.
    pub currency: Option<String>,
    /// The unit of both amounts.
    pub unit: AmountUnit,
    /// How many decimals this provider's minor unit of the currency stands for, where that is not ISO 4217's.
    pub minor_digits: Option<u8>,
}

/// Why an event says nothing of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoPayment {
    /// The profile maps no payments.
    #[error("the profile maps no payments")]
    NotMapped,
    /// The profile's table lacks the event's type.
    #[error("the profile's table lacks this type")]
    TypeNotMapped,
    /// It names no payment.
    #[error("names no payment")]
    NoPaymentId,
    /// The signature covers only a reference: the payment must be fetched from the provider.
    #[error("fetch needed: the signature does not cover the body")]
    FetchNeeded,
    /// It tells of what comes after a payment, and not when, where others tell when they were: whichever came later would hide it.
    #[error("fetch needed: has no time, and others of its profile have")]
    NoTime,
    /// It is of another kind than those that the profile's `event.only` names.
    #[error("fetch needed: it is none of those that event.only names")]
    OfAnotherKind,
    /// A key that the mapping reads occurs twice in the body.
    #[error("a key occurs twice")]
    RepeatedKey,
}
