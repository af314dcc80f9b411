//! The part of the contract that is about which word of a payment changes it.

use super::all;
use crate::inbox::{Event, Inbox, Receipt};
use crate::signature::{Fetch, PaymentFacts};
use crate::store::fixtures::*;
use crate::store::views::*;

const WORDS: u64 = 4;

/// An event that says of a payment only these of its four words.
fn saying(id: &str, payment: &str, words: &[u64], second: i64) -> Event {
    let plain = payment_event(id, payment, "pending", second);
    let says = |word: u64, what: &str| words.contains(&word).then(|| what.to_owned());
    let facts = plain.payment.clone().map(|facts| PaymentFacts {
        status: says(0, "pending"),
        amount: says(1, "1999"),
        amount_refunded: says(2, "5"),
        currency: says(3, "EUR"),
        ..facts
    });
    Event {
        payment: facts,
        ..plain
    }
}

pub(in crate::store) async fn a_payment_is_listed_by_when_any_word_of_it_last_changed(
    place: &Place,
) {
    let store = place.open().await;
    // PostgreSQL writes what is to be fetched in another way.
    for fetch in [Fetch::Unneeded, Fetch::Needed { reference: None }] {
        for word in 0..WORDS {
            for before in [&[0, 1, 2, 3][..], &[(word + 1) % WORDS]] {
                let tenant = format!("{word} {} {fetch:?}", before.len());
                let come = async |event: Event, second| {
                    let fetch = fetch.clone();
                    let event = received(Event { fetch, ..event }, second);
                    let receipt = accept(&store, of_tenant(event, &tenant, "p")).await;
                    assert_eq!(receipt, Receipt::Accepted);
                };
                come(saying("evt_1", "pay_1", before, 5), 10).await;
                come(saying("evt_2", "pay_2", before, 5), 20).await;
                come(saying("evt_3", "pay_1", &[word], 6), 30).await;
                come(saying("evt_4", "pay_2", before, 4), 40).await;
                let filter = Filter {
                    tenant: Some(tenant.clone()),
                    ..all()
                };
                let listed = store.views().payments(filter.clone()).await.unwrap().items;
                let listed: Vec<_> = listed.iter().map(|one| &*one.payment_id).collect();
                assert_eq!(listed, ["pay_1", "pay_2"], "{tenant}");
                let events = store.views().events(filter).await.unwrap().items;
                let effects: Vec<_> = events.iter().map(|event| event.effect).collect();
                let [applied, superseded] = [Some("applied"), Some("superseded")];
                assert_eq!(effects, [superseded, applied, applied, applied], "{tenant}");
            }
        }
    }
}

pub(in crate::store) async fn what_comes_late_in_one_delivery_with_a_change_moves_no_payment(
    place: &Place,
) {
    let store = place.open().await;
    for word in 0..WORDS {
        let tenant = format!("{word}");
        let at = |event: Event, second| of_tenant(received(event, second), &tenant, "p");
        let listed = async |delivery: Vec<Event>| {
            let receipts = store.accept(delivery).await.unwrap();
            assert!(receipts.iter().all(|receipt| *receipt == Receipt::Accepted));
            let filter = Filter {
                tenant: Some(tenant.clone()),
                ..all()
            };
            let listed = store.views().payments(filter).await.unwrap().items;
            let ids = listed.into_iter().map(|payment| payment.payment_id);
            ids.collect::<Vec<_>>()
        };
        let new = vec![
            at(saying("evt_1", "pay_1", &[word], 5), 10),
            at(saying("evt_2", "pay_2", &[0, 1, 2, 3], 5), 11),
            at(saying("evt_3", "pay_1", &[word], 6), 12),
            at(saying("evt_4", "pay_3", &[word], 5), 13),
            at(saying("evt_5", "pay_1", &[word], 4), 14),
        ];
        assert_eq!(listed(new).await, ["pay_3", "pay_1", "pay_2"], "{word}");
        let known = vec![
            at(saying("evt_6", "pay_2", &[word], 8), 20),
            at(saying("evt_7", "pay_1", &[word], 8), 21),
            at(saying("evt_8", "pay_2", &[word], 7), 22),
        ];
        assert_eq!(listed(known).await, ["pay_1", "pay_2", "pay_3"], "{word}");
        let another = vec![
            at(saying("evt_9", "pay_2", &[(word + 1) % WORDS], 6), 24),
            at(saying("evt_10", "pay_1", &[word], 9), 25),
            at(saying("evt_11", "pay_2", &[word], 6), 26),
        ];
        assert_eq!(listed(another).await, ["pay_1", "pay_2", "pay_3"], "{word}");
        let late = vec![
            at(saying("evt_12", "pay_2", &[word], 2), 30),
            at(saying("evt_13", "pay_2", &[word], 3), 31),
        ];
        assert_eq!(listed(late).await, ["pay_1", "pay_2", "pay_3"], "{word}");
    }
}

pub(in crate::store) async fn of_several_in_one_delivery_each_counts_when_its_turn_comes(
    place: &Place,
) {
    let store = place.open().await;
    for word in 0..WORDS {
        let tenant = format!("tenant-{word}");
        let one = |id: &str, payment: &str, second, at| {
            let event = received(saying(id, payment, &[word], second), at);
            of_tenant(event, &tenant, "p")
        };
        let delivery = vec![
            one("evt_1", "pay_1", 5, 10),
            one("evt_2", "pay_1", 7, 11),
            one("evt_3", "pay_1", 6, 12),
            one("evt_4", "pay_1", 8, 30),
        ];
        let receipts = store.accept(delivery).await.unwrap();
        assert_eq!(receipts, [Receipt::Accepted; 4]);
        accept(&store, one("evt_5", "pay_2", 5, 20)).await;
        let filter = Filter {
            tenant: Some(tenant.clone()),
            ..all()
        };
        let events = store.views().events(filter.clone()).await.unwrap().items;
        let superseded = events.iter().filter(|one| one.effect == Some("superseded"));
        let superseded: Vec<_> = superseded.map(|event| &*event.event_id).collect();
        assert_eq!(superseded, ["evt_3"], "{tenant}");
        // The last of them changed it after the other payment came.
        let listed = store.views().payments(filter).await.unwrap().items;
        let listed: Vec<_> = listed.iter().map(|one| &*one.payment_id).collect();
        assert_eq!(listed, ["pay_1", "pay_2"], "{tenant}");
    }
}
