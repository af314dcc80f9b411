//! A host that takes writes and is empty: whether a ledger may begin there.
//!
//! One begins at a first start alone, and where no other host of the address is known to have what was kept.

use super::address::Target;
use super::schema::Found;
use super::session::{Purpose, Session, SessionFailure};

/// A host that would have no session with us.
pub(super) struct Passed {
    pub(super) number: usize,
    /// That which it has; `None` where it could not be asked.
    pub(super) schema: Option<i64>,
    pub(super) failure: SessionFailure,
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
        purpose: Purpose,
        mut passed: Vec<Passed>,
    ) -> Result<Session, SessionFailure> {
        let host = target.host_name(self.number);
        let has_it = |passed: &Passed| passed.schema.is_some_and(|schema| schema > 0);
        if let Some(holder) = passed.iter().position(has_it) {
            let holder = passed.swap_remove(holder);
            if !matches!(holder.failure, SessionFailure::ReadOnly) {
                return Err(holder.failure);
            }
            let holder = target.host_name(holder.number);
            return Err(SessionFailure::Elsewhere { host, holder });
        }
        let changes = matches!(purpose, Purpose::Write | Purpose::Change);
        if changes && target.was_met() {
            // Another session may have made it here while the other hosts were waited for.
            self.found = self.session.look_again(target).await?;
            if self.found.schema == 0 {
                return Err(SessionFailure::Gone { host });
            }
        }
        passed.retain(|passed| passed.schema.is_none());
        let is_new = self.found.schema == 0;
        if purpose == Purpose::Change && is_new {
            // That there is none, nobody knows before all have been asked.
            if let Some(unasked) = passed.pop() {
                return Err(unasked.failure);
            }
        }
        let session = self.session.made_fit(target, &self.found, purpose).await?;
        if purpose == Purpose::Write && is_new {
            for unasked in passed {
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
