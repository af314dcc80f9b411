//! Group commit under injected faults, one deterministic schedule for each seed.
//!
//! Senders send events, some of them twice and some under a taken id, until each is acknowledged; some hang up in
//! between. The engines, one or several before one disk, fail now and then: at the beginning, at a row, at the commit
//! before it is durable, and after; they hang for longer than a delivery waits, and they panic. The receiver is stopped
//! and killed in the middle, and starts again on the same disk. Time is tokio's own, paused, so it costs none.
//!
//! Whatever happens, each acknowledged event is stored exactly once, and the ledger is what a model makes of the set of
//! stored events; a delivery waits for as long as it may and no longer; and whoever was queued before an orderly stop is
//! answered by an engine. On failure the message tells the seed; `COUNTERSIGN_SIMULATION_SEED` runs that one alone.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};

use super::fixtures::{Chance, payment_event, with_body};
use super::row::{Row, payment_key};
use crate::inbox::{
    BatchFailure, Cause, Engine, Event, GroupCommit, InboxFailure, Isolation, Limits, Outcome,
    Receipt, WriterGone,
};
use crate::payments::Payment;

/// As many with seeds that are always the same, and as many with new ones.
const SCHEDULES: u64 = 2000;
/// How long a delivery waits. A batch takes a tenth of it, unless it hangs.
const WAIT: Duration = Duration::from_millis(50);

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
    course: Arc<Course>,
    chance: Chance,
    /// Of 100 batches, how many fail at each place.
    failing: u64,
    /// Set once an engine of this life has panicked.
    panicked: Arc<AtomicBool>,
}

/// What happened in a schedule: in which order, as a hash, and how often.
#[derive(Default)]
struct Course {
    order: Mutex<DefaultHasher>,
    tally: Mutex<BTreeMap<&'static str, u64>>,
}

impl Course {
    fn note(&self, what: &'static str, of: impl Hash) {
        let mut order = self.order.lock().unwrap();
        (what, of).hash(&mut *order);
        *self.tally.lock().unwrap().entry(what).or_default() += 1;
    }
}

impl Simulated {
    fn fails(&mut self) -> bool {
        self.chance.below(100) < self.failing
    }

    async fn takes_a_while(&mut self) {
        for _ in 0..self.chance.below(3) {
            yield_now().await;
        }
        if self.chance.below(3) == 0 {
            sleep(Duration::from_millis(self.chance.below(3))).await;
        }
    }

    /// Between two steps of a batch: it may be for longer than anybody waits, or for ever.
    async fn pauses(&mut self) {
        self.takes_a_while().await;
        match self.chance.below(1000) {
            // Without the message of a panic, of which there are thousands.
            0..3 if self.failing > 0 => {
                self.course.note("panic", ());
                self.panicked.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(Box::new(Injected("panic")))
            }
            3..10 if self.failing > 0 => {
                self.course.note("hang", ());
                sleep(WAIT * 2).await;
            }
            _ => {}
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
        self.course.note("batch", batch.len());
        self.pauses().await;
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
            self.pauses().await;
            return Err(BatchFailure::Commit(injected("commit, nothing durable")));
        }
        self.pauses().await;
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
        self.pauses().await;
        if self.fails() {
            return Err(BatchFailure::Commit(injected("commit, everything durable")));
        }
        Ok(outcomes)
    }

    async fn tidy(&mut self) {
        self.takes_a_while().await;
    }
}

/// One life of a receiver.
struct Life {
    inbox: GroupCommit<Simulated>,
    /// It was killed, so that nobody owes anybody an answer.
    killed: AtomicBool,
    panicked: Arc<AtomicBool>,
}

/// What outlives a receiver.
struct World {
    disk: Arc<Mutex<Disk>>,
    course: Arc<Course>,
    failing: u64,
    limits: Limits,
    life: Mutex<Option<Arc<Life>>>,
}

impl World {
    /// Starts the receiver, and what writes for it.
    fn begin(&self, chance: &mut Chance, writers: &mut JoinSet<()>) -> Arc<Life> {
        let panicked = Arc::new(AtomicBool::new(false));
        let engines = (0..=chance.below(3))
            .map(|_| Simulated {
                disk: Arc::clone(&self.disk),
                course: Arc::clone(&self.course),
                chance: Chance(chance.below(u64::MAX)),
                failing: self.failing,
                panicked: Arc::clone(&panicked),
            })
            .collect();
        let (inbox, to_run) = GroupCommit::new(engines, self.limits);
        for writer in to_run {
            writers.spawn(async move { drop(writer.run().await) });
        }
        let life = Arc::new(Life {
            inbox,
            killed: AtomicBool::new(false),
            panicked,
        });
        *self.life.lock().unwrap() = Some(Arc::clone(&life));
        life
    }

    /// Sends until it is acknowledged, hanging up now and then.
    async fn send(&self, delivery: Vec<Event>, chance: &mut Chance) -> Vec<Receipt> {
        for _ in 0..10_000 {
            let patience = if chance.below(5) == 0 {
                chance.below(6)
            } else {
                u64::MAX
            };
            let hang_up = async {
                for _ in 0..patience.min(6) {
                    yield_now().await;
                }
                if patience == u64::MAX {
                    std::future::pending::<()>().await;
                }
            };
            let life = self.life.lock().unwrap().clone();
            if let Some(life) = life {
                let began = Instant::now();
                let answer = tokio::select! {
                    biased;
                    answer = life.inbox.accept(delivery.clone()) => Some(answer),
                    () = hang_up => None,
                };
                let waited = began.elapsed();
                assert!(waited <= WAIT + Duration::from_millis(2), "{waited:?}");
                match answer {
                    Some(Ok(receipts)) => {
                        self.course.note("acknowledged", receipts.len());
                        return receipts;
                    }
                    Some(Err(failure)) => {
                        self.course.note(failure.name(), ());
                        life.may_answer(&failure, waited);
                    }
                    None => self.course.note("hung up", ()),
                }
            }
            // A provider comes again later. It must not be at once: time passes only while nobody has anything to do.
            sleep(Duration::from_millis(1 + chance.below(12))).await;
        }
        panic!("never acknowledged");
    }
}

impl Life {
    fn may_answer(&self, failure: &InboxFailure, waited: Duration) {
        match failure {
            InboxFailure::TimedOut { .. } => assert!(waited >= WAIT, "{waited:?}"),
            InboxFailure::Commit { source } | InboxFailure::Unavailable { source } => {
                let excused =
                    self.killed.load(Ordering::Relaxed) || self.panicked.load(Ordering::Relaxed);
                assert!(excused || !source.is::<WriterGone>(), "{failure}");
            }
            InboxFailure::QueueFull | InboxFailure::ShuttingDown => {
                assert!(waited.is_zero(), "{waited:?}");
            }
            InboxFailure::Row { .. } => {}
        }
    }
}

/// What a task ended with: a defect goes on, what was injected does not.
fn ended<T>(result: Result<T, tokio::task::JoinError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_cancelled() => None,
        Err(error) => {
            let panic: Box<dyn Any + Send> = error.into_panic();
            if !panic.is::<Injected>() {
                std::panic::resume_unwind(panic);
            }
            None
        }
    }
}

/// Few ids and few payments, so that duplicates, conflicts and neighbours are common.
fn events_by(chance: &mut Chance) -> Vec<Event> {
    let statuses = ["pending", "authorized", "succeeded", "refunded"];
    (0..4 + chance.below(14))
        .map(|number| {
            let payment = format!("pay_{}", chance.below(3));
            let status = statuses[chance.below(4) as usize];
            let second = chance.below(5) as i64;
            payment_event(&format!("evt_{number}"), &payment, status, second)
        })
        .collect()
}

/// Tells all events in an order of its own; what it was answered to each.
async fn tell(world: Arc<World>, events: Vec<Event>, chance: Chance) -> Vec<(Event, Receipt)> {
    let mut chance = chance;
    let mut mine = events;
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
    let mut answered = Vec::new();
    while !mine.is_empty() {
        let rest = mine.split_off(mine.len().min(1 + chance.below(3) as usize));
        let delivery = std::mem::replace(&mut mine, rest);
        let receipts = world.send(delivery.clone(), &mut chance).await;
        assert_eq!(receipts.len(), delivery.len());
        answered.extend(delivery.into_iter().zip(receipts));
    }
    answered
}

async fn simulate(seed: u64) -> Arc<Course> {
    let mut chance = Chance(seed);
    let world = Arc::new(World {
        disk: Arc::default(),
        course: Arc::default(),
        failing: chance.below(20),
        limits: Limits {
            queue_deliveries: 1 + chance.below(20) as usize,
            queue_bytes: 2000 + chance.below(20_000) as usize,
            batch_deliveries: 1 + chance.below(8) as usize,
            batch_events: 1 + chance.below(16) as usize,
            wait: WAIT,
            gather: Duration::from_millis(chance.below(4)),
        },
        life: Mutex::new(None),
    });
    let events = events_by(&mut chance);
    let mut senders = JoinSet::new();
    for _ in 0..1 + chance.below(4) {
        let own = Chance(chance.below(u64::MAX));
        senders.spawn(tell(Arc::clone(&world), events.clone(), own));
    }

    let mut acknowledged = Vec::new();
    while !senders.is_empty() {
        let mut writers = JoinSet::new();
        let life = world.begin(&mut chance, &mut writers);
        let mut end = Instant::now() + Duration::from_millis(5 + chance.below(300));
        loop {
            tokio::select! {
                biased;
                told = senders.join_next() => match told {
                    Some(told) => acknowledged.extend(ended(told).into_iter().flatten()),
                    None => break,
                },
                Some(written) = writers.join_next() => {
                    ended(written);
                    if writers.is_empty() {
                        // Nobody writes any more: somebody sees that, and starts it again.
                        end = end.min(Instant::now() + Duration::from_millis(5));
                    }
                }
                () = tokio::time::sleep_until(end) => break,
            }
        }
        if chance.below(2) == 0 && !senders.is_empty() {
            world.course.note("killed", ());
            life.killed.store(true, Ordering::Relaxed);
            writers.abort_all();
        } else {
            world.course.note("stopped", ());
            life.inbox.close();
        }
        while let Some(written) = writers.join_next().await {
            ended(written);
        }
        if !life.killed.load(Ordering::Relaxed) && !life.panicked.load(Ordering::Relaxed) {
            assert_eq!(life.inbox.queued_bytes(), 0);
        }
        world.life.lock().unwrap().take();
    }
    judge(&world.disk.lock().unwrap(), acknowledged);
    Arc::clone(&world.course)
}

/// Holds what is durable against what was acknowledged.
fn judge(disk: &Disk, acknowledged: Vec<(Event, Receipt)>) {
    let mut model: BTreeMap<[u8; 16], Payment> = BTreeMap::new();
    let mut counted: HashMap<[u8; 16], u32> = HashMap::new();
    for (event, receipt) in acknowledged {
        let row = Row::prepare(event);
        let stored = disk
            .events
            .get(&row.key)
            .unwrap_or_else(|| panic!("{} is lost", row.event_id));
        if stored.body_sha256 != row.body_sha256 {
            let aside = disk.events.get(&row.conflict_key());
            let kept = aside.is_some_and(|aside| aside.times == 1);
            assert!(kept, "conflict {} is lost", row.event_id);
            assert_ne!(receipt, Receipt::Accepted, "{}", row.event_id);
            continue;
        }
        let first = !counted.contains_key(&row.key);
        let accepted = counted.entry(row.key).or_default();
        *accepted += u32::from(receipt == Receipt::Accepted);
        assert!(*accepted <= 1, "{} was accepted twice", row.event_id);
        if first && let Some(claim) = row.claim {
            assert_eq!(stored.times, 1);
            model
                .entry(payment_key(claim.claim.payment_id()))
                .and_modify(|payment| {
                    payment.apply(&claim.claim);
                })
                .or_insert_with(|| Payment::new(&claim.claim));
        }
    }
    assert_eq!(disk.payments, model);
}

/// Runs one schedule, in no time.
fn run(seed: u64) -> Arc<Course> {
    struct TellSeed(u64);
    impl Drop for TellSeed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let again = "cargo test --lib store::simulation -- --nocapture";
                eprintln!("again: COUNTERSIGN_SIMULATION_SEED={} {again}", self.0);
            }
        }
    }
    let _tell = TellSeed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(simulate(seed))
}

/// Runs one schedule for each seed, and sees that whatever can happen did.
fn run_all(seeds: Range<u64>) {
    println!("seeds {seeds:?}");
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        for (what, times) in &*run(seed).tally.lock().unwrap() {
            *tally.entry(what).or_default() += times;
        }
    }
    println!("{tally:?}");
    // A simulation in which something never happens says nothing of it.
    for what in [
        "acknowledged",
        "batch",
        "commit",
        "hang",
        "hung up",
        "killed",
        "panic",
        "queue_full",
        "row",
        "shutting_down",
        "stopped",
        "timed_out",
        "unavailable",
    ] {
        assert!(tally.get(what).is_some_and(|times| *times >= 100), "{what}");
    }
}

#[test]
fn whatever_fails_an_acknowledged_event_is_stored_once_and_the_ledger_is_the_models() {
    run_all(0..SCHEDULES);
}

#[test]
fn and_so_it_is_with_seeds_that_nobody_has_seen() {
    if let Ok(seed) = std::env::var("COUNTERSIGN_SIMULATION_SEED") {
        println!("{:?}", run(seed.parse().unwrap()).tally);
        return;
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let first = now.as_secs() << 20;
    run_all(first..first + SCHEDULES);
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in 0..50 {
        let order = |course: Arc<Course>| course.order.lock().unwrap().finish();
        assert_eq!(order(run(seed)), order(run(seed)), "seed {seed}");
    }
}
