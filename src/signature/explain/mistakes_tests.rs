//! Each usual mistake is named, and no report tells a secret or a signature.

use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use sha2::Sha256;

use super::rewritten::rewritten;
use crate::identity::Force;
use crate::secret::Secret;
use crate::signature::*;

const NOW: i64 = 1_790_000_000;
pub(super) const BODY: &str = "{\"id\": \"evt_1\", \"a\": 1.00, \"url\": \"https://x/y\"}";
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) fn mac(key: &[u8], content: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn report(
    profile: &str,
    secrets: &[&str],
    headers: &[(&str, &str)],
    body: &str,
) -> Explanation {
    report_bytes(profile, secrets, headers, body.into())
}

pub(super) fn report_bytes(
    profile: &str,
    secrets: &[&str],
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Explanation {
    report_with(Settings::default(), profile, secrets, headers, body)
}

/// Of a delivery of Square's to this URL.
pub(super) fn report_of_url(url: &str, headers: &[(&str, &str)]) -> Explanation {
    let settings = Settings {
        url: Some(url.to_owned()),
        ..Settings::default()
    };
    report_with(settings, "square", &[SECRET], headers, BODY.into())
}

fn report_with(
    settings: Settings,
    profile: &str,
    secrets: &[&str],
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Explanation {
    let secrets = secrets.iter().map(|text| ProducerSecret {
        label: format!("env:S{}", text.len()).into(),
        secret: Secret::new(text.as_bytes().to_vec()),
        force: Force::Live,
    });
    let profile = Arc::clone(builtin().get(profile).unwrap());
    let verifier = Verifier::new(profile, secrets.collect(), settings).unwrap();
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
    explain(
        &verifier,
        &request,
        &Bytes::from(body),
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

pub(super) fn tells_nothing(report: &Explanation, signature: &str) {
    let all = format!("{report:?}");
    assert!(
        !all.contains(SECRET) && !all.contains("MfKQ9r8GKYqr"),
        "{all}"
    );
    assert!(!all.contains(signature), "{all}");
    let right = hex::encode(mac(SECRET.as_bytes(), &format!("1790000000.{BODY}")));
    assert!(!all.contains(&right), "{all}");
}

pub(super) fn check(signature: &str, expected: &[Mistake]) {
    let report = timestamped(signature);
    assert_eq!(report.mistakes, expected, "{report:#?}");
}

pub(super) fn signed(content: &str) -> String {
    hex::encode(mac(SECRET.as_bytes(), content))
}

#[test]
fn a_right_signature_is_right_and_is_not_printed() {
    let report = timestamped(&signed(&format!("1790000000.{BODY}")));
    assert_eq!(report.outcome, Ok(()));
    assert!(report.signature_is_right && report.mistakes.is_empty());
    assert_eq!(report.contents, [format!("1790000000.{BODY}")]);
}

/// The mistake of whoever signed `other` and sent `sent`, which means the same.
fn written_again(sent: &str, other: &str) -> BodyMistake {
    let mut all = rewritten(sent);
    let (writing, _) = all
        .find(|(_, text)| text.as_deref() == Some(other))
        .unwrap();
    BodyMistake::Rewritten(writing)
}

#[test]
fn no_library_is_named_that_does_not_sort() {
    let sorted = written_again(
        BODY,
        "{\"a\":1.00,\"id\":\"evt_1\",\"url\":\"https://x/y\"}",
    );
    assert!(!sorted.to_string().contains(" does)"), "{sorted}");
}

#[test]
fn a_body_that_was_written_again_is_known() {
    let compact = "{\"id\":\"evt_1\",\"a\":1.00,\"url\":\"https://x/y\"}";
    for other in [
        compact,
        &compact.replace('/', "\\/"),
        &compact.replace('/', "\\/").replace("1.00", "1"),
        &compact.replace("1.00", "1"),
        "{\"a\":1.00,\"id\":\"evt_1\",\"url\":\"https://x/y\"}",
        "{\n  \"id\": \"evt_1\",\n  \"a\": 1.00,\n  \"url\": \"https://x/y\"\n}",
    ] {
        check(
            &signed(&format!("1790000000.{other}")),
            &[Mistake::Body(written_again(BODY, other))],
        );
    }
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
        &[Mistake::Key(KeyMistake::PrefixTakenOff)],
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
fn another_key_than_the_secrets_own_bytes_is_known() {
    use sha2::Digest as _;
    let content = format!("1790000000.{BODY}");
    let with = |key: &[u8], expected| {
        check(&hex::encode(mac(key, &content)), &[Mistake::Key(expected)]);
    };
    with(format!("{SECRET}\r\n").as_bytes(), KeyMistake::Newline);
    with(format!("{SECRET} ").as_bytes(), KeyMistake::Spaced);
    with(format!("\"{SECRET}\"").as_bytes(), KeyMistake::Quoted);
    with(&Sha256::digest(SECRET), KeyMistake::Digest);
    let expected = [
        Mistake::PlainDigest(Algorithm::Sha256),
        Mistake::Content("{body}{secret}".into()),
    ];
    let digest = Sha256::digest(format!("{BODY}{SECRET}"));
    check(&hex::encode(digest), &expected);

    // What is configured here has lost its prefix.
    let signature = hex::encode(mac(SECRET.as_bytes(), &content));
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-webhook-signature", &*signature),
    ];
    let found = report("timestamped", &[&SECRET[6..]], &headers, BODY);
    assert_eq!(
        found.mistakes,
        [Mistake::Key(KeyMistake::PrefixMissing("whsec_"))]
    );
    tells_nothing(&found, &signature);
}

#[test]
fn what_stands_around_a_secret_that_is_configured_here_is_known() {
    let signature = signed(&format!("1790000000.{BODY}"));
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        ("x-webhook-signature", &*signature),
    ];
    for (configured, expected) in [
        (format!("\"{SECRET}\""), KeyMistake::Quotes),
        (format!(" {SECRET}"), KeyMistake::Space),
        (format!("WEBHOOK_SECRET='{SECRET}'"), KeyMistake::Name),
        (format!("\u{feff}{SECRET}"), KeyMistake::ByteOrderMark),
    ] {
        let found = report("timestamped", &[&configured], &headers, BODY);
        assert_eq!(found.mistakes, [Mistake::Key(expected)]);
        assert_eq!(found.mistaken_secret, None);
        tells_nothing(&found, &signature);
    }
    let found = report(
        "timestamped",
        &["other", &format!("{SECRET} ")],
        &headers,
        BODY,
    );
    let label = format!("env:S{}", SECRET.len() + 1);
    assert_eq!(found.mistaken_secret.as_deref(), Some(&*label));
}

#[test]
fn a_right_signature_that_stands_elsewhere_is_known_and_is_not_printed() {
    let right = signed(&format!("1790000000.{BODY}"));
    let found = |profile: &str, name: &str, value: String| {
        let found = report(profile, &[SECRET], &[(name, &value)], BODY);
        tells_nothing(&found, &right);
        assert!(found.outcome.is_err() && !found.signature_is_right);
        found.mistakes
    };
    let listed = [Mistake::Listed("as v1=SIGNATURE".into())];
    for value in [
        format!("t=1790000000,v0={right}"),
        format!("t=1790000000,{right}"),
        format!("t=1790000000,v1=\"{right}\""),
        format!("t=1790000000;v1={right}"),
        format!("t=1790000000 v1={right}"),
    ] {
        assert_eq!(found("stripe", "stripe-signature", value), listed);
    }
    let elsewhere = [Mistake::Header(HeaderName::from_static("x-signature"))];
    let value = format!("t=1790000000,v1={right}");
    assert_eq!(found("stripe", "x-signature", value), elsewhere);
    let value = format!("t=1790000000,v1={}", &right[..40]);
    assert_eq!(
        found("stripe", "stripe-signature", value),
        [Mistake::CutOff]
    );
}

#[test]
fn a_right_signature_beside_a_time_that_can_not_be_read_is_right() {
    let right = signed(&format!("1790000000.5.{BODY}"));
    let headers = [
        ("x-webhook-timestamp", "1790000000.5"),
        ("x-webhook-signature", &*right),
    ];
    let found = report("timestamped", &[SECRET], &headers, BODY);
    assert_eq!(found.outcome.unwrap_err().name(), "signature-malformed");
    assert!(found.signature_is_right && found.mistakes.is_empty());
}

#[test]
fn a_form_that_was_written_again_is_known() {
    let sent = "text=a+b%21&url=https%3A%2F%2Fx";
    let mistakes = |signed_body: &str| {
        let signature = signed(&format!("v0:1790000000:{signed_body}"));
        let headers = [
            ("x-slack-request-timestamp", "1790000000"),
            ("x-slack-signature", &*format!("v0={signature}")),
        ];
        let found = report("slack", &[SECRET], &headers, sent);
        tells_nothing(&found, &signature);
        found.mistakes
    };
    assert_eq!(mistakes(sent), []);
    for (signed_body, expected) in [
        (sent.replace('+', "%20"), "written again"),
        (sent.to_lowercase(), "in the other case"),
        ("text=a b!&url=https://x".to_owned(), "URL-decoded"),
        ("https://x".to_owned(), "one field"),
        (
            "{\"text\":\"a b!\",\"url\":\"https://x\"}".to_owned(),
            "as a JSON object",
        ),
        ("[object Object]".to_owned(), "[object Object]"),
    ] {
        let found = mistakes(&signed_body);
        let [Mistake::Body(found)] = &*found else {
            panic!("{signed_body}: {found:?}");
        };
        assert!(found.to_string().contains(expected), "{found}");
    }
}

#[test]
fn a_search_that_is_cut_off_says_so() {
    let secret = ProducerSecret {
        label: "env:S".into(),
        secret: Secret::new(SECRET.as_bytes().to_vec()),
        force: Force::Live,
    };
    let profile = Arc::clone(builtin().get("github").unwrap());
    let verifier = Verifier::new(profile, vec![secret], Settings::default()).unwrap();
    let scheme = verifier.profile.scheme.as_ref().unwrap();
    let mut headers = HeaderMap::new();
    let signature = format!("sha256={}", signed("something else"));
    headers.insert(
        "x-hub-signature-256",
        HeaderValue::from_str(&signature).unwrap(),
    );
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &headers,
    };
    let delivery =
        super::delivery::Delivery::read(&verifier, scheme, &request, BODY.as_bytes(), None);
    assert!(delivery.search(1000).cut_off);
    let whole = delivery.search(super::search::SEARCH_BYTES_MAX);
    assert!(!whole.cut_off && whole.mistakes.is_none());
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

#[test]
fn a_body_that_holds_the_secret_is_told_without_it() {
    let body = format!("{{\"id\":\"1\",\"debug\":\"{SECRET}{SECRET}\"}}");
    let headers = [
        ("x-webhook-timestamp", "1790000000"),
        (
            "x-webhook-signature",
            &*signed(&format!("1790000000.{body}")),
        ),
    ];
    let found = report("timestamped", &["other-secret", SECRET], &headers, &body);
    assert_eq!(found.outcome, Ok(()));
    tells_nothing(&found, headers[1].1);
    assert_eq!(
        found.contents,
        ["1790000000.{\"id\":\"1\",\"debug\":\"<secret><secret>\"}"]
    );
}

/// Of every other profile the signature covers less than the whole body, or is made with a key that nobody here has, or
/// stands in the body itself: what is done to the body of a delivery tells nothing of it.
#[test]
fn the_usual_mistakes_are_known_of_each_profile_that_signs_the_whole_body_in_a_header() {
    const HEX: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";
    let now = Timestamp::from_second(NOW).unwrap();
    let mut passed_over = Vec::new();
    for profile in builtin().iter() {
        let name = profile.name();
        let descriptor = profile.descriptor();
        let Some(signature) = descriptor.signature.as_ref() else {
            passed_over.push(name);
            continue;
        };
        let whole = descriptor.signed == Some(Coverage::Body)
            && signature.mac.is_none_or(|mac| mac == MacKind::Hmac)
            && signature.key != Some(KeyForm::PublicKey)
            && signature
                .from
                .as_ref()
                .is_some_and(|from| from.header.is_some());
        if !whole {
            passed_over.push(name);
            continue;
        }
        let settings = Settings {
            url: Some("https://hooks.example.com".to_owned()),
            values: profile
                .needed_values()
                .iter()
                .map(|name| ((*name).to_owned(), "v".to_owned()))
                .collect(),
            ..Settings::default()
        };
        let secret = Secret::new(HEX.into());
        // Each signs something else than it sends, or with another key.
        let spaced = "{\"id\": \"evt_1\", \"amount\": 1.00}";
        let cases: [(&str, &str, Option<BodyMistake>); 3] = [
            (
                "{\"id\":\"evt_1\",\"amount\":1.00}",
                spaced,
                Some(written_again(spaced, "{\"id\":\"evt_1\",\"amount\":1.00}")),
            ),
            (
                "{\"id\": \"evt_1\", \"amount\": 1.00}\n",
                spaced,
                Some(BodyMistake::NewlineSigned),
            ),
            (spaced, spaced, None),
        ];
        for (signed_body, sent, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("h"));
            headers.insert("user-agent", HeaderValue::from_static("Volt/1.0"));
            headers.insert("x-volt-timed", HeaderValue::from_static("20260921"));
            headers.insert("salt", HeaderValue::from_static("s"));
            let request = Request {
                method: &Method::POST,
                path_and_query: "/",
                headers: &headers,
            };
            let to_sign = SignRequest {
                request,
                id: "msg_1",
                now,
            };
            let made = sign(
                profile,
                &secret,
                &settings,
                &to_sign,
                Bytes::copy_from_slice(signed_body.as_bytes()),
            )
            .unwrap();
            headers.extend(
                made.headers
                    .into_iter()
                    .map(|(name, value)| (Some(name), value)),
            );
            let others = ["another secret of the producer's, that is not it", HEX];
            let secrets = others.iter().enumerate().filter_map(|(at, text)| {
                // Not every text is a key for every profile.
                let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let usable = hexadecimal || signature.key.is_none_or(|key| key == KeyForm::Utf8);
                usable.then(|| ProducerSecret {
                    label: format!("file:s#{at}").into(),
                    secret: Secret::new((*text).into()),
                    force: Force::Live,
                })
            });
            let verifier =
                Verifier::new(Arc::clone(profile), secrets.collect(), settings.clone()).unwrap();
            let request = Request {
                method: &Method::POST,
                path_and_query: "/",
                headers: &headers,
            };
            let found = explain(
                &verifier,
                &request,
                &Bytes::copy_from_slice(sent.as_bytes()),
                now,
            );
            let expected: Vec<_> = expected.map(Mistake::Body).into_iter().collect();
            assert_eq!(found.mistakes, expected, "{name}: {found:#?}");
            assert_eq!(found.outcome.is_ok(), expected.is_empty(), "{name}");
            if expected.is_empty() {
                assert_eq!(found.verified_by.as_deref(), Some("file:s#1"), "{name}");
            }
            let all = format!("{found:?}");
            assert!(!all.contains(HEX), "{name}: {all}");
        }
    }
    assert_eq!(
        passed_over.join(" "),
        "adyen-classic braintree mercado-pago noon nuvei payu-emea pix ppro wise zen"
    );
}
