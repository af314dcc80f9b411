//! What a payment's events come to, from what their rows keep: the same for both engines.

use std::sync::Arc;

use jiff::Timestamp;

use crate::payments::{Claim, Effect, Payment, Recency};

/// An accepted event, as its row keeps it. What cannot be read of it is nothing.
pub(in crate::store) struct KeptEvent<'a> {
    pub(in crate::store) payment_id: &'a str,
    pub(in crate::store) producer: Arc<str>,
    pub(in crate::store) event_id: &'a str,
    /// In microseconds, as the next.
    pub(in crate::store) occurred_at: Option<i64>,
    pub(in crate::store) received_at: i64,
    pub(in crate::store) status: Option<&'a str>,
    pub(in crate::store) amount_minor: Option<i64>,
    pub(in crate::store) amount_refunded_minor: Option<i64>,
    pub(in crate::store) currency: Option<&'a str>,
}

/// A payment in the making.
#[derive(Default)]
pub(in crate::store) struct Fold {
    pub(in crate::store) payment: Option<Payment>,
    /// When the last event was received that changed it.
    pub(in crate::store) changed_at: i64,
}

impl Fold {
    /// Adds the event that was received next.
    pub(in crate::store) fn take(&mut self, event: &KeptEvent<'_>) -> Effect {
        let occurred_at = event
            .occurred_at
            .and_then(|time| Timestamp::from_microsecond(time).ok());
        let status = event.status.and_then(|status| status.parse().ok());
        let claim = Claim::restore(
            event.payment_id,
            Recency::new(occurred_at, status, event.event_id, &event.producer),
            status,
            event.amount_minor,
            event.amount_refunded_minor,
            event.currency.and_then(|code| code.parse().ok()),
        );
        let effect = match &mut self.payment {
            Some(payment) => payment.apply(&claim),
            none => {
                *none = Some(Payment::new(&claim));
                Effect::Applied
            }
        };
        if effect == Effect::Applied {
            self.changed_at = self.changed_at.max(event.received_at);
        }
        effect
    }
}
