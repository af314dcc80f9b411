//! `countersign bench`: how a receiver fares under a load that is a provider's in every byte.
//!
//! The events that it sends are real: the receiver keeps them. Their ids begin with `bench_`.

mod connections;
mod load;
mod process;
mod report;
mod request;
mod tally;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::interrupt::{self, Interrupt};
use super::output::{Outcome, complain};
use super::provider::Provider;
use super::runtime::on_every_core;
use super::sender::Stopped;
use super::unusable;
use super::wire::Target;
use crate::config::{ConfigFile, Environment};
use crate::tls;

use connections::{hold, shake_hands};
use load::{Course, Ran};
use process::Watch;
use report::{About, Mode, Report};
use request::{ID_PREFIX, Mould, Pattern};
use tally::Tally;
use wire::{Dial, PATIENCE};

/// How much more than it sustains is sent to a receiver that is to be overloaded.
const OVERLOAD: f64 = 2.0;
/// Connections by which it is found out what a receiver sustains.
const SUSTAINED_CONNECTIONS: usize = 64;

/// The bodies of all connections, at most.
const BODIES_BYTES_MAX: u64 = 1 << 30;

/// Measure a receiver: its rate, its latency at a rate, handshakes, idle connections, overload
///
/// The events that it sends are real: the receiver keeps them; their ids begin with bench_. Exit code 0 if every
/// answer was 2xx (under overload also 503) and nothing failed, 1 otherwise. Ctrl-C stops it and prints what there is.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What is measured
    #[arg(value_enum)]
    mode: Mode,
    #[command(flatten)]
    provider: Provider,
    /// How many connections, each kept alive; handshakes: how many at once [default: 64; handshakes 16, idle 200, overload 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: Option<u16>,
    /// How long it is measured, after the warm-up [default: 10; idle 5]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: Option<u16>,
    /// How many seconds before the measurement the same is done without being counted; idle has none
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=600))]
    warm_up: u16,
    /// Modes rate and overload: how many deliveries are due each second [default: 2000; overload: twice what was just sustained]
    #[arg(long, value_name = "R", value_parser = super::send::parse_rate)]
    rate: Option<f64>,
    /// The size of each body in bytes; a sample of the profile's that is longer stays as it is
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    body_bytes: u32,
    /// The receiver's process, if it is on this machine: its CPU time and memory are told as well
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let schedules = matches!(self.mode, Mode::Rate | Mode::Overload);
        if self.rate.is_some() && !schedules {
            complain("countersign: --rate is for the modes rate and overload");
            return Outcome::Unusable;
        }
        let bodies = self.connections() as u64 * u64::from(self.body_bytes);
        if bodies > BODIES_BYTES_MAX {
            complain(
                "countersign: --connections times --body-bytes is above 1 GiB, all of which this process would hold; lessen one",
            );
            return Outcome::Unusable;
        }
        let runtime = match on_every_core() {
            Ok(runtime) => runtime,
            Err(error) => return super::output::failed(&error),
        };
        match runtime.block_on(self.measure(place, environment)) {
            Ok(report) => {
                report.print(self.json);
                if report.is_good() {
                    Outcome::Done
                } else {
                    Outcome::Failed
                }
            }
            Err(Stopped::Unusable(faults)) => unusable(&faults),
            Err(Stopped::Failed(text)) => {
                complain(&format!("countersign: {text}"));
                Outcome::Failed
            }
        }
    }

    async fn measure(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<Report, Stopped> {
        let target = Target::parse(&self.provider.url)?;
        let deliveries = match self.mode {
            Mode::Handshakes | Mode::Idle => None,
            // Whether they can be signed is told before anything is opened.
            Mode::Closed | Mode::Rate | Mode::Overload => {
                Some(self.deliveries(place, environment)?)
            }
        };
        let connector = self.provider.connector(place)?;
        let dial = Arc::new(Dial::find(&connector, &target).await?);
        let bench = Prepared { asked: self, dial };
        let files = tls::raise_open_files(self.connections())?;
        if files < self.connections() as u64 {
            complain(&format!(
                "countersign: this process may open {files} files only: raise the limit (ulimit -n) for {} connections",
                self.connections()
            ));
        }
        let mut interrupt = interrupt::listen()?;
        let Some(deliveries) = deliveries else {
            return bench.connect(&mut interrupt).await;
        };
        complain(&format!(
            "countersign: the events that are sent to {} are real, and stay there; their ids begin with {ID_PREFIX}",
            self.provider.url
        ));
        if self.mode == Mode::Overload {
            return bench.overload(&deliveries, &mut interrupt).await;
        }
        let rate = (self.mode == Mode::Rate).then(|| self.rate.unwrap_or(2000.0));
        let delivered = bench.deliver(self.mode, rate, &deliveries, &mut interrupt);
        delivered.await
    }

    fn deliveries(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<Deliveries, Stopped> {
        let author = self.provider.author(place, environment)?;
        let body_bytes = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
        let pattern = Arc::new(Pattern::new(author, body_bytes)?);
        let mut first = Mould::new(&pattern);
        first.cast(Timestamp::now())?;
        Ok(Deliveries {
            pattern,
            body_bytes: first.body_bytes(),
        })
    }

    fn connections(&self) -> usize {
        let usual = match self.mode {
            Mode::Closed | Mode::Rate => 64,
            Mode::Handshakes => 16,
            // A receiver lets one address have 256 if nobody says otherwise.
            Mode::Idle => 200,
            Mode::Overload => 5000,
        };
        self.connections.map_or(usual, usize::from)
    }

    fn seconds(&self) -> Duration {
        let usual = if self.mode == Mode::Idle { 5 } else { 10 };
        Duration::from_secs(self.seconds.unwrap_or(usual).into())
    }
}

/// What was asked, with all that it takes.
struct Prepared<'a> {
    asked: &'a Bench,
    dial: Arc<Dial>,
}

/// What is sent where more than connections are measured.
struct Deliveries {
    pattern: Arc<Pattern>,
    /// Of each body, as it is sent.
    body_bytes: usize,
}

impl Prepared<'_> {
    fn watch(&self) -> Result<Option<Watch>, Stopped> {
        self.asked.pid.map(Watch::begin).transpose()
    }

    fn course(&self, mode: Mode, rate: Option<f64>) -> Course {
        Course {
            warm_up: match mode {
                Mode::Idle => Duration::ZERO,
                // What it is to sustain has just been measured; and what is due before the window would fill it.
                Mode::Overload if rate.is_some() => Duration::ZERO,
                Mode::Closed | Mode::Rate | Mode::Handshakes | Mode::Overload => {
                    Duration::from_secs(self.asked.warm_up.into())
                }
            },
            window: self.asked.seconds(),
            rate,
            // What an overloaded receiver could not even be sent is told as it is.
            grace: if mode == Mode::Rate {
                PATIENCE
            } else {
                Duration::ZERO
            },
        }
    }

    /// Deliveries in mode `closed`, `rate` or `overload`.
    async fn deliver(
        &self,
        mode: Mode,
        rate: Option<f64>,
        deliveries: &Deliveries,
        interrupt: &mut Interrupt,
    ) -> Result<Report, Stopped> {
        let wanted = if mode == Mode::Closed && self.asked.mode == Mode::Overload {
            self.asked.connections().min(SUSTAINED_CONNECTIONS)
        } else {
            self.asked.connections()
        };
        let mut watch = self.watch()?;
        let opening = Tally::default();
        let lines = load::open(&self.dial, wanted, &opening, interrupt).await?;
        let (opened, course) = (lines.len(), self.course(mode, rate));
        let ran = load::deliver(
            course,
            &self.dial,
            &deliveries.pattern,
            lines,
            &mut watch,
            interrupt,
        )
        .await?;
        let about = About {
            body_bytes: Some(deliveries.body_bytes),
            ..self.about(mode, course, (opened, wanted), &opening)
        };
        Ok(Report::new(about, &ran, watch.as_ref()))
    }

    /// Twice what was sustained just before, unless a rate was given.
    async fn overload(
        &self,
        deliveries: &Deliveries,
        interrupt: &mut Interrupt,
    ) -> Result<Report, Stopped> {
        let (rate, sustained) = match self.asked.rate {
            Some(rate) => (rate, None),
            None => {
                let report = self
                    .deliver(Mode::Closed, None, deliveries, interrupt)
                    .await?;
                if report.interrupted || report.accepted == 0 {
                    return Ok(report);
                }
                let rate = report.accepted_per_second * OVERLOAD;
                (rate, Some(Box::new(report)))
            }
        };
        let overloaded = self.deliver(Mode::Overload, Some(rate), deliveries, interrupt);
        let mut report = overloaded.await?;
        report.sustained = sustained;
        Ok(report)
    }

    /// Connections without deliveries.
    async fn connect(&self, interrupt: &mut Interrupt) -> Result<Report, Stopped> {
        let mode = self.asked.mode;
        let (wanted, course) = (self.asked.connections(), self.course(mode, None));
        let mut watch = self.watch()?;
        let opening = Tally::default();
        let (ran, opened, kept): (Ran, _, _) = if mode == Mode::Idle {
            let lines = load::open(&self.dial, wanted, &opening, interrupt).await?;
            let opened = lines.len();
            let (ran, kept) = hold(course, lines, &mut watch, interrupt).await?;
            (ran, opened, Some(kept))
        } else {
            let ran = shake_hands(course, wanted, &self.dial, &mut watch, interrupt).await?;
            (ran, wanted, None)
        };
        let about = About {
            kept,
            ..self.about(mode, course, (opened, wanted), &opening)
        };
        Ok(Report::new(about, &ran, watch.as_ref()))
    }

    fn about(
        &self,
        mode: Mode,
        course: Course,
        (connections, connections_wanted): (usize, usize),
        opening: &Tally,
    ) -> About<'_> {
        About {
            mode,
            url: &self.asked.provider.url,
            profile: &self.asked.provider.profile,
            connections,
            connections_wanted,
            not_opened: opening.counts().errors,
            body_bytes: None,
            warm_up_seconds: course.warm_up.as_secs_f64(),
            rate: course.rate,
            kept: None,
        }
    }
}
