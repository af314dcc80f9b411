//! The reading side: a few connections that are opened when they are first needed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::location::{StoreFault, Url};
use super::views::{
    EventDetail, EventView, Filter, LeafSeen, Page, PaymentDetail, PaymentView, RefusalView,
    SecretSeen,
};
use super::{sqlite, sqlite_path, sqlite_read};
use crate::refusals::Group;

/// Reading connections, at most: each more would wait for the same disk.
const READERS_MAX: usize = 4;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// There is no store that can be read.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A statement failed.
    #[error("the store could not be read")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime is going down.
    #[error("the reading was broken off")]
    BrokenOff,
}

/// Reads from a store, also while another process writes to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Views {
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Views {
    /// Views of a store that may be in use by a receiver. Nothing is made and nothing is migrated.
    pub fn open(url: &Url) -> Result<Self, StoreFault> {
        Ok(Self::new(sqlite_path(url)?))
    }

    pub(super) fn new(path: PathBuf) -> Self {
        let turns = Arc::new(Semaphore::new(READERS_MAX));
        Self {
            readers: Arc::new(Readers {
                path,
                idle: Mutex::default(),
                turns,
            }),
        }
    }

    /// Events, newest first.
    pub async fn events(&self, filter: Filter) -> Result<Page<EventView>, ReadFailure> {
        self.read(move |connection| sqlite_read::events(connection, &filter))
            .await
    }

    /// Every event with this id (of this tenant), accepted ones before conflicts and quarantined ones.
    pub async fn events_by_id(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> Result<Vec<EventDetail>, ReadFailure> {
        let (tenant, id) = (tenant.map(str::to_owned), id.to_owned());
        self.read(move |connection| sqlite_read::events_by_id(connection, tenant.as_deref(), &id))
            .await
    }

    /// Payments, the latest changed first.
    pub async fn payments(&self, filter: Filter) -> Result<Page<PaymentView>, ReadFailure> {
        self.read(move |connection| sqlite_read::payments(connection, &filter))
            .await
    }

    /// Every payment with this id: one for each tenant that has it.
    pub async fn payments_by_id(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> Result<Vec<PaymentDetail>, ReadFailure> {
        let (tenant, id) = (tenant.map(str::to_owned), id.to_owned());
        self.read(move |connection| sqlite_read::payments_by_id(connection, tenant.as_deref(), &id))
            .await
    }

    /// Refusals as far as they are written down, the latest first.
    pub async fn refusals(&self, filter: Filter) -> Result<Page<RefusalView>, ReadFailure> {
        self.read(move |connection| sqlite_read::refusals(connection, &filter))
            .await
    }

    pub(super) async fn refusal_groups(&self) -> Result<Vec<Group>, ReadFailure> {
        self.read(sqlite_read::refusal_groups).await
    }

    /// The client certificates that deliveries came with, by producer, the latest used first.
    pub async fn leaves_seen(&self) -> Result<Vec<LeafSeen>, ReadFailure> {
        self.read(sqlite_read::leaves).await
    }

    /// The secrets that verified deliveries, by producer, the latest used first.
    pub async fn secrets_seen(&self) -> Result<Vec<SecretSeen>, ReadFailure> {
        self.read(sqlite_read::secrets).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadFailure> {
        let turn = Arc::clone(&self.readers.turns)
            .acquire_owned()
            .await
            .map_err(|_closed| ReadFailure::BrokenOff)?;
        let readers = Arc::clone(&self.readers);
        let work = move || {
            let _turn = turn;
            readers.query(query)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(ReadFailure::BrokenOff))
    }
}

impl Readers {
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
            None => sqlite::open_to_read(&self.path)?,
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
            Err(error) => Err(ReadFailure::Statement {
                source: error.into(),
            }),
        }
    }
}
