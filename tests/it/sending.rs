//! `countersign send`: each profile's deliveries, and those that go wrong on request.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign::signature::{Algorithm, AlgorithmDescriptor, Coverage, Profile, builtin};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    Authority, Leaf, Receiver,
    authority::SUBJECT,
    eventually,
    peers::{self, Output, openssl},
    receiver::{Changes, binary},
};

/// 256 bits that are hexadecimal and base64 at once, so that they serve every form of key.
const SECRET: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";
/// The variable with the public key of the providers that sign with a private one.
const KEY: &str = "PROVIDERS_KEY";
const REGISTERED: &str = "https://hooks.example.com";

fn send(receiver: &Receiver, arguments: &[&str]) -> Output {
    let url = receiver.url();
    let here = ["send", "--json", "--url", &url];
    receiver.countersign(&[&here, arguments].concat())
}

fn object(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn path(profile: &Profile) -> String {
    format!("/webhooks/{}", profile.name())
}

/// A producer for each built-in profile, all with one certificate, each at a path of its own.
fn producers() -> String {
    let mut text = String::new();
    for profile in builtin().iter() {
        let name = profile.name();
        writeln!(
            text,
            "[[tenants.producers]]\nname = \"{name}\"\nsubject = \"CN=payments-provider,O=Example,OU=tenant-42\"\n\
             path = \"{}\"\nprofile = \"{name}\"",
            path(profile)
        )
        .unwrap();
        if profile.coverage() == Coverage::Connection {
            writeln!(
                text,
                "signature = \"none\"\naccount = {{ pointer = \"/chave\", equals = \"efipay@sejaefi.com.br\" }}"
            )
            .unwrap();
        } else {
            let variable = if is_asymmetric(profile) {
                KEY
            } else {
                "PROVIDERS_SECRET"
            };
            writeln!(text, "secrets = [\"env:{variable}\"]").unwrap();
        }
        if profile.needs_url() {
            writeln!(text, "url = \"{REGISTERED}\"").unwrap();
        }
        let values = profile.needed_values();
        if !values.is_empty() {
            let values: Vec<_> = values
                .iter()
                .map(|name| format!("{name} = \"abc\""))
                .collect();
            writeln!(text, "values = {{ {} }}", values.join(", ")).unwrap();
        }
    }
    text
}

fn is_asymmetric(profile: &Profile) -> bool {
    let signature = profile.descriptor().signature.as_ref();
    let algorithm = signature.and_then(|signature| signature.algorithm.clone());
    algorithm == Some(AlgorithmDescriptor::Fixed(Algorithm::RsaPkcs1Sha256))
}

fn receiver_for_all() -> Receiver {
    let here = Path::new(".");
    let private = openssl(here, &["genpkey", "-algorithm", "RSA"], b"").stdout;
    let public = openssl(here, &["pkey", "-pubout"], private.as_bytes()).stdout;
    let receiver = Receiver::with(&Changes {
        more: &producers(),
        environment: vec![
            ("PROVIDERS_SECRET", SECRET.into()),
            (KEY, public.clone().into()),
        ],
        ..Changes::default()
    });
    receiver.write("providers.secret", SECRET);
    receiver.write("provider.key", &private);
    receiver.write("provider.pub", &public);
    receiver
}

fn send_as(receiver: &Receiver, profile: &Profile, arguments: &[&str]) -> Output {
    let url = format!(
        "https://localhost:{}{}",
        receiver.address.port(),
        path(profile)
    );
    let values: Vec<String> = profile
        .needed_values()
        .iter()
        .map(|name| format!("--value={name}=abc"))
        .collect();
    let mut all = vec![
        "send",
        "--json",
        "--url",
        &url,
        "--profile",
        profile.name(),
        "--secret",
        if is_asymmetric(profile) {
            "file:provider.key"
        } else {
            "file:providers.secret"
        },
        "--registered-url",
        REGISTERED,
    ];
    all.extend(values.iter().map(String::as_str));
    all.extend(arguments);
    receiver.countersign(&all)
}

#[test]
fn an_event_that_the_store_shows_can_be_explained() {
    let receiver = receiver_for_all();
    for name in ["stripe", "adyen-classic"] {
        let profile = builtin().get(name).unwrap();
        let sent = object(&send_as(&receiver, profile, &[]));
        let id = sent["event_id"].as_str().unwrap();
        let shown = receiver.countersign(&["events", "show", id, "--json"]);
        let event: Value = shown.json_lines().remove(0);
        receiver.write("shown.json", &shown.stdout);
        receiver.write("shown.body", event["body"].as_str().unwrap());
        let explained = receiver.countersign(&[
            "explain",
            "--profile",
            name,
            "--headers",
            "shown.json",
            "--body",
            "shown.body",
            "--secret",
            "file:providers.secret",
        ]);
        assert_eq!(explained.code, Some(0), "{explained:?}");
    }
}

#[test]
fn every_profile_is_accepted_and_its_event_is_known_by_the_id_that_was_told() {
    let receiver = receiver_for_all();
    for profile in builtin().iter() {
        let name = profile.name();
        let output = send_as(&receiver, profile, &[]);
        assert_eq!(output.code, Some(0), "{name}: {output:?}");
        let answer = object(&output);
        let expected = profile.answer().accepted.as_u16();
        assert_eq!(answer["status"], expected, "{name}");
        let id = answer["event_id"].as_str().unwrap();
        let event = receiver
            .countersign(&["events", "show", id, "--json"])
            .json_lines();
        assert_eq!(event[0]["producer"], name);
    }
}

#[test]
fn an_id_that_two_producers_use_is_shown_for_the_one_that_is_asked_for() {
    let receiver = receiver_for_all();
    receiver.write("body.json", r#"{"id":"evt_shared","type":"x"}"#);
    for name in ["stripe", "timestamped"] {
        let profile = builtin().get(name).unwrap();
        let output = send_as(&receiver, profile, &["--body", "body.json"]);
        assert_eq!(output.code, Some(0), "{output:?}");
    }
    let show = ["events", "show", "evt_shared", "--json"];
    let first = receiver.countersign(&show);
    assert!(
        first.stderr.contains("choose with --tenant and --producer"),
        "{first:?}"
    );
    for name in ["stripe", "timestamped"] {
        let one = receiver.countersign(&[&show[..], &["--producer", name]].concat());
        assert_eq!(object(&one)["producer"], name, "{one:?}");
        assert!(one.stderr.is_empty(), "{one:?}");
    }
    let none = receiver.countersign(&[&show[..], &["--producer", "nobody"]].concat());
    assert_eq!(none.code, Some(1), "{none:?}");
}

#[test]
fn what_any_profile_tells_out_of_order_are_events_of_one_payment_and_none_conflicts() {
    let receiver = receiver_for_all();
    for profile in builtin().iter() {
        let name = profile.name();
        let output = send_as(&receiver, profile, &["--out-of-order"]);
        assert_eq!(output.code, Some(0), "{name}: {output:?}");
        assert!(
            object(&output)["deliveries"].as_u64().unwrap() > 1,
            "{name}"
        );
    }
    let events = receiver
        .countersign(&["events", "list", "--limit", "0", "--json"])
        .json_lines();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["verdict"] != "accepted")
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn what_any_profile_sends_several_times_are_several_events_and_a_replay_is_the_same_one() {
    let receiver = receiver_for_all();
    for profile in builtin().iter() {
        let name = profile.name();
        let output = send_as(&receiver, profile, &["--times", "3", "--replay"]);
        assert_eq!(output.code, Some(0), "{name}: {output:?}");
        assert_eq!(object(&output)["accepted"], 6, "{name}");
    }
    let listed = receiver.countersign(&["events", "list", "--limit", "0", "--json"]);
    let events = listed.json_lines();
    for profile in builtin().iter() {
        let name = profile.name();
        let its = events.iter().filter(|event| event["producer"] == name);
        let its: Vec<_> = its
            .map(|event| {
                (
                    event["verdict"].as_str().unwrap(),
                    event["duplicates"].as_u64(),
                )
            })
            .collect();
        assert_eq!(its, [("accepted", Some(1)); 3], "{name}");
    }
}

#[test]
fn every_profile_refuses_what_was_changed_on_the_way() {
    let receiver = receiver_for_all();
    for profile in builtin().iter() {
        let name = profile.name();
        if profile.coverage() == Coverage::Connection {
            continue;
        }
        let mut changes = vec!["signature"];
        if profile.coverage() != Coverage::Reference {
            changes.push("body");
        }
        if profile.has_a_timestamp() {
            changes.push("timestamp");
        }
        for change in changes {
            let output = send_as(&receiver, profile, &["--tamper", change]);
            assert_eq!(output.code, Some(1), "{name} {change}: {output:?}");
            let answer = object(&output);
            let expected = profile
                .answer()
                .bad_signature
                .map_or(401, |status| status.as_u16());
            assert_eq!(answer["status"], expected, "{name} {change}: {output:?}");
        }
    }
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.is_empty(), "{events:?}");
    // A changed signature is a wrong one, and not one of another form.
    let list = ["refusals", "list", "--limit", "0", "--json"];
    let refusals = receiver.countersign(&list).json_lines();
    let malformed = refusals
        .iter()
        .find(|refusal| refusal["reason"] == "signature-malformed");
    assert_eq!(malformed, None);
}

#[test]
fn a_replay_is_accepted_again_and_counted() {
    let receiver = Receiver::start();
    let output = send(&receiver, &["--replay"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(object(&output)["accepted"], 2);
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["duplicates"], 1);
}

#[test]
fn a_payment_told_out_of_order_ends_as_it_should() {
    let receiver = Receiver::start();
    let output = send(&receiver, &["--out-of-order", "--times", "3"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let payments = receiver
        .countersign(&["payments", "list", "--json"])
        .json_lines();
    assert_eq!(payments.len(), 3);
    for payment in payments {
        // The last of the story, whatever came last.
        assert_eq!(payment["status"], "refunded", "{payment}");
        assert!(payment["events"].as_u64().unwrap() > 2, "{payment}");
    }
}

#[test]
fn many_deliveries_keep_their_connections_and_their_pace() {
    let receiver = Receiver::start();
    let output = send(
        &receiver,
        &["--times", "40", "--rate", "200", "--connections", "4"],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = object(&output);
    assert_eq!(summary["accepted"], 40);
    assert_eq!(summary["answers"]["204 No Content"], 40);
    let told = summary["events"].as_array().unwrap().len();
    assert_eq!(summary["events_left_out"], 40 - told);
    // 40 at 200 a second are due within 195 ms.
    assert!(summary["seconds"].as_f64().unwrap() >= 0.195, "{summary}");
    let listed = receiver.countersign(&["events", "list", "--json", "--limit", "0"]);
    assert_eq!(listed.json_lines().len(), 40);
}

#[test]
fn a_body_and_an_event_of_ones_own_are_sent() {
    let receiver = Receiver::start();
    receiver.write("body.json", r#"{"id":"mine","type":"x"}"#);
    let output = send(&receiver, &["--body", "body.json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = send(&receiver, &["--event", "payment.refunded"]);
    assert_eq!(output.stderr, "");
    let id = object(&output)["event_id"].as_str().unwrap().to_owned();
    let event = receiver
        .countersign(&["events", "show", &id, "--json"])
        .json_lines();
    assert_eq!(event[0]["type"], "payment.refunded");
    for (profile, hint) in [
        (
            "timestamped",
            "\"timestamped\" maps the type \"refnuded\" to no status",
        ),
        (
            "stripe",
            "\"stripe\" maps the type \"refnuded\" to no payment",
        ),
    ] {
        let output = send(&receiver, &["--profile", profile, "--event", "refnuded"]);
        assert!(output.stderr.contains(hint), "{output:?}");
    }
    let shown = receiver
        .countersign(&["events", "show", "mine", "--json"])
        .json_lines();
    assert_eq!(shown[0]["effect"], "unmapped");
}

#[test]
fn a_command_that_is_told_can_be_run_as_this_one_was() {
    let receiver = Receiver::start();
    let output = receiver.countersign(&["send", "--url", &receiver.url()]);
    let told = output.stdout.rsplit_once("see it with: ").unwrap().1;
    let mut words = told.split_whitespace();
    let arguments: Vec<_> = words.clone().skip(1).collect();
    assert_eq!(
        words.next(),
        Some(env!("CARGO_BIN_EXE_countersign")),
        "{told}"
    );
    let shown = receiver.countersign(&arguments);
    assert_eq!(shown.code, Some(0), "{shown:?}");
}

#[test]
fn what_a_signature_does_not_cover_is_marked_as_to_be_fetched_and_stays_so_when_it_is_read_again() {
    let receiver = receiver_for_all();
    let told = |name: &str, arguments: &[&str]| {
        let profile = builtin().get(name).unwrap();
        let sent = object(&send_as(&receiver, profile, arguments));
        let id = sent["event_id"].as_str().unwrap().to_owned();
        let shown = receiver.countersign(&["events", "show", &id, "--json"]);
        let event = shown.json_lines().remove(0);
        (
            event["effect"].clone(),
            event["fetch_needed"].clone(),
            event["payment_id"].clone(),
        )
    };
    let before = [
        told("mercado-pago", &[]),
        told("noon", &[]),
        told("adyen-classic", &["--event", "CANCEL_OR_REFUND"]),
        told("adyen-classic", &[]),
        told("stripe", &[]),
    ];
    let words = before.clone().map(|(effect, fetch, _)| (effect, fetch));
    let expected = [
        ("unmapped", true),
        ("applied", true),
        ("unmapped", true),
        ("applied", false),
        ("applied", false),
    ];
    assert_eq!(
        words,
        expected.map(|(effect, fetch)| (effect.into(), fetch.into()))
    );
    // The signed reference.
    for (_, _, payment_id) in [&before[0], &before[2]] {
        let is_one = payment_id.as_str().is_some_and(|id| id.starts_with("pay_"));
        assert!(is_one, "{before:?}");
    }

    let list = receiver.countersign(&["events", "list"]).stdout;
    assert!(list.contains("unmapped, fetch needed"), "{list}");
    // The operator's shell has not the receiver's environment.
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replace("env:PROVIDERS_SECRET", "file:providers.secret");
    receiver.write(
        "operator.toml",
        &text.replace(&format!("env:{KEY}"), "file:provider.pub"),
    );
    let replay = ["events", "replay", "--since", "1h", "--json"];
    let replayed = receiver.countersign(&[&replay[..], &["--config", "operator.toml"]].concat());
    let summary = replayed.json_lines().pop().unwrap();
    assert_eq!(
        (&summary["events_read"], &summary["events_changed"]),
        (&5.into(), &0.into()),
        "{summary}"
    );
}

#[test]
fn what_stands_in_the_way_is_told_in_words() {
    let receiver = Receiver::start();
    let stranger = Authority::new("Another CA");
    let foreign = stranger.issue(&Leaf::of(SUBJECT));
    receiver.write("foreign.crt", &foreign.certificate);
    receiver.write("foreign.key", &foreign.key);
    receiver.write("foreign-ca.crt", &stranger.certificate);
    for (arguments, expected) in [
        (
            &["--cert", "foreign.crt", "--key", "foreign.key"][..],
            "alert \"unknown CA\"",
        ),
        (
            &["--ca", "foreign-ca.crt"],
            "the CA that is trusted here did not issue the receiver's certificate",
        ),
        (&["--profile", "strip"], "did you mean stripe?"),
        (&["--profile", "braintree"], "--value key_id=TEXT"),
        (
            &["--secret", "file:none"],
            "none: the secret cannot be read: No such file or directory (os error 2); give the secret with --secret",
        ),
        (&["--secret", "hunter2"], "a secret is given by reference"),
        (
            &["--profile", "stripe", "--body", "none"],
            "none: the body cannot be read",
        ),
        (
            &["--profile", "github", "--event", "x", "--body", "none"],
            "none: the body cannot be read",
        ),
        (
            &["--profile", "stripe", "--event", "x", "--body", "none"],
            "--event x: the profile \"stripe\" takes the type from the body; write it",
        ),
        (
            &["--profile", "pix", "--tamper", "body"],
            "the profile \"pix\" does not sign the body, so there is nothing to tamper with; choose another",
        ),
        (
            &["--profile", "mercado-pago", "--tamper", "body"],
            "the profile \"mercado-pago\" does not sign the body",
        ),
        (
            &["--profile", "github", "--event", "nothing"],
            "has no sample of \"nothing\"; there are ping",
        ),
    ] {
        let url = receiver.url();
        let output = receiver.countersign(&[&["send", "--url", &url], arguments].concat());
        // A certificate that is not accepted is a delivery that failed; the rest could not be used to make one.
        let code = if arguments[0] == "--cert" || arguments[0] == "--ca" {
            1
        } else {
            2
        };
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    }
    let output = receiver.countersign(&["send", "--url", "https://localhost:1/"]);
    assert!(
        output.stderr.contains("cannot connect to localhost:1"),
        "{output:?}"
    );
}

#[test]
fn an_interrupt_ends_it_and_prints_what_there_is() {
    let receiver = Receiver::start();
    let child = binary(&[])
        .args(["send", "--json", "--times", "1000000", "--connections", "4"])
        .args(["--url", &receiver.url()])
        .current_dir(receiver.directory())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(60), || {
        let listed = receiver.countersign(&["events", "list", "--json"]);
        (!listed.json_lines().is_empty()).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = peers::finished(child);
    assert_eq!(output.code, Some(1), "{output:?}");
    let told = object(&output);
    assert_eq!(told["interrupted"], true, "{told}");
    let number = |name: &str| told[name].as_u64().unwrap();
    assert_eq!(number("failed"), 0, "{told}");
    assert_eq!(number("accepted"), number("deliveries"), "{told}");
    let answered = number("deliveries") + number("unanswered");
    assert!((1..1_000_000).contains(&answered), "{told}");
}
