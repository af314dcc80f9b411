//! `countersign rehearse`: every scene against a real receiver, and what it skips.

use std::collections::BTreeMap;

use crate::Receiver;
use crate::receiver::Changes;

fn receiver() -> Receiver {
    Receiver::with(&Changes {
        limits: "body_timeout = \"1s\"",
        ..Changes::default()
    })
}

/// Result and detail by scene, and the exit code.
fn rehearse(receiver: &Receiver, more: &[&str]) -> (BTreeMap<String, (String, String)>, i32) {
    let url = receiver.url();
    let own = ["rehearse", "--json", "--url", &url];
    let output = receiver.countersign(&[&own, more].concat());
    let scenes = output.stdout.lines().map(|line| {
        let scene: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| scene[key].as_str().unwrap().to_owned();
        (text("scene"), (text("result"), text("detail")))
    });
    let scenes: BTreeMap<_, _> = scenes.collect();
    assert!(!scenes.is_empty(), "{output:?}");
    (scenes, output.code.unwrap())
}

#[test]
fn a_sound_receiver_passes_every_scene() {
    let receiver = receiver();
    // A CA whose key is at hand, trusted beside the first.
    receiver.countersign(&["certs", "init", "--out", "rehearsal"]);
    let own = std::fs::read_to_string(receiver.directory().join("rehearsal/ca.crt")).unwrap();
    let both = format!("{own}{}", receiver.authority.certificate);
    receiver.write("rehearsal/ca.crt", &both);
    receiver.write("certs/ca.crt", &both);
    assert_eq!(receiver.reload_now().status, 200);

    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal"]);
    for (scene, (result, detail)) in &scenes {
        let expected = match scene.as_str() {
            "revoked" | "Efí's registration" => "skipped",
            _ => "passed",
        };
        assert_eq!(result, expected, "{scene}: {detail}");
    }
    assert_eq!(scenes.len(), 19, "{scenes:?}");
    assert_eq!(code, 0);
    let events = receiver.countersign(&["events", "list", "--json"]);
    let events = events.json_lines();
    let marked = |event: &serde_json::Value| {
        let id = event["event_id"].as_str().unwrap();
        id.starts_with("rehearsal_")
    };
    assert!(events.iter().all(marked), "{events:?}");
    let conflicts = events.iter().filter(|event| event["verdict"] == "conflict");
    assert!(conflicts.count() > 0, "{events:?}");
}

#[test]
fn without_the_cas_key_its_scenes_are_skipped_with_a_reason() {
    let (scenes, code) = rehearse(&receiver(), &[]);
    let (result, detail) = &scenes["expired"];
    assert_eq!(result, "skipped");
    assert!(detail.contains("the CA's key is not at hand"), "{detail}");
    assert_eq!(scenes["foreign CA"].0, "passed");
    assert_eq!(code, 0);
}

#[test]
fn a_receiver_that_refuses_good_deliveries_has_nothing_to_rehearse() {
    let receiver = receiver();
    receiver.write("other.secret", "another-secret-of-thirty-two-byt");
    let url = receiver.url();
    let output =
        receiver.countersign(&["rehearse", "--url", &url, "--secret", "file:other.secret"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("signature-mismatch"), "{output:?}");
}
