//! A profile's written form: what stands under `[profiles.NAME]` in the configuration, and in the
//! embedded `profiles.toml`. Plain data; [`Profile::compile`](crate::signature::Profile::compile) gives it meaning and
//! finds its faults. There are no loops, no conditions on anything but texts, and no user code: a profile
//! can only choose bytes.
//!
//! ## Texts that choose values
//!
//! - *Template* (`content`, a challenge's `body`): literal text with `{value}` inside, where a value is `body`, `timestamp`,
//!   `id`, `url`, `method`, `path_and_query`, `secret`, `key_id`, `header:NAME`, `query:NAME`, `form:NAME`, `json:/POINTER`,
//!   `item:KEY`, `config:NAME`; before it may stand filters, `base64:`, `sha256_base64:`, `sha256_hex:`, `crc32:`, `upper:`,
//!   `lower:`, and after it one of `|after:TEXT` (what follows the last TEXT), `|without:TEXT` and `|is:SHAPE` (else the
//!   delivery is malformed; `amount`, `currency`, `word`, `datetime`, `datetime-ms-or-s`, `unix` or `no-digit-first`): where
//!   values stand side by side, these keep one from being cut up into others. `[...]` is a group that vanishes when a value
//!   in it is absent, and begins with a text of its own. Braces and brackets that stand for themselves are doubled: `{{`,
//!   `}}`, `[[`, `]]`.
//! - *Place* (in `[event]`): `/a/b` is a JSON pointer; `=TEXT` is that text; anything else is a template of
//!   `{/pointer}`, `{type}` (in `status_by` alone), `{id}`, `{header:NAME}`, `{query:NAME}` (any of them in one case as
//!   `{lower:…}` or `{upper:…}`; of two numbers with `_` between them the first, and anything else as it is, as
//!   `{…|first_number:_}`) and literals, and is absent when any of its values is. A list is tried from the left: the first that is
//!   present and not empty counts.
//! - *List pointer* (`each`): a JSON pointer with one `*`, as `/events/*` or `/*`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::algorithm::{Algorithm, MacKind};
pub use crate::signature::challenge::{ChallengeDescriptor, ChallengeText};
pub use crate::signature::mapping::refunds::RefundsDescriptor;

/// A whole profile. Every key may be absent, so that `extends` can fill it in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileDescriptor {
    /// The name of the profile that fills in what this one leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// The provider's name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where the facts are documented: links, or files of the provider's own library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<String>>,
    /// What a user should know, in a sentence or two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why the scheme is weaker than HMAC-SHA-256 over the body. Must be there for SHA-1, MD5 and `mac = "hash"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak: Option<String>,
    /// What the signature covers; default `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<Coverage>,
    /// How the delivery is signed. Absent if, and only if, `signed = "connection"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureDescriptor>,
    /// The time that the sender states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampDescriptor>,
    /// Where the event and its payment stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventDescriptor>,
    /// What the sender expects to hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerDescriptor>,
    /// The handshakes that the provider opens with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Vec<ChallengeDescriptor>>,
    /// What `send` writes as the provider does, and no verifier looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentDescriptor>,
    /// Bodies for `send`, by event type; `"charge.*"` serves all that begin so. `$ID`, `$TYPE`, `$PAYMENT`, `$UNIX`,
    /// `$UNIX_MS`, `$RFC3339`, `$DATE_TIME`, `$DIGITS`, `$AMOUNT_MINOR`, `$AMOUNT_MAJOR`, `$CURRENCY` and `$REST` (for `*`) are filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<BTreeMap<String, String>>,
}

/// What a signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Every byte of the body.
    Body,
    /// The fields that `content` names (Adyen classic): nothing else becomes money.
    Fields,
    /// Only a reference to the object (Mercado Pago): the payment must be fetched.
    Reference,
    /// Nothing is signed: the mutual TLS connection is the only proof (Pix).
    Connection,
}

/// One text, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// A single text.
    One(String),
    /// A list of them.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
        .map(String::as_str)
    }
}

/// Where a text of the request stands: exactly one key is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceDescriptor {
    /// The first of these headers that is present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany>,
    /// A field of the form body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// A JSON pointer into the body (into the item, where `each` is set).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A parameter of the query string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// An item of the signature's list: by its key, or by its position (`"+0"` is the first).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
}

/// `[signature]`: where it stands, what it is, what it covers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureDescriptor {
    /// Where the signature stands: `header`, `form`, `json` or `query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PlaceDescriptor>,
    /// Try every header of `from`, not only the first that is present (Box); default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// What separates items: `,` `;` `&` or a space. White space around an item is dropped. Absent: one item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What separates an item's key from its value, at the first one: `=` `,` `|` `/` `:` or a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Which items are signatures: keys (`["v1"]`; `*` stands for any key, `{key_id}` for the one that the producer must
    /// configure), `"*"` for every whole item, `"+1"` for each item from position 1 on. Default `"*"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pick: Option<OneOrMany>,
    /// An item without the key is a signature too (`sha256=` is optional); default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare: Option<bool>,
    /// `hmac` (default) or `hash`: a plain digest over content that holds the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacKind>,
    /// The algorithm, fixed or chosen by the sender among those allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<AlgorithmDescriptor>,
    /// How the signature is written; default `hex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// How the key comes from the displayed secret; default `utf8`, `public-key` for asymmetric algorithms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyForm>,
    /// A prefix of the displayed secret that is no part of the key (`whsec_`), where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// What is signed: a template, or several when the provider signs one of several forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<OneOrMany>,
    /// Where `{id}` stands: any place that the content covers by `{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<PlaceDescriptor>,
    /// Each element of this list bears a signature of its own (Adyen classic).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Other schemes over the same content, chosen by the prefix of the secret (Standard Webhooks `v1a`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<Vec<AlsoDescriptor>>,
}

/// `[[signature.also]]`: another scheme that the same header may carry. A secret that bears its
/// `strip_prefix` is for this scheme, any other for the main one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlsoDescriptor {
    /// The keys of its items.
    pub pick: OneOrMany,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Which secrets are for it.
    pub strip_prefix: String,
    /// How its signature is written; default as in `[signature]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// How its key comes from the secret; default as in `[signature]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyForm>,
}

/// A fixed algorithm, or one that an item of the signature names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "an algorithm (md5, sha1, sha256, sha384, sha512, rsa-pkcs1-sha256, rsa-pss-sha256, \
                 ecdsa-p256-sha256, ecdsa-p384-sha384 or ed25519), or { item = \"KEY\", allow = [ALGORITHMS] }"
)]
pub enum AlgorithmDescriptor {
    /// Always this one.
    Fixed(Algorithm),
    /// The one that the item names, if it is allowed (PayU); a delivery without it is malformed.
    ByItem(AlgorithmByItem),
}

/// `{ item = "algorithm", allow = ["sha256"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmByItem {
    /// The key of the item that names the algorithm (`MD5`, `SHA-256`, `sha256`).
    pub item: String,
    /// What it may name.
    pub allow: Vec<Algorithm>,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Hexadecimal, in either case.
    Hex,
    /// Base64, with or without padding.
    Base64,
    /// Base64url, with or without padding.
    Base64url,
    /// Base64 of the lower-case hexadecimal text (Rapyd).
    Base64OfHex,
}

/// How a key comes from the displayed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// The secret's own bytes.
    Utf8,
    /// Decoded from hexadecimal.
    Hex,
    /// Decoded from base64 (padding may be missing).
    Base64,
    /// The SHA-1 digest of the secret (Braintree).
    Sha1,
    /// A public key: PEM or base64 SubjectPublicKeyInfo, or the base64 of a raw Ed25519 key.
    PublicKey,
}

/// `[timestamp]`: where the sender's time stands, and how far it may be off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampDescriptor {
    /// `header`, `item`, `json`, `form` or `query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PlaceDescriptor>,
    /// How it is written; default `s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
    /// How old a delivery may be (`"5m"`); absent: not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<String>,
    /// How far ahead of our clock it may be; absent: not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub future: Option<String>,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Unix seconds.
    S,
    /// Unix milliseconds.
    Ms,
    /// Unix seconds up to 11 digits, milliseconds from 12 on (providers whose own pages disagree).
    SOrMs,
    /// RFC 3339.
    Rfc3339,
    /// An HTTP date (RFC 9110 §5.6.7).
    HttpDate,
    /// Date and time in UTC to the millisecond, `2026-11-27 08:00:00.000` (BlueSnap; zeros at the end may be left out), or Unix seconds.
    DatetimeMsOrS,
}

/// `[event]`: what the delivery tells, and where. Every value is a *place* (see the module's page).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventDescriptor {
    /// How the body is to be read; default `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<BodyFormat>,
    /// The form field that holds the document (`payload`, `bt_payload`), for the form formats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// A batch: each element of this list is an event, and every pointer is relative to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// The event's id; absent: the SHA-256 of the body, with what is signed and read around it, or of the fields that are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<OneOrMany>,
    /// The event's type, in the provider's words.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<OneOrMany>,
    /// When it happened, in the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<OneOrMany>,
    /// How that time is written; absent: RFC 3339 for texts, Unix seconds or milliseconds by size for numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at_unit: Option<TimeUnit>,
    /// Whose event it is: the provider's customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<OneOrMany>,
    /// The payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<OneOrMany>,
    /// The payment's amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<OneOrMany>,
    /// The unit of `amount` and `amount_refunded`; default `minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_unit: Option<AmountUnit>,
    /// How much of it has been refunded so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_refunded: Option<OneOrMany>,
    /// The currency, in either case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<OneOrMany>,
    /// Which keys are looked up in `status`, from the left; default `{type}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_by: Option<OneOrMany>,
    /// From the provider's types (or what `status_by` makes) to canonical statuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, String>>,
    /// What becomes of an event whose status the table lacks; default `unmapped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<Unlisted>,
    /// What the signature leaves uncovered must be fetched: events are marked so. Always, where it covers a reference alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_needed: Option<bool>,
    /// What the time under the signature tells; default `happened`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_time: Option<SignedTime>,
    /// Places, and the texts of which each must have one (an absent place has the empty text): any other event claims nothing, and is
    /// to be fetched. The signature need not cover them, for they only take away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeMap<String, OneOrMany>>,
    /// How many decimals this provider's minor unit has where it does not keep to ISO 4217 (Stripe counts `ISK = 2`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_digits: Option<BTreeMap<String, i64>>,
    /// The refunds that the body lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunds: Option<RefundsDescriptor>,
    /// Other places for some types: the first that fits replaces what it names. Those of a profile that is extended come behind
    /// one's own; an empty list takes them away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Vec<WhenDescriptor>>,
}

/// What becomes of an event whose status the table lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unlisted {
    /// It is kept, and claims nothing.
    #[default]
    Unmapped,
    /// What else it states of a payment (amounts, a currency) counts.
    Mapped,
}

/// What the time under the signature tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedTime {
    /// When the event happened, as far as the body does not say it.
    #[default]
    Happened,
    /// When this attempt was sent: a retry has another one, and it puts no event before another.
    Sent,
}

/// `[[event.when]]`: other places for events of some types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenDescriptor {
    /// The types; `charge.*` is every type that begins so. Absent: any type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<OneOrMany>,
    /// Places and the text that each must have (numbers and booleans as they stand in the body; an absent one
    /// has the empty text).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<BTreeMap<String, OneOrMany>>,
    /// Places that must have a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<OneOrMany>,
    /// Places that must have one and the same text (what was refunded, and what was paid).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same: Option<Vec<String>>,
    /// Instead of `event.payment_id`; an empty list takes the place away, here and below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<OneOrMany>,
    /// Instead of `event.amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<OneOrMany>,
    /// Instead of `event.amount_unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_unit: Option<AmountUnit>,
    /// Instead of `event.amount_refunded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_refunded: Option<OneOrMany>,
    /// Instead of `event.currency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<OneOrMany>,
    /// Instead of `event.occurred_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<OneOrMany>,
    /// Instead of `event.fetch_needed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_needed: Option<bool>,
    /// This canonical status, whatever the table says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl WhenDescriptor {
    /// Whether no event is left for the rules behind it.
    pub(super) fn is_for_every_event(&self) -> bool {
        let mut kinds = self.kind.iter().flat_map(OneOrMany::iter);
        let narrows = self.equals.is_some() || self.present.is_some() || self.same.is_some();
        !narrows && kinds.any(|kind| kind == "*")
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyFormat {
    /// A JSON object, or a list of them where `each = "/*"`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`: an object of texts; the JSON in `field`, where that is set.
    Form,
    /// JSON, or a form whose `field` holds JSON, by its first byte (Slack, GitHub).
    JsonOrForm,
    /// A form whose `field` holds base64 of an XML document (Braintree).
    FormXml,
}

/// The unit of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmountUnit {
    /// The currency's smallest unit.
    #[default]
    Minor,
    /// The currency's own unit, with decimals.
    Major,
}

/// `[answer]`: what the sender expects to hear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerDescriptor {
    /// The status of an accepted delivery: 200 to 299; default 204.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<i64>,
    /// Its body; default empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The media type of the bodies that this table names; default `text/plain; charset=utf-8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The status of a delivery that gate 3 refuses: 400 to 499; default 401.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_signature: Option<i64>,
    /// The body of that answer instead of the problem; `""` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_signature_body: Option<String>,
    /// How long the provider waits (`"5s"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
}

/// `[sent]`, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentDescriptor {
    /// The whole text of the signature's place, with `$SIGNATURE` and `$TIME` filled in; default: the items that
    /// `[signature]` and `[timestamp]` name, with nothing but `split` between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Of the algorithms that the signature may name, the one that is used; default: the strongest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Headers that the provider sends besides: templates, as `signature.content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: &str = r#"
signed = "body"
[signature]
from = { header = ["acme-signature"] }
split = ","
pair = "="
pick = ["v1"]
algorithm = "sha256"
encoding = "hex"
key = "utf8"
content = "{timestamp}.{body}"
[timestamp]
from = { item = "t" }
unit = "s"
past = "5m"
future = "5m"
[event]
id = "/id"
type = "/type"
occurred_at = "/created"
payment_id = "/data/object/id"
amount = "/data/object/amount"
amount_unit = "minor"
amount_refunded = "/data/object/amount_refunded"
currency = "/data/object/currency"
[event.status]
"payment_intent.succeeded" = "succeeded"
[answer]
accepted = 204
bad_signature = 401
"#;

    #[test]
    fn the_contracts_own_example_is_a_profile() {
        let acme: ProfileDescriptor = toml::from_str(ACME).unwrap();
        assert_eq!(acme.signed, Some(Coverage::Body));
        let event = acme.event.unwrap();
        assert_eq!(event.kind, Some(OneOrMany::One("/type".into())));
        assert_eq!(
            event.status.unwrap()["payment_intent.succeeded"],
            "succeeded"
        );
    }

    #[test]
    fn a_key_that_no_profile_has_is_a_fault() {
        let error = toml::from_str::<ProfileDescriptor>("[signature]\nhedaer = 1\n").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `hedaer`"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_algorithm_is_told_which_there_are() {
        let text = "[signature]\nalgorithm = \"sha257\"\n";
        let error = toml::from_str::<ProfileDescriptor>(text).unwrap_err();
        assert!(error.to_string().contains("ecdsa-p256-sha256"), "{error}");
    }
}
