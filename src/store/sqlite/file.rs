//! A SQLite file of ours: made for its owner alone, opened in WAL mode with `synchronous=FULL`, brought up to date under its
//! own lock, and written in transactions that leave nothing open.
//!
//! There are two kinds, the embedded store and the spool; each has its own mark and its own schema.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

use super::errors::{fault, of_disk};
use super::found_log;
use super::moving::{Emptied, Sound, left};
use super::place::{Place, found, log_of, refuse_a_log_alone, store_at};
use super::write::WriteError;
use crate::inbox::{BatchFailure, Cause};
use crate::store::StoreFault;
use crate::store::migrations::{Migration, known};
use crate::text::chain;

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);
/// SQLite's memory for pages, in KiB. More would cost more: a batch that splits a page makes SQLite walk through all of it
/// (its `balance_nonroot` numbers pages past the end for a moment, and the commit looks for pages to cut off). The
/// system's own cache holds the rest.
const CACHE_KIB: i64 = 16_384;
/// Bytes that the log keeps on disk while it is empty, at most.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// The marks of our files, and what each is called.
const KINDS: [(i64, &str); 2] = [(STORE_ID, "the store"), (SPOOL_ID, "a spool")];
/// Marks the embedded store.
pub(in crate::store) const STORE_ID: i64 = 0x4353_474e;
/// Marks a spool.
pub(in crate::store) const SPOOL_ID: i64 = 0x4353_5350;

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
        found_log::make_durable(path, &connection)?;
        self.migrate(path, &mut connection)?;
        Ok(connection)
    }

    /// Opens the file for reading, if it has this program's schema.
    pub(in crate::store) fn open_to_read(&self, path: &Path) -> Result<Connection, StoreFault> {
        if store_at(path)?.is_dir() {
            return Err(StoreFault::IsDirectory { path: path.into() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        connection
            .busy_timeout(BUSY)
            .map_err(|error| fault(path, error))?;
        connection.set_prepared_statement_cache_capacity(32);
        keep_plans(&connection).map_err(|error| fault(path, error))?;
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
        let place = path.display().to_string();
        Err(match KINDS.iter().find(|(own, _)| *own == id) {
            Some((_, kind)) => StoreFault::OtherKind { place, kind },
            None => StoreFault::Foreign { place },
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

/// How long the last moves of a connection wait for others.
const LEAVE_WAIT: Duration = Duration::from_millis(50);

/// How long another connection may hold the file until the writer says so.
pub(super) const LOCK_TOLD: Duration = Duration::from_secs(2);

/// The one connection that writes to a file, opened anew when it cannot be trusted.
#[derive(Debug)]
pub(in crate::store) struct Writing {
    kind: &'static FileKind,
    place: Arc<Place>,
    /// `None` after a failure from which a connection cannot be trusted to recover: the next transaction opens another.
    connection: Option<Connection>,
    displaced: bool,
}

impl Writing {
    pub(in crate::store) fn new(
        kind: &'static FileKind,
        path: &Path,
        connection: Connection,
    ) -> Result<Self, StoreFault> {
        let connection = guarded(path, connection)?;
        Ok(Self {
            kind,
            place: Arc::new(Place::of(path)),
            connection: Some(connection),
            displaced: false,
        })
    }

    /// What it knows of the file and its log.
    pub(in crate::store) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The connection, if its log may be moved into its file now.
    pub(in crate::store) fn in_place(&self) -> Option<&Connection> {
        let connection = self.connection.as_ref()?;
        self.place.expect().is_ok().then_some(connection)
    }

    /// The connection, if there is one to be trusted.
    pub(in crate::store) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    #[cfg(test)]
    pub(super) fn forget_connection(&mut self) {
        self.connection = None;
    }

    /// Refuses to write to a file that is no longer the one at our path, or to such a log: what is written there would be gone with the
    /// process. The connection stays, for what was acknowledged may be in the log that it holds open, and nowhere else.
    fn expect_in_place(&mut self) -> Result<(), BatchFailure> {
        let found = self.place.file().expect();
        // Where no connection holds the log, it may have gone as it should, with the last that did.
        let is_held = self.connection.is_some() || self.place.unsynced().is_held();
        let found = match found {
            Ok(()) if is_held => self.expect_log(),
            found => found,
        };
        if found.is_err() != self.displaced {
            self.displaced = found.is_err();
            let store = self.place.file().path().display();
            match &found {
                Ok(()) => tracing::info!(%store, "the store's file is in its place again"),
                Err(fault) => tracing::error!("{fault}"),
            }
        }
        found.map_err(|fault| BatchFailure::Unavailable(Arc::new(fault)))
    }

    /// The log, or that all of it is in the file, which is in its place. Nothing more may be written to a log that is not, but
    /// what was acknowledged must outlive the process.
    fn expect_log(&self) -> Result<(), StoreFault> {
        match (self.place.expect_log(), &self.connection) {
            (Err(StoreFault::LogDisplaced { .. }), Some(connection)) => {
                self.place.move_all(connection);
                self.place.expect_log()
            }
            (found, _) => found,
        }
    }

    /// Whether what was just committed is where it is found again.
    fn expect_kept(&self, connection: &Connection) -> Result<(), StoreFault> {
        let Err(fault) = self.place.expect_log() else {
            return Ok(());
        };
        self.place.file().expect()?;
        if matches!(fault, StoreFault::LogDisplaced { .. }) && self.place.move_all(connection) {
            return Ok(());
        }
        Err(fault)
    }

    fn open_again(&self) -> Result<Connection, StoreFault> {
        let path = self.place.file().path();
        let connection = guarded(path, self.kind.open_again(path)?)?;
        self.place.file().expect()?;
        self.place.opened_again();
        Ok(connection)
    }

    /// Begins a transaction that may write, once nobody else is in one. Who waits for long says for what.
    fn begin(&self, connection: &Connection) -> Result<(), BatchFailure> {
        let began = Instant::now();
        let begun = loop {
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Err(error) if busy(&error) => {
                    if self.place.expect_unlocked().is_ok() {
                        self.place.locked(true);
                        if let Err(fault) = self.place.expect_unlocked() {
                            tracing::warn!("{fault}");
                        }
                    }
                    if began.elapsed() >= BUSY {
                        break self.place.expect_unlocked();
                    }
                }
                begun => {
                    self.place.locked(false);
                    return begun.map_err(unavailable);
                }
            }
        };
        begun.map_err(|fault| BatchFailure::Unavailable(Arc::new(fault)))
    }

    /// A disk that is full is the operator's to mend: SQLite's words do not say which one it is.
    fn named(&self, failure: BatchFailure) -> BatchFailure {
        let path = self.place.file().path();
        let fault = |cause: Cause| -> Cause {
            match of_disk(path, code(&cause), || chain(&*cause)) {
                Some(fault) => Arc::new(fault),
                None => cause,
            }
        };
        match failure {
            BatchFailure::Row(_) => failure,
            BatchFailure::Unavailable(cause) => BatchFailure::Unavailable(fault(cause)),
            BatchFailure::Commit(cause) => BatchFailure::Commit(fault(cause)),
        }
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
        let result = self
            .begin(&connection)
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
        let result = result.map_err(|failure| self.named(failure));
        let result = result.and_then(|value| match self.expect_kept(&connection) {
            Ok(()) => Ok(value),
            Err(fault) => Err(BatchFailure::Commit(Arc::new(fault))),
        });
        // What was acknowledged may be in a log that only this one still has.
        if sound || self.place.expect().is_err() {
            self.connection = Some(connection);
        }
        result
    }

    /// Moves what is in the log into the file, wherever that has its name, and closes it. The log goes only from beside the file that
    /// it belongs to; where that has no name, all that was acknowledged last is in the log, for the file that is put back.
    pub(in crate::store) fn close(self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let file = self.place.file();
        if !file.is_in_place() {
            // Beside another log somebody else may write to it, and old pages must not go over new ones.
            let of_nobody_else = |elsewhere: &PathBuf| !log_of(elsewhere).exists();
            let Some(elsewhere) = file.elsewhere().filter(of_nobody_else) else {
                if self.place.expect_log().is_err() {
                    return;
                }
                tracing::error!(
                    log = %log_of(file.path()).display(),
                    "the store's file is not in its place, and acknowledged events may be in its log alone: put the file back beside it before the next start"
                );
                return;
            };
            tracing::warn!(
                store = %file.path().display(),
                elsewhere = %elsewhere.display(),
                "the store's file has another name, and all that was acknowledged is moved into it"
            );
        }
        // The log is complete without this; the next start would do it.
        let _best_effort = connection.busy_timeout(BUSY);
        // Where the disk failed, SQLite would move the last step alone once more, and then throw the log away.
        let Some(sound) = self.place.wait_moving().made_sound(connection) else {
            return;
        };
        let may_go = match self.place.expect_log() {
            Ok(()) => emptied(&sound, connection).is_ok(),
            Err(_) => {
                drop(sound);
                // As a last resort SQLite may try it, unless what is left is another log's.
                !self.place.move_all(connection) || left(connection).is_ok_and(|left| left == 0)
            }
        };
        if may_go && file.is_in_place() {
            let _best_effort = take_the_log_away(connection);
        }
    }

    /// The same, of a file that holds nothing that is still needed: its log goes, though the file went before.
    pub(in crate::store) fn close_emptied(self) {
        self.place.remove_a_log_alone();
        self.close();
    }
}

/// A connection as one that lasts has it: it leaves the log, however it ends, and waits for a lock only until that can be told.
fn guarded(path: &Path, connection: Connection) -> Result<Connection, StoreFault> {
    leave_the_log(&connection)
        .and_then(|()| connection.busy_timeout(LOCK_TOLD))
        .map_err(|error| fault(path, error))?;
    Ok(connection)
}

/// The file's directory must be there: it is the operator's to make.
pub(in crate::store) fn directory_of(path: &Path) -> Result<&Path, StoreFault> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        Some(_) | None => Path::new("."),
    };
    if found(directory)?.is_some_and(|found| found.is_dir()) {
        return Ok(directory);
    }
    Err(StoreFault::NoDirectory {
        path: path.into(),
        directory: directory.into(),
    })
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
    keep_plans(connection)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The log is moved by `checkpoints`; what it once took on disk is given back beyond this.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Else SQLite, with each binding anew, prepares those statements anew whose parameters might make a partial index of use.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

/// At its end, the last connection to a file takes away the log, by its name: with this, one that is not to do so does not.
pub(in crate::store) fn leave_the_log(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map(drop)
}

/// Moves all that the log holds, of a connection that is closed next, beside others that may write: SQLite would move what is left, and
/// throw the log away, whatever a failed sync lost.
pub(in crate::store) fn leave(place: &Place, connection: &Connection) {
    let sound = place.wait_moving().made_sound(connection);
    if !sound.is_some_and(|sound| emptied(&sound, connection).is_ok_and(|emptied| emptied.all)) {
        // The log is complete without this; the next start would do it.
        let _best_effort = leave_the_log(connection);
    }
}

/// Who waits for a reader here keeps all writers waiting: so most is moved before, and the wait is short.
fn emptied(sound: &Sound<'_>, connection: &Connection) -> rusqlite::Result<Emptied> {
    sound.step(connection)?;
    connection.busy_timeout(LEAVE_WAIT)?;
    sound.empty(connection)
}

fn take_the_log_away(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
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
    sync_fully(connection)
}

pub(super) fn sync_fully(connection: &Connection) -> rusqlite::Result<()> {
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

pub(in crate::store) fn unavailable(error: rusqlite::Error) -> BatchFailure {
    BatchFailure::Unavailable(Arc::new(error))
}

/// SQLite's code, of what comes from it.
fn code(cause: &Cause) -> Option<ErrorCode> {
    match cause.downcast_ref::<rusqlite::Error>() {
        Some(error) => error.sqlite_error_code(),
        None => cause
            .downcast_ref::<WriteError>()
            .and_then(WriteError::code),
    }
}

/// Whether a connection should not be used again after this.
fn distrust(failure: &BatchFailure) -> bool {
    let cause = match failure {
        BatchFailure::Row(_) => return false,
        BatchFailure::Unavailable(cause) | BatchFailure::Commit(cause) => cause,
    };
    if matches!(
        cause.downcast_ref(),
        Some(StoreFault::Locked { .. } | StoreFault::LogDisplaced { .. })
    ) {
        return false;
    }
    // A full disk or a busy file pass; the connection is as good as before, and its cache is warm.
    !matches!(
        code(cause),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::Place as Site;
    use crate::store::migrations::SQLITE;

    static KIND: FileKind = FileKind {
        application_id: 1,
        steps: SQLITE,
    };

    #[test]
    fn a_disk_that_takes_no_writes_is_named() {
        let site = Site::sqlite();
        let connection = KIND.open(&site.file()).unwrap();
        let writing = Writing::new(&KIND, &site.file(), connection).unwrap();
        // SQLITE_IOERR_WRITE, whatever the system said: EDQUOT, EROFS, EIO.
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(778), None);
        let named = writing.named(BatchFailure::Commit(Arc::new(error)));
        let BatchFailure::Commit(cause) = named else {
            panic!("another failure");
        };
        let told = chain(&*cause);
        assert!(told.contains("a quota is used up"), "{told}");
        assert!(told.contains(&site.file().display().to_string()), "{told}");
    }
}
