//! Why DER or PEM is not what it should be.

use std::fmt;

use super::{DerFault, KeyKind, NameFault};

/// DER or PEM that is no certificate, request or revocation list.
#[derive(Debug, thiserror::Error)]
pub enum X509Fault {
    /// More bytes than are read.
    #[error("larger than {bytes_max} bytes")]
    TooLarge {
        /// How many are.
        bytes_max: usize,
    },
    /// Not DER, or DER of something else.
    #[error("not in DER")]
    Der(#[from] DerFault),
    /// DER, but not the structure that it should be.
    #[error("not the structure that X.509 prescribes: {what}")]
    Structure {
        /// What the decoder says.
        what: String,
    },
    /// A version that does not exist, or fields that its version does not have.
    #[error("of an unknown version, or with fields that its version does not have")]
    Version,
    /// The algorithm outside is not the one inside.
    #[error("its two statements of the signature's algorithm differ")]
    AlgorithmsDiffer,
    /// A serial number that is longer than any issuer's.
    #[error("its serial number is too long")]
    Serial,
    /// Subject or issuer is no name.
    #[error("one of its names cannot be read")]
    Name(#[from] NameFault),
    /// An extension that says something else than its type.
    #[error("its extension {oid} cannot be read")]
    Extension {
        /// Which one, in dotted notation.
        oid: String,
    },
    /// Two extensions of one type.
    #[error("its extension {oid} occurs twice")]
    DuplicateExtension {
        /// Which one, in dotted notation.
        oid: String,
    },
    /// A request that the key in it did not sign.
    #[error("its signature was not made by the key that it asks a certificate for")]
    NoProofOfPossession,
    /// A request for a key that is not taken here.
    #[error("its key is {kind}: {flaw}")]
    UnusableKey {
        /// What it is.
        kind: KeyKind,
        /// Why it is not taken.
        flaw: &'static str,
    },
    /// A request that is signed in a way that is not known here.
    #[error("it is signed with an algorithm that is not supported")]
    UnsupportedSignature,
    /// A text that begins with what PEM does not know.
    #[error("it begins with a byte order mark (UTF-8 with BOM): save it without")]
    ByteOrderMark,
    /// PEM whose end is missing.
    #[error("it is cut off: a -----BEGIN is without its -----END")]
    CutOff,
    /// PEM that breaks off, or is no base64.
    #[error("not in PEM")]
    Pem,
    /// PEM, but nothing of the wanted kind in it.
    #[error("no {label} in it")]
    Absent {
        /// What PEM calls it.
        label: &'static str,
    },
}

impl X509Fault {
    pub(super) fn structure(error: impl fmt::Display) -> Self {
        Self::Structure {
            what: error.to_string(),
        }
    }
}
