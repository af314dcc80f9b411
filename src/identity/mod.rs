//! Gate 2: which producer of which tenant a verified certificate stands for.
//!
//! The [`Directory`] maps a certificate's subject, and the path of the request, to a [`Producer`]. Only
//! [`Directory::identify`] makes an [`Identified`], and it asks for [`PeerCertificates`], which only a handshake
//! that held can make. Nothing here reads a header: identity comes from the certificate alone.
//!
//! Subjects are compared as RFC 5280 §7.1 has it, by [`DistinguishedName`]; a pin is compared with the SHA-256 of the
//! leaf's SubjectPublicKeyInfo (RFC 7469 §2.4).

mod directory;

use std::fmt;
use std::sync::Arc;

use crate::tls::{NoLongerValid, PeerCertificates};
use crate::x509::{Certificate, DistinguishedName, SpkiPin};

pub use directory::{Directory, DirectoryFault, NotAMark, ShadowMark, ShadowVerdict, Would};

/// A tenant's name, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// A tenant of this name; the configuration has checked its form.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A producer's place in the configuration; it indexes what other rooms keep per producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerId(pub usize);

/// Whether a mark decides, or is only watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Force {
    /// It decides.
    Live,
    /// It decides nothing; what it would have decided is counted (`shadow = true`).
    Shadow,
}

/// One provider's sender, as a tenant knows it.
#[derive(Clone, Debug)]
pub struct Producer {
    /// Its place in the configuration.
    pub id: ProducerId,
    /// Whose events it brings.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: Arc<str>,
    /// The subject of its certificates.
    pub subject: DistinguishedName,
    /// Keys of which the leaf's must be one; empty means any key.
    pub pins: Vec<SpkiPin>,
    /// Pins that only watch.
    pub shadow_pins: Vec<SpkiPin>,
    /// The one path that it delivers to; `None` means each of `server.paths`.
    pub path: Option<Arc<str>>,
    /// Whether it decides.
    pub force: Force,
}

impl Producer {
    /// Whether the leaf's key is one that it may have.
    pub fn admits(&self, leaf: &Certificate) -> bool {
        self.pins.is_empty() || self.pins.contains(&leaf.spki())
    }
}

/// A request whose sender is known. Only [`Directory::identify`] makes one.
#[derive(Clone, Debug)]
pub struct Identified {
    producer: Arc<Producer>,
    peer: PeerCertificates,
}

impl Identified {
    /// Who sends.
    pub fn producer(&self) -> &Arc<Producer> {
        &self.producer
    }

    /// The certificates that prove it.
    pub fn peer(&self) -> &PeerCertificates {
        &self.peer
    }
}

/// Why gate 2 stays shut.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityRefusal {
    /// What the handshake established no longer holds.
    #[error("the certificate is no longer valid here")]
    CertificateNoLongerValid {
        /// What changed.
        source: NoLongerValid,
    },
    /// No producer has this subject on this path.
    #[error("no producer has the subject {subject} on this path")]
    UnknownProducer {
        /// The leaf's subject.
        subject: DistinguishedName,
    },
    /// The subject is known, its key is not one of the pinned.
    #[error("the key {presented} is none of the pinned keys of producer {}", producer.name)]
    PinMismatch {
        /// The producer.
        producer: Arc<Producer>,
        /// The leaf's key.
        presented: SpkiPin,
    },
    /// The producer was cut off by the operator.
    #[error("producer {} is cut off", producer.name)]
    CutOff {
        /// The producer.
        producer: Arc<Producer>,
    },
}

impl IdentityRefusal {
    /// The names of those that may concern nobody who is configured. All others know their producer.
    pub const NAMES_OF_NOBODY: [&'static str; 2] =
        ["certificate-no-longer-valid", "unknown-producer"];

    /// The problem's name. Who was cut off is told no more than a stranger.
    pub fn name(&self) -> &'static str {
        let [no_longer_valid, unknown] = Self::NAMES_OF_NOBODY;
        match self {
            Self::CertificateNoLongerValid { .. } => no_longer_valid,
            Self::UnknownProducer { .. } | Self::CutOff { .. } => unknown,
            Self::PinMismatch { .. } => "pin-mismatch",
        }
    }
}
