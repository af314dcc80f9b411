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
pub use super::challenge_descriptor::{ChallengeDescriptor, ChallengeText};
pub use super::event_descriptor::{
    AmountUnit, BodyFormat, EventDescriptor, RefundsDescriptor, SignedTime, Unlisted,
    WhenDescriptor,
};
pub use super::place_descriptor::{OneOrMany, PlaceDescriptor};
pub use super::time_unit::TimeUnit;

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
