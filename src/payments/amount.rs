//! Amounts: text from a body to an integer of the minor unit, exactly or not at all.

use super::Currency;

/// An amount of money: an integer of the currency's minor unit, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    /// In the currency's minor unit (ISO 4217): 1999 is 19.99 EUR, 1999 JPY, 1.999 KWD.
    pub minor_units: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountFault {
    /// Not written as a number.
    #[error("not written as a number")]
    NotANumber,
    /// Decimals or an exponent in an amount of minor units: most likely it is in the major unit.
    #[error("has decimals, though the profile says minor units")]
    NotAnInteger,
    /// Below zero. No payment is; a profile that maps a refund's negative amount is mended there.
    #[error("is negative")]
    Negative,
    /// Too fine for the currency: 19.999 EUR.
    #[error("has more decimals than its currency")]
    TooFine,
    /// Beyond 64 bits.
    #[error("is too large")]
    TooLarge,
    /// An amount in the major unit means nothing without a currency.
    #[error("has no readable currency")]
    NoCurrency,
}

/// The longest text that is looked at, in bytes.
const TEXT_BYTES: usize = 64;

impl Amount {
    /// Reads an amount of minor units: digits alone. `digits` is how many decimals the provider counts in, where
    /// that is not the currency's own exponent (Stripe's ISK has two); the result is ISO's unit all the same.
    ///
    /// # Errors
    /// When the text is not such an integer, or the conversion is not exact.
    pub fn minor(
        text: &str,
        digits: Option<u8>,
        currency: Option<Currency>,
    ) -> Result<i64, AmountFault> {
        let number = Decimal::parse(text)?;
        if number.fraction.is_some() || number.exponent != 0 {
            return Err(AmountFault::NotAnInteger);
        }
        match (digits, currency) {
            (None, _) => number.scaled(0),
            (Some(digits), Some(currency)) => {
                number.scaled(i32::from(currency.exponent()) - i32::from(digits))
            }
            (Some(_), None) => Err(AmountFault::NoCurrency),
        }
    }

    /// Reads an amount of the currency itself: `19.99`, `1.5e3`. Trailing zeros beyond the exponent are none.
    ///
    /// # Errors
    /// When the text is no decimal number, or does not convert exactly.
    pub fn major(text: &str, currency: Currency) -> Result<i64, AmountFault> {
        Decimal::parse(text)?.scaled(i32::from(currency.exponent()))
    }
}

/// A decimal number's parts, as they are written.
struct Decimal<'a> {
    whole: &'a str,
    fraction: Option<&'a str>,
    exponent: i32,
}

impl<'a> Decimal<'a> {
    /// JSON's grammar of numbers, and leading zeros, which texts have. No sign but in the exponent, no
    /// separators, no white space.
    fn parse(text: &'a str) -> Result<Self, AmountFault> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        if unsigned.len() > TEXT_BYTES {
            return Err(AmountFault::TooLarge);
        }
        let number = Self::unsigned(unsigned)?;
        if unsigned.len() < text.len() {
            return Err(AmountFault::Negative);
        }
        Ok(number)
    }

    fn unsigned(text: &'a str) -> Result<Self, AmountFault> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, Self::exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        if digits(whole) && fraction.is_none_or(digits) {
            Ok(Self {
                whole,
                fraction,
                exponent,
            })
        } else {
            Err(AmountFault::NotANumber)
        }
    }

    fn exponent(text: &str) -> Result<i32, AmountFault> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if !digits(unsigned) {
            return Err(AmountFault::NotANumber);
        }
        // Three digits reach far beyond what 64 bits hold in either direction.
        if unsigned.len() > 3 {
            return Err(AmountFault::TooLarge);
        }
        text.parse().map_err(|_no_number| AmountFault::NotANumber)
    }

    /// The number times ten to the `power`, which must be an integer.
    fn scaled(&self, power: i32) -> Result<i64, AmountFault> {
        let fraction = self.fraction.unwrap_or_default();
        let mut power = power + self.exponent - i32::try_from(fraction.len()).unwrap_or(i32::MAX);
        let significant = self.whole.len() + fraction.len();
        let all = self.whole.bytes().chain(fraction.bytes());
        // Zeros at the end that the power takes away are no digits of the result.
        let zeros = all.clone().rev().take_while(|digit| *digit == b'0').count();
        let mut kept = significant;
        if zeros == significant {
            return Ok(0);
        }
        if power < 0 {
            let drop = usize::try_from(-power).unwrap_or(usize::MAX);
            if drop > zeros {
                return Err(AmountFault::TooFine);
            }
            kept = significant.saturating_sub(drop);
            power = 0;
        }
        let mut value: i64 = 0;
        for digit in all.take(kept) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i64::from(digit - b'0')))
                .ok_or(AmountFault::TooLarge)?;
        }
        for _ in 0..power {
            value = value.checked_mul(10).ok_or(AmountFault::TooLarge)?;
        }
        Ok(value)
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AmountFault::{Negative, NoCurrency, NotANumber, NotAnInteger, TooFine, TooLarge};

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[track_caller]
    fn check_minor(text: &str, expected: Result<i64, AmountFault>) {
        assert_eq!(Amount::minor(text, None, None), expected, "{text}");
    }

    #[track_caller]
    fn check_major(text: &str, code: &str, expected: Result<i64, AmountFault>) {
        assert_eq!(
            Amount::major(text, currency(code)),
            expected,
            "{text} {code}"
        );
    }

    #[test]
    fn minor_units_are_integers() {
        check_minor("0", Ok(0));
        check_minor("1999", Ok(1999));
        check_minor("0001999", Ok(1999));
        check_minor("9223372036854775807", Ok(i64::MAX));
        check_minor("9223372036854775808", Err(TooLarge));
        check_minor(&"9".repeat(65), Err(TooLarge));
        check_minor("19.99", Err(NotAnInteger));
        check_minor("19.00", Err(NotAnInteger));
        check_minor("1e3", Err(NotAnInteger));
        check_minor("-1", Err(Negative));
        check_minor("-0", Err(Negative));
        check_minor(&"-".repeat(1 << 20), Err(TooLarge));
        for text in [
            "", " 1", "1 ", "+1", "1,000", "0x10", "null", "true", "½", "-", "--1",
        ] {
            check_minor(text, Err(NotANumber));
        }
    }

    #[test]
    fn a_provider_may_count_a_currency_in_other_digits() {
        let isk = Some(currency("ISK"));
        assert_eq!(Amount::minor("50000", Some(2), isk), Ok(500));
        assert_eq!(Amount::minor("50050", Some(2), isk), Err(TooFine));
        assert_eq!(
            Amount::minor("500", Some(0), Some(currency("IDR"))),
            Ok(50_000)
        );
        assert_eq!(Amount::minor("500", Some(2), None), Err(NoCurrency));
    }

    #[test]
    fn major_units_convert_exactly_or_not_at_all() {
        check_major("19.99", "EUR", Ok(1999));
        check_major("19.9", "EUR", Ok(1990));
        check_major("19", "EUR", Ok(1900));
        check_major("19.990", "EUR", Ok(1999));
        check_major("19.999", "EUR", Err(TooFine));
        check_major("0.1", "EUR", Ok(10));
        check_major("0.29", "EUR", Ok(29));
        check_major("1.005", "KWD", Ok(1005));
        check_major("1000", "JPY", Ok(1000));
        check_major("1000.00", "JPY", Ok(1000));
        check_major("1000.50", "JPY", Err(TooFine));
        check_major("0.0000", "JPY", Ok(0));
        check_major("1.2345", "CLF", Ok(12345));
        check_major("92233720368547758.07", "EUR", Ok(i64::MAX));
        check_major("92233720368547758.08", "EUR", Err(TooLarge));
        check_major("-19.99", "EUR", Err(Negative));
        for text in [
            ".5", "5.", "1.2.3", "1,5", "", "1e", "e1", "1e1.5", "NaN", "Infinity", "1_0",
        ] {
            check_major(text, "EUR", Err(NotANumber));
        }
    }

    #[test]
    fn an_exponent_is_a_way_to_write_a_decimal() {
        // What Java prints for ten million.
        check_major("1.0E7", "EUR", Ok(1_000_000_000));
        check_major("1.5e3", "EUR", Ok(150_000));
        check_major("1e+2", "JPY", Ok(100));
        check_major("1999e-2", "EUR", Ok(1999));
        check_major("1e-3", "EUR", Err(TooFine));
        check_major("0e999", "EUR", Ok(0));
        check_major("1e999", "EUR", Err(TooLarge));
        check_major("1e1000", "EUR", Err(TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value in 0..=i64::MAX, code in "EUR|JPY|KWD|CLF") {
            let currency = currency(&code);
            let exponent = usize::from(currency.exponent());
            let digits = format!("{value:0width$}", width = exponent + 1);
            let (whole, fraction) = digits.split_at(digits.len() - exponent);
            let text = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(Amount::major(&text, currency), Ok(value));
            prop_assert_eq!(Amount::minor(&value.to_string(), None, None), Ok(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}|[0-9.eE+-]{0,80}") {
            let _ = Amount::major(&text, currency("EUR"));
            let _ = Amount::minor(&text, Some(3), Some(currency("JPY")));
        }
    }
}
