//! Leaves of X.509 version 1, which webpki refuses: verified by hand, with the same algorithms.
//!
//! Such a leaf has no extensions, so nothing limits what it may be used for; it is accepted only as a leaf, and only where a
//! trust anchor itself signed it.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::HandshakeReason;
use super::trust::Objection;
use crate::x509::{Leaf, SignedData};

/// The anchors whose key signed `leaf`, or why there is none.
pub(super) fn signers<'a>(
    leaf: &Leaf,
    anchors: &'a [Leaf],
    others: &[Leaf],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<Vec<&'a Leaf>, Objection> {
    let named = |issuer: &&Leaf| issuer.subject_der() == leaf.issuer_der();
    let signed = |issuer: &&Leaf| is_signed_by(&leaf.signed_data(), issuer, algorithms);
    let signers: Vec<&Leaf> = anchors.iter().filter(named).filter(signed).collect();
    if !signers.is_empty() {
        return Ok(signers);
    }
    if others.iter().filter(named).any(|issuer| signed(&issuer)) {
        let detail = "a version 1 leaf must be signed by a trust anchor itself, not by an intermediate; issue it with extensions";
        return Err(Objection::new(
            HandshakeReason::UnsupportedCertificate,
            detail,
        ));
    }
    if anchors.iter().any(|anchor| named(&anchor)) {
        let detail = format!(
            "{} is known, but its key did not sign this certificate",
            leaf.issuer()
        );
        return Err(Objection::new(HandshakeReason::BadSignature, detail));
    }
    let detail = format!("no configured trust anchor issued {}", leaf.issuer());
    Err(Objection::new(HandshakeReason::UnknownIssuer, detail))
}

/// Whether the key of `issuer` made this signature, by one of the algorithms that chains are verified with.
pub(super) fn is_signed_by(
    signed: &SignedData<'_>,
    issuer: &Leaf,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = issuer.public_key();
    algorithms.all.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key.algorithm_contents
            && algorithm.signature_alg_id().as_ref() == signed.algorithm_contents()
            && algorithm
                .verify_signature(key.bits, signed.message, signed.signature)
                .is_ok()
    })
}

/// CertificateVerify of TLS 1.3 (RFC 8446 §4.4.3), or of TLS 1.2 (RFC 5246 §7.4.8), by the key of a version 1 leaf.
pub(super) fn verify_handshake(
    message: &[u8],
    leaf: &Leaf,
    signature: &DigitallySignedStruct,
    version: Version,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let scheme = signature.scheme;
    let listed = algorithms
        .mapping
        .iter()
        .find(|(known, _)| *known == scheme);
    let Some((_, candidates)) = listed else {
        return Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let candidates = match version {
        // TLS 1.3 binds the curve to the scheme: only the first of the mapping is its.
        Version::Tls13 if is_for_tls12_alone(scheme) => {
            return Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        Version::Tls13 => candidates.get(..1).unwrap_or_default(),
        Version::Tls12 => candidates,
    };
    let key = leaf.public_key();
    let holds = candidates.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key.algorithm_contents
            && algorithm
                .verify_signature(key.bits, message, signature.signature())
                .is_ok()
    });
    if holds {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// The version whose rules a handshake signature follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// PKCS #1 v1.5 is no signature of TLS 1.3.
fn is_for_tls12_alone(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// Whether this certificate must be handled here.
pub(super) fn is_version_1(certificate: &CertificateDer<'_>) -> Option<Leaf> {
    Leaf::decode(certificate)
        .ok()
        .filter(|leaf| leaf.version() < 3)
}
