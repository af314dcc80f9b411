//! tls
mod drain;
mod limits;
mod listener;
mod peer;
mod proxy_protocol;
pub use limits::{LimitReached, Limits};
pub use listener::{ReusePort, inherited, listen};
pub use peer::{NoLongerValid, PeerCertificates};
pub use proxy_protocol::{Network, NetworkFault};
