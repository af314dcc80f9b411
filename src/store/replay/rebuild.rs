//! Rebuilding the ledger from the kept bodies, with today's mapping.
//!
//! Every accepted event and every conflict since a time is read again by its producer's present profile. Its id stays (it is
//! what made it the same event), conflicts stay aside, and quarantined events as they are; its type, its time and what it claims of a payment become
//! what today's mapping says, as if it came today. Where what was kept does not allow that, the event is counted and named. A payment of which a claim changed, or whose row is not what its events come to, is made
//! anew from all its accepted events, in the order in which they came. So a second replay changes nothing. One of which an event
//! lacks its body or its row is left as it is, and named: a part of its events is not what it is.
//!
//! Bodies are read without a lock, while the receiver goes on. Only the difference is written, in one transaction with
//! whatever came meanwhile: the receiver's deliveries wait for as long as that takes, and for no body. On PostgreSQL those
//! alone wait that speak of a payment that is made anew, or come again.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::reading::ReadEvent;
use crate::payments::Payment;
use crate::signature::Profile;
use crate::store::fault::StoreFault;
use crate::store::location::Url;
use crate::store::postgres;
use crate::store::sqlite;

/// What is read again, and whether the outcome is kept.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Events that were received then or later.
    pub since: Timestamp,
    /// This tenant's alone.
    pub tenant: Option<String>,
    /// This producer's alone.
    pub producer: Option<String>,
    /// What becomes of the outcome.
    pub mode: ReplayMode,
}

/// What becomes of a replay's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayMode {
    /// It is kept.
    Commit,
    /// It is told and rolled back.
    DryRun,
}

/// Which profile reads a producer's events today.
#[derive(Clone, Debug, Default)]
pub struct Mappings(HashMap<(Box<str>, Box<str>), Arc<Profile>>);

impl Mappings {
    /// `profile` reads what `producer` of `tenant` sent.
    pub fn insert(&mut self, tenant: &str, producer: &str, profile: Arc<Profile>) {
        self.0.insert((tenant.into(), producer.into()), profile);
    }

    pub(in crate::store) fn of(&self, tenant: &str, producer: &str) -> Option<&Arc<Profile>> {
        self.0.get(&(tenant.into(), producer.into()))
    }
}

/// How far a replay is: events read, of all that are to be read.
pub type OnProgress = Box<dyn FnMut(u64, u64) + Send>;

/// What a replay came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Events that were read again.
    pub events_read: u64,
    /// Events that today's mapping reads otherwise.
    pub events_changed: u64,
    /// Events left as they are: their producer is not configured any more, their body is not kept, or their payment is
    /// skipped.
    pub events_left: u64,
    /// Payments that are new, changed or gone.
    pub payments_changed: u64,
    /// Payments that would be, but are left as they are: of one of their events the body, or all of it, has had its time.
    pub payments_skipped: u64,
    /// Events of which a new store would say something else, for what was kept does not tell it.
    pub events_not_rebuilt: u64,
    /// The first of those changes.
    #[serde(skip)]
    pub changes: Vec<PaymentChange>,
    /// The first of those that are left as they are.
    #[serde(skip)]
    pub skipped: Vec<SkippedPayment>,
    /// The first of the events that are not rebuilt.
    #[serde(skip)]
    pub not_rebuilt: Vec<NotRebuiltEvent>,
}

/// Why a new store would say something else of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRebuilt {
    /// It would know it by another id: duplicates and conflicts are told by the one that it has.
    OtherId,
    /// It would keep its body as several events.
    Several,
    /// It could not read it.
    Unreadable,
    /// Its time was signed where nothing is kept.
    TimeLost,
    /// The mapping reads a parameter of the query string that is not kept with it.
    QueryLost,
}

impl NotRebuilt {
    /// What becomes of such an event, for a person.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::OtherId => "would have another id; the one that it has stays",
            Self::Several => "would be several events; it stays as it is",
            Self::Unreadable => "could not be read, and would be quarantined; it claims nothing",
            Self::TimeLost => "has the time that it had: what its signature covers is not kept",
            Self::QueryLost => "lacks a parameter of the query string, which was not kept",
        }
    }
}

/// An event of which a new store would say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRebuiltEvent {
    /// Whose it is.
    pub tenant_id: String,
    /// Which producer sent it.
    pub producer: String,
    /// Its id.
    pub event_id: String,
    /// Why.
    pub not_rebuilt: NotRebuilt,
}

impl Replayed {
    /// Changes that are told one by one; the others are counted.
    pub const CHANGES_MAX: usize = 100_000;

    /// Counts an event of which a new store would say something else.
    pub(in crate::store) fn tell_of(
        &mut self,
        tenant: &str,
        event: &ReadEvent,
        why: Option<NotRebuilt>,
    ) {
        let Some(not_rebuilt) = why else { return };
        self.events_not_rebuilt = self.events_not_rebuilt.saturating_add(1);
        if self.not_rebuilt.len() < Self::CHANGES_MAX {
            self.not_rebuilt.push(NotRebuiltEvent {
                tenant_id: tenant.to_owned(),
                producer: event.producer.to_string(),
                event_id: event.event_id.clone(),
                not_rebuilt,
            });
        }
    }

    /// Counts what became of a payment, if it is not what it was.
    pub(in crate::store) fn tell(&mut self, change: PaymentChange) {
        if change.before == change.after {
            return;
        }
        self.payments_changed = self.payments_changed.saturating_add(1);
        if self.changes.len() < Self::CHANGES_MAX {
            self.changes.push(change);
        }
    }
}

/// A payment that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedPayment {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub payment_id: String,
    /// Always true: it tells this line from a change's.
    pub skipped: bool,
}

/// A payment before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentChange {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub payment_id: String,
    /// Null for a payment that no event spoke of before.
    pub before: Option<PaymentState>,
    /// Null for a payment that no event speaks of any more.
    pub after: Option<PaymentState>,
}

/// What people read of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentState {
    /// Its status.
    pub status: Option<String>,
    /// Its amount.
    pub amount_minor: Option<i64>,
    /// How much of it was refunded.
    pub amount_refunded_minor: Option<i64>,
    /// Its currency.
    pub currency: Option<String>,
    /// The greatest event's id.
    pub last_event_id: Option<String>,
    /// How many events it is made of.
    pub events: i64,
}

impl From<&Payment> for PaymentState {
    fn from(payment: &Payment) -> Self {
        Self {
            status: payment.status().map(|status| status.as_str().to_owned()),
            amount_minor: payment.amount_minor(),
            amount_refunded_minor: payment.amount_refunded_minor(),
            currency: payment
                .currency()
                .map(|currency| currency.code().to_owned()),
            last_event_id: Some(payment.last_event_id().to_owned()),
            events: i64::try_from(payment.events()).unwrap_or(i64::MAX),
        }
    }
}

/// Why a replay came to nothing. Nothing of it is kept then.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure {
    /// There is no store that can be written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A statement failed.
    #[error("the replay failed; nothing was changed")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime is going down.
    #[error("the replay was cancelled; nothing was changed")]
    BrokenOff,
}

impl ReplayFailure {
    pub(in crate::store) fn statement(
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Statement {
            source: source.into(),
        }
    }
}

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
