//! Many deliveries at a pace, and what became of them.
//!
//! With a rate, each delivery is due at a moment of its own, and its time is taken from that moment: a receiver that
//! stalls is seen to stall (no coordinated omission).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::histogram::Histogram;
use super::interrupt::Interrupt;
use super::output::{Table, say};
use super::sender::{Delivery, Stopped};
use super::wire::{Answered, Target, Wire, WireFailure};
use crate::text::printable;
use crate::tls::client::Connector;

/// Fewer deliveries than this have no progress to show.
const SHOWN_MIN: usize = 50;
/// How long what is under way may still take once the burst is interrupted.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How many different answers are counted apart.
const KINDS_MAX: usize = 64;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many are due each second; `None` is as fast as they are answered.
    pub(super) per_second: Option<f64>,
    /// How many may be under way at once, each on a connection that is kept alive.
    pub(super) connections: u16,
}

/// What is to be sent, and where to.
pub(super) struct Burst<'a> {
    pub(super) connector: &'a Connector,
    pub(super) target: &'a Target,
    pub(super) pace: Pace,
    /// Each delivery a second time, byte for byte.
    pub(super) again: bool,
    /// How many answers are kept whole.
    pub(super) told_max: usize,
}

/// What became of one delivery.
pub(super) struct Answer {
    pub(super) event_id: String,
    pub(super) outcome: Result<Answered, String>,
}

impl Answer {
    /// One line for a person.
    pub(super) fn line(&self) -> String {
        let id = printable(&self.event_id);
        match &self.outcome {
            Ok(answered) => format!("{id}  {}", kind_of(answered)),
            Err(told) => format!("{id}  {}", printable(told)),
        }
    }
}

/// What became of all of them.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) deliveries: usize,
    pub(super) told: Vec<Answer>,
    accepted: usize,
    refused: usize,
    failed: usize,
    kinds: BTreeMap<String, usize>,
    waits: Histogram,
    took: Duration,
    /// Sent, and given up before an answer came.
    unanswered: usize,
    /// Of how many deliveries it was interrupted.
    interrupted_of: Option<usize>,
}

impl Burst<'_> {
    /// Sends `count` deliveries, each written when it is due, or those that it comes to before it is interrupted.
    pub(super) async fn run(
        &self,
        count: usize,
        interrupt: &Interrupt,
        write: impl Fn(usize) -> Result<Delivery, Stopped>,
    ) -> Result<Sent, Stopped> {
        let copies = if self.again { 2 } else { 1 };
        let next = Cell::new(0);
        let sent = RefCell::new(Sent::default());
        let bar = bar(count);
        let begun = Instant::now();
        let lane = async || -> Result<(), Stopped> {
            let mut wire = None;
            let mut interrupt = interrupt.clone();
            loop {
                let at = next.get();
                if at >= count {
                    return Ok(());
                }
                next.set(at + 1);
                let due = match self.pace.per_second {
                    Some(rate) => begun + Duration::from_secs_f64(count_of(at) / rate),
                    None => Instant::now(),
                };
                tokio::select! {
                    biased;
                    () = wish(&mut interrupt) => return Ok(()),
                    () = sleep_until(due) => {}
                }
                let delivery = match write(at) {
                    Ok(delivery) => delivery,
                    Err(stopped) => {
                        next.set(count);
                        return Err(stopped);
                    }
                };
                for copy in 0..copies {
                    let from = if copy == 0 { due } else { Instant::now() };
                    let given_up = async {
                        wish(&mut interrupt).await;
                        sleep(LAST_WAIT).await;
                    };
                    let outcome = tokio::select! {
                        outcome = self.exchange(&mut wire, &delivery) => outcome,
                        () = given_up => {
                            sent.borrow_mut().unanswered += 1;
                            return Ok(());
                        }
                    };
                    let wait = from.elapsed();
                    sent.borrow_mut()
                        .add(&delivery, outcome, wait, self.told_max);
                }
                bar.inc(1);
            }
        };
        let lanes = usize::from(self.pace.connections).min(count.max(1));
        let ended = join_all((0..lanes).map(|_| lane())).await;
        bar.finish_and_clear();
        ended.into_iter().collect::<Result<(), Stopped>>()?;
        let mut sent = sent.into_inner();
        sent.took = begun.elapsed();
        sent.interrupted_of = interrupt.borrow().then_some(count * copies);
        Ok(sent)
    }

    /// One request on the kept connection; a new one where there is none.
    async fn exchange(
        &self,
        kept: &mut Option<Wire>,
        delivery: &Delivery,
    ) -> Result<Answered, WireFailure> {
        let mut wire = match kept.take().filter(Wire::is_open) {
            Some(wire) => wire,
            None => Wire::open(self.connector, self.target).await?,
        };
        let answered = wire
            .post(
                &delivery.path_and_query,
                &delivery.headers,
                delivery.body.clone(),
            )
            .await?;
        *kept = Some(wire);
        Ok(answered)
    }
}

/// Resolves once it is to stop.
async fn wish(interrupt: &mut Interrupt) {
    if interrupt.wait_for(|wanted| *wanted).await.is_err() {
        std::future::pending().await
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count below ten million is exact in a double"
)]
fn count_of(number: usize) -> f64 {
    number as f64
}

impl Sent {
    fn add(
        &mut self,
        delivery: &Delivery,
        outcome: Result<Answered, WireFailure>,
        wait: Duration,
        told_max: usize,
    ) {
        self.deliveries += 1;
        let outcome = outcome.map_err(|failure| failure.told());
        let kind = match &outcome {
            Ok(answered) if answered.status.is_success() => {
                self.accepted += 1;
                self.waits.record(wait);
                kind_of(answered)
            }
            Ok(answered) => {
                self.refused += 1;
                self.waits.record(wait);
                kind_of(answered)
            }
            Err(told) => {
                self.failed += 1;
                printable(told)
            }
        };
        let kind = if self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&kind) {
            kind
        } else {
            "others".to_owned()
        };
        *self.kinds.entry(kind).or_default() += 1;
        if self.told.len() < told_max {
            self.told.push(Answer {
                event_id: delivery.event_id.clone(),
                outcome,
            });
        }
    }

    pub(super) fn all_accepted(&self) -> bool {
        self.accepted == self.deliveries && !self.was_interrupted()
    }

    pub(super) fn was_interrupted(&self) -> bool {
        self.interrupted_of.is_some()
    }

    /// For programs.
    pub(super) fn summary(&self) -> Value {
        let wait = |per_mille| self.waits.within(per_mille).as_secs_f64() * 1000.0;
        json!({
            "deliveries": self.deliveries,
            "accepted": self.accepted,
            "refused": self.refused,
            "failed": self.failed,
            "unanswered": self.unanswered,
            "interrupted": self.was_interrupted(),
            "answers": self.kinds,
            "seconds": self.took.as_secs_f64(),
            "per_second": self.per_second(),
            "milliseconds": { "p50": wait(500), "p90": wait(900), "p99": wait(990), "p999": wait(999), "max": wait(1000) },
            "events": self.told.iter().map(|answer| &answer.event_id).collect::<Vec<_>>(),
            "events_left_out": self.deliveries.saturating_sub(self.told.len()),
        })
    }

    /// For a person.
    pub(super) fn print(&self) {
        let mut table = Table::new(["DELIVERIES", "ANSWER"]);
        for (kind, count) in &self.kinds {
            table.row([count.to_string(), kind.clone()]);
        }
        table.print();
        let wait = |per_mille| {
            format!(
                "{:.1} ms",
                self.waits.within(per_mille).as_secs_f64() * 1000.0
            )
        };
        let answered = if self.accepted + self.refused == 0 {
            String::new()
        } else {
            format!(
                "; answered within {} (half), {} (99%), {} (all)",
                wait(500),
                wait(990),
                wait(1000)
            )
        };
        say("");
        say(&format!(
            "{} accepted, {} refused, {} failed, in {:.2} s ({:.0} a second){answered}",
            self.accepted,
            self.refused,
            self.failed,
            self.took.as_secs_f64(),
            self.per_second(),
        ));
        if let Some(count) = self.interrupted_of {
            say(&format!(
                "interrupted: of {count} deliveries, {} were sent to the end, and {} given up before they were answered",
                self.deliveries, self.unanswered,
            ));
        }
    }

    fn per_second(&self) -> f64 {
        count_of(self.accepted + self.refused) / self.took.as_secs_f64().max(1e-9)
    }
}

/// The status, and the problem's name where there is one.
pub(super) fn kind_of(answered: &Answered) -> String {
    match problem(answered) {
        Some(name) => format!("{} {}", answered.status.as_u16(), printable(&name)),
        None => answered.status.to_string(),
    }
}

/// `NAME` of `urn:countersign:problem:NAME`.
pub(super) fn problem(answered: &Answered) -> Option<String> {
    let body: Value = serde_json::from_slice(&answered.body).ok()?;
    let name = body.get("type")?.as_str()?;
    Some(name.strip_prefix("urn:countersign:problem:")?.to_owned())
}

/// On standard error, and only if that is a terminal.
fn bar(count: usize) -> ProgressBar {
    if count < SHOWN_MIN {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let bar = ProgressBar::with_draw_target(Some(count as u64), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_never) => bar,
    }
}
