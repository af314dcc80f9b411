//! Copies of the embedded store, made while it is written to.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::backup::{CopyFailure, copy};
use crate::inbox::Inbox;
use crate::store::fixtures::*;
use crate::store::views::{Filter, PaymentView};
use crate::store::{BackupFailure, StoreFault, Url, Views, back_up};

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

async fn payments(url: &Url) -> Vec<PaymentView> {
    let views = Views::open(url).unwrap();
    views.payments(Filter::default()).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_and_holds_nobody_up() {
    let place = Place::sqlite();
    let store = Arc::new(place.open().await);
    for number in 0..400 {
        let big = with_body(event(&format!("big_{number}")), vec![b'x'; 20_000]);
        accept(&store, big).await;
    }
    // Each delivery adds an event to all of the payments, or to none: whichever moment is copied, they have as many.
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        async move {
            let mut rounds = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let delivery = ["pay_a", "pay_b", "pay_c"]
                    .map(|id| payment_event(&format!("{id}_{rounds}"), id, "succeeded", 5));
                store.accept(delivery.to_vec()).await.unwrap();
                rounds += 1;
            }
            rounds
        }
    });
    while payments(&place.url).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let out = place.file().with_file_name("copy.db");
    let (url, target) = (place.url.clone(), out.clone());
    let (copied, commits_meanwhile) = tokio::task::spawn_blocking(move || {
        let watch = Connection::open(match &url {
            Url::Sqlite(path) => path.clone(),
            Url::Postgres(_) => panic!("no file"),
        })
        .unwrap();
        let last = || -> i64 {
            watch
                .query_row("SELECT max(event) FROM events", [], |row| row.get(0))
                .unwrap()
        };
        let (before, mut after, mut steps) = (last(), 0, 0);
        let copied = back_up(&url, &target, &mut |_, _| {
            steps += 1;
            // The copy waits for a commit in its midst, which must be let through.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while steps == 1 && after <= before && std::time::Instant::now() < deadline {
                after = last();
            }
            GO_ON
        });
        assert!(steps > 1, "it was copied in several steps");
        (copied.unwrap(), after - before)
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    let rounds = writer.await.unwrap();
    assert!(commits_meanwhile > 0);

    let metadata = std::fs::metadata(&out).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.len(), copied.bytes);
    let beside = std::fs::read_dir(out.parent().unwrap()).unwrap();
    let beside: Vec<_> = beside
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("copy"))
        .collect();
    assert_eq!(beside, ["copy.db"]);
    let copy = Url::Sqlite(out);
    let counts: Vec<u64> = payments(&copy).await.iter().map(|p| p.events).collect();
    assert_eq!(counts.len(), 3);
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert!(counts[0] < rounds, "what came later is not in it");

    // It is a store like any other.
    let copy = crate::store::Store::open(&copy, crate::inbox::Limits::default())
        .await
        .unwrap();
    let again = payment_event("pay_a_0", "pay_a", "succeeded", 5);
    assert_eq!(accept(&copy, again).await, crate::inbox::Receipt::Duplicate);
}

#[tokio::test]
async fn of_a_copy_that_is_interrupted_nothing_is_left() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let out = place.file().with_file_name("copy.db");
    let failure = back_up(&place.url, &out, &mut |_, _| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(failure, BackupFailure::Interrupted), "{failure:?}");
    let beside = std::fs::read_dir(out.parent().unwrap()).unwrap();
    let mut names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.all(|name| !name.starts_with("copy")));
    back_up(&place.url, &out, &mut |_, _| GO_ON).unwrap();
}

#[tokio::test]
async fn a_copy_that_has_no_directory_is_told_which() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let directory = place.file().with_file_name("nodir");
    let failure = back_up(&place.url, &directory.join("copy.db"), &mut |_, _| GO_ON).unwrap_err();
    let told = failure.to_string();
    let expected = format!(
        "the directory {} does not exist; make it",
        directory.display()
    );
    assert!(told.contains(&expected), "{told}");
}

#[tokio::test]
async fn a_copy_takes_no_other_files_place() {
    let place = Place::sqlite();
    let out = place.file().with_file_name("copy.db");
    let copy = || back_up(&place.url, &out, &mut |_, _| GO_ON);
    let none = copy().unwrap_err();
    assert!(
        matches!(none, BackupFailure::Store(StoreFault::NoStore { .. })),
        "{none}"
    );
    place.open().await.close().await;
    std::fs::write(&out, "a diary").unwrap();
    assert!(matches!(copy(), Err(BackupFailure::Taken { .. })));
    assert_eq!(std::fs::read(&out).unwrap(), b"a diary");
    std::fs::remove_file(&out).unwrap();
    // Somebody else is about it, or was cut off.
    let part = place.file().with_file_name("copy.db.part");
    std::fs::write(&part, "").unwrap();
    assert!(matches!(copy(), Err(BackupFailure::Taken { path }) if path == part));
    std::fs::remove_file(&part).unwrap();
    copy().unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_not_taken_for_a_backup() {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..200 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    store.close().await;
    drop(store);
    // An index loses its entries, as by bad blocks: its pages are those of another, empty one.
    let connection = Connection::open(place.file()).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON; PRAGMA journal_mode = DELETE;
             UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'payments_by_change')
                 WHERE name = 'events_by_time';",
        )
        .unwrap();
    drop(connection);
    let out = place.file().with_file_name("copy.db");
    let failure = back_up(&place.url, &out, &mut |_, _| GO_ON).unwrap_err();
    assert!(
        matches!(failure, BackupFailure::Store(StoreFault::Damaged { .. })),
        "{failure:?}"
    );
    assert!(!out.exists());
    let part = place.file().with_file_name("copy.db.part");
    assert!(!part.exists());
    // The copy is checked when the store is let go already: the receiver's log would grow meanwhile.
    std::fs::write(&part, "").unwrap();
    let read = Connection::open(place.file()).unwrap();
    let failure = copy(&read, &part, &mut |_, _| GO_ON).unwrap_err();
    assert!(matches!(failure, CopyFailure::Unsound(_)), "{failure:?}");
    assert!(read.is_autocommit());
}
