//! Each usual mistake is named, and no report tells a secret or a signature.

use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use sha2::Sha256;

use super::*;
use crate::identity::Standing;
use crate::secret::Secret;

const NOW: i64 = 1_790_000_000;
const BODY: &str = "{\"id\": \"evt_1\", \"a\": 1.00, \"url\": \"https://x/y\"}";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn mac(key: &[u8], content: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn report(profile: &str, secrets: &[&str], headers: &[(&str, &str)], body: &str) -> Explanation {
    let secrets = secrets.iter().map(|text| ProducerSecret {
        label: format!("env:S{}", text.len()).into(),
        secret: Secret::new(text.as_bytes().to_vec()),
        standing: Standing::Live,
    });
    let profile = Arc::clone(builtin().get(profile).unwrap());
    let verifier = Verifier::new(profile, secrets.collect(), Settings::default()).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &map,
    };
    let body = Bytes::copy_from_slice(body.as_bytes());
    explain(
        &verifier,
        &request,
        &body,
        Timestamp::from_second(NOW).unwrap(),
    )
}

/// A `timestamped` delivery of `BODY` whose signature was made otherwise.
fn timestamped(signature: &str) -> Explanation {
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-webhook-signature", signature),
    ];
    let report = report("timestamped", &[SECRET], &headers, BODY);
    tells_nothing(&report, signature);
    report
}

fn tells_nothing(report: &Explanation, signature: &str) {
    let all = format!("{report:?}");
    assert!(
        !all.contains(SECRET) && !all.contains("MfKQ9r8GKYqr"),
        "{all}"
    );
    assert!(!all.contains(signature), "{all}");
    let right = hex::encode(mac(SECRET.as_bytes(), &format!("1790000000.{BODY}")));
    assert!(!all.contains(&right), "{all}");
}

fn check(signature: &str, expected: &[Mistake]) {
    let report = timestamped(signature);
    assert_eq!(report.mistakes, expected, "{report:#?}");
}

fn signed(content: &str) -> String {
    hex::encode(mac(SECRET.as_bytes(), content))
}

#[test]
fn a_right_signature_is_right_and_is_not_printed() {
    let report = timestamped(&signed(&format!("1790000000.{BODY}")));
    assert_eq!(report.outcome, Ok(()));
    assert!(report.signature_is_right && report.mistakes.is_empty());
    assert_eq!(report.contents, [format!("1790000000.{BODY}")]);
}

#[test]
fn a_body_that_was_written_again_is_known() {
    let compact = "{\"id\":\"evt_1\",\"a\":1.00,\"url\":\"https://x/y\"}";
    check(
        &signed(&format!("1790000000.{compact}")),
        &[Mistake::Body(BodyMistake::Compact)],
    );
    let slashes = compact.replace('/', "\\/");
    check(
        &signed(&format!("1790000000.{slashes}")),
        &[Mistake::Body(BodyMistake::SlashesEscaped)],
    );
    check(
        &signed(&format!("1790000000.{BODY}\n")),
        &[Mistake::Body(BodyMistake::NewlineSigned)],
    );
    check(&signed("1790000000."), &[Mistake::Body(BodyMistake::Empty)]);
}

#[test]
fn a_key_that_was_taken_otherwise_is_known() {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD
        .decode(&SECRET[6..])
        .unwrap();
    let content = format!("1790000000.{BODY}");
    check(
        &hex::encode(mac(&SECRET.as_bytes()[6..], &content)),
        &[Mistake::Key(KeyMistake::Prefix)],
    );
    check(
        &hex::encode(mac(format!("{SECRET}\n").as_bytes(), &content)),
        &[Mistake::Key(KeyMistake::Newline)],
    );

    // Standard Webhooks: the text itself as the key, with its prefix.
    let content = format!("msg_1.1790000000.{BODY}");
    let headers = |signature: &str| format!("v1,{signature}");
    for (bytes, expected) in [
        (
            mac(SECRET.as_bytes(), &content),
            Some(KeyMistake::Form(KeyForm::Utf8)),
        ),
        (
            mac(&SECRET.as_bytes()[6..], &content),
            Some(KeyMistake::Form(KeyForm::Utf8)),
        ),
        (mac(&key, &content), None),
    ] {
        let signature = headers(&Encoding::Base64.encode(&bytes));
        let all = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1790000000"),
            ("webhook-signature", &*signature),
        ];
        let found = report("standard-webhooks", &[SECRET], &all, BODY);
        assert_eq!(
            found.mistakes,
            expected.map(Mistake::Key).into_iter().collect::<Vec<_>>()
        );
        assert!(!format!("{found:?}").contains(&signature));
    }
}

#[test]
fn another_writing_another_header_another_content_and_another_unit_are_known() {
    let bytes = mac(SECRET.as_bytes(), &format!("1790000000.{BODY}"));
    check(
        &Encoding::Base64.encode(&bytes),
        &[Mistake::Encoding(Encoding::Base64)],
    );
    check(&signed(BODY), &[Mistake::Content("{body}".into())]);
    check(
        &signed(&format!("1790000000000.{BODY}")),
        &[Mistake::TimestampUnit],
    );
    let right = hex::encode(&bytes);
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-signature", &*right),
    ];
    let found = report("timestamped", &[SECRET], &headers, BODY);
    assert_eq!(found.outcome.unwrap_err().name(), "signature-missing");
    assert_eq!(
        found.mistakes,
        [Mistake::Header(HeaderName::from_static("x-signature"))]
    );
}

#[test]
fn two_mistakes_at_once_are_both_named_and_none_is_invented() {
    let bytes = mac(SECRET.as_bytes(), &format!("1790000000.{BODY}\n"));
    let expected = [
        Mistake::Body(BodyMistake::NewlineSigned),
        Mistake::Encoding(Encoding::Base64),
    ];
    check(&Encoding::Base64.encode(&bytes), &expected);
    check(&"00".repeat(32), &[]);
    assert!(!timestamped(&"00".repeat(32)).signature_is_right);
}

#[test]
fn a_stale_time_and_a_time_in_the_other_unit_are_told_apart() {
    let right = signed(&format!("1789990000.{BODY}"));
    let headers = [
        ("x-webhook-timestamp", "1789990000"),
        ("x-webhook-signature", &*right),
    ];
    let stale = report("timestamped", &[SECRET], &headers, BODY);
    assert_eq!(
        stale.outcome.unwrap_err().name(),
        "timestamp-outside-tolerance"
    );
    assert!(stale.signature_is_right && !stale.time_in_the_other_unit);
    assert_eq!(stale.age, Some(jiff::SignedDuration::from_secs(10_000)));
    let right = signed(&format!("1790000000000.{BODY}"));
    let headers = [
        ("x-webhook-timestamp", "1790000000000"),
        ("x-webhook-signature", &*right),
    ];
    assert!(report("timestamped", &[SECRET], &headers, BODY).time_in_the_other_unit);
}

#[test]
fn the_secret_of_several_that_verifies_is_named_by_its_reference() {
    let right = signed(&format!("1790000000.{BODY}"));
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-webhook-signature", &*right),
    ];
    let found = report("timestamped", &["another", SECRET], &headers, BODY);
    assert_eq!(
        found.verified_by.as_deref(),
        Some(&*format!("env:S{}", SECRET.len()))
    );
}
