//! What time it is by what this process knows: the wall clock when it began to look, and what has passed since by a clock that
//! nobody sets.

use std::time::Duration;

/// How far the two may be apart: what is let go by them is counted in days.
const SLACK: i64 = 3_600_000_000;
/// For how long a clock that was set must have gone evenly to be believed all the same: one that was wrong at the start may have
/// been set right.
const EVENLY: Duration = Duration::from_secs(7 * 86_400);

/// A moment by the wall clock, in microseconds, and by the other one.
type Reading = (i64, Duration);

/// Tells a wall clock that goes on from one that was set.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What was believed first.
    began: Option<Reading>,
    /// Since when the wall clock is apart from that, and goes evenly.
    apart: Option<Reading>,
}

impl Known {
    /// What may be taken for now, of a clock that says `now` at `at`: it, or less where it ran away.
    pub(super) fn at_most(&mut self, now: i64, at: Duration) -> i64 {
        let known = on(*self.began.get_or_insert((now, at)), at);
        if is_near(now, known) {
            self.apart = None;
            return now;
        }
        let apart = self.apart.filter(|apart| is_near(now, on(*apart, at)));
        let apart = *self.apart.insert(apart.unwrap_or((now, at)));
        if at.saturating_sub(apart.1) < EVENLY {
            return now.min(known);
        }
        *self = Self {
            began: Some((now, at)),
            apart: None,
        };
        now
    }
}

/// What a wall clock that nobody has set since says at `at`.
fn on((wall, then): Reading, at: Duration) -> i64 {
    let passed = at.saturating_sub(then).as_micros();
    wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
}

fn is_near(a: i64, b: i64) -> bool {
    a.abs_diff(b) <= SLACK.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::super::keep::DAY_US;
    use super::*;

    const HOUR: i64 = DAY_US / 24;
    const START: i64 = 20_000 * DAY_US;

    /// What is believed, in hours since the start, of a wall clock that is so many hours ahead after so many of them.
    fn believed(readings: &[(i64, i64)]) -> Vec<i64> {
        let (mut known, began) = (Known::default(), Duration::from_secs(1000));
        let believe = |(hours, ahead): &(i64, i64)| {
            let at = began + Duration::from_secs(hours.unsigned_abs() * 3600);
            let now = START + (hours + ahead) * HOUR;
            (known.at_most(now, at) - START) / HOUR
        };
        readings.iter().map(believe).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed_and_so_is_one_that_is_set_back() {
        assert_eq!(believed(&[(0, 0), (1, 0), (9000, 1)]), [0, 1, 9001]);
        assert_eq!(believed(&[(0, 0), (1, -100), (2, 0)]), [0, -99, 2]);
    }

    #[test]
    fn one_that_is_set_ahead_is_not_however_often() {
        let jumps = [
            (0, 0),
            (1, 960),
            (2, 0),
            (3, 1008),
            (160, 1008),
            (170, 2000),
        ];
        assert_eq!(believed(&jumps), [0, 1, 2, 3, 160, 170]);
    }

    #[test]
    fn unless_it_goes_evenly_for_a_week() {
        let week = 7 * 24;
        let set = [
            (0, 0),
            (1, 500),
            (week, 500),
            (week + 1, 500),
            (week + 2, 500),
        ];
        assert_eq!(believed(&set), [0, 1, week, week + 501, week + 502]);
        let unsteady = [(0, 0), (1, 500), (100, 600), (week + 2, 600)];
        assert_eq!(believed(&unsteady), [0, 1, 100, week + 2]);
        // Nor is one that went back meanwhile, if it is set again to where it was.
        let again = [(0, 0), (1, 500), (2, 0), (week + 2, 500)];
        assert_eq!(believed(&again), [0, 1, 2, week + 2]);
        // What it was before is then as wrong.
        let back = [(0, 0), (1, -500), (week + 1, -500), (week + 2, 0)];
        assert_eq!(believed(&back), [0, -499, week - 499, week - 498]);
    }
}
