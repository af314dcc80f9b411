//! The spool: what came while the database was away is there once it is back, once, whoever is killed in between.
//!
//! The contract of a store (`suite.rs`) is not mounted on it: its cases ask for receipts that a spool cannot know. Instead
//! the same deliveries go through a spool and straight to a database, and what can be read of both must be the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::inbox::{Cause, Event, Inbox, Limits, Receipt, Standing};
use crate::store::fixtures::*;
use crate::store::postgres::address::Access;
use crate::store::postgres::tests::server::{Ending, Postgres, fresh_database};
use crate::store::views::{EventView, Filter, PaymentDetail};
use crate::store::{SpoolSettings, Store, Takes, Url};

const DEADLINE: Duration = Duration::from_secs(60);

/// Short bounds, so that an outage is told of soon.
pub(super) fn impatient(text: &str) -> Url {
    let access = Access {
        connect_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(2),
        patience: Duration::from_millis(100),
        ..Access::default()
    };
    text.parse::<Url>().unwrap().with_access(access)
}

/// Where a spool is.
pub(super) struct Site {
    pub(super) settings: SpoolSettings,
    _directory: TempDir,
}

impl Site {
    pub(super) fn new(bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = SpoolSettings {
            path: directory.path().join("spool.db"),
            bytes,
            delivery_bytes: 200_000,
            database_wait: Duration::from_secs(10),
            spool_wait: Duration::from_secs(10),
        };
        Self {
            settings,
            _directory: directory,
        }
    }

    pub(super) async fn open(&self, url: &Url) -> Store {
        // Small batches, so that there are several.
        let limits = Limits {
            batch_deliveries: 16,
            ..Limits::default()
        };
        Store::open_with_spool(url, limits, Some(&self.settings))
            .await
            .unwrap()
    }

    /// The file and its companions, as far as they are there.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        ["", "-wal", "-shm"]
            .map(|companion| PathBuf::from(format!("{}{companion}", self.settings.path.display())))
            .into_iter()
            .filter(|path| path.exists())
            .collect()
    }
}

pub(super) async fn eventually(store: &Store, what: &str, mut holds: impl FnMut(&Store) -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds(store) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not {what}: {:?}",
            store.backlog()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) async fn emptied(store: &Store) {
    eventually(store, "emptied", |store| {
        store.backlog().unwrap().state == "empty"
    })
    .await;
}

pub(super) async fn events(store: &Store) -> Vec<EventView> {
    store.views().events(Filter::default()).await.unwrap().items
}

async fn payments(store: &Store) -> Vec<PaymentDetail> {
    let mut found = Vec::new();
    for payment in store
        .views()
        .payments(Filter::default())
        .await
        .unwrap()
        .items
    {
        let views = store.views();
        let more = views.payments_by_id(Some(&payment.tenant_id), &payment.payment_id);
        found.extend(more.await.unwrap());
    }
    found.sort_by_key(|found| {
        let payment = &found.payment;
        (payment.tenant_id.clone(), payment.payment_id.clone())
    });
    found
}

/// Deliveries as a provider makes them: events of few payments, some again, some under a taken id, some unreadable; each at a
/// microsecond of its own.
fn deliveries(seed: u64, number: usize) -> Vec<Vec<Event>> {
    let mut chance = Chance(seed);
    let statuses = ["pending", "authorized", "succeeded", "refunded", "disputed"];
    let mut time = 1_790_000_100_000_000;
    (0..number)
        .map(|_| {
            time += 1 + i64::try_from(chance.below(1000)).unwrap();
            (0..1 + chance.below(3))
                .map(|_| {
                    let id = format!("evt_{}", chance.below(number as u64));
                    let n = usize::try_from(chance.below(5)).unwrap();
                    let payment = format!("pay_{}", chance.below(7));
                    let second = i64::try_from(chance.below(50)).unwrap();
                    let mut event = payment_event(&id, &payment, statuses[n], second);
                    if chance.below(10) == 0 {
                        event = with_body(event, "no json at all");
                        event.standing = Standing::Quarantined;
                    }
                    event.received_at = Timestamp::from_microsecond(time).unwrap();
                    of_tenant(event, &format!("tenant-{}", chance.below(3)), "p")
                })
                .collect()
        })
        .collect()
}

fn is_durable(receipts: &[Receipt], delivery: &[Event]) {
    let expected: Vec<Receipt> = delivery
        .iter()
        .map(|event| match event.standing {
            Standing::Readable => Receipt::Spooled,
            Standing::Quarantined => Receipt::Quarantined,
        })
        .collect();
    assert_eq!(receipts, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_through_the_spool_is_kept_as_if_it_had_come_straight() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let alone = impatient(&server.create_database("alone"));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    assert_eq!(store.ready().await.unwrap(), Takes::Database);
    let all = deliveries(1, 160);
    let (before, during) = all.split_at(40);
    for delivery in before {
        let receipts = store.accept(delivery.clone()).await.unwrap();
        assert!(!receipts.contains(&Receipt::Spooled));
    }
    server.stop(Ending::Fast);
    for delivery in during {
        is_durable(&store.accept(delivery.clone()).await.unwrap(), delivery);
    }
    let backlog = store.backlog().unwrap();
    let expected: usize = during.iter().map(Vec::len).sum();
    assert_eq!(
        (backlog.state, backlog.waiting),
        ("spooling", expected as u64)
    );
    assert!(backlog.oldest.is_some() && backlog.database_away_since.is_some());
    assert_eq!(store.ready().await.unwrap(), Takes::Spool);
    server.start_again();
    emptied(&store).await;
    assert_eq!(store.ready().await.unwrap(), Takes::Database);

    let straight = Store::open(&alone, Limits::default()).await.unwrap();
    for delivery in &all {
        straight.accept(delivery.clone()).await.unwrap();
    }
    assert_eq!(events(&store).await, events(&straight).await);
    assert_eq!(payments(&store).await, payments(&straight).await);
    let body = store.views().events_by_id(None, "evt_1").await.unwrap();
    let expected = straight.views().events_by_id(None, "evt_1").await.unwrap();
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outage_lasts_nobody_waits_for_the_database_first() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let access = Access {
        connect_timeout: Duration::from_secs(1),
        patience: Duration::from_secs(600),
        ..Access::default()
    };
    let url = server.create_database("inbox");
    let url = url.parse::<Url>().unwrap().with_access(access);
    server.stop(Ending::Fast);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let began = std::time::Instant::now();
    for number in 0..20 {
        let event = event(&format!("evt_{number}"));
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    // The patience is ten minutes, and the wait for the database ten seconds.
    assert!(began.elapsed() < Duration::from_secs(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_never_come_again_survive_kills_of_the_database_each_once() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = Arc::new(site.open(&url).await);
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let store = Arc::clone(&store);
        senders.spawn(async move {
            for number in 0..80 {
                let id = format!("evt_{sender}_{number}");
                let event = payment_event(&id, &format!("pay_{number}"), "succeeded", 5);
                let event = Event {
                    received_at: Timestamp::now(),
                    ..event
                };
                // Once: whoever was told 204 does not come again.
                store.accept(vec![event]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    for _ in 0..3 {
        let count = "SELECT count(*) FROM countersign.events";
        let seen: i64 = server.psql("inbox", count).trim().parse().unwrap();
        let more = seen + 30;
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while server.psql("inbox", count).trim().parse::<i64>().unwrap() < more
            && std::time::Instant::now() < deadline
        {
            tokio::task::yield_now().await;
        }
        server.stop(Ending::Killed);
        server.start_again();
    }
    senders.join_all().await;
    emptied(&store).await;
    let sums = "SELECT count(*), sum(duplicates), (SELECT sum(events) FROM countersign.ledger),
        (SELECT count(*) FROM countersign.bodies) FROM countersign.events";
    assert_eq!(server.psql("inbox", sums).trim(), "640|0|640|640");
}

/// Stops all processes of a server as a machine that hangs does, or lets them go on.
fn signal(server: &Postgres, signal: &str) {
    let parent = server.pid().unwrap();
    let children = std::process::Command::new("ps")
        .args(["-o", "pid=", "--ppid", &parent])
        .output()
        .unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    for pid in children.split_whitespace().chain([&*parent]) {
        let sent = std::process::Command::new("kill")
            .args([signal, pid])
            .status();
        assert!(sent.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_database_that_hung_keeps_after_all_is_not_kept_twice() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = Arc::new(site.open(&url).await);
    for number in 0..4 {
        accept(&store, received(event(&format!("evt_{number}")), 10)).await;
    }
    signal(&server, "-STOP");
    let mut senders = JoinSet::new();
    for number in 100..120 {
        let store = Arc::clone(&store);
        let event = received(event(&format!("evt_{number}")), number);
        senders.spawn(async move { accept(&store, event).await });
    }
    let began = std::time::Instant::now();
    let receipts = senders.join_all().await;
    assert!(began.elapsed() < Duration::from_secs(11));
    // Their statements are in the server's hands, and it will carry them out.
    assert!(receipts.iter().all(|receipt| *receipt == Receipt::Spooled));
    let next = received(event("evt_next"), 200);
    let began = std::time::Instant::now();
    assert_eq!(accept(&store, next).await, Receipt::Spooled);
    assert!(began.elapsed() < Duration::from_secs(2));
    signal(&server, "-CONT");
    emptied(&store).await;
    let sums = "SELECT count(*), sum(duplicates) FROM countersign.events";
    assert_eq!(server.psql("inbox", sums).trim(), "25|0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_told_of_before_the_first_delivery_has_waited_its_time() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let access = Access {
        writers: 1,
        statement_timeout: Duration::from_secs(30),
        ..Access::default()
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let url = url.with_access(access);
    let store = Arc::new(Store::open(&url, Limits::default()).await.unwrap());
    store.ready().await.unwrap();
    signal(&server, "-STOP");
    let delivered = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.accept(vec![event("evt_1")]).await }
    });
    while store.ready().await.is_ok() && !delivered.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let still_waits = !delivered.is_finished();
    // First: a server that is stopped cannot be ended.
    signal(&server, "-CONT");
    assert!(still_waits);
    assert_eq!(delivered.await.unwrap().unwrap(), [Receipt::Accepted]);
    store.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_which_nobody_knew_whether_it_was_kept_is_not_its_own_duplicate() {
    let Some(text) = fresh_database() else {
        return;
    };
    let url = impatient(&text);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let kept = received(payment_event("evt_1", "pay_1", "succeeded", 5), 100);
    let conflict = received(with_body(kept.clone(), "{\"other\":1}"), 101);
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..received(with_body(event("evt_2"), "x"), 102)
    };
    let lost = received(payment_event("evt_3", "pay_1", "refunded", 6), 103);
    let again = received(kept.clone(), 104);
    for event in [&kept, &conflict, &unreadable] {
        accept(&store, event.clone()).await;
    }
    // The first three were kept, though the answer never came; the others were not.
    let spooling = store.spooling.as_ref().unwrap();
    let settled = Timestamp::now().as_microsecond();
    let uncertain = [kept, conflict, unreadable, lost, again];
    spooling.spool(&uncertain, Some(settled)).await.unwrap();
    emptied(&store).await;
    let found: Vec<_> = events(&store)
        .await
        .into_iter()
        .map(|event| (event.event_id, event.verdict, event.duplicates))
        .collect();
    let expected = [
        ("evt_3", "accepted", 0),
        ("evt_2", "quarantined", 0),
        ("evt_1", "conflict", 0),
        ("evt_1", "accepted", 1),
    ];
    let expected = expected.map(|(id, verdict, times)| (id.to_owned(), verdict, times));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_of_which_nobody_knew_whether_it_was_counted_is_counted_once() {
    let Some(text) = fresh_database() else {
        return;
    };
    let url = impatient(&text);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let first = payment_event("evt_1", "pay_1", "succeeded", 5);
    let other = with_body(first.clone(), "{\"other\":1}");
    let unreadable = Event {
        standing: Standing::Quarantined,
        ..with_body(event("evt_2"), "x")
    };
    let (late, more) = (event("evt_3"), event("evt_4"));
    let at = |event: &Event, second: i64| received(event.clone(), second);
    // Each batch as the database may take it: of one event, of several that belong together, with another body first, as copies of one
    // or of several.
    let batches = [
        vec![at(&first, 100)],
        vec![at(&first, 101)],
        vec![at(&first, 102)],
        vec![at(&first, 103), at(&first, 104), at(&other, 105)],
        vec![
            at(&other, 106),
            at(&first, 107),
            at(&other, 108),
            at(&first, 109),
        ],
        vec![at(&other, 110)],
        vec![at(&unreadable, 111)],
        vec![at(&unreadable, 112)],
        vec![at(&late, 113), at(&late, 114), at(&late, 115)],
        vec![
            at(&other, 116),
            at(&other, 117),
            at(&first, 118),
            at(&first, 119),
            at(&late, 120),
            at(&late, 121),
            at(&more, 122),
            at(&more, 123),
        ],
    ];
    for batch in &batches {
        store.accept(batch.clone()).await.unwrap();
    }
    let counted = async |store: &Store| {
        let mut found: Vec<_> = events(store)
            .await
            .into_iter()
            .map(|event| (event.event_id, event.verdict, event.duplicates))
            .collect();
        found.sort();
        found
    };
    let expected = [
        ("evt_1", "accepted", 8),
        ("evt_1", "conflict", 5),
        ("evt_2", "quarantined", 1),
        ("evt_3", "accepted", 4),
        ("evt_4", "accepted", 1),
    ];
    let expected = expected.map(|(id, verdict, times)| (id.to_owned(), verdict, times));
    assert_eq!(counted(&store).await, expected);
    // No answer came to any of them; of each event the last was not kept.
    let spooling = store.spooling.as_ref().unwrap();
    let settled = Timestamp::now().as_microsecond();
    for batch in &batches {
        spooling.spool(batch, Some(settled)).await.unwrap();
    }
    let lost = [&first, &other, &unreadable, &late, &more].map(|event| at(event, 200));
    spooling.spool(&lost, Some(settled)).await.unwrap();
    emptied(&store).await;
    let expected = expected.map(|(id, verdict, times)| (id, verdict, times + 1));
    assert_eq!(counted(&store).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_uncertain_is_moved_only_once_it_has_settled() {
    let Some(text) = fresh_database() else {
        return;
    };
    let site = Site::new(64 << 20);
    let store = site.open(&impatient(&text)).await;
    let spooling = store.spooling.as_ref().unwrap();
    let settles = Timestamp::now().as_microsecond() + 1_500_000;
    let first = received(event("evt_1"), 100);
    spooling.spool(&[first], None).await.unwrap();
    let second = received(event("evt_2"), 101);
    spooling.spool(&[second], Some(settles)).await.unwrap();
    eventually(&store, "moved up to there", |store| {
        store.backlog().unwrap().waiting == 1
    })
    .await;
    eventually(&store, "known to stand still", |store| {
        let told = store.backlog().unwrap().settles_at;
        told.is_some_and(|at| at.0.as_microsecond() >= settles)
    })
    .await;
    // That another outage has ended is found out meanwhile.
    spooling
        .reach
        .away(&(Arc::new(std::io::Error::other("cut")) as Cause));
    eventually(&store, "found again", |_| !spooling.reach.is_away()).await;
    assert_eq!(store.backlog().unwrap().waiting, 1);
    emptied(&store).await;
    assert!(Timestamp::now().as_microsecond() >= settles);
    assert_eq!(store.backlog().unwrap().settles_at, None);
    assert_eq!(events(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_uncertain_before_a_restart_settles_anew_whatever_the_clock_says() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    server.stop(Ending::Fast);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let spooling = store.spooling.as_ref().unwrap();
    // An hour ago, by a clock that was set ahead since.
    let settles = Timestamp::now().as_microsecond() - 3_600_000_000;
    let lost = received(event("evt_1"), 100);
    spooling.spool(&[lost], Some(settles)).await.unwrap();
    store.close().await;
    server.start_again();
    let began = Instant::now();
    let store = site.open(&url).await;
    emptied(&store).await;
    // `impatient` lets a batch take 5.1 s, and the telling a second.
    assert!(began.elapsed() >= Duration::from_secs(6), "{began:?}");
    assert_eq!(events(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_starts_without_its_database_serves_from_the_spool() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    server.stop(Ending::Fast);
    let site = Site::new(64 << 20);
    for start in 0..3_u64 {
        let store = site.open(&url).await;
        assert_eq!(store.backlog().unwrap().waiting, start);
        assert_eq!(store.ready().await.unwrap(), Takes::Spool);
        let event = received(event(&format!("evt_{start}")), 100);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
        store.close().await;
    }
    server.start_again();
    let store = site.open(&url).await;
    emptied(&store).await;
    assert_eq!(events(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_moved_to_whichever_host_writes_then() {
    let Some(mut primary) = Postgres::start(&[]) else {
        return;
    };
    let Some(other) = Postgres::start(&[]) else {
        return;
    };
    // Both have the ledger, as a primary and its standby have.
    for server in [&primary, &other] {
        let url = impatient(&server.create_database("inbox"));
        Store::migrate(&url).await.unwrap();
    }
    other.psql(
        "postgres",
        "ALTER DATABASE inbox SET default_transaction_read_only = on",
    );
    let url = impatient(&format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/inbox?sslmode=disable&target_session_attrs=read-write",
        primary.port(),
        other.port()
    ));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    assert_eq!(
        accept(&store, received(event("evt_0"), 99)).await,
        Receipt::Accepted
    );
    primary.stop(Ending::Killed);
    // The standby is there, and takes no writes.
    for number in 0..20 {
        let event = received(event(&format!("evt_{number}")), 100 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    other.psql(
        "postgres",
        "ALTER DATABASE inbox SET default_transaction_read_only = off",
    );
    emptied(&store).await;
    let count = "SELECT count(*) FROM countersign.events";
    assert_eq!(other.psql("inbox", count).trim(), "20");
    let straight = received(event("evt_after"), 900);
    assert_eq!(accept(&store, straight).await, Receipt::Accepted);
}
