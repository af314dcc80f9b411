//! Keys: derived from the displayed secret once, prepared once, and cloned for each delivery.
//!
//! MACs are compared in constant time. A public key is pinned: it is given as a secret is, and nothing that a
//! delivery says can bring another.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{self as public, ParsedPublicKey};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::digest::{CtOutput, Output, OutputSizeUser};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use super::profile::algorithm::{Algorithm, MacKind};
use super::profile::descriptor::KeyForm;
use super::template::{Template, Unwritable, Values};
use crate::secret::Secret;

/// Base64 that takes padding or leaves it; nothing else is lenient.
pub(super) static BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
pub(super) static BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Why a secret makes no key for a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Nothing is there, or nothing but the prefix.
    #[error("the secret is empty")]
    Empty,
    /// It must be hexadecimal.
    #[error("the secret is not hexadecimal, as this profile's secrets are")]
    NotHex,
    /// It must be base64.
    #[error("the secret is not base64, as this profile's secrets are")]
    NotBase64,
    /// It must be a public key.
    #[error("the secret is no public key of the algorithm that this profile names")]
    NotAPublicKey,
    /// It must be a private key.
    #[error(
        "to sign, this profile needs the private key (PKCS #8 in PEM, or an Ed25519 seed in base64)"
    )]
    NotAPrivateKey,
    /// The key serves no signing.
    #[error("the key could not be used to sign")]
    Unusable,
}

/// A prepared key.
#[derive(Clone)]
pub(super) enum Key {
    /// No profile has it: what [`explain`](super::explain) knows a mistake by.
    HmacMd5(Hmac<Md5>),
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha384(Hmac<Sha384>),
    HmacSha512(Hmac<Sha512>),
    /// The secret stands in the content.
    Hash(Algorithm),
    Public(PublicKey),
}

/// A pinned public key. ECDSA signatures come in two forms, so a key may have two readers.
#[derive(Clone)]
pub(super) struct PublicKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
    fixed: Option<ParsedPublicKey>,
}

impl Key {
    /// Prepares the key that `secret`, as displayed, stands for.
    pub(super) fn prepare(
        secret: &Secret,
        form: KeyForm,
        strip_prefix: Option<&str>,
        mac: MacKind,
        algorithm: Algorithm,
    ) -> Result<Self, KeyFault> {
        let bytes = derive(secret, form, strip_prefix)?;
        let key = bytes.expose();
        if mac == MacKind::Hash {
            return Ok(Self::Hash(algorithm));
        }
        let unusable = |_| KeyFault::Unusable;
        Ok(match algorithm {
            Algorithm::Sha1 => Self::HmacSha1(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::Sha256 => Self::HmacSha256(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::Sha384 => Self::HmacSha384(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::Sha512 => Self::HmacSha512(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::Md5 => Self::HmacMd5(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::RsaPkcs1Sha256
            | Algorithm::RsaPssSha256
            | Algorithm::EcdsaP256Sha256
            | Algorithm::EcdsaP384Sha384
            | Algorithm::Ed25519 => Self::Public(PublicKey::parse(algorithm, key)?),
        })
    }

    /// Whether one of `signatures` is right for what `content` writes. Each is tried even after a match.
    pub(super) fn verifies<'s>(
        &self,
        content: &Template,
        values: &impl Values,
        signatures: impl Iterator<Item = &'s [u8]>,
    ) -> Result<bool, Unwritable> {
        // What nearly everyone signs with is spared the way through a computation of any kind: that is as large as the
        // largest of them, and costs more than the MAC of a few hundred bytes.
        if let Self::HmacSha256(mac) = self {
            let mut mac = mac.clone();
            content.write(values, &mut |bytes| mac.update(bytes))?;
            let tag = mac.finalize();
            return Ok(signatures.fold(false, |right, one| right | is_mac(&tag, one)));
        }
        let finished = self.finished(content, values)?;
        Ok(signatures.fold(false, |right, one| right | finished.matches(one)))
    }

    /// The whole computation over what `content` writes.
    #[inline(never)]
    fn finished(
        &self,
        content: &Template,
        values: &impl Values,
    ) -> Result<Finished<'_>, Unwritable> {
        let mut run = self.start();
        content.write(values, &mut |bytes| run.update(bytes))?;
        Ok(run.finish())
    }

    /// Begins a computation over the signed content.
    pub(super) fn start(&self) -> Run<'_> {
        match self {
            Self::HmacMd5(mac) => Run::HmacMd5(mac.clone()),
            Self::HmacSha1(mac) => Run::HmacSha1(mac.clone()),
            Self::HmacSha256(mac) => Run::HmacSha256(mac.clone()),
            Self::HmacSha384(mac) => Run::HmacSha384(mac.clone()),
            Self::HmacSha512(mac) => Run::HmacSha512(mac.clone()),
            Self::Hash(Algorithm::Md5) => Run::Md5(Md5::new()),
            Self::Hash(Algorithm::Sha1) => Run::Sha1(Sha1::new()),
            Self::Hash(Algorithm::Sha384) => Run::Sha384(Sha384::new()),
            Self::Hash(Algorithm::Sha512) => Run::Sha512(Sha512::new()),
            Self::Hash(
                Algorithm::Sha256
                | Algorithm::RsaPkcs1Sha256
                | Algorithm::RsaPssSha256
                | Algorithm::EcdsaP256Sha256
                | Algorithm::EcdsaP384Sha384
                | Algorithm::Ed25519,
            ) => Run::Sha256(Sha256::new()),
            Self::Public(key) => match key.algorithm.streamed() {
                Some(algorithm) => Run::Digest(key, digest::Context::new(algorithm)),
                None => Run::Whole(key, Vec::new()),
            },
        }
    }
}

/// The bytes that `form` makes of a displayed secret.
pub(super) fn derive(
    secret: &Secret,
    form: KeyForm,
    strip_prefix: Option<&str>,
) -> Result<Secret, KeyFault> {
    let shown = secret.expose();
    let shown = strip_prefix
        .and_then(|prefix| shown.strip_prefix(prefix.as_bytes()))
        .unwrap_or(shown);
    let bytes = match form {
        KeyForm::Utf8 => shown.to_vec(),
        KeyForm::Hex => hex::decode(shown.trim_ascii()).map_err(|_unreadable| KeyFault::NotHex)?,
        KeyForm::Base64 => from_either_base64(shown.trim_ascii()).ok_or(KeyFault::NotBase64)?,
        KeyForm::Sha1 if shown.is_empty() => return Err(KeyFault::Empty),
        KeyForm::Sha1 => Sha1::digest(shown).to_vec(),
        KeyForm::PublicKey => public_key_der(shown)?,
    };
    if bytes.is_empty() {
        Err(KeyFault::Empty)
    } else {
        Ok(Secret::new(bytes))
    }
}

/// Some providers show their secrets in base64url.
pub(super) fn from_either_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).or_else(|_| BASE64URL.decode(text)).ok()
}

fn public_key_der(shown: &[u8]) -> Result<Vec<u8>, KeyFault> {
    if shown.trim_ascii_start().starts_with(b"-----BEGIN") {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(shown)
            .map_err(|_unreadable| KeyFault::NotAPublicKey)?;
        return Ok(der.as_ref().to_vec());
    }
    let unbroken: Vec<u8> = shown
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    from_either_base64(&unbroken).ok_or(KeyFault::NotAPublicKey)
}

impl PublicKey {
    fn parse(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyFault> {
        let (main, fixed): (&'static dyn public::VerificationAlgorithm, _) = match algorithm {
            Algorithm::RsaPkcs1Sha256 => (&public::RSA_PKCS1_2048_8192_SHA256, None),
            Algorithm::RsaPssSha256 => (&public::RSA_PSS_2048_8192_SHA256, None),
            Algorithm::EcdsaP256Sha256 => (
                &public::ECDSA_P256_SHA256_ASN1,
                Some(&public::ECDSA_P256_SHA256_FIXED),
            ),
            Algorithm::EcdsaP384Sha384 => (
                &public::ECDSA_P384_SHA384_ASN1,
                Some(&public::ECDSA_P384_SHA384_FIXED),
            ),
            Algorithm::Ed25519 => (&public::ED25519, None),
            Algorithm::Md5
            | Algorithm::Sha1
            | Algorithm::Sha256
            | Algorithm::Sha384
            | Algorithm::Sha512 => {
                return Err(KeyFault::NotAPublicKey);
            }
        };
        let read = |algorithm: &'static dyn public::VerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, der).map_err(|_unreadable| KeyFault::NotAPublicKey)
        };
        let fixed = match fixed {
            Some(algorithm) => Some(read(algorithm)?),
            None => None,
        };
        Ok(Self {
            algorithm,
            key: read(main)?,
            fixed,
        })
    }

    fn readers(&self) -> impl Iterator<Item = &ParsedPublicKey> {
        std::iter::once(&self.key).chain(&self.fixed)
    }
}

/// A computation under way.
pub(super) enum Run<'k> {
    HmacMd5(Hmac<Md5>),
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha384(Hmac<Sha384>),
    HmacSha512(Hmac<Sha512>),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    Digest(&'k PublicKey, digest::Context),
    /// Ed25519 reads its message twice, so it must be there whole.
    Whole(&'k PublicKey, Vec<u8>),
}

impl<'k> Run<'k> {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::HmacMd5(mac) => mac.update(bytes),
            Self::HmacSha1(mac) => mac.update(bytes),
            Self::HmacSha256(mac) => mac.update(bytes),
            Self::HmacSha384(mac) => mac.update(bytes),
            Self::HmacSha512(mac) => mac.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
            Self::Digest(_, hash) => hash.update(bytes),
            Self::Whole(_, content) => content.extend_from_slice(bytes),
        }
    }

    pub(super) fn finish(self) -> Finished<'k> {
        match self {
            Self::HmacMd5(mac) => Finished::tag(&mac.finalize().into_bytes()),
            Self::HmacSha1(mac) => Finished::tag(&mac.finalize().into_bytes()),
            Self::HmacSha256(mac) => Finished::tag(&mac.finalize().into_bytes()),
            Self::HmacSha384(mac) => Finished::tag(&mac.finalize().into_bytes()),
            Self::HmacSha512(mac) => Finished::tag(&mac.finalize().into_bytes()),
            Self::Md5(hash) => Finished::tag(&hash.finalize()),
            Self::Sha1(hash) => Finished::tag(&hash.finalize()),
            Self::Sha256(hash) => Finished::tag(&hash.finalize()),
            Self::Sha384(hash) => Finished::tag(&hash.finalize()),
            Self::Sha512(hash) => Finished::tag(&hash.finalize()),
            Self::Digest(key, hash) => Finished::Digest(key, hash.finish()),
            Self::Whole(key, content) => Finished::Whole(key, content),
        }
    }
}

/// What a signature is compared with.
pub(super) enum Finished<'k> {
    Tag { bytes: [u8; 64], len: usize },
    Digest(&'k PublicKey, digest::Digest),
    Whole(&'k PublicKey, Vec<u8>),
}

impl Finished<'_> {
    fn tag(tag: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let len = tag.len().min(bytes.len());
        if let (Some(place), Some(tag)) = (bytes.get_mut(..len), tag.get(..len)) {
            place.copy_from_slice(tag);
        }
        Self::Tag { bytes, len }
    }

    /// The MAC itself; `None` for public keys.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Tag { bytes, len } => bytes.get(..*len),
            Self::Digest(..) | Self::Whole(..) => None,
        }
    }

    /// Whether this decoded signature is right.
    pub(super) fn matches(&self, signature: &[u8]) -> bool {
        match self {
            Self::Tag { .. } => is_tag(self.bytes().unwrap_or_default(), signature),
            Self::Digest(key, digest) => key
                .readers()
                .any(|key| key.verify_digest_sig(digest, signature).is_ok()),
            Self::Whole(key, content) => key
                .readers()
                .any(|key| key.verify_sig(content, signature).is_ok()),
        }
    }
}

/// The time taken tells nothing but the lengths; a word at a time, where [`is_tag`] takes a byte.
fn is_mac<M: OutputSizeUser>(tag: &CtOutput<M>, signature: &[u8]) -> bool {
    let signature: Result<&Output<M>, _> = signature.try_into();
    signature.is_ok_and(|signature| *tag == CtOutput::from(signature))
}

/// The time taken tells nothing but the lengths.
fn is_tag(tag: &[u8], signature: &[u8]) -> bool {
    verify_slices_are_equal(tag, signature).is_ok()
}

impl Algorithm {
    /// Whether it is checked with a public key.
    pub(super) fn is_asymmetric(self) -> bool {
        match self {
            Self::RsaPkcs1Sha256
            | Self::RsaPssSha256
            | Self::EcdsaP256Sha256
            | Self::EcdsaP384Sha384
            | Self::Ed25519 => true,
            Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha384 | Self::Sha512 => false,
        }
    }

    /// How long its signatures are, decoded; `None` where that depends on the key.
    pub(super) fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::Md5 => Some(16),
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 | Self::Ed25519 => Some(64),
            Self::RsaPkcs1Sha256
            | Self::RsaPssSha256
            | Self::EcdsaP256Sha256
            | Self::EcdsaP384Sha384 => None,
        }
    }

    /// The digest that is signed, where the content can be streamed into one.
    fn streamed(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaP256Sha256 => {
                Some(&digest::SHA256)
            }
            Self::EcdsaP384Sha384 => Some(&digest::SHA384),
            Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha384 | Self::Sha512 | Self::Ed25519 => {
                None
            }
        }
    }

    /// As a sender names it.
    pub(super) fn name_for_senders(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Sha256
            | Self::RsaPkcs1Sha256
            | Self::RsaPssSha256
            | Self::EcdsaP256Sha256
            | Self::EcdsaP384Sha384
            | Self::Ed25519 => "SHA-256",
        }
    }

    /// The algorithm that a sender's text names: `MD5`, `SHA-256`, `sha256`, `SHA256`.
    pub(super) fn named(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|letter| *letter != '-').collect();
        match plain.to_ascii_lowercase().as_str() {
            "md5" => Some(Self::Md5),
            "sha" | "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(
        secret: &[u8],
        form: KeyForm,
        prefix: Option<&str>,
        algorithm: Algorithm,
        content: &[u8],
    ) -> String {
        let key = Key::prepare(
            &Secret::new(secret.to_vec()),
            form,
            prefix,
            MacKind::Hmac,
            algorithm,
        )
        .unwrap();
        let mut run = key.start();
        run.update(content);
        hex::encode(run.finish().bytes().unwrap())
    }

    /// RFC 4231 §4.3 and RFC 2202 §3, case 2.
    #[test]
    fn the_macs_are_those_of_the_rfcs() {
        let check = |algorithm, expected: &str| {
            let content = b"what do ya want for nothing?";
            assert!(
                tag(b"Jefe", KeyForm::Utf8, None, algorithm, content).starts_with(expected),
                "{algorithm:?}"
            );
        };
        check(Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        check(
            Algorithm::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            Algorithm::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e",
        );
        check(
            Algorithm::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554",
        );
    }

    #[test]
    fn the_same_key_comes_from_each_of_its_written_forms() {
        let expected = tag(b"Jefe", KeyForm::Utf8, None, Algorithm::Sha256, b"x");
        assert_eq!(
            tag(b"4a656665", KeyForm::Hex, None, Algorithm::Sha256, b"x"),
            expected
        );
        assert_eq!(
            tag(b"SmVmZQ==", KeyForm::Base64, None, Algorithm::Sha256, b"x"),
            expected
        );
        assert_eq!(
            tag(
                b"SmVmZQ",
                KeyForm::Base64,
                Some("whsec_"),
                Algorithm::Sha256,
                b"x"
            ),
            expected
        );
        assert_eq!(
            tag(
                b"whsec_SmVmZQ",
                KeyForm::Base64,
                Some("whsec_"),
                Algorithm::Sha256,
                b"x"
            ),
            expected
        );
    }

    #[test]
    fn a_secret_that_is_no_key_is_told_why() {
        let fault = |secret: &[u8], form| {
            derive(&Secret::new(secret.to_vec()), form, Some("whsec_")).unwrap_err()
        };
        assert_eq!(fault(b"xyz", KeyForm::Hex), KeyFault::NotHex);
        assert_eq!(fault(b"whsec_!", KeyForm::Base64), KeyFault::NotBase64);
        assert_eq!(fault(b"whsec_", KeyForm::Base64), KeyFault::Empty);
        assert_eq!(fault(b"", KeyForm::Utf8), KeyFault::Empty);
        assert_eq!(fault(b"", KeyForm::Sha1), KeyFault::Empty);
    }
}
