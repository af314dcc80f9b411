//! Rebuilding the ledger from the kept bodies, with today's mapping.
//!
//! Every accepted event and every conflict since a time is read again by its producer's present profile. Its id stays (it is
//! what made it the same event), conflicts stay aside, and quarantined events as they are; its type, its time and what it claims of a payment become
//! what today's mapping says, as if it came today. Where what was kept does not allow that, the event is counted and named. A payment of which a claim changed, or whose row is not what its events come to, is made
//! anew from all its accepted events, in the order in which they came. So a second replay changes nothing. One of which an event
//! lacks its body or its row is left as it is, and named: a part of its events is not what it is.
//!
//! Bodies are read without a lock, while the receiver goes on, and so is what comes meanwhile, round after round until a round
//! was short. Only the difference is written, in one transaction. The embedded store reads in it what came since the last round,
//! and all deliveries wait for as long as it lasts. On PostgreSQL those alone wait that speak of a payment that is made anew, or
//! come again, and the batches in which they stand.

use super::asked::{Mappings, OnProgress, Replay};
use super::outcome::{ReplayFailure, Replayed};
use crate::store::location::Url;
use crate::store::postgres;
use crate::store::sqlite;

impl Replay {
    /// Reads the events of the store at `url` again, while a receiver may be writing to it.
    pub async fn run(
        self,
        url: &Url,
        mappings: Mappings,
        mut progress: OnProgress,
    ) -> Result<Replayed, ReplayFailure> {
        match url {
            Url::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || {
                    sqlite::replay::run(&path, &self, &mappings, &mut *progress)
                })
                .await
                .unwrap_or(Err(ReplayFailure::BrokenOff))
            }
            Url::Postgres(address) => {
                postgres::replay::run(address, &self, &mappings, &mut *progress).await
            }
        }
    }
}
