//! What became of the deliveries of `countersign bench`, counted by all connections at once; it does not grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::wire::LineFailure;
use crate::cli::histogram::Histogram;

/// A delivery that was sent more than this after it was due was late.
pub(super) const LATE: Duration = Duration::from_millis(1);
/// How many failures are told apart.
const KINDS_MAX: usize = 32;
const STATUSES: usize = 1000;

/// See the module. Each delivery or handshake that was tried comes to one answer, one completion or one error.
#[derive(Debug)]
pub(super) struct Tally {
    sent: AtomicU64,
    late: AtomicU64,
    completed: AtomicU64,
    reopened: AtomicU64,
    statuses: Box<[AtomicU64]>,
    errors: Mutex<BTreeMap<String, u64>>,
    /// From when a delivery was due until its 2xx; or a handshake's time.
    pub(super) accepted: Histogram,
    /// From when it was due until any other answer.
    pub(super) refused: Histogram,
    /// From when it was written until its 2xx.
    pub(super) service: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: AtomicU64::default(),
            late: AtomicU64::default(),
            completed: AtomicU64::default(),
            reopened: AtomicU64::default(),
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            errors: Mutex::default(),
            accepted: Histogram::default(),
            refused: Histogram::default(),
            service: Histogram::default(),
        }
    }
}

impl Tally {
    /// One is tried now, so long after it was due.
    pub(super) fn tried(&self, lag: Duration) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if lag > LATE {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn answered(&self, status: u16, since_due: Duration, since_written: Duration) {
        if let Some(count) = self.statuses.get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if (200..300).contains(&status) {
            self.accepted.record(since_due);
            self.service.record(since_written);
        } else {
            self.refused.record(since_due);
        }
    }

    /// A handshake is done.
    pub(super) fn completed(&self, took: Duration) {
        self.completed.fetch_add(1, Ordering::Relaxed);
        self.accepted.record(took);
    }

    pub(super) fn failed(&self, failure: &LineFailure) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = failure.told();
        if errors.len() >= KINDS_MAX && !errors.contains_key(&kind) {
            "others".clone_into(&mut kind);
        }
        *errors.entry(kind).or_default() += 1;
    }

    /// A connection was closed between two requests, and is opened again.
    pub(super) fn reopened(&self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let answers: BTreeMap<u16, u64> = (0..)
            .zip(self.statuses.iter().map(load))
            .filter(|(_, count)| *count > 0)
            .collect();
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        Counts {
            sent: load(&self.sent),
            late: load(&self.late),
            completed: load(&self.completed),
            reopened: load(&self.reopened),
            answers,
            errors: errors.clone(),
        }
    }
}

/// What a tally came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) late: u64,
    pub(super) completed: u64,
    pub(super) reopened: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<String, u64>,
}

impl Counts {
    /// How many answers were 2xx.
    pub(super) fn accepted(&self) -> u64 {
        self.answers.range(200..300).map(|(_, count)| count).sum()
    }

    pub(super) fn answered(&self) -> u64 {
        self.answers.values().sum()
    }
}
