//! How much may wait, for how long, and how much is written at once.

use std::time::Duration;

/// The bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries that may wait, at most. While more comes than can be written it is two batches' worth, so that what is
    /// accepted has not waited long.
    pub queue_deliveries: usize,
    /// Bytes that may wait, at most.
    pub queue_bytes: usize,
    /// Deliveries in one transaction, at most.
    pub batch_deliveries: usize,
    /// Events in one transaction, at most, but where a single delivery has more; never fewer than deliveries. Of bodies that tell of
    /// hundreds each, a batch of deliveries alone could be one that no engine ends in its time, and fail for all who are in it.
    pub batch_events: usize,
    /// How long a delivery waits for its receipt, at most.
    pub wait: Duration,
    /// How long a batch gathers beside one that is under way, at most.
    pub gather: Duration,
}

impl Limits {
    pub(super) fn events_max(&self) -> usize {
        self.batch_events.max(self.batch_deliveries)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_deliveries: 4096,
            queue_bytes: 64 << 20,
            batch_deliveries: 256,
            batch_events: 1024,
            wait: Duration::from_secs(10),
            gather: Duration::from_millis(2),
        }
    }
}
