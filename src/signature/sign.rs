//! Signing as the provider does, for `countersign send`: the same profile, read the other way round.

use std::cell::OnceCell;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::body;
use super::grammar::{Items, Pick};
use super::key::Key;
use super::places::{Place, Sources};
use super::private_key::{self, is_pem};
use super::profile::algorithm::Algorithm;
use super::profile::descriptor::BodyFormat;
use super::profile::meaning::Profile;
use super::put;
use super::refusal::SignatureRefusal;
use super::request::Request;
use super::scheme::{AlgorithmRule, Scheme, Variant};
use super::secrets::Settings;
use super::sign_fault::SignFault;
use super::template::{Unwritable, Value};
use crate::secret::Secret;

/// What is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct SignRequest<'a> {
    /// The request as it would go out without a signature; its headers stay the caller's to send.
    pub request: Request<'a>,
    /// The delivery's id, where the profile has one; also what fills a nonce or a header that it signs.
    pub id: &'a str,
    /// When it is signed.
    pub now: Timestamp,
}

/// A signed request: what to send besides, or instead of, what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Headers to add.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The path and query to ask for.
    pub path_and_query: String,
    /// The body to send.
    pub body: Bytes,
    /// Its media type.
    pub content_type: &'static str,
}

/// Signs `body` by the profile with one secret, as the provider would. For asymmetric schemes the secret is the
/// private key: PKCS #8 in PEM, or a base64 Ed25519 seed (`whsk_`).
pub fn sign(
    profile: &Arc<Profile>,
    secret: &Secret,
    settings: &Settings,
    to_sign: &SignRequest<'_>,
    body: Bytes,
) -> Result<Signed, SignFault> {
    Pen::new(Arc::clone(profile), secret.clone(), settings.clone())?.sign(to_sign, body)
}

/// A profile, a secret and settings by which any number of deliveries is signed: the key is prepared once.
pub struct Pen {
    profile: Arc<Profile>,
    secret: Secret,
    settings: Settings,
    /// `None` where a private key signs, or nothing does.
    key: Option<Key>,
}

impl Pen {
    /// Fails for a secret that makes no key for the profile.
    pub fn new(
        profile: Arc<Profile>,
        secret: Secret,
        settings: Settings,
    ) -> Result<Self, SignFault> {
        let scheme = profile.scheme.as_ref();
        let key = match scheme.map(|scheme| variant_for(scheme, &secret)) {
            Some(variant) if !variant.is_asymmetric() => Some(Key::prepare(
                &secret,
                variant.key,
                variant.strip_prefix.as_deref(),
                variant.mac,
                used(&profile, variant),
            )?),
            Some(_) | None => None,
        };
        Ok(Self {
            profile,
            secret,
            settings,
            key,
        })
    }

    /// Signs `body`, as [`sign`] does.
    pub fn sign(&self, to_sign: &SignRequest<'_>, body: Bytes) -> Result<Signed, SignFault> {
        let path_and_query = to_sign.request.path_and_query.to_owned();
        let Some(scheme) = &self.profile.scheme else {
            let content_type = media_type(self.profile.mapping.format, &body);
            return Ok(Signed {
                headers: Vec::new(),
                path_and_query,
                body,
                content_type,
            });
        };
        let timestamp = self.profile.timestamp.as_ref();
        let signer = Signer {
            pen: self,
            scheme,
            variant: variant_for(scheme, &self.secret),
            time: timestamp.map(|rule| rule.unit.written(to_sign.now)),
            id: to_sign.id,
        };
        signer.sign(to_sign, body)
    }
}

struct Signer<'a> {
    pen: &'a Pen,
    scheme: &'a Scheme,
    variant: &'a Variant,
    time: Option<String>,
    id: &'a str,
}

/// A private key is known by the prefix of its public one (`whsk_` for `whpk_`), or by being PEM.
fn variant_for<'a>(scheme: &'a Scheme, secret: &Secret) -> &'a Variant {
    let shown = secret.expose();
    let fits = |also: &&Variant| {
        let public = also.strip_prefix.as_deref().unwrap_or_default();
        let private = public.replace("pk_", "sk_");
        shown.starts_with(private.as_bytes()) || (also.is_asymmetric() && is_pem(shown))
    };
    scheme.also.iter().find(fits).unwrap_or(&scheme.main)
}

/// Of the algorithms that are possible the provider's own choice, or the strongest.
fn used(profile: &Profile, variant: &Variant) -> Algorithm {
    let possible = variant.algorithm.possible();
    let chosen = profile.sent.algorithm;
    chosen
        .filter(|chosen| possible.contains(chosen))
        .or_else(|| possible.iter().copied().max())
        .unwrap_or(Algorithm::Sha256)
}

impl Signer<'_> {
    fn sign(&self, to_sign: &SignRequest<'_>, body: Bytes) -> Result<Signed, SignFault> {
        let mut headers = self.named_headers(to_sign.request.headers)?;
        let mut path_and_query = to_sign.request.path_and_query.to_owned();
        let body = self.with_what_stands_beside(self.prepared(body), &mut path_and_query)?;
        let mut path_and_query = self.with_query(&path_and_query, &body);
        self.add_the_providers(&mut headers, to_sign.request, &body)?;
        let mut all = to_sign.request.headers.clone();
        for (name, value) in &headers {
            all.insert(name.clone(), value.clone());
        }
        let request = Request {
            method: to_sign.request.method,
            path_and_query: &path_and_query,
            headers: &all,
        };
        let body = if self.scheme.per_item {
            self.sign_each(&request, &body)?
        } else {
            let items = self.items();
            let signature = self.signature(&request, &body, None)?;
            let text = self.written(items, &signature);
            match &self.scheme.place {
                Place::Header(names) => {
                    let name = names.first().cloned().ok_or(SignFault::NoPlace)?;
                    headers.push(header(name, &text)?);
                    body
                }
                place @ (Place::Form(_) | Place::Json(_) | Place::Query(_)) => {
                    put::at(place, Json::String(text), &mut path_and_query, body)?
                }
                Place::Item(_) => return Err(SignFault::NoPlace),
            }
        };
        let content_type = media_type(self.pen.profile.mapping.format, &body);
        Ok(Signed {
            headers,
            path_and_query,
            body,
            content_type,
        })
    }

    /// Time and id, where they stand in the body or the query string.
    fn with_what_stands_beside(
        &self,
        body: Bytes,
        path_and_query: &mut String,
    ) -> Result<Bytes, SignFault> {
        let mut body = body;
        for (place, value) in self.beside() {
            // What stands in an item of a batch is put there when the item is signed.
            if !(self.scheme.per_item && matches!(place, Place::Json(_))) {
                body = put::at(place, value, path_and_query, body)?;
            }
        }
        Ok(body)
    }

    /// Where time and id stand, and what is to stand there.
    fn beside(&self) -> impl Iterator<Item = (&Place, Json)> {
        let rule = self.pen.profile.timestamp.as_ref();
        let time = rule.zip(self.time.as_deref()).map(|(rule, time)| {
            let number = time.parse::<i64>().map(Json::from);
            (&rule.place, number.unwrap_or_else(|_text| time.into()))
        });
        let id = self.scheme.id.as_ref();
        time.into_iter()
            .chain(id.map(|place| (place, Json::from(self.id))))
    }

    /// The headers that the content names, besides the signature: time, id, and whatever else it signs.
    fn named_headers(
        &self,
        given: &HeaderMap,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignFault> {
        let mut headers = Vec::new();
        let mut add = |name: &HeaderName, text: &str, keep: bool| {
            let given = keep && given.contains_key(name);
            let known = headers.iter().any(|(own, _)| own == name);
            if !given && !known {
                headers.push(header(name.clone(), text)?);
            }
            Ok::<_, SignFault>(())
        };
        let first = |place: &Place| match place {
            Place::Header(names) => names.first().cloned(),
            Place::Form(_) | Place::Json(_) | Place::Query(_) | Place::Item(_) => None,
        };
        let rule = self.pen.profile.timestamp.as_ref();
        if let (Some(name), Some(time)) = (rule.and_then(|rule| first(&rule.place)), &self.time) {
            add(&name, time, false)?;
        }
        if let Some(name) = self.scheme.id.as_ref().and_then(first) {
            add(&name, self.id, false)?;
        }
        for value in self.scheme.values() {
            if let Value::Header(name) = value {
                add(name, self.id, true)?;
            }
        }
        Ok(headers)
    }

    /// The headers that the provider sends besides.
    fn add_the_providers(
        &self,
        headers: &mut Vec<(HeaderName, HeaderValue)>,
        request: Request<'_>,
        body: &[u8],
    ) -> Result<(), SignFault> {
        for (name, template) in &self.pen.profile.sent.headers {
            let sources = self.sources(&request, body, body::json::document(body).ok(), None);
            let mut text = Vec::new();
            template
                .write(&sources, &mut |bytes| text.extend_from_slice(bytes))
                .map_err(refused)?;
            let value = HeaderValue::from_bytes(&text);
            let name = name.clone();
            headers.retain(|(known, _)| *known != name);
            headers.push(match value {
                Ok(value) => (name, value),
                Err(_) => return Err(SignFault::Header { name }),
            });
        }
        Ok(())
    }

    /// A form profile takes a document as its field; one that is a form already stays as it is.
    fn prepared(&self, body: Bytes) -> Bytes {
        let Some(field) = self.pen.profile.mapping.field.as_deref() else {
            return body;
        };
        let encoded = match self.pen.profile.mapping.format {
            BodyFormat::FormXml => STANDARD.encode(&body).into_bytes(),
            BodyFormat::Form => body.to_vec(),
            BodyFormat::Json | BodyFormat::JsonOrForm => return body,
        };
        if matches!(body::form::value(&body, field), Ok(Some(_))) {
            return body;
        }
        let mut form = String::new();
        body::form::append(&mut form, field, &encoded);
        form.into()
    }

    /// Query parameters that are signed come from the body: `data.id` is what `/data/id` holds.
    fn with_query(&self, path_and_query: &str, body: &[u8]) -> String {
        let mut whole = path_and_query.to_owned();
        let document: OnceCell<Option<Json>> = OnceCell::new();
        for value in self.scheme.values() {
            let Value::Query(name) = value else { continue };
            let document = document.get_or_init(|| serde_json::from_slice(body).ok());
            let query = whole
                .split_once('?')
                .map_or("", |(_, query)| query)
                .to_owned();
            if !matches!(body::form::value(query.as_bytes(), name), Ok(None)) {
                continue;
            }
            let held = document
                .as_ref()
                .and_then(|document| document.pointer(&format!("/{}", name.replace('.', "/"))));
            let text = match held {
                Some(Json::String(text)) => text.clone(),
                Some(Json::Number(number)) => number.to_string(),
                Some(Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_)) | None => {
                    continue;
                }
            };
            let mut parameter = String::new();
            body::form::append(&mut parameter, name, text.as_bytes());
            whole.push(if query.is_empty() && !whole.ends_with('?') {
                '?'
            } else {
                '&'
            });
            whole.push_str(&parameter);
        }
        whole
    }

    /// The items that stand beside the signature, by their key.
    fn items(&self) -> Vec<(Box<str>, String)> {
        let mut items: Vec<(Box<str>, String)> = Vec::new();
        let rule = self.pen.profile.timestamp.as_ref();
        if let (Some(Place::Item(key)), Some(time)) = (rule.map(|rule| &rule.place), &self.time) {
            items.push((key.clone(), time.clone()));
        }
        if let AlgorithmRule::ByItem { item, .. } = &self.variant.algorithm {
            items.push((item.clone(), self.algorithm().name_for_senders().to_owned()));
        }
        if let Some(Place::Item(key)) = &self.scheme.id {
            items.push((key.clone(), self.id.to_owned()));
        }
        for value in self.scheme.values() {
            if let Value::Item(key) = value
                && !items.iter().any(|(own, _)| own == key)
            {
                items.push((key.clone(), self.id.to_owned()));
            }
        }
        items
    }

    fn signature(
        &self,
        request: &Request<'_>,
        body: &[u8],
        element: Option<&RawValue>,
    ) -> Result<String, SignFault> {
        let document = element.or_else(|| body::json::document(body).ok());
        let written = self
            .items()
            .into_iter()
            .map(|(key, text)| self.item(&key, &text));
        let written: Vec<String> = written.collect();
        let texts = written.iter().map(String::as_str);
        let items = Items::read(self.scheme.grammar, texts).ok();
        let sources = self.sources(request, body, document, items.as_ref());
        let content = self.scheme.contents.first().ok_or(SignFault::NoPlace)?;
        let Variant {
            encoding,
            strip_prefix,
            ..
        } = self.variant;
        let bytes = if let Some(key) = &self.pen.key {
            let mut run = key.start();
            content
                .write(&sources, &mut |bytes| run.update(bytes))
                .map_err(refused)?;
            run.finish().bytes().unwrap_or_default().to_vec()
        } else {
            let mut message = Vec::new();
            content
                .write(&sources, &mut |bytes| message.extend_from_slice(bytes))
                .map_err(refused)?;
            private_key::sign(
                self.algorithm(),
                self.pen.secret.expose(),
                strip_prefix.as_deref(),
                &message,
            )?
        };
        Ok(encoding.encode(&bytes))
    }

    fn sources<'b, 'i>(
        &'b self,
        request: &'b Request<'b>,
        body: &'b [u8],
        document: Option<&'b RawValue>,
        items: Option<&'b Items<'i>>,
    ) -> Sources<'b, 'i> {
        Sources {
            request,
            body,
            document,
            timestamp: self.time.as_deref().map(str::as_bytes),
            id: Some(self.id),
            items,
            url: self.pen.settings.url.as_deref(),
            values: &self.pen.settings.values,
            secret: self.pen.secret.expose(),
            key: None,
        }
    }

    fn algorithm(&self) -> Algorithm {
        used(&self.pen.profile, self.variant)
    }

    /// The whole text of the signature's place.
    fn written(&self, items: Vec<(Box<str>, String)>, signature: &str) -> String {
        let sent = &self.pen.profile.sent;
        let spelled_out = sent.written(signature, self.time.as_deref());
        if let Some(text) = spelled_out.filter(|_| std::ptr::eq(self.variant, &self.scheme.main)) {
            return text;
        }
        let split = self
            .scheme
            .grammar
            .split
            .map(String::from)
            .unwrap_or_default();
        let mut written: Vec<String> = items
            .iter()
            .map(|(key, text)| self.item(key, text))
            .collect();
        let pair = self.scheme.grammar.pair;
        let key_id = self.pen.settings.values.get("key_id").map(String::as_str);
        written.push(match (&self.variant.pick, pair) {
            (Pick::Keys(keys), Some(pair)) => {
                let key = keys
                    .first()
                    .map(|key| key.written(pair, key_id))
                    .unwrap_or_default();
                format!("{key}{pair}{signature}")
            }
            (Pick::Keys(_) | Pick::Whole | Pick::From(_), Some(_) | None) => signature.to_owned(),
        });
        written.join(&split)
    }

    fn item(&self, key: &str, text: &str) -> String {
        match self.scheme.grammar.pair {
            Some(pair) if !key.starts_with('+') => format!("{key}{pair}{text}"),
            Some(_) | None => text.to_owned(),
        }
    }

    /// Each element of the batch gets its own signature.
    fn sign_each(&self, request: &Request<'_>, body: &[u8]) -> Result<Bytes, SignFault> {
        let (Some(each), Place::Json(pointer)) = (&self.pen.profile.batch, &self.scheme.place)
        else {
            return Err(SignFault::NoPlace);
        };
        let mut whole: Json =
            serde_json::from_slice(body).map_err(|_not_json| SignFault::NoPlace)?;
        let list = whole
            .pointer_mut(&each.list_text())
            .and_then(Json::as_array_mut);
        for element in list.ok_or(SignFault::NoPlace)? {
            let inner = each.element_text();
            let element = element.pointer_mut(&inner).ok_or(SignFault::NoPlace)?;
            for (place, value) in self.beside() {
                if let Place::Json(pointer) = place {
                    put::into(element, &pointer.to_string(), value)?;
                }
            }
            let text = element.to_string();
            let raw =
                body::json::document(text.as_bytes()).map_err(|_not_json| SignFault::NoPlace)?;
            let signature = self.signature(request, text.as_bytes(), Some(raw))?;
            let written = self.written(self.items(), &signature);
            put::into(element, &pointer.to_string(), written.into())?;
        }
        Ok(whole.to_string().into())
    }
}

fn refused(unwritable: Unwritable) -> SignFault {
    SignFault::Content {
        source: SignatureRefusal::from(unwritable),
    }
}

fn media_type(format: BodyFormat, body: &[u8]) -> &'static str {
    let json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    match format {
        BodyFormat::Json => "application/json",
        BodyFormat::JsonOrForm if json => "application/json",
        BodyFormat::JsonOrForm | BodyFormat::Form | BodyFormat::FormXml => {
            "application/x-www-form-urlencoded"
        }
    }
}

fn header(name: HeaderName, text: &str) -> Result<(HeaderName, HeaderValue), SignFault> {
    match HeaderValue::from_str(text) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(SignFault::Header { name }),
    }
}
