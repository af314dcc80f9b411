//! The engine that a store has: which one, and how its writers run.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::errands::Errands;
use super::fault::StoreFault;
use super::location::Url;
use super::off_the_runtime;
use super::postgres::Postgres;
use super::postgres::address::Target;
use super::postgres::reach::Reach;
use super::postgres::session::{Purpose, Session};
use super::postgres::session_failure::SessionFailure;
use super::spool::mover::settling;
use super::sqlite;
use super::sqlite::Sqlite;
use super::sqlite::place::Place;
use super::supervision::Supervision;
use crate::inbox::{
    Cause, Engine, Event, GroupCommit, Health, InboxFailure, Limits, Receipt, Writer,
};

/// How often a database is asked whether it can write, at most.
const PROBES_EVERY: Duration = Duration::from_secs(1);

/// Group commit before an engine, and what runs its writers.
#[derive(Debug)]
pub(super) enum Engines {
    /// One writer, on a thread of its own.
    Sqlite {
        inbox: GroupCommit<Sqlite>,
        place: Arc<Place>,
        writer: Mutex<Option<thread::JoinHandle<()>>>,
    },
    /// A task for each session.
    Postgres {
        inbox: GroupCommit<Postgres>,
        writers: Mutex<Vec<JoinHandle<()>>>,
        /// When it was last asked whether it can write, and could.
        wrote: Mutex<Option<Instant>>,
        target: Arc<Target>,
        reach: Arc<Reach>,
    },
}

impl Engines {
    pub(super) async fn open(
        url: &Url,
        limits: Limits,
        errands: &Arc<Errands>,
        supervision: &Supervision,
    ) -> Result<Self, StoreFault> {
        match url {
            Url::Sqlite(path) => {
                let connection = off_the_runtime({
                    let path = path.clone();
                    move || sqlite::open(&path)
                })
                .await?;
                let engine = Sqlite::new(path, connection, Arc::clone(errands))?;
                let place = engine.place();
                let (inbox, writers) = GroupCommit::new(vec![engine], limits);
                let writer = begin_thread(supervision, "store-writer", writers, Sqlite::close)?;
                Ok(Self::Sqlite {
                    inbox,
                    place,
                    writer: Mutex::new(Some(writer)),
                })
            }
            Url::Postgres(address) => {
                let target = Arc::new(Target::load(address)?);
                let reach = Arc::<Reach>::default();
                let mut engines: Vec<_> = (0..target.access.writers.max(1))
                    .map(|_| {
                        Postgres::new(Arc::clone(&target), Arc::clone(errands), Arc::clone(&reach))
                    })
                    .collect();
                match open_with_rights(&target).await {
                    Ok(session) => engines = first_with(engines, session),
                    Err(SessionFailure::Fault(fault)) => return Err(fault),
                    // It may come later, and then nobody needs to start anything again.
                    Err(failure) => {
                        tracing::warn!(
                            store = %target.place,
                            error = &failure as &dyn std::error::Error,
                            mend = failure.mend(),
                            "the database is away; the receiver starts without it"
                        );
                        reach.away(&(Arc::new(failure) as Cause));
                    }
                }
                let (inbox, writers) = GroupCommit::new(engines, limits);
                let writers = writers
                    .into_iter()
                    .map(|writer| {
                        let run = async { drop(writer.run().await) };
                        run_task(supervision, "a writer of the database", run)
                    })
                    .collect();
                Ok(Self::Postgres {
                    inbox,
                    writers: Mutex::new(writers),
                    wrote: Mutex::default(),
                    target,
                    reach,
                })
            }
        }
    }

    /// Brings the schema up to date, and no more.
    pub(super) async fn migrate(url: &Url) -> Result<(), StoreFault> {
        match url {
            Url::Sqlite(path) => {
                let path = path.clone();
                off_the_runtime(move || {
                    let connection = sqlite::open(&path)?;
                    sqlite::file::leave(&sqlite::place::Place::of(&path), &connection);
                    Ok(())
                })
                .await
            }
            Url::Postgres(address) => {
                let target = Target::load(address)?;
                let opened = Session::open(&target, Purpose::Write).await;
                opened
                    .map(drop)
                    .map_err(|failure| failure.into_fault(&target.place))
            }
        }
    }

    pub(super) async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        match self {
            Self::Sqlite { inbox, .. } => inbox.accept(delivery).await,
            Self::Postgres { inbox, .. } => inbox.accept(delivery).await,
        }
    }

    /// Whether another delivery would be taken now.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Sqlite { inbox, .. } => inbox.has_room(),
            Self::Postgres { inbox, .. } => inbox.has_room(),
        }
    }

    /// The database, and whether it can be reached; `None` for a file.
    pub(super) fn database(&self) -> Option<(Arc<Target>, Arc<Reach>)> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { target, reach, .. } => Some((Arc::clone(target), Arc::clone(reach))),
        }
    }

    /// Whether a delivery would be taken now.
    pub(super) async fn ready(&self) -> Result<(), InboxFailure> {
        match self {
            Self::Sqlite { inbox, place, .. } => {
                let (health, looked) = (inbox.health(), Arc::clone(place));
                // A disk that hangs takes a thread with it, which must be none that others are served by.
                let looked = tokio::task::spawn_blocking(move || looked.expect().is_ok());
                let in_place = looked.await.unwrap_or_default();
                let asked = match health {
                    Health::Good if in_place => inbox.expect_progress(),
                    // The writer looks at what was taken away, and saves what is left of it, though nothing comes.
                    Health::Good | Health::Unknown | Health::Failing { .. } => {
                        inbox.probe().await.map(drop)
                    }
                };
                asked.map_err(|failure| match self.expect_unlocked() {
                    Err(fault) if matches!(failure, InboxFailure::TimedOut { .. }) => {
                        InboxFailure::Unavailable {
                            source: Arc::new(fault),
                        }
                    }
                    Ok(()) | Err(_) => failure,
                })
            }
            // It may have gone while nothing was delivered.
            Self::Postgres { inbox, wrote, .. } => {
                let good = matches!(inbox.health(), Health::Good);
                let last = *wrote.lock().unwrap_or_else(PoisonError::into_inner);
                if good && last.is_some_and(|last| last.elapsed() < PROBES_EVERY) {
                    return Ok(());
                }
                if inbox.probe().await? {
                    *wrote.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                Ok(())
            }
        }
    }

    /// Refuses where the file, or its log, is not where it was; a database has none.
    pub(super) fn expect_in_place(&self) -> Result<(), StoreFault> {
        match self {
            Self::Sqlite { place, .. } => place.expect(),
            Self::Postgres { .. } => Ok(()),
        }
    }

    /// Names the lock that a writer waits for.
    pub(super) fn expect_unlocked(&self) -> Result<(), StoreFault> {
        match self {
            Self::Sqlite { place, .. } => place.expect_unlocked(),
            Self::Postgres { .. } => Ok(()),
        }
    }

    /// How many deliveries, and bytes, wait.
    pub(super) fn queued(&self) -> (usize, usize) {
        match self {
            Self::Sqlite { inbox, .. } => (inbox.queued_deliveries(), inbox.queued_bytes()),
            Self::Postgres { inbox, .. } => (inbox.queued_deliveries(), inbox.queued_bytes()),
        }
    }

    /// Takes no more, and waits until what is queued was answered; for a database's writers as long as one may be at a batch. A writer that
    /// panicked has said so already.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { inbox, writer, .. } => {
                inbox.close();
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(writer) = writer {
                    let _joined = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
                }
            }
            Self::Postgres {
                inbox,
                writers,
                target,
                ..
            } => {
                inbox.close();
                let writers =
                    std::mem::take(&mut *writers.lock().unwrap_or_else(PoisonError::into_inner));
                end_within(settling(target), writers).await;
            }
        }
    }
}

/// Waits for tasks, and cuts those that go on after that: a database that answers nothing must not keep a process from its end.
async fn end_within(limit: Duration, tasks: Vec<JoinHandle<()>>) {
    let deadline = tokio::time::Instant::now() + limit;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            tracing::warn!(
                ?limit,
                "the database kept a writer longer than that; it is cut off"
            );
            task.abort();
            let _cut = task.await;
        }
    }
}

/// A session for the start, which a lacking right stops.
async fn open_with_rights(target: &Target) -> Result<Session, SessionFailure> {
    let session = Session::open(target, Purpose::Write).await?;
    session.may_write(target).await?;
    Ok(session)
}

/// The session that the start has opened is the first writer's.
fn first_with(engines: Vec<Postgres>, session: Session) -> Vec<Postgres> {
    let mut session = Some(session);
    engines
        .into_iter()
        .map(|engine| match session.take() {
            Some(session) => engine.with_session(session),
            None => engine,
        })
        .collect()
}

/// Runs it on the runtime, supervised.
pub(super) fn run_task(
    supervision: &Supervision,
    who: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let running = supervision.begin(who);
    tokio::spawn(async move {
        let _running = running;
        task.await;
    })
}

/// Begins the thread of writers, supervised: SQLite blocks, so it shares no thread with anything else.
pub(super) fn begin_thread<E: Engine>(
    supervision: &Supervision,
    name: &'static str,
    writers: Vec<Writer<E>>,
    close: fn(E),
) -> Result<thread::JoinHandle<()>, StoreFault> {
    let running = supervision.begin(name);
    let run = move || {
        let _running = running;
        run_writers(writers, close);
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| StoreFault::NoWriter {
            source: error.into(),
        })
}

fn run_writers<E: Engine>(writers: Vec<Writer<E>>, close: fn(E)) {
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store's writer cannot run"
            );
            return;
        }
    };
    for writer in writers {
        close(runtime.block_on(writer.run()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_never_ends_holds_up_a_close_no_longer_than_one_may() {
        let begun = tokio::time::Instant::now();
        let limit = Duration::from_secs(9);
        let stuck = || tokio::spawn(std::future::pending());
        let ends = tokio::spawn(tokio::time::sleep(Duration::from_secs(8)));
        end_within(limit, vec![stuck(), ends, stuck()]).await;
        assert_eq!(begun.elapsed(), limit);
        let ends = tokio::spawn(tokio::time::sleep(Duration::from_secs(8)));
        end_within(limit, vec![ends]).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(17));
    }
}
