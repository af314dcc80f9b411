//! X.500 names, compared attribute by attribute (RFC 5280 §7.1) and printed as RFC 4514 has them.
//!
//! Two names match if each attribute has the same type and the same value, whatever the case and the runs of
//! white space, in either order of the relative names. It is narrower than RFC 4518 on purpose: no character
//! is dropped and none is replaced by a compatible one, so a name with a NUL, a zero-width space or full-width
//! letters is another name.

use std::fmt;
use std::sync::Arc;

use super::attribute::{AttributeType, AttributeValue};
use super::der::{self, DerFault, Reader, tag};

/// More relative names, or attributes within one, than any directory has levels.
pub(crate) const PARTS_MAX: usize = 64;

/// A distinguished name: its relative names in the order of the encoding. It has at least one, unless it was decoded
/// from a certificate whose subject is empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    rdns: Arc<[RelativeDistinguishedName]>,
    key: NameKey,
}

impl DistinguishedName {
    /// Decodes a DER `Name`.
    pub fn decode(name: &[u8]) -> Result<Self, NameFault> {
        der::check(name)?;
        Self::decode_checked(name)
    }

    /// The same of a `Name` within something that was checked to be DER down to its last value.
    pub(super) fn decode_checked(name: &[u8]) -> Result<Self, NameFault> {
        let sequence = der::read_one(name, tag::SEQUENCE)?;
        let mut reader = sequence.reader();
        let mut rdns = Vec::new();
        while !reader.is_empty() {
            if rdns.len() == PARTS_MAX {
                return Err(NameFault::TooManyParts);
            }
            rdns.push(RelativeDistinguishedName::decode(&mut reader)?);
        }
        Self::new(rdns)
    }

    /// As a DER `Name`, each text in the string type that RFC 5280 wants for its attribute.
    pub fn encode(&self) -> Vec<u8> {
        let rdns: Vec<Vec<u8>> = self
            .rdns
            .iter()
            .map(RelativeDistinguishedName::encode)
            .collect();
        der::element(tag::SEQUENCE, &rdns.concat())
    }

    /// Whether the two are one name, in either order of their relative names.
    pub fn matches(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// For look-ups: equal exactly for names that match.
    pub fn key(&self) -> &NameKey {
        &self.key
    }

    /// The relative names, in the order of the encoding.
    pub fn rdns(&self) -> &[RelativeDistinguishedName] {
        &self.rdns
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    pub(super) fn new(rdns: Vec<RelativeDistinguishedName>) -> Result<Self, NameFault> {
        if rdns.len() > PARTS_MAX {
            return Err(NameFault::TooManyParts);
        }
        let key = NameKey::of(&rdns);
        Ok(Self {
            rdns: rdns.into(),
            key,
        })
    }
}

/// RFC 4514. Control characters and those that change the direction of text are printed as `\` and two hex digits a byte,
/// so a name can neither break a log line nor disguise itself in it.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rdn) in self.rdns.iter().rev().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(rdn, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistinguishedName({self})")
    }
}

/// One level of a name: at least one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelativeDistinguishedName(Box<[AttributeTypeAndValue]>);

impl RelativeDistinguishedName {
    /// Its attributes, in the order in which they were written.
    pub fn attributes(&self) -> &[AttributeTypeAndValue] {
        &self.0
    }

    pub(crate) fn new(attributes: Vec<AttributeTypeAndValue>) -> Self {
        Self(attributes.into())
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, NameFault> {
        let mut set = reader.expect(tag::SET)?.reader();
        let mut attributes = Vec::new();
        loop {
            if attributes.len() == PARTS_MAX {
                return Err(NameFault::TooManyParts);
            }
            let mut attribute = set.expect(tag::SEQUENCE)?.reader();
            let kind = attribute.expect(tag::OID)?;
            let value = attribute.element()?;
            attribute.finish()?;
            attributes.push(AttributeTypeAndValue {
                kind: AttributeType::decode(kind.contents)
                    .ok_or(DerFault::Value { tag: tag::OID })?,
                value: AttributeValue::decode(value.tag, value.contents, value.whole),
            });
            if set.is_empty() {
                return Ok(Self(attributes.into()));
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        der::set_of(self.0.iter().map(AttributeTypeAndValue::encode).collect())
    }
}

impl fmt::Display for RelativeDistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            fmt::Display::fmt(attribute, f)?;
        }
        Ok(())
    }
}

/// One attribute of a relative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttributeTypeAndValue {
    /// What is said.
    pub kind: AttributeType,
    /// And what it is.
    pub value: AttributeValue,
}

impl AttributeTypeAndValue {
    fn encode(&self) -> Vec<u8> {
        der::sequence(&[
            &der::element(tag::OID, self.kind.contents()),
            &self.value.encode(&self.kind),
        ])
    }
}

impl fmt::Display for AttributeTypeAndValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.kind)?;
        match &self.value {
            // RFC 4514 §2.4: a type without a name has its value in hex. So has an empty one, which would be overlooked.
            AttributeValue::Text(text) if self.kind.name().is_some() && !text.is_empty() => {
                write_escaped(f, text)
            }
            value @ (AttributeValue::Text(_) | AttributeValue::Der(_)) => {
                write!(f, "#{}", hex::encode(value.encode(&self.kind)))
            }
        }
    }
}

/// The hashable form of a name: equal exactly for names that [match](DistinguishedName::matches).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameKey(Arc<[u8]>);

impl NameKey {
    /// Each part is preceded by its length, so no value can pass for the beginning of another part.
    fn of(rdns: &[RelativeDistinguishedName]) -> Self {
        let parts: Vec<Vec<u8>> = rdns.iter().map(canonical_rdn).collect();
        let forward = parts.concat();
        let backward: Vec<u8> = parts.iter().rev().flatten().copied().collect();
        Self(forward.min(backward).into())
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameKey({})", hex::encode(&self.0))
    }
}

fn canonical_rdn(rdn: &RelativeDistinguishedName) -> Vec<u8> {
    let mut attributes: Vec<Vec<u8>> = rdn.0.iter().map(canonical_attribute).collect();
    attributes.sort();
    with_length(0, &attributes.concat())
}

fn canonical_attribute(attribute: &AttributeTypeAndValue) -> Vec<u8> {
    let value = match &attribute.value {
        AttributeValue::Text(text) => with_length(1, fold(text).as_bytes()),
        AttributeValue::Der(whole) => with_length(2, whole),
    };
    with_length(
        3,
        &[with_length(4, attribute.kind.contents()), value].concat(),
    )
}

fn with_length(kind: u8, contents: &[u8]) -> Vec<u8> {
    let length = u64::try_from(contents.len()).unwrap_or(u64::MAX);
    [&[kind], &length.to_be_bytes()[..], contents].concat()
}

/// Lower case, no white space at the ends, one space for each run within.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        for letter in word.chars().flat_map(char::to_lowercase) {
            // The final sigma is the same letter, and its capital does not tell which was meant.
            folded.push(if letter == 'ς' { 'σ' } else { letter });
        }
    }
    folded
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, letter) in text.chars().enumerate() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{letter}")?,
            '#' if index == 0 => f.write_str("\\#")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            _ => write_letter(f, letter)?,
        }
    }
    Ok(())
}

/// Writes a text of a certificate, with what a terminal would obey as `\` and two hex digits a byte.
pub(super) fn write_visible(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|letter| write_letter(f, letter))
}

fn write_letter(f: &mut fmt::Formatter<'_>, letter: char) -> fmt::Result {
    if !is_treacherous(letter) {
        return write!(f, "{letter}");
    }
    let mut bytes = [0; 4];
    let mut bytes = letter.encode_utf8(&mut bytes).bytes();
    bytes.try_for_each(|byte| write!(f, "\\{byte:02X}"))
}

/// Characters that a terminal or a log viewer obeys instead of showing: controls, line separators, marks of direction,
/// and white space that would be taken for a plain space or for nothing.
fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || (letter.is_whitespace() && letter != ' ')
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text or DER that is no name. `Display` says what is wrong, [`mend`](Self::mend) what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing but white space.
    #[error("the name is empty")]
    Empty,
    /// An attribute's type without a value.
    #[error("{attribute:?} has no value")]
    NoValue {
        /// The type, as written.
        attribute: String,
    },
    /// A value without an attribute's type.
    #[error("{text:?} is not TYPE=VALUE")]
    NoType {
        /// The part of the name, as written.
        text: String,
    },
    /// Neither a name that is known nor dotted notation.
    #[error("{attribute:?} is not a known attribute type")]
    UnknownType {
        /// The type, as written.
        attribute: String,
    },
    /// A backslash before what cannot be escaped.
    #[error("the value of {attribute} has a backslash that escapes nothing")]
    Escape {
        /// The attribute, as written.
        attribute: String,
    },
    /// A character that must be escaped.
    #[error("the value of {attribute} has a bare {character:?}")]
    BareCharacter {
        /// The attribute, as written.
        attribute: String,
        /// The character.
        character: char,
    },
    /// A quotation mark that is not closed, or that more text follows.
    #[error("the quotation marks around the value of {attribute} do not enclose it")]
    Quotation {
        /// The attribute, as written.
        attribute: String,
    },
    /// A value that begins with `#` and is not the hex of DER.
    #[error("the value of {attribute} begins with # but is not DER in hex")]
    Hex {
        /// The attribute, as written.
        attribute: String,
    },
    /// Escaped bytes that are not UTF-8.
    #[error("the value of {attribute} is not UTF-8")]
    NotUtf8 {
        /// The attribute, as written.
        attribute: String,
    },
    /// A text longer than any name.
    #[error("the name is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// More parts than any name.
    #[error("the name has more than {PARTS_MAX} parts")]
    TooManyParts,
    /// DER that is no name.
    #[error("not a DER name")]
    Der(#[from] DerFault),
}

impl NameFault {
    /// What to write instead.
    pub fn mend(&self) -> String {
        match self {
            Self::Empty => "write CN=payments-provider,O=Example".into(),
            Self::NoValue { attribute } => {
                let example = if attribute.eq_ignore_ascii_case("CN") { "payments-provider" } else { "VALUE" };
                format!("write {attribute}={example}")
            }
            Self::NoType { .. } => {
                r"write CN=payments-provider; a separator that belongs to the value before it is written \, or \+ or \/".into()
            }
            Self::UnknownType { attribute } if attribute.eq_ignore_ascii_case("subject") || attribute.eq_ignore_ascii_case("issuer") => {
                format!("leave out {attribute}= and begin with the name itself")
            }
            Self::UnknownType { .. } => "write CN, O, OU, C, ST, L, DC, UID, serialNumber, emailAddress, or the type's number, as 2.5.4.3".into(),
            Self::Escape { .. } => r"write \, for a comma, \\ for a backslash, \0A for a byte".into(),
            Self::BareCharacter { character: '\0', .. } => r"write \00".into(),
            Self::BareCharacter { character, .. } => format!("write \\{character} if it is part of the value; separate attributes by commas"),
            Self::Quotation { .. } => r#"enclose the whole value, or write \" for a quotation mark"#.into(),
            Self::Hex { .. } => r"write \# if the value is a text that begins with #".into(),
            Self::NotUtf8 { .. } => "write the text itself, in UTF-8".into(),
            Self::TooLong { .. } | Self::TooManyParts => "write the subject of one certificate".into(),
            Self::Der(_) => "ask the issuer for a new certificate".into(),
        }
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
