//! What a handshake in progress has shown so far, for the refusal that tells of it.
//!
//! rustls says little of a handshake that failed, and nothing of who was at the other end. The verifier and the certificate resolver run
//! inside the handshake's future, so they find their connection's [`Capture`] through a task-local: the configuration stays
//! shared between all connections.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, ServerConnection,
};

use super::path::{ChainRefusal, VerifiedChain};
use super::peer::PeerCertificates;
use super::reason::HandshakeReason;
use super::refusal::{Claimed, HandshakeRefusal};
use super::trust::Trust;
use crate::x509::Certificate;

tokio::task_local! {
    static CURRENT: Capture;
}

/// What one handshake has shown.
#[derive(Clone, Debug, Default)]
pub struct Capture(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// A ClientHello was understood.
    hello: bool,
    server_name: Option<String>,
    verified: Option<(u64, VerifiedChain)>,
    leaf: Option<Certificate>,
    refusal: Option<ChainRefusal>,
    shadow: Option<Certificate>,
    /// The last second in which what was proven holds.
    proven_until: Option<i64>,
}

impl Capture {
    /// An empty one, for a handshake that begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a handshake's future so that what it shows is captured here.
    pub fn scope<F: Future>(&self, handshake: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), handshake)
    }

    /// What the established session proves under today's trust. A resumed session is verified anew: its ticket may be older
    /// than the trust.
    pub fn established(
        &self,
        session: &ServerConnection,
        trust: &Trust,
        address: SocketAddr,
        now: Timestamp,
    ) -> Result<PeerCertificates, HandshakeRefusal> {
        let chain: Vec<CertificateDer<'static>> = session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|der| der.clone().into_owned())
            .collect();
        let server_name = session.server_name().map(str::to_owned);
        let captured = self.shown().verified.take();
        let verified = match captured {
            Some((generation, verified)) if generation == trust.generation() => Ok(verified),
            Some(_) | None => trust.verify(&chain, now),
        };
        match verified {
            Ok(verified) => Ok(PeerCertificates::new(
                verified,
                chain,
                trust,
                server_name,
                address,
            )),
            Err(refusal) => Err(HandshakeRefusal {
                reason: refusal.reason,
                claimed: refusal.leaf.as_ref().map(Claimed::boxed),
                address,
                server_name,
                detail: refusal.detail,
                shadow: trust.would_accept(&chain, now),
            }),
        }
    }

    /// Why the handshake failed, from what it showed and the error that it ended with.
    pub fn refused(&self, error: &io::Error, address: SocketAddr) -> HandshakeRefusal {
        let mut shown = self.shown();
        let (reason, detail) = match shown.refusal.take() {
            Some(refusal) => (refusal.reason, refusal.detail),
            None => classify(error, shown.hello),
        };
        HandshakeRefusal {
            reason,
            claimed: shown.leaf.as_ref().map(Claimed::boxed),
            address,
            server_name: shown.server_name.take(),
            detail,
            shadow: shown.shadow.take(),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something of the handshake that runs now; outside of one there is nobody to tell.
    fn note(record: impl FnOnce(&mut Shown)) {
        let _outside = CURRENT.try_with(|capture| record(&mut capture.shown()));
    }
}

pub(super) fn note_server_name(name: Option<&str>) {
    Capture::note(|shown| {
        shown.hello = true;
        shown.server_name = name.map(str::to_owned);
    });
}

/// The leaf of the handshake that runs now, which its verifier has decoded; decoded here if there is none.
pub(super) fn leaf_of(certificate: &CertificateDer<'_>) -> Option<Certificate> {
    let captured = CURRENT.try_with(|capture| capture.shown().leaf.clone());
    captured
        .ok()
        .flatten()
        .filter(|leaf| leaf.der() == certificate.as_ref())
        .or_else(|| Certificate::decode(certificate).ok())
}

pub(super) fn note_verified(generation: u64, verified: &VerifiedChain) {
    Capture::note(|shown| {
        shown.leaf = Some(verified.leaf.clone());
        shown.proven_until = Some(verified.window.not_after.as_second());
        shown.verified = Some((generation, verified.clone()));
    });
}

/// Until when what the handshake that runs now has proven holds; nothing if it has proven nothing yet.
pub(super) fn proven_until() -> Option<i64> {
    let proven = CURRENT.try_with(|capture| capture.shown().proven_until);
    proven.ok().flatten()
}

/// A ticket of an earlier handshake has proven it.
pub(super) fn note_proven_until(second: i64) {
    Capture::note(|shown| shown.proven_until = Some(second));
}

pub(super) fn note_refused(refusal: &ChainRefusal, shadow: Option<Certificate>) {
    Capture::note(|shown| {
        shown.leaf.clone_from(&refusal.leaf);
        shown.refusal = Some(refusal.clone());
        shown.shadow = shadow;
    });
}

/// A failure that no certificate explains.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, of which every other kind is a connection that broke"
)]
fn classify(error: &io::Error, hello: bool) -> (HandshakeReason, String) {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        return (reason_of(tls, hello), detail_of(tls));
    }
    let reason = match error.kind() {
        io::ErrorKind::TimedOut => HandshakeReason::Timeout,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => HandshakeReason::Malformed,
        _ => HandshakeReason::Closed,
    };
    (reason, error.to_string())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, of which every other variant is a breach of the protocol"
)]
fn reason_of(error: &Error, hello: bool) -> HandshakeReason {
    match error {
        Error::NoCertificatesPresented => HandshakeReason::NoCertificate,
        Error::PeerIncompatible(
            // What a hello of TLS 1.1 or older lacks.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => HandshakeReason::ProtocolVersion,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            HandshakeReason::NoCommonParameters
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => HandshakeReason::BadSignature,
        Error::InvalidCertificate(_) => HandshakeReason::UnsupportedCertificate,
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) if !hello => HandshakeReason::NotTls,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion => HandshakeReason::ProtocolVersion,
            AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => HandshakeReason::NoCommonParameters,
            _ => HandshakeReason::Closed,
        },
        _ => HandshakeReason::Malformed,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, of which these alerts speak of our certificate"
)]
fn detail_of(error: &Error) -> String {
    let Error::AlertReceived(alert) = error else {
        return error.to_string();
    };
    let hint = match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => {
            ": it does not accept our certificate (tls.certificate)"
        }
        AlertDescription::CertificateExpired => {
            ": to it, our certificate (tls.certificate) has ended"
        }
        _ => "",
    };
    format!("the peer ended the handshake with the alert {alert:?}{hint}")
}
