//! `[[event.when]]` and `event.only`, compiled: what an event must have for a rule to be for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::around::Around;
use super::compiled::{Compiler, Places, Trust};
use super::facts::Fetch;
use super::place::{Certainty, Place};
use crate::signature::body::select::Values;
use crate::signature::profile::descriptor::{EventDescriptor, OneOrMany, WhenDescriptor};

/// `[[event.when]]`, with what it does not name filled in.
#[derive(Clone, Debug)]
pub(super) struct When {
    kinds: Box<[Box<str>]>,
    equals: Box<[Equals]>,
    present: Box<[Place]>,
    same: Box<[Place]>,
    pub(super) status: Option<&'static str>,
    pub(super) fetch: Fetch,
    pub(super) places: Places,
}

/// A place, and the texts of which it must have one.
pub(super) type Equals = (Place, Box<[Box<str>]>);

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
        let text = |place: &Place| place.text(values, around, kind).map(Cow::into_owned);
        let same = |places: &[Place]| {
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

impl Compiler<'_, '_> {
    /// Places, each with the texts of which it must have one.
    pub(super) fn equals(
        &mut self,
        key: &str,
        places: Option<&BTreeMap<String, OneOrMany>>,
        trust: Trust,
    ) -> Box<[Equals]> {
        let one = |(place, texts): (&String, &OneOrMany)| {
            let name = format!("{key}.\"{place}\"");
            if texts.iter().next().is_none() {
                let what = "lists no text, so that no event fits";
                self.fault(&name, what, "write the texts that fit, as [\"Sale\"]");
            }
            let place = self.place(&name, Some(&OneOrMany::One(place.clone())), trust);
            (place, self::texts(Some(texts)))
        };
        places.into_iter().flatten().map(one).collect()
    }

    /// A rule; what it does not name is as in `base`.
    pub(super) fn when(
        &mut self,
        index: usize,
        when: &WhenDescriptor,
        event: &EventDescriptor,
        base: &Places,
        kind: Certainty,
    ) -> When {
        let rule = format!("event.when[{index}]");
        self.check_the_conditions(&rule, when, kind);
        let key = |name: &str| format!("{rule}.{name}");
        let equals = self.equals(&key("equals"), when.equals.as_ref(), Trust::Covered);
        let present = when.present.iter().flat_map(OneOrMany::iter);
        let same = when.same.iter().flatten().map(String::as_str);
        When {
            kinds: texts(when.kind.as_ref()),
            equals,
            present: self.covered_places(&key("present"), present),
            same: self.covered_places(&key("same"), same),
            status: when
                .status
                .as_ref()
                .and_then(|name| self.canonical(&key("status"), name)),
            fetch: self.fetch(
                &key("fetch_needed"),
                when.fetch_needed.or(event.fetch_needed),
            ),
            places: self.places_of(&rule, when, event, base),
        }
    }

    /// A rule must be for some events, and be told for which by what the signature covers.
    fn check_the_conditions(&mut self, rule: &str, when: &WhenDescriptor, kind: Certainty) {
        let of_type = format!("{rule}.type");
        if when.kind.is_none()
            && when.equals.is_none()
            && when.present.is_none()
            && when.same.is_none()
        {
            let what = "it would replace the places of every event";
            self.fault(&of_type, what, "name types, or texts with equals");
        }
        if when.kind.is_some() && kind != Certainty::Covered {
            let what = "the signature does not cover the type";
            self.fault(&of_type, what, "tell the events apart with equals");
        }
        if when.same.as_ref().is_some_and(|places| places.len() < 2) {
            let key = format!("{rule}.same");
            self.fault(&key, "compares nothing", "name two places at least");
        }
    }

    fn covered_places<'t>(
        &mut self,
        key: &str,
        texts: impl Iterator<Item = &'t str>,
    ) -> Box<[Place]> {
        texts
            .map(|text| {
                let one = OneOrMany::One(text.to_owned());
                self.place(key, Some(&one), Trust::Covered)
            })
            .collect()
    }

    fn places_of(
        &mut self,
        rule: &str,
        when: &WhenDescriptor,
        event: &EventDescriptor,
        base: &Places,
    ) -> Places {
        let mut own = |name: &str, texts: &Option<OneOrMany>, base: &Place, trust| match texts {
            Some(texts) => self.place(&format!("{rule}.{name}"), Some(texts), trust),
            None => base.clone(),
        };
        Places {
            occurred_at: own(
                "occurred_at",
                &when.occurred_at,
                &base.occurred_at,
                Trust::Body,
            ),
            payment_id: own(
                "payment_id",
                &when.payment_id,
                &base.payment_id,
                Trust::Covered,
            ),
            amount: own("amount", &when.amount, &base.amount, Trust::Covered),
            unit: when.amount_unit.or(event.amount_unit).unwrap_or_default(),
            amount_refunded: own(
                "amount_refunded",
                &when.amount_refunded,
                &base.amount_refunded,
                Trust::Covered,
            ),
            currency: own("currency", &when.currency, &base.currency, Trust::Word),
        }
    }
}

fn texts(listed: Option<&OneOrMany>) -> Box<[Box<str>]> {
    listed
        .into_iter()
        .flat_map(OneOrMany::iter)
        .map(Into::into)
        .collect()
}
