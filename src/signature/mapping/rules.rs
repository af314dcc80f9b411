//! `[[event.when]]` and `event.only`, compiled: what an event must have for a rule to be for it.

use std::borrow::Cow;

use super::around::Around;
use super::facts::Fetch;
use super::place::EventPlace;
use crate::signature::body::select::Values;
use crate::signature::profile::descriptor::AmountUnit;

/// What may stand elsewhere for some types.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) occurred_at: EventPlace,
    pub(super) payment_id: EventPlace,
    pub(super) amount: EventPlace,
    pub(super) unit: AmountUnit,
    pub(super) amount_refunded: EventPlace,
    pub(super) currency: EventPlace,
}

/// `[[event.when]]`, with what it does not name filled in.
#[derive(Clone, Debug)]
pub(super) struct When {
    pub(super) kinds: Box<[Box<str>]>,
    pub(super) equals: Box<[Equals]>,
    pub(super) present: Box<[EventPlace]>,
    pub(super) same: Box<[EventPlace]>,
    pub(super) status: Option<&'static str>,
    pub(super) fetch: Fetch,
    pub(super) places: Places,
}

/// A place, and the texts of which it must have one.
pub(super) type Equals = (EventPlace, Box<[Box<str>]>);

/// Whether each place has one of its texts. An absent one has the empty text.
pub(super) fn all_equal(
    all: &[Equals],
    values: &Values<'_>,
    around: Around<'_>,
    kind: Option<&str>,
) -> bool {
    all.iter().all(|(place, texts)| {
        let text = place.text(values, around, kind).unwrap_or_default();
        texts.iter().any(|wanted| **wanted == *text)
    })
}

impl When {
    /// Whether it is for this event.
    pub(super) fn fits(&self, values: &Values<'_>, around: Around<'_>, kind: Option<&str>) -> bool {
        let of_type = |pattern: &str| match (pattern.strip_suffix('*'), kind) {
            (_, None) => false,
            (Some(prefix), Some(kind)) => kind.starts_with(prefix),
            (None, Some(kind)) => kind == pattern,
        };
        let text = |place: &EventPlace| place.text(values, around, kind).map(Cow::into_owned);
        let same = |places: &[EventPlace]| {
            let mut texts = places.iter().map(text);
            let first = texts.next().flatten();
            first.is_some() && texts.all(|other| other == first)
        };
        (self.kinds.is_empty() || self.kinds.iter().any(|pattern| of_type(pattern)))
            && all_equal(&self.equals, values, around, kind)
            && self.present.iter().all(|place| text(place).is_some())
            && (self.same.is_empty() || same(&self.same))
    }
}
