//! What a pass of pruning goes by, and how it makes way for the deliveries.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;

use super::keep::{Clock, Retention};

/// The shortest pause after a step.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause after a step.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How many times as long as a step the pause after it is.
const PAUSE_FACTOR: u32 = 4;

/// What a pass goes by.
pub(in crate::store) struct Asked<'a> {
    pub(in crate::store) retention: &'a Retention,
    /// Microseconds, by the clock.
    pub(in crate::store) now: i64,
    pub(super) clock: Clock,
    pub(super) tenant: Option<&'a str>,
    /// How often to come again while another receiver is about it.
    pub(in crate::store) tries: u32,
    /// Whether nobody wants it any more.
    pub(super) over: watch::Receiver<bool>,
}

impl Asked<'_> {
    pub(in crate::store) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves once nobody wants the pass any more.
    pub(in crate::store) async fn over(&self) {
        let mut over = self.over.clone();
        if over.wait_for(|over| *over).await.is_err() {
            // Nobody is left to say so.
            pending().await
        }
    }

    pub(in crate::store) fn is_for(&self, tenant: &str) -> bool {
        self.tenant.is_none_or(|only| only == tenant)
    }
}

/// Leaves the store to the deliveries for a while, or until nobody wants the pass any more.
pub(in crate::store) async fn pause_after(took: Duration, asked: &Asked<'_>) {
    let pause = took.saturating_mul(PAUSE_FACTOR);
    tokio::select! {
        () = tokio::time::sleep(pause.clamp(PAUSE_MIN, PAUSE_MAX)) => {}
        () = asked.over() => {}
    }
}
