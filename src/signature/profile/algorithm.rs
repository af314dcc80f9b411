//! The algorithms that a signature can be made by.

use serde::{Deserialize, Serialize};

/// How content and key make a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacKind {
    /// HMAC (RFC 2104).
    Hmac,
    /// A digest of content that holds the secret; weak.
    Hash,
}

/// Signature algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// MD5; `mac = "hash"` alone, weak.
    #[serde(rename = "md5")]
    Md5,
    /// SHA-1; weak.
    #[serde(rename = "sha1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "sha256")]
    Sha256,
    /// SHA-384.
    #[serde(rename = "sha384")]
    Sha384,
    /// SHA-512.
    #[serde(rename = "sha512")]
    Sha512,
    /// RSA PKCS #1 v1.5 with SHA-256.
    #[serde(rename = "rsa-pkcs1-sha256")]
    RsaPkcs1Sha256,
    /// RSA PSS with SHA-256.
    #[serde(rename = "rsa-pss-sha256")]
    RsaPssSha256,
    /// ECDSA on P-256 with SHA-256; ASN.1 or fixed-length signatures.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384; ASN.1 or fixed-length signatures.
    #[serde(rename = "ecdsa-p384-sha384")]
    EcdsaP384Sha384,
    /// Ed25519.
    #[serde(rename = "ed25519")]
    Ed25519,
}
