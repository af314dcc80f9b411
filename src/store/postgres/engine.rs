//! The engine for several receivers: a session with PostgreSQL that writes one batch after another.
//!
//! Each batch is one statement and its own transaction: a call of the lesser of two functions that does for it
//! (`batch.rs`). Statements are unnamed, and nothing is set for a session, so a pooler may give each transaction
//! another one. What collides with another receiver's batch is tried again; what the server refuses for its own sake is
//! tried again on another session, on whichever host writes then; and a statement whose answer is lost is reported as such,
//! never repeated: the sender comes again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::address::Target;
use super::batch::{Answer, Folded, Prepared};
use super::errands;
use super::reach::Reach;
use super::schema;
use super::session::{Meaning, Purpose, Session, TookTooLong, lacks_a_partition, meaning};
use super::session_failure::SessionFailure;
use crate::identity::TenantId;
use crate::inbox::{BatchFailure, Cause, Engine, Event, Isolation, Outcome, Receipt};
use crate::store::errands::{Errands, Work};
use crate::store::pause::{PAUSE_FIRST, PAUSE_MAX, jittered};
use crate::store::row::Row;

/// The first pause before the same session tries a batch again: another receiver's batch is over within milliseconds.
const RETRY_FIRST: Duration = Duration::from_millis(2);
/// The longest such pause: the sender waits meanwhile.
const RETRY_MAX: Duration = Duration::from_millis(200);
/// What an attempt has at least, where opening a session took what a statement may take.
const ATTEMPT_MIN: Duration = Duration::from_millis(100);
/// How often partitions are made ahead by a session that lives long.
const PARTITIONS_EVERY: Duration = Duration::from_secs(3600);
/// Names that are remembered as written, at most.
const NAMES_MAX: usize = 20_000;

/// One writer.
#[derive(Debug)]
pub(in crate::store) struct Postgres {
    target: Arc<Target>,
    session: Option<Session>,
    outage: Option<Outage>,
    /// Tenants, producers, secrets and certificates that this session's database has.
    names: HashSet<Name>,
    partitions_made: Instant,
    errands: Arc<Errands>,
    reach: Arc<Reach>,
    /// How many outages had ended when the session was opened.
    outages: u64,
    /// Of the batch that failed together, and comes again apart.
    deadline: Option<Instant>,
}

/// Since when there is no session, and when the next attempt is due.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    next: Instant,
    pause: Duration,
    cause: Cause,
    /// How often the database had been found again when the last attempt failed.
    openings: u64,
}

/// What comes with every event and is written once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Name {
    tenant: TenantId,
    producer: Arc<str>,
    secret: Option<Arc<str>>,
    leaf: [u8; 32],
}

/// Why a batch is not durable, as far as that is known.
enum Failure {
    Row(Cause),
    Unavailable(Cause),
    Unknown(Cause),
}

/// How a batch that failed is tried again.
enum Again {
    /// By the same session: what was in its way is soon over.
    Soon,
    /// By another session.
    Elsewhere,
}

/// The database's answer does not fit the batch, which only a defect of ours brings about.
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer for each of {rows} rows")]
pub(super) struct Unanswered {
    pub(super) rows: usize,
}

/// A batch was given up before its next statement.
#[derive(Debug, thiserror::Error)]
#[error("the database was not ready for a batch within {0:?}")]
struct TooLate(Duration);

impl Postgres {
    pub(in crate::store) fn new(
        target: Arc<Target>,
        errands: Arc<Errands>,
        reach: Arc<Reach>,
    ) -> Self {
        let partitions_made = Instant::now();
        Self {
            target,
            session: None,
            outage: None,
            names: HashSet::new(),
            partitions_made,
            errands,
            reach,
            outages: 0,
            deadline: None,
        }
    }

    /// Takes up a session that is there.
    pub(in crate::store) fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    /// A session, if there is one within the outage's patience. An outage is waited for once: while it lasts, deliveries
    /// are told at once, and one attempt is made for each pause.
    async fn session(&mut self) -> Result<Session, Cause> {
        let usable =
            |session: &Session| !session.is_closed() && self.outages == self.reach.outages();
        if let Some(session) = self.session.take().filter(usable) {
            return Ok(session);
        }
        self.outages = self.reach.outages();
        loop {
            if let Some(outage) = &self.outage {
                let patient_until = outage.since + self.target.access.patience;
                let now = Instant::now();
                // Another session of ours that got through spares this one the pause.
                if outage.next > now && outage.openings == self.reach.openings() {
                    if outage.next > patient_until {
                        return Err(Arc::clone(&outage.cause));
                    }
                    sleep(outage.next - now).await;
                }
            }
            match Session::open(&self.target, Purpose::Write).await {
                Ok(session) => {
                    self.back();
                    return Ok(session);
                }
                Err(failure) => {
                    let cause = self.away(failure);
                    let patience = self.target.access.patience;
                    if self
                        .outage
                        .as_ref()
                        .is_none_or(|outage| outage.since.elapsed() >= patience)
                    {
                        return Err(cause);
                    }
                }
            }
        }
    }

    fn back(&mut self) {
        // Another host may lack the last of what this one's session wrote.
        self.names.clear();
        self.reach.opened();
        if let Some(outage) = self.outage.take() {
            tracing::info!(store = %self.target.place, away = ?outage.since.elapsed(), "the database is back");
        }
    }

    fn away(&mut self, failure: SessionFailure) -> Cause {
        let mend = failure.mend();
        let cause: Cause = Arc::new(failure);
        self.reach.away(&cause);
        let openings = self.reach.openings();
        let now = Instant::now();
        let outage = match self.outage.take() {
            None => {
                // Once for each outage: the deliveries tell the rest.
                tracing::warn!(store = %self.target.place, error = &*cause as &dyn std::error::Error, mend, "the database is away");
                Outage {
                    since: now,
                    next: now + jittered(PAUSE_FIRST),
                    pause: PAUSE_FIRST,
                    cause: Arc::clone(&cause),
                    openings,
                }
            }
            Some(outage) => {
                let pause = (outage.pause * 2).min(PAUSE_MAX);
                Outage {
                    since: outage.since,
                    next: now + jittered(pause),
                    pause,
                    cause: Arc::clone(&cause),
                    openings,
                }
            }
        };
        self.outage = Some(outage);
        cause
    }

    /// Writes deliveries in one transaction, and again while that may help and nothing of it is durable. No statement begins or
    /// goes on after `deadline`: by then a sender that was told nothing may have its delivery moved here from the spool.
    async fn write(
        &mut self,
        batch: &[Vec<Prepared>],
        deadline: Instant,
    ) -> Result<Vec<Vec<Receipt>>, Failure> {
        let folded = Folded::fold(batch);
        let began = Instant::now();
        let limit = self.target.access.statement_timeout;
        let mut pause = RETRY_FIRST;
        loop {
            let session = self.session().await.map_err(Failure::Unavailable)?;
            let in_time = deadline.saturating_duration_since(Instant::now());
            if in_time.is_zero() {
                self.session = Some(session);
                let too_late = TooLate(batch_max(&self.target));
                return Err(Failure::Unavailable(Arc::new(too_late)));
            }
            let left = limit
                .saturating_sub(began.elapsed())
                .max(ATTEMPT_MIN)
                .min(in_time);
            let tried = timeout(left, attempt(&session, &mut self.names, batch, &folded)).await;
            let error = match tried {
                Ok(Ok(answers)) => return self.written(session, &folded, answers),
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    // The statement must not go on, with its locks, when nobody waits for it.
                    session.abandon().await;
                    return Err(Failure::Unknown(Arc::new(TookTooLong(limit))));
                }
            };
            match meaning(&error) {
                Meaning::Row | Meaning::Collision | Meaning::Cancelled => {
                    self.session = Some(session);
                }
                Meaning::Server | Meaning::Unknown => drop(session),
            }
            match self.again(error, began.elapsed())? {
                Again::Soon => {
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Again::Elsewhere => sleep(jittered(PAUSE_FIRST)).await,
            }
        }
    }

    /// What became of a batch that is committed: nobody knows, where a standby or the answer fails us.
    fn written(
        &mut self,
        session: Session,
        folded: &Folded<'_>,
        answers: Option<Vec<Answer>>,
    ) -> Result<Vec<Vec<Receipt>>, Failure> {
        let replicated = session.replicated();
        self.session = Some(session);
        replicated.map_err(|failure| Failure::Unknown(Arc::new(failure)))?;
        let rows = folded.len();
        answers
            .and_then(|answers| folded.receipts(&answers))
            .ok_or_else(|| Failure::Unknown(Arc::new(Unanswered { rows })))
    }

    /// Whether a batch that failed this long after its first attempt is tried again, and how.
    fn again(&self, error: tokio_postgres::Error, elapsed: Duration) -> Result<Again, Failure> {
        let access = &self.target.access;
        let again = match meaning(&error) {
            Meaning::Collision if elapsed < access.statement_timeout => Again::Soon,
            Meaning::Cancelled if elapsed < access.patience => Again::Soon,
            // One whole round for the rest: `session` itself waits for a server that is away.
            Meaning::Server if elapsed < access.patience && is_of_the_session(&error) => {
                Again::Elsewhere
            }
            Meaning::Row => return Err(Failure::Row(Arc::new(error))),
            Meaning::Collision | Meaning::Cancelled | Meaning::Server => {
                return Err(Failure::Unavailable(Arc::new(error)));
            }
            Meaning::Unknown => return Err(Failure::Unknown(Arc::new(error))),
        };
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a batch was not taken, and is tried again"
        );
        Ok(again)
    }

    /// Each delivery by itself in the end, but by halves, so that the sound ones of a large batch need few statements.
    async fn write_apart(
        &mut self,
        batch: &[Vec<Prepared>],
        deadline: Instant,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.write(part, deadline).await {
                Ok(receipts) => outcomes.extend(receipts.into_iter().map(Ok)),
                Err(Failure::Row(cause)) if part.len() <= 1 => {
                    // Whoever brought it tells of it, and not of each where there are many.
                    tracing::debug!(
                        error = &*cause as &dyn std::error::Error,
                        "a delivery's rows were refused by the store"
                    );
                    outcomes.push(Err(cause));
                }
                Err(Failure::Row(_)) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                // Of the parts before it some may be durable; whoever is told of a failure comes again.
                Err(Failure::Unavailable(cause) | Failure::Unknown(cause)) => {
                    return Err(BatchFailure::Commit(cause));
                }
            }
        }
        Ok(outcomes)
    }

    /// Tells whether anything can be written, by writing.
    async fn probe(&mut self) -> Result<(), BatchFailure> {
        let session = self.session().await.map_err(BatchFailure::Unavailable)?;
        let limit = self.target.access.statement_timeout;
        let asked = session.ask(limit, errands::probe).await;
        let (session, ()) = asked.map_err(BatchFailure::Unavailable)?;
        self.session = Some(session);
        Ok(())
    }

    /// A session that lives long makes the partitions that another would make when it is opened.
    async fn look_ahead(&mut self) {
        if self.partitions_made.elapsed() < PARTITIONS_EVERY {
            return;
        }
        let Some(session) = self.session.take() else {
            return;
        };
        self.partitions_made = Instant::now();
        let limit = self.target.access.statement_timeout;
        match schema::look_ahead(&session.client, limit, &self.target.place).await {
            Ok(()) => self.session = Some(session),
            Err(failure) => {
                tracing::debug!(
                    error = &failure as &dyn std::error::Error,
                    "a session with the database was of no more use"
                );
                session.abandon().await;
            }
        }
    }

    async fn run(&mut self, work: &Work) -> Result<(), Cause> {
        let limit = self.target.access.statement_timeout;
        let session = self.session().await?;
        let asked = session.ask(limit, async |client| errands::run(client, work).await);
        let (session, ()) = asked.await?;
        self.session = Some(session);
        Ok(())
    }
}

/// How long a batch may be at hand, its session's opening and all its attempts taken together: the outage's patience, a round of
/// hosts that are slow to greet, to make partitions and to be left, and a statement's own bound.
pub(in crate::store) fn batch_max(target: &Target) -> Duration {
    let access = &target.access;
    let hosts = u32::try_from(target.hosts_count()).unwrap_or(u32::MAX);
    let host = access
        .connect_timeout
        .saturating_mul(2)
        .saturating_add(Duration::from_secs(1));
    access
        .statement_timeout
        .saturating_add(access.patience)
        .saturating_add(host.saturating_mul(hosts))
}

/// One attempt: the names that this database may lack, then the batch. `None` is an answer that does not fit.
async fn attempt(
    session: &Session,
    names: &mut HashSet<Name>,
    batch: &[Vec<Prepared>],
    folded: &Folded<'_>,
) -> Result<Option<Vec<Answer>>, tokio_postgres::Error> {
    let rows = batch.iter().flatten().map(|event| &event.row);
    write_unknown_names(&session.client, names, rows).await?;
    commit(&session.client, folded).await
}

/// Writes those tenants, producers, secrets and certificates that the database may lack.
pub(super) async fn write_unknown_names<'a>(
    client: &Client,
    names: &mut HashSet<Name>,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<(), tokio_postgres::Error> {
    let mut unknown = Vec::new();
    let mut last: Option<&Row> = None;
    for row in rows {
        if last.replace(row).is_some_and(|last| same_names(last, row)) {
            continue;
        }
        let name = Name {
            tenant: row.tenant.clone(),
            producer: Arc::clone(&row.producer),
            secret: row.secret.clone(),
            leaf: row.leaf.sha256().0,
        };
        if !names.contains(&name) && !unknown.iter().any(|(known, _)| *known == name) {
            unknown.push((name, row));
        }
    }
    if !unknown.is_empty() {
        let rows: Vec<_> = unknown.iter().map(|(_, row)| *row).collect();
        errands::write_names(client, &rows).await?;
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.extend(unknown.into_iter().map(|(name, _)| name));
    }
    Ok(())
}

/// Writes the batch: a transaction of its own, or a part of the open one. `None` is an answer that does not fit.
pub(super) async fn commit(
    client: &Client,
    folded: &Folded<'_>,
) -> Result<Option<Vec<Answer>>, tokio_postgres::Error> {
    let columns = folded.columns();
    let (statement, parameters) = columns.statement();
    let rows = client.query_typed(statement, &parameters).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let known: Option<Vec<i64>> = row.try_get("known")?;
    let conflicting: Option<Vec<i64>> = row.try_get("conflicting")?;
    Ok(folded.answers(
        row.try_get("answered")?,
        &known.unwrap_or_default(),
        &conflicting.unwrap_or_default(),
    ))
}

/// Most events of a batch come from few producers, which the configuration has once.
fn same_names(a: &Row, b: &Row) -> bool {
    let secret = match (&a.secret, &b.secret) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    secret
        && Arc::ptr_eq(&a.producer, &b.producer)
        && a.tenant == b.tenant
        && a.leaf.sha256() == b.leaf.sha256()
}

/// Whether another session, perhaps on another host, may do what this one was refused: the server goes down, or was made a
/// standby, or a partition is missing, which the next session makes. A full disk or a lacking right is the same for each.
fn is_of_the_session(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", |code| code.code());
    matches!(code.get(..2), Some("57" | "25")) || lacks_a_partition(error)
}

impl Engine for Postgres {
    type Row = Prepared;

    fn prepare(event: Event) -> Prepared {
        Prepared::prepare(event)
    }

    fn bytes(row: &Prepared) -> usize {
        row.bytes()
    }

    async fn commit(
        &mut self,
        batch: &[Vec<Prepared>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        if batch.iter().all(Vec::is_empty) {
            self.probe().await?;
            return Ok(batch.iter().map(|_| Ok(Vec::new())).collect());
        }
        // Together and apart are one batch, which has been at hand since the first attempt.
        let earlier = self.deadline.take();
        let anew = Instant::now() + batch_max(&self.target);
        match isolation {
            Isolation::Apart => self.write_apart(batch, earlier.unwrap_or(anew)).await,
            Isolation::Together => match self.write(batch, anew).await {
                Ok(receipts) => Ok(receipts.into_iter().map(Ok).collect()),
                Err(Failure::Row(cause)) => {
                    self.deadline = Some(anew);
                    Err(BatchFailure::Row(cause))
                }
                Err(Failure::Unavailable(cause)) => Err(BatchFailure::Unavailable(cause)),
                Err(Failure::Unknown(cause)) => Err(BatchFailure::Commit(cause)),
            },
        }
    }

    async fn tidy(&mut self) {
        self.look_ahead().await;
        if let Some(errand) = self.errands.keeping.next() {
            let done = self.run(errand.work()).await;
            errand.finish(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mute_tests::{MUTE, address, target, waiting};
    use super::super::tests::server;
    use super::*;
    use crate::inbox::{Inbox, InboxFailure, Limits};
    use crate::store::Store;
    use crate::store::fixtures::event;

    #[tokio::test]
    async fn a_session_that_gets_no_answer_between_two_batches_is_given_up() {
        let Some(server) = server::Postgres::start(&[]) else {
            return;
        };
        let url = address(&server, "inbox");
        let target = Arc::new(target(&url));
        let session = Session::open(&target, Purpose::Write).await.unwrap();
        server.psql("inbox", MUTE);
        let mut engine =
            Postgres::new(target, Arc::default(), Arc::default()).with_session(session);
        engine.partitions_made = Instant::now().checked_sub(PARTITIONS_EVERY).unwrap();
        engine.tidy().await;
        assert!(engine.session.is_none());
        assert!(engine.partitions_made.elapsed() < PARTITIONS_EVERY);
    }

    #[tokio::test]
    async fn a_batch_whose_answer_was_lost_behind_a_pooler_is_not_told_as_not_kept() {
        let Some(server) = server::Postgres::start(&[]) else {
            return;
        };
        let url = address(&server, "inbox");
        let store = Store::open(&url, Limits::default()).await.unwrap();
        let lost = "CREATE FUNCTION public.lose() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RAISE EXCEPTION ''server conn crashed?'' USING ERRCODE = ''08P01''; END';
            CREATE TRIGGER lose AFTER INSERT ON countersign.events EXECUTE FUNCTION public.lose()";
        server.psql("inbox", lost);
        let failure = store.accept(vec![event("evt_1")]).await.unwrap_err();
        let unknown = matches!(failure, InboxFailure::Commit { .. });
        assert!(unknown, "{failure:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_dies_behind_a_pooler_leaves_a_batch_of_which_nobody_knows() {
        let Some(server) = server::Postgres::start(&[]) else {
            return;
        };
        let direct = address(&server, "inbox");
        let Some(pooler) = server::Pooler::start(&server) else {
            return;
        };
        let pooled = pooler.url("inbox").parse().unwrap();
        let store = Arc::new(Store::open(&pooled, Limits::default()).await.unwrap());
        let dawdle = "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
            CREATE TRIGGER dawdle AFTER INSERT ON countersign.events EXECUTE FUNCTION public.dawdle()";
        server.psql("inbox", dawdle);
        let holder = Session::open(&target(&direct), Purpose::Look)
            .await
            .unwrap();
        let hold = "BEGIN; SELECT pg_advisory_xact_lock(7)";
        holder.client.batch_execute(hold).await.unwrap();
        let accepting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.accept(vec![event("evt_1")]).await }
        });
        waiting(&server, "1").await;
        let waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let pid = server.psql("inbox", waits);
        let mut kill = std::process::Command::new("kill");
        let killed = kill.args(["-KILL", pid.trim()]).status();
        assert!(killed.unwrap().success());
        let failure = accepting.await.unwrap().unwrap_err();
        let unknown = matches!(failure, InboxFailure::Commit { .. });
        assert!(unknown, "{failure:?}");
    }
}
