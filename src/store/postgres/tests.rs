//! What PostgreSQL alone has to prove: several receivers at once, outages, other hosts, upgrades, and texts that it cannot
//! hold.

#[path = "../../../tests/kit/eventually.rs"]
mod eventually;
#[path = "../../../tests/kit/postgres.rs"]
#[allow(dead_code, reason = "tests/faults uses the rest")]
pub(in crate::store) mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use server::{Ending, Pooler, Postgres};
use tokio::task::JoinSet;

use super::address::Access;
use crate::inbox::{Event, Inbox, InboxFailure, Limits, Receipt};
use crate::store::fixtures::{Chance, accept, event, of_tenant, payment_event, with_body};
use crate::store::migrations::{POSTGRES, known};
use crate::store::views::Filter;
use crate::store::{Store, StoreFault, Url};

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

/// Short bounds, so that an outage is told of soon.
fn impatient(text: &str) -> Url {
    let access = Access {
        connect_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(5),
        patience: Duration::from_millis(100),
        ..Access::default()
    };
    url(text).with_access(access)
}

async fn open(url: &Url) -> Store {
    Store::open(url, Limits::default()).await.unwrap()
}

/// Accepts until it is taken: what a sender does.
async fn deliver(store: &Store, event: Event) -> Receipt {
    loop {
        match store.accept(vec![event.clone()]).await {
            Ok(receipts) => return receipts[0],
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// After an outage each session finds back by itself, one sooner than another.
async fn becomes_ready(store: &Store) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(failure) = store.ready().await {
        assert!(tokio::time::Instant::now() < deadline, "{failure:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_get_the_same_events_at_once_keep_one_ledger() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = url(&server.create_database("one"));
    // On an empty database, at the same moment.
    let (a, b, c) = tokio::join!(open(&url), open(&url), open(&url));
    let stores = [a, b, c].map(Arc::new);
    let statuses = ["pending", "authorized", "succeeded", "refunded", "disputed"];
    let events: Vec<Event> = (0..400_usize)
        .map(|n| {
            let event = payment_event(
                &format!("evt_{n}"),
                &format!("pay_{}", n % 9),
                statuses[n % 5],
                (n % 50) as i64,
            );
            of_tenant(event, &format!("tenant-{}", n % 2), "p")
        })
        .collect();
    let mut senders = JoinSet::new();
    for (seed, store) in stores.iter().enumerate() {
        let mut order = events.clone();
        Chance(seed as u64).shuffle(&mut order);
        // Every tenth comes twice to each.
        order.extend(order.clone().into_iter().step_by(10));
        for delivery in order.chunks(3) {
            let (store, delivery) = (Arc::clone(store), delivery.to_vec());
            senders.spawn(async move { store.accept(delivery).await.unwrap() });
        }
    }
    let receipts: Vec<Receipt> = senders.join_all().await.concat();
    let count = |of| receipts.iter().filter(|receipt| **receipt == of).count();
    assert_eq!(
        (count(Receipt::Accepted), count(Receipt::Duplicate)),
        (400, 920)
    );

    let kept = stores[0]
        .views()
        .events(Filter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(kept.len(), 400);
    assert_eq!(kept.iter().map(|event| event.duplicates).sum::<u64>(), 920);
    let payments = stores[1]
        .views()
        .payments(Filter::default())
        .await
        .unwrap()
        .items;
    let ledger: BTreeMap<_, _> = payments
        .into_iter()
        .map(|p| {
            (
                (p.tenant_id, p.payment_id),
                (p.status, p.occurred_at, p.last_event_id, p.events),
            )
        })
        .collect();

    // The same set, by one receiver, one after another.
    let alone = self::url(&server.create_database("alone"));
    let alone = open(&alone).await;
    for event in events {
        accept(&alone, event).await;
    }
    let payments = alone
        .views()
        .payments(Filter::default())
        .await
        .unwrap()
        .items;
    let expected: BTreeMap<_, _> = payments
        .into_iter()
        .map(|p| {
            (
                (p.tenant_id, p.payment_id),
                (p.status, p.occurred_at, p.last_event_id, p.events),
            )
        })
        .collect();
    assert_eq!(ledger, expected);
    assert_eq!(
        server
            .psql("one", "SELECT sum(deadlocks) FROM pg_stat_database")
            .trim(),
        "0"
    );
    assert_eq!(
        server
            .psql("one", "SELECT count(*) FROM countersign.migrations")
            .trim(),
        POSTGRES.len().to_string()
    );
}

#[tokio::test]
async fn texts_that_postgresql_cannot_hold_are_kept_all_the_same() {
    let Some(text) = server::fresh_database() else {
        return;
    };
    let store = open(&url(&text)).await;
    let id = "evt\0\u{1}\u{ffff}";
    let mut odd = payment_event(id, "pay\0\u{ffff}0", "succeeded", 5);
    odd.kind = Some("kind\0".into());
    assert_eq!(accept(&store, odd.clone()).await, Receipt::Accepted);
    assert_eq!(accept(&store, odd).await, Receipt::Duplicate);
    let kept = store.views().events_by_id(None, id).await.unwrap();
    assert_eq!(kept[0].event.event_id, id);
    assert_eq!(kept[0].event.kind.as_deref(), Some("kind\0"));
    let payment = store
        .views()
        .payments_by_id(None, "pay\0\u{ffff}0")
        .await
        .unwrap();
    assert_eq!(payment[0].payment.last_event_id.as_deref(), Some(id));
    assert_eq!(payment[0].history[0].event_id, id);
}

#[tokio::test]
async fn the_effects_of_one_delivery_are_those_of_its_order() {
    let Some(text) = server::fresh_database() else {
        return;
    };
    let store = open(&url(&text)).await;
    accept(&store, payment_event("evt_0", "pay_1", "pending", 10)).await;
    let delivery = vec![
        payment_event("evt_1", "pay_1", "succeeded", 20),
        payment_event("evt_2", "pay_1", "authorized", 15),
        payment_event("evt_3", "pay_1", "refunded", 30),
        payment_event("evt_4", "pay_1", "failed", 5),
        payment_event("evt_3", "pay_1", "refunded", 30),
        with_body(payment_event("evt_3", "pay_1", "disputed", 40), "other"),
    ];
    let receipts = store.accept(delivery).await.unwrap();
    assert_eq!(receipts[4..], [Receipt::Duplicate, Receipt::Conflict]);
    let payment = store
        .views()
        .payments_by_id(None, "pay_1")
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (payment.payment.status.as_deref(), payment.payment.events),
        (Some("refunded"), 5)
    );
    let effects: BTreeMap<_, _> = payment
        .history
        .iter()
        .map(|event| (event.event_id.as_str(), event.effect.unwrap()))
        .collect();
    let expected = [
        ("evt_0", "applied"),
        ("evt_1", "applied"),
        ("evt_2", "superseded"),
        ("evt_3", "applied"),
        ("evt_4", "superseded"),
    ];
    assert_eq!(effects, expected.into());
}

#[tokio::test]
async fn a_body_that_is_known_beside_another_is_a_duplicate_whichever_comes_first() {
    let Some(text) = server::fresh_database() else {
        return;
    };
    let store = open(&url(&text)).await;
    let (first, other) = (event("evt_1"), with_body(event("evt_1"), "{}"));
    accept(&store, first.clone()).await;
    // In one batch, the other body leads.
    let receipts = store
        .accept(vec![other.clone(), first.clone(), other, first])
        .await
        .unwrap();
    assert_eq!(
        receipts,
        [
            Receipt::Conflict,
            Receipt::Duplicate,
            Receipt::Duplicate,
            Receipt::Duplicate
        ]
    );
    let kept = store.views().events_by_id(None, "evt_1").await.unwrap();
    let kept: Vec<_> = kept
        .iter()
        .map(|kept| (kept.event.verdict, kept.event.duplicates))
        .collect();
    assert_eq!(kept, [("accepted", 2), ("conflict", 1)]);
}

#[tokio::test]
async fn an_outage_is_told_and_passes_by_itself() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let store = open(&url).await;
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    server.stop(Ending::Fast);
    let mut failures = 0;
    for number in 0..5 {
        let failure = store
            .accept(vec![event(&format!("lost_{number}"))])
            .await
            .unwrap_err();
        assert!(
            matches!(
                failure,
                InboxFailure::Unavailable { .. } | InboxFailure::Commit { .. }
            ),
            "{failure:?}"
        );
        failures += 1;
    }
    assert_eq!(failures, 5);
    assert!(store.ready().await.is_err());
    assert!(store.views().events(Filter::default()).await.is_err());
    server.start_again();
    assert_eq!(deliver(&store, event("evt_2")).await, Receipt::Accepted);
    becomes_ready(&store).await;
    assert_eq!(deliver(&store, event("evt_1")).await, Receipt::Duplicate);
    assert_eq!(
        store
            .views()
            .events(Filter::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
}

#[tokio::test]
async fn a_receiver_starts_without_its_database_and_finds_it_later() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    server.stop(Ending::Fast);
    let store = open(&url).await;
    assert!(store.ready().await.is_err());
    assert!(Store::migrate(&url).await.is_err());
    server.start_again();
    assert_eq!(deliver(&store, event("evt_1")).await, Receipt::Accepted);
    becomes_ready(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_database_was_killed() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let store = Arc::new(open(&url).await);
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let store = Arc::clone(&store);
        senders.spawn(async move {
            for number in 0..60 {
                let id = format!("evt_{sender}_{number}");
                deliver(
                    &store,
                    payment_event(&id, &format!("pay_{number}"), "succeeded", 5),
                )
                .await;
            }
        });
    }
    for _ in 0..2 {
        let seen = server
            .psql("inbox", "SELECT count(*) FROM countersign.events")
            .trim()
            .parse::<i64>()
            .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let more = || {
            server
                .psql("inbox", "SELECT count(*) FROM countersign.events")
                .trim()
                .parse::<i64>()
                .unwrap()
                > seen + 20
        };
        while !more() && std::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        server.stop(Ending::Killed);
        server.start_again();
    }
    senders.join_all().await;
    assert_eq!(
        server
            .psql(
                "inbox",
                "SELECT count(*) FROM countersign.events WHERE verdict = 0"
            )
            .trim(),
        "480"
    );
    assert_eq!(
        server
            .psql("inbox", "SELECT sum(events) FROM countersign.ledger")
            .trim(),
        "480"
    );
    assert_eq!(
        server
            .psql("inbox", "SELECT count(*) FROM countersign.bodies")
            .trim(),
        "480"
    );
}

#[tokio::test]
async fn of_several_hosts_the_one_that_writes_is_found() {
    let Some(standby) = Postgres::start(&["default_transaction_read_only = on"]) else {
        return;
    };
    let Some(mut primary) = Postgres::start(&[]) else {
        return;
    };
    let Some(other) = Postgres::start(&[]) else {
        return;
    };
    primary.create_database("inbox");
    other.create_database("inbox");
    let hosts = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}/inbox?sslmode=disable&target_session_attrs=read-write",
        standby.port(),
        primary.port(),
        other.port()
    );
    let store = open(&impatient(&hosts)).await;
    // The other one has the ledger too, as a standby that is promoted has.
    Store::migrate(&url(&other.url("inbox"))).await.unwrap();
    assert_eq!(deliver(&store, event("evt_1")).await, Receipt::Accepted);
    assert_eq!(
        primary
            .psql("inbox", "SELECT count(*) FROM countersign.events")
            .trim(),
        "1"
    );
    // Made read-only under the open session, as a primary that steps down; then gone.
    primary.psql(
        "postgres",
        "ALTER DATABASE inbox SET default_transaction_read_only = on",
    );
    primary.stop(Ending::Fast);
    assert_eq!(deliver(&store, event("evt_2")).await, Receipt::Accepted);
    primary.start_again();
    assert_eq!(deliver(&store, event("evt_3")).await, Receipt::Accepted);
    assert_eq!(
        other
            .psql("inbox", "SELECT count(*) FROM countersign.events")
            .trim(),
        "2"
    );
}

#[tokio::test]
async fn an_old_receiver_goes_on_while_a_new_one_expands_the_schema_and_is_refused_once_it_contracts()
 {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let old = open(&url).await;
    accept(&old, event("evt_1")).await;
    let known = known(POSTGRES);
    let later = known + 1;
    server.psql(
        "inbox",
        &format!(
            "ALTER TABLE countersign.events ADD COLUMN later text;
             INSERT INTO countersign.migrations VALUES ({later}, 'later.sql', 2, now())"
        ),
    );
    assert_eq!(deliver(&old, event("evt_2")).await, Receipt::Accepted);
    // Restarted in between, too.
    let again = open(&url).await;
    assert_eq!(deliver(&again, event("evt_2")).await, Receipt::Duplicate);
    server.psql(
        "inbox",
        &format!(
            "INSERT INTO countersign.migrations VALUES ({0}, 'contract.sql', {0}, now())",
            known + 2
        ),
    );
    let refused = Store::open(&url, Limits::default()).await;
    assert!(
        matches!(
            refused,
            Err(StoreFault::Newer {
                found,
                known: ours,
                ..
            }) if (found, ours) == (known + 2, known)
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    server.psql(
        "postgres",
        "CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    );
    let refused = Store::open(&url(&server.url("old")), Limits::default()).await;
    assert!(
        matches!(refused, Err(StoreFault::Encoding { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn bodies_lie_in_a_partition_of_their_day() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let store = open(&url(&server.create_database("inbox"))).await;
    let now = jiff::Timestamp::now();
    accept(
        &store,
        Event {
            received_at: now,
            ..event("evt_1")
        },
    )
    .await;
    accept(&store, event("evt_of_another_century")).await;
    let partitions = server.psql(
        "inbox",
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'countersign.bodies'::regclass",
    );
    assert_eq!(partitions.trim(), "9");
    let kept = server.psql(
        "inbox",
        "SELECT tableoid::regclass FROM countersign.bodies ORDER BY received_at",
    );
    let day = now.strftime("%Y%m%d").to_string();
    let mut expected = vec![
        format!("countersign.bodies_{day}"),
        "countersign.bodies_default".to_owned(),
    ];
    let mut kept: Vec<_> = kept.lines().collect();
    kept.sort_unstable();
    expected.sort_unstable();
    assert_eq!(kept, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_may_give_each_transaction_another_session() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    server.create_database("inbox");
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let url = url(&pooler.url("inbox"));
    let (a, b) = tokio::join!(open(&url), open(&url));
    let stores = [a, b].map(Arc::new);
    let mut senders = JoinSet::new();
    for number in 0..400 {
        let store = Arc::clone(&stores[number % 2]);
        let event = payment_event(
            &format!("evt_{}", number / 2),
            &format!("pay_{}", number % 7),
            "succeeded",
            5,
        );
        senders.spawn(async move {
            let receipt = accept(&store, event).await;
            let listed = store
                .views()
                .events(Filter {
                    limit: 3,
                    ..Filter::default()
                })
                .await;
            assert!(!listed.unwrap().items.is_empty());
            receipt
        });
    }
    let receipts = senders.join_all().await;
    let accepted = receipts
        .iter()
        .filter(|receipt| **receipt == Receipt::Accepted)
        .count();
    assert_eq!(accepted, 200);
    let kept = stores[0]
        .views()
        .events(Filter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(kept.iter().map(|event| event.duplicates).sum::<u64>(), 200);
}

#[tokio::test]
async fn a_row_that_is_refused_never_fails_its_neighbours() {
    let Some(text) = server::fresh_database() else {
        return;
    };
    let store = Arc::new(open(&url(&text)).await);
    let mut chance = Chance(7);
    // Longer than an index entry can be, and not to be compressed.
    let name: String = (0..20_000)
        .map(|_| char::from(b'a' + chance.below(26) as u8))
        .collect();
    let mut senders = JoinSet::new();
    for number in 0..40 {
        let store = Arc::clone(&store);
        let producer = if number == 17 { &*name } else { "p" };
        let event = of_tenant(event(&format!("evt_{number}")), "tenant-42", producer);
        senders.spawn(async move { store.accept(vec![event]).await });
    }
    let outcomes = senders.join_all().await;
    let refused: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert!(
        matches!(refused[..], [InboxFailure::Row { .. }]),
        "{refused:?}"
    );
    let kept = store.views().events(Filter::default()).await.unwrap();
    assert_eq!(kept.items.len(), 39);
}
