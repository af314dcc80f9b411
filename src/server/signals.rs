//! What the process is told by signals. One that nobody listens for ends it, or as a container's first process is not even heard: so they
//! are listened for before the configuration is read, even those that mean nothing here.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a receiver. What came before it was asked for is told then.
#[derive(Debug)]
pub struct Signals {
    /// SIGHUP: reload.
    pub(super) hang_up: Signal,
    pub(super) stop: StopSignals,
    pub(super) meaningless: MeaninglessSignals,
}

impl Signals {
    /// Listens from now on. To be called within a runtime, as soon as there is one.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            stop: StopSignals::listen()?,
            meaningless: MeaninglessSignals {
                first: signal(SignalKind::user_defined1())?,
                second: signal(SignalKind::user_defined2())?,
            },
        })
    }
}

/// Signals that other servers open their log anew at, or the like. Whoever takes this one for such a server must not end it.
#[derive(Debug)]
pub(super) struct MeaninglessSignals {
    first: Signal,
    second: Signal,
}

impl MeaninglessSignals {
    /// The name of the next one that comes.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.first.recv() => "SIGUSR1",
            _ = self.second.recv() => "SIGUSR2",
        }
    }
}

/// The signals that stop a process.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on. To be called within a runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves at SIGTERM or SIGINT.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Resolves at the next SIGINT: somebody sits there and waits. A SIGTERM may come twice of one wish.
    pub(super) async fn hurry(&mut self) {
        self.interrupt.recv().await;
    }
}
