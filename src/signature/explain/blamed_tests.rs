//! What is wrong beside the secret and the body is named, and neither of them is blamed for it.

use sha2::{Digest as _, Sha256};

use super::mistakes_tests::{BODY, SECRET, mac, report, report_bytes, report_of_url, signed};
use crate::signature::*;

fn stripe(line: &str) -> Explanation {
    report("stripe", &[SECRET], &[("stripe-signature", line)], BODY)
}

fn line() -> (String, String) {
    let signature = signed(&format!("1790000000.{BODY}"));
    (format!("t=1790000000,v1={signature}"), signature)
}

#[test]
fn what_stands_around_the_whole_signature_is_named() {
    let (line, _) = line();
    assert_eq!(stripe(&line).outcome, Ok(()));
    let check = |line: &str, expected: Mistake| {
        let found = stripe(line);
        assert!(found.outcome.is_err(), "{line}");
        assert_eq!(found.mistakes, [expected], "{line}");
    };
    check(&format!("\"{line}\""), Mistake::QuotedWhole);
    check(&format!("'{line}'"), Mistake::QuotedWhole);
    check(&format!("Bearer {line}"), Mistake::Word("Bearer".into()));
    let encoded = line.replace('=', "%3D").replace(',', "%2C");
    check(&encoded, Mistake::UrlEncoded);
}

#[test]
fn a_url_encoded_signature_in_base64_is_named() {
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::STANDARD.encode(mac(SECRET.as_bytes(), BODY));
    let encoded = signature.replace('=', "%3D").replace('/', "%2F");
    for encoded in [encoded.replace('+', "%2B"), encoded] {
        let headers = [("x-xero-signature", &*encoded)];
        let found = report("xero", &[SECRET], &headers, BODY);
        assert_eq!(found.mistakes, [Mistake::UrlEncoded]);
    }
}

#[test]
fn no_signature_is_shown_however_it_is_parted_from_the_rest() {
    let (_, signature) = line();
    let check = |profile: &str, header: &str, line: &str| {
        let found = report(profile, &[SECRET], &[(header, line)], BODY);
        assert!(!format!("{found:?}").contains(&signature), "{line}");
    };
    for separator in ["%2C", ".", "#", "\\", "~", "%3B"] {
        let line = format!("t=1790000000{separator}{signature}");
        check("stripe", "stripe-signature", &line);
        let line = format!("1790000000{separator}{signature}");
        check("recurly", "recurly-signature", &line);
    }
}

#[test]
fn an_empty_signature_is_no_wrong_one() {
    for (profile, header) in [
        ("stripe", "stripe-signature"),
        ("xero", "x-xero-signature"),
        ("nmi", "webhook-signature"),
    ] {
        for text in ["", " "] {
            let found = report(profile, &[SECRET], &[(header, text)], BODY);
            assert!(found.signature_is_empty, "{profile}");
            assert_eq!(found.mistakes, [], "{profile}");
        }
    }
    assert!(!stripe("t=1,v1=ab").signature_is_empty);
    assert!(!report("stripe", &[SECRET], &[], BODY).signature_is_empty);
}

#[test]
fn where_an_item_is_signed_the_header_is_found_wherever_it_is_and_however_often() {
    let signature = signed(&format!("n1.{BODY}"));
    let line = format!("t=n1,s={signature}");
    let nmi = |headers: &[(&str, &str)]| report("nmi", &[SECRET], headers, BODY);
    assert_eq!(nmi(&[("webhook-signature", &line)]).outcome, Ok(()));
    let elsewhere = nmi(&[("x-webhook-signature", &line)]);
    let header = http::HeaderName::from_static("x-webhook-signature");
    assert_eq!(elsewhere.mistakes, [Mistake::Header(header)]);
    let twice = nmi(&[("webhook-signature", &line), ("webhook-signature", &line)]);
    assert_eq!(twice.mistakes, [Mistake::Repeated]);
    let doubled = nmi(&[("webhook-signature", &format!("t=n2,{line}"))]);
    let repeated: Vec<_> = doubled.repeated().map(|one| &*one.place).collect();
    assert_eq!(repeated, ["the item t of the signature"]);
}

#[test]
fn an_algorithm_that_is_named_twice_is_not_told_as_absent() {
    let digest = hex::encode(Sha256::digest(format!("{BODY}{SECRET}")));
    let line = format!("signature={digest};algorithm=SHA-256");
    let twice = [
        ("openpayu-signature", &*line),
        ("openpayu-signature", &*line),
    ];
    let found = report("payu-emea", &[SECRET], &twice, BODY);
    assert!(found.outcome.is_err());
    assert!(found.findings.iter().all(|one| one.found.is_some()));
}

#[test]
fn what_stands_around_the_secret_of_a_digest_is_named() {
    let digest = hex::encode(Sha256::digest(format!("{BODY}.{SECRET}")));
    let check = |configured: String, expected: KeyMistake| {
        let headers = [("webhook-signature", &*digest)];
        let found = report("ppro", &[&configured], &headers, BODY);
        assert_eq!(found.mistakes, [Mistake::Key(expected)], "{configured}");
    };
    check(format!("{SECRET} "), KeyMistake::Space);
    check(format!("\"{SECRET}\""), KeyMistake::Quotes);
    check(format!("PPRO_SECRET={SECRET}"), KeyMistake::Name);
}

#[test]
fn a_value_of_another_shape_is_no_other_content() {
    let time = "2026-11-28T03:40:00Z";
    let signature = signed(&format!("{time}{BODY}"));
    let headers = [("bls-signature", &*signature), ("bls-ipn-timestamp", time)];
    let found = report("bluesnap", &[SECRET], &headers, BODY);
    assert!(found.outcome.is_err() && found.signature_is_right);
    assert_eq!(found.mistakes, []);
}

#[test]
fn a_second_that_was_taken_twice_is_named() {
    for second in [1_789_999_999, 1_790_000_001] {
        let signature = signed(&format!("{second}.{BODY}"));
        let found = stripe(&format!("t=1790000000,v1={signature}"));
        assert_eq!(found.mistakes, [Mistake::TimestampTwice]);
    }
    let signature = signed(&format!("1789999990.{BODY}"));
    assert_eq!(stripe(&format!("t=1790000000,v1={signature}")).mistakes, []);
}

#[test]
fn a_body_of_another_length_than_the_headers_state_is_told() {
    let (line, _) = line();
    let length = BODY.len().to_string();
    for (stated, expected) in [(&*length, None), ("400", Some(400)), ("x", None)] {
        let headers = [("stripe-signature", &*line), ("content-length", stated)];
        let found = report("stripe", &[SECRET], &headers, BODY);
        assert_eq!(found.stated_length, expected);
    }
}

#[test]
fn of_the_request_it_is_told_what_is_signed() {
    let found = report("vipps", &[SECRET], &[], BODY);
    let told = found.signed_of_the_request;
    assert_eq!(told, ["the method POST", "the path and query /"]);
    assert_eq!(stripe("t=1,v1=ab").signed_of_the_request, [""; 0]);
}

#[test]
fn a_url_whose_host_no_header_names_is_told() {
    const URL: &str = "https://hooks.example/in";
    let told = |headers: &[(&str, &str)]| {
        let signature = ("x-square-hmacsha256-signature", &*"AAAA".repeat(11));
        let headers = [headers, &[signature]].concat();
        report_of_url(URL, &headers).url_of_another_host
    };
    assert_eq!(told(&[]).as_deref(), Some(URL));
    assert_eq!(told(&[("host", "inner:8080")]).as_deref(), Some(URL));
    for (name, value) in [
        ("host", "hooks.example"),
        ("host", "Hooks.Example:8443"),
        ("x-forwarded-host", "inner, hooks.example"),
        ("forwarded", "for=10.0.0.1;host=hooks.example"),
    ] {
        assert_eq!(told(&[(name, value)]), None, "{value}");
    }
    assert_eq!(stripe("t=1,v1=ab").url_of_another_host, None);
}

#[test]
fn a_body_that_was_saved_in_utf16_is_known_also_where_nothing_else_is() {
    let (line, _) = line();
    let saved = |text: &str| {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let told = |line: &str, body: Vec<u8>| {
        let found = report_bytes("stripe", &[SECRET], &[("stripe-signature", line)], body);
        assert!(found.outcome.is_err());
        (found.mistakes, found.is_in_utf16)
    };
    let kept = vec![Mistake::Body(BodyMistake::KeptInUtf16)];
    for text in [BODY.to_owned(), format!("{BODY}\r\n")] {
        assert_eq!(told(&line, saved(&text)), (kept.clone(), true));
    }
    let wrong = format!("t=1790000000,v1={}", "ab".repeat(32));
    assert_eq!(told(&wrong, saved(BODY)), (vec![], true));
    assert_eq!(told(&wrong, BODY.into()), (vec![], false));
}

#[test]
fn nothing_on_the_way_takes_a_field_out_of_a_body() {
    let absence = |profile: &str| report(profile, &[SECRET], &[], BODY).findings[0].absence;
    assert_eq!(absence("zen"), Absence::Unwritten);
    assert_eq!(absence("stripe"), Absence::Lost);
}
