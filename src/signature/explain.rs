//! Why a signature does not match: for the person who has the request, the body and the secret at hand.
//!
//! A pure function. What it returns holds no secret and no signature, neither the one that was received nor the
//! one that would be right: only where things stand, how they are written, and what was signed.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::asked::{self, Asked, Place};
use super::delivery::{Request, SignatureRefusal};
use super::descriptor::{Encoding, MacKind, TimeUnit};
use super::grammar::Items;
use super::json;
use super::key::Key;
use super::mistakes::{self, Mistake};
use super::profile::TimestampRule;
use super::scheme::{Scheme, Variant};
use super::secrets::Prepared;
use super::shown::{MASK, described, escaped, masked};
use super::template::Template;
use super::verify::Verifier;

/// How many bytes the search for the usual mistakes may hash.
const SEARCH_BYTES_MAX: usize = 256 << 20;
/// How many things are done otherwise at once; more would be no usual mistake.
const MISTAKES_MAX: usize = 2;

/// The whole report.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What gate 3 says.
    pub outcome: Result<(), SignatureRefusal>,
    /// Which secret verified it.
    pub verified_by: Option<Arc<str>>,
    /// What the profile expects, where, and what is there.
    pub findings: Vec<Finding>,
    /// The exact signed content, escaped; several where the profile tries several forms. Empty when a part is absent.
    pub contents: Vec<String>,
    /// How far the stated time is from ours: positive when the delivery is old.
    pub age: Option<SignedDuration>,
    /// Whether some listed signature is right, whatever the time says.
    pub signature_is_right: bool,
    /// The time would be within the tolerance if it were read in the other unit.
    pub time_in_the_other_unit: bool,
    /// The fewest mistakes that together would make a listed signature match; empty when none of the usual does.
    pub mistakes: Vec<Mistake>,
}

impl Explanation {
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
}

/// Explains how `request` fares with `verifier`.
pub fn explain(
    verifier: &Verifier,
    request: &Request<'_>,
    body: &Bytes,
    now: Timestamp,
) -> Explanation {
    let proof = verifier.prove(request, body.clone(), now);
    let verified_by = proof.as_ref().ok().and_then(|proof| proof.secret.clone());
    let refused_item = proof
        .as_ref()
        .ok()
        .and_then(|proof| proof.items.iter().find_map(super::Item::refusal))
        .cloned();
    let outcome = match (proof, refused_item) {
        (Ok(_), Some(refusal)) | (Err(refusal), _) => Err(refusal),
        (Ok(_), None) => Ok(()),
    };
    let mut explanation = Explanation {
        outcome,
        verified_by,
        findings: Vec::new(),
        contents: Vec::new(),
        age: None,
        signature_is_right: false,
        time_in_the_other_unit: false,
        mistakes: Vec::new(),
    };
    let Some(scheme) = &verifier.profile.scheme else {
        return explanation;
    };
    let document = json::document(body).ok();
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
    explanation
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
struct Delivery<'a> {
    verifier: &'a Verifier,
    scheme: &'a Scheme,
    request: &'a Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
    texts: Vec<String>,
    time: Option<String>,
    id: Option<String>,
}

impl<'a> Delivery<'a> {
    fn read(
        verifier: &'a Verifier,
        scheme: &'a Scheme,
        request: &'a Request<'a>,
        body: &'a [u8],
        document: Option<&'a RawValue>,
    ) -> Self {
        let at = |place: &Place, all| {
            let texts = asked::texts(place, all, request, body, document).unwrap_or_default();
            texts
                .into_iter()
                .map(std::borrow::Cow::into_owned)
                .collect::<Vec<_>>()
        };
        let texts = at(&scheme.place, true);
        let time = verifier
            .profile
            .timestamp
            .as_ref()
            .and_then(|rule| match &rule.place {
                Place::Item(key) => items(scheme, &texts)?.named(key).ok()?.map(str::to_owned),
                place @ (Place::Header(_) | Place::Form(_) | Place::Json(_) | Place::Query(_)) => {
                    at(place, false).into_iter().next()
                }
            });
        let id = scheme
            .id
            .as_ref()
            .and_then(|place| at(place, false).into_iter().next());
        Self {
            verifier,
            scheme,
            request,
            body,
            document,
            texts,
            time,
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
        });
        if let Some(rule) = &verifier.profile.timestamp {
            let found = self.time.clone().map(|text| escaped(text.as_bytes()));
            explanation.findings.push(Finding {
                what: "timestamp",
                place: rule.place.to_string(),
                found,
            });
            self.judge_the_time(rule, explanation, now);
        }
        if let Some(place) = &scheme.id {
            let found = self.id.clone().map(|text| escaped(text.as_bytes()));
            explanation.findings.push(Finding {
                what: "delivery id",
                place: place.to_string(),
                found,
            });
        }
        explanation.contents = scheme
            .contents
            .iter()
            .filter_map(|content| self.content(content))
            .collect();
        match self.mistakes() {
            Some(mistakes) => {
                explanation.signature_is_right = mistakes.is_empty();
                explanation.mistakes = mistakes;
            }
            None => explanation.signature_is_right = explanation.outcome.is_ok(),
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
            TimeUnit::Rfc3339 | TimeUnit::HttpDate => return,
        };
        let otherwise = other.read(text).is_some_and(within);
        explanation.time_in_the_other_unit = otherwise && !own.is_some_and(within);
    }

    /// What was signed, with the secret masked where it is a part of it.
    fn content(&self, content: &Template) -> Option<String> {
        let items = items(self.scheme, &self.texts);
        let mut bytes = Vec::new();
        let asked = self.asked(self.body, self.time.as_deref(), items.as_ref(), MASK);
        content
            .write(&asked, &mut |piece| bytes.extend_from_slice(piece))
            .ok()?;
        // A body may hold it as well.
        for secret in &self.verifier.secrets {
            bytes = masked(&bytes, secret.shown.expose());
        }
        Some(escaped(&bytes))
    }

    fn asked<'b>(
        &'b self,
        body: &'b [u8],
        time: Option<&'b str>,
        items: Option<&'b Items<'b>>,
        secret: &'b [u8],
    ) -> Asked<'b> {
        Asked {
            request: self.request,
            body,
            document: self.document,
            timestamp: time,
            id: self.id.as_deref(),
            items,
            url: self.verifier.url.as_deref(),
            values: &self.verifier.values,
            secret,
            key: None,
        }
    }

    /// The fewest mistakes that make a signature match. Those with fewer are tried first.
    fn mistakes(&self) -> Option<Vec<Mistake>> {
        let candidates = self.candidates();
        let mut attempts = self.attempts();
        attempts.sort_by_key(Attempt::weight);
        let affordable = SEARCH_BYTES_MAX / (self.body.len() + 64);
        let items = items(self.scheme, &self.texts);
        let mut best: Option<Vec<Mistake>> = None;
        for attempt in attempts.iter().take(affordable) {
            if best
                .as_ref()
                .is_some_and(|best| best.len() <= attempt.weight())
            {
                break;
            }
            let Some(found) = self.try_one(attempt, items.as_ref(), &candidates) else {
                continue;
            };
            let mut all = attempt.mistakes.clone();
            all.extend(found);
            if best.as_ref().is_none_or(|best| all.len() < best.len()) {
                best = Some(all);
            }
        }
        best
    }

    fn try_one(
        &self,
        attempt: &Attempt,
        items: Option<&Items<'_>>,
        candidates: &[Candidate],
    ) -> Option<Vec<Mistake>> {
        let asked = self.asked(
            &attempt.body,
            attempt.time.as_deref(),
            items,
            attempt.secret.expose(),
        );
        let mut run = attempt.key.start();
        attempt
            .content
            .write(&asked, &mut |bytes| run.update(bytes))
            .ok()?;
        let finished = run.finish();
        let right = candidates
            .iter()
            .filter(|candidate| bool::from(finished.matches(&candidate.bytes)));
        right
            .map(|candidate| candidate.mistakes(attempt.encoding))
            .min_by_key(Vec::len)
    }

    /// Every way to sign that one of the secrets could have been used in.
    fn attempts(&self) -> Vec<Attempt> {
        let bodies = if self.scheme.per_item {
            vec![(None, self.body.to_vec())]
        } else {
            mistakes::bodies(self.body)
        };
        let bodies: Vec<_> = bodies
            .into_iter()
            .map(|(mistake, body)| (mistake, Bytes::from(body)))
            .collect();
        let own = self
            .scheme
            .contents
            .iter()
            .map(|content| (None, content.clone()));
        let others = mistakes::contents(self.time.is_some(), self.id.is_some()).into_iter();
        let others = others.filter(|(_, content)| !self.scheme.contents.contains(content));
        let others = others.map(|(text, content)| (Some(Mistake::Content(text)), content));
        let contents: Vec<_> = own.chain(others).collect();
        let mut times = vec![(None, self.time.clone())];
        times.extend(
            self.time
                .as_deref()
                .and_then(other_unit)
                .map(|time| (Some(Mistake::TimestampUnit), Some(time))),
        );
        let mut attempts = Vec::new();
        for secret in &self.verifier.secrets {
            for (key_mistake, shown, key, encoding) in self.prepared(secret) {
                for (body_mistake, body) in &bodies {
                    for (content_mistake, content) in &contents {
                        for (time_mistake, time) in &times {
                            let body_mistake = body_mistake.map(Mistake::Body);
                            let all = key_mistake.iter().cloned().chain(body_mistake);
                            let all = all
                                .chain(content_mistake.clone())
                                .chain(time_mistake.clone());
                            let all: Vec<_> = all.collect();
                            if all.len() > MISTAKES_MAX {
                                continue;
                            }
                            attempts.push(Attempt {
                                mistakes: all,
                                key: key.clone(),
                                secret: shown.clone(),
                                body: body.clone(),
                                time: time.clone(),
                                content: content.clone(),
                                encoding,
                            });
                        }
                    }
                }
            }
        }
        attempts
    }

    /// The keys that could have been made of one secret, each with what was done otherwise.
    fn prepared(
        &self,
        secret: &Prepared,
    ) -> Vec<(Vec<Mistake>, crate::secret::Secret, Key, Encoding)> {
        let Some(variant) = self.scheme.variants().nth(secret.variant) else {
            return Vec::new();
        };
        let Variant {
            key,
            mac,
            encoding,
            strip_prefix,
            algorithm,
            ..
        } = variant;
        let mut all = Vec::new();
        for own in algorithm.possible() {
            for other in mistakes::algorithms(*own) {
                let named = (other != *own).then_some(Mistake::Algorithm(other));
                for (mistake, shown, form, prefix) in
                    mistakes::keys(&secret.shown, *key, strip_prefix.as_deref())
                {
                    if *mac == MacKind::Hash && mistake.is_some() {
                        continue;
                    }
                    let Ok(key) = Key::prepare(&shown, form, prefix.as_deref(), *mac, other) else {
                        continue;
                    };
                    let made = mistake
                        .map(Mistake::Key)
                        .into_iter()
                        .chain(named.clone())
                        .collect();
                    all.push((made, shown, key, *encoding));
                }
            }
        }
        all
    }

    /// Whatever in the headers (or at the signature's own place) could be a signature, in any writing.
    fn candidates(&self) -> Vec<Candidate> {
        let own = self.texts.iter().map(|text| (None, text.as_str()));
        let is_own = |name: &http::HeaderName| matches!(&self.scheme.place, Place::Header(names) if names.contains(name));
        let others = self
            .request
            .headers
            .iter()
            .filter(|(name, _)| !is_own(name));
        let others =
            others.filter_map(|(name, value)| Some((Some(name.clone()), value.to_str().ok()?)));
        let mut candidates = Vec::new();
        for (header, text) in own.chain(others) {
            for piece in pieces(text) {
                for encoding in [
                    Encoding::Hex,
                    Encoding::Base64,
                    Encoding::Base64url,
                    Encoding::Base64OfHex,
                ] {
                    if let Some(bytes) = encoding.decode(piece).filter(|bytes| bytes.len() >= 16) {
                        candidates.push(Candidate {
                            header: header.clone(),
                            encoding,
                            bytes: bytes.to_vec(),
                        });
                    }
                }
            }
        }
        candidates
    }
}

/// One way in which the delivery may have been signed.
struct Attempt {
    mistakes: Vec<Mistake>,
    key: Key,
    secret: crate::secret::Secret,
    body: Bytes,
    time: Option<String>,
    content: Template,
    encoding: Encoding,
}

impl Attempt {
    fn weight(&self) -> usize {
        self.mistakes.len()
    }
}

/// A text that may be a signature.
struct Candidate {
    header: Option<http::HeaderName>,
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Candidate {
    fn mistakes(&self, expected: Encoding) -> Vec<Mistake> {
        let written = (self.encoding != expected).then_some(Mistake::Encoding(self.encoding));
        written
            .into_iter()
            .chain(self.header.clone().map(Mistake::Header))
            .collect()
    }
}

fn items<'a>(scheme: &Scheme, texts: &'a [String]) -> Option<Items<'a>> {
    Items::read(scheme.grammar, texts.iter().map(String::as_str)).ok()
}

/// A text, and what stands behind each separator in it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for item in text.split([',', ';', '&', ' ']).chain([text]) {
        let item = item.trim().trim_matches('"');
        pieces.push(item);
        let behind = item
            .char_indices()
            .filter(|(_, letter)| matches!(letter, '=' | ',' | '|' | '/' | ':'));
        pieces.extend(behind.filter_map(|(at, letter)| item.get(at + letter.len_utf8()..)));
    }
    pieces.sort_unstable();
    pieces.dedup();
    pieces.retain(|piece| piece.len() >= 16);
    pieces.truncate(super::grammar::ITEMS_MAX * 4);
    pieces
}

fn other_unit(time: &str) -> Option<String> {
    if !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match time.len() {
        9..=11 => Some(format!("{time}000")),
        12..=14 => time.get(..time.len() - 3).map(str::to_owned),
        _ => None,
    }
}
