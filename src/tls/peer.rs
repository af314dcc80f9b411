//! What a handshake proved, and whether it still holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::trust::{ChainRefusal, Trust, VerifiedChain};
use crate::x509::{Leaf, Validity};

/// The client's certificates, verified by a handshake. A request extension; clones share one copy.
#[derive(Clone, Debug)]
pub struct PeerCertificates(Arc<Proven>);

#[derive(Debug)]
struct Proven {
    leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
    anchor: Leaf,
    server_name: Option<String>,
    address: SocketAddr,
    /// The trust under which the chain held last, and the whole seconds between which it holds under it.
    generation: AtomicU64,
    not_before: AtomicI64,
    not_after: AtomicI64,
}

/// Why what a handshake proved holds no longer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}", .refusal.reason.as_str(), .refusal.detail)]
pub struct NoLongerValid {
    /// What a handshake would be refused with now.
    pub refusal: ChainRefusal,
}

impl PeerCertificates {
    /// What a handshake under `trust` proved.
    pub(super) fn new(
        verified: VerifiedChain,
        chain: Vec<CertificateDer<'static>>,
        trust: &Trust,
        server_name: Option<String>,
        address: SocketAddr,
    ) -> Self {
        Self(Arc::new(Proven {
            leaf: verified.leaf,
            chain,
            anchor: verified.anchor,
            server_name,
            address,
            generation: AtomicU64::new(trust.generation()),
            not_before: AtomicI64::new(verified.window.not_before.as_second()),
            not_after: AtomicI64::new(verified.window.not_after.as_second()),
        }))
    }

    /// The leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.0.leaf
    }

    /// What the client sent, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The trust anchor in which the chain ended at the handshake.
    pub fn anchor(&self) -> &Leaf {
        &self.0.anchor
    }

    /// When the whole chain holds, in whole seconds.
    pub fn window(&self) -> Validity {
        let second = |at: &AtomicI64, beyond| {
            Timestamp::from_second(at.load(Ordering::Relaxed)).unwrap_or(beyond)
        };
        Validity {
            not_before: second(&self.0.not_before, Timestamp::MIN),
            not_after: second(&self.0.not_after, Timestamp::MAX),
        }
    }

    /// The name that the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// Where the client connects from.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether the chain holds under `trust` at `now`.
    ///
    /// While the trust is the one under which it held last, and its window is open, that is a load and three comparisons. Else the
    /// chain is verified again, once for each new trust.
    pub fn recheck(&self, trust: &Trust, now: Timestamp) -> Result<(), NoLongerValid> {
        let proven = &*self.0;
        let second = now.as_second();
        // Acquire pairs with the Release below: the window that is read belongs to this trust, or to a newer one.
        if proven.generation.load(Ordering::Acquire) == trust.generation()
            && proven.not_before.load(Ordering::Relaxed) <= second
            && second <= proven.not_after.load(Ordering::Relaxed)
        {
            return Ok(());
        }
        let verified = trust
            .verify(&proven.chain, now)
            .map_err(|refusal| NoLongerValid { refusal })?;
        proven
            .not_before
            .store(verified.window.not_before.as_second(), Ordering::Relaxed);
        proven
            .not_after
            .store(verified.window.not_after.as_second(), Ordering::Relaxed);
        proven
            .generation
            .store(trust.generation(), Ordering::Release);
        Ok(())
    }
}
