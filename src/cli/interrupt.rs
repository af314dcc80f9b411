//! A wish to stop a command that is at work: by Ctrl-C, or SIGTERM.

use tokio::sync::watch;

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
