//! How fast the receiver is, as ratios within one run: against a bare rustls server that answers 204 and does nothing.
//!
//! `cargo bench --bench speed` prints a table; `-- --rounds 5 --seconds 5 --connections 64` are the settings. The rounds of the
//! candidates alternate, and the least ratio is quoted next to the median. Client and servers share this machine, so absolute
//! figures say little; ratios and the server's CPU seconds per 1,000 requests say more.
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
#[path = "speed/postgres.rs"]
mod postgres;
#[path = "speed/setup.rs"]
mod setup;

use std::error::Error;
use std::time::Duration;

use driver::{Load, Measured};
use setup::{Candidate, Credentials, Server};

struct Settings {
    rounds: usize,
    seconds: u64,
    connections: usize,
    only: Option<String>,
}

impl Settings {
    fn of_process() -> Self {
        let mut settings = Self {
            rounds: 5,
            seconds: 4,
            connections: 64,
            only: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let number =
                |words: &mut dyn Iterator<Item = String>| words.next().and_then(|n| n.parse().ok());
            match word.as_str() {
                "--rounds" => settings.rounds = number(&mut words).unwrap_or(5),
                "--seconds" => settings.seconds = number(&mut words).unwrap_or(4) as u64,
                "--connections" => settings.connections = number(&mut words).unwrap_or(64),
                "--only" => settings.only = words.next(),
                _ => {}
            }
        }
        settings
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Ok(role) = std::env::var(setup::ROLE) {
        return setup::serve_as(&role);
    }
    let settings = Settings::of_process();
    let credentials = Credentials::make()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;

    println!(
        "{} connections, {} rounds of {} s, bodies of 1 KiB, unique signed events, TLS 1.3, P-256, HTTP/1.1 keep-alive\n",
        settings.connections, settings.rounds, settings.seconds
    );
    let chosen = |candidate: &&Candidate| {
        **candidate == Candidate::Bare
            || settings
                .only
                .as_deref()
                .is_none_or(|only| candidate.name().contains(only))
    };
    let candidates: Vec<Candidate> = Candidate::ALL.iter().filter(chosen).copied().collect();
    let window = Duration::from_secs(settings.seconds);

    for load in [Load::Requests, Load::Handshakes] {
        println!("{}", load.title());
        println!(
            "{:<22} {:>12} {:>14} {:>14} {:>12} {:>10}",
            "", "median/s", "of bare, least", "of bare, median", "CPU s/1,000", "p99 ms"
        );
        let mut rates: Vec<Vec<Measured>> = vec![Vec::new(); candidates.len()];
        for _round in 0..settings.rounds {
            for (measured, candidate) in rates.iter_mut().zip(&candidates) {
                if candidate.takes(load) {
                    let server = Server::start(*candidate, &credentials)?;
                    measured.push(runtime.block_on(driver::drive(
                        load,
                        &server,
                        &credentials,
                        settings.connections,
                        window,
                    ))?);
                }
            }
        }
        let bare: Vec<f64> = rates
            .first()
            .map(|all| all.iter().map(|one| one.per_second).collect())
            .unwrap_or_default();
        for (measured, candidate) in rates.iter().zip(&candidates) {
            if measured.is_empty() {
                continue;
            }
            let ratios: Vec<f64> = measured
                .iter()
                .zip(&bare)
                .map(|(one, bare)| one.per_second / bare)
                .collect();
            println!(
                "{:<22} {:>12.0} {:>14.3} {:>14.3} {:>12.4} {:>10.2}",
                candidate.name(),
                median(measured.iter().map(|one| one.per_second)),
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                median(ratios.iter().copied()),
                median(measured.iter().map(|one| one.cpu_seconds_per_thousand)),
                median(measured.iter().map(|one| one.p99.as_secs_f64() * 1000.0)),
            );
        }
        println!();
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
