//! What pruning comes to: what went, or would go, tenant by tenant; and what the store takes on disk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::inbox::Cause;
use crate::store::fault::StoreFault;
use crate::store::read_failure::ReadFailure;

/// What went of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Bodies, with their headers.
    pub bodies: u64,
    /// Events that no list has any more.
    pub events: u64,
    /// Events that are not recognised any more if they come again.
    pub keys: u64,
    /// What the bodies and headers were long, in bytes.
    pub bytes: u64,
}

impl Tally {
    pub(in crate::store) fn add(&mut self, other: Self) {
        self.bodies = self.bodies.saturating_add(other.bodies);
        self.events = self.events.saturating_add(other.events);
        self.keys = self.keys.saturating_add(other.keys);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What a pass of pruning came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// By tenant: all that were asked for, also those of which nothing went.
    pub tenants: BTreeMap<String, Tally>,
    /// What was taken for now; `None` where nothing in the store is older than a day.
    pub believed: Option<Timestamp>,
    /// Whether the clock was ahead of what the store bears out, so that less went than it would have had go.
    pub held_back: bool,
    /// What time it is by what the process knows, if the clock was set ahead since it began.
    pub known: Option<Timestamp>,
    /// Whether somebody else was at it (a receiver that prunes, a reader of a day that was to go), or nobody wanted the pass any more, so
    /// that the rest is left for another time.
    pub left_for_later: bool,
    /// Whether all was looked through, and nothing of somebody else's ended the pass before.
    pub went_through: bool,
}

impl Pruned {
    pub(in crate::store) fn add(&mut self, tenant: &str, tally: Tally) {
        self.tenants
            .entry(tenant.to_owned())
            .or_default()
            .add(tally);
    }

    /// What went in all.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.tenants.values() {
            total.add(*tally);
        }
        total
    }
}

/// What a store takes on disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskUse {
    /// What bodies and headers take; null for an embedded store, which has all in one file.
    pub bodies: Option<u64>,
    /// The file; of a database, all tables and indexes.
    pub store: u64,
    /// The log that is not in the file yet; null for a database, whose log is not ours alone.
    pub log: Option<u64>,
    /// Of the file, what is empty and used again before the file grows; null for a database.
    pub free: Option<u64>,
}

/// Why pruning went no further. What went before is gone.
#[derive(Debug, thiserror::Error)]
pub enum PruneFailure {
    /// There is no store that can be written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// What has had its time could not be looked for.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// The writer failed, or did not come to it.
    #[error("nothing could be pruned")]
    Writer {
        /// Why.
        #[source]
        source: Cause,
    },
    /// A statement failed.
    #[error("no more could be pruned")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The embedded store's disk has no room.
    #[error(
        "the disk of the store is full, and SQLite writes to its log even to delete; make some room on it, then prune again"
    )]
    NoRoom {
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database took too long over a step.
    #[error("the database did not let go within {waited:?}")]
    TookTooLong {
        /// How long it had.
        waited: std::time::Duration,
    },
}

impl From<rusqlite::Error> for PruneFailure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::NoRoom { source: error },
            Some(_) | None => Self::Statement {
                source: error.into(),
            },
        }
    }
}

impl From<tokio_postgres::Error> for PruneFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement {
            source: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let failure = PruneFailure::from(rusqlite::Error::SqliteFailure(full, None));
        assert!(
            failure
                .to_string()
                .ends_with("; make some room on it, then prune again")
        );
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        let failure = PruneFailure::from(rusqlite::Error::SqliteFailure(busy, None));
        assert!(matches!(failure, PruneFailure::Statement { .. }));
    }
}
