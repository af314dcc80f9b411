//! Connections without deliveries, as `countersign bench` makes them: one full handshake after the other, or many that
//! are held and say nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::load::{Course, REST, Ran, Round};
use super::process::Watch;
use super::wire::{Dial, Line, LineFailure};
use crate::cli::interrupt::Interrupt;
use crate::cli::sender::Stopped;

/// Opens and closes connections, so many at once, until the course ends.
pub(super) async fn shake_hands(
    course: Course,
    at_once: usize,
    dial: &Arc<Dial>,
    watch: &mut Option<Watch>,
    interrupt: &mut Interrupt,
) -> Result<Ran, Stopped> {
    let round = Arc::new(Round::new(course));
    let mut lanes = JoinSet::new();
    for _ in 0..at_once {
        let (round, dial) = (Arc::clone(&round), Arc::clone(dial));
        lanes.spawn(async move {
            while !round.is_over() && Instant::now() < round.stop {
                let begun = Instant::now();
                let tally = round.tally(begun);
                tally.tried(Duration::ZERO);
                match shake_once(&dial).await {
                    Ok(opened) => tally.completed(opened.duration_since(begun)),
                    Err(failure) => {
                        tally.failed(&failure);
                        sleep(REST).await;
                    }
                }
            }
            Ok(())
        });
    }
    round.see_through(lanes, watch, interrupt).await
}

/// When our side was done; the receiver's is too, once the connection is closed.
async fn shake_once(dial: &Dial) -> Result<Instant, LineFailure> {
    let line = dial.open().await?;
    let opened = Instant::now();
    line.close().await?;
    Ok(opened)
}

/// Holds connections until the course ends, and tells how many of them the receiver kept.
pub(super) async fn hold(
    course: Course,
    lines: Vec<Line>,
    watch: &mut Option<Watch>,
    interrupt: &mut Interrupt,
) -> Result<(Ran, usize), Stopped> {
    let round = Arc::new(Round::new(course));
    let lost = Arc::new(AtomicUsize::new(0));
    let opened = lines.len();
    let mut lanes = JoinSet::new();
    for mut line in lines {
        let (round, lost) = (Arc::clone(&round), Arc::clone(&lost));
        lanes.spawn(async move {
            if let Ok(failure) = timeout_at(round.stop.into(), line.closed()).await {
                lost.fetch_add(1, Ordering::Relaxed);
                round.measured.failed(&failure);
            }
            Ok(())
        });
    }
    let ran = round.see_through(lanes, watch, interrupt).await?;
    let lost = lost.load(Ordering::Relaxed);
    Ok((ran, opened.saturating_sub(lost)))
}
