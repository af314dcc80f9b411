//! A replay where tenants and producers share the ids of events and payments: each has what its own events come to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;

use crate::inbox::{Event, Inbox, Receipt, Standing};
use crate::signature::builtin;
use crate::store::fixtures::*;
use crate::store::replay::asked::{Mappings, OnProgress, Replay, ReplayMode};
use crate::store::replay::outcome::{PaymentState, Replayed};
use crate::store::{Clock, Filter, Keep, Prune, Retention, Store, Url};

const TENANTS: [&str; 2] = ["tenant-42", "tenant-43"];
const PRODUCERS: [&str; 2] = ["p", "q"];
const PAYMENTS: [&str; 5] = ["pay_1", "pay_2", "pay_3", "pay_4", "pay_5"];
const STATUSES: [&str; 4] = ["pending", "authorized", "succeeded", "refunded"];
/// When the first event comes.
const BEGAN: i64 = 1_790_000_000;
const ALL: Replay = Replay {
    since: Timestamp::UNIX_EPOCH,
    tenant: None,
    producer: None,
    mode: ReplayMode::Commit,
};

/// Makes stores of one engine.
type Places = fn() -> Option<Place>;
/// Every engine; of PostgreSQL none where there is none to test with.
const ENGINES: [Places; 2] = [|| Some(Place::sqlite()), Place::postgres];

/// An event as the mapping of today reads its body.
fn told(id: &str, payment: &str, status: &str, second: i64) -> Event {
    let body = format!(
        r#"{{"id":"{id}","type":"payment.{status}","created":{second},"data":{{"payment_id":"{payment}","amount":1999,"currency":"EUR","status":"{status}"}}}}"#
    );
    with_body(payment_event(id, payment, status, second), body)
}

/// What came, as it should have been read and as an older mapping read it.
fn deliveries(seed: u64, count: i64) -> Vec<(Event, Event)> {
    let mut chance = Chance(seed);
    let mut one_of = |names: &[&'static str]| names[chance.below(names.len() as u64) as usize];
    let ids: Vec<String> = (0..count * 2 / 3)
        .map(|number| format!("evt_{number}"))
        .collect();
    let mut came = Vec::new();
    for number in 0..count {
        let (tenant, producer) = (one_of(&TENANTS), one_of(&PRODUCERS));
        let id = &ids[(number * 7 % (count * 2 / 3)) as usize];
        let second = BEGAN + number * 7 % 50;
        let event = told(id, one_of(&PAYMENTS), one_of(&STATUSES), second);
        let event = received(of_tenant(event, tenant, producer), BEGAN + number);
        let old = match number % 5 {
            0 => Event {
                payment: None,
                ..event.clone()
            },
            1 => event.clone(),
            _ => Event {
                payment: payment_event("", one_of(&PAYMENTS), one_of(&STATUSES), 0).payment,
                kind: Some("otherwise".into()),
                ..event.clone()
            },
        };
        came.push((event, old));
    }
    came
}

async fn filled(place: &Place, events: impl Iterator<Item = Event>) -> Store {
    let store = place.open().await;
    for event in events {
        accept(&store, event).await;
    }
    store
}

fn mappings() -> Mappings {
    let mut mappings = Mappings::default();
    let profile = builtin().get("timestamped").unwrap();
    for tenant in TENANTS {
        for producer in PRODUCERS {
            mappings.insert(tenant, producer, Arc::clone(profile));
        }
    }
    mappings
}

async fn replay(url: &Url, asked: &Replay) -> Replayed {
    let replayed = asked.clone().run(url, mappings(), Box::new(|_, _| {}));
    replayed.await.unwrap()
}

/// What is told of one tenant: its events, its payments by their ids, and the ids in the order in which they changed.
type Shown = (Value, Vec<Value>, Vec<String>);

async fn shown(store: &Store, tenant: &str) -> Shown {
    let filter = Filter {
        tenant: Some(tenant.to_owned()),
        limit: 500,
        ..Filter::default()
    };
    let events = store.views().events(filter.clone()).await.unwrap().items;
    let changed = store.views().payments(filter).await.unwrap().items;
    let changed = changed.into_iter().map(|payment| payment.payment_id);
    let mut payments = Vec::new();
    for id in PAYMENTS {
        let found = store.views().payments_by_id(Some(tenant), id).await;
        payments.push(serde_json::to_value(found.unwrap()).unwrap());
    }
    let events = serde_json::to_value(events).unwrap();
    (events, payments, changed.collect())
}

/// Whether this is the state of the payment that is shown; of none, none is.
fn is_shown(state: Option<&PaymentState>, shown: &Shown, payment_id: &str) -> bool {
    let number = PAYMENTS.iter().position(|id| *id == payment_id).unwrap();
    let shown = &shown.1[number];
    match state {
        None => *shown == serde_json::json!([]),
        Some(state) => {
            let state = serde_json::to_value(state).unwrap();
            let mut fields = state.as_object().unwrap().iter();
            fields.all(|(name, value)| shown[0][name] == *value)
        }
    }
}

#[tokio::test]
async fn a_replay_comes_to_what_a_new_store_would_have() {
    for (places, seed) in ENGINES
        .into_iter()
        .flat_map(|of| [(of, 1), (of, 2), (of, 3)])
    {
        let came = deliveries(seed, 120);
        let (Some(new), Some(old)) = (places(), places()) else {
            continue;
        };
        let right = filled(&new, came.iter().map(|(event, _)| event.clone())).await;
        let store = filled(&old, came.iter().map(|(_, old)| old.clone())).await;
        let before = [
            shown(&store, TENANTS[0]).await,
            shown(&store, TENANTS[1]).await,
        ];
        let expected = [
            shown(&right, TENANTS[0]).await,
            shown(&right, TENANTS[1]).await,
        ];
        assert_ne!(before, expected);

        let dry_run = Replay {
            mode: ReplayMode::DryRun,
            ..ALL
        };
        let told = replay(&old.url, &dry_run).await;
        assert_eq!(shown(&store, TENANTS[0]).await, before[0]);
        assert_eq!(shown(&store, TENANTS[1]).await, before[1]);
        // One tenant's alone, and then the other's.
        let mut changed = 0;
        for (replayed, now) in [
            (0, [&expected[0], &before[1]]),
            (1, [&expected[0], &expected[1]]),
        ] {
            let tenant = Some(TENANTS[replayed].to_owned());
            changed += replay(&old.url, &Replay { tenant, ..ALL })
                .await
                .payments_changed;
            assert_eq!(&shown(&store, TENANTS[0]).await, now[0], "{seed}");
            assert_eq!(&shown(&store, TENANTS[1]).await, now[1], "{seed}");
        }
        assert_eq!(told.payments_changed, changed);
        assert_eq!(told.changes.len() as u64, changed);
        for change in &told.changes {
            let tenant = usize::from(change.tenant_id == TENANTS[1]);
            let (was, is) = (change.before.as_ref(), change.after.as_ref());
            assert!(
                is_shown(was, &before[tenant], &change.payment_id)
                    && is_shown(is, &expected[tenant], &change.payment_id),
                "{change:?}"
            );
        }
        let again = replay(&old.url, &ALL).await;
        assert_eq!((again.events_changed, again.payments_changed), (0, 0));
    }
}

#[tokio::test]
async fn a_damaged_payment_is_made_anew_and_no_other_is_touched() {
    for place in ENGINES.into_iter().filter_map(|places| places()) {
        let came = deliveries(9, 60);
        let store = filled(&place, came.into_iter().map(|(event, _)| event)).await;
        let before = [
            shown(&store, TENANTS[0]).await,
            shown(&store, TENANTS[1]).await,
        ];
        place.change(
            "UPDATE payments SET status = 'nothing', amount_minor = 1, events = 1, state = 'damaged'
             WHERE tenant = 2 AND payment_id = 'pay_2'",
            "UPDATE countersign.payments SET status = 'nothing', amount_minor = NULL, events = 1
             WHERE tenant_id = 'tenant-43' AND payment_id = 'pay_2'",
        );
        assert_ne!(shown(&store, TENANTS[1]).await, before[1]);
        let replayed = replay(&place.url, &ALL).await;
        assert_eq!((replayed.events_changed, replayed.payments_changed), (0, 1));
        assert_eq!(shown(&store, TENANTS[0]).await, before[0]);
        assert_eq!(shown(&store, TENANTS[1]).await, before[1]);
    }
}

/// Takes the body of the first tenant's event away.
fn prune_body(place: &Place, id: &str) {
    place.change(
        &format!("DELETE FROM bodies WHERE event = (SELECT event FROM events WHERE tenant = 1 AND event_id = '{id}')"),
        &format!(
            "DELETE FROM countersign.bodies WHERE (tenant_id, key) = (
                 SELECT tenant_id, key FROM countersign.events WHERE tenant_id = 'tenant-42' AND event_id = '{id}')"
        ),
    );
}

#[tokio::test]
async fn what_cannot_be_made_anew_holds_up_nothing_of_another_tenant() {
    for places in ENGINES {
        let (Some(new), Some(old)) = (places(), places()) else {
            continue;
        };
        let mut came = Vec::new();
        for tenant in TENANTS {
            for (number, payment, was) in [
                (0, "pay_1", "pay_1"),
                (1, "pay_1", "pay_2"),
                (2, "pay_3", "pay_4"),
                (3, "pay_5", "pay_1"),
            ] {
                let id = format!("evt_{number}");
                let event = told(&id, payment, "succeeded", BEGAN + number);
                let event = received(of_tenant(event, tenant, "p"), BEGAN + number);
                let facts = payment_event("", was, "pending", 0).payment;
                came.push((
                    event.clone(),
                    Event {
                        payment: facts,
                        ..event
                    },
                ));
            }
        }
        let right = filled(&new, came.iter().map(|(event, _)| event.clone())).await;
        let store = filled(&old, came.iter().map(|(_, old)| old.clone())).await;
        let before = shown(&store, TENANTS[0]).await;
        // Of the first tenant, an event of pay_1 lacks its body: pay_2 must keep what would move there, and pay_5, which is not there
        // yet, does not get what would move from there. pay_3 has nothing to do with it.
        prune_body(&old, "evt_0");
        let replayed = replay(&old.url, &ALL).await;
        let skipped: Vec<_> = replayed
            .skipped
            .iter()
            .map(|skipped| (&*skipped.tenant_id, skipped.payment_id.as_str()))
            .collect();
        let first = |payment| (TENANTS[0], payment);
        assert_eq!(skipped, ["pay_1", "pay_2", "pay_5"].map(first));
        assert_eq!((replayed.payments_skipped, replayed.events_left), (3, 3));
        assert_eq!(replayed.events_changed, 5);
        assert_eq!(
            shown(&store, TENANTS[1]).await,
            shown(&right, TENANTS[1]).await
        );
        let (after, expected) = (
            shown(&store, TENANTS[0]).await,
            shown(&right, TENANTS[0]).await,
        );
        for (number, as_before) in [true, true, false, false, true].into_iter().enumerate() {
            let like = if as_before { &before } else { &expected };
            assert_eq!(after.1[number], like.1[number], "{}", PAYMENTS[number]);
        }
    }
}

#[tokio::test]
async fn of_many_damaged_payments_each_is_made_anew_that_can_be() {
    for place in ENGINES.into_iter().filter_map(|places| places()) {
        let store = place.open().await;
        for tenant in TENANTS {
            for first in (0..600).step_by(100) {
                let numbers = first..first + 100;
                let events = numbers.map(|number| {
                    let (id, payment) = (format!("evt_{number}"), format!("pay_{number}"));
                    let event = told(&id, &payment, "succeeded", BEGAN + number);
                    received(of_tenant(event, tenant, "p"), BEGAN + number)
                });
                store.accept(events.collect()).await.unwrap();
            }
            let again = told("evt_again", "pay_7", "succeeded", BEGAN);
            accept(&store, of_tenant(again, tenant, "p")).await;
        }
        place.change(
            "UPDATE payments SET status = 'nothing', state = 'damaged'",
            "UPDATE countersign.payments SET status = 'nothing'",
        );
        prune_body(&place, "evt_7");
        let replayed = replay(&place.url, &ALL).await;
        let skipped = &replayed.skipped[..];
        assert!(
            matches!(skipped, [one] if one.tenant_id == TENANTS[0] && one.payment_id == "pay_7"),
            "{skipped:?}"
        );
        assert_eq!((replayed.events_read, replayed.events_left), (1202, 1));
        assert_eq!(replayed.payments_changed, 1199);
        for (tenant, damaged) in TENANTS.into_iter().zip([&["pay_7"][..], &[]]) {
            let mut filter = Filter {
                tenant: Some(tenant.to_owned()),
                ..Filter::default()
            };
            let mut payments = Vec::new();
            loop {
                let page = store.views().payments(filter.clone()).await.unwrap();
                payments.extend(page.items);
                filter.after = page.next;
                if filter.after.is_none() {
                    break;
                }
            }
            assert_eq!(payments.len(), 600);
            payments.retain(|payment| payment.status.as_deref() != Some("succeeded"));
            let left = payments.iter().map(|payment| payment.payment_id.as_str());
            assert_eq!(left.collect::<Vec<_>>(), damaged);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_not_made_of_the_rest_when_one_of_its_events_is_forgotten_meanwhile() {
    for place in ENGINES.into_iter().filter_map(|places| places()) {
        let store = place.open().await;
        let young = BEGAN + 100 * DAY_SECONDS;
        // The old ones are forgotten: one that would move, and one of which nothing is otherwise.
        for (tenant, id, payment, was, second) in [
            (TENANTS[0], "evt_1", "pay_1", Some("pay_2"), BEGAN),
            (TENANTS[0], "evt_2", "pay_1", Some("pay_3"), young),
            (TENANTS[0], "evt_3", "pay_4", Some("pay_5"), young),
            (TENANTS[0], "evt_4", "pay_5", None, BEGAN),
            (TENANTS[1], "evt_3", "pay_4", Some("pay_5"), young),
        ] {
            let mut event = told(id, payment, "succeeded", second);
            if let Some(was) = was {
                event.payment = payment_event("", was, "pending", 0).payment;
            }
            let event = received(of_tenant(event, tenant, "p"), second);
            assert_eq!(accept(&store, event).await, Receipt::Accepted);
        }
        let mut before = shown(&store, TENANTS[0]).await.1;
        let keep = Keep {
            events_days: Some(150),
            ..Keep::default()
        };
        let (url, mut retention) = (
            place.url.clone(),
            Some(Retention::new(keep, HashMap::new())),
        );
        let forget: OnProgress = Box::new(move |_, _| {
            let Some(retention) = retention.take() else {
                return;
            };
            let url = url.clone();
            let pruning = std::thread::spawn(move || {
                let prune = Prune {
                    tenant: None,
                    clock: Clock::Trusted,
                };
                let now = at(BEGAN + 200 * DAY_SECONDS);
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let pruned = runtime.block_on(prune.run(&url, &retention, now));
                assert_eq!(pruned.unwrap().total().events, 2);
            });
            pruning.join().unwrap();
        });
        let replayed = ALL.run(&place.url, mappings(), forget).await.unwrap();
        let skipped = replayed.skipped.iter().map(|skipped| &*skipped.payment_id);
        assert_eq!(
            skipped.collect::<Vec<_>>(),
            ["pay_1", "pay_3", "pay_4", "pay_5"]
        );
        assert_eq!((replayed.events_read, replayed.events_changed), (5, 1));
        // Only what is forgotten is shown no more.
        before[1][0]["history"] = serde_json::json!([]);
        let history = before[4][0]["history"].as_array_mut().unwrap();
        history.retain(|event| event["event_id"] != "evt_4");
        assert_eq!(shown(&store, TENANTS[0]).await.1, before);
        let after = shown(&store, TENANTS[1]).await.1;
        assert_eq!(after[3][0]["events"], 1);
        assert_eq!(after[4], serde_json::json!([]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_of_an_event_is_written_to_no_other_that_has_its_number_by_now() {
    // What PostgreSQL keeps has no number.
    let now = BEGAN + 200 * DAY_SECONDS;
    // Another event, wherever the clock stands by then; or the same with another body, for it is recognised no more.
    for (id, second) in [("evt_2", BEGAN), ("evt_1", now)] {
        let place = Place::sqlite();
        let store = Arc::new(place.open().await);
        let misread = Event {
            payment: payment_event("", "pay_2", "pending", 0).payment,
            ..told("evt_1", "pay_1", "succeeded", BEGAN)
        };
        let misread = received(of_tenant(misread, TENANTS[0], "p"), BEGAN);
        assert_eq!(accept(&store, misread).await, Receipt::Accepted);
        let next = received(told(id, "pay_3", "authorized", second), second);
        let mut next = Some(of_tenant(next, TENANTS[0], "p"));
        let keep = Keep {
            events_days: Some(150),
            dedupe_days: Some(150),
            ..Keep::default()
        };
        let retention = Retention::new(keep, HashMap::new());
        let (runtime, receiver) = (tokio::runtime::Handle::current(), Arc::clone(&store));
        let url = place.url.clone();
        let forget: OnProgress = Box::new(move |_, _| {
            let Some(next) = next.take() else { return };
            let prune = Prune {
                tenant: None,
                clock: Clock::Trusted,
            };
            let pruned = runtime.block_on(prune.run(&url, &retention, at(now)));
            assert_eq!(pruned.unwrap().total().keys, 1);
            let receipt = runtime.block_on(accept(&receiver, next));
            assert_eq!(receipt, Receipt::Accepted);
        });
        let replayed = ALL.run(&place.url, mappings(), forget).await.unwrap();
        let skipped = replayed.skipped.iter().map(|skipped| &*skipped.payment_id);
        assert_eq!(skipped.collect::<Vec<_>>(), ["pay_1"]);
        assert_eq!((replayed.events_changed, replayed.payments_changed), (0, 0));
        let (_, payments, _) = shown(&store, TENANTS[0]).await;
        assert_eq!(payments[0], serde_json::json!([]));
        assert_eq!(payments[2][0]["status"], "authorized");
        assert_eq!(payments[2][0]["events"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_it_reads_is_read_as_well() {
    // Of PostgreSQL the whole binary says so: it tells how far it is where nobody may wait.
    let place = Place::sqlite();
    let misread = |id: &str| {
        let event = Event {
            payment: payment_event("", "pay_2", "pending", 0).payment,
            ..told(id, "pay_1", "succeeded", BEGAN)
        };
        of_tenant(event, TENANTS[0], "p")
    };
    let store = Arc::new(place.open().await);
    accept(&store, misread("evt_1")).await;
    let mut late = Some(misread("evt_2"));
    let (runtime, receiver) = (tokio::runtime::Handle::current(), Arc::clone(&store));
    let deliver: OnProgress = Box::new(move |_, _| {
        if let Some(event) = late.take() {
            let receipt = runtime.block_on(accept(&receiver, event));
            assert_eq!(receipt, Receipt::Accepted);
        }
    });
    let replayed = ALL.run(&place.url, mappings(), deliver).await.unwrap();
    assert_eq!((replayed.events_read, replayed.events_changed), (2, 2));
    let (_, payments, _) = shown(&store, TENANTS[0]).await;
    assert_eq!(payments[0][0]["events"], 2);
    assert_eq!(payments[1], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_it_looks_at_payments_is_read_without_the_lock() {
    let place = Arc::new(Place::sqlite());
    let told = |id: &str, payment: &str| {
        let event = told(id, payment, "succeeded", BEGAN);
        of_tenant(event, TENANTS[0], "p")
    };
    let store = Arc::new(place.open().await);
    accept(&store, told("evt_1", "pay_1")).await;
    let (runtime, receiver) = (tokio::runtime::Handle::current(), Arc::clone(&store));
    let (here, late) = (Arc::clone(&place), told("evt_2", "pay_2"));
    // What is read under the lock is not told.
    let read = Arc::new(Mutex::new(Vec::new()));
    let progress: OnProgress = Box::new({
        let read = Arc::clone(&read);
        move |events, _| {
            let mut read = read.lock().unwrap();
            read.push(events);
            if read.len() == 1 {
                runtime.block_on(accept(&receiver, late.clone()));
            } else {
                // Nobody looks at it any more: the last reading has no look behind it, in which more could come.
                here.change(
                    "UPDATE payments SET status = 'nothing', state = 'damaged'",
                    "",
                );
            }
        }
    });
    let replayed = ALL.run(&place.url, mappings(), progress).await.unwrap();
    assert_eq!(*read.lock().unwrap(), [1, 2]);
    assert_eq!((replayed.events_read, replayed.payments_changed), (2, 0));
    assert_eq!(replay(&place.url, &ALL).await.payments_changed, 2);
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_read() {
    for place in ENGINES.into_iter().filter_map(|places| places()) {
        let store = place.open().await;
        for (tenant, producer, second) in [
            ("tenant-42", "p", 10),
            ("tenant-42", "q", 20),
            ("tenant-43", "p", 30),
        ] {
            let event = told("evt_1", "pay_1", "pending", BEGAN);
            let event = received(of_tenant(event, tenant, producer), second);
            assert_eq!(accept(&store, event).await, Receipt::Accepted);
        }
        let aside = Event {
            standing: Standing::Quarantined,
            ..event("evt_2")
        };
        assert_eq!(accept(&store, aside).await, Receipt::Quarantined);
        let read = async |since, tenant: Option<&str>, producer: Option<&str>| {
            let asked = Replay {
                since: at(since),
                tenant: tenant.map(str::to_owned),
                producer: producer.map(str::to_owned),
                ..ALL
            };
            replay(&place.url, &asked).await.events_read
        };
        assert_eq!(read(0, None, None).await, 3);
        assert_eq!(read(20, None, None).await, 2);
        assert_eq!(read(21, None, None).await, 1);
        assert_eq!(read(31, None, None).await, 0);
        assert_eq!(read(0, Some("tenant-42"), None).await, 2);
        assert_eq!(read(0, None, Some("p")).await, 2);
        assert_eq!(read(20, Some("tenant-42"), Some("p")).await, 0);
    }
}
