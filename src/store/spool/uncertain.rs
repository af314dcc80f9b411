//! How long what is uncertain stays where it is: a statement whose answer was lost may still be at work, and must come first.
//!
//! No clock that somebody sets decides it. What this process wrote bears a moment by [`steadily`]; of what another wrote (before a
//! restart, or beside this one) nobody can say how long ago that was, so it waits as long as anything ever does, from when it was met.

use std::time::Duration;

use super::queue::Waiting;
use crate::store::uptime::{steadily, uptime};

/// What a mover knows of it.
#[derive(Debug)]
pub(super) struct Uncertain {
    /// The longest that anything is uncertain.
    longest: Duration,
    /// Up to this position, nothing is any more.
    settled: i64,
    met: Met,
}

/// Up to which position the file was filled when it was looked at, and when that was, by [`uptime`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) position: i64,
    pub(super) at: Duration,
}

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Microseconds, by [`steadily`].
    steady: i64,
    /// By [`uptime`].
    up: Duration,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            steady: steadily(),
            up: uptime(),
        }
    }
}

impl Uncertain {
    pub(super) fn new(longest: Duration, met: Met) -> Self {
        Self {
            longest,
            settled: 0,
            met,
        }
    }

    /// All up to this position has been waited for.
    pub(super) fn settled_up_to(&mut self, position: i64) {
        self.settled = self.settled.max(position);
    }

    /// The file was looked at again.
    pub(super) fn meet(&mut self, met: Met) {
        self.met = met;
    }

    /// Whether another process has written this since the file was looked at.
    pub(super) fn is_unmet(&self, waiting: &Waiting, ours: bool) -> bool {
        self.may_be_at_work(waiting) && !ours && waiting.position > self.met.position
    }

    /// For how long this one still stays.
    pub(super) fn left(&self, waiting: &Waiting, ours: bool, now: Now) -> Duration {
        let Some(settles_at) = waiting.settles_at.filter(|_| self.may_be_at_work(waiting)) else {
            return Duration::ZERO;
        };
        if ours {
            let left = settles_at.saturating_sub(now.steady);
            return Duration::from_micros(u64::try_from(left).unwrap_or(0)).min(self.longest);
        }
        self.longest
            .saturating_sub(now.up.saturating_sub(self.met.at))
    }

    fn may_be_at_work(&self, waiting: &Waiting) -> bool {
        waiting.settles_at.is_some() && waiting.position > self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(19);
    const START: i64 = 1_790_000_000;

    fn waiting(position: i64, settles_at: Option<i64>) -> Waiting {
        Waiting {
            position,
            run: Vec::new(),
            tenant: "tenant-42".to_owned(),
            settles_at: settles_at.map(|at| at * 1_000_000),
            form: 1,
            event: String::new(),
            body: Vec::new(),
        }
    }

    fn after(seconds: u32) -> Now {
        Now {
            steady: (START + i64::from(seconds)) * 1_000_000,
            up: Duration::from_secs(1000 + u64::from(seconds)),
        }
    }

    fn uncertain() -> Uncertain {
        let met = Met {
            position: 10,
            at: after(0).up,
        };
        Uncertain::new(LONGEST, met)
    }

    #[test]
    fn what_is_ours_waits_until_its_moment_and_never_longer_than_anything_does() {
        let known = uncertain();
        let left = |at, seconds| known.left(&waiting(11, at), true, after(seconds)).as_secs();
        assert_eq!(left(None, 0), 0);
        assert_eq!(left(Some(START + 5), 0), 5);
        assert_eq!(left(Some(START + 5), 3), 2);
        assert_eq!(left(Some(START + 5), 6), 0);
        assert_eq!(left(Some(START + 500), 0), 19);
    }

    #[test]
    fn what_another_wrote_waits_its_longest_from_when_it_was_met_whatever_it_says() {
        let mut known = uncertain();
        let (earlier, beside) = (waiting(10, Some(START - 3600)), waiting(11, Some(START)));
        assert!(!known.is_unmet(&earlier, false));
        assert_eq!(known.left(&earlier, false, after(0)).as_secs(), 19);
        assert_eq!(known.left(&earlier, false, after(7)).as_secs(), 12);
        assert_eq!(known.left(&earlier, false, after(20)).as_secs(), 0);
        assert!(known.is_unmet(&beside, false) && !known.is_unmet(&beside, true));
        known.meet(Met {
            position: 11,
            at: after(20).up,
        });
        assert!(!known.is_unmet(&beside, false));
        assert_eq!(known.left(&beside, false, after(20)).as_secs(), 19);
        known.settled_up_to(11);
        assert_eq!(known.left(&beside, false, after(20)).as_secs(), 0);
        assert!(!known.is_unmet(&waiting(12, None), false));
    }
}
