//! What goes wrong with a file, and how the embedded engine takes it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::engine::{Sqlite, open};
use super::errors;
use crate::inbox::{BatchFailure, Engine, Event, Inbox, InboxFailure, Isolation, Limits, Receipt};
use crate::store::errands::Errands;
use crate::store::fixtures::*;
use crate::store::row::Row;
use crate::store::{
    BackupFailure, Export, ExportFailure, Filter, Mappings, ReadFailure, Replay, ReplayFailure,
    ReplayMode, Store, StoreFault, Views, back_up,
};

async fn fault_of(place: &Place) -> StoreFault {
    Store::open(&place.url, Limits::default())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_missing_directory_is_a_fault_that_says_what_to_do() {
    let place = Place::sqlite();
    let url = crate::store::Url::Sqlite(place.file().with_file_name("missing").join("inbox.db"));
    let fault = Store::open(&url, Limits::default()).await.unwrap_err();
    assert!(matches!(fault, StoreFault::NoDirectory { .. }), "{fault}");
    assert!(fault.to_string().contains("mkdir -p"), "{fault}");
}

#[tokio::test]
async fn a_file_that_is_no_database_stops_the_start() {
    let place = Place::sqlite();
    std::fs::write(
        place.file(),
        "this is a diary, and no database at all".repeat(100),
    )
    .unwrap();
    assert!(matches!(fault_of(&place).await, StoreFault::Damaged { .. }));
    assert_eq!(
        std::fs::read(place.file()).unwrap().len(),
        3900,
        "it is left as it was"
    );
}

#[tokio::test]
async fn a_damaged_schema_stops_the_start() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let mut bytes = std::fs::read(place.file()).unwrap();
    bytes[100..4096].fill(0x5a);
    std::fs::write(place.file(), bytes).unwrap();
    assert!(matches!(fault_of(&place).await, StoreFault::Damaged { .. }));
}

#[tokio::test]
async fn a_file_that_is_damaged_within_is_named_by_whatever_reads_it() {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..20 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    store.close().await;
    drop(store);
    let root: u32 = Connection::open(place.file())
        .unwrap()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'events'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let mut bytes = std::fs::read(place.file()).unwrap();
    let end = usize::try_from(root).unwrap() * 4096;
    bytes[end - 4096..end].fill(0x5a);
    std::fs::write(place.file(), bytes).unwrap();
    let check = |fault: StoreFault| {
        assert!(matches!(fault, StoreFault::Damaged { .. }), "{fault}");
        let told = fault.in_full();
        for part in [
            &*place.file().display().to_string(),
            "malformed",
            ".recover",
        ] {
            assert!(told.contains(part), "{told}");
        }
    };
    let views = Views::open(&place.url).unwrap();
    let Err(ReadFailure::Store(fault)) = views.events(Filter::default()).await else {
        panic!("it was read");
    };
    check(fault);
    let export = Export::default();
    let mut out = Vec::new();
    let exported = export.run(&place.url, None, &mut out, &mut |_, _| {}).await;
    let Err(ExportFailure::Store(fault)) = exported else {
        panic!("it was exported");
    };
    check(fault);
    let replay = replay_of_all();
    let replayed = replay
        .run(&place.url, Mappings::default(), Box::new(|_, _| {}))
        .await;
    let Err(ReplayFailure::Store(fault)) = replayed else {
        panic!("it was replayed");
    };
    check(fault);
    let out = place.file().with_file_name("copy.db");
    let copied = back_up(&place.url, &out, &mut |_, _| ControlFlow::Continue(()));
    let Err(BackupFailure::Store(fault)) = copied else {
        panic!("it was copied");
    };
    assert!(matches!(fault, StoreFault::Damaged { .. }), "{fault}");
    assert!(!out.exists());
}

#[tokio::test]
async fn a_log_without_its_file_is_told_to_whoever_reads() {
    let place = Place::sqlite();
    std::fs::write(place.file().with_file_name("inbox.db-wal"), "what is left").unwrap();
    let start = fault_of(&place).await;
    assert!(matches!(start, StoreFault::LogAlone { .. }), "{start}");
    let views = Views::open(&place.url).unwrap();
    let Err(ReadFailure::Store(fault)) = views.events(Filter::default()).await else {
        panic!("it was read");
    };
    assert_eq!(fault.to_string(), start.to_string());
    let replay = replay_of_all();
    let replayed = replay
        .run(&place.url, Mappings::default(), Box::new(|_, _| {}))
        .await;
    assert_eq!(replayed.unwrap_err().to_string(), start.to_string());
}

fn replay_of_all() -> Replay {
    Replay {
        since: jiff::Timestamp::UNIX_EPOCH,
        tenant: None,
        producer: None,
        mode: ReplayMode::DryRun,
    }
}

#[test]
fn a_start_tells_of_a_disk_that_is_full_and_of_one_that_fails() {
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let place = Place::sqlite();
    let full = errors::fault(&place.file(), error(rusqlite::ffi::SQLITE_FULL));
    assert!(matches!(full, StoreFault::NoRoom { .. }), "{full}");
    // Of a disk that has room for the log's index.
    let fails = errors::fault(&place.file(), error(rusqlite::ffi::SQLITE_IOERR_SHMSIZE));
    assert!(matches!(fails, StoreFault::DiskFails { .. }), "{fails}");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let place = Place::sqlite();
    Connection::open(place.file())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (a)")
        .unwrap();
    assert!(matches!(fault_of(&place).await, StoreFault::Foreign { .. }));
}

#[tokio::test]
async fn a_store_that_a_newer_version_wrote_is_refused() {
    let place = Place::sqlite();
    place.open().await.close().await;
    Connection::open(place.file())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        fault_of(&place).await,
        StoreFault::Newer { found: 99, .. }
    ));
    let read = Views::open(&place.url)
        .unwrap()
        .events(Filter::default())
        .await;
    assert!(matches!(
        read,
        Err(ReadFailure::Store(StoreFault::Newer { .. }))
    ));
}

#[tokio::test]
async fn a_store_that_is_not_there_cannot_be_read_and_is_not_made() {
    let place = Place::sqlite();
    let read = Views::open(&place.url)
        .unwrap()
        .events(Filter::default())
        .await;
    assert!(matches!(
        read,
        Err(ReadFailure::Store(StoreFault::NoStore { .. }))
    ));
    assert!(!place.file().exists());
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::sqlite();
    let store = place.open().await;
    accept(&store, event("evt_1")).await;
    for companion in ["", "-wal", "-shm"] {
        let path = format!("{}{companion}", place.file().display());
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{companion}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receivers_that_start_at_once_on_an_empty_place_migrate_it_once() {
    let place = Place::sqlite();
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..6 {
        let url = place.url.clone();
        starts.spawn(async move {
            let store = Store::open(&url, Limits::default()).await.unwrap();
            accept(&store, event("evt_1")).await;
            accept(&store, event(&format!("evt_of_{number}"))).await;
            store.close().await;
        });
    }
    starts.join_all().await;
    let events = Views::open(&place.url)
        .unwrap()
        .events(Filter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 7);
    assert_eq!(events.iter().map(|event| event.duplicates).sum::<u64>(), 5);
}

fn rows(events: &[Event]) -> Vec<Vec<Row>> {
    events
        .iter()
        .map(|event| vec![Row::prepare(event.clone())])
        .collect()
}

fn engine(path: &Path) -> Sqlite {
    Sqlite::new(path, open(path).unwrap(), Arc::new(Errands::default())).unwrap()
}

/// Makes the state of this payment unreadable, as a damaged page would.
fn spoil(path: &Path, payment_id: &str) {
    let connection = Connection::open(path).unwrap();
    let spoiled = connection
        .execute(
            "UPDATE payments SET state = 'x' WHERE payment_id = ?1",
            [payment_id],
        )
        .unwrap();
    assert_eq!(spoiled, 1);
}

#[tokio::test]
async fn a_bad_row_never_fails_its_neighbours() {
    let place = Place::sqlite();
    let mut engine = engine(&place.file());
    let first = rows(&[payment_event("evt_1", "pay_bad", "pending", 1)]);
    engine.commit(&first, Isolation::Together).await.unwrap();
    spoil(&place.file(), "pay_bad");
    let batch = rows(&[
        payment_event("evt_2", "pay_good", "succeeded", 2),
        of_tenant(
            payment_event("evt_3", "pay_x", "succeeded", 2),
            "tenant-new",
            "new",
        ),
        payment_event("evt_4", "pay_bad", "succeeded", 2),
        payment_event("evt_5", "pay_good", "refunded", 3),
        of_tenant(
            payment_event("evt_6", "pay_x", "refunded", 3),
            "tenant-new",
            "new",
        ),
    ]);
    let together = engine.commit(&batch, Isolation::Together).await;
    assert!(
        matches!(together, Err(BatchFailure::Row(_))),
        "{together:?}"
    );
    let apart = engine.commit(&batch, Isolation::Apart).await.unwrap();
    let outcomes: Vec<bool> = apart.iter().map(Result::is_ok).collect();
    assert_eq!(outcomes, [true, true, false, true, true]);
    let views = Views::open(&place.url).unwrap();
    assert_eq!(
        views.events(Filter::default()).await.unwrap().items.len(),
        5
    );
    assert!(views.events_by_id(None, "evt_4").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_spoiled_row_is_a_failure_of_its_own_delivery_alone() {
    let place = Place::sqlite();
    let store = place.open().await;
    accept(&store, payment_event("evt_1", "pay_bad", "pending", 1)).await;
    spoil(&place.file(), "pay_bad");
    let (bad, good) = tokio::join!(
        store.accept(vec![payment_event("evt_2", "pay_bad", "succeeded", 2)]),
        store.accept(vec![payment_event("evt_3", "pay_good", "succeeded", 2)]),
    );
    assert!(matches!(bad, Err(InboxFailure::Row { .. })), "{bad:?}");
    assert_eq!(good.unwrap(), [Receipt::Accepted]);
}

#[tokio::test]
async fn a_full_disk_is_a_failure_and_passes_by_itself() {
    let place = Place::sqlite();
    let connection = open(&place.file()).unwrap();
    let pages: i64 = connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    connection
        .pragma_update(None, "max_page_count", pages + 8)
        .unwrap();
    let mut engine = Sqlite::new(&place.file(), connection, Arc::new(Errands::default())).unwrap();
    let big = |id: &str| rows(&[with_body(event(id), vec![b'x'; 8000])]);
    let mut kept = 0;
    let failure = loop {
        match engine
            .commit(&big(&format!("evt_{kept}")), Isolation::Together)
            .await
        {
            Ok(_) => kept += 1,
            Err(failure) => break failure,
        }
        assert!(kept < 100);
    };
    assert!(
        matches!(failure, BatchFailure::Unavailable(_)),
        "{failure:?}"
    );
    assert!(
        engine
            .commit(&big("evt_still"), Isolation::Together)
            .await
            .is_err()
    );
    // Somebody makes room.
    engine.with_connection(|connection| {
        connection
            .pragma_update(None, "max_page_count", 1_000_000)
            .unwrap()
    });
    engine
        .commit(&big("evt_after"), Isolation::Together)
        .await
        .unwrap();
    let events = Views::open(&place.url)
        .unwrap()
        .events(Filter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), kept + 1);
}

#[tokio::test]
async fn a_connection_that_cannot_be_trusted_is_replaced() {
    let place = Place::sqlite();
    let mut engine = engine(&place.file());
    engine
        .commit(&rows(&[event("evt_1")]), Isolation::Together)
        .await
        .unwrap();
    engine.forget_connection();
    engine
        .commit(&rows(&[event("evt_2")]), Isolation::Together)
        .await
        .unwrap();
    let events = Views::open(&place.url)
        .unwrap()
        .events(Filter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_store_can_be_read_while_a_batch_is_being_written() {
    let place = Place::sqlite();
    let store = place.open().await;
    accept(&store, event("evt_1")).await;
    let holder = Connection::open(place.file()).unwrap();
    holder
        .execute_batch("BEGIN IMMEDIATE; DELETE FROM events")
        .unwrap();
    assert_eq!(
        store
            .views()
            .events(Filter::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    holder.execute_batch("ROLLBACK").unwrap();
}

fn companions(file: &Path) -> [std::path::PathBuf; 3] {
    ["", "-wal", "-shm"].map(|companion| format!("{}{companion}", file.display()).into())
}

/// Events are acknowledged, `taken` of the three files go elsewhere, something else may be put there, and all comes back.
async fn loses_nothing_while_away(taken: usize, put: Option<&[u8]>) {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..20 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    let elsewhere = place.file().with_file_name("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let moved = |path: &Path| elsewhere.join(path.file_name().unwrap());
    let files = companions(&place.file());
    for path in files.iter().take(taken) {
        std::fs::rename(path, moved(path)).unwrap();
    }
    if let Some(bytes) = put {
        std::fs::write(place.file(), bytes).unwrap();
    }
    for number in 0..5 {
        let refused = store
            .accept(vec![event(&format!("evt_{number}_refused"))])
            .await;
        let Err(InboxFailure::Unavailable { source }) = refused else {
            panic!("{refused:?}");
        };
        let displaced = source.downcast_ref::<StoreFault>();
        assert!(
            matches!(displaced, Some(StoreFault::Displaced { .. })),
            "{source}"
        );
    }
    assert!(store.ready().await.is_err());
    assert_eq!(place.file().exists(), put.is_some(), "no other is made");
    for path in files.iter().take(taken) {
        std::fs::rename(moved(path), path).unwrap();
    }
    store.ready().await.unwrap();
    accept(&store, event("evt_later")).await;
    store.close().await;
    let store = place.open().await;
    let views = Views::open(&place.url).unwrap();
    let found = views
        .events(Filter {
            limit: 100,
            ..Filter::default()
        })
        .await
        .unwrap();
    assert_eq!(found.items.len(), 21);
    store.close().await;
}

#[tokio::test]
async fn a_store_whose_file_is_moved_away_writes_nothing_until_it_is_back() {
    loses_nothing_while_away(1, None).await;
    loses_nothing_while_away(3, None).await;
}

#[tokio::test]
async fn nor_does_it_write_to_another_file_at_its_place() {
    loses_nothing_while_away(1, Some(b"")).await;
    loses_nothing_while_away(3, Some(b"no database")).await;
}

#[tokio::test]
async fn at_the_stop_all_that_was_acknowledged_is_in_the_file_wherever_that_is() {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..20 {
        accept(&store, event(&format!("evt_{number}"))).await;
    }
    let moved = place.file().with_file_name("moved.db");
    std::fs::rename(place.file(), &moved).unwrap();
    store.close().await;
    let moved = crate::store::Url::Sqlite(moved);
    let views = Views::open(&moved).unwrap();
    let found = views
        .events(Filter {
            limit: 100,
            ..Filter::default()
        })
        .await
        .unwrap();
    assert_eq!(found.items.len(), 20);
}

#[tokio::test]
async fn a_log_without_its_file_is_not_thrown_away_by_a_start() {
    let place = Place::sqlite();
    let store = place.open().await;
    accept(&store, event("evt_1")).await;
    // As a process that was killed leaves it.
    let [file, log, _] = companions(&place.file());
    let (file_then, log_then) = (std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap());
    store.close().await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&log, &log_then).unwrap();
    let fault = fault_of(&place).await;
    assert!(matches!(fault, StoreFault::LogAlone { .. }), "{fault}");
    std::fs::write(&file, file_then).unwrap();
    let store = place.open().await;
    let views = Views::open(&place.url).unwrap();
    assert_eq!(
        views.events(Filter::default()).await.unwrap().items.len(),
        1
    );
    store.close().await;
}

#[tokio::test]
async fn a_log_that_is_taken_away_from_a_writer_without_a_connection_is_in_the_file_after_the_stop()
{
    let place = Place::sqlite();
    let mut engine = engine(&place.file());
    let kept = rows(&[event("evt_1")]);
    engine.commit(&kept, Isolation::Together).await.unwrap();
    // As after a commit whose sync failed: only what moves the log still holds it.
    engine.forget_connection();
    std::fs::remove_file(super::place::log_of(&place.file())).unwrap();
    let more = rows(&[event("evt_2")]);
    let refused = engine.commit(&more, Isolation::Together).await;
    let Err(BatchFailure::Unavailable(cause)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        matches!(cause.downcast_ref(), Some(StoreFault::LogDisplaced { .. })),
        "{cause}"
    );
    engine.close();
    let file = Connection::open(place.file()).unwrap();
    let events = file.query_row("SELECT count(*) FROM events", [], |row| {
        row.get::<_, i64>(0)
    });
    assert_eq!(events, Ok(1));
}
