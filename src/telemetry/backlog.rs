//! The metrics of what waits: for the store's writer, and in the spool.

use metrics::{Unit, gauge};

use super::described::{Described, Kind};
use crate::store::{MOVED_METRIC, SET_ASIDE_METRIC};

const QUEUE_DELIVERIES: &str = "countersign_queue_deliveries";
const QUEUE_BYTES: &str = "countersign_queue_bytes";
const SPOOLING: &str = "countersign_spooling";
const WAITING: &str = "countersign_spool_waiting_events";
const ASIDE: &str = "countersign_spool_aside_events";
const BYTES: &str = "countersign_spool_bytes";
const OLDEST: &str = "countersign_spool_oldest_seconds";
pub(super) const SPOOLED: &str = "countersign_spooled_events_total";

/// What each of them says.
pub(super) const TABLE: &[Described] = &[
    (
        Kind::Gauge,
        Unit::Count,
        QUEUE_DELIVERIES,
        "Deliveries that wait for the store's writer",
    ),
    (
        Kind::Gauge,
        Unit::Bytes,
        QUEUE_BYTES,
        "Memory of the deliveries that wait for the store's writer",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        SPOOLING,
        "1 while the database is away and deliveries go to the spool, else 0",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        WAITING,
        "Events in the spool that wait for the database",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        ASIDE,
        "Events in the spool that the database refused for their own sake",
    ),
    (
        Kind::Gauge,
        Unit::Bytes,
        BYTES,
        "Bytes of the spool's file that are in use",
    ),
    (
        Kind::Gauge,
        Unit::Seconds,
        OLDEST,
        "How long the first event in the spool has waited; 0 while none does",
    ),
    (
        Kind::Counter,
        Unit::Count,
        SPOOLED,
        "Readable events that were answered with success from the spool, by tenant and producer; countersign_events_total counts them once they are moved",
    ),
    (
        Kind::Counter,
        Unit::Count,
        MOVED_METRIC,
        "Events that were moved from the spool into the database",
    ),
    (
        Kind::Counter,
        Unit::Count,
        SET_ASIDE_METRIC,
        "Events of the spool that were set aside because the database refused them",
    ),
];

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
