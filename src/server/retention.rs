//! What a receiver lets go by itself: bodies and events that have had their time, in small steps beside the deliveries; and
//! what its store takes on disk.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::current::{Current, LiveCurrent};
use crate::store::{DiskUse, PruneFailure, Pruned, Pruner, Store};
use crate::telemetry::Meters;

/// From one pass to the next, and how often the disk is looked at. Times are in days, so a minute is soon.
const EVERY: Duration = Duration::from_secs(60);

/// How far the clock must be ahead of what the store bears out for it to be told.
const NOTEWORTHY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A clock that was set ahead is set again when it is further ahead, or less far, by this.
const SET_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// How often a pass that goes on is asked whether what it goes by still serves.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Prunes by whatever the configuration says then, until the future is dropped. A pass may last for hours: one whose configuration a reload
/// has replaced ends, and the next begins at once.
pub(super) async fn prune(store: Arc<Store>, live: Arc<LiveCurrent>) {
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let meters = Meters::default();
    let mut pruner = Pruner::default();
    let mut told = Told::default();
    loop {
        beat.tick().await;
        let current = live.load();
        let retention = current.snapshot.retention();
        let now = Timestamp::now();
        let replaced = replaced(&live, &current);
        let outcome = store
            .prune_until(&mut pruner, retention, now, replaced)
            .await;
        match &outcome {
            Ok(pruned) => count(&meters, pruned),
            Err(_) => meters.prune_failed(),
        }
        told.tell(&outcome, now);
        // A store that is away tells of that elsewhere.
        if let Ok(taken) = store.views().disk_use().await {
            measure(&meters, taken);
        }
        if !Arc::ptr_eq(&live.load(), &current) {
            beat.reset_immediately();
        }
    }
}

/// Resolves once another configuration serves than this.
async fn replaced(live: &LiveCurrent, current: &Arc<Current>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    while Arc::ptr_eq(&live.load(), current) {
        look.tick().await;
    }
}

fn count(meters: &Meters, pruned: &Pruned) {
    let total = pruned.total();
    meters.pruned("bodies", total.bodies);
    meters.pruned("events", total.events);
    meters.pruned("keys", total.keys);
    meters.pruned_bytes(total.bytes);
}

fn measure(meters: &Meters, taken: DiskUse) {
    match taken.bodies {
        Some(bodies) => {
            meters.store_bytes("bodies", bodies);
            meters.store_bytes("rest", taken.store.saturating_sub(bodies));
        }
        None => meters.store_bytes("file", taken.store),
    }
    if let Some(log) = taken.log {
        meters.store_bytes("log", log);
    }
    if let Some(free) = taken.free {
        meters.store_free(free);
    }
}

/// What was said of the passes before: it is said once, and again when it has changed.
#[derive(Default)]
struct Told {
    failing: bool,
    held_back: bool,
    /// How far the clock was ahead of what is known, when that was last said.
    ahead: Option<SignedDuration>,
}

impl Told {
    /// What is known, if the clock is apart from it otherwise than was said: it may have been believed, or set right, and set again since.
    fn is_apart_anew(&mut self, known: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let ahead = known.map(|known| now.duration_since(known));
        let (Some(so_far), Some(said)) = (ahead, self.ahead) else {
            self.ahead = ahead;
            return known;
        };
        let is_another = so_far.saturating_sub(said).abs() > SET_AGAIN;
        if is_another {
            self.ahead = ahead;
        }
        known.filter(|_| is_another)
    }

    fn tell(&mut self, outcome: &Result<Pruned, PruneFailure>, now: Timestamp) {
        match outcome {
            Err(failure) if !mem::replace(&mut self.failing, true) => tracing::warn!(
                error = failure as &dyn std::error::Error,
                "what is old enough could not be pruned; it is tried again each minute"
            ),
            // One that gave way to somebody else's lock shows nothing.
            Ok(pruned) if pruned.went_through && mem::take(&mut self.failing) => {
                tracing::info!("pruning works again");
            }
            Ok(_) | Err(_) => {}
        }
        let Ok(pruned) = outcome else { return };
        if let Some(known) = self.is_apart_anew(pruned.known, now) {
            tracing::warn!(
                as_of = %known,
                clock = %now,
                "the clock was set ahead since this process began: nothing goes that would not have gone without that; set it right, or \
                 restart the receiver if it is right (one that goes evenly for a week is believed)"
            );
        }
        let believed = pruned.believed.unwrap_or(now);
        // A start after a few quiet days is nothing to speak of.
        let now = pruned.known.unwrap_or(now);
        let held_back = now.duration_since(believed) > NOTEWORTHY;
        if held_back && !self.held_back {
            tracing::warn!(
                as_of = %believed,
                "the clock is days ahead of the last event in the store: nothing goes that would not have gone by then; if the \
                 clock is right, time will tell, or countersign prune --trust-clock"
            );
        }
        self.held_back = held_back;
        let total = pruned.total();
        if total.bodies > 0 || total.events > 0 || total.keys > 0 {
            tracing::debug!(
                bodies = total.bodies,
                events = total.events,
                keys = total.keys,
                bytes = total.bytes,
                "pruned"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_is_told_of_each_time_it_is() {
        let mut told = Told::default();
        let start = Timestamp::UNIX_EPOCH;
        let mut is_told = |hours: i64, ahead: Option<i64>| {
            let known = start + SignedDuration::from_hours(hours);
            let now = known + SignedDuration::from_hours(ahead.unwrap_or(0));
            let known = ahead.map(|_| known);
            told.is_apart_anew(known, now).is_some()
        };
        assert!(!is_told(0, None));
        assert!(is_told(1, Some(500)));
        assert!(!is_told(2, Some(500)));
        assert!(is_told(3, Some(900)));
        // It was believed, and no pass that went well has seen it before it was set again.
        assert!(is_told(200, Some(48)));
        assert!(!is_told(201, None));
        assert!(is_told(202, Some(48)));
    }
}
