//! What `[server]`, `[admin]` and `[store]` come to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;
use crate::store::{SpoolSettings, Url};
use crate::tls::{self, Network, ReusePort};

/// The providers' side.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where it listens. A change needs a restart.
    pub listen: SocketAddr,
    /// Whether another process may listen there too. A change needs a restart.
    pub reuse_port: ReusePort,
    /// The paths at which every producer without a path of its own delivers.
    pub paths: Vec<Arc<str>>,
    /// Load balancers that speak the PROXY protocol.
    pub trusted_proxies: Vec<Network>,
    /// Bounds of connections.
    pub connections: tls::Limits,
    /// The longest body of a delivery.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take from its head to its answer.
    pub request_timeout: Duration,
}

/// The operator's side.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens. A change needs a restart.
    pub listen: SocketAddr,
    /// Any one of these opens it; none where it listens on loopback and asks for none.
    pub tokens: Vec<Secret>,
}

impl AdminSettings {
    /// Whether it may do without a token: nobody but this machine can ask.
    pub fn may_be_open(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where it is. A change needs a restart.
    pub url: Url,
    /// Bounds of what waits for it. A change needs a restart.
    pub limits: crate::inbox::Limits,
    /// What takes deliveries while it is away. A change needs a restart.
    pub spool: Option<SpoolSettings>,
    /// Where a spool is that nobody names: the default path, unless it is the one above.
    pub(super) unnamed_spool: Option<PathBuf>,
}
