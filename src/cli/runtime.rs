//! The runtime that a command runs on.

use std::io;

use tokio::runtime::{Builder, Runtime};

use super::output::{Outcome, failed};

/// Runs a command to its end, on this thread.
pub(super) fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    match on_this_thread() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => failed(&error),
    }
}

/// For what asks or writes and waits for the answer.
pub(super) fn on_this_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// For what serves, or loads what serves.
pub(super) fn on_every_core() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}
