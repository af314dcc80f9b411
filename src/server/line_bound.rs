//! How many lines of one kind are logged: what a flood, or an outage, says a thousand times is said some times and counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bound on lines of one kind.
#[derive(Debug)]
pub(super) struct LineBound {
    at_once: u32,
    every: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    lines: u32,
    since: Instant,
    /// How many were not logged since the last one that was.
    suppressed: u64,
}

impl LineBound {
    /// So many lines at once, and one more after each `every`.
    pub(super) fn new(at_once: u32, every: Duration, now: Instant) -> Self {
        Self {
            at_once,
            every,
            kept: Mutex::new(Kept {
                lines: at_once,
                since: now,
                suppressed: 0,
            }),
        }
    }

    /// Whether a line may be logged now, and how many were not since the last one.
    pub(super) fn take(&self, now: Instant) -> Option<u64> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(kept.since).as_nanos();
        let regained = passed / self.every.as_nanos().max(1);
        if regained > 0 {
            let regained = u32::try_from(regained).unwrap_or(u32::MAX);
            kept.lines = kept.lines.saturating_add(regained).min(self.at_once);
            kept.since = now;
        }
        if kept.lines == 0 {
            kept.suppressed = kept.suppressed.saturating_add(1);
            return None;
        }
        kept.lines -= 1;
        Some(std::mem::take(&mut kept.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_and_again_is_said_some_times_and_counted() {
        let begin = Instant::now();
        let bound = LineBound::new(2, Duration::from_secs(10), begin);
        let take = |seconds| bound.take(begin + Duration::from_secs(seconds));
        assert_eq!(
            [take(0), take(1), take(2), take(9)],
            [Some(0), Some(0), None, None]
        );
        assert_eq!([take(10), take(11)], [Some(2), None]);
        // However long nothing is said, no more than at the beginning may come at once.
        assert_eq!(
            [take(1000), take(1000), take(1000)],
            [Some(1), Some(0), None]
        );
    }
}
