//! A histogram of times that does not grow, however many it is told of: each doubling is cut into 128 steps, so that a
//! time is known to one part in 128. Any number of threads may record at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Two to this power is how many steps there are to a doubling.
const STEP_BITS: u32 = 7;
/// The longest time that is told apart from longer ones: 2^42 ns, above an hour.
const NANOS_MAX: u64 = (1 << 42) - 1;
const STEPS: usize = step(NANOS_MAX) + 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Histogram {
    steps: Box<[AtomicU64]>,
    least: AtomicU64,
    greatest: AtomicU64,
}

/// The times within which shares of all came, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Waits {
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            steps: (0..STEPS).map(|_| AtomicU64::new(0)).collect(),
            least: AtomicU64::new(u64::MAX),
            greatest: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(super) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).map_or(NANOS_MAX, |nanos| nanos.min(NANOS_MAX));
        if let Some(count) = self.steps.get(step(nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.least.fetch_min(nanos, Ordering::Relaxed);
        self.greatest.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        let counts = self.steps.iter().map(|count| count.load(Ordering::Relaxed));
        counts.sum()
    }

    /// The time within which so many of a thousand came: not below the true one, and at most one part in 128 above it.
    pub(super) fn within(&self, per_mille: u64) -> Duration {
        let rank = (self.count().saturating_mul(per_mille)).div_ceil(1000);
        let mut seen = 0;
        let reaches = |(at, count): (usize, &AtomicU64)| {
            seen += count.load(Ordering::Relaxed);
            (seen >= rank).then_some(at)
        };
        let greatest = self.greatest.load(Ordering::Relaxed);
        let within = match self.steps.iter().enumerate().find_map(reaches) {
            Some(at) => last_of(at).min(greatest),
            None => greatest,
        };
        Duration::from_nanos(within)
    }

    /// `None` if nothing was recorded.
    pub(super) fn waits(&self) -> Option<Waits> {
        if self.count() == 0 {
            return None;
        }
        let least = Duration::from_nanos(self.least.load(Ordering::Relaxed));
        let within = |per_mille| milliseconds(self.within(per_mille));
        Some(Waits {
            min: milliseconds(least),
            p50: within(500),
            p90: within(900),
            p99: within(990),
            p999: within(999),
            max: within(1000),
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The step that a time falls into: below two doublings of the first steps each nanosecond has its own.
const fn step(nanos: u64) -> usize {
    let highest = 63 - (nanos | 1).leading_zeros();
    let shift = highest.saturating_sub(STEP_BITS);
    ((shift as usize) << STEP_BITS) + (nanos >> shift) as usize
}

/// The longest time that falls into a step.
fn last_of(step: usize) -> u64 {
    let steps = 1_usize << STEP_BITS;
    let shift = (step / steps).saturating_sub(1);
    let within = (step - shift * steps) as u64;
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_share_is_never_told_too_short_and_at_most_a_step_too_long(
            nanos in prop::collection::vec(prop_oneof![0..2000_u64, 0..2_000_000_000_u64, 0..=NANOS_MAX], 1..300),
            per_mille in 0..=1000_u64,
        ) {
            let histogram = Histogram::default();
            for one in &nanos {
                histogram.record(Duration::from_nanos(*one));
            }
            let mut sorted = nanos.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * per_mille).div_ceil(1000) as usize;
            let truth = sorted[rank.saturating_sub(1)];
            let told = histogram.within(per_mille).as_nanos() as u64;
            if rank > 0 {
                prop_assert!(told >= truth, "{told} < {truth}");
                prop_assert!(told <= truth + truth / 128, "{told} > {truth}");
            }
            prop_assert_eq!(histogram.count(), sorted.len() as u64);
            let waits = histogram.waits().unwrap();
            let told_of = |nanos| milliseconds(Duration::from_nanos(nanos));
            prop_assert_eq!(waits.max, told_of(sorted[sorted.len() - 1]));
            prop_assert_eq!(waits.min, told_of(sorted[0]));
        }

        #[test]
        fn each_time_lies_in_its_step_and_not_in_the_one_before(nanos in 0..=NANOS_MAX) {
            let at = step(nanos);
            prop_assert!(at < STEPS);
            prop_assert!(nanos <= last_of(at));
            prop_assert!(at == 0 || last_of(at - 1) < nanos);
        }
    }

    #[test]
    fn a_time_beyond_the_last_step_counts_as_the_last() {
        let histogram = Histogram::default();
        assert!(histogram.waits().is_none());
        assert_eq!(histogram.within(990), Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.within(1000), Duration::from_nanos(NANOS_MAX));
    }
}
