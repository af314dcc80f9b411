//! Group commit: what waits at the same time shares one transaction.
//!
//! One queue, bounded in deliveries and in bytes; one [`Writer`] for each engine connection. A writer takes whatever is
//! queued, up to a bound in deliveries and one in events, and does not wait for more: while one transaction is being synced, the next batch gathers by
//! itself, and an idle inbox commits a lone delivery at once. Only where another writer's batch is under way does it let
//! as many gather as that one has, for [`Limits::gather`] at most: two small batches cost more than one. Nothing here knows
//! a database or a thread, so the whole of it runs under a simulated engine, one step at a time, in the tests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::engine::Engine;
use super::limits::Limits;
use super::progress::{HANGS_AFTER, Health, Progress, hangs};
use super::writer::{Exit, Waiting, Writer};
use super::{Event, InboxFailure, Receipt, WriterGone};

/// After so many full batches in a row, each of which left others waiting, the queue is no burst but a standing one: more
/// comes than can be written, and to wait in it delays everybody without helping anybody.
const FULL_BATCHES_MAX: usize = 8;

/// The queue's entrance: see the module.
#[derive(Debug)]
pub struct GroupCommit<E: Engine> {
    entrance: RwLock<Option<mpsc::Sender<Waiting<E::Row>>>>,
    progress: Arc<Progress>,
    limits: Limits,
}

impl<E: Engine> GroupCommit<E> {
    /// A queue before these engines, and one writer for each; whoever calls this must run every one of them.
    pub fn new(engines: Vec<E>, limits: Limits) -> (Self, Vec<Writer<E>>) {
        let (entrance, exit) = mpsc::channel(limits.queue_deliveries.max(1));
        let exit = Exit {
            queue: exit,
            next: None,
        };
        let exit = Arc::new(AsyncMutex::new(exit));
        let progress = Arc::new(Progress::default());
        let writers = engines
            .into_iter()
            .map(|engine| Writer {
                engine,
                exit: Arc::clone(&exit),
                progress: Arc::clone(&progress),
                limits,
            })
            .collect();
        (
            Self {
                entrance: RwLock::new(Some(entrance)),
                progress,
                limits,
            },
            writers,
        )
    }

    /// Queues a delivery and waits for its receipts. An empty one asks whether the store can write.
    pub async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        self.accept_rows(delivery.into_iter().map(E::prepare).collect())
            .await
    }

    /// The same, for rows that the caller has made ready.
    pub async fn accept_rows(&self, rows: Vec<E::Row>) -> Result<Vec<Receipt>, InboxFailure> {
        let bytes = rows
            .iter()
            .map(E::bytes)
            .fold(128_usize, usize::saturating_add);
        let receipts = self.enqueue(rows, bytes)?;
        match tokio::time::timeout(self.limits.wait, receipts).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(InboxFailure::Commit {
                source: Arc::new(WriterGone),
            }),
            Err(_elapsed) => Err(InboxFailure::TimedOut {
                waited: self.limits.wait,
            }),
        }
    }

    fn enqueue(
        &self,
        rows: Vec<E::Row>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<Vec<Receipt>, InboxFailure>>, InboxFailure> {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        let entrance = entrance.as_ref().ok_or(InboxFailure::ShuttingDown)?;
        if !self.has_room_behind(entrance) {
            return Err(InboxFailure::QueueFull);
        }
        let events = rows.len();
        let before = self
            .progress
            .queued_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.progress
            .queued_events
            .fetch_add(events, Ordering::Relaxed);
        // A single delivery is always let in by its size: the body's own limit has bounded it.
        let full = before != 0 && before.saturating_add(bytes) > self.limits.queue_bytes;
        let (answer, receipts) = oneshot::channel();
        let sent = if full {
            Err(InboxFailure::QueueFull)
        } else {
            entrance
                .try_send(Waiting {
                    rows,
                    bytes,
                    answer,
                })
                .map_err(|refused| match refused {
                    mpsc::error::TrySendError::Full(_) => InboxFailure::QueueFull,
                    mpsc::error::TrySendError::Closed(_) => InboxFailure::Unavailable {
                        source: Arc::new(WriterGone),
                    },
                })
        };
        match sent {
            Ok(()) => Ok(receipts),
            Err(failure) => {
                self.progress.leaves(bytes, events);
                Err(failure)
            }
        }
    }

    /// Whether another delivery would be taken now, as far as their number goes: to look before more is spent on one.
    pub fn has_room(&self) -> bool {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        entrance
            .as_ref()
            .is_none_or(|entrance| self.has_room_behind(entrance))
    }

    fn has_room_behind(&self, entrance: &mpsc::Sender<Waiting<E::Row>>) -> bool {
        let waiting = self.waiting_behind(entrance);
        if waiting >= entrance.max_capacity() {
            return false;
        }
        let events = self.progress.queued_events.load(Ordering::Relaxed);
        self.progress.full_batches.load(Ordering::Relaxed) < FULL_BATCHES_MAX
            || waiting < self.limits.batch_deliveries.saturating_mul(2)
                && events < self.limits.events_max().saturating_mul(2)
    }

    fn waiting_behind(&self, entrance: &mpsc::Sender<Waiting<E::Row>>) -> usize {
        entrance
            .max_capacity()
            .saturating_sub(entrance.capacity())
            .saturating_add(self.progress.set_back.load(Ordering::Relaxed))
    }

    /// Takes no more; the writers end once they have answered what is queued.
    pub fn close(&self) {
        self.entrance
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Whether a delivery would be taken now, found out by writing: `true` if that was written, `false` if all goes well but so much
    /// else is being written that there is no room for a question, or no turn for it yet.
    pub async fn probe(&self) -> Result<bool, InboxFailure> {
        match tokio::time::timeout(HANGS_AFTER, self.accept(Vec::new())).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(InboxFailure::QueueFull)) | Err(_) if self.progress.is_good() => Ok(false),
            Ok(Err(failure)) => Err(failure),
            Err(_elapsed) => Err(hangs()),
        }
    }

    /// How the last transaction went.
    pub fn health(&self) -> Health {
        self.progress.health()
    }

    /// Fails while a writer has been at work for too long, and nothing was committed meanwhile.
    pub fn expect_progress(&self) -> Result<(), InboxFailure> {
        self.progress.expect_progress()
    }

    /// How many bytes wait for a writer.
    pub fn queued_bytes(&self) -> usize {
        self.progress.queued_bytes.load(Ordering::Relaxed)
    }

    /// How many deliveries wait for a writer.
    pub fn queued_deliveries(&self) -> usize {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        entrance
            .as_ref()
            .map_or(0, |entrance| self.waiting_behind(entrance))
    }
}

#[cfg(test)]
#[path = "group_commit_tests.rs"]
mod tests;
