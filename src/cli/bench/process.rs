//! What a receiver on this machine uses, as Linux tells it (proc_pid_stat(5), proc_pid_status(5)).

use std::time::Duration;

use crate::cli::sender::Stopped;

/// How often the memory is looked at.
pub(super) const EVERY: Duration = Duration::from_millis(100);
/// Ticks a second in `/proc`, on every architecture.
const TICKS: f64 = 100.0;

/// A process that is looked at while it is measured.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    pub(super) rss_start: u64,
    pub(super) rss_peak: u64,
    cpu_from: Option<f64>,
    pub(super) cpu_seconds: f64,
}

impl Watch {
    pub(super) fn begin(pid: u32) -> Result<Self, Stopped> {
        let (rss, _cpu) = rss(pid).zip(cpu_seconds(pid)).ok_or_else(|| {
            Stopped::Failed(format!(
                "process {pid} cannot be looked at: /proc/{pid} must be readable, on Linux; name the receiver's process with --pid"
            ))
        })?;
        Ok(Self {
            pid,
            rss_start: rss,
            rss_peak: rss,
            cpu_from: None,
            cpu_seconds: 0.0,
        })
    }

    /// Looks at the memory, and once the measurement has begun, at the time used since.
    pub(super) fn look(&mut self, begun: bool) {
        // A process that has ended stays as it was last seen.
        let Some((rss, cpu)) = rss(self.pid).zip(cpu_seconds(self.pid)) else {
            return;
        };
        self.rss_peak = self.rss_peak.max(rss);
        if begun {
            let from = *self.cpu_from.get_or_insert(cpu);
            self.cpu_seconds = cpu - from;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

/// User and system time that a process has used.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, parentheses too.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// Bytes of memory that a process occupies.
fn rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_to_use_memory_and_time() {
        let own = std::process::id();
        let mut watch = Watch::begin(own).unwrap_or_else(|_| panic!("/proc/{own}"));
        assert!(watch.rss_start > 1024 * 1024, "{watch:?}");
        watch.look(true);
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while watch.cpu_seconds == 0.0 {
            assert!(std::time::Instant::now() < end, "{watch:?}");
            watch.look(true);
        }
        assert!(watch.rss_peak >= watch.rss_start);
    }

    #[test]
    fn a_process_that_is_not_there_is_told() {
        assert!(Watch::begin(u32::MAX).is_err());
    }
}
