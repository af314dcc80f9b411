//! Moves of what only a store that is long in use has: more than an answer holds, long histories, groups of several tenants.

use std::collections::HashMap;
use std::sync::Arc;

use super::tests::{compared, export, moves, put, rows, shown};
use crate::inbox::Inbox;
use crate::refusals::{Book, ClaimedProducer};
use crate::store::fixtures::*;
use crate::store::suite::refusal;
use crate::store::{HISTORY_MAX, Keep, Pruner, Retention};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_a_tenant_has_of_a_kind_all_of_it_moves() {
    for (from, to) in moves() {
        let store = from.open().await;
        let seen = store.seen();
        let of = event("x");
        let leaves = [
            leaf(),
            another_leaf(),
            leaf_named("private-authority", "another-provider."),
        ];
        for number in 0..210 {
            let producer = Arc::from(format!("provider {number:03}"));
            // Three each, so that an answer ends in the midst of a producer's.
            for (nth, leaf) in leaves.iter().enumerate() {
                let secret = Arc::from(format!("file:{nth}.secret"));
                seen.note_leaf(&of.key.tenant, &producer, leaf, &of.leaf, at(5));
                seen.note_secret(&of.key.tenant, &producer, &secret, at(5));
            }
        }
        // All of these are forgotten, but their payments are not.
        let old = (0..210).map(|number| {
            let (id, payment) = (format!("evt_{number}"), format!("pay_{number}"));
            let event = payment_event(&id, &payment, "pending", number);
            received(event, 1_770_000_000 + number)
        });
        store.accept(old.collect()).await.unwrap();
        // Another tenant's, whose names are like theirs.
        let another = of_tenant(event("evt_1"), "a-tenant", "provider 000");
        accept(&store, another).await;
        let keep = Keep {
            events_days: Some(100),
            ..Keep::default()
        };
        let retention = Retention::new(keep, HashMap::new());
        let now = at(1_790_000_000 + 2 * DAY_SECONDS);
        let pruned = store.prune(&mut Pruner::default(), &retention, now).await;
        assert_eq!(pruned.unwrap().total().events, 210);
        store.flush(&Book::default()).await.unwrap();
        let whole = export(&from.url).await;
        let count = |kind: &str| {
            let kind = format!("\"row\":\"{kind}\"");
            rows(&whole)
                .lines()
                .filter(|line| line.contains(&kind))
                .count()
        };
        let counts = ["producer", "leaf", "secret", "payment", "forgotten"].map(count);
        assert_eq!(counts, [212, 632, 632, 210, 210]);
        assert!(put(&to.url, &whole).await.unwrap().is_equal());
        assert!(export(&to.url).await.ends_with(rows(&whole).as_bytes()));
        assert!(compared(&to.url, &whole).await.is_equal());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_its_payments_history_has_no_room_for_is_no_difference() {
    let places = [Some(Place::sqlite()), Place::postgres()];
    for place in places.into_iter().flatten() {
        let store = place.open().await;
        let events = (0..=HISTORY_MAX)
            .map(|number| payment_event(&format!("evt_{number}"), "pay_1", "succeeded", number));
        store.accept(events.collect()).await.unwrap();
        let whole = export(&place.url).await;
        assert!(compared(&place.url, &whole).await.is_equal());
    }
}

/// As one is where its producer was configured for another tenant between two refusals: the embedded store has one row for it.
#[tokio::test]
async fn a_group_of_refusals_under_two_tenants_moves_as_one_and_the_latest_has_the_word() {
    let Some(from) = Place::postgres() else {
        return;
    };
    let store = from.open().await;
    for (tenant, second) in [("tenant-42", 20), ("tenant-43", 30)] {
        let book = Book::default();
        let mut one = refusal("CN=a", second);
        one.issuer = Some(format!("CN={tenant}"));
        one.producer = Some(ClaimedProducer {
            tenant_id: tenant.into(),
            name: "p".into(),
        });
        book.record(one);
        store.flush(&book).await.unwrap();
    }
    let whole = export(&from.url).await;
    let to = Place::sqlite();
    assert!(put(&to.url, &whole).await.unwrap().is_equal());
    let moved = &shown(&to.open().await).await["refusals"];
    let expected = serde_json::json!([{
        "gate": "handshake", "reason": "expired", "subject": "CN=a", "issuer": "CN=tenant-43", "serial": "2a",
        "address": "192.0.2.7", "server_name": "hooks.example", "producer": "p", "tenant_id": "tenant-43",
        "first_seen": "1970-01-01T00:00:20.000Z", "last_seen": "1970-01-01T00:00:30.000Z", "count": 2, "detail": null,
    }]);
    assert_eq!(*moved, expected);
    assert!(compared(&from.url, &whole).await.is_equal());
}
