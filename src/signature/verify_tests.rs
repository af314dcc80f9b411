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
