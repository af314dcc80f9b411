//! The reading side: a few connections that are opened when they are first needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio_postgres::Client;

use super::fault::StoreFault;
use super::location::Url;
use super::postgres;
use super::postgres::address::Target;
use super::postgres::session::{Purpose, Session};
use super::read_failure::ReadFailure;
use super::retention::pruned::DiskUse;
use super::sqlite;
use super::sqlite::errors::damage;
use super::sqlite::place::Lasting;
use super::views::{
    EventDetail, EventView, Filter, LeafSeen, Page, PaymentDetail, PaymentView, RefusalView,
    SecretSeen, ShadowSeen,
};
use crate::refusals::Group;

/// Reading connections, at most: each more would wait for the same disk.
const READERS_MAX: usize = 4;

/// Reads from a store, also while another process writes to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Views {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Sqlite(Arc<Readers>),
    Postgres(Arc<PostgresReaders>),
}

/// Connections to a file.
#[derive(Debug)]
pub(super) struct Readers {
    file: Lasting,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Views {
    /// Closes the connections to a file that nobody uses just now.
    pub(super) fn let_go(&self) {
        match &self.source {
            Source::Sqlite(readers) => {
                let mut idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.clear();
            }
            Source::Postgres(_) => {}
        }
    }

    /// Views of a store that may be in use by a receiver. Nothing is made and nothing is migrated.
    pub fn open(url: &Url) -> Result<Self, StoreFault> {
        let source = match url {
            Url::Sqlite(path) => Source::Sqlite(Arc::new(Readers {
                file: Lasting::at(path),
                idle: Mutex::default(),
                turns: Arc::new(Semaphore::new(READERS_MAX)),
            })),
            Url::Postgres(address) => {
                Source::Postgres(Arc::new(PostgresReaders::new(Target::load(address)?)))
            }
        };
        Ok(Self { source })
    }

    /// Events, newest first.
    pub async fn events(&self, filter: Filter) -> Result<Page<EventView>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                readers
                    .read(move |connection| sqlite::read::events(connection, &filter))
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::events(client, &filter).await)
                    .await
            }
        }
    }

    /// Every event with this id (of this tenant), accepted ones before conflicts and quarantined ones.
    pub async fn events_by_id(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> Result<Vec<EventDetail>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                let (tenant, id) = (tenant.map(str::to_owned), id.to_owned());
                readers
                    .read(move |connection| {
                        sqlite::read::events_by_id(connection, tenant.as_deref(), &id)
                    })
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::events_by_id(client, tenant, id).await)
                    .await
            }
        }
    }

    /// Payments, the latest changed first.
    pub async fn payments(&self, filter: Filter) -> Result<Page<PaymentView>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                readers
                    .read(move |connection| sqlite::read::payments(connection, &filter))
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::payments(client, &filter).await)
                    .await
            }
        }
    }

    /// Every payment with this id: one for each tenant that has it.
    pub async fn payments_by_id(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> Result<Vec<PaymentDetail>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                let (tenant, id) = (tenant.map(str::to_owned), id.to_owned());
                readers
                    .read(move |connection| {
                        sqlite::read::payments_by_id(connection, tenant.as_deref(), &id)
                    })
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::payments_by_id(client, tenant, id).await)
                    .await
            }
        }
    }

    /// Refusals as far as they are written down, the latest first.
    pub async fn refusals(&self, filter: Filter) -> Result<Page<RefusalView>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                readers
                    .read(move |connection| sqlite::read::refusals(connection, &filter))
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::refusals(client, &filter).await)
                    .await
            }
        }
    }

    pub(super) async fn refusal_groups(&self) -> Result<Vec<Group>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => readers.read(sqlite::read::refusal_groups).await,
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::refusal_groups(client).await)
                    .await
            }
        }
    }

    /// The client certificates that deliveries came with, by producer, the latest used first. Those that a rehearsal made are kept for its
    /// events alone: nobody has one in use, and nobody is to renew it.
    pub async fn leaves_seen(&self) -> Result<Vec<LeafSeen>, ReadFailure> {
        let mut seen = match &self.source {
            Source::Sqlite(readers) => readers.read(sqlite::read::leaves).await?,
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::leaves(client).await)
                    .await?
            }
        };
        seen.retain(|leaf| !leaf.is_of_a_rehearsal());
        Ok(seen)
    }

    /// What the store takes on disk.
    pub async fn disk_use(&self) -> Result<DiskUse, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => {
                let path = readers.file.path().to_owned();
                readers
                    .read(move |connection| sqlite::retention::disk_use(connection, &path))
                    .await
            }
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::steps::disk_use(client).await)
                    .await
            }
        }
    }

    /// What reads from the embedded store's file.
    pub(super) fn file(&self) -> Option<&Arc<Readers>> {
        match &self.source {
            Source::Sqlite(readers) => Some(readers),
            Source::Postgres(_) => None,
        }
    }

    /// The secrets that verified deliveries, by producer, the latest used first.
    pub async fn secrets_seen(&self) -> Result<Vec<SecretSeen>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => readers.read(sqlite::read::secrets).await,
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::read::secrets(client).await)
                    .await
            }
        }
    }

    /// What marks with `shadow = true` would have decided, the latest first.
    pub async fn shadows_seen(&self) -> Result<Vec<ShadowSeen>, ReadFailure> {
        match &self.source {
            Source::Sqlite(readers) => readers.read(sqlite::shadows::read).await,
            Source::Postgres(readers) => {
                readers
                    .read(async |client| postgres::shadows::read(client).await)
                    .await
            }
        }
    }
}

impl Readers {
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadFailure> {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_closed| ReadFailure::BrokenOff)?;
        let readers = Arc::clone(self);
        let work = move || {
            let _turn = turn;
            readers.query(query)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(ReadFailure::BrokenOff))
    }

    fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadFailure> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                self.file.expect_if_found()?;
                sqlite::open_to_read(self.file.path())?
            }
        };
        // One transaction, so that a page and its objects are of one moment.
        let read = connection.unchecked_transaction().and_then(|transaction| {
            let result = query(&transaction)?;
            transaction.commit()?;
            Ok(result)
        });
        match read {
            Ok(result) => {
                self.idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(connection);
                Ok(result)
            }
            // The connection goes with it: the next reading begins afresh.
            Err(error) => Err(match damage(self.file.path(), error.into()) {
                Ok(fault) => ReadFailure::Store(fault),
                Err(source) => ReadFailure::Statement { source },
            }),
        }
    }
}

/// Sessions with a PostgreSQL that are opened when they are needed, and kept.
#[derive(Debug)]
struct PostgresReaders {
    target: Target,
    idle: Mutex<Vec<Session>>,
    turns: Semaphore,
}

impl PostgresReaders {
    fn new(target: Target) -> Self {
        let turns = Semaphore::new(target.access.readers.max(1));
        Self {
            target,
            idle: Mutex::default(),
            turns,
        }
    }

    /// One reading, on a session of its own that is kept for the next unless this one fails.
    async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, ReadFailure> {
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|_closed| ReadFailure::BrokenOff)?;
        let idle = self.idle().pop();
        let session = match idle.filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => Session::open(&self.target, Purpose::Read)
                .await
                .map_err(|failure| failure.into_fault(&self.target.place))?,
        };
        let waited = self.target.access.statement_timeout;
        // Whoever asked may be gone before the answer comes.
        let asking = session.asking();
        let read = match tokio::time::timeout(waited, read(&session.client)).await {
            Ok(read) => read,
            Err(_elapsed) => return Err(ReadFailure::TookTooLong { waited }),
        };
        asking.answered();
        let read = read.map_err(|error| ReadFailure::Statement {
            source: error.into(),
        })?;
        self.idle().push(session);
        Ok(read)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
