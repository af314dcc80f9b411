//! A copy of the embedded store, made while the receiver writes to it.
//!
//! The copy is of one moment: that of the transaction in which its pages are read. A reader never holds the writer up,
//! and without that transaction each commit would make the copying begin again, so that a busy store would never be
//! copied. What the receiver writes meanwhile stays in its log until the copy is made.
//!
//! The copy is checked before it bears its name: whoever finds a file of that name finds a whole one. It is one file,
//! without a log beside it. Source: SQLite's "Online Backup API".

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::location::{StoreFault, Url};
use super::sqlite;

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
    #[error("{}: this file is there already; name another, or remove it", path.display())]
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
    /// The copy is not sound, and so neither is the store.
    #[error("the copy fails SQLite's integrity check, and so the store is damaged: {found}")]
    Unsound {
        /// What the check says.
        found: String,
    },
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The size of the copy.
    pub bytes: u64,
}

/// Copies the store at `url` to a new file. `progress` is told of pages that are copied, and of all. Blocks the thread.
pub fn back_up(
    url: &Url,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackedUp, BackupFailure> {
    let path = match url {
        Url::Sqlite(path) => path,
        Url::Postgres(_) => {
            return Err(BackupFailure::NotOffered {
                place: url.to_string(),
            });
        }
    };
    let store = sqlite::open_to_read(path)?;
    must_be_free(out)?;
    let part = part_of(out);
    let file = make(&part)?;
    let copied = copy(&store, &part, progress).and_then(|()| {
        let output = |source| BackupFailure::Output {
            path: out.into(),
            source,
        };
        file.sync_all().map_err(output)?;
        let bytes = file.metadata().map_err(output)?.len();
        must_be_free(out)?;
        fs::rename(&part, out).map_err(output)?;
        sync_directory(out).map_err(output)?;
        Ok(BackedUp { bytes })
    });
    if copied.is_err() {
        // It is ours, and of no use to anybody.
        let _left_behind = fs::remove_file(&part);
    }
    copied
}

fn copy(
    store: &Connection,
    part: &Path,
    progress: &mut dyn FnMut(u64, u64),
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
            progress(all.saturating_sub(left), all);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else has the copy open, and a reader's transaction waits for no lock.
                other => {
                    let what = format!("{other:?}");
                    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(BackupFailure::Copy(rusqlite::Error::SqliteFailure(
                        code,
                        Some(what),
                    )));
                }
            }
        }
    }
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

fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn must_be_free(path: &Path) -> Result<(), BackupFailure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(BackupFailure::Taken { path: path.into() }),
        Err(source) => Err(BackupFailure::Output {
            path: path.into(),
            source,
        }),
    }
}

/// An empty file that only its owner can read.
fn make(path: &Path) -> Result<File, BackupFailure> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupFailure::Taken { path: path.into() },
        _ => BackupFailure::Output {
            path: path.into(),
            source,
        },
    })
}

/// A new name is durable once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
