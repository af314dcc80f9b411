//! A request's body: read within its bounds, or read away.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::delivery_memory::{DeliveryMemory, Exhausted, Reservation};
use super::head::bytes_of;

/// How much of a refused body is read and forgotten, at most.
const READ_AWAY_BYTES: usize = 16 * 1024 * 1024;

/// A body, and the memory that it and its head take until its delivery has been answered.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _reservation: Reservation,
}

/// Why there is no body.
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    Broken,
    /// Too many heads and bodies are held already.
    Exhausted,
}

/// The body, within its bounds of size and time.
pub(super) async fn read(
    body: Incoming,
    head: &Parts,
    bytes_max: usize,
    within: Duration,
    memory: &DeliveryMemory,
) -> Result<Held, Unread> {
    let mut reservation = memory.reserve();
    let announced = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let deadline = Instant::now() + within;
    let mut body = body;
    if announced.is_some_and(|length| length > bytes_max as u64) {
        read_away(body, head.version, deadline);
        return Err(Unread::TooLarge);
    }
    // A head stays for as long as its body is waited for, and a hundred of them may come over one connection.
    let head_bytes = bytes_of(head);
    if let Err(Exhausted) = reservation.reach(head_bytes) {
        read_away(body, head.version, deadline);
        return Err(Unread::Exhausted);
    }
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut length = 0_usize;
    while !body.is_end_stream() {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_elapsed) => return Err(Unread::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_broken))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are no part of the body.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > bytes_max {
            read_away(body, head.version, deadline);
            return Err(Unread::TooLarge);
        }
        // Memory is reserved for what came, not for what was announced: a lie must not shut others out.
        if let Err(Exhausted) = reservation.reach(head_bytes.saturating_add(length)) {
            read_away(body, head.version, deadline);
            return Err(Unread::Exhausted);
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
    Ok(Held {
        bytes,
        _reservation: reservation,
    })
}

/// Reads what is left of a body that is refused, and forgets it, beside the answer. Over HTTP/2 a stream whose body nobody reads is
/// reset, and some clients then never look at the answer; over HTTP/1.1 the connection's end takes care of it. It is bounded by time
/// and bytes, and in number by the streams that a connection may have.
pub(super) fn read_away(body: Incoming, version: Version, deadline: Instant) {
    if version < Version::HTTP_2 || body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut body = body;
        let mut left = READ_AWAY_BYTES;
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    });
}
