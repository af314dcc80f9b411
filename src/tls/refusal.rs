//! Handshakes that failed: why, and who claimed to be at the other end.

use std::io;
use std::net::SocketAddr;

use crate::x509::{Certificate, DistinguishedName, Serial, Validity};

use super::{LimitReached, PeerCertificates};

/// Why a handshake was refused. The names are those of metrics, logs and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeReason {
    /// The client presented no certificate.
    NoCertificate,
    /// A certificate of the chain, or its anchor, has ended.
    Expired,
    /// A certificate of the chain, or its anchor, has not begun.
    NotYetValid,
    /// No configured anchor issued it.
    UnknownIssuer,
    /// A CRL names it, or the operator cut it off.
    Revoked,
    /// No CRL that counts tells.
    RevocationUnknown,
    /// A signature of the chain, or the handshake's own, does not hold.
    BadSignature,
    /// A certificate's keyUsage, basicConstraints or name constraints forbid this use.
    WrongKeyUsage,
    /// The extended key usage does not allow a TLS client.
    WrongExtendedKeyUsage,
    /// A certificate of a form that is not accepted.
    UnsupportedCertificate,
    /// No common version of TLS.
    ProtocolVersion,
    /// No common cipher suite, group, signature scheme or application protocol.
    NoCommonParameters,
    /// The handshake took too long.
    Timeout,
    /// The first bytes were not TLS.
    NotTls,
    /// The peer went away.
    Closed,
    /// The peer broke the protocol.
    Malformed,
}

impl HandshakeReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::BadSignature,
        Self::WrongKeyUsage,
        Self::WrongExtendedKeyUsage,
        Self::UnsupportedCertificate,
        Self::ProtocolVersion,
        Self::NoCommonParameters,
        Self::Timeout,
        Self::NotTls,
        Self::Closed,
        Self::Malformed,
    ];

    /// The name, as users see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::BadSignature => "bad-signature",
            Self::WrongKeyUsage => "wrong-key-usage",
            Self::WrongExtendedKeyUsage => "wrong-extended-key-usage",
            Self::UnsupportedCertificate => "unsupported-certificate",
            Self::ProtocolVersion => "protocol-version",
            Self::NoCommonParameters => "no-common-parameters",
            Self::Timeout => "timeout",
            Self::NotTls => "not-tls",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::HandshakeReason;

    /// No wildcard: a reason that is new does not compile until it has its place here, and so in [`HandshakeReason::ALL`].
    fn place(reason: HandshakeReason) -> usize {
        match reason {
            HandshakeReason::NoCertificate => 0,
            HandshakeReason::Expired => 1,
            HandshakeReason::NotYetValid => 2,
            HandshakeReason::UnknownIssuer => 3,
            HandshakeReason::Revoked => 4,
            HandshakeReason::RevocationUnknown => 5,
            HandshakeReason::BadSignature => 6,
            HandshakeReason::WrongKeyUsage => 7,
            HandshakeReason::WrongExtendedKeyUsage => 8,
            HandshakeReason::UnsupportedCertificate => 9,
            HandshakeReason::ProtocolVersion => 10,
            HandshakeReason::NoCommonParameters => 11,
            HandshakeReason::Timeout => 12,
            HandshakeReason::NotTls => 13,
            HandshakeReason::Closed => 14,
            HandshakeReason::Malformed => 15,
        }
    }

    #[test]
    fn every_reason_is_among_all() {
        assert_eq!(
            HandshakeReason::ALL.map(place),
            std::array::from_fn(|at| at)
        );
    }
}
