//! The mapping of a profile, as it is used: where the event and its payment stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::around::Readings;
use super::facts::{Fetch, NoPayment, canonical};
use super::known::KnownBy;
use super::place::EventPlace;
use super::refunds::Refunds;
use super::rules::{Equals, Places, When};
use crate::signature::body::json::ListPointer;
use crate::signature::body::select::Selection;
use crate::signature::profile::descriptor::{BodyFormat, TimeUnit, Unlisted};

/// Where the event and its payment stand.
#[derive(Clone, Debug)]
pub(in crate::signature) struct Mapping {
    pub(in crate::signature) format: BodyFormat,
    pub(in crate::signature) field: Option<Box<str>>,
    pub(super) each: Option<ListPointer>,
    pub(super) selection: Selection,
    pub(in crate::signature) readings: Arc<Readings>,
    pub(super) id: EventPlace,
    /// What takes its place.
    pub(in crate::signature) known_by: KnownBy,
    /// The form field by whose bytes an event without an id is known: the signature covers it, and not the body around it.
    pub(super) id_field: Option<Box<str>>,
    pub(super) kind: EventPlace,
    pub(super) occurred_at_unit: Option<TimeUnit>,
    /// Whether its events have times, and none that the signature adds to those that lack one.
    pub(super) times_are_its_own: bool,
    /// What an event must have to speak of a payment.
    pub(super) only: Box<[Equals]>,
    pub(super) account: EventPlace,
    /// Set where no event of this profile ever makes a claim.
    pub(super) no_payment: Option<NoPayment>,
    pub(super) fetch: Fetch,
    pub(super) places: Places,
    pub(super) status_by: EventPlace,
    pub(super) status: StatusTable,
    pub(super) minor_digits: Box<[(Box<str>, u8)]>,
    pub(super) refunds: Option<Refunds>,
    pub(super) when: Box<[When]>,
}

/// From the provider's words to canonical statuses.
#[derive(Clone, Debug)]
pub(super) enum StatusTable {
    /// The profile has none: what `status_by` finds must itself be canonical.
    None,
    /// Its table, and what becomes of an event that it lacks.
    Table(BTreeMap<Box<str>, &'static str>, Unlisted),
}

impl StatusTable {
    /// The canonical status for a key.
    pub(super) fn status(&self, key: &str) -> Option<&'static str> {
        match self {
            Self::None => canonical(key),
            Self::Table(table, _) => table.get(key).copied(),
        }
    }

    /// Whether an event without a status still states the rest.
    pub(super) fn may_be_missing(&self) -> bool {
        match self {
            Self::None | Self::Table(_, Unlisted::Mapped) => true,
            Self::Table(_, Unlisted::Unmapped) => false,
        }
    }
}
