//! `[[challenge]]` as it is written.

use serde::{Deserialize, Serialize};

use super::place_descriptor::PlaceDescriptor;

/// `[[challenge]]`: a request that asks whether we hold the secret, or just whether we are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeDescriptor {
    /// `POST` (default) or `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Where the challenge shows itself: `json`, `header`, `query` or `form`.
    pub when: PlaceDescriptor,
    /// The text that must stand there; absent: any, within `accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// What texts are answered when the request is not signed; default `text` (visible ASCII, at most 256).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<ChallengeText>,
    /// The status of the answer; default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// The media type of the answer; default `text/plain; charset=utf-8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The answer: a template that knows two more filters, `mac:` (the hexadecimal MAC of the value with
    /// the producer's first secret) and `quoted:` (a JSON string).
    pub body: String,
}

/// What a challenge that nobody signed may hold, so that it can never be used to have something signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeText {
    /// 20 to 32 lower-case hexadecimal digits (Braintree). Needed for `mac:` in a `GET` challenge.
    Hex,
    /// At most 256 visible ASCII characters; never with `mac:`.
    #[default]
    Text,
}
