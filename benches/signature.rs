//! What verifying costs beside the bare primitive: HMAC-SHA256 over the same bytes.
//!
//! The two are measured in one run, for 1 KiB and for 1 MiB; the ratio is what counts (at most 1.1).
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use countersign::identity::Standing;
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

fn verify(criterion: &mut Criterion) {
    let profile = builtin().get("timestamped").expect("it is built in");
    let secret = Secret::new(SECRET.to_vec());
    let deciding = ProducerSecret {
        label: "file:secret".into(),
        secret: secret.clone(),
        standing: Standing::Live,
    };
    let verifier = Verifier::new(Arc::clone(profile), vec![deciding], Settings::default())
        .expect("the secret is a key");
    let key = Hmac::<Sha256>::new_from_slice(SECRET).expect("any key has a fitting length");
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    for (name, bytes) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
        let body = Bytes::from(format!("{{\"id\":\"{}\"}}", "a".repeat(bytes - 9)));
        let none = HeaderMap::new();
        let plain = Request {
            method: &Method::POST,
            path_and_query: "/",
            headers: &none,
        };
        let to_sign = SignRequest {
            request: plain,
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
        let request = Request {
            headers: &headers,
            ..plain
        };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("bare", |bencher| {
            bencher.iter(|| {
                let mut mac = key.clone();
                mac.update(b"1790000000.");
                mac.update(black_box(&body));
                mac.finalize().into_bytes()
            });
        });
        group.bench_function("verify", |bencher| {
            bencher.iter(|| verifier.check(&request, black_box(&body), now));
        });
        group.finish();
    }
}

criterion_group!(benches, verify);
criterion_main!(benches);
