//! The journey of a delivery: the table of gates, one after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Version};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::answer::Answer;
use super::receiver::{Current, ROOM_UNIT, Receiver};
use crate::identity::{Identified, IdentityRefusal};
use crate::inbox::{Event, Inbox, InboxFailure, Receipt, Standing};
use crate::signature::{self, ItemVerdict, SignatureRefusal, VerifiedDelivery};
use crate::telemetry::{ProducerMeters, Wait};
use crate::tls::{Connection, PeerCertificates};

/// How much of a refused body is read and forgotten, at most.
const READ_AWAY_BYTES: usize = 16 * 1024 * 1024;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers one request on the providers' side.
pub(super) async fn receive<I: Inbox + 'static>(
    State(receiver): State<Arc<Receiver<I>>>,
    request: Request,
) -> Response {
    let begun = Instant::now();
    let connection = request.extensions().get::<Connection>().cloned();
    let version = request.version();
    let mut response = match deliver(&receiver, request, begun).await {
        Ok(response) => response,
        Err(answer) => {
            if answer.closes_connection(version)
                && let Some(connection) = connection
            {
                connection.close_after_response();
            }
            answer.into_response()
        }
    };
    response
        .headers_mut()
        .insert(X_REQUEST_ID, receiver.request_id());
    receiver.meters.responded(response.status().as_u16());
    receiver
        .meters
        .waited(Wait::Request, begun.elapsed().as_secs_f64());
    response
}

async fn deliver<I: Inbox>(
    receiver: &Receiver<I>,
    request: Request,
    begun: Instant,
) -> Result<Response, Answer> {
    let now = Timestamp::now();
    let current = receiver.current();
    let (head, body) = request.into_parts();
    let snapshot = Arc::clone(&current.snapshot);
    let limits = snapshot.limits();

    let identified = match judge_head(receiver, &current, &head, now) {
        Ok(identified) => identified,
        Err(answer) => {
            let deadline = tokio::time::Instant::now() + limits.body_timeout;
            read_away(body, head.version, deadline).await;
            return Err(answer);
        }
    };
    if head.method != Method::POST {
        return challenged(&current, &identified, &head);
    }
    let body = read(
        body,
        &head,
        limits.body_bytes,
        limits.body_timeout,
        &receiver.room,
    )
    .await?;
    let (current, identified) = as_of_now(receiver, current, identified, &head)?;
    let delivery = verify(
        receiver,
        &current,
        identified,
        &head,
        body.bytes.clone(),
        now,
    )?;
    if let Some(challenge) = delivery.challenge() {
        return Ok(answer_challenge(challenge));
    }
    let receipts = accept(
        receiver,
        &current,
        &delivery,
        now,
        begun + limits.request_timeout,
    )
    .await?;
    acknowledge(receiver, &current, &delivery, &receipts, now)
}

/// All that can be refused before a byte of the body is read.
fn judge_head<I>(
    receiver: &Receiver<I>,
    current: &Current,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let peer = still_trusted(receiver, current, head, now)?;
    well_framed(head)?;
    on_a_known_path(current, head)?;
    identify(receiver, current, &peer, head, now)
}

/// What RFC 9112 demands of a request and hyper lets pass: one `Host` (§3.2), and no transfer coding but `chunked` (§6.1).
fn well_framed(head: &Parts) -> Result<(), Answer> {
    if head.version != Version::HTTP_11 {
        return Ok(());
    }
    if head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Answer::no_single_host());
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let known = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if known {
        Ok(())
    } else {
        Err(Answer::unknown_transfer_coding())
    }
}

/// Gate 1, again: what the handshake proved holds under today's trust.
fn still_trusted<I>(
    receiver: &Receiver<I>,
    current: &Current,
    head: &Parts,
    now: Timestamp,
) -> Result<PeerCertificates, Answer> {
    // Our acceptor puts it there; a request without it did not come through a handshake, so it gets nothing.
    let peer = head
        .extensions
        .get::<PeerCertificates>()
        .ok_or_else(Answer::failed_within)?;
    match peer.recheck(current.snapshot.trust(), now) {
        Ok(()) => Ok(peer.clone()),
        Err(source) => {
            let refusal = IdentityRefusal::CertificateNoLongerValid { source };
            Err(receiver.refuse_identity(current, peer, &refusal, now))
        }
    }
}

fn on_a_known_path(current: &Current, head: &Parts) -> Result<(), Answer> {
    if !current.snapshot.accepts_path(head.uri.path()) {
        return Err(Answer::not_found());
    }
    if head.method == Method::POST || head.method == Method::GET {
        Ok(())
    } else {
        Err(Answer::method_not_allowed())
    }
}

/// Gate 2: which producer of which tenant this is.
fn identify<I>(
    receiver: &Receiver<I>,
    current: &Current,
    peer: &PeerCertificates,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let path = head.uri.path();
    let identified = current.snapshot.directory().identify(peer, path);
    receiver.watch_identity(current, peer, path, identified.is_ok());
    identified.map_err(|refusal| receiver.refuse_identity(current, peer, &refusal, now))
}

/// The body, within its bounds of size and time.
async fn read(
    body: Body,
    head: &Parts,
    bytes_max: usize,
    within: Duration,
    room: &Arc<Semaphore>,
) -> Result<Held, Answer> {
    let mut held = room.clone().try_acquire_many_owned(0).ok();
    let announced = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let deadline = tokio::time::Instant::now() + within;
    let mut body = body;
    if announced.is_some_and(|length| length > bytes_max as u64) {
        read_away(body, head.version, deadline).await;
        return Err(Answer::body_too_large(bytes_max));
    }
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut length = 0_usize;
    while !body.is_end_stream() {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_elapsed) => return Err(Answer::body_too_slow()),
            Ok(None) => break,
            Ok(Some(Err(_broken))) => return Err(Answer::body_unreadable()),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are no part of the body.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > bytes_max {
            read_away(body, head.version, deadline).await;
            return Err(Answer::body_too_large(bytes_max));
        }
        // Room is taken for what came, not for what was announced: a lie must not shut others out.
        let units = u32::try_from(data.len().div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        match (Arc::clone(room).try_acquire_many_owned(units), &mut held) {
            (Ok(more), Some(held)) => held.merge(more),
            (Ok(more), None) => held = Some(more),
            (Err(_full), _) => return Err(Answer::no_room()),
        }
        // Most bodies come in one piece, which is then never copied.
        match (&mut first, &mut rest) {
            (None, None) => first = Some(data),
            (Some(begin), None) => {
                let mut whole = BytesMut::with_capacity(length.max(begin.len() * 2));
                whole.extend_from_slice(begin);
                whole.extend_from_slice(&data);
                rest = Some(whole);
            }
            (_, Some(whole)) => whole.extend_from_slice(&data),
        }
    }
    let bytes = rest.map(BytesMut::freeze).or(first).unwrap_or_default();
    Ok(Held { bytes, _room: held })
}

/// A body, and the room that it takes until its delivery has been answered.
struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads what is left of a body that is refused, and forgets it. Over HTTP/2 an answer before the body's end resets the stream, and
/// some clients then never look at the answer; over HTTP/1.1 the connection's end takes care of it.
async fn read_away(body: Body, version: Version, deadline: tokio::time::Instant) {
    if version < Version::HTTP_2 {
        return;
    }
    let mut body = body;
    let mut left = READ_AWAY_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Gates 1 and 2 once more, if a reload came while the body did: what was withdrawn meanwhile counts.
fn as_of_now<I>(
    receiver: &Receiver<I>,
    before: Arc<Current>,
    identified: Identified,
    head: &Parts,
) -> Result<(Arc<Current>, Identified), Answer> {
    let current = receiver.current();
    if Arc::ptr_eq(&current, &before) {
        return Ok((before, identified));
    }
    let now = Timestamp::now();
    let peer = still_trusted(receiver, &current, head, now)?;
    let identified = identify(receiver, &current, &peer, head, now)?;
    Ok((current, identified))
}

/// Gate 3: the producer signed these very bytes.
fn verify<I>(
    receiver: &Receiver<I>,
    current: &Current,
    identified: Identified,
    head: &Parts,
    body: Bytes,
    now: Timestamp,
) -> Result<VerifiedDelivery, Answer> {
    let verifier = current
        .snapshot
        .verifier(identified.producer().id)
        .ok_or_else(Answer::failed_within)?;
    let path_and_query = head
        .uri
        .path_and_query()
        .map_or(head.uri.path(), |whole| whole.as_str());
    let request = signature::Request {
        method: &head.method,
        path_and_query,
        headers: &head.headers,
    };
    let verified = verifier.verify(identified.clone(), &request, body, now);
    receiver.watch_signature(&identified, &verified);
    verified.map_err(|refusal| {
        let answer = receiver.refuse_signature(&identified, &refusal, now);
        match (&refusal, verifier.profile().answer().bad_signature) {
            // The body names another account: that is no matter of the signature.
            (SignatureRefusal::AccountMismatch, _) | (_, None) => answer,
            (_, Some(status)) => answer.with_status(status),
        }
    })
}

/// Gates 4 and 5: every event of the delivery durable, and the ledger with it.
async fn accept<I: Inbox>(
    receiver: &Receiver<I>,
    current: &Current,
    delivery: &VerifiedDelivery,
    now: Timestamp,
    deadline: Instant,
) -> Result<Vec<Receipt>, Answer> {
    let begun = Instant::now();
    let events = Event::read(delivery, now);
    receiver.note(current, delivery, now);
    let unmapped = unmapped(&events);
    let kept = match timeout_at(deadline.into(), receiver.inbox.accept(events)).await {
        Ok(kept) => kept,
        Err(_elapsed) => return Err(receiver.fail("request_timeout", Answer::request_too_slow())),
    };
    receiver
        .meters
        .waited(Wait::Store, begun.elapsed().as_secs_f64());
    let receipts = kept.map_err(|failure: InboxFailure| {
        receiver.log_failure(&failure);
        receiver.fail(failure.name(), Answer::from(&failure))
    })?;
    if let Some(meters) = current.meters(delivery.from().producer().id) {
        let new = |at: usize| receipts.get(at) == Some(&Receipt::Accepted);
        for (_, kind) in unmapped.iter().filter(|(at, _)| new(*at)) {
            meters.unmapped(kind.as_deref());
        }
    }
    Ok(receipts)
}

/// The types of the events that speak of no payment, each with its place in the delivery: what a mapping may lack.
fn unmapped(events: &[Event]) -> Vec<(usize, Option<Box<str>>)> {
    let events = events.iter().enumerate();
    events
        .filter(|(_, event)| event.payment.is_none() && event.standing == Standing::Readable)
        .map(|(at, event)| (at, event.kind.clone()))
        .collect()
}

/// What the sender is told of an outcome that is durable.
fn acknowledge<I>(
    receiver: &Receiver<I>,
    current: &Current,
    delivery: &VerifiedDelivery,
    receipts: &[Receipt],
    now: Timestamp,
) -> Result<Response, Answer> {
    let identified = delivery.from();
    if let Some(meters) = current.meters(identified.producer().id) {
        count(meters, receipts);
    }
    let refused = delivery
        .items()
        .iter()
        .find_map(|item| match &item.verdict {
            ItemVerdict::Verified(_) => None,
            ItemVerdict::Refused(refusal) => Some(refusal),
        });
    if let Some(refusal) = refused {
        // The good items are kept; the sender comes again with all of them, of which those are then duplicates.
        return Err(receiver.refuse_signature(identified, refusal, now));
    }
    if receipts.contains(&Receipt::Quarantined) {
        return Err(Answer::malformed_payload());
    }
    let expected = current
        .snapshot
        .verifier(identified.producer().id)
        .map(|verifier| verifier.profile().answer());
    let mut response = Response::new(Body::empty());
    if let Some(expected) = expected {
        *response.status_mut() = expected.accepted;
        if let Some(body) = &expected.body {
            if let Ok(media_type) = HeaderValue::from_str(&body.content_type) {
                response.headers_mut().insert(CONTENT_TYPE, media_type);
            }
            *response.body_mut() = Body::from(body.text.to_string());
        }
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
        }
    }
}

/// A request that is no POST: some providers ask by GET whether we are there.
fn challenged(
    current: &Current,
    identified: &Identified,
    head: &Parts,
) -> Result<Response, Answer> {
    let path_and_query = head
        .uri
        .path_and_query()
        .map_or(head.uri.path(), |whole| whole.as_str());
    let request = signature::Request {
        method: &head.method,
        path_and_query,
        headers: &head.headers,
    };
    let verifier = current.snapshot.verifier(identified.producer().id);
    let challenge = verifier.and_then(|verifier| verifier.answer_challenge(&request));
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
