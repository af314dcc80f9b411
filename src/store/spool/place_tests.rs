//! What becomes of what waits in a spool while its file, or its log, is not where it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::backlog::Counts;
use super::engine::Spool;
use super::queue::Queue;
use super::reserve::Reserve;
use super::tests::{Site, impatient};
use crate::inbox::{Engine, Inbox, Isolation, Receipt};
use crate::store::fixtures::*;
use crate::store::{Store, StoreFault, events_in_spool};

fn log_of(file: &Path) -> PathBuf {
    format!("{}-wal", file.display()).into()
}

async fn with_thirty(site: &Site) -> Store {
    let store = open(site).await;
    for number in 0..30 {
        let event = received(event(&format!("evt_{number}")), 100 + number);
        assert_eq!(accept(&store, event).await, Receipt::Spooled);
    }
    store
}

async fn open(site: &Site) -> Store {
    let nowhere = impatient("postgres://nobody@127.0.0.1:1/none");
    site.open(&nowhere).await
}

async fn refusal(store: &Store) -> String {
    let refused = received(event("evt_refused"), 500);
    let failure = store.accept(vec![refused]).await.unwrap_err();
    let mut why = failure.to_string();
    let mut cause = std::error::Error::source(&failure);
    while let Some(error) = cause {
        why.push_str(&error.to_string());
        cause = error.source();
    }
    why
}

#[tokio::test]
async fn the_store_is_no_spool_and_no_other_programs() {
    let (site, store) = (Site::new(64 << 20), Place::sqlite());
    store.open().await.close().await;
    std::fs::copy(store.file(), &site.settings.path).unwrap();
    let fault = site.settings.look().unwrap_err();
    let told = fault.what_with_causes();
    assert!(
        told.contains("this file is the store of countersign"),
        "{told}"
    );
    assert_eq!(
        fault.mend().unwrap(),
        "name another file in store.spool.path"
    );
}

#[tokio::test]
async fn a_stop_while_the_file_is_on_another_disk_leaves_the_log_to_its_copy() {
    let site = Site::new(64 << 20);
    let store = with_thirty(&site).await;
    let file = &site.settings.path;
    let elsewhere = file.with_file_name("elsewhere.db");
    std::fs::copy(file, &elsewhere).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(refusal(&store).await.contains("removed or replaced"));
    store.close().await;
    drop(store);
    let StoreFault::Spool { within } = site.settings.look().unwrap_err() else {
        panic!("another fault");
    };
    assert!(matches!(*within, StoreFault::LogAlone { .. }), "{within}");
    std::fs::copy(&elsewhere, file).unwrap();
    let store = open(&site).await;
    assert_eq!(store.backlog().unwrap().waiting, 30);
    let next = received(event("evt_next"), 501);
    assert_eq!(accept(&store, next).await, Receipt::Spooled);
    store.close().await;
    assert_eq!(events_in_spool(file).unwrap(), 31);
}

#[tokio::test]
async fn a_log_that_is_taken_away_is_noticed_and_all_of_it_is_in_the_file() {
    let site = Site::new(64 << 20);
    let store = with_thirty(&site).await;
    let file = &site.settings.path;
    std::fs::remove_file(log_of(file)).unwrap();
    let why = refusal(&store).await;
    assert!(why.contains("-wal, was removed or replaced"), "{why}");
    assert!(store.ready().await.is_err());
    // What a process that is killed now leaves.
    let killed = file.with_file_name("killed.db");
    std::fs::copy(file, &killed).unwrap();
    assert_eq!(events_in_spool(&killed).unwrap(), 30);
    store.close().await;
    drop(store);
    let store = open(&site).await;
    assert_eq!(store.backlog().unwrap().waiting, 30);
    let next = received(event("evt_next"), 501);
    assert_eq!(accept(&store, next).await, Receipt::Spooled);
    store.close().await;
}

#[tokio::test]
async fn the_mover_moves_again_what_a_failed_sync_of_the_writers_lost() {
    let site = Site::new(64 << 20);
    let file = &site.settings.path;
    let reserve = Arc::new(Reserve::of(file, 100_000, 1_000));
    let counts = Arc::new(Counts::default());
    let mut spool = Spool::open(&site.settings, Arc::clone(&reserve), counts).unwrap();
    let mut queue = Queue::new(file, reserve, spool.unsynced());
    assert_eq!(queue.count().unwrap().waiting, 0);
    let before = std::fs::read(file).unwrap();
    let row = |number: u64| Spool::prepare(received(event(&format!("evt_{number}")), 100));
    let most = [(0..200).map(row).collect()];
    spool.commit(&most, Isolation::Together).await.unwrap();
    let reader = Connection::open(file).unwrap();
    let reading = reader.unchecked_transaction().unwrap();
    reading
        .query_row("SELECT count(*) FROM waiting", [], |_| Ok(()))
        .unwrap();
    let last = [vec![row(200)]];
    spool.commit(&last, Isolation::Together).await.unwrap();
    // No further than the reader sees, and so without a sync.
    spool.tidy().await;
    drop(reading);
    std::fs::write(file, before).unwrap();
    let unsynced = spool.unsynced();
    // SQLITE_IOERR_FSYNC
    let failed = rusqlite::ffi::Error::new(1034);
    unsynced.note::<()>(&Err(rusqlite::Error::SqliteFailure(failed, None)));
    // What it reads before, the system would still have in memory.
    let _unread = queue.count();
    let alone = file.with_file_name("alone.db");
    std::fs::copy(file, &alone).unwrap();
    assert_eq!(events_in_spool(&alone).unwrap(), 201);
}
