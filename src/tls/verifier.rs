//! The client certificate verifier that rustls asks: our [`Trust`], with what it saw noted for the record.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::HandshakeReason;
use super::capture::{note_refused, note_verified};
use super::trust::{ChainRefusal, Trust};
use super::version_1::{self, Version, is_version_1};

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

    /// A signature of the handshake that does not hold is as telling as a chain that does not.
    fn noted(
        certificate: &CertificateDer<'_>,
        outcome: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if outcome.is_err() {
            let refusal = ChainRefusal {
                reason: HandshakeReason::BadSignature,
                detail: "the handshake was not signed by the certificate's key".to_owned(),
                leaf: crate::x509::Leaf::decode(certificate).ok(),
            };
            note_refused(&refusal, None);
        }
        outcome
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
                Err(Error::InvalidCertificate(alert(refusal.reason)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let outcome = match is_version_1(cert) {
            Some(leaf) => version_1::verify_handshake(
                message,
                &leaf,
                dss,
                Version::Tls12,
                self.trust.algorithms(),
            ),
            None => verify_tls12_signature(message, cert, dss, self.trust.algorithms()),
        };
        Self::noted(cert, outcome)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let outcome = match is_version_1(cert) {
            Some(leaf) => version_1::verify_handshake(
                message,
                &leaf,
                dss,
                Version::Tls13,
                self.trust.algorithms(),
            ),
            None => verify_tls13_signature(message, cert, dss, self.trust.algorithms()),
        };
        Self::noted(cert, outcome)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}

/// The certificate error by which rustls picks the alert that says as much as TLS says.
fn alert(reason: HandshakeReason) -> CertificateError {
    match reason {
        HandshakeReason::Expired => CertificateError::Expired,
        HandshakeReason::NotYetValid => CertificateError::NotValidYet,
        HandshakeReason::UnknownIssuer => CertificateError::UnknownIssuer,
        HandshakeReason::Revoked => CertificateError::Revoked,
        HandshakeReason::RevocationUnknown => CertificateError::UnknownRevocationStatus,
        HandshakeReason::BadSignature => CertificateError::BadSignature,
        HandshakeReason::WrongKeyUsage | HandshakeReason::WrongExtendedKeyUsage => {
            CertificateError::InvalidPurpose
        }
        HandshakeReason::UnsupportedCertificate => CertificateError::BadEncoding,
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
