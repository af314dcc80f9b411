//! Waiting for a state, never for time.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Asks until there is an answer, and fails the test if there is none within `deadline`.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    eventually_ok(deadline, || ask().ok_or("it did not come about"))
}

/// The same of something that says why it is not so yet: the last that it said is how the test fails.
#[track_caller]
pub(crate) fn eventually_ok<T, E: Display>(
    deadline: Duration,
    mut ask: impl FnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) => assert!(Instant::now() < end, "after {deadline:?}: {why}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}
