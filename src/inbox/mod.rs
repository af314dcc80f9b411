//! Gate 4: the inbox, where a verified delivery becomes a durable fact, once.
//!
//! An [`Inbox`] takes the [`Event`]s of one delivery and answers with a [`Receipt`] for each, strictly after the
//! transaction that holds all of them is on disk. Whatever fails on the way is an [`InboxFailure`]: the sender gets
//! 503 and tries again, and because each event bears an [`IdempotencyKey`], a retry of something that was durable
//! after all is a duplicate and changes nothing. So an uncertain commit is always reported as a failure.
//!
//! [`GroupCommit`] is how both engines get their speed: what waits at the same time shares one transaction and one
//! sync, without a timer, so an idle inbox adds no delay. Deliveries enter by `group_commit.rs` and leave by `writer.rs`; what a
//! store must be for that is an [`Engine`].
//!
//! This room holds no SQL and knows no payment: what an event does to the ledger is the store's to ask of `payments`,
//! within the same transaction.

mod engine;
mod event;
mod group_commit;
mod kept_headers;
mod limits;
mod progress;
mod reading;
mod writer;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use engine::{BatchFailure, Engine, Isolation, Outcome};
pub use event::{Event, IdempotencyKey, Standing, digest16};
pub use group_commit::GroupCommit;
pub use kept_headers::KeptHeaders;
pub use limits::Limits;
pub use progress::Health;
pub use writer::Writer;

/// The counter of events, by tenant, producer and receipt. What a metric means, `telemetry` tells.
pub const EVENTS_METRIC: &str = "countersign_events_total";
/// The histogram of how long transactions take.
pub const COMMIT_METRIC: &str = "countersign_commit_seconds";
/// The histogram of how many events they hold.
pub const BATCH_METRIC: &str = "countersign_batch_events";

/// What durably takes deliveries.
pub trait Inbox: Send + Sync {
    /// Writes all events of one delivery down in one transaction; the receipts are in the order of the events.
    ///
    /// The future may be dropped at any time: the delivery is then written or not, and nobody was told that it was.
    fn accept(
        &self,
        delivery: Vec<Event>,
    ) -> impl Future<Output = Result<Vec<Receipt>, InboxFailure>> + Send;

    /// Whether another delivery would be taken now. It binds nobody: it spares work on what would be turned away.
    fn has_room(&self) -> bool {
        true
    }
}

/// What became of one event. Each of these is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receipt {
    /// It is new, and kept.
    Accepted,
    /// It was there already, with the same body: counted on the row that is there.
    Duplicate,
    /// Another body is there under its id: kept beside it, never shown to the ledger.
    Conflict,
    /// It was signed but could not be read; its body is kept. Also the answer when the same body comes again.
    Quarantined,
    /// It is in the spool: whether it is new is known once the store is back and it was moved there.
    Spooled,
}

/// The cause of a failure, shared between the deliveries that shared a transaction.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a delivery was not acknowledged. Ours, never the sender's: 503, and the sender tries again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InboxFailure {
    /// Too much waits already.
    #[error("the inbox's queue is full")]
    QueueFull,
    /// The store did not answer in time; the events may be durable or not.
    #[error("the store did not answer within {waited:?}")]
    TimedOut {
        /// How long the delivery waited.
        waited: Duration,
    },
    /// The transaction could not be begun or filled; nothing of it is durable.
    #[error("the store is unavailable")]
    Unavailable {
        /// What the engine said.
        source: Cause,
    },
    /// The commit failed or its answer was lost; the events may be durable or not.
    #[error("the transaction could not be committed")]
    Commit {
        /// What the engine said.
        source: Cause,
    },
    /// The engine refused this delivery's own rows; its neighbours were not harmed.
    #[error("the store refused the delivery's rows")]
    Row {
        /// What the engine said.
        source: Cause,
    },
    /// The inbox takes no more.
    #[error("the inbox is shutting down")]
    ShuttingDown,
}

impl InboxFailure {
    /// Every name that one can have.
    pub const NAMES: [&'static str; 6] = [
        "queue_full",
        "timed_out",
        "unavailable",
        "commit",
        "row",
        "shutting_down",
    ];

    /// A short name for metrics, out of [`Self::NAMES`].
    pub fn name(&self) -> &'static str {
        let [
            queue_full,
            timed_out,
            unavailable,
            commit,
            row,
            shutting_down,
        ] = Self::NAMES;
        match self {
            Self::QueueFull => queue_full,
            Self::TimedOut { .. } => timed_out,
            Self::Unavailable { .. } => unavailable,
            Self::Commit { .. } => commit,
            Self::Row { .. } => row,
            Self::ShuttingDown => shutting_down,
        }
    }
}

/// The writer ended without an answer, which only a defect of ours makes it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterGone;

impl fmt::Display for WriterGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store's writer has ended; restart the receiver")
    }
}

impl Error for WriterGone {}
