//! What is told of an event whole, and of a fault with its place and its mend.

use crate::receiver::binary;
use crate::{Receiver, event, peers};

#[test]
fn a_conflict_is_shown_beside_its_event_alike_on_both_sides() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    let other = event("evt_1").replacen('{', "{\"other\":1,", 1);
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    producer.deliver(&other);
    let shown = receiver.countersign(&["events", "show", "evt_1", "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["body"], event("evt_1"));
    assert_eq!(shown["beside"].as_array().unwrap().len(), 1);
    assert_eq!(shown["beside"][0]["verdict"], "conflict");
    assert_eq!(shown["beside"][0]["body"], other);
    let tenant = shown["tenant_id"].as_str().unwrap();
    let answered = receiver.admin(&format!("/api/events/{tenant}/evt_1"));
    let answered: serde_json::Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(answered, shown);
}

#[test]
fn a_store_that_can_not_be_used_is_told_with_its_place_and_its_mend() {
    let receiver = Receiver::start();
    let run = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = binary(&[]);
        command.args(arguments).envs(variable);
        peers::run(receiver.directory(), &mut command, b"")
    };
    let of_store = |checked: &peers::Output| -> serde_json::Value {
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let findings = checked
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut of_store = findings.filter(|finding| finding["key"] == "store.url");
        of_store.next().unwrap()
    };
    let text = std::fs::read_to_string(receiver.directory().join("countersign.toml")).unwrap();
    let by_variable = Some(("COUNTERSIGN_STORE__URL", "sqlite:nowhere/inbox.db"));
    let checked = run(&["check", "--json"], by_variable);
    let fault = of_store(&checked);
    assert_eq!(fault["file"], "COUNTERSIGN_STORE__URL");
    let (what, mend) = (&fault["what"], fault["mend"].as_str().unwrap());
    assert!(what.as_str().unwrap().ends_with("does not exist"), "{what}");
    assert!(mend.starts_with("make it: mkdir -p "), "{mend}");
    let served = run(&["serve"], by_variable);
    assert_eq!(served.code, Some(2), "{served:?}");
    assert!(
        served
            .stderr
            .contains("COUNTERSIGN_STORE__URL: store.url: the store can not be opened: "),
        "{served:?}"
    );

    // Written in the file, it is told with its line.
    let text = text.replace("sqlite:data/countersign.db", "sqlite:nowhere/inbox.db");
    let line = text
        .lines()
        .position(|line| line.contains("sqlite:nowhere"));
    receiver.write("nowhere.toml", &text);
    let checked = run(&["--config", "nowhere.toml", "check", "--json"], None);
    let fault = of_store(&checked);
    assert_eq!(fault["file"], "nowhere.toml");
    assert_eq!(fault["line"], line.unwrap() + 1);
}

#[test]
fn a_certificate_that_came_is_inspected_with_when_it_last_came() {
    let receiver = Receiver::start();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let listed = receiver.countersign(&["events", "show", "evt_1", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let leaf = receiver.directory().join("certs/producer.crt");
    let inspected = receiver.countersign(&["certs", "inspect", leaf.to_str().unwrap(), "--json"]);
    let report = &inspected.json_lines()[0];
    assert_eq!(report["sha256"], shown["leaf"]["sha256"]);
    assert!(report["last_seen"].is_string(), "{report}");
}
