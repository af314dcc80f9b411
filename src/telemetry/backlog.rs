//! The metrics of what waits: for the store's writer, and in the spool.

use metrics::{Unit, describe_counter, describe_gauge, gauge};

use crate::store::{MOVED_METRIC, SET_ASIDE_METRIC};

const QUEUE_DELIVERIES: &str = "countersign_queue_deliveries";
const QUEUE_BYTES: &str = "countersign_queue_bytes";
const SPOOLING: &str = "countersign_spooling";
const WAITING: &str = "countersign_spool_waiting_events";
const ASIDE: &str = "countersign_spool_aside_events";
const BYTES: &str = "countersign_spool_bytes";
const OLDEST: &str = "countersign_spool_oldest_seconds";
pub(super) const SPOOLED: &str = "countersign_spooled_events_total";

pub(super) fn describe() {
    describe_gauge!(
        QUEUE_DELIVERIES,
        Unit::Count,
        "Deliveries that wait for the store's writer"
    );
    describe_gauge!(
        QUEUE_BYTES,
        Unit::Bytes,
        "Memory of the deliveries that wait for the store's writer"
    );
    describe_gauge!(
        SPOOLING,
        Unit::Count,
        "1 while the database is away and deliveries go to the spool, else 0"
    );
    describe_gauge!(
        WAITING,
        Unit::Count,
        "Events in the spool that wait for the database"
    );
    describe_gauge!(
        ASIDE,
        Unit::Count,
        "Events in the spool that the database refused for their own sake"
    );
    describe_gauge!(
        BYTES,
        Unit::Bytes,
        "Bytes of the spool's file that are in use"
    );
    describe_gauge!(
        OLDEST,
        Unit::Seconds,
        "How long the first event in the spool has waited; 0 while none does"
    );
    describe_counter!(
        SPOOLED,
        Unit::Count,
        "Readable events that were answered with success from the spool, by tenant and producer; countersign_events_total counts them once they are moved"
    );
    describe_counter!(
        MOVED_METRIC,
        Unit::Count,
        "Events that were moved from the spool into the database"
    );
    describe_counter!(
        SET_ASIDE_METRIC,
        Unit::Count,
        "Events of the spool that were set aside because the database refused them"
    );
}

/// What waits in the spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolFigures {
    /// Whether deliveries go there.
    pub spooling: bool,
    /// Events that wait.
    pub waiting: u64,
    /// Events set aside.
    pub aside: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// How long the first of them has waited, seconds.
    pub oldest_seconds: f64,
}

/// What waits for the store's writer.
pub fn queued(deliveries: usize, bytes: usize) {
    gauge!(QUEUE_DELIVERIES).set(figure(deliveries as u64));
    gauge!(QUEUE_BYTES).set(figure(bytes as u64));
}

/// What waits in the spool.
pub fn spool(figures: SpoolFigures) {
    gauge!(SPOOLING).set(f64::from(u8::from(figures.spooling)));
    gauge!(WAITING).set(figure(figures.waiting));
    gauge!(ASIDE).set(figure(figures.aside));
    gauge!(BYTES).set(figure(figures.bytes));
    gauge!(OLDEST).set(figures.oldest_seconds);
}

#[expect(clippy::cast_precision_loss, reason = "what waits is far below 2^52")]
fn figure(number: u64) -> f64 {
    number as f64
}
