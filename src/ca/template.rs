//! What is to stand in a certificate, and its encoding (RFC 5280 §4).

use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::x509::der::{self, tag};
use crate::x509::{DistinguishedName, Validity};

use super::CaFault;

/// What a certificate is to say. The constructors give sound certificates; the `with_` methods give those that a rehearsal
/// has refused.
#[derive(Clone, Debug)]
pub struct Template {
    subject: DistinguishedName,
    validity: Validity,
    version: Version,
    pub(super) made_for: MadeFor,
    rank: Rank,
    key_uses: Vec<KeyUse>,
    purpose: Option<Purpose>,
    server_names: Vec<ServerName>,
    further: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V3,
}

/// Who is to have it: its serial number tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeFor {
    Use,
    Rehearsal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Leaf,
    Authority,
}

impl Template {
    /// A client's leaf.
    pub fn client(subject: DistinguishedName, validity: Validity) -> Self {
        Self {
            subject,
            validity,
            version: Version::V3,
            made_for: MadeFor::Use,
            rank: Rank::Leaf,
            key_uses: vec![KeyUse::DigitalSignature],
            purpose: Some(Purpose::ClientAuth),
            server_names: Vec::new(),
            further: Vec::new(),
        }
    }

    /// A server's leaf.
    pub fn server(subject: DistinguishedName, names: Vec<ServerName>, validity: Validity) -> Self {
        Self {
            purpose: Some(Purpose::ServerAuth),
            server_names: names,
            ..Self::client(subject, validity)
        }
    }

    /// A CA, with any number of intermediates below it.
    pub fn authority(subject: DistinguishedName, validity: Validity) -> Self {
        Self {
            rank: Rank::Authority,
            key_uses: vec![KeyUse::KeyCertSign, KeyUse::CrlSign],
            purpose: None,
            ..Self::client(subject, validity)
        }
    }

    /// One that nobody has in use ([`Serial::is_of_a_rehearsal`](crate::x509::Serial::is_of_a_rehearsal)).
    #[must_use]
    pub fn for_rehearsal(mut self) -> Self {
        self.made_for = MadeFor::Rehearsal;
        self
    }

    /// Version 1: without any extension, as `openssl x509 -req` writes it.
    #[must_use]
    pub fn with_version_1(mut self) -> Self {
        self.version = Version::V1;
        self
    }

    /// Another use of the key; none at all leaves the extension out.
    #[must_use]
    pub fn with_key_uses(mut self, uses: &[KeyUse]) -> Self {
        self.key_uses = uses.to_vec();
        self
    }

    /// One more extension; `oid` is the contents of its OBJECT IDENTIFIER.
    #[must_use]
    pub fn with_extension(mut self, oid: &[u8], critical: bool, value: &[u8]) -> Self {
        self.further.push(extension(oid, critical, value));
        self
    }

    /// Whose it is.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The `TBSCertificate`.
    pub(super) fn encode(&self, issuer: &Issuer<'_>, serial: &[u8], raw_spki: &[u8]) -> Vec<u8> {
        let mut fields = Vec::new();
        if self.version == Version::V3 {
            fields.push(der::element(
                tag::context_constructed(0),
                &der::unsigned(&[2]),
            ));
        }
        fields.push(der::unsigned(serial));
        fields.push(issuer.algorithm.to_vec());
        fields.push(issuer.name.to_vec());
        fields.push(der::sequence(&[
            &time(self.validity.not_before),
            &time(self.validity.not_after),
        ]));
        fields.push(self.subject.encode());
        fields.push(raw_spki.to_vec());
        if self.version == Version::V3 {
            let extensions = self.extensions(issuer, raw_spki).concat();
            let list = der::element(tag::SEQUENCE, &extensions);
            fields.push(der::element(tag::context_constructed(3), &list));
        }
        der::element(tag::SEQUENCE, &fields.concat())
    }

    fn extensions(&self, issuer: &Issuer<'_>, raw_spki: &[u8]) -> Vec<Vec<u8>> {
        let constraints = match self.rank {
            Rank::Leaf => der::sequence(&[]),
            Rank::Authority => der::sequence(&[&TRUE]),
        };
        let mut extensions = vec![extension(BASIC_CONSTRAINTS, true, &constraints)];
        if !self.key_uses.is_empty() {
            extensions.push(extension(KEY_USAGE, true, &named_bits(&self.key_uses)));
        }
        if let Some(purpose) = self.purpose {
            let purposes = der::sequence(&[&purpose.encode()]);
            extensions.push(extension(EXTENDED_KEY_USAGE, false, &purposes));
        }
        let own_id = der::element(tag::OCTET_STRING, &key_id(raw_spki));
        extensions.push(extension(SUBJECT_KEY_ID, false, &own_id));
        extensions.extend(issuer.key_id.map(authority_key_id));
        if !self.server_names.is_empty() {
            let names: Vec<Vec<u8>> = self.server_names.iter().map(ServerName::encode).collect();
            extensions.push(extension(
                SUBJECT_ALT_NAME,
                false,
                &der::element(tag::SEQUENCE, &names.concat()),
            ));
        }
        extensions.extend(self.further.iter().cloned());
        extensions
    }
}

/// Who signs: the parts of the issuer that stand in what it signs.
pub(super) struct Issuer<'a> {
    /// Its DER `Name`.
    pub(super) name: &'a [u8],
    /// The whole `AlgorithmIdentifier` of its signatures.
    pub(super) algorithm: &'a [u8],
    /// Its key's identifier, if it has one.
    pub(super) key_id: Option<&'a [u8]>,
}

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const TRUE: [u8; 3] = [tag::BOOLEAN, 1, 0xff];

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Signing in a TLS handshake.
    DigitalSignature = 0,
    /// Receiving another key.
    KeyEncipherment = 2,
    /// Signing certificates.
    KeyCertSign = 5,
    /// Signing revocation lists.
    CrlSign = 6,
}

/// What a certificate may be shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// By a TLS server.
    ServerAuth = 1,
    /// By a TLS client.
    ClientAuth = 2,
}

impl Purpose {
    /// id-kp (1.3.6.1.5.5.7.3) and its own number.
    fn encode(self) -> Vec<u8> {
        der::element(tag::OID, &[0x2b, 6, 1, 5, 5, 7, 3, self as u8])
    }
}

/// A host's name or address, as a server's certificate bears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// A DNS name, ASCII, at most 253 bytes; its first label may be `*`.
    Dns(Box<str>),
    /// An address.
    Ip(IpAddr),
}

impl ServerName {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Dns(name) => der::element(tag::context(2), name.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => der::element(tag::context(7), &address.octets()),
            Self::Ip(IpAddr::V6(address)) => der::element(tag::context(7), &address.octets()),
        }
    }
}

impl FromStr for ServerName {
    type Err = CaFault;

    fn from_str(text: &str) -> Result<Self, CaFault> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let labels = text.strip_prefix("*.").unwrap_or(text);
        if text.len() <= 253 && labels.split('.').all(is_label) {
            Ok(Self::Dns(text.into()))
        } else {
            Err(CaFault::ServerName { text: text.into() })
        }
    }
}

/// UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
pub(super) fn time(time: Timestamp) -> Vec<u8> {
    let written = time.strftime("%Y%m%d%H%M%SZ").to_string();
    match written.get(2..) {
        Some(short) if ("1950".."2050").contains(&written.get(..4).unwrap_or_default()) => {
            der::element(tag::UTC_TIME, short.as_bytes())
        }
        Some(_) | None => der::element(tag::GENERALIZED_TIME, written.as_bytes()),
    }
}

/// One extension.
pub(super) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let oid = der::element(tag::OID, oid);
    let critical: &[u8] = if critical { &TRUE } else { &[] };
    der::sequence(&[&oid, critical, &der::element(tag::OCTET_STRING, value)])
}

/// The extension that tells an issuer's keys apart.
pub(super) fn authority_key_id(id: &[u8]) -> Vec<u8> {
    let id = der::element(tag::context(0), id);
    extension(AUTHORITY_KEY_ID, false, &der::sequence(&[&id]))
}

/// 160 bits of the SHA-256 of a key (RFC 7093 §2).
pub(super) fn key_id(raw_spki: &[u8]) -> Vec<u8> {
    let hash = Sha256::digest(raw_spki);
    hash.iter().take(20).copied().collect()
}

/// A BIT STRING of named bits, without the zeros at its end (X.690 §11.2.2).
fn named_bits(uses: &[KeyUse]) -> Vec<u8> {
    let bits = uses
        .iter()
        .fold(0u8, |bits, key_use| bits | (0x80 >> *key_use as u8));
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap_or(0);
    der::element(tag::BIT_STRING, &[unused, bits])
}
