//! Files that hold certificates, requests or revocation lists, in PEM or in DER.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer,
};

use super::fault::X509Fault;

/// What some editors put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Every certificate of a PEM text, in order; anything between them, and any other PEM, is passed over.
pub fn decode_pem_certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, X509Fault> {
    sections::<CertificateDer<'static>>(pem, "CERTIFICATE")
}

/// The certificates of a file in PEM, or the one of a file in DER.
pub fn decode_certificates(file: &[u8]) -> Result<Vec<Vec<u8>>, X509Fault> {
    if is_der(file) {
        Ok(vec![file.to_vec()])
    } else {
        decode_pem_certificates(file)
    }
}

/// The revocation lists of a file in PEM, or the one of a file in DER.
pub fn decode_revocation_lists(file: &[u8]) -> Result<Vec<Vec<u8>>, X509Fault> {
    if is_der(file) {
        Ok(vec![file.to_vec()])
    } else {
        sections::<CertificateRevocationListDer<'static>>(file, "X509 CRL")
    }
}

/// The certificate request of a file in PEM or DER: the first, if there are several.
pub fn decode_signing_request(file: &[u8]) -> Result<Vec<u8>, X509Fault> {
    if is_der(file) {
        return Ok(file.to_vec());
    }
    let label = "CERTIFICATE REQUEST";
    let requests = sections::<CertificateSigningRequestDer<'static>>(file, label)?;
    requests
        .into_iter()
        .next()
        .ok_or(X509Fault::Absent { label })
}

/// One PEM section, as OpenSSL writes it.
pub fn encode_pem(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    // 48 bytes are the 64 characters of a line.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Every structure here is a SEQUENCE, and no PEM text begins with its tag, the digit 0.
fn is_der(file: &[u8]) -> bool {
    matches!(file, [0x30, length, ..] if *length >= 0x80)
}

/// What is wrong with a text that should be PEM, where that can be told.
pub fn flaw_of_pem(pem: &[u8]) -> Option<X509Fault> {
    let count = |word: &[u8]| pem.windows(word.len()).filter(|part| *part == word).count();
    if pem.starts_with(BYTE_ORDER_MARK) {
        Some(X509Fault::ByteOrderMark)
    } else if count(b"-----BEGIN ") > count(b"-----END ") {
        Some(X509Fault::CutOff)
    } else {
        None
    }
}

fn sections<T: PemObject + AsRef<[u8]>>(
    pem: &[u8],
    label: &'static str,
) -> Result<Vec<Vec<u8>>, X509Fault> {
    if pem.starts_with(BYTE_ORDER_MARK) {
        // Its first section would be passed over.
        return Err(X509Fault::ByteOrderMark);
    }
    let mut found = Vec::new();
    for section in T::pem_slice_iter(pem) {
        match section {
            Ok(der) => found.push(der.as_ref().to_vec()),
            Err(_not_pem) => return Err(X509Fault::Pem),
        }
    }
    if found.is_empty() {
        return Err(X509Fault::Absent { label });
    }
    Ok(found)
}
