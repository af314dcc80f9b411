//! What a handshake proved, and whether it still holds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::path::{ChainRefusal, VerifiedChain};
use super::trust::Trust;
use crate::x509::{Certificate, Validity};

/// The client's certificates, verified by a handshake. A request extension; clones share one copy.
#[derive(Clone, Debug)]
pub struct PeerCertificates(Arc<Proven>);

#[derive(Debug)]
struct Proven {
    leaf: Certificate,
    chain: Vec<CertificateDer<'static>>,
    anchor: Certificate,
    server_name: Option<String>,
    address: SocketAddr,
    last_held: LastHeld,
    refused: Mutex<Option<Refused>>,
}

/// The last trust under which the chain held no longer, from when on, and why.
#[derive(Debug)]
struct Refused {
    generation: u64,
    since: Timestamp,
    reason: NoLongerValid,
}

/// Under which trust the chain held last, and between which whole seconds it holds under it.
///
/// Readers take no lock. A writer sets the generation to 0 first and last to its own, so a reader that finds the same generation before
/// and after has read its window. Generations begin at 1 and grow from trust to trust.
#[derive(Debug)]
struct LastHeld {
    generation: AtomicU64,
    not_before: AtomicI64,
    not_after: AtomicI64,
}

impl LastHeld {
    fn new(generation: u64, window: Validity) -> Self {
        Self {
            generation: AtomicU64::new(generation),
            not_before: AtomicI64::new(window.not_before.as_second()),
            not_after: AtomicI64::new(window.not_after.as_second()),
        }
    }

    fn holds(&self, generation: u64, now: Timestamp) -> bool {
        let second = now.as_second();
        self.generation.load(Ordering::SeqCst) == generation
            && self.not_before.load(Ordering::SeqCst) <= second
            && second <= self.not_after.load(Ordering::SeqCst)
            && self.generation.load(Ordering::SeqCst) == generation
    }

    /// One writer at a time.
    fn set(&self, generation: u64, window: Validity) {
        // A request that began before a reload may come late; what is newer stays.
        if self.generation.load(Ordering::SeqCst) > generation {
            return;
        }
        self.generation.store(0, Ordering::SeqCst);
        self.not_before
            .store(window.not_before.as_second(), Ordering::SeqCst);
        self.not_after
            .store(window.not_after.as_second(), Ordering::SeqCst);
        self.generation.store(generation, Ordering::SeqCst);
    }
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
            last_held: LastHeld::new(trust.generation(), verified.window),
            refused: Mutex::new(None),
        }))
    }

    /// The leaf.
    pub fn leaf(&self) -> &Certificate {
        &self.0.leaf
    }

    /// What the client sent, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The trust anchor in which the chain ended at the handshake.
    pub fn anchor(&self) -> &Certificate {
        &self.0.anchor
    }

    /// When the whole chain holds, in whole seconds.
    pub fn window(&self) -> Validity {
        let second = |at: &AtomicI64, beyond| {
            Timestamp::from_second(at.load(Ordering::SeqCst)).unwrap_or(beyond)
        };
        Validity {
            not_before: second(&self.0.last_held.not_before, Timestamp::MIN),
            not_after: second(&self.0.last_held.not_after, Timestamp::MAX),
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
    /// While the trust is the one under which it held last, and its window is open, that is a few loads and comparisons. Else the chain
    /// is verified again, once for each new trust.
    pub fn recheck(&self, trust: &Trust, now: Timestamp) -> Result<(), NoLongerValid> {
        if self.holds(trust, now) {
            return Ok(());
        }
        self.ask_again(trust, now, || {
            let verified = trust.verify(&self.0.chain, now)?;
            Ok(verified.window)
        })
    }

    /// Whether the chain is known to hold, without verifying anything.
    pub(super) fn holds(&self, trust: &Trust, now: Timestamp) -> bool {
        self.0.last_held.holds(trust.generation(), now)
    }

    /// Whether the chain has held under this very trust: what is against it now is time alone.
    pub(super) fn held_under(&self, trust: &Trust) -> bool {
        self.0.last_held.generation.load(Ordering::SeqCst) == trust.generation()
    }

    /// Whether it is known what this trust says of the chain, or said when it was asked last.
    pub(super) fn is_judged(&self, trust: &Trust) -> bool {
        let is_of_this = |before: &Refused| before.generation == trust.generation();
        self.held_under(trust) || self.refused().as_ref().is_some_and(is_of_this)
    }

    /// The same as [`PeerCertificates::recheck`], with what is known of this very chain under `trust` at `now`.
    #[cold]
    pub(super) fn ask_again(
        &self,
        trust: &Trust,
        now: Timestamp,
        verify: impl FnOnce() -> Result<Validity, ChainRefusal>,
    ) -> Result<(), NoLongerValid> {
        let generation = trust.generation();
        // The streams of one connection wait here for the first of them.
        let mut refused = self.refused();
        if self.0.last_held.holds(generation, now) {
            return Ok(());
        }
        // What lost its trust does not regain it: the connection is closed, and its peer may shake hands anew.
        if let Some(before) = &*refused
            && before.generation == generation
            && before.since <= now
        {
            return Err(before.reason.clone());
        }
        match verify() {
            Ok(window) => {
                self.0.last_held.set(generation, window);
                Ok(())
            }
            Err(refusal) => {
                let reason = NoLongerValid { refusal };
                *refused = Some(Refused {
                    generation,
                    since: now,
                    reason: reason.clone(),
                });
                Err(reason)
            }
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Refused>> {
        self.0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
