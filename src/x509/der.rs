//! Strict DER (X.690 §10): a reader that refuses what is not the one encoding, and a small writer.
//!
//! Every length and depth is bounded by the input; nothing here allocates by a length that a sender wrote.

/// Tags that certificates, requests and revocation lists are made of.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// A context-specific, primitive tag.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// A context-specific, constructed tag.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Deeper nesting than any certificate has.
const DEPTH_MAX: usize = 24;

/// Why bytes are not DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerFault {
    /// An element is longer than what holds it.
    #[error("it ends in the middle of an element")]
    Truncated,
    /// An indefinite length, or one that is not written in the fewest bytes.
    #[error("a length is not written the one way that DER allows")]
    Length,
    /// A tag of more than one byte, or one whose form its type forbids.
    #[error("tag {tag:#04x} is not allowed here")]
    Tag {
        /// The identifier byte that was found.
        tag: u8,
    },
    /// Bytes after the end.
    #[error("bytes follow after its end")]
    TrailingBytes,
    /// A value that is not in its canonical form.
    #[error("a value of tag {tag:#04x} is not in canonical form")]
    Value {
        /// The value's identifier byte.
        tag: u8,
    },
    /// Elements within elements without end.
    #[error("it is nested deeper than {DEPTH_MAX} levels")]
    Depth,
}

/// One tag, length and value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader of the elements inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader::new(self.contents)
    }
}

/// Reads elements one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever its tag.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, DerFault> {
        let input = self.rest;
        let (&tag, after_tag) = input.split_first().ok_or(DerFault::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerFault::Tag { tag });
        }
        let (&first, after_first) = after_tag.split_first().ok_or(DerFault::Truncated)?;
        let (length, value) = match first {
            0..=0x7f => (usize::from(first), after_first),
            0x81..=0x84 => {
                let (octets, value) = after_first
                    .split_at_checked(usize::from(first & 0x0f))
                    .ok_or(DerFault::Truncated)?;
                let length = octets
                    .iter()
                    .fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
                if length < 0x80 || octets.first() == Some(&0) {
                    return Err(DerFault::Length);
                }
                (length, value)
            }
            _ => return Err(DerFault::Length),
        };
        let (contents, rest) = value.split_at_checked(length).ok_or(DerFault::Truncated)?;
        let (whole, _) = input
            .split_at_checked(input.len() - rest.len())
            .ok_or(DerFault::Truncated)?;
        self.rest = rest;
        Ok(Element {
            tag,
            contents,
            whole,
        })
    }

    /// The next element, which must bear `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerFault> {
        let element = self.element()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(DerFault::Tag { tag: element.tag })
        }
    }

    /// The next element if it bears `tag`; otherwise nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerFault> {
        if self.rest.first() == Some(&tag) {
            self.element().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DerFault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DerFault::TrailingBytes)
        }
    }
}

/// Reads `input` as exactly one element with `tag`.
pub(crate) fn read_one(input: &[u8], tag: u8) -> Result<Element<'_>, DerFault> {
    let mut reader = Reader::new(input);
    let element = reader.expect(tag)?;
    reader.finish()?;
    Ok(element)
}

/// Checks that `input` is one element, canonical down to its last value.
pub(crate) fn check(input: &[u8]) -> Result<(), DerFault> {
    let mut reader = Reader::new(input);
    let element = reader.element()?;
    reader.finish()?;
    check_element(&element, DEPTH_MAX)
}

fn check_element(element: &Element<'_>, depth_left: usize) -> Result<(), DerFault> {
    let tag = element.tag;
    let constructed = tag & 0x20 != 0;
    let universal = tag & 0xc0 == 0;
    // Only SEQUENCE and SET are made of elements; a string in pieces is not DER.
    let has_elements = matches!(tag | 0x20, tag::SEQUENCE | tag::SET);
    if universal && (tag == 0 || constructed != has_elements) {
        return Err(DerFault::Tag { tag });
    }
    if constructed {
        let depth_left = depth_left.checked_sub(1).ok_or(DerFault::Depth)?;
        let mut reader = element.reader();
        while !reader.is_empty() {
            check_element(&reader.element()?, depth_left)?;
        }
        return Ok(());
    }
    if is_canonical(tag, element.contents) {
        Ok(())
    } else {
        Err(DerFault::Value { tag })
    }
}

fn is_canonical(tag: u8, contents: &[u8]) -> bool {
    match tag {
        tag::BOOLEAN => matches!(contents, [0x00 | 0xff]),
        tag::INTEGER | tag::ENUMERATED => match contents {
            [] => false,
            [_] => true,
            [0x00, next, ..] => next & 0x80 != 0,
            [0xff, next, ..] => next & 0x80 == 0,
            [..] => true,
        },
        tag::BIT_STRING => bits(contents).is_some(),
        tag::NULL => contents.is_empty(),
        tag::OID => {
            let mut at_start = true;
            for octet in contents {
                // A leading 0x80 pads an arc, which then has more than one encoding.
                if at_start && *octet == 0x80 {
                    return false;
                }
                at_start = octet & 0x80 == 0;
            }
            !contents.is_empty() && at_start
        }
        tag::UTF8_STRING => std::str::from_utf8(contents).is_ok(),
        tag::UTC_TIME => is_zulu(contents, 12),
        tag::GENERALIZED_TIME => is_zulu(contents, 14),
        _ => true,
    }
}

/// The form that RFC 5280 §4.1.2.5 prescribes: digits down to the second, then `Z`.
fn is_zulu(contents: &[u8], digits: usize) -> bool {
    match contents.split_last() {
        Some((b'Z', rest)) => rest.len() == digits && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A BIT STRING's contents as `(unused bits, octets)`, if the unused bits are zero.
pub(crate) fn bits(contents: &[u8]) -> Option<(u8, &[u8])> {
    let (&unused, octets) = contents.split_first()?;
    let padding = match octets.last() {
        None => return (unused == 0).then_some((0, octets)),
        Some(last) => *last,
    };
    let mask = 1u8.checked_shl(u32::from(unused))?.wrapping_sub(1);
    (unused < 8 && padding & mask == 0).then_some((unused, octets))
}

/// An element of `contents`.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    out.push(tag);
    let length = contents.len().to_be_bytes();
    let significant = length
        .iter()
        .position(|octet| *octet != 0)
        .and_then(|first| length.get(first..))
        .unwrap_or(&[0]);
    match significant {
        [short @ 0..=0x7f] => out.push(*short),
        long => {
            // A usize has at most eight octets.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// An element made of others.
pub(crate) fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// A SEQUENCE of elements.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    constructed(tag::SEQUENCE, parts)
}

/// A SET OF elements, in the order that DER demands.
pub(crate) fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    element(tag::SET, &parts.concat())
}

/// A non-negative INTEGER from its magnitude, most significant byte first.
pub(crate) fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let first = magnitude.iter().position(|octet| *octet != 0);
    let significant = first
        .and_then(|first| magnitude.get(first..))
        .unwrap_or(&[0]);
    let mut contents = Vec::with_capacity(significant.len() + 1);
    if significant.first().is_some_and(|octet| octet & 0x80 != 0) {
        contents.push(0);
    }
    contents.extend_from_slice(significant);
    element(tag::INTEGER, &contents)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(octets: &[u8]) -> Vec<u8> {
    element(tag::BIT_STRING, &[&[0], octets].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_canonical_is_refused() {
        for (bytes, fault) in [
            (&[0x30, 0x80, 0x00, 0x00][..], DerFault::Length),
            (&[0x04, 0x81, 0x01, 0x00], DerFault::Length),
            (&[0x04, 0x82, 0x00, 0x80], DerFault::Length),
            (&[0x04, 0x85, 1, 1, 1, 1, 1], DerFault::Length),
            (&[0x04, 0x02, 0x00], DerFault::Truncated),
            (&[0x04], DerFault::Truncated),
            (&[], DerFault::Truncated),
            (&[0x05, 0x00, 0x00], DerFault::TrailingBytes),
            (&[0x1f, 0x81, 0x00], DerFault::Tag { tag: 0x1f }),
            (&[0x24, 0x02, 0x04, 0x00], DerFault::Tag { tag: 0x24 }),
            (&[0x10, 0x00], DerFault::Tag { tag: 0x10 }),
            (&[0x01, 0x01, 0x01], DerFault::Value { tag: 0x01 }),
            (&[0x02, 0x02, 0x00, 0x7f], DerFault::Value { tag: 0x02 }),
            (&[0x02, 0x00], DerFault::Value { tag: 0x02 }),
            (&[0x03, 0x02, 0x01, 0x01], DerFault::Value { tag: 0x03 }),
            (&[0x03, 0x02, 0x08, 0x00], DerFault::Value { tag: 0x03 }),
            (&[0x06, 0x02, 0x80, 0x01], DerFault::Value { tag: 0x06 }),
            (&[0x06, 0x01, 0x81], DerFault::Value { tag: 0x06 }),
            (&[0x0c, 0x01, 0xff], DerFault::Value { tag: 0x0c }),
            (b"\x17\x0b2601010000Z", DerFault::Value { tag: 0x17 }),
            (b"\x17\x0d2601010000x0Z", DerFault::Value { tag: 0x17 }),
        ] {
            assert_eq!(check(bytes), Err(fault), "{bytes:02x?}");
        }
    }

    #[test]
    fn an_arc_may_hold_the_octet_that_may_not_begin_it() {
        assert_eq!(check(&[0x06, 0x04, 0x2a, 0x81, 0x80, 0x00]), Ok(()));
        assert!(check(&[0x06, 0x04, 0x2a, 0x80, 0x81, 0x00]).is_err());
    }

    #[test]
    fn one_element_is_read_of_nothing_but_one() {
        assert!(read_one(&[0x05, 0x00], tag::NULL).is_ok());
        let more = read_one(&[0x05, 0x00, 0x05, 0x00], tag::NULL);
        assert_eq!(more.map(|_| ()), Err(DerFault::TrailingBytes));
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut nested = vec![0x05, 0x00];
        for _ in 0..=DEPTH_MAX {
            nested = element(tag::SEQUENCE, &nested);
        }
        assert_eq!(check(&nested), Err(DerFault::Depth));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
        }

        #[test]
        fn what_is_written_is_canonical(contents in proptest::collection::vec(any::<u8>(), 0..400)) {
            let written = sequence(&[&unsigned(&contents), &bit_string(&contents), &element(tag::OCTET_STRING, &contents)]);
            prop_assert_eq!(check(&written), Ok(()));
        }
    }
}
