//! Load that is shed when it is not the store but the processors that do not keep up.
//!
//! No queue of ours is long then: what waits does so in the runtime's, behind the tasks that were ready before, and is neither
//! read nor turned away. While more than [`WAITING_MAX`] tasks wait there, a share of the deliveries is turned away before their
//! signatures are looked at, as large as it takes to come back to so many: a controller in proportion to how far off it is, and to how long
//! it has been (RFC 8033 §4.2 has one for routers).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Tasks that may be ready and wait, beside those few hundred that each worker thread has at hand: some tens of milliseconds' worth.
const WAITING_MAX: u32 = 1024;
/// What passes within this time is a burst: better late than turned away.
const BURST_MAX: Duration = Duration::from_millis(250);
/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(20);
/// The most that is shed, of 1: to turn away costs time as well, and whoever turns everything away keeps nothing.
const SHARE_MAX: f64 = 0.8;
/// By how much the share grows in a second for each [`WAITING_MAX`] above the first.
const GROWTH: f64 = 0.5;
/// How much is shed at once for each.
const AT_ONCE: f64 = 0.25;
/// However many wait, no more than so many of them count.
const EXCESS_MAX: f64 = 4.0;
/// However rarely we could look, no more time than this counts.
const STEP_MAX: Duration = Duration::from_millis(200);

/// One delivery in this unit.
const WHOLE: u32 = 1 << 16;

/// Who is turned away.
#[derive(Debug, Default)]
pub(super) struct Shedding {
    /// Of [`WHOLE`].
    share: AtomicU32,
    /// What has been added up of shares.
    due: AtomicU32,
}

impl Shedding {
    /// Whether this delivery is one of those that are turned away: they are spread evenly.
    pub(super) fn turns_away(&self) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        share != 0 && {
            let due = self.due.fetch_add(share, Ordering::Relaxed) % WHOLE;
            due.saturating_add(share) >= WHOLE
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the share is between 0 and 1"
    )]
    fn set(&self, share: f64) {
        let share = (share * f64::from(WHOLE)) as u32;
        self.share.store(share, Ordering::Relaxed);
    }
}

/// Looks how many tasks wait, tells `found`, and sheds by it, until it is dropped.
pub(super) async fn watch(shedding: &Shedding, found: impl Fn(u32)) {
    let runtime = Handle::current().metrics();
    let mut controller = Controller::default();
    let mut looked = Instant::now();
    loop {
        sleep(INTERVAL).await;
        let waiting = u32::try_from(runtime.global_queue_depth()).unwrap_or(u32::MAX);
        found(waiting);
        shedding.set(controller.after(waiting, looked.elapsed()));
        looked = Instant::now();
    }
}

/// From how many wait to the share that is shed.
#[derive(Debug, Default)]
struct Controller {
    share: f64,
    /// How long too many have waited without a break.
    behind: Duration,
}

impl Controller {
    /// What to shed while so many wait, `step` after the last look.
    fn after(&mut self, waiting: u32, step: Duration) -> f64 {
        let excess = (f64::from(waiting) / f64::from(WAITING_MAX) - 1.0).min(EXCESS_MAX);
        self.behind = if excess > 0.0 {
            self.behind.saturating_add(step)
        } else {
            Duration::ZERO
        };
        if self.share == 0.0 && self.behind < BURST_MAX {
            return 0.0;
        }
        let step = step.min(STEP_MAX).as_secs_f64();
        self.share = (self.share + GROWTH * excess * step).clamp(0.0, SHARE_MAX);
        let at_once = if self.share > 0.0 { AT_ONCE } else { 0.0 };
        (self.share + at_once * excess.max(0.0)).min(SHARE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// What a receiver with one processor does in eight seconds: after two of them.
    #[derive(Debug, PartialEq)]
    struct Fared {
        kept_per_second: u32,
        shed_per_second: u32,
        /// Until a kept delivery begins.
        waited_max_ms: u32,
    }

    /// Deliveries that come evenly, a second, over so many connections: none comes while its connection has another under way. To keep one
    /// takes 60 µs, to turn it away 20 µs.
    fn fares(offered: u32, connections: usize) -> Fared {
        let (keep, shed) = (Duration::from_micros(60), Duration::from_micros(20));
        let apart = Duration::from_secs(1) / offered;
        let (warm, whole) = (Duration::from_secs(2), Duration::from_secs(8));
        let (shedding, mut controller) = (Shedding::default(), Controller::default());
        let mut ready: VecDeque<Duration> = VecDeque::new();
        let (mut now, mut next) = (Duration::ZERO, Duration::ZERO);
        let (mut look, mut looked) = (INTERVAL, Duration::ZERO);
        let mut fared = Fared {
            kept_per_second: 0,
            shed_per_second: 0,
            waited_max_ms: 0,
        };
        while now < whole {
            while next <= now {
                if ready.len() < connections {
                    ready.push_back(next);
                }
                next += apart;
            }
            if look <= now {
                shedding.set(controller.after(ready.len() as u32, now - looked));
                (looked, look) = (now, now + INTERVAL);
            }
            let Some(came) = ready.pop_front() else {
                now = next.min(look);
                continue;
            };
            let counts = u32::from(now > warm);
            if shedding.turns_away() {
                fared.shed_per_second += counts;
                now += shed;
            } else {
                fared.kept_per_second += counts;
                let waited = (now - came).as_millis() as u32 * counts;
                fared.waited_max_ms = fared.waited_max_ms.max(waited);
                now += keep;
            }
        }
        fared.kept_per_second /= 6;
        fared.shed_per_second /= 6;
        fared
    }

    #[test]
    fn what_can_be_worked_through_is_never_turned_away() {
        let fared = fares(16_000, 5_000);
        assert_eq!((fared.shed_per_second, fared.waited_max_ms), (0, 0));
        assert!(fared.kept_per_second > 15_990);
    }

    #[test]
    fn as_many_as_a_few_connections_can_have_under_way_are_let_wait() {
        let fared = fares(33_000, 1_000);
        assert_eq!(fared.shed_per_second, 0);
        assert!(fared.kept_per_second > 16_600 && fared.waited_max_ms <= 60);
    }

    #[test]
    fn at_twice_what_it_sustains_it_keeps_most_of_that_and_none_of_it_waits_long() {
        let fared = fares(33_000, 5_000);
        assert!(fared.waited_max_ms < 100, "{fared:?}");
        // At its best a half of it: the other half of the time goes into turning the rest away.
        assert!(fared.kept_per_second > 8_000, "{fared:?}");
        let worked = fared.kept_per_second + fared.shed_per_second;
        assert!((32_900..33_100).contains(&worked), "{fared:?}");
    }

    #[test]
    fn under_more_than_can_even_be_turned_away_it_still_keeps_a_part() {
        let fared = fares(100_000, 5_000);
        assert!(fared.kept_per_second > 7_000, "{fared:?}");
    }

    #[test]
    fn a_burst_is_no_reason_and_once_they_are_gone_nor_are_those_that_waited() {
        let mut controller = Controller::default();
        let late = WAITING_MAX * 10;
        for _ in 0..12 {
            assert_eq!(controller.after(late, INTERVAL), 0.0);
        }
        assert_eq!(controller.after(WAITING_MAX / 2, INTERVAL), 0.0);
        for _ in 0..12 {
            assert_eq!(controller.after(late, INTERVAL), 0.0);
        }
        assert!(controller.after(late, INTERVAL) > 0.5);
        for _ in 0..200 {
            controller.after(0, INTERVAL);
        }
        assert_eq!(controller.after(0, INTERVAL), 0.0);
    }

    #[test]
    fn those_that_are_turned_away_are_spread_evenly() {
        let shedding = Shedding::default();
        shedding.set(0.25);
        let away: Vec<bool> = (0..12).map(|_| shedding.turns_away()).collect();
        let fourth = [false, false, false, true];
        assert_eq!(away, [fourth, fourth, fourth].concat());
        shedding.set(0.0);
        assert!(!shedding.turns_away());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn more_that_is_ready_than_can_be_worked_through_is_found() {
        let shedding = Arc::new(Shedding::default());
        let most = Arc::new(AtomicU32::new(0));
        let watching = tokio::spawn({
            let (shedding, most) = (Arc::clone(&shedding), Arc::clone(&most));
            async move {
                let found = |waiting| {
                    most.fetch_max(waiting, Ordering::Relaxed);
                };
                watch(&shedding, found).await;
            }
        });
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..WAITING_MAX * 2 {
            let busy = Arc::clone(&busy);
            tokio::spawn(async move {
                while busy.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
            });
        }
        let sheds = || shedding.share.load(Ordering::Relaxed) > 0;
        while !sheds() {
            tokio::time::sleep(INTERVAL).await;
        }
        assert!(most.load(Ordering::Relaxed) > WAITING_MAX);
        busy.store(false, Ordering::Relaxed);
        while sheds() {
            tokio::time::sleep(INTERVAL).await;
        }
        watching.abort();
    }
}
