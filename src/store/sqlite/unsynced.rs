//! Pages of a file whose sync failed: they are taken out of its log once more, and synced again.
//!
//! SQLite moves a log into its file in steps, and syncs only after the last. If that sync fails, the system may have dropped the
//! pages of every step, and its next sync succeeds without them; SQLite writes those of the last step alone again, and then
//! lets the log begin anew. So no step is taken, and the log kept, until all that was moved was written, and synced, again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::ffi;

/// Bytes before the log's first frame, and before the page in each frame (SQLite's file format, section 4.1).
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: u64 = 24;

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
        copy(log, file, frames)?;
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
                    "what the store's log had moved before its disk failed is in the file"
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

/// SQLite's extended code.
fn code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

/// What tells a log from the one that begins anew in the same file. Of an empty one it is empty as well.
pub(super) fn generation(log: &File) -> io::Result<[u8; LOG_HEADER_BYTES]> {
    let mut header = [0; LOG_HEADER_BYTES];
    match log.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(header),
    }
}

/// The last of each page among the log's first frames.
fn copy(log: &File, file: &File, frames: u64) -> io::Result<()> {
    if frames == 0 {
        return Ok(());
    }
    let page_bytes = u64::from(number(log, 8)?);
    if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "this is no log of SQLite's",
        ));
    }
    let frame_at = |frame: u64| {
        let bytes = FRAME_HEADER_BYTES.saturating_add(page_bytes);
        (LOG_HEADER_BYTES as u64).saturating_add(frame.saturating_mul(bytes))
    };
    let mut last = HashMap::new();
    for frame in 0..frames {
        last.insert(number(log, frame_at(frame))?, frame);
    }
    let mut page = vec![0; usize::try_from(page_bytes).map_err(Error::other)?];
    for (number, frame) in last {
        let Some(before) = number.checked_sub(1) else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a page of SQLite's log has no number",
            ));
        };
        log.read_exact_at(
            &mut page,
            frame_at(frame).saturating_add(FRAME_HEADER_BYTES),
        )?;
        file.write_all_at(&page, u64::from(before).saturating_mul(page_bytes))?;
    }
    Ok(())
}

fn number(log: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    log.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_be_bytes(bytes))
}
