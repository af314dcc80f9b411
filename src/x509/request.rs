//! Certificate requests (PKCS #10): a name and a key that somebody else keeps.

use std::fmt;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::certificate::CERTIFICATE_BYTES_MAX;
use super::fault::X509Fault;
use super::signed::{Envelope, Unproven};
use super::{DistinguishedName, KeyKind};

/// A request whose sender holds the private key: [`decode`](Self::decode) has verified its signature.
#[derive(Clone)]
pub struct SigningRequest {
    subject: DistinguishedName,
    raw_spki: Box<[u8]>,
}

impl SigningRequest {
    /// Decodes a request and checks that its key is one that is taken here, and signed it.
    pub fn decode(der: &[u8]) -> Result<Self, X509Fault> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(X509Fault::TooLarge {
                bytes_max: CERTIFICATE_BYTES_MAX,
            });
        }
        let (envelope, _) = Envelope::read(der)?;
        let (_, request) = X509CertificationRequest::from_der(der).map_err(X509Fault::structure)?;
        let info = &request.certification_request_info;
        let kind = KeyKind::of(&info.subject_pki);
        if let Some(flaw) = kind.flaw() {
            return Err(X509Fault::UnusableKey { kind, flaw });
        }
        match envelope.parts(der).verify(info.subject_pki.raw) {
            Ok(()) => {}
            Err(Unproven::Unsupported) => return Err(X509Fault::UnsupportedSignature),
            Err(Unproven::Broken) => return Err(X509Fault::NoProofOfPossession),
        }
        Ok(Self {
            subject: DistinguishedName::decode(info.subject.as_raw())?,
            raw_spki: info.subject_pki.raw.into(),
        })
    }

    /// The name that it asks for. It may be empty.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The key's whole DER `SubjectPublicKeyInfo`.
    pub fn raw_spki(&self) -> &[u8] {
        &self.raw_spki
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningRequest({})", self.subject)
    }
}
