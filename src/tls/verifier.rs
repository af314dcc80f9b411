//! The client certificate verifier that rustls asks: our [`Trust`], with what it saw noted for the record.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::capture::{leaf_of, note_refused, note_verified};
use super::flaw::Flaw;
use super::path::ChainRefusal;
use super::reason::HandshakeReason;
use super::signatures::{Version, verify_handshake};
use super::trust::Trust;

/// Verifies client certificates by one trust.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Arc<Trust>,
    hints: Vec<DistinguishedName>,
}

impl Verifier {
    pub(super) fn new(trust: Arc<Trust>) -> Self {
        let hints = trust
            .anchors()
            .iter()
            .map(|anchor| DistinguishedName::from(anchor.subject_der().to_vec()))
            .collect();
        Self { trust, hints }
    }

    /// The handshake's own signature, by the key of a leaf of whatever version: webpki would not read version 1.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        version: Version,
    ) -> Result<HandshakeSignatureValid, Error> {
        let leaf =
            leaf_of(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let algorithms = self.trust.algorithms();
        verify_handshake(message, &leaf, signature, version, algorithms).inspect_err(|error| {
            let reason = if matches!(error, Error::InvalidCertificate(_)) {
                Flaw::HandshakeSignature.reason()
            } else {
                HandshakeReason::Malformed
            };
            let refusal = ChainRefusal {
                reason,
                detail: Flaw::HandshakeSignature.words(&[]),
                leaf: Some(leaf.clone()),
            };
            note_refused(&refusal, None);
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .cloned()
            .collect();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        match self.trust.verify(&chain, now) {
            Ok(verified) => {
                note_verified(self.trust.generation(), &verified);
                Ok(ClientCertVerified::assertion())
            }
            Err(refusal) => {
                note_refused(&refusal, self.trust.would_accept(&chain, now));
                Err(Error::InvalidCertificate(alert(&refusal)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, cert, dss, Version::Tls12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, cert, dss, Version::Tls13)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}

/// The certificate error by which rustls picks the alert that says as much as TLS says.
fn alert(refusal: &ChainRefusal) -> CertificateError {
    match refusal.reason {
        HandshakeReason::Expired => CertificateError::Expired,
        HandshakeReason::NotYetValid => CertificateError::NotValidYet,
        HandshakeReason::UnknownIssuer => CertificateError::UnknownIssuer,
        HandshakeReason::Revoked => CertificateError::Revoked,
        HandshakeReason::RevocationUnknown => CertificateError::UnknownRevocationStatus,
        HandshakeReason::BadSignature => CertificateError::BadSignature,
        HandshakeReason::UnsupportedCertificate if refusal.leaf.is_none() => {
            CertificateError::BadEncoding
        }
        // rustls says unsupported_certificate for this one.
        HandshakeReason::WrongKeyUsage
        | HandshakeReason::WrongExtendedKeyUsage
        | HandshakeReason::UnsupportedCertificate => CertificateError::InvalidPurpose,
        HandshakeReason::NoCertificate
        | HandshakeReason::ProtocolVersion
        | HandshakeReason::NoCommonParameters
        | HandshakeReason::Timeout
        | HandshakeReason::NotTls
        | HandshakeReason::Closed
        | HandshakeReason::Malformed => CertificateError::Other(OtherError(Arc::new(Unexpected))),
    }
}

/// A chain is never refused for these reasons.
#[derive(Debug, thiserror::Error)]
#[error("the chain was refused")]
struct Unexpected;
