//! Serial numbers, as certificates and revocation lists have them.

use std::fmt;
use std::str::FromStr;

/// Longer than RFC 5280 §4.1.2.2 allows (20), as some issuers do not know of it.
pub(super) const OCTETS_MAX: usize = 32;

/// What the serial numbers of certificates that a rehearsal makes begin with: `rehearsal` in ASCII, and random octets behind it up to the
/// 20 that RFC 5280 allows. A serial number stands in a certificate of any version, in every row and list that knows it, and is its CA's
/// alone to choose, where an extension may be taken over from a request.
pub(crate) const OF_A_REHEARSAL: [u8; 9] = *b"rehearsal";
/// How long such a one is.
pub(crate) const OF_A_REHEARSAL_OCTETS: usize = 20;

/// A serial number; `Display` is lower-case hex without separators, as `openssl x509 -serial` less its case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// From an INTEGER's contents, at most 32 octets.
    pub(crate) fn decode(contents: &[u8]) -> Option<Self> {
        (1..=OCTETS_MAX)
            .contains(&contents.len())
            .then(|| Self(contents.into()))
    }

    /// The INTEGER's contents: big-endian two's complement in the fewest bytes.
    pub fn contents(&self) -> &[u8] {
        &self.0
    }

    /// Whether its certificate was made for a rehearsal: nobody has it in use.
    pub fn is_of_a_rehearsal(&self) -> bool {
        self.0.len() == OF_A_REHEARSAL_OCTETS && self.0.starts_with(&OF_A_REHEARSAL)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [0, rest @ ..] if !rest.is_empty() => f.write_str(&hex::encode(rest)),
            [first, ..] if first & 0x80 != 0 => {
                // Negative serials are forbidden, and exist.
                let mut magnitude: Vec<u8> = self.0.iter().map(|octet| !octet).collect();
                for octet in magnitude.iter_mut().rev() {
                    let (sum, carried) = octet.overflowing_add(1);
                    *octet = sum;
                    if !carried {
                        break;
                    }
                }
                write!(f, "-{}", hex::encode(magnitude))
            }
            octets => f.write_str(&hex::encode(octets)),
        }
    }
}

/// A text that is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is written in hex, as `openssl x509 -serial` prints it")]
pub struct NotASerial;

impl FromStr for Serial {
    type Err = NotASerial;

    /// Reads hex in either case, with or without colons or `0x`.
    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let digits = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
        let padded = if digits.len().is_multiple_of(2) {
            digits
        } else {
            format!("0{digits}")
        };
        let magnitude = hex::decode(padded).ok().filter(|octets| !octets.is_empty());
        let magnitude = magnitude.ok_or(NotASerial)?;
        let integer = super::der::unsigned(&magnitude);
        // A tag and one byte of length come before the contents of so short an integer.
        integer.get(2..).and_then(Self::decode).ok_or(NotASerial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_printed_as_openssl_prints_it() {
        for (contents, printed) in [
            (&[0x00][..], "00"),
            (&[0x01], "01"),
            (&[0x00, 0xff], "ff"),
            (&[0x12, 0x34], "1234"),
            (&[0xff], "-01"),
            (&[0xff, 0x00], "-0100"),
        ] {
            assert_eq!(Serial::decode(contents).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_serial_is_read_as_tools_print_it() {
        let serial = Serial::decode(&[0x00, 0xab, 0xcd]).unwrap();
        for text in ["ABCD", "abcd", "AB:CD", "0xabcd", "00abcd"] {
            assert_eq!(text.parse(), Ok(serial.clone()), "{text}");
        }
        for text in ["", ":", "xyz", "-01", &"ab".repeat(40)] {
            assert_eq!(text.parse::<Serial>(), Err(NotASerial), "{text}");
        }
    }

    #[test]
    fn a_serial_is_of_a_rehearsal_if_it_begins_so_and_is_as_long() {
        let check = |text: &str, octets: usize| {
            let contents = text.bytes().chain(1..).take(octets);
            let serial = Serial::decode(&contents.collect::<Vec<_>>()).unwrap();
            // As rows have it.
            let read: Serial = serial.to_string().parse().unwrap();
            assert_eq!(read, serial);
            serial.is_of_a_rehearsal()
        };
        assert!(check("rehearsal", 20));
        for (text, octets) in [
            ("rehearsal", 19),
            ("rehearsal", 21),
            ("rehearse", 20),
            ("", 20),
        ] {
            assert!(!check(text, octets), "{text} {octets}");
        }
    }
}
