//! Pruning: one pass over what has had its time, by a receiver beside its deliveries or by a command beside a receiver.
//!
//! Every step is small, and pauses follow the longer the more a step took, so that deliveries hardly notice. A pass that is
//! broken off has let go what it has let go; the next one begins where things are.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::asked::{Asked, pause_after};
use super::keep::{Clock, Cutoffs, Retention, moment, settled};
use super::pruned::{PruneFailure, Pruned, Tally};
use super::pruner::Pruner;
use crate::store::postgres;
use crate::store::postgres::address::Target;
use crate::store::reading::{Readers, Views};
use crate::store::sqlite;
use crate::store::sqlite::retention::{Going, Step, beginning};
use crate::store::uptime::uptime;
use crate::store::{Store, StoreFault, Url};

/// Steps after which a command moves SQLite's log into its file: no receiver may be there to do it.
const STEPS_PER_CHECKPOINT: u32 = 64;

/// How often a command comes again while a receiver prunes.
const TRIES: u32 = 100;

/// A pass that somebody asks for.
#[derive(Clone, Debug)]
pub struct Prune {
    /// This tenant's things alone.
    pub tenant: Option<String>,
    /// Whether the clock's word is taken.
    pub clock: Clock,
}

impl Store {
    /// Lets go what has had its time, in small steps beside the deliveries.
    pub async fn prune(
        &self,
        pruner: &mut Pruner,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Pruned, PruneFailure> {
        self.prune_until(pruner, retention, now, pending()).await
    }

    /// The same, until `over` resolves: a pass may last for hours, and what it goes by may be withdrawn meanwhile.
    pub async fn prune_until(
        &self,
        pruner: &mut Pruner,
        retention: &Retention,
        now: Timestamp,
        over: impl Future<Output = ()>,
    ) -> Result<Pruned, PruneFailure> {
        // Also while nothing is to go: a reload may change that under a clock that was set.
        let known = pruner.known.at_most(now.as_microsecond(), uptime());
        if !retention.is_limited() {
            return Ok(Pruned::default());
        }
        let (end, ended) = watch::channel(false);
        let asked = Asked {
            retention,
            now: known,
            clock: Clock::Doubted,
            tenant: None,
            tries: 0,
            over: ended,
        };
        let ending = async {
            over.await;
            end.send_replace(true);
            pending::<Infallible>().await
        };
        let mut pruned = tokio::select! {
            pruned = self.pass(&asked, pruner) => pruned?,
            never = ending => match never {},
        };
        if known < now.as_microsecond() {
            pruned.held_back = true;
            pruned.known = Some(moment(known));
        }
        Ok(pruned)
    }

    async fn pass(&self, asked: &Asked<'_>, pruner: &mut Pruner) -> Result<Pruned, PruneFailure> {
        match (self.engines.database(), self.views.file()) {
            // The writers' target: to make another each time would read the files that the address names on a thread of the runtime.
            (Some((target, _)), _) => postgres::retention::pass(&target, asked, pruner).await,
            (None, Some(readers)) => pass(readers, &mut Hand::Writer(self), asked, pruner).await,
            (None, None) => Ok(Pruned::default()),
        }
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
                let connection = sqlite::open(path)?;
                let mut hand = Hand::Own {
                    connection: Some(connection),
                    place: Arc::new(sqlite::place::Place::of(path)),
                    steps: 0,
                };
                let passed = pass(readers, &mut hand, &asked, pruner).await;
                hand.close();
                passed
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
            over: watch::channel(false).1,
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
        place: Arc<sqlite::place::Place>,
        steps: u32,
    },
}

impl Hand<'_> {
    async fn take(&mut self, step: Step) -> Result<Tally, PruneFailure> {
        let (connection, place, steps) = match self {
            Self::Writer(store) => return store.take(step).await,
            Self::Own {
                connection,
                place,
                steps,
            } => (connection, Arc::clone(place), steps),
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
                // What cannot be moved now stays in the log, and is moved later.
                place.bound_log(&own, 1);
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

    /// Moves what is in the log into the file.
    fn close(self) {
        if let Self::Own {
            connection: Some(connection),
            place,
            ..
        } = self
        {
            sqlite::file::leave(&place, &connection);
        }
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
                // Between two steps: what one has let go is counted.
                if asked.is_over() {
                    pruned.left_for_later = true;
                    return Ok(pruned);
                }
                let look = move |connection: &Connection| {
                    sqlite::retention::look(connection, number, going, before, from)
                };
                let found = readers.read(look).await?;
                let began = Instant::now();
                if !found.step.events.is_empty() {
                    pruned.add(&tenant, hand.take(found.step).await?);
                    pause_after(began.elapsed(), asked).await;
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::keep::Keep;
    use super::*;
    use crate::inbox::Inbox as _;
    use crate::store::fixtures::*;
    use crate::store::postgres::session::{Purpose, Session};

    /// When the fixtures' events come, in seconds.
    const CAME: i64 = 1_790_000_010;
    /// More than one step takes.
    const EVENTS: u64 = 2000;

    async fn filled(store: &Store) -> Retention {
        let events = (0..EVENTS).map(|number| event(&format!("evt_{number}")));
        store.accept(events.collect()).await.unwrap();
        let witness = received(event("witness"), CAME + 59 * DAY_SECONDS);
        accept(store, witness).await;
        let keep = Keep {
            bodies_days: Some(30),
            ..Keep::default()
        };
        Retention::new(keep, HashMap::new())
    }

    /// What the pass says that ended, and how many bodies it let go.
    async fn is_over_once_told(place: &Place, bodies: impl AsyncFn() -> i64) -> (Pruned, i64) {
        let store = place.open().await;
        let retention = filled(&store).await;
        let (mut pruner, now) = (Pruner::default(), at(CAME + 60 * DAY_SECONDS));
        let all = bodies().await;
        let begun = async {
            while bodies().await == all {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = store.prune_until(&mut pruner, &retention, now, begun).await;
        let ended = ended.unwrap();
        assert!(ended.left_for_later && !ended.went_through, "{ended:?}");
        let left = bodies().await;
        assert!((2..all).contains(&left), "{left}");
        // The next one begins where things are.
        let mut gone = 0;
        while bodies().await > 1 {
            let pruned = store.prune(&mut pruner, &retention, now).await.unwrap();
            gone += i64::try_from(pruned.total().bodies).unwrap();
        }
        assert!((1..left).contains(&gone), "{gone} of {left}");
        (ended, all - left)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pass_over_a_file_ends_between_two_steps_once_nobody_wants_it() {
        let place = Place::sqlite();
        let bodies = async || {
            let connection = Connection::open(place.file()).unwrap();
            let count = "SELECT count(*) FROM bodies";
            connection
                .query_row(count, [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        let (ended, gone) = is_over_once_told(&place, bodies).await;
        assert_eq!(i64::try_from(ended.total().bodies).unwrap(), gone);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_over_a_database_ends_at_once_and_holds_up_no_other() {
        let Some(place) = Place::postgres() else {
            return;
        };
        let Url::Postgres(address) = &place.url else {
            panic!("no PostgreSQL");
        };
        let target = Target::load(address).unwrap();
        drop(place.open().await);
        let session = Session::open(&target, Purpose::Read).await.unwrap();
        let bodies = async || {
            let count = "SELECT count(*) FROM countersign.bodies";
            let rows = session.client.query(count, &[]).await.unwrap();
            rows[0].get::<_, i64>(0)
        };
        let (ended, gone) = is_over_once_told(&place, bodies).await;
        assert_eq!(i64::try_from(ended.total().bodies).unwrap(), gone);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_over_a_database_leaves_no_statement_with_its_locks_behind() {
        let Some(place) = Place::postgres() else {
            return;
        };
        let Url::Postgres(address) = &place.url else {
            panic!("no PostgreSQL");
        };
        let target = Target::load(address).unwrap();
        let store = place.open().await;
        let retention = filled(&store).await;
        let session = Session::open(&target, Purpose::Read).await.unwrap();
        let slowly = "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep(60); RETURN OLD; END';
             CREATE TRIGGER dawdle BEFORE DELETE ON countersign.bodies FOR EACH ROW EXECUTE FUNCTION public.dawdle()";
        session.client.batch_execute(slowly).await.unwrap();
        let has_locks = async || {
            let count = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.locktype = 'advisory'";
            let rows = session.client.query(count, &[]).await.unwrap();
            rows[0].get::<_, i64>(0) > 0
        };
        let until = async |wanted: bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while has_locks().await != wanted {
                assert!(Instant::now() < deadline, "locks: not {wanted}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let (mut pruner, now) = (Pruner::default(), at(CAME + 60 * DAY_SECONDS));
        let ended = store.prune_until(&mut pruner, &retention, now, until(true));
        let ended = ended.await.unwrap();
        assert!(ended.left_for_later && !ended.went_through, "{ended:?}");
        assert_eq!(ended.total().bodies, 0);
        until(false).await;
    }
}
