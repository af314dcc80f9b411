//! What those ask most often whose webhooks do not verify: another URL, a body that is not whole, another credential.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use md5::Md5;

use super::mistakes_tests::{BODY, SECRET, check, mac, report, signed};
use crate::identity::Force;
use crate::secret::Secret;
use crate::signature::*;

/// A delivery of Square's, asked for by `path_and_query`, to a receiver whose registered URL is `https://example.com/in`.
fn square(signed: &str, path_and_query: &str, lines: &[(&'static str, &str)]) -> Vec<Mistake> {
    let secret = ProducerSecret {
        label: "env:S".into(),
        secret: Secret::new(SECRET.as_bytes().to_vec()),
        force: Force::Live,
    };
    let settings = Settings {
        url: Some("https://example.com/in".to_owned()),
        ..Settings::default()
    };
    let profile = std::sync::Arc::clone(builtin().get("square").unwrap());
    let verifier = Verifier::new(profile, vec![secret], settings).unwrap();
    let bytes = mac(SECRET.as_bytes(), &format!("{signed}{BODY}"));
    let signature = Encoding::Base64.encode(&bytes);
    let mut headers = HeaderMap::new();
    let own = ("x-square-hmacsha256-signature", signature.as_str());
    for (name, text) in lines.iter().chain([&own]) {
        let value = HeaderValue::from_str(text).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    let request = Request {
        method: &Method::POST,
        path_and_query,
        headers: &headers,
    };
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let body = bytes::Bytes::from_static(BODY.as_bytes());
    let report = explain(&verifier, &request, &body, now);
    assert!(!format!("{report:?}").contains(&signature));
    report.mistakes
}

#[test]
fn another_url_is_known() {
    let found = |url: &str| square(url, "/own?a=1", &[("host", "inner:8443")]);
    assert_eq!(found("https://example.com/in?a=1"), []);
    for (url, expected) in [
        ("https://example.com/in", UrlMistake::Query),
        ("http://example.com/in?a=1", UrlMistake::Scheme),
        ("https://example.com/in/?a=1", UrlMistake::Slash),
        ("https://inner:8443/own?a=1", UrlMistake::Request),
        ("https://example.com", UrlMistake::Origin),
        ("/in?a=1", UrlMistake::Path),
    ] {
        assert_eq!(found(url), [Mistake::Url(expected)], "{url}");
    }
}

#[test]
fn another_host_and_another_port_are_known() {
    use UrlMistake::*;
    let inner = [("host", "inner:8443")];
    let asked = [("x-forwarded-host", "asked.example")];
    for (url, lines, expected) in [
        ("https://example.com:8443/in", &inner[..0], OtherPort(8443)),
        ("https://example.com:443/in", &inner[..0], Port),
        ("https://inner:8443/in", &inner[..], Host),
        ("https://asked.example/in", &asked[..], Forwarded),
        ("https://example.com/own", &inner[..0], RequestPath),
        ("https://example.com/", &inner[..0], NoPath),
        ("https%3A%2F%2Fexample.com%2Fin", &inner[..0], Encoded),
        ("https://example.com//in", &inner[..0], TwoSlashes),
    ] {
        assert_eq!(
            square(url, "/own", lines),
            [Mistake::Url(expected)],
            "{url}"
        );
    }
    let found = square("http://example.com:8080/in", "/own", &[]);
    assert_eq!(found, [OtherPort(8080), Scheme].map(Mistake::Url));
    assert_eq!(square("https://elsewhere.example/in", "/own", &inner), []);
}

#[test]
fn an_hmac_with_md5_is_known() {
    let mut mac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("1790000000.{BODY}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    check(&signature, &[Mistake::Algorithm(Algorithm::Md5)]);
}

#[test]
fn a_key_that_was_taken_for_the_content_is_known() {
    let content = format!("1790000000.{BODY}");
    let signature = hex::encode(mac(content.as_bytes(), SECRET));
    check(&signature, &[Mistake::KeyAndContentExchanged]);
}

#[test]
fn a_body_that_is_not_whole_is_known() {
    let stripe = |kept: &str| {
        let line = format!("t=1790000000,v1={}", signed(&format!("1790000000.{BODY}")));
        report("stripe", &[SECRET], &[("stripe-signature", &line)], kept)
    };
    let body = |mistake| vec![Mistake::Body(mistake)];
    let cut = stripe(BODY.strip_suffix('}').unwrap());
    assert_eq!(cut.mistakes, body(BodyMistake::CutAtItsEnd));
    let shorter = stripe(BODY.get(..20).unwrap());
    assert!(shorter.mistakes.is_empty() && shorter.is_cut_off);
    assert!(!stripe(&BODY.replace('1', "2")).is_cut_off);
    let chunks = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    assert_eq!(stripe(&chunks).mistakes, body(BodyMistake::Chunked));
    let head = format!("POST /in HTTP/1.1\r\nhost: h\r\n\r\n{BODY}");
    assert_eq!(stripe(&head).mistakes, body(BodyMistake::WithHead));
}

#[test]
fn another_credential_than_the_webhooks_own_is_told() {
    let told = |profile: &str, header: &'static str, secret: &str| {
        let line = format!("t=1790000000,v1={}", signed("another"));
        report(profile, &[secret], &[(header, &line)], BODY).other_credential
    };
    let stripe = |secret| told("stripe", "stripe-signature", secret);
    assert_eq!(stripe("sk_test_4eC39HqLyjWD"), Some("sk_test_"));
    assert_eq!(stripe(SECRET), None);
    // Paystack signs with the secret key of its API.
    let paystack = |secret| told("paystack", "x-paystack-signature", secret);
    assert_eq!(paystack("sk_test_4eC39HqLyjWD"), None);
    assert_eq!(paystack("pk_test_4eC39HqLyjWD"), Some("pk_test_"));
}

#[test]
fn a_prefix_that_is_missing_here_or_stands_here_twice_is_named() {
    use base64::Engine as _;
    let told = |profile: &str, secret: &str, headers: &[(&str, &str)]| {
        let found = report(profile, &[secret], headers, BODY);
        assert!(found.outcome.is_err(), "{profile} {secret}");
        let all = format!("{found:?}");
        assert!(!all.contains(&secret[secret.len() - 12..]), "{all}");
        found.mistakes
    };
    let missing = |prefix| vec![Mistake::Key(KeyMistake::PrefixMissing(prefix))];
    let twice = vec![Mistake::Key(KeyMistake::PrefixTwice)];

    const REVOLUT: &str = "wsk_r59a4HfWVAKycbCaNO1RvgCJec02gRd8";
    let signature = mac(REVOLUT.as_bytes(), &format!("v1.1790000000000.{BODY}"));
    let line = format!("v1={}", hex::encode(signature));
    let headers = [
        ("revolut-request-timestamp", "1790000000000"),
        ("revolut-signature", &*line),
    ];
    let whole = report("revolut", &[REVOLUT], &headers, BODY);
    assert_eq!(whole.outcome, Ok(()));
    assert_eq!(told("revolut", &REVOLUT[4..], &headers), missing("wsk_"));
    assert_eq!(told("revolut", &format!("wsk_{REVOLUT}"), &headers), twice);

    let line = format!("t=1790000000,v1={}", signed(&format!("1790000000.{BODY}")));
    let headers = [("stripe-signature", &*line)];
    assert_eq!(told("stripe", &SECRET[6..], &headers), missing("whsec_"));
    assert_eq!(told("stripe", &format!("whsec_{SECRET}"), &headers), twice);

    const PADDLE: &str = "pdl_ntfset_01h7xyz_Sfr1uPJ0PFmFVgUYnlHVGNVZ8SVEvRvh";
    let signature = mac(PADDLE.as_bytes(), &format!("1790000000:{BODY}"));
    let line = format!("ts=1790000000;h1={}", hex::encode(signature));
    let headers = [("paddle-signature", &*line)];
    assert_eq!(
        told("paddle", &PADDLE[11..], &headers),
        missing("pdl_ntfset_")
    );
    let doubled = format!("pdl_ntfset_{PADDLE}");
    assert_eq!(told("paddle", &doubled, &headers), twice);

    // Where the prefix is no part of the key, it may be missing, and not stand there twice.
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode(&SECRET[6..]).unwrap();
    let signature = mac(&key, &format!("m.1790000000.{BODY}"));
    let line = format!("v1,{}", base64.encode(signature));
    let headers = [
        ("svix-id", "m"),
        ("svix-timestamp", "1790000000"),
        ("svix-signature", &*line),
    ];
    let bare = report("svix", &[&SECRET[6..]], &headers, BODY);
    assert_eq!(bare.outcome, Ok(()));
    assert_eq!(told("svix", &format!("whsec_{SECRET}"), &headers), twice);
}
