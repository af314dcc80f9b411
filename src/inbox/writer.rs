//! The queue's other end: a writer takes what waits, writes it in one transaction, and answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::engine::{BatchFailure, Engine, Isolation};
use super::limits::Limits;
use super::progress::{Progress, Turn, UnderWay};
use super::{InboxFailure, Receipt, WriterGone};

/// A delivery in the queue.
pub(super) struct Waiting<R> {
    pub(super) rows: Vec<R>,
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<Vec<Receipt>, InboxFailure>>,
}

/// The queue's end.
#[derive(Debug)]
pub(super) struct Exit<R> {
    pub(super) queue: mpsc::Receiver<Waiting<R>>,
    /// The first of the queue, where it was more than a batch had room for.
    pub(super) next: Option<Waiting<R>>,
}

impl<R> std::fmt::Debug for Waiting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("rows", &self.rows.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

/// One engine and its turn at the queue.
#[derive(Debug)]
pub struct Writer<E: Engine> {
    pub(super) engine: E,
    pub(super) exit: Arc<AsyncMutex<Exit<E::Row>>>,
    pub(super) progress: Arc<Progress>,
    pub(super) limits: Limits,
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
            let progress = Arc::clone(&self.progress);
            let turn = Turn::begin(&progress);
            let under_way = UnderWay::begin(&progress, batch.len());
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
            self.progress.full_batches.fetch_add(1, Ordering::Relaxed);
        } else {
            self.progress.full_batches.store(0, Ordering::Relaxed);
        }
        let enough = |batch: &Vec<Waiting<E::Row>>| {
            batch.len() >= self.progress.under_way.load(Ordering::Relaxed)
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
                () = self.progress.written.notified() => {}
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
        self.progress.set_back.store(set_back, Ordering::Relaxed);
        full
    }

    async fn write(&mut self, batch: &mut Vec<Waiting<E::Row>>) {
        let mut rows = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for waiting in batch.drain(..) {
            self.progress.leaves(waiting.bytes, waiting.rows.len());
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
        self.progress.note(&result);
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
}
