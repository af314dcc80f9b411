//! What is read from a store: the objects that commands and the operator's side print, field for field.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::refusals::Group;
use crate::x509::Serial;

/// What a store gives of what it keeps aside under one id, at most.
pub(super) const ASIDE_MAX: i64 = 100;

/// A time, printed as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub Timestamp);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Microseconds, as the engines keep them.
pub(super) fn millis(microseconds: i64) -> Millis {
    Millis(time(microseconds))
}

/// Every stored time was a `Timestamp` once; a damaged one must not stop a list.
pub(super) fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

/// What was counted, as the engines keep it; a damaged one must not stop a list either.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// An event, as lists have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    /// Whose it is.
    pub tenant_id: String,
    /// Who sent it.
    pub producer: String,
    /// Its id.
    pub event_id: String,
    /// Its type, as the producer calls it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The payment that it names.
    pub payment_id: Option<String>,
    /// `accepted`, `conflict` or `quarantined`.
    pub verdict: &'static str,
    /// `applied`, `superseded` or `unmapped`; null for a conflict, which the ledger never sees.
    pub effect: Option<&'static str>,
    /// Whether the provider must be asked for what the signature leaves uncovered.
    pub fetch_needed: bool,
    /// How often it came again.
    pub duplicates: u64,
    /// When it happened, if the signature covers a time.
    pub occurred_at: Option<Millis>,
    /// When it first came.
    pub received_at: Millis,
    /// Lower-case hex.
    pub body_sha256: String,
    /// The reference of the secret that verified it.
    pub secret: Option<String>,
    /// The certificate that it came with.
    pub leaf: LeafView,
}

/// The certificate of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeafView {
    /// RFC 4514.
    pub subject: String,
    /// Lower-case hex.
    pub serial: String,
    /// Of the DER, lower-case hex.
    pub sha256: String,
}

/// An event with what came with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventDetail {
    /// As lists have it.
    #[serde(flatten)]
    pub event: EventView,
    /// The headers that were kept; the values of a repeated one are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Said where the body has had its time.
    #[serde(flatten)]
    pub gone: Option<BodyGone>,
}

/// Instead of a body: `"body": null, "body_pruned": true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyGone;

impl Serialize for BodyGone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("BodyGone", 2)?;
        fields.serialize_field("body", &())?;
        fields.serialize_field("body_pruned", &true)?;
        fields.end()
    }
}

impl EventDetail {
    /// An event and what is kept of what came with it: a JSON array of `[name, value]`, and the body.
    pub(super) fn new(event: EventView, kept: Option<(String, Vec<u8>)>) -> Self {
        let mut detail = Self {
            event,
            headers: BTreeMap::new(),
            body: None,
            body_base64: None,
            gone: None,
        };
        let Some((pairs, bytes)) = kept else {
            detail.gone = Some(BodyGone);
            return detail;
        };
        for (name, value) in
            serde_json::from_str::<Vec<(String, String)>>(&pairs).unwrap_or_default()
        {
            detail
                .headers
                .entry(name)
                .and_modify(|before: &mut String| {
                    before.push_str(", ");
                    before.push_str(&value);
                })
                .or_insert(value);
        }
        match String::from_utf8(bytes) {
            Ok(text) => detail.body = Some(text),
            Err(binary) => detail.body_base64 = Some(STANDARD.encode(binary.as_bytes())),
        }
        detail
    }
}

/// A payment, as lists have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaymentView {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub payment_id: String,
    /// The canonical status.
    pub status: Option<String>,
    /// In the currency's minor unit.
    pub amount_minor: Option<i64>,
    /// In the currency's minor unit, cumulative.
    pub amount_refunded_minor: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// When the greatest of its events happened.
    pub occurred_at: Option<Millis>,
    /// The greatest of its events.
    pub last_event_id: Option<String>,
    /// How many accepted events it has.
    pub events: u64,
}

/// A payment with the events that made it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaymentDetail {
    /// As lists have it.
    #[serde(flatten)]
    pub payment: PaymentView,
    /// Its accepted events, by the time at which they happened, the latest first.
    pub history: Vec<HistoryView>,
}

/// One accepted event of a payment, and what it claimed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryView {
    /// The event's id.
    pub event_id: String,
    /// Who sent it.
    pub producer: String,
    /// Its type, as the producer calls it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `applied` or `superseded`.
    pub effect: Option<&'static str>,
    /// The status that it states.
    pub status: Option<String>,
    /// The amount that it states.
    pub amount_minor: Option<i64>,
    /// The refunded amount that it states.
    pub amount_refunded_minor: Option<i64>,
    /// The currency that it states.
    pub currency: Option<String>,
    /// When it happened.
    pub occurred_at: Option<Millis>,
    /// When it first came.
    pub received_at: Millis,
}

/// A group of refusals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalView {
    /// `handshake`, `identity` or `signature`.
    pub gate: String,
    /// The handshake's reason or the problem's name.
    pub reason: String,
    /// As claimed.
    pub subject: Option<String>,
    /// As claimed.
    pub issuer: Option<String>,
    /// As claimed.
    pub serial: Option<String>,
    /// The peer's address.
    pub address: String,
    /// The SNI.
    pub server_name: Option<String>,
    /// The configured producer whom the subject names.
    pub producer: Option<String>,
    /// That producer's tenant.
    pub tenant_id: Option<String>,
    /// When the first one was.
    pub first_seen: Millis,
    /// When the last one was.
    pub last_seen: Millis,
    /// How many there were.
    pub count: u64,
    /// More about the last one.
    pub detail: Option<String>,
}

impl From<Group> for RefusalView {
    fn from(group: Group) -> Self {
        let (tenant_id, producer) = match group.producer {
            Some(claimed) => (Some(claimed.tenant_id.into()), Some(claimed.name.into())),
            None => (None, None),
        };
        Self {
            gate: group.gate.as_str().to_owned(),
            reason: group.reason.into(),
            subject: group.subject.map(String::from),
            issuer: group.issuer.map(String::from),
            serial: group.serial.map(String::from),
            address: group.address.to_canonical().to_string(),
            server_name: group.server_name.map(String::from),
            producer,
            tenant_id,
            first_seen: Millis(group.first_seen),
            last_seen: Millis(group.last_seen),
            count: group.count,
            detail: group.detail.map(String::from),
        }
    }
}

/// A client certificate that deliveries came with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeafSeen {
    /// Whose producer it stands for.
    pub tenant_id: String,
    /// The producer's name.
    pub producer: String,
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// Of the DER, lower-case hex.
    pub sha256: String,
    /// Of the SubjectPublicKeyInfo, lower-case hex.
    pub spki_sha256: String,
    /// The first moment of its validity.
    pub not_before: Millis,
    /// The last moment of its validity.
    pub not_after: Millis,
    /// The subject of the trust anchor that it last chained to.
    pub anchor_subject: Option<String>,
    /// The SHA-256 of that anchor.
    pub anchor_sha256: Option<String>,
    /// When it first came.
    pub first_seen: Millis,
    /// When it last came.
    pub last_seen: Millis,
}

impl LeafSeen {
    pub(super) fn is_of_a_rehearsal(&self) -> bool {
        let serial = self.serial.parse();
        serial.is_ok_and(|serial: Serial| serial.is_of_a_rehearsal())
    }
}

/// A secret that verified deliveries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecretSeen {
    /// Whose producer has it.
    pub tenant_id: String,
    /// The producer's name.
    pub producer: String,
    /// Its reference, never its value.
    pub secret: String,
    /// When it first verified a delivery.
    pub first_used: Millis,
    /// When it last did.
    pub last_used: Millis,
}

/// What a mark with `shadow = true` would have decided of one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowSeen {
    /// `client_ca`, `producer`, `pin` or `secret`.
    pub mark: String,
    /// Which one: a CA's SHA-256, a producer's name, a pin, a secret's reference.
    pub what: String,
    /// The tenant whose producer it is, or whom the subject names.
    pub tenant_id: Option<String>,
    /// That producer's name.
    pub producer: Option<String>,
    /// The subject that met the mark.
    pub subject: String,
    /// Where it last came from.
    pub address: String,
    /// How often it would have accepted what was refused.
    pub accept: u64,
    /// How often it would have accepted what was accepted as well.
    pub agree: u64,
    /// How often it would have refused.
    pub refuse: u64,
    /// When it was first met.
    pub first_seen: Millis,
    /// When it was last met.
    pub last_seen: Millis,
}

/// What a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only what was received (payments: changed; refusals: last seen) at this time or later.
    pub since: Option<Timestamp>,
    /// Where the last page ended.
    pub after: Option<Cursor>,
    /// At most this many; the store gives no more than [`Filter::LIMIT_MAX`] at once.
    pub limit: usize,
}

impl Filter {
    /// The longest page.
    pub const LIMIT_MAX: usize = 1000;
}

/// A page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// A place in a list: the time and number of the last object before it. Users see it as one opaque text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) time: i64,
    pub(super) number: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time, self.number)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that no list gave as its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: give `after` the text that the last page has as `next`")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (time, number) = text.split_once('.').ok_or(NotACursor)?;
        match (time.parse(), number.parse()) {
            (Ok(time), Ok(number)) => Ok(Self { time, number }),
            (Err(_), _) | (_, Err(_)) => Err(NotACursor),
        }
    }
}
