//! Why something could not be read from a store.

use std::time::Duration;

use super::fault::StoreFault;

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
