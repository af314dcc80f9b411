//! How fast and how large the receiver is, as ratios within one run where that can be: against a bare rustls server that
//! answers 204 and does nothing. The client is `countersign bench`, in a process of its own.
//!
//! `cargo bench --bench speed` prints all tables but the last, which takes long and must be asked for by its name.
//!
//! | `--only` | tells |
//! |---|---|
//! | `deliveries` | events a second, as many as are answered |
//! | `handshakes` | full handshakes a second |
//! | `paced` | latency at 2,000 a second, from when each was due |
//! | `memory` | memory after the start, and for each idle connection |
//! | `start` | from the start of the process until the first 204 |
//! | `overload` | twice what is sustained: what is shed, and how the rest fares |
//! | `growth` | what an event costs among a thousand, and among `--rows` (20 million) |
//!
//! `--rounds 5 --seconds 4 --connections 64 --candidate TEXT` are the other settings. The rounds of the candidates
//! alternate, and the least ratio is quoted next to the median. Client and servers share this machine, so absolute figures
//! say little; ratios and the server's CPU seconds per 1,000 say more. `SPEED_DATA` names the folder for SQLite's files,
//! `TMPDIR` the one for PostgreSQL's: 20 million events take tens of gigabytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark that cannot go on fails, and prints what it measured"
)]

#[path = "speed/bare.rs"]
mod bare;
#[path = "speed/driver.rs"]
mod driver;
#[path = "store/events.rs"]
mod events;
#[path = "speed/growth.rs"]
mod growth;
#[path = "../tests/kit/mod.rs"]
mod kit;
#[path = "speed/measures.rs"]
mod measures;
#[path = "speed/postgres.rs"]
mod postgres;
#[path = "speed/setup.rs"]
mod setup;

use std::error::Error;

use setup::{Candidate, Credentials};

/// In the order of the tables; the last only by its name.
const MEASURES: [&str; 7] = [
    "deliveries",
    "handshakes",
    "paced",
    "memory",
    "start",
    "overload",
    "growth",
];

struct Settings {
    rounds: usize,
    seconds: u64,
    connections: usize,
    rows: u64,
    only: Option<String>,
    candidate: Option<String>,
    /// The same numbers as the client's flags.
    flags: [String; 2],
}

impl Settings {
    fn of_process() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut settings = Self {
            rounds: 5,
            seconds: 4,
            connections: 64,
            rows: 20_000_000,
            only: None,
            candidate: None,
            flags: Default::default(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            // What cargo adds.
            if word == "--bench" {
                continue;
            }
            let value = words.next().ok_or(format!("{word} has no value"))?;
            match word.as_str() {
                "--rounds" => settings.rounds = value.parse()?,
                "--seconds" => settings.seconds = value.parse()?,
                "--connections" => settings.connections = value.parse()?,
                "--rows" => settings.rows = value.parse()?,
                "--only" if MEASURES.contains(&value.as_str()) => settings.only = Some(value),
                "--candidate" => settings.candidate = Some(value),
                _ => {
                    return Err(format!(
                        "{word} {value}: the settings are --rounds, --seconds, --connections, --rows, --candidate, and --only {}",
                        MEASURES.join("|")
                    )
                    .into());
                }
            }
        }
        if settings.rounds == 0 {
            return Err("--rounds 0 measures nothing".into());
        }
        settings.flags = [settings.connections, settings.seconds as usize].map(|n| n.to_string());
        Ok(settings)
    }

    fn asks_for(&self, measure: &str) -> bool {
        match &self.only {
            Some(only) => only == measure,
            None => measure != "growth",
        }
    }

    /// Those that were asked for, behind the bare server.
    fn candidates(&self) -> Vec<Candidate> {
        let chosen = |candidate: &&Candidate| {
            let named = self.candidate.as_deref();
            **candidate == Candidate::Bare || named.is_none_or(|it| candidate.name().contains(it))
        };
        Candidate::ALL.iter().filter(chosen).copied().collect()
    }

    /// The client's, for one of its modes. More handshakes at once than processors only wait for each other.
    fn arguments<'a>(&'a self, mode: &'a str) -> Vec<&'a str> {
        let [connections, seconds] = &self.flags;
        let connections = match mode {
            "handshakes" if self.connections > 16 => "16",
            _ => connections,
        };
        vec![mode, "--connections", connections, "--seconds", seconds]
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Ok(role) = std::env::var(setup::ROLE) {
        return setup::serve_as(&role);
    }
    let settings = Settings::of_process()?;
    let credentials = Credentials::make()?;
    println!(
        "{} connections, {} rounds of {} s, bodies of 1 KiB, unique signed events, TLS 1.3, P-256, HTTP/1.1 keep-alive\n",
        settings.connections, settings.rounds, settings.seconds
    );
    let all = settings.candidates();
    let only = |some: &[Candidate]| -> Vec<Candidate> {
        all.iter()
            .copied()
            .filter(|one| some.contains(one))
            .collect()
    };
    let usual = only(&[Candidate::Bare, Candidate::Sqlite, Candidate::Postgres]);
    for measure in MEASURES.into_iter().filter(|one| settings.asks_for(one)) {
        match measure {
            "deliveries" => {
                measures::rates("closed", "Deliveries", &settings, &credentials, &all)?;
            }
            "handshakes" => {
                let some = only(&[Candidate::Bare, Candidate::Sqlite]);
                measures::rates(
                    "handshakes",
                    "Full handshakes",
                    &settings,
                    &credentials,
                    &some,
                )?;
            }
            "paced" => measures::paced(&settings, &credentials, &usual)?,
            "memory" => measures::memory(&settings, &credentials, &usual)?,
            "start" => measures::start(&settings, &credentials, &usual)?,
            "overload" => measures::overload(&settings, &credentials, &usual)?,
            _ => growth::measure(&settings, &credentials, &usual)?,
        }
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
