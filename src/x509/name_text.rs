//! Names as people and tools write them: RFC 4514, its older relatives, and OpenSSL's form with slashes.

use std::str::FromStr;

use super::attribute::{AttributeType, AttributeValue};
use super::der;
use super::name::{
    AttributeTypeAndValue, DistinguishedName, NameFault, PARTS_MAX, RelativeDistinguishedName,
};

/// More than the subject of any certificate takes.
const TEXT_BYTES_MAX: usize = 8 * 1024;

impl DistinguishedName {
    /// Reads a name as RFC 4514 writes it (`OU=tenant-42,O=Example,CN=payments-provider`: the last part of the encoding
    /// comes first), or as OpenSSL does (`/CN=payments-provider/O=Example/OU=tenant-42`).
    ///
    /// A name in the order of the encoding is read as well; it [`matches`](Self::matches) just the same.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let mut rdns = parse(text)?;
        if !is_slash_form(text) {
            rdns.reverse();
        }
        Self::new(rdns)
    }

    /// Reads the same forms, but takes the first part that is written for the first of the encoding: what somebody means
    /// who has a certificate made.
    pub fn parse_as_encoded(text: &str) -> Result<Self, NameFault> {
        Self::new(parse(text)?)
    }
}

impl FromStr for DistinguishedName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        Self::parse(text)
    }
}

/// Whether `text` is OpenSSL's `/CN=…/O=…`, which stands in the order of the encoding. No other form begins with a slash.
pub(crate) fn is_slash_form(text: &str) -> bool {
    text.trim_start().starts_with('/')
}

/// Reads every relative name of `text`.
pub(crate) fn parse(text: &str) -> Result<Vec<RelativeDistinguishedName>, NameFault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(NameFault::TooLong {
            bytes_max: TEXT_BYTES_MAX,
        });
    }
    let trimmed = text.trim_start();
    let (separator, body) = match trimmed.strip_prefix('/') {
        Some(body) => ('/', body),
        None => (',', trimmed),
    };
    if body.trim().is_empty() {
        return Err(NameFault::Empty);
    }
    Parser {
        rest: body,
        separator,
    }
    .rdns()
}

struct Parser<'a> {
    rest: &'a str,
    separator: char,
}

/// What ended a value.
#[derive(PartialEq, Eq)]
enum End {
    Name,
    Rdn,
    Attribute,
}

impl<'a> Parser<'a> {
    fn rdns(mut self) -> Result<Vec<RelativeDistinguishedName>, NameFault> {
        let mut rdns = Vec::new();
        let mut attributes = Vec::new();
        loop {
            if rdns.len() == PARTS_MAX || attributes.len() == PARTS_MAX {
                return Err(NameFault::TooManyParts);
            }
            let (attribute, end) = self.attribute()?;
            attributes.push(attribute);
            match end {
                End::Attribute => {}
                End::Rdn => rdns.push(RelativeDistinguishedName::new(std::mem::take(
                    &mut attributes,
                ))),
                End::Name => {
                    rdns.push(RelativeDistinguishedName::new(attributes));
                    return Ok(rdns);
                }
            }
        }
    }

    fn attribute(&mut self) -> Result<(AttributeTypeAndValue, End), NameFault> {
        let separator = self.separator;
        let end = self.rest.find([separator, '+']).unwrap_or(self.rest.len());
        let (name, value) = match self.rest.split_once('=') {
            Some((name, value)) if name.len() < end => (name.trim(), value),
            Some(_) | None => {
                let text = self.rest.get(..end).unwrap_or_default().trim();
                return Err(match AttributeType::parse(text) {
                    Some(_) => NameFault::NoValue {
                        attribute: text.into(),
                    },
                    None => NameFault::NoType { text: text.into() },
                });
            }
        };
        if name.is_empty() {
            return Err(NameFault::NoType {
                text: self.rest.get(..end).unwrap_or_default().trim().into(),
            });
        }
        let kind = AttributeType::parse(name).ok_or_else(|| NameFault::UnknownType {
            attribute: name.into(),
        })?;
        self.rest = value.trim_start();
        let (value, end) = match (self.rest.chars().next(), separator) {
            (Some('#'), ',') => self.hex_value(name)?,
            (Some('"'), ',') => self.quoted_value(name)?,
            (Some(_) | None, _) => self.plain_value(name)?,
        };
        Ok((AttributeTypeAndValue { kind, value }, end))
    }

    /// `#` and the hex of a whole DER element.
    fn hex_value(&mut self, name: &str) -> Result<(AttributeValue, End), NameFault> {
        let length = self.rest.find([',', '+']).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        let fault = || NameFault::Hex {
            attribute: name.into(),
        };
        let digits = digits.trim().strip_prefix('#').ok_or_else(fault)?;
        let whole = hex::decode(digits)
            .ok()
            .filter(|whole| der::check(whole).is_ok())
            .ok_or_else(fault)?;
        let element = der::Reader::new(&whole).element()?;
        let value = AttributeValue::decode(element.tag, element.contents, element.whole);
        self.rest = rest;
        Ok((value, self.end_of_value(name)?))
    }

    /// `"…"`, as RFC 1779 and `openssl x509 -subject` write a value with commas.
    fn quoted_value(&mut self, name: &str) -> Result<(AttributeValue, End), NameFault> {
        let mut bytes = Vec::new();
        let mut letters = self.rest.char_indices().skip(1).peekable();
        while let Some((index, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = self.rest.get(index + 1..).unwrap_or_default().trim_start();
                    return Ok((text(bytes, name)?, self.end_of_value(name)?));
                }
                '\\' => bytes.extend_from_slice(&escaped(&mut letters, name)?),
                _ => push(&mut bytes, letter),
            }
        }
        Err(NameFault::Quotation {
            attribute: name.into(),
        })
    }

    fn plain_value(&mut self, name: &str) -> Result<(AttributeValue, End), NameFault> {
        let mut bytes = Vec::new();
        // How much of the value is left when the white space at its end, which nobody escaped, is taken away.
        let mut significant = 0;
        let mut length = self.rest.len();
        let mut letters = self.rest.char_indices().peekable();
        while let Some((index, letter)) = letters.next() {
            match letter {
                '\\' => {
                    if self.separator == '/' && letters.peek().is_some_and(|(_, next)| *next == 'x')
                    {
                        // `openssl x509 -nameopt compat` writes \xC3 where RFC 4514 has \C3.
                        letters.next();
                    }
                    bytes.extend_from_slice(&escaped(&mut letters, name)?);
                    significant = bytes.len();
                }
                '+' => {
                    length = index;
                    break;
                }
                _ if letter == self.separator => {
                    length = index;
                    break;
                }
                '\0' => return Err(bare(name, letter)),
                '"' | ';' if self.separator == ',' => return Err(bare(name, letter)),
                _ => {
                    push(&mut bytes, letter);
                    if !letter.is_whitespace() {
                        significant = bytes.len();
                    }
                }
            }
        }
        if significant == 0 {
            return Err(NameFault::NoValue {
                attribute: name.into(),
            });
        }
        bytes.truncate(significant);
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok((text(bytes, name)?, self.end_of_value(name)?))
    }

    /// Takes the separator after a value.
    fn end_of_value(&mut self, name: &str) -> Result<End, NameFault> {
        let mut letters = self.rest.chars();
        let end = match letters.next() {
            None => End::Name,
            Some('+') => End::Attribute,
            Some(letter) if letter == self.separator => End::Rdn,
            Some(_) => {
                return Err(NameFault::Quotation {
                    attribute: name.into(),
                });
            }
        };
        self.rest = letters.as_str();
        Ok(end)
    }
}

/// What a backslash stands for: two hex digits are a byte, anything but a letter or digit is itself.
fn escaped(
    letters: &mut std::iter::Peekable<impl Iterator<Item = (usize, char)>>,
    name: &str,
) -> Result<Vec<u8>, NameFault> {
    let fault = || NameFault::Escape {
        attribute: name.into(),
    };
    let (_, first) = letters.next().ok_or_else(fault)?;
    match first.to_digit(16) {
        Some(high) => {
            let low = letters
                .next()
                .and_then(|(_, second)| second.to_digit(16))
                .ok_or_else(fault)?;
            let byte = u8::try_from(high * 16 + low).ok().ok_or_else(fault)?;
            Ok(vec![byte])
        }
        None if first == ' ' || first.is_ascii_punctuation() => {
            let mut bytes = Vec::new();
            push(&mut bytes, first);
            Ok(bytes)
        }
        None => Err(fault()),
    }
}

fn push(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

fn bare(name: &str, character: char) -> NameFault {
    NameFault::BareCharacter {
        attribute: name.into(),
        character,
    }
}

fn text(bytes: Vec<u8>, name: &str) -> Result<AttributeValue, NameFault> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(AttributeValue::Text(text.into_boxed_str())),
        Err(_not_utf8) => Err(NameFault::NotUtf8 {
            attribute: name.into(),
        }),
    }
}
