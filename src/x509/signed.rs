//! The outer shape that certificates, requests and revocation lists share: what is signed, how, and the signature.

use std::ops::Range;

use x509_parser::asn1_rs::BitString;
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
    /// known here (RSA, ECDSA on P-256 and P-384, Ed25519 are) has not.
    pub(crate) fn is_signed_by(&self, raw_spki: &[u8]) -> bool {
        let Ok((_, key)) = SubjectPublicKeyInfo::from_der(raw_spki) else {
            return false;
        };
        let Ok((_, algorithm)) = AlgorithmIdentifier::from_der(self.algorithm) else {
            return false;
        };
        let signature = BitString::new(0, self.signature);
        verify_signature(&key, &algorithm, &signature, self.message).is_ok()
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
