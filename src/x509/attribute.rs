//! Attribute types and values: what a relative distinguished name is made of.

use std::fmt;

use super::der::{self, tag};

/// More octets than any registered object identifier has.
const OID_OCTETS_MAX: usize = 64;

/// How the value of an attribute is written when a certificate is made (RFC 5280, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Utf8,
    Printable,
    Ia5,
}

/// Every type that is known by name: dotted notation, the name that is printed, other names that are read.
#[rustfmt::skip]
const NAMED: &[(&str, &str, &[&str], Written)] = &[
    ("2.5.4.3", "CN", &["commonName"], Written::Utf8),
    ("2.5.4.4", "SN", &["surname"], Written::Utf8),
    ("2.5.4.5", "serialNumber", &[], Written::Printable),
    ("2.5.4.6", "C", &["countryName"], Written::Printable),
    ("2.5.4.7", "L", &["localityName"], Written::Utf8),
    ("2.5.4.8", "ST", &["S", "stateOrProvinceName"], Written::Utf8),
    ("2.5.4.9", "STREET", &["streetAddress"], Written::Utf8),
    ("2.5.4.10", "O", &["organizationName"], Written::Utf8),
    ("2.5.4.11", "OU", &["organizationalUnitName"], Written::Utf8),
    ("2.5.4.12", "title", &["T"], Written::Utf8),
    ("2.5.4.13", "description", &[], Written::Utf8),
    ("2.5.4.15", "businessCategory", &[], Written::Utf8),
    ("2.5.4.17", "postalCode", &[], Written::Utf8),
    ("2.5.4.41", "name", &[], Written::Utf8),
    ("2.5.4.42", "GN", &["givenName"], Written::Utf8),
    ("2.5.4.43", "initials", &[], Written::Utf8),
    ("2.5.4.44", "generationQualifier", &[], Written::Utf8),
    ("2.5.4.46", "dnQualifier", &[], Written::Printable),
    ("2.5.4.65", "pseudonym", &[], Written::Utf8),
    ("2.5.4.97", "organizationIdentifier", &[], Written::Utf8),
    ("0.9.2342.19200300.100.1.1", "UID", &["userId"], Written::Utf8),
    ("0.9.2342.19200300.100.1.3", "mail", &["rfc822Mailbox"], Written::Ia5),
    ("0.9.2342.19200300.100.1.25", "DC", &["domainComponent"], Written::Ia5),
    ("1.2.840.113549.1.9.1", "emailAddress", &["E", "EMAIL"], Written::Ia5),
    ("1.2.840.113549.1.9.2", "unstructuredName", &[], Written::Utf8),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL", &["jurisdictionLocalityName"], Written::Utf8),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST", &["jurisdictionStateOrProvinceName"], Written::Utf8),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC", &["jurisdictionCountryName"], Written::Printable),
];

/// An attribute's type: an object identifier, at most 64 octets of DER.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttributeType(Box<[u8]>);

impl AttributeType {
    /// Reads a name (`CN`, `commonName`, in any case) or dotted notation (`2.5.4.3`, `OID.2.5.4.3`).
    pub fn parse(text: &str) -> Option<Self> {
        let named = NAMED.iter().find(|(_, name, others, _)| {
            name.eq_ignore_ascii_case(text)
                || others.iter().any(|other| other.eq_ignore_ascii_case(text))
        });
        if let Some((dotted, ..)) = named {
            return encode_oid(dotted).map(Self);
        }
        let dotted = match text.split_at_checked(4) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("oid.") => rest,
            Some(_) | None => text,
        };
        encode_oid(dotted).map(Self)
    }

    /// The name that is printed, for a type that has one.
    pub fn name(&self) -> Option<&'static str> {
        self.named().map(|(_, name, ..)| *name)
    }

    /// From an OBJECT IDENTIFIER's contents.
    pub(crate) fn decode(contents: &[u8]) -> Option<Self> {
        // What cannot be written in dotted notation could not be printed without loss.
        decode_oid(contents)?;
        Some(Self(contents.into()))
    }

    pub(crate) fn contents(&self) -> &[u8] {
        &self.0
    }

    fn named(
        &self,
    ) -> Option<&'static (&'static str, &'static str, &'static [&'static str], Written)> {
        let dotted = decode_oid(&self.0)?;
        NAMED.iter().find(|(known, ..)| *known == dotted)
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => f.write_str(&decode_oid(&self.0).unwrap_or_default()),
        }
    }
}

/// An attribute's value. How a text was encoded is not part of it: RFC 5280 §7.1 compares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// The decoded text of any of the string types.
    Text(Box<str>),
    /// The whole DER of a value that is no text.
    Der(Box<[u8]>),
}

impl AttributeValue {
    /// From one whole DER element.
    pub(crate) fn decode(tag: u8, contents: &[u8], whole: &[u8]) -> Self {
        decode_text(tag, contents).map_or_else(
            || Self::Der(whole.into()),
            |text| Self::Text(text.into_boxed_str()),
        )
    }

    /// As DER, in the string type that RFC 5280 wants for `kind`.
    pub(crate) fn encode(&self, kind: &AttributeType) -> Vec<u8> {
        match self {
            Self::Der(whole) => whole.to_vec(),
            Self::Text(text) => {
                let wanted = kind.named().map_or(Written::Utf8, |named| named.3);
                let string_tag = match wanted {
                    Written::Printable if text.bytes().all(is_printable) => tag::PRINTABLE_STRING,
                    Written::Ia5 if text.is_ascii() => tag::IA5_STRING,
                    Written::Utf8 | Written::Printable | Written::Ia5 => tag::UTF8_STRING,
                };
                der::element(string_tag, text.as_bytes())
            }
        }
    }
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

fn decode_text(string_tag: u8, contents: &[u8]) -> Option<String> {
    match string_tag {
        tag::UTF8_STRING => String::from_utf8(contents.to_vec()).ok(),
        tag::PRINTABLE_STRING | tag::NUMERIC_STRING | tag::IA5_STRING | tag::VISIBLE_STRING => {
            contents
                .is_ascii()
                .then(|| contents.iter().copied().map(char::from).collect())
        }
        // T.61 in certificates is Latin-1 in practice, and OpenSSL reads it so.
        tag::TELETEX_STRING => Some(contents.iter().copied().map(char::from).collect()),
        tag::BMP_STRING => {
            let (pairs, rest) = contents.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().copied().map(u16::from_be_bytes).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        tag::UNIVERSAL_STRING => {
            let (quads, rest) = contents.as_chunks::<4>();
            if !rest.is_empty() {
                return None;
            }
            quads
                .iter()
                .copied()
                .map(|quad| char::from_u32(u32::from_be_bytes(quad)))
                .collect()
        }
        _ => None,
    }
}

/// Dotted notation to an OBJECT IDENTIFIER's contents.
fn encode_oid(dotted: &str) -> Option<Box<[u8]>> {
    let arcs: Vec<u128> = dotted.split('.').map(parse_arc).collect::<Option<_>>()?;
    let [first, second, rest @ ..] = arcs.as_slice() else {
        return None;
    };
    if *first > 2 || (*first < 2 && *second > 39) {
        return None;
    }
    let mut contents = Vec::new();
    push_arc(&mut contents, second.checked_add(first * 40)?);
    for arc in rest {
        push_arc(&mut contents, *arc);
    }
    (contents.len() <= OID_OCTETS_MAX).then(|| contents.into())
}

fn parse_arc(text: &str) -> Option<u128> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok())?
}

fn push_arc(contents: &mut Vec<u8>, arc: u128) {
    let septets = (128 - arc.leading_zeros()).div_ceil(7).max(1);
    for index in (0..septets).rev() {
        let septet = u8::try_from((arc >> (7 * index)) & 0x7f).unwrap_or(0);
        contents.push(if index == 0 { septet } else { septet | 0x80 });
    }
}

/// An OBJECT IDENTIFIER's contents in dotted notation.
fn decode_oid(contents: &[u8]) -> Option<String> {
    if contents.is_empty() || contents.len() > OID_OCTETS_MAX {
        return None;
    }
    let mut dotted = String::new();
    let mut arc: u128 = 0;
    let mut in_arc = false;
    for octet in contents {
        if (!in_arc && *octet == 0x80) || arc >> 121 != 0 {
            return None;
        }
        arc = (arc << 7) | u128::from(octet & 0x7f);
        in_arc = octet & 0x80 != 0;
        if in_arc {
            continue;
        }
        if dotted.is_empty() {
            let first = (arc / 40).min(2);
            dotted = format!("{first}.{}", arc - first * 40);
        } else {
            dotted.push('.');
            dotted.push_str(&arc.to_string());
        }
        arc = 0;
    }
    (!in_arc).then_some(dotted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_named_type_is_found_by_each_of_its_names() {
        for (dotted, name, others, _) in NAMED {
            let kind = AttributeType::parse(dotted).unwrap();
            assert_eq!(kind.name(), Some(*name));
            for other in others.iter().chain([name]) {
                assert_eq!(
                    AttributeType::parse(&other.to_lowercase()),
                    Some(kind.clone())
                );
            }
            assert_eq!(AttributeType::parse(&format!("OID.{dotted}")), Some(kind));
        }
    }

    #[test]
    fn what_is_no_object_identifier_is_refused() {
        for text in [
            "",
            "1",
            "3.1",
            "1.40",
            "1.2.",
            "1..2",
            "1.02",
            "1.+2",
            "1.2.x",
            "2.340282366920938463463374607431768211455",
        ] {
            assert_eq!(AttributeType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_type_that_has_no_dotted_notation_of_its_own_is_none() {
        let longest = [0x2a; OID_OCTETS_MAX];
        assert!(AttributeType::decode(&longest).is_some());
        let arc_of_128_bits = [&[0x2a, 0x83][..], &[0xff; 17], &[0x7f]].concat();
        assert!(AttributeType::decode(&arc_of_128_bits).is_some());
        let arc_of_129_bits = [&[0x2a, 0x84][..], &[0x80; 17], &[0x00]].concat();
        for contents in [
            &[][..],
            &[0x55, 0x04, 0x80, 0x03],
            &[0x55, 0x04, 0x83],
            &[0x2a; OID_OCTETS_MAX + 1],
            &arc_of_129_bits,
        ] {
            let decoded = AttributeType::decode(contents);
            assert_eq!(decoded, None, "{contents:02x?}");
        }
    }

    proptest! {
        #[test]
        fn dotted_notation_survives_the_round_trip(first in 0u128..3, second in 0u128..40, rest in proptest::collection::vec(any::<u64>(), 0..5)) {
            let dotted = rest.iter().fold(format!("{first}.{second}"), |text, arc| format!("{text}.{arc}"));
            let contents = encode_oid(&dotted).unwrap();
            prop_assert_eq!(decode_oid(&contents), Some(dotted));
        }
    }
}
