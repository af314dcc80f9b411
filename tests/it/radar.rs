//! What is told of certificates, secrets and senders: the radar, and why somebody is refused.

use std::time::Duration;

use crate::{
    Authority, Leaf, Receiver, SECOND_TENANT, authority::SUBJECT, event, eventually,
    producer::unix_now, receiver::Changes,
};

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
fn what_the_configuration_names_is_listed_though_the_store_is_away() {
    let receiver = Receiver::start();
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("\nurl = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    let away = "postgres://nobody@127.0.0.1:1/none?sslmode=disable";
    receiver.write(
        "countersign.toml",
        &format!("{before}\nurl = \"{away}\"{after}"),
    );
    let listed = receiver.countersign(&["certs", "list", "--json"]);
    assert_ne!(listed.code, Some(0), "{listed:?}");
    assert!(
        listed.stderr.contains("postgres://127.0.0.1:1/none"),
        "{listed:?}"
    );
    let lines = listed.stdout.lines();
    let lines: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let roles: Vec<_> = lines.iter().map(|one| &one["role"]).collect();
    assert_eq!(roles, ["server", "trust_anchor"]);
    // Whether a delivery used it is not known.
    assert!(lines[1]["note"].is_null(), "{listed:?}");
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
fn of_a_certificate_that_ends_the_log_says_which_and_the_list_that_it_has() {
    let mut receiver = Receiver::start();
    let last = unix_now() + 3;
    let brief = receiver.authority.issue_until(&Leaf::of(SUBJECT), last);
    let mut producer = receiver.producer_as(Some(&brief));
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let client = |receiver: &Receiver| {
        let listed = receiver.countersign(&["certs", "list", "--json"]);
        let mut lines = listed.json_lines().into_iter();
        lines.find(|one| one["role"] == "client").unwrap()
    };
    let serial = client(&receiver)["serial"].as_str().unwrap().to_owned();
    let said = |receiver: &mut Receiver, what: &str| {
        receiver.restart();
        eventually(SECONDS_10, || {
            let log = receiver.log();
            let mut lines = log.lines().filter(|line| line.contains(what));
            lines.find(|line| line.contains(&serial)).map(drop)
        });
    };
    said(&mut receiver, "a certificate ends soon");
    eventually(SECONDS_10, || (unix_now() > last).then_some(()));
    assert_eq!(client(&receiver)["note"], "ended");
    said(&mut receiver, "a certificate has ended");
}

#[test]
fn what_a_secret_was_seen_to_do_is_not_said_of_another_that_took_its_place() {
    let receiver = Receiver::start();
    let file = receiver.directory().join("certs/producer.secret");
    let secret = std::fs::read_to_string(&file).unwrap();
    // Long before the delivery, whatever this file system's clock says.
    let written = std::time::SystemTime::now() - Duration::from_secs(3600);
    let dated = |moment| {
        let file = std::fs::File::options().write(true).open(&file).unwrap();
        file.set_modified(moment).unwrap();
    };
    dated(written);
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let note = |name: &str| {
        let listed = receiver.countersign(&["certs", "list", "--json"]);
        let mut lines = listed.json_lines().into_iter();
        let of_it = lines.find(|one| one["secret"] == name)?;
        Some(of_it["note"].as_str().unwrap_or_default().to_owned())
    };
    let name = "file:certs/producer.secret";
    assert_eq!(eventually(SECONDS_10, || note(name)), "");
    let next = "7".repeat(32);
    receiver.write("certs/producer.secret", &format!("{next}\n{secret}"));
    dated(std::time::SystemTime::now() + Duration::from_secs(3600));
    let doubt = "its file was written since: another secret may stand there";
    assert_eq!(note(name).unwrap(), doubt);
    let why = receiver.countersign(&["why", "payments-provider"]);
    assert!(why.stdout.contains(doubt), "{why:?}");
    let config = std::fs::read_to_string(receiver.directory().join("countersign.toml")).unwrap();
    receiver.write("certs/other.secret", &next);
    receiver.write(
        "countersign.toml",
        &config.replace("certs/producer.secret", "certs/other.secret"),
    );
    assert_eq!(note(name).unwrap(), "it is configured no longer");
}

#[test]
fn one_tenants_refusals_are_not_told_of_anothers_producer_of_the_same_subject_and_name() {
    let receiver = Receiver::with(&Changes {
        more: SECOND_TENANT,
        ..Changes::default()
    });
    let mut forger = receiver.producer();
    forger.secret = b"no secret of anybody's".to_vec();
    assert_eq!(forger.deliver(&event("evt_1")).status, 401);
    receiver.refusal("signature-mismatch");
    let count = |tenant: &str| {
        let why = receiver.countersign(&["why", "payments-provider", "--json"]);
        let known = &why.json_lines()[0]["producers"];
        let of = known.as_array().unwrap().iter();
        let mut of = of.filter(|one| one["tenant_id"] == tenant);
        let refusals = &of.next().unwrap()["refusals"];
        refusals.as_array().unwrap().len()
    };
    // The store has it a moment after the operator's side.
    eventually(SECONDS_10, || (count("tenant-42") == 1).then_some(()));
    assert_eq!(count("tenant-7"), 0);
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
        // What was loaded before serves on, once the store is ready.
        let is_told = told.body.contains("reload_failing_since");
        (is_told && told.status == 200).then_some(told)
    });
    assert!(!told.body.contains("ca.crt"), "{told:?}");
    let readiness: serde_json::Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(readiness["store"], "ok", "{told:?}");
    // Which paths there are is told to nobody else either.
    for path in ["/api/events", "/no/such/page"] {
        assert_eq!(receiver.admin(path).status, 401, "{path}");
    }
    let url = format!("http://{}/readyz", receiver.admin);
    let token = "Authorization: Bearer the-operators-token-of-32-bytes-!";
    let told = receiver.curl(&["--header", token, &url]);
    assert!(told.stdout.contains("ca.crt"), "{told:?}");
}

#[test]
fn a_page_that_is_asked_for_by_another_method_answers_with_a_problem_and_the_methods_it_has() {
    let receiver = Receiver::start();
    for (path, method, allowed) in [
        ("/healthz", "POST", "GET"),
        ("/metrics", "DELETE", "GET"),
        ("/api/reload", "GET", "POST"),
    ] {
        let url = format!("http://{}{path}", receiver.admin);
        let told = receiver.curl(&["--include", "--request", method, &url]);
        let text = told.stdout.to_lowercase();
        assert!(text.starts_with("http/1.1 405"), "{told:?}");
        assert!(
            text.contains("content-type: application/problem+json"),
            "{told:?}"
        );
        assert!(
            text.contains("urn:countersign:problem:method-not-allowed"),
            "{told:?}"
        );
        let allow = text
            .lines()
            .find(|line| line.starts_with("allow:"))
            .unwrap();
        assert!(allow.contains(&allowed.to_lowercase()), "{told:?}");
    }
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

#[test]
fn a_leaf_that_its_ca_revoked_is_marked_wherever_it_is_told_of() {
    let receiver = Receiver::start();
    receiver.countersign(&["certs", "init", "--out", "own"]);
    let own = ["--ca", "own"];
    let subject = "CN=payments-provider,O=Example,OU=tenant-42";
    let issue = ["certs", "issue", "--subject", subject, "--out", "own/leaf"];
    receiver.countersign(&[&issue[..], &own].concat());
    name_the_list_of(&receiver, "own");
    let url = receiver.url();
    let send = [
        "send",
        "--url",
        &url,
        "--cert",
        "own/leaf.crt",
        "--key",
        "own/leaf.key",
    ];
    let sent = receiver.countersign(&send);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let listed = || {
        let listed = receiver.countersign(&["certs", "list", "--json"]);
        let mut clients = listed.json_lines().into_iter();
        clients.find(|line| line["role"] == "client").unwrap()
    };
    assert_eq!(listed()["revoked"], false);
    let revoke = ["certs", "revoke", "own/leaf.crt"];
    receiver.countersign(&[&revoke[..], &own].concat());
    let marked = listed();
    assert_eq!(marked["revoked"], true);
    assert!(
        marked["note"].as_str().unwrap().starts_with("revoked"),
        "{marked}"
    );
    let why = receiver.countersign(&["why", "payments-provider", "--json"]);
    let known = &why.json_lines()[0]["producers"][0];
    assert_eq!(known["certificates"][0]["revoked"], true, "{known}");
    let why = receiver.countersign(&["why", "payments-provider"]);
    assert!(why.stdout.contains("It is revoked: a CRL of"), "{why:?}");
}

#[test]
fn a_list_that_ended_is_a_fault_to_check_where_everybody_under_its_ca_is_refused() {
    let receiver = Receiver::start();
    let ended = Authority::new("Ended CA");
    receiver.write("ended.crt", &ended.certificate);
    receiver.write("ended.crl", &ended.ended_list());
    let identity = ended.issue(&Leaf::of(SUBJECT));
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let named = text.replace(
        "client_ca = [\"certs/ca.crt\"]",
        "client_ca = [\"certs/ca.crt\", \"ended.crt\"]\ncrls = [\"ended.crl\"]",
    );
    assert_ne!(named, text);
    receiver.write("countersign.toml", &named);
    // The receiver serves on: the clients of other CAs are none the worse.
    assert_eq!(receiver.reload_now().status, 200);
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let refused = receiver
        .producer_as(Some(&identity))
        .try_deliver(&event("evt_2"));
    assert!(refused.is_err());
    receiver.refusal("revocation-unknown");
    let found = || {
        let checked = receiver.countersign(&["check", "--json"]);
        let mut findings = checked.objects().into_iter();
        let of_list = findings.find(|finding| finding["key"] == "tls.crls[0]");
        (checked.code, of_list.unwrap())
    };
    let (code, finding) = found();
    assert_eq!(
        (code, &finding["level"]),
        (Some(1), &"fault".into()),
        "{finding}"
    );
    assert_eq!(finding["mend"], "put the CA's newest CRL there");
    let told = finding["what"].as_str().unwrap();
    assert!(told.contains("every client of its CA is refused"), "{told}");
    // Where it is let pass, it is let pass.
    let lenient = named.replace("crls = [", "crl_expired = \"warn\"\ncrls = [");
    receiver.write("countersign.toml", &lenient);
    let (code, finding) = found();
    assert_eq!(
        (code, &finding["level"]),
        (Some(0), &"warning".into()),
        "{finding}"
    );
}

/// Trusts the CA of `certs init --out DIRECTORY` as well, and reads its list.
fn name_the_list_of(receiver: &Receiver, directory: &str) {
    receiver.countersign(&["certs", "revoke", "--ca", directory]);
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let named = text.replace(
        "client_ca = [\"certs/ca.crt\"]",
        &format!(
            "client_ca = [\"certs/ca.crt\", \"{directory}/ca.crt\"]\ncrls = [\"{directory}/ca.crl\"]"
        ),
    );
    assert_ne!(named, text);
    receiver.write("countersign.toml", &named);
    assert_eq!(receiver.reload_now().status, 200);
}
