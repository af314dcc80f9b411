//! Pages of a file whose sync failed: they are taken out of its log once more, and synced again.
//!
//! SQLite moves a log into its file in steps, and syncs only after the last. If that sync fails, the system may have dropped the
//! pages of every step, and its next sync succeeds without them; SQLite writes those of the last step alone again, and then
//! lets the log begin anew. So no step is taken, and the log kept, until all that was moved was written, and synced, again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::place::log_of;

/// Bytes before the log's first frame, and before the page in each frame (SQLite's file format, section 4.1).
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// How often it is tried: each time all that was moved is written.
const MEND_EVERY: Duration = Duration::from_secs(1);

/// What is known of a file's last sync.
#[derive(Debug)]
pub(super) struct Unsynced {
    path: PathBuf,
    doubtful: AtomicBool,
    /// Whoever moves the log holds it until how that ended was noted: another move, or a mend, would meanwhile count as whole what is
    /// not, and lay old pages over new ones.
    moving: Mutex<()>,
    failed: Mutex<Option<Instant>>,
    /// Kept open once it was: to close any way to the file takes away SQLite's locks on it, all of this process.
    file: Mutex<Option<File>>,
}

impl Unsynced {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.into(),
            doubtful: AtomicBool::new(false),
            moving: Mutex::default(),
            failed: Mutex::default(),
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
    pub(super) fn note<T>(&self, moved: &rusqlite::Result<T>) {
        let of_the_disk = moved
            .as_ref()
            .is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure));
        if of_the_disk && !self.doubtful.swap(true, Ordering::AcqRel) {
            tracing::error!(
                store = %self.path.display(),
                "the disk failed while the store's log was moved into its file: the log is kept until all of it was moved again; look at the disk \
                 (the kernel's log names it)"
            );
        }
    }

    /// Whether it failed only just now.
    pub(super) fn is_to_rest(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < MEND_EVERY)
    }

    /// Writes the first `moved` frames of the log into the file once more, and syncs it. Nobody may be moving the log, nor
    /// writing to it.
    pub(super) fn mend(&self, moved: u64) -> io::Result<()> {
        let mended = self.write_again(moved);
        let failed = mended.is_err().then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        mended
    }

    fn write_again(&self, moved: u64) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().write(true).open(&self.path)?),
        };
        copy(&File::open(log_of(&self.path))?, file, moved)?;
        file.sync_data()?;
        self.doubtful.store(false, Ordering::Release);
        tracing::info!(
            store = %self.path.display(),
            pages = moved,
            "what the store's log had moved before its disk failed is in the file"
        );
        Ok(())
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
        LOG_HEADER_BYTES
            .saturating_add(frame.saturating_mul(FRAME_HEADER_BYTES.saturating_add(page_bytes)))
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
