//! Signatures that were cut off or stand twice, and digests that were made as an HMAC is, or the other way round.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::mistakes::Mistake;
use super::mistakes_tests::{BODY, SECRET, mac, report, signed, tells_nothing};

#[test]
fn a_signature_is_cut_off_wherever_it_is_cut() {
    let right = signed(&format!("1790000000.{BODY}"));
    for cut in [1, 2, 3, 5, 31] {
        let value = format!("t=1790000000,v1={}", &right[..right.len() - cut]);
        let found = report("stripe", &[SECRET], &[("stripe-signature", &value)], BODY);
        assert_eq!(found.mistakes, [Mistake::CutOff], "{cut}");
        tells_nothing(&found, &right[..right.len() - cut]);
    }
    let right = STANDARD.encode(mac(SECRET.as_bytes(), BODY));
    for cut in [2, 3, 4, 5, 6, 7, 17] {
        let value = &right[..right.len() - cut];
        let found = report(
            "shopify",
            &[SECRET],
            &[("x-shopify-hmac-sha256", value)],
            BODY,
        );
        assert_eq!(found.mistakes, [Mistake::CutOff], "{cut}");
        tells_nothing(&found, value);
    }
}

#[test]
fn what_stands_twice_is_not_said_to_be_missing() {
    let right = signed(&format!("1790000000.{BODY}"));
    let line = format!("t=1790000000,v1={right}");
    let other = format!("t=1790000009,v1={}", signed("other"));
    let headers = [("stripe-signature", &*line), ("stripe-signature", &other)];
    let found = report("stripe", &[SECRET], &headers, BODY);
    assert_eq!(
        found.outcome.as_ref().unwrap_err().name(),
        "signature-malformed"
    );
    assert!(found.signature_is_right && found.mistakes.is_empty());
    let time = found.findings.iter().find(|one| one.what == "timestamp");
    let told = time.and_then(|one| one.found.as_deref()).unwrap();
    assert!(told.contains("several"), "{told}");
}

#[test]
fn a_digest_and_an_hmac_are_told_apart() {
    let found = |signature: &str| {
        let headers = [("webhook-signature", signature)];
        let found = report("ppro", &[SECRET], &headers, BODY);
        tells_nothing(&found, signature);
        found.mistakes
    };
    let digest = |content: String| hex::encode(Sha256::digest(content));
    let content = |text: &str| Mistake::Content(text.to_owned());
    assert_eq!(found(&digest(format!("{BODY}.{SECRET}"))), []);
    let other_end = found(&digest(format!("{SECRET}.{BODY}")));
    assert_eq!(other_end, [content("{secret}.{body}")]);
    let hmac = found(&signed(BODY));
    assert_eq!(hmac, [Mistake::Hmac, content("{body}")]);
}

#[test]
fn where_nothing_is_signed_that_is_said() {
    let found = report("pix", &[], &[], BODY);
    assert!(found.nothing_is_signed && found.outcome.is_ok());
    assert!(!report("stripe", &[SECRET], &[], BODY).nothing_is_signed);
}
