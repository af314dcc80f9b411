//! What an import does with the rows, and why it may not come to its end.

use super::lines::{Line, TransferFault};
use crate::store::fault::StoreFault;

/// What becomes of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// Those that are missing are written.
    Write,
    /// They are compared with the store, and nothing is written.
    Compare,
}

/// Why an import did not come to its end. What was written before stays, and is found again by the next one.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// There is no store that can be used.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The export is at fault.
    #[error(transparent)]
    Export(#[from] TransferFault),
    /// A statement failed.
    #[error(
        "the store refused a statement, and nothing of its batch was written; once the cause is mended, run the same import again: \
         what is there and equal is skipped"
    )]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database went away, perhaps between a commit and its answer.
    #[error(
        "the database went away, or gave no answer, before all was done; what was written stays: once it is back, run the same \
         import again, which skips what is there and equal"
    )]
    Away {
        /// What was met instead of an answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row names another one that neither the export nor the store has.
    #[error(
        "line {line}: {name} names a {what} that neither the lines before it nor the store has; nothing of its batch was written"
    )]
    Dangling {
        /// Its line.
        line: u64,
        /// Which row.
        name: String,
        /// What it names.
        what: &'static str,
    },
    /// What was written reads back otherwise.
    #[error(
        "line {line}: {name} was written and is not there, or otherwise; stop what else writes to the store, and import again"
    )]
    NotKept {
        /// Its line.
        line: u64,
        /// Which row.
        name: String,
    },
}

impl ImportFailure {
    pub(in crate::store) fn statement(
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Statement {
            source: error.into(),
        }
    }

    pub(in crate::store) fn dangling(line: &Line, what: &'static str) -> Self {
        Self::Dangling {
            line: line.number,
            name: line.record.name(),
            what,
        }
    }
}
