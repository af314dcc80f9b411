//! What an operator hears of senders whose certificates held and whom no gate refused: log lines, as often as their bound allows, and
//! what their events lack.
//!
//! Refusals have their own lines and records; failures of ours have lines as well.

use std::cell::OnceCell;

use http::request::Parts;

use super::answer::Answer;
use super::claimed::Claimed;
use super::identify::Admitted;
use super::receiver::Receiver;
use crate::inbox::{Event, Receipt};
use crate::payments::unreadable;
use crate::refusals::kept;
use crate::signature::{Facts, ItemVerdict, VerifiedDelivery};
use crate::text::chain;
use crate::tls::PeerCertificates;

/// Of an answer that nobody has told of.
pub(super) fn of_answer<I>(receiver: &Receiver<I>, head: &Parts, answer: &Answer) {
    let Some(peer) = head.extensions.get::<PeerCertificates>() else {
        return;
    };
    let Some(suppressed) = receiver.recorder.may_log_of_sender() else {
        return;
    };
    let current = receiver.current();
    let directory = current.snapshot.directory();
    let path = head.uri.path();
    let subject = peer.leaf().subject();
    let identified = directory.identify(peer, path);
    let claimed = match &identified {
        Ok(identified) => Claimed::from(&**identified.producer()),
        Err(_nobody_delivers_so) => Claimed::by(subject, directory),
    };
    tracing::warn!(
        status = answer.status().as_u16(),
        problem = answer.name(),
        tenant = claimed.tenant(),
        producer = claimed.name(),
        subject = &*kept(&subject.to_string()),
        address = %peer.address().ip(),
        method = &*kept(head.method.as_str()),
        path = &*kept(path),
        suppressed,
        "a request was not taken"
    );
}

/// Of what was kept: conflicts, and of new events what their mapping lacks or could not read.
pub(super) fn of_kept<I>(
    receiver: &Receiver<I>,
    admitted: &Admitted,
    delivery: &VerifiedDelivery<'_>,
    receipts: &[Receipt],
) {
    let producer = delivery.from().producer();
    let meters = admitted.current.meters(producer.id);
    // The store has the events. They are read once more where a line needs an id, which spares all other deliveries a copy.
    let events = OnceCell::new();
    let id_of = |at: usize| {
        let events = events.get_or_init(|| Event::read(delivery, admitted.at));
        events.get(at).map(|event| kept(&event.key.event_id))
    };
    let (tenant, name) = (producer.tenant.as_str(), &*producer.name);
    for (at, (facts, receipt)) in told_of(delivery).zip(receipts).enumerate() {
        match receipt {
            // A spooled one may turn out to be known: better one too many than a mapping that is never missed.
            Receipt::Accepted | Receipt::Spooled => {}
            Receipt::Conflict => {
                if let Some(suppressed) = receiver.recorder.may_log_of_sender() {
                    let event_id = id_of(at);
                    tracing::warn!(
                        tenant,
                        producer = name,
                        event_id = event_id.as_deref(),
                        address = %delivery.from().peer().address().ip(),
                        suppressed,
                        "an event came with another body than before: kept as a conflict, and its payment is as it was"
                    );
                }
                continue;
            }
            Receipt::Duplicate | Receipt::Quarantined => continue,
        }
        let (Some(facts), Some(meters)) = (facts, meters) else {
            continue;
        };
        let Ok(payment) = &facts.payment else {
            meters.unmapped(facts.event_type.as_deref());
            continue;
        };
        for unread in unreadable(payment) {
            let field = unread.field();
            meters.unread(field);
            if let Some(suppressed) = receiver.recorder.may_log_of_sender() {
                let event_id = id_of(at);
                tracing::warn!(
                    tenant,
                    producer = name,
                    event_id = event_id.as_deref(),
                    field,
                    reason = chain(&unread),
                    suppressed,
                    "a value of a kept event could not be read: its payment lacks it"
                );
            }
        }
    }
}

/// What each event of a delivery tells, if it can be read, in the order of their receipts.
fn told_of<'a>(delivery: &'a VerifiedDelivery<'_>) -> impl Iterator<Item = Option<&'a Facts>> {
    let items = delivery.items().iter();
    items.filter_map(|item| match &item.verdict {
        ItemVerdict::Verified(told) => Some(told.as_ref().ok()),
        ItemVerdict::Refused(_) => None,
    })
}
