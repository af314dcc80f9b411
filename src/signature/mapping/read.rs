//! What is read of a body whose signature held.
//!
//! Texts are taken out of the body as they are written, and nothing that the signature does not cover, but for the two
//! things that move no money: the event's type, where only people read it, and the time of an event.
//!
//! A body in which a key on the way to such a text occurs twice makes no claim: two readers could take two
//! values from it.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::around::Around;
use super::compiled::Mapping;
use super::facts::{Facts, Fetch, NoPayment, PaymentFacts};
use super::occurred;
use super::place::EventPlace;
use super::rules::{Places, all_equal};
use crate::signature::body;
use crate::signature::body::document::{Document, NotAnObject};
use crate::signature::body::json::{self, JsonFault, ListPointer};
use crate::signature::body::select::Values;

/// Those of what can only come once a payment is there.
const AFTER_THE_PAYMENT: [&str; 5] = [
    "partially_refunded",
    "refunded",
    "disputed",
    "dispute_won",
    "dispute_lost",
];

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
        let own = |place: &EventPlace| place.text(values, around, kind).map(Cow::into_owned);
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
        let own = |place: &EventPlace| place.text(values, around, kind).map(Cow::into_owned);
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
