//! A copy of the embedded store, made while the receiver writes to it.
//!
//! The copy is of one moment: that of the transaction in which its pages are read. A reader never holds the writer up,
//! and without that transaction each commit would make the copying begin again, so that a busy store would never be
//! copied. What the receiver writes meanwhile stays in its log until the copy is made.
//!
//! The copy is checked before it bears its name: whoever finds a file of that name finds a whole one. It is one file,
//! without a log beside it. Source: SQLite's "Online Backup API".

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::part_file::PartFile;
use crate::store::fault::StoreFault;
use crate::store::location::Url;
use crate::store::sqlite;

/// Pages that are copied at once.
const STEP_PAGES: i32 = 1000;

/// Why there is no copy. Nothing bears its name then.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailure {
    /// There is no store that can be copied.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// This engine has its own ways.
    #[error(
        "{place}: PostgreSQL is backed up by its own tools: pg_dump --schema=countersign, or pg_basebackup for all of the server"
    )]
    NotOffered {
        /// Where the store is.
        place: String,
    },
    /// It would take another file's place.
    #[error("{}: this file already exists; name another, or remove it", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be made.
    #[error("{}: the copy could not be written", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Pages could not be read or written.
    #[error("the copy could not be made")]
    Copy(#[source] rusqlite::Error),
    /// Whoever is told of the progress wanted no more of it.
    #[error("interrupted; nothing is left of the copy")]
    Interrupted,
    /// The copy is not sound, and so neither is the store.
    #[error("the copy fails SQLite's integrity check, and so the store is damaged: {found}")]
    Unsound {
        /// What the check says.
        found: String,
    },
}

/// Who is told how many pages are copied, and of how many.
type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The size of the copy.
    pub bytes: u64,
}

/// Copies the store at `url` to a new file. `progress` is told of pages that are copied, and of all, and may end it. Blocks the thread.
pub fn back_up(url: &Url, out: &Path, progress: Progress<'_>) -> Result<BackedUp, BackupFailure> {
    let path = match url {
        Url::Sqlite(path) => path,
        Url::Postgres(_) => {
            return Err(BackupFailure::NotOffered {
                place: url.to_string(),
            });
        }
    };
    let store = sqlite::open_to_read(path)?;
    let output = |source: io::Error| {
        let path = out.into();
        if source.kind() == io::ErrorKind::AlreadyExists {
            return BackupFailure::Taken { path };
        }
        BackupFailure::Output { path, source }
    };
    let part = PartFile::of(out);
    if part.is_taken().map_err(output)? {
        return Err(BackupFailure::Taken { path: out.into() });
    }
    let file = part.make().map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            let path = part.path().into();
            return BackupFailure::Taken { path };
        }
        output(source)
    })?;
    let copied = copy(&store, part.path(), progress).and_then(|()| {
        let bytes = file.metadata().map_err(output)?.len();
        part.finish(&file).map_err(output)?;
        Ok(BackedUp { bytes })
    });
    if copied.is_err() {
        part.discard();
    }
    copied
}

pub(super) fn copy(
    store: &Connection,
    part: &Path,
    progress: Progress<'_>,
) -> Result<(), BackupFailure> {
    // What is read first decides of which moment the copy is.
    store
        .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
        .map_err(BackupFailure::Copy)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(part, flags).map_err(BackupFailure::Copy)?;
    // It is synced once, when it is whole.
    target
        .pragma_update(None, "synchronous", "OFF")
        .map_err(BackupFailure::Copy)?;
    {
        let backup = Backup::new(store, &mut target).map_err(BackupFailure::Copy)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(BackupFailure::Copy)?;
            let pages = backup.progress();
            let all = u64::try_from(pages.pagecount).unwrap_or_default();
            let left = u64::try_from(pages.remaining).unwrap_or_default();
            let wish = progress(all.saturating_sub(left), all);
            match step {
                StepResult::More | StepResult::Done if wish.is_break() => {
                    return Err(BackupFailure::Interrupted);
                }
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else has the copy open, and a reader's transaction waits for no lock.
                StepResult::Busy | StepResult::Locked | _ => {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(BackupFailure::Copy(rusqlite::Error::SqliteFailure(
                        busy, None,
                    )));
                }
            }
        }
    }
    // The receiver's log grows for as long as the store is read, and what is left takes long.
    store.execute_batch("COMMIT").map_err(BackupFailure::Copy)?;
    // One file, whole by itself: the log's mode is a mark in it, which the receiver sets again.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| {
            row.get::<_, String>(0)
        })
        .map_err(BackupFailure::Copy)?;
    let found: String = target
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(BackupFailure::Copy)?;
    if found != "ok" {
        return Err(BackupFailure::Unsound { found });
    }
    target
        .close()
        .map_err(|(_connection, error)| BackupFailure::Copy(error))
}
