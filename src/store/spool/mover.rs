//! Moving the spool into the database: in the order of arrival, batch by batch, once the database is back.
//!
//! One mover for each receiver. It is also who finds out that the database is back: while an outage lasts, deliveries ask
//! for nothing, and this task tries again, with a pause that grows, is bounded, and is never quite the same. New deliveries
//! may go straight to the database while old ones are still being moved: the ledger does not depend on their order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::backlog::Counts;
use super::form;
use super::queue::{Queue, Waiting};
use super::uncertain::{Met, Now, Uncertain};
use crate::inbox::{Cause, EVENTS_METRIC, Receipt, Standing, WriterGone};
use crate::store::pause::{PAUSE_FIRST, PAUSE_MAX, jittered};
use crate::store::postgres;
use crate::store::postgres::address::Target;
use crate::store::postgres::batch::Prepared;
use crate::store::postgres::engine::{Name, batch_max};
use crate::store::postgres::moving::{MoveFailure, Moving, forget_old_marks, move_batch};
use crate::store::postgres::reach::Reach;
use crate::store::postgres::session::{Meaning, Purpose, Session, TookTooLong, meaning};
use crate::store::uptime::uptime;
use crate::store::{StoreFault, off_the_runtime};
use crate::text::chain;

/// The counter of events that were moved into the database. What a metric means, `telemetry` tells.
pub const MOVED_METRIC: &str = "countersign_spool_moved_events_total";
/// The counter of those that it refused for their own sake.
pub const SET_ASIDE_METRIC: &str = "countersign_spool_aside_events_total";
/// Bytes of one batch, unless a single event has more.
const BATCH_BYTES: usize = 8 << 20;
/// How often an event that stands alone meets an error of which nobody knows whose it is, until it counts as the event's.
const ATTEMPTS_MAX: u32 = 20;
/// How often the file is looked at though nothing came: another process of ours may have left something.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A database that was back for less is asked with a pause, however often it comes back.
const STEADY: Duration = Duration::from_secs(10);

/// The mover.
#[derive(Debug)]
pub(super) struct Mover {
    target: Arc<Target>,
    reach: Arc<Reach>,
    counts: Arc<Counts>,
    queue: Arc<Mutex<Queue>>,
    session: Option<Session>,
    names: HashSet<Name>,
    /// Events in one batch, at most; less after one that took too long.
    rows_max: usize,
    rows: usize,
    uncertain: Uncertain,
    /// The event that met such an error last, and how often in a row.
    stubborn: (i64, u32),
    moved: u64,
    /// What keeps it from moving, of which the log was told since all was moved last.
    told: HashSet<Side>,
    /// When the database was last found to be back, and the pause before it is asked again if that was just now.
    returned: Option<Instant>,
    pause: Duration,
}

/// Where it is that something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Database,
    /// The database answers, and another of its sessions holds what deliveries are written to.
    Tables,
    File,
}

/// Events of one tenant and one run.
struct Group {
    tenant: String,
    run: Vec<u8>,
    batch: Vec<Moving>,
}

impl Mover {
    pub(super) fn new(
        target: Arc<Target>,
        reach: Arc<Reach>,
        counts: Arc<Counts>,
        queue: Queue,
        rows_max: usize,
        met: Met,
    ) -> Self {
        Self {
            uncertain: Uncertain::new(settling(&target), met),
            target,
            reach,
            counts,
            queue: Arc::new(Mutex::new(queue)),
            session: None,
            names: HashSet::new(),
            rows_max: rows_max.max(1),
            rows: rows_max.max(1),
            stubborn: (0, 0),
            moved: 0,
            told: HashSet::new(),
            returned: None,
            pause: PAUSE_FIRST,
        }
    }

    /// Moves whatever comes, until the future is dropped: at any time, for what is not committed there stays here.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            self.wait_for_work().await;
            match self.round().await {
                Ok(()) => {
                    pause = PAUSE_FIRST;
                    self.told.clear();
                    self.counts.stands_still(|still| still.reason = None);
                }
                Err(cause) => {
                    self.session = None;
                    self.tell(&cause);
                    tokio::select! {
                        () = sleep(jittered(pause)) => {}
                        () = self.reach.reopened() => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Once for each side: a full disk of the database's must not hide a full disk here.
    fn tell(&mut self, cause: &Cause) {
        let (side, reason) = if cause.is::<StoreFault>() {
            let reason = "the spool's file cannot be read, or not be emptied; see the log";
            (Side::File, reason)
        } else if cause.is::<postgres::errands::Held>() {
            let reason = "another session of the database holds a table that deliveries are written to; see the log";
            (Side::Tables, reason)
        } else if !self.reach.is_away() {
            let reason = "the spool cannot be moved into the database; see the log";
            (Side::Database, reason)
        } else {
            return;
        };
        self.counts
            .stands_still(|still| still.reason = Some(reason));
        if !self.told.insert(side) {
            return;
        }
        let error = &**cause as &dyn std::error::Error;
        match side {
            Side::File => tracing::error!(
                error,
                "the spool's file cannot be read, or not be emptied; it is tried again"
            ),
            Side::Tables => tracing::error!(
                error,
                "the database takes no deliveries; they are kept in the spool until it does"
            ),
            Side::Database => tracing::error!(
                error,
                "the spool cannot be moved into the database; it is tried again"
            ),
        }
    }

    async fn wait_for_work(&mut self) {
        while !self.reach.is_away() && self.counts.get().waiting == 0 {
            if timeout(LOOK_EVERY, self.reach.changed()).await.is_err()
                && let Err(cause) = self.recount().await
            {
                tracing::debug!(
                    error = &*cause as &dyn std::error::Error,
                    "the spool cannot be looked at"
                );
            }
        }
    }

    /// Finds the database, and moves all that waits.
    async fn round(&mut self) -> Result<(), Cause> {
        loop {
            self.reconnect().await?;
            let rows = self.rows;
            let head = self
                .at_file(move |queue| queue.head(rows, BATCH_BYTES))
                .await?;
            let Some(head) = self.settle(head).await? else {
                continue;
            };
            if head.is_empty() {
                break;
            }
            for group in self.read(head).await? {
                self.move_group(group).await?;
            }
        }
        self.end().await
    }

    /// Finds the database, if there is no session or an outage has begun, and tells everybody that it is back.
    async fn reconnect(&mut self) -> Result<(), Cause> {
        if self.reach.is_away() && self.returned.is_some_and(|at| at.elapsed() < STEADY) {
            sleep(jittered(self.pause)).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        if self.session.is_none() || self.reach.is_away() {
            self.session = Some(self.find().await?);
        }
        if let Some(away) = self.reach.back() {
            if self.returned.is_none_or(|at| at.elapsed() >= STEADY) {
                self.pause = PAUSE_FIRST;
            }
            self.returned = Some(Instant::now());
            tracing::info!(
                store = %self.target.place,
                away = ?away.began.elapsed(),
                waiting = self.counts.get().waiting,
                "the database takes deliveries again; what waits in the spool is moved"
            );
        }
        Ok(())
    }

    /// A session on whichever host writes, proven by writing, and with the tables free: else every delivery would wait until it is
    /// found out anew.
    async fn find(&self) -> Result<Session, Cause> {
        let session = Session::open(&self.target, Purpose::Write)
            .await
            .map_err(|failure| Arc::new(failure) as Cause)?;
        let limit = self.target.access.statement_timeout;
        let (session, ()) = session.ask(limit, postgres::errands::probe).await?;
        let (session, held) = session.ask(limit, postgres::errands::held).await?;
        match held {
            None => Ok(session),
            Some(held) => Err(Arc::new(held)),
        }
    }

    /// What may be moved of these, in their order. A statement whose answer was lost may still be at work: its events are
    /// waited for until it cannot be, so that it is found by them and does not find them. `None` if an outage begins meanwhile: that it
    /// is over, nobody else finds out.
    async fn settle(&mut self, mut head: Vec<Waiting>) -> Result<Option<Vec<Waiting>>, Cause> {
        let ours = |waiting: &Waiting| self.counts.is_ours(&waiting.run);
        let unmet = |waiting: &Waiting| self.uncertain.is_unmet(waiting, ours(waiting));
        if head.iter().any(unmet) {
            let at = uptime();
            let position = self.at_file(Queue::last).await?;
            self.uncertain.meet(Met { position, at });
        }
        let now = Now::read();
        let left = |waiting: &Waiting| {
            let ours = self.counts.is_ours(&waiting.run);
            self.uncertain.left(waiting, ours, now)
        };
        match head.iter().position(|waiting| !left(waiting).is_zero()) {
            None => {}
            Some(0) => {
                let longest = head.iter().map(left).max().unwrap_or_default();
                if !self.wait_out(longest).await {
                    return Ok(None);
                }
                if let Some(last) = head.last() {
                    self.uncertain.settled_up_to(last.position);
                }
            }
            Some(first) => head.truncate(first),
        }
        Ok(Some(head))
    }

    /// Waits, and says so. Whether no outage began meanwhile.
    async fn wait_out(&self, left: Duration) -> bool {
        tracing::info!(
            ?left,
            waiting = self.counts.get().waiting,
            "what waits in the spool stands still: an answer of the database was lost, and until then it may still keep what it was asked to"
        );
        let settles_at = Timestamp::now().checked_add(left).ok();
        self.counts
            .stands_still(|still| still.settles_at = settles_at);
        let settled = tokio::select! {
            () = sleep(left) => true,
            () = self.away() => false,
        };
        self.counts.stands_still(|still| still.settles_at = None);
        settled
    }

    /// Resolves once an outage begins.
    async fn away(&self) {
        while !self.reach.is_away() {
            self.reach.changed().await;
        }
    }

    /// Rows as events, by tenant and run. What cannot be read is set aside before anything that came later is moved.
    async fn read(&mut self, head: Vec<Waiting>) -> Result<Vec<Group>, Cause> {
        let mut groups: Vec<Group> = Vec::new();
        for waiting in head {
            let Waiting {
                position,
                run,
                tenant,
                settles_at,
                form,
                event,
                body,
            } = waiting;
            let event = match form::read(form, &event, body) {
                Ok(event) => event,
                Err(no_event) => {
                    self.set_aside(position, &no_event).await?;
                    continue;
                }
            };
            let moving = Moving {
                position,
                uncertain: settles_at.is_some(),
                prepared: Prepared::prepare(event),
            };
            match groups
                .iter_mut()
                .find(|group| group.tenant == tenant && group.run == run)
            {
                Some(group) => group.batch.push(moving),
                None => groups.push(Group {
                    tenant,
                    run,
                    batch: vec![moving],
                }),
            }
        }
        Ok(groups)
    }

    /// The whole group if the database takes it, else by halves, in order, until what it refuses stands alone.
    async fn move_group(&mut self, group: Group) -> Result<(), Cause> {
        let mut parts = vec![&*group.batch];
        while let Some(part) = parts.pop() {
            match self.write(&group.run, part).await {
                Ok(events) => {
                    self.moved = self.moved.saturating_add(events);
                    let positions = part.iter().map(|moving| moving.position).collect();
                    self.remove(positions).await?;
                }
                Err(NotMoved::Row(cause)) => match part {
                    [moving] => self.set_aside(moving.position, &*cause).await?,
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(NotMoved::Yet(cause)) => return Err(cause),
            }
        }
        Ok(())
    }

    /// How many events this moved; some may have been there already.
    async fn write(&mut self, run: &[u8], part: &[Moving]) -> Result<u64, NotMoved> {
        let Some(mut session) = self.session.take() else {
            return Err(NotMoved::Yet(Arc::new(WriterGone)));
        };
        let limit = self.target.access.statement_timeout;
        let tried = timeout(limit, move_batch(&mut session, &mut self.names, run, part)).await;
        match tried {
            Ok(Ok(moved)) => {
                self.session = Some(session);
                self.rows = self.rows.saturating_mul(2).min(self.rows_max);
                for (moving, receipt) in &moved {
                    count(moving, *receipt);
                }
                let events = moved.len() as u64;
                metrics::counter!(MOVED_METRIC).increment(events);
                Ok(events)
            }
            Ok(Err(MoveFailure::Database(error))) if meaning(&error) == Meaning::Cancelled => {
                self.session = Some(session);
                self.rows = (self.rows / 2).max(1);
                Err(NotMoved::Yet(Arc::new(error)))
            }
            Ok(Err(MoveFailure::Database(error))) => {
                let of_the_row = meaning(&error) == Meaning::Row || self.is_stubborn(&error, part);
                let cause: Cause = Arc::new(error);
                if of_the_row {
                    self.session = Some(session);
                    return Err(NotMoved::Row(cause));
                }
                // Another host may lack what this one's session wrote.
                self.names.clear();
                Err(NotMoved::Yet(cause))
            }
            Ok(Err(MoveFailure::Answer(cause))) => Err(NotMoved::Yet(cause)),
            Err(_elapsed) => {
                session.abandon().await;
                self.names.clear();
                self.rows = (self.rows / 2).max(1);
                Err(NotMoved::Yet(Arc::new(TookTooLong(limit))))
            }
        }
    }

    /// Whether an error of the database's own is this event's, by all that can be told: it goes on alone, and goes on failing.
    fn is_stubborn(&mut self, error: &tokio_postgres::Error, part: &[Moving]) -> bool {
        if !is_unexplained(error) {
            return false;
        }
        self.rows = (self.rows / 2).max(1);
        let [moving] = part else { return false };
        let (position, attempts) = self.stubborn;
        let attempts = if position == moving.position {
            attempts.saturating_add(1)
        } else {
            1
        };
        self.stubborn = (moving.position, attempts);
        attempts >= ATTEMPTS_MAX
    }

    async fn remove(&self, positions: Vec<i64>) -> Result<(), Cause> {
        let (events, oldest, bytes) = self.at_file(move |queue| queue.remove(&positions)).await?;
        self.counts.left(events, oldest, bytes);
        Ok(())
    }

    /// Nothing is dropped: it stays in the file, and is tried again at the next start.
    async fn set_aside(
        &self,
        position: i64,
        cause: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Result<(), Cause> {
        tracing::error!(
            position,
            error = cause as &dyn std::error::Error,
            "an event of the spool was refused by the database, or cannot be read, and is set aside; it is tried again at the next start"
        );
        let reason = chain(cause);
        let done = self
            .at_file(move |queue| queue.set_aside(position, &reason))
            .await?;
        if let Some((oldest, bytes)) = done {
            self.counts.put_aside(oldest, bytes);
            metrics::counter!(SET_ASIDE_METRIC).increment(1);
        }
        Ok(())
    }

    async fn recount(&self) -> Result<(), Cause> {
        let before = self.counts.get();
        let found = self.at_file(Queue::count).await?;
        self.counts.recounted(before, found);
        Ok(())
    }

    /// All that waited is there.
    async fn end(&mut self) -> Result<(), Cause> {
        let used = self.reach.emptied() || self.moved > 0;
        if used && let Err(cause) = self.at_file(Queue::tidy).await {
            tracing::debug!(
                error = &*cause as &dyn std::error::Error,
                "the spool's file stays as large as it is"
            );
        }
        self.recount().await?;
        let limit = self.target.access.statement_timeout;
        if let Some(session) = self.session.take()
            && let Err(cause) = session.ask(limit, forget_old_marks).await
        {
            tracing::debug!(
                error = &*cause as &dyn std::error::Error,
                "old marks of spools could not be taken away"
            );
        }
        if used {
            tracing::info!(moved = self.moved, "the spool is empty");
            self.moved = 0;
        }
        Ok(())
    }

    async fn at_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Queue) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, Cause> {
        let queue = Arc::clone(&self.queue);
        off_the_runtime(move || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut queue)
        })
        .await
        .map_err(|fault| Arc::new(StoreFault::in_spool(fault)) as Cause)
    }
}

enum NotMoved {
    /// The values are at fault.
    Row(Cause),
    /// It may be moved later.
    Yet(Cause),
}

/// Whether the server failed for a reason of which it is not known whose it is: neither its state nor our rights.
fn is_unexplained(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    class.is_some_and(|class| !["08", "25", "40", "42", "53", "55", "57", "58"].contains(&class))
}

/// How long a writer may still be at a delivery that it was given: as long as at any batch, after which the server is told to stop and
/// the system throws away what it has not sent. A second more for the telling.
pub(in crate::store) fn settling(target: &Target) -> Duration {
    batch_max(target).saturating_add(Duration::from_secs(1))
}

/// What it came to is known only now. What cannot be read was counted when it was answered.
fn count(moving: &Moving, receipt: Receipt) {
    let row = &moving.prepared.row;
    if row.standing == Standing::Quarantined {
        return;
    }
    let receipt = match receipt {
        Receipt::Accepted => "accepted",
        Receipt::Duplicate => "duplicate",
        Receipt::Conflict => "conflict",
        Receipt::Quarantined | Receipt::Spooled => return,
    };
    metrics::counter!(
        EVENTS_METRIC,
        "tenant" => row.tenant.as_str().to_owned(),
        "producer" => row.producer.to_string(),
        "receipt" => receipt
    )
    .increment(1);
}
