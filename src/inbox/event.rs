//! What a delivery tells, in the form in which it is kept.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::KeptHeaders;
use crate::identity::TenantId;
use crate::signature::{Fetch, PaymentFacts};
use crate::x509::Certificate;

/// What makes an event the same event. The producer is part of it: two producers of one tenant cannot take each
/// other's ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey {
    /// Whose event it is.
    pub tenant: TenantId,
    /// The producer's name within the tenant.
    pub producer: Arc<str>,
    /// The event's id, as the signature covers it; lower-case hex SHA-256 of the body if it has none.
    pub event_id: Box<str>,
}

impl IdempotencyKey {
    /// 128 bits of SHA-256 over the parts, each with its length before it: what a store's unique index holds, so that
    /// the index stays narrow however long the ids are.
    pub fn digest(&self) -> [u8; 16] {
        digest16(&[
            self.tenant.as_str().as_bytes(),
            self.producer.as_bytes(),
            self.event_id.as_bytes(),
        ])
    }
}

/// 128 bits of SHA-256 over parts that cannot run into each other, for each has its length before it. Stores find things by it, so it never
/// changes.
pub fn digest16(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(hash.finalize().first_chunk::<16>().unwrap_or(&[0; 16]));
    half
}

/// Whether an event could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is a JSON object (or whatever its profile asks for).
    Readable,
    /// It is signed, but cannot be read: kept, and refused.
    Quarantined,
}

/// One event of a verified delivery. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is the same event by.
    pub key: IdempotencyKey,
    /// Its type, as the producer calls it.
    pub kind: Option<Box<str>>,
    /// When it happened: its own time, else the time that its signature covers.
    pub occurred_at: Option<Timestamp>,
    /// When the delivery was verified here.
    pub received_at: Timestamp,
    /// The bytes that were signed, or this item's share of them.
    pub body: Bytes,
    /// SHA-256 of `body`.
    pub body_sha256: [u8; 32],
    /// The reference of the secret that verified it.
    pub secret: Option<Arc<str>>,
    /// The certificate that the delivery came with.
    pub leaf: Certificate,
    /// The headers that are kept; those that speak of identity or bear credentials are not among them.
    pub headers: KeptHeaders,
    /// What it says of a payment, as it stands in the body.
    pub payment: Option<PaymentFacts>,
    /// Whether the provider must be asked for what the signature leaves uncovered.
    pub fetch: Fetch,
    /// Whether it could be read.
    pub standing: Standing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_finds_things_by_is_what_it_was() {
        let found_by = digest16(&[b"a", b"", b"bc"]);
        assert_eq!(hex::encode(found_by), "fb9abcb07180be92066c09ce253c0a06");
        assert_ne!(digest16(&[b"ab", b"c"]), digest16(&[b"a", b"bc"]));
    }
}
