//! The first and the last line of an export: what it is of, and by what a cut or altered one is known.

use serde::{Deserialize, Serialize};

use super::record::{Hex, Kind, Micros};

/// What an export calls itself.
pub(super) const FORMAT: &str = "countersign-export";
/// The form of the lines: the newest that is read. One that an older program would misread gets the next number.
pub(super) const VERSION: u32 = 2;
/// That of an export without tallies of shadow marks, which came with the second: older programs read it.
pub(super) const WITHOUT_SHADOWS: u32 = 1;

/// What an extent is of: every column of every payment and event, in the engine's own form, and since when there are bodies.
pub(super) const EXTENT_FORM: u32 = 2;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    /// The program that wrote it.
    pub(super) countersign: String,
    /// `sqlite` or `postgres`.
    pub(super) store: String,
    pub(super) schema: i64,
    pub(super) exported_at: Micros,
    /// The one tenant that it has, if it has not all.
    pub(super) tenant_id: Option<String>,
    /// Of all payments and events: tells whether the store is still what it was.
    pub(super) extent: Hex<32>,
    /// What `extent` is of. A header without it is of the first form: of when each tenant's oldest and latest events came.
    #[serde(default = "first_form")]
    pub(super) extent_form: u32,
}

fn first_form() -> u32 {
    1
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) row: EndMark,
    pub(super) rows: Counts,
    pub(super) sha256: Hex<32>,
}

/// What the last line begins with, where the others have their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EndMark {
    #[serde(rename = "end")]
    End,
}

/// How many rows there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Producers that sent something.
    pub producers: u64,
    /// Secrets that verified deliveries, by reference.
    pub secrets: u64,
    /// Client certificates that deliveries came with.
    pub leaves: u64,
    /// Payments.
    pub payments: u64,
    /// Events: accepted ones, conflicts, and quarantined ones.
    pub events: u64,
    /// Events of which nothing is kept but what recognises them.
    pub forgotten: u64,
    /// Groups of refusals.
    pub refusals: u64,
    /// What shadow marks would have decided, by mark and subject.
    #[serde(default, skip_serializing_if = "is_none")]
    pub shadows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Counts {
    pub(super) fn count(&mut self, kind: Kind) {
        let count = match kind {
            Kind::Producers => &mut self.producers,
            Kind::Secrets => &mut self.secrets,
            Kind::Leaves => &mut self.leaves,
            Kind::Payments => &mut self.payments,
            Kind::Events => &mut self.events,
            Kind::Forgotten => &mut self.forgotten,
            Kind::Refusals => &mut self.refusals,
            Kind::Shadows => &mut self.shadows,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        [
            self.producers,
            self.secrets,
            self.leaves,
            self.payments,
            self.events,
            self.forgotten,
            self.refusals,
            self.shadows,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}
