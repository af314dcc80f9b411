//! Waiting for a state, never for time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks until there is an answer, and fails the test if there is none within `deadline`.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "it did not come about within {deadline:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
