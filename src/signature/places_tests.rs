//! Wherever signature, time and id stand, what is signed as the provider does is verified, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::*;
use crate::identity::Force;
use crate::secret::Secret;

const SECRET: &str = "a secret of at least 24 bytes!!!";

/// Signs `body` by the profile, and verifies it as it was sent, then with another time of signing.
#[track_caller]
fn check(profile: &str, body: &str) {
    let descriptor = toml::from_str(profile).unwrap();
    let profile = Profile::compile("own", &descriptor);
    let profile = Arc::new(profile.unwrap_or_else(|faults| panic!("{faults:#?}")));
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let none = HeaderMap::new();
    let secret = Secret::new(SECRET.into());
    let request = Request {
        method: &Method::POST,
        path_and_query: "/hooks?own=1",
        headers: &none,
    };
    let to_sign = SignRequest {
        request,
        id: "evt_1",
        now,
    };
    let body = Bytes::copy_from_slice(body.as_bytes());
    let signed = sign(&profile, &secret, &Settings::default(), &to_sign, body).unwrap();
    let own = ProducerSecret {
        label: "file:secret".into(),
        secret,
        force: Force::Live,
    };
    let verifier = Verifier::new(Arc::clone(&profile), vec![own], Settings::default()).unwrap();
    let headers: HeaderMap = signed.headers.into_iter().collect();
    let request = Request {
        method: &Method::POST,
        path_and_query: &signed.path_and_query,
        headers: &headers,
    };
    let told = verifier.would_open(&request, signed.body.clone(), now);
    assert_eq!(
        told,
        Ok(()),
        "{descriptor:#?} {signed:?}",
        signed = signed.body
    );
    if profile.has_a_timestamp() {
        let late = Timestamp::from_second(1_790_000_301).unwrap();
        let told = verifier.would_open(&request, signed.body.clone(), late);
        let stale = matches!(
            told,
            Err(SignatureRefusal::TimestampOutsideTolerance { .. })
        );
        assert!(stale, "{told:?}");
    }
    let other = String::from_utf8(signed.body.to_vec()).unwrap();
    let other = other.replacen("1999", "2999", 1);
    assert!(verifier.would_open(&request, other.into(), now).is_err());
}

const JSON: &str = r#"{"id":"old","pid":"p1","amount":1999,"currency":"EUR"}"#;
const FORM: &str = "id=old&pid=p1&amount=1999&currency=EUR";

#[test]
fn the_time_may_stand_in_header_item_json_form_and_query() {
    let items = "split = \",\"\npair = \"=\"\npick = [\"v1\"]";
    for (from, more, format, body) in [
        ("{ header = \"t\" }", "", "json", JSON),
        ("{ item = \"t\" }", items, "json", JSON),
        ("{ json = \"/t\" }", "", "json", JSON),
        ("{ json = \"/meta/t\" }", "", "json", JSON),
        ("{ query = \"t\" }", "", "json", JSON),
        ("{ form = \"t\" }", "", "form", FORM),
    ] {
        for unit in ["s", "ms", "rfc3339"] {
            check(
                &format!(
                    "[signature]\nfrom = {{ header = \"s\" }}\ncontent = \"{{timestamp}}.{{body}}\"\n{more}\n\
                     [timestamp]\nfrom = {from}\nunit = \"{unit}\"\npast = \"5m\"\n[event]\nformat = \"{format}\"\n"
                ),
                body,
            );
        }
    }
}

#[test]
fn the_id_may_stand_in_header_item_json_form_and_query() {
    let items = "split = \",\"\npair = \"=\"\npick = [\"v1\"]";
    for (id, more, format, body) in [
        ("{ header = \"i\" }", "", "json", JSON),
        ("{ item = \"i\" }", items, "json", JSON),
        ("{ json = \"/id\" }", "", "json", JSON),
        ("{ query = \"i\" }", "", "json", JSON),
        ("{ form = \"id\" }", "", "form", FORM),
    ] {
        check(
            &format!(
                "[signature]\nfrom = {{ header = \"s\" }}\nid = {id}\ncontent = \"{{id}}.{{body}}\"\n{more}\n\
                 [event]\nformat = \"{format}\"\n"
            ),
            body,
        );
    }
}

#[test]
fn the_signature_may_stand_in_header_json_form_and_query() {
    let fields = "signed = \"fields\"\n";
    let json = "{json:/id}:{json:/pid}:{json:/amount}:{json:/currency}";
    let form = "{form:id}:{form:pid}:{form:amount}:{form:currency}";
    for (signed, from, content, format, body) in [
        ("", "{ header = \"s\" }", "{body}", "json", JSON),
        ("", "{ query = \"s\" }", "{body}", "json", JSON),
        (fields, "{ json = \"/sig\" }", json, "json", JSON),
        (fields, "{ form = \"sig\" }", form, "form", FORM),
    ] {
        check(
            &format!(
                "{signed}[signature]\nfrom = {from}\ncontent = \"{content}\"\n[event]\nformat = \"{format}\"\n"
            ),
            body,
        );
    }
}

#[test]
fn each_item_of_a_batch_may_bear_its_own_time() {
    check(
        "signed = \"fields\"\n[signature]\nfrom = { json = \"/sig\" }\neach = \"/items/*\"\n\
         content = \"{timestamp}:{json:/id}:{json:/amount}\"\n[timestamp]\nfrom = { json = \"/t\" }\npast = \"5m\"\n",
        r#"{"items":[{"id":"a","amount":1999}]}"#,
    );
}

#[test]
fn two_signatures_of_mollies_may_stand_in_one_line_or_in_two() {
    let profile = builtin().get("mollie").unwrap();
    let body = Bytes::from_static(br#"{"id":"event_1","type":"payment-link.paid"}"#);
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &headers,
    };
    let to_sign = SignRequest {
        request,
        id: "x",
        now,
    };
    let secret = Secret::new(SECRET.into());
    let signed = sign(
        profile,
        &secret,
        &Settings::default(),
        &to_sign,
        body.clone(),
    )
    .unwrap();
    let own = signed.headers[0].1.to_str().unwrap();
    let bare = own.strip_prefix("sha256=").unwrap();
    let other = format!("sha256={}", "0".repeat(64));
    let secret = ProducerSecret {
        label: "file:secret".into(),
        secret,
        force: Force::Live,
    };
    let verifier = Verifier::new(Arc::clone(profile), vec![secret], Settings::default()).unwrap();
    for (lines, right) in [
        (vec![own.to_owned()], true),
        (vec![bare.to_owned()], true),
        (vec![format!("{own}, {other}")], true),
        (vec![format!("{other}, {own}")], true),
        (vec![format!("{other},{bare}")], true),
        (vec![other.clone(), own.to_owned()], true),
        (vec![format!("{other}, {other}")], false),
    ] {
        let name = http::HeaderName::from_static("x-mollie-signature");
        let line = |line: &String| (name.clone(), line.parse().unwrap());
        let headers: HeaderMap = lines.iter().map(line).collect();
        let request = Request {
            headers: &headers,
            ..request
        };
        let told = verifier.would_open(&request, body.clone(), now);
        assert_eq!(told.is_ok(), right, "{lines:?} {told:?}");
    }
}
