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

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::identity::TenantId;
use countersign::inbox::{Event, IdempotencyKey, Inbox, Limits, Standing};
use countersign::signature::{AmountUnit, PaymentFacts};
use countersign::store::{Store, Url};
use countersign::x509::Leaf;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

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
                    let event = event(seed, &leaf);
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

/// An event whose id only its seed tells.
fn event(seed: u64, leaf: &Leaf) -> Event {
    let id = hex::encode(Sha256::digest(seed.to_be_bytes()));
    let id = id.get(..24).expect("24 digits");
    let mut body = format!(
        "{{\"id\":\"evt_{id}\",\"type\":\"payment.succeeded\",\"created\":1790000000,\"data\":{{\"payment_id\":\"pay_{id}\",\"pad\":\""
    );
    while body.len() < 1021 {
        body.push('x');
    }
    body.push_str("\"}}");
    Event {
        key: IdempotencyKey {
            tenant: TenantId::new("tenant-42"),
            producer: Arc::from("payments-provider"),
            event_id: format!("evt_{id}").into(),
        },
        kind: Some("payment.succeeded".into()),
        occurred_at: Timestamp::from_second(1_790_000_000).ok(),
        received_at: Timestamp::now(),
        body_sha256: Sha256::digest(&body).into(),
        body: body.into(),
        secret: Some(Arc::from("file:certs/producer.secret")),
        leaf: leaf.clone(),
        headers: Arc::from([
            (Box::from("content-type"), Box::from("application/json")),
            (Box::from("user-agent"), Box::from("bench/1")),
            (Box::from("x-webhook-timestamp"), Box::from("1790000000")),
            (Box::from("x-webhook-signature"), "0".repeat(64).into()),
        ]),
        payment: Some(PaymentFacts {
            payment_id: format!("pay_{id}"),
            status: Some("succeeded".to_owned()),
            amount: Some("1999".to_owned()),
            amount_refunded: Some("0".to_owned()),
            currency: Some("EUR".to_owned()),
            unit: AmountUnit::Minor,
            minor_digits: None,
        }),
        standing: Standing::Readable,
    }
}

fn leaf() -> Leaf {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .expect("a certificate");
    Leaf::decode(certificate.der()).expect("a leaf")
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
