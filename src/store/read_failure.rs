//! Why something could not be read from a store.

use std::time::Duration;

use super::fault::StoreFault;

/// What to do where a statement waits for what another session holds, of which it can tell nothing itself.
pub(super) const WHO_HOLDS: &str = "if it waits for a lock, this says whose: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// There is no store that can be read.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A statement failed.
    #[error("the store could not be read")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database took too long.
    #[error("the store did not answer within {waited:?}")]
    TookTooLong {
        /// How long it had.
        waited: Duration,
    },
    /// The runtime is going down.
    #[error("the reading was cancelled")]
    BrokenOff,
}

impl ReadFailure {
    /// What to do about it, where that can be told.
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::Store(fault) => fault.mend(),
            Self::TookTooLong { .. } => Some(WHO_HOLDS.to_owned()),
            Self::Statement { .. } | Self::BrokenOff => None,
        }
    }
}
