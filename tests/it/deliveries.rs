//! A delivery from end to end, by our own producer and by real curl.

use std::collections::BTreeSet;

use crate::{
    Producer, Receiver, event,
    producer::{End, sign, unix_now},
};

#[test]
fn a_signed_delivery_is_durable_and_changes_the_payment() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    for _ in 0..2 {
        assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    }
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_id"], "evt_1");
    assert_eq!(events[0]["effect"], "applied");
    assert_eq!(events[0]["duplicates"], 1);
    let payments = receiver
        .countersign(&["payments", "list", "--json"])
        .json_lines();
    assert_eq!(payments[0]["payment_id"], "pay_evt_1");
    assert_eq!(payments[0]["status"], "succeeded");
    assert_eq!(payments[0]["amount_minor"], 1999);
}

#[test]
fn curl_and_a_signature_are_all_that_a_provider_needs() {
    let receiver = Receiver::start();
    for version in ["--http1.1", "--http2"] {
        let body = event(version.trim_start_matches('-'));
        let now = unix_now();
        let signature = sign(&receiver.producer().secret, now, &body);
        let output = receiver.curl(&[
            version,
            "--header",
            &format!("X-Webhook-Timestamp: {now}"),
            "--header",
            &format!("X-Webhook-Signature: sha256={signature}"),
            "--data-binary",
            &body,
            &receiver.url(),
        ]);
        assert!(output.stdout.ends_with("\n204"), "{output:?}");
    }
}

#[test]
fn a_host_that_is_signed_is_the_one_of_the_request_in_either_version() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: r#"
[[tenants.producers]]
name = "host"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
path = "/webhooks/host"
profile = "host"
secrets = ["file:certs/producer.secret"]

[profiles.host.signature]
from = { header = "x-signature" }
encoding = "hex"
content = "{timestamp}.{header:host}:{body}"
[profiles.host.timestamp]
from = { header = "x-time" }
"#,
        ..Default::default()
    });
    let authority = format!("localhost:{}", receiver.address.port());
    for version in ["--http1.1", "--http2"] {
        let body = event(version.trim_start_matches('-'));
        let now = unix_now();
        let signed = format!("{authority}:{body}");
        let signature = sign(&receiver.producer().secret, now, &signed);
        let output = receiver.curl(&[
            version,
            "--header",
            &format!("X-Time: {now}"),
            "--header",
            &format!("X-Signature: {signature}"),
            "--data-binary",
            &body,
            &format!("https://{authority}/webhooks/host"),
        ]);
        assert!(output.stdout.ends_with("\n204"), "{version} {output:?}");
    }
}

#[test]
fn however_many_events_a_delivery_has_its_headers_take_little() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        more: r#"
[[tenants.producers]]
name = "batch"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
path = "/webhooks/batch"
profile = "batch"
secrets = ["file:certs/producer.secret"]

[profiles.batch]
extends = "timestamped"
[profiles.batch.event]
each = "/list/*"
type = "{header:x-kind}"
occurred_at = []
status_by = "/data/status"
"#,
        ..Default::default()
    });
    let mut producer = receiver.producer();
    producer.path = "/webhooks/batch".to_owned();
    let deliver = |items: usize| {
        let ids = (0..items).map(|number| format!(r#"{{"id":"evt_{items}_{number}"}}"#));
        let body = format!(r#"{{"list":[{}]}}"#, ids.collect::<Vec<_>>().join(","));
        let request = producer.signed(&body);
        let end = b"\r\n\r\n";
        let head = request.windows(4).position(|four| four == end).unwrap();
        let filler = (0..4).map(|number| format!("\r\nX-{number}: {}", "x".repeat(7000)));
        let more = format!("\r\nX-Kind: paid{}", filler.collect::<String>());
        let request = [&request[..head], more.as_bytes(), &request[head..]].concat();
        let answer = producer.connect().unwrap().exchange(&request).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    };
    deliver(3);
    deliver(4096);
    let file = receiver.directory().join("data/countersign.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let of_the_few = "SELECT min(octet_length(headers)) FROM bodies WHERE event <= 3";
    assert!(number(of_the_few).unwrap() > 28_000);
    let of_all = "SELECT sum(octet_length(headers)) FROM bodies WHERE event > 3";
    assert!((1..=4 << 20).contains(&number(of_all).unwrap()));
    // What the events were read from is there, and so is the time that was signed.
    let read = "SELECT count(*) FROM bodies WHERE instr(headers, 'x-kind') AND instr(headers, 'x-webhook-timestamp')";
    assert_eq!(number(read).unwrap(), 4099);
    let replayed = receiver.countersign(&["events", "replay", "--since", "1h", "--json"]);
    let told = replayed.json_lines();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (
            &told[0]["events_read"],
            &told[0]["events_changed"],
            &told[0]["events_not_rebuilt"]
        ),
        (&4099.into(), &0.into(), &0.into()),
        "{told:?}"
    );
}

#[test]
fn what_is_not_signed_changes_nothing() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    producer.secret = b"another secret".to_vec();
    let answer = producer.deliver(&event("evt_1"));
    assert_eq!(
        (answer.status, answer.problem().as_deref()),
        (401, Some("signature-mismatch"))
    );
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(receiver.refusal("signature-mismatch")["gate"], "signature");
    // A good delivery right after, on a connection of its own.
    assert_eq!(receiver.producer().deliver(&event("evt_2")).status, 204);
}

#[test]
fn every_event_that_got_a_204_is_there_after_a_kill() {
    let mut receiver = Receiver::start();
    let mut accepted = BTreeSet::new();
    for round in 0..3 {
        let mut producer = receiver.producer();
        for number in 0..50 {
            let id = format!("evt_{round}_{number}");
            assert_eq!(producer.deliver(&event(&id)).status, 204);
            accepted.insert(id);
        }
        receiver.kill();
        receiver.restart();
    }
    let kept: Vec<String> = receiver
        .countersign(&["events", "list", "--json", "--limit", "0"])
        .json_lines()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept.len(), accepted.len());
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), accepted);
}

#[test]
fn who_ends_its_own_side_after_a_whole_delivery_is_answered() {
    let receiver = Receiver::start();
    let producer = receiver.producer();
    for (place, end) in End::ALL.into_iter().enumerate() {
        let body = event(&format!("evt_{place}"));
        let mut connection = producer.connect().unwrap();
        connection.send_last(&producer.signed(&body), end).unwrap();
        let answer = connection.answer();
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, Ok(204)), "{end:?}: {status:?}");

        let mut connection = producer.connect().unwrap();
        let two = [
            producer.signed(&event(&format!("evt_first_{place}"))),
            chunked(&producer, &event(&format!("evt_second_{place}"))),
        ];
        connection.send_last(&two.concat(), end).unwrap();
        for _ in 0..2 {
            let answer = connection.answer();
            let status = answer.map(|answer| answer.status);
            assert!(matches!(status, Ok(204)), "{end:?}: {status:?}");
        }
        assert!(connection.answer().is_err(), "it must be closed");
    }
    assert_eq!(kept(&receiver), 9);
}

#[test]
fn a_body_is_as_long_as_it_may_be_and_no_longer_however_it_is_framed() {
    let receiver = Receiver::with(&crate::receiver::Changes {
        limits: "body_bytes = 1000",
        ..Default::default()
    });
    let producer = receiver.producer();
    let frames: [fn(&Producer, &str) -> Vec<u8>; 3] =
        [Producer::signed, chunked, |producer, body| {
            let (first, second) = body.split_at(600);
            let whole = String::from_utf8(chunked(producer, body)).unwrap();
            let in_two = format!("258\r\n{first}\r\n{:x}\r\n{second}\r\n", second.len());
            let in_one = format!("{:x}\r\n{body}\r\n", body.len());
            whole.replace(&in_one, &in_two).into_bytes()
        }];
    for (id, frame) in ["evt_framed", "evt_chunked", "evt_in_two"]
        .iter()
        .zip(frames)
    {
        let body = format!("{:1000}", event(id));
        let exchange = |request: &[u8]| producer.connect().unwrap().exchange(request).unwrap();
        assert_eq!(exchange(&frame(&producer, &body)).status, 204, "{id}");
        let answer = exchange(&frame(&producer, &format!("{body} ")));
        assert_eq!(answer.problem().as_deref(), Some("body-too-large"), "{id}");
        assert_eq!(answer.status, 413, "{id}");
    }
}

#[test]
fn a_delivery_that_the_end_of_its_senders_side_cuts_short_is_never_taken() {
    let receiver = Receiver::start();
    let producer = receiver.producer();
    let body = event("evt_short");
    let (framed, chunked) = (producer.signed(&body), chunked(&producer, &body));
    let head = framed.len() - body.len();
    let cut = |whole: &[u8], bytes: usize| whole[..whole.len() - bytes].to_vec();
    let unreadable = [
        cut(&framed, 1),
        cut(&framed, body.len()),
        cut(&chunked, 1),
        // All of the body, without the chunk that ends it.
        cut(&chunked, 5),
        cut(&chunked, 7),
    ];
    for end in End::ALL {
        for request in &unreadable {
            let mut connection = producer.connect().unwrap();
            connection.send_last(request, end).unwrap();
            let answer = connection.answer().unwrap();
            assert_eq!(answer.status, 400, "{end:?} {answer:?}");
            assert_eq!(answer.problem().as_deref(), Some("body-unreadable"));
        }
        // Without a whole head there is nothing to be answered.
        for bytes in [1, 2, head - 1] {
            let mut connection = producer.connect().unwrap();
            let request = cut(&framed[..head], bytes);
            connection.send_last(&request, end).unwrap();
            let answer = connection.answer();
            assert!(!answer.is_ok_and(|answer| answer.status != 400), "{end:?}");
        }
    }
    let mut connection = producer.connect().unwrap();
    connection.send_torn(&framed).unwrap();
    let answer = connection.answer();
    assert!(!answer.is_ok_and(|answer| answer.status != 400));
    assert_eq!(kept(&receiver), 0);
}

/// How many events there are.
fn kept(receiver: &Receiver) -> usize {
    let events = receiver.countersign(&["events", "list", "--json"]);
    events.json_lines().len()
}

/// A signed delivery in chunks.
fn chunked(producer: &Producer, body: &str) -> Vec<u8> {
    let framed = String::from_utf8(producer.signed(body)).unwrap();
    let length = format!("Content-Length: {}", body.len());
    let (head, _) = framed.split_once("\r\n\r\n").unwrap();
    let head = head.replace(&length, "Transfer-Encoding: chunked");
    format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
}
