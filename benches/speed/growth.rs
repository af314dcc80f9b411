//! Whether an event costs more the more there are: a store of a thousand beside one of many millions.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign::inbox::{Inbox, Limits};
use countersign::store::{Store, Url};

use crate::events::{event, leaf};
use crate::setup::{Candidate, Credentials, Data, Server};
use crate::{Settings, driver, median, postgres};

type Failure = Box<dyn Error + Send + Sync>;

const FEW: u64 = 1000;
/// Of those that are there before: the tables and their indexes are what grows, not the disk.
const BODY_BYTES: usize = 256;
const EVENTS_AT_ONCE: u64 = 256;
const BATCHES_AT_ONCE: usize = 4;
/// A batch among many millions may take its time.
const PRELOAD_WAIT: Duration = Duration::from_secs(600);
/// Their ids' seeds; no other bench of the store has any of these.
const SEEDS: u64 = 0xffff << 48;

/// What an event costs, once.
struct Cost {
    per_second: f64,
    receiver_cpu: f64,
    database_cpu: f64,
    p99: f64,
}

impl Cost {
    /// CPU seconds for a thousand, of all who take part.
    fn cpu(&self) -> f64 {
        self.receiver_cpu + self.database_cpu
    }
}

/// Prints a line for each size, and the ratios between them.
pub fn measure(
    settings: &Settings,
    credentials: &Credentials,
    candidates: &[Candidate],
) -> Result<(), Failure> {
    println!(
        "Growth: {FEW} events that are there before beside {}",
        settings.rows
    );
    println!(
        "{:<22} {:>10} {:>12} {:>16} {:>16} {:>10}",
        "", "events", "median/s", "CPU s/1,000", "of the database", "p99 ms"
    );
    for candidate in candidates.iter().filter(|one| one.is_durable()) {
        let large = Data::fresh(*candidate)?;
        preload(&large, settings.rows)?;
        let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
        for _round in 0..settings.rounds {
            // The few become many while they are measured: so they begin anew each time.
            let small = Data::fresh(*candidate)?;
            preload(&small, FEW)?;
            of_few.push(cost(settings, credentials, &small)?);
            of_many.push(cost(settings, credentials, &large)?);
        }
        for (events, costs) in [(FEW, &of_few), (settings.rows, &of_many)] {
            println!(
                "{:<22} {events:>10} {:>12.0} {:>16.4} {:>16.4} {:>10.2}",
                candidate.name(),
                median(costs.iter().map(|cost| cost.per_second)),
                median(costs.iter().map(|cost| cost.receiver_cpu)),
                median(costs.iter().map(|cost| cost.database_cpu)),
                median(costs.iter().map(|cost| cost.p99)),
            );
        }
        let pairs = || of_few.iter().zip(&of_many);
        let cpu: Vec<f64> = pairs().map(|(few, many)| many.cpu() / few.cpu()).collect();
        let time = pairs().map(|(few, many)| few.per_second / many.per_second);
        let time: Vec<f64> = time.collect();
        let greatest = |ratios: &[f64]| ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "{:<22} CPU for an event grows {:.2} times (median; greatest {:.2}), time {:.2} times (median; greatest {:.2})",
            candidate.name(),
            median(cpu.iter().copied()),
            greatest(&cpu),
            median(time.iter().copied()),
            greatest(&time),
        );
    }
    println!();
    Ok(())
}

fn cost(settings: &Settings, credentials: &Credentials, data: &Data) -> Result<Cost, Failure> {
    let server = Server::start_on(data, credentials)?;
    let before = postgres::cpu_seconds();
    let found = driver::bench(&server, credentials, &settings.arguments("closed"))?;
    let database = postgres::cpu_seconds() - before;
    let all = found.number("/sent") + found.number("/warm_up/sent");
    Ok(Cost {
        per_second: found.number("/accepted_per_second"),
        receiver_cpu: found.number("/server/cpu_seconds_per_1000"),
        database_cpu: database / all * 1000.0,
        p99: found.number("/latency_ms/p99"),
    })
}

/// Writes so many events down, straight through the store.
fn preload(data: &Data, events: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let url: Url = data.url().parse()?;
        let limits = Limits {
            wait: PRELOAD_WAIT,
            ..Limits::default()
        };
        let store = Arc::new(Store::open(&url, limits).await?);
        let (next, leaf, begun) = (Arc::new(AtomicU64::new(0)), leaf(), Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for _task in 0..BATCHES_AT_ONCE {
            let (store, next, leaf) = (Arc::clone(&store), Arc::clone(&next), leaf.clone());
            tasks.spawn(async move {
                loop {
                    let from = next.fetch_add(EVENTS_AT_ONCE, Ordering::Relaxed);
                    let to = (from + EVENTS_AT_ONCE).min(events);
                    if from >= to {
                        return Ok(());
                    }
                    let batch = (from..to).map(|number| event(SEEDS | number, BODY_BYTES, &leaf));
                    store.accept(batch.collect()).await?;
                    if to / 1_000_000 > from / 1_000_000 {
                        eprintln!(
                            "{} million, {:.0} s",
                            to / 1_000_000,
                            begun.elapsed().as_secs_f64()
                        );
                    }
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task?.map_err(|failure: countersign::inbox::InboxFailure| failure)?;
        }
        store.close().await;
        Ok(())
    })
}
