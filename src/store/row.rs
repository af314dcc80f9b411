//! An event made ready for a store: whatever can be computed before the writer's turn.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::TenantId;
use crate::inbox::{Event, KeptHeaders, Standing};
use crate::payments::Claim;
use crate::x509::Certificate;

/// What a store holds in the place of a verdict where an event is forgotten.
pub(super) const FORGOTTEN: i64 = 3;

/// What an event is to the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Accepted,
    Conflict,
    Quarantined,
}

impl Verdict {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::Conflict => 1,
            Self::Quarantined => 2,
        }
    }

    /// What a store holds as this number.
    pub(super) fn of_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Accepted),
            1 => Some(Self::Conflict),
            2 => Some(Self::Quarantined),
            _ => None,
        }
    }

    /// What an event of this verdict is found by, whose idempotency key has this digest.
    pub(super) fn key(self, digest: &[u8; 16], body_sha256: &[u8; 32]) -> [u8; 16] {
        match self {
            Self::Accepted => *digest,
            Self::Conflict | Self::Quarantined => aside_key(digest, self, body_sha256),
        }
    }

    /// The name of what a store holds as this number.
    pub(super) fn name(number: i64) -> &'static str {
        match number {
            0 => "accepted",
            1 => "conflict",
            _ => "quarantined",
        }
    }
}

/// An event's columns.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tenant: TenantId,
    pub(super) producer: Arc<str>,
    pub(super) event_id: Box<str>,
    /// What it is found by; of a quarantined one, that of its body aside.
    pub(super) key: [u8; 16],
    pub(super) standing: Standing,
    pub(super) kind: Option<Box<str>>,
    /// Microseconds since the epoch.
    pub(super) occurred_at: Option<i64>,
    /// Microseconds since the epoch.
    pub(super) received_at: i64,
    pub(super) body: Bytes,
    pub(super) body_sha256: [u8; 32],
    pub(super) secret: Option<Arc<str>>,
    pub(super) leaf: Certificate,
    /// A JSON array of `[name, value]`.
    pub(super) headers: KeptHeaders,
    pub(super) claim: Option<PaymentClaim>,
    /// The payment that it names without saying anything of it that can be read.
    pub(super) named_payment_id: Option<Box<str>>,
    pub(super) fetch_needed: bool,
}

/// What an event says of a payment.
#[derive(Debug)]
pub(super) struct PaymentClaim {
    pub(super) payment_key: [u8; 16],
    pub(super) claim: Claim,
}

impl Row {
    pub(super) fn prepare(event: Event) -> Self {
        let readable = event.standing == Standing::Readable;
        let mut key = event.key.digest();
        if !readable {
            // It must not take the id from a readable event that comes with it later, nor ever conflict with one.
            key = Verdict::Quarantined.key(&key, &event.body_sha256);
        }
        let mut claim = None;
        let mut named_payment_id = event.fetch.reference().map(Into::into);
        if let Some(facts) = event.payment.filter(|_| readable) {
            match Claim::read(
                &facts,
                event.occurred_at,
                &event.key.event_id,
                &event.key.producer,
            ) {
                Ok(read) => {
                    claim = Some(PaymentClaim {
                        payment_key: payment_key(read.payment_id()),
                        claim: read,
                    });
                }
                Err(unmapped) => {
                    tracing::debug!(event_id = %event.key.event_id, %unmapped, "an event says nothing of its payment");
                    named_payment_id = Some(facts.payment_id.into_boxed_str());
                }
            }
        }
        Self {
            tenant: event.key.tenant,
            producer: event.key.producer,
            event_id: event.key.event_id,
            key,
            standing: event.standing,
            kind: event.kind,
            occurred_at: event.occurred_at.map(|time| time.as_microsecond()),
            received_at: event.received_at.as_microsecond(),
            body: event.body,
            body_sha256: event.body_sha256,
            secret: event.secret,
            leaf: event.leaf,
            headers: event.headers,
            claim,
            named_payment_id,
            fetch_needed: event.fetch.is_needed(),
        }
    }

    /// About how many bytes it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        // The rest is bounded: a few names, and ids that stand in the body.
        self.body
            .len()
            .saturating_add(self.headers.as_str().len())
            .saturating_add(self.event_id.len())
            .saturating_add(512)
    }

    /// What it is found by if it has the id of an event with another body.
    pub(super) fn conflict_key(&self) -> [u8; 16] {
        Verdict::Conflict.key(&self.key, &self.body_sha256)
    }
}

/// What an event is found by that is kept aside: its id and its body.
fn aside_key(key: &[u8; 16], verdict: Verdict, body_sha256: &[u8; 32]) -> [u8; 16] {
    half(
        Sha256::new()
            .chain_update(key)
            .chain_update(Verdict::name(verdict.number()))
            .chain_update(body_sha256),
    )
}

/// What a payment is found by within its tenant.
pub(super) fn payment_key(payment_id: &str) -> [u8; 16] {
    half(Sha256::new().chain_update(payment_id))
}

/// The first half of a hash.
pub(super) fn half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(hash.finalize().first_chunk::<16>().unwrap_or(&[0; 16]));
    half
}
