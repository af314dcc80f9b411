//! What becomes of acknowledged events while the file, or its log, is not where it was.

use std::error::Error;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::inbox::{Inbox, InboxFailure, Limits};
use crate::store::fixtures::*;
use crate::store::{Filter, Store, StoreFault, Url, Views};

fn log_of(file: &Path) -> PathBuf {
    format!("{}-wal", file.display()).into()
}

async fn with_twenty(place: &Place) -> Store {
    let store = place.open().await;
    for number in 0..20 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    store
}

async fn refusal(store: &Store) -> String {
    let refused = store.accept(vec![event("evt_refused")]).await;
    let Err(InboxFailure::Unavailable { source }) = refused else {
        panic!("{refused:?}");
    };
    source.to_string()
}

async fn events_at(url: &Url) -> usize {
    let views = Views::open(url).unwrap();
    let filter = Filter {
        limit: 100,
        ..Filter::default()
    };
    views.events(filter).await.unwrap().items.len()
}

async fn start_is_refused(place: &Place) {
    let fault = Store::open(&place.url, Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(fault, StoreFault::LogAlone { .. }), "{fault}");
    assert!(fault.to_string().contains("begin anew"), "{fault}");
    assert!(!place.file().exists(), "no other is made");
}

/// As a move to another disk does it.
fn copy_and_remove(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    std::fs::remove_file(from).unwrap();
}

#[tokio::test]
async fn a_stop_while_the_file_is_on_another_disk_leaves_the_log_to_its_copy() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let elsewhere = place.file().with_file_name("elsewhere.db");
    copy_and_remove(&place.file(), &elsewhere);
    assert!(refusal(&store).await.contains("removed or replaced"));
    store.close().await;
    drop(store);
    start_is_refused(&place).await;
    copy_and_remove(&elsewhere, &place.file());
    let store = place.open().await;
    assert_eq!(events_at(&place.url).await, 20);
    accept(&store, event("evt_later")).await;
    store.close().await;
    assert_eq!(events_at(&place.url).await, 21);
}

#[tokio::test]
async fn nor_does_a_stop_apply_the_log_to_another_file_at_its_place() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let elsewhere = place.file().with_file_name("elsewhere.db");
    copy_and_remove(&place.file(), &elsewhere);
    std::fs::write(place.file(), "").unwrap();
    store.close().await;
    drop(store);
    assert_eq!(place.file().metadata().unwrap().len(), 0);
    std::fs::rename(&elsewhere, place.file()).unwrap();
    place.open().await.close().await;
    assert_eq!(events_at(&place.url).await, 20);
}

#[tokio::test]
async fn a_log_tells_that_there_was_a_store_though_it_is_empty() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let moved = place.file().with_file_name("moved.db");
    std::fs::rename(place.file(), &moved).unwrap();
    store.close().await;
    drop(store);
    // All of it is in the file.
    assert_eq!(log_of(&place.file()).metadata().unwrap().len(), 0);
    assert_eq!(events_at(&Url::Sqlite(moved)).await, 20);
    start_is_refused(&place).await;
    std::fs::remove_file(log_of(&place.file())).unwrap();
    let store = place.open().await;
    accept(&store, event("evt_anew")).await;
    store.close().await;
}

/// What a process that is killed now leaves of the file alone.
async fn events_after_a_kill(place: &Place) -> usize {
    let killed = Place::sqlite();
    std::fs::copy(place.file(), killed.file()).unwrap();
    killed.open().await.close().await;
    events_at(&killed.url).await
}

#[tokio::test]
async fn a_log_that_is_taken_away_is_noticed_and_all_of_it_is_in_the_file() {
    for replaced in [false, true] {
        let place = Place::sqlite();
        let store = with_twenty(&place).await;
        std::fs::remove_file(log_of(&place.file())).unwrap();
        if replaced {
            std::fs::write(log_of(&place.file()), "another").unwrap();
        }
        let why = refusal(&store).await;
        assert!(why.contains("-wal, was removed or replaced"), "{why}");
        assert!(why.contains("is in the file"), "{why}");
        assert!(store.ready().await.is_err());
        assert_eq!(events_after_a_kill(&place).await, 20);
        store.close().await;
        drop(store);
        let store = place.open().await;
        accept(&store, event("evt_later")).await;
        store.close().await;
        assert_eq!(events_at(&place.url).await, 21);
    }
}

#[tokio::test]
async fn a_stop_leaves_no_log_though_somebody_read() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let read = store.views().events(Filter::default()).await.unwrap();
    assert!(!read.items.is_empty());
    store.close().await;
    drop(store);
    assert!(!log_of(&place.file()).exists());
}

#[tokio::test]
async fn a_log_that_came_back_and_is_taken_away_again_is_moved_again() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let log = log_of(&place.file());
    let away = log.with_file_name("away");
    std::fs::rename(&log, &away).unwrap();
    assert!(refusal(&store).await.contains("-wal, was removed"));
    std::fs::rename(&away, &log).unwrap();
    accept(&store, event("evt_later")).await;
    std::fs::remove_file(&log).unwrap();
    assert!(refusal(&store).await.contains("is in the file"));
    assert_eq!(events_after_a_kill(&place).await, 21);
    store.close().await;
    assert_eq!(events_at(&place.url).await, 21);
}

#[tokio::test]
async fn so_it_is_though_nothing_comes_after_it() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    store.ready().await.unwrap();
    std::fs::remove_file(log_of(&place.file())).unwrap();
    let mut why = String::new();
    let not_ready = store.ready().await.unwrap_err();
    let mut cause = not_ready.source();
    while let Some(error) = cause {
        why.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(why.contains("-wal, was removed or replaced"), "{why}");
    assert_eq!(events_after_a_kill(&place).await, 20);
}

#[tokio::test]
async fn what_a_reader_keeps_from_the_file_is_moved_once_it_may_be() {
    let place = Place::sqlite();
    let store = with_twenty(&place).await;
    let reader = Connection::open(place.file()).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM events")
        .unwrap();
    accept(&store, event("evt_more")).await;
    std::fs::remove_file(log_of(&place.file())).unwrap();
    let why = refusal(&store).await;
    assert!(why.contains("could not yet be moved"), "{why}");
    reader.execute_batch("COMMIT").unwrap();
    let why = refusal(&store).await;
    assert!(why.contains("is in the file"), "{why}");
    assert_eq!(events_after_a_kill(&place).await, 21);
}

#[tokio::test]
async fn a_file_behind_a_link_has_its_log_beside_itself() {
    let place = Place::sqlite();
    let disk = tempfile::tempdir().unwrap();
    let file = disk.path().join("store.db");
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&file, place.file()).unwrap();
    let store = with_twenty(&place).await;
    assert!(log_of(&file).exists());
    store.ready().await.unwrap();
    std::fs::remove_file(log_of(&file)).unwrap();
    assert!(refusal(&store).await.contains("is in the file"));
}

#[tokio::test]
async fn a_lock_that_somebody_else_holds_is_named() {
    let place = Place::sqlite();
    let store = std::sync::Arc::new(with_twenty(&place).await);
    let holder = Connection::open(place.file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move { accept(&store, event("evt_waits")).await }
    });
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    let fault = loop {
        if let Err(fault) = store.engines.expect_unlocked() {
            break fault.to_string();
        }
        looks.tick().await;
    };
    assert!(fault.contains("SQLITE_BUSY"), "{fault}");
    assert!(fault.contains("fuser -v "), "{fault}");
    holder.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap();
    store.engines.expect_unlocked().unwrap();
}

#[test]
fn a_disk_that_fails_is_no_file_that_was_removed() {
    use super::place::unseen;
    let told = |error: i32| {
        let error = std::io::Error::from_raw_os_error(error);
        unseen(Path::new("/data/c.db"), error).to_string()
    };
    // EIO, ESHUTDOWN, EACCES.
    for error in [5, 108] {
        assert!(told(error).contains("I/O error"), "{}", told(error));
    }
    assert!(told(13).contains("must be able to read"), "{}", told(13));
}
