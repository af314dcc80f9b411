//! Signature headers: the first byte chooses a profile, the lines that follow are the values of its headers, and after an empty line
//! comes the body. The secret is drawn anew by each process and never told, so whatever is made up, no delivery is signed with it.
#![no_main]

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use countersign::identity::Force;
use countersign::secret::Secret;
use countersign::signature::{
    ProducerSecret, Request, Settings, SignRequest, Verifier, builtin, sign,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_790_000_000;

struct Provider {
    verifier: Verifier,
    /// The headers that a signed delivery of it has.
    headers: Vec<HeaderName>,
}

static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let key: String = (0..4_u8)
        .map(|part| format!("{:016x}", RandomState::new().hash_one(part)))
        .collect();
    builtin()
        .iter()
        .filter_map(|profile| {
            // As it stands, or in the forms in which providers show one; a public key is none of them.
            let shown = [key.clone(), format!("whsec_{key}"), format!("{key}==")];
            shown.iter().find_map(|shown| {
                let secret = Secret::new(shown.as_bytes().to_vec());
                let producer = ProducerSecret {
                    label: "file:secret".into(),
                    secret: secret.clone(),
                    force: Force::Live,
                };
                let verifier =
                    Verifier::new(Arc::clone(profile), vec![producer], settings()).ok()?;
                let none = HeaderMap::new();
                let to_sign = SignRequest {
                    request: request(&none),
                    id: "msg_1",
                    now: now(),
                };
                let body = Bytes::from_static(b"{\"id\":\"evt_1\"}");
                let signed = sign(profile, &secret, &settings(), &to_sign, body).ok()?;
                let headers: Vec<_> = signed.headers.into_iter().map(|(name, _)| name).collect();
                // Without a header nothing is signed, or the signature stands in the body.
                (!headers.is_empty()).then_some(Provider { verifier, headers })
            })
        })
        .collect()
});

fn settings() -> Settings {
    let values =
        ["key_id", "access_key", "webhook_id"].map(|name| (name.to_owned(), "abc123".to_owned()));
    Settings {
        url: Some("https://example.com/hooks".to_owned()),
        values: BTreeMap::from(values),
        ..Settings::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        method: &Method::POST,
        path_and_query: "/hooks",
        headers,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let provider = &PROVIDERS[usize::from(*choice) % PROVIDERS.len()];
    let mut headers = HeaderMap::new();
    let mut lines = rest.splitn(64, |byte| *byte == b'\n');
    // More lines than headers repeat them.
    for name in provider.headers.iter().cycle() {
        let Some(line) = lines.next().filter(|line| !line.is_empty()) else {
            break;
        };
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name.clone(), value);
        }
    }
    let body: Vec<u8> = lines.collect::<Vec<_>>().join(&b'\n');
    let body = Bytes::from(body);
    let found = provider.verifier.check(&request(&headers), &body, now());
    let name = provider.verifier.profile().name();
    assert!(found.is_err(), "{name}: nobody signed this: {found:?}");
});
