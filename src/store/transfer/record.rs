//! A row of a store as an export has it: the same text whichever engine keeps it, with nothing of it lost.
//!
//! Times have microseconds, which is what both engines keep. A row says by itself whether it is sound: its key is that of
//! its names, its body has its SHA-256, and a payment's columns are those of its state.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::identity::{ShadowMark, TenantId};
use crate::inbox::IdempotencyKey;
use crate::payments::{Currency, Effect, Payment, Status};
use crate::refusals::Gate;
use crate::store::row::Verdict;
use crate::store::shadows;

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub(in crate::store) enum Record {
    Producer(ProducerRecord),
    Secret(SecretRecord),
    Leaf(LeafRecord),
    Payment(PaymentRecord),
    Event(Box<EventRecord>),
    Forgotten(ForgottenRecord),
    Refusal(RefusalRecord),
    Shadow(ShadowRecord),
}

/// What a row is of. In this order the kinds stand in an export: each names only what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Kind {
    Producers,
    Secrets,
    Leaves,
    Payments,
    Events,
    Forgotten,
    Refusals,
    Shadows,
}

/// A producer that sent something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct ProducerRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) producer: String,
}

/// A secret that verified deliveries, by reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct SecretRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) producer: String,
    pub(in crate::store) secret: String,
    pub(in crate::store) first_used: Micros,
    pub(in crate::store) last_used: Micros,
}

/// A client certificate that deliveries came with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct LeafRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) producer: String,
    pub(in crate::store) sha256: Hex<32>,
    pub(in crate::store) subject: String,
    pub(in crate::store) issuer: String,
    pub(in crate::store) serial: String,
    pub(in crate::store) spki_sha256: Hex<32>,
    pub(in crate::store) not_before: Micros,
    pub(in crate::store) not_after: Micros,
    pub(in crate::store) anchor_subject: Option<String>,
    pub(in crate::store) anchor_sha256: Option<Hex<32>>,
    pub(in crate::store) first_seen: Micros,
    pub(in crate::store) last_seen: Micros,
}

/// A payment. What people read of it stands beside the whole state, from which it follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct PaymentRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) payment_id: String,
    pub(in crate::store) status: Option<String>,
    pub(in crate::store) amount_minor: Option<i64>,
    pub(in crate::store) amount_refunded_minor: Option<i64>,
    pub(in crate::store) currency: Option<String>,
    pub(in crate::store) occurred_at: Option<Micros>,
    pub(in crate::store) last_event_id: Option<String>,
    pub(in crate::store) events: i64,
    pub(in crate::store) changed_at: Micros,
    /// [`Payment::encode`]'s form.
    pub(in crate::store) state: Value,
}

/// An event with all that came with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct EventRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) producer: String,
    pub(in crate::store) event_id: String,
    pub(in crate::store) key: Hex<16>,
    #[serde(rename = "type")]
    pub(in crate::store) kind: Option<String>,
    pub(in crate::store) verdict: Verdict,
    pub(in crate::store) effect: Option<Effect>,
    pub(in crate::store) duplicates: i64,
    pub(in crate::store) occurred_at: Option<Micros>,
    pub(in crate::store) received_at: Micros,
    pub(in crate::store) body_sha256: Hex<32>,
    pub(in crate::store) secret: Option<String>,
    pub(in crate::store) leaf_sha256: Hex<32>,
    /// The payment that it was applied to.
    pub(in crate::store) payment_id: Option<String>,
    /// The payment that it names without having been applied to it.
    pub(in crate::store) named_payment_id: Option<String>,
    pub(in crate::store) status: Option<String>,
    pub(in crate::store) amount_minor: Option<i64>,
    pub(in crate::store) amount_refunded_minor: Option<i64>,
    pub(in crate::store) currency: Option<String>,
    /// Whether the signature leaves something uncovered that is to be fetched from the provider.
    pub(in crate::store) fetch_needed: bool,
    /// Null, as the body is, once they are not kept any more.
    pub(in crate::store) headers: Option<Vec<(String, String)>>,
    pub(in crate::store) body: Option<String>,
    /// In the place of `body` if that is no plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) body_base64: Option<String>,
}

/// What recognises an event that has had its time, if it comes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct ForgottenRecord {
    pub(in crate::store) tenant_id: String,
    pub(in crate::store) key: Hex<16>,
    pub(in crate::store) body_sha256: Hex<32>,
    pub(in crate::store) duplicates: i64,
    pub(in crate::store) received_at: Micros,
}

/// A group of refusals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct RefusalRecord {
    pub(in crate::store) key: Hex<16>,
    pub(in crate::store) gate: String,
    pub(in crate::store) reason: String,
    pub(in crate::store) subject: Option<String>,
    pub(in crate::store) issuer: Option<String>,
    pub(in crate::store) serial: Option<String>,
    pub(in crate::store) address: String,
    pub(in crate::store) server_name: Option<String>,
    pub(in crate::store) tenant_id: Option<String>,
    pub(in crate::store) producer: Option<String>,
    pub(in crate::store) detail: Option<String>,
    pub(in crate::store) first_seen: Micros,
    pub(in crate::store) last_seen: Micros,
    pub(in crate::store) count: i64,
}

/// What a mark with `shadow = true` would have decided of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct ShadowRecord {
    pub(in crate::store) key: Hex<16>,
    pub(in crate::store) mark: String,
    pub(in crate::store) what: String,
    pub(in crate::store) tenant_id: Option<String>,
    pub(in crate::store) producer: Option<String>,
    pub(in crate::store) subject: String,
    pub(in crate::store) address: String,
    pub(in crate::store) accept: i64,
    pub(in crate::store) agree: i64,
    pub(in crate::store) refuse: i64,
    pub(in crate::store) first_seen: Micros,
    pub(in crate::store) last_seen: Micros,
}

/// Microseconds since the epoch, written as RFC 3339 in UTC with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Micros(pub(in crate::store) i64);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_microsecond(self.0).map_err(S::Error::custom)?;
        serializer.collect_str(&format_args!("{time:.6}"))
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let time: Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(time.as_microsecond()))
    }
}

/// Bytes, written as lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::store) struct Hex<const N: usize>(pub(in crate::store) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let bytes = hex::decode(&*text).map_err(D::Error::custom)?;
        let wrong = || D::Error::custom(format_args!("{N} bytes in hex are wanted"));
        bytes.try_into().map(Self).map_err(|_bytes| wrong())
    }
}

/// Why a row is none that a store wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// A name that nobody could have configured.
    #[error("its tenant_id is empty, or has control characters")]
    Tenant,
    /// Below zero stand the times of what is forgotten.
    #[error("it was received before 1970")]
    Time,
    /// The key does not follow from the names.
    #[error("its key is not that of the names in it")]
    Key,
    /// The body was altered.
    #[error("its body does not have the SHA-256 that body_sha256 tells")]
    Body,
    /// No base64, or base64 of what is a text.
    #[error("its body_base64 is not the base64 of what could not stand as body")]
    Base64,
    /// A body without headers, or headers without a body.
    #[error("it has one of headers and body without the other")]
    HalfKept,
    /// An effect that no event with this verdict has.
    #[error("its verdict, its effect and its payment_id do not go together")]
    Effect,
    /// Not one of the ledger's.
    #[error("its status or its currency is none of the ledger's")]
    Word,
    /// A number that cannot be less than nothing.
    #[error("it counts less than nothing")]
    Count,
    /// The state cannot be read.
    #[error("its state is none of a payment")]
    State,
    /// The columns are not those of the state.
    #[error("what it says of the payment does not follow from its state")]
    Columns,
    /// The gate or the address is none.
    #[error("its gate or its address is none")]
    Refusal,
    /// The mark or the address is none.
    #[error("its mark or its address is none")]
    Shadow,
}

impl Record {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Producer(_) => Kind::Producers,
            Self::Secret(_) => Kind::Secrets,
            Self::Leaf(_) => Kind::Leaves,
            Self::Payment(_) => Kind::Payments,
            Self::Event(_) => Kind::Events,
            Self::Forgotten(_) => Kind::Forgotten,
            Self::Refusal(_) => Kind::Refusals,
            Self::Shadow(_) => Kind::Shadows,
        }
    }

    /// What tells it from every other row of its kind.
    pub(in crate::store) fn identity(&self) -> (&str, &str, &[u8]) {
        match self {
            Self::Producer(row) => (&row.tenant_id, &row.producer, &[]),
            Self::Secret(row) => (&row.tenant_id, &row.producer, row.secret.as_bytes()),
            Self::Leaf(row) => (&row.tenant_id, &row.producer, &row.sha256.0),
            Self::Payment(row) => (&row.tenant_id, "", row.payment_id.as_bytes()),
            Self::Event(row) => (&row.tenant_id, "", &row.key.0),
            Self::Forgotten(row) => (&row.tenant_id, "", &row.key.0),
            Self::Refusal(row) => ("", "", &row.key.0),
            Self::Shadow(row) => (row.tenant_id.as_deref().unwrap_or(""), "", &row.key.0),
        }
    }

    /// What a person calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Producer(row) => format!("producer {} of {}", row.producer, row.tenant_id),
            Self::Secret(row) => format!("secret {} of {}", row.secret, row.tenant_id),
            Self::Leaf(row) => {
                format!(
                    "certificate {} of {}",
                    hex::encode(row.sha256.0),
                    row.tenant_id
                )
            }
            Self::Payment(row) => format!("payment {} of {}", row.payment_id, row.tenant_id),
            Self::Event(row) => format!("event {} of {}", row.event_id, row.tenant_id),
            Self::Forgotten(row) => {
                format!(
                    "forgotten event {} of {}",
                    hex::encode(row.key.0),
                    row.tenant_id
                )
            }
            Self::Refusal(row) => format!("refusal {}", hex::encode(row.key.0)),
            Self::Shadow(row) => format!("shadow {} {} met by {}", row.mark, row.what, row.subject),
        }
    }

    /// Whether it can be a row of a store.
    pub(super) fn check(&self) -> Result<(), Unsound> {
        let tenant_id = match self {
            Self::Producer(row) => Some(&row.tenant_id),
            Self::Secret(row) => Some(&row.tenant_id),
            Self::Leaf(row) => Some(&row.tenant_id),
            Self::Payment(row) => Some(&row.tenant_id),
            Self::Event(row) => Some(&row.tenant_id),
            Self::Forgotten(row) => Some(&row.tenant_id),
            Self::Refusal(row) => row.tenant_id.as_ref(),
            Self::Shadow(row) => row.tenant_id.as_ref(),
        };
        if tenant_id.is_some_and(|id| id.is_empty() || id.contains(char::is_control)) {
            return Err(Unsound::Tenant);
        }
        match self {
            Self::Producer(_) | Self::Secret(_) | Self::Leaf(_) => Ok(()),
            Self::Payment(row) => row.check(),
            Self::Event(row) => row.check(),
            Self::Forgotten(row) => row.check(),
            Self::Refusal(row) => row.check(),
            Self::Shadow(row) => row.check(),
        }
    }
}

impl PaymentRecord {
    /// The row of a payment.
    pub(in crate::store) fn of(tenant_id: String, payment: &Payment, changed_at: i64) -> Self {
        Self {
            tenant_id,
            payment_id: payment.payment_id().to_owned(),
            status: payment.status().map(|status| status.as_str().to_owned()),
            amount_minor: payment.amount_minor(),
            amount_refunded_minor: payment.amount_refunded_minor(),
            currency: payment
                .currency()
                .map(|currency| currency.code().to_owned()),
            occurred_at: payment
                .occurred_at()
                .map(|time| Micros(time.as_microsecond())),
            last_event_id: Some(payment.last_event_id().to_owned()),
            events: i64::try_from(payment.events()).unwrap_or(-1),
            changed_at: Micros(changed_at),
            state: serde_json::from_str(&payment.encode()).unwrap_or_default(),
        }
    }

    pub(in crate::store) fn payment(&self) -> Result<Payment, Unsound> {
        Payment::decode(&self.payment_id, &self.state.to_string()).map_err(|_form| Unsound::State)
    }

    fn check(&self) -> Result<(), Unsound> {
        if self.events < 1 {
            return Err(Unsound::Count);
        }
        let row = Self::of(self.tenant_id.clone(), &self.payment()?, self.changed_at.0);
        if row == *self {
            Ok(())
        } else {
            Err(Unsound::Columns)
        }
    }
}

impl EventRecord {
    /// Puts what came with it into the form that it has in an export.
    pub(in crate::store) fn keep(&mut self, headers: Vec<(String, String)>, body: Vec<u8>) {
        self.headers = Some(headers);
        match String::from_utf8(body) {
            Ok(text) if is_plain(&text) => self.body = Some(text),
            Ok(text) => self.body_base64 = Some(STANDARD.encode(text)),
            Err(binary) => self.body_base64 = Some(STANDARD.encode(binary.as_bytes())),
        }
    }

    /// The body's bytes, if they are kept.
    pub(in crate::store) fn body_bytes(&self) -> Result<Option<Cow<'_, [u8]>>, Unsound> {
        match (&self.body, &self.body_base64) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
            (None, Some(base64)) => {
                let bytes = STANDARD.decode(base64).map_err(|_form| Unsound::Base64)?;
                Ok(Some(Cow::Owned(bytes)))
            }
            (Some(_), Some(_)) => Err(Unsound::Base64),
        }
    }

    /// The digest of its idempotency key.
    pub(in crate::store) fn digest(&self) -> [u8; 16] {
        let key = IdempotencyKey {
            tenant: TenantId::new(&self.tenant_id),
            producer: self.producer.as_str().into(),
            event_id: self.event_id.as_str().into(),
        };
        key.digest()
    }

    fn check(&self) -> Result<(), Unsound> {
        if self.received_at.0 < 0 {
            return Err(Unsound::Time);
        }
        let key = self.verdict.key(&self.digest(), &self.body_sha256.0);
        if key != self.key.0 {
            return Err(Unsound::Key);
        }
        if let Some(body) = self.body_bytes()? {
            if <[u8; 32]>::from(Sha256::digest(&body)) != self.body_sha256.0 {
                return Err(Unsound::Body);
            }
            let plain = std::str::from_utf8(&body).is_ok_and(is_plain);
            if plain != self.body.is_some() {
                return Err(Unsound::Base64);
            }
        }
        if self.headers.is_some() != (self.body.is_some() || self.body_base64.is_some()) {
            return Err(Unsound::HalfKept);
        }
        let together = match (self.verdict, self.effect) {
            (Verdict::Accepted, Some(Effect::Applied | Effect::Superseded)) => {
                self.payment_id.is_some()
            }
            (Verdict::Accepted | Verdict::Quarantined, Some(Effect::Unmapped))
            | (Verdict::Conflict, None) => self.payment_id.is_none(),
            (Verdict::Accepted | Verdict::Quarantined | Verdict::Conflict, _) => false,
        };
        if !together || self.payment_id.is_some() && self.named_payment_id.is_some() {
            return Err(Unsound::Effect);
        }
        let status = self.status.as_deref().map(str::parse::<Status>);
        let currency = self.currency.as_deref().map(str::parse::<Currency>);
        if matches!(status, Some(Err(_))) || matches!(currency, Some(Err(_))) {
            return Err(Unsound::Word);
        }
        if self.duplicates < 0 {
            Err(Unsound::Count)
        } else {
            Ok(())
        }
    }
}

impl ForgottenRecord {
    fn check(&self) -> Result<(), Unsound> {
        if self.received_at.0 < 0 {
            return Err(Unsound::Time);
        }
        if self.duplicates < 0 {
            Err(Unsound::Count)
        } else {
            Ok(())
        }
    }
}

impl RefusalRecord {
    fn check(&self) -> Result<(), Unsound> {
        if self.gate.parse::<Gate>().is_err() || self.address.parse::<IpAddr>().is_err() {
            return Err(Unsound::Refusal);
        }
        if self.count < 0 {
            Err(Unsound::Count)
        } else {
            Ok(())
        }
    }
}

impl ShadowRecord {
    fn check(&self) -> Result<(), Unsound> {
        if self.mark.parse::<ShadowMark>().is_err() || self.address.parse::<IpAddr>().is_err() {
            return Err(Unsound::Shadow);
        }
        let key = shadows::key([
            &self.mark,
            &self.what,
            self.tenant_id.as_deref().unwrap_or_default(),
            self.producer.as_deref().unwrap_or_default(),
            &self.subject,
        ]);
        if key != self.key.0 {
            return Err(Unsound::Key);
        }
        if self.accept < 0 || self.agree < 0 || self.refuse < 0 {
            Err(Unsound::Count)
        } else {
            Ok(())
        }
    }
}

/// Whether a text may stand as it is. Control characters would be escaped, six bytes for one: base64 is shorter, and says
/// that this is for no person to read.
fn is_plain(text: &str) -> bool {
    !text
        .bytes()
        .any(|byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}
