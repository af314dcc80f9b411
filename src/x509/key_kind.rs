//! Kinds of public keys, by the names that people know them by, and which of them are taken here.

use std::fmt;

use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The shortest RSA key that counts, and the longest that is verified, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What kind of key a certificate has. `Display` says it in a word or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, and the length of its modulus.
    Rsa {
        /// In bits.
        bits: usize,
    },
    /// ECDSA on NIST's P-256.
    EcP256,
    /// ECDSA on NIST's P-384.
    EcP384,
    /// ECDSA on NIST's P-521.
    EcP521,
    /// Ed25519.
    Ed25519,
    /// An algorithm that does not occur in TLS as it is spoken here.
    Unsupported {
        /// Its name; empty where it is not known.
        name: &'static str,
    },
}

impl KeyKind {
    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let parameters = spki.algorithm.parameters();
        if let Ok(PublicKey::RSA(key)) = spki.parsed() {
            return match parameters {
                Some(_) => Self::Rsa {
                    bits: key.key_size(),
                },
                // Signature algorithms are chosen by these bytes, and none is for RSA that is written so.
                None => Self::Unsupported {
                    name: "RSA, without the NULL that belongs to its algorithm",
                },
            };
        }
        let algorithm = spki.algorithm.algorithm.to_id_string();
        let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
        let curve = curve.map(|oid| oid.to_id_string());
        match (algorithm.as_str(), curve.as_deref()) {
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Self::EcP256,
            ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Self::EcP384,
            ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Self::EcP521,
            ("1.3.101.112", None) => Self::Ed25519,
            (algorithm, curve) => Self::Unsupported {
                name: name(algorithm, curve),
            },
        }
    }

    /// Why no certificate with such a key is taken; none of a key that is.
    pub fn flaw(self) -> Option<&'static str> {
        match self {
            Self::Rsa { bits } if bits < *RSA_BITS.start() => Some("too short"),
            Self::Rsa { bits } if bits > *RSA_BITS.end() => Some("too long"),
            Self::Unsupported { .. } => Some(
                "not one of RSA (rsaEncryption) with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
            ),
            Self::Rsa { .. } | Self::EcP256 | Self::EcP384 | Self::EcP521 | Self::Ed25519 => None,
        }
    }
}

/// What people call a key of this algorithm, which is not taken here.
fn name(algorithm: &str, curve: Option<&str>) -> &'static str {
    match (algorithm, curve) {
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => "ECDSA secp256k1",
        ("1.2.840.10045.2.1", Some("1.3.132.0.33")) => "ECDSA P-224",
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.1")) => "ECDSA P-192",
        ("1.2.840.10045.2.1", Some("1.3.36.3.3.2.8.1.1.7")) => "ECDSA brainpoolP256r1",
        ("1.2.840.10045.2.1", Some("1.3.36.3.3.2.8.1.1.11")) => "ECDSA brainpoolP384r1",
        ("1.2.840.10045.2.1", Some("1.3.36.3.3.2.8.1.1.13")) => "ECDSA brainpoolP512r1",
        ("1.2.840.10045.2.1", Some(_)) => "ECDSA on another curve",
        ("1.2.840.10045.2.1", None) => "ECDSA on a curve without a name",
        ("1.3.101.113", _) => "Ed448",
        ("1.2.840.113549.1.1.10", _) => "RSA-PSS",
        ("1.2.840.10040.4.1", _) => "DSA",
        ("2.16.840.1.101.3.4.3.17", _) => "ML-DSA-44",
        ("2.16.840.1.101.3.4.3.18", _) => "ML-DSA-65",
        ("2.16.840.1.101.3.4.3.19", _) => "ML-DSA-87",
        _ => "",
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::EcP256 => f.write_str("ECDSA P-256"),
            Self::EcP384 => f.write_str("ECDSA P-384"),
            Self::EcP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Unsupported { name: "" } => f.write_str("unsupported"),
            Self::Unsupported { name } => write!(f, "{name} (unsupported)"),
        }
    }
}
