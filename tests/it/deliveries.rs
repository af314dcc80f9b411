//! A delivery from end to end, by our own producer and by real curl.

use std::collections::BTreeSet;

use crate::{
    Receiver, event,
    producer::{sign, unix_now},
};

#[test]
fn a_signed_delivery_is_durable_and_changes_the_payment() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    for _ in 0..2 {
        assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    }
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_id"], "evt_1");
    assert_eq!(events[0]["effect"], "applied");
    assert_eq!(events[0]["duplicates"], 1);
    let payments = receiver
        .countersign(&["payments", "list", "--json"])
        .json_lines();
    assert_eq!(payments[0]["payment_id"], "pay_evt_1");
    assert_eq!(payments[0]["status"], "succeeded");
    assert_eq!(payments[0]["amount_minor"], 1999);
}

#[test]
fn curl_and_a_signature_are_all_that_a_provider_needs() {
    let receiver = Receiver::start();
    for version in ["--http1.1", "--http2"] {
        let body = event(version.trim_start_matches('-'));
        let now = unix_now();
        let signature = sign(&receiver.producer().secret, now, &body);
        let output = receiver.curl(&[
            version,
            "--header",
            &format!("X-Webhook-Timestamp: {now}"),
            "--header",
            &format!("X-Webhook-Signature: sha256={signature}"),
            "--data-binary",
            &body,
            &receiver.url(),
        ]);
        assert!(output.stdout.ends_with("\n204"), "{output:?}");
    }
}

#[test]
fn a_host_that_is_signed_is_the_one_of_the_request_in_either_version() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: r#"
[[tenants.producers]]
name = "host"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
path = "/webhooks/host"
profile = "host"
secrets = ["file:certs/producer.secret"]

[profiles.host.signature]
from = { header = "x-signature" }
encoding = "hex"
content = "{timestamp}.{header:host}:{body}"
[profiles.host.timestamp]
from = { header = "x-time" }
"#,
        ..Default::default()
    });
    let authority = format!("localhost:{}", receiver.address.port());
    for version in ["--http1.1", "--http2"] {
        let body = event(version.trim_start_matches('-'));
        let now = unix_now();
        let signed = format!("{authority}:{body}");
        let signature = sign(&receiver.producer().secret, now, &signed);
        let output = receiver.curl(&[
            version,
            "--header",
            &format!("X-Time: {now}"),
            "--header",
            &format!("X-Signature: {signature}"),
            "--data-binary",
            &body,
            &format!("https://{authority}/webhooks/host"),
        ]);
        assert!(output.stdout.ends_with("\n204"), "{version} {output:?}");
    }
}

#[test]
fn what_is_not_signed_changes_nothing() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    producer.secret = b"another secret".to_vec();
    let answer = producer.deliver(&event("evt_1"));
    assert_eq!(
        (answer.status, answer.problem().as_deref()),
        (401, Some("signature-mismatch"))
    );
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(receiver.refusal("signature-mismatch")["gate"], "signature");
    // A good delivery right after, on a connection of its own.
    assert_eq!(receiver.producer().deliver(&event("evt_2")).status, 204);
}

#[test]
fn every_event_that_got_a_204_is_there_after_a_kill() {
    let mut receiver = Receiver::start();
    let mut accepted = BTreeSet::new();
    for round in 0..3 {
        let mut producer = receiver.producer();
        for number in 0..50 {
            let id = format!("evt_{round}_{number}");
            assert_eq!(producer.deliver(&event(&id)).status, 204);
            accepted.insert(id);
        }
        receiver.kill();
        receiver.restart();
    }
    let kept: Vec<String> = receiver
        .countersign(&["events", "list", "--json", "--limit", "0"])
        .json_lines()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept.len(), accepted.len());
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), accepted);
}
