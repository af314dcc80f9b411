//! The search for what was done otherwise: the fewest of the usual mistakes that make a listed signature match.
//!
//! The work is bounded by what it hashes; that it was cut off is told.

use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;

use super::bodies::Bodies;
use super::candidates::Candidate;
use super::delivery::{Delivery, items};
use super::mistakes::Mistake;
use super::other_contents;
use super::other_urls::{self, Sent};
use super::ways_to_key::WayToKey;
use crate::signature::clock::TimestampRule;
use crate::signature::grammar::Items;
use crate::signature::places::{self, Place, Sources};
use crate::signature::profile::descriptor::TimeUnit;
use crate::signature::request::Request;
use crate::signature::template::{Template, Value};

/// How many bytes the search for the usual mistakes may hash.
pub(super) const SEARCH_BYTES_MAX: usize = 512 << 20;
/// How many things are done otherwise at once; more would be no usual mistake.
const MISTAKES_MAX: usize = 2;
/// Fewer digits are no time of today.
const TIME_DIGITS_MIN: usize = 9;
/// What an attempt costs beside its body, in bytes.
const ATTEMPT_BYTES: usize = 64;

/// What was found.
#[derive(Debug)]
pub(super) struct Search {
    /// The fewest mistakes that together make a listed signature match; `None` where none of the usual does.
    pub(super) mistakes: Option<Vec<Mistake>>,
    /// The reference of the secret with which they do.
    pub(super) secret: Option<Arc<str>>,
    /// Not everything was tried.
    pub(super) cut_off: bool,
}

/// Everything that could have been used, each with what was done otherwise; in each list the profile's own comes first.
struct Ways {
    keys: Vec<WayToKey>,
    bodies: Vec<(Option<Mistake>, Bytes)>,
    contents: Vec<(Option<Mistake>, Template)>,
    times: Vec<(Option<Mistake>, Option<String>)>,
    urls: Vec<(Vec<Mistake>, Option<String>, String)>,
}

/// One way in which the delivery may have been signed.
struct Attempt<'a> {
    key: &'a WayToKey,
    body: &'a [u8],
    content: &'a Template,
    time: Option<&'a str>,
    url: Option<&'a str>,
    path_and_query: &'a str,
}

impl Delivery<'_> {
    /// Those with fewer mistakes are tried first.
    pub(super) fn search(&self, bytes_max: usize) -> Search {
        let candidates = self.candidates();
        let (ways, mut cut_off) = self.ways();
        let items = items(self.scheme, &self.texts);
        let mut best: Option<Vec<Mistake>> = None;
        let mut secret = None;
        let mut left = bytes_max;
        for weight in 0..=MISTAKES_MAX {
            let is_better = |best: &Option<Vec<Mistake>>, count| {
                best.as_ref().is_none_or(|best| count < best.len())
            };
            if !is_better(&best, weight) {
                break;
            }
            let finished = ways.each(weight, &mut |attempt, mistakes| {
                let cost = attempt.body.len() + ATTEMPT_BYTES;
                if cost > left {
                    return false;
                }
                left -= cost;
                if let Some(found) = self.try_one(attempt, items.as_ref(), &candidates)
                    && is_better(&best, weight + found.len())
                {
                    best = Some(mistakes.iter().copied().cloned().chain(found).collect());
                    secret = Some(Arc::clone(&attempt.key.label));
                }
                is_better(&best, weight)
            });
            cut_off |= !finished && best.is_none();
        }
        Search {
            mistakes: best,
            secret,
            cut_off,
        }
    }

    fn try_one(
        &self,
        attempt: &Attempt<'_>,
        items: Option<&Items<'_>>,
        candidates: &[Candidate],
    ) -> Option<Vec<Mistake>> {
        let sources = Sources {
            request: &Request {
                path_and_query: attempt.path_and_query,
                ..*self.request
            },
            body: attempt.body,
            document: self.document,
            timestamp: attempt.time.map(str::as_bytes),
            id: self.id.as_deref(),
            items,
            url: attempt.url,
            values: &self.verifier.values,
            secret: attempt.key.secret.expose(),
            key: None,
        };
        let mut run = attempt.key.key.start();
        attempt
            .content
            .write(&sources, &mut |bytes| run.update(bytes))
            .ok()?;
        let finished = run.finish();
        // In another header, a digest that anybody can make is that header's own (Content-MD5, x-ms-content-sha256).
        let is_any_digest = attempt
            .key
            .mistakes
            .iter()
            .any(|mistake| matches!(mistake, Mistake::PlainDigest(_)))
            && !attempt.content.values().contains(&&Value::Secret);
        let right = candidates
            .iter()
            .filter(|candidate| !is_any_digest || candidate.stands_in_its_place())
            .filter_map(|candidate| candidate.mistakes(&finished, attempt.key.encoding));
        right.min_by_key(Vec::len)
    }

    /// Every way to sign that one of the secrets could have been used in, and whether some were left out.
    fn ways(&self) -> (Ways, bool) {
        let mut cut_off = false;
        let mut bodies = vec![(None, Bytes::copy_from_slice(self.body))];
        if !self.scheme.per_item {
            let others = Bodies::of(self.body);
            cut_off = others.cut_off;
            let named = |(mistake, body): (Option<_>, Vec<u8>)| {
                (mistake.map(Mistake::Body), Bytes::from(body))
            };
            bodies = others.all.into_iter().map(named).collect();
        }
        let own = self
            .scheme
            .contents
            .iter()
            .map(|content| (None, content.clone()));
        let has_url = self.verifier.url.is_some();
        let descriptor = self.verifier.profile.descriptor().signature.as_ref();
        let texts = descriptor.and_then(|signature| signature.content.as_ref());
        let texts = texts.as_slice();
        let others = other_contents::contents(
            texts.iter().flat_map(|texts| texts.iter()),
            self.time.is_some(),
            self.id.is_some(),
            has_url,
        );
        let whatever_shape = texts
            .iter()
            .flat_map(|texts| texts.iter().filter_map(of_any_shape));
        let whatever_shape: Vec<_> = whatever_shape.collect();
        let is_own = |content: &Template| {
            self.scheme.contents.contains(content) || whatever_shape.contains(content)
        };
        let others = others
            .into_iter()
            .filter(|(_, content)| !is_own(content))
            .map(|(text, content)| (Some(Mistake::Content(text)), content));
        // A value of another shape than the profile's is refused for that, and may be signed as it should be.
        let own = own.chain(whatever_shape.iter().map(|content| (None, content.clone())));
        let contents = own.chain(others).collect();
        let keys = self
            .verifier
            .secrets
            .iter()
            .flat_map(|secret| self.keys(secret));
        let ways = Ways {
            keys: keys.collect(),
            bodies,
            contents,
            times: self.times(),
            urls: self.urls(),
        };
        (ways, cut_off)
    }

    /// The timestamps that could have been signed.
    fn times(&self) -> Vec<(Option<Mistake>, Option<String>)> {
        let mut all = vec![(None, self.time.clone())];
        let Some(rule) = &self.verifier.profile.timestamp else {
            return all;
        };
        let Some(text) = self.time.as_deref() else {
            all.extend(self.time_elsewhere(rule).map(|time| (None, Some(time))));
            return all;
        };
        // What stands behind it belongs to the signature, as where other separators are used.
        let digits = text.find(|letter: char| !letter.is_ascii_digit());
        let digits = digits.and_then(|at| text.get(..at));
        if let Some(time) = digits.filter(|time| time.len() >= TIME_DIGITS_MIN) {
            all.push((None, Some(time.to_owned())));
        }
        let units = match text.len() {
            // Its size tells the unit, whatever the profile says.
            _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => vec![rule.unit],
            9..=11 => vec![TimeUnit::S],
            12..=14 => vec![TimeUnit::Ms],
            _ => Vec::new(),
        };
        let Some(stated) = units.iter().find_map(|unit| unit.read(text)) else {
            return all;
        };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number {
            Mistake::TimestampUnit
        } else {
            Mistake::TimestampForm
        };
        let others = [
            (&number, TimeUnit::S.written(stated)),
            (&number, TimeUnit::Ms.written(stated)),
            (&Mistake::TimestampForm, TimeUnit::Rfc3339.written(stated)),
            (&Mistake::TimestampForm, format!("{stated:.0}")),
        ];
        for (mistake, other) in others {
            if other != text {
                all.push((Some(mistake.clone()), Some(other)));
            }
        }
        // Who takes the time twice is seldom more than a second apart; of milliseconds no search would find the other.
        if units == [TimeUnit::S] {
            for other in [SignedDuration::from_secs(1), SignedDuration::from_secs(-1)] {
                let other = stated.checked_add(other).ok();
                let other = other.map(|other| TimeUnit::S.written(other));
                all.extend(other.map(|other| (Some(Mistake::TimestampTwice), Some(other))));
            }
        }
        all
    }

    /// A time that is an item of the signature, in a header that is not the profile's.
    fn time_elsewhere(&self, rule: &TimestampRule) -> Option<String> {
        let Place::Item(key) = &rule.place else {
            return None;
        };
        self.request.headers.values().find_map(|value| {
            let text = [value.to_str().ok()?];
            let items = Items::read(self.scheme.grammar, text.into_iter()).ok()?;
            let time = items.named(key).ok()??;
            rule.unit.read(time).map(|_| time.to_owned())
        })
    }

    /// The public URL, and the path and query, that could have been signed.
    fn urls(&self) -> Vec<(Vec<Mistake>, Option<String>, String)> {
        let path_and_query = self.request.path_and_query;
        let url = self.verifier.url.as_deref();
        let mut all = vec![(
            Vec::new(),
            url.map(str::to_owned),
            path_and_query.to_owned(),
        )];
        let named = |mistakes: Vec<_>| mistakes.into_iter().map(Mistake::Url).collect();
        if let Some(url) = url.filter(|_| self.scheme.needs_url()) {
            let whole = places::public_url(url, self.request);
            let whole = String::from_utf8_lossy(&whole);
            // The request adds nothing to a URL that is whole already.
            let sent = Sent {
                headers: self.request.headers,
                path_and_query,
            };
            for (mistakes, other) in other_urls::urls(&whole, sent) {
                // Of an origin alone the slash at its end is the request's.
                let is_root = other.matches('/').count() == 3 && other.ends_with('/');
                let path = if is_root { "/" } else { "" };
                all.push((named(mistakes), Some(other), path.to_owned()));
            }
        } else if self
            .scheme
            .values()
            .any(|value| *value == Value::PathAndQuery)
        {
            for (mistakes, other) in other_urls::paths(path_and_query) {
                all.push((named(mistakes), None, other));
            }
        }
        all
    }
}

impl Ways {
    /// Calls `each` for all that differ in as many things as `weight` says, until it returns false: false then.
    fn each<'a>(
        &'a self,
        weight: usize,
        each: &mut dyn FnMut(&Attempt<'a>, &[&'a Mistake]) -> bool,
    ) -> bool {
        // Of two that make the same bytes, that of the body is the usual one: it changes first.
        for key in &self.keys {
            for (time_mistake, time) in &self.times {
                for (url_mistakes, url, path_and_query) in &self.urls {
                    for (content_mistake, content) in &self.contents {
                        let around = url_mistakes.iter().chain(time_mistake);
                        let around = around.chain(content_mistake);
                        let around: Vec<_> = key.mistakes.iter().chain(around).collect();
                        if around.len() > weight || around.len() + 1 < weight {
                            continue;
                        }
                        for (body_mistake, body) in &self.bodies {
                            let mut mistakes = around.clone();
                            mistakes.extend(body_mistake);
                            if mistakes.len() != weight {
                                continue;
                            }
                            let attempt = Attempt {
                                key,
                                body,
                                content,
                                time: time.as_deref(),
                                url: url.as_deref(),
                                path_and_query,
                            };
                            if !each(&attempt, &mistakes) {
                                return false;
                            }
                        }
                    }
                }
            }
        }
        true
    }
}

/// A content without what its values must look like; `None` where it says nothing of that.
fn of_any_shape(text: &str) -> Option<Template> {
    const SHAPES: [&str; 2] = ["|is:", "|without:"];
    let mut whole = String::new();
    for part in text.split_inclusive('}') {
        let at = SHAPES.iter().filter_map(|shape| part.find(shape)).min();
        let bare = at.and_then(|at| part.get(..at));
        match bare.filter(|_| part.ends_with('}')) {
            Some(bare) => {
                whole.push_str(bare);
                whole.push('}');
            }
            None => whole.push_str(part),
        }
    }
    (whole != text)
        .then(|| Template::parse(&whole).ok())
        .flatten()
}
