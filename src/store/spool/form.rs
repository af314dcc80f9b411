//! An event as the spool's file has it: everything of it, in a form with a number.
//!
//! What an older version wrote stays readable: a form that was released is never changed, and another follows it. The
//! body stands beside the rest, as the bytes that it is.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::identity::TenantId;
use crate::inbox::{Event, IdempotencyKey, KeptHeaders, Standing};
use crate::signature::{AmountUnit, Fetch, PaymentFacts};
use crate::x509::{Certificate, X509Fault};

/// The form that is written now.
pub(super) const FORM: i64 = 1;

/// Why a row of the spool is no event here.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvent {
    /// A newer version wrote it.
    #[error("the event is written in form {0}, which this version does not know")]
    Form(i64),
    /// The text is not what this form has.
    #[error("the event's text cannot be read")]
    Text(#[from] serde_json::Error),
    /// A value is not what it should be.
    #[error("the event's {0} cannot be read")]
    Value(&'static str),
    /// The certificate does not decode.
    #[error("the event's certificate cannot be read")]
    Leaf(#[from] X509Fault),
    /// The body is not the one that came.
    #[error("the body is not the one whose digest was written down")]
    Body,
}

/// Form 1: a JSON object. Times are RFC 3339 to the nanosecond, bytes are hex or base64.
#[derive(Debug, Serialize, Deserialize)]
struct First<Headers> {
    tenant: String,
    producer: String,
    event_id: String,
    kind: Option<String>,
    occurred_at: Option<String>,
    received_at: String,
    body_sha256: String,
    secret: Option<String>,
    leaf: String,
    headers: Headers,
    #[serde(default)]
    fetch: FirstFetch,
    payment: Option<FirstPayment>,
    standing: FirstStanding,
}

#[derive(Debug, Serialize, Deserialize)]
struct FirstPayment {
    payment_id: String,
    status: Option<String>,
    amount: Option<String>,
    amount_refunded: Option<String>,
    currency: Option<String>,
    unit: AmountUnit,
    minor_digits: Option<u8>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FirstFetch {
    #[default]
    Unneeded,
    Needed {
        reference: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FirstStanding {
    Readable,
    Quarantined,
}

/// All of the event but its body.
pub(super) fn write(event: &Event) -> Result<String, serde_json::Error> {
    // Taken apart whole: a field that is added does not compile until it is kept here.
    let Event {
        key,
        kind,
        occurred_at,
        received_at,
        body: _,
        body_sha256,
        secret,
        leaf,
        headers,
        fetch,
        payment,
        standing,
    } = event;
    let IdempotencyKey {
        tenant,
        producer,
        event_id,
    } = key;
    let first = First {
        tenant: tenant.as_str().to_owned(),
        producer: producer.to_string(),
        event_id: event_id.to_string(),
        kind: kind.as_deref().map(str::to_owned),
        occurred_at: occurred_at.map(|time| time.to_string()),
        received_at: received_at.to_string(),
        body_sha256: hex::encode(body_sha256),
        secret: secret.as_deref().map(str::to_owned),
        leaf: BASE64_STANDARD.encode(leaf.der()),
        headers: serde_json::from_str::<&RawValue>(headers.as_str())?,
        fetch: match fetch {
            Fetch::Unneeded => FirstFetch::Unneeded,
            Fetch::Needed { reference } => FirstFetch::Needed {
                reference: reference.as_deref().map(str::to_owned),
            },
        },
        payment: payment.as_ref().map(write_payment),
        standing: match standing {
            Standing::Readable => FirstStanding::Readable,
            Standing::Quarantined => FirstStanding::Quarantined,
        },
    };
    serde_json::to_string(&first)
}

fn write_payment(facts: &PaymentFacts) -> FirstPayment {
    let PaymentFacts {
        payment_id,
        status,
        amount,
        amount_refunded,
        currency,
        unit,
        minor_digits,
    } = facts.clone();
    FirstPayment {
        payment_id,
        status,
        amount,
        amount_refunded,
        currency,
        unit,
        minor_digits,
    }
}

/// The event that was written.
pub(super) fn read(form: i64, text: &str, body: Vec<u8>) -> Result<Event, NoEvent> {
    if form != FORM {
        return Err(NoEvent::Form(form));
    }
    let first: First<Vec<(String, String)>> = serde_json::from_str(text)?;
    let body_sha256: [u8; 32] = Sha256::digest(&body).into();
    if hex::encode(body_sha256) != first.body_sha256 {
        return Err(NoEvent::Body);
    }
    let leaf = BASE64_STANDARD
        .decode(&first.leaf)
        .map_err(|_no_base64| NoEvent::Value("certificate"))?;
    let headers = first.headers.iter();
    let headers = KeptHeaders::of(headers.map(|(name, value)| (&**name, Cow::Borrowed(&**value))));
    Ok(Event {
        key: IdempotencyKey {
            tenant: TenantId::new(&first.tenant),
            producer: Arc::from(first.producer),
            event_id: first.event_id.into_boxed_str(),
        },
        kind: first.kind.map(String::into_boxed_str),
        occurred_at: match first.occurred_at {
            Some(text) => Some(time(&text, "occurred_at")?),
            None => None,
        },
        received_at: time(&first.received_at, "received_at")?,
        body: Bytes::from(body),
        body_sha256,
        secret: first.secret.map(Arc::from),
        leaf: Certificate::decode(&leaf)?,
        headers,
        fetch: match first.fetch {
            FirstFetch::Unneeded => Fetch::Unneeded,
            FirstFetch::Needed { reference } => Fetch::Needed {
                reference: reference.map(String::into_boxed_str),
            },
        },
        payment: first.payment.map(read_payment),
        standing: match first.standing {
            FirstStanding::Readable => Standing::Readable,
            FirstStanding::Quarantined => Standing::Quarantined,
        },
    })
}

fn read_payment(first: FirstPayment) -> PaymentFacts {
    let FirstPayment {
        payment_id,
        status,
        amount,
        amount_refunded,
        currency,
        unit,
        minor_digits,
    } = first;
    PaymentFacts {
        payment_id,
        status,
        amount,
        amount_refunded,
        currency,
        unit,
        minor_digits,
    }
}

fn time(text: &str, what: &'static str) -> Result<Timestamp, NoEvent> {
    text.parse().map_err(|_no_time| NoEvent::Value(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{event, payment_event, with_body};

    #[test]
    fn an_event_comes_back_as_it_was() {
        let mut odd = payment_event("evt\0\u{ffff}\"é", "pay\0", "succeeded", 5);
        odd.received_at = Timestamp::from_nanosecond(1_790_000_010_123_456_789).unwrap();
        odd.occurred_at = Some(Timestamp::from_nanosecond(-1).unwrap());
        odd.headers =
            KeptHeaders::of([("x-twice", "a\u{fffd}b".into()), ("x-twice", "".into())].into_iter());
        if let Some(facts) = &mut odd.payment {
            (facts.unit, facts.minor_digits) = (AmountUnit::Major, Some(3));
        }
        let bare = Event {
            kind: None,
            occurred_at: None,
            secret: None,
            standing: Standing::Quarantined,
            ..with_body(event("evt_2"), vec![0xff, 0, 0xfe])
        };
        for event in [odd, bare] {
            let text = write(&event).unwrap();
            let back = read(FORM, &text, event.body.to_vec()).unwrap();
            // Every field is in it.
            assert_eq!(format!("{back:?}"), format!("{event:?}"));
            assert_eq!(back.leaf.der(), event.leaf.der());
        }
    }

    /// What the first version wrote, to the letter: it is read for ever.
    #[test]
    fn form_1_is_read() {
        let leaf = BASE64_STANDARD.encode(crate::store::fixtures::leaf().der());
        let text = format!(
            r#"{{"tenant":"tenant-42","producer":"p","event_id":"evt_1","kind":"payment.succeeded",
            "occurred_at":"2026-09-21T14:13:20Z","received_at":"2026-09-21T14:13:30.000000001Z",
            "body_sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","secret":"file:s",
            "leaf":"{leaf}","headers":[["content-type","application/json"]],
            "payment":{{"payment_id":"pay_1","status":"succeeded","amount":"1999","amount_refunded":null,"currency":"EUR",
            "unit":"minor","minor_digits":null}},"standing":"readable"}}"#
        );
        let event = read(1, &text, b"{}".to_vec()).unwrap();
        assert_eq!(event.received_at.subsec_nanosecond(), 1);
        assert_eq!(event.payment.unwrap().amount.as_deref(), Some("1999"));
        assert!(matches!(
            read(2, &text, b"{}".to_vec()),
            Err(NoEvent::Form(2))
        ));
        assert!(matches!(
            read(1, &text, b"{ }".to_vec()),
            Err(NoEvent::Body)
        ));
        assert!(matches!(
            read(1, "{}", b"{}".to_vec()),
            Err(NoEvent::Text(_))
        ));
    }
}
