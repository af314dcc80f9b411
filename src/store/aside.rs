//! An event whole: what its id stands for, and what is kept aside under it: the same id with another body, and what could not
//! be read. Nothing of it is in the ledger, yet somebody with the key signed it: whoever looks into it needs the bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read_failure::ReadFailure;
use super::reading::Views;
use super::views::{BodyGone, EventDetail, LeafView, Millis};

/// An event with all that is kept under its id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventWhole {
    /// What the id stands for: the accepted one, if there is one.
    #[serde(flatten)]
    pub shown: EventDetail,
    /// What else came with this id from the same producer, at most a hundred.
    pub beside: Vec<AsideView>,
}

/// A conflict, or what could not be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AsideView {
    /// `conflict` or `quarantined`.
    pub verdict: &'static str,
    /// When it first came.
    pub received_at: Millis,
    /// Lower-case hex.
    pub body_sha256: String,
    /// How often it came again.
    pub duplicates: u64,
    /// The reference of the secret that verified it.
    pub secret: Option<String>,
    /// The certificate that it came with.
    pub leaf: LeafView,
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

impl Views {
    /// Every event with this id (of this tenant), one for each producer that has it, those that were accepted first.
    pub async fn whole_events_by_id(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> Result<Vec<EventWhole>, ReadFailure> {
        Ok(gather(self.events_by_id(tenant, id).await?))
    }
}

/// The first of each producer is what the id stands for, since what was accepted comes first.
fn gather(found: Vec<EventDetail>) -> Vec<EventWhole> {
    let mut whole: Vec<EventWhole> = Vec::new();
    for detail in found {
        let (tenant_id, producer) = (&detail.event.tenant_id, &detail.event.producer);
        let before = whole.iter_mut().find(|one| {
            one.shown.event.tenant_id == *tenant_id && one.shown.event.producer == *producer
        });
        match before {
            Some(one) => one.beside.push(detail.into()),
            None => whole.push(EventWhole {
                shown: detail,
                beside: Vec::new(),
            }),
        }
    }
    whole
}

impl From<EventDetail> for AsideView {
    fn from(detail: EventDetail) -> Self {
        let event = detail.event;
        Self {
            verdict: event.verdict,
            received_at: event.received_at,
            body_sha256: event.body_sha256,
            duplicates: event.duplicates,
            secret: event.secret,
            leaf: event.leaf,
            headers: detail.headers,
            body: detail.body,
            body_base64: detail.body_base64,
            gone: detail.gone,
        }
    }
}
