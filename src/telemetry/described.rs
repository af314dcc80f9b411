//! What a metric says of itself, in the exposition's `HELP` and `TYPE`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What is counted or measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// What only grows.
    Counter,
    /// What goes up and down.
    Gauge,
    /// How values are spread.
    Histogram,
}

/// Kind, unit, name and meaning.
pub(super) type Described = (Kind, Unit, &'static str, &'static str);

/// Tells the recorder.
pub(super) fn describe_all(table: &[Described]) {
    for &(kind, unit, name, meaning) in table {
        match kind {
            Kind::Counter => describe_counter!(name, unit, meaning),
            Kind::Gauge => describe_gauge!(name, unit, meaning),
            Kind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
}
