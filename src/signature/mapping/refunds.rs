//! Refunds that a body lists one by one: what they come to, exactly, and what that makes of the payment.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::facts::{Facts, NoPayment, PaymentFacts};
use super::occurred;
use crate::signature::body::json::{JsonFault, ListPointer, Pointer};
use crate::signature::profile::descriptor::{AmountUnit, OneOrMany, RefundsDescriptor};
use crate::signature::template::TemplateFault;

/// `[event.refunds]` with meaning.
#[derive(Clone, Debug)]
pub(super) struct Refunds {
    each: ListPointer,
    amount: Pointer,
    negative: bool,
    equals: Box<[(Pointer, Box<[String]>)]>,
    occurred_at: Box<[Pointer]>,
}

/// A list that is there.
enum Listing {
    Empty,
    Of(Listed),
}

/// What the elements of a list come to.
struct Listed {
    digest: String,
    counted: usize,
    latest: Option<Timestamp>,
    /// The sum of those that count.
    sum: Result<Decimal, NotANumber>,
}

impl Refunds {
    pub(super) fn compile(
        descriptor: &RefundsDescriptor,
        fault: &mut dyn FnMut(String, TemplateFault),
    ) -> Option<Self> {
        let mut wrong = |key: &str, what: &str| {
            let mend = "write a JSON pointer, as \"/amount\", and the list as \"/refunds/*\"";
            let (what, mend) = (what.to_owned(), mend.to_owned());
            fault(format!("event.refunds.{key}"), TemplateFault { what, mend });
        };
        let each = ListPointer::parse(&descriptor.each).map_err(|what| wrong("each", what));
        let amount = of_one(&descriptor.amount).map_err(|what| wrong("amount", what));
        let mut equals = Vec::new();
        for (place, texts) in descriptor.equals.iter().flatten() {
            match of_one(place) {
                Ok(place) => equals.push((place, texts.iter().map(str::to_owned).collect())),
                Err(what) => wrong("equals", what),
            }
        }
        let mut occurred_at = Vec::new();
        for place in descriptor.occurred_at.iter().flat_map(OneOrMany::iter) {
            match of_one(place) {
                Ok(place) => occurred_at.push(place),
                Err(what) => wrong("occurred_at", what),
            }
        }
        Some(Self {
            each: each.ok()?,
            amount: amount.ok()?,
            negative: descriptor.negative.unwrap_or_default(),
            equals: equals.into(),
            occurred_at: occurred_at.into(),
        })
    }

    /// Puts what the list comes to into what the rest of the body tells.
    pub(super) fn tell(&self, document: &RawValue, facts: &mut Facts) {
        let unit = facts.payment.as_ref().map(|payment| payment.unit);
        let listed = match self.read(document, unit.unwrap_or_default()) {
            Ok(None) => return,
            Ok(Some(Listing::Empty)) => {
                if let Ok(payment) = &mut facts.payment {
                    tell_none(payment);
                }
                return;
            }
            Ok(Some(Listing::Of(listed))) => listed,
            Err(_fault) => {
                facts.payment = Err(NoPayment::RepeatedKey);
                return;
            }
        };
        if let Some(id) = &mut facts.event_id {
            // Of two states at one second, the one in which more refunds count is the later.
            *id = format!("{id}:{:04}:{}", listed.counted, listed.digest);
        }
        facts.occurred_at = facts.occurred_at.max(listed.latest);
        let Ok(payment) = &mut facts.payment else {
            return;
        };
        let sum = listed.sum;
        if sum.is_ok_and(|sum| sum == Decimal::default()) {
            return tell_none(payment);
        }
        let paid = payment.amount.as_deref();
        let paid = paid.map(|paid| Decimal::parse(paid, payment.unit));
        // Without both numbers nobody can say whether all of it was refunded, and the status before is not the present one.
        payment.status = match (&sum, paid) {
            (Ok(sum), Some(Ok(paid))) if *sum >= paid => Some("refunded".to_owned()),
            (Ok(_part), Some(Ok(_paid))) => Some("partially_refunded".to_owned()),
            (Ok(_) | Err(NotANumber), Some(Ok(_) | Err(NotANumber)) | None) => None,
        };
        payment.amount_refunded = sum.ok().map(|sum| sum.to_string());
    }

    fn read(&self, document: &RawValue, unit: AmountUnit) -> Result<Option<Listing>, JsonFault> {
        let Some(elements) = self.each.elements(document)? else {
            return Ok(None);
        };
        if elements.is_empty() {
            return Ok(Some(Listing::Empty));
        }
        let mut digest = Sha256::new();
        let mut latest = None;
        let mut sum = Ok(Decimal::default());
        let mut counted = 0;
        for element in elements {
            digest.update(element.get());
            digest.update([0]);
            for place in &self.occurred_at {
                let text = place.text(element)?;
                if let Some(time) = text.and_then(|text| occurred::parse(&text, None)) {
                    latest = latest.max(Some(time));
                    break;
                }
            }
            if self.counts(element)? {
                counted += 1;
                let text = self.amount.text(element)?.unwrap_or_default();
                // One with the other sign is no refund, or one that was taken back.
                let text = match self.negative {
                    true => text.strip_prefix('-').unwrap_or_default(),
                    false => &*text,
                };
                sum = sum.and_then(|sum: Decimal| sum.plus(Decimal::parse(text, unit)?));
            }
        }
        let digest = hex::encode(digest.finalize());
        Ok(Some(Listing::Of(Listed {
            digest: digest.get(..32).unwrap_or_default().to_owned(),
            counted,
            latest,
            sum,
        })))
    }

    fn counts(&self, element: &RawValue) -> Result<bool, JsonFault> {
        for (place, texts) in &self.equals {
            let text = place.text(element)?.unwrap_or(Cow::Borrowed(""));
            if !texts.iter().any(|wanted| *wanted == *text) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// No money went back, or none of it is listed any more: unless the body says otherwise elsewhere, that is all that has been refunded.
fn tell_none(payment: &mut PaymentFacts) {
    let says_otherwise = ["refunded", "partially_refunded"];
    let status = payment.status.as_deref();
    if !status.is_some_and(|status| says_otherwise.contains(&status)) {
        payment.amount_refunded = Some(Decimal::default().to_string());
    }
}

/// A pointer into one element.
fn of_one(text: &str) -> Result<Pointer, &'static str> {
    let pointer = Pointer::parse(text)?;
    if pointer.has_a_star() {
        return Err("has a \"*\", which names nothing in an element");
    }
    Ok(pointer)
}

/// A decimal number that is not negative, in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Decimal(i128);

/// A text is no decimal number, or one that is too large or too fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotANumber;

impl Decimal {
    const PLACES: usize = 9;
    const ONE: i128 = 1_000_000_000;
    /// Of a number that can be read, zeros at either end apart.
    const DIGITS_MAX: usize = 36;

    /// Reads what the ledger reads of an amount: JSON's grammar of numbers, without a sign; digits alone in the minor unit.
    fn parse(text: &str, unit: AmountUnit) -> Result<Self, NotANumber> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse().map_err(|_text| NotANumber)?),
            None => (text, 0_i32),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = number == whole && exponent == 0 && number.len() == text.len();
        if !digits(whole) || !digits(fraction) || (unit == AmountUnit::Minor && !is_plain) {
            return Err(NotANumber);
        }
        // All digits as one number, of which the point stands so many places from the right.
        let fraction = fraction.trim_end_matches('0');
        let all = [whole, fraction].concat();
        let number: i128 = match all.trim_start_matches('0') {
            "" => return Ok(Self::default()),
            digits if digits.len() > Self::DIGITS_MAX => return Err(NotANumber),
            digits => digits.parse().map_err(|_no_number| NotANumber)?,
        };
        let places = i32::try_from(fraction.len()).map_err(|_too_long| NotANumber)?;
        let power = exponent
            .checked_sub(places)
            .and_then(|power| power.checked_add(Self::PLACES as i32))
            .ok_or(NotANumber)?;
        let factor = 10_i128.checked_pow(power.unsigned_abs());
        let scaled = match (factor, power >= 0) {
            (Some(factor), true) => number.checked_mul(factor),
            (Some(factor), false) if number % factor == 0 => Some(number / factor),
            (Some(_) | None, _) => None,
        };
        let fits = |scaled: &i128| *scaled < 1_000_000_000_000_000_000 * Self::ONE;
        scaled.filter(fits).map(Self).ok_or(NotANumber)
    }

    fn plus(self, other: Self) -> Result<Self, NotANumber> {
        self.0.checked_add(other.0).map(Self).ok_or(NotANumber)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::ONE, self.0 % Self::ONE);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{fraction:0places$}", places = Self::PLACES);
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_number_is_read_strictly() {
        for (text, expected) in [
            ("10.00", Some("10")),
            ("0.10", Some("0.1")),
            ("007.5", Some("7.5")),
            (
                "999999999999999999.999999999",
                Some("999999999999999999.999999999"),
            ),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", Some("1000")),
            ("1.5E+1", Some("15")),
            ("15e-1", Some("1.5")),
            ("1e18", None),
            ("1e-10", None),
            ("1e", None),
            ("e1", None),
            ("1e99999999999", None),
            ("1,0", None),
            ("0.0000000001", None),
            ("1000000000000000000", None),
        ] {
            let read = Decimal::parse(text, AmountUnit::Major);
            let read = read.ok().map(|number| number.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        for (text, expected) in [
            ("1999", Some("1999")),
            ("10.00", None),
            ("1e1", None),
            ("1e0", None),
        ] {
            let read = Decimal::parse(text, AmountUnit::Minor);
            let read = read.ok().map(|number| number.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_smallest_unit(cents in proptest::collection::vec(0_i64..1_000_000, 0..20)) {
            let text = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            let sum = cents.iter().try_fold(Decimal::default(), |sum, cents| sum.plus(Decimal::parse(&text(*cents), AmountUnit::Major)?));
            prop_assert_eq!(sum, Decimal::parse(&text(cents.iter().sum()), AmountUnit::Major));
        }
    }
}
