//! A host that takes writes and is empty: whether a ledger may begin there.
//!
//! One begins at a first start alone, and where no other host of the address is known to have what was kept.

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
            // It is as it was: what was said first is told.
            Err(_again) => {}
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
    /// Takes it, where no other host of the address is known to have what was kept.
    pub(super) async fn taken(
        mut self,
        target: &Target,
        tls: &DatabaseTls,
        purpose: Purpose,
        passed: Vec<Passed>,
    ) -> Result<Session, SessionFailure> {
        let host = target.host_name(self.number);
        let mut unasked = Vec::new();
        let mut holder = None;
        for mut passed in passed {
            if passed.schema.is_none() {
                passed = passed.asked_in_any_state(target, tls).await?;
            }
            match passed.schema {
                None => unasked.push(passed),
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
        let is_new = self.found.schema == 0;
        if matches!(purpose, Purpose::Change | Purpose::Read) && is_new {
            // That there is none, nobody knows before all have been asked.
            if let Some(unasked) = unasked.pop() {
                return Err(unasked.failure);
            }
        }
        let session = self.session.made_fit(target, &self.found, purpose).await?;
        if purpose == Purpose::Write && is_new {
            for unasked in unasked {
                tracing::warn!(
                    store = %target.place,
                    %host,
                    not_asked = %target.host_name(unasked.number),
                    error = &unasked.failure as &dyn std::error::Error,
                    "a new ledger began at a host that was empty, while another host of store.url could not be asked for one; if that \
                     one has what was kept, take the new one out of store.url, restart every receiver, and have the providers send \
                     again what came since"
                );
            }
        }
        Ok(session)
    }
}
