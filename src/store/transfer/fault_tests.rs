//! Exports that are at fault, and stores that hold something else: what is told of them, and what stays as it is.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tests::{compared, export, moves, put, shown};
use crate::identity::{ShadowMark, Would};
use crate::inbox::Event;
use crate::refusals::Book;
use crate::store::fixtures::*;
use crate::store::{ImportFailure, ShadowSighting, TransferFault, check_export};

/// The export with one change of one line's text.
fn altered(export: &[u8], line: usize, from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(export).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines[line].contains(from), "{}", lines[line]);
    lines[line] = lines[line].replacen(from, to, 1);
    lines
        .join("\n")
        .into_bytes()
        .into_iter()
        .chain(*b"\n")
        .collect()
}

fn line_of(export: &[u8], words: &[&str]) -> usize {
    let text = std::str::from_utf8(export).unwrap();
    text.lines()
        .position(|line| words.iter().all(|word| line.contains(word)))
        .unwrap()
}

/// An export with a row of each kind that these tests alter, and in which lines they are.
struct Sample {
    whole: Vec<u8>,
    event: usize,
    payment: usize,
    shadow: usize,
}

async fn sample() -> Sample {
    let place = Place::sqlite();
    let store = place.open().await;
    for (number, status) in (0_i64..).zip(["pending", "succeeded"]) {
        let event = payment_event(&format!("evt_{status}"), "pay_1", status, 100 + number);
        accept(&store, received(event, 1_790_000_010 + number)).await;
    }
    let sighting = ShadowSighting {
        mark: ShadowMark::Secret,
        what: "file:next.secret",
        tenant: "tenant-42",
        producer: "payments-provider",
        subject: "CN=a",
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        would: Would::Accept,
    };
    store.shadows().note(&sighting, at(1_790_000_012));
    store.flush(&Book::default()).await.unwrap();
    let whole = export(&place.url).await;
    Sample {
        event: line_of(&whole, &["\"row\":\"event\"", "evt_pending"]),
        payment: line_of(&whole, &["\"row\":\"payment\""]),
        shadow: line_of(&whole, &["\"row\":\"shadow\""]),
        whole,
    }
}

fn fault(export: &[u8]) -> TransferFault {
    check_export(&mut &*export, &mut |_, _| {}).unwrap_err()
}

#[tokio::test]
async fn an_altered_line_is_named_and_not_taken() {
    let Sample {
        whole,
        event,
        payment,
        shadow,
    } = sample().await;
    let cases = [
        (
            event,
            "\\\"id\\\"",
            "\\\"ID\\\"",
            "does not have the SHA-256",
        ),
        (
            event,
            "\"event_id\":\"evt_pending\"",
            "\"event_id\":\"evt_other\"",
            "its key is not that of",
        ),
        (
            event,
            "\"tenant_id\":\"tenant-42\"",
            "\"tenant_id\":\"tenant-43\"",
            "its key is not that of",
        ),
        (
            event,
            "\"effect\":\"applied\"",
            "\"effect\":\"unmapped\"",
            "do not go together",
        ),
        (
            event,
            "\"status\":\"pending\"",
            "\"status\":\"paid\"",
            "none of the ledger's",
        ),
        (
            event,
            "\"duplicates\":0",
            "\"duplicates\":-1",
            "less than nothing",
        ),
        (
            event,
            "\"duplicates\":0",
            "\"duplicates\":0,\"more\":1",
            "is no row of an export",
        ),
        (event, "{", "", "is no row of an export"),
        (
            payment,
            "\"amount_minor\":1999",
            "\"amount_minor\":1",
            "does not follow from its state",
        ),
        (
            payment,
            "\"state\":[1,",
            "\"state\":[2,",
            "its state is none",
        ),
        (
            payment,
            "\"tenant_id\":\"tenant-42\"",
            "\"tenant_id\":\"\"",
            "its tenant_id is empty",
        ),
        (
            shadow,
            "\"mark\":\"secret\"",
            "\"mark\":\"purse\"",
            "its mark or its address is none",
        ),
        (
            shadow,
            "\"subject\":\"CN=a\"",
            "\"subject\":\"CN=b\"",
            "its key is not that of",
        ),
        (shadow, "\"agree\":0", "\"agree\":-1", "less than nothing"),
    ];
    for (line, from, to, what) in cases {
        let told = fault(&altered(&whole, line, from, to)).to_string();
        assert!(
            told.starts_with(&format!("line {}: ", line + 1)) && told.contains(what),
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_an_altered_line_alone_does_not_tell_the_end_does() {
    let Sample {
        whole,
        event,
        payment,
        ..
    } = sample().await;
    for (line, from, to) in [
        (event, "\"duplicates\":0", "\"duplicates\":1"),
        (
            event,
            "\"occurred_at\":\"1970-01-01T00:01:40.000000Z\"",
            "\"occurred_at\":null",
        ),
        (payment, "\"changed_at\":\"2", "\"changed_at\":\"1"),
    ] {
        let fault = fault(&altered(&whole, line, from, to));
        assert!(matches!(fault, TransferFault::Altered { .. }), "{fault}");
    }
}

#[tokio::test]
async fn a_line_that_is_missing_one_too_many_and_one_out_of_its_place_are_told() {
    let Sample {
        whole,
        event,
        payment,
        ..
    } = sample().await;
    let text = std::str::from_utf8(&whole).unwrap();
    let mut without: Vec<&str> = text.lines().collect();
    without.remove(event);
    let missing = fault(format!("{}\n", without.join("\n")).as_bytes());
    assert!(
        matches!(missing, TransferFault::Altered { .. }),
        "{missing}"
    );
    let surplus = fault(format!("{text}\n").as_bytes());
    assert!(
        matches!(surplus, TransferFault::Surplus { .. }),
        "{surplus}"
    );
    let mut swapped: Vec<&str> = text.lines().collect();
    swapped.swap(event, payment);
    let swapped = fault(swapped.join("\n").as_bytes());
    assert!(
        matches!(swapped, TransferFault::OutOfPlace { .. }),
        "{swapped}"
    );
}

#[tokio::test]
async fn an_export_that_ends_anywhere_before_its_end_is_cut_off() {
    let Sample { whole, .. } = sample().await;
    for cut in 0..whole.len() {
        let fault = fault(&whole[..cut]);
        let cut_off = matches!(
            fault,
            TransferFault::CutOff { .. } | TransferFault::NotAnExport
        );
        assert!(cut_off, "{cut}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_there_and_differs_stays_as_it_is_and_ends_the_writing() {
    for (from, to) in moves() {
        let store = from.open().await;
        for number in 0..3_i64 {
            let event = payment_event(
                &format!("evt_{number}"),
                &format!("pay_{number}"),
                "succeeded",
                5,
            );
            accept(&store, received(event, 1_790_000_010 + number)).await;
        }
        accept(&store, event("evt_plain")).await;
        let whole = export(&from.url).await;

        // The other store has a later word on one of the payments.
        let other = to.open().await;
        accept(&other, payment_event("evt_9", "pay_1", "refunded", 9)).await;
        let before = shown(&other).await;
        let imported = put(&to.url, &whole).await.unwrap();
        assert!(!imported.is_equal());
        let told: Vec<_> = imported
            .differences
            .iter()
            .map(|d| d.row.as_str())
            .collect();
        assert_eq!(told, ["payment pay_1 of tenant-42"]);
        let line = line_of(&whole, &["\"row\":\"payment\"", "pay_1"]) as u64 + 1;
        assert_eq!(imported.differences[0].line, line);
        assert!(
            imported.differences[0]
                .fields
                .contains(&"status".to_owned())
        );
        assert_eq!((imported.payments.missing, imported.events.missing), (2, 4));
        let mut after = shown(&other).await;
        for seen in ["leaves", "secrets"] {
            after[seen] = before[seen].clone();
        }
        assert_eq!(after, before);

        // The other store counted a duplicate of an event.
        let third = Place::sqlite();
        put(&third.url, &whole).await.unwrap();
        let store = third.open().await;
        accept(&store, event("evt_plain")).await;
        let compared = compared(&third.url, &whole).await;
        assert_eq!((compared.events.there, compared.events.different), (3, 1));
        assert_eq!(compared.differences[0].fields, ["duplicates"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_something_that_nobody_brought_is_refused_with_its_batch() {
    let from = Place::sqlite();
    let store = from.open().await;
    accept(&store, payment_event("evt_1", "pay_1", "succeeded", 5)).await;
    let another = payment_event("evt_2", "pay_2", "succeeded", 5);
    let whole = export(&from.url).await;
    let text = std::str::from_utf8(&whole).unwrap();
    for (kinds, named, what) in [
        (
            &["producer", "secret", "leaf"][..],
            "payment pay_1",
            "tenant",
        ),
        (
            &["producer"],
            "secret file:certs/producer.secret",
            "producer",
        ),
        (&["payment"], "event evt_1", "payment"),
        (&["leaf"], "event evt_1", "certificate"),
        (&["secret"], "event evt_1", "secret"),
    ] {
        let kinds: Vec<_> = kinds
            .iter()
            .map(|kind| format!("\"row\":\"{kind}\""))
            .collect();
        let is_left = |line: &&str| !kinds.iter().any(|kind| line.contains(kind));
        let without = with_true_end(&text.lines().filter(is_left).collect::<Vec<_>>());
        for to in [Some(Place::sqlite()), Place::postgres()]
            .into_iter()
            .flatten()
        {
            // What is there is another tenant's, another producer's, or another one of its own.
            let store = to.open().await;
            let another = |tenant, producer, leaf, secret| Event {
                leaf,
                secret: Some(Arc::from(secret)),
                ..of_tenant(another.clone(), tenant, producer)
            };
            let (tenant, producer) = ("tenant-42", "payments-provider");
            let secret = "file:certs/producer.secret";
            accept(&store, another("tenant-43", producer, leaf(), secret)).await;
            if what != "tenant" {
                let anothers = another(tenant, "another-provider", leaf(), secret);
                accept(&store, anothers).await;
            }
            if !["tenant", "producer"].contains(&what) {
                let its_own = another(tenant, producer, another_leaf(), "file:another.secret");
                accept(&store, its_own).await;
            }
            store.close().await;
            let failure = put(&to.url, without.as_bytes()).await.unwrap_err();
            let ImportFailure::Dangling {
                name, what: told, ..
            } = failure
            else {
                panic!("{failure}");
            };
            assert_eq!(told, what);
            assert!(name.starts_with(named), "{name}");
            let store = to.open().await;
            let views = store.views();
            let events = views.events_by_id(Some("tenant-42"), "evt_1").await;
            assert!(events.unwrap().is_empty());
        }
    }
}

/// The lines with an end line that fits them, as whoever alters an export on purpose would write it.
fn with_true_end(lines: &[&str]) -> String {
    let mut hash = Sha256::new();
    let mut counts = crate::store::Counts::default();
    let lines = &lines[..lines.len() - 1];
    for line in &lines[1..] {
        hash.update(line);
        hash.update("\n");
        let row = serde_json::from_str::<Value>(line).unwrap()["row"].clone();
        *match row.as_str().unwrap() {
            "producer" => &mut counts.producers,
            "secret" => &mut counts.secrets,
            "leaf" => &mut counts.leaves,
            "payment" => &mut counts.payments,
            "event" => &mut counts.events,
            _ => &mut counts.refusals,
        } += 1;
    }
    let end =
        serde_json::json!({"row": "end", "rows": counts, "sha256": hex::encode(hash.finalize())});
    format!("{}\n{end}\n", lines.join("\n"))
}
