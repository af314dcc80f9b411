//! A signature as it is written, and the bytes that it stands for.

use std::ops::Deref;

use base64::Engine as _;

use super::key::{BASE64, BASE64URL};
use super::profile::descriptor::Encoding;

/// A longer signature than anyone's, in bytes.
const BYTES_MAX: usize = 1024;
/// Room for every MAC, with what a decoder wants to spare.
const SHORT_BYTES_MAX: usize = 80;
/// How many digits are read at a time: they become one vector of bytes, which is stored and read again whole.
const BLOCK_DIGITS: usize = 32;

/// A decoded signature. Those of MACs are short, and need no allocation; each is read into its place, for to move it there would
/// cost as much as to read it.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    short: [u8; SHORT_BYTES_MAX],
    len: usize,
    long: Option<Vec<u8>>,
}

impl Deref for Signature {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.long {
            Some(long) => long,
            None => self.short.get(..self.len).unwrap_or_default(),
        }
    }
}

impl Signature {
    /// Room for one.
    pub(super) fn unread() -> Self {
        Self {
            short: [0; SHORT_BYTES_MAX],
            len: 0,
            long: None,
        }
    }

    /// Reads the bytes of a written signature; `None` if it is not written so.
    pub(super) fn read(&mut self, text: &[u8], encoding: Encoding) -> Option<()> {
        if text.is_empty() || text.len() > BYTES_MAX * 2 {
            return None;
        }
        match encoding {
            Encoding::Hex => self.read_hex(text),
            Encoding::Base64 => self.read_base64(&BASE64, text),
            Encoding::Base64url => self.read_base64(&BASE64URL, text),
            Encoding::Base64OfHex => {
                let inner = BASE64.decode(text).ok()?;
                let upper_case = inner.iter().any(u8::is_ascii_uppercase);
                (!upper_case).then(|| self.read_hex(&inner))?
            }
        }
    }

    fn read_base64(&mut self, engine: &impl base64::Engine, text: &[u8]) -> Option<()> {
        if text.len() <= SHORT_BYTES_MAX / 3 * 4 {
            self.len = engine.decode_slice(text, &mut self.short).ok()?;
        } else {
            self.long = Some(engine.decode(text).ok()?);
        }
        Some(())
    }

    fn read_hex(&mut self, text: &[u8]) -> Option<()> {
        if text.is_empty() || !text.len().is_multiple_of(2) {
            return None;
        }
        self.len = text.len() / 2;
        if self.len > SHORT_BYTES_MAX {
            self.long = Some(hex::decode(text).ok()?);
            return Some(());
        }
        // A block at a time and without a branch for each digit, which become vector instructions.
        let mut wrong = 0;
        let (blocks, rest) = text.as_chunks::<BLOCK_DIGITS>();
        let (places, _) = self.short.as_chunks_mut::<{ BLOCK_DIGITS / 2 }>();
        for (place, block) in places.iter_mut().zip(blocks) {
            wrong |= of_block(block, place);
        }
        if let Some(place) = places.get_mut(blocks.len())
            && !rest.is_empty()
        {
            let mut last = [b'0'; BLOCK_DIGITS];
            for (digit, letter) in last.iter_mut().zip(rest) {
                *digit = *letter;
            }
            wrong |= of_block(&last, place);
        }
        (wrong == 0).then_some(())
    }
}

impl Encoding {
    /// The bytes of a written signature; `None` if it is not written so.
    pub(super) fn decode(self, text: &str) -> Option<Signature> {
        let mut signature = Signature::unread();
        signature.read(text.as_bytes(), self)?;
        Some(signature)
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

/// The bytes of a block of digits; not 0 if one of these is none.
fn of_block(block: &[u8; BLOCK_DIGITS], place: &mut [u8; BLOCK_DIGITS / 2]) -> u8 {
    let mut wrong = 0;
    for letter in block {
        wrong |= value_of(*letter).1;
    }
    let (pairs, _) = block.as_chunks::<2>();
    for (byte, [high, low]) in place.iter_mut().zip(pairs) {
        *byte = value_of(*high).0 << 4 | value_of(*low).0;
    }
    wrong
}

/// The value of a hexadecimal digit in either case, and 1 if it is none.
fn value_of(letter: u8) -> (u8, u8) {
    let is_decimal = letter.wrapping_sub(b'0') < 10;
    let is_other = (letter | 0x20).wrapping_sub(b'a') < 6;
    // Of a digit above 9 the low bits count from 1, and bit 6 is set.
    let value = (letter & 0x0f) + (letter >> 6) * 9;
    (value & 0x0f, u8::from(!is_decimal & !is_other))
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
            let mut signature = Signature::unread();
            let read = signature.read_hex(&text);
            let own = read.map(|()| signature.to_vec());
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
