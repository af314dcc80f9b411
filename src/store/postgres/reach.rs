//! Whether the database can be reached, as all sessions of this receiver find out together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::inbox::Cause;

/// An outage, as it began.
#[derive(Clone, Debug)]
pub(in crate::store) struct Away {
    pub(in crate::store) since: Timestamp,
    pub(in crate::store) began: Instant,
    pub(in crate::store) cause: Cause,
}

/// What the sessions tell each other.
#[derive(Debug, Default)]
pub(in crate::store) struct Reach {
    is_away: AtomicBool,
    away: Mutex<Option<Away>>,
    openings: AtomicU64,
    outages: AtomicU64,
    changed: Notify,
    reopened: Notify,
    /// Whether anything was spooled since the spool was last empty.
    spooled: AtomicBool,
}

impl Reach {
    /// It did not take what was asked of it. The first such word begins an outage.
    pub(in crate::store) fn away(&self, cause: &Cause) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_none() {
            *away = Some(Away {
                since: Timestamp::now(),
                began: Instant::now(),
                cause: std::sync::Arc::clone(cause),
            });
            self.is_away.store(true, Ordering::Release);
            self.changed.notify_one();
        }
    }

    /// It was seen to write. The outage that ends with this, if there was one.
    pub(in crate::store) fn back(&self) -> Option<Away> {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_away.store(false, Ordering::Release);
        let ended = away.take();
        if ended.is_some() {
            self.outages.fetch_add(1, Ordering::AcqRel);
            self.openings.fetch_add(1, Ordering::AcqRel);
        }
        ended
    }

    /// Whether an outage lasts.
    pub(in crate::store) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The outage that lasts.
    pub(in crate::store) fn outage(&self) -> Option<Away> {
        self.away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A session that writes batches was opened: whoever pauses before the next attempt need not.
    pub(super) fn opened(&self) {
        self.openings.fetch_add(1, Ordering::AcqRel);
        self.reopened.notify_one();
    }

    /// Waits until one was. There is one who waits: the spool's mover.
    pub(in crate::store) async fn reopened(&self) {
        self.reopened.notified().await;
    }

    /// How often the database was found again so far.
    pub(super) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// Something came into the spool. Whether it is the first since that was empty.
    pub(in crate::store) fn spooled(&self) -> bool {
        self.changed.notify_one();
        !self.spooled.swap(true, Ordering::AcqRel)
    }

    /// The spool is empty. Whether anything was in it.
    pub(in crate::store) fn emptied(&self) -> bool {
        self.spooled.swap(false, Ordering::AcqRel)
    }

    /// How many outages have ended. A session that was opened before one may lead nowhere, or to a server that was replaced.
    pub(super) fn outages(&self) -> u64 {
        self.outages.load(Ordering::Acquire)
    }

    /// Waits until there is an outage, or something came. There is one who waits: the spool's mover.
    pub(in crate::store) async fn changed(&self) {
        self.changed.notified().await;
    }
}
