//! The store: durable events, the ledger, refusals, and the views that read them.
//!
//! A [`Store`] is the [`Inbox`] behind gate 4. It writes an event down, asks `payments` what it means, and keeps both in
//! one transaction, which is durable before anybody is told. It also keeps what the other rooms gather in memory:
//! refusals ([`Store::keep`]), which certificates and secrets are in use ([`Seen`]), and what shadow marks would have decided
//! ([`Shadows`]).
//!
//! [`Views`] read from connections of their own, off the runtime's threads, and never hold up the writer.
//!
//! The schema is in `migrations/`, embedded, and brought up to date at [`Store::open`] under the store's own lock. A
//! store that a newer version wrote is refused.
//!
//! It never decides what a sender is told, and it never holds more in memory than its bounds say. SQL stands in this
//! room only. Sources: SQLite's "Write-Ahead Logging" and "Atomic Commit".

mod aside;
mod engines;
mod errands;
mod fault;
#[cfg(test)]
mod fixtures;
mod location;
mod look;
mod migrations;
mod pause;
mod postgres;
mod read_failure;
mod reading;
mod replay;
mod retention;
mod row;
mod seen;
mod shadows;
#[cfg(test)]
mod simulation;
mod spool;
mod sqlite;
#[cfg(test)]
mod suite;
mod supervision;
mod transfer;
mod uptime;
mod views;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::inbox::{Cause, Event, Inbox, InboxFailure, Limits, Receipt, WriterGone};
use crate::refusals::Book;

use engines::Engines;
use errands::{Errands, Slot, Work};
use spool::spooling::Spooling;
use supervision::Supervision;

pub use aside::{AsideView, EventWhole};
pub use fault::StoreFault;
pub use location::{NotAUrl, Url};
pub use look::{look, look_ahead};
pub use postgres::address::{Access, Address};
pub use postgres::address_fault::AddressFault;
pub use read_failure::ReadFailure;
pub use reading::Views;
pub use replay::asked::{Mappings, OnProgress, Replay, ReplayMode};
pub use replay::not_rebuilt::NotRebuilt;
pub use replay::outcome::{
    NotRebuiltEvent, PaymentChange, PaymentState, ReplayFailure, Replayed, SkippedPayment,
};
pub use retention::keep::{Clock, Keep, Retention};
pub use retention::pruned::{DiskUse, PruneFailure, Pruned, Tally};
pub use retention::pruner::Pruner;
pub use retention::pruning::Prune;
pub use seen::Seen;
pub use shadows::{ShadowSighting, Shadows};
pub use spool::backlog::Backlog;
pub use spool::engine::{SpoolSettings, events_in_spool};
pub use spool::mover::{MOVED_METRIC, SET_ASIDE_METRIC};
pub use supervision::WriterEnded;
pub use transfer::backup::{BackedUp, BackupFailure, back_up};
pub use transfer::export::{Export, Exported, Part};
pub use transfer::frame::Counts;
pub use transfer::import::{
    Difference, Imported, OnBytes, RowCounts, check_export, import, import_file,
};
pub use transfer::importing::{ImportFailure, ImportMode};
pub use transfer::lines::TransferFault;
pub use transfer::part_file::PartFile;
pub use transfer::record::Unsound;
pub use transfer::writing::{ExportFailure, OnRows};
pub use views::{
    BodyGone, Cursor, EventDetail, EventView, Filter, HistoryView, LeafSeen, LeafView, Millis,
    NotACursor, Page, PaymentDetail, PaymentView, RefusalView, SecretSeen, ShadowSeen,
};

/// Events that a payment knows by their keys, and that its history shows, at most: the latest. In PostgreSQL the function that writes a
/// batch has the same bound.
const HISTORY_MAX: i64 = 1000;
/// Groups of refusals that are written down at once, at most: a flood must not become a flood of writes.
const REFUSALS_AT_ONCE: usize = 500;
/// How often what was gathered in memory is written down.
const KEEP_EVERY: Duration = Duration::from_millis(200);
/// How many refusals in a row are written down as soon as they come, since whoever was refused alone is looked for at once; each beat of
/// [`KEEP_EVERY`] at which none waits allows one more.
const KEPT_AT_ONCE: u32 = 5;
/// How long the writing down waits for the writer to begin.
const KEEP_WAIT: Duration = Duration::from_secs(30);

/// A store that is open for writing. Dropping it stops the writer once it has answered what is queued.
#[derive(Debug)]
pub struct Store {
    url: Url,
    engines: Engines,
    spooling: Option<Spooling>,
    views: Views,
    errands: Arc<Errands>,
    seen: Arc<Seen>,
    shadows: Arc<Shadows>,
    supervision: Supervision,
}

/// Where a delivery would be made durable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// In the store itself.
    Database,
    /// In the spool: the database is away.
    Spool,
}

impl Store {
    /// Opens the store, brings its schema up to date, and starts its writer.
    pub async fn open(url: &Url, limits: Limits) -> Result<Self, StoreFault> {
        Self::open_with_spool(url, limits, None).await
    }

    /// The same, with a spool that takes deliveries while the database is away.
    pub async fn open_with_spool(
        url: &Url,
        limits: Limits,
        spool: Option<&SpoolSettings>,
    ) -> Result<Self, StoreFault> {
        let errands = Arc::new(Errands::default());
        let of_the_database = Limits {
            wait: spool.map_or(limits.wait, |spool| spool.database_wait),
            ..limits
        };
        let supervision = Supervision::default();
        let engines = Engines::open(url, of_the_database, &errands, &supervision).await?;
        let spooling = match (spool, engines.database()) {
            (None, _) => None,
            (Some(settings), Some((target, reach))) => {
                Some(Spooling::open(settings, limits, target, reach, &supervision).await?)
            }
            (Some(_), None) => {
                let place = url.to_string();
                return Err(StoreFault::NeedlessSpool { place });
            }
        };
        Ok(Self {
            url: url.clone(),
            engines,
            spooling,
            views: Views::open(url)?,
            errands,
            seen: Arc::default(),
            shadows: Arc::default(),
            supervision,
        })
    }

    /// Brings the schema up to date, and no more.
    pub async fn migrate(url: &Url) -> Result<(), StoreFault> {
        Engines::migrate(url).await
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whoever opens a session with the database from now on does so with the password of `url`.
    pub fn renew_password(&self, url: &Url) {
        if self.url.renew_password(url) {
            tracing::info!("sessions with the database are opened with the new password");
        }
    }

    /// What reads from it.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Where the certificates and secrets of deliveries are noted.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    /// Where it is noted what marks with `shadow = true` would have decided.
    pub fn shadows(&self) -> &Arc<Shadows> {
        &self.shadows
    }

    /// How many deliveries, and bytes, wait for the writer.
    pub fn queued(&self) -> (usize, usize) {
        self.engines.queued()
    }

    /// Whether a delivery would be taken now. After a failure it finds out by writing, and so it does, each second at
    /// most, where a network lies between.
    pub async fn ready(&self) -> Result<Takes, InboxFailure> {
        match &self.spooling {
            Some(spooling) => spooling.ready(&self.engines).await,
            None => self.engines.ready().await.map(|()| Takes::Database),
        }
    }

    /// Refuses where the file of an embedded store, or its log, is not where it was: it is noticed before a delivery meets that.
    pub fn expect_in_place(&self) -> Result<(), StoreFault> {
        self.engines.expect_in_place()
    }

    /// What waits in the spool, if there is one.
    pub fn backlog(&self) -> Option<Backlog> {
        self.spooling.as_ref().map(Spooling::backlog)
    }

    /// Takes the refusals of an earlier life into the book.
    pub async fn load(&self, book: &Book) -> Result<(), ReadFailure> {
        book.load(self.views.refusal_groups().await?);
        Ok(())
    }

    /// Writes down what was gathered in memory, five times a second, and what is refused alone at once, until `stop`. A writing that has begun
    /// is never cut: what it took out of memory would be lost.
    pub async fn keep(&self, book: &Book, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut failing = false;
        let mut at_once = KEPT_AT_ONCE;
        let mut beat = tokio::time::interval(KEEP_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = book.changed(), if at_once > 0 => at_once -= 1,
                // In a flood there is always something that waits for the beat, and nothing else is written.
                _ = beat.tick() => if book.drain_is_done() {
                    at_once = KEPT_AT_ONCE.min(at_once + 1);
                },
            }
            match self.flush(book).await {
                Ok(()) => failing = false,
                // Once: the deliveries tell the rest.
                Err(cause) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &*cause as &dyn std::error::Error,
                        "what was refused, and what was last seen, could not be written down; it is kept in memory"
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
            shadows: self.shadows.take(),
        };
        if work.is_empty() {
            return Ok(());
        }
        let result = self.run_errand(&self.errands.keeping, work.clone()).await;
        if result.is_err() {
            book.restore(work.refusals);
            self.seen.give_back(work.leaves, work.secrets);
            self.shadows.give_back(work.shadows);
        }
        result
    }

    async fn run_errand<W, T>(&self, slot: &Slot<W, T>, work: W) -> Result<T, Cause> {
        let done = slot.send(work);
        // An empty delivery wakes the writer; if the queue is full, it is awake.
        match self.engines.accept(Vec::new()).await {
            // There is none to wait for.
            Err(InboxFailure::Unavailable { source }) if source.is::<WriterGone>() => {
                return Err(source);
            }
            Ok(_) | Err(_) => {}
        }
        slot.finished(done, KEEP_WAIT).await
    }

    /// Resolves once one of those who make deliveries durable has ended before [`close`](Self::close). The store goes on with what is left
    /// of it, which may be nothing, so whoever holds it had better stop. May be dropped at any time.
    pub async fn ended(&self) -> WriterEnded {
        self.supervision.ended().await
    }

    /// Takes no more, answers what is queued, and closes the file.
    pub async fn close(&self) {
        self.supervision.closing();
        // A file's last connection takes its log away, if it is one that writes.
        self.views.let_go();
        self.engines.close().await;
        if let Some(spooling) = &self.spooling {
            spooling.close().await;
        }
    }
}

impl Inbox for Store {
    async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        match &self.spooling {
            Some(spooling) => spooling.accept(&self.engines, delivery).await,
            None => self.engines.accept(delivery).await,
        }
    }

    fn has_room(&self) -> bool {
        match &self.spooling {
            // What the database has no room for is not spooled: too much to do is no outage.
            Some(spooling) if spooling.reach.is_away() => spooling.queue_has_room(),
            Some(_) | None => self.engines.has_room(),
        }
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

    mod postgres {
        crate::store::suite::inbox_suite!(match crate::store::fixtures::Place::postgres() {
            Some(place) => place,
            // It was said loudly; under CI it is a failure.
            None => return,
        });
    }

    mod pgbouncer {
        crate::store::suite::inbox_suite!(match crate::store::fixtures::Place::pooled() {
            Some(place) => place,
            // As above.
            None => return,
        });
    }
}
