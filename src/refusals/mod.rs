//! What was turned away at gates 1 to 3, and why: bounded, aggregated, and safe to print.
//!
//! A [`Refusal`] is one turning-away; the [`Book`] aggregates refusals of one gate, reason, claimed subject and address
//! into one [`Group`] with a count. The book's memory has a fixed bound whatever strangers do: texts are cut and their
//! control characters escaped before they are kept, and when it is full the group that was silent longest goes,
//! strangers before those whose claim names a configured producer. Recording writes nothing to disk: the store takes
//! what has changed ([`Book::drain_dirty`]) at its own pace.
//!
//! Nothing here decides anything, and nothing here is told to the peer.

mod book;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;

use crate::text::printable;

pub use book::{Book, Change, Group};

/// Characters of a text that are kept.
pub const TEXT_CHARACTERS: usize = 256;

/// The gate that stayed shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Gate 1.
    Handshake,
    /// Gate 2.
    Identity,
    /// Gate 3.
    Signature,
}

impl Gate {
    /// `handshake`, `identity` or `signature`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Identity => "identity",
            Self::Signature => "signature",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gate is handshake, identity or signature")]
pub struct NotAGate;

impl FromStr for Gate {
    type Err = NotAGate;

    fn from_str(text: &str) -> Result<Self, NotAGate> {
        match text {
            "handshake" => Ok(Self::Handshake),
            "identity" => Ok(Self::Identity),
            "signature" => Ok(Self::Signature),
            _ => Err(NotAGate),
        }
    }
}

/// Who a refused peer claims to be, as far as it names somebody who is configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimedProducer {
    /// The tenant's id.
    pub tenant_id: Box<str>,
    /// The producer's name.
    pub name: Box<str>,
}

/// One turning-away. Its texts are the peer's: nothing in them is verified at gate 1.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The gate that stayed shut.
    pub gate: Gate,
    /// The handshake's reason or the problem's name.
    pub reason: &'static str,
    /// The claimed (at gates 2 and 3: the verified) subject.
    pub subject: Option<String>,
    /// The claimed issuer.
    pub issuer: Option<String>,
    /// The claimed serial number.
    pub serial: Option<String>,
    /// The peer's address.
    pub address: IpAddr,
    /// The SNI.
    pub server_name: Option<String>,
    /// Whom the subject names.
    pub producer: Option<ClaimedProducer>,
    /// More, for the operator.
    pub detail: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A peer's text as it is kept: [`printable`], and of at most [`TEXT_CHARACTERS`] of its characters.
pub fn kept(text: &str) -> Box<str> {
    let end = text.char_indices().nth(TEXT_CHARACTERS);
    let kept = match end.and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => printable(beginning) + "…",
        None => printable(text),
    };
    kept.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::kept;
    use crate::text::turns_or_hides;
    use crate::x509::DistinguishedName;

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(kept(&"ü".repeat(256)).chars().count(), 256);
        assert_eq!(kept(&"ü".repeat(5000)).chars().count(), 257);
        assert!(kept(&"\u{0}".repeat(5000)).len() < 257 * 10);
    }

    #[test]
    fn a_subject_has_nothing_to_be_escaped_so_its_group_stays_one_whatever_escapes_are_written() {
        let obeyed = (char::MIN..=char::MAX).filter(|one| one.is_control() || turns_or_hides(*one));
        for character in obeyed {
            let bytes = character.to_string().into_bytes();
            let value: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
            let subject = DistinguishedName::parse(&format!("CN=a{value}b")).unwrap();
            let subject = subject.to_string();
            assert_eq!(*kept(&subject), subject);
        }
    }
}
