//! What an event's row says as far as a mapping decides it: as it was read when it came, and as today's mapping reads it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::not_rebuilt::NotRebuilt;
use crate::inbox::Event;
use crate::payments::Claim;
use crate::signature::{Again, Facts, Profile, Request};

/// An event's row, as far as a mapping decides it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Reading {
    pub(in crate::store) kind: Option<String>,
    pub(in crate::store) occurred_at: Option<i64>,
    pub(in crate::store) payment_id: Option<String>,
    pub(in crate::store) status: Option<String>,
    pub(in crate::store) amount_minor: Option<i64>,
    pub(in crate::store) amount_refunded_minor: Option<i64>,
    pub(in crate::store) currency: Option<String>,
    pub(in crate::store) named_payment_id: Option<String>,
    pub(in crate::store) fetch_needed: bool,
}

/// An accepted event or a conflict, as it was read when it came.
#[derive(Debug)]
pub(in crate::store) struct ReadEvent {
    pub(in crate::store) received_at: i64,
    pub(in crate::store) event_id: String,
    pub(in crate::store) producer: Arc<str>,
    pub(in crate::store) reading: Reading,
}

/// An event, read again.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Today {
    /// This is what its row says.
    Read(Reading),
    /// It stays as it is.
    Left,
}

impl Reading {
    /// Of a conflict: it claims nothing of a payment, and only names it.
    pub(in crate::store) fn aside(self) -> Self {
        Self {
            named_payment_id: self.payment_id.or(self.named_payment_id),
            payment_id: None,
            ..self
        }
    }
}

impl ReadEvent {
    /// What its row says if `profile` reads what came, and why a new store would say something else all the same.
    pub(in crate::store) fn today(
        &self,
        profile: &Profile,
        headers: &str,
        body: &[u8],
    ) -> (Today, Option<NotRebuilt>) {
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
        if self.is_several(profile, body) {
            return (Today::Left, Some(NotRebuilt::Several));
        }
        let signed = profile.signed_again(body, &request);
        let Ok(facts) = profile.facts(body, &request) else {
            // It could be read when it came; a profile of another form reads nothing from it.
            let reading = Reading {
                occurred_at: self.time_of(None, &signed.at),
                fetch_needed: self.reading.fetch_needed,
                ..Reading::default()
            };
            return (Today::Read(reading), Some(NotRebuilt::Unreadable));
        };
        let today = reading(self, &facts, &signed.at);
        let without = if !self.has_the_id(&facts, &signed.id, body) {
            Some(NotRebuilt::OtherId)
        } else if facts.occurred_at.is_none() && signed.at == Again::Lost {
            Some(NotRebuilt::TimeLost)
        } else if today != self.reading && profile.lacks_a_parameter(&request) {
            Some(NotRebuilt::QueryLost)
        } else {
            None
        };
        (Today::Read(today), without)
    }

    /// Whether today's profile takes the body apart.
    fn is_several(&self, profile: &Profile, body: &[u8]) -> bool {
        let items = profile.items(&Bytes::copy_from_slice(body));
        items.is_ok_and(|items| !matches!(&items[..], [one] if **one == *body))
    }

    /// Whether a new store would know the event by the id that it has.
    fn has_the_id(&self, facts: &Facts, signed: &Again<String>, body: &[u8]) -> bool {
        let by_hash = || self.event_id == hex::encode(Sha256::digest(body));
        match (&facts.event_id, signed) {
            (Some(id), _) => *id == self.event_id,
            // Of a batch no event has the delivery's id.
            (None, Again::Same(id)) => *id == self.event_id || by_hash(),
            (None, Again::Nothing) => by_hash(),
            // By what it was known, nobody can say.
            (None, Again::Lost) => true,
        }
    }

    /// Its own time, else that which its signature covers; and if nobody can say any more which that was, the time that it has.
    fn time_of(&self, stated: Option<Timestamp>, signed: &Again<Timestamp>) -> Option<i64> {
        match (stated, signed) {
            (Some(time), _) => Some(time.as_microsecond()),
            (None, Again::Same(time)) => Some(time.as_microsecond()),
            (None, Again::Nothing) => None,
            (None, Again::Lost) => self.reading.occurred_at,
        }
    }
}

/// What an event's row says if today's mapping reads these facts.
fn reading(kept: &ReadEvent, facts: &Facts, signed: &Again<Timestamp>) -> Reading {
    let occurred_at = kept.time_of(facts.occurred_at, signed);
    let time = occurred_at.and_then(|time| Timestamp::from_microsecond(time).ok());
    let payment = facts.payment.as_ref().ok();
    let claim =
        payment.and_then(|facts| Claim::read(facts, time, &kept.event_id, &kept.producer).ok());
    Reading {
        kind: facts.event_type.clone(),
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
