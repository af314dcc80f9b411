//! `[event]` as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::place_descriptor::OneOrMany;
use super::time_unit::TimeUnit;

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

/// `[event.refunds]`: the body lists the payment's refunds, each with its own amount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundsDescriptor {
    /// The list, as `/refunds/*`. An event that has one is known by its id and by the list: each change of it is an event.
    pub each: String,
    /// In an element, its amount, in the unit of `event.amount`.
    pub amount: String,
    /// Each amount is written below zero (WooCommerce); default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<bool>,
    /// In an element, places and the text that each must have for the refund to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<BTreeMap<String, OneOrMany>>,
    /// In an element, when it happened. The latest of all is the event's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<OneOrMany>,
}
