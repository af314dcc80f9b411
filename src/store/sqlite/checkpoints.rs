//! Moving SQLite's log into its file beside the writer, so that no delivery waits for it.
//!
//! A thread of its own moves what has gathered, with a connection of its own; the writer meanwhile appends. Only the
//! writer can tell when the log may begin anew, so once little is left it moves the rest itself, between two batches:
//! some pages and two syncs. Should the thread not keep up, the log still has a bound.
//!
//! What the log holds takes its room once more in the file, and a log that filled the disk could never be moved. So on a disk with
//! little room left nothing stays in it after a batch: a batch that finds no room leaves behind what can be cut off.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::file::{LOCK_TOLD, fault, leave_the_log, set_up};
use super::place::room_beside;
use super::unsynced::Unsynced;
use crate::store::fault::StoreFault;

/// Pages in the log that are not in the file yet, from which on the thread moves them.
const STEP_PAGES: i64 = 2_000;
/// Pages of the log from which on it should begin anew.
const LOG_PAGES: i64 = 8_000;
/// Pages that the writer may move itself: a few milliseconds' worth.
const REST_PAGES: i64 = 400;
/// Pages of the log (128 MiB) at which the writer moves all that is left, however long it takes.
const LOG_PAGES_MAX: i64 = 32_000;

/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4096;
/// Bytes of room, beside those for what the log holds, with which a batch may still find it too small.
const BATCH_BYTES: u64 = 96 << 20;

/// The way to the thread. Dropping it ends the thread once it is done.
#[derive(Debug)]
pub(super) struct Checkpoints {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    file: PathBuf,
    /// Whether it was told already that the log cannot be emptied on a disk with little room.
    told: AtomicBool,
    unsynced: Arc<Unsynced>,
    /// Whether it was told already that what a failed sync may have lost could not be moved again.
    failing: AtomicBool,
}

/// What the end of moving leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// What was moved is in the file.
    Sound,
    /// It may not be: the log must stay, and the next start moves all of it.
    Doubtful,
}

impl Checkpoints {
    /// Starts the thread for this file.
    pub(super) fn start(path: &Path) -> Result<Self, StoreFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        set_up(&connection)
            .and_then(|()| leave_the_log(&connection))
            .map_err(|error| fault(path, error))?;
        // One signal is enough: the thread moves all that there is.
        let (wake, woken) = sync_channel(1);
        // The room is that of the disk on which it lies, whatever links lead there.
        let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let unsynced = Arc::new(Unsynced::of(&file));
        let seen = Arc::clone(&unsynced);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || run(&connection, &woken, &seen))
            .map_err(|error| StoreFault::NoWriter {
                source: error.into(),
            })?;
        Ok(Self {
            wake,
            thread,
            file,
            told: AtomicBool::new(false),
            unsynced,
            failing: AtomicBool::new(false),
        })
    }

    /// Waits until the thread has closed its connection.
    pub(super) fn end(self, writer: Option<&Connection>) -> Left {
        drop(self.wake);
        // A thread that panicked has said so already.
        let _joined = self.thread.join().is_ok();
        let sound = match writer {
            Some(writer) => {
                state(writer).is_ok_and(|log| is_sound(&self.unsynced, &log, &self.failing))
            }
            None => !self.unsynced.is_doubtful(),
        };
        if sound { Left::Sound } else { Left::Doubtful }
    }

    /// Looks after the log, on the writer's connection and between its transactions.
    pub(super) fn tend(&self, writer: &Connection) {
        // Before the state is read: of what another is moving it would tell too little.
        let alone = self.unsynced.alone();
        let Ok(log) = state(writer) else { return };
        let left = log.pages.saturating_sub(log.moved);
        if alone.is_none() {
            self.wake_if_worth_it(left);
            return;
        }
        if self.unsynced.is_to_rest() || !is_sound(&self.unsynced, &log, &self.failing) {
            return;
        }
        if is_short(room_beside(&self.file), left) {
            let emptied = empty(writer);
            self.unsynced.note(&emptied);
            let failed = !matches!(emptied, Ok(true));
            // Once: every batch would say it again.
            if !self.told.swap(failed, Ordering::Relaxed) {
                if let Ok(false) = emptied {
                    tracing::warn!(
                        store = %self.file.display(),
                        "a reader (a backup, an export) keeps the store's log from being emptied, and its disk has little room: the log grows until \
                         that reader ends"
                    );
                }
                warn(emptied.map(drop));
            }
        } else if log.pages >= LOG_PAGES_MAX || (log.pages >= LOG_PAGES && left <= REST_PAGES) {
            let moved = checkpoint(writer);
            self.unsynced.note(&moved);
            warn(moved);
        } else {
            self.wake_if_worth_it(left);
        }
    }

    fn wake_if_worth_it(&self, left: i64) {
        if left >= STEP_PAGES {
            // Full: it has been told. Gone: the writer's own bound remains.
            let _told = self.wake.try_send(());
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, unsynced: &Unsynced) {
    let mut failing = false;
    while woken.recv().is_ok() {
        let _alone = unsynced.wait_alone();
        if unsynced.is_doubtful() {
            continue;
        }
        let moved = checkpoint(connection);
        unsynced.note(&moved);
        let failed = moved.is_err();
        // Once: on a full disk every batch would say it again.
        if !failing {
            warn(moved);
        }
        failing = failed;
    }
}

/// Whether all that was moved is in the file; what a failed sync may have lost is moved again first.
fn is_sound(unsynced: &Unsynced, log: &Log, failing: &AtomicBool) -> bool {
    if !unsynced.is_doubtful() {
        return true;
    }
    let mended = unsynced.mend(u64::try_from(log.moved).unwrap_or(0));
    let failed = mended.is_err();
    // Once: every batch would say it again.
    if let Err(error) = mended
        && !failing.swap(true, Ordering::Relaxed)
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "what a failed sync may have lost could not be moved into the store's file again; it is tried each second, and its log grows meanwhile"
        );
    }
    if !failed {
        failing.store(false, Ordering::Relaxed);
    }
    !failed
}

struct Log {
    pages: i64,
    moved: i64,
}

/// What the log holds, and how much of it is in the file; it takes no lock.
fn state(connection: &Connection) -> rusqlite::Result<Log> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| {
            Ok(Log {
                pages: row.get("log")?,
                moved: row.get("checkpointed")?,
            })
        })
}

/// Whether a batch could fill a disk with this room, and what is left in the log then find none in the file.
fn is_short(room: Option<u64>, left: i64) -> bool {
    let left = u64::try_from(left).unwrap_or(0).saturating_mul(PAGE_BYTES);
    room.is_some_and(|room| room < left.saturating_add(BATCH_BYTES))
}

/// Moves all, and gives back the room that the log took; whether it could. It waits for no reader: the next batch tries again.
fn empty(writer: &Connection) -> rusqlite::Result<bool> {
    writer.busy_timeout(Duration::ZERO)?;
    let emptied = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        Ok(row.get::<_, i64>(0)? == 0)
    });
    writer.busy_timeout(LOCK_TOLD)?;
    emptied
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_row([], |_| Ok(()))
}

/// Nothing is lost: the log stays as it is, and what is wrong with the disk shows at the next delivery.
fn warn(moved: rusqlite::Result<()>) {
    if let Err(error) = moved {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the store's log could not be moved into its file"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::*;
    use crate::store::sqlite::engine::open;

    fn io_failure() -> rusqlite::Result<()> {
        // SQLITE_IOERR_FSYNC
        Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(1034),
            None,
        ))
    }

    /// A store of whose log one step was moved, and what is on its disk if the sync of that step failed: nothing of it.
    fn half_moved() -> (Place, Connection, Checkpoints) {
        let place = Place::sqlite();
        let writer = open(&place.file()).unwrap();
        let checkpoints = Checkpoints::start(&place.file()).unwrap();
        let before = std::fs::read(place.file()).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE mine (a); \
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
                 INSERT INTO mine SELECT randomblob(900) FROM n",
            )
            .unwrap();
        let reader = Connection::open(place.file()).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        reading
            .query_row("SELECT count(*) FROM mine", [], |_| Ok(()))
            .unwrap();
        writer.execute_batch("INSERT INTO mine VALUES (1)").unwrap();
        // No further than the reader sees, and so without a sync.
        checkpoint(&writer).unwrap();
        drop(reading);
        std::fs::write(place.file(), before).unwrap();
        (place, writer, checkpoints)
    }

    fn is_whole(place: &Place) -> bool {
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("copy.db");
        std::fs::copy(place.file(), &file).unwrap();
        std::fs::copy(log(place), copy.path().join("copy.db-wal")).unwrap();
        let read = Connection::open(file).unwrap();
        let sound = read.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        let rows = read.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, i64>(0));
        sound == Ok("ok".to_owned()) && rows == Ok(301)
    }

    fn log(place: &Place) -> PathBuf {
        crate::store::sqlite::place::log_of(&place.file())
    }

    #[test]
    fn what_a_failed_sync_lost_is_moved_out_of_the_log_again() {
        let (place, writer, checkpoints) = half_moved();
        checkpoints.unsynced.note(&io_failure());
        checkpoints.tend(&writer);
        assert_eq!(checkpoints.end(Some(&writer)), Left::Sound);
        // The log begins anew: from now on the file alone has the first step.
        checkpoint(&writer).unwrap();
        writer
            .execute_batch("UPDATE mine SET a = 2 WHERE a = 1")
            .unwrap();
        assert!(is_whole(&place));
    }

    #[test]
    fn a_log_is_kept_until_what_a_failed_sync_lost_was_moved_again() {
        let (place, writer, checkpoints) = half_moved();
        checkpoints.unsynced.note(&io_failure());
        let half = state(&writer).unwrap().moved;
        let elsewhere = log(&place).with_extension("elsewhere");
        std::fs::rename(log(&place), &elsewhere).unwrap();
        checkpoints.tend(&writer);
        assert_eq!(checkpoints.end(Some(&writer)), Left::Doubtful);
        assert_eq!(state(&writer).unwrap().moved, half);
    }

    #[test]
    fn nothing_is_moved_again_while_another_move_is_under_way() {
        let (_place, writer, checkpoints) = half_moved();
        let (all, half) = (state(&writer).unwrap().pages, state(&writer).unwrap().moved);
        checkpoints.unsynced.note(&io_failure());
        let unsynced = Arc::clone(&checkpoints.unsynced);
        let alone = unsynced.wait_alone();
        checkpoints.tend(&writer);
        assert!(unsynced.is_doubtful());
        assert_eq!(state(&writer).unwrap().moved, half);
        assert!(half < all);
        drop(alone);
        checkpoints.tend(&writer);
        assert!(!unsynced.is_doubtful());
    }

    #[test]
    fn only_a_disk_that_fails_casts_doubt_on_what_was_moved() {
        let unsynced = Unsynced::of(Path::new("store.db"));
        unsynced.note(&Ok(()));
        // SQLITE_FULL, SQLITE_BUSY
        for code in [13, 5] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            unsynced.note::<()>(&Err(error));
        }
        assert!(!unsynced.is_doubtful());
        unsynced.note(&io_failure());
        assert!(unsynced.is_doubtful());
    }

    #[test]
    fn a_disk_is_short_of_room_while_a_batch_could_leave_none_for_what_the_log_holds() {
        assert!(!is_short(None, 0));
        assert!(!is_short(Some(BATCH_BYTES), 0));
        assert!(is_short(Some(BATCH_BYTES), 1));
        assert!(is_short(Some(20 << 20), 0));
        assert!(!is_short(Some(BATCH_BYTES + (32 << 20)), LOG_PAGES));
        assert!(is_short(Some(BATCH_BYTES + (32 << 20)), LOG_PAGES_MAX));
    }
}
