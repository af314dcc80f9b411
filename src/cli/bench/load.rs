//! Deliveries as `countersign bench` makes them: as fast as they are answered, or on a schedule that does not wait.
//!
//! On a schedule each delivery is due at a moment of its own, and its time is taken from that moment, whatever kept it
//! from being sent: a receiver that stalls is charged for all that was due meanwhile (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until};

use super::process::{self, Watch};
use super::request::{Mould, Pattern};
use super::tally::Tally;
use super::wire::{Dial, Line, LineFailure, PATIENCE};
use crate::cli::interrupt::Interrupt;
use crate::cli::sender::Stopped;

/// Connections that are opened at once.
const OPENED_AT_ONCE: usize = 64;
/// How long a connection rests after a failure.
pub(super) const REST: Duration = Duration::from_millis(50);
/// How long what is under way may still take once everything is to stop.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// The pacer looks this often at least whether everything is to stop.
const NAP_MAX: Duration = Duration::from_millis(50);

/// What is asked of a receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) warm_up: Duration,
    pub(super) window: Duration,
    /// How many are due each second; `None` is as fast as they are answered.
    pub(super) rate: Option<f64>,
    /// How long after the window what was due in it may still be sent.
    pub(super) grace: Duration,
}

/// How a round went.
pub(super) struct Ran {
    pub(super) round: Arc<Round>,
    /// From the end of the warm-up until the last answer.
    pub(super) took: Duration,
    pub(super) interrupted: bool,
}

/// A course that is being run, as all its connections see it.
pub(super) struct Round {
    course: Course,
    pub(super) measured: Tally,
    pub(super) warm_up: Tally,
    begun: Instant,
    pub(super) from: Instant,
    pub(super) stop: Instant,
    stopped: AtomicBool,
    /// A permit for each delivery that is due and not taken yet.
    turns: Semaphore,
    /// How many were taken.
    taken: AtomicU64,
}

/// Opens connections; those that cannot be opened are told to `opening`.
pub(super) async fn open(
    dial: &Dial,
    connections: usize,
    opening: &Tally,
    interrupt: &mut Interrupt,
) -> Result<Vec<Line>, Stopped> {
    let mut attempts = stream::iter(0..connections)
        .map(|_| dial.open())
        .buffer_unordered(OPENED_AT_ONCE);
    let mut lines = Vec::new();
    let mut last = None;
    loop {
        tokio::select! {
            attempt = attempts.next() => match attempt {
                None => break,
                Some(Ok(line)) => lines.push(line),
                Some(Err(failure)) => {
                    opening.failed(&failure);
                    last = Some(failure);
                }
            },
            _ = interrupt.wait_for(|wanted| *wanted) => {
                return Err(Stopped::because("stopped before the connections were open"));
            }
        }
    }
    match last {
        Some(failure) if lines.is_empty() => Err(Stopped::Failed(format!(
            "no connection could be opened: {}",
            failure.told()
        ))),
        Some(_) | None => Ok(lines),
    }
}

/// Sends deliveries over these connections, each of which is opened anew where it ends.
pub(super) async fn deliver(
    course: Course,
    dial: &Arc<Dial>,
    pattern: &Arc<Pattern>,
    lines: Vec<Line>,
    watch: &mut Option<Watch>,
    interrupt: &mut Interrupt,
) -> Result<Ran, Stopped> {
    let round = Arc::new(Round::new(course));
    let mut lanes = JoinSet::new();
    for line in lines {
        let lane = Lane {
            round: Arc::clone(&round),
            dial: Arc::clone(dial),
            line: Some(line),
            mould: Mould::new(pattern),
        };
        lanes.spawn(lane.run());
    }
    if let Some(rate) = course.rate {
        let round = Arc::clone(&round);
        std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || round.pace(rate))?;
    }
    round.see_through(lanes, watch, interrupt).await
}

impl Round {
    pub(super) fn new(course: Course) -> Self {
        let begun = Instant::now();
        let from = begun + course.warm_up;
        Self {
            course,
            measured: Tally::default(),
            warm_up: Tally::default(),
            begun,
            from,
            stop: from + course.window,
            stopped: AtomicBool::new(false),
            turns: Semaphore::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// Where what is due at that moment is counted.
    pub(super) fn tally(&self, due: Instant) -> &Tally {
        if due < self.from {
            &self.warm_up
        } else {
            &self.measured
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Nothing more is begun.
    fn end(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.turns.close();
    }

    /// How many deliveries are due at `rate` within that time.
    fn due_within(rate: f64, time: Duration) -> u64 {
        // From the negative and beyond the range `as` takes the nearest number there is.
        (rate * time.as_secs_f64()).floor() as u64
    }

    /// How many deliveries there are on the schedule: before the measurement, and in all.
    fn scheduled(&self, rate: f64) -> (u64, u64) {
        let Course {
            warm_up, window, ..
        } = self.course;
        let before = Self::due_within(rate, warm_up);
        (before, before + Self::due_within(rate, window))
    }

    /// Of the measured deliveries, how many were due in so much time, and how many of those were never sent.
    pub(super) fn due_and_unsent(&self, took: Duration) -> Option<(u64, u64)> {
        let rate = self.course.rate?;
        let (before, _total) = self.scheduled(rate);
        let taken = self.taken.load(Ordering::Relaxed).saturating_sub(before);
        // The last one is due before the window's end, and may be answered before it as well.
        let due = Self::due_within(rate, took.min(self.course.window)).max(taken);
        Some((due, due.saturating_sub(taken)))
    }

    /// Gives a turn for each delivery when it is due. A thread of its own: the runtime's timers tell whole milliseconds.
    fn pace(&self, rate: f64) {
        let (_before, total) = self.scheduled(rate);
        let mut given = 0;
        while given < total && !self.is_over() {
            let due = (Self::due_within(rate, self.begun.elapsed()) + 1).min(total);
            let more = due.saturating_sub(given);
            self.turns
                .add_permits(usize::try_from(more).unwrap_or(usize::MAX / 8));
            given = given.max(due);
            let next = self.due_at(rate, given);
            std::thread::sleep(next.saturating_duration_since(Instant::now()).min(NAP_MAX));
        }
    }

    fn due_at(&self, rate: f64, number: u64) -> Instant {
        self.begun + Duration::from_secs_f64(number as f64 / rate)
    }

    /// The moment at which the next delivery is or was due; `None` if there is none any more.
    async fn turn(&self) -> Option<Instant> {
        let Some(rate) = self.course.rate else {
            let now = Instant::now();
            return (now < self.stop && !self.is_over()).then_some(now);
        };
        self.turns.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let (_before, total) = self.scheduled(rate);
        if number + 1 >= total {
            // Nobody need wait for another.
            self.turns.close();
        }
        Some(self.due_at(rate, number))
    }

    /// Waits for all connections, and looks at the receiver meanwhile.
    pub(super) async fn see_through(
        self: Arc<Self>,
        mut lanes: JoinSet<Result<(), Stopped>>,
        watch: &mut Option<Watch>,
        interrupt: &mut Interrupt,
    ) -> Result<Ran, Stopped> {
        let mut looks = interval(process::EVERY);
        let closing = self.stop + self.course.grace;
        // Whatever is under way then has ended by itself; nothing waits longer than that.
        let mut last = closing + 3 * PATIENCE;
        let mut interrupted = false;
        let mut ended = Ok(());
        loop {
            tokio::select! {
                joined = lanes.join_next() => match joined {
                    None => break,
                    Some(Ok(Err(stopped))) => {
                        ended = Err(stopped);
                        self.end();
                    }
                    Some(Err(defect)) if defect.is_panic() => {
                        ended = Err(defect.into());
                        self.end();
                    }
                    // The others were aborted, after they had been waited for.
                    Some(Ok(Ok(())) | Err(_)) => {}
                },
                _ = looks.tick() => {
                    if let Some(watch) = watch {
                        watch.look(Instant::now() >= self.from);
                    }
                }
                () = sleep_until(closing.into()), if !self.is_over() => self.end(),
                () = sleep_until(last.into()) => lanes.abort_all(),
                _ = interrupt.wait_for(|wanted| *wanted), if !interrupted => {
                    interrupted = true;
                    self.end();
                    last = Instant::now() + LAST_WAIT;
                }
            }
        }
        ended?;
        if let Some(watch) = watch {
            watch.look(Instant::now() >= self.from);
        }
        let took = self.from.elapsed();
        self.end();
        Ok(Ran {
            round: self,
            took,
            interrupted,
        })
    }
}

/// One connection and what goes over it.
struct Lane {
    round: Arc<Round>,
    dial: Arc<Dial>,
    line: Option<Line>,
    mould: Mould,
}

impl Lane {
    async fn run(mut self) -> Result<(), Stopped> {
        let round = Arc::clone(&self.round);
        while let Some(due) = round.turn().await {
            let request = self.mould.cast(Timestamp::now())?;
            // What is sent as fast as possible is due when it is ready.
            let due = match round.course.rate {
                Some(_) => due,
                None => Instant::now(),
            };
            let tally = round.tally(due);
            tally.tried(due.elapsed());
            match exchange(&mut self.line, &self.dial, request, tally).await {
                Ok((status, written)) => tally.answered(status, due.elapsed(), written.elapsed()),
                Err(failure) => {
                    tally.failed(&failure);
                    self.line = None;
                    sleep(REST).await;
                }
            }
        }
        Ok(())
    }
}

/// One request on the kept connection, or on a new one where there is none: the status, and when it was written.
async fn exchange(
    kept: &mut Option<Line>,
    dial: &Dial,
    request: &[u8],
    tally: &Tally,
) -> Result<(u16, Instant), LineFailure> {
    let open = match kept.take() {
        Some(mut line) => line.is_open().then_some(line),
        None => None,
    };
    let line = kept.insert(match open {
        Some(line) => line,
        None => {
            tally.reopened();
            dial.open().await?
        }
    });
    let written = Instant::now();
    Ok((line.exchange(request).await?, written))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(rate: f64, warm_up: u64, window: u64) -> Round {
        Round::new(Course {
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
            rate: Some(rate),
            grace: Duration::ZERO,
        })
    }

    proptest! {
        #[test]
        fn what_is_on_the_schedule_is_due_before_its_end(
            rate in 0.1..50_000.0_f64, warm_up in 0..3000_u64, window in 1000..5000_u64,
        ) {
            let round = round(rate, warm_up, window);
            let (before, total) = round.scheduled(rate);
            prop_assert!(before <= total);
            if total > 0 {
                prop_assert!(round.due_at(rate, total - 1) <= round.stop);
            }
        }
    }

    #[test]
    fn what_was_not_sent_is_counted_and_never_below_nothing() {
        let round = round(100.0, 1000, 2000);
        let check = |taken, milliseconds, expected| {
            round.taken.store(taken, Ordering::Relaxed);
            let took = Duration::from_millis(milliseconds);
            assert_eq!(round.due_and_unsent(took), Some(expected), "{taken}");
        };
        check(0, 2000, (200, 200));
        check(150, 2500, (200, 150));
        check(300, 2000, (200, 0));
        // Whoever stops it early did not want the rest.
        check(140, 500, (50, 10));
        check(160, 500, (60, 0));
        // What was sent was due, also if all of it was answered before the window's end.
        check(300, 1995, (200, 0));
        check(0, 0, (0, 0));
    }
}
