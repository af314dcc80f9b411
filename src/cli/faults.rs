//! What is wrong outside the configuration and named by it: where it does so, and how that is mended.

use crate::config::{Config, ConfigFile, Environment, Fault};
use crate::server::ListenFailure;
use crate::store::StoreFault;

/// What to do where the store itself does not say.
pub(super) const MEND_STORE: &str = "mend the store, or name another";

/// An address that cannot be listened on, where the configuration names it.
pub(super) fn fault_of_listening(
    failure: &ListenFailure,
    place: &ConfigFile,
    environment: &Environment,
) -> Fault {
    let (what, mend) = (failure.what(), failure.mend().to_owned());
    Config::fault_of(place, environment, failure.key, what, mend)
}

/// Which key of the configuration names what is at fault.
pub(super) fn key_of(fault: &StoreFault) -> &'static [&'static str] {
    match fault {
        StoreFault::Spool { .. } => &["store", "spool", "path"],
        StoreFault::NeedlessSpool { .. } => &["store", "spool"],
        StoreFault::NoDirectory { .. }
        | StoreFault::Displaced { .. }
        | StoreFault::LogAlone { .. }
        | StoreFault::LogDisplaced { .. }
        | StoreFault::Locked { .. }
        | StoreFault::NoRoom { .. }
        | StoreFault::DiskFails { .. }
        | StoreFault::NoStore { .. }
        | StoreFault::IsDirectory { .. }
        | StoreFault::Rights { .. }
        | StoreFault::Unopenable { .. }
        | StoreFault::Damaged { .. }
        | StoreFault::Foreign { .. }
        | StoreFault::OtherKind { .. }
        | StoreFault::Newer { .. }
        | StoreFault::Older { .. }
        | StoreFault::Migration { .. }
        | StoreFault::Address { .. }
        | StoreFault::Tls { .. }
        | StoreFault::Encoding { .. }
        | StoreFault::Unreachable { .. }
        | StoreFault::NoWriter { .. } => &["store", "url"],
    }
}
