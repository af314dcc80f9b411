//! What the writer does beside the deliveries: it writes down refusals, which certificates and secrets are in use, and what
//! shadow marks would have decided; and it lets go of what has had its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::retention::pruned::Tally;
use super::seen::{LeafSighting, SecretSighting};
use super::shadows::ShadowTally;
use super::sqlite::retention::Step;
use crate::inbox::{Cause, WriterGone};
use crate::refusals::Change;

/// What one errand writes, in one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) refusals: Vec<Change>,
    pub(super) leaves: Vec<LeafSighting>,
    pub(super) secrets: Vec<SecretSighting>,
    pub(super) shadows: Vec<ShadowTally>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.refusals.is_empty()
            && self.leaves.is_empty()
            && self.secrets.is_empty()
            && self.shadows.is_empty()
    }
}

/// Work, and who waits for it.
#[derive(Debug)]
pub(super) struct Errand<W, T> {
    work: W,
    done: oneshot::Sender<Result<T, Cause>>,
}

impl<W, T> Errand<W, T> {
    pub(super) fn work(&self) -> &W {
        &self.work
    }

    pub(super) fn finish(self, result: Result<T, Cause>) {
        let _gone = self.done.send(result);
    }
}

/// The places where the writer finds its next errands.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// What was gathered in memory.
    pub(super) keeping: Slot<Work, ()>,
    /// What has had its time, of the embedded store.
    pub(super) pruning: Slot<Step, Tally>,
}

/// A place for one errand at most, for whoever sends one waits for it.
#[derive(Debug)]
pub(super) struct Slot<W, T>(Mutex<Option<Errand<W, T>>>);

impl<W, T> Default for Slot<W, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W, T> Slot<W, T> {
    /// Leaves an errand for the writer. One that it has not begun is dropped, and its sender told so.
    pub(super) fn send(&self, work: W) -> oneshot::Receiver<Result<T, Cause>> {
        let (done, wait) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Errand { work, done });
        wait
    }

    /// What became of the errand that `done` was given for. One that the writer has not begun within `limit` is taken back; one that it has
    /// begun may be kept, and is waited for: whoever took its changes back would count them twice.
    pub(super) async fn finished(
        &self,
        mut done: oneshot::Receiver<Result<T, Cause>>,
        limit: Duration,
    ) -> Result<T, Cause> {
        let finished = match timeout(limit, &mut done).await {
            Ok(finished) => finished,
            Err(elapsed) if self.take_back() => return Err(Arc::new(elapsed)),
            // Its own statements have a bound.
            Err(_elapsed) => done.await,
        };
        finished.unwrap_or_else(|_dropped| Err(Arc::new(WriterGone)))
    }

    /// Whether the errand was still here: then the writer never begins it.
    fn take_back(&self) -> bool {
        self.next().is_some()
    }

    pub(super) fn next(&self) -> Option<Errand<W, T>> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever gave up waiting has taken its changes back: doing them as well would count them twice.
        next.filter(|errand| !errand.done.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_errand_that_was_not_begun_in_time_is_taken_back() {
        let slot = Slot::<(), u8>::default();
        let done = slot.send(());
        assert!(slot.finished(done, LIMIT).await.is_err());
        assert!(slot.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_errand_that_was_begun_is_waited_for() {
        let slot = Slot::<(), u8>::default();
        let done = slot.send(());
        let errand = slot.next().unwrap();
        let mut finished = Box::pin(slot.finished(done, LIMIT));
        assert!(finished.as_mut().now_or_never().is_none());
        tokio::time::advance(LIMIT * 2).await;
        assert!(finished.as_mut().now_or_never().is_none());
        errand.finish(Ok(7));
        assert_eq!(finished.await.unwrap(), 7);
        // One whose writer ends meanwhile is not.
        let done = slot.send(());
        drop(slot.next());
        let gone = slot.finished(done, LIMIT).await.unwrap_err();
        assert!(gone.is::<WriterGone>());
    }
}
