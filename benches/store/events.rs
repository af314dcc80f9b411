//! Events for the store alone, each of which begins a payment of its own.

use std::sync::Arc;

use countersign::identity::TenantId;
use countersign::inbox::{Event, IdempotencyKey, KeptHeaders, Standing};
use countersign::signature::{AmountUnit, Fetch, PaymentFacts};
use countersign::x509::Certificate;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// An event whose id only its seed tells.
pub(crate) fn event(seed: u64, body_bytes: usize, leaf: &Certificate) -> Event {
    let id = hex::encode(Sha256::digest(seed.to_be_bytes()));
    let id = id.get(..24).expect("24 digits");
    let mut body = format!(
        "{{\"id\":\"evt_{id}\",\"type\":\"payment.succeeded\",\"created\":1790000000,\"data\":{{\"payment_id\":\"pay_{id}\",\"pad\":\""
    );
    while body.len() + 3 < body_bytes {
        body.push('x');
    }
    body.push_str("\"}}");
    Event {
        key: IdempotencyKey {
            tenant: TenantId::new("tenant-42"),
            producer: Arc::from("payments-provider"),
            event_id: format!("evt_{id}").into(),
        },
        kind: Some("payment.succeeded".into()),
        occurred_at: Timestamp::from_second(1_790_000_000).ok(),
        received_at: Timestamp::now(),
        body_sha256: Sha256::digest(&body).into(),
        body: body.into(),
        secret: Some(Arc::from("file:certs/producer.secret")),
        leaf: leaf.clone(),
        headers: KeptHeaders::of(
            [
                ("content-type", "application/json".into()),
                ("user-agent", "bench/1".into()),
                ("x-webhook-timestamp", "1790000000".into()),
                ("x-webhook-signature", "0".repeat(64).into()),
            ]
            .into_iter(),
        ),
        fetch: Fetch::Unneeded,
        payment: Some(PaymentFacts {
            payment_id: format!("pay_{id}"),
            status: Some("succeeded".to_owned()),
            amount: Some("1999".to_owned()),
            amount_refunded: Some("0".to_owned()),
            currency: Some("EUR".to_owned()),
            unit: AmountUnit::Minor,
            minor_digits: None,
        }),
        standing: Standing::Readable,
    }
}

/// A certificate that they may have come with.
pub(crate) fn leaf() -> Certificate {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .expect("a certificate");
    Certificate::decode(certificate.der()).expect("a leaf")
}
