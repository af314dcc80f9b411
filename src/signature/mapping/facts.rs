//! What the signed body tells: the event, and the payment that it speaks of.
//!
//! A [`Mapping`] is the compiled `[event]` of a profile. It takes texts out of the body, as they are written;
//! the `payments` room gives them meaning. It takes nothing that the signature does not cover, but for the two
//! things that move no money: the event's type, where only people read it, and the time of an event.
//!
//! A body in which a key on the way to such a text occurs twice makes no claim: two readers could take two
//! values from it.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::around::Around;
use super::compiled::{Mapping, Places};
use super::occurred;
use super::place::Place;
use super::rules::all_equal;
use crate::signature::AmountUnit;
use crate::signature::body;
use crate::signature::body::document::{Document, NotAnObject};
use crate::signature::body::json::{self, JsonFault, ListPointer};
use crate::signature::body::select::Values;

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

/// Those of what can only come once a payment is there.
const AFTER_THE_PAYMENT: [&str; 5] = [
    "partially_refunded",
    "refunded",
    "disputed",
    "dispute_won",
    "dispute_lost",
];

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

impl Mapping {
    /// The events of a body: the elements of its list, where the profile has one, as slices of it. A body
    /// without that list, or with an empty one, is one event.
    pub(in crate::signature) fn items(&self, body: &Bytes) -> Result<Vec<Bytes>, NotAnObject> {
        let Some(each) = &self.each else {
            return Ok(vec![body.clone()]);
        };
        let elements = self.elements(each, body)?;
        let slice = |element: &RawValue| body.slice_ref(element.get().as_bytes());
        Ok(if elements.is_empty() {
            vec![body.clone()]
        } else {
            elements.into_iter().map(slice).collect()
        })
    }

    fn elements<'a>(
        &self,
        each: &ListPointer,
        body: &'a [u8],
    ) -> Result<Vec<&'a RawValue>, NotAnObject> {
        let document = json::document(body)?;
        match each.elements(document) {
            Ok(elements) => Ok(elements.unwrap_or_default()),
            Err(JsonFault::Repeated) => Ok(Vec::new()),
            Err(fault @ (JsonFault::NotJson | JsonFault::TooMany)) => Err(fault.into()),
        }
    }

    /// Reads one event.
    pub(in crate::signature) fn facts(
        &self,
        item: &[u8],
        around: Around<'_>,
    ) -> Result<Facts, NotAnObject> {
        let mut facts = match Document::read(item, self.format, self.field.as_deref())? {
            Document::Json(text) => {
                let document =
                    serde_json::from_str(&text).map_err(|_not_json| NotAnObject::NotJson)?;
                let mut facts = self.told(&self.selection.read(document)?, around);
                if let Some(refunds) = &self.refunds {
                    refunds.tell(document, &mut facts);
                }
                facts
            }
            Document::Fields(fields) => self.told(&self.selection.read_fields(&fields), around),
        };
        if facts.event_id.is_none() {
            facts.event_id = self.id_of_the_field(item);
        }
        self.withhold_what_would_be_hidden(&mut facts);
        Ok(facts)
    }

    /// Without a time an event is older than all that have one. What a payment begins with may be so; what comes after it is not.
    fn withhold_what_would_be_hidden(&self, facts: &mut Facts) {
        if !self.times_are_its_own || facts.occurred_at.is_some() {
            return;
        }
        let Ok(payment) = &mut facts.payment else {
            return;
        };
        let status = payment.status.as_deref();
        if status.is_some_and(|status| AFTER_THE_PAYMENT.contains(&status)) {
            let reference = Some(std::mem::take(&mut payment.payment_id).into());
            facts.fetch = Fetch::Needed { reference };
            facts.payment = Err(NoPayment::NoTime);
        }
    }

    /// The SHA-256 of the document that a form holds, where nothing else of the form is signed: whoever has one signed document could
    /// else make any number of bodies, and so of events, of it. Some senders end it with a newline that the signature may leave out.
    fn id_of_the_field(&self, body: &[u8]) -> Option<String> {
        let document = body::form::value(body, self.id_field.as_deref()?).ok()??;
        Some(hex::encode(Sha256::digest(document.trim_ascii())))
    }

    fn told(&self, values: &Values<'_>, around: Around<'_>) -> Facts {
        if values.any_repeated() {
            return Facts {
                event_id: None,
                event_type: None,
                occurred_at: None,
                account: None,
                payment: Err(NoPayment::RepeatedKey),
                fetch: self.fetch.clone(),
            };
        }
        let kind = self.kind.text(values, around, None);
        let kind = kind.as_deref();
        let own = |place: &Place| place.text(values, around, kind).map(Cow::into_owned);
        let when = self
            .when
            .iter()
            .find(|when| when.fits(values, around, kind));
        let places = when.map_or(&self.places, |when| &when.places);
        let fixed = when.and_then(|when| when.status);
        let is_one = all_equal(&self.only, values, around, kind);
        let payment = if is_one {
            self.payment(places, fixed, values, around, kind)
        } else {
            Err(self.no_payment.unwrap_or(NoPayment::OfAnotherKind))
        };
        let stated = when.map_or(&self.fetch, |when| &when.fetch);
        let withheld = Fetch::Needed { reference: None };
        let fetch = match if is_one { stated } else { &withheld } {
            Fetch::Needed { .. } if payment.is_err() => Fetch::Needed {
                reference: own(&places.payment_id).map(Into::into),
            },
            stated @ (Fetch::Unneeded | Fetch::Needed { .. }) => stated.clone(),
        };
        Facts {
            // What is signed of one of another kind may be what is signed of a payment: its id would take the payment's place.
            event_id: own(&self.id).filter(|_| is_one),
            event_type: kind.map(str::to_owned),
            occurred_at: places
                .occurred_at
                .texts(values, around, kind)
                .find_map(|text| occurred::parse(&text, self.occurred_at_unit)),
            account: own(&self.account),
            payment,
            fetch,
        }
    }

    fn payment(
        &self,
        places: &Places,
        fixed: Option<&'static str>,
        values: &Values<'_>,
        around: Around<'_>,
        kind: Option<&str>,
    ) -> Result<PaymentFacts, NoPayment> {
        if let Some(reason) = self.no_payment {
            return Err(reason);
        }
        let own = |place: &Place| place.text(values, around, kind).map(Cow::into_owned);
        let status = fixed.or_else(|| {
            self.status_by
                .texts(values, around, kind)
                .find_map(|key| self.status.status(&key))
        });
        if status.is_none() && !self.status.may_be_missing() {
            return Err(NoPayment::TypeNotMapped);
        }
        let amount = own(&places.amount);
        let amount_refunded = own(&places.amount_refunded);
        // An amount that the mapping leaves out for some events is not the payment's, nor then is its currency.
        let is_left_out = places.amount.is_empty() && !self.places.amount.is_empty();
        let currency = own(&places.currency)
            .filter(|_| !is_left_out || amount.is_some() || amount_refunded.is_some());
        Ok(PaymentFacts {
            payment_id: own(&places.payment_id).ok_or(NoPayment::NoPaymentId)?,
            status: status.map(str::to_owned),
            amount,
            amount_refunded,
            unit: places.unit,
            minor_digits: currency.as_ref().and_then(|code| self.minor_digits(code)),
            currency,
        })
    }

    fn minor_digits(&self, currency: &str) -> Option<u8> {
        let digits = self
            .minor_digits
            .iter()
            .find(|(code, _)| code.eq_ignore_ascii_case(currency));
        digits.map(|(_, digits)| *digits)
    }
}
