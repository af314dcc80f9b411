//! What is signed and is not there is told, and is no other secret.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::mistakes_tests::{BODY, SECRET, mac, report, signed};
use crate::identity::Force;
use crate::secret::Secret;
use crate::signature::*;

/// What is found of a delivery to `path_and_query`, of which nothing is known where it is empty.
fn at(
    profile: &str,
    path_and_query: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Explanation {
    let secret = ProducerSecret {
        label: "env:S".into(),
        secret: Secret::new(SECRET.as_bytes().to_vec()),
        force: Force::Live,
    };
    let profile = Arc::clone(builtin().get(profile).unwrap());
    let verifier = Verifier::new(profile, vec![secret], Settings::default()).unwrap();
    let named = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    };
    let headers: HeaderMap = headers.iter().map(named).collect();
    let request = Request {
        method: &Method::POST,
        path_and_query,
        headers: &headers,
    };
    let body = Bytes::copy_from_slice(body.as_bytes());
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    explain(&verifier, &request, &body, now)
}

fn found<'a>(report: &'a Explanation, place: &str) -> &'a Finding {
    let mut all = report.findings.iter();
    let found = all.find(|finding| finding.place == place);
    found.unwrap_or_else(|| panic!("{place}: {report:#?}"))
}

#[test]
fn where_a_part_of_the_url_is_signed_a_missing_url_is_told() {
    let signature = signed("id:123;request-id:r1;ts:1790000000;");
    let line = format!("ts=1790000000,v1={signature}");
    let headers = [("x-request-id", "r1"), ("x-signature", &*line)];
    let explained = at("mercado-pago", "", &headers, BODY);
    assert!(explained.url_is_missing && explained.contents.is_empty());
    let place = "the query parameter data.id";
    assert_eq!(found(&explained, place).found, None);
    assert_eq!(found(&explained, place).absence, Absence::Allowed);
    let explained = at("mercado-pago", "/hook?data.id=123", &headers, BODY);
    assert_eq!(explained.outcome, Ok(()));
    assert!(!explained.url_is_missing);
    assert_eq!(found(&explained, place).found.as_deref(), Some("123"));
    // The URL is known, and what is signed of it is not there.
    let explained = at("mercado-pago", "/hook", &headers, BODY);
    assert!(!explained.url_is_missing && !explained.contents.is_empty());
    assert_eq!(found(&explained, place).found, None);
    // A signature that is right needs no URL.
    let line = format!(
        "ts=1790000000,v1={}",
        signed("request-id:r1;ts:1790000000;")
    );
    let headers = [("x-request-id", "r1"), ("x-signature", &*line)];
    let explained = at("mercado-pago", "", &headers, BODY);
    assert_eq!(explained.outcome, Ok(()));
    assert!(!explained.url_is_missing && !explained.contents.is_empty());
}

#[test]
fn a_path_that_is_signed_is_missing_too() {
    let headers = [
        ("host", "h"),
        ("x-ms-date", "Mon, 21 Sep 2026 14:13:20 GMT"),
        (
            "authorization",
            "HMAC-SHA256 SignedHeaders=a&Signature=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ];
    assert!(at("vipps", "", &headers, BODY).url_is_missing);
    // What was sent to the root verifies, whether that is said or not.
    let digest = STANDARD.encode(Sha256::digest(BODY));
    let content = format!("POST\n/\nMon, 21 Sep 2026 14:13:20 GMT;h;{digest}");
    let signature = STANDARD.encode(mac(SECRET.as_bytes(), &content));
    let line = format!("HMAC-SHA256 SignedHeaders=a&Signature={signature}");
    let explained = at(
        "vipps",
        "",
        &[headers[0], headers[1], ("authorization", &line)],
        BODY,
    );
    assert_eq!(
        (explained.outcome, explained.url_is_missing),
        (Ok(()), false)
    );
    assert!(!at("vipps", "/", &headers, BODY).url_is_missing);
    let headers = [("x-razorpay-signature", &*signed("another"))];
    assert!(!at("razorpay", "", &headers, BODY).url_is_missing);
}

#[test]
fn a_signed_header_that_is_missing_is_told() {
    let signature = signed(&format!("{BODY}|20260921T141320Z|1.0"));
    let mut headers = vec![
        ("x-volt-timed", "20260921T141320Z"),
        ("x-volt-signed", &*signature),
    ];
    let explained = report("volt", &[SECRET], &headers, BODY);
    let agent = found(&explained, "the header user-agent");
    assert_eq!((&agent.found, agent.absence), (&None, Absence::Lost));
    headers.push(("user-agent", "Volt/1.0"));
    let explained = report("volt", &[SECRET], &headers, BODY);
    assert_eq!(explained.outcome, Ok(()));
    let agent = found(&explained, "the header user-agent");
    assert_eq!(agent.found.as_deref(), Some("Volt/1.0"));
}

#[test]
fn an_algorithm_that_is_not_named_is_missing() {
    let digest = hex::encode(Md5::digest(format!("{BODY}{SECRET}")));
    let place = "the item algorithm of the signature";
    let explained = |line: &str| {
        report(
            "payu-emea",
            &[SECRET],
            &[("openpayu-signature", line)],
            BODY,
        )
    };
    let unnamed = explained(&format!("sender=checkout;signature={digest}"));
    let algorithm = found(&unnamed, place);
    assert_eq!(
        (&algorithm.found, algorithm.absence),
        (&None, Absence::Unwritten)
    );
    assert!(unnamed.signature_is_right);
    let named = explained(&format!("signature={digest};algorithm=MD5"));
    assert_eq!(found(&named, place).found.as_deref(), Some("MD5"));
    let other = explained(&format!("signature={digest};algorithm=CRC32"));
    let told = found(&other, place).found.as_deref();
    assert_eq!(told, Some("CRC32, which is none that the profile allows"));
}
