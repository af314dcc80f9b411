//! The embedded engine: one SQLite file in WAL mode with `synchronous=FULL`, and one connection that writes.
//!
//! The writer has a thread of its own; it is the [`Engine`] behind group commit. Readers have connections of their own,
//! which never hold up the writer.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreFault;
use super::checkpoints::Checkpoints;
use super::errands::Errands;
use super::migrations::{SQLITE, known};
use super::names::Names;
use super::row::Row;
use super::sqlite_write::{WriteError, write_delivery};
use crate::inbox::{BatchFailure, Cause, Engine, Event, Isolation, Outcome};

/// "CSGN": marks the file as ours.
const APPLICATION_ID: i64 = 0x4353_474e;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);
/// SQLite's memory for pages, in KiB. More would cost more: a batch that splits a page makes SQLite walk through all of it
/// (its `balance_nonroot` numbers pages past the end for a moment, and the commit looks for pages to cut off). The
/// system's own cache holds the rest.
const CACHE_KIB: i64 = 16_384;
/// Bytes that the log keeps on disk while it is empty, at most.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// Opens the file for writing, makes it if there is none, and brings its schema up to date.
pub(super) fn open(path: &Path) -> Result<Connection, StoreFault> {
    make(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
    set_up(&connection).map_err(|error| fault(path, error))?;
    own(path, &connection)?;
    write_ahead(&connection).map_err(|error| fault(path, error))?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// Opens the file for reading, if it has this program's schema.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreFault> {
    if !path.exists() {
        return Err(StoreFault::NoStore { path: path.into() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
    connection
        .busy_timeout(BUSY)
        .map_err(|error| fault(path, error))?;
    connection.set_prepared_statement_cache_capacity(32);
    own(path, &connection)?;
    let found = schema(&connection).map_err(|error| fault(path, error))?;
    let place = path.display().to_string();
    match found.cmp(&known(SQLITE)) {
        std::cmp::Ordering::Equal => Ok(connection),
        std::cmp::Ordering::Greater => Err(StoreFault::Newer {
            place,
            found,
            known: known(SQLITE),
        }),
        std::cmp::Ordering::Less if found == 0 => Err(StoreFault::NoStore { path: path.into() }),
        std::cmp::Ordering::Less => Err(StoreFault::Older {
            place,
            found,
            known: known(SQLITE),
        }),
    }
}

/// Makes an empty file that only its owner can read. SQLite gives its companions (`-wal`, `-shm`) the same mode.
fn make(path: &Path) -> Result<(), StoreFault> {
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

/// Refuses another program's database.
fn own(path: &Path, connection: &Connection) -> Result<(), StoreFault> {
    let read = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| fault(path, error))
    };
    let id = read("PRAGMA application_id")?;
    if id == APPLICATION_ID || (id == 0 && read("SELECT count(*) FROM sqlite_schema")? == 0) {
        return Ok(());
    }
    Err(StoreFault::Foreign {
        place: path.display().to_string(),
    })
}

fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the missing steps, each once, however many processes start: the file's write lock is the lock.
fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreFault> {
    let place = path.display().to_string();
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| fault(path, error))?;
    let found = schema(&transaction).map_err(|error| fault(path, error))?;
    if found > known(SQLITE) {
        return Err(StoreFault::Newer {
            place,
            found,
            known: known(SQLITE),
        });
    }
    for step in SQLITE.iter().filter(|step| step.number > found) {
        let took = transaction
            .execute_batch(step.sql)
            .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
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

/// What an error means before the store serves.
pub(super) fn fault(path: &Path, error: rusqlite::Error) -> StoreFault {
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

/// The writing connection, as group commit's engine.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    /// `None` after a failure from which a connection cannot be trusted to recover: the next batch opens another.
    connection: Option<Connection>,
    /// Device and number of the file that it is open on.
    opened: Option<(u64, u64)>,
    names: Names,
    errands: Arc<Errands>,
    checkpoints: Checkpoints,
}

impl Sqlite {
    pub(super) fn new(
        path: &Path,
        connection: Connection,
        errands: Arc<Errands>,
    ) -> Result<Self, StoreFault> {
        let checkpoints = Checkpoints::start(path)?;
        Ok(Self {
            path: path.into(),
            connection: Some(connection),
            opened: identity(path),
            names: Names::default(),
            errands,
            checkpoints,
        })
    }

    /// Moves what is in the log into the file, and closes it.
    pub(super) fn close(self) {
        self.checkpoints.end();
        if let Some(connection) = self.connection {
            // The log is complete without this; the next start would do it.
            let _best_effort = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    #[cfg(test)]
    pub(super) fn with_connection(&self, work: impl FnOnce(&Connection)) {
        work(self.connection.as_ref().unwrap());
    }

    #[cfg(test)]
    pub(super) fn forget_connection(&mut self) {
        self.connection = None;
    }

    /// Refuses to write to a file that is no longer the one at our path: what is written there would be gone with the process.
    /// The next batch opens what is at the path then.
    fn must_be_in_place(&mut self) -> Result<(), BatchFailure> {
        let found = identity(&self.path);
        if self.connection.is_none() {
            return Ok(());
        }
        if found.is_some() && found == self.opened {
            return Ok(());
        }
        self.connection = None;
        self.names = Names::default();
        tracing::error!(store = %self.path.display(), "the store's file was removed or replaced while it was in use");
        let path = self.path.clone();
        Err(BatchFailure::Unavailable(Arc::new(StoreFault::Displaced {
            path,
        })))
    }

    /// Runs `work` in a transaction. Whatever fails leaves no transaction open.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Names) -> Result<T, BatchFailure>,
    ) -> Result<T, BatchFailure> {
        self.must_be_in_place()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection =
                    open(&self.path).map_err(|fault| BatchFailure::Unavailable(Arc::new(fault)))?;
                self.opened = identity(&self.path);
                connection
            }
        };
        let result = connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(unavailable)
            .and_then(|()| work(&connection, &mut self.names))
            .and_then(|value| match connection.execute_batch("COMMIT") {
                Ok(()) => Ok(value),
                Err(error) => Err(BatchFailure::Commit(Arc::new(error))),
            });
        let sound = match &result {
            Ok(_) => true,
            Err(failure) => {
                // Numbers that the transaction gave out are void with it.
                self.names = Names::default();
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

    fn write(
        &mut self,
        batch: &[Vec<Row>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        self.transact(|connection, names| {
            if batch.iter().all(Vec::is_empty) {
                // It changes nothing, and must reach the disk to succeed.
                connection
                    .pragma_update(None, "user_version", known(SQLITE))
                    .map_err(unavailable)?;
            }
            let mut outcomes = Vec::with_capacity(batch.len());
            for delivery in batch {
                let outcome = match isolation {
                    Isolation::Together => write_delivery(connection, names, delivery).map(Ok),
                    Isolation::Apart => apart(connection, names, delivery),
                };
                outcomes.push(outcome.map_err(classify)?);
            }
            Ok(outcomes)
        })
    }
}

/// Writes a delivery so that its own failure leaves its neighbours as they are.
fn apart(
    connection: &Connection,
    names: &mut Names,
    delivery: &[Row],
) -> Result<Outcome, WriteError> {
    connection.execute_batch("SAVEPOINT delivery")?;
    match write_delivery(connection, names, delivery) {
        Ok(receipts) => {
            connection.execute_batch("RELEASE delivery")?;
            Ok(Ok(receipts))
        }
        Err(error) if error.is_of_the_row() => {
            connection.execute_batch("ROLLBACK TO delivery; RELEASE delivery")?;
            *names = Names::default();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a delivery's rows were refused by the store"
            );
            Ok(Err(Arc::new(error)))
        }
        Err(error) => Err(error),
    }
}

fn unavailable(error: rusqlite::Error) -> BatchFailure {
    BatchFailure::Unavailable(Arc::new(error))
}

fn classify(error: WriteError) -> BatchFailure {
    let of_the_row = error.is_of_the_row();
    let cause: Cause = Arc::new(error);
    if of_the_row {
        BatchFailure::Row(cause)
    } else {
        BatchFailure::Unavailable(cause)
    }
}

fn cause(failure: BatchFailure) -> Cause {
    match failure {
        BatchFailure::Row(cause)
        | BatchFailure::Unavailable(cause)
        | BatchFailure::Commit(cause) => cause,
    }
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

impl Engine for Sqlite {
    type Row = Row;

    fn prepare(event: Event) -> Row {
        Row::prepare(event)
    }

    fn bytes(row: &Row) -> usize {
        row.bytes()
    }

    async fn commit(
        &mut self,
        batch: &[Vec<Row>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        self.write(batch, isolation)
    }

    async fn tidy(&mut self) {
        if let Some(connection) = &self.connection {
            self.checkpoints.tend(connection);
        }
        if let Some(errand) = self.errands.keeping.next() {
            let done = self.transact(|connection, names| {
                super::sqlite_errands::run(connection, names, errand.work()).map_err(unavailable)
            });
            errand.finish(done.map_err(cause));
        }
        if let Some(errand) = self.errands.pruning.next() {
            let done = self.transact(|connection, _| {
                super::sqlite_retention::take(connection, errand.work()).map_err(unavailable)
            });
            errand.finish(done.map_err(cause));
        }
    }
}
