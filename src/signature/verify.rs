//! Verifying: the raw bytes, every listed signature, every active secret, in constant time.
//!
//! The order of refusals tells a stranger nothing about what is right: what is missing, then what cannot be
//! read, then the stated time (which needs no secret to judge, and spares the work on a replayed body), then the
//! signature. Only after it held is the body read for what it tells.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::body::document::NotAnObject;
use super::body::json::{self, JsonFault};
use super::challenge::ChallengeAnswer;
use super::clock::TimestampRule;
use super::delivery::{Item, ItemVerdict, Proof, ShadowSecret, VerifiedDelivery};
use super::grammar::Items;
use super::listing::Listing;
use super::places::Place;
use super::places::{self, Sources};
use super::profile::algorithm::Algorithm;
use super::refusal::SignatureRefusal;
use super::request::Request;
use super::scheme::{AlgorithmRule, Scheme};
use super::secrets::Prepared;
use super::verifier::Verifier;
use crate::identity::{Force, Identified};

/// The longest delivery id, in bytes.
const ID_BYTES_MAX: usize = 512;

/// The secret that verified, what the watching ones would have said, and what else the signature covers.
pub(super) struct Matched<'v, 'a> {
    secret: &'v Prepared,
    shadows: Vec<ShadowSecret>,
    signed_at: Option<Timestamp>,
    id: Option<Cow<'a, str>>,
}

impl Verifier {
    /// Opens gate 3, or says why not. `now` is our clock.
    pub fn verify<'a>(
        &self,
        from: Identified,
        request: &Request<'a>,
        body: Bytes,
        now: Timestamp,
    ) -> Result<VerifiedDelivery<'a>, SignatureRefusal> {
        let proof = self.prove(request, body, now)?;
        let readings = &self.profile.mapping.readings;
        Ok(VerifiedDelivery::new(from, request, readings, proof))
    }

    /// Whether the signature holds, and by which secret. It opens no gate: for measuring, and for tools.
    pub fn check(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<Option<&Arc<str>>, SignatureRefusal> {
        let Some(scheme) = &self.profile.scheme else {
            return Ok(None);
        };
        if scheme.per_item {
            let matched = self.prove(request, body.clone(), now)?.secret;
            let mut labels = self.secrets.iter().map(|secret| &secret.label);
            return Ok(labels.find(|label| Some(*label) == matched.as_ref()));
        }
        let document = self.document(scheme, body)?;
        // What else was found out is not moved, which would cost as much as to read the headers.
        match self.matched(scheme, request, body, document, now) {
            Ok(Matched { secret, .. }) => Ok(Some(&secret.label)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether [`Verifier::verify`] would open gate 3: for a producer that only watches.
    pub fn would_open(
        &self,
        request: &Request<'_>,
        body: Bytes,
        now: Timestamp,
    ) -> Result<(), SignatureRefusal> {
        self.prove(request, body, now).map(drop)
    }

    /// The answer to an unsigned `GET` challenge; `None` if the request is none.
    pub fn answer_challenge(&self, request: &Request<'_>) -> Option<ChallengeAnswer> {
        let get = http::Method::GET;
        (*request.method == get).then(|| self.challenge(request, b"", None, None))?
    }

    pub(super) fn prove(
        &self,
        request: &Request<'_>,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Proof, SignatureRefusal> {
        let Some(scheme) = &self.profile.scheme else {
            let challenge = self.challenge(request, &body, None, None);
            let items = self.items_unless(challenge.as_ref(), request, &body)?;
            return Ok(Proof {
                items,
                signed_at: None,
                id: None,
                secret: None,
                shadows: Vec::new(),
                challenge,
            });
        };
        let document = self.document(scheme, &body)?;
        if scheme.per_item {
            return self.prove_each(scheme, request, &body, document, now);
        }
        let matched = self.matched(scheme, request, &body, document, now)?;
        let challenge = self.challenge(request, &body, document, Some(matched.secret));
        let items = self.items_unless(challenge.as_ref(), request, &body)?;
        Ok(Proof {
            items,
            signed_at: matched.signed_at,
            id: matched.id.map(Into::into),
            secret: Some(Arc::clone(&matched.secret.label)),
            shadows: matched.shadows,
            challenge,
        })
    }

    /// Each item bears its own signature: one that does not hold never hides another, nor lets one pass.
    fn prove_each(
        &self,
        scheme: &Scheme,
        request: &Request<'_>,
        body: &Bytes,
        document: Option<&RawValue>,
        now: Timestamp,
    ) -> Result<Proof, SignatureRefusal> {
        let each = self.profile.batch.as_ref();
        let elements = each
            .zip(document)
            .map(|(each, document)| each.elements(document));
        let elements = match elements.transpose() {
            Ok(elements) => elements.flatten().unwrap_or_default(),
            Err(fault) => return Err(malformed(&told(fault))),
        };
        let mut items = Vec::with_capacity(elements.len());
        let mut first_refusal = None;
        let mut secret = None;
        let mut shadows: Vec<ShadowSecret> = Vec::new();
        for element in elements {
            let slice = body.slice_ref(element.get().as_bytes());
            let told = self
                .matched(scheme, request, &slice, Some(element), now)
                .and_then(|matched| Ok((matched, self.told_by(request, &slice)?)));
            let verdict = match told {
                Ok((matched, told)) => {
                    if secret.is_none() {
                        secret = Some(matched.secret);
                        shadows = matched.shadows;
                    } else {
                        // By itself it would have verified the delivery only if it verifies whatever was believed of it.
                        for (all, one) in shadows.iter_mut().zip(matched.shadows) {
                            all.matches &= one.matches;
                        }
                    }
                    ItemVerdict::Verified(told)
                }
                Err(refusal) => {
                    first_refusal.get_or_insert_with(|| refusal.clone());
                    ItemVerdict::Refused(refusal)
                }
            };
            items.push(Item {
                body: slice,
                verdict,
            });
        }
        let Some(secret) = secret else {
            let nothing = SignatureRefusal::Missing {
                what: "an item with a signature".to_owned(),
            };
            return Err(first_refusal.unwrap_or(nothing));
        };
        Ok(Proof {
            items,
            signed_at: None,
            id: None,
            secret: Some(Arc::clone(&secret.label)),
            shadows,
            challenge: None,
        })
    }

    /// Finds the secret for which one of the listed signatures is right.
    pub(super) fn matched<'a>(
        &self,
        scheme: &Scheme,
        request: &Request<'a>,
        body: &'a [u8],
        document: Option<&'a RawValue>,
        now: Timestamp,
    ) -> Result<Matched<'_, 'a>, SignatureRefusal> {
        let too_long = |_too_many| malformed("the signature is longer than anyone's is");
        let elsewhere;
        let mut items = Items::new(scheme.grammar);
        if let Place::Header(names) = &scheme.place {
            let take = |text| items.add(text).map_err(too_long);
            places::each_in_headers(names, scheme.all, request.headers, take)?;
        } else {
            elsewhere = places::text(&scheme.place, request, body, document)?;
            if let Some(text) = &elsewhere {
                items.add(text.as_bytes()).map_err(too_long)?;
            }
        }
        if items.is_empty() {
            return Err(missing("the signature"));
        }
        let rule = self.profile.timestamp.as_ref();
        let time = match rule {
            Some(rule) => Some(stated(rule, request, body, document, &items)?),
            None => None,
        };
        let id = match &scheme.id {
            Some(place) if scheme.signs_the_id => {
                Some(delivery_id(place, request, body, document, &items)?)
            }
            Some(_) | None => None,
        };
        let mut listed = Listing::default();
        self.list(scheme, &items, &mut listed)?;
        if let (Some(rule), Some((_, sent))) = (rule, &time) {
            rule.check(*sent, self.tolerance, now)?;
        }
        let mut sources = Sources {
            request,
            body,
            document,
            timestamp: time.as_ref().map(|(text, _)| &**text),
            id: id.as_deref(),
            items: Some(&items),
            url: self.url.as_deref(),
            values: &self.values,
            secret: b"",
            key: None,
        };
        let mut shadows = Vec::new();
        let secret = self.compare(scheme, &listed, &mut sources, &mut shadows)?;
        Ok(Matched {
            secret,
            shadows,
            signed_at: time.map(|(_, sent)| sent),
            id,
        })
    }

    /// Lists the signatures that may be right: decoded, of a variant that the scheme knows, and as long as its algorithm's are.
    fn list(
        &self,
        scheme: &Scheme,
        items: &Items<'_>,
        listed: &mut Listing,
    ) -> Result<(), SignatureRefusal> {
        let key_id = self.values.get("key_id").map(String::as_str);
        let mut any_text = false;
        for (at, variant) in scheme.variants().enumerate() {
            let algorithm = match &variant.algorithm {
                AlgorithmRule::Fixed(algorithm) => *algorithm,
                AlgorithmRule::ByItem { item, allow } => {
                    let named = items
                        .named(item)
                        .map_err(|_several| malformed("the algorithm is named twice"))?;
                    let named = named.ok_or_else(|| malformed("it names no algorithm"))?;
                    let named = Algorithm::named(named).filter(|named| allow.contains(named));
                    named.ok_or_else(|| {
                        malformed("the algorithm that it names is none that is allowed")
                    })?
                }
            };
            let length = algorithm.signature_bytes();
            items.each_signature(&variant.pick, variant.encoding, key_id, |text| {
                any_text = true;
                listed.add(at, algorithm, |signature| {
                    let read = signature.read(text, variant.encoding);
                    read.is_some() && length.is_none_or(|length| signature.len() == length)
                });
            });
        }
        if listed.is_empty() {
            return Err(malformed(if any_text {
                "the signature is not written as the profile's are"
            } else {
                "no signature of a version that the profile knows is listed"
            }));
        }
        Ok(())
    }

    // Every secret and every signature is tried even after a match: the time taken must not tell which is in use.
    fn compare<'s: 'q, 'q>(
        &'s self,
        scheme: &Scheme,
        listed: &Listing,
        sources: &mut Sources<'q, '_>,
        shadows: &mut Vec<ShadowSecret>,
    ) -> Result<&'s Prepared, SignatureRefusal> {
        let mut verified = None;
        for secret in &self.secrets {
            let mut right = false;
            let own = || listed.of(secret.variant);
            if let Some(key) = own().next().and_then(|one| secret.key(one.algorithm)) {
                sources.secret = secret.shown.expose();
                for content in &scheme.contents {
                    right |= key.verifies(content, sources, own().map(|one| &*one.signature))?;
                }
            }
            match secret.force {
                Force::Live if right => verified = verified.or(Some(secret)),
                Force::Live => {}
                Force::Shadow => shadows.push(ShadowSecret {
                    label: Arc::clone(&secret.label),
                    matches: right,
                }),
            }
        }
        verified.ok_or_else(|| {
            let matching = shadows.iter().find(|shadow| shadow.matches);
            let shadow = matching.map(|shadow| Arc::clone(&shadow.label));
            SignatureRefusal::Mismatch { shadow }
        })
    }

    /// The body as JSON, where the signature itself needs it. A body that is none has none of its fields.
    #[inline]
    fn document<'a>(
        &self,
        scheme: &Scheme,
        body: &'a [u8],
    ) -> Result<Option<&'a RawValue>, SignatureRefusal> {
        if !scheme.reads_json {
            return Ok(None);
        }
        json::document(body)
            .map(Some)
            .map_err(|fault| malformed(&told(fault)))
    }

    /// The events of a body whose signature held, if it is no challenge: that asks whether we are there, before there is
    /// an account that it could name.
    fn items_unless(
        &self,
        challenge: Option<&ChallengeAnswer>,
        request: &Request<'_>,
        body: &Bytes,
    ) -> Result<Vec<Item>, SignatureRefusal> {
        match challenge {
            Some(_) => Ok(Vec::new()),
            None => self.items(request, body),
        }
    }

    /// The events of a body whose signature held. One of another account hides none of the bound one's, and if all are another's, so is
    /// the delivery.
    fn items(&self, request: &Request<'_>, body: &Bytes) -> Result<Vec<Item>, SignatureRefusal> {
        let bodies = match self.profile.mapping.items(body) {
            Ok(bodies) => bodies,
            Err(fault) => {
                if self.account.is_some() {
                    return Err(SignatureRefusal::AccountMismatch);
                }
                let verdict = ItemVerdict::Verified(Err(fault));
                return Ok(vec![Item {
                    body: body.clone(),
                    verdict,
                }]);
            }
        };
        let item = |body: Bytes| {
            let told = self.told_by(request, &body);
            let verdict = told.map_or_else(ItemVerdict::Refused, ItemVerdict::Verified);
            Item { body, verdict }
        };
        let items: Vec<_> = bodies.into_iter().map(item).collect();
        let first = items.first().and_then(Item::refusal);
        match first.filter(|_| items.iter().all(|item| item.refusal().is_some())) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(items),
        }
    }

    /// What an item tells, if it is the bound account's.
    fn told_by(
        &self,
        request: &Request<'_>,
        item: &[u8],
    ) -> Result<Result<super::Facts, super::NotAnObject>, SignatureRefusal> {
        if let Some(account) = &self.account
            && !account.is_named_by(&self.profile, item)
        {
            return Err(SignatureRefusal::AccountMismatch);
        }
        Ok(self.profile.facts(item, request))
    }

    fn challenge(
        &self,
        request: &Request<'_>,
        body: &[u8],
        document: Option<&RawValue>,
        secret: Option<&Prepared>,
    ) -> Option<ChallengeAnswer> {
        if self.profile.challenges.is_empty() {
            return None;
        }
        let document = document.or_else(|| json::document(body).ok());
        let live = || {
            self.secrets
                .iter()
                .find(|secret| secret.force == Force::Live)
        };
        let key = secret.or_else(live).and_then(Prepared::main_key);
        let sources = Sources {
            request,
            body,
            document,
            timestamp: None,
            id: None,
            items: None,
            url: self.url.as_deref(),
            values: &self.values,
            secret: b"",
            key,
        };
        let mut challenges = self.profile.challenges.iter();
        challenges.find_map(|challenge| challenge.answer(request.method, &sources))
    }
}

/// The time as it is written, and what it states. It goes into the content as received.
pub(super) fn stated<'a>(
    rule: &TimestampRule,
    request: &Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
    items: &Items<'a>,
) -> Result<(Cow<'a, [u8]>, Timestamp), SignatureRefusal> {
    let text = match &rule.place {
        Place::Item(key) => {
            let text = items
                .named_bytes(key)
                .map_err(|_several| malformed("the timestamp stands twice"))?;
            text.map(Cow::Borrowed)
        }
        Place::Header(names) => {
            let text = places::only_in_headers(names, request.headers, "the timestamp")?;
            text.map(Cow::Borrowed)
        }
        Place::Form(_) | Place::Json(_) | Place::Query(_) => {
            let text = places::text(&rule.place, request, body, document)?;
            text.filter(|text| !text.is_empty()).map(places::into_bytes)
        }
    };
    let text = text.ok_or_else(|| missing("the timestamp"))?;
    let sent = rule
        .unit
        .read_bytes(&text)
        .ok_or_else(|| malformed("the timestamp is not written as the profile's are"))?;
    Ok((text, sent))
}

pub(super) fn delivery_id<'a>(
    place: &Place,
    request: &Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
    items: &Items<'_>,
) -> Result<Cow<'a, str>, SignatureRefusal> {
    let id = match place {
        Place::Item(key) => {
            let text = items.named(key);
            text.map_err(|_several| malformed("the delivery's id stands twice"))?
                .filter(|text| !text.is_empty())
                .map(|text| Cow::Owned(text.to_owned()))
        }
        Place::Header(_) | Place::Form(_) | Place::Json(_) | Place::Query(_) => {
            only_text(place, request, body, document, "the delivery's id")?
        }
    };
    let id = id.ok_or_else(|| missing("the delivery's id"))?;
    if id.len() > ID_BYTES_MAX {
        Err(malformed("the delivery's id is too long"))
    } else {
        Ok(id)
    }
}

fn only_text<'a>(
    place: &Place,
    request: &Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
    what: &str,
) -> Result<Option<Cow<'a, str>>, SignatureRefusal> {
    let text = if let Place::Header(names) = place {
        let only = places::only_in_headers(names, request.headers, what)?;
        let text = only.map(|text| places::readable(Cow::Borrowed(text)));
        text.transpose()?
    } else {
        places::text(place, request, body, document)?
    };
    Ok(text.filter(|text| !text.is_empty()))
}

#[cold]
fn missing(what: &str) -> SignatureRefusal {
    SignatureRefusal::Missing {
        what: what.to_owned(),
    }
}

#[cold]
fn malformed(what: &str) -> SignatureRefusal {
    SignatureRefusal::Malformed {
        what: what.to_owned(),
    }
}

fn told(fault: JsonFault) -> String {
    match fault {
        JsonFault::NotJson => "the signed body is not JSON".to_owned(),
        JsonFault::Repeated => "a key of the signed body stands twice".to_owned(),
        JsonFault::TooMany => NotAnObject::TooMany.to_string(),
    }
}
