//! What a receiver remembers from one pass of pruning to the next.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::clock::Known;
use super::keep::{Clock, believable, moment};
use super::pruned::Pruned;
use crate::store::sqlite::retention::Position;
use crate::store::uptime::uptime;

/// How often everything is looked through anew, for what came with a time long past.
const ANEW_EVERY: Duration = Duration::from_secs(86_400);
/// How many passes in a row somebody else's lock may end before that is a failure: another pruner or a reader is no fault.
const COLLISIONS_MAX: u32 = 5;

/// What a receiver remembers from one pass to the next.
#[derive(Debug, Default)]
pub struct Pruner {
    pub(super) known: Known,
    /// What was taken for now at the first pass, and when that was.
    began: Option<(i64, Duration)>,
    /// Passes in a row that somebody else's lock has ended.
    collisions: u32,
    /// When everything was last looked through.
    anew: Option<Instant>,
    /// How far each tenant's events were looked through for bodies.
    pub(super) positions: HashMap<i64, Position>,
    /// Partitions from which nothing more goes row by row, and the SHA-256 of the tenants of whom that was found.
    pub(in crate::store) swept: HashMap<String, [u8; 32]>,
}

impl Pruner {
    /// Whether a lock of somebody else's, which has ended this pass, is waited for until the next.
    pub(in crate::store) fn gives_way(&mut self) -> bool {
        self.collisions = self.collisions.saturating_add(1);
        self.collisions < COLLISIONS_MAX
    }

    /// A pass came to its end.
    pub(in crate::store) fn went_through(&mut self) {
        self.collisions = 0;
    }

    /// What is taken for now, noted in `pruned`; `None` where nothing can have had its time.
    pub(in crate::store) fn believe(
        &mut self,
        asked: &Asked<'_>,
        witness: Option<i64>,
        pruned: &mut Pruned,
    ) -> Option<i64> {
        let now = match asked.clock {
            Clock::Trusted => Some(asked.now),
            Clock::Doubted => {
                let running = self
                    .began
                    .map(|(believed, at)| (believed, uptime().saturating_sub(at)));
                let believed = believable(asked.now, witness, running);
                pruned.held_back = believed.is_some_and(|believed| believed < asked.now);
                if let (None, Some(believed)) = (self.began, believed) {
                    self.began = Some((believed, uptime()));
                }
                believed
            }
        };
        pruned.believed = now.map(moment);
        if self.anew.is_none_or(|anew| anew.elapsed() >= ANEW_EVERY) {
            self.anew = Some(Instant::now());
            self.positions.clear();
            self.swept.clear();
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::store::Retention;

    #[test]
    fn everything_is_looked_through_anew_once_a_day() {
        let (_over, over) = watch::channel(false);
        let retention = Retention::default();
        let asked = Asked {
            retention: &retention,
            now: 0,
            clock: Clock::Trusted,
            tenant: None,
            tries: 0,
            over,
        };
        let mut pruner = Pruner::default();
        let remembered = |pruner: &mut Pruner| {
            pruner.believe(&asked, None, &mut Pruned::default());
            [pruner.positions.len(), pruner.swept.len()]
        };
        let of_a_day_ago = Instant::now().checked_sub(ANEW_EVERY).unwrap();
        for (anew, expected) in [
            (Some(Instant::now()), 1),
            (Some(of_a_day_ago), 0),
            (None, 0),
        ] {
            pruner.anew = anew;
            pruner.positions.insert(1, (1, 1));
            pruner.swept.insert("a partition".to_owned(), [0; 32]);
            assert_eq!(remembered(&mut pruner), [expected; 2], "{anew:?}");
            assert_eq!(remembered(&mut pruner), [expected; 2], "{anew:?}");
        }
    }
}
