//! The part of the contract that is about what a store keeps beside the deliveries.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{all, only_event};
use crate::identity::{ShadowMark, Would};
use crate::inbox::{Event, Inbox, Receipt, Standing};
use crate::refusals::{Book, ClaimedProducer, Gate, Refusal};
use crate::signature::Fetch;
use crate::store::fixtures::*;
use crate::store::views::*;
use crate::store::{ShadowSighting, Shadows};

pub(in crate::store) fn refusal(subject: &str, second: i64) -> Refusal {
    Refusal {
        gate: Gate::Handshake,
        reason: "expired",
        subject: Some(subject.to_owned()),
        issuer: Some("CN=ca".to_owned()),
        serial: Some("2a".to_owned()),
        address: Ipv4Addr::new(192, 0, 2, 7).into(),
        server_name: Some("hooks.example".to_owned()),
        producer: Some(ClaimedProducer {
            tenant_id: "tenant-42".into(),
            name: "payments-provider".into(),
        }),
        detail: None,
        at: at(second),
    }
}

/// An event whose signature covers this reference and nothing more.
fn referring(id: &str, reference: &str) -> Event {
    Event {
        fetch: Fetch::Needed {
            reference: Some(reference.into()),
        },
        ..event(id)
    }
}

pub(in crate::store) async fn what_is_to_be_fetched_is_marked_on_its_event(place: &Place) {
    let store = place.open().await;
    let partly = Event {
        fetch: Fetch::Needed { reference: None },
        ..payment_event("evt_2", "pay_2", "captured", 100)
    };
    let together = vec![event("evt_0"), referring("evt_1", "pay_1"), partly];
    let receipts = store.accept(together).await.unwrap();
    assert_eq!(receipts, [Receipt::Accepted; 3]);
    // The mark is that of the row that is there: neither a duplicate nor a conflict sets another's.
    let marked_later = Event {
        fetch: Fetch::Needed { reference: None },
        ..event("evt_0")
    };
    assert_eq!(accept(&store, marked_later).await, Receipt::Duplicate);
    let other = with_body(referring("evt_0", "pay_0"), "{\"other\":1}");
    assert_eq!(accept(&store, other).await, Receipt::Conflict);
    store.close().await;

    let store = place.open().await;
    let mut events = store.views().events(all()).await.unwrap().items;
    events
        .sort_by(|one, other| (&one.event_id, one.verdict).cmp(&(&other.event_id, other.verdict)));
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                &*event.event_id,
                event.effect,
                event.payment_id.as_deref(),
                event.fetch_needed,
            )
        })
        .collect();
    let expected = [
        ("evt_0", Some("unmapped"), None, false),
        ("evt_0", None, Some("pay_0"), true),
        ("evt_1", Some("unmapped"), Some("pay_1"), true),
        ("evt_2", Some("applied"), Some("pay_2"), true),
    ];
    assert_eq!(told, expected);
}

pub(in crate::store) async fn what_is_kept_beside_an_id_is_shown_with_it(place: &Place) {
    let store = place.open().await;
    let first = event("evt_1");
    let other = with_body(first.clone(), "{\"id\":\"evt_1\",\"other\":1}");
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..with_body(first.clone(), vec![0xff, 0xfe])
    };
    let unreadable = received(unreadable, 1_790_000_020);
    let (other_sha256, leaf) = (hex::encode(other.body_sha256), other.leaf.clone());
    // The neighbour's event of that id is another one: nothing of it stands beside this one.
    let neighbour = of_tenant(first.clone(), "tenant-42", "another-provider");
    let came = [
        (first, Receipt::Accepted),
        (neighbour, Receipt::Accepted),
        (other.clone(), Receipt::Conflict),
        (other, Receipt::Duplicate),
        (unreadable, Receipt::Quarantined),
    ];
    for (event, expected) in came {
        assert_eq!(accept(&store, event).await, expected);
    }

    let found = store.views().whole_events_by_id(None, "evt_1").await;
    let found = found.unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|whole| {
            let event = &whole.shown.event;
            (&*event.producer, event.verdict, whole.beside.len())
        })
        .collect();
    let expected = [
        ("another-provider", "accepted", 0),
        ("payments-provider", "accepted", 2),
    ];
    assert_eq!(told, expected);
    let object = serde_json::to_value(&found[1]).unwrap();
    assert_eq!(object["verdict"], "accepted");
    let (conflict, quarantined) = (&object["beside"][0], &object["beside"][1]);
    let expected = serde_json::json!({
        "verdict": "conflict", "received_at": found[1].shown.event.received_at.to_string(), "body_sha256": other_sha256,
        "duplicates": 1, "secret": "file:certs/producer.secret",
        "leaf": {"subject": "CN=payments-provider", "serial": leaf.serial().to_string(), "sha256": leaf.sha256().to_string()},
        "headers": {"content-type": "application/json"}, "body": "{\"id\":\"evt_1\",\"other\":1}",
    });
    assert_eq!(*conflict, expected);
    assert_eq!(quarantined["verdict"], "quarantined");
    assert_eq!(quarantined["body_base64"], "//4=");
}

pub(in crate::store) async fn refusals_outlive_a_restart_and_go_on_counting(place: &Place) {
    let store = place.open().await;
    let book = Book::default();
    book.record(refusal("CN=a", 10));
    book.record(refusal("CN=a", 20));
    store.flush(&book).await.unwrap();
    book.record(refusal("CN=a", 30));
    store.flush(&book).await.unwrap();
    store.close().await;

    let store = place.open().await;
    let book = Book::default();
    store.load(&book).await.unwrap();
    // What was refused before all of them is written last, and the last one claims other things.
    assert_eq!(book.record(refusal("CN=a", 5)), 4);
    let claimed = ClaimedProducer {
        tenant_id: "tenant-42".into(),
        name: "another-provider".into(),
    };
    let last = Refusal {
        issuer: Some("CN=another ca".to_owned()),
        serial: Some("2b".to_owned()),
        server_name: Some("other.example".to_owned()),
        producer: Some(claimed),
        detail: Some("it ended".to_owned()),
        ..refusal("CN=a", 40)
    };
    assert_eq!(book.record(last), 5);
    store.flush(&book).await.unwrap();
    let rows = store.views().refusals(all()).await.unwrap().items;
    let expected = serde_json::json!([{
        "gate": "handshake", "reason": "expired", "subject": "CN=a", "issuer": "CN=another ca", "serial": "2b",
        "address": "192.0.2.7", "server_name": "other.example", "producer": "another-provider",
        "tenant_id": "tenant-42", "first_seen": "1970-01-01T00:00:05.000Z",
        "last_seen": "1970-01-01T00:00:40.000Z", "count": 5, "detail": "it ended",
    }]);
    assert_eq!(serde_json::to_value(&rows).unwrap(), expected);
    assert!(
        store
            .views()
            .refusals(Filter {
                since: Some(at(41)),
                ..all()
            })
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub(in crate::store) async fn refusals_are_listed_newest_first_in_pages_and_by_tenant(
    place: &Place,
) {
    let store = place.open().await;
    let book = Book::default();
    for number in 0..25 {
        // Five share each second.
        let mut one = refusal(&format!("CN={number:02}"), 1000 + number / 5);
        one.producer = (number % 3 > 0).then(|| ClaimedProducer {
            tenant_id: format!("tenant-{}", number % 3).into(),
            name: "p".into(),
        });
        book.record(one);
    }
    store.flush(&book).await.unwrap();
    let listed = async |mut filter: Filter| {
        let mut found = Vec::new();
        loop {
            let page = store.views().refusals(filter.clone()).await.unwrap();
            assert!(page.items.len() <= 4);
            let shown = page.items.into_iter();
            found.extend(shown.map(|one| (one.last_seen, one.subject.unwrap())));
            filter.after = page.next;
            if filter.after.is_none() {
                return found;
            }
        }
    };
    let four = Filter { limit: 4, ..all() };
    let everybodys = listed(four.clone()).await;
    assert!(everybodys.windows(2).all(|pair| pair[0].0 >= pair[1].0));
    let names = |found: Vec<(_, String)>| {
        let mut names: Vec<_> = found.into_iter().map(|(_, subject)| subject).collect();
        names.sort();
        names
    };
    let expected = |chosen: fn(&i64) -> bool| {
        let chosen = (0..25).filter(chosen);
        chosen
            .map(|number| format!("CN={number:02}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(everybodys), expected(|_| true));
    let one = Filter {
        tenant: Some("tenant-2".to_owned()),
        ..four.clone()
    };
    assert_eq!(
        names(listed(one.clone()).await),
        expected(|number| number % 3 == 2)
    );
    let lately = Filter {
        since: Some(at(1003)),
        ..one
    };
    assert_eq!(
        names(listed(lately).await),
        expected(|number| number % 3 == 2 && *number >= 15)
    );
}

pub(in crate::store) async fn a_stop_cuts_no_writing_that_has_begun(place: &Place) {
    let store = place.open().await;
    let store = Arc::new(store);
    let book = Arc::new(Book::default());
    book.record(refusal("CN=a", 10));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let keeping = tokio::spawn({
        let (store, book) = (Arc::clone(&store), Arc::clone(&book));
        async move {
            let stopped = async { drop(stopped.await) };
            store.keep(&book, stopped).await;
        }
    });
    // From here on it is in no memory but the writing's.
    while !book.drain_is_done() {
        tokio::task::yield_now().await;
    }
    drop(stop);
    keeping.await.unwrap();
    let written = store.views().refusals(all()).await.unwrap().items;
    assert_eq!(written.len(), 1);
}

pub(in crate::store) async fn the_table_of_refusals_is_bounded(place: &Place) {
    let store = place.open().await;
    // The book lets the oldest go as well, so a fresh one each time makes the table grow.
    for round in 0..3 {
        let book = Book::default();
        for number in 0..4000 {
            book.record(refusal(
                &format!("CN={round}.{number}"),
                round * 10_000 + number,
            ));
        }
        if round == 2 {
            // A group of another tenant, beside the one that is silent longest, and like it in all that names it.
            let mut other = refusal("CN=0.0", 30_000);
            let claimed = other.producer.as_mut().unwrap();
            claimed.tenant_id = "tenant-43".into();
            book.record(other);
        }
        while !book.drain_is_done() {
            store.flush(&book).await.unwrap();
        }
    }
    let book = Book::default();
    store.load(&book).await.unwrap();
    assert_eq!(book.groups(), Book::GROUPS_MAX);
    let latest = store
        .views()
        .refusals(Filter { limit: 2, ..all() })
        .await
        .unwrap()
        .items;
    let subjects = [&latest[0], &latest[1]].map(|group| group.subject.as_deref());
    assert_eq!(subjects, [Some("CN=0.0"), Some("CN=2.3999")]);
    assert_eq!(latest[0].tenant_id.as_deref(), Some("tenant-43"));
}

pub(in crate::store) async fn certificates_and_secrets_in_use_are_remembered(place: &Place) {
    let store = place.open().await;
    let event = Event {
        leaf: leaf_named("private-authority", "payments-provider"),
        ..event("evt_1")
    };
    let (tenant, producer) = (event.key.tenant.clone(), Arc::clone(&event.key.producer));
    let secret: Arc<str> = Arc::from("file:new.secret");
    let anchor = |name: &str| leaf_named(name, name);
    for (seconds, anchor) in [
        ([100, 300], anchor("private-authority")),
        ([200, 400], anchor("another-authority")),
    ] {
        for second in seconds {
            let seen = store.seen();
            seen.note_leaf(&tenant, &producer, &event.leaf, &anchor, at(second));
            seen.note_secret(&tenant, &producer, &secret, at(second));
        }
        store.flush(&Book::default()).await.unwrap();
    }
    let leaf = event.leaf.clone();
    let later = Event {
        leaf: leaf.clone(),
        ..received(referring("evt_2", "x"), 1_790_000_020)
    };
    store.accept(vec![event, later]).await.unwrap();
    let expected = serde_json::json!([{
        "tenant_id": "tenant-42", "producer": "payments-provider", "subject": "CN=payments-provider",
        "issuer": "CN=private-authority", "serial": leaf.serial().to_string(), "sha256": leaf.sha256().to_string(),
        "spki_sha256": hex::encode(leaf.spki().0), "not_before": "2026-11-24T04:43:38.000Z",
        "not_after": "2036-11-21T04:43:38.000Z", "anchor_subject": "CN=another-authority",
        "anchor_sha256": anchor("another-authority").sha256().to_string(),
        "first_seen": "1970-01-01T00:01:40.000Z", "last_seen": "1970-01-01T00:06:40.000Z",
    }]);
    let leaves = store.views().leaves_seen().await.unwrap();
    assert_eq!(serde_json::to_value(&leaves).unwrap(), expected);
    let secrets = store.views().secrets_seen().await.unwrap();
    let used: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.secret.as_str(), secret.first_used))
        .collect();
    let expected = [
        ("file:certs/producer.secret", Millis(at(1_790_000_010))),
        ("file:new.secret", Millis(at(100))),
    ];
    assert_eq!(used, expected);
    assert_eq!(secrets[1].last_used, Millis(at(400)));
}

/// Tenants and producers that share names, a certificate and a reference to a secret: what each has is its own, whether the writer
/// still knows its number or asks the store for it.
pub(in crate::store) async fn what_an_event_came_with_is_its_own_producers_after_a_restart_too(
    place: &Place,
) {
    let owners = [
        ("tenant-42", "p"),
        ("tenant-42", "q"),
        ("tenant-43", "p"),
        ("tenant-43", "q"),
    ];
    let came = |round: i64| {
        (0..).zip(owners).map(move |(nth, (tenant, producer))| {
            let event = event(&format!("evt_{round}"));
            received(of_tenant(event, tenant, producer), round * 100 + nth)
        })
    };
    for round in [1, 2] {
        let store = place.open().await;
        for event in came(round) {
            assert_eq!(accept(&store, event).await, Receipt::Accepted);
        }
        store.close().await;
    }
    let store = place.open().await;
    // Newest first.
    let events = store.views().events(all()).await.unwrap().items;
    let told = events.iter().rev().map(|event| {
        let second = event.received_at.0.as_second();
        (
            &*event.tenant_id,
            &*event.producer,
            &*event.event_id,
            second,
        )
    });
    let told: Vec<_> = told.collect();
    let expected: Vec<_> = [("evt_1", 100), ("evt_2", 200)]
        .into_iter()
        .flat_map(|(id, second)| {
            (0..)
                .zip(owners)
                .map(move |(nth, (tenant, producer))| (tenant, producer, id, second + nth))
        })
        .collect();
    assert_eq!(told, expected);
    let first = |nth: i64| Millis(at(100 + nth));
    let expected: Vec<_> = (0..)
        .zip(owners)
        .map(|(nth, (tenant, producer))| (tenant, producer, first(nth)))
        .collect();
    let mut leaves = store.views().leaves_seen().await.unwrap();
    leaves.sort_by_key(|leaf| leaf.first_seen.0);
    let told: Vec<_> = leaves
        .iter()
        .map(|leaf| (&*leaf.tenant_id, &*leaf.producer, leaf.first_seen))
        .collect();
    assert_eq!(told, expected);
    let mut secrets = store.views().secrets_seen().await.unwrap();
    secrets.sort_by_key(|secret| secret.first_used.0);
    let told: Vec<_> = secrets
        .iter()
        .map(|secret| (&*secret.tenant_id, &*secret.producer, secret.first_used))
        .collect();
    assert_eq!(told, expected);
    // Nor does one stay in use by another's being used.
    let event = came(3).nth(1).unwrap();
    let (tenant, producer) = (&event.key.tenant, &event.key.producer);
    store
        .seen()
        .note_leaf(tenant, producer, &event.leaf, &leaf(), at(900));
    store
        .seen()
        .note_secret(tenant, producer, &event.secret.clone().unwrap(), at(900));
    store.flush(&Book::default()).await.unwrap();
    let leaves = store.views().leaves_seen().await.unwrap();
    let used = leaves
        .iter()
        .filter(|leaf| leaf.last_seen == Millis(at(900)));
    let used: Vec<_> = used
        .map(|leaf| (&*leaf.tenant_id, &*leaf.producer))
        .collect();
    assert_eq!(used, [owners[1]]);
    let secrets = store.views().secrets_seen().await.unwrap();
    let used = secrets
        .iter()
        .filter(|secret| secret.last_used == Millis(at(900)));
    let used: Vec<_> = used
        .map(|secret| (&*secret.tenant_id, &*secret.producer))
        .collect();
    assert_eq!(used, [owners[1]]);
}

/// A producer that rotates: two certificates and two secrets, of which each event shows its own.
pub(in crate::store) async fn an_event_shows_the_certificate_and_the_secret_of_its_own_delivery(
    place: &Place,
) {
    let came_with = [
        (leaf(), "file:a.secret"),
        (another_leaf(), "file:b.secret"),
        (another_leaf(), "file:a.secret"),
    ];
    for round in 0..2 {
        // The second time nobody remembers them but the store.
        let store = place.open().await;
        for number in 0..3 {
            let (leaf, secret) = came_with[(number + round) % 3].clone();
            let id = format!("evt_{round}{number}");
            let event = Event {
                leaf,
                secret: Some(Arc::from(secret)),
                ..event(&id)
            };
            let expected = (event.leaf.sha256().to_string(), Some(secret));
            assert_eq!(accept(&store, event).await, Receipt::Accepted);
            let kept = only_event(&store, &id).await.event;
            assert_eq!((kept.leaf.sha256, kept.secret.as_deref()), expected, "{id}");
        }
        assert_eq!(store.views().leaves_seen().await.unwrap().len(), 2);
        assert_eq!(store.views().secrets_seen().await.unwrap().len(), 2);
        store.close().await;
    }
}

pub(in crate::store) fn met(subject: &str, would: Would) -> ShadowSighting<'_> {
    ShadowSighting {
        mark: ShadowMark::Secret,
        what: "file:next.secret",
        tenant: "tenant-42",
        producer: "payments-provider",
        subject,
        address: Ipv4Addr::new(192, 0, 2, 7).into(),
        would,
    }
}

pub(in crate::store) async fn what_shadow_marks_would_decide_adds_up_over_restarts(place: &Place) {
    // Written in another order than they were met in; the last was met from elsewhere.
    for (second, address) in [(20, 7), (10, 7), (30, 8)] {
        let store = place.open().await;
        let shadows: &Shadows = store.shadows();
        let met = |subject, would| ShadowSighting {
            address: Ipv4Addr::new(192, 0, 2, address).into(),
            ..met(subject, would)
        };
        shadows.note(&met("CN=a", Would::Accept), at(second));
        shadows.note(&met("CN=a", Would::Agree), at(second + 1));
        shadows.note(&met("CN=a", Would::Refuse), at(second + 2));
        shadows.note(&met("CN=b", Would::Agree), at(second + 3));
        store.flush(&Book::default()).await.unwrap();
        // What was written down is not written twice.
        store.flush(&Book::default()).await.unwrap();
        store.close().await;
    }
    let store = place.open().await;
    let seen = store.views().shadows_seen().await.unwrap();
    let expected = serde_json::json!([
        {"mark": "secret", "what": "file:next.secret", "tenant_id": "tenant-42", "producer": "payments-provider",
         "subject": "CN=b", "address": "192.0.2.8", "accept": 0, "agree": 3, "refuse": 0,
         "first_seen": "1970-01-01T00:00:13.000Z", "last_seen": "1970-01-01T00:00:33.000Z"},
        {"mark": "secret", "what": "file:next.secret", "tenant_id": "tenant-42", "producer": "payments-provider",
         "subject": "CN=a", "address": "192.0.2.8", "accept": 3, "agree": 3, "refuse": 3,
         "first_seen": "1970-01-01T00:00:10.000Z", "last_seen": "1970-01-01T00:00:32.000Z"},
    ]);
    assert_eq!(serde_json::to_value(&seen).unwrap(), expected);
}

pub(in crate::store) async fn the_table_of_tallies_is_bounded(place: &Place) {
    let store = place.open().await;
    let max = Shadows::TALLIES_MAX;
    for (count, second) in [(10, 1), (max - 5, 2)] {
        for number in 0..count {
            let subject = format!("CN={second}.{number}");
            store
                .shadows()
                .note(&met(&subject, Would::Agree), at(second));
        }
        store.flush(&Book::default()).await.unwrap();
    }
    let seen = store.views().shadows_seen().await.unwrap();
    assert_eq!(seen.len(), max);
    let old = seen.iter().filter(|tally| tally.last_seen == Millis(at(1)));
    assert_eq!(old.count(), 5);
}
