//! The store: durable events, the ledger, refusals, and the views that read them.
//!
//! A [`Store`] is the [`Inbox`] behind gate 4. It writes an event down, asks `payments` what it means, and keeps both in
//! one transaction, which is durable before anybody is told. It also keeps what the other rooms gather in memory:
//! refusals ([`Store::keep`]) and which certificates and secrets are in use ([`Seen`]).
//!
//! [`Views`] read from connections of their own, off the runtime's threads, and never hold up the writer.
//!
//! The schema is in `migrations/`, embedded, and brought up to date at [`Store::open`] under the store's own lock. A
//! store that a newer version wrote is refused.
//!
//! It never decides what a sender is told, and it never holds more in memory than its bounds say. SQL stands in this
//! room only. Sources: SQLite's "Write-Ahead Logging" and "Atomic Commit".

mod checkpoints;
mod errands;
#[cfg(test)]
mod fixtures;
mod location;
mod migrations;
mod names;
mod row;
mod seen;
#[cfg(test)]
mod simulation;
mod sqlite;
mod sqlite_errands;
#[cfg(test)]
mod sqlite_faults;
mod sqlite_read;
mod sqlite_write;
#[cfg(test)]
mod suite;
mod views;
mod reading;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::inbox::{
    Cause, Event, GroupCommit, Health, Inbox, InboxFailure, Limits, Receipt, WriterGone,
};
use crate::refusals::Book;

use errands::{Errands, Work};
use sqlite::Sqlite;

pub use location::{NotAUrl, StoreFault, Url};
pub use reading::{ReadFailure, Views};
pub use seen::Seen;
pub use views::{
    Cursor, EventDetail, EventView, Filter, HistoryView, LeafSeen, LeafView, Millis, NotACursor,
    Page, PaymentDetail, PaymentView, RefusalView, SecretSeen,
};

/// Groups of refusals that are written down at once, at most: a flood must not become a flood of writes.
const REFUSALS_AT_ONCE: usize = 500;
/// How often what was gathered in memory is written down, at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long the writing down waits for the writer.
const KEEP_WAIT: Duration = Duration::from_secs(30);

/// A store that is open for writing. Dropping it stops the writer once it has answered what is queued.
#[derive(Debug)]
pub struct Store {
    url: Url,
    inbox: GroupCommit<Sqlite>,
    views: Views,
    errands: Arc<Errands>,
    seen: Arc<Seen>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store, brings its schema up to date, and starts its writer.
    pub async fn open(url: &Url, limits: Limits) -> Result<Self, StoreFault> {
        let path = sqlite_path(url)?;
        let connection = off_the_runtime({
            let path = path.clone();
            move || sqlite::open(&path)
        })
        .await?;
        let errands = Arc::new(Errands::default());
        let engine = Sqlite::new(&path, connection, Arc::clone(&errands))?;
        let (inbox, writers) = GroupCommit::new(vec![engine], limits);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(writers))
            .map_err(|error| StoreFault::NoWriter {
                source: error.into(),
            })?;
        Ok(Self {
            url: url.clone(),
            inbox,
            views: Views::new(path),
            errands,
            seen: Arc::default(),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Brings the schema up to date, and no more.
    pub async fn migrate(url: &Url) -> Result<(), StoreFault> {
        let path = sqlite_path(url)?;
        off_the_runtime(move || sqlite::open(&path).map(drop)).await
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What reads from it.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Where the certificates and secrets of deliveries are noted.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    /// How many deliveries, and bytes, wait for the writer.
    pub fn queued(&self) -> (usize, usize) {
        (self.inbox.queued_deliveries(), self.inbox.queued_bytes())
    }

    /// Whether a delivery would be taken now. After a failure it finds out by writing.
    pub async fn ready(&self) -> Result<(), InboxFailure> {
        match self.inbox.health() {
            Health::Good => Ok(()),
            Health::Unknown | Health::Failing { .. } => {
                self.inbox.accept(Vec::new()).await.map(drop)
            }
        }
    }

    /// Takes the refusals of an earlier life into the book.
    pub async fn load(&self, book: &Book) -> Result<(), ReadFailure> {
        book.load(self.views.refusal_groups().await?);
        Ok(())
    }

    /// Writes down what was gathered in memory, each second at most, until the future is dropped.
    pub async fn keep(&self, book: &Book) {
        let mut failing = false;
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            match self.flush(book).await {
                Ok(()) => failing = false,
                // Once: the deliveries tell the rest.
                Err(cause) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &*cause as &dyn std::error::Error,
                        "refusals could not be written down; they are kept in memory"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Writes down what was gathered in memory, if anything was.
    pub async fn flush(&self, book: &Book) -> Result<(), Cause> {
        let refusals = book.drain_dirty(REFUSALS_AT_ONCE);
        let (leaves, secrets) = self.seen.take();
        let work = Work {
            refusals,
            leaves,
            secrets,
        };
        if work.is_empty() {
            return Ok(());
        }
        let result = self.run_errand(work.clone()).await;
        if result.is_err() {
            book.restore(work.refusals);
            self.seen.give_back(work.leaves, work.secrets);
        }
        result
    }

    async fn run_errand(&self, work: Work) -> Result<(), Cause> {
        let done = self.errands.send(work);
        // An empty delivery wakes the writer; if the queue is full, it is awake.
        let _nudge = self.inbox.accept(Vec::new()).await;
        match tokio::time::timeout(KEEP_WAIT, done).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(Arc::new(WriterGone)),
            Err(elapsed) => Err(Arc::new(elapsed)),
        }
    }

    /// Takes no more, answers what is queued, and closes the file.
    pub async fn close(&self) {
        self.inbox.close();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // A writer that panicked has said so already.
            let _joined = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
        }
    }
}

impl Inbox for Store {
    async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        self.inbox.accept(delivery).await
    }
}

/// The writer's thread: SQLite blocks, so it shares no thread with anything else.
fn run(writers: Vec<crate::inbox::Writer<Sqlite>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store's writer cannot run"
            );
            return;
        }
    };
    for writer in writers {
        runtime.block_on(writer.run()).close();
    }
}

fn sqlite_path(url: &Url) -> Result<PathBuf, StoreFault> {
    match url {
        Url::Sqlite(path) => Ok(path.clone()),
        Url::Postgres(_) => Err(StoreFault::NoEngine {
            place: url.to_string(),
        }),
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StoreFault::NoWriter {
                source: error.into(),
            })
        })
}

#[cfg(test)]
mod tests {
    mod sqlite {
        crate::store::suite::inbox_suite!(crate::store::fixtures::Place::sqlite());
    }
}
