//! What the queue's two ends know of each other: how much waits, who is at work since when, and how the last transaction went.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::engine::{BatchFailure, Outcome};
use super::{Cause, InboxFailure};

/// How long a writer may be at one batch without any other's being committed, until the store counts as one that hangs: a disk
/// that answers nothing fails nothing either.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(5);

/// How the last transaction went.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// No transaction was tried yet.
    #[default]
    Unknown,
    /// It was committed.
    Good,
    /// It failed.
    Failing {
        /// Since when every transaction has.
        since: Instant,
        /// The last one's cause.
        cause: Cause,
    },
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) queued_bytes: AtomicUsize,
    pub(super) queued_events: AtomicUsize,
    /// Deliveries that left the channel and wait still: one, or none.
    pub(super) set_back: AtomicUsize,
    /// Deliveries in the batches that are being written.
    pub(super) under_way: AtomicUsize,
    /// A batch has been written.
    pub(super) written: Notify,
    /// Batches in a row that were full and left others waiting.
    pub(super) full_batches: AtomicUsize,
    health: Mutex<Health>,
    turns: Mutex<Turns>,
}

/// Who is at work, and since when.
#[derive(Debug, Default)]
struct Turns {
    /// When each began that has not ended.
    begun: Vec<tokio::time::Instant>,
    /// When the last batch was committed.
    committed: Option<tokio::time::Instant>,
}

impl Progress {
    /// A delivery waits no more.
    pub(super) fn leaves(&self, bytes: usize, events: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.queued_events.fetch_sub(events, Ordering::Relaxed);
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the last transaction went.
    pub(super) fn health(&self) -> Health {
        self.locked_health().clone()
    }

    fn locked_health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last transaction was committed, and none hangs.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.health(), Health::Good) && self.expect_progress().is_ok()
    }

    pub(super) fn expect_progress(&self) -> Result<(), InboxFailure> {
        let turns = self.turns();
        let since = turns.begun.iter().min().copied().max(turns.committed);
        if !turns.begun.is_empty() && since.is_some_and(|since| since.elapsed() >= HANGS_AFTER) {
            return Err(hangs());
        }
        Ok(())
    }

    /// Notes how a transaction went.
    pub(super) fn note(&self, result: &Result<Vec<Outcome>, BatchFailure>) {
        let mut health = self.locked_health();
        match result {
            Ok(_) => {
                *health = Health::Good;
                self.turns().committed = Some(tokio::time::Instant::now());
            }
            Err(
                BatchFailure::Row(cause)
                | BatchFailure::Unavailable(cause)
                | BatchFailure::Commit(cause),
            ) => {
                let since = match &*health {
                    Health::Failing { since, .. } => *since,
                    Health::Unknown | Health::Good => Instant::now(),
                };
                *health = Health::Failing {
                    since,
                    cause: Arc::clone(cause),
                };
            }
        }
    }
}

/// What is told of a store that hangs.
pub(super) fn hangs() -> InboxFailure {
    InboxFailure::TimedOut {
        waited: HANGS_AFTER,
    }
}

/// A writer at work, on a batch and what is between two, until it is dropped: an engine may panic.
pub(super) struct Turn<'a> {
    progress: &'a Progress,
    began: tokio::time::Instant,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(progress: &'a Progress) -> Self {
        let began = tokio::time::Instant::now();
        progress.turns().begun.push(began);
        Self { progress, began }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let begun = &mut self.progress.turns().begun;
        if let Some(place) = begun.iter().position(|began| *began == self.began) {
            begun.swap_remove(place);
        }
    }
}

/// A batch that is being written, until it is dropped: an engine may panic.
pub(super) struct UnderWay<'a> {
    progress: &'a Progress,
    deliveries: usize,
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(progress: &'a Progress, deliveries: usize) -> Self {
        progress.under_way.fetch_add(deliveries, Ordering::Relaxed);
        Self {
            progress,
            deliveries,
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.progress
            .under_way
            .fetch_sub(self.deliveries, Ordering::Relaxed);
        self.progress.written.notify_one();
    }
}
