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

#[test]
fn what_is_signed_and_absent_is_named_and_nothing_else_is_blamed() {
    let check = |profile: &str, secret: &str, headers: &[(&str, &str)], place: &str| {
        let found = report(profile, &[secret], headers, BODY);
        assert!(found.outcome.is_err(), "{profile}");
        assert_eq!(found.mistakes, [], "{profile}");
        let absent = found.findings.iter().filter(|one| one.found.is_none());
        let absent: Vec<_> = absent.map(|one| one.place.as_str()).collect();
        assert_eq!(absent, [place], "{profile}");
    };
    let signature = signed(&format!("{BODY}|1790000000|1.2"));
    let volt = [
        ("x-volt-signed", &*signature),
        ("x-volt-timed", "1790000000"),
    ];
    check("volt", SECRET, &volt, "the header user-agent");
    let content = "id:7;request-id:r;ts:1790000000;";
    let line = format!("ts=1790000000,v1={}", signed(content));
    let mercado = [("x-signature", &*line), ("x-request-id", "r")];
    check(
        "mercado-pago",
        SECRET,
        &mercado,
        "the query parameter data.id",
    );
    let digest = hex::encode(Sha256::digest(format!("{BODY}{SECRET}")));
    let payu = format!("sender=checkout;signature={digest}");
    let payu = [("openpayu-signature", &*payu)];
    let refusal = report("payu-emea", &[SECRET], &payu, BODY).outcome;
    let told = refusal.unwrap_err().to_string();
    assert!(told.contains("it names no algorithm"), "{told}");
    check(
        "payu-emea",
        SECRET,
        &payu,
        "the item algorithm of the signature",
    );
}
