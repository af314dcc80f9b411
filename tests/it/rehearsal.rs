//! `countersign rehearse`: every scene against a real receiver, and what it skips.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::peers::Output;
use crate::receiver::Changes;
use crate::{Receiver, event, eventually, postgres};

fn receiver() -> Receiver {
    Receiver::with(&Changes {
        limits: "body_timeout = \"1s\"",
        ..Changes::default()
    })
}

fn scenes(output: &Output) -> Vec<serde_json::Value> {
    let lines = output.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Result and detail by scene, and the exit code.
fn rehearse(receiver: &Receiver, more: &[&str]) -> (BTreeMap<String, (String, String)>, i32) {
    let url = receiver.url();
    let own = ["rehearse", "--json", "--url", &url];
    let own = if more.contains(&"--url") {
        &own[..2]
    } else {
        &own
    };
    let output = receiver.countersign(&[own, more].concat());
    let scenes = scenes(&output).into_iter().map(|scene| {
        let text = |key: &str| scene[key].as_str().unwrap().to_owned();
        (text("scene"), (text("result"), text("detail")))
    });
    let scenes: BTreeMap<_, _> = scenes.collect();
    assert!(!scenes.is_empty(), "{output:?}");
    (scenes, output.code.unwrap())
}

/// A CA whose key is at hand, trusted beside the first.
fn trust_another_ca(receiver: &Receiver) {
    receiver.countersign(&["certs", "init", "--out", "rehearsal"]);
    let own = std::fs::read_to_string(receiver.directory().join("rehearsal/ca.crt")).unwrap();
    let both = format!("{own}{}", receiver.authority.certificate);
    receiver.write("rehearsal/ca.crt", &both);
    receiver.write("certs/ca.crt", &both);
    assert_eq!(receiver.reload_now().status, 200);
}

#[test]
fn a_sound_receiver_passes_every_scene() {
    let receiver = receiver();
    trust_another_ca(&receiver);

    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal"]);
    for (scene, (result, detail)) in &scenes {
        let expected = match scene.as_str() {
            "revoked" | "Efí's registration" => "skipped",
            _ => "passed",
        };
        assert_eq!(result, expected, "{scene}: {detail}");
    }
    assert_eq!(scenes.len(), 20, "{scenes:?}");
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
    for (scene, found) in [
        ("good delivery", "the store has 1 accepted, 0 repeated"),
        ("replayed, byte for byte", "1 accepted, 1 repeated"),
        ("duplicate, signed anew", "1 accepted, 2 repeated"),
        ("conflicting body", "1 accepted, 1 in conflict, 2 repeated"),
        ("out of order", "and the payment is refunded"),
    ] {
        let (_, detail) = &scenes[scene];
        assert!(detail.contains(found), "{scene}: {detail}");
    }
}

/// What must be in the store behind an accepted delivery.
const STORED: [&str; 6] = [
    "conflicting body",
    "duplicate, signed anew",
    "first of several",
    "good delivery",
    "out of order",
    "replayed, byte for byte",
];

/// The same configuration with another store, in which nothing is, and with this address.
fn elsewhere(receiver: &Receiver, listen: &str) -> Output {
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replacen("listen = \"127.0.0.1:0\"", listen, 1);
    let text = text.replace("data/countersign.db", "data/elsewhere.db");
    receiver.write("elsewhere.toml", &text);
    let migrated = receiver.countersign(&["migrate", "--config", "elsewhere.toml"]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let url = receiver.url();
    let rehearse = [
        "rehearse",
        "--config",
        "elsewhere.toml",
        "--json",
        "--url",
        &url,
    ];
    receiver.countersign(&rehearse)
}

#[test]
fn what_is_answered_with_success_and_kept_nowhere_has_failed() {
    let receiver = receiver();
    let own = format!("listen = \"127.0.0.1:{}\"", receiver.address.port());
    let rehearsed = elsewhere(&receiver, &own);
    assert_eq!(rehearsed.code, Some(1), "{rehearsed:?}");
    let scenes = scenes(&rehearsed);
    let mut failed: Vec<_> = scenes
        .iter()
        .filter(|scene| scene["result"] == "failed")
        .map(|scene| {
            let detail = scene["detail"].as_str().unwrap();
            assert!(detail.contains("the store has nothing"), "{scene}");
            scene["scene"].as_str().unwrap()
        })
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, STORED, "{scenes:#?}");
}

#[test]
fn what_postgres_keeps_behind_a_spool_is_seen() {
    let Some(database) = postgres::fresh_database() else {
        return;
    };
    let receiver = Receiver::with(&Changes {
        limits: "body_timeout = \"1s\"",
        store: &format!("url = \"{database}\"\n[store.spool]\npath = \"data/spool.db\"\n"),
        ..Changes::default()
    });
    let rehearsed = receiver.countersign(&["rehearse", "--json", "--url", &receiver.url()]);
    assert_eq!(rehearsed.code, Some(0), "{rehearsed:?}");
    let scenes = scenes(&rehearsed);
    let seen = scenes.iter().filter(|scene| scene["store"] == "seen");
    let mut seen: Vec<_> = seen.map(|scene| scene["scene"].as_str().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, STORED, "{scenes:#?}");
}

#[test]
fn of_another_receiver_it_is_told_that_the_store_was_not_seen() {
    let receiver = receiver();
    let rehearsed = elsewhere(&receiver, "listen = \"127.0.0.1:1\"");
    assert_eq!(rehearsed.code, Some(0), "{rehearsed:?}");
    let scenes = scenes(&rehearsed);
    let mut unseen: Vec<_> = scenes
        .iter()
        .filter(|scene| scene["store"] == "not seen")
        .map(|scene| {
            let detail = scene["detail"].as_str().unwrap();
            assert!(detail.contains("as far as the answer goes"), "{scene}");
            scene["scene"].as_str().unwrap()
        })
        .collect();
    unseen.sort_unstable();
    assert_eq!(unseen, STORED, "{scenes:#?}");
}

#[test]
fn a_producer_that_is_bound_to_its_key_is_played_with_no_other() {
    let receiver = receiver();
    trust_another_ca(&receiver);
    let arguments = ["certs", "inspect", "certs/producer.crt", "--json"];
    let inspected = receiver.countersign(&arguments).objects().remove(0);
    let pin = inspected["spki_sha256"].as_str().unwrap();
    let configured = std::fs::read_to_string(receiver.directory().join("countersign.toml"));
    let own = "profile = \"timestamped\"";
    let pinned = format!("{own}\npins = [\"sha256:{pin}\"]");
    receiver.write(
        "countersign.toml",
        &configured.unwrap().replacen(own, &pinned, 1),
    );
    assert_eq!(receiver.reload_now().status, 200);

    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal"]);
    let (result, detail) = &scenes["version 1 leaf"];
    assert_eq!(result, "skipped");
    assert!(detail.contains("pinned keys"), "{detail}");
    let failed = scenes.values().filter(|(result, _)| result == "failed");
    assert_eq!(failed.count(), 0, "{scenes:?}");
    assert_eq!(code, 0);
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

#[test]
fn a_certificate_that_is_made_and_revoked_for_it_is_refused() {
    let receiver = receiver();
    trust_another_ca(&receiver);
    receiver.countersign(&["certs", "revoke", "--ca", "rehearsal"]);
    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal", "--revoke"]);
    let (result, detail) = &scenes["revoked"];
    assert_eq!(result, "failed", "{detail}");
    assert!(
        detail.ends_with("let tls.crls name rehearsal/ca.crl"),
        "{detail}"
    );
    assert_eq!(code, 1, "{scenes:?}");
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write(
        "countersign.toml",
        &text.replacen("[tls]", "[tls]\ncrls = [\"rehearsal/ca.crl\"]", 1),
    );
    assert_eq!(receiver.reload_now().status, 200);
    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal", "--revoke"]);
    let (result, detail) = &scenes["revoked"];
    assert_eq!(result, "passed", "{detail}");
    assert!(detail.contains("certificate revoked"), "{detail}");
    assert_eq!(code, 0, "{scenes:?}");
}

/// Producers that are played with what the configuration has of them, and with certificates of the private CA.
const OTHERS: &str = r#"
[[tenants.producers]]
name = "efi"
subject = "CN=efi,O=Example"
path = "/webhooks/efi"
profile = "pix"
signature = "none"
account = { pointer = "/chave", equals = "my@key" }

[[tenants.producers]]
name = "shop"
subject = "O=Example,CN=shop"
path = "/webhooks/shop"
profile = "braintree"
secrets = ["file:shop.secret"]
values = { key_id = "our_public_key" }

[[tenants.producers]]
name = "till"
subject = "CN=till,O=Example"
path = "/webhooks/till"
profile = "square"
secrets = ["file:shop.secret"]
url = "https://hooks.example.com/webhooks/till"
account = { pointer = "/merchant_id", equals = "ML42" }
"#;

#[test]
fn another_producer_is_played_with_what_the_configuration_has_of_it() {
    let receiver = receiver();
    receiver.write("shop.secret", "a secret of at least thirty-two bytes\n");
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write("countersign.toml", &format!("{text}{OTHERS}"));
    trust_another_ca(&receiver);
    for (producer, skipped) in [
        (
            "efi",
            &["bad signature", "changed time", "revoked", "stale"][..],
        ),
        (
            "shop",
            &[
                "Efí's registration",
                "changed time",
                "conflicting body",
                "revoked",
                "stale",
            ],
        ),
        (
            "till",
            &["Efí's registration", "changed time", "revoked", "stale"],
        ),
    ] {
        let port = receiver.address.port();
        let url = format!("https://localhost:{port}/webhooks/{producer}");
        let more = ["--ca", "rehearsal", "--producer", producer, "--url", &url];
        let (scenes, code) = rehearse(&receiver, &more);
        let of = |wanted: &str| {
            let those = scenes.iter().filter(|(_, (result, _))| result == wanted);
            those.map(|(scene, _)| scene.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of("failed"), [""; 0], "{producer}: {scenes:#?}");
        assert_eq!(of("skipped"), skipped, "{producer}: {scenes:#?}");
        assert_eq!(code, 0);
    }
}

#[test]
fn what_there_is_nothing_to_play_with_is_a_misuse() {
    let receiver = receiver();
    for (arguments, expected) in [
        (&["--producer", "nobody"][..], "no such producer"),
        (&["--identity", "nothing"], "nothing.crt"),
        (&["--secret", "file:nothing"], "the secret cannot be read"),
    ] {
        let output = receiver.countersign(&[&["rehearse"], arguments].concat());
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    }
}

#[test]
fn where_the_id_is_made_of_the_payment_another_time_is_the_conflict() {
    let receiver = receiver();
    receiver.write("adyen.secret", &"5f".repeat(32));
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write(
        "countersign.toml",
        &format!(
            "{text}\n[[tenants.producers]]\nname = \"adyen\"\nsubject = \"CN=payments-provider,O=Example,OU=tenant-42\"\n\
             path = \"/webhooks/adyen\"\nprofile = \"adyen-classic\"\nsecrets = [\"file:adyen.secret\"]\n"
        ),
    );
    assert_eq!(receiver.reload_now().status, 200);
    let url = format!(
        "https://localhost:{}/webhooks/adyen",
        receiver.address.port()
    );
    let (scenes, code) = rehearse(&receiver, &["--url", &url, "--producer", "adyen"]);
    assert_eq!(scenes["conflicting body"].0, "passed", "{scenes:?}");
    assert_eq!(code, 0, "{scenes:?}");
    let listed = receiver.countersign(&["events", "list", "--limit", "0", "--json"]);
    let events = listed.json_lines();
    let conflicts = events.iter().filter(|event| event["verdict"] == "conflict");
    assert_eq!(conflicts.count(), 1, "{events:?}");
}

#[test]
fn where_a_payment_is_one_event_a_sound_receiver_passes_as_well() {
    let receiver = receiver();
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write(
        "countersign.toml",
        &format!(
            "{text}\n[[tenants.producers]]\nname = \"single\"\nsubject = \"CN=payments-provider,O=Example,OU=tenant-42\"\n\
             path = \"/webhooks/single\"\nprofile = \"single\"\nsecrets = [\"file:certs/producer.secret\"]\n\
             [profiles.single]\nextends = \"timestamped\"\n[profiles.single.event]\nid = \"/data/payment_id\"\n"
        ),
    );
    assert_eq!(receiver.reload_now().status, 200);
    let url = format!(
        "https://localhost:{}/webhooks/single",
        receiver.address.port()
    );
    let (scenes, code) = rehearse(&receiver, &["--url", &url, "--producer", "single"]);
    let (result, detail) = &scenes["out of order"];
    assert_eq!(result, "passed", "{scenes:?}");
    assert!(detail.contains("not told apart"), "{detail}");
    assert_eq!(code, 0, "{scenes:?}");
}

#[test]
fn what_it_leaves_in_the_store_is_told_at_its_end() {
    let receiver = receiver();
    let told = receiver.countersign(&["rehearse", "--url", &receiver.url()]);
    let last = told.stdout.lines().last().unwrap();
    for left in ["rehearsal_", "72656865617273616c", "refusals list"] {
        assert!(last.contains(left), "{told:?}");
    }
}

#[test]
fn certificates_that_are_made_for_it_are_in_its_events_and_nobodys_in_use() {
    let mut receiver = receiver();
    trust_another_ca(&receiver);
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    std::fs::remove_file(receiver.directory().join("certs/producer.crt")).unwrap();
    let (scenes, code) = rehearse(&receiver, &["--ca", "rehearsal"]);
    assert_eq!(code, 0, "{scenes:#?}");
    let of_a_rehearsal = hex::encode("rehearsal");
    let events = receiver.countersign(&["events", "list", "--json"]);
    let events = events.json_lines();
    assert!(events.len() > 1, "{events:#?}");
    for event in events.iter().filter(|event| event["event_id"] != "evt_1") {
        let serial = event["leaf"]["serial"].as_str().unwrap();
        assert!(serial.starts_with(&of_a_rehearsal), "{event}");
    }
    receiver.restart();
    let metrics = eventually(Duration::from_secs(10), || {
        let metrics = receiver.admin("/metrics").body;
        metrics
            .contains("countersign_certificate_not_after_seconds{role=\"client\"")
            .then_some(metrics)
    });
    let listed = receiver.countersign(&["certs", "list", "--json"]).stdout;
    // What was refused bears their serial numbers, too.
    let of_certificates = |text: String| {
        let lines = text.lines();
        let lines = lines.filter(|line| {
            line.to_lowercase().contains("a certificate ") || line.starts_with("Its certificate")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let why = receiver.countersign(&["why", "payments-provider"]).stdout;
    assert!(
        of_certificates(why.clone()).contains("Its certificate"),
        "{why}"
    );
    for told in [
        metrics,
        listed,
        of_certificates(why),
        of_certificates(receiver.log()),
    ] {
        assert!(!told.contains(&of_a_rehearsal), "{told}");
    }
}
