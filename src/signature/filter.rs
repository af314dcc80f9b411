//! Filters: what a template may make of a value before it is signed.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::mapping;

/// One filter; the descriptor's page tells what each does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    Base64,
    Sha256Base64,
    Sha256Hex,
    Crc32,
    Upper,
    Lower,
    Quoted,
    Mac,
    After(Box<str>),
    /// The value as it is, unless it holds this text.
    Without(Box<str>),
    /// The value as it is, if it is written so.
    Is(Shape),
}

/// How a value is written. Where signed values stand side by side, their shapes tell where one ends: else what one signature covers
/// could be cut up into other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Digits, with a fraction perhaps: `19.99`.
    Amount,
    /// Three letters.
    Currency,
    /// Letters and underscores.
    Word,
    /// A date and time to the second, of nineteen characters.
    DateTime,
    /// A date and time to the millisecond, of which zeros at the end may be left out, or Unix seconds: neither begins as the other does.
    DatetimeMsOrS,
    /// Unix seconds, of ten digits.
    Unix,
    /// Anything that does not begin with a digit.
    NoDigitFirst,
}

impl Shape {
    pub(super) const NAMES: &str =
        "amount, currency, word, datetime, datetime-ms-or-s, unix, no-digit-first";

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "amount" => Self::Amount,
            "currency" => Self::Currency,
            "word" => Self::Word,
            "datetime" => Self::DateTime,
            "datetime-ms-or-s" => Self::DatetimeMsOrS,
            "unix" => Self::Unix,
            "no-digit-first" => Self::NoDigitFirst,
            _ => return None,
        })
    }

    pub(super) fn fits(self, text: &str) -> bool {
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Amount => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
                digits(whole) && digits(fraction)
            }
            Self::Currency => {
                text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
            }
            Self::Word => {
                let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
                !text.is_empty() && text.bytes().all(letter)
            }
            // Of one length, or digits beside it could be a part of it.
            Self::DateTime => {
                text.len() == 19 && !digits(text) && mapping::occurred::parse(text, None).is_some()
            }
            Self::DatetimeMsOrS => {
                let cut = text.split_once('.');
                let cut = cut.filter(|(_, parts)| (1..=3).contains(&parts.len()));
                let is_datetime = |(time, parts)| Self::DateTime.fits(time) && digits(parts);
                cut.is_some_and(is_datetime) || Self::Unix.fits(text)
            }
            Self::Unix => text.len() == 10 && digits(text),
            Self::NoDigitFirst => !text.starts_with(|first: char| first.is_ascii_digit()),
        }
    }
}

impl Filter {
    /// Whether two values never look the same behind the filter.
    pub(super) fn tells_apart(&self) -> bool {
        match self {
            Self::Base64 | Self::Sha256Base64 | Self::Sha256Hex | Self::Quoted | Self::Mac => true,
            Self::Without(_) | Self::Is(_) => true,
            // Of a name or a word the letters of another case are the same letters; of a document they are not, and its template
            // sees to that.
            Self::Upper | Self::Lower => true,
            Self::Crc32 | Self::After(_) => false,
        }
    }

    /// The filter that stands before a value under this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64" => Self::Base64,
            "sha256_base64" => Self::Sha256Base64,
            "sha256_hex" => Self::Sha256Hex,
            "crc32" => Self::Crc32,
            "upper" => Self::Upper,
            "lower" => Self::Lower,
            "quoted" => Self::Quoted,
            "mac" => Self::Mac,
            _ => return None,
        })
    }

    /// The filter that stands behind a value, as `after:/`; `None` if there is no such one.
    pub(super) fn behind(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            (_, "") => None,
            ("after", mark) => Some(Self::After(mark.into())),
            ("without", text) => Some(Self::Without(text.into())),
            ("is", shape) => Shape::named(shape).map(Self::Is),
            (_, _) => None,
        }
    }

    /// What it makes of `bytes`; `None` if they are not what it can take.
    pub(super) fn apply<'a>(
        &self,
        bytes: Cow<'a, [u8]>,
        mac: &dyn Fn(&[u8]) -> Option<String>,
    ) -> Option<Cow<'a, [u8]>> {
        let text = match self {
            Self::Base64 => STANDARD.encode(&bytes),
            Self::Sha256Base64 => STANDARD.encode(Sha256::digest(&bytes)),
            Self::Sha256Hex => hex::encode(Sha256::digest(&bytes)),
            Self::Crc32 => crc32(&bytes).to_string(),
            Self::Upper => return Some(Cow::Owned(bytes.to_ascii_uppercase())),
            Self::Lower => return Some(Cow::Owned(bytes.to_ascii_lowercase())),
            Self::After(mark) => {
                return Some(Cow::Owned(after_last(&bytes, mark.as_bytes()).to_vec()));
            }
            Self::Without(text) => {
                let holds = bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes());
                return (!holds).then_some(bytes);
            }
            Self::Is(shape) => {
                let fits = std::str::from_utf8(&bytes).is_ok_and(|text| shape.fits(text));
                return fits.then_some(bytes);
            }
            Self::Quoted => serde_json::to_string(std::str::from_utf8(&bytes).ok()?).ok()?,
            Self::Mac => mac(&bytes)?,
        };
        Some(Cow::Owned(text.into_bytes()))
    }
}

fn after_last<'a>(bytes: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let at = bytes
        .windows(mark.len().max(1))
        .rposition(|window| window == mark);
    at.and_then(|at| bytes.get(at + mark.len()..))
        .unwrap_or(bytes)
}

/// CRC-32 as in zlib (PayPal signs it instead of the body); no proof of anything by itself.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_value_passes_if_it_has_its_shape() {
        let check = |filter: &str, text: &str, expected: bool| {
            let passed = Filter::behind(filter)
                .unwrap()
                .apply(Cow::Borrowed(text.as_bytes()), &|_| None);
            assert_eq!(passed.is_some(), expected, "{filter} {text:?}");
            assert!(passed.is_none_or(|passed| *passed == *text.as_bytes()));
        };
        for (filter, right, wrong) in [
            (
                "is:amount",
                &["0", "10.00"][..],
                &["", "1.", ".5", "-1", "1e3", "10.00 ", "1,0"][..],
            ),
            (
                "is:currency",
                &["EUR", "jpy"],
                &["", "EU", "EURO", "E1R", "\u{e9}U"],
            ),
            (
                "is:word",
                &["ACCEPTED", "in_part"],
                &["", "0ACCEPTED", "A B"],
            ),
            (
                "is:datetime",
                &[
                    "2026-11-26.13:40:10",
                    "2026-11-26T13:40:10",
                    "2026-11-26 13:40:10",
                ],
                &[
                    "",
                    "2026-11-26.13:40",
                    "2026-11-26.13:40:1",
                    "2026-11-26.13:40:101",
                    "2026-11-26T13:40:10Z",
                    "1790000000123456789",
                ],
            ),
            (
                "is:datetime-ms-or-s",
                &[
                    "2026-11-26 13:40:10.558",
                    "2026-11-26T13:40:10.000",
                    "2026-11-26 13:40:10.55",
                    "2026-11-26 13:40:10.0",
                    "1790000000",
                ],
                &[
                    "",
                    "2026-11-26 13:40:10",
                    "2026-11-26 13:40:10.",
                    "2026-11-26 13:40:10.5581",
                    "2026-11-26 13:40:10.55Z",
                    "2026-11-26 13:40:61.558",
                    "2026-11-26.13:40:10.558",
                    "17900000000",
                    "179000000",
                ],
            ),
            (
                "is:unix",
                &["1790000000"],
                &[
                    "",
                    "179000000",
                    "17900000001",
                    "1790000000123",
                    "+790000000",
                ],
            ),
            (
                "is:no-digit-first",
                &["", "productId=1", "{}", "\u{e9}"],
                &["3dStatus=1", "0"],
            ),
            ("without::", &["", "a"], &[":", "a:b"]),
        ] {
            right.iter().for_each(|text| check(filter, text, true));
            wrong.iter().for_each(|text| check(filter, text, false));
        }
        for unknown in ["after:", "after", "is:number", "within:1"] {
            assert_eq!(Filter::behind(unknown), None, "{unknown}");
        }
    }
}
