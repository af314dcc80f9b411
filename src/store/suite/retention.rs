//! The part of the contract that is about what has had its time.

use std::collections::HashMap;

use super::{all, only_event, only_payment};
use crate::inbox::{Event, Inbox, Receipt, Standing};
use crate::store::fixtures::*;
use crate::store::views::*;
use crate::store::{Clock, Keep, Prune, Pruned, Pruner, Retention, Store, Tally};

/// When the fixtures' events come, in seconds.
const CAME: i64 = 1_790_000_010;

fn keep(bodies: u32, events: u32, dedupe: u32) -> Keep {
    let days = |days| (days > 0).then_some(days);
    Keep {
        bodies_days: days(bodies),
        events_days: days(events),
        dedupe_days: days(dedupe),
    }
}

fn everybody(keep: Keep) -> Retention {
    Retention::new(keep, HashMap::new())
}

/// What a receiver lets go of so many days later, in a store where something came every few days.
async fn days_later(store: &Store, days: i64, retention: &Retention) -> Pruned {
    let witness = received(
        event(&format!("witness_{days}")),
        CAME + (days - 1) * DAY_SECONDS,
    );
    accept(store, of_tenant(witness, "witness", "p")).await;
    let now = at(CAME + days * DAY_SECONDS);
    store
        .prune(&mut Pruner::default(), retention, now)
        .await
        .unwrap()
}

fn went(pruned: &Pruned, tenant: &str) -> (u64, u64, u64) {
    let tally = pruned.tenants[tenant];
    (tally.bodies, tally.events, tally.keys)
}

async fn ids(store: &Store, tenant: &str) -> Vec<String> {
    let tenant = Some(tenant.to_owned());
    let events = store.views().events(Filter { tenant, ..all() }).await;
    let items = events.unwrap().items.into_iter();
    items.map(|event| event.event_id).collect()
}

pub(in crate::store) async fn a_body_that_has_had_its_time_goes_and_its_event_stays(place: &Place) {
    let store = place.open().await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    accept(&store, first.clone()).await;
    let before = only_event(&store, "evt_1").await;
    let payment = only_payment(&store, "pay_1").await;
    let retention = everybody(keep(30, 0, 0));

    let pruned = days_later(&store, 29, &retention).await;
    assert_eq!(pruned.total(), Tally::default());
    let pruned = days_later(&store, 32, &retention).await;
    assert_eq!(went(&pruned, "tenant-42"), (1, 0, 0));
    assert!(pruned.tenants["tenant-42"].bytes > 0);

    let kept = only_event(&store, "evt_1").await;
    assert_eq!(kept.event, before.event);
    let shown = serde_json::to_value(&kept).unwrap();
    assert_eq!(
        (&shown["body"], &shown["body_pruned"], &shown["headers"]),
        (&().into(), &true.into(), &serde_json::json!({}))
    );
    assert!(shown.as_object().unwrap().contains_key("body"));
    assert_eq!(only_payment(&store, "pay_1").await, payment);
    assert_eq!(accept(&store, first.clone()).await, Receipt::Duplicate);
    let other = with_body(first, "{\"id\":\"evt_1\",\"other\":1}");
    assert_eq!(accept(&store, other).await, Receipt::Conflict);
    // What came under the id now has its body.
    let both = store.views().events_by_id(None, "evt_1").await.unwrap();
    let pruned: Vec<_> = both.iter().map(|kept| kept.gone.is_some()).collect();
    assert_eq!(pruned, [true, false]);
}

pub(in crate::store) async fn a_forgotten_event_is_recognised_and_shown_nowhere(place: &Place) {
    let store = place.open().await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    let older = payment_event("evt_0", "pay_1", "pending", 1_780_000_000);
    let other = with_body(first.clone(), "other");
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..with_body(event("evt_3"), "not json")
    };
    for event in [&first, &older, &other, &unreadable] {
        accept(&store, event.clone()).await;
    }
    let payment = only_payment(&store, "pay_1").await;
    let retention = everybody(keep(0, 90, 400));
    let pruned = days_later(&store, 92, &retention).await;
    assert_eq!(went(&pruned, "tenant-42"), (4, 4, 0));

    assert!(ids(&store, "tenant-42").await.is_empty());
    for id in ["evt_0", "evt_1", "evt_3", ""] {
        let found = store.views().events_by_id(None, id).await.unwrap();
        assert!(found.is_empty(), "{id}: {found:?}");
    }
    let since = Filter {
        since: Some(at(-5_000_000_000)),
        tenant: Some("tenant-42".to_owned()),
        ..all()
    };
    assert!(store.views().events(since).await.unwrap().items.is_empty());
    let after = only_payment(&store, "pay_1").await;
    assert_eq!(after.payment, payment.payment);
    assert!(after.history.is_empty());

    assert_eq!(accept(&store, first.clone()).await, Receipt::Duplicate);
    assert_eq!(accept(&store, older).await, Receipt::Duplicate);
    assert_eq!(accept(&store, other).await, Receipt::Duplicate);
    assert_eq!(accept(&store, unreadable).await, Receipt::Quarantined);
    let third = with_body(first, "a third");
    assert_eq!(accept(&store, third).await, Receipt::Conflict);
    assert_eq!(ids(&store, "tenant-42").await, ["evt_1"]);
    assert_eq!(only_payment(&store, "pay_1").await.payment, payment.payment);
    // The ledger goes on from where it was.
    let next = payment_event("evt_4", "pay_1", "refunded", 1_795_000_000);
    accept(&store, received(next, CAME + 92 * DAY_SECONDS)).await;
    let after = only_payment(&store, "pay_1").await;
    assert_eq!((after.payment.events, after.history.len()), (3, 1));
    assert_eq!(after.payment.status.as_deref(), Some("refunded"));
}

pub(in crate::store) async fn what_recognises_an_event_goes_last(place: &Place) {
    let store = place.open().await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    accept(&store, first.clone()).await;
    let retention = everybody(keep(30, 90, 400));
    let mut seen = Vec::new();
    for days in [32, 92, 399, 402] {
        seen.push(went(
            &days_later(&store, days, &retention).await,
            "tenant-42",
        ));
    }
    assert_eq!(seen, [(1, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 1)]);
    // From then on it is new.
    let again = received(first, CAME + 402 * DAY_SECONDS);
    assert_eq!(accept(&store, again).await, Receipt::Accepted);
    let payment = only_payment(&store, "pay_1").await;
    assert_eq!((payment.payment.events, payment.history.len()), (2, 1));
}

pub(in crate::store) async fn a_key_that_is_not_kept_longer_goes_with_its_event(place: &Place) {
    let store = place.open().await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    accept(&store, first.clone()).await;
    let pruned = days_later(&store, 92, &everybody(keep(30, 90, 1))).await;
    assert_eq!(went(&pruned, "tenant-42"), (1, 1, 1));
    assert_eq!(accept(&store, first).await, Receipt::Accepted);
}

pub(in crate::store) async fn each_tenant_has_times_of_its_own(place: &Place) {
    let store = place.open().await;
    for tenant in ["short", "long", "forever", "gone"] {
        accept(&store, of_tenant(event("evt_1"), tenant, "p")).await;
    }
    let own = [
        ("short", keep(30, 60, 0)),
        ("long", keep(365, 0, 0)),
        ("forever", keep(0, 0, 0)),
    ];
    let own = own.map(|(tenant, keep)| (tenant.into(), keep));
    let retention = Retention::new(keep(90, 0, 0), HashMap::from(own));
    let pruned = days_later(&store, 93, &retention).await;
    assert_eq!(went(&pruned, "short"), (1, 1, 0));
    assert_eq!(went(&pruned, "long"), (0, 0, 0));
    assert_eq!(went(&pruned, "forever"), (0, 0, 0));
    // One that is not configured any more follows the store.
    assert_eq!(went(&pruned, "gone"), (1, 0, 0));
    let pruned = days_later(&store, 20_000, &retention).await;
    assert_eq!(went(&pruned, "long"), (1, 0, 0));
    assert_eq!(went(&pruned, "forever"), (0, 0, 0));
}

/// Two tenants with the same events at the same times, of which one keeps everything longer.
pub(in crate::store) async fn what_goes_of_a_tenant_is_its_own_and_has_had_its_time(place: &Place) {
    let store = place.open().await;
    let young = CAME + 50 * DAY_SECONDS;
    let came = [("old", CAME), ("young", young)]
        .map(|(id, second)| received(payment_event(id, "pay_1", "pending", second), second));
    for tenant in ["short", "long"] {
        for event in &came {
            accept(&store, of_tenant(event.clone(), tenant, "p")).await;
        }
    }
    let own = HashMap::from([("long".into(), keep(200, 300, 400))]);
    let retention = Retention::new(keep(30, 60, 90), own);
    // Of each, the events that are there, and those that have their bodies.
    let left = async || {
        let mut left = Vec::new();
        for tenant in ["short", "long"] {
            let mut events = Vec::new();
            for id in ["old", "young"] {
                let found = store.views().events_by_id(Some(tenant), id).await.unwrap();
                events.extend(found.iter().map(|event| event.body.is_some()));
            }
            left.push(events);
        }
        left
    };
    let both = vec![true, true];
    days_later(&store, 53, &retention).await;
    assert_eq!(left().await, [vec![false, true], both.clone()]);
    days_later(&store, 63, &retention).await;
    assert_eq!(left().await, [vec![true], both.clone()]);
    days_later(&store, 83, &retention).await;
    assert_eq!(left().await, [vec![false], both.clone()]);
    // Both are forgotten, and of one the key goes in the same pass.
    days_later(&store, 122, &retention).await;
    assert_eq!(left().await, [vec![], both]);
    for (tenant, expected) in [
        ("short", [Receipt::Accepted, Receipt::Duplicate]),
        ("long", [Receipt::Duplicate, Receipt::Duplicate]),
    ] {
        for (event, expected) in came.iter().zip(expected) {
            let again = of_tenant(event.clone(), tenant, "p");
            assert_eq!(accept(&store, again).await, expected, "{tenant}");
        }
    }
    // And its keys, while the other's stay although they would have had their time there.
    days_later(&store, 303, &retention).await;
    days_later(&store, 353, &retention).await;
    let again = of_tenant(came[1].clone(), "long", "p");
    assert_eq!(accept(&store, again).await, Receipt::Duplicate);
}

pub(in crate::store) async fn a_rehearsal_tells_what_would_go_and_lets_nothing_go(place: &Place) {
    let store = place.open().await;
    for number in 0..5 {
        let event = received(
            event(&format!("evt_{number}")),
            CAME + number * 10 * DAY_SECONDS,
        );
        accept(&store, event.clone()).await;
        accept(&store, of_tenant(event, "other", "p")).await;
    }
    let witness = received(event("evt_9"), CAME + 51 * DAY_SECONDS);
    accept(&store, of_tenant(witness, "witness", "p")).await;
    let retention = everybody(keep(20, 40, 50));
    let now = at(CAME + 52 * DAY_SECONDS);
    let prune = Prune {
        tenant: Some("tenant-42".to_owned()),
        clock: Clock::Doubted,
    };
    let told = prune.rehearse(&place.url, &retention, now).await.unwrap();
    assert_eq!(told.tenants.len(), 1);
    assert_eq!(went(&told, "tenant-42"), (4, 2, 1));
    assert_eq!(ids(&store, "tenant-42").await.len(), 5);
    // A command beside the receiver, and only what it asks for.
    let pruned = prune.run(&place.url, &retention, now).await.unwrap();
    assert!(pruned.went_through && !told.went_through);
    let as_told = Pruned {
        went_through: true,
        ..told
    };
    assert_eq!(pruned, as_told);
    assert_eq!(ids(&store, "tenant-42").await.len(), 3);
    assert_eq!(ids(&store, "other").await.len(), 5);
    let again = prune.run(&place.url, &retention, now).await.unwrap();
    assert_eq!(again.total(), Tally::default());
    // The receiver's own connections see it, and go on.
    assert_eq!(accept(&store, event("evt_0")).await, Receipt::Accepted);
    let second = received(event("evt_1"), CAME + 10 * DAY_SECONDS);
    assert_eq!(accept(&store, second).await, Receipt::Duplicate);
}

pub(in crate::store) async fn a_clock_that_jumps_ahead_empties_no_store(place: &Place) {
    let store = place.open().await;
    accept(&store, event("evt_1")).await;
    let retention = everybody(keep(30, 60, 90));
    let jumped = at(CAME + 3650 * DAY_SECONDS);
    let mut pruner = Pruner::default();
    let pruned = store.prune(&mut pruner, &retention, jumped).await.unwrap();
    assert_eq!((pruned.total(), pruned.held_back), (Tally::default(), true));
    // What comes under the wrong clock is no witness to it before a day has passed.
    accept(&store, received(event("evt_2"), CAME + 3650 * DAY_SECONDS)).await;
    let soon = at(CAME + 3650 * DAY_SECONDS + DAY_SECONDS / 2);
    let mut after_a_restart = Pruner::default();
    let pruned = store.prune(&mut after_a_restart, &retention, soon).await;
    let pruned = pruned.unwrap();
    assert_eq!((pruned.total(), pruned.held_back), (Tally::default(), true));
    assert_eq!(ids(&store, "tenant-42").await.len(), 2);
    let prune = Prune {
        tenant: None,
        clock: Clock::Trusted,
    };
    let pruned = prune.run(&place.url, &retention, soon).await.unwrap();
    assert_eq!(went(&pruned, "tenant-42"), (1, 1, 1));
    assert!(!pruned.held_back);
}

pub(in crate::store) async fn nor_does_one_that_jumps_again_to_where_events_bear_it_out(
    place: &Place,
) {
    let store = place.open().await;
    for number in 0..5 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    let retention = everybody(keep(7, 14, 14));
    let mut pruner = Pruner::default();
    let mut prune = async |now| store.prune(&mut pruner, &retention, at(now)).await.unwrap();
    let pruned = prune(CAME + 1).await;
    assert_eq!((pruned.total(), pruned.known), (Tally::default(), None));
    // A moment under a wrong clock is enough for an event that is a witness to a later one.
    accept(&store, received(event("evt_5"), CAME + 40 * DAY_SECONDS)).await;
    assert_eq!(prune(CAME + 60).await.total(), Tally::default());
    let pruned = prune(CAME + 42 * DAY_SECONDS).await;
    assert_eq!((pruned.total(), pruned.held_back), (Tally::default(), true));
    let known = pruned.known.unwrap().as_second();
    assert!((CAME..CAME + 3600).contains(&known), "{pruned:?}");
    assert_eq!(ids(&store, "tenant-42").await.len(), 6);
    assert_eq!(accept(&store, event("evt_0")).await, Receipt::Duplicate);
    assert!(!prune(CAME + 120).await.held_back);
}

pub(in crate::store) async fn nothing_goes_unless_it_is_asked_for(place: &Place) {
    let store = place.open().await;
    accept(&store, event("evt_1")).await;
    let pruned = days_later(&store, 30_000, &Retention::default()).await;
    assert_eq!(pruned.total(), Tally::default());
    let pruned = days_later(&store, 30_100, &everybody(keep(0, 0, 30))).await;
    assert_eq!(pruned.total(), Tally::default());
    assert!(only_event(&store, "evt_1").await.body.is_some());
}

pub(in crate::store) async fn many_steps_let_go_what_has_had_its_time_and_no_more(place: &Place) {
    let store = place.open().await;
    // Those of odd numbers are younger.
    let events = (0..2400_i64).map(|number| {
        let event = payment_event(&format!("evt_{number}"), "pay_1", "succeeded", number);
        received(event, CAME + (number % 2) * 50 * DAY_SECONDS + number)
    });
    let events: Vec<Event> = events.collect();
    for delivery in events.chunks(200) {
        store.accept(delivery.to_vec()).await.unwrap();
    }
    let payment = only_payment(&store, "pay_1").await.payment;
    let retention = everybody(keep(30, 60, 0));
    assert_eq!(
        went(&days_later(&store, 53, &retention).await, "tenant-42"),
        (1200, 0, 0)
    );
    let pruning = days_later(&store, 63, &retention);
    let delivering = async {
        let mut receipts = Vec::new();
        for event in events.iter().step_by(20) {
            receipts.push(accept(&store, event.clone()).await);
        }
        receipts
    };
    let (pruned, receipts) = tokio::join!(pruning, delivering);
    assert!(
        receipts
            .iter()
            .all(|receipt| *receipt == Receipt::Duplicate)
    );
    // What a delivery held is passed over, and goes the next time.
    let more = days_later(&store, 64, &retention).await;
    let forgotten = went(&pruned, "tenant-42").1 + went(&more, "tenant-42").1;
    assert_eq!(forgotten, 1200);
    assert_eq!(only_payment(&store, "pay_1").await.payment, payment);
    let young = only_event(&store, "evt_2399").await;
    assert!(young.body.is_some());
}

pub(in crate::store) async fn what_a_store_takes_on_disk_is_told(place: &Place) {
    let store = place.open().await;
    let before = store.views().disk_use().await.unwrap();
    for number in 0..8 {
        // Nothing that could be compressed away.
        let mut chance = Chance(number);
        let body: Vec<u8> = (0..200_000).map(|_| chance.below(256) as u8).collect();
        accept(&store, with_body(event(&format!("evt_{number}")), body)).await;
    }
    let after = store.views().disk_use().await.unwrap();
    let all = |disk: crate::store::DiskUse| disk.store + disk.log.unwrap_or(0);
    assert!(all(after) > all(before) + 1_500_000, "{before:?} {after:?}");
    assert!(after.bodies.is_none_or(|bodies| bodies > 1_500_000));
}
