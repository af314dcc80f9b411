//! Handshakes that failed: why, and who claimed to be at the other end.

use std::io;
use std::net::SocketAddr;

use crate::x509::{Certificate, DistinguishedName, Serial, Validity};

use super::limits::LimitReached;
use super::peer::PeerCertificates;
use super::reason::HandshakeReason;

/// What a certificate that was refused says of itself. Nothing of it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its subject.
    pub subject: DistinguishedName,
    /// Its issuer.
    pub issuer: DistinguishedName,
    /// Its serial number.
    pub serial: Serial,
    /// Its validity.
    pub validity: Validity,
}

impl From<&Certificate> for Claimed {
    fn from(leaf: &Certificate) -> Self {
        Self {
            subject: leaf.subject().clone(),
            issuer: leaf.issuer().clone(),
            serial: leaf.serial().clone(),
            validity: leaf.validity(),
        }
    }
}

impl Claimed {
    pub(super) fn boxed(leaf: &Certificate) -> Box<Self> {
        Box::new(Self::from(leaf))
    }
}

/// One refused handshake.
#[derive(Clone, Debug)]
pub struct HandshakeRefusal {
    /// Why.
    pub reason: HandshakeReason,
    /// Who the peer claimed to be, if it got so far.
    pub claimed: Option<Box<Claimed>>,
    /// Where it came from.
    pub address: SocketAddr,
    /// The name that it asked for (SNI).
    pub server_name: Option<String>,
    /// What exactly was wrong, for the operator.
    pub detail: String,
    /// The anchor marked `shadow` under which it would have been accepted.
    pub shadow: Option<Certificate>,
}

/// Who is told of what gates 0 and 1 turned away. Called on the connection's task: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A handshake was refused.
    fn refused(&self, refusal: HandshakeRefusal);

    /// A handshake held. Asked only while an anchor is marked `shadow`: this is the one under which it would have held as well, if any.
    fn watched(&self, peer: &PeerCertificates, shadow: Option<&Certificate>) {
        let _unwatched = (peer, shadow);
    }

    /// A connection was closed at a bound, before anything of it was read.
    fn closed_at_limit(&self, limit: LimitReached, address: SocketAddr);

    /// Connections can't be accepted, mostly for want of descriptors. Told once until one is accepted again.
    fn accept_failed(&self, error: &io::Error) {
        let _untold = error;
    }
}
