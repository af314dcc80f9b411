//! What verifying costs beside the bare primitive: HMAC-SHA256 over the same bytes.
//!
//! The two are measured in one run, for 1 KiB and for 1 MiB; the ratio is what counts (at most 1.1).
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use countersign::identity::Force;
use countersign::secret::Secret;
use countersign::signature::{
    ProducerSecret, Request, Settings, SignRequest, Verifier, builtin, sign,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use sha2::Sha256;

const SECRET: &[u8] = b"a secret of at least 24 bytes!!!";

/// Two profiles: what is signed is the body alone, or a time of another header before it.
const PROFILES: [(&str, &[u8]); 2] = [("github", b""), ("timestamped", b"1790000000.")];

fn verify(criterion: &mut Criterion) {
    let key = Hmac::<Sha256>::new_from_slice(SECRET).expect("any key has a fitting length");
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    let none = HeaderMap::new();
    let unsigned = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &none,
    };
    for ((profile, before), (name, bytes)) in PROFILES
        .into_iter()
        .flat_map(|profile| [(profile, ("1 KiB", 1 << 10)), (profile, ("1 MiB", 1 << 20))])
    {
        let body = Bytes::from(format!("{{\"id\":\"{}\"}}", "a".repeat(bytes - 9)));
        let (verifier, headers) = signed(profile, unsigned, &body, now);
        let request = Request {
            headers: &headers,
            ..unsigned
        };
        let mut group = criterion.benchmark_group(format!("{profile}, {name}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("bare", |bencher| {
            bencher.iter(|| {
                let mut mac = key.clone();
                mac.update(before);
                mac.update(black_box(&body));
                mac.finalize().into_bytes()
            });
        });
        group.bench_function("verify", |bencher| {
            bencher.iter(|| verifier.check(&request, black_box(&body), now).is_ok());
        });
        group.finish();
    }
}

/// The check of a profile, and the headers that it takes for `body`.
fn signed(
    profile: &str,
    request: Request<'_>,
    body: &Bytes,
    now: Timestamp,
) -> (Verifier, HeaderMap) {
    let profile = builtin().get(profile).expect("it is built in");
    let secret = Secret::new(SECRET.to_vec());
    let deciding = ProducerSecret {
        label: "file:secret".into(),
        secret: secret.clone(),
        force: Force::Live,
    };
    let verifier = Verifier::new(Arc::clone(profile), vec![deciding], Settings::default())
        .expect("the secret is a key");
    let to_sign = SignRequest {
        request,
        id: "msg_1",
        now,
    };
    let signed = sign(
        profile,
        &secret,
        &Settings::default(),
        &to_sign,
        body.clone(),
    );
    let headers: HeaderMap = signed.expect("it signs").headers.into_iter().collect();
    let delivered = Request {
        headers: &headers,
        ..request
    };
    assert!(verifier.check(&delivered, body, now).is_ok());
    (verifier, headers)
}

criterion_group!(benches, verify);
criterion_main!(benches);
