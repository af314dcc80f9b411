//! What gate 3 makes of a batch whose items are signed one by one.

use bytes::Bytes;
use hmac::{KeyInit, Mac};
use jiff::Timestamp;

use super::*;
use crate::identity::Force;
use crate::secret::Secret;

#[test]
fn a_secret_that_watches_would_take_a_batch_only_if_it_takes_every_item_that_holds() {
    let profile = "signed = 'fields'\n[signature]\nfrom = { json = '/s' }\nencoding = 'hex'\ncontent = '{json:/id}'\neach = '/*'\n[event]\nid = '/id'";
    let profile = Profile::compile("own", &toml::from_str(profile).unwrap()).unwrap();
    let secret = |label: &str, text: &str, force| ProducerSecret {
        label: label.into(),
        secret: Secret::new(text.into()),
        force,
    };
    let secrets = vec![
        secret("old", "the old one", Force::Live),
        secret("new", "the new one", Force::Live),
        secret("watching", "the new one", Force::Shadow),
    ];
    let verifier = Verifier::new(profile.into(), secrets, Settings::default()).unwrap();
    let item = |secret: &str| {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"evt_1");
        let signature = hex::encode(mac.finalize().into_bytes());
        format!(r#"{{"id":"evt_1","s":"{signature}"}}"#)
    };
    let check = |items: &[&str], matches: bool| {
        let items: Vec<_> = items.iter().map(|secret| item(secret)).collect();
        let request = Request {
            method: &http::Method::POST,
            path_and_query: "/",
            headers: &http::HeaderMap::new(),
        };
        let body = Bytes::from(format!("[{}]", items.join(",")));
        let proof = verifier.prove(&request, body, Timestamp::UNIX_EPOCH);
        let told = proof.unwrap().shadows;
        let told: Vec<_> = told.iter().map(|one| (&*one.label, one.matches)).collect();
        assert_eq!(told, [("watching", matches)], "{items:?}");
    };
    check(&["the new one", "the new one"], true);
    check(&["the new one", "the old one"], false);
    check(&["the old one", "the new one"], false);
    check(&["the new one", "nobody's"], true);
}

#[test]
fn a_header_whose_bytes_are_no_text_is_refused_as_such() {
    let secret = ProducerSecret {
        label: "own".into(),
        secret: Secret::new(b"the secret".to_vec()),
        force: Force::Live,
    };
    let profile = crate::signature::builtin().get("timestamped").unwrap();
    let verifier = Verifier::new(profile.clone(), vec![secret], Settings::default()).unwrap();
    let check = |time: &[u8], signature: &[u8], expected: &str| {
        let mut headers = http::HeaderMap::new();
        let mut put = |name, value| {
            headers.insert(name, http::HeaderValue::from_bytes(value).unwrap());
        };
        put("x-webhook-timestamp", time);
        put("x-webhook-signature", signature);
        let request = Request {
            method: &http::Method::POST,
            path_and_query: "/",
            headers: &headers,
        };
        let refusal = verifier.check(&request, &Bytes::new(), Timestamp::UNIX_EPOCH);
        let what = expected.to_owned();
        let expected = SignatureRefusal::Malformed { what };
        assert_eq!(refusal.unwrap_err(), expected, "{headers:?}");
    };
    let no_text = "the signature's place holds bytes that are no text";
    check(b"1", b"sha256=\xff", no_text);
    check(b"\xff", b"sha256=aa", no_text);
    let no_time = "the timestamp is not written as the profile's are";
    check("\u{e9}".as_bytes(), b"sha256=aa", no_time);
    let no_signature = "the signature is not written as the profile's are";
    check(b"1", "sha256=\u{e9}".as_bytes(), no_signature);
}
