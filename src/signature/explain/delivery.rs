//! A delivery, read as leniently as possible, and its texts shown without what nobody may see.

use serde_json::value::RawValue;

use super::other_keys::surrounded;
use super::shown::{MASK, SIGNATURE_MASK, escaped, masked};
use crate::signature::clock::TimestampRule;
use crate::signature::grammar::Items;
use crate::signature::places::{self, Place, Sources};
use crate::signature::request::Request;
use crate::signature::scheme::Scheme;
use crate::signature::template::Template;
use crate::signature::verifier::Verifier;

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
    pub(super) time_is_repeated: bool,
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

    /// What was signed, with the secret masked where it is a part of it.
    pub(super) fn content(&self, content: &Template) -> Option<String> {
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
