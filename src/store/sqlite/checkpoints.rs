//! Moving SQLite's log into its file beside the writer, so that no delivery waits for it.
//!
//! A thread of its own moves what has gathered, with a connection of its own; the writer meanwhile appends. Only the
//! writer can tell when the log may begin anew, so once little is left it moves the rest itself, between two batches:
//! some pages and two syncs. Should the thread not keep up, the log still has a bound.
//!
//! What the log holds takes its room once more in the file, and a log that filled the disk could never be moved. So on a disk with
//! little room left nothing stays in it after a batch: a batch that finds no room leaves behind what can be cut off.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::errors::fault;
use super::file::{LOCK_TOLD, leave_the_log, set_up, sync_fully};
use super::moving::Sound;
use super::place::{Place, room_beside};
use crate::store::fault::StoreFault;

/// How often the thread looks after the log though nobody wakes it: while no delivery comes, others may write, or take it away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    place: Arc<Place>,
    /// Whether it was told already that the log cannot be emptied on a disk with little room.
    told: AtomicBool,
}

impl Checkpoints {
    /// Starts the thread for the file at this place.
    pub(super) fn start(place: Arc<Place>) -> Result<Self, StoreFault> {
        let path = place.file().path();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        set_up(&connection)
            .and_then(|()| sync_fully(&connection))
            .and_then(|()| leave_the_log(&connection))
            .map_err(|error| fault(path, error))?;
        // One signal is enough: the thread moves all that there is.
        let (wake, woken) = sync_channel(1);
        // The room is that of the disk on which it lies, whatever links lead there.
        let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let seen = Arc::clone(&place);
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
            place,
            told: AtomicBool::new(false),
        })
    }

    /// Waits until the thread has closed its connection. Where it was.
    pub(super) fn end(self) -> Arc<Place> {
        drop(self.wake);
        // A thread that panicked has said so already.
        let _joined = self.thread.join().is_ok();
        self.place
    }

    /// Looks after the log, on the writer's connection and between its transactions.
    pub(super) fn tend(&self, writer: &Connection) {
        // While the thread moves it, what is left is not known; the next batch looks again.
        let moving = self.place.moving();
        let Some(log) = moving.and_then(|moving| moving.made_sound(writer)) else {
            return;
        };
        if is_short(room_beside(&self.file), log.left()) {
            let emptied = empty(&log, writer);
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
        } else if log.pages() >= LOG_PAGES_MAX
            || (log.pages() >= LOG_PAGES && log.left() <= REST_PAGES)
        {
            warn(log.step(writer));
        } else if log.left() >= STEP_PAGES {
            // Full: it has been told. Gone: the writer's own bound remains.
            let _told = self.wake.try_send(());
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, place: &Place) {
    let _holding = place.unsynced().hold();
    let mut failing = false;
    loop {
        let woken = woken.recv_timeout(LOOK_EVERY);
        // The writer does so as well, while it has a connection.
        if place.file().is_in_place()
            && let Err(StoreFault::LogDisplaced { moved: false, .. }) = place.expect_log()
        {
            place.move_all(connection);
        }
        if let Err(RecvTimeoutError::Disconnected) = woken {
            return;
        }
        // What a failed sync may have lost the writer moves again.
        let moving = place.wait_moving();
        // Beside another log, what this one holds may be older than the file.
        let sound = place
            .expect()
            .ok()
            .and_then(|()| moving.if_sound(connection));
        let Some(log) = sound else {
            continue;
        };
        if woken.is_err() && log.left() < STEP_PAGES {
            continue;
        }
        let moved = log.step(connection);
        let failed = moved.is_err();
        // Once: on a full disk every batch would say it again.
        if !failing {
            warn(moved);
        }
        failing = failed;
    }
}

/// Whether a batch could fill a disk with this room, and what is left in the log then find none in the file.
fn is_short(room: Option<u64>, left: i64) -> bool {
    let left = u64::try_from(left).unwrap_or(0).saturating_mul(PAGE_BYTES);
    room.is_some_and(|room| room < left.saturating_add(BATCH_BYTES))
}

/// Moves all, and gives back the room that the log took; whether it could. It waits for no reader: the next batch tries again.
fn empty(log: &Sound<'_>, writer: &Connection) -> rusqlite::Result<bool> {
    writer.busy_timeout(Duration::ZERO)?;
    let emptied = log.empty(writer);
    writer.busy_timeout(LOCK_TOLD)?;
    emptied.map(|emptied| emptied.cut_off)
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
