//! `[event]`, compiled: every place parsed, every status known, nothing uncovered that moves money.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::around::Readings;
use super::compiled::{Mapping, StatusTable};
use super::facts::{Fetch, NoPayment, STATUSES, canonical};
use super::known::KnownBy;
use super::place::{Certainty, Covered, EventPlace, PlaceReader, Read};
use super::refunds::Refunds;
use super::rules::{Equals, Places, When};
use crate::signature::body::json::ListPointer;
use crate::signature::body::select::Selection;
use crate::signature::clock::TimestampRule;
use crate::signature::profile::descriptor::{
    BodyFormat, Coverage, EventDescriptor, OneOrMany, ProfileDescriptor, SignedTime, WhenDescriptor,
};
use crate::signature::profile::faults::Faults;
use crate::signature::scheme::{self as signature, Scheme};
use crate::signature::template::{TemplateFault, Value};

/// What a place may be made of.
#[derive(Clone, Copy)]
pub(super) enum Trust {
    /// It moves money, or tells one event from another.
    Covered,
    /// It is looked up: in another case it is another word, and unknown.
    Word,
    /// An event's time orders what the signature covers, and moves nothing by itself. Adyen does not sign
    /// it, and without it the ledger would hang on the order of arrival. A delivery that was altered there is a
    /// conflict, since its id is covered: it never reaches the ledger next to the true one.
    Body,
    /// Only people read it, or it takes away alone.
    Anything,
}

/// Compiles the places of `[event]`, and tells every fault with its key.
pub(super) struct Compiler<'s, 'f> {
    places: PlaceReader<'s>,
    fault: &'f mut dyn FnMut(String, TemplateFault),
}

impl Mapping {
    /// The mapping of a profile whose signature is `scheme`.
    pub(in crate::signature) fn of_profile(
        profile: &ProfileDescriptor,
        scheme: Option<&Scheme>,
        time: Option<&TimestampRule>,
        each: Option<ListPointer>,
        faults: &mut Faults,
    ) -> Self {
        let values = scheme.map(Scheme::covered_values).unwrap_or_default();
        let id = match scheme.and_then(|scheme| scheme.id.as_ref()) {
            Some(signature::Place::Header(names)) => names.to_vec(),
            Some(
                signature::Place::Form(_)
                | signature::Place::Json(_)
                | signature::Place::Query(_)
                | signature::Place::Item(_),
            )
            | None => Vec::new(),
        };
        let plain = EventDescriptor::default();
        let event = profile.event.as_ref().unwrap_or(&plain);
        let parts = each.is_some() && !scheme.is_some_and(|scheme| scheme.per_item);
        let format = event.format.unwrap_or_default();
        let read = Read::of(format, event.field.as_deref(), parts);
        let coverage = profile.signed.unwrap_or(Coverage::Body);
        if parts && matches!(coverage, Coverage::Fields | Coverage::Reference) {
            let what =
                "takes a list's elements for the events, and the signature does not cover them";
            let mend = "leave it out; where each element bears its own signature, write signature.each instead";
            faults.add("event.each", what, mend);
        }
        let folds = |value: &Value| scheme.is_some_and(|scheme| scheme.folds_case_of(value));
        let mut folded: Vec<Value> = values.iter().copied().cloned().collect();
        folded.retain(folds);
        let covered = Covered::new(coverage, &values, folded, id, read);
        let mut mapping = Self::compile(event, each, &covered, &mut |key, fault| {
            faults.add(&key, fault.what, &fault.mend)
        });
        // What each item of a batch signs for itself is no time of the delivery's.
        let adds_one = time.is_some()
            && mapping.readings.signed_time == SignedTime::Happened
            && scheme.is_some_and(|scheme| !scheme.per_item);
        mapping.times_are_its_own = states_times(event) && !adds_one;
        let readings = Arc::make_mut(&mut mapping.readings);
        mapping.known_by = KnownBy::compile(coverage, scheme, time, readings);
        mapping
    }

    /// Compiles a profile's `[event]`; `each` is the list whose elements are the events, where there is one. Every
    /// fault is told with its key.
    pub(super) fn compile(
        event: &EventDescriptor,
        each: Option<ListPointer>,
        covered: &Covered,
        fault: &mut dyn FnMut(String, TemplateFault),
    ) -> Self {
        let mut selection = Selection::default();
        let mut readings = Readings {
            signed_time: event.signed_time.unwrap_or_default(),
            ..Readings::default()
        };
        let mut compiler = Compiler {
            places: PlaceReader {
                selection: &mut selection,
                covered,
                readings: &mut readings,
                kind: None,
            },
            fault,
        };
        compiler.formats(event);
        let id = compiler.place("event.id", event.id.as_ref(), Trust::Covered);
        let (kind, certainty) =
            compiler.place_and_certainty("event.type", event.kind.as_ref(), Trust::Anything);
        let account = compiler.place("event.account", event.account.as_ref(), Trust::Covered);
        let places = compiler.payment_places(event);
        let no_payment = no_payment(&places, covered);
        let fetch = compiler.fetch("event.fetch_needed", event.fetch_needed);
        let status = compiler.status(event);
        compiler.places.kind = Some(certainty);
        let by_type = OneOrMany::One("{type}".to_owned());
        // A profile that maps no payments may take its type from wherever it likes.
        let status_by = match (&event.status_by, no_payment) {
            (None, Some(_)) => EventPlace::default(),
            (None, None) if certainty > Certainty::InOneCase => {
                compiler.fault(
                    "event.status_by",
                    "is missing, and the signature does not cover the type, which would decide without it",
                    "add it, with a place that signature.content names, as status_by = \"/status\"",
                );
                EventPlace::default()
            }
            (given, _) => compiler.place(
                "event.status_by",
                Some(given.as_ref().unwrap_or(&by_type)),
                Trust::Word,
            ),
        };
        let when = event.when.iter().flatten().enumerate();
        let when = when
            .map(|(index, when)| compiler.when(index, when, event, &places, certainty))
            .collect();
        Self {
            format: event.format.unwrap_or_default(),
            field: event.field.as_deref().map(Into::into),
            each,
            id,
            known_by: KnownBy::default(),
            id_field: covered.field(event.field.as_deref()).map(Into::into),
            kind,
            occurred_at_unit: event.occurred_at_unit,
            times_are_its_own: false,
            only: compiler.equals("event.only", event.only.as_ref(), Trust::Anything),
            account,
            no_payment,
            fetch,
            places,
            status_by,
            status,
            minor_digits: compiler.minor_digits(event),
            refunds: compiler.refunds(event),
            when,
            selection,
            readings: Arc::new(readings),
        }
    }
}

/// Whether any of its events has a place for its time.
fn states_times(event: &EventDescriptor) -> bool {
    let rules = event.when.iter().flatten().map(|rule| &rule.occurred_at);
    let lists = event.refunds.iter().map(|list| &list.occurred_at);
    let mut all = rules.chain(lists).chain([&event.occurred_at]).flatten();
    all.any(|texts| texts.iter().next().is_some())
}

fn no_payment(places: &Places, covered: &Covered) -> Option<NoPayment> {
    match covered.coverage {
        Coverage::Reference => Some(NoPayment::FetchNeeded),
        Coverage::Body | Coverage::Fields | Coverage::Connection => {
            places.payment_id.is_empty().then_some(NoPayment::NotMapped)
        }
    }
}

impl Compiler<'_, '_> {
    pub(super) fn fault(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        (self.fault)(
            key.to_owned(),
            TemplateFault {
                what: what.into(),
                mend: mend.into(),
            },
        );
    }

    fn formats(&mut self, event: &EventDescriptor) {
        let format = event.format.unwrap_or_default();
        match (format, &event.field) {
            (BodyFormat::Json, Some(_)) => {
                self.fault(
                    "event.field",
                    "a JSON body has no form field",
                    "remove it, or set format = \"form\"",
                );
            }
            (BodyFormat::JsonOrForm | BodyFormat::FormXml, None) => {
                self.fault(
                    "event.field",
                    "is missing",
                    "name the form field that holds the document",
                );
            }
            (BodyFormat::Json | BodyFormat::Form, None)
            | (BodyFormat::Form | BodyFormat::JsonOrForm | BodyFormat::FormXml, Some(_)) => {}
        }
        if format != BodyFormat::Json && event.each.is_some() {
            self.fault(
                "event.each",
                "a form holds one event",
                "remove it, or set format = \"json\"",
            );
        }
    }

    pub(super) fn place(
        &mut self,
        key: &str,
        texts: Option<&OneOrMany>,
        trust: Trust,
    ) -> EventPlace {
        self.place_and_certainty(key, texts, trust).0
    }

    fn place_and_certainty(
        &mut self,
        key: &str,
        texts: Option<&OneOrMany>,
        trust: Trust,
    ) -> (EventPlace, Certainty) {
        let Some(texts) = texts else {
            return (EventPlace::default(), Certainty::Covered);
        };
        let (place, certainty) = match self.places.read(texts) {
            Ok(read) => read,
            Err(faults) => {
                for fault in faults {
                    (self.fault)(key.to_owned(), fault);
                }
                return (EventPlace::default(), Certainty::Covered);
            }
        };
        let trusted = match (trust, certainty) {
            (_, Certainty::Covered)
            | (Trust::Word | Trust::Body | Trust::Anything, Certainty::InOneCase)
            | (Trust::Body, Certainty::BodyUncovered)
            | (Trust::Anything, Certainty::BodyUncovered | Certainty::RequestUncovered) => true,
            (Trust::Covered, Certainty::InOneCase)
            | (
                Trust::Covered | Trust::Word,
                Certainty::BodyUncovered | Certainty::RequestUncovered,
            )
            | (Trust::Body, Certainty::RequestUncovered) => false,
        };
        if !trusted && certainty == Certainty::InOneCase {
            self.fault(
                key,
                "takes a value of which the signature covers the letters in one case alone",
                "take it in that case, as {lower:/id} where signature.content has {lower:json:/id}",
            );
        } else if !trusted {
            self.fault(
                key,
                "takes a value that the signature does not cover",
                "take it from what signature.content names, or leave it out",
            );
        }
        (place, certainty)
    }

    pub(super) fn fetch(&mut self, key: &str, stated: Option<bool>) -> Fetch {
        match (self.places.covered.coverage, stated) {
            (Coverage::Reference, Some(false)) => {
                self.fault(
                    key,
                    "the signature covers a reference, and nothing that could do without fetching",
                    "leave it out",
                );
                Fetch::Needed { reference: None }
            }
            (Coverage::Reference, Some(true) | None)
            | (Coverage::Body | Coverage::Fields | Coverage::Connection, Some(true)) => {
                Fetch::Needed { reference: None }
            }
            (Coverage::Body | Coverage::Fields | Coverage::Connection, Some(false) | None) => {
                Fetch::Unneeded
            }
        }
    }

    fn payment_places(&mut self, event: &EventDescriptor) -> Places {
        // A reference makes no claim: it is what the provider is asked for, in its own spelling.
        let payment = match self.places.covered.coverage {
            Coverage::Reference => Trust::Word,
            Coverage::Body | Coverage::Fields | Coverage::Connection => Trust::Covered,
        };
        Places {
            occurred_at: self.place("event.occurred_at", event.occurred_at.as_ref(), Trust::Body),
            payment_id: self.place("event.payment_id", event.payment_id.as_ref(), payment),
            amount: self.place("event.amount", event.amount.as_ref(), Trust::Covered),
            unit: event.amount_unit.unwrap_or_default(),
            amount_refunded: self.place(
                "event.amount_refunded",
                event.amount_refunded.as_ref(),
                Trust::Covered,
            ),
            currency: self.place("event.currency", event.currency.as_ref(), Trust::Word),
        }
    }

    fn status(&mut self, event: &EventDescriptor) -> StatusTable {
        let Some(table) = &event.status else {
            if event.unlisted.is_some() {
                self.fault(
                    "event.unlisted",
                    "there is no table that could lack a type",
                    "add [event.status]",
                );
            }
            return StatusTable::None;
        };
        let mut known = BTreeMap::new();
        for (key, name) in table {
            if let Some(status) = self.canonical(&format!("event.status.\"{key}\""), name) {
                known.insert(key.as_str().into(), status);
            }
        }
        StatusTable::Table(known, event.unlisted.unwrap_or_default())
    }

    pub(super) fn canonical(&mut self, key: &str, name: &str) -> Option<&'static str> {
        let status = canonical(name);
        if status.is_none() {
            self.fault(
                key,
                format!("\"{name}\" is no canonical status"),
                format!("write one of {}", STATUSES.join(", ")),
            );
        }
        status
    }

    fn refunds(&mut self, event: &EventDescriptor) -> Option<Refunds> {
        let refunds = event.refunds.as_ref()?;
        match (
            self.places.covered.coverage,
            event.format.unwrap_or_default(),
        ) {
            (Coverage::Body | Coverage::Connection, BodyFormat::Json) => {}
            (
                Coverage::Body | Coverage::Connection | Coverage::Fields | Coverage::Reference,
                BodyFormat::Json | BodyFormat::JsonOrForm | BodyFormat::Form | BodyFormat::FormXml,
            ) => self.fault(
                "event.refunds",
                "is for JSON bodies that are signed whole",
                "leave it out",
            ),
        }
        Refunds::compile(refunds, self.fault)
    }

    fn minor_digits(&mut self, event: &EventDescriptor) -> Box<[(Box<str>, u8)]> {
        const DIGITS_MAX: u8 = 8;
        let mut all = Vec::new();
        for (code, digits) in event.minor_digits.iter().flatten() {
            let counted = u8::try_from(*digits).ok();
            match counted.filter(|digits| code.len() == 3 && *digits <= DIGITS_MAX) {
                Some(digits) => all.push((code.as_str().into(), digits)),
                None => self.fault(
                    &format!("event.minor_digits.{code}"),
                    "is no currency and a count of decimals",
                    format!("write a count from 0 to {DIGITS_MAX}, as ISK = 2"),
                ),
            }
        }
        all.into()
    }

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
    ) -> Box<[EventPlace]> {
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
        let mut own = |name: &str, texts: &Option<OneOrMany>, base: &EventPlace, trust| match texts
        {
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
