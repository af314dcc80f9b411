//! The small private CA behind `countersign certs`.
//!
//! It promises that a key is readable by its owner alone and never overwritten, that a leaf never outlives its CA, and that
//! a revocation list only grows. A CA that `openssl req -x509` made is as good as one of its own. It never decides whom to
//! trust, and keeps no index: what it issued is known by its signature. Source: RFC 5280.

mod directory;
mod fault;
mod files;
mod revoke;
mod template;

use std::fmt;

use aws_lc_rs::rand;
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData, SigningKey};

use crate::secret::Secret;
use crate::x509::der;
use crate::x509::{
    Certificate, DistinguishedName, OF_A_REHEARSAL, OF_A_REHEARSAL_OCTETS, SigningRequest,
    Validity, encode_pem,
};

pub use directory::write_new_secret;
pub use fault::CaFault;
pub use revoke::Revocation;
pub use template::{KeyUse, ServerName, Template};

use template::{Issuer, MadeFor};

/// The longest life that is given to a certificate.
pub const DAYS_MAX: u32 = 36_500;

/// How far the beginning is set back, for peers whose clocks are behind.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_mins(5);

/// A CA's certificate and its key.
pub struct PrivateCa {
    certificate: Certificate,
    key: KeyPair,
}

impl PrivateCa {
    /// A new self-signed CA, in memory only; [`init`](Self::init) keeps it in a directory.
    pub fn generate(template: &Template, algorithm: KeyAlgorithm) -> Result<Self, CaFault> {
        let key = algorithm.generate()?;
        let raw_spki = key.subject_public_key_info();
        let issuer = Issuer {
            name: &template.subject().encode(),
            algorithm: signature_algorithm(&key),
            key_id: Some(&template::key_id(&raw_spki)),
        };
        let certificate = certify(template, &issuer, &key, &raw_spki)?;
        Ok(Self { certificate, key })
    }

    /// Issues what was ordered. A leaf does not outlive its CA: its end is moved forward if need be.
    pub fn issue(&self, order: &Order, now: Timestamp) -> Result<Issued, CaFault> {
        let own = self.certificate.validity();
        if !own.contains(now) {
            return Err(CaFault::CaNotValid {
                not_before: own.not_before,
                not_after: own.not_after,
            });
        }
        let mut validity = validity_of(order.days, now)?;
        validity.not_after = validity.not_after.min(own.not_after);

        let requested = order.request.as_ref().map(SigningRequest::subject);
        let subject = order.subject.as_ref().or(requested);
        let subject = subject
            .filter(|subject| !subject.is_empty())
            .ok_or(CaFault::NoSubject)?;
        let template = if order.server_names.is_empty() {
            Template::client(subject.clone(), validity)
        } else {
            Template::server(subject.clone(), order.server_names.clone(), validity)
        };
        match &order.request {
            Some(request) => self.sign_key_of(request, &template),
            None => self.sign(&template, KeyAlgorithm::EcP256),
        }
    }

    /// Signs whatever the template says, for a new key: for rehearsals and tests.
    pub fn sign(&self, template: &Template, algorithm: KeyAlgorithm) -> Result<Issued, CaFault> {
        let subordinate = self.sign_authority(template, algorithm)?;
        Ok(Issued {
            key: Some(key_pem(&subordinate.key)),
            certificate: subordinate.certificate,
            chain: self.chain(),
        })
    }

    /// The same, with the certificate and the key together, as the CA below this one that they may be.
    pub fn sign_authority(
        &self,
        template: &Template,
        algorithm: KeyAlgorithm,
    ) -> Result<Self, CaFault> {
        let key = algorithm.generate()?;
        let raw_spki = key.subject_public_key_info();
        let certificate = certify(template, &self.issuer(), &self.key, &raw_spki)?;
        Ok(Self { certificate, key })
    }

    /// The CA's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        encode_pem("CERTIFICATE", self.certificate.der())
    }

    /// The CA's key in PEM.
    pub fn key_pem(&self) -> Secret {
        key_pem(&self.key)
    }

    fn sign_key_of(
        &self,
        request: &SigningRequest,
        template: &Template,
    ) -> Result<Issued, CaFault> {
        Ok(Issued {
            certificate: certify(template, &self.issuer(), &self.key, request.raw_spki())?,
            key: None,
            chain: self.chain(),
        })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer {
            name: self.certificate.subject_der(),
            algorithm: signature_algorithm(&self.key),
            key_id: self.certificate.subject_key_id(),
        }
    }

    /// What must be sent along with a leaf: an intermediate is not known to those who trust its root.
    fn chain(&self) -> Option<Certificate> {
        (!self.certificate.is_self_issued()).then(|| self.certificate.clone())
    }
}

impl fmt::Debug for PrivateCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateCa({})", self.certificate.subject())
    }
}

/// What an operator wants issued.
#[derive(Clone, Debug)]
pub struct Order {
    /// The subject, in the order of its encoding; without one, that of the request.
    pub subject: Option<DistinguishedName>,
    /// From now on, 1 to [`DAYS_MAX`].
    pub days: u32,
    /// Somebody else's key; without a request, a new one is made.
    pub request: Option<SigningRequest>,
    /// With names, the leaf is a server's; without, a client's.
    pub server_names: Vec<ServerName>,
}

/// A certificate, and its key unless somebody else keeps it.
#[derive(Debug)]
pub struct Issued {
    certificate: Certificate,
    chain: Option<Certificate>,
    key: Option<Secret>,
}

impl Issued {
    /// The leaf.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The leaf in PEM, and after it its issuer if that is an intermediate.
    pub fn certificate_pem(&self) -> String {
        let certificates = std::iter::once(&self.certificate).chain(&self.chain);
        certificates
            .map(|certificate| encode_pem("CERTIFICATE", certificate.der()))
            .collect()
    }

    /// The key in PEM (PKCS #8), if it was made here.
    pub fn key_pem(&self) -> Option<&Secret> {
        self.key.as_ref()
    }
}

/// What kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on NIST's P-256.
    EcP256,
    /// ECDSA on NIST's P-384.
    EcP384,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 bits.
    Rsa2048,
}

impl KeyAlgorithm {
    fn generate(self) -> Result<KeyPair, CaFault> {
        let algorithm = match self {
            Self::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
            Self::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        };
        KeyPair::generate_for(algorithm).map_err(|source| CaFault::Crypto {
            what: "make a key",
            source,
        })
    }
}

/// The whole `AlgorithmIdentifier` of the signatures that a key makes.
fn signature_algorithm(key: &KeyPair) -> &'static [u8] {
    const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
    const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
    const ECDSA_SHA512: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
    const RSA_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";

    [
        (&rcgen::PKCS_ED25519, ED25519),
        (&rcgen::PKCS_ECDSA_P256_SHA256, ECDSA_SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, ECDSA_SHA384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, ECDSA_SHA512),
    ]
    .into_iter()
    .find(|(algorithm, _)| key.is_compatible(algorithm))
    .map_or(RSA_SHA256, |(_, identifier)| identifier)
}

fn certify(
    template: &Template,
    issuer: &Issuer<'_>,
    key: &KeyPair,
    raw_spki: &[u8],
) -> Result<Certificate, CaFault> {
    let tbs = template.encode(issuer, &serial(template.made_for)?, raw_spki);
    let signed = seal(&tbs, issuer.algorithm, key)?;
    Certificate::decode(&signed).map_err(|source| CaFault::Unsound { source })
}

/// What is signed, how, and the signature.
fn seal(message: &[u8], algorithm: &[u8], key: &KeyPair) -> Result<Vec<u8>, CaFault> {
    let signature = key.sign(message).map_err(|source| CaFault::Crypto {
        what: "sign",
        source,
    })?;
    Ok(der::sequence(&[
        message,
        algorithm,
        &der::bit_string(&signature),
    ]))
}

/// Random bytes: 16, of which the first two bits are given, since a serial is positive, not zero, and always of the same length; or those
/// behind the mark of a rehearsal.
fn serial(made_for: MadeFor) -> Result<Vec<u8>, CaFault> {
    match made_for {
        MadeFor::Use => {
            let mut serial: [u8; 16] = random()?;
            if let Some(first) = serial.first_mut() {
                *first = (*first & 0x3f) | 0x40;
            }
            Ok(serial.into())
        }
        MadeFor::Rehearsal => {
            let behind: [u8; OF_A_REHEARSAL_OCTETS - OF_A_REHEARSAL.len()] = random()?;
            Ok([&OF_A_REHEARSAL[..], &behind].concat())
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], CaFault> {
    let mut bytes = [0; N];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_unspecified) => Err(CaFault::Random),
    }
}

fn validity_of(days: u32, now: Timestamp) -> Result<Validity, CaFault> {
    let fault = || CaFault::Days { days };
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(fault());
    }
    let length = SignedDuration::from_hours(24 * i64::from(days));
    let not_before = now.checked_sub(CLOCK_ALLOWANCE).ok().ok_or_else(fault)?;
    let not_after = now.checked_add(length).ok().ok_or_else(fault)?;
    Ok(Validity {
        not_before,
        not_after,
    })
}

fn key_pem(key: &KeyPair) -> Secret {
    Secret::new(encode_pem("PRIVATE KEY", key.serialized_der()).into_bytes())
}
