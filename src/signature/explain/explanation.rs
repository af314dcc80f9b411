//! Why a signature does not match: for the person who has the request, the body and the secret at hand.
//!
//! A pure function. What it returns holds no secret and no signature, neither the one that was received nor the
//! one that would be right: only where things stand, how they are written, and what was signed.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serde_json::value::RawValue;

use super::mistakes::Mistake;
use super::other_keys::surrounded;
use super::search::SEARCH_BYTES_MAX;
use super::shown::{MASK, SIGNATURE_MASK, described, escaped, masked};
use crate::signature::body::compressed::Compression;
use crate::signature::body::json::{self, Pointer};
use crate::signature::clock::TimestampRule;
use crate::signature::grammar::Items;
use crate::signature::places::{self, Place, Sources};
use crate::signature::profile::descriptor::TimeUnit;
use crate::signature::refusal::SignatureRefusal;
use crate::signature::request::Request;
use crate::signature::scheme::Scheme;
use crate::signature::template::Template;
use crate::signature::verify::Verifier;

pub(super) const SEVERAL: &str = "there are several, of which none counts";

/// The whole report.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What gate 3 says.
    pub outcome: Result<(), SignatureRefusal>,
    /// Which secret verified it.
    pub verified_by: Option<Arc<str>>,
    /// What the profile expects, where, and what is there.
    pub findings: Vec<Finding>,
    /// Nothing is signed by this profile: the connection is the only proof.
    pub nothing_is_signed: bool,
    /// The exact signed content, escaped; several where the profile tries several forms. Empty when a part is absent, or stands twice.
    pub contents: Vec<String>,
    /// How far the stated time is from ours: positive when the delivery is old.
    pub age: Option<SignedDuration>,
    /// Whether some listed signature is right, whatever the time says.
    pub signature_is_right: bool,
    /// The time would be within the tolerance if it were read in the other unit.
    pub time_in_the_other_unit: bool,
    /// The fewest mistakes that together would make a listed signature match; empty when none of the usual does.
    pub mistakes: Vec<Mistake>,
    /// The secret with which they do, where there are several.
    pub mistaken_secret: Option<Arc<str>>,
    /// Not every usual mistake was tried: there were too many bytes to hash.
    pub search_was_cut_off: bool,
    /// The profile's deliveries are lists of events, signed as a whole, and this is none: perhaps one of its events.
    pub is_no_batch: bool,
    /// The body seems to have been compressed, or unpacked, after it was signed.
    pub compression: Option<Compression>,
    /// A part of the URL is signed, and no URL was given: [`Request::path_and_query`] is empty.
    pub url_is_missing: bool,
    /// The signature's place is there, with nothing in it.
    pub signature_is_empty: bool,
    /// What is signed of the request's line and of the URL, as it is known here.
    pub signed_of_the_request: Vec<String>,
    /// The length that the headers state for the body, where it is another than the body's.
    pub stated_length: Option<u64>,
}

impl Explanation {
    /// What is expected and stands there more than once, so that none of it counts.
    pub fn repeated(&self) -> impl Iterator<Item = &Finding> {
        let is_repeated = |found: &&Finding| found.found.as_deref() == Some(SEVERAL);
        self.findings.iter().filter(is_repeated)
    }

    /// Whether nothing but the time of signing is wrong.
    pub fn is_refused_for_its_time(&self) -> bool {
        matches!(
            self.outcome,
            Err(SignatureRefusal::TimestampOutsideTolerance { .. })
        )
    }
}

/// One thing that the profile expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// Where it must stand.
    pub place: String,
    /// What is there, described; `None` when nothing is.
    pub found: Option<String>,
    /// What it means if nothing is.
    pub absence: Absence,
}

/// What it means that nothing stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was not sent, or was taken away on the way here.
    Lost,
    /// Whoever wrote the signature left it out.
    Unwritten,
    /// Nothing by itself: what is signed leaves it out as well.
    Allowed,
}

/// Explains how `request` fares with `verifier`.
pub fn explain(
    verifier: &Verifier,
    request: &Request<'_>,
    body: &Bytes,
    now: Timestamp,
) -> Explanation {
    let batch = one_of_a_batch(verifier, body);
    let body = batch.as_ref().unwrap_or(body);
    let url_is_unknown = request.path_and_query.is_empty();
    let root = Request {
        path_and_query: "/",
        ..*request
    };
    let request = if url_is_unknown { &root } else { request };
    let proof = verifier.prove(request, body.clone(), now);
    let verified_by = proof.as_ref().ok().and_then(|proof| proof.secret.clone());
    let refused_item = proof
        .as_ref()
        .ok()
        .and_then(|proof| proof.items.iter().find_map(crate::signature::Item::refusal))
        .cloned();
    let outcome = match (proof, refused_item) {
        (Ok(_), Some(refusal)) | (Err(refusal), _) => Err(refusal),
        (Ok(_), None) => Ok(()),
    };
    let mut explanation = Explanation {
        outcome,
        verified_by,
        findings: Vec::new(),
        nothing_is_signed: verifier.profile.scheme.is_none(),
        contents: Vec::new(),
        age: None,
        signature_is_right: false,
        time_in_the_other_unit: false,
        mistakes: Vec::new(),
        mistaken_secret: None,
        search_was_cut_off: false,
        is_no_batch: false,
        compression: Compression::of(request.headers, body),
        url_is_missing: false,
        signature_is_empty: false,
        signed_of_the_request: Vec::new(),
        stated_length: None,
    };
    let Some(scheme) = &verifier.profile.scheme else {
        return explanation;
    };
    let document = json::document(body).ok();
    let list = verifier.profile.batch.as_ref().zip(document);
    explanation.is_no_batch = list.is_some_and(|(batch, document)| {
        !scheme.per_item && matches!(batch.elements(document), Ok(None))
    });
    // Where each item bears its signature, the first one that was refused is what the question is about.
    let element = scheme
        .per_item
        .then(|| refused_element(verifier, scheme, request, document, now))
        .flatten();
    let (bytes, document) = match element {
        Some(element) => (element.get().as_bytes(), Some(element)),
        None => (&**body, document),
    };
    let delivery = Delivery::read(verifier, scheme, request, bytes, document);
    delivery.fill(&mut explanation, now);
    if batch.is_none() {
        explanation.stated_length = another_length(request, body);
    }
    if url_is_unknown && delivery.reads_the_url() && !explanation.signature_is_right {
        explanation.url_is_missing = true;
        explanation.contents.clear();
    }
    explanation
}

/// What `Content-Length` says, if it is not the length of the body.
fn another_length(request: &Request<'_>, body: &Bytes) -> Option<u64> {
    let stated = request.headers.get(http::header::CONTENT_LENGTH)?;
    let stated = stated.to_str().ok()?.trim().parse::<u64>().ok()?;
    (u64::try_from(body.len()) != Ok(stated)).then_some(stated)
}

/// The batch around an element that stands alone, as the store keeps it: its signature stands in itself.
fn one_of_a_batch(verifier: &Verifier, body: &[u8]) -> Option<Bytes> {
    let scheme = verifier.profile.scheme.as_ref()?;
    let batch = verifier.profile.batch.as_ref()?;
    let document = json::document(body).ok()?;
    let Place::Json(signature) = &scheme.place else {
        return None;
    };
    let is_an_element = scheme.per_item
        && matches!(batch.elements(document), Ok(None))
        && matches!(signature.find(document), Ok(Some(_)));
    let inner = wrapped(&batch.element_text(), document.get().to_owned())?;
    let whole = wrapped(&batch.list_text(), format!("[{inner}]"))?;
    is_an_element.then(|| whole.into())
}

/// The objects around a value that stands where the pointer says; its own bytes stay what they are.
fn wrapped(pointer: &str, value: String) -> Option<String> {
    let pointer = Pointer::parse(pointer).ok()?;
    let names = pointer.tokens().iter().rev().map(AsRef::<str>::as_ref);
    let around = |inner, name: &str| format!("{{{}:{inner}}}", Value::from(name));
    Some(names.fold(value, around))
}

fn refused_element<'a>(
    verifier: &Verifier,
    scheme: &Scheme,
    request: &Request<'a>,
    document: Option<&'a RawValue>,
    now: Timestamp,
) -> Option<&'a RawValue> {
    let elements = verifier
        .profile
        .batch
        .as_ref()?
        .elements(document?)
        .ok()??;
    let refused = |element: &&RawValue| {
        verifier
            .matched(
                scheme,
                request,
                element.get().as_bytes(),
                Some(element),
                now,
            )
            .is_err()
    };
    elements
        .iter()
        .copied()
        .find(refused)
        .or_else(|| elements.first().copied())
}

/// A delivery, read as leniently as possible.
pub(super) struct Delivery<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) scheme: &'a Scheme,
    pub(super) request: &'a Request<'a>,
    pub(super) body: &'a [u8],
    pub(super) document: Option<&'a RawValue>,
    pub(super) texts: Vec<String>,
    pub(super) time: Option<String>,
    /// The time is an item that stands twice, so that none of them counts.
    time_is_repeated: bool,
    pub(super) id: Option<String>,
}

impl<'a> Delivery<'a> {
    pub(super) fn read(
        verifier: &'a Verifier,
        scheme: &'a Scheme,
        request: &'a Request<'a>,
        body: &'a [u8],
        document: Option<&'a RawValue>,
    ) -> Self {
        let texts = places::texts(&scheme.place, true, request, body, document);
        let texts = texts.unwrap_or_default().into_iter();
        let texts = texts.map(std::borrow::Cow::into_owned).collect();
        Self::of(verifier, scheme, request, body, document, texts)
    }

    /// The same delivery, with other texts in the signature's place.
    pub(super) fn with_texts(&self, texts: Vec<String>) -> Self {
        let Self {
            verifier,
            scheme,
            request,
            body,
            document,
            ..
        } = *self;
        Self::of(verifier, scheme, request, body, document, texts)
    }

    fn of(
        verifier: &'a Verifier,
        scheme: &'a Scheme,
        request: &'a Request<'a>,
        body: &'a [u8],
        document: Option<&'a RawValue>,
        texts: Vec<String>,
    ) -> Self {
        let at = |place: &Place| {
            let texts = places::texts(place, false, request, body, document).unwrap_or_default();
            texts.into_iter().next().map(std::borrow::Cow::into_owned)
        };
        let first = |place: &Place| match place {
            Place::Item(key) => items(scheme, &texts)?.named(key).ok()?.map(str::to_owned),
            place @ (Place::Header(_) | Place::Form(_) | Place::Json(_) | Place::Query(_)) => {
                at(place)
            }
        };
        let time = verifier.profile.timestamp.as_ref();
        let repeated = |rule: &TimestampRule| match &rule.place {
            Place::Item(key) => items(scheme, &texts).is_some_and(|all| all.named(key).is_err()),
            Place::Header(_) | Place::Form(_) | Place::Json(_) | Place::Query(_) => false,
        };
        let time_is_repeated = time.is_some_and(repeated);
        let time = time.and_then(|rule| first(&rule.place));
        let id = scheme.id.as_ref().and_then(first);
        Self {
            verifier,
            scheme,
            request,
            body,
            document,
            texts,
            time,
            time_is_repeated,
            id,
        }
    }

    fn fill(&self, explanation: &mut Explanation, now: Timestamp) {
        let Self {
            scheme, verifier, ..
        } = self;
        let signatures = self
            .texts
            .iter()
            .map(|text| described(text))
            .collect::<Vec<_>>()
            .join("; ");
        let found = (!self.texts.is_empty()).then_some(signatures);
        explanation.findings.push(Finding {
            what: "signature",
            place: scheme.place.to_string(),
            found,
            // Nothing on the way takes a field out of a body.
            absence: match scheme.place {
                Place::Header(_) => Absence::Lost,
                Place::Form(_) | Place::Json(_) | Place::Query(_) | Place::Item(_) => {
                    Absence::Unwritten
                }
            },
        });
        let is_empty = |text: &String| text.trim().is_empty();
        explanation.signature_is_empty = !self.texts.is_empty() && self.texts.iter().all(is_empty);
        explanation.findings.extend(self.algorithm());
        if let Some(rule) = &verifier.profile.timestamp {
            let found = self.time.as_ref().map(|text| self.shown(text.as_bytes()));
            let found = found.or_else(|| self.time_is_repeated.then(|| SEVERAL.to_owned()));
            explanation.findings.push(Finding {
                what: "timestamp",
                place: rule.place.to_string(),
                found,
                absence: Absence::Lost,
            });
            self.judge_the_time(rule, explanation, now);
        }
        if let Some(place) = &scheme.id {
            let found = self.id.as_ref().map(|text| self.shown(text.as_bytes()));
            explanation.findings.push(Finding {
                what: "delivery id",
                place: place.to_string(),
                found,
                absence: Absence::Lost,
            });
        }
        explanation.findings.extend(self.signed_around());
        explanation.signed_of_the_request = self.signed_of_the_request();
        explanation.contents = scheme
            .contents
            .iter()
            .filter_map(|content| self.content(content))
            .collect();
        let mut search = self.search(SEARCH_BYTES_MAX);
        if search.mistakes.is_none()
            && explanation.outcome.is_err()
            && let Some(otherwise) = self.search_otherwise()
        {
            search = otherwise;
        }
        match search.mistakes {
            Some(mistakes) => {
                explanation.signature_is_right = mistakes.is_empty();
                explanation.mistaken_secret = search
                    .secret
                    .filter(|_| !mistakes.is_empty() && verifier.secrets.len() > 1);
                explanation.mistakes = mistakes;
            }
            None => {
                explanation.signature_is_right = explanation.outcome.is_ok();
                explanation.search_was_cut_off = search.cut_off && explanation.outcome.is_err();
            }
        }
    }

    fn judge_the_time(&self, rule: &TimestampRule, explanation: &mut Explanation, now: Timestamp) {
        let Some(text) = self.time.as_deref() else {
            return;
        };
        let own = rule.unit.read(text);
        explanation.age = own.map(|sent| now.duration_since(sent));
        let within = |sent: Timestamp| rule.check(sent, self.verifier.tolerance, now).is_ok();
        let other = match rule.unit {
            TimeUnit::S => TimeUnit::Ms,
            TimeUnit::Ms | TimeUnit::SOrMs => TimeUnit::S,
            TimeUnit::Rfc3339 | TimeUnit::HttpDate | TimeUnit::DatetimeMsOrS => return,
        };
        let otherwise = other.read(text).is_some_and(within);
        explanation.time_in_the_other_unit = otherwise && !own.is_some_and(within);
    }

    /// What was signed, with the secret masked where it is a part of it.
    fn content(&self, content: &Template) -> Option<String> {
        let items = items(self.scheme, &self.texts);
        let mut bytes = Vec::new();
        let sources = self.sources(items.as_ref());
        content
            .write(&sources, &mut |piece| bytes.extend_from_slice(piece))
            .ok()?;
        Some(self.shown(&bytes))
    }

    pub(super) fn sources<'b, 'i>(&'b self, items: Option<&'b Items<'i>>) -> Sources<'b, 'i> {
        Sources {
            request: self.request,
            body: self.body,
            document: self.document,
            timestamp: self.time.as_deref().map(str::as_bytes),
            id: self.id.as_deref(),
            items,
            url: self.verifier.url.as_deref(),
            values: &self.verifier.values,
            secret: MASK,
            key: None,
        }
    }

    /// A text of the request as one line, without any secret or signature that it may hold.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        let mut bytes = bytes.to_vec();
        for secret in &self.verifier.secrets {
            bytes = masked(&bytes, secret.shown.expose(), MASK);
            if let Some((_, inner)) = surrounded(secret.shown.expose()) {
                bytes = masked(&bytes, inner, MASK);
            }
        }
        for signature in self.withheld() {
            bytes = masked(&bytes, signature.as_bytes(), SIGNATURE_MASK);
        }
        escaped(&bytes)
    }
}

pub(super) fn items<'a>(scheme: &Scheme, texts: &'a [String]) -> Option<Items<'a>> {
    Items::read(scheme.grammar, texts.iter().map(String::as_str)).ok()
}
