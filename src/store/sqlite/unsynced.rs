//! Pages of a file whose sync failed: they are taken out of its log once more, and synced again.
//!
//! SQLite moves a log into its file in steps, and syncs only after the last. If that sync fails, the system may have dropped the
//! pages of every step, and its next sync succeeds without them; SQLite writes those of the last step alone again, and then
//! lets the log begin anew. So no step is taken, and the log kept, until all that was moved was written, and synced, again.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::ffi;

use super::frames;

/// How often it is tried: each time all that was moved is written.
const MEND_EVERY: Duration = Duration::from_secs(1);

/// What is known of a file's last sync. In a process there is one of it for each file, however many connections have that open.
#[derive(Debug)]
pub(in crate::store) struct Unsynced {
    path: PathBuf,
    doubtful: AtomicBool,
    /// Whoever moves the log holds it until how that ended was noted: another move, or a mend, would meanwhile count as whole what is
    /// not, and lay old pages over new ones.
    moving: Mutex<()>,
    /// Connections beside the writer's that have the file open, and with it its log, wherever that is.
    held: AtomicUsize,
    failed: Mutex<Option<Instant>>,
    /// Whether it was told already that what a failed sync may have lost could not be moved again.
    told: AtomicBool,
    /// Never closed once it was opened: to close any way to the file takes away SQLite's locks on it, all of this process.
    file: Mutex<Option<ManuallyDrop<File>>>,
}

impl Unsynced {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.into(),
            doubtful: AtomicBool::new(false),
            moving: Mutex::default(),
            held: AtomicUsize::new(0),
            failed: Mutex::default(),
            told: AtomicBool::new(false),
            file: Mutex::default(),
        }
    }

    /// The right to move the log; `None` while another does.
    pub(super) fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        match self.moving.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(alone)) => Some(alone.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The same, once nobody else does.
    pub(super) fn wait_alone(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that has the file open, until the value is dropped.
    pub(in crate::store) fn hold(self: &Arc<Self>) -> Holding {
        self.held.fetch_add(1, Ordering::AcqRel);
        Holding(Arc::clone(self))
    }

    /// Whether any connection beside the writer's has the file open.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Whether the file may lack what was moved into it.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// Takes note of how a move ended.
    pub(in crate::store) fn note<T>(&self, moved: &rusqlite::Result<T>) {
        let sync_failed = moved
            .as_ref()
            .is_err_and(|error| code(error) == Some(ffi::SQLITE_IOERR_FSYNC));
        if sync_failed && !self.doubtful.swap(true, Ordering::AcqRel) {
            tracing::error!(
                store = %self.path.display(),
                "the disk failed while the store's log was moved into its file: the log is kept until all of it was moved again; look at the disk \
                 (the kernel's log names it)"
            );
        }
    }

    /// Whether to mend it failed only just now.
    pub(super) fn is_to_rest(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < MEND_EVERY)
    }

    /// Writes the first `frames` of the log into the file (`open`) once more, and syncs it. Nobody may write to the log meanwhile.
    pub(super) fn write_again(
        &self,
        log: &File,
        frames: u64,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(ManuallyDrop::new(open()?)),
        };
        frames::copy(log, file, frames)?;
        file.sync_data()
    }

    /// Takes note of how it ended to write so many frames again. Whether the file has all that was moved.
    pub(super) fn note_mended(&self, mended: io::Result<u64>) -> bool {
        let failed = mended.is_err().then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        match mended {
            Ok(pages) => {
                self.doubtful.store(false, Ordering::Release);
                self.told.store(false, Ordering::Relaxed);
                tracing::info!(
                    store = %self.path.display(),
                    pages,
                    "what the store's log had moved is in the file, written and synced once more"
                );
                true
            }
            Err(error) => {
                // Once: every batch would say it again.
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        store = %self.path.display(),
                        error = &error as &dyn std::error::Error,
                        "what a failed sync may have lost could not be moved into the store's file again; it is tried each second, and its log \
                         grows meanwhile"
                    );
                }
                false
            }
        }
    }
}

/// A connection that has the file open.
#[derive(Debug)]
pub(in crate::store) struct Holding(Arc<Unsynced>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// SQLite's extended code.
fn code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}
