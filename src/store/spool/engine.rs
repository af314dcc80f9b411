//! The spool's file, as group commit's engine: deliveries are durable here before anybody is told, as in a store.
//!
//! It is another SQLite file of ours (`migrations/spool`), bounded in bytes. Nothing is looked up and nothing is decided:
//! whether an event is new is the database's to say once it is moved there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::backlog::Counts;
use super::form::{self, FORM};
use super::reserve::Reserve;
use crate::inbox::{BatchFailure, Cause, Engine, Event, Isolation, Outcome, Receipt, Standing};
use crate::store::StoreFault;
use crate::store::look::look_at_file;
use crate::store::migrations::{SPOOL, known};
use crate::store::sqlite;
use crate::store::sqlite::file::{FileKind, SPOOL_ID, Writing, unavailable};
use crate::store::sqlite::unsynced::Unsynced;

/// The spool's file: "CSSP".
pub(super) static FILE: FileKind = FileKind {
    application_id: SPOOL_ID,
    steps: SPOOL,
};

/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4096;

/// Where a spool is, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file that may be in use.
    pub bytes: u64,
    /// Bytes that the largest delivery may have: with less room than for one, the spool counts as full.
    pub delivery_bytes: u64,
    /// How long a delivery waits for the database before it goes to the spool.
    pub database_wait: Duration,
    /// How long a delivery waits for the spool.
    pub spool_wait: Duration,
}

impl SpoolSettings {
    /// What would stop a start: a file that cannot be made or written, or one that is no spool. How many events it holds.
    pub fn look(&self) -> Result<u64, StoreFault> {
        look_at_file(&self.path).map_err(StoreFault::in_spool)?;
        events_in_spool(&self.path)
    }
}

/// The writing side.
#[derive(Debug)]
pub(super) struct Spool {
    writing: Writing,
    bounds: Bounds,
    counts: Arc<Counts>,
}

/// How large the file may be.
#[derive(Debug)]
struct Bounds {
    path: PathBuf,
    pages_max: u64,
    reserve: Arc<Reserve>,
}

impl Bounds {
    /// Sets it for this connection. Pages that the file may have.
    fn set(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let pages_max = i64::try_from(self.pages(connection)?).unwrap_or(i64::MAX);
        // It is never less than there are.
        let pages_max =
            connection.pragma_update_and_check(None, "max_page_count", pages_max, |row| {
                row.get::<_, i64>(0)
            })?;
        Ok(u64::try_from(pages_max).unwrap_or(0))
    }

    /// As many as it was allowed, and its disk has room for. What comes takes its room twice, in the log and in the file; what the log
    /// holds already, once more. Without this the log could neither be moved nor grow, and nothing be taken out.
    fn pages(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let in_file = std::fs::metadata(&self.path).map_or(0, |file| file.len() / PAGE_BYTES);
        let pages = connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
        let in_log_alone = u64::try_from(pages).unwrap_or(0).saturating_sub(in_file);
        let room = (self.reserve.room() / PAGE_BYTES).saturating_add(in_log_alone);
        Ok(in_file.saturating_add(room / 2).min(self.pages_max))
    }
}

/// An event that waits to be written. Its text is made one at a time, when it is: what the events of a delivery share (headers, leaf)
/// would be in it as often as there are of them.
#[derive(Debug)]
pub(super) struct SpoolRow {
    event: Event,
    /// Until when the database may still take it from elsewhere, microseconds since the epoch.
    settles_at: Option<i64>,
}

impl SpoolRow {
    pub(super) fn of(event: Event, settles_at: Option<i64>) -> Self {
        Self { event, settles_at }
    }

    fn receipt(&self) -> Receipt {
        match self.event.standing {
            Standing::Readable => Receipt::Spooled,
            Standing::Quarantined => Receipt::Quarantined,
        }
    }
}

/// How an event's text is made.
type Form = fn(&Event) -> Result<String, serde_json::Error>;

/// Why a delivery is not written.
enum NotWritten {
    /// The file refused it.
    File(rusqlite::Error),
    /// One of its events has no form.
    Event(Cause),
}

impl From<rusqlite::Error> for NotWritten {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

impl From<NotWritten> for BatchFailure {
    fn from(failure: NotWritten) -> Self {
        match failure {
            NotWritten::File(error) => unavailable(error),
            NotWritten::Event(cause) => Self::Row(cause),
        }
    }
}

impl Spool {
    pub(super) fn open(
        settings: &SpoolSettings,
        reserve: Arc<Reserve>,
        counts: Arc<Counts>,
    ) -> Result<Self, StoreFault> {
        let connection = FILE.open(&settings.path)?;
        counts.bounded(settings.bytes);
        Ok(Self {
            writing: Writing::new(&FILE, &settings.path, connection)?,
            bounds: Bounds {
                path: settings.path.clone(),
                pages_max: (settings.bytes / PAGE_BYTES).max(1),
                reserve,
            },
            counts,
        })
    }

    /// What is known of the file's last sync.
    pub(super) fn unsynced(&self) -> Arc<Unsynced> {
        Arc::clone(self.writing.place().unsynced())
    }

    /// Closes the file. What was moved out of it is in the database: of one that holds nothing, nothing needs to be left.
    pub(super) fn close(self) {
        let events = self.writing.connection().map(count);
        if events.is_some_and(|events| events.is_ok_and(|events| events == 0)) {
            self.writing.close_emptied();
        } else {
            self.writing.close();
        }
    }

    fn write(
        &mut self,
        batch: &[Vec<SpoolRow>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        let now = Timestamp::now().as_microsecond();
        let (bounds, counts) = (&self.bounds, &self.counts);
        let (outcomes, events) = self.writing.transact(|connection| {
            if batch.iter().all(Vec::is_empty) {
                // It changes nothing, and must reach the disk to succeed.
                connection
                    .pragma_update(None, "user_version", known(SPOOL))
                    .map_err(unavailable)?;
            }
            let pages_max = bounds.set(connection).map_err(unavailable)?;
            counts.bounded(pages_max.saturating_mul(PAGE_BYTES));
            let written = insert(connection, batch, isolation, now, form::write)?;
            // Before anybody can see what was written.
            counts.runs_under(run(connection).map_err(unavailable)?);
            Ok(written)
        })?;
        if let Some(connection) = self.writing.connection()
            && events > 0
        {
            // The figures are for the operator: the events are durable whatever becomes of them.
            let bytes = bytes_in_use(connection).unwrap_or_default();
            self.counts.arrived(events, now, bytes);
        }
        Ok(outcomes)
    }
}

fn insert(
    connection: &Connection,
    batch: &[Vec<SpoolRow>],
    isolation: Isolation,
    now: i64,
    form: Form,
) -> Result<(Vec<Outcome>, u64), NotWritten> {
    // It lasts as long as the connection: another file, or the same one opened again, has another run.
    connection
        .execute_batch("CREATE TEMP TABLE IF NOT EXISTS run AS SELECT randomblob(16) AS run")?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut events = 0;
    for delivery in batch {
        let outcome = match isolation {
            Isolation::Together => insert_delivery(connection, delivery, now, form).map(Ok),
            Isolation::Apart => apart(connection, delivery, now, form),
        }?;
        if outcome.is_ok() {
            events += delivery.len() as u64;
        }
        outcomes.push(outcome);
    }
    Ok((outcomes, events))
}

/// What this connection writes under.
fn run(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    connection
        .prepare_cached("SELECT run FROM temp.run")?
        .query_row([], |row| row.get(0))
}

/// Writes a delivery so that its own failure leaves its neighbours as they are.
fn apart(
    connection: &Connection,
    delivery: &[SpoolRow],
    now: i64,
    form: Form,
) -> Result<Outcome, NotWritten> {
    connection.execute_batch("SAVEPOINT delivery")?;
    match insert_delivery(connection, delivery, now, form) {
        Ok(receipts) => {
            connection.execute_batch("RELEASE delivery")?;
            Ok(Ok(receipts))
        }
        Err(NotWritten::Event(cause)) => {
            connection.execute_batch("ROLLBACK TO delivery; RELEASE delivery")?;
            Ok(Err(cause))
        }
        Err(failure) => Err(failure),
    }
}

fn insert_delivery(
    connection: &Connection,
    delivery: &[SpoolRow],
    now: i64,
    form: Form,
) -> Result<Vec<Receipt>, NotWritten> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO waiting (run, tenant_id, spooled_at, settles_at, form, event, body)
         VALUES ((SELECT run FROM temp.run), ?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in delivery {
        let event = form(&row.event).map_err(|error| NotWritten::Event(Arc::new(error)))?;
        insert.execute(params![
            row.event.key.tenant.as_str(),
            now,
            row.settles_at,
            FORM,
            event,
            &*row.event.body
        ])?;
    }
    Ok(delivery.iter().map(SpoolRow::receipt).collect())
}

/// Bytes of the file's pages that hold something.
pub(super) fn bytes_in_use(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_BYTES))
}

/// How many events a spool's file holds; none where there is no such file.
pub fn events_in_spool(path: &Path) -> Result<u64, StoreFault> {
    let found = sqlite::place::found(path).map_err(StoreFault::in_spool)?;
    if found.is_none() {
        return Ok(0);
    }
    let connection = match FILE.open_to_read(path) {
        Ok(connection) => connection,
        Err(StoreFault::NoStore { .. }) => return Ok(0),
        Err(fault) => return Err(StoreFault::in_spool(fault)),
    };
    match count(&connection) {
        Ok(events) => Ok(u64::try_from(events).unwrap_or(0)),
        Err(error) => Err(StoreFault::in_spool(sqlite::errors::fault(path, error))),
    }
}

fn count(connection: &Connection) -> rusqlite::Result<i64> {
    let count = "SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM aside)";
    connection.query_row(count, [], |row| row.get(0))
}

impl Engine for Spool {
    type Row = SpoolRow;

    fn prepare(event: Event) -> SpoolRow {
        SpoolRow::of(event, None)
    }

    fn bytes(row: &SpoolRow) -> usize {
        let event = &row.event;
        // The headers are counted with each, though all of a delivery share them.
        event
            .body
            .len()
            .saturating_add(event.headers.as_str().len())
            .saturating_add(event.key.event_id.len())
            .saturating_add(512)
    }

    async fn commit(
        &mut self,
        batch: &[Vec<SpoolRow>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        self.write(batch, isolation)
    }

    async fn tidy(&mut self) {
        if let Some(connection) = self.writing.connection() {
            let pages = self.bounds.reserve.log_pages();
            self.writing.place().bound_log(connection, pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::event;

    #[test]
    fn an_event_without_a_form_takes_its_delivery_with_it_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let connection = FILE.open(&directory.path().join("spool.db")).unwrap();
        let delivery = |ids: &[&str]| {
            let rows = ids.iter().map(|id| SpoolRow::of(event(id), None));
            rows.collect::<Vec<_>>()
        };
        let batch = [
            delivery(&["evt_1"]),
            delivery(&["evt_2", "bad"]),
            delivery(&["evt_3"]),
        ];
        let form = |event: &Event| match &*event.key.event_id {
            "bad" => Err(serde_json::from_str::<u8>("").unwrap_err()),
            _ => form::write(event),
        };
        let together = insert(&connection, &batch, Isolation::Together, 0, form);
        let failure = BatchFailure::from(together.err().unwrap());
        assert!(matches!(failure, BatchFailure::Row(_)), "{failure:?}");
        connection.execute("DELETE FROM waiting", []).unwrap();
        let apart = insert(&connection, &batch, Isolation::Apart, 0, form);
        let (outcomes, events) = apart.ok().unwrap();
        let kept: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!((kept, events), (vec![true, false, true], 2));
        let count = "SELECT count(*) FROM waiting";
        let count = connection.query_row(count, [], |row| row.get::<_, i64>(0));
        assert_eq!(count.unwrap(), 2);
    }

    #[test]
    fn what_the_events_of_a_delivery_share_waits_once() {
        let first = event("evt_1");
        let second = Event {
            key: event("evt_2").key,
            ..first.clone()
        };
        let rows = [first, second].map(Spool::prepare);
        let headers = rows.each_ref().map(|row| row.event.headers.as_str());
        assert!(std::ptr::eq(headers[0], headers[1]));
        assert!(Spool::bytes(&rows[0]) > headers[0].len());
    }
}
