//! What gate 3 gives on: a delivery whose signature held, and what verifying found in it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::body::document::NotAnObject;
use super::challenge::ChallengeAnswer;
use super::mapping::around::Readings;
use super::mapping::facts::Facts;
use super::places;
use super::profile::descriptor::SignedTime;
use super::refusal::SignatureRefusal;
use super::request::Request;
use crate::identity::Identified;

/// A delivery whose signature held. Only [`Verifier::verify`](super::Verifier::verify) makes one, so whoever
/// holds it need not ask again.
#[derive(Clone, Debug)]
pub struct VerifiedDelivery<'a> {
    from: Identified,
    headers: &'a HeaderMap,
    /// What of the query string its events were read from.
    path_and_query: Option<String>,
    readings: Arc<Readings>,
    proof: Proof,
}

/// What verifying found, whoever sent it.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) items: Vec<Item>,
    pub(super) signed_at: Option<Timestamp>,
    pub(super) id: Option<Box<str>>,
    pub(super) secret: Option<Arc<str>>,
    pub(super) shadows: Vec<ShadowSecret>,
    pub(super) challenge: Option<ChallengeAnswer>,
}

/// One event of a delivery.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its bytes: a slice of the delivery's body, or the whole of it.
    pub body: Bytes,
    /// Whether it may be believed, and if so what it tells.
    pub verdict: ItemVerdict,
}

impl Item {
    /// Why its own signature did not hold.
    pub fn refusal(&self) -> Option<&SignatureRefusal> {
        match &self.verdict {
            ItemVerdict::Verified(_) => None,
            ItemVerdict::Refused(refusal) => Some(refusal),
        }
    }
}

/// Whether an item may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every item is verified, and a box would be an allocation for each"
)]
pub enum ItemVerdict {
    /// Its signature held: its own, or that of the whole delivery. What it tells, if it can be read.
    Verified(Result<Facts, NotAnObject>),
    /// Its own signature did not hold; others of the delivery did.
    Refused(SignatureRefusal),
}

/// What a secret that only watches (`shadow = true`) would have decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowSecret {
    /// Its reference.
    pub label: Arc<str>,
    /// Whether it would have verified the delivery.
    pub matches: bool,
}

impl<'a> VerifiedDelivery<'a> {
    pub(super) fn new(
        from: Identified,
        request: &Request<'a>,
        readings: &Arc<Readings>,
        proof: Proof,
    ) -> Self {
        Self {
            from,
            headers: request.headers,
            path_and_query: readings.path_and_query(places::query(request)),
            readings: Arc::clone(readings),
            proof,
        }
    }

    /// Who sent it.
    pub fn from(&self) -> &Identified {
        &self.from
    }

    /// All its headers; those that are not in the signed content are the sender's mere words.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Whether its events were read from this header too, so that they cannot be read again without it.
    pub fn reads_header(&self, name: &HeaderName) -> bool {
        self.readings.headers.contains(name)
    }

    /// The parameters of the query string from which its events were read too, as a path and query.
    pub fn path_and_query(&self) -> Option<&str> {
        self.path_and_query.as_deref()
    }

    /// Its events: at least one, and none of a challenge.
    pub fn items(&self) -> &[Item] {
        &self.proof.items
    }

    /// The time that the signature covers.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.proof.signed_at
    }

    /// The time that the signature covers, if its events happened then.
    pub fn happened_at(&self) -> Option<Timestamp> {
        let signed = self.signed_at();
        signed.filter(|_| self.readings.signed_time == SignedTime::Happened)
    }

    /// The delivery's id, where the signature covers one.
    pub fn signed_id(&self) -> Option<&str> {
        self.proof.id.as_deref()
    }

    /// The reference of the secret that verified it; `None` where nothing is signed.
    pub fn secret(&self) -> Option<&Arc<str>> {
        self.proof.secret.as_ref()
    }

    /// What the secrets that only watch would have decided.
    pub fn shadows(&self) -> &[ShadowSecret] {
        &self.proof.shadows
    }

    /// The answer that the provider waits for, where the delivery is a challenge and no event.
    pub fn challenge(&self) -> Option<&ChallengeAnswer> {
        self.proof.challenge.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_with_milliseconds() {
        let refusal = SignatureRefusal::TimestampOutsideTolerance {
            sent: Timestamp::UNIX_EPOCH,
            now: Timestamp::new(1, 123_456_789).unwrap(),
        };
        assert_eq!(
            refusal.to_string(),
            "the delivery was signed at 1970-01-01T00:00:00.000Z, too far from 1970-01-01T00:00:01.123Z"
        );
    }
}
