//! What `countersign bench` found, for a program and for a person.

use std::collections::BTreeMap;

use serde::Serialize;

use super::load::Ran;
use super::process::Watch;
use super::tally::Counts;
use crate::cli::histogram::Waits;
use crate::cli::output::{Table, json_line, say};

/// What is asked of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// As many deliveries as are answered: each connection sends the next when it has the answer
    Closed,
    /// A fixed number of deliveries each second, whatever the receiver does
    Rate,
    /// Full handshakes, one after the other
    Handshakes,
    /// Connections that are opened and held, and say nothing
    Idle,
    /// Twice what the receiver sustains: what it sheds, and how the rest fares
    Overload,
}

/// One object; what does not apply to a mode is null, and each that was sent is in `answers`, `completed`, `errors` or `unanswered`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) mode: Mode,
    pub(super) url: String,
    pub(super) profile: String,
    /// How many were open when it began, of how many that were wanted, and why the others were not.
    pub(super) connections: usize,
    pub(super) connections_wanted: usize,
    pub(super) not_opened: BTreeMap<String, u64>,
    pub(super) body_bytes: Option<usize>,
    pub(super) warm_up: WarmUp,
    /// From the end of the warm-up until the last answer.
    pub(super) seconds: f64,
    /// Deliveries that were to be sent each second, and how many that makes.
    pub(super) rate: Option<f64>,
    pub(super) due: Option<u64>,
    /// Sent more than a millisecond after they were due; and not sent at all.
    pub(super) late: Option<u64>,
    pub(super) unsent: Option<u64>,
    /// Deliveries or handshakes that were tried.
    pub(super) sent: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) accepted: u64,
    /// Handshakes that both sides brought to their end.
    pub(super) completed: u64,
    pub(super) errors: BTreeMap<String, u64>,
    /// Sent when it was stopped, and not answered by then.
    pub(super) unanswered: u64,
    pub(super) reopened: u64,
    /// Answers, or handshakes, each second; and those that were 2xx.
    pub(super) per_second: f64,
    pub(super) accepted_per_second: f64,
    /// Of 2xx and of handshakes: from when it was due.
    pub(super) latency_ms: Option<Waits>,
    /// Of 2xx: from when it was written.
    pub(super) service_ms: Option<Waits>,
    /// Of all other answers: from when it was due.
    pub(super) refused_latency_ms: Option<Waits>,
    /// Of idle connections, how many the receiver kept.
    pub(super) kept: Option<usize>,
    pub(super) server: Option<Server>,
    /// What the overload is twice of.
    pub(super) sustained: Option<Box<Report>>,
    pub(super) interrupted: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WarmUp {
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
}

/// What the receiver's process used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) cpu_seconds: f64,
    /// For a thousand answers or handshakes.
    pub(super) cpu_seconds_per_1000: Option<f64>,
    pub(super) rss_start_bytes: u64,
    pub(super) rss_peak_bytes: u64,
    /// For each idle connection that was kept.
    pub(super) rss_bytes_per_connection: Option<u64>,
}

/// What a report is about.
pub(super) struct About<'a> {
    pub(super) mode: Mode,
    pub(super) url: &'a str,
    pub(super) profile: &'a str,
    pub(super) connections: usize,
    pub(super) connections_wanted: usize,
    pub(super) not_opened: BTreeMap<String, u64>,
    pub(super) body_bytes: Option<usize>,
    pub(super) warm_up_seconds: f64,
    pub(super) rate: Option<f64>,
    pub(super) kept: Option<usize>,
}

impl Report {
    pub(super) fn new(about: About<'_>, ran: &Ran, watch: Option<&Watch>) -> Self {
        let About {
            mode,
            url,
            profile,
            connections,
            connections_wanted,
            not_opened,
            body_bytes,
            warm_up_seconds,
            rate,
            kept,
        } = about;
        let measured = &ran.round.measured;
        let counts = measured.counts();
        let before = ran.round.warm_up.counts();
        let (accepted, done) = (counts.accepted(), counts.answered() + counts.completed);
        let Counts {
            sent,
            late,
            completed,
            reopened,
            answers,
            errors,
        } = counts;
        let seconds = ran.took.as_secs_f64();
        let each_second = |count: u64| count as f64 / seconds.max(1e-9);
        let failed: u64 = errors.values().sum();
        let schedule = ran.round.due_and_unsent(ran.took);
        let delivers = !matches!(mode, Mode::Handshakes | Mode::Idle);
        Self {
            mode,
            url: url.to_owned(),
            profile: profile.to_owned(),
            connections,
            connections_wanted,
            not_opened,
            body_bytes,
            warm_up: WarmUp {
                seconds: warm_up_seconds,
                sent: before.sent,
                accepted: before.accepted(),
            },
            seconds,
            rate,
            due: schedule.map(|(due, _unsent)| due),
            late: schedule.map(|_| late),
            unsent: schedule.map(|(_due, unsent)| unsent),
            sent,
            answers,
            accepted,
            completed,
            // Of a connection that is held and lost nothing was sent.
            unanswered: sent.saturating_sub(done + failed),
            errors,
            reopened,
            per_second: each_second(done),
            accepted_per_second: each_second(accepted),
            latency_ms: measured.accepted.waits(),
            service_ms: measured.service.waits().filter(|_| delivers),
            refused_latency_ms: measured.refused.waits(),
            kept,
            server: watch.map(|watch| Server::new(watch, done, kept)),
            sustained: None,
            interrupted: ran.interrupted,
        }
    }

    /// Whether all that was asked went well; under overload, 503 is what one hopes to see.
    pub(super) fn is_good(&self) -> bool {
        let sheds = self.mode == Mode::Overload;
        let good = |status: &u16| (200..300).contains(status) || (sheds && *status == 503);
        self.answers.keys().all(good)
            && self.errors.is_empty()
            && self.not_opened.is_empty()
            && (sheds || self.interrupted || self.unsent.is_none_or(|unsent| unsent == 0))
            && (self.interrupted || self.unanswered == 0)
            && self.accepted + self.completed + self.kept.unwrap_or(0) as u64 > 0
            && self
                .sustained
                .as_ref()
                .is_none_or(|before| before.is_good())
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            json_line(self);
            return;
        }
        if let Some(before) = &self.sustained {
            before.print(false);
            say("");
        }
        self.print_table();
    }

    fn print_table(&self) {
        say(&self.title());
        let mut outcomes = Table::new(["COUNT", "OUTCOME"]);
        for (status, count) in &self.answers {
            outcomes.row([count.to_string(), format!("answered {status}")]);
        }
        let failures = self.errors.iter().chain(&self.not_opened);
        for (what, count) in failures {
            outcomes.row([count.to_string(), what.clone()]);
        }
        let counted = [
            (self.completed, "handshakes"),
            (self.unanswered, "not answered when it was stopped"),
            (
                self.late.unwrap_or(0),
                "sent more than 1 ms after they were due",
            ),
            (
                self.unsent.unwrap_or(0),
                "due, and never sent: the rate was not held",
            ),
            (self.reopened, "connections opened again"),
            (
                self.kept.unwrap_or(0) as u64,
                "idle connections that were kept",
            ),
        ];
        for (count, what) in counted {
            if count > 0 {
                outcomes.row([count.to_string(), what.to_owned()]);
            }
        }
        outcomes.print();
        let rows = [
            (self.latency_ms, self.latency_name()),
            (self.service_ms, "2xx, from when it was written"),
            (
                self.refused_latency_ms,
                "other answers, from when it was due",
            ),
        ];
        if rows.iter().any(|(waits, _)| waits.is_some()) {
            say("");
            let mut waits = Table::new(["MIN MS", "P50", "P90", "P99", "P99.9", "MAX", "OF"]);
            for (row, what) in rows {
                if let Some(row) = row {
                    let [min, p50, p90, p99, p999, max] =
                        [row.min, row.p50, row.p90, row.p99, row.p999, row.max]
                            .map(|milliseconds| format!("{milliseconds:.3}"));
                    waits.row([min, p50, p90, p99, p999, max, what.to_owned()]);
                }
            }
            waits.print();
        }
        if self.mode != Mode::Idle {
            say("");
            let what = if self.mode == Mode::Handshakes {
                "handshakes"
            } else {
                "answers"
            };
            say(&format!(
                "{:.0} {what} a second, in {:.2} s",
                self.per_second, self.seconds
            ));
        }
        if let Some(server) = &self.server {
            say(&server.line());
        }
    }

    fn title(&self) -> String {
        let Self {
            mode, connections, ..
        } = self;
        let mode = match mode {
            Mode::Closed => "deliveries, as fast as they are answered".to_owned(),
            Mode::Rate => format!(
                "deliveries, {:.0} a second on a fixed schedule",
                self.rate.unwrap_or(0.0)
            ),
            Mode::Handshakes => "full handshakes".to_owned(),
            Mode::Idle => "idle connections".to_owned(),
            Mode::Overload => format!(
                "overload: {:.0} deliveries a second on a fixed schedule",
                self.rate.unwrap_or(0.0)
            ),
        };
        let bodies = match self.body_bytes {
            Some(bytes) => format!(", bodies of {bytes} bytes"),
            None => String::new(),
        };
        format!("{mode}: {connections} connections{bodies}")
    }

    fn latency_name(&self) -> &'static str {
        match self.mode {
            Mode::Handshakes => "handshakes, TCP included",
            Mode::Closed | Mode::Rate | Mode::Idle | Mode::Overload => "2xx, from when it was due",
        }
    }
}

impl Server {
    fn new(watch: &Watch, done: u64, kept: Option<usize>) -> Self {
        let grown = watch.rss_peak.saturating_sub(watch.rss_start);
        Self {
            pid: watch.pid(),
            cpu_seconds: watch.cpu_seconds,
            cpu_seconds_per_1000: (done > 0).then(|| watch.cpu_seconds / done as f64 * 1000.0),
            rss_start_bytes: watch.rss_start,
            rss_peak_bytes: watch.rss_peak,
            rss_bytes_per_connection: kept.and_then(|kept| grown.checked_div(kept as u64)),
        }
    }

    fn line(&self) -> String {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        let mut text = format!("process {}: {:.2} s of CPU", self.pid, self.cpu_seconds);
        if let Some(each) = self.cpu_seconds_per_1000 {
            text.push_str(&format!(" ({each:.4} s for 1,000)"));
        }
        text.push_str(&format!(
            ", memory {:.1} MiB at the start, {:.1} MiB at the peak",
            mebibytes(self.rss_start_bytes),
            mebibytes(self.rss_peak_bytes)
        ));
        if let Some(bytes) = self.rss_bytes_per_connection {
            text.push_str(&format!(", {bytes} bytes for each idle connection"));
        }
        text
    }
}
