//! Signatures that are verified without webpki's certificates: those of version 1 leaves, of revocation lists, and of paths that
//! are looked at once more to say why they failed. The algorithms are the ones that webpki works with.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use crate::x509::{Certificate, SignedData};

/// What became of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// The key made it.
    Holds,
    /// The key did not make it.
    Broken,
    /// It is of an algorithm, or by a key, that proves nothing here: SHA-1, RSA under 2048 bits, and the like.
    Unsupported,
}

/// Whether the key of `issuer` made this signature.
pub(super) fn check(
    signed: &SignedData<'_>,
    issuer: &Certificate,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Signature {
    let key = issuer.public_key();
    let mut candidates = algorithms
        .all
        .iter()
        .filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signed.algorithm_contents()
                && algorithm.public_key_alg_id().as_ref() == key.algorithm_contents
        })
        .peekable();
    if issuer.key_kind().flaw().is_some() {
        return Signature::Unsupported;
    }
    if candidates.peek().is_none() {
        let known_key = algorithms
            .all
            .iter()
            .any(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm_contents);
        let known_signature = algorithms
            .all
            .iter()
            .any(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm_contents());
        // A key of another kind made it: that is another CA of the same name, not a weakness.
        return if known_key && known_signature {
            Signature::Broken
        } else {
            Signature::Unsupported
        };
    }
    let holds = candidates.any(|algorithm| {
        algorithm
            .verify_signature(key.bits, signed.message, signed.signature)
            .is_ok()
    });
    if holds {
        Signature::Holds
    } else {
        Signature::Broken
    }
}

/// CertificateVerify of TLS 1.3 (RFC 8446 §4.4.3), or of TLS 1.2 (RFC 5246 §7.4.8), by the key of a leaf of any version.
pub(super) fn verify_handshake(
    message: &[u8],
    leaf: &Certificate,
    signature: &DigitallySignedStruct,
    version: Version,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let scheme = signature.scheme;
    let listed = algorithms
        .mapping
        .iter()
        .find(|(known, _)| *known == scheme);
    let candidates = match (listed, version) {
        // TLS 1.3 binds the curve to the scheme: only the first of the mapping is its.
        (Some((_, candidates)), Version::Tls13) if !is_for_tls12_alone(scheme) => {
            candidates.get(..1).unwrap_or_default()
        }
        (Some((_, candidates)), Version::Tls12) => candidates,
        (Some(_), Version::Tls13) | (None, _) => {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
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

/// PKCS #1 v1.5 is no handshake signature of TLS 1.3.
fn is_for_tls12_alone(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}
