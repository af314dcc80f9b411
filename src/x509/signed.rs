//! The outer shape that certificates, requests and revocation lists share: what is signed, how, and the signature.

use std::ops::Range;

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, UnparsedPublicKey};
use x509_parser::asn1_rs::BitString;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::der::{self, DerFault, Element, Reader, tag};

/// The parts that are needed to verify a signature by hand.
#[derive(Clone, Copy, Debug)]
pub struct SignedData<'a> {
    /// The bytes that were signed (a certificate's `TBSCertificate`, whole).
    pub message: &'a [u8],
    /// The whole DER of the signature's `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The signature's bits.
    pub signature: &'a [u8],
}

impl<'a> SignedData<'a> {
    /// The contents of the `AlgorithmIdentifier`, without its SEQUENCE header: the form that `rustls-pki-types` compares.
    pub fn algorithm_contents(&self) -> &'a [u8] {
        contents(self.algorithm)
    }

    /// Whether the key of `raw_spki` (a whole DER `SubjectPublicKeyInfo`) made this signature. An algorithm that is not
    /// known here has not; RSA, ECDSA on P-256, P-384 and P-521, and Ed25519 are.
    pub(crate) fn is_signed_by(&self, raw_spki: &[u8]) -> bool {
        self.verify(raw_spki).is_ok()
    }

    /// The same, and why not.
    pub(super) fn verify(&self, raw_spki: &[u8]) -> Result<(), Unproven> {
        let key = SubjectPublicKey::read(raw_spki).map_err(|_no_key| Unproven::Unsupported)?;
        if let Some(algorithm) = uncommon_ecdsa(key.algorithm_contents, self.algorithm_contents()) {
            let key = UnparsedPublicKey::new(algorithm, key.bits);
            let verified = key.verify(self.message, self.signature);
            return verified.map_err(|_unspecified| Unproven::Broken);
        }
        let (_, key) =
            SubjectPublicKeyInfo::from_der(raw_spki).map_err(|_no_key| Unproven::Unsupported)?;
        let (_, algorithm) = AlgorithmIdentifier::from_der(self.algorithm)
            .map_err(|_no_algorithm| Unproven::Unsupported)?;
        let signature = BitString::new(0, self.signature);
        match verify_signature(&key, &algorithm, &signature, self.message) {
            Ok(()) => Ok(()),
            Err(X509Error::SignatureUnsupportedAlgorithm) => Err(Unproven::Unsupported),
            Err(_) => Err(Unproven::Broken),
        }
    }
}

/// Why a signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// It is of an algorithm that is not known here.
    Unsupported,
    /// The key did not make it.
    Broken,
}

/// The pairs of curve and hash that x509-parser does not verify.
fn uncommon_ecdsa(key: &[u8], signature: &[u8]) -> Option<&'static EcdsaVerificationAlgorithm> {
    const P256: &[u8] =
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    const P521: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23";
    const SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    const SHA384: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
    const SHA512: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";

    match (key, signature) {
        (P256, SHA512) => Some(&signature::ECDSA_P256_SHA512_ASN1),
        (P384, SHA512) => Some(&signature::ECDSA_P384_SHA512_ASN1),
        (P521, SHA256) => Some(&signature::ECDSA_P521_SHA256_ASN1),
        (P521, SHA384) => Some(&signature::ECDSA_P521_SHA384_ASN1),
        (P521, SHA512) => Some(&signature::ECDSA_P521_SHA512_ASN1),
        _ => None,
    }
}

/// A public key in the form in which signature algorithms take it.
#[derive(Clone, Copy, Debug)]
pub struct SubjectPublicKey<'a> {
    /// The contents of its `AlgorithmIdentifier`, without the SEQUENCE header.
    pub algorithm_contents: &'a [u8],
    /// The key's bits.
    pub bits: &'a [u8],
}

impl<'a> SubjectPublicKey<'a> {
    /// From a whole DER `SubjectPublicKeyInfo`.
    pub(crate) fn read(raw_spki: &'a [u8]) -> Result<Self, DerFault> {
        let mut reader = der::read_one(raw_spki, tag::SEQUENCE)?.reader();
        let algorithm = reader.expect(tag::SEQUENCE)?;
        let key = reader.expect(tag::BIT_STRING)?;
        reader.finish()?;
        Ok(Self {
            algorithm_contents: algorithm.contents,
            bits: whole_bytes(&key)?,
        })
    }
}

/// Where the parts of a signed structure lie in its DER.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    message: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
}

impl Envelope {
    /// Checks that `der` is one canonical element and finds its parts; gives the signed part as well.
    pub(super) fn read(der: &[u8]) -> Result<(Self, Element<'_>), DerFault> {
        der::check(der)?;
        let mut reader: Reader<'_> = der::read_one(der, tag::SEQUENCE)?.reader();
        let message = reader.expect(tag::SEQUENCE)?;
        let algorithm = reader.expect(tag::SEQUENCE)?;
        let signature = reader.expect(tag::BIT_STRING)?;
        reader.finish()?;
        let envelope = Self {
            message: range_in(der, message.whole),
            algorithm: range_in(der, algorithm.whole),
            signature: range_in(der, whole_bytes(&signature)?),
        };
        Ok((envelope, message))
    }

    pub(super) fn parts<'a>(&self, der: &'a [u8]) -> SignedData<'a> {
        SignedData {
            message: slice(der, &self.message),
            algorithm: slice(der, &self.algorithm),
            signature: slice(der, &self.signature),
        }
    }
}

/// Where `part`, a slice of `whole`, lies in it.
pub(super) fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr().addr()).saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

/// The part of `whole` that [`range_in`] found.
pub(super) fn slice<'a>(whole: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    whole.get(range.clone()).unwrap_or_default()
}

fn whole_bytes<'a>(bit_string: &Element<'a>) -> Result<&'a [u8], DerFault> {
    match der::bits(bit_string.contents) {
        Some((0, octets)) => Ok(octets),
        Some(_) | None => Err(DerFault::Value {
            tag: tag::BIT_STRING,
        }),
    }
}

fn contents(whole: &[u8]) -> &[u8] {
    Reader::new(whole)
        .element()
        .map(|element| element.contents)
        .unwrap_or_default()
}
