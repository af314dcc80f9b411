//! Gates 1, again, and 2: what passes them is [`Admitted`].
//!
//! All that can be refused before a byte of the body is read is refused here. What a request says of itself in its headers
//! is not looked at.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::receive::watch;
use super::receiver::{Current, Receiver};
use crate::identity::{Identified, IdentityRefusal};
use crate::tls::PeerCertificates;

/// How much of a refused body is read and forgotten, at most.
const READ_AWAY_BYTES: usize = 16 * 1024 * 1024;

/// A request whose sender is known, and when it came. Only [`identify`] makes one.
pub(super) struct Admitted {
    pub(super) identified: Identified,
    /// The configuration by which it was identified.
    pub(super) current: Arc<Current>,
    /// When its head was read: the time by which all of it is judged.
    pub(super) at: Timestamp,
}

/// Opens the gates to a request, and gives its body back; or says why not, after which the body is of no more use.
pub(super) async fn identify<I>(
    receiver: &Receiver<I>,
    head: &Parts,
    body: Incoming,
) -> Result<(Admitted, Incoming), Answer> {
    let at = Timestamp::now();
    let current = receiver.current();
    match judge(receiver, &current, head, at) {
        Ok(identified) => {
            let admitted = Admitted {
                identified,
                current,
                at,
            };
            Ok((admitted, body))
        }
        Err(answer) => {
            let peer = head.extensions.get::<PeerCertificates>();
            let directory = current.snapshot.directory();
            let watching = peer
                .and_then(|peer| directory.watching(peer.leaf(), head.uri.path()))
                .filter(|_| head.method == Method::POST);
            if let Some(producer) = watching {
                watch(receiver, &current, producer, head, body, at).await;
            } else {
                let deadline = Instant::now() + current.snapshot.limits().body_timeout;
                read_away(body, head.version, deadline);
            }
            Err(answer)
        }
    }
}

/// The same once more, after the body: what ended while it came, and what a reload withdrew meanwhile, counts.
pub(super) fn as_of_now<I>(
    receiver: &Receiver<I>,
    admitted: Admitted,
    head: &Parts,
) -> Result<Admitted, Answer> {
    let current = receiver.current();
    let now = Timestamp::now();
    let peer = still_trusted(receiver, &current, head, now)?;
    if Arc::ptr_eq(&current, &admitted.current) {
        return Ok(admitted);
    }
    Ok(Admitted {
        identified: identified(receiver, &current, &peer, head, now)?,
        current,
        at: admitted.at,
    })
}

fn judge<I>(
    receiver: &Receiver<I>,
    current: &Current,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let peer = still_trusted(receiver, current, head, now)?;
    well_framed(head)?;
    on_a_known_path(current, head)?;
    identified(receiver, current, &peer, head, now)
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
        .ok_or_else(|| receiver.defect())?;
    match peer.recheck(current.snapshot.trust(), now) {
        Ok(()) => Ok(peer.clone()),
        Err(source) => {
            let refusal = IdentityRefusal::CertificateNoLongerValid { source };
            Err(receiver.refuse_identity(current, peer, &refusal, now))
        }
    }
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
fn identified<I>(
    receiver: &Receiver<I>,
    current: &Current,
    peer: &PeerCertificates,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let path = head.uri.path();
    let identified = current.snapshot.directory().identify(peer, path);
    let (snapshot, opened) = (&current.snapshot, identified.is_ok());
    receiver
        .watching
        .identity(snapshot, peer, path, opened, now);
    identified.map_err(|refusal| receiver.refuse_identity(current, peer, &refusal, now))
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
