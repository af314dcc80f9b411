//! What goes wrong with a spool: it is full, refused, killed, put back from a copy, taken away.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::tests::{Site, emptied, events, eventually, impatient};
use crate::inbox::{Event, Inbox, InboxFailure, Limits, Receipt};
use crate::store::fixtures::*;
use crate::store::postgres::address::Target;
use crate::store::postgres::session::{Purpose, Session};
use crate::store::postgres::tests::server::{Ending, Postgres, fresh_database};
use crate::store::{Store, StoreFault, Takes, Url};
use crate::text::chain;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_killed_before_it_heard_of_the_commit_moves_nothing_twice() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    accept(&store, received(event("evt_0"), 10)).await;
    server.stop(Ending::Fast);
    for number in 0..50 {
        // Every other one is known already: what it adds is a number, and nothing else would tell.
        let id = format!("evt_{}", if number % 2 == 0 { 0 } else { number });
        let event = received(event(&id), 100 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    store.close().await;
    let copies: Vec<(PathBuf, Vec<u8>)> = site
        .files()
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let sums = "SELECT count(*), sum(duplicates) FROM countersign.events";
    server.start_again();
    for _ in 0..2 {
        let store = site.open(&url).await;
        emptied(&store).await;
        assert_eq!(server.psql("inbox", sums).trim(), "26|25");
        store.close().await;
        // As it was when the database had committed, and the file not yet heard of it.
        for path in site.files() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &copies {
            std::fs::write(path, bytes).unwrap();
        }
    }
    // The file gives out positions again that it gave out before it was put back: they are others.
    let store = site.open(&url).await;
    emptied(&store).await;
    server.stop(Ending::Fast);
    for number in 0..60 {
        let event = received(event(&format!("evt_later_{number}")), 200 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    server.start_again();
    emptied(&store).await;
    assert_eq!(server.psql("inbox", sums).trim(), "86|25");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_receivers_on_one_spool_move_everything_once() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    // As while one version takes over from another.
    let (old, new) = (site.open(&url).await, site.open(&url).await);
    server.stop(Ending::Fast);
    for number in 0..120 {
        let store = if number % 3 == 0 { &new } else { &old };
        let event = received(event(&format!("evt_{}", number / 2)), 100 + number);
        assert_eq!(accept(store, event).await, Receipt::Spooled);
    }
    server.start_again();
    emptied(&old).await;
    emptied(&new).await;
    let sums = "SELECT count(*), sum(duplicates) FROM countersign.events";
    assert_eq!(server.psql("inbox", sums).trim(), "60|60");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_receiver_left_uncertain_settles_from_when_it_was_met() {
    let Some(text) = fresh_database() else {
        return;
    };
    let url = impatient(&text);
    let site = Site::new(64 << 20);
    let new = site.open(&url).await;
    let old = site.open(&url).await;
    let spooling = old.spooling.as_ref().unwrap();
    // An hour ago, by a clock that was set ahead since. Whoever stops moves nothing any more.
    let settles = Timestamp::now().as_microsecond() - 3_600_000_000;
    let lost = received(event("evt_1"), 100);
    spooling.spool(&[lost], Some(settles)).await.unwrap();
    old.close().await;
    eventually(&new, "met", |store| store.backlog().unwrap().waiting == 1).await;
    let met = Instant::now();
    emptied(&new).await;
    // `impatient` lets a batch take 5.1 s, and the telling a second; it was met before it was counted.
    assert!(met.elapsed() >= Duration::from_secs(5), "{met:?}");
    assert_eq!(events(&new).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_is_a_failure_and_is_not_ready_until_it_was_moved() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(2 << 20);
    let store = site.open(&url).await;
    server.stop(Ending::Fast);
    let mut kept = 0;
    let failure = loop {
        let event = received(
            with_body(event(&format!("evt_{kept}")), vec![b'x'; 100_000]),
            100 + kept,
        );
        match store.accept(vec![event]).await {
            Ok(receipts) => assert_eq!(receipts, [Receipt::Spooled]),
            Err(failure) => break failure,
        }
        kept += 1;
        assert!(kept < 100);
    };
    assert!(
        matches!(failure, InboxFailure::Unavailable { .. }),
        "{failure:?}"
    );
    assert!(kept > 10, "{kept}");
    let not_ready = store.ready().await.unwrap_err();
    let cause = std::error::Error::source(&not_ready).unwrap().to_string();
    assert!(cause.contains("full"), "{cause}");
    assert!(site.settings.path.metadata().unwrap().len() <= 2 << 20);
    server.start_again();
    emptied(&store).await;
    store.ready().await.unwrap();
    assert_eq!(events(&store).await.len() as i64, kept);
    // The disk that the outage took is given back, and the bodies are gone from it.
    assert!(site.settings.path.metadata().unwrap().len() < 100_000);
    for path in site.files() {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(1000).any(|bytes| bytes == [b'x'; 1000]));
    }
    server.stop(Ending::Fast);
    let again = received(event("evt_again"), 900);
    assert_eq!(accept(&store, again).await, Receipt::Spooled);
}

#[tokio::test]
async fn while_its_reserve_is_given_a_spool_takes_what_its_free_pages_hold_and_does_not_grow() {
    let site = Site::new(64 << 20);
    let store = site
        .open(&impatient("postgres://nobody@127.0.0.1:1/none"))
        .await;
    let large = |id: &str| received(with_body(event(id), vec![b'x'; 150_000]), 100);
    for id in ["evt_1", "evt_2", "evt_3"] {
        assert_eq!(accept(&store, large(id)).await, Receipt::Spooled);
    }
    let reserve = site.settings.path.with_file_name("spool.db-reserve");
    let part = site.settings.path.with_file_name("spool.db-reserve.part");
    // It cannot be taken again.
    std::fs::create_dir(&part).unwrap();
    std::fs::remove_file(&reserve).unwrap();
    let failure = store.accept(vec![large("evt_4")]).await.unwrap_err();
    assert!(chain(&failure).contains("full"), "{failure:?}");
    let not_ready = store.ready().await.unwrap_err();
    assert!(chain(&not_ready).contains("full"), "{not_ready:?}");
    let file = Connection::open(&site.settings.path).unwrap();
    let pages = || -> i64 {
        let count = file.query_row("PRAGMA page_count", [], |row| row.get(0));
        count.unwrap()
    };
    let before = pages();
    file.execute("DELETE FROM waiting WHERE position = 1", [])
        .unwrap();
    assert_eq!(accept(&store, large("evt_4")).await, Receipt::Spooled);
    assert!(store.accept(vec![large("evt_5")]).await.is_err());
    assert_eq!(pages(), before);
    std::fs::remove_dir(&part).unwrap();
    assert_eq!(accept(&store, large("evt_5")).await, Receipt::Spooled);
    assert!(pages() > before);
    assert!(reserve.exists());
}

#[tokio::test]
async fn what_was_set_aside_is_put_back_little_by_little_and_in_order() {
    let site = Site::new(64 << 20);
    let nowhere = impatient("postgres://nobody@127.0.0.1:1/none");
    site.open(&nowhere).await.close().await;
    let file = Connection::open(&site.settings.path).unwrap();
    file.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 150)
         INSERT INTO aside (tenant_id, spooled_at, form, event, body, refused_at, reason)
         SELECT 't', n, 1, '', zeroblob(iif(n = 70, 3000000, 10)), 0, '' FROM n",
    )
    .unwrap();
    let store = site.open(&nowhere).await;
    assert_eq!(store.backlog().unwrap().waiting, 150);
    let told: (i64, i64, i64) = file
        .query_row(
            "SELECT count(DISTINCT run), sum(spooled_at <> position), (SELECT count(*) FROM aside) FROM waiting",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(told, (5, 0, 0));
}

/// Sends until there is no room, which is before anything was answered; gives back what becomes of all that was sent.
async fn crowd(store: &Arc<Store>) -> JoinSet<Receipt> {
    let mut senders = JoinSet::new();
    while store.has_room() {
        let store = Arc::clone(store);
        let event = received(event(&format!("evt_{}", senders.len())), 100);
        senders.spawn(async move { accept(&store, event).await });
        tokio::task::yield_now().await;
    }
    let failure = store.accept(vec![event("evt_more")]).await.unwrap_err();
    assert!(matches!(failure, InboxFailure::QueueFull), "{failure:?}");
    senders
}

async fn narrow(site: &Site, url: &Url) -> Arc<Store> {
    let limits = Limits {
        queue_deliveries: 2,
        batch_deliveries: 1,
        ..Limits::default()
    };
    let opened = Store::open_with_spool(url, limits, Some(&site.settings));
    Arc::new(opened.await.unwrap())
}

#[tokio::test]
async fn while_the_database_is_away_there_is_as_much_room_as_before_the_spool() {
    let site = Site::new(64 << 20);
    let nowhere = impatient("postgres://nobody@127.0.0.1:1/none");
    let store = narrow(&site, &nowhere).await;
    let holder = Connection::open(&site.settings.path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let senders = crowd(&store).await;
    holder.execute_batch("COMMIT").unwrap();
    let receipts = senders.join_all().await;
    assert!(receipts.iter().all(|receipt| *receipt == Receipt::Spooled));
    assert!(store.has_room());
}

#[tokio::test]
async fn while_the_database_is_there_no_room_before_it_is_none_though_the_spool_has_some() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url: Url = server.create_database("inbox").parse().unwrap();
    let site = Site::new(64 << 20);
    let store = narrow(&site, &url).await;
    let Url::Postgres(address) = &url else {
        panic!("no PostgreSQL");
    };
    let target = Target::load(address).unwrap();
    let holder = Session::open(&target, Purpose::Read).await.unwrap();
    let hold = "BEGIN; LOCK TABLE countersign.events IN EXCLUSIVE MODE";
    holder.client.batch_execute(hold).await.unwrap();
    let senders = crowd(&store).await;
    holder.client.batch_execute("COMMIT").await.unwrap();
    let receipts = senders.join_all().await;
    assert!(receipts.iter().all(|receipt| *receipt == Receipt::Accepted));
    assert!(store.has_room());
    assert_eq!(store.backlog().unwrap().state, "empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_is_set_aside_and_holds_nobody_up() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    server.stop(Ending::Fast);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let mut chance = Chance(7);
    // Longer than an index entry can be, and not to be compressed.
    let name: String = (0..20_000)
        .map(|_| char::from(b'a' + chance.below(26) as u8))
        .collect();
    for number in 0..40 {
        let producer = if number == 17 { &*name } else { "p" };
        let event = received(event(&format!("evt_{number}")), 100 + number);
        let event = of_tenant(event, "tenant-42", producer);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    // A bit that tipped over on the disk.
    let file = Connection::open(&site.settings.path).unwrap();
    let damage = "UPDATE waiting SET body = x'00' WHERE position = 5";
    assert_eq!(file.execute(damage, []).unwrap(), 1);
    drop(file);
    server.start_again();
    emptied(&store).await;
    assert_eq!(store.backlog().unwrap().aside, 2);
    assert_eq!(events(&store).await.len(), 38);
    store.close().await;
    // They are tried again at each start, and never dropped.
    let store = site.open(&url).await;
    emptied(&store).await;
    assert_eq!(store.backlog().unwrap().aside, 2);
    let file = Connection::open(&site.settings.path).unwrap();
    let reasons: String = file
        .query_row("SELECT group_concat(reason) FROM aside", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(reasons.contains("digest"), "{reasons}");
    assert!(reasons.contains("index row"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_can_not_be_emptied_says_so_and_holds_up_nothing_that_the_database_takes() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    server.stop(Ending::Fast);
    for number in 0..40 {
        let event = received(event(&format!("evt_{number}")), 100 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    assert_eq!(store.backlog().unwrap().reason, None);
    let file = Connection::open(&site.settings.path).unwrap();
    let held =
        "CREATE TRIGGER held BEFORE DELETE ON waiting BEGIN SELECT RAISE(ABORT, 'held'); END";
    file.execute_batch(held).unwrap();
    server.start_again();
    eventually(&store, "known to be stuck", |store| {
        store.backlog().unwrap().reason.is_some()
    })
    .await;
    let told = serde_json::to_value(store.backlog().unwrap()).unwrap();
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be read, or not be emptied"));
    assert_eq!(
        (&told["state"], &told["waiting"]),
        (&"moving".into(), &40.into())
    );
    assert_eq!(store.ready().await.unwrap(), Takes::Database);
    let next = received(event("evt_next"), 500);
    assert_eq!(accept(&store, next).await, Receipt::Accepted);
    file.execute_batch("DROP TRIGGER held").unwrap();
    emptied(&store).await;
    assert_eq!(store.backlog().unwrap().reason, None);
    assert_eq!(events(&store).await.len(), 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_which_another_session_holds_a_table_is_away_until_it_lets_go() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let first = received(event("evt_0"), 10);
    assert_eq!(accept(&store, first).await, Receipt::Accepted);
    let Url::Postgres(address) = &url else {
        panic!("another engine")
    };
    let holder = Session::open(&Target::load(address).unwrap(), Purpose::Look)
        .await
        .unwrap();
    let hold = "BEGIN; LOCK TABLE countersign.events IN SHARE MODE";
    holder.client.batch_execute(hold).await.unwrap();
    let next = received(event("evt_1"), 20);
    assert_eq!(accept(&store, next).await, Receipt::Spooled);
    eventually(&store, "known to be held", |store| {
        let reason = store.backlog().unwrap().reason;
        reason.is_some_and(|reason| reason.contains("another session"))
    })
    .await;
    for number in 2..10 {
        let event = received(event(&format!("evt_{number}")), 20 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
        assert_eq!(store.backlog().unwrap().state, "spooling");
    }
    holder.client.batch_execute("COMMIT").await.unwrap();
    emptied(&store).await;
    assert_eq!(store.backlog().unwrap().reason, None);
    assert_eq!(events(&store).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_at_which_the_database_fails_again_and_again_holds_nobody_up_for_ever() {
    let Some(text) = fresh_database() else {
        return;
    };
    let url = impatient(&text);
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    let (client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let fails = "CREATE FUNCTION countersign.fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.event_id = 'evt_3' THEN RAISE EXCEPTION 'a defect' USING ERRCODE = 'XX000'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER fails BEFORE INSERT ON countersign.events FOR EACH ROW EXECUTE FUNCTION countersign.fails()";
    client.batch_execute(fails).await.unwrap();
    let spooling = store.spooling.as_ref().unwrap();
    let events: Vec<Event> = (0..20)
        .map(|number| received(event(&format!("evt_{number}")), 100 + number))
        .collect();
    spooling.spool(&events, None).await.unwrap();
    emptied(&store).await;
    assert_eq!(store.backlog().unwrap().aside, 1);
    assert_eq!(self::events(&store).await.len(), 19);
}

/// Thirty events wait, of which the log alone has most, when `taken` of the three files go. What waited is moved, nothing more is
/// acknowledged, and after a start all is as it should be.
async fn loses_nothing_without(taken: &[&str]) {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = impatient(&server.create_database("inbox"));
    let site = Site::new(64 << 20);
    let store = site.open(&url).await;
    server.stop(Ending::Fast);
    for number in 0..30 {
        let event = received(event(&format!("evt_{number}")), 100 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    for companion in taken {
        let path = format!("{}{companion}", site.settings.path.display());
        std::fs::remove_file(path).unwrap();
    }
    for number in 0..20 {
        let refused = received(event(&format!("evt_{number}_refused")), 500);
        let failure = store.accept(vec![refused]).await.unwrap_err();
        let why = chain(&failure);
        assert!(why.contains("removed or replaced"), "{why}");
    }
    assert!(store.ready().await.is_err());
    assert!(!site.settings.path.exists(), "no other is made");
    server.start_again();
    emptied(&store).await;
    assert_eq!(events(&store).await.len(), 30);
    store.ready().await.unwrap();
    let next = received(event("evt_next"), 501);
    assert_eq!(accept(&store, next).await, Receipt::Accepted);
    store.close().await;
    let store = site.open(&url).await;
    server.stop(Ending::Fast);
    let again = received(event("evt_again"), 502);
    assert_eq!(accept(&store, again).await, Receipt::Spooled);
    server.start_again();
    emptied(&store).await;
    assert_eq!(events(&store).await.len(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_taken_away_is_noticed_and_what_waited_in_it_is_moved() {
    loses_nothing_without(&["", "-wal", "-shm"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_one_whose_log_is_left() {
    loses_nothing_without(&[""]).await;
}

#[tokio::test]
async fn only_its_owner_can_read_the_spool() {
    let Some(text) = fresh_database() else {
        return;
    };
    let site = Site::new(64 << 20);
    let store = site.open(&impatient(&text)).await;
    let spooling = store.spooling.as_ref().unwrap();
    spooling.spool(&[event("evt_1")], None).await.unwrap();
    assert_eq!(site.files().len(), 3);
    for path in site.files() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_spool_that_can_not_be_opened_stops_the_start() {
    let Some(text) = fresh_database() else {
        return;
    };
    let url = impatient(&text);
    let mut site = Site::new(64 << 20);
    let good = site.settings.path.clone();
    site.settings.path = good.with_file_name("missing").join("spool.db");
    let missing = site.settings.look().unwrap_err();
    assert!(chain(&missing).contains("mkdir -p"));
    let fault = Store::open_with_spool(&url, Limits::default(), Some(&site.settings))
        .await
        .unwrap_err();
    assert!(matches!(fault, StoreFault::Spool { .. }), "{fault}");
    // A store is no spool.
    site.settings.path = good;
    let file = Url::Sqlite(site.settings.path.clone());
    let store = Store::open(&file, Limits::default()).await.unwrap();
    store.close().await;
    assert!(site.settings.look().is_err());
    let fault = Store::open_with_spool(&url, Limits::default(), Some(&site.settings))
        .await
        .unwrap_err();
    assert!(matches!(fault, StoreFault::Spool { .. }), "{fault}");
    let file = Url::Sqlite(site.settings.path.with_file_name("store.db"));
    let fault = Store::open_with_spool(&file, Limits::default(), Some(&site.settings))
        .await
        .unwrap_err();
    assert!(matches!(fault, StoreFault::NeedlessSpool { .. }), "{fault}");
}
