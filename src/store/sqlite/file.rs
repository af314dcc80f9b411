//! A SQLite file of ours: made for its owner alone, opened in WAL mode with `synchronous=FULL`, brought up to date under its
//! own lock, and written in transactions that leave nothing open.
//!
//! There are two kinds, the embedded store and the spool; each has its own mark and its own schema.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

use super::write::WriteError;
use crate::inbox::BatchFailure;
use crate::store::StoreFault;
use crate::store::migrations::{Migration, known};

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);
/// SQLite's memory for pages, in KiB. More would cost more: a batch that splits a page makes SQLite walk through all of it
/// (its `balance_nonroot` numbers pages past the end for a moment, and the commit looks for pages to cut off). The
/// system's own cache holds the rest.
const CACHE_KIB: i64 = 16_384;
/// Bytes that the log keeps on disk while it is empty, at most.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// What tells one kind of our files from another.
#[derive(Debug)]
pub(in crate::store) struct FileKind {
    /// Marks the file as ours.
    pub(in crate::store) application_id: i64,
    pub(in crate::store) steps: &'static [Migration],
}

impl FileKind {
    /// Opens the file for writing, makes it if there is none, and brings its schema up to date.
    pub(in crate::store) fn open(&self, path: &Path) -> Result<Connection, StoreFault> {
        make(path)?;
        self.open_again(path)
    }

    /// The same, of a file that is there.
    fn open_again(&self, path: &Path) -> Result<Connection, StoreFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        // SQLite is content with a file that it may only read, until something is written.
        if connection
            .is_readonly(MAIN_DB)
            .map_err(|error| fault(path, error))?
        {
            return Err(StoreFault::Unopenable {
                path: path.into(),
                source: "it can be read, and not be written".into(),
            });
        }
        set_up(&connection).map_err(|error| fault(path, error))?;
        self.own(path, &connection)?;
        write_ahead(&connection).map_err(|error| fault(path, error))?;
        self.migrate(path, &mut connection)?;
        Ok(connection)
    }

    /// Opens the file for reading, if it has this program's schema.
    pub(in crate::store) fn open_to_read(&self, path: &Path) -> Result<Connection, StoreFault> {
        if !path.exists() {
            return Err(StoreFault::NoStore { path: path.into() });
        }
        if path.is_dir() {
            return Err(StoreFault::IsDirectory { path: path.into() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        connection
            .busy_timeout(BUSY)
            .map_err(|error| fault(path, error))?;
        connection.set_prepared_statement_cache_capacity(32);
        self.own(path, &connection)?;
        let found = schema(&connection).map_err(|error| fault(path, error))?;
        let place = path.display().to_string();
        let known = known(self.steps);
        match found.cmp(&known) {
            std::cmp::Ordering::Equal => Ok(connection),
            std::cmp::Ordering::Greater => Err(StoreFault::Newer {
                place,
                found,
                known,
            }),
            std::cmp::Ordering::Less if found == 0 => {
                Err(StoreFault::NoStore { path: path.into() })
            }
            std::cmp::Ordering::Less => Err(StoreFault::Older {
                place,
                found,
                known,
            }),
        }
    }

    /// Refuses another program's database.
    fn own(&self, path: &Path, connection: &Connection) -> Result<(), StoreFault> {
        let read = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map_err(|error| fault(path, error))
        };
        // In this order: another process may make the schema between the two, and marks it as its own in the same transaction.
        let is_empty = read("SELECT count(*) FROM sqlite_schema")? == 0;
        let id = read("PRAGMA application_id")?;
        if id == self.application_id || (id == 0 && is_empty) {
            return Ok(());
        }
        Err(StoreFault::Foreign {
            place: path.display().to_string(),
        })
    }

    /// Takes the missing steps, each once, however many processes start: the file's write lock is the lock.
    fn migrate(&self, path: &Path, connection: &mut Connection) -> Result<(), StoreFault> {
        let place = path.display().to_string();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| fault(path, error))?;
        let found = schema(&transaction).map_err(|error| fault(path, error))?;
        if found > known(self.steps) {
            return Err(StoreFault::Newer {
                place,
                found,
                known: known(self.steps),
            });
        }
        for step in self.steps.iter().filter(|step| step.number > found) {
            let took = transaction
                .execute_batch(step.sql)
                .and_then(|()| {
                    transaction.pragma_update(None, "application_id", self.application_id)
                })
                .and_then(|()| transaction.pragma_update(None, "user_version", step.number));
            if let Err(error) = took {
                return Err(StoreFault::Migration {
                    place,
                    name: step.name,
                    source: error.into(),
                });
            }
            tracing::info!(store = %place, migration = step.name, "the schema was brought up to date");
        }
        transaction.commit().map_err(|error| fault(path, error))
    }
}

/// A file that is to stay the one that it was: beside its path lies its log, which SQLite would apply to another file there, or
/// throw away.
#[derive(Debug)]
pub(in crate::store) struct Lasting {
    path: PathBuf,
    /// Device and number.
    file: Option<(u64, u64)>,
}

impl Lasting {
    /// The file that is at this path now.
    pub(in crate::store) fn at(path: &Path) -> Self {
        Self {
            path: path.into(),
            file: identity(path),
        }
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::store) fn is_in_place(&self) -> bool {
        self.file.is_some() && identity(&self.path) == self.file
    }

    /// Refuses another file where there was one.
    pub(in crate::store) fn expect_if_found(&self) -> Result<(), StoreFault> {
        if self.file.is_none() {
            return Ok(());
        }
        self.expect()
    }

    /// Refuses another file at the path, and none.
    pub(in crate::store) fn expect(&self) -> Result<(), StoreFault> {
        if self.is_in_place() {
            return Ok(());
        }
        Err(StoreFault::Displaced {
            path: self.path.clone(),
        })
    }
}

/// The one connection that writes to a file, opened anew when it cannot be trusted.
#[derive(Debug)]
pub(in crate::store) struct Writing {
    kind: &'static FileKind,
    file: Lasting,
    /// `None` after a failure from which a connection cannot be trusted to recover: the next transaction opens another.
    connection: Option<Connection>,
    displaced: bool,
}

impl Writing {
    pub(in crate::store) fn new(
        kind: &'static FileKind,
        path: &Path,
        connection: Connection,
    ) -> Self {
        Self {
            kind,
            file: Lasting::at(path),
            connection: Some(connection),
            displaced: false,
        }
    }

    /// The connection, if there is one to be trusted.
    pub(in crate::store) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    #[cfg(test)]
    pub(super) fn forget_connection(&mut self) {
        self.connection = None;
    }

    /// Refuses to write to a file that is no longer the one at our path: what is written there would be gone with the process.
    /// The connection stays, for what was acknowledged may be in the log that it holds open, and nowhere else.
    fn expect_in_place(&mut self) -> Result<(), BatchFailure> {
        let found = self.file.expect();
        if found.is_err() != self.displaced {
            self.displaced = found.is_err();
            let store = self.file.path().display();
            match &found {
                Ok(()) => tracing::info!(%store, "the store's file is in its place again"),
                Err(fault) => tracing::error!("{fault}"),
            }
        }
        found.map_err(|fault| BatchFailure::Unavailable(Arc::new(fault)))
    }

    fn open_again(&self) -> Result<Connection, StoreFault> {
        let connection = self.kind.open_again(self.file.path())?;
        self.file.expect()?;
        Ok(connection)
    }

    /// Runs `work` in a transaction. Whatever fails leaves no transaction open.
    pub(in crate::store) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, BatchFailure>,
    ) -> Result<T, BatchFailure> {
        self.expect_in_place()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .open_again()
                .map_err(|fault| BatchFailure::Unavailable(Arc::new(fault)))?,
        };
        let result = connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(unavailable)
            .and_then(|()| work(&connection))
            .and_then(|value| match connection.execute_batch("COMMIT") {
                Ok(()) => Ok(value),
                Err(error) => Err(BatchFailure::Commit(Arc::new(error))),
            });
        let sound = match &result {
            Ok(_) => true,
            Err(failure) => {
                let rolled_back =
                    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
                rolled_back && !distrust(failure)
            }
        };
        if sound {
            self.connection = Some(connection);
        }
        result
    }

    /// Moves what is in the log into the file, and closes it.
    pub(in crate::store) fn close(self) {
        if let Some(connection) = self.connection {
            // The log is complete without this; the next start would do it.
            let _best_effort = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            if !self.file.is_in_place() {
                let _best_effort = leave_the_log(&connection);
            }
        }
    }
}

/// The file's directory must be there: it is the operator's to make.
pub(in crate::store) fn directory_of(path: &Path) -> Result<&Path, StoreFault> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        Some(_) | None => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(StoreFault::NoDirectory {
            path: path.into(),
            directory: directory.into(),
        });
    }
    Ok(directory)
}

/// Where SQLite writes first.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Beside an empty file SQLite would throw it away.
pub(in crate::store) fn refuse_a_log_alone(path: &Path) -> Result<(), StoreFault> {
    let log = log_of(path);
    if !path.exists() && std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(StoreFault::LogAlone {
            path: path.into(),
            log,
        });
    }
    Ok(())
}

/// Makes an empty file that only its owner can read. SQLite gives its companions (`-wal`, `-shm`) the same mode.
fn make(path: &Path) -> Result<(), StoreFault> {
    directory_of(path)?;
    if path.is_dir() {
        return Err(StoreFault::IsDirectory { path: path.into() });
    }
    refuse_a_log_alone(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreFault::Unopenable {
            path: path.into(),
            source: error.into(),
        }),
    }
}

pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The log is moved by `checkpoints`; what it once took on disk is given back beyond this.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// At its end, the last connection to a file takes away the log, by its name: with this, one that is not to do so does not.
pub(in crate::store) fn leave_the_log(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map(drop)
}

/// WAL, and every commit synced. Two processes that open a new file at once may meet here.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        {
            Err(error) if busy(&error) && began.elapsed() < BUSY => sleep(Duration::from_millis(5)),
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Only macOS knows the difference: its plain fsync does not reach the disk.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)
}

fn busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// What an error means before the store serves.
pub(in crate::store) fn fault(path: &Path, error: rusqlite::Error) -> StoreFault {
    let path: PathBuf = path.into();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreFault::Damaged {
            path,
            source: error.into(),
        },
        Some(_) | None => StoreFault::Unopenable {
            path,
            source: error.into(),
        },
    }
}

pub(in crate::store) fn unavailable(error: rusqlite::Error) -> BatchFailure {
    BatchFailure::Unavailable(Arc::new(error))
}

/// Whether a connection should not be used again after this.
fn distrust(failure: &BatchFailure) -> bool {
    let cause = match failure {
        BatchFailure::Row(_) => return false,
        BatchFailure::Unavailable(cause) | BatchFailure::Commit(cause) => cause,
    };
    let code = match cause.downcast_ref::<rusqlite::Error>() {
        Some(error) => error.sqlite_error_code(),
        None => cause
            .downcast_ref::<WriteError>()
            .and_then(WriteError::code),
    };
    // A full disk or a busy file pass; the connection is as good as before, and its cache is warm.
    !matches!(
        code,
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// What tells a file from another that bears its name later.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
