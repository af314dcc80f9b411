//! tls
mod connections;
mod drain;
mod limits;
mod listener;
mod peer;
mod proxy_protocol;
mod socket;
pub use connections::{Connection, Connections};
pub use limits::{LimitReached, Limits};
pub use listener::{ReusePort, inherited, listen, raise_open_files};
pub use peer::{NoLongerValid, PeerCertificates};
pub use proxy_protocol::{Network, NetworkFault};
