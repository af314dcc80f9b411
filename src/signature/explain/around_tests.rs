//! What is explained beside the signature itself: digests that are none, items of a batch, compression.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::mistakes_tests::{BODY, SECRET, check, mac, report, signed};
use crate::signature::*;

#[test]
fn a_digest_of_the_body_in_a_header_of_its_own_is_no_signature() {
    let digest = STANDARD.encode(Sha256::digest(BODY));
    let headers = [
        ("host", "hooks.example.com"),
        ("x-ms-date", "Mon, 21 Sep 2026 14:13:20 GMT"),
        ("x-ms-content-sha256", &digest),
        ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
        (
            "authorization",
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ];
    let report = report(
        "vipps",
        &["another-secret-of-that-length-xx"],
        &headers,
        BODY,
    );
    assert_eq!(report.mistakes, [], "{report:#?}");
    assert!(!report.signature_is_right && !report.search_was_cut_off);
    // In the signature's own place it is the mistake that it was.
    let digest = hex::encode(Sha256::digest(format!("1790000000.{BODY}")));
    check(&digest, &[Mistake::PlainDigest(Algorithm::Sha256)]);
}

#[test]
fn an_item_that_the_store_kept_of_a_batch_is_explained_alone() {
    let item = |signature: &str| {
        format!(
            "{{\"additionalData\":{{\"hmacSignature\":\"{signature}\"}},\"amount\":{{\"value\":1130,\"currency\":\"EUR\"}},\
             \"eventCode\":\"AUTHORISATION\",\"merchantAccountCode\":\"M\",\"merchantReference\":\"r\",\
             \"pspReference\":\"p\",\"success\":\"true\"}}\n"
        )
    };
    let secret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
    let key = hex::decode(secret).unwrap();
    let right = STANDARD.encode(mac(&key, "p::M:r:1130:EUR:AUTHORISATION:true"));
    let explained = report("adyen-classic", &[secret], &[], &item(&right));
    assert_eq!(explained.outcome, Ok(()), "{explained:#?}");
    assert!(explained.signature_is_right);
    let wrong = STANDARD.encode(mac(&key, "p::M:r:9999:EUR:AUTHORISATION:true"));
    let explained = report("adyen-classic", &[secret], &[], &item(&wrong));
    assert!(
        matches!(explained.outcome, Err(SignatureRefusal::Mismatch { .. })),
        "{explained:#?}"
    );
    assert_eq!(explained.contents, ["p::M:r:1130:EUR:AUTHORISATION:true"]);
}

#[test]
fn an_event_of_a_list_that_was_signed_as_a_whole_is_told_apart() {
    let whole = "{\"events\":[{\"id\":\"EV1\"}]}";
    let signature = signed(whole);
    let headers = [("webhook-signature", &*signature)];
    let explained = report("gocardless", &[SECRET], &headers, whole);
    assert!(explained.signature_is_right && !explained.is_no_batch);
    let explained = report("gocardless", &[SECRET], &headers, "{\"id\":\"EV1\"}");
    assert!(!explained.signature_is_right && explained.is_no_batch);
    let explained = report("timestamped", &[SECRET], &headers, BODY);
    assert!(!explained.is_no_batch);
}

#[test]
fn a_body_that_was_compressed_is_told_without_proof() {
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-webhook-signature", &*signed("something else")),
        ("content-encoding", "gzip"),
    ];
    let report = report("timestamped", &[SECRET], &headers, BODY);
    assert_eq!(report.mistakes, []);
    assert_eq!(report.compression, Some(Compression::Undone("gzip")));
}

#[test]
fn a_digest_that_is_not_the_one_that_is_named_is_told_with_both() {
    use Algorithm::{Md5, Sha256, Sha512};
    let body = r#"{"order":{"orderId":"O1"}}"#;
    let content = format!("{body}{SECRET}");
    let digest = |algorithm| {
        let digests = [
            (Md5, hex::encode(md5::Md5::digest(&content))),
            (Sha256, hex::encode(sha2::Sha256::digest(&content))),
            (Sha512, hex::encode(sha2::Sha512::digest(&content))),
        ];
        let mut digests = digests.into_iter();
        let found = digests.find(|(own, _)| *own == algorithm);
        found.map(|(_, digest)| digest).unwrap()
    };
    for (used, named) in [
        (Sha256, Md5),
        (Md5, Sha256),
        (Sha512, Sha256),
        (Sha256, Sha512),
    ] {
        let name = named.name_for_senders();
        let header = format!(
            "sender=checkout;signature={};algorithm={name};content=DOCUMENT",
            digest(used)
        );
        let explained = report(
            "payu-emea",
            &[SECRET],
            &[("openpayu-signature", &header)],
            body,
        );
        assert_eq!(
            explained.mistakes,
            [Mistake::AlgorithmNamed { used, named }]
        );
        assert!(!explained.signature_is_right);
        let told = explained.mistakes[0].to_string();
        assert!(told.ends_with(&format!("names {name}")), "{told}");
    }
    let header = format!("signature={};algorithm=MD5", digest(Md5));
    let explained = report(
        "payu-emea",
        &[SECRET],
        &[("openpayu-signature", &header)],
        body,
    );
    assert_eq!(
        (explained.outcome, explained.mistakes),
        (Ok(()), Vec::new())
    );
}

#[test]
fn what_is_left_out_of_a_content_alone_is_named() {
    for (profile, header, time, signed, content) in [
        (
            "slack",
            "x-slack",
            "1790000000",
            "v0:1790000000",
            "v0:{timestamp}{body}",
        ),
        (
            "zoom",
            "x-zm",
            "1790000000",
            "v0:1790000000",
            "v0:{timestamp}{body}",
        ),
        (
            "zoom",
            "x-zm",
            "1790000000",
            "v01790000000:",
            "v0{timestamp}:{body}",
        ),
        (
            "revolut",
            "revolut",
            "1790000000000",
            "v1.1790000000000",
            "v1.{timestamp}{body}",
        ),
        (
            "revolut",
            "revolut",
            "1790000000000",
            "1790000000000.",
            "{timestamp}.{body}",
        ),
    ] {
        let version = if profile == "revolut" { "v1" } else { "v0" };
        let signature = hex::encode(mac(SECRET.as_bytes(), &format!("{signed}{BODY}")));
        let headers = [
            (&*format!("{header}-request-timestamp"), time),
            (
                &*format!("{header}-signature"),
                &*format!("{version}={signature}"),
            ),
        ];
        let found = report(profile, &[SECRET], &headers, BODY);
        let expected = [Mistake::Content(content.to_owned())];
        assert_eq!(found.mistakes, expected, "{profile}");
    }
}
