//! What is measured beside growth: rates, handshakes, latency at a rate, memory, the start, overload.

use std::error::Error;
use std::time::Instant;

use crate::setup::{Candidate, Credentials, Data, Server};
use crate::{Settings, driver, median};

type Failure = Box<dyn Error + Send + Sync>;
/// Of each candidate its numbers, by column and round.
type Table<const N: usize> = Vec<(Candidate, [Vec<f64>; N])>;

/// The rate at which latency is asked for.
const PACED: &str = "2000";
/// More than the receiver's queue holds, so that what is too much is shed and does not wait at the client.
const OVERLOAD_CONNECTIONS: &str = "5000";
const IDLE_CONNECTIONS: &str = "1000";

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Measures each candidate in each round; the rounds of the candidates alternate.
fn rounds<const N: usize>(
    settings: &Settings,
    candidates: &[Candidate],
    mut measure: impl FnMut(Candidate) -> Result<[f64; N], Failure>,
) -> Result<Table<N>, Failure> {
    let empty = || std::array::from_fn(|_| Vec::new());
    let mut found: Table<N> = candidates.iter().map(|one| (*one, empty())).collect();
    for _round in 0..settings.rounds {
        for (candidate, columns) in &mut found {
            for (column, value) in columns.iter_mut().zip(measure(*candidate)?) {
                column.push(value);
            }
        }
    }
    Ok(found)
}

/// Deliveries or handshakes, as many as are answered, as a ratio to the bare server, which is the first candidate.
pub fn rates(
    mode: &str,
    title: &str,
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!("{title}");
    println!(
        "{:<22} {:>12} {:>14} {:>16} {:>12} {:>10}",
        "", "median/s", "of bare, least", "of bare, median", "CPU s/1,000", "p99 ms"
    );
    let found = rounds(settings, candidates, |candidate| {
        let server = Server::start(candidate, credentials)?;
        let found = driver::bench(&server, credentials, &settings.arguments(mode))?;
        Ok([
            found.number("/per_second"),
            found.number("/server/cpu_seconds_per_1000"),
            found.number("/latency_ms/p99"),
        ])
    })?;
    let bare = found.first().map(|(_, [rate, ..])| rate.clone());
    let bare = bare.unwrap_or_default();
    for (candidate, [rate, cpu, p99]) in &found {
        let ratios: Vec<f64> = rate
            .iter()
            .zip(&bare)
            .map(|(one, bare)| one / bare)
            .collect();
        println!(
            "{:<22} {:>12.0} {:>14.3} {:>16.3} {:>12.4} {:>10.2}",
            candidate.name(),
            median(rate.iter().copied()),
            least(&ratios),
            median(ratios.iter().copied()),
            median(cpu.iter().copied()),
            median(p99.iter().copied()),
        );
    }
    println!();
    Ok(())
}

/// Latency at a fixed rate, each delivery timed from when it was due.
pub fn paced(
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!("Latency at {PACED} a second, from when each delivery was due");
    println!(
        "{:<22} {:>10} {:>10} {:>16} {:>10} {:>10} {:>12}",
        "", "p50 ms", "p99 ms", "p99, greatest", "p99.9 ms", "late", "CPU s/1,000"
    );
    let found = rounds(settings, candidates, |candidate| {
        let server = Server::start(candidate, credentials)?;
        let mut arguments = settings.arguments("rate");
        arguments.extend(["--rate", PACED]);
        let (found, told) = driver::attempt(&server, credentials, &arguments)?;
        if let Some(told) = told {
            println!("{}: {told}", candidate.name());
        }
        Ok([
            found.number("/latency_ms/p50"),
            found.number("/latency_ms/p99"),
            found.number("/latency_ms/p999"),
            found.number("/late"),
            found.number("/server/cpu_seconds_per_1000"),
        ])
    })?;
    for (candidate, [p50, p99, p999, late, cpu]) in &found {
        println!(
            "{:<22} {:>10.2} {:>10.2} {:>16.2} {:>10.2} {:>10.0} {:>12.4}",
            candidate.name(),
            median(p50.iter().copied()),
            median(p99.iter().copied()),
            greatest(p99),
            median(p999.iter().copied()),
            median(late.iter().copied()),
            median(cpu.iter().copied()),
        );
    }
    println!();
    Ok(())
}

/// What a receiver that has nothing to do occupies.
pub fn memory(
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!("Memory after the start, and for each of {IDLE_CONNECTIONS} idle connections");
    println!(
        "{:<22} {:>10} {:>16} {:>20}",
        "", "MiB", "MiB, greatest", "bytes a connection"
    );
    let found = rounds(settings, candidates, |candidate| {
        let server = Server::start(candidate, credentials)?;
        let arguments = ["idle", "--connections", IDLE_CONNECTIONS, "--seconds", "2"];
        let found = driver::bench(&server, credentials, &arguments)?;
        Ok([
            found.mebibytes("/server/rss_start_bytes"),
            found.number("/server/rss_bytes_per_connection"),
        ])
    })?;
    for (candidate, [start, connection]) in &found {
        println!(
            "{:<22} {:>10.1} {:>16.1} {:>20.0}",
            candidate.name(),
            median(start.iter().copied()),
            greatest(start),
            median(connection.iter().copied()),
        );
    }
    println!();
    Ok(())
}

/// From the start of the process until the first 204.
pub fn start(
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!("From the start of the process until the first 204, in ms");
    println!(
        "{:<22} {:>14} {:>10} {:>10} {:>10}",
        "", "a new store", "again", "least", "greatest"
    );
    let found = rounds(settings, candidates, |candidate| {
        let data = Data::fresh(candidate)?;
        Ok([
            first_answer(&data, credentials, "evt_1")?,
            first_answer(&data, credentials, "evt_2")?,
        ])
    })?;
    for (candidate, [new, again]) in &found {
        println!(
            "{:<22} {:>14.1} {:>10.1} {:>10.1} {:>10.1}",
            candidate.name(),
            median(new.iter().copied()),
            median(again.iter().copied()),
            least(again),
            greatest(again),
        );
    }
    println!();
    Ok(())
}

fn first_answer(data: &Data, credentials: &Credentials, id: &str) -> Result<f64, Failure> {
    let mut producer = credentials.producer(0);
    let begun = Instant::now();
    let server = Server::start_on(data, credentials)?;
    producer.address.set_port(server.port);
    let answer = producer.try_deliver(&crate::kit::event(id))?;
    let took = begun.elapsed();
    if answer.status != 204 {
        return Err(format!("answered {}: {}", answer.status, answer.body).into());
    }
    Ok(took.as_secs_f64() * 1000.0)
}

/// Twice what was sustained just before: what is shed, how the rest fares, how much memory it takes.
pub fn overload(
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!("Twice what was sustained just before, over {OVERLOAD_CONNECTIONS} connections");
    println!(
        "{:<22} {:>12} {:>10} {:>12} {:>12} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "",
        "sustained/s",
        "p99 ms",
        "offered/s",
        "accepted/s",
        "503",
        "unsent",
        "p99 ms",
        "sent-p99",
        "503-p99",
        "peak MiB"
    );
    let durable: Vec<Candidate> = candidates
        .iter()
        .copied()
        .filter(|candidate| candidate.is_durable())
        .collect();
    let found = rounds(settings, &durable, |candidate| {
        let server = Server::start(candidate, credentials)?;
        let seconds = settings.seconds.to_string();
        let arguments = ["overload", "--connections", OVERLOAD_CONNECTIONS];
        let arguments = [&arguments[..], &["--seconds", &seconds]].concat();
        let (found, told) = driver::attempt(&server, credentials, &arguments)?;
        if let Some(told) = told {
            println!("{}: {told}", candidate.name());
        }
        let share = |pointer: &str| found.count(pointer) / found.number("/due");
        Ok([
            found.number("/sustained/accepted_per_second"),
            found.number("/sustained/latency_ms/p99"),
            found.number("/rate"),
            found.number("/accepted_per_second"),
            share("/answers/503"),
            share("/unsent"),
            found.number("/latency_ms/p99"),
            found.number("/service_ms/p99"),
            found.number("/refused_latency_ms/p99"),
            found.mebibytes("/server/rss_peak_bytes"),
        ])
    })?;
    for (candidate, columns) in &found {
        let [
            sustained,
            p99,
            offered,
            accepted,
            shed,
            unsent,
            late_p99,
            sent_p99,
            shed_p99,
            peak,
        ] = columns;
        let of = |column: &[f64]| median(column.iter().copied());
        println!(
            "{:<22} {:>12.0} {:>10.2} {:>12.0} {:>12.0} {:>9.3} {:>9.3} {:>10.2} {:>10.2} {:>10.2} {:>10.1}",
            candidate.name(),
            of(sustained),
            of(p99),
            of(offered),
            of(accepted),
            of(shed),
            of(unsent),
            of(late_p99),
            of(sent_p99),
            of(shed_p99),
            greatest(peak),
        );
    }
    println!();
    Ok(())
}
