//! The transaction of a replay: statements of which each has its time.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::session::{Meaning, meaning};
use crate::store::replay::outcome::ReplayFailure;

/// How long one statement may take, and its answer. Some go through the events of all payments concerned.
const STATEMENT_MAX: Duration = Duration::from_secs(660);

pub(super) type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The transaction of a replay: statements of which each has its time.
#[derive(Clone, Copy)]
pub(super) struct Notes<'a>(pub(super) &'a Client);

impl Notes<'_> {
    pub(super) async fn query(
        self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, ReplayFailure> {
        within(self.0.query_typed(sql, parameters)).await
    }

    pub(super) async fn execute(
        self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<u64, ReplayFailure> {
        within(self.0.execute_typed(sql, parameters)).await
    }

    pub(super) async fn batch(self, sql: &str) -> Result<(), ReplayFailure> {
        within(self.0.batch_execute(sql)).await
    }

    pub(super) async fn commit(self) -> Result<(), ReplayFailure> {
        let done = self.batch("COMMIT").await;
        if let Err(ReplayFailure::Statement { source }) = done {
            let said = source.downcast_ref();
            if said.is_none_or(|error| meaning(error) == Meaning::Unknown) {
                return Err(ReplayFailure::Uncertain { source });
            }
            return Err(ReplayFailure::Statement { source });
        }
        done
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, ReplayFailure> {
    match timeout(STATEMENT_MAX, work).await {
        Ok(done) => done.map_err(ReplayFailure::statement),
        Err(elapsed) => Err(ReplayFailure::statement(elapsed)),
    }
}
