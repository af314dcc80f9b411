//! What the writer does beside the deliveries: it writes down refusals, which certificates and secrets are in use, and what
//! shadow marks would have decided; and it lets go of what has had its time.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::pruned::Tally;
use super::seen::{LeafSighting, SecretSighting};
use super::shadows::ShadowTally;
use super::sqlite_retention::Step;
use crate::inbox::Cause;
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

    pub(super) fn next(&self) -> Option<Errand<W, T>> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever gave up waiting has taken its changes back: doing them as well would count them twice.
        next.filter(|errand| !errand.done.is_closed())
    }
}
