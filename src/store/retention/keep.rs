//! How long things are kept, and what has had its time.
//!
//! A body (with the headers that came with it) goes first. Later the event's row leaves every list; what recognises it if
//! it comes again stays in its place for as long as duplicates are to be recognised: the key, the hash of the body, and
//! nothing that tells of anybody. Its time then stands below zero (`~received_at`), so that the index by time, which lists
//! and pruning share, has the kept and the forgotten apart. A payment outlives its events: its state is never touched.
//!
//! Nothing goes by the clock's word alone: [`believable`] also asks what the store itself has seen, of events that are no later than
//! what the process knows.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// A day, in microseconds.
pub(in crate::store) const DAY_US: i64 = 86_400_000_000;
/// Events that came at least this long ago, by the clock, bear witness to it.
const SETTLED: i64 = DAY_US;
/// How far the clock may be ahead of the latest witness.
const AHEAD: i64 = 2 * DAY_US;

/// For how many days a tenant's things are kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bodies and headers; never longer than their events.
    pub bodies_days: Option<u32>,
    /// Events, in lists and in a payment's history.
    pub events_days: Option<u32>,
    /// What recognises a duplicate; never shorter than the events.
    pub dedupe_days: Option<u32>,
}

/// For how long each tenant's things are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    store: Keep,
    tenants: HashMap<Box<str>, Keep>,
}

/// Moments, in microseconds: what was received before them has had its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Cutoffs {
    pub(in crate::store) bodies: Option<i64>,
    pub(in crate::store) events: Option<i64>,
    pub(in crate::store) keys: Option<i64>,
}

impl Retention {
    /// The store's own times, and those of the tenants that have others.
    pub fn new(store: Keep, tenants: HashMap<Box<str>, Keep>) -> Self {
        Self { store, tenants }
    }

    /// For how long this tenant's things are kept. One that is not configured, perhaps not any more, follows the store.
    pub fn of(&self, tenant: &str) -> Keep {
        self.tenants.get(tenant).copied().unwrap_or(self.store)
    }

    /// Whether anything ever goes.
    pub fn is_limited(&self) -> bool {
        let limited = |keep: &Keep| keep.bodies_days.or(keep.events_days).is_some();
        limited(&self.store) || self.tenants.values().any(limited)
    }

    /// Whether this tenant is configured with times of its own.
    pub fn names(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }
}

impl Keep {
    /// What has had its time at `now`.
    pub(in crate::store) fn cutoffs(self, now: i64) -> Cutoffs {
        let before = |days: u32| now.saturating_sub(i64::from(days).saturating_mul(DAY_US));
        let bodies = match (self.bodies_days, self.events_days) {
            (Some(bodies), Some(events)) => Some(bodies.min(events)),
            (bodies, events) => bodies.or(events),
        };
        let keys = self.events_days.zip(self.dedupe_days);
        Cutoffs {
            bodies: bodies.map(before),
            events: self.events_days.map(before),
            keys: keys.map(|(events, dedupe)| before(events.max(dedupe))),
        }
    }
}

impl Cutoffs {
    /// The same, back to the beginning of their days (UTC): what lies in partitions of a day goes by whole ones.
    pub(in crate::store) fn whole_days(self) -> Self {
        let floor = |time: i64| time.div_euclid(DAY_US).saturating_mul(DAY_US);
        Self {
            bodies: self.bodies.map(floor),
            events: self.events.map(floor),
            keys: self.keys.map(floor),
        }
    }

    /// Whether what recognises a duplicate goes with its event.
    pub(in crate::store) fn forget_nothing(self) -> bool {
        self.keys.is_some() && self.keys == self.events
    }
}

/// Whether the clock's word is taken for what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As far as the store's own events bear it out.
    Doubted,
    /// An operator has looked at it.
    Trusted,
}

/// The latest moment that may be taken for now: a clock that jumps ahead must not empty a store. `witness` is when the
/// latest event came that is older than a day by the clock; a day is also how long a wrong clock has to be noticed before
/// what comes under it counts as a witness. `running` is what was believed when this process began to prune, and for how
/// long it has run since by a clock that cannot jump: so time passes in a store that receives nothing, too.
pub(super) fn believable(
    now: i64,
    witness: Option<i64>,
    running: Option<(i64, Duration)>,
) -> Option<i64> {
    let seen = witness.map(|witness| witness.saturating_add(AHEAD));
    let lived = running.map(|(believed, since)| {
        believed.saturating_add(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    });
    seen.max(lived).map(|latest| latest.min(now))
}

/// Events that came before this bear witness to the clock.
pub(in crate::store) fn settled(now: i64) -> i64 {
    now.saturating_sub(SETTLED)
}

/// Microseconds, as a time.
pub(super) fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(bodies: u32, events: u32, dedupe: u32) -> Keep {
        let days = |days| (days > 0).then_some(days);
        Keep {
            bodies_days: days(bodies),
            events_days: days(events),
            dedupe_days: days(dedupe),
        }
    }

    #[test]
    fn a_body_goes_with_its_event_and_a_key_never_before_it() {
        let check = |keep: Keep, expected: [Option<i64>; 3]| {
            let cutoffs = keep.cutoffs(1000 * DAY_US);
            let days = [cutoffs.bodies, cutoffs.events, cutoffs.keys];
            assert_eq!(days.map(|at| at.map(|at| 1000 - at / DAY_US)), expected);
        };
        check(keep(0, 0, 0), [None, None, None]);
        check(keep(30, 0, 0), [Some(30), None, None]);
        check(keep(0, 90, 0), [Some(90), Some(90), None]);
        check(keep(30, 90, 400), [Some(30), Some(90), Some(400)]);
        check(keep(30, 90, 60), [Some(30), Some(90), Some(90)]);
        check(keep(30, 0, 60), [Some(30), None, None]);
        check(keep(120, 90, 0), [Some(90), Some(90), None]);
    }

    #[test]
    fn something_goes_if_it_does_of_one_tenant_alone() {
        let own = |keep: Keep| HashMap::from([(Box::from("tenant-42"), keep)]);
        let limited = |store, own| Retention::new(store, own).is_limited();
        let never = Keep::default();
        assert!(!limited(never, own(never)));
        // What recognises a duplicate goes with nothing but its event.
        assert!(!limited(keep(0, 0, 30), own(keep(0, 0, 30))));
        for some in [keep(30, 0, 0), keep(0, 90, 0)] {
            assert!(limited(some, own(never)));
            assert!(limited(never, own(some)));
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_no_further_than_the_store_bears_it_out() {
        let year = 365 * DAY_US;
        let check = |now, witness, running: Option<(i64, u64)>, expected| {
            let running = running.map(|(at, days)| (at, Duration::from_secs(days * 86_400)));
            assert_eq!(believable(now, witness, running), expected);
        };
        // Nothing is older than a day: nothing can have had its time.
        check(20_000 * DAY_US, None, None, None);
        let now = 20_000 * DAY_US;
        check(now, Some(now - DAY_US), None, Some(now));
        check(now + 10 * year, Some(now), None, Some(now + 2 * DAY_US));
        // Behind what is there: nothing goes early.
        check(
            now - year,
            Some(now - year - DAY_US),
            None,
            Some(now - year),
        );
        // A store that receives nothing any more, under a process that goes on.
        check(
            now + 30 * DAY_US,
            Some(now),
            Some((now, 30)),
            Some(now + 30 * DAY_US),
        );
        check(
            now + 10 * year,
            Some(now),
            Some((now, 30)),
            Some(now + 30 * DAY_US),
        );
    }
}
