//! What has passed, by a clock that nobody sets.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

/// How long this machine has been up, also while it was suspended: `Instant` stands still then, and the wall clock would look set.
#[cfg(target_os = "linux")]
pub(super) fn uptime() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let up = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(up.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(up.tv_nsec).unwrap_or(0))
}

/// How long it is since this was first asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn uptime() -> Duration {
    use std::time::Instant;

    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

/// What the wall clock said when this was first asked, and what has passed since: microseconds since the epoch, in which no setting of the
/// clock shows.
pub(super) fn steadily() -> i64 {
    static FIRST: OnceLock<(i64, Duration)> = OnceLock::new();
    let first = FIRST.get_or_init(|| (Timestamp::now().as_microsecond(), uptime()));
    since(*first, uptime())
}

fn since((wall, then): (i64, Duration), at: Duration) -> i64 {
    let passed = at.saturating_sub(then).as_micros();
    wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let before = uptime();
        std::thread::sleep(Duration::from_millis(2));
        let passed = uptime().saturating_sub(before);
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
    }

    #[test]
    fn what_has_passed_is_all_that_counts() {
        let first = (1_790_000_000_000_000, Duration::from_secs(1000));
        assert_eq!(since(first, first.1), first.0);
        let later = first.1 + Duration::from_micros(2_000_001);
        assert_eq!(since(first, later), first.0 + 2_000_001);
        let (before, after) = (steadily(), steadily());
        assert!(before <= after);
    }
}
