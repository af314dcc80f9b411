//! What waits in the spool, counted beside the file, so that telling it costs nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::store::uptime::uptime;
use crate::store::views::Millis;

/// What a spool is at, and what waits in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backlog {
    /// `spooling` while the database is away, `moving` while it is back and something waits, else `empty`.
    pub state: &'static str,
    /// Events that wait for the database.
    pub waiting: u64,
    /// Events that the database refused for their own sake.
    pub aside: u64,
    /// Bytes of the file that are in use.
    pub bytes: u64,
    /// Bytes that may be in use.
    pub bytes_max: u64,
    /// When the first of those that wait came.
    pub oldest: Option<Millis>,
    /// How long it has waited.
    #[serde(skip)]
    pub oldest_age: Duration,
    /// Since when the database is away.
    pub database_away_since: Option<Millis>,
    /// Until when nothing is moved, for the database may still keep the first of what waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settles_at: Option<Millis>,
    /// Why nothing could be moved, until something was. It names nothing: whoever asks is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// The figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) waiting: u64,
    pub(super) aside: u64,
    pub(super) bytes: u64,
    /// Microseconds since the epoch.
    pub(super) oldest: Option<i64>,
    /// Batches that came, so that whoever counts the file can tell whether one came meanwhile.
    pub(super) arrivals: u64,
}

/// The figures, shared by who writes and who moves.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counted: Mutex<Counted>,
    /// Bytes that the file may have in use, as its disk is.
    bytes_max: AtomicU64,
    still: Mutex<Still>,
    age: Mutex<Age>,
    /// Under which runs this process has written.
    runs: Mutex<HashSet<Vec<u8>>>,
}

/// How long the first has waited: by the wall clock when it was first looked at, and from then on by one that nobody sets.
#[derive(Debug, Default)]
struct Age {
    first: Option<First>,
}

#[derive(Clone, Copy, Debug)]
struct First {
    /// Microseconds since the epoch.
    came: i64,
    age: Duration,
    /// By [`uptime`].
    at: Duration,
}

impl Age {
    fn of(&mut self, oldest: Option<i64>, now: i64, at: Duration) -> Duration {
        let known = self.first.filter(|first| Some(first.came) == oldest);
        self.first = oldest.map(|came| {
            known.unwrap_or_else(|| First {
                came,
                age: Duration::from_micros(u64::try_from(now.saturating_sub(came)).unwrap_or(0)),
                at,
            })
        });
        self.first.map_or(Duration::ZERO, |first| {
            first.age.saturating_add(at.saturating_sub(first.at))
        })
    }
}

/// Why nothing is moved just now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Still {
    pub(super) settles_at: Option<Timestamp>,
    pub(super) reason: Option<&'static str>,
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> Counted {
        *self.lock()
    }

    /// How long the first of those that wait has waited. Whoever asks often is told rightly though the clock is set.
    pub(super) fn oldest_age(&self, oldest: Option<i64>) -> Duration {
        let mut age = self.age.lock().unwrap_or_else(PoisonError::into_inner);
        age.of(oldest, Timestamp::now().as_microsecond(), uptime())
    }

    /// Bytes that the file may have in use now.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Acquire)
    }

    /// Its disk was looked at.
    pub(super) fn bounded(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Release);
    }

    /// This process writes under this run from now on.
    pub(super) fn runs_under(&self, run: Vec<u8>) {
        self.runs().insert(run);
    }

    /// Whether this process wrote what is of this run.
    pub(super) fn is_ours(&self, run: &[u8]) -> bool {
        self.runs().contains(run)
    }

    fn runs(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is durable.
    pub(super) fn arrived(&self, events: u64, at: i64, bytes: u64) {
        let mut counted = self.lock();
        counted.waiting = counted.waiting.saturating_add(events);
        counted.oldest.get_or_insert(at);
        counted.bytes = bytes;
        counted.arrivals = counted.arrivals.wrapping_add(1);
    }

    /// Why nothing is moved just now, by `change`.
    pub(super) fn stands_still(&self, change: impl FnOnce(&mut Still)) {
        change(&mut self.still.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn still(&self) -> Still {
        *self.still.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some are where they belong.
    pub(super) fn left(&self, events: u64, oldest: Option<i64>, bytes: u64) {
        self.stands_still(|still| still.reason = None);
        let mut counted = self.lock();
        counted.waiting = counted.waiting.saturating_sub(events);
        counted.oldest = oldest;
        counted.bytes = bytes;
    }

    /// One was set aside.
    pub(super) fn put_aside(&self, oldest: Option<i64>, bytes: u64) {
        self.left(1, oldest, bytes);
        let mut counted = self.lock();
        counted.aside = counted.aside.saturating_add(1);
    }

    /// The file was counted anew, unless something came since `before`.
    pub(super) fn recounted(&self, before: Counted, found: Counted) {
        let mut counted = self.lock();
        if counted.arrivals == before.arrivals {
            *counted = Counted {
                arrivals: counted.arrivals,
                ..found
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_what_waits_no_younger_and_no_older() {
        let (mut age, began) = (Age::default(), Duration::from_secs(1000));
        let mut after = |seconds, oldest, now: i64| {
            let at = began + Duration::from_secs(seconds);
            age.of(oldest, now * 1_000_000, at).as_secs()
        };
        let first = Some(1000 * 1_000_000);
        assert_eq!(after(0, None, 1000), 0);
        assert_eq!(after(1, first, 1001), 1);
        assert_eq!(after(61, first, 1061 - 3600), 61);
        assert_eq!(after(62, first, 1062 + 86_400), 62);
        // The next one came under another clock: it is never in the future.
        assert_eq!(after(63, Some(5000 * 1_000_000), 1063), 0);
        assert_eq!(after(70, Some(5000 * 1_000_000), 1070), 7);
        assert_eq!(after(71, None, 1071), 0);
    }
}
