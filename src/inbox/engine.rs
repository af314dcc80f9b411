//! A connection to a store, as group commit sees it.

use std::future::Future;

use super::{Cause, Event, Receipt};

/// What a delivery came to within a committed transaction. A refused delivery left no trace in it.
pub type Outcome = Result<Vec<Receipt>, Cause>;

/// One connection to a store, as group commit sees it.
pub trait Engine: Send + 'static {
    /// An event, made ready for writing.
    type Row: Send + Sync + 'static;

    /// Makes an event ready: everything that can be computed before the writer's turn, on the caller's own thread.
    fn prepare(event: Event) -> Self::Row;

    /// About how many bytes of memory a row holds while it waits.
    fn bytes(row: &Self::Row) -> usize;

    /// Writes all deliveries in one transaction and makes it durable. The outcomes are in the order of the deliveries.
    ///
    /// An empty batch, or one of empty deliveries, asks whether the store can write: it must make some write durable.
    fn commit(
        &mut self,
        batch: &[Vec<Self::Row>],
        isolation: Isolation,
    ) -> impl Future<Output = Result<Vec<Outcome>, BatchFailure>> + Send;

    /// Housekeeping between two batches, after the first has been answered. It must be short.
    fn tidy(&mut self) -> impl Future<Output = ()> + Send;
}

/// How the deliveries of a batch are kept from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Not at all: the first row that fails ends the transaction with [`BatchFailure::Row`]. The fast way.
    Together,
    /// Each delivery by itself (a savepoint): one whose row fails has an outcome of its own.
    Apart,
}

/// Why a batch came to nothing.
#[derive(Clone, Debug)]
pub enum BatchFailure {
    /// A row failed under [`Isolation::Together`]; nothing of the batch is durable.
    Row(Cause),
    /// The transaction could not be begun or filled; nothing of the batch is durable.
    Unavailable(Cause),
    /// The commit failed, or its answer was lost: the batch may be durable or not.
    Commit(Cause),
}
