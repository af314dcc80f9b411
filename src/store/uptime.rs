//! What has passed, by a clock that nobody sets.

use std::time::Duration;

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
    use std::sync::OnceLock;
    use std::time::Instant;

    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
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
}
