//! A number of JSON as the usual languages write it once they have read it: most make a float of it.
//!
//! Sources: ECMA-262 §6.1.6.1.20 (Number::toString), and what Python's `repr` of a float prints. For explaining a
//! signature alone: no amount ever becomes a float.

/// As JavaScript writes it, and Go and PHP as well: 19 for 19.0, 100 for 1e2. `None` where it is beyond a float.
pub(super) fn javascript(number: &str) -> Option<String> {
    let Decimal {
        negative,
        digits,
        exponent,
    } = Decimal::read(number)?;
    let count = i32::try_from(digits.len()).ok()?;
    let text = match exponent {
        -6..=-1 => format!("0.{}{digits}", zeros(-exponent - 1)),
        0..=20 if exponent + 1 >= count => format!("{digits}{}", zeros(exponent + 1 - count)),
        0..=20 => {
            let (whole, fraction) = digits.split_at_checked(usize::try_from(exponent).ok()? + 1)?;
            format!("{whole}.{fraction}")
        }
        beyond => scientific(&digits, beyond, 1)?,
    };
    // Zero has no sign there.
    let sign = if negative && digits != "0" { "-" } else { "" };
    Some(format!("{sign}{text}"))
}

/// As Python writes it, and Ruby and Java up to their exponents: an integer stays, 1.50 becomes 1.5 and 1e2 100.0.
pub(super) fn python(number: &str) -> Option<String> {
    if !number.contains(['.', 'e', 'E']) {
        // Only the sign of a zero is lost.
        let text = if number == "-0" { "0" } else { number };
        return Some(text.to_owned());
    }
    let Decimal {
        negative,
        digits,
        exponent,
    } = Decimal::read(number)?;
    let count = i32::try_from(digits.len()).ok()?;
    let text = match exponent {
        -4..=-1 => format!("0.{}{digits}", zeros(-exponent - 1)),
        0..=15 if exponent + 1 >= count => format!("{digits}{}.0", zeros(exponent + 1 - count)),
        0..=15 => {
            let (whole, fraction) = digits.split_at_checked(usize::try_from(exponent).ok()? + 1)?;
            format!("{whole}.{fraction}")
        }
        beyond => scientific(&digits, beyond, 2)?,
    };
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{text}"))
}

/// The fewest digits that stand for the same float: `d.ddd` times ten to the power of `exponent`.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    fn read(number: &str) -> Option<Self> {
        let float: f64 = number.parse().ok()?;
        if !float.is_finite() {
            return None;
        }
        let written = format!("{:e}", float.abs());
        let (mantissa, exponent) = written.split_once('e')?;
        Some(Self {
            negative: float.is_sign_negative(),
            digits: mantissa.replace('.', ""),
            exponent: exponent.parse().ok()?,
        })
    }
}

fn scientific(digits: &str, exponent: i32, exponent_digits_min: usize) -> Option<String> {
    let (first, rest) = digits.split_at_checked(1)?;
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let power = exponent.unsigned_abs();
    Some(format!(
        "{first}{point}{rest}e{sign}{power:0exponent_digits_min$}"
    ))
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_the_languages_do() {
        // Each as `node -p` and as `python3 -c` print it.
        for (number, in_javascript, in_python) in [
            ("0", "0", "0"),
            ("-0", "0", "0"),
            ("-0.0", "0", "-0.0"),
            ("19", "19", "19"),
            ("19.0", "19", "19.0"),
            ("1.50", "1.5", "1.5"),
            ("1e2", "100", "100.0"),
            ("-2E+2", "-200", "-200.0"),
            ("0.001", "0.001", "0.001"),
            ("123e-3", "0.123", "0.123"),
            ("0.00001", "0.00001", "1e-05"),
            ("0.000001", "0.000001", "1e-06"),
            ("0.00000015", "1.5e-7", "1.5e-07"),
            ("1e15", "1000000000000000", "1000000000000000.0"),
            ("1e16", "10000000000000000", "1e+16"),
            ("1.25e20", "125000000000000000000", "1.25e+20"),
            ("1e21", "1e+21", "1e+21"),
            (
                "12345678901234567890",
                "12345678901234567000",
                "12345678901234567890",
            ),
            ("5e-324", "5e-324", "5e-324"),
            (
                "1.7976931348623157e308",
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
        ] {
            assert_eq!(
                javascript(number).as_deref(),
                Some(in_javascript),
                "{number}"
            );
            assert_eq!(python(number).as_deref(), Some(in_python), "{number}");
        }
        assert_eq!(javascript("1e999"), None);
        assert_eq!(python("1e999"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_same_float(number in "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?") {
            let float: f64 = number.parse().unwrap();
            for written in [javascript(&number), python(&number)].into_iter().flatten() {
                prop_assert_eq!(written.parse::<f64>().unwrap(), float, "{}", written);
            }
        }
    }
}
