//! A wish to stop a command that is at work: by Ctrl-C, or SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::runtime::on_this_thread;
use super::sender::Stopped;
use crate::server::StopSignals;

/// Whether the command is to stop.
pub(super) type Interrupt = watch::Receiver<bool>;

/// Listens from now on.
pub(super) fn listen() -> Result<Interrupt, Stopped> {
    let mut signals = StopSignals::listen().map_err(|error| {
        Stopped::Failed(format!("the signals of a stop cannot be received: {error}"))
    })?;
    let (wanted, interrupt) = watch::channel(false);
    tokio::spawn(async move {
        signals.stop().await;
        wanted.send_replace(true);
        // The channel stays: its end would be read as a wish to stop.
        wanted.closed().await;
    });
    Ok(interrupt)
}

/// How long work that was told to stop may take until it looks whether it was.
const UNTIL_IT_LOOKS: Duration = Duration::from_secs(1);

/// Work that reads and writes without awaiting, and can be told to stop.
pub(super) struct Interruptible {
    runtime: Runtime,
    signals: StopSignals,
}

impl Interruptible {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = on_this_thread()?;
        let signals = {
            let _within = runtime.enter();
            StopSignals::listen()?
        };
        Ok(Self { runtime, signals })
    }

    /// Does the work to its end, on a thread of its own; nothing came of it if it was told to stop before. A disk or a store may keep
    /// it from looking whether it was for as long as it likes: then it ends with the process.
    pub(super) fn run<T: Send + 'static, E: Send + 'static>(
        self,
        work: impl FnOnce(&Stop) -> Result<T, E> + Send + 'static,
    ) -> io::Result<Option<Result<T, E>>> {
        let Self {
            runtime,
            mut signals,
        } = self;
        let stop = Stop::default();
        let told = stop.clone();
        let (ended, mut came) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let _nobody_waits = ended.send(work(&told));
        })?;
        runtime.block_on(async {
            tokio::select! {
                biased;
                outcome = &mut came => return outcome.map(Some).map_err(io::Error::other),
                () = signals.stop() => stop.0.store(true, Ordering::Relaxed),
            }
            match timeout(UNTIL_IT_LOOKS, came).await {
                Ok(Ok(Ok(done))) => Ok(Some(Ok(done))),
                Ok(_) | Err(_) => Ok(None),
            }
        })
    }
}

/// Whether work is to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
