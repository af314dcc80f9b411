//! Signatures that a private key makes.

use std::borrow::Cow;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::key::{KeyFault, from_either_base64};
use super::profile::algorithm::Algorithm;

/// Whether a secret is a key in PEM.
pub(super) fn is_pem(shown: &[u8]) -> bool {
    shown.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// Signs with a private key in PKCS #8 and PEM, or an Ed25519 seed in base64.
pub(super) fn sign(
    algorithm: Algorithm,
    shown: &[u8],
    public_prefix: Option<&str>,
    message: &[u8],
) -> Result<Vec<u8>, KeyFault> {
    let unusable = |_unspecified| KeyFault::Unusable;
    let not_private = || KeyFault::NotAPrivateKey;
    let pkcs8: Option<Cow<'_, [u8]>> = if is_pem(shown) {
        let der = PrivatePkcs8KeyDer::from_pem_slice(shown).ok();
        Some(Cow::Owned(
            der.ok_or_else(not_private)?.secret_pkcs8_der().to_vec(),
        ))
    } else {
        None
    };
    let der = || pkcs8.as_deref().ok_or_else(not_private);
    let random = SystemRandom::new();
    let rsa = |padding: &'static dyn RsaEncoding| -> Result<Vec<u8>, KeyFault> {
        let pair = RsaKeyPair::from_pkcs8(der()?).map_err(|_rejected| not_private())?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &random, message, &mut signature)
            .map_err(unusable)?;
        Ok(signature)
    };
    let ecdsa = |curve: &'static EcdsaSigningAlgorithm| -> Result<Vec<u8>, KeyFault> {
        let pair = EcdsaKeyPair::from_pkcs8(curve, der()?).map_err(|_rejected| not_private())?;
        Ok(pair
            .sign(&random, message)
            .map_err(unusable)?
            .as_ref()
            .to_vec())
    };
    Ok(match algorithm {
        Algorithm::RsaPkcs1Sha256 => rsa(&RSA_PKCS1_SHA256)?,
        Algorithm::RsaPssSha256 => rsa(&RSA_PSS_SHA256)?,
        Algorithm::EcdsaP256Sha256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
        Algorithm::EcdsaP384Sha384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?,
        Algorithm::Ed25519 => {
            let pair = match &pkcs8 {
                Some(der) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map_err(|_rejected| not_private())?,
                None => ed25519_from_seed(shown, public_prefix)?,
            };
            pair.sign(message).as_ref().to_vec()
        }
        Algorithm::Md5
        | Algorithm::Sha1
        | Algorithm::Sha256
        | Algorithm::Sha384
        | Algorithm::Sha512 => {
            return Err(KeyFault::NotAPrivateKey);
        }
    })
}

/// `whsk_` and base64 of the seed; some show the public key behind it.
fn ed25519_from_seed(
    shown: &[u8],
    public_prefix: Option<&str>,
) -> Result<Ed25519KeyPair, KeyFault> {
    let prefix = public_prefix.unwrap_or_default().replace("pk_", "sk_");
    let text = shown
        .strip_prefix(prefix.as_bytes())
        .unwrap_or(shown)
        .trim_ascii();
    let bytes = from_either_base64(text).ok_or(KeyFault::NotAPrivateKey)?;
    let seed = bytes.get(..32).ok_or(KeyFault::NotAPrivateKey)?;
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_rejected| KeyFault::NotAPrivateKey)
}
