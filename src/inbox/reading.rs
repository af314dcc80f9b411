//! From a verified delivery to its events.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Event, IdempotencyKey, Standing};
use crate::signature::{Facts, Fetch, ItemVerdict, VerifiedDelivery};

/// Headers that are kept, at most.
const HEADERS_MAX: usize = 100;
/// Bytes of one header's value that are kept, at most.
const VALUE_BYTES_MAX: usize = 8192;
/// No header can be called so.
const PATH: &str = ":path";

impl Event {
    /// What its query string is kept as, among its headers.
    pub const PATH: &str = PATH;

    /// The events of a delivery: one for each item whose signature held, in their order.
    ///
    /// An event without an id of its own has that which the delivery's signature covers, and failing that the SHA-256
    /// of its body. An event without a time of its own bears the time that the signature covers.
    pub fn read(delivery: &VerifiedDelivery, received_at: Timestamp) -> Vec<Self> {
        let producer = delivery.from().producer();
        let headers = kept_headers(
            delivery.headers(),
            |name| delivery.reads_header(name),
            delivery.path_and_query(),
        );
        let items = delivery.items();
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
                    .or(delivery.signed_at()),
                received_at,
                body: item.body.clone(),
                body_sha256,
                secret: delivery.secret().cloned(),
                leaf: delivery.from().peer().leaf().clone(),
                headers: Arc::clone(&headers),
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

/// The headers that say something of the event. One that speaks of identity was believed by nobody and would mislead
/// whoever reads it here; one that bears a credential has no business in a database. But those from which the event was
/// read come first, whatever they are called, and what of the query string it was read from as the pseudo-header `:path`
/// (RFC 9113 §8.3.1): a replay reads them again.
fn kept_headers(
    headers: &HeaderMap,
    reads: impl Fn(&HeaderName) -> bool,
    path_and_query: Option<&str>,
) -> Arc<[(Box<str>, Box<str>)]> {
    let (read, others): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| reads(name));
    let others = others.into_iter().filter(|(name, _)| {
        !speaks_of_identity(name.as_str()) && !bears_a_credential(name.as_str())
    });
    let path = path_and_query.map(|path| (PATH.into(), path.into()));
    let named = read
        .into_iter()
        .chain(others)
        .take(HEADERS_MAX)
        .map(|(name, value)| {
            let value = value.as_bytes();
            let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
            (
                Box::from(name.as_str()),
                String::from_utf8_lossy(value).into(),
            )
        });
    path.into_iter().chain(named).collect()
}

/// Header names are lower-case here.
fn speaks_of_identity(name: &str) -> bool {
    const BEGINNINGS: [&str; 12] = [
        "client-cert",
        "remote-user",
        "ssl-client",
        "x-amzn-mtls-",
        "x-arr-clientcert",
        "x-authenticated-",
        "x-client-",
        "x-forwarded-client-",
        "x-forwarded-tls-client-",
        "x-forwarded-user",
        "x-remote-user",
        "x-ssl-",
    ];
    BEGINNINGS
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

fn bears_a_credential(name: &str) -> bool {
    let name = name.as_bytes();
    // One pass, and a word is only compared where its first letter stands: this is asked of each header of each delivery.
    name.iter().enumerate().any(|(at, first)| {
        let words: &[&[u8]] = match first {
            b'a' => &[b"api-key", b"apikey", b"authorization"],
            b'c' => &[b"cookie", b"credential"],
            b'p' => &[b"password"],
            b's' => &[b"secret"],
            b't' => &[b"token"],
            b'v' => &[b"verif-hash"],
            _ => return false,
        };
        let rest = name.get(at..).unwrap_or_default();
        words.iter().any(|word| rest.starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::kept_headers;

    #[test]
    fn headers_that_speak_of_identity_or_bear_credentials_are_not_kept() {
        let mut headers = HeaderMap::new();
        for name in [
            "content-type",
            "X-Client-Verify",
            "x-client-subject",
            "X-Forwarded-Client-Cert",
            "x-ssl-client-s-dn",
            "Client-Cert-Chain",
            "authorization",
            "cookie",
            "x-gitlab-token",
            "x-webhook-signature",
        ] {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("v"),
            );
        }
        let kept = kept_headers(&headers, |_| false, None);
        let names: Vec<&str> = kept.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["content-type", "x-webhook-signature"]);
    }

    #[test]
    fn what_an_event_was_read_from_is_kept_whatever_it_is_called() {
        let mut headers = HeaderMap::new();
        for at in 0..120 {
            let name = format!("x-{at}");
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("v"),
            );
        }
        headers.append("x-token-id", HeaderValue::from_static("id"));
        let kept = kept_headers(&headers, |name| name == "x-token-id", Some("/?a=1"));
        assert_eq!(kept.len(), 101);
        assert_eq!(kept[0], (":path".into(), "/?a=1".into()));
        assert_eq!(kept[1], ("x-token-id".into(), "id".into()));
    }

    #[test]
    fn a_value_that_is_no_text_is_kept_as_far_as_it_is_one() {
        let mut headers = HeaderMap::new();
        headers.append("x-odd", HeaderValue::from_bytes(b"a\xffb").unwrap());
        headers.append(
            "x-long",
            HeaderValue::from_str(&"x".repeat(10_000)).unwrap(),
        );
        let kept = kept_headers(&headers, |_| false, None);
        assert!(
            kept.iter()
                .any(|(name, value)| (&**name, &**value) == ("x-odd", "a\u{fffd}b"))
        );
        assert!(
            kept.iter()
                .any(|(name, value)| &**name == "x-long" && value.len() == 8192)
        );
    }
}
