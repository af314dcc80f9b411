//! Why gate 3 stays shut.

use std::sync::Arc;

use jiff::Timestamp;

/// Why gate 3 stays shut. What it tells is for the operator; the sender is told no more than the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefusal {
    /// Something that the scheme needs is not there.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: String,
    },
    /// It is there, and cannot be read.
    #[error("{what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// No listed signature is right for any active secret.
    #[error("no signature is right for any active secret")]
    Mismatch {
        /// The secret that only watches, and would have verified the delivery.
        shadow: Option<Arc<str>>,
    },
    /// The stated time is too old, or too far ahead.
    #[error("the delivery was signed at {sent:.3}, too far from {now:.3}")]
    TimestampOutsideTolerance {
        /// What the sender states.
        sent: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The signature holds, and the body is another account's (403, as at gate 2).
    #[error("the body does not name the account that is bound to the producer")]
    AccountMismatch,
}

impl SignatureRefusal {
    /// The problem's name, as the contract has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "signature-missing",
            Self::Malformed { .. } => "signature-malformed",
            Self::Mismatch { .. } => "signature-mismatch",
            Self::TimestampOutsideTolerance { .. } => "timestamp-outside-tolerance",
            Self::AccountMismatch => "account-mismatch",
        }
    }
}
