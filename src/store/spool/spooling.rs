//! What becomes of deliveries while the database is away: they are made durable in the spool, and moved later.
//!
//! A delivery goes to the database first. If that is away, or does not answer in time, the delivery goes to the spool; and
//! once the database is known to be away, deliveries go there at once. Whatever is answered with success is on disk, in one
//! place or the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;

use super::backlog::{Backlog, Counts};
use super::engine::{Spool, SpoolRow, SpoolSettings};
use super::mover::{Mover, settling};
use super::queue::Queue;
use super::reserve::Reserve;
use super::uncertain::Met;
use crate::inbox::{Cause, Event, GroupCommit, InboxFailure, Limits, Receipt};
use crate::store::engines::{Engines, begin_thread, run_task};
use crate::store::off_the_runtime;
use crate::store::postgres::address::Target;
use crate::store::postgres::reach::Reach;
use crate::store::supervision::Supervision;
use crate::store::uptime::{steadily, uptime};
use crate::store::views::Millis;
use crate::store::{StoreFault, Takes};

/// The spool beside a database.
#[derive(Debug)]
pub(in crate::store) struct Spooling {
    settings: SpoolSettings,
    inbox: GroupCommit<Spool>,
    target: Arc<Target>,
    pub(in crate::store) reach: Arc<Reach>,
    counts: Arc<Counts>,
    writer: Mutex<Option<JoinHandle<()>>>,
    mover: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Neither the database nor the spool.
#[derive(Debug, thiserror::Error)]
#[error("the database is away, and the spool did not take the delivery")]
struct NoSpool {
    source: Cause,
}

/// The spool has less room than for the largest delivery.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database is away, and the spool, or its disk, is full: {used} of {bytes} bytes are in use"
)]
struct SpoolFull {
    used: u64,
    bytes: u64,
}

impl Spooling {
    /// Opens the file, and begins to move what waits in it.
    pub(in crate::store) async fn open(
        settings: &SpoolSettings,
        limits: Limits,
        target: Arc<Target>,
        reach: Arc<Reach>,
        supervision: &Supervision,
    ) -> Result<Self, StoreFault> {
        let counts = Arc::new(Counts::default());
        let opened = off_the_runtime({
            let (settings, counts) = (settings.clone(), Arc::clone(&counts));
            move || {
                let (bytes, delivery_bytes) = (settings.bytes, settings.delivery_bytes);
                let reserve = Arc::new(Reserve::of(&settings.path, bytes, delivery_bytes));
                let open = || Spool::open(&settings, Arc::clone(&reserve), Arc::clone(&counts));
                // SQLite needs room even to open a file: that of the reserve, on a disk that is full.
                let spool =
                    open().or_else(|fault| if reserve.give() { open() } else { Err(fault) })?;
                let mut queue = Queue::new(&settings.path, reserve, spool.unsynced());
                let tried_again = queue.take_back()?;
                queue.keep_in_reserve();
                counts.recounted(counts.get(), queue.count()?);
                let met = Met {
                    position: queue.last()?,
                    at: uptime(),
                };
                Ok((spool, queue, tried_again, met))
            }
        });
        let (spool, queue, tried_again, met) = opened.await.map_err(StoreFault::in_spool)?;
        let waiting = counts.get().waiting;
        if waiting > 0 {
            tracing::warn!(
                spool = %settings.path.display(),
                waiting,
                tried_again,
                "events of earlier wait in the spool; they are moved once the database takes them"
            );
        }
        let (inbox, writers) = GroupCommit::new(
            vec![spool],
            Limits {
                wait: settings.spool_wait,
                ..limits
            },
        );
        let writer = begin_thread(supervision, "spool-writer", writers, Spool::close)?;
        let mover = Mover::new(
            Arc::clone(&target),
            Arc::clone(&reach),
            Arc::clone(&counts),
            queue,
            limits.batch_deliveries,
            met,
        );
        let mover = run_task(supervision, "the spool's mover", mover.run());
        Ok(Self {
            settings: settings.clone(),
            inbox,
            target,
            reach,
            counts,
            writer: Mutex::new(Some(writer)),
            mover: Mutex::new(Some(mover)),
        })
    }

    /// The database's answer, or the spool's.
    pub(in crate::store) async fn accept(
        &self,
        engines: &Engines,
        delivery: Vec<Event>,
    ) -> Result<Vec<Receipt>, InboxFailure> {
        if self.reach.is_away() && !delivery.is_empty() {
            return self.spool(&delivery, None).await;
        }
        // It is cheap to clone.
        match engines.accept(delivery.clone()).await {
            Ok(receipts) => Ok(receipts),
            Err(failure) if delivery.is_empty() => Err(failure),
            Err(InboxFailure::Unavailable { source }) => {
                self.reach.away(&source);
                self.spool(&delivery, None).await
            }
            Err(InboxFailure::Commit { source }) => {
                self.reach.away(&source);
                self.spool(&delivery, self.settles_at()).await
            }
            // Too much to do is no outage.
            Err(InboxFailure::TimedOut { .. }) => self.spool(&delivery, self.settles_at()).await,
            Err(
                failure @ (InboxFailure::QueueFull
                | InboxFailure::Row { .. }
                | InboxFailure::ShuttingDown),
            ) => Err(failure),
        }
    }

    /// Until when the database may still keep what it was asked to, by a clock that nobody sets.
    fn settles_at(&self) -> Option<i64> {
        let settling = i64::try_from(settling(&self.target).as_micros()).unwrap_or(i64::MAX);
        Some(steadily().saturating_add(settling))
    }

    /// Makes it durable in the spool.
    pub(super) async fn spool(
        &self,
        delivery: &[Event],
        settles_at: Option<i64>,
    ) -> Result<Vec<Receipt>, InboxFailure> {
        let rows = delivery
            .iter()
            .map(|event| SpoolRow::of(event.clone(), settles_at))
            .collect();
        let receipts = self.inbox.accept_rows(rows).await.map_err(in_context)?;
        if self.reach.spooled() {
            let cause = self.reach.outage().map(|away| away.cause);
            tracing::warn!(
                spool = %self.settings.path.display(),
                error = cause.as_deref().map(|cause| cause as &dyn std::error::Error),
                "the database does not take deliveries; they are kept in the spool"
            );
        }
        Ok(receipts)
    }

    /// Whether a delivery would be taken now, and by whom.
    pub(in crate::store) async fn ready(&self, engines: &Engines) -> Result<Takes, InboxFailure> {
        if !self.reach.is_away() {
            match engines.ready().await {
                Ok(()) => return Ok(Takes::Database),
                // It may have gone while nothing was delivered.
                Err(InboxFailure::Unavailable { source } | InboxFailure::Commit { source }) => {
                    self.reach.away(&source)
                }
                Err(InboxFailure::TimedOut { .. }) => {}
                Err(
                    failure @ (InboxFailure::QueueFull
                    | InboxFailure::Row { .. }
                    | InboxFailure::ShuttingDown),
                ) => return Err(failure),
            }
        }
        self.has_room().await?;
        Ok(Takes::Spool)
    }

    /// Whether another delivery may wait for the spool's writer.
    pub(in crate::store) fn queue_has_room(&self) -> bool {
        self.inbox.has_room()
    }

    async fn has_room(&self) -> Result<(), InboxFailure> {
        // By writing: the file may have gone while nothing was delivered.
        self.inbox.probe().await.map_err(in_context)?;
        let (used, bytes) = (self.counts.get().bytes, self.counts.bytes_max());
        if used.saturating_add(self.settings.delivery_bytes) > bytes {
            return Err(InboxFailure::Unavailable {
                source: Arc::new(SpoolFull { used, bytes }),
            });
        }
        Ok(())
    }

    pub(in crate::store) fn backlog(&self) -> Backlog {
        let counted = self.counts.get();
        let outage = self.reach.outage();
        let still = self.counts.still();
        Backlog {
            state: match (&outage, counted.waiting) {
                (Some(_), _) => "spooling",
                (None, 0) => "empty",
                (None, _) => "moving",
            },
            waiting: counted.waiting,
            aside: counted.aside,
            bytes: counted.bytes,
            bytes_max: self.settings.bytes,
            oldest: counted
                .oldest
                .and_then(|at| Timestamp::from_microsecond(at).ok())
                .map(Millis),
            oldest_age: self.counts.oldest_age(counted.oldest),
            database_away_since: outage.map(|away| Millis(away.since)),
            settles_at: still.settles_at.map(Millis),
            reason: still.reason,
        }
    }

    /// Takes no more, and leaves what waits to the next start.
    pub(in crate::store) async fn close(&self) {
        let mover = self
            .mover
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mover) = mover {
            mover.abort();
            let _ended = mover.await;
        }
        self.inbox.close();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _joined = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
        }
    }
}

impl Drop for Spooling {
    fn drop(&mut self) {
        let mover = self
            .mover
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mover) = mover {
            mover.abort();
        }
    }
}

/// The spool's failure, as one of a delivery for which the database is away.
fn in_context(failure: InboxFailure) -> InboxFailure {
    match failure {
        InboxFailure::Unavailable { source } => InboxFailure::Unavailable {
            source: Arc::new(NoSpool { source }),
        },
        InboxFailure::Commit { source } => InboxFailure::Commit {
            source: Arc::new(NoSpool { source }),
        },
        InboxFailure::Row { source } => InboxFailure::Row {
            source: Arc::new(NoSpool { source }),
        },
        InboxFailure::QueueFull | InboxFailure::TimedOut { .. } | InboxFailure::ShuttingDown => {
            failure
        }
    }
}
