//! Events that have nothing in common take the way of plain batches, others that of folded ones: both write what the embedded store
//! writes.

use std::collections::HashSet;

use super::tests::server;
use crate::inbox::{Event, Inbox, KeptHeaders, Limits, Receipt, Standing};
use crate::signature::{Fetch, PaymentFacts};
use crate::store::fixtures::{
    Chance, Place, accept, another_leaf, event, of_tenant, payment_event, received, with_body,
};
use crate::store::views::Filter;
use crate::store::{EventDetail, EventView, PaymentDetail, PaymentView, Store};

const SCHEDULES: u64 = 12;
const EVENTS: u64 = 60;
/// Three times what a delivery may tell.
const LARGE: u64 = 12_288;
const STATUSES: [&str; 5] = ["pending", "authorized", "succeeded", "refunded", "failed"];
/// They share the names of events and payments.
const OWNERS: [(&str, &str); 3] = [
    ("tenant-42", "payments-provider"),
    ("tenant-42", "another-provider"),
    ("tenant-43", "payments-provider"),
];

/// Fails where a body was written for what was known already.
const ONE_BODY_EACH: &str = "DO $$ BEGIN
    ASSERT (SELECT count(*) FROM countersign.bodies) = (SELECT count(*) FROM countersign.events);
END $$";

/// What an event says of a payment: some of it, or nothing that can be read.
fn facts(chance: &mut Chance) -> PaymentFacts {
    let mut one_of = |words: &[Option<&str>]| {
        let word = words[chance.below(words.len() as u64) as usize];
        word.map(str::to_owned)
    };
    let statuses = STATUSES.map(Some);
    let mut facts = payment_event("", "", "", 0).payment.unwrap();
    facts.payment_id = one_of(&[Some("pay_0"), Some("pay_1"), Some("pay_2")]).unwrap_or_default();
    facts.status = one_of(&[&statuses[..], &[None]].concat());
    facts.amount = one_of(&[None, Some("1999"), Some("5"), Some("700")]);
    facts.amount_refunded = one_of(&[None, Some("1"), Some("90"), Some("500")]);
    facts.currency = one_of(&[None, Some("EUR"), Some("JPY"), Some("USD")]);
    // Often one word alone.
    let only = chance.below(8);
    let words = [
        &mut facts.status,
        &mut facts.amount,
        &mut facts.amount_refunded,
        &mut facts.currency,
    ];
    for (number, word) in (0..).zip(words) {
        if only < 4 && number != only {
            *word = None;
        }
    }
    facts
}

/// Few ids, bodies and payments, so that they meet; each with a time of receipt of its own, for several receivers write.
fn events(chance: &mut Chance) -> Vec<Event> {
    let one = |at: u64| {
        let id = format!("evt_{}", chance.below(12));
        let number = chance.below(25);
        let of_payment = |chance: &mut Chance, number: u64| {
            let second = chance.below(6) as i64;
            Event {
                payment: Some(facts(chance)),
                ..payment_event(&id, "", &format!("said_{number}"), second)
            }
        };
        let mut event = match chance.below(12) {
            0 => event(&id),
            1 => Event {
                standing: Standing::Quarantined,
                ..with_body(of_payment(chance, number), format!("no JSON {number}"))
            },
            2 => with_body(
                of_payment(chance, number),
                format!("{{\"other\":{}}}", chance.below(2)),
            ),
            _ => of_payment(chance, number / 20),
        };
        event.secret = Some(format!("file:{}.secret", chance.below(3)).into());
        event.headers = KeptHeaders::of([("x-number", at.to_string().into())].into_iter());
        if chance.below(2) == 0 {
            event.leaf = another_leaf();
        }
        if chance.below(8) == 0 {
            event.kind = None;
            event.occurred_at = None;
            event.fetch = Fetch::Needed { reference: None };
        }
        let (tenant, producer) = OWNERS[chance.below(3) as usize];
        let second = 1_790_000_000 + (at * 37 % (EVENTS + 1)) as i64;
        of_tenant(received(event, second), tenant, producer)
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
    // Of its events it shows the latest thousand.
    for more in 0..2 {
        let kept = store.views().payments_by_id(None, "pay_1").await.unwrap();
        assert_eq!(kept[0].payment.events, LARGE + more);
        assert_eq!(kept[0].history.len(), 1000);
        let another = payment_event(&format!("evt_more_{more}"), "pay_1", "pending", 5);
        assert_eq!(accept(&store, another).await, Receipt::Accepted);
    }
    let together = ["evt_last", "evt_very_last"].map(|id| payment_event(id, "pay_1", "pending", 5));
    let receipts = store.accept(together.to_vec()).await.unwrap();
    assert_eq!(receipts, [Receipt::Accepted; 2]);
    let bounded = "DO $$ BEGIN
        ASSERT (SELECT array_agg(cardinality(history)) FROM countersign.payments) = '{1000}';
    END $$";
    server::execute(&url, bounded);
}

#[tokio::test]
async fn copies_are_counted_beyond_those_whose_times_are_kept() {
    let Some(url) = server::fresh_database() else {
        return;
    };
    let store = Store::open(&url.parse().unwrap(), Limits::default())
        .await
        .unwrap();
    let copies = |second: i64| -> Vec<Event> {
        let copy = |number| received(event("evt_1"), second + number);
        (0..50).map(copy).collect()
    };
    for second in [100, 200] {
        store.accept(copies(second)).await.unwrap();
    }
    let counted = store.views().events(Filter::default()).await.unwrap().items;
    assert_eq!(counted[0].duplicates, 99);
    let latest = "DO $$ BEGIN
        ASSERT (SELECT cardinality(came_again) = 32 AND 200000000 <= ALL (came_again) FROM countersign.events);
    END $$";
    server::execute(&url, latest);
}

/// In their order, as many together as have neither key nor payment in common; what is to be fetched is alone.
fn plain_batches(events: &[Event]) -> Vec<Vec<Event>> {
    let mut batches: Vec<Vec<Event>> = Vec::new();
    let mut met = HashSet::new();
    for event in events {
        let tenant = event.key.tenant.as_str();
        let payment = event.payment.as_ref().map(|facts| &*facts.payment_id);
        let fetched = |event: &Event| event.fetch != Fetch::Unneeded;
        let is_new = met.insert((tenant, Some(&*event.key.producer), &*event.key.event_id))
            & payment.is_none_or(|payment| met.insert((tenant, None, payment)));
        match batches.last_mut() {
            Some(batch) if is_new && !fetched(event) && !batch.iter().any(fetched) => {
                batch.push(event.clone());
            }
            _ => {
                batches.push(vec![event.clone()]);
                met.clear();
                met.insert((tenant, Some(&*event.key.producer), &*event.key.event_id));
                met.extend(payment.map(|payment| (tenant, None, payment)));
            }
        }
    }
    batches
}

/// Lists, and each event and payment whole; events by their times of receipt, where an engine has an order of its own.
type Told = (
    Vec<EventView>,
    Vec<EventDetail>,
    Vec<PaymentView>,
    Vec<PaymentDetail>,
);

async fn told(store: &Store) -> Told {
    let views = store.views();
    let events = views.events(Filter::default()).await.unwrap().items;
    let mut whole = Vec::new();
    let mut payments = Vec::new();
    for tenant in ["tenant-42", "tenant-43"].map(Some) {
        for number in 0..12 {
            let id = format!("evt_{number}");
            whole.extend(views.events_by_id(tenant, &id).await.unwrap());
        }
        for number in 0..3 {
            let id = format!("pay_{number}");
            payments.extend(views.payments_by_id(tenant, &id).await.unwrap());
        }
    }
    whole.sort_by_key(|whole| whole.event.received_at.0);
    for payment in &mut payments {
        payment.history.sort_by_key(|event| event.received_at.0);
    }
    let changed = views.payments(Filter::default()).await.unwrap().items;
    (events, whole, changed, payments)
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
        for event in &events {
            expected.push(accept(&embedded_store, event.clone()).await);
        }
        let mut apart = Vec::new();
        for batch in plain_batches(&events) {
            apart.extend(plain.accept(batch).await.unwrap());
        }
        let mut together = Vec::new();
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(1 + chance.below(20) as usize));
            together.extend(folded.accept(some.to_vec()).await.unwrap());
            rest = others;
        }
        assert!(expected.contains(&Receipt::Conflict), "seed {seed}");
        assert_eq!(apart, expected, "seed {seed}");
        assert_eq!(together, expected, "seed {seed}");
        let mut expected = told(&embedded_store).await;
        assert_eq!(told(&plain).await, expected, "seed {seed}");
        // What a batch has of a payment changes it once, at the latest of its times.
        let mut told = told(&folded).await;
        for (_, _, changed, _) in [&mut told, &mut expected] {
            changed
                .sort_by(|a, b| (&a.tenant_id, &a.payment_id).cmp(&(&b.tenant_id, &b.payment_id)));
        }
        assert_eq!(told, expected, "seed {seed}");
        for url in [plain_url, folded_url] {
            server::execute(&url, ONE_BODY_EACH);
        }
    }
}
