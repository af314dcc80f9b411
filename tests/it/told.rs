//! What is told of an event whole, and of a fault with its place and its mend.

use std::time::Duration;

use crate::receiver::{Changes, binary};
use crate::{Receiver, event, eventually, peers};

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
fn what_a_broken_line_may_hold_is_not_told_to_be_missing() {
    let receiver = Receiver::start();
    let broken = receiver.directory().join("broken.toml");
    for (text, missing) in [("server:\n", false), ("", true)] {
        std::fs::write(&broken, text).unwrap();
        let mut command = binary(&[]);
        command.args(["--config", "broken.toml", "check"]);
        let checked = peers::run(receiver.directory(), &mut command, b"");
        assert_eq!(checked.stdout.contains("no TOML"), !missing, "{checked:?}");
        assert_eq!(
            checked.stdout.contains("there are none"),
            missing,
            "{checked:?}"
        );
    }
}

#[test]
fn where_nobody_answers_no_times_are_told() {
    let receiver = Receiver::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/webhooks/payments", free.local_addr().unwrap());
    drop(free);
    for (url, answered) in [(url, false), (receiver.url(), true)] {
        let sent = receiver.countersign(&["send", "--times", "2", "--url", &url]);
        assert_eq!(
            sent.stdout.contains("answered within"),
            answered,
            "{sent:?}"
        );
    }
}

#[test]
fn a_list_that_ends_where_nobody_said_so_tells_it() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    for number in 0..101 {
        assert_eq!(
            producer.deliver(&event(&format!("evt_{number}"))).status,
            204
        );
    }
    for (arguments, cut) in [
        (&["events", "list"][..], true),
        (&["events", "list", "--limit", "0"], false),
        (&["events", "list", "--limit", "7"], false),
        (&["events", "list", "--json"], false),
        (&["refusals", "list"], false),
    ] {
        let listed = receiver.countersign(arguments);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        assert_eq!(listed.stderr.contains("--limit 0"), cut, "{listed:?}");
    }
}

#[test]
fn a_command_that_a_mend_gives_can_be_pasted_whatever_the_path_is() {
    let receiver = Receiver::start();
    for directory in ["no; where", "it's $HOME", "-a b"] {
        let url = format!("sqlite:{directory}/inbox.db");
        let check = || {
            let mut command = binary(&[]);
            command.args(["check", "--json"]);
            command.env("COUNTERSIGN_STORE__URL", &url);
            peers::run(receiver.directory(), &mut command, b"")
        };
        let checked = check();
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let mut findings = checked
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let fault = findings
            .find(|finding| finding["key"] == "store.url")
            .unwrap();
        let mend = fault["mend"].as_str().unwrap();
        let make = mend.strip_prefix("make it: ").unwrap();
        let mut shell = std::process::Command::new("sh");
        let made = peers::run(receiver.directory(), shell.args(["-c", make]), b"");
        assert_eq!(made.code, Some(0), "{made:?}");
        let checked = check();
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
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
            .contains("COUNTERSIGN_STORE__URL: store.url: the store cannot be opened: "),
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
fn an_address_of_another_machine_is_warned_of_before_the_start_and_one_in_use_is_not() {
    let receiver = Receiver::start();
    let check = |variable: &str, address: &str| {
        let mut command = binary(&[]);
        command.args(["check", "--json"]).env(variable, address);
        peers::run(receiver.directory(), &mut command, b"")
    };
    for (key, variable) in [
        ("server.listen", "COUNTERSIGN_SERVER__LISTEN"),
        ("admin.listen", "COUNTERSIGN_ADMIN__LISTEN"),
    ] {
        let away = check(variable, "192.0.2.1:18443");
        let told = &away.objects()[0];
        assert_eq!(told["key"], key);
        if key == "server.listen" {
            // It may be checked on one machine and serve on another.
            assert_eq!((away.code, &told["level"]), (Some(0), &"warning".into()));
            assert!(told["mend"].as_str().unwrap().starts_with("no interface"));
            assert_eq!(told["file"], variable);
        } else {
            // Where others can ask, the operator's side demands a token first.
            assert_eq!((away.code, &told["level"]), (Some(1), &"fault".into()));
        }
    }
    let here = check("COUNTERSIGN_SERVER__LISTEN", &receiver.address.to_string());
    assert_eq!(here.code, Some(0), "{here:?}");
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

#[test]
fn whatever_prints_data_prints_it_as_an_object_too() {
    let receiver = Receiver::start();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let object = |arguments: &[&str]| -> serde_json::Value {
        let told = receiver.countersign(&[arguments, &["--json"]].concat());
        assert_eq!(told.code, Some(0), "{told:?}");
        // Where there are several, the last is the summary.
        told.json_lines().pop().unwrap()
    };
    let issue = ["certs", "issue", "--ca", "own", "--out", "own/leaf"];
    for (arguments, key) in [
        (&["migrate"][..], "/up_to_date"),
        (&["backup", "--out", "copy.db"], "/bytes"),
        (&["export", "--out", "all.jsonl"], "/rows"),
        (&["import", "all.jsonl", "--verify-only"], "/rows"),
        (&["certs", "init", "--out", "own"], "/key"),
        (
            &[&issue[..], &["--subject", "CN=a"]].concat(),
            "/certificate",
        ),
        (
            &["certs", "revoke", "--ca", "own", "own/leaf.crt"],
            "/next_update",
        ),
        (&["certs", "inspect", "certs/producer.crt"], "/maps_to/0"),
        (&["why", "payments-provider"], "/producers/0/certificates"),
        (&["profiles", "show", "stripe"], "/profile"),
        (&["prune", "--dry-run"], "/dry_run"),
        (
            &["events", "replay", "--since", "1h", "--dry-run"],
            "/events_read",
        ),
    ] {
        let told = object(arguments);
        assert!(
            told.pointer(key).is_some_and(|found| !found.is_null()),
            "{arguments:?}: {told}"
        );
    }
    // The configuration has port 0, so the one that was given is named.
    let admin = ("COUNTERSIGN_ADMIN__LISTEN", receiver.admin.to_string());
    let health = |arguments: &[&str], admin: &(&str, String)| {
        let mut command = binary(&[]);
        command
            .args(["health", "--json"])
            .args(arguments)
            .env(admin.0, &admin.1);
        let told = peers::run(receiver.directory(), &mut command, b"");
        (told.code, told.objects().remove(0))
    };
    let (code, told) = health(&["--ready"], &admin);
    assert_eq!((code, &told["well"]), (Some(0), &true.into()), "{told}");
    assert_eq!(told["answer"]["store"], "ok", "{told}");
    let (code, told) = health(&[], &admin);
    assert_eq!((code, &told["status"]), (Some(0), &200.into()), "{told}");
    let (code, told) = health(&[], &(admin.0, "127.0.0.1:1".to_owned()));
    assert_eq!((code, &told["well"]), (Some(1), &false.into()), "{told}");
    assert!(told["error"].is_string(), "{told}");
}

#[test]
fn a_receiver_is_well_whatever_became_of_its_file() {
    let receiver = Receiver::start();
    let listen = format!("[admin]\nlisten = \"{}\"\n", receiver.admin);
    for damaged in [
        format!("x = 1\n{listen}"),
        format!("{listen}token = \"file:nope\"\n"),
        format!("{listen}[tls]\ncertificate =\n"),
        format!("{listen}[tls\ncertificate =\n"),
    ] {
        receiver.write("damaged.toml", &damaged);
        let told = receiver.countersign(&["--config", "damaged.toml", "health"]);
        assert_eq!(told.code, Some(0), "{damaged}{told:?}");
    }
    let mut command = binary(&[]);
    let listen = ("COUNTERSIGN_ADMIN__LISTEN", receiver.admin.to_string());
    command
        .args(["--config", "absent.toml", "health"])
        .envs([listen]);
    let told = peers::run(receiver.directory(), &mut command, b"");
    assert_eq!(told.code, Some(0), "{told:?}");
}

#[test]
fn each_fault_of_a_databases_address_and_of_its_spool_is_told_with_a_mend_of_its_own() {
    let receiver = Receiver::start();
    receiver.write("no.pem", "nothing");
    receiver.write(
        "spool.db",
        "no database at all, but a text that is long enough",
    );
    let checked = |url: &str, spool: &str| {
        let mut command = binary(&[]);
        command
            .args(["check", "--json"])
            .env("COUNTERSIGN_STORE__URL", url);
        if !spool.is_empty() {
            command.env("COUNTERSIGN_STORE__SPOOL__PATH", spool);
        }
        let checked = peers::run(receiver.directory(), &mut command, b"");
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let key = if spool.is_empty() {
            "store.url"
        } else {
            "store.spool.path"
        };
        let mut findings = checked.objects().into_iter();
        findings.find(|finding| finding["key"] == key).unwrap()
    };
    let at = "postgres://user@127.0.0.1:1/inbox";
    for (query, spool, what, mend) in [
        (
            "?sslmode=verify-full",
            "",
            "needs sslrootcert",
            "add sslrootcert=FILE",
        ),
        (
            "?sslmode=sometimes",
            "",
            "sslmode=sometimes",
            "sslmode=verify-full",
        ),
        ("?sslcert=a.crt", "", "together", "the other one"),
        (
            "?sslmode=verify-ca&sslrootcert=none.pem",
            "",
            "none.pem",
            "make it readable",
        ),
        (
            "?sslmode=verify-ca&sslrootcert=no.pem",
            "",
            "the authority's certificate",
            "sslrootcert of store.url",
        ),
        ("", "spool.db", "spool.db", "store.spool.path"),
        ("", "nowhere/spool.db", "does not exist", "mkdir -p"),
    ] {
        let finding = checked(&format!("{at}{query}"), spool);
        let has = |key: &str, text: &str| finding[key].as_str().unwrap().contains(text);
        assert!(
            has("what", what) && has("mend", mend),
            "{query} {spool}: {finding}"
        );
        assert!(!has("what", "; "), "{finding}");
    }
}

#[test]
fn what_can_not_be_printed_is_no_answer_and_a_reader_that_went_away_is_no_fault() {
    let receiver = Receiver::start();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    for arguments in [
        &["events", "list"][..],
        &["events", "show", "evt_1", "--json"],
        &["profiles", "list"],
        &["check"],
    ] {
        let run = |output: std::process::Stdio| {
            let mut command = binary(&[]);
            command.args(arguments).current_dir(receiver.directory());
            command.stdout(output).stderr(std::process::Stdio::piped());
            let ended = command.spawn().unwrap().wait_with_output().unwrap();
            (
                ended.status.code(),
                String::from_utf8(ended.stderr).unwrap(),
            )
        };
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let (code, told) = run(full.unwrap().into());
        assert_eq!(code, Some(1), "{arguments:?}: {told}");
        assert!(told.contains("the output is incomplete"), "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()).0, Some(0), "{arguments:?}");
    }
}

#[test]
fn check_tells_everything_at_once_whatever_else_is_wrong() {
    let receiver = Receiver::start();
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let weak = receiver.directory().join("certs/weak.secret");
    std::fs::write(&weak, "short\n").unwrap();
    // A key that is none, a certificate that is not there, a store that cannot be used, a weak secret, and a spool that nobody moves.
    let faulty = text
        .replacen("[server]", "[server]\nno_such_key = 1", 1)
        .replace("file:certs/producer.secret", "file:certs/weak.secret")
        .replace("certs/ca.crt", "certs/no-such-ca.crt");
    assert_ne!(faulty, text);
    receiver.write("countersign.toml", &faulty);
    let mut command = binary(&[]);
    command.args(["check", "--json"]);
    command.env("COUNTERSIGN_STORE__URL", "sqlite:nowhere/inbox.db");
    let checked = peers::run(receiver.directory(), &mut command, b"");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let lines = checked.stdout.lines();
    let told: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = |level: &str, key: &str| {
        told.iter().any(|finding| {
            finding["level"] == level && finding["key"].as_str().unwrap().starts_with(key)
        })
    };
    for (level, key) in [
        ("fault", "server.no_such_key"),
        ("fault", "tls.client_ca"),
        ("fault", "store.url"),
        ("warning", "tenants[0].producers[0].secrets"),
    ] {
        assert!(told(level, key), "{level} {key}: {}", checked.stdout);
    }
}

/// Waits for a log line with all of this.
#[track_caller]
fn logged(receiver: &Receiver, parts: &[&str]) {
    eventually(Duration::from_secs(10), || {
        let log = receiver.log();
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        log.lines().any(has_all).then_some(())
    });
}

#[test]
fn what_a_sender_that_is_let_in_does_wrong_is_logged_with_whose_it_is() {
    let receiver = Receiver::with(&Changes {
        limits: "body_bytes = 1000\nbody_timeout = \"200ms\"",
        ..Changes::default()
    });
    let (url, other) = (
        receiver.url(),
        format!("{}/{}", receiver.url(), "x".repeat(500)),
    );
    receiver.curl(&["-X", "POST", &other]);
    receiver.curl(&["-X", "PUT", &url]);
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&" ".repeat(1001)).status, 413);
    assert_eq!(producer.renewed().deliver("[]").status, 400);
    let mut slow = producer.connect().unwrap();
    let answer = slow.exchange(&producer.begun(10)).unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    let path = format!("path=\"/webhooks/payments/{}…\"", "x".repeat(256 - 19));
    for (status, problem, more) in [
        (404, "not-found", &*path),
        (405, "method-not-allowed", "method=\"PUT\""),
        (
            413,
            "body-too-large",
            "method=\"POST\" path=\"/webhooks/payments\"",
        ),
        (400, "payload-malformed", ""),
        (408, "body-too-slow", ""),
    ] {
        let status = format!("a request was not taken status={status}");
        let problem = format!("problem=\"{problem}\"");
        let whose = "tenant=\"tenant-42\" producer=\"payments-provider\" subject=\"OU=tenant-42,O=Example,CN=payments-provider\" address=127.0.0.1";
        logged(&receiver, &[&status, &problem, whose, more, "suppressed=0"]);
    }
    let mut producer = producer.renewed();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let answer = producer.deliver(&event("evt_1").replace("1999", "2000"));
    assert_eq!(answer.status, 204);
    logged(
        &receiver,
        &[
            "kept as a conflict",
            "producer=\"payments-provider\" event_id=\"evt_1\" address=127.0.0.1",
        ],
    );
    // A refusal has its own line.
    producer.secret = b"another".to_vec();
    assert_eq!(producer.deliver(&event("evt_2")).status, 401);
    logged(&receiver, &["signature-mismatch"]);
    let log = receiver.log();
    assert_eq!(log.matches("a request was not taken").count(), 5, "{log}");
}
