//! Where a template's values come from: the request, the body, and what the producer's configuration adds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

use super::body;
use super::body::json::Pointer;
use super::grammar::Items;
use super::key::Key;
use super::profile::descriptor::PlaceDescriptor;
use super::profile::faults::{Faults, pointer};
use super::refusal::SignatureRefusal;
use super::request::Request;
use super::template::{Unwritable, Value, Values, header_name};

/// One delivery, or one item of it, as one secret looks at it.
pub(super) struct Sources<'a, 'i> {
    pub(super) request: &'a Request<'a>,
    pub(super) body: &'a [u8],
    /// The body as JSON, or the item; `None` where it is none.
    pub(super) document: Option<&'a RawValue>,
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) id: Option<&'a str>,
    pub(super) items: Option<&'a Items<'i>>,
    pub(super) url: Option<&'a str>,
    pub(super) values: &'a BTreeMap<String, String>,
    pub(super) secret: &'a [u8],
    pub(super) key: Option<&'a Key>,
}

/// Where a text of the request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first of these that is present.
    Header(Box<[HeaderName]>),
    Form(Box<str>),
    Json(Pointer),
    Query(Box<str>),
    Item(Box<str>),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(names) => {
                let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
                write!(f, "the header {}", names.join(" or "))
            }
            Self::Form(name) => write!(f, "the form field {name}"),
            Self::Json(pointer) => write!(f, "the field {pointer} of the body"),
            Self::Query(name) => write!(f, "the query parameter {name}"),
            Self::Item(key) => write!(f, "the item {key} of the signature"),
        }
    }
}

impl Place {
    pub(super) fn compile(
        descriptor: &PlaceDescriptor,
        key: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let PlaceDescriptor {
            header,
            form,
            json,
            query,
            item,
        } = descriptor;
        let mut places = Vec::new();
        if let Some(headers) = header {
            let names = headers
                .iter()
                .map(|name| header_name(name).map_err(|fault| fault.what));
            let names = names.collect::<Result<Vec<_>, _>>();
            let names = names.and_then(|names| {
                if names.is_empty() {
                    Err("names no header".to_owned())
                } else {
                    Ok(names)
                }
            });
            places.push(
                faults
                    .keep(
                        key,
                        names,
                        "write its name alone, as header = [\"x-signature\"]",
                    )
                    .map(|names| Self::Header(names.into())),
            );
        }
        places.extend(form.as_deref().map(|name| Some(Self::Form(name.into()))));
        places.extend(
            json.as_deref()
                .map(|text| pointer(text, key, faults).map(Self::Json)),
        );
        places.extend(query.as_deref().map(|name| Some(Self::Query(name.into()))));
        places.extend(item.as_deref().map(|name| Some(Self::Item(name.into()))));
        if places.len() != 1 {
            let mend =
                "write one of header, form, json, query or item, as { header = [\"x-signature\"] }";
            faults.add(key, "must name one place", mend);
            return None;
        }
        places.pop().flatten()
    }
}

impl Values for Sources<'_, '_> {
    #[inline]
    fn at_hand(&self, value: &Value) -> Option<&[u8]> {
        match value {
            Value::Body => Some(self.body),
            Value::Secret => Some(self.secret),
            Value::Timestamp => self.timestamp,
            Value::Id => self.id.map(str::as_bytes),
            Value::Method
            | Value::PathAndQuery
            | Value::KeyId
            | Value::Config(_)
            | Value::Header(_)
            | Value::Query(_)
            | Value::Form(_)
            | Value::Json(_)
            | Value::Url
            | Value::Item(_) => None,
        }
    }

    fn value(&self, value: &Value) -> Result<Option<Cow<'_, [u8]>>, Unwritable> {
        let ambiguous = || Unwritable::Ambiguous(value.clone());
        match value {
            Value::Header(name) => {
                let found = only(self.request.headers, name).map_err(|_repeated| ambiguous())?;
                Ok(found.map(Cow::Borrowed))
            }
            Value::Query(name) => body::form::value(query(self.request).as_bytes(), name)
                .map_err(|_repeated| ambiguous()),
            Value::Form(name) => {
                body::form::value(self.body, name).map_err(|_repeated| ambiguous())
            }
            Value::Json(pointer) => {
                let Some(document) = self.document else {
                    return Ok(None);
                };
                let text = pointer.text(document).map_err(|_repeated| ambiguous())?;
                Ok(text.map(into_bytes))
            }
            Value::Url => Ok(self.url.map(|url| public_url(url, self.request))),
            Value::Item(key) => {
                let Some(items) = self.items else {
                    return Ok(None);
                };
                let text = items.named_bytes(key).map_err(|_several| ambiguous())?;
                Ok(text.map(Cow::Borrowed))
            }
            Value::Method => Ok(Some(bytes(self.request.method.as_str()))),
            Value::PathAndQuery => Ok(Some(bytes(self.request.path_and_query))),
            Value::KeyId => Ok(self.values.get("key_id").map(|text| bytes(text))),
            Value::Config(name) => Ok(self.values.get(&**name).map(|text| bytes(text))),
            Value::Body | Value::Secret | Value::Timestamp | Value::Id => {
                Ok(self.at_hand(value).map(Cow::Borrowed))
            }
        }
    }

    fn mac(&self, bytes: &[u8]) -> Option<String> {
        let mut run = self.key?.start();
        run.update(bytes);
        run.finish().bytes().map(hex::encode)
    }
}

impl From<Unwritable> for SignatureRefusal {
    fn from(unwritable: Unwritable) -> Self {
        match unwritable {
            Unwritable::Absent(value) => Self::Missing {
                what: value.to_string(),
            },
            Unwritable::Ambiguous(value) => Self::Malformed {
                what: format!("{value} stands twice, or is not written as the profile's is"),
            },
        }
    }
}

pub(super) fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn bytes(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

/// A header stands more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RepeatedHeader;

/// The one value of a header. Two readers could take two values from a repeated one.
pub(super) fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, RepeatedHeader> {
    let mut values = all(headers, name);
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(HeaderValue::as_bytes)),
        (_, Some(_)) => Err(RepeatedHeader),
    }
}

/// The values of a header. There are few of them: to look at each is faster than to hash the name that is looked for.
fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
    let named = move |(own, value): (&HeaderName, &'a HeaderValue)| (own == name).then_some(value);
    headers.iter().filter_map(named)
}

/// The query string, without the question mark.
pub(super) fn query<'a>(request: &Request<'a>) -> &'a str {
    let parts = request.path_and_query.split_once('?');
    parts.map_or("", |(_, query)| query)
}

/// The URL as the provider knows it, never from `Host`: the configured one whole where it has a query, with the
/// request's query where it has a path, and with the request's path and query where it is only an origin.
pub(super) fn public_url<'a>(url: &'a str, request: &Request<'_>) -> Cow<'a, [u8]> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let missing = if url.contains('?') {
        ""
    } else if after_scheme.trim_end_matches('/').contains('/') {
        let at = request.path_and_query.find('?');
        at.and_then(|at| request.path_and_query.get(at..))
            .unwrap_or_default()
    } else {
        return Cow::Owned(
            [url.trim_end_matches('/'), request.path_and_query]
                .concat()
                .into(),
        );
    };
    Cow::Owned([url, missing].concat().into())
}

/// Shows `each` the texts that stand in the first of these headers that is present, or in every one of them (`all`). A header may be
/// repeated. They are shown as bytes: that these are UTF-8 is made sure of, which for ASCII is nearly free.
pub(super) fn each_in_headers<'a>(
    names: &[HeaderName],
    all: bool,
    headers: &'a HeaderMap,
    mut each: impl FnMut(&'a [u8]) -> Result<(), SignatureRefusal>,
) -> Result<(), SignatureRefusal> {
    let mut found = false;
    for name in names {
        for value in self::all(headers, name) {
            found = true;
            let text = value.as_bytes();
            if !text.is_ascii() && std::str::from_utf8(text).is_err() {
                return Err(no_text());
            }
            each(text)?;
        }
        if found && !all {
            break;
        }
    }
    Ok(())
}

/// The bytes, which are UTF-8, of the only value of the first of these headers that is present; `None` where it is empty.
pub(super) fn only_in_headers<'a>(
    names: &[HeaderName],
    headers: &'a HeaderMap,
    what: &str,
) -> Result<Option<&'a [u8]>, SignatureRefusal> {
    let mut only = None;
    let take = |text| match only.replace(text) {
        None => Ok(()),
        Some(_) => Err(twice(what)),
    };
    each_in_headers(names, false, headers, take)?;
    Ok(only.filter(|text: &&[u8]| !text.is_empty()))
}

/// The text that stands at a place outside the headers.
#[inline(never)]
pub(super) fn text<'a>(
    place: &Place,
    request: &Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, SignatureRefusal> {
    let found = match place {
        Place::Form(name) => body::form::value(body, name).map_err(|_repeated| twice(name))?,
        Place::Query(name) => {
            let value = body::form::value(query(request).as_bytes(), name);
            value.map_err(|_repeated| twice(name))?
        }
        Place::Json(pointer) => {
            let text = document.map(|document| pointer.text(document)).transpose();
            let text = text.map_err(|_repeated| twice(&pointer.to_string()))?;
            return Ok(text.flatten());
        }
        Place::Header(_) | Place::Item(_) => None,
    };
    found.map(readable).transpose()
}

/// The texts that stand at a place; a header may be repeated there, and `all` takes every header of it.
pub(super) fn texts<'a>(
    place: &Place,
    all: bool,
    request: &Request<'a>,
    body: &'a [u8],
    document: Option<&'a RawValue>,
) -> Result<Vec<Cow<'a, str>>, SignatureRefusal> {
    let Place::Header(names) = place else {
        let text = text(place, request, body, document)?;
        return Ok(text.into_iter().collect());
    };
    let mut texts = Vec::new();
    each_in_headers(names, all, request.headers, |text| {
        texts.push(readable(Cow::Borrowed(text))?);
        Ok(())
    })?;
    Ok(texts)
}

pub(super) fn readable(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, SignatureRefusal> {
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    text.ok_or_else(no_text)
}

#[cold]
fn twice(what: &str) -> SignatureRefusal {
    SignatureRefusal::Malformed {
        what: format!("{what} stands twice"),
    }
}

#[cold]
fn no_text() -> SignatureRefusal {
    SignatureRefusal::Malformed {
        what: "the signature's place holds bytes that are no text".to_owned(),
    }
}
