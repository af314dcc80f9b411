//! One event after another takes the way of plain batches, a delivery of many that of folded ones: both write what the embedded
//! store writes.

use super::tests::server;
use crate::inbox::{Event, Inbox, Limits, Receipt, Standing};
use crate::store::aside::EventWhole;
use crate::store::fixtures::{Chance, Place, accept, event, payment_event, received, with_body};
use crate::store::views::Filter;
use crate::store::{EventView, PaymentView, Store};

const SCHEDULES: u64 = 12;
const EVENTS: u64 = 60;
/// Three times what a delivery may tell.
const LARGE: u64 = 12_288;
const STATUSES: [&str; 5] = ["pending", "authorized", "succeeded", "refunded", "failed"];

/// Fails where a body was written for what was known already.
const ONE_BODY_EACH: &str = "DO $$ BEGIN
    ASSERT (SELECT count(*) FROM countersign.bodies) = (SELECT count(*) FROM countersign.events);
END $$";

/// Few ids, bodies and payments, so that they meet; each with a time of receipt of its own.
fn events(chance: &mut Chance) -> Vec<Event> {
    let one = |at: u64| {
        let id = format!("evt_{}", chance.below(25));
        let number = chance.below(25);
        let event = match chance.below(10) {
            0 => event(&id),
            1 => Event {
                standing: Standing::Quarantined,
                ..with_body(event(&id), format!("no JSON {number}"))
            },
            2 => with_body(event(&id), format!("{{\"other\":{}}}", chance.below(2))),
            _ => {
                let status = STATUSES[chance.below(5) as usize];
                let payment = format!("pay_{}", chance.below(4));
                payment_event(&id, &payment, status, chance.below(6) as i64)
            }
        };
        received(event, 1_790_000_000 + at as i64)
    };
    (0..EVENTS).map(one).collect()
}

#[tokio::test]
async fn what_a_batch_takes_does_not_grow_with_the_square_of_its_events() {
    let Some(url) = server::fresh_database() else {
        return;
    };
    let store = Store::open(&url.parse().unwrap(), Limits::default())
        .await
        .unwrap();
    // Within the bound of a statement. By the square it would take a minute: an event is looked for among all before it where no word
    // of it stands.
    let delivery: Vec<Event> = (0..LARGE)
        .map(|number| {
            let id = format!("evt_{number}");
            payment_event(&id, "pay_1", "pending", (number % 977) as i64)
        })
        .collect();
    for expected in [Receipt::Accepted, Receipt::Duplicate] {
        let receipts = store.accept(delivery.clone()).await.unwrap();
        assert_eq!(receipts, vec![expected; delivery.len()]);
    }
    let kept = store.views().payments_by_id(None, "pay_1").await.unwrap();
    assert_eq!(kept[0].payment.events, LARGE);
}

/// Lists, and each event whole, with its body and what stands beside it.
async fn told(store: &Store) -> (Vec<EventView>, Vec<EventWhole>, Vec<PaymentView>) {
    let views = store.views();
    let events = views.events(Filter::default()).await.unwrap().items;
    let mut whole = Vec::new();
    for number in 0..25 {
        let id = format!("evt_{number}");
        whole.extend(views.whole_events_by_id(None, &id).await.unwrap());
    }
    let mut payments = views.payments(Filter::default()).await.unwrap().items;
    payments.sort_by(|a, b| a.payment_id.cmp(&b.payment_id));
    (events, whole, payments)
}

#[tokio::test]
async fn plain_and_folded_batches_write_what_the_embedded_store_writes() {
    for seed in 0..SCHEDULES {
        let mut chance = Chance(seed);
        let events = events(&mut chance);
        let (Some(plain_url), Some(folded_url)) =
            (server::fresh_database(), server::fresh_database())
        else {
            return;
        };
        let open = async |url: &str| {
            Store::open(&url.parse().unwrap(), Limits::default())
                .await
                .unwrap()
        };
        let (plain, folded) = (open(&plain_url).await, open(&folded_url).await);
        let embedded = Place::sqlite();
        let embedded_store = embedded.open().await;
        let mut expected = Vec::new();
        let mut one_by_one = Vec::new();
        for event in &events {
            expected.push(accept(&embedded_store, event.clone()).await);
            one_by_one.push(accept(&plain, event.clone()).await);
        }
        let mut together = Vec::new();
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(1 + chance.below(20) as usize));
            together.extend(folded.accept(some.to_vec()).await.unwrap());
            rest = others;
        }
        assert!(expected.contains(&Receipt::Conflict), "seed {seed}");
        assert_eq!(one_by_one, expected, "seed {seed}");
        assert_eq!(together, expected, "seed {seed}");
        let expected = told(&embedded_store).await;
        assert_eq!(told(&plain).await, expected, "seed {seed}");
        assert_eq!(told(&folded).await, expected, "seed {seed}");
        for url in [plain_url, folded_url] {
            server::execute(&url, ONE_BODY_EACH);
        }
    }
}
