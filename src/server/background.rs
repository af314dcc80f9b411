//! What a receiver does in the background of the deliveries: the operator's side, what is written down and let go of, and reloads.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::admin_listener;
use super::current::LiveCurrent;
use super::notify::{Notifier, State};
use super::operator::Desk;
use super::retention;
use super::signals::MeaninglessSignals;
use super::tasks::Tasks;
use crate::admin::{self, Guard};
use crate::refusals::Book;
use crate::store::Store;
use crate::telemetry::Exporter;

/// How often the store is asked whether it is ready, and histograms are folded.
const PULSE: Duration = Duration::from_secs(1);
/// How long the last writing and then the store's closing may take once the grace is over: whoever stopped us kills us soon.
const WRITING_LEFT: Duration = Duration::from_secs(2);
const CLOSING_LEFT: Duration = Duration::from_secs(2);
/// The task that answers the operator: to the very end.
const DESK: &str = "the operator's side";

/// What runs, and how each part of it is told to end.
#[derive(Default)]
pub(super) struct Background {
    pub(super) tasks: Tasks,
    /// What may be cut anywhere.
    cut: Vec<AbortHandle>,
    writing: watch::Sender<()>,
    answering: watch::Sender<()>,
}

impl Background {
    pub(super) fn serve_desk(
        &mut self,
        desk: &Arc<Desk>,
        listener: TcpListener,
        exporter: Exporter,
        guard: Arc<Guard>,
        store: &Arc<Store>,
    ) {
        let operator = Arc::clone(desk) as Arc<dyn admin::Operator>;
        let router = admin::router(operator, Arc::clone(store), exporter, guard);
        let stop = dropped(&self.answering);
        self.tasks
            .spawn(DESK, admin_listener::serve(listener, router, stop, PULSE));
    }

    /// Ends with the first of those who make deliveries durable.
    pub(super) fn supervise_writers(&mut self, store: &Arc<Store>) {
        let store = Arc::clone(store);
        let ended = async move { Err(io::Error::other(store.ended().await)) };
        let handle = self.tasks.spawn("what makes deliveries durable", ended);
        self.cut.push(handle);
    }

    /// Writes down what was gathered in memory.
    pub(super) fn write_down(&mut self, store: &Arc<Store>, book: &Arc<Book>) {
        let (store, book) = (Arc::clone(store), Arc::clone(book));
        let stop = dropped(&self.writing);
        self.tasks
            .spawn("the writing down of refusals", async move {
                store.keep(&book, stop).await;
                Ok(())
            });
    }

    /// Looks after the store, the certificates and the figures.
    pub(super) fn pulse(&mut self, desk: &Arc<Desk>, exporter: Exporter) {
        let pulse = Arc::clone(desk).pulse(PULSE, exporter);
        self.spawn("the watch over the store and the certificates", pulse);
    }

    /// Lets go of what has had its time.
    pub(super) fn prune(&mut self, store: &Arc<Store>, live: &Arc<LiveCurrent>) {
        let pruning = retention::prune(Arc::clone(store), Arc::clone(live));
        self.spawn("retention", pruning);
    }

    /// Reloads at `hang_up`, and when a file of the configuration has changed.
    pub(super) fn reload(&mut self, desk: &Arc<Desk>, notifier: &Notifier, hang_up: Signal) {
        let reloads = reload_on_request(Arc::clone(desk), notifier.clone(), hang_up);
        self.spawn("reloading", reloads);
    }

    /// Says of signals that mean nothing that they do not.
    pub(super) fn ignore(&mut self, mut signals: MeaninglessSignals) {
        self.spawn("what ignores signals", async move {
            loop {
                let signal = signals.next().await;
                tracing::warn!(
                    signal,
                    "a signal was ignored: it means nothing here; SIGHUP reloads, SIGTERM stops, and the log, on standard error, is nothing to open anew"
                );
            }
        });
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(name, async {
            task.await;
            Ok(())
        });
        self.cut.push(handle);
    }

    /// Ends it all, once nothing is delivered any more, and closes the store. `grace_ends` is the same for all of the stop, so what the
    /// last deliveries took of it is gone.
    pub(super) async fn wind_down(self, store: &Store, book: &Book, grace_ends: Instant) {
        let Self {
            mut tasks,
            cut,
            writing,
            answering,
        } = self;
        for task in cut {
            task.abort();
        }
        drop(writing);
        let written = async {
            // What the writing down has taken out of memory, nobody else can write.
            tasks.ended_but(DESK).await;
            store.flush(book).await?;
            // One flush is bounded; at the stop, all of it is written.
            while !book.drain_is_done() {
                store.flush(book).await?;
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        };
        let written = timeout_at(grace_ends + WRITING_LEFT, written).await;
        if let Err(cause) = written.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            tracing::warn!(
                error = &*cause as &dyn Error,
                "what was last refused and seen could not be written down"
            );
        }
        let closed = timeout_at(grace_ends + WRITING_LEFT + CLOSING_LEFT, store.close()).await;
        if closed.is_err() {
            tracing::warn!("the store did not close in time; what was answered for is durable");
        }
        drop(answering);
        let _left = timeout(PULSE, tasks.ended_but("")).await;
    }
}

/// Resolves once `sender` is dropped.
fn dropped(sender: &watch::Sender<()>) -> impl Future<Output = ()> + Send + 'static {
    let mut receiver = sender.subscribe();
    async move { drop(receiver.changed().await) }
}

async fn reload_on_request(desk: Arc<Desk>, notifier: Notifier, mut hang_up: Signal) {
    let changes = desk.watch();
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            () = changes.changed() => {}
        }
        notifier.tell(State::Reloading);
        // The desk logs what it finds and remembers it for /readyz.
        let _faults = desk.reload_at(Timestamp::now()).await;
        notifier.tell(State::Ready);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::inbox::Limits;
    use crate::refusals::{Gate, Refusal};
    use crate::store::Url;

    #[tokio::test]
    async fn all_that_was_refused_is_written_down_at_the_stop() {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::Sqlite(directory.path().join("inbox.db"));
        let open = async || Store::open(&url, Limits::default()).await.unwrap();
        let (store, book) = (open().await, Book::default());
        let refused = 3000;
        for number in 0..refused {
            book.record(Refusal {
                gate: Gate::Handshake,
                reason: "expired",
                subject: Some(format!("CN={number}")),
                issuer: None,
                serial: None,
                address: Ipv4Addr::LOCALHOST.into(),
                server_name: None,
                producer: None,
                detail: None,
                at: Timestamp::UNIX_EPOCH,
            });
        }
        let grace_ends = Instant::now() + Duration::from_secs(60);
        let background = Background::default();
        background.wind_down(&store, &book, grace_ends).await;
        drop(store);
        let kept = Book::default();
        open().await.load(&kept).await.unwrap();
        assert_eq!(kept.groups(), refused);
    }
}
