//! `countersign events replay`: a mapping is mended, and the ledger follows it.

use serde_json::Value;

use crate::{Authority, Leaf, Producer, Receiver, receiver::Changes};

const SUBJECT: &[(&str, &str)] = &[("CN", "acme"), ("O", "Example")];

const PRODUCER: &str = r#"
[[tenants.producers]]
name = "acme"
subject = "CN=acme,O=Example"
profile = "acme"
secrets = ["file:certs/producer.secret"]

[profiles.acme]
extends = "timestamped"
[profiles.acme.event]
payment_id = "/data/payment"
status_by = "/type"
[profiles.acme.event.status]
"paid" = "succeeded"
"#;

fn body(id: &str, kind: &str, second: i64) -> String {
    format!(
        r#"{{"id":"{id}","type":"{kind}","created":{second},"data":{{"payment":"p1","amount":1999,"currency":"EUR"}}}}"#
    )
}

fn payments(receiver: &Receiver) -> Vec<Value> {
    receiver
        .countersign(&["payments", "list", "--json"])
        .json_lines()
}

fn replay(receiver: &Receiver, more: &[&str]) -> Vec<Value> {
    let command = ["events", "replay", "--since", "1h", "--json"];
    receiver
        .countersign(&[&command, more].concat())
        .json_lines()
}

#[test]
fn a_mapping_that_is_mended_is_applied_to_what_was_kept() {
    let receiver = Receiver::with(&Changes {
        more: PRODUCER,
        ..Changes::default()
    });
    let authority: &Authority = &receiver.authority;
    let mut producer: Producer = receiver.producer_as(Some(&authority.issue(&Leaf::of(SUBJECT))));
    for body in [
        body("evt_1", "paid", 1_790_000_000),
        body("evt_2", "given back", 1_790_000_100),
    ] {
        assert_eq!(producer.deliver(&body).status, 204);
    }
    assert_eq!(payments(&receiver)[0]["status"], "succeeded");
    let same = replay(&receiver, &[]);
    assert_eq!(same.len(), 1, "{same:?}");
    assert_eq!(same[0]["events_changed"], 0);

    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    receiver.write(
        "countersign.toml",
        &format!("{text}\"given back\" = \"refunded\"\n"),
    );
    let told = replay(&receiver, &["--dry-run"]);
    assert_eq!(told[0]["before"]["status"], "succeeded");
    assert_eq!(told[0]["after"]["status"], "refunded");
    assert_eq!(told[1]["events_changed"], 1);
    assert_eq!(payments(&receiver)[0]["status"], "succeeded");

    assert_eq!(replay(&receiver, &[]), told);
    let payment = &payments(&receiver)[0];
    assert_eq!(
        (&payment["status"], &payment["events"]),
        (&"refunded".into(), &2.into())
    );
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.iter().all(|event| event["effect"] == "applied"));
    assert_eq!(replay(&receiver, &[]).len(), 1);
    // The receiver went on all the while.
    let late = body("evt_3", "paid", 1_790_000_050);
    assert_eq!(producer.deliver(&late).status, 204);
    assert_eq!(payments(&receiver)[0]["status"], "refunded");

    // A payment that no event speaks of any more is gone.
    receiver.write(
        "countersign.toml",
        &text.replace("/data/payment", "/data/nothing"),
    );
    let told = replay(&receiver, &[]);
    assert_eq!(told[0]["after"], Value::Null, "{told:?}");
    assert!(payments(&receiver).is_empty());
}
