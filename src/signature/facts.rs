//! What the signed body tells: the event, and the payment that it speaks of.

use jiff::Timestamp;

use super::AmountUnit;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoPayment {
    /// The profile maps no payments.
    NotMapped,
    /// The profile's table lacks the event's type.
    TypeNotMapped,
    /// It names no payment.
    NoPaymentId,
    /// The signature covers only a reference: the payment must be fetched from the provider.
    FetchNeeded,
}

/// The body is signed, and yet no JSON object (or what else the profile's bodies are).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not what the profile reads: {what}")]
pub struct NotAnObject {
    what: &'static str,
}
