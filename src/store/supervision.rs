//! Who makes deliveries durable, and whether all of them still run.
//!
//! They are begun once and run until the store is closed. None begins again: one that ended before has a defect of ours, and
//! what it had in hand is not known.

use std::sync::Arc;

use tokio::sync::watch;

/// One of those who make deliveries durable ended while the store was open, which only a defect of ours makes it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} has ended")]
pub struct WriterEnded {
    who: &'static str,
}

/// What they share. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Supervision(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    AllRun,
    Ended(WriterEnded),
    Closing,
}

/// Held by one of them for as long as it runs.
#[derive(Debug)]
pub(super) struct Running {
    who: &'static str,
    supervision: Supervision,
}

impl Default for Supervision {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::AllRun)))
    }
}

impl Supervision {
    /// To be held by `who` until it ends, however it ends: it may panic.
    pub(super) fn begin(&self, who: &'static str) -> Running {
        Running {
            who,
            supervision: self.clone(),
        }
    }

    /// From now on they end because they were told to.
    pub(super) fn closing(&self) {
        self.pass(State::Closing);
    }

    /// Resolves once one has ended that was not told to. May be dropped at any time.
    pub(super) async fn ended(&self) -> WriterEnded {
        let mut state = self.0.subscribe();
        loop {
            let now = *state.borrow_and_update();
            match now {
                State::Ended(ended) => return ended,
                // The sender is ours, so there is always one.
                State::AllRun | State::Closing => drop(state.changed().await),
            }
        }
    }

    /// The first word counts: others may end because of the one that did.
    fn pass(&self, next: State) {
        self.0.send_if_modified(|state| {
            let first = matches!(state, State::AllRun);
            if first {
                *state = next;
            }
            first
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let who = self.who;
        self.supervision.pass(State::Ended(WriterEnded { who }));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::inbox::{BatchFailure, Engine, Event, GroupCommit, InboxFailure, Isolation, Limits};
    use crate::inbox::{Outcome, Writer};
    use crate::store::engines::{begin_thread, run_task};
    use crate::store::fixtures::Place;

    /// Has a defect.
    struct Panics;

    impl Engine for Panics {
        type Row = ();

        fn prepare(_event: Event) {}

        fn bytes((): &()) -> usize {
            1
        }

        async fn commit(
            &mut self,
            _batch: &[Vec<()>],
            _isolation: Isolation,
        ) -> Result<Vec<Outcome>, BatchFailure> {
            panic!("a defect");
        }

        async fn tidy(&mut self) {}
    }

    fn two() -> (GroupCommit<Panics>, Vec<Writer<Panics>>) {
        GroupCommit::new(vec![Panics, Panics], Limits::default())
    }

    async fn is_not_kept(inbox: &GroupCommit<Panics>) {
        let failure = inbox.accept_rows(vec![()]).await.unwrap_err();
        assert!(
            matches!(failure, InboxFailure::Commit { .. }),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn one_of_two_tasks_that_panics_is_told_though_the_other_goes_on() {
        let supervision = Supervision::default();
        let (inbox, writers) = two();
        let _tasks: Vec<_> = writers
            .into_iter()
            .map(|writer| {
                run_task(&supervision, "a writer", async {
                    let _ended = writer.run().await;
                })
            })
            .collect();
        assert_eq!(supervision.ended().now_or_never(), None);
        is_not_kept(&inbox).await;
        assert_eq!(supervision.ended().await.to_string(), "a writer has ended");
        // Whoever asks later hears the same.
        assert!(supervision.ended().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_told() {
        let supervision = Supervision::default();
        let (inbox, writers) = two();
        let _thread = begin_thread(&supervision, "a-thread", writers, drop).unwrap();
        is_not_kept(&inbox).await;
        assert_eq!(supervision.ended().await.to_string(), "a-thread has ended");
    }

    #[tokio::test]
    async fn to_be_closed_is_no_such_end() {
        let supervision = Supervision::default();
        let running = supervision.begin("a writer");
        supervision.closing();
        drop(running);
        assert_eq!(supervision.ended().now_or_never(), None);
        let store = Place::sqlite().open().await;
        store.close().await;
        assert_eq!(store.ended().now_or_never(), None);
    }
}
