//! Stores that move from engine to engine: nothing is lost, nothing is altered, and what is interrupted goes on.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::identity::{ShadowMark, Would};
use crate::inbox::{Event, Inbox, KeptHeaders, Receipt, Standing};
use crate::refusals::{Book, ClaimedProducer, Gate, Refusal};
use crate::signature::Fetch;
use crate::store::fixtures::*;
use crate::store::postgres::address::Target;
use crate::store::postgres::session::{Purpose, Session};
use crate::store::views::Filter;
use crate::store::{
    Export, ExportFailure, ImportFailure, ImportMode, Imported, Keep, Part, Pruner, Retention,
    ShadowSighting, Store, TransferFault, Url, check_export, import,
};

/// Each ordered pair of engines, as far as there is a PostgreSQL.
pub(super) fn moves() -> Vec<(Place, Place)> {
    let mut moves = vec![(Place::sqlite(), Place::sqlite())];
    let two = || Some((Place::postgres()?, Place::postgres()?));
    if let (Some((a, b)), Some((c, d))) = (two(), two()) {
        moves.extend([(Place::sqlite(), a), (b, Place::sqlite()), (c, d)]);
    }
    moves
}

/// What senders brought in the order in which it came, each at a microsecond of its own: payments in all states,
/// duplicates, conflicts, what cannot be read, odd bodies and names, several tenants.
fn deliveries(seed: u64, count: i64) -> Vec<Event> {
    let mut chance = Chance(seed);
    let statuses = ["pending", "authorized", "succeeded", "refunded", "disputed"];
    let mut events = Vec::new();
    for number in 0..count {
        let id = match chance.below(12) {
            0 => format!("evt\0\u{1}\u{2}\u{ffff}_{}", number % 7),
            1 => "long".repeat(2000 + chance.below(3) as usize),
            _ => format!("evt_{}", chance.below(count as u64)),
        };
        let second = chance.below(50) as i64;
        let status = statuses[chance.below(5) as usize];
        let payment = format!("pay\u{ffff}_{}", chance.below(9));
        let event = match chance.below(10) {
            0 => event(&id),
            1 => with_body(event(&id), vec![0xff, 0xfe, number as u8]),
            2 => with_body(
                payment_event(&id, &payment, status, second),
                "a\0b\u{7f}\u{e9}",
            ),
            3 => Event {
                standing: Standing::Quarantined,
                kind: None,
                occurred_at: None,
                ..with_body(event(&id), format!("no JSON {}", chance.below(4)))
            },
            4 => Event {
                secret: None,
                headers: KeptHeaders::of(std::iter::empty()),
                ..payment_event(&id, &payment, "no status that is known", second)
            },
            5 => Event {
                fetch: Fetch::Needed {
                    reference: Some("pay_to_fetch".into()),
                },
                ..event(&id)
            },
            _ => payment_event(&id, &payment, status, second),
        };
        let producer = if chance.below(3) == 0 {
            "other"
        } else {
            "payments-provider"
        };
        let tenant = ["tenant-42", "a-tenant", "z-tenant"][chance.below(3) as usize];
        let secret = match number % 3 {
            0 => event.secret.as_ref().map(|_| "file:next.secret".into()),
            _ => event.secret.clone(),
        };
        events.push(Event {
            received_at: Timestamp::from_microsecond(1_790_000_000_123_456 + number * 7_000_001)
                .unwrap(),
            secret,
            ..of_tenant(event, tenant, producer)
        });
    }
    events
}

/// What has had its time by then: accepted, conflicts, and what cannot be read.
fn long_ago() -> Vec<Event> {
    let came = |number: i64, event: Event| Event {
        received_at: Timestamp::from_microsecond(1_770_000_000_000_001 + number * 1_000_003)
            .unwrap(),
        ..event
    };
    let mut events = Vec::new();
    for number in 0..4 {
        let event = payment_event(&format!("old_{number}"), "pay_old", "pending", number);
        events.push(came(number, event.clone()));
        events.push(came(10 + number, event.clone()));
        events.push(came(20 + number, with_body(event, "another")));
    }
    for number in 0..3 {
        let event = with_body(event("old"), format!("no JSON {number}"));
        let standing = Standing::Quarantined;
        events.push(came(30 + number, Event { standing, ..event }));
    }
    events
}

/// A store that got all that, forgot what is old, and saw peers, secrets and refusals.
pub(super) async fn filled(place: &Place, seed: u64) -> Store {
    let store = place.open().await;
    for event in long_ago().into_iter().chain(deliveries(seed, 250)) {
        store.accept(vec![event]).await.unwrap();
    }
    let keep = Keep {
        events_days: Some(100),
        ..Keep::default()
    };
    let now = at(1_790_000_000 + 2 * 86_400);
    let retention = Retention::new(keep, HashMap::new());
    let pruned = store.prune(&mut Pruner::default(), &retention, now).await;
    assert_eq!(pruned.unwrap().total().events, 11);
    let seen = event("x");
    let (tenant, producer) = (seen.key.tenant, seen.key.producer);
    store
        .seen()
        .note_leaf(&tenant, &producer, &seen.leaf, &leaf(), at(1_790_000_500));
    store
        .seen()
        .note_secret(&tenant, &producer, &Arc::from("file:new.secret"), at(200));
    let book = Book::default();
    for number in 0..5_u8 {
        let claimed = ClaimedProducer {
            tenant_id: "tenant-42".into(),
            name: "payments-provider".into(),
        };
        book.record(Refusal {
            gate: Gate::Identity,
            reason: "unknown-producer",
            subject: Some(format!("CN=stranger {number}")),
            issuer: None,
            serial: Some("2a".into()),
            address: Ipv4Addr::new(192, 0, 2, number).into(),
            server_name: None,
            producer: (number % 2 == 0).then_some(claimed),
            detail: Some("d".into()),
            at: at(1_790_000_000 + i64::from(number)),
        });
    }
    for (second, (tenant, name, subject)) in (0_i64..).zip([
        ("", "", "CN=a stranger \u{ffff}"),
        ("tenant-42", "payments-provider", "CN=payments-provider"),
        ("tenant-42", "payments-provider", "CN=other"),
        ("a-tenant", "other", "CN=other"),
    ]) {
        for (more, would) in (0..).zip([Would::Accept, Would::Agree, Would::Refuse]) {
            for _ in 0..=more {
                let sighting = ShadowSighting {
                    mark: ShadowMark::ClientCa,
                    what: "ab",
                    tenant,
                    producer: name,
                    subject,
                    address: Ipv4Addr::new(192, 0, 2, 7).into(),
                    would,
                };
                store.shadows().note(&sighting, at(1_790_000_000 + second));
            }
        }
    }
    store.flush(&book).await.unwrap();
    store
}

pub(super) async fn export(url: &Url) -> Vec<u8> {
    let mut out = Vec::new();
    let exported = Export::default()
        .run(url, None, &mut out, &mut |_, _| {})
        .await;
    let rows = exported.unwrap().rows;
    assert_eq!(check_export(&mut &out[..], &mut |_, _| {}).unwrap(), rows);
    out
}

/// A session with a PostgreSQL.
pub(super) async fn session(url: &Url) -> Option<Session> {
    let Url::Postgres(address) = url else {
        return None;
    };
    let target = Target::load(address).unwrap();
    Some(Session::open(&target, Purpose::Read).await.unwrap())
}

/// All lines but the header, which tells when and from where.
pub(super) fn rows(export: &[u8]) -> &str {
    std::str::from_utf8(export)
        .unwrap()
        .split_once('\n')
        .unwrap()
        .1
}

pub(super) async fn put(url: &Url, export: &[u8]) -> Result<Imported, ImportFailure> {
    import(url, ImportMode::Write, &mut &*export, &mut |_, _| {}).await
}

pub(super) async fn compared(url: &Url, export: &[u8]) -> Imported {
    let compared = import(url, ImportMode::Compare, &mut &*export, &mut |_, _| {}).await;
    compared.unwrap()
}

/// What its users see of a store.
pub(super) async fn shown(store: &Store) -> Value {
    let views = store.views();
    let all = Filter {
        limit: 0,
        ..Filter::default()
    };
    let mut details = Vec::new();
    for event in views.events(all.clone()).await.unwrap().items {
        let found = views
            .events_by_id(Some(&event.tenant_id), &event.event_id)
            .await
            .unwrap();
        // Those that stand aside are in no order that two engines share.
        let mut found: Vec<String> = found
            .iter()
            .map(|detail| serde_json::to_string(detail).unwrap())
            .collect();
        found.sort();
        details.push(found);
    }
    let mut payments = Vec::new();
    for payment in views.payments(all.clone()).await.unwrap().items {
        let found = views
            .payments_by_id(Some(&payment.tenant_id), &payment.payment_id)
            .await
            .unwrap();
        payments.push(serde_json::to_value(&found[0]).unwrap());
    }
    serde_json::json!({
        "events": views.events(all.clone()).await.unwrap().items,
        "details": details,
        "payments": payments,
        "refusals": views.refusals(all).await.unwrap().items,
        "leaves": views.leaves_seen().await.unwrap(),
        "secrets": views.secrets_seen().await.unwrap(),
        "shadows": views.shadows_seen().await.unwrap(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_is_the_same_there_byte_for_byte() {
    for (seed, (from, to)) in (1_u64..).zip(moves()) {
        let original = filled(&from, seed).await;
        let first = export(&from.url).await;
        for word in [
            "\"conflict\"",
            "\"quarantined\"",
            "\"superseded\"",
            "\"row\":\"forgotten\"",
            "\"accept\":1,\"agree\":2,\"refuse\":3",
            "body_base64",
            "\\u0000",
            ".123456Z",
        ] {
            assert!(rows(&first).contains(word), "{word} is not tried");
        }
        let imported = put(&to.url, &first).await.unwrap();
        assert!(imported.is_equal(), "{imported:?}");
        assert_eq!(imported.events.written, imported.events.read);
        let moved = to.open().await;
        assert_eq!(shown(&moved).await, shown(&original).await);
        assert_eq!(rows(&export(&to.url).await), rows(&first));
        if let Some(session) = session(&to.url).await {
            // Each day has its partition, so that it can be dropped.
            let count = "SELECT count(*) FROM countersign.bodies_default";
            let rows = session.client.query_typed(count, &[]).await.unwrap();
            assert_eq!(rows[0].get::<_, i64>(0), 0);
        }
        // Again, it finds all of it.
        let again = put(&to.url, &first).await.unwrap();
        for (kind, tally) in again.kinds() {
            assert_eq!((tally.there, tally.written), (tally.read, 0), "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_goes_on_as_the_original_does() {
    for (from, to) in moves() {
        let original = filled(&from, 7).await;
        put(&to.url, &export(&from.url).await).await.unwrap();
        let moved = to.open().await;
        // What came before, and what never came: the same, other bodies, earlier and later words.
        let mut later = deliveries(7, 250);
        later.extend(deliveries(8, 250));
        later.extend(long_ago());
        later.push(with_body(long_ago().remove(0), "a third"));
        let mut receipts = [Vec::new(), Vec::new()];
        for (number, event) in (0_i64..).zip(later) {
            let event = Event {
                received_at: Timestamp::from_microsecond(1_795_000_000_000_000 + number).unwrap(),
                ..event
            };
            receipts[0].push(accept(&original, event.clone()).await);
            receipts[1].push(accept(&moved, event).await);
        }
        assert_eq!(receipts[0], receipts[1]);
        for receipt in [
            Receipt::Accepted,
            Receipt::Duplicate,
            Receipt::Conflict,
            Receipt::Quarantined,
        ] {
            assert!(receipts[0].contains(&receipt), "{receipt:?} is not tried");
        }
        assert_eq!(shown(&moved).await, shown(&original).await);
    }
}

#[tokio::test]
async fn the_order_within_one_delivery_is_kept() {
    let (from, to) = (Place::sqlite(), Place::sqlite());
    let store = from.open().await;
    let ids = ["c", "a", "e", "b", "d"];
    let delivery = ids.map(|id| payment_event(id, &format!("pay_{id}"), "succeeded", 5));
    store.accept(delivery.to_vec()).await.unwrap();
    put(&to.url, &export(&from.url).await).await.unwrap();
    let moved = to.open().await;
    assert_eq!(shown(&moved).await, shown(&store).await);
    let events = moved.views().events(Filter::default()).await.unwrap().items;
    let order: Vec<_> = events
        .iter()
        .rev()
        .map(|event| event.event_id.as_str())
        .collect();
    assert_eq!(order, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_was_cut_off_anywhere_goes_on_where_it_ended() {
    for place in [Some(Place::sqlite()), Place::postgres()]
        .into_iter()
        .flatten()
    {
        filled(&place, 3).await;
        let whole = export(&place.url).await;
        let mut chance = Chance(11);
        let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut cuts: Vec<usize> = (0..25)
            .map(|_| header + chance.below((whole.len() - header) as u64) as usize)
            .collect();
        cuts.extend([header, whole.len() - 1, whole.len() - 50]);
        for cut in cuts {
            let part = Part::read(&mut &whole[..cut]).unwrap();
            let kept = usize::try_from(part.bytes).unwrap();
            assert!(kept <= cut && !part.whole);
            let mut out = whole[..kept].to_vec();
            Export::default()
                .run(&place.url, Some(part), &mut out, &mut |_, _| {})
                .await
                .unwrap();
            assert!(out == whole, "cut at {cut} of {}", whole.len());
        }
        let whole_part = Part::read(&mut &whole[..]).unwrap();
        assert!(whole_part.whole);
        // Of a store that went on, no two halves fit.
        let store = place.open().await;
        accept(&store, received(event("evt_new"), 1_800_000_000)).await;
        let part = Part::read(&mut &whole[..whole.len() / 2]).unwrap();
        let more = Export::default()
            .run(&place.url, Some(part), &mut Vec::new(), &mut |_, _| {})
            .await;
        assert!(
            matches!(more, Err(ExportFailure::NotTheSame { .. })),
            "{more:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_cut_off_goes_on_where_it_ended() {
    for (from, to) in moves() {
        let store = from.open().await;
        for event in deliveries(4, 400) {
            store.accept(vec![event]).await.unwrap();
        }
        let whole = export(&from.url).await;
        for cut in [whole.len() / 3, whole.len() * 9 / 10] {
            let failure = put(&to.url, &whole[..cut]).await.unwrap_err();
            let cut_off = matches!(failure, ImportFailure::Export(TransferFault::CutOff { .. }));
            assert!(cut_off, "{failure}");
        }
        let imported = put(&to.url, &whole).await.unwrap();
        assert!(imported.is_equal());
        assert_eq!(imported.payments.there, imported.payments.read);
        // The first batch of events was whole when the rest went missing.
        let events = imported.events;
        assert_eq!((events.there, events.written), (250, events.read - 250));
        assert_eq!(rows(&export(&to.url).await), rows(&whole));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparing_writes_nothing_and_misses_nothing() {
    for (from, to) in moves() {
        filled(&from, 5).await;
        let whole = export(&from.url).await;
        drop(to.open().await);
        let compared = compared(&to.url, &whole).await;
        assert!(!compared.is_equal());
        for (kind, tally) in compared.kinds() {
            assert_eq!((tally.missing, tally.there), (tally.read, 0), "{kind}");
        }
        assert_eq!(
            shown(&to.open().await).await["events"],
            serde_json::json!([])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_kept_any_more_is_not_there_either() {
    for (from, to) in moves() {
        let store = from.open().await;
        accept(&store, payment_event("evt_1", "pay_1", "succeeded", 5)).await;
        store.close().await;
        match session(&from.url).await {
            Some(session) => session
                .client
                .batch_execute("DELETE FROM countersign.bodies")
                .await
                .unwrap(),
            None => rusqlite::Connection::open(from.file())
                .unwrap()
                .execute_batch("DELETE FROM bodies")
                .unwrap(),
        }
        let whole = export(&from.url).await;
        assert!(rows(&whole).contains("\"headers\":null,\"body\":null"));
        assert!(put(&to.url, &whole).await.unwrap().is_equal());
        assert_eq!(rows(&export(&to.url).await), rows(&whole));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenant_can_be_moved_alone() {
    for place in [Some(Place::sqlite()), Place::postgres()]
        .into_iter()
        .flatten()
    {
        filled(&place, 6).await;
        let one = Export {
            tenant: Some("a-tenant".to_owned()),
        };
        let mut out = Vec::new();
        one.run(&place.url, None, &mut out, &mut |_, _| {})
            .await
            .unwrap();
        let foreign = rows(&out).lines().filter(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["row"] != "end" && row["tenant_id"] != "a-tenant"
        });
        assert_eq!(foreign.count(), 0);
        let to = Place::sqlite();
        let imported = put(&to.url, &out).await.unwrap();
        assert!(
            imported.is_equal() && imported.events.written > 50,
            "{imported:?}"
        );
        assert_eq!(imported.shadows.written, 1);
        let nobody = Export {
            tenant: Some("nobody".to_owned()),
        };
        let failure = nobody
            .run(&place.url, None, &mut Vec::new(), &mut |_, _| {})
            .await;
        assert!(matches!(failure, Err(ExportFailure::NoTenant { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_something_was_seen_is_joined() {
    let early = (100, 300, "private-authority");
    let late = (200, 400, "another-authority");
    let ways = [(early, late), (late, early)];
    for ((from, to), (there, here)) in ways
        .into_iter()
        .flat_map(|way| moves().into_iter().map(move |places| (places, way)))
    {
        let seen = event("evt_1");
        let (tenant, producer) = (seen.key.tenant.clone(), Arc::clone(&seen.key.producer));
        for (place, (first, last, anchor)) in [(&from, there), (&to, here)] {
            let store = place.open().await;
            let anchor = leaf_named(anchor, anchor);
            for second in [first, last] {
                store
                    .seen()
                    .note_leaf(&tenant, &producer, &seen.leaf, &anchor, at(second));
                store
                    .seen()
                    .note_secret(&tenant, &producer, &Arc::from("s"), at(second));
            }
            store.flush(&Book::default()).await.unwrap();
        }
        let whole = export(&from.url).await;
        let imported = put(&to.url, &whole).await.unwrap();
        assert!(imported.is_equal(), "{imported:?}");
        let joined = shown(&to.open().await).await;
        for (kind, first, last) in [
            ("leaves", "first_seen", "last_seen"),
            ("secrets", "first_used", "last_used"),
        ] {
            assert_eq!(joined[kind][0][first], "1970-01-01T00:01:40.000Z");
            assert_eq!(joined[kind][0][last], "1970-01-01T00:06:40.000Z");
        }
        // The anchor of the latest delivery.
        let anchor = leaf_named(late.2, late.2);
        assert_eq!(
            joined["leaves"][0]["anchor_subject"],
            "CN=another-authority"
        );
        assert_eq!(
            joined["leaves"][0]["anchor_sha256"],
            anchor.sha256().to_string()
        );
        assert!(compared(&to.url, &whole).await.is_equal());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_that_was_written_down_after_an_export_is_no_difference() {
    for (place, to) in moves() {
        let store = place.open().await;
        let kept = event("evt_1");
        accept(&store, kept.clone()).await;
        let before = export(&place.url).await;
        let (tenant, producer) = (&kept.key.tenant, &kept.key.producer);
        let seen = store.seen();
        seen.note_leaf(tenant, producer, &kept.leaf, &leaf(), kept.received_at);
        store.flush(&Book::default()).await.unwrap();
        assert!(compared(&place.url, &before).await.is_equal());
        // The other way round the export knows more, and tells it.
        let after = export(&place.url).await;
        assert_ne!(before, after);
        for part in [&before, &after] {
            assert!(put(&to.url, part).await.unwrap().is_equal());
        }
        assert_eq!(rows(&export(&to.url).await), rows(&after));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_export_that_has_tallies_of_shadow_marks_needs_a_version_that_knows_them() {
    for place in [Some(Place::sqlite()), Place::postgres()]
        .into_iter()
        .flatten()
    {
        let store = place.open().await;
        accept(&store, event("evt_1")).await;
        let before = export(&place.url).await;
        let text = std::str::from_utf8(&before).unwrap();
        assert!(
            text.contains("\"version\":1,") && !text.contains("shadows"),
            "{text}"
        );
        filled(&place, 9).await;
        let text = String::from_utf8(export(&place.url).await).unwrap();
        assert!(text.contains("\"version\":2,") && text.contains("\"shadows\":4"));
        // An older version can read all there is of a tenant that has none of them.
        for (tenant, version) in [
            ("z-tenant", "\"version\":1,"),
            ("a-tenant", "\"version\":2,"),
        ] {
            let one = Export {
                tenant: Some(tenant.to_owned()),
            };
            let mut out = Vec::new();
            let exported = one.run(&place.url, None, &mut out, &mut |_, _| {}).await;
            exported.unwrap();
            assert!(
                String::from_utf8(out).unwrap().contains(version),
                "{tenant}"
            );
        }
    }
}
