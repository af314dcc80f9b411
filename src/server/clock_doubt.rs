//! Whether it is our own clock that is wrong: then every signed time is too far from it, nobody gets in, and each refusal by itself looks
//! like its sender's fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::line_bound::LineBound;
use crate::identity::Producer;

/// So many refusals in a row raise the doubt, where several producers have some, and where one has all.
const OF_SEVERAL: u64 = 4;
const OF_ONE: u64 = 10;
/// A signed time this near says that the clock is right. Profiles that have no tolerance accept others, too.
const NEAR: SignedDuration = SignedDuration::from_mins(5);
/// How often it is said while it lasts.
const AGAIN: Duration = Duration::from_secs(600);

/// What the signed times of late say of our clock.
#[derive(Debug)]
pub(super) struct ClockDoubt {
    /// Whether the last time was refused: nearly always it was not, and a load leaves the line shared among the cores.
    any: AtomicBool,
    refused: Mutex<Option<Refused>>,
    lines: LineBound,
}

/// Times that were refused in a row, all of them behind our clock, or all ahead of it.
#[derive(Debug)]
struct Refused {
    count: u64,
    since: Timestamp,
    /// How far they are off; negative ones are behind.
    least: SignedDuration,
    greatest: SignedDuration,
    /// Whose the first was, and whether others had some as well.
    first: Box<str>,
    of_several: bool,
    told: bool,
}

impl ClockDoubt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            any: AtomicBool::new(false),
            refused: Mutex::default(),
            lines: LineBound::new(1, AGAIN, now),
        }
    }

    /// A signed time was too far from the clock.
    pub(super) fn refused(&self, producer: &Producer, sent: Timestamp, now: Timestamp) {
        let told = {
            let mut refused = self.lock();
            let of_now = Refused::join(refused.take(), producer, sent, now);
            let of_now = refused.insert(of_now);
            self.any.store(true, Ordering::Relaxed);
            if !of_now.is_doubt() || self.lines.take(Instant::now()).is_none() {
                return;
            }
            of_now.told = true;
            of_now.in_words()
        };
        tracing::error!(
            clock = %now,
            mend = "look at this machine's clock first (timedatectl, chronyc tracking); what was refused comes again where its sender retries",
            "{told}"
        );
    }

    /// A delivery was accepted that was signed at `sent`.
    pub(super) fn accepted(&self, sent: Timestamp, now: Timestamp) {
        if !self.any.load(Ordering::Relaxed) || now.duration_since(sent).abs() > NEAR {
            return;
        }
        let before = {
            let mut refused = self.lock();
            self.any.store(false, Ordering::Relaxed);
            refused.take()
        };
        if before.is_some_and(|before| before.told) {
            tracing::info!("a signed time agrees with this machine's clock again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    fn join(before: Option<Self>, producer: &Producer, sent: Timestamp, now: Timestamp) -> Self {
        let off = sent.duration_since(now);
        let same_way = |before: &Self| before.least.is_negative() == off.is_negative();
        let who = || format!("{} of {}", producer.name, producer.tenant).into_boxed_str();
        match before.filter(same_way) {
            Some(before) => Self {
                count: before.count.saturating_add(1),
                least: before.least.min(off),
                greatest: before.greatest.max(off),
                of_several: before.of_several || before.first != who(),
                ..before
            },
            None => Self {
                count: 1,
                since: now,
                least: off,
                greatest: off,
                first: who(),
                of_several: false,
                told: false,
            },
        }
    }

    fn is_doubt(&self) -> bool {
        self.count >= if self.of_several { OF_SEVERAL } else { OF_ONE }
    }

    fn in_words(&self) -> String {
        let (least, direction) = if self.greatest.is_negative() {
            (self.greatest.abs(), "behind")
        } else {
            (self.least, "ahead of")
        };
        let (least, count, since) = (least.as_secs(), self.count, self.since);
        let apart = format!(
            "the last {count} signed times are {least} s or more {direction} this machine's clock"
        );
        if self.of_several {
            format!(
                "every delivery is refused for its time since {since:.0}: {apart}, whoever sends: it is the clock that is wrong, or everybody repeats what is old"
            )
        } else {
            let first = &self.first;
            format!(
                "every delivery is refused for its time since {since:.0}: {apart}, all from {first}: the sender's clock or this machine's is wrong, or it repeats what is old"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::{Force, ProducerId, TenantId};
    use crate::x509::DistinguishedName;

    fn producer(name: &str) -> Producer {
        Producer {
            id: ProducerId(0),
            tenant: TenantId::new("tenant-42"),
            name: Arc::from(name),
            subject: DistinguishedName::parse("CN=p").unwrap(),
            pins: Vec::new(),
            shadow_pins: Vec::new(),
            path: None,
            force: Force::Live,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    /// What is in doubt after times of these producers, each as far from the clock as given, have been refused.
    fn after(times: &[(&str, i64)]) -> Option<String> {
        let clock = ClockDoubt::new(Instant::now());
        for (name, off) in times {
            clock.refused(&producer(name), at(*off), at(0));
        }
        let refused = clock.lock();
        let doubted = refused.as_ref().filter(|refused| refused.is_doubt());
        assert_eq!(
            doubted.is_some(),
            refused.as_ref().is_some_and(|one| one.told)
        );
        doubted.map(Refused::in_words)
    }

    #[test]
    fn several_senders_that_are_all_refused_for_their_time_raise_the_doubt() {
        let one_way = [("a", -3_700), ("a", -3_610), ("b", -3_600), ("b", -3_900)];
        let told = after(&one_way).unwrap();
        assert!(
            told.contains("the last 4 signed times are 3600 s or more behind this machine's clock, whoever sends"),
            "{told}"
        );
        assert_eq!(after(&one_way[..3]), None);
    }

    #[test]
    fn of_a_single_sender_it_takes_more_and_either_clock_may_be_wrong() {
        let told = after(&[("a", 400); 10]).unwrap();
        assert!(
            told.contains("400 s or more ahead of this machine's clock, all from a of tenant-42: the sender's clock or this machine's"),
            "{told}"
        );
        assert_eq!(after(&[("a", 400); 9]), None);
    }

    #[test]
    fn times_behind_and_ahead_are_no_clock_of_ours() {
        let both = [("a", -400), ("b", 400), ("a", -400), ("b", 400)];
        assert_eq!(after(&both.repeat(5)), None);
    }

    #[test]
    fn a_time_that_is_near_ends_it_and_one_that_is_far_does_not() {
        let clock = ClockDoubt::new(Instant::now());
        let refuse = |times: usize| {
            for _ in 0..times {
                clock.refused(&producer("a"), at(-400), at(0));
            }
            clock.lock().as_ref().is_some_and(Refused::is_doubt)
        };
        assert!(!refuse(9));
        clock.accepted(at(-299), at(0));
        assert!(!refuse(9));
        // By a profile without a tolerance.
        clock.accepted(at(-301), at(0));
        assert!(refuse(1));
    }
}
