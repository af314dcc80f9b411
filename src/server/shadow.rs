//! What marks with `shadow = true` would have decided: counted, and kept to be listed. Nothing here decides anything.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::body;
use super::claimed::Claimed;
use super::delivery_memory::DeliveryMemory;
use super::head::asked;
use crate::config::Snapshot;
use crate::identity::{Identified, Producer, ShadowMark, Would};
use crate::signature::{SignatureRefusal, VerifiedDelivery};
use crate::store::{ShadowSighting, Shadows};
use crate::telemetry::Meters;
use crate::tls::{HandshakeRefusal, PeerCertificates};
use crate::x509::Certificate;

/// Counts and notes what the marks that decide nothing would have done.
#[derive(Clone)]
pub(super) struct ShadowTally {
    shadows: Arc<Shadows>,
    meters: Arc<Meters>,
}

impl ShadowTally {
    pub(super) fn new(shadows: Arc<Shadows>) -> Self {
        Self {
            shadows,
            meters: Arc::default(),
        }
    }

    /// Gate 1 stayed shut for somebody whom a shadow CA vouches for.
    pub(super) fn refused_handshake(
        &self,
        refusal: &HandshakeRefusal,
        claimed: Claimed<'_>,
        now: Timestamp,
    ) {
        let (Some(anchor), Some(who)) = (&refusal.shadow, &refusal.claimed) else {
            return;
        };
        let subject = who.subject.to_string();
        let address = refusal.address.ip();
        self.of_ca(anchor, claimed, &subject, address, Would::Accept, now);
    }

    /// Gate 1 opened: `shadow` is the shadow CA that vouches for the peer as well.
    pub(super) fn opened_handshake(
        &self,
        snapshot: &Snapshot,
        peer: &PeerCertificates,
        shadow: Option<&Certificate>,
        now: Timestamp,
    ) {
        let subject = peer.leaf().subject();
        let claimed = Claimed::by(subject, snapshot.directory());
        let subject = subject.to_string();
        let address = peer.address().ip();
        match shadow {
            Some(anchor) => self.of_ca(anchor, claimed, &subject, address, Would::Agree, now),
            None => {
                for anchor in snapshot.trust().shadow_anchors() {
                    self.of_ca(anchor, claimed, &subject, address, Would::Refuse, now);
                }
            }
        }
    }

    fn of_ca(
        &self,
        anchor: &Certificate,
        claimed: Claimed<'_>,
        subject: &str,
        address: IpAddr,
        would: Would,
        now: Timestamp,
    ) {
        let (mark, whose) = (ShadowMark::ClientCa, anchor.subject().to_string());
        // It vouches for whomever it likes, of any tenant.
        self.meters
            .shadow(mark.as_str(), would.as_str(), "", &whose);
        let sighting = ShadowSighting {
            mark,
            what: &anchor.sha256().to_string(),
            tenant: claimed.tenant(),
            producer: claimed.name(),
            subject,
            address,
            would,
        };
        self.shadows.note(&sighting, now);
    }

    /// Gate 2 opened, or stayed shut.
    pub(super) fn identity(
        &self,
        snapshot: &Snapshot,
        peer: &PeerCertificates,
        path: &str,
        opened: bool,
        now: Timestamp,
    ) {
        let directory = snapshot.directory();
        for verdict in directory.shadow_verdicts(peer.leaf(), path, opened) {
            let pin = verdict.pin.map(|pin| pin.to_string());
            let what = pin.as_deref().unwrap_or(&verdict.producer.name);
            self.of_producer(
                verdict.producer,
                peer,
                verdict.mark,
                what,
                verdict.would,
                now,
            );
        }
    }

    /// Judges for a producer that only watches a request that no live one takes: what gates 2 and 3 of it would have done.
    pub(super) async fn judge(
        &self,
        snapshot: &Snapshot,
        producer: &Producer,
        memory: &DeliveryMemory,
        head: &Parts,
        body: Incoming,
        now: Timestamp,
    ) {
        let limits = snapshot.limits();
        let (bytes_max, within) = (limits.body_bytes, limits.body_timeout);
        let (Some(peer), Ok(body)) = (
            head.extensions.get::<PeerCertificates>(),
            body::read(body, head, bytes_max, within, memory).await,
        ) else {
            return;
        };
        let verifier = snapshot.verifier(producer.id);
        let would_open = peer.recheck(snapshot.trust(), now).is_ok()
            && producer.admits(peer.leaf())
            && verifier.is_some_and(|verifier| {
                let opened = verifier.would_open(&asked(head), body.bytes.clone(), now);
                opened.is_ok()
            });
        let would = if would_open {
            Would::Accept
        } else {
            Would::Refuse
        };
        let mark = ShadowMark::Producer;
        self.of_producer(producer, peer, mark, &producer.name, would, now);
    }

    /// Gate 3 opened, or stayed shut.
    pub(super) fn signature(
        &self,
        from: &Identified,
        outcome: &Result<VerifiedDelivery<'_>, SignatureRefusal>,
        now: Timestamp,
    ) {
        match outcome {
            Ok(delivery) => {
                for shadow in delivery.shadows() {
                    let would = if shadow.matches {
                        Would::Agree
                    } else {
                        Would::Refuse
                    };
                    self.of_secret(from, &shadow.label, would, now);
                }
            }
            Err(SignatureRefusal::Mismatch {
                shadow: Some(label),
            }) => self.of_secret(from, label, Would::Accept, now),
            Err(_) => {}
        }
    }

    fn of_secret(&self, from: &Identified, label: &str, would: Would, now: Timestamp) {
        let mark = ShadowMark::Secret;
        self.of_producer(from.producer(), from.peer(), mark, label, would, now);
    }

    fn of_producer(
        &self,
        producer: &Producer,
        peer: &PeerCertificates,
        mark: ShadowMark,
        what: &str,
        would: Would,
        now: Timestamp,
    ) {
        // A producer may have several secrets that watch.
        let series = match mark {
            ShadowMark::Secret => format!("{} {what}", producer.name),
            ShadowMark::ClientCa | ShadowMark::Producer | ShadowMark::Pin => {
                producer.name.to_string()
            }
        };
        let tenant = producer.tenant.as_str();
        self.meters
            .shadow(mark.as_str(), would.as_str(), tenant, &series);
        let sighting = ShadowSighting {
            mark,
            what,
            tenant,
            producer: &producer.name,
            subject: &peer.leaf().subject().to_string(),
            address: peer.address().ip(),
            would,
        };
        self.shadows.note(&sighting, now);
    }
}
