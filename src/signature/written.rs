//! A signature as it is written, and the bytes that it stands for.

use std::ops::Deref;

use base64::Engine as _;

use super::key::{BASE64, BASE64URL};
use super::profile::descriptor::Encoding;

/// A longer signature than anyone's, in bytes.
const BYTES_MAX: usize = 1024;
/// Room for every MAC, with what a decoder wants to spare.
const SHORT_BYTES_MAX: usize = 72;

/// A decoded signature. Those of MACs are short, and need no allocation.
#[derive(Clone, Debug)]
pub(super) enum Signature {
    Short {
        bytes: [u8; SHORT_BYTES_MAX],
        len: usize,
    },
    Long(Vec<u8>),
}

impl Deref for Signature {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { bytes, len } => bytes.get(..*len).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Encoding {
    /// The bytes of a written signature; `None` if it is not written so.
    pub(super) fn decode(self, text: &str) -> Option<Signature> {
        if text.is_empty() || text.len() > BYTES_MAX * 2 {
            return None;
        }
        match self {
            Self::Hex => of_hex(text.as_bytes()),
            Self::Base64 => of_base64(&BASE64, text),
            Self::Base64url => of_base64(&BASE64URL, text),
            Self::Base64OfHex => {
                let inner = BASE64.decode(text).ok()?;
                let lower_case = !inner.iter().any(u8::is_ascii_uppercase);
                lower_case.then(|| of_hex(&inner)).flatten()
            }
        }
    }

    /// Writes a signature as the provider does.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(bytes),
            Self::Base64url => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes),
            Self::Base64OfHex => {
                base64::engine::general_purpose::STANDARD.encode(hex::encode(bytes))
            }
        }
    }
}

fn of_base64(engine: &impl base64::Engine, text: &str) -> Option<Signature> {
    let mut bytes = [0; SHORT_BYTES_MAX];
    if text.len() <= SHORT_BYTES_MAX / 3 * 4 {
        let len = engine.decode_slice(text, &mut bytes).ok()?;
        return Some(Signature::Short { bytes, len });
    }
    engine.decode(text).ok().map(Signature::Long)
}

fn of_hex(text: &[u8]) -> Option<Signature> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let len = text.len() / 2;
    if len > SHORT_BYTES_MAX {
        return hex::decode(text).ok().map(Signature::Long);
    }
    // Sixteen digits at a time and without a branch for each, which become vector instructions.
    let mut bytes = [0; SHORT_BYTES_MAX];
    let mut wrong = 0;
    let (blocks, rest) = text.as_chunks::<16>();
    let (places, _) = bytes.as_chunks_mut::<8>();
    for (place, block) in places.iter_mut().zip(blocks) {
        wrong |= of_block(block, place);
    }
    if let Some(place) = places.get_mut(blocks.len())
        && !rest.is_empty()
    {
        let mut last = [b'0'; 16];
        for (digit, letter) in last.iter_mut().zip(rest) {
            *digit = *letter;
        }
        wrong |= of_block(&last, place);
    }
    (wrong == 0).then_some(Signature::Short { bytes, len })
}

/// Eight bytes from their digits; not 0 if one of these is none.
fn of_block(block: &[u8; 16], place: &mut [u8; 8]) -> u8 {
    let digits = block.map(|letter| value_of(letter).0);
    let wrong = block.map(|letter| value_of(letter).1);
    let (pairs, _) = digits.as_chunks::<2>();
    for (byte, [high, low]) in place.iter_mut().zip(pairs) {
        *byte = high << 4 | low;
    }
    wrong.into_iter().fold(0, |all, one| all | one)
}

/// The value of a hexadecimal digit in either case, and 1 if it is none.
fn value_of(letter: u8) -> (u8, u8) {
    let decimal = letter.wrapping_sub(b'0');
    let other = (letter | 0x20).wrapping_sub(b'a');
    let is_decimal = decimal < 10;
    let value = if is_decimal {
        decimal
    } else {
        other.wrapping_add(10)
    };
    (value & 0x0f, u8::from(!is_decimal && other >= 6))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signatures_are_decoded_strictly() {
        let check = |encoding: Encoding, text: &str, expected: Option<&[u8]>| {
            assert_eq!(
                encoding.decode(text).as_deref(),
                expected,
                "{encoding:?} {text}"
            );
        };
        check(Encoding::Hex, "0aFf", Some(&[10, 255]));
        check(Encoding::Hex, "0aF", None);
        check(Encoding::Hex, "0x0a", None);
        check(Encoding::Hex, "", None);
        check(Encoding::Base64, "YQ==", Some(b"a"));
        check(Encoding::Base64, "YQ", Some(b"a"));
        check(Encoding::Base64, "YR==", None);
        check(Encoding::Base64, "_-8=", None);
        check(Encoding::Base64url, "_-8=", Some(&[255, 239]));
        check(Encoding::Base64url, "_-8", Some(&[255, 239]));
        check(Encoding::Base64OfHex, "MGFmZg==", Some(&[10, 255]));
        check(Encoding::Base64OfHex, "MEFGRg==", None);
    }

    #[test]
    fn every_letter_is_a_digit_or_none() {
        for letter in 0..=u8::MAX {
            let text = [letter, b'0'];
            let own = of_hex(&text).map(|bytes| bytes.to_vec());
            assert_eq!(own, hex::decode(text).ok(), "{letter:#x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in proptest::collection::vec(0_u8.., 1..600)) {
            for encoding in [Encoding::Hex, Encoding::Base64, Encoding::Base64url, Encoding::Base64OfHex] {
                let text = encoding.encode(&bytes);
                let read = encoding.decode(&text);
                let fits = text.len() <= BYTES_MAX * 2;
                prop_assert_eq!(read.as_deref(), fits.then_some(&*bytes), "{:?}", encoding);
            }
        }
    }
}
