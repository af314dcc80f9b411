//! What `countersign why` knows of a sender, as JSON has it.

use serde::Serialize;

use crate::store::{LeafSeen, Millis, RefusalView, SecretSeen, ShadowSeen};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Sender<'a> {
    /// As it was asked.
    pub(super) who: &'a str,
    /// The producers of that name or subject.
    pub(super) producers: Vec<Known<'a>>,
    /// Of a subject that no producer has: what was turned away.
    pub(super) refusals: Vec<Refused<'a>>,
    /// Of such a subject: what marks with `shadow = true` would have decided.
    pub(super) shadows: Vec<&'a ShadowSeen>,
}

/// What is known of a producer.
#[derive(Debug, Serialize)]
pub(super) struct Known<'a> {
    pub(super) tenant_id: &'a str,
    pub(super) producer: &'a str,
    pub(super) subject: String,
    /// Where it delivers.
    pub(super) paths: Vec<&'a str>,
    /// How many keys are pinned; any of them may come, and with none any key.
    pub(super) pins: usize,
    /// It only watches: its deliveries are refused.
    pub(super) shadow: bool,
    pub(super) cut_offs: Vec<Cut>,
    /// Those that it delivered with, the latest first.
    pub(super) certificates: Vec<Certificate<'a>>,
    pub(super) secrets: Vec<&'a SecretSeen>,
    pub(super) shadows: Vec<&'a ShadowSeen>,
    /// The latest first.
    pub(super) refusals: Vec<Refused<'a>>,
}

/// A certificate, whether its CA revoked it, and whether it is cut off by its serial number or its key.
#[derive(Debug, Serialize)]
pub(super) struct Certificate<'a> {
    #[serde(flatten)]
    pub(super) seen: &'a LeafSeen,
    /// A CRL that counts names it.
    pub(super) revoked: bool,
    pub(super) cut_offs: Vec<Cut>,
}

/// Who is cut off, by what, and since when.
#[derive(Debug, Serialize)]
pub(super) struct Cut {
    pub(super) who: String,
    /// The flag of `countersign cutoff` that names it.
    pub(super) kind: &'static str,
    pub(super) since: Millis,
}

/// A group of refusals, and what the operator, or the sender, does about it.
#[derive(Debug, Serialize)]
pub(super) struct Refused<'a> {
    #[serde(flatten)]
    pub(super) refusal: &'a RefusalView,
    pub(super) what_to_do: &'static str,
}
