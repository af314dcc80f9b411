//! What is written down beside the deliveries: refusals, and which certificates and secrets are in use.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::seen::{LeafSighting, SecretSighting};
use crate::inbox::Cause;
use crate::refusals::Change;

/// What one errand writes, in one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) refusals: Vec<Change>,
    pub(super) leaves: Vec<LeafSighting>,
    pub(super) secrets: Vec<SecretSighting>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.refusals.is_empty() && self.leaves.is_empty() && self.secrets.is_empty()
    }
}

/// Work, and who waits for it.
#[derive(Debug)]
pub(super) struct Errand {
    work: Work,
    done: oneshot::Sender<Result<(), Cause>>,
}

impl Errand {
    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    pub(super) fn finish(self, result: Result<(), Cause>) {
        let _gone = self.done.send(result);
    }
}

/// The place where the writer finds its next errand: one at most, for whoever sends one waits for it.
#[derive(Debug, Default)]
pub(super) struct Errands(Mutex<Option<Errand>>);

impl Errands {
    /// Leaves an errand for the writer. One that it has not begun is dropped, and its sender told so.
    pub(super) fn send(&self, work: Work) -> oneshot::Receiver<Result<(), Cause>> {
        let (done, wait) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Errand { work, done });
        wait
    }

    pub(super) fn next(&self) -> Option<Errand> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever gave up waiting has taken its changes back: doing them as well would count them twice.
        next.filter(|errand| !errand.done.is_closed())
    }
}
