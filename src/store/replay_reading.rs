//! What an event's row says as far as a mapping decides it: as it was read when it came, and as today's mapping reads it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use crate::inbox::Event;
use crate::payments::Claim;
use crate::signature::{Facts, NotAnObject, Profile, Request};

/// An event's row, as far as a mapping decides it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) kind: Option<String>,
    pub(super) occurred_at: Option<i64>,
    pub(super) payment_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) amount_minor: Option<i64>,
    pub(super) amount_refunded_minor: Option<i64>,
    pub(super) currency: Option<String>,
    pub(super) named_payment_id: Option<String>,
    pub(super) fetch_needed: bool,
}

/// An accepted event, as it was read when it came.
#[derive(Debug)]
pub(super) struct ReadEvent {
    pub(super) received_at: i64,
    pub(super) event_id: String,
    pub(super) producer: Arc<str>,
    pub(super) reading: Reading,
}

impl ReadEvent {
    /// What its row says if `profile` reads what came.
    pub(super) fn today(&self, profile: &Profile, headers: &str, body: &[u8]) -> Reading {
        match read_again(profile, headers, body) {
            Ok(facts) => reading(self, &facts),
            // It could be read when it came; a profile of another form reads nothing from it.
            Err(_not_an_object) => Reading {
                kind: self.reading.kind.clone(),
                occurred_at: self.reading.occurred_at,
                fetch_needed: self.reading.fetch_needed,
                ..Reading::default()
            },
        }
    }
}

/// What today's mapping makes of a kept body. Of its query string that is kept which was read when it came.
fn read_again(profile: &Profile, headers: &str, body: &[u8]) -> Result<Facts, NotAnObject> {
    let kept: Vec<(String, String)> = serde_json::from_str(headers).unwrap_or_default();
    let path_and_query = kept.iter().find(|(name, _)| name == Event::PATH);
    let headers: HeaderMap = kept
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        })
        .collect();
    let request = Request {
        method: &Method::POST,
        path_and_query: path_and_query.map_or("/", |(_, path)| path),
        headers: &headers,
    };
    profile.facts(body, &request)
}

/// What an event's row says if today's mapping reads these facts.
fn reading(kept: &ReadEvent, facts: &Facts) -> Reading {
    let stated = facts.occurred_at.map(|time| time.as_microsecond());
    let occurred_at = stated.or(kept.reading.occurred_at);
    let time = occurred_at.and_then(|time| Timestamp::from_microsecond(time).ok());
    let payment = facts.payment.as_ref().ok();
    let claim =
        payment.and_then(|facts| Claim::read(facts, time, &kept.event_id, &kept.producer).ok());
    Reading {
        kind: facts
            .event_type
            .clone()
            .or_else(|| kept.reading.kind.clone()),
        occurred_at,
        named_payment_id: match &claim {
            Some(_) => None,
            None => payment
                .map(|facts| facts.payment_id.clone())
                .or_else(|| facts.fetch.reference().map(str::to_owned)),
        },
        fetch_needed: facts.fetch.is_needed(),
        payment_id: claim.as_ref().map(|claim| claim.payment_id().to_owned()),
        status: claim
            .as_ref()
            .and_then(Claim::status)
            .map(|status| status.as_str().to_owned()),
        amount_minor: claim.as_ref().and_then(Claim::amount_minor),
        amount_refunded_minor: claim.as_ref().and_then(Claim::amount_refunded_minor),
        currency: claim
            .as_ref()
            .and_then(Claim::currency)
            .map(|currency| currency.code().to_owned()),
    }
}
