//! `countersign explain`: what it finds, and that it gives nothing away.

use std::path::Path;
use std::process::Command;

use crate::peers::{self, Output};
use crate::producer::sign;

const SECRET: &str = "a-secret-of-thirty-two-bytes-len";
const TIME: u64 = 1_790_000_000;
const BODY: &str = r#"{"id": "evt_1", "type": "payment.succeeded"}"#;

fn explain(body: &str, signed: &str, arguments: &[&str]) -> (Output, String) {
    explain_with(SECRET.as_bytes(), body, signed, arguments)
}

/// The same, where the file of the secret holds these bytes.
fn explain_with(
    configured: &[u8],
    body: &str,
    signed: &str,
    arguments: &[&str],
) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let signature = sign(SECRET.as_bytes(), TIME, signed);
    write(
        "headers",
        &format!(
            "POST /hooks HTTP/1.1\r\nX-Webhook-Timestamp: {TIME}\r\nX-Webhook-Signature: sha256={signature}\r\n\r\n"
        ),
    );
    write("body", body);
    std::fs::write(directory.path().join("secret"), configured).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["explain", "--headers", "headers", "--body", "body"]);
    command.args(["--secret", "file:secret"]).args(arguments);
    let output = run(directory.path(), &mut command);
    // Neither the secret nor what would be right, whatever the outcome.
    for hidden in [SECRET, &signature, &sign(SECRET.as_bytes(), TIME, body)] {
        assert!(!output.stdout.contains(hidden), "{output:?}");
        assert!(!output.stderr.contains(hidden), "{output:?}");
    }
    (output, signature)
}

fn run(directory: &Path, command: &mut Command) -> Output {
    peers::run(directory, command, b"")
}

fn at(seconds: u64) -> String {
    format!("--at={}", TIME + seconds)
}

#[test]
fn what_was_found_is_told_in_full() {
    let stale = format!(
        "timestamp-outside-tolerance: the delivery was signed at 2026-09-21T14:13:20.000Z, too far from {}",
        "2026-09-21T14:30:00.000Z"
    );
    let cause = "\nlikely cause\n  the signature is right, and only the time is not: a clock that is off, \
        a delivery that is old (say when it arrived with --at), or a replay\n";
    let right = "the signature is right, by file:secret";
    for (seconds, code, first, age, last) in [
        (1, 0, right, "1s before", ""),
        (-1, 0, right, "1s ahead of", ""),
        (1000, 1, &*stale, "16m 40s before", cause),
    ] {
        let at = format!("--at={}", TIME.cast_signed() + seconds);
        let (output, _) = explain(BODY, BODY, &[&at]);
        assert_eq!(output.code, Some(code), "{output:?}");
        let expected = format!(
            "{first}\n\nexpected\n  signature in the header x-webhook-signature: 71 characters, neither hexadecimal nor base64 as a whole: a list, or a value behind its name, as in v1=…\n  \
             timestamp in the header x-webhook-timestamp: {TIME}\n  its time is {age} --at\n\n\
             the signed content, byte for byte (escaped)\n  {TIME}.{BODY}\n{last}"
        );
        assert_eq!(output.stdout, expected);
    }
}

#[test]
fn what_nobody_sees_in_the_file_of_a_secret_is_named() {
    let utf16 = |mark: &str| {
        let text = format!("{mark}{SECRET}\r\n");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let text = |text: String| text.into_bytes();
    for (configured, expected) in [
        (text(format!("\u{feff}{SECRET}\n")), "a byte order mark"),
        (text(format!("{SECRET}\u{a0}\n")), "invisible characters"),
        (text(format!("\u{b}{SECRET}")), "invisible characters"),
        (utf16("\u{feff}"), "written in UTF-16"),
        (utf16(""), "written in UTF-16"),
        (text(format!("old\r{SECRET}")), "carriage returns alone"),
    ] {
        let (output, _) = explain_with(&configured, BODY, BODY, &[&at(1)]);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.contains(expected), "{expected}: {output:?}");
    }
}

#[test]
fn a_usual_mistake_is_named() {
    let compact = r#"{"id":"evt_1","type":"payment.succeeded"}"#;
    for (signed, expected) in [
        (compact, "re-serialised"),
        (&format!("{BODY}\n"), "a trailing newline was signed"),
        (
            "{\n  \"id\": \"evt_1\",\n  \"type\": \"payment.succeeded\"\n}\n",
            "indentation by two spaces, with a line break at its end",
        ),
        (
            "{&quot;id&quot;: &quot;evt_1&quot;, &quot;type&quot;: &quot;payment.succeeded&quot;}",
            "escaped for HTML",
        ),
        ("something else", "none of the usual mistakes"),
    ] {
        let (output, _) = explain(BODY, signed, &[&at(1)]);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.contains("signature-mismatch"), "{output:?}");
        assert!(output.stdout.contains(expected), "{output:?}");
    }
}

#[test]
fn a_signature_that_is_listed_otherwise_is_told_so_and_not_printed() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let signature = sign(SECRET.as_bytes(), TIME, BODY);
    write(
        "headers",
        &format!("Stripe-Signature: t={TIME};v1={signature}\n"),
    );
    write("body", BODY);
    write(
        "secrets",
        &format!("another-secret-of-that-length-xx\n{SECRET}\n"),
    );
    for json in [&[][..], &["--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["explain", "--profile", "stripe", "--headers", "headers"]);
        command.args(["--body", "body", "--secret", "file:secrets"]);
        command.arg(at(1)).args(json);
        let output = run(directory.path(), &mut command);
        assert_eq!(output.code, Some(1), "{output:?}");
        for expected in ["as v1=SIGNATURE", "with the secret file:secrets#2"] {
            assert!(output.stdout.contains(expected), "{output:?}");
        }
        for hidden in [SECRET, &signature] {
            assert!(!output.stdout.contains(hidden), "{output:?}");
        }
    }
}

#[test]
fn a_stale_delivery_is_told_apart_from_a_wrong_signature() {
    let (right, _) = explain(BODY, BODY, &[&at(1), "--json"]);
    let (stale, _) = explain(BODY, BODY, &[&at(3600), "--json"]);
    assert_eq!((right.code, stale.code), (Some(0), Some(1)), "{stale:?}");
    let mut expected = serde_json::json!({
        "verified": true, "reason": null, "detail": null, "nothing_is_signed": false, "secret": "file:secret",
        "expected": [
            {"what": "signature", "place": "the header x-webhook-signature",
             "found": "71 characters, neither hexadecimal nor base64 as a whole: a list, or a value behind its name, as in v1=…"},
            {"what": "timestamp", "place": "the header x-webhook-timestamp", "found": TIME.to_string()},
        ],
        "signed_content": [format!("{TIME}.{BODY}")], "age_seconds": 1, "signature_is_right": true,
        "time_in_the_other_unit": false, "search_was_cut_off": false, "mistakes": [], "mistaken_secret": null,
        "body_is_compressed": false, "likely_cause": [],
    });
    assert_eq!(right.objects(), [expected.clone()]);
    let stale = &stale.objects()[0];
    expected["verified"] = false.into();
    expected["reason"] = "timestamp-outside-tolerance".into();
    expected["secret"] = serde_json::Value::Null;
    expected["age_seconds"] = 3600.into();
    for told in ["detail", "likely_cause"] {
        assert_ne!(stale[told], expected[told]);
        expected[told] = stale[told].clone();
    }
    assert_eq!(*stale, expected);
}

/// Explains a delivery of Stripe, signed over `BODY`, whose head and body are given.
fn explain_stripe(head: &str, body: &[u8]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes);
    let signature = sign(SECRET.as_bytes(), TIME, BODY);
    write("headers", head.replace("SIGNATURE", &signature).as_bytes()).unwrap();
    write("body", body).unwrap();
    write("secret", SECRET.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["explain", "--profile", "stripe", "--headers", "headers"]);
    command.args(["--body", "body", "--secret", "file:secret"]);
    let output = run(directory.path(), command.arg(at(1)));
    for hidden in [SECRET, &signature] {
        assert!(!output.stdout.contains(hidden), "{output:?}");
        assert!(!output.stderr.contains(hidden), "{output:?}");
    }
    output
}

#[test]
fn a_folded_header_is_refused_and_its_signature_is_not_printed() {
    let folded = format!("Host: h\nStripe-Signature: t={TIME},\n  v1=SIGNATURE\n");
    let output = explain_stripe(&folded, BODY.as_bytes());
    assert_eq!(output.code, Some(2), "{output:?}");
    let expected =
        "headers:3: the line goes on with the header above it; a receiver refuses folded";
    assert!(output.stderr.contains(expected), "{output:?}");
}

#[test]
fn a_compressed_body_is_named_as_a_likely_cause() {
    let head = format!("Stripe-Signature: t={TIME},v1=SIGNATURE\n");
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";
    let encoded = format!("Content-Encoding: gzip\n{head}");
    for (head, body, expected) in [
        (&*head, &gzip[..], "the body is compressed (gzip)"),
        (&encoded, gzip, "the body is compressed (gzip)"),
        (
            &encoded,
            b"{\"other\":1}",
            "Content-Encoding says gzip, and the body is not compressed",
        ),
        (&head, b"{\"other\":1}", "none of the usual mistakes"),
    ] {
        let output = explain_stripe(head, body);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.contains(expected), "{output:?}");
    }
    // What verifies is right, whatever the header says.
    let output = explain_stripe(&encoded, BODY.as_bytes());
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn an_empty_signature_and_a_body_that_is_not_whole_are_no_other_secrets() {
    let line = format!("Stripe-Signature: t={TIME},v1=SIGNATURE\n");
    let stated = format!("Content-Length: {}\n{line}", BODY.len());
    let cut = &BODY.as_bytes()[..BODY.len() - 3];
    let quoted = format!("Stripe-Signature: \"t={TIME},v1=SIGNATURE\"\n");
    for (head, body, expected) in [
        (
            "Stripe-Signature:\n",
            BODY.as_bytes(),
            "the header stripe-signature is there, and empty",
        ),
        (&*stated, cut, "has another length: save it whole"),
        (&*quoted, BODY.as_bytes(), "stands in quotes"),
    ] {
        let output = explain_stripe(head, body);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.contains(expected), "{output:?}");
        for blamed in ["another secret", "a proxy took away"] {
            assert!(!output.stdout.contains(blamed), "{output:?}");
        }
    }
}

#[test]
fn a_body_in_utf16_is_no_other_secret() {
    let saved: Vec<u8> = format!("\u{feff}{BODY}\r\n")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let line = format!("Stripe-Signature: t={TIME},v1=SIGNATURE\n");
    let wrong = format!("Stripe-Signature: t={TIME},v1={}\n", "ab".repeat(32));
    for (head, expected) in [
        (
            line,
            "saved in UTF-16, as editors and PowerShell's > do: it was signed in UTF-8",
        ),
        (
            wrong,
            "is written in UTF-16, as editors and PowerShell's > save it",
        ),
    ] {
        let output = explain_stripe(&head, &saved);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.contains(expected), "{output:?}");
        assert!(!output.stdout.contains("another secret"), "{output:?}");
    }
}

#[test]
fn a_header_that_stands_twice_is_not_said_to_be_missing() {
    let twice = format!("Stripe-Signature: t={TIME},v1=SIGNATURE\n").repeat(2);
    let output = explain_stripe(&twice, BODY.as_bytes());
    assert_eq!(output.code, Some(1), "{output:?}");
    let told = &output.stdout;
    assert!(told.contains("there are several"), "{output:?}");
    assert!(
        told.contains("the signature itself is right, and yet"),
        "{output:?}"
    );
    assert!(told.contains("what was signed cannot be put together"));
    assert!(!told.contains("missing"), "{output:?}");
}

#[test]
fn where_nothing_is_signed_no_signature_is_said_to_be_right() {
    let (output, _) = explain(BODY, BODY, &["--profile", "pix"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        output
            .stdout
            .starts_with("nothing is signed by this profile")
    );
    assert!(!output.stdout.contains("absent"), "{output:?}");
}

/// The likely cause, where a delivery of this profile has these headers.
fn likely_cause(profile: &str, headers: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("headers", headers);
    write("body", BODY);
    write("secret", SECRET);
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["explain", "--profile", profile, "--headers", "headers"]);
    command.args(["--body", "body", "--secret", "file:secret", "--json"]);
    let output = run(directory.path(), command.arg(at(1)).args(arguments));
    assert_eq!(output.code, Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    report["likely_cause"][0].as_str().unwrap().to_owned()
}

#[test]
fn what_is_missing_is_the_cause_and_no_other_secret() {
    let any = sign(SECRET.as_bytes(), TIME, "anything");
    let mercado_pago = format!("X-Request-Id: r1\nX-Signature: ts={TIME},v1={any}\n");
    let volt = format!("X-Volt-Timed: 20260921T141320Z\nX-Volt-Signed: {any}\n");
    let payu = format!("OpenPayu-Signature: signature={any}\n");
    let missing = "the URL is missing, and a part of it is signed: give it with --url";
    for (profile, headers, arguments, expected) in [
        ("mercado-pago", &mercado_pago, &[][..], missing),
        (
            "mercado-pago",
            &mercado_pago,
            &["--url", "https://h/hook"],
            "; or the query parameter data.id, which is not here, was signed",
        ),
        (
            "volt",
            &volt,
            &[],
            "the signed value in the header user-agent is missing",
        ),
        (
            "payu-emea",
            &payu,
            &[],
            "the algorithm in the item algorithm of the signature is missing",
        ),
    ] {
        let cause = likely_cause(profile, headers, arguments);
        assert!(cause.contains(expected), "{cause}");
        let is_blamed = cause.contains("another secret");
        assert_eq!(is_blamed, expected.starts_with(';'), "{cause}");
    }
}

#[test]
fn a_url_whose_host_is_in_nothing_that_was_given_comes_before_another_secret() {
    let square = format!("X-Square-Hmacsha256-Signature: {}=\n", "A".repeat(43));
    let named = "no header that is given names the host of https://hooks.example/in";
    let arguments = ["--url", "https://hooks.example/in"];
    let cause = likely_cause("square", &square, &arguments);
    assert!(cause.contains(named), "{cause}");
    assert_eq!(
        cause.matches("https://hooks.example/in").count(),
        1,
        "{cause}"
    );
    let with_host = format!("Host: hooks.example\n{square}");
    let cause = likely_cause("square", &with_host, &arguments);
    assert!(!cause.contains(named), "{cause}");
    let or_url = "or something else than the URL https://hooks.example/in was signed";
    assert!(cause.contains(or_url), "{cause}");
}

#[test]
fn what_can_not_be_used_is_usage() {
    for (arguments, expected) in [
        (&["--profile", "nobody"][..], "there is no profile"),
        (&["--profile", "square"], "--url: is missing"),
        (&["--profile", "braintree"], "--value key_id=TEXT"),
        (&["--at", "soon"], "\"soon\" is no time"),
    ] {
        let (output, _) = explain(BODY, BODY, arguments);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    }
}
