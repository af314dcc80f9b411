//! Group commit under injected faults, one deterministic schedule for each seed.
//!
//! Senders send events, some of them twice and some under a taken id, until each is acknowledged; some hang up in
//! between. The engine fails now and then: at the beginning, at a row, at the commit before it is durable, and after.
//! Whatever happens, each acknowledged event is stored exactly once, and the ledger is what a model makes of the set of
//! stored events. On failure the message tells the seed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};

use super::fixtures::{Chance, payment_event, with_body};
use super::row::{Row, payment_key};
use crate::inbox::{
    BatchFailure, Cause, Engine, Event, GroupCommit, InboxFailure, Isolation, Limits, Outcome,
    Receipt,
};
use crate::payments::Payment;

const SCHEDULES: u64 = 1000;

/// What is durable.
#[derive(Clone, Debug, Default)]
struct Disk {
    events: HashMap<[u8; 16], Stored>,
    payments: BTreeMap<[u8; 16], Payment>,
    commits: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    body_sha256: [u8; 32],
    times: u32,
    duplicates: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("injected: {0}")]
struct Injected(&'static str);

fn injected(what: &'static str) -> Cause {
    Arc::new(Injected(what))
}

/// An engine in memory that fails by its seed. Several may share one disk, as receivers share a database.
struct Simulated {
    disk: Arc<Mutex<Disk>>,
    chance: Chance,
    /// Of 100 batches, how many fail at each place.
    failing: u64,
}

impl Simulated {
    fn fails(&mut self) -> bool {
        self.chance.below(100) < self.failing
    }

    async fn takes_a_while(&mut self) {
        for _ in 0..self.chance.below(4) {
            yield_now().await;
        }
    }

    fn write(disk: &mut Disk, row: &Row) -> Receipt {
        match disk.events.get_mut(&row.key) {
            Some(known) if known.body_sha256 == row.body_sha256 => {
                known.duplicates += 1;
                return Receipt::Duplicate;
            }
            Some(_) => {
                let aside = Stored {
                    body_sha256: row.body_sha256,
                    times: 0,
                    duplicates: 0,
                };
                let aside = disk.events.entry(row.conflict_key()).or_insert(aside);
                if aside.times == 1 {
                    aside.duplicates += 1;
                    return Receipt::Duplicate;
                }
                aside.times = 1;
                return Receipt::Conflict;
            }
            None => {}
        }
        disk.events.insert(
            row.key,
            Stored {
                body_sha256: row.body_sha256,
                times: 1,
                duplicates: 0,
            },
        );
        if let Some(claim) = &row.claim {
            disk.payments
                .entry(claim.payment_key)
                .and_modify(|payment| {
                    payment.apply(&claim.claim);
                })
                .or_insert_with(|| Payment::new(&claim.claim));
        }
        Receipt::Accepted
    }
}

impl Engine for Simulated {
    type Row = Row;

    fn prepare(event: Event) -> Row {
        Row::prepare(event)
    }

    fn bytes(row: &Row) -> usize {
        row.bytes()
    }

    async fn commit(
        &mut self,
        batch: &[Vec<Row>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        self.takes_a_while().await;
        if self.fails() {
            return Err(BatchFailure::Unavailable(injected("begin")));
        }
        let bad_delivery = if self.fails() {
            self.chance.below(batch.len() as u64) as usize
        } else {
            usize::MAX
        };
        if isolation == Isolation::Together && bad_delivery != usize::MAX {
            return Err(BatchFailure::Row(injected("row")));
        }
        if self.fails() {
            self.takes_a_while().await;
            return Err(BatchFailure::Commit(injected("commit, nothing durable")));
        }
        self.takes_a_while().await;
        let mut outcomes = Vec::new();
        {
            let mut disk = self.disk.lock().unwrap();
            for (index, delivery) in batch.iter().enumerate() {
                outcomes.push(if index == bad_delivery {
                    Err(injected("row"))
                } else {
                    Ok(delivery
                        .iter()
                        .map(|row| Self::write(&mut disk, row))
                        .collect())
                });
            }
            disk.commits += 1;
        }
        self.takes_a_while().await;
        if self.fails() {
            return Err(BatchFailure::Commit(injected("commit, everything durable")));
        }
        Ok(outcomes)
    }

    async fn tidy(&mut self) {
        self.takes_a_while().await;
    }
}

/// Sends until it is acknowledged, hanging up now and then.
async fn send(
    inbox: &GroupCommit<Simulated>,
    delivery: Vec<Event>,
    chance: &mut Chance,
    seed: u64,
) -> Vec<Receipt> {
    for _ in 0..10_000 {
        let patience = if chance.below(5) == 0 {
            chance.below(6)
        } else {
            u64::MAX
        };
        let hang_up = async {
            for _ in 0..patience {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answer = inbox.accept(delivery.clone()) => match answer {
                Ok(receipts) => return receipts,
                Err(InboxFailure::ShuttingDown) => panic!("seed {seed}: nobody closed it"),
                // A full queue answers at once: the writer must have a turn.
                Err(_) => yield_now().await,
            },
            () = hang_up => {}
        }
    }
    panic!("seed {seed}: never acknowledged");
}

async fn simulate(seed: u64) {
    let mut chance = Chance(seed);
    let disk = Arc::new(Mutex::new(Disk::default()));
    let failing = chance.below(25);
    let engines = (0..=chance.below(3))
        .map(|number| Simulated {
            disk: Arc::clone(&disk),
            chance: Chance(seed ^ (number << 40)),
            failing,
        })
        .collect();
    let limits = Limits {
        queue_deliveries: 1 + chance.below(20) as usize,
        queue_bytes: 2000 + chance.below(20_000) as usize,
        batch_deliveries: 1 + chance.below(8) as usize,
        wait: Duration::from_secs(600),
    };
    let (inbox, writers) = GroupCommit::new(engines, limits);
    let inbox = Arc::new(inbox);
    let mut running = JoinSet::new();
    for writer in writers {
        running.spawn(async move { drop(writer.run().await) });
    }

    // Few ids and few payments, so that duplicates, conflicts and neighbours are common.
    let statuses = ["pending", "authorized", "succeeded", "refunded"];
    let events: Vec<Event> = (0..6 + chance.below(20))
        .map(|number| {
            let payment = format!("pay_{}", chance.below(3));
            let status = statuses[chance.below(4) as usize];
            payment_event(
                &format!("evt_{number}"),
                &payment,
                status,
                chance.below(5) as i64,
            )
        })
        .collect();
    let mut senders = JoinSet::new();
    for number in 0..1 + chance.below(5) {
        let mut chance = Chance(seed ^ (number << 50) ^ 1);
        let mut mine = events.clone();
        chance.shuffle(&mut mine);
        if chance.below(3) == 0
            && let Some(last) = mine.last_mut()
        {
            // A sender that takes an id for another body: kept aside, unless it comes first.
            *last = with_body(
                Event {
                    payment: None,
                    ..last.clone()
                },
                "{\"another\":true}",
            );
        }
        let inbox = Arc::clone(&inbox);
        senders.spawn(async move {
            let mut sent = Vec::new();
            while !mine.is_empty() {
                let rest = mine.split_off(mine.len().min(1 + chance.below(3) as usize));
                let delivery = std::mem::replace(&mut mine, rest);
                let receipts = send(&inbox, delivery.clone(), &mut chance, seed).await;
                assert_eq!(receipts.len(), delivery.len(), "seed {seed}");
                sent.extend(delivery);
            }
            sent
        });
    }
    let acknowledged: Vec<Event> = senders.join_all().await.into_iter().flatten().collect();
    inbox.close();
    running.join_all().await;

    let disk = disk.lock().unwrap();
    let mut model: BTreeMap<[u8; 16], Payment> = BTreeMap::new();
    let mut counted = HashSet::new();
    for event in acknowledged {
        let row = Row::prepare(event);
        let stored = disk
            .events
            .get(&row.key)
            .unwrap_or_else(|| panic!("seed {seed}: {} is lost", row.event_id));
        let is_the_accepted_one = stored.body_sha256 == row.body_sha256;
        if !is_the_accepted_one {
            let aside = disk.events.get(&row.conflict_key());
            assert!(
                aside.is_some_and(|aside| aside.times == 1),
                "seed {seed}: conflict {} is lost",
                row.event_id
            );
        } else if counted.insert(row.key)
            && let Some(claim) = row.claim
        {
            assert_eq!(stored.times, 1, "seed {seed}");
            model
                .entry(payment_key(claim.claim.payment_id()))
                .and_modify(|payment| {
                    payment.apply(&claim.claim);
                })
                .or_insert_with(|| Payment::new(&claim.claim));
        }
    }
    assert_eq!(disk.payments, model, "seed {seed}");
    assert_eq!(inbox.queued_bytes(), 0, "seed {seed}");
}

#[test]
fn whatever_fails_an_acknowledged_event_is_stored_once_and_the_ledger_is_the_models() {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        << 20;
    println!("seeds 0..{SCHEDULES}, and {fresh}..{}", fresh + SCHEDULES);
    for seed in (0..SCHEDULES).chain(fresh..fresh + SCHEDULES) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(simulate(seed));
    }
}
