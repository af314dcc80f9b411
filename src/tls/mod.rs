//! tls
mod drain;
mod limits;
mod listener;
mod proxy_protocol;
pub use limits::{LimitReached, Limits};
pub use listener::{ReusePort, inherited, listen};
pub use proxy_protocol::{Network, NetworkFault};
