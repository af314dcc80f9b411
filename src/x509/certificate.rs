//! A certificate's own words, decoded once.

use std::sync::Arc;

use jiff::Timestamp;

use super::DistinguishedName;

/// A decoded certificate (X.509 version 1 to 3), cheap to clone.
#[derive(Clone, Debug)]
pub struct Leaf(Arc<Decoded>);

#[derive(Debug)]
struct Decoded {
    subject: DistinguishedName,
    issuer: DistinguishedName,
    serial: Serial,
    validity: Validity,
    sha256: Sha256Fingerprint,
    spki: SpkiPin,
    version: u8,
}

impl Leaf {
    /// The subject's name.
    pub fn subject(&self) -> &DistinguishedName {
        &self.0.subject
    }
    /// The issuer's name, as claimed.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }
    /// The serial number.
    pub fn serial(&self) -> &Serial {
        &self.0.serial
    }
    /// When it is valid.
    pub fn validity(&self) -> Validity {
        self.0.validity
    }
    /// SHA-256 of the whole DER.
    pub fn sha256(&self) -> Sha256Fingerprint {
        self.0.sha256
    }
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> SpkiPin {
        self.0.spki
    }
    /// 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.0.version
    }
}

/// A serial number; `Display` is lower-case hex without separators, as `openssl x509 -serial` less its case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serial(Box<[u8]>);

/// From when to when a certificate is valid, both ends included, whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second of validity.
    pub not_before: Timestamp,
    /// The last second of validity.
    pub not_after: Timestamp,
}

/// SHA-256 of a certificate's DER. `Display` is lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha256Fingerprint(pub [u8; 32]);

/// SHA-256 of a SubjectPublicKeyInfo, written `sha256:HEX` (`FromStr`, `Display`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpkiPin(pub [u8; 32]);

/// DER or PEM that is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct X509Fault;
