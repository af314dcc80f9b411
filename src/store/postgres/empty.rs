//! A host that takes writes and is empty: whether a ledger may begin there.
//!
//! One begins at a first start alone, and where every other host of the address was asked and has nothing of what was kept.

use super::address::Target;
use super::schema::Found;
use super::session::{Purpose, Session};
use super::session_failure::SessionFailure;
use crate::tls::DatabaseTls;

/// A host that would have no session with us.
pub(super) struct Passed {
    pub(super) number: usize,
    /// That which it has; `None` where it could not be asked.
    pub(super) schema: Option<i64>,
    pub(super) failure: SessionFailure,
}

impl Passed {
    /// Asks a host anew that `target_session_attrs` may have kept the driver from: that it takes no writes says nothing of what it has.
    async fn asked_in_any_state(
        mut self,
        target: &Target,
        tls: &DatabaseTls,
    ) -> Result<Self, SessionFailure> {
        let Some(host) = target.host_in_any_state(self.number) else {
            self.schema = self.failure.has_no_such_database().then_some(0);
            return Ok(self);
        };
        match Session::greet(target, &host, tls).await {
            Ok((_session, found)) => {
                target.has_met(&found);
                self.schema = Some(found.schema);
                if found.read_only {
                    self.failure = SessionFailure::ReadOnly;
                }
            }
            Err(fault @ SessionFailure::Fault(_)) => return Err(fault),
            // What was said first is told.
            Err(again) => self.schema = again.has_no_such_database().then_some(0),
        }
        Ok(self)
    }
}

/// A host that takes writes, and has nothing of ours.
pub(super) struct Empty {
    pub(super) number: usize,
    pub(super) session: Session,
    pub(super) found: Found,
}

impl Empty {
    /// Takes it, where no other host of the address has what was kept.
    pub(super) async fn taken(
        mut self,
        target: &Target,
        tls: &DatabaseTls,
        purpose: Purpose,
        passed: Vec<Passed>,
    ) -> Result<Session, SessionFailure> {
        let host = target.host_name(self.number);
        let mut unasked = None;
        let mut holder = None;
        for mut passed in passed {
            if passed.schema.is_none() {
                passed = passed.asked_in_any_state(target, tls).await?;
            }
            match passed.schema {
                None => unasked = Some(passed),
                Some(0) => {}
                Some(_) => holder = holder.or(Some(passed)),
            }
        }
        let changes = matches!(purpose, Purpose::Write | Purpose::Change);
        if let Some(holder) = holder {
            if !matches!(holder.failure, SessionFailure::ReadOnly) {
                return Err(holder.failure);
            }
            // It may be a standby of this one, that tells of what another session made here meanwhile.
            self.found = self.session.look_again(target).await?;
            if self.found.schema == 0 {
                let holder = target.host_name(holder.number);
                return Err(SessionFailure::Elsewhere { host, holder });
            }
        } else if changes && target.was_met() {
            // Another session may have made it here while the other hosts were waited for.
            self.found = self.session.look_again(target).await?;
            if self.found.schema == 0 {
                return Err(SessionFailure::Gone { host });
            }
        }
        if self.found.schema == 0
            && let Some(unasked) = unasked
        {
            // Two ledgers would each take for new what the other has.
            let other = target.host_name(unasked.number);
            let source = Box::new(unasked.failure);
            return Err(SessionFailure::Unasked {
                host,
                other,
                source,
            });
        }
        self.session.made_fit(target, &self.found, purpose).await
    }
}
