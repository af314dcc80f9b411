//! Turning one peer away by hand, while it runs and while it does not.

use std::time::{Duration, Instant};

use crate::{Leaf, Receiver, authority::SUBJECT, event, eventually, receiver::Changes};

const SECONDS_10: Duration = Duration::from_secs(10);

/// Cuts off what the arguments say; its live connection is closed within a second, and no other is let in.
#[track_caller]
fn cuts_off_until_lifted(receiver: &mut Receiver, arguments: &[&str]) {
    let mut idle = receiver.producer().connect().unwrap();
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("before")).status, 204);
    let done = receiver.countersign(&[&["cutoff"], arguments].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let cut = Instant::now();
    eventually(SECONDS_10, || (!idle.is_open()).then_some(()));
    let took = cut.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // By the connection that it had, which is closed under its request or still answers that nobody is known there, and by a new
    // one, which is refused.
    let answered = producer.try_deliver(&event("while"));
    assert!(
        answered
            .as_ref()
            .map_or(true, |answer| answer.status == 403),
        "{answered:?}"
    );
    assert!(receiver.producer().try_deliver(&event("while")).is_err());
    let refusal = receiver.refusal("revoked");
    assert!(
        refusal["detail"].as_str().unwrap().contains("cut off"),
        "{refusal}"
    );
    receiver.restart();
    assert!(receiver.producer().try_deliver(&event("while")).is_err());
    let listed = receiver.countersign(&["cutoff", "--list", "--json"]);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    let lifted = receiver.countersign(&[&["cutoff", "--lift"], arguments].concat());
    assert_eq!(lifted.code, Some(0), "{lifted:?}");
    eventually(SECONDS_10, || {
        let answer = receiver.producer().try_deliver(&event("after")).ok()?;
        (answer.status == 204).then_some(())
    });
    let again = receiver.countersign(&[&["cutoff", "--lift"], arguments].concat());
    assert_eq!(again.code, Some(1), "{again:?}");
}

#[test]
fn a_peer_that_is_cut_off_is_out_within_a_second_and_stays_out_over_a_restart() {
    let mut receiver = Receiver::start();
    let inspected = receiver.countersign(&["certs", "inspect", "certs/producer.crt", "--json"]);
    let said: serde_json::Value = serde_json::from_str(inspected.stdout.trim()).unwrap();
    let serial = said["serial"].as_str().unwrap();
    let pin = format!("sha256:{}", said["spki_sha256"].as_str().unwrap());
    for arguments in [
        ["--tenant", "tenant-42"],
        ["--producer", "payments-provider"],
        ["--serial", serial],
        ["--spki", &pin],
    ] {
        cuts_off_until_lifted(&mut receiver, &arguments);
    }
}

#[test]
fn a_cut_off_counts_though_the_configuration_is_broken() {
    let receiver = Receiver::start();
    let mut idle = receiver.producer().connect().unwrap();
    receiver.write("certs/ca.crt", "broken");
    assert_eq!(receiver.reload_now().status, 422);
    let done = receiver.countersign(&["cutoff", "--tenant", "tenant-42"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    eventually(SECONDS_10, || (!idle.is_open()).then_some(()));
    assert!(receiver.producer().try_deliver(&event("evt_1")).is_err());
}

#[test]
fn of_two_producers_with_one_certificate_only_the_one_that_is_cut_off_is_refused() {
    let receiver = Receiver::with(&Changes {
        more: r#"
path = "/webhooks/payments"

[[tenants]]
id = "tenant-43"

[[tenants.producers]]
name = "payments-provider"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
path = "/webhooks/other"
secrets = ["file:certs/producer.secret"]
"#,
        ..Changes::default()
    });
    let unclear = receiver.countersign(&["cutoff", "--producer", "payments-provider"]);
    assert_eq!(unclear.code, Some(1), "{unclear:?}");
    assert!(unclear.stderr.contains("--tenant"), "{unclear:?}");
    let done = receiver.countersign(&[
        "cutoff",
        "--producer",
        "payments-provider",
        "--tenant",
        "tenant-43",
    ]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut other = receiver.producer();
    other.path = "/webhooks/other".to_owned();
    eventually(SECONDS_10, || {
        (other.try_deliver(&event("evt_1")).ok()?.status == 403).then_some(())
    });
    assert_eq!(receiver.producer().deliver(&event("evt_2")).status, 204);
    let refusal = receiver.refusal("unknown-producer");
    assert!(
        refusal["detail"].as_str().unwrap().contains("cut off"),
        "{refusal}"
    );
}

#[test]
fn whoever_nobody_configured_is_not_cut_off_by_a_slip_of_the_pen() {
    let receiver = Receiver::start();
    for arguments in [
        ["--tenant", "tenant-24"],
        ["--producer", "payment-provider"],
    ] {
        let refused = receiver.countersign(&[&["cutoff"], &arguments[..]].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
    assert_eq!(receiver.countersign(&["cutoff"]).code, Some(2));
    let other = receiver.authority.issue(&Leaf::of(SUBJECT));
    let done = receiver.countersign(&["cutoff", "--serial", "01"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut producer = receiver.producer_as(Some(&other));
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
}
