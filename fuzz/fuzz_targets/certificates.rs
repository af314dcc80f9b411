//! Certificates, revocation lists and signing requests: nothing that is read breaks a line, and whoever we accept, webpki does too.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use countersign::tls::{Trust, TrustParts};
use countersign::x509::{
    Certificate, CertificateReport, RevocationList, SigningRequest, decode_certificates,
    decode_revocation_lists, decode_signing_request,
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

/// A moment within the seeds' validity.
const NOW: i64 = 1_800_000_000;

/// The CA of the seeds, whose key is gone.
static ANCHOR: &[u8] = include_bytes!("../seeds/certificates/anchor.der");

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let anchor = Certificate::decode(ANCHOR).expect("it is a certificate");
    let parts = TrustParts {
        anchors: vec![anchor],
        ..TrustParts::default()
    };
    Trust::build(parts).expect("it is a CA's")
});

fuzz_target!(|input: &[u8]| {
    for der in decode_certificates(input)
        .ok()
        .into_iter()
        .flatten()
        .chain([input.to_vec()])
    {
        certificate(&der);
    }
    for der in decode_revocation_lists(input)
        .ok()
        .into_iter()
        .flatten()
        .chain([input.to_vec()])
    {
        if let Ok(list) = RevocationList::decode(&der) {
            assert_eq!(list.der(), der);
            let serials: Vec<_> = list.serials().collect();
            assert!(serials.iter().all(|serial| list.revokes(serial)));
            unbroken(&list.issuer().to_string());
        }
    }
    let request = decode_signing_request(input).unwrap_or_else(|_other| input.to_vec());
    if let Ok(request) = SigningRequest::decode(&request) {
        unbroken(&request.subject().to_string());
    }
});

fn certificate(der: &[u8]) {
    let Ok(leaf) = Certificate::decode(der) else {
        return;
    };
    assert_eq!(leaf.der(), der);
    for text in [
        leaf.subject().to_string(),
        leaf.issuer().to_string(),
        leaf.serial().to_string(),
        CertificateReport::of(&leaf).subject_alt_names.join(", "),
    ] {
        unbroken(&text);
    }
    let now = Timestamp::from_second(NOW).expect("a time");
    let chain = [CertificateDer::from(der)];
    let Ok(verified) = TRUST.verify(&chain, now) else {
        return;
    };
    assert!(verified.window.contains(now));
    assert!(leaf.is_issued_by(&verified.anchor));
    if leaf.version() == 3 {
        webpki_agrees(&chain[0]);
    }
}

fn webpki_agrees(der: &CertificateDer<'_>) {
    let anchor = CertificateDer::from(ANCHOR);
    let anchors = [webpki::anchor_from_trusted_cert(&anchor).expect("it is an anchor")];
    let end = EndEntityCert::try_from(der).expect("what we accept, webpki reads");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW.unsigned_abs()));
    let usage = KeyUsage::client_auth();
    let path = end.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], now, usage, None, None);
    assert!(path.is_ok(), "what we accept, webpki accepts");
}

fn unbroken(text: &str) {
    assert!(
        !text.chars().any(char::is_control),
        "it breaks a line: {text:?}"
    );
}
