//! Handshakes: requests by which a provider asks whether we are there and hold the secret.
//!
//! A `POST` challenge is answered only after its signature held. A `GET` challenge bears none, so what it may
//! hold is narrow: nothing that it asks to be signed can ever be the content of a delivery.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::asked::Place;
use super::descriptor::{ChallengeDescriptor, ChallengeText};
use super::profile::{Faults, status};
use super::scheme::configured;
use super::template::{Template, Value, Values};

/// The longest challenge that is answered, in bytes.
const CHALLENGE_BYTES_MAX: usize = 256;

/// What a challenge is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Bytes,
}

/// A compiled challenge.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    method: Method,
    when: Value,
    equals: Option<Box<str>>,
    accept: ChallengeText,
    status: StatusCode,
    content_type: HeaderValue,
    body: Template,
}

impl Challenge {
    pub(super) fn compile(
        descriptor: &ChallengeDescriptor,
        at: usize,
        faults: &mut Faults,
    ) -> Option<Self> {
        let key = |name: &str| format!("challenge[{at}].{name}");
        let method = match descriptor.method.as_deref() {
            None | Some("POST") => Some(Method::POST),
            Some("GET") => Some(Method::GET),
            Some(other) => {
                faults.add(
                    &key("method"),
                    format!("\"{other}\" is no method of a challenge"),
                    "write GET or POST",
                );
                None
            }
        };
        let when = Place::compile(&descriptor.when, &key("when"), faults)
            .and_then(|place| only_value(place, &key("when"), faults));
        let body = match Template::parse(&descriptor.body) {
            Ok(template) => Some(template),
            Err(fault) => {
                faults.add(&key("body"), fault.what, &fault.mend);
                None
            }
        };
        let status = status(
            descriptor.status.unwrap_or(200),
            200..=299,
            &key("status"),
            faults,
        );
        let content_type = descriptor
            .content_type
            .as_deref()
            .unwrap_or("text/plain; charset=utf-8");
        let content_type = HeaderValue::from_str(content_type).map_err(|_error| "is no media type");
        let content_type = faults.keep(
            &key("content_type"),
            content_type,
            "write one, as \"application/json\"",
        );
        let challenge = Self {
            method: method?,
            when: when?,
            equals: descriptor.equals.as_deref().map(Into::into),
            accept: descriptor.accept.unwrap_or_default(),
            status: status?,
            content_type: content_type?,
            body: body?,
        };
        challenge.check(&key, faults);
        Some(challenge)
    }

    /// The answer to a request of this method, if it is this challenge.
    pub(super) fn answer(&self, method: &Method, values: &dyn Values) -> Option<ChallengeAnswer> {
        if *method != self.method {
            return None;
        }
        let asked = values.value(&self.when).ok()??;
        let fits = match &self.equals {
            Some(text) => *asked == *text.as_bytes(),
            None => self.accepts(&asked),
        };
        if !fits {
            return None;
        }
        let mut body = Vec::new();
        self.body
            .write(values, &mut |bytes| body.extend_from_slice(bytes))
            .ok()?;
        Some(ChallengeAnswer {
            status: self.status,
            content_type: self.content_type.clone(),
            body: body.into(),
        })
    }

    /// The values that a producer must configure for it.
    pub(super) fn needed_values(&self) -> impl Iterator<Item = &str> {
        self.body.values().into_iter().filter_map(configured)
    }

    fn accepts(&self, asked: &[u8]) -> bool {
        match self.accept {
            ChallengeText::Hex => {
                (20..=32).contains(&asked.len())
                    && asked
                        .iter()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }
            ChallengeText::Text => {
                (1..=CHALLENGE_BYTES_MAX).contains(&asked.len())
                    && asked.iter().all(u8::is_ascii_graphic)
            }
        }
    }

    fn check(&self, key: &dyn Fn(&str) -> String, faults: &mut Faults) {
        let unsigned = self.method == Method::GET;
        if unsigned && !matches!(self.when, Value::Header(_) | Value::Query(_)) {
            faults.add(
                &key("when"),
                "a GET has no body",
                "name a header or a query parameter",
            );
        }
        if unsigned
            && self.body.asks_for_a_mac()
            && (self.accept != ChallengeText::Hex || self.equals.is_some())
        {
            let mend = "set accept = \"hex\": else anyone could have a delivery signed";
            faults.add(
                &key("accept"),
                "is too wide for an answer that is a MAC",
                mend,
            );
        }
        for value in self.body.values() {
            let possible = match value {
                Value::Header(_) | Value::Query(_) => !unsigned || *value == self.when,
                Value::Json(_) | Value::Form(_) => !unsigned,
                Value::KeyId | Value::Config(_) => true,
                Value::Body
                | Value::Timestamp
                | Value::Id
                | Value::Url
                | Value::Method
                | Value::PathAndQuery
                | Value::Secret
                | Value::Item(_) => false,
            };
            if !possible {
                let mend = "an answer holds the challenge itself, the key id or a configured value";
                faults.add(&key("body"), format!("may not hold {value}"), mend);
            }
        }
    }
}

fn only_value(place: Place, key: &str, faults: &mut Faults) -> Option<Value> {
    match place {
        Place::Header(names) => match &*names {
            [one] => Some(Value::Header(one.clone())),
            _ => {
                faults.add(key, "names several headers", "name one");
                None
            }
        },
        Place::Form(name) => Some(Value::Form(name)),
        Place::Json(pointer) => Some(Value::Json(pointer)),
        Place::Query(name) => Some(Value::Query(name)),
        Place::Item(_) => {
            faults.add(
                key,
                "a challenge has no items",
                "name json, header, query or form",
            );
            None
        }
    }
}
