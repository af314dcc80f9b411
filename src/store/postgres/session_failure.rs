//! Why there is no session with PostgreSQL.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::store::StoreFault;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum SessionFailure {
    /// A host refused, or is not there.
    #[error("no session with the database")]
    Refused(#[source] tokio_postgres::Error),
    /// A host did not answer in time.
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    /// Nothing can be written there: a standby, or a primary that was told to stop.
    #[error(
        "the database takes no writes; several hosts, divided by commas, let the receiver find the one that does"
    )]
    ReadOnly,
    /// The schema that this process has met at this address is not where it would have to be written to: there no more, or never at this host.
    #[error(
        "{host} takes writes, but the schema countersign, which was met at this address before, is not there; \
         put it back there from a backup, take that host out of store.url, or restart every receiver to begin anew without what was kept"
    )]
    Gone {
        /// The host.
        host: String,
    },
    /// The schema is at a host that cannot be written to, and one beside it that could be is empty.
    #[error(
        "{host} takes writes, but the schema countersign is not there: {holder} has it, and takes none; let that one take them, \
         take {host} out of store.url, or take {holder} out and restart every receiver to begin anew without what was kept"
    )]
    Elsewhere {
        /// The empty host.
        host: String,
        /// The one that has it.
        holder: String,
    },
    /// A host that could be written to is empty, and whether another has the schema is not known.
    #[error(
        "{host} takes writes and is empty, and {other}, which may have what was kept, could not be asked: no ledger begins before it was"
    )]
    Unasked {
        /// The empty host.
        host: String,
        /// The one that could not be asked.
        other: String,
        /// Why.
        source: Box<SessionFailure>,
    },
    /// The database is not ours to use.
    #[error("the database cannot be used")]
    Fault(#[source] StoreFault),
}

impl SessionFailure {
    /// Whether the host lacks the very database, and so has nothing of ours in it.
    pub(super) fn has_no_such_database(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME))
    }

    /// The same, as what stops a command.
    pub(in crate::store) fn into_fault(self, place: &str) -> StoreFault {
        let mend = self.mend();
        match self {
            Self::Fault(fault) => fault,
            Self::Refused(_)
            | Self::TimedOut(_)
            | Self::ReadOnly
            | Self::Gone { .. }
            | Self::Elsewhere { .. }
            | Self::Unasked { .. } => StoreFault::Unreachable {
                place: place.to_owned(),
                source: self.into(),
                mend,
            },
        }
    }
}

impl From<tokio_postgres::Error> for SessionFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Refused(error)
    }
}
