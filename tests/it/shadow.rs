//! What is marked `shadow = true` decides nothing, and tells what it would have decided.

use std::time::Duration;

use serde_json::Value;

use crate::{Authority, Leaf, Receiver, authority::SUBJECT, event, eventually};

const SECONDS_10: Duration = Duration::from_secs(10);
const NEXT_SECRET: &str = "another-secret-of-thirty-two-byte";

/// Changes the configuration of a running receiver, by one text for another.
#[track_caller]
fn reconfigure(receiver: &Receiver, from: &str, to: &str) {
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}");
    receiver.write("countersign.toml", &text.replace(from, to));
    let answer = receiver.reload_now();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The lines of one kind of mark, as both sides list them.
#[track_caller]
fn marks(receiver: &Receiver, mark: &str) -> Vec<Value> {
    let listed = receiver.countersign(&["certs", "list", "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let lines = listed.stdout.lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["role"] == "shadow" && line["mark"] == mark)
        .collect()
}

/// Waits until a mark of this kind has one line with these counts: would accept, of these refused, would refuse.
#[track_caller]
fn tallied(receiver: &Receiver, mark: &str, counts: [u64; 3]) -> Value {
    eventually(SECONDS_10, || {
        let lines = marks(receiver, mark);
        let line = lines.first()?;
        let found = ["would_accept", "of_these_refused", "would_refuse"]
            .map(|key| line[key].as_u64().unwrap());
        (found == counts).then(|| line.clone())
    })
}

/// What was counted of it.
#[track_caller]
fn counted(receiver: &Receiver, labels: &str, count: u64) {
    let line = format!("countersign_shadow_verdicts_total{{{labels}}} {count}");
    let metrics = receiver.admin("/metrics").body;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[track_caller]
fn why(receiver: &Receiver, expected: &str) {
    let why = receiver.countersign(&["why", "payments-provider"]);
    assert!(why.stdout.contains(expected), "{why:?}");
}

#[test]
fn a_ca_that_only_watches_tells_whom_it_would_have_let_in() {
    let receiver = Receiver::start();
    let next = Authority::new("The next CA");
    receiver.write("certs/next.crt", &next.certificate);
    reconfigure(
        &receiver,
        r#"client_ca = ["certs/ca.crt"]"#,
        r#"client_ca = ["certs/ca.crt", { file = "certs/next.crt", shadow = true }]"#,
    );
    let line = tallied(&receiver, "client_ca", [0, 0, 0]);
    assert_eq!(line["note"], "nothing has met it yet");
    // The old CA's producer is let in, though this one alone would not.
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let line = tallied(&receiver, "client_ca", [0, 0, 1]);
    assert_eq!(line["producer"], "payments-provider");
    // Its own leaf is refused at the handshake, and counted.
    let identity = next.issue(&Leaf::of(SUBJECT));
    for _ in 0..2 {
        let mut renewed = receiver.producer_as(Some(&identity));
        assert!(renewed.try_deliver(&event("evt_2")).is_err());
    }
    receiver.refusal("unknown-issuer");
    let line = tallied(&receiver, "client_ca", [2, 2, 1]);
    counted(
        &receiver,
        r#"mark="client_ca",would="accept",tenant="",producer="O=Example,CN=The next CA""#,
        2,
    );
    assert_eq!(
        line["met_by"],
        "OU=tenant-42,O=Example,CN=payments-provider"
    );
    assert_eq!(line["subject"], "O=Example,CN=The next CA");
    why(
        &receiver,
        "would have accepted handshakes that were refused: 2",
    );
    // A stranger's CA is nobody's business.
    let foreign = Authority::new("A stranger").issue(&Leaf::of(SUBJECT));
    assert!(
        receiver
            .producer_as(Some(&foreign))
            .try_deliver(&event("evt_3"))
            .is_err()
    );
    // The mark is removed: whom it would have let in, it lets in.
    reconfigure(
        &receiver,
        r#"{ file = "certs/next.crt", shadow = true }"#,
        r#""certs/next.crt""#,
    );
    let mut renewed = receiver.producer_as(Some(&identity));
    assert_eq!(renewed.deliver(&event("evt_2")).status, 204);
    assert!(marks(&receiver, "client_ca").is_empty());
}

#[test]
fn a_secret_that_only_watches_tells_what_it_would_have_verified() {
    let receiver = Receiver::start();
    receiver.write("certs/next.secret", NEXT_SECRET);
    reconfigure(
        &receiver,
        r#"secrets = ["file:certs/producer.secret"]"#,
        r#"secrets = ["file:certs/producer.secret", { secret = "file:certs/next.secret", shadow = true }]"#,
    );
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let line = tallied(&receiver, "secret", [0, 0, 1]);
    assert_eq!(line["secret"], "file:certs/next.secret");
    let mut renewed = receiver.producer();
    renewed.secret = NEXT_SECRET.as_bytes().to_vec();
    assert_eq!(renewed.deliver(&event("evt_2")).status, 401);
    tallied(&receiver, "secret", [1, 1, 1]);
    why(
        &receiver,
        "would have accepted deliveries that were refused: 1",
    );
}

#[test]
fn a_pin_that_only_watches_tells_which_key_it_would_have_demanded() {
    let receiver = Receiver::start();
    let renewed = receiver.authority.issue(&Leaf::of(SUBJECT));
    receiver.write("certs/renewed.crt", &renewed.certificate);
    let pin = |file: &str| {
        let inspected = receiver.countersign(&["certs", "inspect", file, "--json"]);
        let said: Value = serde_json::from_str(inspected.stdout.trim()).unwrap();
        format!("sha256:{}", said["spki_sha256"].as_str().unwrap())
    };
    let (old, new) = (pin("certs/producer.crt"), pin("certs/renewed.crt"));
    reconfigure(
        &receiver,
        "profile = \"timestamped\"",
        &format!(
            "profile = \"timestamped\"\npins = [\"{old}\", {{ pin = \"{new}\", shadow = true }}]"
        ),
    );
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    tallied(&receiver, "pin", [0, 0, 1]);
    let answer = receiver
        .producer_as(Some(&renewed))
        .deliver(&event("evt_2"));
    assert_eq!(answer.status, 403);
    let line = tallied(&receiver, "pin", [1, 1, 1]);
    let whose = r#"tenant="tenant-42",producer="payments-provider""#;
    for would in ["accept", "refuse"] {
        // Two tenants may each have a producer of this name.
        let labels = format!(r#"mark="pin",would="{would}",{whose}"#);
        counted(&receiver, &labels, 1);
    }
    assert_eq!(line["pin"], new.as_str());
}

#[test]
fn a_producer_that_only_watches_is_judged_to_the_last_gate_and_kept_out() {
    let receiver = Receiver::start();
    receiver.write("certs/next.secret", NEXT_SECRET);
    let subject = "CN=next-provider,O=Example,OU=tenant-42";
    reconfigure(
        &receiver,
        "[[tenants.producers]]",
        &format!(
            "[[tenants.producers]]\nname = \"next\"\nsubject = \"{subject}\"\nshadow = true\nsecrets = [\"file:certs/next.secret\"]\n\n[[tenants.producers]]"
        ),
    );
    let identity = receiver.authority.issue(&Leaf::of(&[
        ("CN", "next-provider"),
        ("O", "Example"),
        ("OU", "tenant-42"),
    ]));
    let mut next = receiver.producer_as(Some(&identity));
    // Its secret is not the one that it signs with.
    assert_eq!(next.deliver(&event("evt_1")).status, 403);
    tallied(&receiver, "producer", [0, 0, 1]);
    next.secret = NEXT_SECRET.as_bytes().to_vec();
    assert_eq!(next.deliver(&event("evt_2")).status, 403);
    let line = tallied(&receiver, "producer", [1, 1, 1]);
    assert_eq!(line["producer"], "next");
    let events = receiver.countersign(&["events", "list", "--json"]);
    assert!(events.stdout.is_empty(), "{events:?}");
}
