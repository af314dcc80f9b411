//! The journey of a delivery from gate 3 on: one gate after another.

use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use super::answer::{Answer, with_body};
use super::body::{self, Unread};
use super::head::asked;
use super::identify::{Admitted, as_of_now};
use super::receiver::Receiver;
use super::remark;
use crate::inbox::{Event, Inbox, InboxFailure, Receipt};
use crate::signature::{self, Item, ItemVerdict, SignatureRefusal, VerifiedDelivery};
use crate::telemetry::{OVERLOADED, ProducerMeters, REQUEST_TIMEOUT, Wait};

/// Gates 3 to 5: what was admitted is verified, kept, and acknowledged.
pub(super) async fn receive<I: Inbox + 'static>(
    receiver: &Receiver<I>,
    admitted: Admitted,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Answer> {
    let begun = Instant::now();
    let limits = admitted.current.snapshot.limits();
    if head.method != Method::POST {
        let deadline = begun + limits.body_timeout;
        body::read_away(body, head.version, deadline.into());
        return challenged(&admitted, head);
    }
    let deadline = begun + limits.request_timeout;
    let (bytes_max, within) = (limits.body_bytes, limits.body_timeout);
    let body = body::read(body, head, bytes_max, within, &receiver.delivery_memory)
        .await
        .map_err(|unread| match unread {
            Unread::TooLarge => Answer::body_too_large(bytes_max),
            Unread::TooSlow => Answer::body_too_slow(),
            Unread::Broken => Answer::body_unreadable(),
            Unread::Exhausted => receiver.fail(OVERLOADED, Answer::overloaded()),
        })?;
    if !receiver.inbox.has_room() {
        // Under overload every microsecond that is spent on what is turned away is taken from what is kept.
        return Err(turned_away(receiver, &InboxFailure::QueueFull));
    }
    let admitted = as_of_now(receiver, admitted, head)?;
    let delivery = verify(receiver, &admitted, head, body.bytes.clone())?;
    if let Some(challenge) = delivery.challenge() {
        return Ok(answer_challenge(challenge));
    }
    let receipts = accept(receiver, &admitted, &delivery, deadline).await?;
    acknowledge(receiver, &admitted, &delivery, &receipts)
}

/// Gate 3: the producer signed these very bytes.
fn verify<'a, I>(
    receiver: &Receiver<I>,
    admitted: &Admitted,
    head: &'a Parts,
    body: Bytes,
) -> Result<VerifiedDelivery<'a>, Answer> {
    let identified = &admitted.identified;
    let verifier = admitted
        .current
        .snapshot
        .verifier(identified.producer().id)
        .ok_or_else(|| receiver.defect())?;
    let verified = verifier.verify(identified.clone(), &asked(head), body, admitted.at);
    receiver
        .shadow
        .signature(identified, &verified, admitted.at);
    let delivery = verified.map_err(|refusal| refused(receiver, admitted, &refusal))?;
    if let Some(sent) = delivery.signed_at() {
        receiver.clock.accepted(sent, admitted.at);
    }
    Ok(delivery)
}

/// The answer to a signature that does not hold, be it the delivery's or that of an item: with the status that its provider expects.
fn refused<I>(receiver: &Receiver<I>, admitted: &Admitted, refusal: &SignatureRefusal) -> Answer {
    let identified = &admitted.identified;
    let answer = receiver.refuse_signature(identified, refusal, admitted.at);
    let verifier = admitted.current.snapshot.verifier(identified.producer().id);
    let expected = verifier.map(|verifier| verifier.profile().answer());
    // The body names another account: that is no matter of the signature.
    let expected = expected.filter(|_| *refusal != SignatureRefusal::AccountMismatch);
    let status = expected.and_then(|expected| expected.bad_signature);
    let body = expected.and_then(|expected| expected.bad_signature_body.clone());
    let answer = status.into_iter().fold(answer, Answer::with_status);
    body.into_iter().fold(answer, Answer::with_body)
}

/// Gates 4 and 5: every event of the delivery durable, and the ledger with it.
async fn accept<I: Inbox>(
    receiver: &Receiver<I>,
    admitted: &Admitted,
    delivery: &VerifiedDelivery<'_>,
    deadline: Instant,
) -> Result<Vec<Receipt>, Answer> {
    let begun = Instant::now();
    let current = &admitted.current;
    let events = Event::read(delivery, admitted.at);
    receiver.note(current, delivery, admitted.at);
    let kept = match timeout_at(deadline.into(), receiver.inbox.accept(events)).await {
        Ok(kept) => kept,
        Err(_elapsed) => {
            let waited = begun.elapsed();
            receiver.log_failure(&InboxFailure::TimedOut { waited });
            return Err(receiver.fail(REQUEST_TIMEOUT, Answer::request_too_slow()));
        }
    };
    receiver
        .meters
        .waited(Wait::Store, begun.elapsed().as_secs_f64());
    let receipts = kept.map_err(|failure: InboxFailure| turned_away(receiver, &failure))?;
    // A duplicate proves nothing: where the disk is full, it needs no room.
    if receipts
        .iter()
        .any(|receipt| *receipt != Receipt::Duplicate)
    {
        receiver.recorder.kept();
    }
    remark::of_kept(receiver, admitted, delivery, &receipts);
    Ok(receipts)
}

fn turned_away<I>(receiver: &Receiver<I>, failure: &InboxFailure) -> Answer {
    receiver.log_failure(failure);
    receiver.fail(failure.name(), Answer::from(failure))
}

/// What the sender is told of an outcome that is durable.
fn acknowledge<I>(
    receiver: &Receiver<I>,
    admitted: &Admitted,
    delivery: &VerifiedDelivery<'_>,
    receipts: &[Receipt],
) -> Result<Response, Answer> {
    let current = &admitted.current;
    let identified = delivery.from();
    if let Some(meters) = current.meters(identified.producer().id) {
        count(meters, receipts);
    }
    if let Some(refusal) = delivery.items().iter().find_map(Item::refusal) {
        // The good items are kept; the sender comes again with all of them, of which those are then duplicates.
        return Err(refused(receiver, admitted, refusal));
    }
    if receipts.contains(&Receipt::Quarantined) {
        let faults = delivery.items().iter();
        let fault = faults
            .filter_map(|item| match &item.verdict {
                ItemVerdict::Verified(told) => told.as_ref().err().copied(),
                ItemVerdict::Refused(_) => None,
            })
            .next();
        return Err(Answer::malformed_payload(fault));
    }
    let expected = current
        .snapshot
        .verifier(identified.producer().id)
        .map(|verifier| verifier.profile().answer());
    let body = expected.and_then(|expected| expected.body.as_ref());
    let mut response = body.map_or_else(|| Response::new(Body::empty()), with_body);
    if let Some(expected) = expected {
        *response.status_mut() = expected.accepted;
    }
    Ok(response)
}

fn count(meters: &ProducerMeters, receipts: &[Receipt]) {
    for receipt in receipts {
        match receipt {
            Receipt::Accepted => meters.accepted.increment(1),
            Receipt::Duplicate => meters.duplicate.increment(1),
            Receipt::Conflict => meters.conflict.increment(1),
            Receipt::Quarantined => meters.quarantined.increment(1),
            Receipt::Spooled => meters.spooled.increment(1),
        }
    }
}

/// A request that is no POST: some providers ask by GET whether we are there.
fn challenged(admitted: &Admitted, head: &Parts) -> Result<Response, Answer> {
    let producer = admitted.identified.producer();
    let verifier = admitted.current.snapshot.verifier(producer.id);
    let challenge = verifier.and_then(|verifier| verifier.answer_challenge(&asked(head)));
    challenge
        .as_ref()
        .map(answer_challenge)
        .ok_or_else(Answer::method_not_allowed)
}

fn answer_challenge(challenge: &signature::ChallengeAnswer) -> Response {
    let mut response = Response::new(Body::from(challenge.body.clone()));
    *response.status_mut() = challenge.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, challenge.content_type.clone());
    response
}
