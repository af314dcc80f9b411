//! The contract of a store, as tests that every engine must pass. One macro mounts them all for an engine.

mod beside;
mod changes;
mod retention;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::inbox::{Event, Inbox, InboxFailure, Receipt, Standing};
use crate::store::fixtures::*;
use crate::store::views::*;
pub(in crate::store) use beside::*;
pub(in crate::store) use changes::*;
pub(in crate::store) use retention::*;

/// Mounts the whole contract for the engine whose places this makes.
macro_rules! inbox_suite {
    ($place:expr) => {
        crate::store::suite::inbox_suite!($place,
            a_new_event_is_kept_with_all_that_came_with_it
            the_same_event_again_is_a_duplicate_and_counted
            the_same_id_with_another_body_is_kept_as_a_conflict
            what_is_kept_beside_an_id_is_shown_with_it
            a_conflict_never_touches_the_ledger
            producers_and_tenants_cannot_take_each_others_ids
            what_cannot_be_read_is_kept_aside_and_takes_no_id
            an_event_without_a_payment_is_unmapped
            a_payment_that_nothing_readable_is_said_of_is_named_but_unmapped
            what_is_to_be_fetched_is_marked_on_its_event
            an_older_event_is_superseded
            the_ledger_hangs_on_the_set_of_events_alone
            a_delivery_of_several_events_has_a_receipt_for_each
            everything_is_there_after_a_restart
            deliveries_that_wait_together_are_each_kept_once
            lists_come_newest_first_in_pages
            lists_are_filtered_by_tenant_and_time
            a_payment_is_listed_by_when_any_word_of_it_last_changed
            what_comes_late_in_one_delivery_with_a_change_moves_no_payment
            of_several_in_one_delivery_each_counts_when_its_turn_comes
            a_body_that_is_no_text_is_shown_in_base64
            refusals_outlive_a_restart_and_go_on_counting
            refusals_are_listed_newest_first_in_pages_and_by_tenant
            a_stop_cuts_no_writing_that_has_begun
            the_table_of_refusals_is_bounded
            certificates_and_secrets_in_use_are_remembered
            what_an_event_came_with_is_its_own_producers_after_a_restart_too
            an_event_shows_the_certificate_and_the_secret_of_its_own_delivery
            what_shadow_marks_would_decide_adds_up_over_restarts
            the_table_of_tallies_is_bounded
            a_closed_store_takes_nothing
            a_body_that_has_had_its_time_goes_and_its_event_stays
            a_forgotten_event_is_recognised_and_shown_nowhere
            what_recognises_an_event_goes_last
            a_key_that_is_not_kept_longer_goes_with_its_event
            each_tenant_has_times_of_its_own
            what_goes_of_a_tenant_is_its_own_and_has_had_its_time
            a_rehearsal_tells_what_would_go_and_lets_nothing_go
            a_clock_that_jumps_ahead_empties_no_store
            nor_does_one_that_jumps_again_to_where_events_bear_it_out
            nothing_goes_unless_it_is_asked_for
            many_steps_let_go_what_has_had_its_time_and_no_more
            what_a_store_takes_on_disk_is_told
        );
    };
    ($place:expr, $($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                crate::store::suite::$case(&$place).await;
            }
        )+
    };
}
pub(in crate::store) use inbox_suite;

pub(in crate::store) fn all() -> Filter {
    Filter::default()
}

pub(in crate::store) async fn only_event(store: &crate::store::Store, id: &str) -> EventDetail {
    let mut found = store
        .views()
        .events_by_id(Some("tenant-42"), id)
        .await
        .unwrap();
    assert_eq!(found.len(), 1, "{id}");
    found.remove(0)
}

pub(in crate::store) async fn only_payment(store: &crate::store::Store, id: &str) -> PaymentDetail {
    let mut found = store.views().payments_by_id(None, id).await.unwrap();
    assert_eq!(found.len(), 1, "{id}");
    found.remove(0)
}

pub(in crate::store) async fn a_new_event_is_kept_with_all_that_came_with_it(place: &Place) {
    let store = place.open().await;
    let event = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    assert_eq!(accept(&store, event.clone()).await, Receipt::Accepted);
    let kept = serde_json::to_value(only_event(&store, "evt_1").await).unwrap();
    let expected = serde_json::json!({
        "tenant_id": "tenant-42", "producer": "payments-provider", "event_id": "evt_1", "type": "payment.succeeded",
        "payment_id": "pay_1", "verdict": "accepted", "effect": "applied", "fetch_needed": false, "duplicates": 0,
        "occurred_at": "2026-09-21T14:13:20.000Z", "received_at": "2026-09-21T14:13:30.000Z",
        "body_sha256": hex::encode(event.body_sha256), "secret": "file:certs/producer.secret",
        "leaf": {"subject": "CN=payments-provider", "serial": event.leaf.serial().to_string(),
                 "sha256": event.leaf.sha256().to_string()},
        "headers": {"content-type": "application/json"},
        "body": "{\"id\":\"evt_1\",\"status\":\"succeeded\"}",
    });
    assert_eq!(kept, expected);
    let payment = serde_json::to_value(only_payment(&store, "pay_1").await).unwrap();
    let expected = serde_json::json!({
        "tenant_id": "tenant-42", "payment_id": "pay_1", "status": "succeeded", "amount_minor": 1999,
        "amount_refunded_minor": null, "currency": "EUR", "occurred_at": "2026-09-21T14:13:20.000Z",
        "last_event_id": "evt_1", "events": 1,
        "history": [{"event_id": "evt_1", "producer": "payments-provider", "type": "payment.succeeded",
                     "effect": "applied", "status": "succeeded", "amount_minor": 1999, "amount_refunded_minor": null,
                     "currency": "EUR", "occurred_at": "2026-09-21T14:13:20.000Z",
                     "received_at": "2026-09-21T14:13:30.000Z"}],
    });
    assert_eq!(payment, expected);
}

pub(in crate::store) async fn the_same_event_again_is_a_duplicate_and_counted(place: &Place) {
    let store = place.open().await;
    let event = payment_event("evt_1", "pay_1", "succeeded", 5);
    assert_eq!(accept(&store, event.clone()).await, Receipt::Accepted);
    assert_eq!(accept(&store, event.clone()).await, Receipt::Duplicate);
    assert_eq!(
        accept(&store, received(event, 1_800_000_000)).await,
        Receipt::Duplicate
    );
    let kept = only_event(&store, "evt_1").await.event;
    assert_eq!(
        (kept.duplicates, kept.received_at),
        (2, Millis(at(1_790_000_010)))
    );
    assert_eq!(only_payment(&store, "pay_1").await.payment.events, 1);
}

pub(in crate::store) async fn the_same_id_with_another_body_is_kept_as_a_conflict(place: &Place) {
    let store = place.open().await;
    let first = event("evt_1");
    let other = with_body(first.clone(), "{\"id\":\"evt_1\",\"other\":1}");
    assert_eq!(accept(&store, first.clone()).await, Receipt::Accepted);
    assert_eq!(accept(&store, other.clone()).await, Receipt::Conflict);
    assert_eq!(accept(&store, other).await, Receipt::Duplicate);
    assert_eq!(accept(&store, first).await, Receipt::Duplicate);
    let kept = store.views().events_by_id(None, "evt_1").await.unwrap();
    let verdicts: Vec<_> = kept
        .iter()
        .map(|kept| (kept.event.verdict, kept.event.duplicates))
        .collect();
    assert_eq!(verdicts, [("accepted", 1), ("conflict", 1)]);
    assert_eq!(
        kept[1].body.as_deref(),
        Some("{\"id\":\"evt_1\",\"other\":1}")
    );
    assert_eq!(kept[1].event.effect, None);
}

pub(in crate::store) async fn a_conflict_never_touches_the_ledger(place: &Place) {
    let store = place.open().await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 5);
    let other = payment_event("evt_1", "pay_1", "refunded", 6);
    accept(&store, first).await;
    assert_eq!(accept(&store, other).await, Receipt::Conflict);
    let payment = only_payment(&store, "pay_1").await;
    assert_eq!(
        (payment.payment.status.as_deref(), payment.payment.events),
        (Some("succeeded"), 1)
    );
    assert_eq!(payment.history.len(), 1);
    let kept = store.views().events_by_id(None, "evt_1").await.unwrap();
    assert_eq!(kept[1].event.payment_id.as_deref(), Some("pay_1"));
}

pub(in crate::store) async fn producers_and_tenants_cannot_take_each_others_ids(place: &Place) {
    let store = place.open().await;
    let mine = payment_event("evt_1", "pay_1", "succeeded", 5);
    let neighbour = of_tenant(mine.clone(), "tenant-42", "another-provider");
    let stranger = of_tenant(mine.clone(), "tenant-43", "payments-provider");
    for event in [mine, neighbour, stranger] {
        assert_eq!(accept(&store, event).await, Receipt::Accepted);
    }
    let payments = store.views().payments_by_id(None, "pay_1").await.unwrap();
    let owners: Vec<_> = payments
        .iter()
        .map(|p| (p.payment.tenant_id.as_str(), p.payment.events))
        .collect();
    assert_eq!(owners, [("tenant-42", 2), ("tenant-43", 1)]);
    assert_eq!(
        store
            .views()
            .events_by_id(Some("tenant-42"), "evt_1")
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        store
            .views()
            .events_by_id(None, "evt_1")
            .await
            .unwrap()
            .len(),
        3
    );
    assert!(
        store
            .views()
            .events_by_id(Some("tenant-44"), "evt_1")
            .await
            .unwrap()
            .is_empty()
    );
}

pub(in crate::store) async fn what_cannot_be_read_is_kept_aside_and_takes_no_id(place: &Place) {
    let store = place.open().await;
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..with_body(event("evt_1"), "not json")
    };
    assert_eq!(
        accept(&store, unreadable.clone()).await,
        Receipt::Quarantined
    );
    assert_eq!(accept(&store, unreadable).await, Receipt::Quarantined);
    assert_eq!(
        accept(&store, payment_event("evt_1", "pay_1", "succeeded", 5)).await,
        Receipt::Accepted
    );
    let kept = store.views().events_by_id(None, "evt_1").await.unwrap();
    let verdicts: Vec<_> = kept
        .iter()
        .map(|kept| (kept.event.verdict, kept.event.duplicates))
        .collect();
    assert_eq!(verdicts, [("accepted", 0), ("quarantined", 1)]);
    assert_eq!(kept[1].body.as_deref(), Some("not json"));
}

pub(in crate::store) async fn an_event_without_a_payment_is_unmapped(place: &Place) {
    let store = place.open().await;
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    let kept = only_event(&store, "evt_1").await.event;
    assert_eq!((kept.effect, kept.payment_id), (Some("unmapped"), None));
    assert!(
        store
            .views()
            .payments(all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub(in crate::store) async fn a_payment_that_nothing_readable_is_said_of_is_named_but_unmapped(
    place: &Place,
) {
    let store = place.open().await;
    let mut event = payment_event("evt_1", "pay_1", "succeeded", 5);
    if let Some(facts) = &mut event.payment {
        (facts.status, facts.amount, facts.currency) = (None, None, None);
    }
    assert_eq!(accept(&store, event).await, Receipt::Accepted);
    let kept = only_event(&store, "evt_1").await.event;
    assert_eq!(
        (kept.effect, kept.payment_id.as_deref()),
        (Some("unmapped"), Some("pay_1"))
    );
    assert!(
        store
            .views()
            .payments_by_id(None, "pay_1")
            .await
            .unwrap()
            .is_empty()
    );
}

pub(in crate::store) async fn an_older_event_is_superseded(place: &Place) {
    let store = place.open().await;
    accept(&store, payment_event("evt_2", "pay_1", "succeeded", 20)).await;
    accept(&store, payment_event("evt_1", "pay_1", "pending", 10)).await;
    accept(&store, payment_event("evt_3", "pay_1", "refunded", 30)).await;
    let payment = only_payment(&store, "pay_1").await;
    assert_eq!(
        (payment.payment.status.as_deref(), payment.payment.events),
        (Some("refunded"), 3)
    );
    let history: Vec<_> = payment
        .history
        .iter()
        .map(|e| (e.event_id.as_str(), e.effect))
        .collect();
    assert_eq!(
        history,
        [
            ("evt_3", Some("applied")),
            ("evt_2", Some("applied")),
            ("evt_1", Some("superseded"))
        ]
    );
}

pub(in crate::store) async fn the_ledger_hangs_on_the_set_of_events_alone(place: &Place) {
    let store = place.open().await;
    let statuses = ["pending", "authorized", "succeeded", "refunded", "disputed"];
    let mut outcomes = BTreeSet::new();
    for seed in 0..12 {
        let mut chance = Chance(seed);
        // Two events of each second, so that rank and id decide as well.
        let mut events: Vec<Event> = (0..10)
            .map(|n| {
                payment_event(
                    &format!("evt_{n}"),
                    "pay_1",
                    statuses[n % 5],
                    (n / 2) as i64 + 100,
                )
            })
            .collect();
        events.extend(events.clone().into_iter().take(4));
        chance.shuffle(&mut events);
        let tenant = format!("tenant-{seed}");
        let events: Vec<Event> = events
            .into_iter()
            .map(|e| of_tenant(e, &tenant, "payments-provider"))
            .collect();
        let (together, alone) = events.split_at(chance.below(events.len() as u64) as usize);
        if !together.is_empty() {
            store.accept(together.to_vec()).await.unwrap();
        }
        for event in alone {
            accept(&store, event.clone()).await;
        }
        let found = store
            .views()
            .payments_by_id(Some(&tenant), "pay_1")
            .await
            .unwrap();
        let payment = PaymentView {
            tenant_id: String::new(),
            ..found[0].payment.clone()
        };
        outcomes.insert(serde_json::to_string(&payment).unwrap());
    }
    assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
}

pub(in crate::store) async fn a_delivery_of_several_events_has_a_receipt_for_each(place: &Place) {
    let store = place.open().await;
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..with_body(event("evt_3"), "x")
    };
    let delivery = vec![
        event("evt_1"),
        event("evt_1"),
        with_body(event("evt_1"), "{}"),
        unreadable,
        event("evt_2"),
    ];
    let receipts = store.accept(delivery).await.unwrap();
    let expected = [
        Receipt::Accepted,
        Receipt::Duplicate,
        Receipt::Conflict,
        Receipt::Quarantined,
        Receipt::Accepted,
    ];
    assert_eq!(receipts, expected);
}

pub(in crate::store) async fn everything_is_there_after_a_restart(place: &Place) {
    let store = place.open().await;
    accept(&store, payment_event("evt_1", "pay_1", "succeeded", 5)).await;
    store.close().await;
    let store = place.open().await;
    assert_eq!(
        accept(&store, payment_event("evt_1", "pay_1", "succeeded", 5)).await,
        Receipt::Duplicate
    );
    assert_eq!(
        accept(&store, payment_event("evt_2", "pay_1", "refunded", 6)).await,
        Receipt::Accepted
    );
    assert_eq!(
        only_payment(&store, "pay_1")
            .await
            .payment
            .status
            .as_deref(),
        Some("refunded")
    );
}

pub(in crate::store) async fn deliveries_that_wait_together_are_each_kept_once(place: &Place) {
    let store = Arc::new(place.open().await);
    let mut senders = tokio::task::JoinSet::new();
    // Each event is sent three times, at once.
    for number in 0..600 {
        let store = Arc::clone(&store);
        let event = payment_event(
            &format!("evt_{}", number % 200),
            &format!("pay_{}", number % 7),
            "succeeded",
            5,
        );
        senders.spawn(async move { accept(&store, event).await });
    }
    let receipts = senders.join_all().await;
    assert_eq!(
        receipts
            .iter()
            .filter(|receipt| **receipt == Receipt::Accepted)
            .count(),
        200
    );
    assert_eq!(
        receipts
            .iter()
            .filter(|receipt| **receipt == Receipt::Duplicate)
            .count(),
        400
    );
    let payments = store.views().payments(all()).await.unwrap().items;
    assert_eq!(
        payments.iter().map(|payment| payment.events).sum::<u64>(),
        200
    );
    let events = store.views().events(all()).await.unwrap().items;
    assert_eq!(
        events.iter().map(|event| event.duplicates).sum::<u64>(),
        400
    );
}

pub(in crate::store) async fn lists_come_newest_first_in_pages(place: &Place) {
    let store = place.open().await;
    for number in 0..25 {
        let tenant = format!("tenant-{}", number % 3);
        let event = payment_event(
            &format!("evt_{number:02}"),
            &format!("pay_{number:02}"),
            "succeeded",
            5,
        );
        // Five share each second.
        accept(
            &store,
            of_tenant(received(event, 1000 + number / 5), &tenant, "p"),
        )
        .await;
    }
    let (mut events, mut payments) = (Vec::new(), Vec::new());
    let mut filter = Filter { limit: 4, ..all() };
    loop {
        let page = store.views().events(filter.clone()).await.unwrap();
        assert!(page.items.len() <= 4);
        events.extend(
            page.items
                .into_iter()
                .map(|event| (event.received_at, event.event_id)),
        );
        // A cursor survives being printed.
        let Some(next) = page.next else { break };
        filter.after = Some(next.to_string().parse().unwrap());
    }
    filter.after = None;
    loop {
        let page = store.views().payments(filter.clone()).await.unwrap();
        payments.extend(page.items.into_iter().map(|payment| payment.payment_id));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(events.len(), 25);
    assert!(events.windows(2).all(|pair| pair[0].0 >= pair[1].0));
    assert_eq!(
        events
            .iter()
            .map(|event| &event.1)
            .collect::<BTreeSet<_>>()
            .len(),
        25
    );
    assert_eq!(
        (
            payments.len(),
            payments.iter().collect::<BTreeSet<_>>().len()
        ),
        (25, 25)
    );
    assert_eq!(
        store
            .views()
            .events(Filter { limit: 25, ..all() })
            .await
            .unwrap()
            .next,
        None
    );
}

pub(in crate::store) async fn lists_are_filtered_by_tenant_and_time(place: &Place) {
    let store = place.open().await;
    for number in 0..10 {
        let tenant = if number % 2 == 0 { "even" } else { "odd" };
        let event = payment_event(
            &format!("evt_{number}"),
            &format!("pay_{number}"),
            "succeeded",
            5,
        );
        accept(
            &store,
            of_tenant(received(event, 1000 + number), tenant, "p"),
        )
        .await;
    }
    let filter = Filter {
        tenant: Some("odd".to_owned()),
        since: Some(at(1004)),
        ..all()
    };
    let events = store.views().events(filter.clone()).await.unwrap().items;
    assert_eq!(
        events
            .iter()
            .map(|event| event.event_id.as_str())
            .collect::<Vec<_>>(),
        ["evt_9", "evt_7", "evt_5"]
    );
    let payments = store.views().payments(filter).await.unwrap().items;
    let ids: Vec<_> = payments
        .iter()
        .map(|payment| payment.payment_id.as_str())
        .collect();
    assert_eq!(ids, ["pay_9", "pay_7", "pay_5"]);
    let nobody = Filter {
        tenant: Some("nobody".to_owned()),
        ..all()
    };
    assert!(store.views().events(nobody).await.unwrap().items.is_empty());
}

pub(in crate::store) async fn a_body_that_is_no_text_is_shown_in_base64(place: &Place) {
    let store = place.open().await;
    let binary = Event {
        standing: Standing::Quarantined,
        ..with_body(event("evt_1"), vec![0xff, 0, 1])
    };
    accept(&store, binary).await;
    let kept = only_event(&store, "evt_1").await;
    assert_eq!(
        (kept.body, kept.body_base64.as_deref()),
        (None, Some("/wAB"))
    );
}

pub(in crate::store) async fn a_closed_store_takes_nothing(place: &Place) {
    let store = place.open().await;
    assert!(store.ready().await.is_ok());
    store.close().await;
    assert!(matches!(
        store.accept(vec![event("evt_1")]).await,
        Err(InboxFailure::ShuttingDown)
    ));
}
