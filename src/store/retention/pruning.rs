//! Pruning: one pass over what has had its time, by a receiver beside its deliveries or by a command beside a receiver.
//!
//! Every step is small, and pauses follow the longer the more a step took, so that deliveries hardly notice. A pass that is
//! broken off has let go what it has let go; the next one begins where things are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::clock::Known;
use super::keep::{Clock, Cutoffs, Retention, believable, moment, settled};
use super::pruned::{PruneFailure, Pruned, Tally};
use crate::store::postgres;
use crate::store::postgres::address::Target;
use crate::store::reading::{Readers, Views};
use crate::store::sqlite;
use crate::store::sqlite::retention::{Going, Position, Step, beginning};
use crate::store::uptime::uptime;
use crate::store::{Store, StoreFault, Url};

/// The shortest and the longest pause after a step.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// How many times as long as a step the pause after it is.
const PAUSE_FACTOR: u32 = 4;
/// How often everything is looked through anew, for what came with a time long past.
const ANEW_EVERY: Duration = Duration::from_secs(86_400);
/// Steps after which a command moves SQLite's log into its file: no receiver may be there to do it.
const STEPS_PER_CHECKPOINT: u32 = 64;

/// How many passes in a row somebody else's lock may end before that is a failure: another pruner or a reader is no fault.
const COLLISIONS_MAX: u32 = 5;
/// How often a command comes again while a receiver prunes.
const TRIES: u32 = 100;

/// What a receiver remembers from one pass to the next.
#[derive(Debug, Default)]
pub struct Pruner {
    known: Known,
    /// What was taken for now at the first pass, and when that was.
    began: Option<(i64, Duration)>,
    /// Passes in a row that somebody else's lock has ended.
    collisions: u32,
    /// When everything was last looked through.
    anew: Option<Instant>,
    /// How far each tenant's events were looked through for bodies.
    pub(super) positions: HashMap<i64, Position>,
    /// Partitions from which nothing more goes row by row, and the SHA-256 of the tenants of whom that was found.
    pub(in crate::store) swept: HashMap<String, [u8; 32]>,
}

/// A pass that somebody asks for.
#[derive(Clone, Debug)]
pub struct Prune {
    /// This tenant's things alone.
    pub tenant: Option<String>,
    /// Whether the clock's word is taken.
    pub clock: Clock,
}

/// What a pass goes by.
pub(in crate::store) struct Asked<'a> {
    pub(in crate::store) retention: &'a Retention,
    /// Microseconds, by the clock.
    pub(in crate::store) now: i64,
    pub(super) clock: Clock,
    pub(super) tenant: Option<&'a str>,
    /// How often to come again while another receiver is about it.
    pub(in crate::store) tries: u32,
}

impl Asked<'_> {
    pub(in crate::store) fn is_for(&self, tenant: &str) -> bool {
        self.tenant.is_none_or(|only| only == tenant)
    }
}

impl Pruner {
    /// Whether a lock of somebody else's, which has ended this pass, is waited for until the next.
    pub(in crate::store) fn gives_way(&mut self) -> bool {
        self.collisions = self.collisions.saturating_add(1);
        self.collisions < COLLISIONS_MAX
    }

    /// A pass came to its end.
    pub(in crate::store) fn went_through(&mut self) {
        self.collisions = 0;
    }

    /// What is taken for now, noted in `pruned`; `None` where nothing can have had its time.
    pub(in crate::store) fn believe(
        &mut self,
        asked: &Asked<'_>,
        witness: Option<i64>,
        pruned: &mut Pruned,
    ) -> Option<i64> {
        let now = match asked.clock {
            Clock::Trusted => Some(asked.now),
            Clock::Doubted => {
                let running = self
                    .began
                    .map(|(believed, at)| (believed, uptime().saturating_sub(at)));
                let believed = believable(asked.now, witness, running);
                pruned.held_back = believed.is_some_and(|believed| believed < asked.now);
                if let (None, Some(believed)) = (self.began, believed) {
                    self.began = Some((believed, uptime()));
                }
                believed
            }
        };
        pruned.believed = now.map(moment);
        if self.anew.is_none_or(|anew| anew.elapsed() >= ANEW_EVERY) {
            self.anew = Some(Instant::now());
            self.positions.clear();
            self.swept.clear();
        }
        now
    }
}

impl Store {
    /// Lets go what has had its time, in small steps beside the deliveries.
    pub async fn prune(
        &self,
        pruner: &mut Pruner,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Pruned, PruneFailure> {
        // Also while nothing is to go: a reload may change that under a clock that was set.
        let known = pruner.known.at_most(now.as_microsecond(), uptime());
        if !retention.is_limited() {
            return Ok(Pruned::default());
        }
        let asked = Asked {
            retention,
            now: known,
            clock: Clock::Doubted,
            tenant: None,
            tries: 0,
        };
        // The writers' target: to make another each time would read the files that the address names on a thread of the runtime.
        let mut pruned = match (self.engines.database(), self.views.file()) {
            (Some((target, _)), _) => postgres::retention::pass(&target, &asked, pruner).await?,
            (None, Some(readers)) => pass(readers, &mut Hand::Writer(self), &asked, pruner).await?,
            (None, None) => Pruned::default(),
        };
        if known < now.as_microsecond() {
            pruned.held_back = true;
            pruned.known = Some(moment(known));
        }
        Ok(pruned)
    }

    async fn take(&self, step: Step) -> Result<Tally, PruneFailure> {
        let taken = self.run_errand(&self.errands.pruning, step).await;
        taken.map_err(|source| PruneFailure::Writer { source })
    }
}

impl Prune {
    /// Lets go what has had its time, of a store that a receiver may be writing to.
    pub async fn run(
        &self,
        url: &Url,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Pruned, PruneFailure> {
        let asked = self.asked(retention, now);
        let pruner = &mut Pruner::default();
        match url {
            Url::Postgres(address) => {
                postgres::retention::pass(&Target::load(address)?, &asked, pruner).await
            }
            Url::Sqlite(path) => {
                let views = Views::open(url)?;
                let readers = views.file().ok_or_else(|| no_store(url))?;
                // Opening for writing makes a store where there is none: this one is there, and has our schema.
                readers.read(|_| Ok(())).await?;
                let mut hand = Hand::Own {
                    connection: Some(sqlite::open(path)?),
                    steps: 0,
                };
                pass(readers, &mut hand, &asked, pruner).await
            }
        }
    }

    /// Tells what would go, and lets nothing go.
    pub async fn rehearse(
        &self,
        url: &Url,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Pruned, PruneFailure> {
        let asked = self.asked(retention, now);
        match url {
            Url::Postgres(address) => {
                postgres::retention::rehearse(&Target::load(address)?, &asked).await
            }
            Url::Sqlite(_) => {
                let views = Views::open(url)?;
                let readers = views.file().ok_or_else(|| no_store(url))?;
                rehearse(readers, &asked).await
            }
        }
    }

    fn asked<'a>(&'a self, retention: &'a Retention, now: Timestamp) -> Asked<'a> {
        Asked {
            retention,
            now: now.as_microsecond(),
            clock: self.clock,
            tenant: self.tenant.as_deref(),
            tries: TRIES,
        }
    }
}

fn no_store(url: &Url) -> StoreFault {
    StoreFault::NoStore {
        path: url.to_string().into(),
    }
}

/// Who takes the steps of a pass over the embedded store.
enum Hand<'a> {
    /// The receiver's one writer, between its batches.
    Writer(&'a Store),
    /// A connection of our own, which waits for the writer's turn as another process does.
    Own {
        connection: Option<Connection>,
        steps: u32,
    },
}

impl Hand<'_> {
    async fn take(&mut self, step: Step) -> Result<Tally, PruneFailure> {
        let (connection, steps) = match self {
            Self::Writer(store) => return store.take(step).await,
            Self::Own { connection, steps } => (connection, steps),
        };
        *steps = steps.wrapping_add(1);
        let checkpoint = steps.is_multiple_of(STEPS_PER_CHECKPOINT);
        let Some(mut own) = connection.take() else {
            return Ok(Tally::default());
        };
        let work = move || {
            let taken = own
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .and_then(|transaction| {
                    let tally = sqlite::retention::take(&transaction, &step)?;
                    transaction.commit()?;
                    Ok(tally)
                });
            if checkpoint {
                // What can not be moved now stays in the log, and is moved later.
                let _moved = own.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            }
            (own, taken)
        };
        let (own, taken) = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => {
                return Err(PruneFailure::Statement {
                    source: error.into(),
                });
            }
        };
        *connection = Some(own);
        taken.map_err(PruneFailure::from)
    }
}

/// What goes, in this order, and what was received before when.
fn goings(cutoffs: Cutoffs) -> impl Iterator<Item = (Going, i64)> {
    let events = if cutoffs.forget_nothing() {
        Going::EventsAndKeys
    } else {
        Going::Events
    };
    let all = [
        (Going::Bodies, cutoffs.bodies),
        (events, cutoffs.events),
        (Going::Keys, cutoffs.keys),
    ];
    all.into_iter()
        .filter_map(|(going, before)| Some((going, before?)))
}

async fn pass(
    readers: &Arc<Readers>,
    hand: &mut Hand<'_>,
    asked: &Asked<'_>,
    pruner: &mut Pruner,
) -> Result<Pruned, PruneFailure> {
    let mut pruned = Pruned::default();
    let tenants = readers.read(sqlite::retention::tenants).await?;
    let witness = witness(readers, asked).await?;
    let now = pruner.believe(asked, witness, &mut pruned);
    for (number, tenant) in tenants {
        if !asked.is_for(&tenant) {
            continue;
        }
        pruned.add(&tenant, Tally::default());
        let Some(now) = now else { continue };
        for (going, before) in goings(asked.retention.of(&tenant).cutoffs(now)) {
            let remembered = pruner.positions.get(&number).copied();
            let remembered = remembered.filter(|_| going == Going::Bodies);
            let mut from = remembered.unwrap_or_else(|| beginning(going));
            loop {
                let look = move |connection: &Connection| {
                    sqlite::retention::look(connection, number, going, before, from)
                };
                let found = readers.read(look).await?;
                let began = Instant::now();
                if !found.step.events.is_empty() {
                    pruned.add(&tenant, hand.take(found.step).await?);
                    pause_after(began.elapsed()).await;
                }
                from = found.position;
                if going == Going::Bodies {
                    pruner.positions.insert(number, from);
                }
                if found.ended {
                    break;
                }
            }
        }
    }
    pruned.went_through = true;
    Ok(pruned)
}

async fn rehearse(readers: &Arc<Readers>, asked: &Asked<'_>) -> Result<Pruned, PruneFailure> {
    let mut pruned = Pruned::default();
    let tenants = readers.read(sqlite::retention::tenants).await?;
    let witness = witness(readers, asked).await?;
    let now = Pruner::default().believe(asked, witness, &mut pruned);
    for (number, tenant) in tenants {
        if !asked.is_for(&tenant) {
            continue;
        }
        let tally = match now {
            Some(now) => {
                let cutoffs = asked.retention.of(&tenant).cutoffs(now);
                readers
                    .read(move |connection| sqlite::retention::count(connection, number, cutoffs))
                    .await?
            }
            None => Tally::default(),
        };
        pruned.add(&tenant, tally);
    }
    Ok(pruned)
}

async fn witness(readers: &Arc<Readers>, asked: &Asked<'_>) -> Result<Option<i64>, PruneFailure> {
    let settled = settled(asked.now);
    let witness = move |connection: &Connection| sqlite::retention::witness(connection, settled);
    Ok(readers.read(witness).await?)
}

/// Leaves the store to the deliveries for a while.
pub(in crate::store) async fn pause_after(took: Duration) {
    let pause = took.saturating_mul(PAUSE_FACTOR);
    tokio::time::sleep(pause.clamp(PAUSES.0, PAUSES.1)).await;
}
