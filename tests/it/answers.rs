//! The table of answers on the providers' side, line by line, over real sockets.

use std::time::Duration;

use crate::{
    Answer, Leaf, Producer, Receiver, event, eventually, producer::sign, producer::unix_now,
};

const SECONDS_10: Duration = Duration::from_secs(10);

const OTHERS: &str = r#"
[[tenants.producers]]
name = "other"
subject = "CN=other,O=Example,OU=tenant-42"
pins = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
secrets = ["file:certs/producer.secret"]
[[tenants.producers]]
name = "bound"
subject = "CN=bound,O=Example,OU=tenant-42"
account = { pointer = "/data/account", equals = "acct_1" }
secrets = ["file:certs/producer.secret"]
"#;

fn receiver() -> Receiver {
    Receiver::with(&crate::receiver::Changes {
        more: OTHERS,
        ..Default::default()
    })
}

/// The bytes of a request, its head as given and its body signed now.
fn request(producer: &Producer, start: &str, headers: &str, body: &str) -> Vec<u8> {
    let now = unix_now();
    let signature = sign(&producer.secret, now, body);
    format!(
        "{start} HTTP/1.1\r\nHost: localhost\r\nX-Webhook-Timestamp: {now}\r\nX-Webhook-Signature: {signature}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

/// Checks status and problem, and what every answer must have.
#[track_caller]
fn check(answer: &Answer, status: u16, problem: Option<&str>) {
    let found = (answer.status, answer.problem());
    assert_eq!(
        (found.0, found.1.as_deref()),
        (status, problem),
        "{answer:?}"
    );
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    if problem.is_some() {
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told["status"], status, "{answer:?}");
        assert!(
            ["title", "detail"]
                .iter()
                .all(|key| told[key].as_str().is_some_and(|text| !text.is_empty())),
            "{answer:?}"
        );
    }
    assert_eq!(answer.header("allow").is_some(), status == 405);
    assert_eq!(answer.header("retry-after").is_some(), status == 503);
}

#[test]
fn each_line_of_the_table_has_its_status_and_its_problem() {
    let receiver = receiver();
    let producer = receiver.producer();
    let with_length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let post = "POST /webhooks/payments";
    let body = event("evt_1");
    let other = body.replace("1999", "2000");
    let no_payment = r#"{"event":"payment.succeeded"}"#;
    let huge = "Content-Length: 1048577\r\n";
    // Start line, headers, body, and what is expected.
    let cases: &[(&str, &str, &str, u16, Option<&str>)] = &[
        (post, "", &body, 204, None),
        (post, "", &body, 204, None),
        (post, "", &other, 204, None),
        (post, "", no_payment, 204, None),
        (post, "", "not json", 400, Some("payload-malformed")),
        (post, "", "[1]", 400, Some("payload-malformed")),
        (post, "", "", 400, Some("payload-malformed")),
        ("POST /webhooks/payments?a=b", "", &body, 204, None),
        (
            "POST /webhooks/payments/",
            "",
            &body,
            404,
            Some("not-found"),
        ),
        (
            "POST //webhooks/payments",
            "",
            &body,
            404,
            Some("not-found"),
        ),
        ("POST /Webhooks/payments", "", &body, 404, Some("not-found")),
        (
            "POST /webhooks%2Fpayments",
            "",
            &body,
            404,
            Some("not-found"),
        ),
        (
            "GET /webhooks/payments",
            "",
            "",
            405,
            Some("method-not-allowed"),
        ),
        (
            "DELETE /webhooks/payments",
            "",
            "",
            405,
            Some("method-not-allowed"),
        ),
        (post, huge, "", 413, Some("body-too-large")),
        (
            post,
            "Host: another\r\n",
            &body,
            400,
            Some("host-malformed"),
        ),
        (
            post,
            "Transfer-Encoding: gzip, chunked\r\n",
            "",
            501,
            Some("transfer-coding-unknown"),
        ),
    ];
    for (start, headers, body, status, problem) in cases {
        let length = with_length(body);
        let framed = headers.contains("Length") || headers.contains("Transfer");
        let headers = if framed {
            (*headers).to_owned()
        } else {
            format!("{headers}{length}")
        };
        let mut connection = producer.connect().unwrap();
        let answer = connection
            .exchange(&request(&producer, start, &headers, body))
            .unwrap_or_else(|error| panic!("{start} {headers:?} {body:?}: {error}"));
        check(&answer, *status, *problem);
        // After a body that is not read, or a head that others may frame otherwise, nothing that follows is another request.
        let closed = [
            "body-too-large",
            "host-malformed",
            "transfer-coding-unknown",
        ];
        let closes = problem.is_some_and(|problem| closed.contains(&problem));
        assert_eq!(answer.closes(), closes, "{answer:?}");
    }
}

#[test]
fn each_signature_that_does_not_hold_is_told_what_to_mend() {
    let receiver = receiver();
    let producer = receiver.producer();
    let body = event("evt_1");
    let now = unix_now();
    let good = sign(&producer.secret, now, &body);
    let timestamp = format!("X-Webhook-Timestamp: {now}\r\n");
    let old = now - 301;
    let of_old = sign(&producer.secret, old, &body);
    let cases = [
        (String::new(), "signature-missing"),
        (timestamp.clone(), "signature-missing"),
        (
            format!("X-Webhook-Signature: {good}\r\n"),
            "signature-missing",
        ),
        (
            format!("{timestamp}X-Webhook-Signature: zz\r\n"),
            "signature-malformed",
        ),
        (
            format!("{timestamp}{timestamp}X-Webhook-Signature: {good}\r\n"),
            "signature-malformed",
        ),
        (
            format!("{timestamp}X-Webhook-Signature: {}\r\n", "0".repeat(64)),
            "signature-mismatch",
        ),
        (
            format!("X-Webhook-Timestamp: {old}\r\nX-Webhook-Signature: {of_old}\r\n"),
            "timestamp-outside-tolerance",
        ),
    ];
    for (headers, problem) in cases {
        let request = format!(
            "POST /webhooks/payments HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = producer.connect().unwrap();
        let answer = connection.exchange(request.as_bytes()).unwrap();
        check(&answer, 401, Some(problem));
        assert!(!answer.body.contains(&good), "{answer:?}");
    }
}

#[test]
fn where_everybody_is_refused_for_the_time_the_receivers_own_clock_is_doubted() {
    let receiver = receiver();
    let producer = receiver.producer();
    let mut connection = producer.connect().unwrap();
    let late = producer.signed_at(unix_now() - 3_600, &event("evt_1"));
    for _ in 0..10 {
        let answer = connection.exchange(&late).unwrap();
        check(&answer, 401, Some("timestamp-outside-tolerance"));
    }
    let told = "the last 10 signed times are 3600 s or more behind this machine's clock, all from payments-provider of tenant-42";
    eventually(SECONDS_10, || receiver.log().contains(told).then_some(()));
    let answer = connection
        .exchange(&producer.signed(&event("evt_1")))
        .unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    let over = "a signed time agrees with this machine's clock again";
    eventually(SECONDS_10, || receiver.log().contains(over).then_some(()));
}

const EACH_SIGNED: &str = r#"
[[tenants.producers]]
name = "each"
subject = "CN=each,O=Example,OU=tenant-42"
profile = "each"
secrets = ["file:certs/producer.secret"]
[profiles.each]
signed = "fields"
[profiles.each.signature]
from = { json = "/signature" }
encoding = "hex"
content = "0.{json:/id}"
each = "/items/*"
[profiles.each.event]
id = "/id"
[profiles.each.answer]
bad_signature = 422
"#;

#[test]
fn a_bad_signature_is_answered_in_the_words_of_the_profile() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: r#"
[[tenants.producers]]
name = "xero"
subject = "CN=xero,O=Example,OU=tenant-42"
profile = "xero"
secrets = ["file:certs/producer.secret"]
[[tenants.producers]]
name = "wordy"
subject = "CN=wordy,O=Example,OU=tenant-42"
profile = "wordy"
secrets = ["file:certs/producer.secret"]
[profiles.wordy]
extends = "timestamped"
[profiles.wordy.answer]
bad_signature_body = '{"ok":false}'
content_type = "application/json"
"#,
        ..Default::default()
    });
    for (name, body, media_type) in [
        ("xero", "", None),
        ("wordy", r#"{"ok":false}"#, Some("application/json")),
    ] {
        let subject = [("CN", name), ("O", "Example"), ("OU", "tenant-42")];
        let identity = receiver.authority.issue(&Leaf::of(&subject));
        let mut producer = receiver.producer_as(Some(&identity));
        producer.secret = b"another secret".to_vec();
        let answer = producer.deliver(&event("evt_1"));
        assert_eq!((answer.status, &*answer.body), (401, body), "{answer:?}");
        assert_eq!(answer.header("content-type"), media_type, "{answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    }
}

#[test]
fn one_item_that_does_not_hold_is_answered_as_all_are_by_the_status_of_the_profile() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: EACH_SIGNED,
        ..Default::default()
    });
    let subject = [("CN", "each"), ("O", "Example"), ("OU", "tenant-42")];
    let identity = receiver.authority.issue(&Leaf::of(&subject));
    let mut producer = receiver.producer_as(Some(&identity));
    let secret = producer.secret.clone();
    let good = |id: &str| {
        let signature = sign(&secret, 0, id);
        format!(r#"{{"id":"{id}","signature":"{signature}"}}"#)
    };
    let bad = |id: &str| good("another").replace("another", id);
    let mut deliver =
        |items: [String; 2]| producer.deliver(&format!(r#"{{"items":[{}]}}"#, items.join(",")));
    assert_eq!(deliver([good("evt_1"), good("evt_2")]).status, 204);
    let partly = deliver([good("evt_3"), bad("evt_4")]);
    check(&partly, 422, Some("signature-mismatch"));
    let wholly = deliver([bad("evt_5"), bad("evt_6")]);
    check(&wholly, 422, Some("signature-mismatch"));
}

#[test]
fn a_verified_certificate_of_nobody_is_403_and_tells_not_whose_it_should_be() {
    let receiver = receiver();
    let deliver = |name: &str, body: &str| {
        let subject = [("CN", name), ("O", "Example"), ("OU", "tenant-42")];
        let identity = receiver.authority.issue(&Leaf::of(&subject));
        receiver.producer_as(Some(&identity)).deliver(body)
    };
    let answer = deliver("nobody", &event("evt_1"));
    check(&answer, 403, Some("unknown-producer"));
    assert!(!answer.body.contains("payments-provider"), "{answer:?}");
    let answer = deliver("other", &event("evt_1"));
    check(&answer, 403, Some("pin-mismatch"));
    assert!(!answer.body.contains("sha256"), "{answer:?}");
    let answer = deliver("bound", &event("evt_1"));
    check(&answer, 403, Some("account-mismatch"));
    assert!(!answer.body.contains("acct_1"), "{answer:?}");
    for reason in ["unknown-producer", "pin-mismatch", "account-mismatch"] {
        assert_eq!(receiver.refusal(reason)["gate"], "identity", "{reason}");
    }
    let listed = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(listed.is_empty(), "{listed:?}");
}

#[test]
fn a_refusal_is_booked_to_the_producer_that_it_concerns() {
    let others = r#"
[[tenants]]
id = "tenant-43"
[[tenants.producers]]
name = "theirs"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
path = "/webhooks/theirs"
pins = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
secrets = ["file:certs/producer.secret"]
"#;
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: others,
        ..Default::default()
    });
    let mut producer = receiver.producer();
    producer.path = "/webhooks/theirs".to_owned();
    check(
        &producer.deliver(&event("evt_1")),
        403,
        Some("pin-mismatch"),
    );
    let refusal = receiver.refusal("pin-mismatch");
    assert_eq!(
        (&refusal["tenant_id"], &refusal["producer"]),
        (&"tenant-43".into(), &"theirs".into()),
        "{refusal}"
    );
}

#[test]
fn a_producer_without_a_path_delivers_to_no_path_of_anothers_own() {
    let others = r#"
[[tenants]]
id = "tenant-43"
[[tenants.producers]]
name = "theirs"
subject = "CN=somebody-else"
path = "/webhooks/theirs"
secrets = ["file:certs/producer.secret"]
"#;
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: others,
        ..Default::default()
    });
    let mut producer = receiver.producer();
    check(&producer.deliver(&event("evt_1")), 204, None);
    producer.path = "/webhooks/theirs".to_owned();
    check(
        &producer.deliver(&event("evt_2")),
        403,
        Some("unknown-producer"),
    );
}

#[test]
fn what_can_be_no_host_is_malformed_in_either_version() {
    let receiver = receiver();
    let producer = receiver.producer();
    let deliver = |target: &str, host: &[u8]| {
        let body = event("evt_1");
        let start = format!("POST {target}");
        let length = format!("Content-Length: {}\r\n", body.len());
        let request = request(&producer, &start, &length, &body);
        let place = request
            .windows(9)
            .position(|nine| nine == b"localhost")
            .unwrap();
        let request = [&request[..place], host, &request[place + 9..]].concat();
        producer.connect().unwrap().exchange(&request).unwrap()
    };
    let path = "/webhooks/payments";
    for host in [
        &b"a b/@"[..],
        b"evil.example/x?y",
        b"\"<x>\xff",
        b"a, b",
        b"a:99999999",
        b"u@h",
        b"[::1",
    ] {
        check(&deliver(path, host), 400, Some("host-malformed"));
    }
    check(
        &deliver("https://u@a.example/webhooks/payments", b"a.example"),
        400,
        Some("host-malformed"),
    );
    for host in [
        "A.example.",
        "a_b",
        "127.0.0.1:8443",
        "[::1]:8443",
        "h:",
        "",
    ] {
        check(&deliver(path, host.as_bytes()), 204, None);
    }
    let whole = "https://a.example:8443/webhooks/payments";
    check(&deliver(whole, b"a.example:8443"), 204, None);
    // Over HTTP/2 curl's Host stands in :authority, and without it there is neither.
    for (host, problem) in [
        ("Host: u@h", true),
        ("Host: h:99999999", true),
        ("Host:", true),
        ("Host: h:", false),
        ("Host: [::1]:8443", false),
    ] {
        let output = receiver.curl(&["--http2", "-H", host, "--data", "{}", &receiver.url()]);
        let malformed = output.stdout.contains("host-malformed") && output.stdout.ends_with("400");
        assert_eq!(malformed, problem, "{host} {output:?}");
        assert!(malformed || output.stdout.ends_with("401"), "{output:?}");
    }
}

#[test]
fn over_http_2_what_is_refused_by_its_head_is_answered_before_its_body_comes() {
    let receiver = receiver();
    // curl waits for the body's end before it says anything of a slow one, unless it is answered first.
    let output = receiver.curl(&[
        "--http2",
        "--limit-rate",
        "1k",
        "--max-time",
        "12",
        "--data-binary",
        &"x".repeat(100_000),
        &format!("{}/nowhere", receiver.url()),
    ]);
    assert!(output.stdout.ends_with("\n404"), "{output:?}");
    // A stream whose body nobody reads is reset, and then the answer may be gone.
    for method in ["GET", "PUT"] {
        for _ in 0..20 {
            let output = receiver.curl(&["--http2", "-X", method, "--data", "x", &receiver.url()]);
            assert!(output.stdout.ends_with("\n405"), "{method} {output:?}");
        }
    }
}

#[test]
fn head_is_answered_without_a_body_over_either_version() {
    let receiver = receiver();
    for version in ["--http1.1", "--http2"] {
        let url = format!("{}/nowhere", receiver.url());
        let output = receiver.curl(&[version, "--head", "--max-time", "10", &url]);
        assert!(output.stdout.ends_with("\n404"), "{version} {output:?}");
    }
}

#[test]
fn the_list_of_certificates_has_pages_and_is_a_tenants_on_request() {
    let receiver = receiver();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let list = |query: &str| {
        let answer = receiver.admin(&format!("/api/certificates{query}"));
        let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, list)
    };
    let (_, all) = list("?limit=0");
    let (_, first) = list("?limit=1");
    assert_eq!(first["items"].as_array().unwrap().len(), 1);
    let (_, rest) = list(&format!(
        "?limit=0&after={}",
        first["next"].as_str().unwrap()
    ));
    assert_eq!(
        rest["items"].as_array().unwrap().len() + 1,
        all["items"].as_array().unwrap().len()
    );
    let (_, nobodys) = list("?tenant=nope");
    assert_eq!(nobodys["items"].as_array().unwrap().len(), 0);
    assert_eq!(list("?limit=x").0, 400);
    assert_eq!(list("?after=zzz").0, 400);
}

#[test]
fn the_operators_side_refuses_what_does_not_count_for_a_page() {
    let receiver = receiver();
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    let check = |path: &str, expected: u16| {
        let answer = receiver.admin(path);
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
        assert_eq!(answer.body.contains("bad-request"), expected == 400);
    };
    for list in ["events", "payments", "refusals"] {
        check(&format!("/api/{list}?tenant=a&limit=1&after="), 200);
        check(&format!("/api/{list}?producer=payments-provider"), 400);
        check(&format!("/api/{list}?since=yesterday"), 400);
    }
    check("/api/certificates?tenant=a&limit=1&after=0", 200);
    check("/api/certificates?since=2026-01-01T00:00:00Z", 400);
    check("/api/certificates?producer=payments-provider", 400);
    check(
        "/api/events/tenant-42/evt_1?producer=payments-provider",
        200,
    );
    for parameter in [
        "tenant=a",
        "since=2026-01-01T00:00:00Z",
        "after=",
        "limit=1",
    ] {
        check(&format!("/api/events/tenant-42/evt_1?{parameter}"), 400);
    }
    check("/api/payments/tenant-42/none", 404);
    check(
        "/api/payments/tenant-42/none?producer=payments-provider",
        400,
    );
}
