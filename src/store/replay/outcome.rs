//! What a replay came to: what was counted, what changed, what is left, and why it may come to nothing.

use serde::Serialize;

use super::not_rebuilt::NotRebuilt;
use super::reading::ReadEvent;
use crate::payments::Payment;
use crate::store::fault::StoreFault;

/// What a replay came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Events that were read again.
    pub events_read: u64,
    /// Events that today's mapping reads otherwise.
    pub events_changed: u64,
    /// Events left as they are: their producer is not configured any more, their body is not kept, or their payment is
    /// skipped.
    pub events_left: u64,
    /// Payments that are new, changed or gone.
    pub payments_changed: u64,
    /// Payments that would be, but are left as they are: of one of their events the body, or all of it, has had its time.
    pub payments_skipped: u64,
    /// Events of which a new store would say something else, for what was kept does not tell it.
    pub events_not_rebuilt: u64,
    /// The first of those changes.
    #[serde(skip)]
    pub changes: Vec<PaymentChange>,
    /// The first of those that are left as they are.
    #[serde(skip)]
    pub skipped: Vec<SkippedPayment>,
    /// The first of the events that are not rebuilt.
    #[serde(skip)]
    pub not_rebuilt: Vec<NotRebuiltEvent>,
}

/// An event of which a new store would say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRebuiltEvent {
    /// Whose it is.
    pub tenant_id: String,
    /// Which producer sent it.
    pub producer: String,
    /// Its id.
    pub event_id: String,
    /// Why.
    pub not_rebuilt: NotRebuilt,
}

impl Replayed {
    /// Changes that are told one by one; the others are counted.
    pub const CHANGES_MAX: usize = 100_000;

    /// Counts an event of which a new store would say something else.
    pub(in crate::store) fn tell_of(
        &mut self,
        tenant: &str,
        event: &ReadEvent,
        why: Option<NotRebuilt>,
    ) {
        let Some(not_rebuilt) = why else { return };
        self.events_not_rebuilt = self.events_not_rebuilt.saturating_add(1);
        if self.not_rebuilt.len() < Self::CHANGES_MAX {
            self.not_rebuilt.push(NotRebuiltEvent {
                tenant_id: tenant.to_owned(),
                producer: event.producer.to_string(),
                event_id: event.event_id.clone(),
                not_rebuilt,
            });
        }
    }

    /// Counts what became of a payment, if it is not what it was.
    pub(in crate::store) fn tell(&mut self, change: PaymentChange) {
        if change.before == change.after {
            return;
        }
        self.payments_changed = self.payments_changed.saturating_add(1);
        if self.changes.len() < Self::CHANGES_MAX {
            self.changes.push(change);
        }
    }
}

/// A payment that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedPayment {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub payment_id: String,
    /// Always true: it tells this line from a change's.
    pub skipped: bool,
}

/// A payment before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentChange {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub payment_id: String,
    /// Null for a payment that no event spoke of before.
    pub before: Option<PaymentState>,
    /// Null for a payment that no event speaks of any more.
    pub after: Option<PaymentState>,
}

/// What people read of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentState {
    /// Its status.
    pub status: Option<String>,
    /// Its amount.
    pub amount_minor: Option<i64>,
    /// How much of it was refunded.
    pub amount_refunded_minor: Option<i64>,
    /// Its currency.
    pub currency: Option<String>,
    /// The greatest event's id.
    pub last_event_id: Option<String>,
    /// How many events it is made of.
    pub events: i64,
}

impl From<&Payment> for PaymentState {
    fn from(payment: &Payment) -> Self {
        Self {
            status: payment.status().map(|status| status.as_str().to_owned()),
            amount_minor: payment.amount_minor(),
            amount_refunded_minor: payment.amount_refunded_minor(),
            currency: payment
                .currency()
                .map(|currency| currency.code().to_owned()),
            last_event_id: Some(payment.last_event_id().to_owned()),
            events: i64::try_from(payment.events()).unwrap_or(i64::MAX),
        }
    }
}

/// Why a replay came to nothing. Nothing of it is kept then.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure {
    /// There is no store that can be written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A statement failed.
    #[error("the replay failed; nothing was changed")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database went away between the commit and its answer.
    #[error(
        "the database gave no answer to the commit: all of the replay is there, or nothing of it; once the database is back, run the same \
         replay again, which changes nothing if all is there"
    )]
    Uncertain {
        /// What was met instead of an answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime is going down.
    #[error("the replay was cancelled; nothing was changed")]
    BrokenOff,
}

impl ReplayFailure {
    pub(in crate::store) fn statement(
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Statement {
            source: source.into(),
        }
    }
}
