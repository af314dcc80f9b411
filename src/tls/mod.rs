//! Gates 0 and 1: limits, the handshake, and what it proves.
//!
//! Only a handshake that held, under a [`Trust`], makes a [`PeerCertificates`]; each request asks it again whether it still holds. A
//! handshake that did not is a [`HandshakeRefusal`], handed to an [`Observer`]. This room never logs, never counts, reads no file and knows no
//! tenant. Sources: RFC 8446 (TLS 1.3), RFC 5280 §6 (path validation).

mod accept;
mod candidates;
mod capture;
pub mod client;
mod connections;
mod database;
mod drain;
mod explain;
mod flaw;
mod half_close;
mod judge;
mod limits;
mod listed;
mod listener;
mod objections;
mod path;
mod peer;
mod proxy_protocol;
mod reason;
mod refusal;
mod revocation;
mod serve;
mod server_config;
mod signatures;
mod socket;
mod tickets;
mod trust;
mod trust_parts;
mod verifier;
mod words;

use std::sync::Arc;

pub use accept::{Acceptor, Admitted, Answering};
pub use capture::Capture;
pub use connections::{Connection, Connections};
pub use database::{DatabaseStream, DatabaseTls, DatabaseTlsFault, ServerCheck};
pub use flaw::Flaw;
pub use limits::{LimitReached, Limits};
pub use listener::{ReusePort, inherited, listen, mend_of_open_files, raise_open_files};
pub use objections::{
    CONSTRAINS_DIRECTORY_NAMES, CONSTRAINS_DIRECTORY_NAMES_MEND, bar_of_anchor,
    constrains_directory_names,
};
pub use path::{ChainRefusal, VerifiedChain};
pub use peer::{NoLongerValid, PeerCertificates};
pub use proxy_protocol::{
    Header as ProxyHeader, HeaderRefusal as ProxyHeaderRefusal, Network, NetworkFault,
    parse as parse_proxy_header,
};
pub use reason::HandshakeReason;
pub use refusal::{Claimed, HandshakeRefusal, Observer};
pub use revocation::{Concerned, Forgetful};
pub use rustls::ServerConfig;
pub use serve::{Serving, serve};
pub use server_config::{
    IdentityFault, MinVersion, Resumption, ServerIdentity, SetupFailure, seed, server_config,
};
pub use socket::Socket;
pub use trust::{Trust, TrustWarning};
pub use trust_parts::{
    CrlExpired, CrlMissing, CutOffs, TrustFault, TrustParts, TrustPolicy, V1Leaf,
};

/// What gate 1 works with at this moment; a reload changes what it gives.
pub trait CurrentTrust: Send + Sync + 'static {
    /// Today's trust.
    fn trust(&self) -> Arc<Trust>;

    /// The configuration of TLS that was made with it.
    fn server_config(&self) -> Arc<ServerConfig>;
}
