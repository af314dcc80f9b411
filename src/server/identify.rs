//! Gates 1, again, and 2: what passes them is [`Admitted`].
//!
//! What the certificate, the path, the method and the framing of the head refuse is refused here, before a byte of the body is read. No
//! header says who the sender is.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::Instant;

use super::answer::Answer;
use super::body::read_away;
use super::current::Current;
use super::head::well_framed;
use super::receiver::Receiver;
use crate::identity::{Identified, IdentityRefusal};
use crate::tls::PeerCertificates;

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
                let (shadow, memory) = (&receiver.shadow, &receiver.delivery_memory);
                shadow
                    .judge(&current.snapshot, producer, memory, head, body, at)
                    .await;
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
    receiver.shadow.identity(snapshot, peer, path, opened, now);
    identified.map_err(|refusal| receiver.refuse_identity(current, peer, &refusal, now))
}
