//! How long one waits before a database that was away is asked again: twice as long each time, and never in step with others.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first pause before a host that was away is asked again.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest such pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Between half of it and all of it, so that receivers who lost the same server do not come back in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0_u8) % 1024;
    let half = pause / 2;
    half + half * u32::try_from(chance).unwrap_or(0) / 1024
}
