//! A certificate's own words, decoded once.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::der::tag;
use super::extensions::{BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage, SubjectAltName};
use super::fault::X509Fault;
use super::signed::{Envelope, SignedData, SubjectPublicKey, range_in, slice};
use super::{DistinguishedName, KeyKind, Serial, Sha256Fingerprint, SpkiPin, Validity};

/// A certificate that is larger than this is refused unread, in bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// A decoded certificate (X.509 version 1 to 3), cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<Decoded>);

struct Decoded {
    der: Box<[u8]>,
    envelope: Envelope,
    subject: DistinguishedName,
    subject_der: Range<usize>,
    issuer: DistinguishedName,
    issuer_der: Range<usize>,
    spki_der: Range<usize>,
    serial: Serial,
    validity: Validity,
    sha256: Sha256Fingerprint,
    spki: SpkiPin,
    key_kind: KeyKind,
    version: u8,
    extensions: Extensions,
}

impl Certificate {
    /// Decodes one certificate: strict DER, nothing after it, at most 64 KiB, version 1, 2 or 3.
    ///
    /// That it decodes says nothing about whether it can be trusted.
    pub fn decode(der: &[u8]) -> Result<Self, X509Fault> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(X509Fault::TooLarge {
                bytes_max: CERTIFICATE_BYTES_MAX,
            });
        }
        let der: Box<[u8]> = der.into();
        let (envelope, tbs) = Envelope::read(&der)?;

        let mut fields = tbs.reader();
        let version = match fields.optional(tag::context_constructed(0))? {
            None => 1,
            Some(explicit) => match explicit.contents {
                [tag::INTEGER, 1, 1] => 2,
                [tag::INTEGER, 1, 2] => 3,
                _ => return Err(X509Fault::Version),
            },
        };
        let serial = fields.expect(tag::INTEGER)?;
        let algorithm = fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?;
        fields.expect(tag::SEQUENCE)?;
        let subject = fields.expect(tag::SEQUENCE)?;
        let spki = fields.expect(tag::SEQUENCE)?;
        let issuer_id = fields.optional(tag::context(1))?;
        let subject_id = fields.optional(tag::context(2))?;
        let extensions = fields.optional(tag::context_constructed(3))?;
        fields.finish()?;
        if (version < 3 && extensions.is_some())
            || (version < 2 && (issuer_id.is_some() || subject_id.is_some()))
        {
            return Err(X509Fault::Version);
        }
        // What is signed must say how: otherwise the algorithm could be replaced by a weaker one.
        if algorithm.whole != envelope.parts(&der).algorithm {
            return Err(X509Fault::AlgorithmsDiffer);
        }
        SubjectPublicKey::read(spki.whole)?;

        let (_, certificate) = X509Certificate::from_der(&der).map_err(X509Fault::structure)?;
        let validity = certificate.validity();
        let decoded = Decoded {
            subject: DistinguishedName::decode_checked(subject.whole)?,
            subject_der: range_in(&der, subject.whole),
            issuer: DistinguishedName::decode_checked(issuer.whole)?,
            issuer_der: range_in(&der, issuer.whole),
            spki_der: range_in(&der, spki.whole),
            serial: Serial::decode(serial.contents).ok_or(X509Fault::Serial)?,
            validity: Validity {
                not_before: timestamp(&validity.not_before),
                not_after: timestamp(&validity.not_after),
            },
            sha256: Sha256Fingerprint::of(&der),
            spki: SpkiPin::of(spki.whole),
            key_kind: KeyKind::of(certificate.public_key()),
            version,
            extensions: Extensions::read(certificate.extensions())?,
            envelope,
            der,
        };
        Ok(Self(Arc::new(decoded)))
    }

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
    pub fn sha256(&self) -> &Sha256Fingerprint {
        &self.0.sha256
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> SpkiPin {
        self.0.spki
    }

    /// 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.0.version
    }

    /// What kind of key it certifies.
    pub fn key_kind(&self) -> KeyKind {
        self.0.key_kind
    }

    /// Whether its basic constraints say that it may issue certificates. Of version 1, none does.
    pub fn is_ca(&self) -> bool {
        self.basic_constraints()
            .is_some_and(|constraints| constraints.is_ca)
    }

    /// Whether subject and issuer are the same bytes, as a root's are.
    pub fn is_self_issued(&self) -> bool {
        self.subject_der() == self.issuer_der()
    }

    /// What its key may be used for; `None` is anything.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.extensions.key_usage
    }

    /// Whether it is a CA, and for how long a path.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.extensions.basic_constraints
    }

    /// What it may be shown for; `None` is anything.
    pub fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage> {
        self.0.extensions.extended_key_usage.as_ref()
    }

    /// Whether it limits the names in what it signs (RFC 5280 §4.2.1.10).
    pub fn constrains_names(&self) -> bool {
        self.0.extensions.constrains_names
    }

    /// The subject's other names.
    pub fn subject_alt_names(&self) -> &[SubjectAltName] {
        &self.0.extensions.subject_alt_names
    }

    /// The identifier of its own key.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// The identifier of its issuer's key, as claimed.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_id.as_deref()
    }

    /// Whether a critical extension is one that nobody here heeds: RFC 5280 §4.2 has such a certificate refused.
    pub fn has_unknown_critical_extension(&self) -> bool {
        self.0.extensions.has_unknown_critical
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The subject's DER `Name`, as it is encoded.
    pub fn subject_der(&self) -> &[u8] {
        slice(&self.0.der, &self.0.subject_der)
    }

    /// The issuer's DER `Name`, as it is encoded.
    pub fn issuer_der(&self) -> &[u8] {
        slice(&self.0.der, &self.0.issuer_der)
    }

    /// The SubjectPublicKeyInfo's whole DER.
    pub fn raw_spki(&self) -> &[u8] {
        slice(&self.0.der, &self.0.spki_der)
    }

    /// The key, as signature algorithms take it.
    pub fn public_key(&self) -> SubjectPublicKey<'_> {
        // `decode` has read it once.
        SubjectPublicKey::read(self.raw_spki()).unwrap_or(SubjectPublicKey {
            algorithm_contents: &[],
            bits: &[],
        })
    }

    /// What its issuer signed, how, and the signature.
    pub fn signed_data(&self) -> SignedData<'_> {
        self.0.envelope.parts(&self.0.der)
    }

    /// Whether `issuer` bears the name that it claims for its issuer, and the key that signed it. It is no path validation:
    /// no validity, no usage, no revocation is looked at.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer_der() == issuer.subject_der()
            && self.signed_data().is_signed_by(issuer.raw_spki())
    }
}

/// The same certificate, byte for byte.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Certificate({}, serial {}, sha256 {})",
            self.subject(),
            self.serial(),
            self.sha256()
        )
    }
}

/// The end of year 9999, which RFC 5280 has for "no end", lies beyond what a timestamp holds.
pub(super) fn timestamp(time: &ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}
