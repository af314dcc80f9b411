//! From a verified delivery to its events.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Event, IdempotencyKey, KeptHeaders, Standing, kept_headers};
use crate::signature::{Facts, Fetch, ItemVerdict, VerifiedDelivery};

/// Bytes of headers that all events of a delivery keep among them. A delivery may have thousands, and each has the headers beside it
/// wherever it is written.
const HEADERS_BYTES_MAX: usize = 4 << 20;

impl Event {
    /// What its query string is kept as, among its headers.
    pub const PATH: &str = kept_headers::PATH;

    /// The events of a delivery: one for each item whose signature held, in their order.
    ///
    /// An event without an id of its own has that which the delivery's signature covers, and failing that the SHA-256
    /// of its body. An event without a time of its own bears the time that the signature covers,
    /// unless the profile says that this is only when the attempt was sent.
    pub fn read(delivery: &VerifiedDelivery<'_>, received_at: Timestamp) -> Vec<Self> {
        let producer = delivery.from().producer();
        let items = delivery.items();
        let headers = KeptHeaders::read(
            delivery.headers(),
            |name| delivery.reads_header(name),
            delivery.path_and_query(),
            HEADERS_BYTES_MAX / items.len().max(1),
        );
        // The delivery's id can only be the event's where there is one event.
        let signed_id = delivery.signed_id().filter(|_| items.len() == 1);
        let mut events = Vec::with_capacity(items.len());
        for item in items {
            let (facts, standing) = match &item.verdict {
                ItemVerdict::Verified(Ok(facts)) => (Some(facts), Standing::Readable),
                ItemVerdict::Verified(Err(_not_an_object)) => (None, Standing::Quarantined),
                ItemVerdict::Refused(_) => continue,
            };
            let body_sha256: [u8; 32] = Sha256::digest(&item.body).into();
            let event_id = facts
                .and_then(|facts| facts.event_id.as_deref())
                .or(signed_id)
                .filter(|id| !id.is_empty());
            events.push(Self {
                key: IdempotencyKey {
                    tenant: producer.tenant.clone(),
                    producer: Arc::clone(&producer.name),
                    event_id: event_id.map_or_else(|| hex::encode(body_sha256).into(), Into::into),
                },
                kind: facts
                    .and_then(|facts| facts.event_type.as_deref())
                    .map(Into::into),
                occurred_at: facts
                    .and_then(|facts| facts.occurred_at)
                    .or(delivery.happened_at()),
                received_at,
                body: item.body.clone(),
                body_sha256,
                secret: delivery.secret().cloned(),
                leaf: delivery.from().peer().leaf().clone(),
                headers: headers.clone(),
                payment: facts.and_then(payment),
                fetch: facts.map_or(Fetch::Unneeded, |facts| facts.fetch.clone()),
                standing,
            });
        }
        events
    }
}

fn payment(facts: &Facts) -> Option<crate::signature::PaymentFacts> {
    facts.payment.as_ref().ok().cloned()
}
