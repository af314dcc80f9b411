//! The spool's file, as the mover sees it: what waits, in order, and what becomes of it.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::backlog::Counted;
use super::engine::{FILE, bytes_in_use};
use super::reserve::Reserve;
use crate::store::StoreFault;
use crate::store::sqlite;
use crate::store::sqlite::place::Place;
use crate::store::sqlite::unsynced::{Holding, Unsynced};

/// Bytes in use with which the file is made small again: SQLite holds them in memory meanwhile, for nowhere but in this file may bodies
/// be written.
const TIDY_BYTES_MAX: u64 = 8 << 20;
/// Events that are put back at a time, at most, and bytes of theirs unless one has more.
const BACK: (i64, i64) = (64, 1 << 20);

/// An event that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) position: i64,
    pub(super) run: Vec<u8>,
    pub(super) tenant: String,
    /// Microseconds since the epoch.
    pub(super) settles_at: Option<i64>,
    pub(super) form: i64,
    pub(super) event: String,
    pub(super) body: Vec<u8>,
}

/// The mover's own connection.
#[derive(Debug)]
pub(super) struct Queue {
    place: Arc<Place>,
    reserve: Arc<Reserve>,
    connection: Option<Connection>,
    /// While there is a connection.
    holding: Option<Holding>,
    /// Whether the file was found to be away: then nothing may be moved into it, for the log that stays is for the one that is put back.
    away: bool,
}

impl Queue {
    /// Of the file that is at this path, and of whose last sync this is known.
    pub(super) fn new(path: &Path, reserve: Arc<Reserve>, unsynced: Arc<Unsynced>) -> Self {
        Self {
            place: Arc::new(Place::beside(path, unsynced)),
            reserve,
            connection: None,
            holding: None,
            away: false,
        }
    }

    /// Sees to it that there is room to take something out.
    pub(super) fn keep_in_reserve(&self) {
        self.reserve.take();
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreFault> {
        self.away = !self.place.file().is_in_place();
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        if !self.away {
            self.look_at_the_log(&connection);
        }
        self.holding
            .get_or_insert_with(|| self.place.unsynced().hold());
        Ok(self.connection.insert(connection))
    }

    fn open(&self) -> Result<Connection, StoreFault> {
        self.place.file().expect()?;
        let path = self.place.file().path();
        let connection = FILE.open(path)?;
        sqlite::file::leave_the_log(&connection)
            .map_err(|error| sqlite::errors::fault(path, error))?;
        self.place.opened_again();
        Ok(connection)
    }

    /// A log that was taken away is gone with the process, and with it all that waits there alone: it is moved into the file.
    fn look_at_the_log(&self, connection: &Connection) {
        if let Err(fault) = self.place.expect_log()
            && !(matches!(fault, StoreFault::LogDisplaced { .. })
                && self.place.move_all(connection))
        {
            tracing::warn!("{fault}");
        }
    }

    fn with<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let place = Arc::clone(&self.place);
        let mut done = work(self.connection()?);
        if done.as_ref().is_err_and(lacks_room) && !self.away {
            if self.reserve.give() {
                tracing::warn!(
                    spool = %self.place.file().path().display(),
                    "the spool's disk is full: what it keeps in reserve is used to empty it, and it does not grow meanwhile"
                );
            }
            let connection = self.connection()?;
            // With what it holds in the file, the log begins anew and need not grow. Deliveries may have filled it since the room was given.
            let _best_effort = place.empty_log(connection);
            done = work(connection);
        }
        if let Some(connection) = &self.connection
            && !self.away
        {
            place.bound_log(connection, self.reserve.log_pages());
        }
        if done.is_err() && self.place.expect().is_ok() {
            // Another connection may do better, and finds the same. Of a file or a log that was taken away, only this one has what waits.
            self.connection = None;
            self.holding = None;
        }
        done.map_err(|error| sqlite::errors::fault(self.place.file().path(), error))
    }

    /// Puts what was set aside back at the end: another version, or a mended database, may take it. A little at a time, for while it is
    /// written it is there twice.
    pub(super) fn take_back(&mut self) -> Result<u64, StoreFault> {
        // Another process of ours may set more aside meanwhile.
        let last: Option<i64> = self.with(|connection| {
            connection.query_row("SELECT max(aside) FROM aside", [], |row| row.get(0))
        })?;
        let mut back = 0;
        // Where there is nothing, nothing is written: the disk may be full.
        while let Some(last) = last {
            match self.with(|connection| take_some_back(connection, last)) {
                Ok(0) => break,
                Ok(some) => back += some,
                // It keeps: what waits already is more urgent.
                Err(fault) if is_for_room(&fault) => {
                    tracing::warn!(
                        error = &fault as &dyn std::error::Error,
                        "the spool's disk is too full to try again what was set aside: the next start does"
                    );
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(back)
    }

    /// The first of those that wait: so many at most, and so many bytes, but one at least.
    pub(super) fn head(&mut self, rows: usize, bytes: usize) -> Result<Vec<Waiting>, StoreFault> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT position, run, tenant_id, settles_at, form, event, body FROM waiting ORDER BY position LIMIT ?1",
            )?;
            let mut found = select.query([i64::try_from(rows).unwrap_or(i64::MAX)])?;
            let mut head = Vec::new();
            let mut held = 0_usize;
            while let Some(row) = found.next()? {
                let waiting = Waiting {
                    position: row.get(0)?,
                    run: row.get(1)?,
                    tenant: row.get(2)?,
                    settles_at: row.get(3)?,
                    form: row.get(4)?,
                    event: row.get(5)?,
                    body: row.get(6)?,
                };
                held = held.saturating_add(waiting.body.len()).saturating_add(waiting.event.len());
                if held > bytes && !head.is_empty() {
                    break;
                }
                head.push(waiting);
            }
            Ok(head)
        })
    }

    /// The last position of those that wait; 0 where none does.
    pub(super) fn last(&mut self) -> Result<i64, StoreFault> {
        self.with(|connection| {
            let last = "SELECT ifnull(max(position), 0) FROM waiting";
            connection.query_row(last, [], |row| row.get(0))
        })
    }

    /// Forgets what is where it belongs. How many there were, when the first of the rest came, and the bytes in use.
    pub(super) fn remove(
        &mut self,
        positions: &[i64],
    ) -> Result<(u64, Option<i64>, u64), StoreFault> {
        let removed = self.with(|connection| remove(connection, positions));
        match removed {
            // Fewer take less of the log.
            Err(fault) if positions.len() > 1 && is_for_room(&fault) => {
                let (first, second) = positions.split_at(positions.len() / 2);
                let (before, ..) = self.remove(first)?;
                let (removed, oldest, bytes) = self.remove(second)?;
                Ok((before + removed, oldest, bytes))
            }
            removed => removed,
        }
    }

    /// Sets one aside, durably. `None` if another process has done so.
    pub(super) fn set_aside(
        &mut self,
        position: i64,
        reason: &str,
    ) -> Result<Option<(Option<i64>, u64)>, StoreFault> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let moved = transaction.execute(
                "INSERT INTO aside (tenant_id, spooled_at, settles_at, form, event, body, refused_at, reason)
                 SELECT tenant_id, spooled_at, settles_at, form, event, body, ?2, ?3 FROM waiting WHERE position = ?1",
                params![position, Timestamp::now().as_microsecond(), reason],
            )?;
            transaction.execute("DELETE FROM waiting WHERE position = ?1", [position])?;
            transaction.commit()?;
            if moved == 0 {
                return Ok(None);
            }
            Ok(Some((oldest(connection)?, bytes_in_use(connection)?)))
        })
    }

    /// Counts what is there.
    pub(super) fn count(&mut self) -> Result<Counted, StoreFault> {
        self.with(|connection| {
            let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            let count = |sql: &str| number(sql).map(|n| u64::try_from(n).unwrap_or(0));
            Ok(Counted {
                waiting: count("SELECT count(*) FROM waiting")?,
                aside: count("SELECT count(*) FROM aside")?,
                bytes: bytes_in_use(connection)?,
                oldest: oldest(connection)?,
                arrivals: 0,
            })
        })
    }

    /// Gives back the disk that the outage took, and with it what the free pages still hold of the bodies. Not while much is left: its
    /// pages are used again.
    pub(super) fn tidy(&mut self) -> Result<(), StoreFault> {
        if !self.place.file().is_in_place() {
            return Ok(());
        }
        let place = Arc::clone(&self.place);
        let tidied = self.with(|connection| {
            if bytes_in_use(connection)? <= TIDY_BYTES_MAX {
                connection.execute_batch("VACUUM")?;
            }
            place.empty_log(connection)
        });
        self.keep_in_reserve();
        tidied
    }
}

fn take_some_back(connection: &mut Connection, last: i64) -> rusqlite::Result<u64> {
    let (rows, bytes) = BACK;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let some: Option<i64> = transaction.query_row(
        "SELECT max(aside) FROM (
             SELECT aside, row_number() OVER first AS number, sum(held) OVER first AS bytes
             FROM (SELECT aside, length(body) + length(event) AS held FROM aside WHERE aside <= ?1 ORDER BY aside LIMIT ?2)
             WINDOW first AS (ORDER BY aside)
         ) WHERE number = 1 OR bytes <= ?3",
        [last, rows, bytes],
        |row| row.get(0),
    )?;
    let run: Vec<u8> = transaction.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
    let back = transaction.execute(
        "INSERT INTO waiting (run, tenant_id, spooled_at, settles_at, form, event, body)
         SELECT ?1, tenant_id, spooled_at, settles_at, form, event, body FROM aside WHERE aside <= ?2 ORDER BY aside",
        params![run, some],
    )?;
    transaction.execute("DELETE FROM aside WHERE aside <= ?1", [some])?;
    transaction.commit()?;
    Ok(back as u64)
}

fn remove(
    connection: &mut Connection,
    positions: &[i64],
) -> rusqlite::Result<(u64, Option<i64>, u64)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut removed = 0;
    for position in positions {
        removed += transaction
            .prepare_cached("DELETE FROM waiting WHERE position = ?1")?
            .execute([position])?;
    }
    transaction.commit()?;
    Ok((
        removed as u64,
        oldest(connection)?,
        bytes_in_use(connection)?,
    ))
}

/// The same, of an error that has its place.
fn is_for_room(fault: &StoreFault) -> bool {
    std::error::Error::source(fault)
        .and_then(|source| source.downcast_ref())
        .is_some_and(lacks_room)
}

/// Whether there was no room on the disk; where not even the log's index can be made, SQLite says only that it could not write.
fn lacks_room(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}

fn oldest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT spooled_at FROM waiting ORDER BY position LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}
