//! What runs beside the deliveries until the stop. When one of it ends before, for whatever reason, so must the receiver: half of one that
//! looks well is worse than none.

use std::collections::HashMap;
use std::error::Error;
use std::future::{Future, pending};
use std::io;

use tokio::task::{AbortHandle, Id, JoinSet};

/// Tasks, each under its name. Dropping them cuts them.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<io::Result<()>>,
    names: HashMap<Id, &'static str>,
}

/// A task that is to run until the stop ended before it.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended before the stop")]
pub struct TaskEnded {
    name: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Tasks {
    /// Begins a task whose name is what an operator reads in the log.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
        handle
    }

    /// Resolves once one of them has ended. May be dropped at any time.
    pub(super) async fn ended(&mut self) -> TaskEnded {
        let (id, source) = match self.running.join_next_with_id().await {
            None => return pending().await,
            Some(Ok((id, Ok(())))) => (id, None),
            Some(Ok((id, Err(error)))) => (id, Some(error.into())),
            Some(Err(error)) => (error.id(), Some(error.into())),
        };
        TaskEnded {
            name: self.names.remove(&id).unwrap_or("a task"),
            source,
        }
    }

    /// Resolves once none is left but those of this name. May be dropped at any time.
    pub(super) async fn ended_but(&mut self, name: &str) {
        while self.names.values().any(|running| *running != name) {
            drop(self.ended().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(tasks: &mut Tasks) -> (String, Option<String>) {
        let ended = tasks.ended().await;
        let cause = ended.source().map(ToString::to_string);
        (ended.to_string(), cause)
    }

    #[tokio::test]
    async fn the_first_that_ends_is_told_with_its_cause() {
        let mut tasks = Tasks::default();
        tasks.spawn("what goes on", pending());
        tasks.spawn("what fails", async { Err(io::Error::other("no more")) });
        let (what, cause) = told(&mut tasks).await;
        assert_eq!(what, "what fails ended before the stop");
        assert_eq!(cause.as_deref(), Some("no more"));
        tasks.spawn("what panics", async { panic!("a defect") });
        let (what, cause) = told(&mut tasks).await;
        assert_eq!(what, "what panics ended before the stop");
        assert!(cause.unwrap().contains("a defect"));
        tasks.spawn("what returns", async { Ok(()) });
        let returned = ("what returns ended before the stop".to_owned(), None);
        assert_eq!(told(&mut tasks).await, returned);
    }

    #[tokio::test]
    async fn what_was_told_to_end_is_waited_for() {
        let mut tasks = Tasks::default();
        tasks.spawn("what goes on", pending());
        let cut = tasks.spawn("what is cut", pending());
        tasks.spawn("what ends", async {
            tokio::task::yield_now().await;
            Ok(())
        });
        cut.abort();
        tasks.ended_but("what goes on").await;
        assert_eq!(tasks.names.len(), 1);
        tasks.ended_but("what goes on").await;
    }
}
