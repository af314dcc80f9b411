//! The embedded engine: one SQLite file in WAL mode with `synchronous=FULL`, and one connection that writes.
//!
//! The writer has a thread of its own; it is the [`Engine`] behind group commit. Readers have connections of their own,
//! which never hold up the writer.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::checkpoints::Checkpoints;
use super::file::{FileKind, STORE_ID, Writing, unavailable};
use super::names::Names;
use super::place::Place;
use super::write::{WriteError, write_delivery};
use crate::inbox::{BatchFailure, Cause, Engine, Event, Isolation, Outcome};
use crate::store::StoreFault;
use crate::store::errands::Errands;
use crate::store::migrations::{SQLITE, known};
use crate::store::row::Row;

/// The embedded store's file: "CSGN".
static FILE: FileKind = FileKind {
    application_id: STORE_ID,
    steps: SQLITE,
};

/// Opens the file for writing, makes it if there is none, and brings its schema up to date.
pub(in crate::store) fn open(path: &Path) -> Result<Connection, StoreFault> {
    FILE.open(path)
}

/// Opens the file for reading, if it has this program's schema.
pub(in crate::store) fn open_to_read(path: &Path) -> Result<Connection, StoreFault> {
    FILE.open_to_read(path)
}

/// The writing connection, as group commit's engine.
#[derive(Debug)]
pub(in crate::store) struct Sqlite {
    writing: Writing,
    names: Names,
    errands: Arc<Errands>,
    checkpoints: Checkpoints,
}

impl Sqlite {
    pub(in crate::store) fn new(
        path: &Path,
        connection: Connection,
        errands: Arc<Errands>,
    ) -> Result<Self, StoreFault> {
        let writing = Writing::new(&FILE, path, connection)?;
        let checkpoints = Checkpoints::start(Arc::clone(writing.place()))?;
        Ok(Self {
            writing,
            names: Names::default(),
            errands,
            checkpoints,
        })
    }

    /// Moves what is in the log into the file, and closes it.
    pub(in crate::store) fn close(self) {
        let _place = self.checkpoints.end();
        self.writing.close();
    }

    /// What it knows of the file and its log.
    pub(in crate::store) fn place(&self) -> Arc<Place> {
        Arc::clone(self.writing.place())
    }

    #[cfg(test)]
    pub(super) fn with_connection(&self, work: impl FnOnce(&Connection)) {
        work(self.writing.connection().unwrap());
    }

    #[cfg(test)]
    pub(super) fn forget_connection(&mut self) {
        self.writing.forget_connection();
    }

    /// Runs `work` in a transaction. Whatever fails leaves no transaction open.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Names) -> Result<T, BatchFailure>,
    ) -> Result<T, BatchFailure> {
        let names = &mut self.names;
        let result = self.writing.transact(|connection| work(connection, names));
        if result.is_err() {
            // Numbers that the transaction gave out are void with it.
            self.names = Names::default();
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
            // Whoever brought it tells of it, and not of each where there are many.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a delivery's rows were refused by the store"
            );
            Ok(Err(Arc::new(error)))
        }
        Err(error) => Err(error),
    }
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
        if let Some(connection) = self.writing.in_place() {
            self.checkpoints.tend(connection);
        }
        if let Some(errand) = self.errands.keeping.next() {
            let done = self.transact(|connection, names| {
                super::errands::run(connection, names, errand.work()).map_err(unavailable)
            });
            errand.finish(done.map_err(cause));
        }
        if let Some(errand) = self.errands.pruning.next() {
            let done = self.transact(|connection, _| {
                super::retention::take(connection, errand.work()).map_err(unavailable)
            });
            errand.finish(done.map_err(cause));
        }
    }
}
