//! How many events a second the store makes durable, without a network: `cargo bench --bench store -- [OPTIONS]`.
//!
//! Senders wait for their receipt before they send the next event, as connections do. Ids are random, bodies 1 KiB, and
//! each event begins a payment of its own: the worst case for the indexes. Every line is one round on the same file, so
//! the lines tell whether the cost grows with the table.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench ends with a message, and prints what it found"
)]

#[path = "store/events.rs"]
mod events;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::inbox::{Inbox, Limits};
use countersign::store::{Store, Url};

use events::{event, leaf};

/// Of each event.
const BODY_BYTES: usize = 1024;

struct Options {
    senders: usize,
    events: u64,
    rounds: u32,
    path: Option<PathBuf>,
}

fn main() {
    let mut options = Options {
        senders: 64,
        events: 200_000,
        rounds: 5,
        path: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value");
        match argument.as_str() {
            "--senders" => options.senders = value().parse().expect("a number"),
            "--events" => options.events = value().parse().expect("a number"),
            "--rounds" => options.rounds = value().parse().expect("a number"),
            "--path" => options.path = Some(value().into()),
            // What cargo adds.
            "--bench" => {}
            other => panic!("{other}: the options are --senders, --events, --rounds, --path"),
        }
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(run(options));
}

async fn run(options: Options) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let path = options
        .path
        .unwrap_or_else(|| directory.path().join("bench.db"));
    let store = Arc::new(
        Store::open(&Url::Sqlite(path), Limits::default())
            .await
            .expect("a store"),
    );
    let leaf = leaf();
    println!(
        "{:>5}  {:>10}  {:>9}  {:>9}  {:>9}  {:>10}",
        "round", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU s/1000"
    );
    for round in 0..options.rounds {
        let cpu = cpu_seconds();
        let began = Instant::now();
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..options.senders {
            let (store, leaf) = (Arc::clone(&store), leaf.clone());
            let share = options.events / options.senders as u64;
            senders.spawn(async move {
                let mut waits = Vec::new();
                for number in 0..share {
                    let seed = (u64::from(round) << 48) | ((sender as u64) << 32) | number;
                    let event = event(seed, BODY_BYTES, &leaf);
                    let sent = Instant::now();
                    store.accept(vec![event]).await.expect("a receipt");
                    waits.push(sent.elapsed());
                }
                waits
            });
        }
        let mut waits: Vec<Duration> = senders.join_all().await.into_iter().flatten().collect();
        let took = began.elapsed().as_secs_f64();
        waits.sort_unstable();
        let percentile = |share: f64| {
            let place = (waits.len() as f64 * share) as usize;
            waits
                .get(place)
                .map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
        };
        println!(
            "{round:>5}  {:>10.0}  {:>9.2}  {:>9.2}  {:>9.2}  {:>10.4}",
            waits.len() as f64 / took,
            percentile(0.5),
            percentile(0.99),
            percentile(0.999),
            (cpu_seconds() - cpu) / waits.len() as f64 * 1e3,
        );
    }
    store.close().await;
}

/// The process' CPU time; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11);
    let mut ticks = || {
        fields
            .next()
            .and_then(|ticks| ticks.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks() + ticks()) / 100.0
}
