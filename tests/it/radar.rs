//! What is told of certificates, secrets and senders: the radar, and why somebody is refused.

use std::time::Duration;

use crate::{Leaf, Receiver, authority::SUBJECT, event, eventually, receiver::Changes};

const SECONDS_10: Duration = Duration::from_secs(10);

#[test]
fn the_radar_lists_what_is_in_use_alike_on_both_sides() {
    let receiver = Receiver::start();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let roles = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["role"].as_str().unwrap().to_owned()
        });
        lines.collect()
    };
    eventually(SECONDS_10, || {
        let listed = receiver.countersign(&["certs", "list", "--json"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        // The event brings its certificate along; what it chained to is written down soon after.
        let anchored = listed.stdout.contains("\"anchor_sha256\":\"");
        let all = ["server", "trust_anchor", "client", "secret"];
        (anchored && roles(&listed.stdout) == all).then_some(())
    });
    let listed = receiver.countersign(&["certs", "list", "--json"]);
    let page: serde_json::Value =
        serde_json::from_str(&receiver.admin("/api/certificates").body).unwrap();
    let items = page["items"].as_array().unwrap();
    let lines: Vec<serde_json::Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(&lines, items);
    assert_eq!(items[2]["producer"], "payments-provider");
    assert_eq!(items[2]["anchor_sha256"], items[1]["sha256"]);
    assert_eq!(items[1]["last_seen"], items[2]["last_seen"]);
}

#[test]
fn a_certificate_that_was_replaced_warns_nobody_of_its_end() {
    let receiver = Receiver::start();
    let serial = |line: &str| {
        let (_, serial) = line.split_once("serial=\"").unwrap();
        serial.split('"').next().unwrap().to_owned()
    };
    let ours = || {
        let metrics = receiver.admin("/metrics").body;
        let of_ours = metrics.lines().filter(|line| {
            line.starts_with("countersign_certificate_not_after_seconds{role=\"server\"")
        });
        of_ours.map(serial).collect::<Vec<_>>()
    };
    let before = eventually(SECONDS_10, || ours().pop());
    let server = receiver.authority.issue_server();
    receiver.write("certs/server.crt", &server.certificate);
    receiver.write("certs/server.key", &server.key);
    assert_eq!(receiver.reload_now().status, 200);
    eventually(SECONDS_10, || {
        let now = ours();
        (now.len() == 1 && now[0] != before).then_some(())
    });
}

#[test]
fn what_is_wrong_is_told_to_who_bears_the_token_and_that_it_is_to_everybody() {
    let receiver = Receiver::with(&Changes {
        environment: vec![
            ("COUNTERSIGN_ADMIN__TOKEN", "env:ADMIN_TOKEN".into()),
            ("ADMIN_TOKEN", "the-operators-token-of-32-bytes-!".into()),
        ],
        ..Changes::default()
    });
    receiver.write("certs/ca.crt", "broken");
    receiver.reload();
    let told = eventually(SECONDS_10, || {
        let told = receiver.admin("/readyz");
        told.body.contains("reload_failing_since").then_some(told)
    });
    assert_eq!(told.status, 200, "what was loaded before serves on");
    assert!(!told.body.contains("ca.crt"), "{told:?}");
    let url = format!("http://{}/readyz", receiver.admin);
    let token = "Authorization: Bearer the-operators-token-of-32-bytes-!";
    let told = receiver.curl(&["--header", token, &url]);
    assert!(told.stdout.contains("ca.crt"), "{told:?}");
}

#[test]
fn a_lapsed_certificate_is_a_record_that_names_its_producer_and_outlives_a_restart() {
    let mut receiver = Receiver::start();
    let lapsed = receiver.authority.issue(&Leaf {
        not_before_days: -20,
        not_after_days: -2,
        ..Leaf::of(SUBJECT)
    });
    assert!(
        receiver
            .producer_as(Some(&lapsed))
            .try_deliver(&event("evt_1"))
            .is_err()
    );
    let before = receiver.refusal("expired");
    assert_eq!(before["producer"], "payments-provider");
    receiver.stop();
    assert!(receiver.ended().success());
    receiver.restart();
    let after = receiver.refusal("expired");
    assert_eq!(after, before);
    for who in [
        "payments-provider",
        "OU=tenant-42,O=Example,CN=payments-provider",
    ] {
        let why = receiver.countersign(&["why", who]);
        assert_eq!(why.code, Some(0), "{why:?}");
        assert!(why.stdout.contains("refused once with expired"), "{why:?}");
        assert!(why.stdout.contains("What to do"), "{why:?}");
        let why = receiver.countersign(&["why", who, "--json"]);
        let known: serde_json::Value = serde_json::from_str(&why.stdout).unwrap();
        let known = &known["producers"][0];
        assert_eq!(known["producer"], "payments-provider");
        assert_eq!(known["certificates"], serde_json::json!([]));
        let refusal = &known["refusals"][0];
        assert_eq!(refusal["reason"], "expired");
        assert!(
            refusal["what_to_do"]
                .as_str()
                .unwrap()
                .contains("certs issue")
        );
    }
    assert_eq!(receiver.countersign(&["why", "nobody"]).code, Some(1));
}
