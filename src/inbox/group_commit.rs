//! Group commit: what waits at the same time shares one transaction.
//!
//! One queue, bounded in deliveries and in bytes; one [`Writer`] for each engine connection. A writer takes whatever is
//! queued, up to a bound in deliveries and one in events, and does not wait for more: while one transaction is being synced, the next batch gathers by
//! itself, and an idle inbox commits a lone delivery at once. Only where another writer's batch is under way does it let
//! as many gather as that one has, for [`Limits::gather`] at most: two small batches cost more than one. Nothing here knows
//! a database or a thread, so the whole of it runs under a simulated engine, one step at a time, in the tests.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};

use super::{Cause, Event, InboxFailure, Receipt, WriterGone};

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

/// After so many full batches in a row, each of which left others waiting, the queue is no burst but a standing one: more
/// comes than can be written, and to wait in it delays everybody without helping anybody.
const FULL_BATCHES_MAX: usize = 8;

/// How long a writer may be at one batch without any other's being committed, until the store counts as one that hangs: a disk
/// that answers nothing fails nothing either.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// The bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries that may wait, at most. While more comes than can be written it is two batches' worth, so that what is
    /// accepted has not waited long.
    pub queue_deliveries: usize,
    /// Bytes that may wait, at most.
    pub queue_bytes: usize,
    /// Deliveries in one transaction, at most.
    pub batch_deliveries: usize,
    /// Events in one transaction, at most, but where a single delivery has more; never fewer than deliveries. Of bodies that tell of
    /// hundreds each, a batch of deliveries alone could be one that no engine ends in its time, and fail for all who are in it.
    pub batch_events: usize,
    /// How long a delivery waits for its receipt, at most.
    pub wait: Duration,
    /// How long a batch gathers beside one that is under way, at most.
    pub gather: Duration,
}

impl Limits {
    fn events_max(&self) -> usize {
        self.batch_events.max(self.batch_deliveries)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_deliveries: 4096,
            queue_bytes: 64 << 20,
            batch_deliveries: 256,
            batch_events: 1024,
            wait: Duration::from_secs(10),
            gather: Duration::from_millis(2),
        }
    }
}

/// How the last transaction went.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// No transaction was tried yet.
    #[default]
    Unknown,
    /// It was committed.
    Good,
    /// It failed.
    Failing {
        /// Since when every transaction has.
        since: Instant,
        /// The last one's cause.
        cause: Cause,
    },
}

struct Waiting<R> {
    rows: Vec<R>,
    bytes: usize,
    answer: oneshot::Sender<Result<Vec<Receipt>, InboxFailure>>,
}

/// The queue's end.
#[derive(Debug)]
struct Exit<R> {
    queue: mpsc::Receiver<Waiting<R>>,
    /// The first of the queue, where it was more than a batch had room for.
    next: Option<Waiting<R>>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    queued_events: AtomicUsize,
    /// Deliveries that left the channel and wait still: one, or none.
    set_back: AtomicUsize,
    /// Deliveries in the batches that are being written.
    under_way: AtomicUsize,
    /// A batch has been written.
    written: Notify,
    /// Batches in a row that were full and left others waiting.
    full_batches: AtomicUsize,
    health: Mutex<Health>,
    turns: Mutex<Turns>,
}

/// Who is at work, and since when.
#[derive(Debug, Default)]
struct Turns {
    /// When each began that has not ended.
    begun: Vec<tokio::time::Instant>,
    /// When the last batch was committed.
    committed: Option<tokio::time::Instant>,
}

impl Shared {
    /// A delivery waits no more.
    fn leaves(&self, bytes: usize, events: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.queued_events.fetch_sub(events, Ordering::Relaxed);
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue's entrance: see the module.
#[derive(Debug)]
pub struct GroupCommit<E: Engine> {
    entrance: RwLock<Option<mpsc::Sender<Waiting<E::Row>>>>,
    shared: Arc<Shared>,
    limits: Limits,
}

impl<R> std::fmt::Debug for Waiting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("rows", &self.rows.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl<E: Engine> GroupCommit<E> {
    /// A queue before these engines, and one writer for each; whoever calls this must run every one of them.
    pub fn new(engines: Vec<E>, limits: Limits) -> (Self, Vec<Writer<E>>) {
        let (entrance, exit) = mpsc::channel(limits.queue_deliveries.max(1));
        let exit = Exit {
            queue: exit,
            next: None,
        };
        let exit = Arc::new(AsyncMutex::new(exit));
        let shared = Arc::new(Shared::default());
        let writers = engines
            .into_iter()
            .map(|engine| Writer {
                engine,
                exit: Arc::clone(&exit),
                shared: Arc::clone(&shared),
                limits,
            })
            .collect();
        (
            Self {
                entrance: RwLock::new(Some(entrance)),
                shared,
                limits,
            },
            writers,
        )
    }

    /// Queues a delivery and waits for its receipts. An empty one asks whether the store can write.
    pub async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        self.accept_rows(delivery.into_iter().map(E::prepare).collect())
            .await
    }

    /// The same, for rows that the caller has made ready.
    pub async fn accept_rows(&self, rows: Vec<E::Row>) -> Result<Vec<Receipt>, InboxFailure> {
        let bytes = rows
            .iter()
            .map(E::bytes)
            .fold(128_usize, usize::saturating_add);
        let receipts = self.enqueue(rows, bytes)?;
        match tokio::time::timeout(self.limits.wait, receipts).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(InboxFailure::Commit {
                source: Arc::new(WriterGone),
            }),
            Err(_elapsed) => Err(InboxFailure::TimedOut {
                waited: self.limits.wait,
            }),
        }
    }

    fn enqueue(
        &self,
        rows: Vec<E::Row>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<Vec<Receipt>, InboxFailure>>, InboxFailure> {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        let entrance = entrance.as_ref().ok_or(InboxFailure::ShuttingDown)?;
        if !self.has_room_behind(entrance) {
            return Err(InboxFailure::QueueFull);
        }
        let events = rows.len();
        let before = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared
            .queued_events
            .fetch_add(events, Ordering::Relaxed);
        // A single delivery is always let in by its size: the body's own limit has bounded it.
        let full = before != 0 && before.saturating_add(bytes) > self.limits.queue_bytes;
        let (answer, receipts) = oneshot::channel();
        let sent = if full {
            Err(InboxFailure::QueueFull)
        } else {
            entrance
                .try_send(Waiting {
                    rows,
                    bytes,
                    answer,
                })
                .map_err(|refused| match refused {
                    mpsc::error::TrySendError::Full(_) => InboxFailure::QueueFull,
                    mpsc::error::TrySendError::Closed(_) => InboxFailure::Unavailable {
                        source: Arc::new(WriterGone),
                    },
                })
        };
        match sent {
            Ok(()) => Ok(receipts),
            Err(failure) => {
                self.shared.leaves(bytes, events);
                Err(failure)
            }
        }
    }

    /// Whether another delivery would be taken now, as far as their number goes: to look before more is spent on one.
    pub fn has_room(&self) -> bool {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        entrance
            .as_ref()
            .is_none_or(|entrance| self.has_room_behind(entrance))
    }

    fn has_room_behind(&self, entrance: &mpsc::Sender<Waiting<E::Row>>) -> bool {
        let waiting = self.waiting_behind(entrance);
        if waiting >= entrance.max_capacity() {
            return false;
        }
        let events = self.shared.queued_events.load(Ordering::Relaxed);
        self.shared.full_batches.load(Ordering::Relaxed) < FULL_BATCHES_MAX
            || waiting < self.limits.batch_deliveries.saturating_mul(2)
                && events < self.limits.events_max().saturating_mul(2)
    }

    fn waiting_behind(&self, entrance: &mpsc::Sender<Waiting<E::Row>>) -> usize {
        entrance
            .max_capacity()
            .saturating_sub(entrance.capacity())
            .saturating_add(self.shared.set_back.load(Ordering::Relaxed))
    }

    /// Takes no more; the writers end once they have answered what is queued.
    pub fn close(&self) {
        self.entrance
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// How the last transaction went.
    pub fn health(&self) -> Health {
        self.shared
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a delivery would be taken now, found out by writing: `true` if that was written, `false` if all goes well but so much
    /// else is being written that there is no room for a question, or no turn for it yet.
    pub async fn probe(&self) -> Result<bool, InboxFailure> {
        match tokio::time::timeout(HANGS_AFTER, self.accept(Vec::new())).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(InboxFailure::QueueFull)) | Err(_) if self.is_good() => Ok(false),
            Ok(Err(failure)) => Err(failure),
            Err(_elapsed) => Err(hangs()),
        }
    }

    /// Whether the last transaction was committed, and none hangs.
    fn is_good(&self) -> bool {
        matches!(self.health(), Health::Good) && self.hangs().is_ok()
    }

    /// Fails while a writer has been at work for too long, and nothing was committed meanwhile.
    pub fn hangs(&self) -> Result<(), InboxFailure> {
        let turns = self.shared.turns();
        let since = turns.begun.iter().min().copied().max(turns.committed);
        if !turns.begun.is_empty() && since.is_some_and(|since| since.elapsed() >= HANGS_AFTER) {
            return Err(hangs());
        }
        Ok(())
    }

    /// How many bytes wait for a writer.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    /// How many deliveries wait for a writer.
    pub fn queued_deliveries(&self) -> usize {
        let entrance = self.entrance.read().unwrap_or_else(PoisonError::into_inner);
        entrance
            .as_ref()
            .map_or(0, |entrance| self.waiting_behind(entrance))
    }
}

/// One engine and its turn at the queue.
#[derive(Debug)]
pub struct Writer<E: Engine> {
    engine: E,
    exit: Arc<AsyncMutex<Exit<E::Row>>>,
    shared: Arc<Shared>,
    limits: Limits,
}

fn hangs() -> InboxFailure {
    InboxFailure::TimedOut {
        waited: HANGS_AFTER,
    }
}

/// A writer at work, on a batch and what is between two, until it is dropped: an engine may panic.
struct Turn<'a> {
    shared: &'a Shared,
    began: tokio::time::Instant,
}

impl<'a> Turn<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let began = tokio::time::Instant::now();
        shared.turns().begun.push(began);
        Self { shared, began }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let begun = &mut self.shared.turns().begun;
        if let Some(place) = begun.iter().position(|began| *began == self.began) {
            begun.swap_remove(place);
        }
    }
}

/// A batch that is being written, until it is dropped: an engine may panic.
struct UnderWay<'a> {
    shared: &'a Shared,
    deliveries: usize,
}

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared, deliveries: usize) -> Self {
        shared.under_way.fetch_add(deliveries, Ordering::Relaxed);
        Self { shared, deliveries }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared
            .under_way
            .fetch_sub(self.deliveries, Ordering::Relaxed);
        self.shared.written.notify_one();
    }
}

impl<E: Engine> Writer<E> {
    /// Writes batch after batch until the queue is closed and empty, then gives the engine back.
    pub async fn run(mut self) -> E {
        let mut batch = Vec::new();
        loop {
            self.gather(&mut batch).await;
            if batch.is_empty() {
                return self.engine;
            }
            let shared = Arc::clone(&self.shared);
            let turn = Turn::begin(&shared);
            let under_way = UnderWay::begin(&shared, batch.len());
            self.write(&mut batch).await;
            drop(under_way);
            self.engine.tidy().await;
            drop(turn);
        }
    }

    /// Takes what is queued, once there is something; nothing where the queue is closed and empty.
    async fn gather(&self, batch: &mut Vec<Waiting<E::Row>>) {
        let mut exit = self.exit.lock().await;
        if exit.next.is_none() {
            exit.next = exit.queue.recv().await;
        }
        let mut full = self.fill(batch, &mut exit);
        if full && (exit.next.is_some() || !exit.queue.is_empty()) {
            self.shared.full_batches.fetch_add(1, Ordering::Relaxed);
        } else {
            self.shared.full_batches.store(0, Ordering::Relaxed);
        }
        let enough = |batch: &Vec<Waiting<E::Row>>| {
            batch.len() >= self.shared.under_way.load(Ordering::Relaxed)
        };
        if batch.is_empty() || full || enough(batch) {
            return;
        }
        let mut patience = std::pin::pin!(tokio::time::sleep(self.limits.gather));
        while !full && !enough(batch) {
            tokio::select! {
                biased;
                next = exit.queue.recv() => {
                    if next.is_none() {
                        return;
                    }
                    exit.next = next;
                    full = self.fill(batch, &mut exit);
                }
                () = self.shared.written.notified() => {}
                () = &mut patience => return,
            }
        }
    }

    /// Adds what is queued to a batch, in its order and without waiting; whether there is room for no more. What is more than the
    /// batch has room for stays the first of the queue.
    fn fill(&self, batch: &mut Vec<Waiting<E::Row>>, exit: &mut Exit<E::Row>) -> bool {
        let deliveries_max = self.limits.batch_deliveries.max(1);
        let mut events: usize = batch.iter().map(|waiting| waiting.rows.len()).sum();
        let mut full = false;
        while !full && let Some(next) = exit.next.take().or_else(|| exit.queue.try_recv().ok()) {
            let with_it = events.saturating_add(next.rows.len());
            if with_it > self.limits.events_max() && !batch.is_empty() {
                exit.next = Some(next);
                full = true;
            } else {
                events = with_it;
                batch.push(next);
                full = batch.len() >= deliveries_max;
            }
        }
        let set_back = usize::from(exit.next.is_some());
        self.shared.set_back.store(set_back, Ordering::Relaxed);
        full
    }

    async fn write(&mut self, batch: &mut Vec<Waiting<E::Row>>) {
        let mut rows = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for waiting in batch.drain(..) {
            self.shared.leaves(waiting.bytes, waiting.rows.len());
            // Whoever gave up waiting was told that it was not kept, or went away over HTTP/2, and will come again: under overload this
            // sheds work that nobody awaits. Of a peer over HTTP/1.1 nobody knows whether it is gone: its delivery is written.
            if !waiting.answer.is_closed() {
                rows.push(waiting.rows);
                answers.push(waiting.answer);
            }
        }
        if rows.is_empty() {
            return;
        }
        let events: usize = rows.iter().map(Vec::len).sum();
        let began = Instant::now();
        let mut result = self.engine.commit(&rows, Isolation::Together).await;
        if let Err(BatchFailure::Row(_)) = result {
            result = self.engine.commit(&rows, Isolation::Apart).await;
        }
        // A delivery without an event only asks whether the store takes any.
        if events > 0 {
            metrics::histogram!(super::COMMIT_METRIC).record(began.elapsed().as_secs_f64());
            metrics::histogram!(super::BATCH_METRIC).record(events as f64);
        }
        self.note_health(&result);
        match result {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for answer in answers {
                    // An engine that answers too few must not make the rest look accepted.
                    let outcome = match outcomes.next() {
                        Some(Ok(receipts)) => Ok(receipts),
                        Some(Err(source)) => Err(InboxFailure::Row { source }),
                        None => Err(InboxFailure::Commit {
                            source: Arc::new(WriterGone),
                        }),
                    };
                    let _gone = answer.send(outcome);
                }
            }
            Err(failure) => {
                let failure = match failure {
                    BatchFailure::Row(source) => InboxFailure::Row { source },
                    BatchFailure::Unavailable(source) => InboxFailure::Unavailable { source },
                    BatchFailure::Commit(source) => InboxFailure::Commit { source },
                };
                for answer in answers {
                    let _gone = answer.send(Err(failure.clone()));
                }
            }
        }
    }

    fn note_health(&self, result: &Result<Vec<Outcome>, BatchFailure>) {
        let mut health = self
            .shared
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => {
                *health = Health::Good;
                self.shared.turns().committed = Some(tokio::time::Instant::now());
            }
            Err(
                BatchFailure::Row(cause)
                | BatchFailure::Unavailable(cause)
                | BatchFailure::Commit(cause),
            ) => {
                let since = match &*health {
                    Health::Failing { since, .. } => *since,
                    Health::Unknown | Health::Good => Instant::now(),
                };
                *health = Health::Failing {
                    since,
                    cause: Arc::clone(cause),
                };
            }
        }
    }
}

#[cfg(test)]
#[path = "group_commit_tests.rs"]
mod tests;
