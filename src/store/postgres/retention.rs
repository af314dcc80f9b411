//! Pruning PostgreSQL. Bodies go by whole partitions once nobody keeps anything in them; what lies beside somebody's who keeps
//! it longer, and what the default partition took, goes by small steps, and so do events.
//!
//! Everything goes by whole days (UTC), as partitions do. Each step is a transaction that begins with an advisory lock, so of
//! several receivers one prunes at a time; and it waits for no delivery: rows that one holds are passed over, and the lock
//! that a partition goes under is asked for so briefly that whoever comes behind hardly notices.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::address::Target;
use super::session::{Meaning, Purpose, Session, meaning};
use super::steps::{
    Going, Partition, STEP_ROWS, Whole, count_bodies, count_events, count_whole, delete_bodies,
    drop_whole, let_events_go, needed, overdue, partitions, witness,
};
use super::text::give_back;
use crate::store::retention::asked::{Asked, pause_after};
use crate::store::retention::keep::Cutoffs;
use crate::store::retention::pruned::{PruneFailure, Pruned, Tally};
use crate::store::retention::pruner::Pruner;

/// How long counting what goes whole may take. Nobody waits for it.
const COUNT_MAX: Duration = Duration::from_secs(600);
/// The pause before another receiver's step is expected to be over.
const ANOTHER: Duration = Duration::from_millis(100);
/// How often a command tries to drop a partition that a reader holds, and the pause before it tries again.
const COLLISIONS_MAX: u32 = 5;
const COLLISION: Duration = Duration::from_secs(1);
/// How long the answer to a statement is waited for that the server was told to stop.
const STOPPING_MAX: Duration = Duration::from_secs(2);

struct Tenant {
    /// As the database has it.
    held: String,
    name: String,
    cutoffs: Cutoffs,
}

/// One pass, by a session of its own.
struct Pass<'a> {
    session: Session,
    limit: Duration,
    asked: &'a Asked<'a>,
    pruned: Pruned,
    /// How often to come again while another receiver is about it.
    tries: u32,
    /// Whether the rest is left to it.
    left: bool,
    /// Whether a reader holds partitions, so that none is dropped this time.
    occupied: bool,
}

pub(in crate::store) async fn pass(
    target: &Target,
    asked: &Asked<'_>,
    pruner: &mut Pruner,
) -> Result<Pruned, PruneFailure> {
    let mut pass = tokio::select! {
        opened = open(target, Purpose::Change, asked) => opened?,
        () = asked.over() => {
            return Ok(Pruned {
                left_for_later: true,
                ..Pruned::default()
            });
        }
    };
    let ran = pass.run_until_over(pruner).await;
    if asked.is_over() {
        pass.session.abandon().await;
        pass.pruned.left_for_later = true;
        return Ok(pass.pruned);
    }
    match ran {
        Ok(()) => {
            pruner.went_through();
            pass.pruned.left_for_later = pass.left || pass.occupied;
            pass.pruned.went_through = true;
            Ok(pass.pruned)
        }
        Err(failure) => {
            // The server must not go on, with its locks, when nobody waits for it.
            pass.session.abandon().await;
            if has_collided(&failure) && pruner.gives_way() {
                tracing::debug!(
                    error = &failure as &dyn std::error::Error,
                    "another session holds what is to be pruned; it is pruned another time"
                );
                pass.pruned.left_for_later = true;
                return Ok(pass.pruned);
            }
            Err(failure)
        }
    }
}

/// Tells what a pass would let go.
pub(in crate::store) async fn rehearse(
    target: &Target,
    asked: &Asked<'_>,
) -> Result<Pruned, PruneFailure> {
    let mut pass = open(target, Purpose::Read, asked).await?;
    match pass.count().await {
        Ok(()) => Ok(pass.pruned),
        Err(failure) => {
            pass.session.abandon().await;
            Err(failure)
        }
    }
}

async fn open<'a>(
    target: &Target,
    purpose: Purpose,
    asked: &'a Asked<'a>,
) -> Result<Pass<'a>, PruneFailure> {
    let session = Session::open(target, purpose)
        .await
        .map_err(|failure| failure.into_fault(&target.place))?;
    Ok(Pass {
        session,
        limit: target.access.statement_timeout,
        asked,
        pruned: Pruned::default(),
        tries: asked.tries,
        left: false,
        occupied: false,
    })
}

impl Pass<'_> {
    /// Goes on until nobody wants it any more. What it is at then is stopped at the server, and only the answer tells whether that was
    /// gone before.
    async fn run_until_over(&mut self, pruner: &mut Pruner) -> Result<(), PruneFailure> {
        let asked = self.asked;
        let asking = self.session.asking();
        let mut run = pin!(self.run(pruner));
        tokio::select! {
            ran = &mut run => {
                asking.answered();
                ran
            }
            () = asked.over() => {
                drop(asking);
                timeout(STOPPING_MAX, run).await.unwrap_or(Ok(()))
            }
        }
    }

    /// Whether the rest is left, to another receiver or to another pass.
    fn is_left(&self) -> bool {
        self.left || self.asked.is_over()
    }

    async fn run(&mut self, pruner: &mut Pruner) -> Result<(), PruneFailure> {
        let tenants = self.tenants(pruner).await?;
        self.bodies(&tenants, pruner).await?;
        for going in [Going::Events, Going::EventsAndKeys, Going::Keys] {
            let due: Vec<_> = tenants
                .iter()
                .filter_map(|tenant| Some((tenant, going.before(tenant.cutoffs)?)))
                .collect();
            for (tenant, before) in self.overdue(going.of_tenants(), due).await? {
                self.events(tenant, going, before).await?;
            }
        }
        Ok(())
    }

    /// All tenants of the store, each with what has had its time; nothing has of one that was not asked for.
    async fn tenants(&mut self, pruner: &mut Pruner) -> Result<Vec<Tenant>, PruneFailure> {
        let client = &self.session.client;
        let (held, witness) = within(COUNT_MAX, witness(client, self.asked.now)).await?;
        let now = pruner.believe(self.asked, witness, &mut self.pruned);
        let mut tenants = Vec::with_capacity(held.len());
        for held in held {
            let name = give_back(held.clone());
            let mut cutoffs = Cutoffs::default();
            if self.asked.is_for(&name) {
                self.pruned.add(&name, Tally::default());
                if let Some(now) = now {
                    cutoffs = self.asked.retention.of(&name).cutoffs(now).whole_days();
                }
            }
            tenants.push(Tenant {
                held,
                name,
                cutoffs,
            });
        }
        Ok(tenants)
    }

    async fn bodies(
        &mut self,
        tenants: &[Tenant],
        pruner: &mut Pruner,
    ) -> Result<(), PruneFailure> {
        for partition in within(self.limit, partitions(&self.session.client)).await? {
            match self.partition(&partition, tenants, pruner).await {
                Err(failure) if has_gone(&failure) => {}
                done => done?,
            }
            if self.is_left() {
                break;
            }
        }
        Ok(())
    }

    /// Lets a partition go, or the rows in it of those whose time there has passed.
    async fn partition(
        &mut self,
        partition: &Partition,
        tenants: &[Tenant],
        pruner: &mut Pruner,
    ) -> Result<(), PruneFailure> {
        let passed = passed(tenants, partition);
        // Which, not how many: a reload may let one tenant's time pass and give another more.
        let whose = digest(&passed);
        if passed.is_empty() || pruner.swept.get(&partition.name) == Some(&whose) {
            return Ok(());
        }
        if partition.end.is_some() {
            match self.drop_whole(partition, &passed).await? {
                Whole::Gone(tallies) => {
                    tracing::info!(partition = %partition.name, "a day's bodies have had their time");
                    for (held, tally) in tallies {
                        self.pruned.add(&give_back(held), tally);
                    }
                    pruner.swept.remove(&partition.name);
                    return Ok(());
                }
                Whole::Occupied => return Ok(()),
                Whole::Needed => {}
            }
        }
        let due: Vec<_> = passed
            .iter()
            .filter_map(|tenant| Some((*tenant, tenant.cutoffs.bodies?)))
            .collect();
        for (tenant, before) in self.overdue(&partition.of_tenants(), due).await? {
            self.rows(partition, tenant, before).await?;
        }
        if partition.end.is_some() && !self.is_left() {
            pruner.swept.insert(partition.name.clone(), whose);
        }
        Ok(())
    }

    /// Those of whom something has had its time: one answer for all, so that nobody is asked in vain.
    async fn overdue<'t>(
        &self,
        table: &str,
        due: Vec<(&'t Tenant, i64)>,
    ) -> Result<Vec<(&'t Tenant, i64)>, PruneFailure> {
        if due.is_empty() || self.is_left() {
            return Ok(Vec::new());
        }
        let tenants: Vec<_> = due.iter().map(|(tenant, _)| tenant.held.as_str()).collect();
        let before: Vec<_> = due.iter().map(|(_, before)| *before).collect();
        let asked = overdue(&self.session.client, table, &tenants, &before);
        let places = within(COUNT_MAX, asked).await?;
        let found = places.iter().filter_map(|place| due.get(*place).copied());
        Ok(found.collect())
    }

    async fn drop_whole(
        &mut self,
        partition: &Partition,
        passed: &[&Tenant],
    ) -> Result<Whole, PruneFailure> {
        let passed = held(passed);
        let mut collisions = self.tries.min(COLLISIONS_MAX);
        while !self.is_left() && !self.occupied {
            match within(COUNT_MAX, drop_whole(&mut self.session, partition, &passed)).await {
                Ok(Some(whole)) => return Ok(whole),
                Ok(None) => self.another().await,
                Err(failure) if has_collided(&failure) => {
                    let Some(fewer) = collisions.checked_sub(1) else {
                        // A long reader. The next partition would fare no better, and each try may cost a delivery a moment.
                        self.occupied = true;
                        break;
                    };
                    collisions = fewer;
                    sleep(COLLISION).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Whole::Occupied)
    }

    /// Lets one tenant's bodies in a partition go, step by step.
    async fn rows(
        &mut self,
        partition: &Partition,
        tenant: &Tenant,
        before: i64,
    ) -> Result<(), PruneFailure> {
        while !self.is_left() {
            let began = Instant::now();
            let step = delete_bodies(&mut self.session, partition, &tenant.held, before);
            let Some(tally) = within(self.limit, step).await? else {
                self.another().await;
                continue;
            };
            if tally.bodies == 0 {
                break;
            }
            self.pruned.add(&tenant.name, tally);
            pause_after(began.elapsed(), self.asked).await;
        }
        Ok(())
    }

    async fn events(
        &mut self,
        tenant: &Tenant,
        going: Going,
        before: i64,
    ) -> Result<(), PruneFailure> {
        while !self.is_left() {
            let began = Instant::now();
            let step = let_events_go(&mut self.session, &tenant.held, going, before);
            let Some(rows) = within(self.limit, step).await? else {
                self.another().await;
                continue;
            };
            let mut tally = Tally::default();
            match going {
                Going::Events => tally.events = rows,
                Going::EventsAndKeys => (tally.events, tally.keys) = (rows, rows),
                Going::Keys => tally.keys = rows,
            }
            if rows > 0 {
                self.pruned.add(&tenant.name, tally);
                pause_after(began.elapsed(), self.asked).await;
            }
            if rows < STEP_ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }

    /// Another receiver prunes: after as many tries as were asked for, the rest is left to it.
    async fn another(&mut self) {
        match self.tries.checked_sub(1) {
            Some(tries) => {
                self.tries = tries;
                sleep(ANOTHER).await;
            }
            None => self.left = true,
        }
    }

    async fn count(&mut self) -> Result<(), PruneFailure> {
        let tenants = self.tenants(&mut Pruner::default()).await?;
        for partition in within(self.limit, partitions(&self.session.client)).await? {
            let passed = passed(&tenants, &partition);
            if passed.is_empty() {
                continue;
            }
            match self.count_partition(&partition, passed).await {
                Err(failure) if has_gone(&failure) => {}
                done => done?,
            }
        }
        let client = &self.session.client;
        for tenant in &tenants {
            let counted = count_events(client, &tenant.held, tenant.cutoffs);
            self.pruned
                .add(&tenant.name, within(COUNT_MAX, counted).await?);
        }
        let asked = self.asked;
        self.pruned.tenants.retain(|tenant, _| asked.is_for(tenant));
        Ok(())
    }

    async fn count_partition(
        &mut self,
        partition: &Partition,
        passed: Vec<&Tenant>,
    ) -> Result<(), PruneFailure> {
        let client = &self.session.client;
        let whole = partition.end.is_some()
            && !within(COUNT_MAX, needed(client, partition, &held(&passed))).await?;
        if whole {
            for (held, tally) in within(COUNT_MAX, count_whole(client, partition)).await? {
                self.pruned.add(&give_back(held), tally);
            }
            return Ok(());
        }
        for tenant in passed {
            let Some(before) = tenant.cutoffs.bodies else {
                continue;
            };
            let counted = count_bodies(client, partition, &tenant.held, before);
            self.pruned
                .add(&tenant.name, within(COUNT_MAX, counted).await?);
        }
        Ok(())
    }
}

/// Those whose time in a partition has passed.
fn passed<'t>(tenants: &'t [Tenant], partition: &Partition) -> Vec<&'t Tenant> {
    let has_passed = |tenant: &&Tenant| match (tenant.cutoffs.bodies, partition.end) {
        (Some(before), Some(end)) => end <= before,
        (Some(_), None) => true,
        (None, _) => false,
    };
    tenants.iter().filter(has_passed).collect()
}

/// As the database has them.
fn held<'t>(tenants: &[&'t Tenant]) -> Vec<&'t str> {
    tenants.iter().map(|tenant| tenant.held.as_str()).collect()
}

/// Of the names of tenants, which stand in the order of the list of all.
fn digest(tenants: &[&Tenant]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for tenant in tenants {
        hash.update(tenant.held.len().to_be_bytes());
        hash.update(&tenant.held);
    }
    hash.finalize().into()
}

async fn within<T>(
    waited: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, PruneFailure> {
    match timeout(waited, work).await {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(PruneFailure::TookTooLong { waited }),
    }
}

/// Whether a lock that somebody else holds was not to be had.
fn has_collided(failure: &PruneFailure) -> bool {
    let PruneFailure::Statement { source } = failure else {
        return false;
    };
    let collided = |error: &Error| meaning(error) == Meaning::Collision;
    source.downcast_ref().is_some_and(collided)
}

/// Whether another receiver dropped a partition since it was listed.
fn has_gone(failure: &PruneFailure) -> bool {
    let PruneFailure::Statement { source } = failure else {
        return false;
    };
    let error = source.downcast_ref::<Error>();
    error.and_then(Error::code) == Some(&SqlState::UNDEFINED_TABLE)
}
