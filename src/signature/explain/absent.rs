//! What is signed beside the body, and what it means where that is absent: the content is another one then, or none.

use super::delivery::{Delivery, items};
use super::explanation::{Absence, Finding, SEVERAL};
use super::other_urls;
use crate::signature::places::{self, Place};
use crate::signature::profile::algorithm::Algorithm;
use crate::signature::scheme::AlgorithmRule;
use crate::signature::template::{Mark, Value, Values as _};

impl Delivery<'_> {
    /// The algorithm that the signature names, where the sender chooses it.
    pub(super) fn algorithm(&self) -> Option<Finding> {
        let mut rules = self.scheme.variants().map(|variant| &variant.algorithm);
        let (item, allow) = rules.find_map(|rule| match rule {
            AlgorithmRule::ByItem { item, allow } => Some((item, allow)),
            AlgorithmRule::Fixed(_) => None,
        })?;
        if self.texts.is_empty() {
            return None;
        }
        let items = items(self.scheme, &self.texts);
        let named = items.as_ref().map(|items| items.named(item));
        let is_repeated = matches!(named, Some(Err(_)));
        let named = named.and_then(|named| named.ok()?);
        let is_allowed =
            |named: &str| Algorithm::named(named).is_some_and(|one| allow.contains(&one));
        let found = named.map(|named| {
            let allowed = if is_allowed(named) {
                ""
            } else {
                ", which is none that the profile allows"
            };
            format!("{}{allowed}", self.shown(named.as_bytes()))
        });
        let found = found.or_else(|| is_repeated.then(|| SEVERAL.to_owned()));
        Some(Finding {
            what: "algorithm",
            place: Place::Item(item.clone()).to_string(),
            found,
            absence: Absence::Unwritten,
        })
    }

    /// What else than the body, the time and the id is signed, and stands around the body.
    pub(super) fn signed_around(&self) -> Vec<Finding> {
        let items = items(self.scheme, &self.texts);
        let sources = self.sources(items.as_ref());
        let mut known: Vec<&Value> = Vec::new();
        let mut findings = Vec::new();
        for content in &self.scheme.contents {
            let mut in_a_group = false;
            for mark in content.order() {
                let part = match mark {
                    Mark::Group => {
                        in_a_group = !in_a_group;
                        continue;
                    }
                    Mark::Value(part) => part,
                    Mark::Text(_) | Mark::Filter(_) => continue,
                };
                let absence = match part {
                    Value::Header(_) if !in_a_group => Absence::Lost,
                    Value::Item(_) if !in_a_group => Absence::Unwritten,
                    Value::Header(_) | Value::Item(_) | Value::Query(_) => Absence::Allowed,
                    Value::Body
                    | Value::Timestamp
                    | Value::Id
                    | Value::Url
                    | Value::Method
                    | Value::PathAndQuery
                    | Value::Secret
                    | Value::KeyId
                    | Value::Form(_)
                    | Value::Json(_)
                    | Value::Config(_) => continue,
                };
                if known.contains(&part) || self.is_told_already(part) {
                    continue;
                }
                known.push(part);
                let found = match sources.value(part) {
                    Ok(bytes) => bytes.map(|bytes| self.shown(&bytes)),
                    Err(_ambiguous) => Some(SEVERAL.to_owned()),
                };
                findings.push(Finding {
                    what: "signed value",
                    place: part.to_string(),
                    found,
                    absence,
                });
            }
        }
        findings
    }

    /// What is signed of the request's line and of the URL: whoever signed may have had another.
    pub(super) fn signed_of_the_request(&self) -> Vec<String> {
        let mut known = Vec::new();
        for value in self.scheme.values() {
            let told = match value {
                Value::Method => format!("the method {}", self.request.method),
                Value::Url => {
                    let url = self.verifier.url.as_deref().unwrap_or_default();
                    let whole = places::public_url(url, self.request);
                    format!("the URL {}", self.shown(&whole))
                }
                Value::PathAndQuery => {
                    let path = self.request.path_and_query.as_bytes();
                    format!("the path and query {}", self.shown(path))
                }
                Value::Body
                | Value::Timestamp
                | Value::Id
                | Value::Secret
                | Value::KeyId
                | Value::Header(_)
                | Value::Query(_)
                | Value::Form(_)
                | Value::Json(_)
                | Value::Item(_)
                | Value::Config(_) => continue,
            };
            if !known.contains(&told) {
                known.push(told);
            }
        }
        known
    }

    /// The URL that is signed, where nothing in the request says that it was sent to that host.
    pub(super) fn url_of_another_host(&self) -> Option<String> {
        let url = self.verifier.url.as_deref()?;
        let is_signed = self.scheme.values().any(|value| *value == Value::Url);
        let is_named = other_urls::name_its_host(self.request.headers, url);
        (is_signed && !is_named).then(|| {
            let whole = places::public_url(url, self.request);
            self.shown(&whole)
        })
    }

    /// Whether the time or the id stands there.
    fn is_told_already(&self, part: &Value) -> bool {
        let time = self.verifier.profile.timestamp.as_ref();
        let mut places = time
            .map(|rule| &rule.place)
            .into_iter()
            .chain(&self.scheme.id);
        places.any(|place| match (place, part) {
            (Place::Header(names), Value::Header(name)) => names.contains(name),
            (Place::Item(own), Value::Item(key)) => own == key,
            (Place::Query(own), Value::Query(key)) => own == key,
            (
                Place::Header(_)
                | Place::Item(_)
                | Place::Query(_)
                | Place::Form(_)
                | Place::Json(_),
                _,
            ) => false,
        })
    }

    /// Whether the signature, or what it covers, stands in the request's URL.
    pub(super) fn reads_the_url(&self) -> bool {
        let time = self.verifier.profile.timestamp.as_ref();
        let places = time
            .map(|rule| &rule.place)
            .into_iter()
            .chain(&self.scheme.id);
        let mut places = places.chain([&self.scheme.place]);
        places.any(|place| matches!(place, Place::Query(_)))
            || self
                .scheme
                .values()
                .any(|value| matches!(value, Value::Query(_) | Value::PathAndQuery))
    }
}
