//! Why a signature does not match: for the person who has the request, the body and the secret at hand.
//!
//! A pure function, which writes an [`Explanation`].

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use super::as_kept;
use super::delivery::Delivery;
use super::explanation::{Absence, Explanation, Finding, SEVERAL};
use super::other_credential;
use super::search::SEARCH_BYTES_MAX;
use super::shown::described;
use crate::signature::body::compressed::Compression;
use crate::signature::body::json::{self, Pointer};
use crate::signature::clock::TimestampRule;
use crate::signature::places::Place;
use crate::signature::profile::descriptor::TimeUnit;
use crate::signature::request::Request;
use crate::signature::scheme::Scheme;
use crate::signature::verifier::Verifier;
use crate::text::from_utf16;

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
        is_cut_off: false,
        is_in_utf16: from_utf16(body).is_some(),
        url_of_another_host: None,
        other_credential: None,
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
        explanation.is_cut_off = as_kept::is_cut_off(body);
    }
    explanation.other_credential = other_credential::of(verifier);
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

impl Delivery<'_> {
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
        explanation.url_of_another_host = self.url_of_another_host();
        explanation.contents = scheme
            .contents
            .iter()
            .filter_map(|content| self.content(content))
            .collect();
        let mut search = self.search(SEARCH_BYTES_MAX);
        if search.mistakes.is_none()
            && explanation.outcome.is_err()
            && let Some(otherwise) = self
                .search_otherwise()
                .or_else(|| self.with_key_and_content_exchanged())
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
}
