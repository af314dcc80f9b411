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
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::part_file::PartFile;
use crate::store::fault::StoreFault;
use crate::store::location::Url;
use crate::store::sqlite;
use crate::store::sqlite::errors::damage;

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
    /// There is no directory to make it in.
    #[error("{}: the directory {} does not exist; make it, or name a file elsewhere", path.display(), directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The file's disk is full.
    #[error("{}: its disk is full; make room on it, or name a file on another", path.display())]
    NoRoom {
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
    #[error("{}: the copy could not be made", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Whoever is told of the progress wanted no more of it.
    #[error("interrupted; nothing is left of the copy")]
    Interrupted,
}

/// Why no copy was made, before it is told of which file.
#[derive(Debug)]
pub(super) enum CopyFailure {
    Statement(rusqlite::Error),
    Interrupted,
    /// The copy is not sound, and so neither is the store: what the check says.
    Unsound(String),
}

impl CopyFailure {
    fn of(self, store: &Path, out: &Path) -> BackupFailure {
        let source = match self {
            Self::Interrupted => return BackupFailure::Interrupted,
            Self::Unsound(found) => {
                let what = format!("a copy of it fails SQLite's integrity check: {found}");
                return BackupFailure::Store(StoreFault::Damaged {
                    path: store.into(),
                    source: what.into(),
                });
            }
            Self::Statement(error) => error,
        };
        // The store is only read.
        if source.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return BackupFailure::NoRoom { path: out.into() };
        }
        match damage(store, source.into()) {
            Ok(fault) => BackupFailure::Store(fault),
            Err(source) => BackupFailure::Copy {
                path: out.into(),
                source,
            },
        }
    }
}

impl From<rusqlite::Error> for CopyFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error)
    }
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
            BackupFailure::Taken { path }
        } else if source.kind() == io::ErrorKind::StorageFull {
            BackupFailure::NoRoom { path }
        } else if source.kind() == io::ErrorKind::NotFound {
            let directory = out.parent().unwrap_or(out).into();
            BackupFailure::NoDirectory { path, directory }
        } else {
            BackupFailure::Output { path, source }
        }
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
    let made = copy(&store, part.path(), progress).map_err(|failure| failure.of(path, out));
    let copied = made.and_then(|()| {
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
) -> Result<(), CopyFailure> {
    // What is read first decides of which moment the copy is.
    store.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(part, flags)?;
    // It is synced once, when it is whole.
    target.pragma_update(None, "synchronous", "OFF")?;
    {
        let backup = Backup::new(store, &mut target)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            let all = u64::try_from(pages.pagecount).unwrap_or_default();
            let left = u64::try_from(pages.remaining).unwrap_or_default();
            let wish = progress(all.saturating_sub(left), all);
            match step {
                StepResult::More | StepResult::Done if wish.is_break() => {
                    return Err(CopyFailure::Interrupted);
                }
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else has the copy open, and a reader's transaction waits for no lock.
                StepResult::Busy | StepResult::Locked | _ => {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(rusqlite::Error::SqliteFailure(busy, None).into());
                }
            }
        }
    }
    // The receiver's log grows for as long as the store is read, and what is left takes long.
    store.execute_batch("COMMIT")?;
    // One file, whole by itself: the log's mode is a mark in it, which the receiver sets again.
    target.pragma_update_and_check(None, "journal_mode", "DELETE", |row| {
        row.get::<_, String>(0)
    })?;
    let found: String = target.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(CopyFailure::Unsound(found));
    }
    target.close().map_err(|(_connection, error)| error.into())
}
