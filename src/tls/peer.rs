//! What a handshake proved: the client's verified chain.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::x509::{Leaf, Validity};

/// The client's certificates, verified by a handshake. A request extension; clones share one copy.
#[derive(Clone, Debug)]
pub struct PeerCertificates(Arc<Proven>);

#[derive(Debug)]
struct Proven {
    leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
    anchor: Leaf,
    window: Validity,
    server_name: Option<String>,
    address: SocketAddr,
}

impl PeerCertificates {
    /// The leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.0.leaf
    }

    /// What the client sent, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The trust anchor that the chain ends in.
    pub fn anchor(&self) -> &Leaf {
        &self.0.anchor
    }

    /// When the whole chain is valid.
    pub fn window(&self) -> Validity {
        self.0.window
    }

    /// The name that the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// Where the client connects from.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// Why what a handshake proved holds no longer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate chain is no longer valid: {detail}")]
pub struct NoLongerValid {
    /// What changed, for the operator.
    pub detail: String,
}
