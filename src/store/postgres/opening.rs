//! Opening a session: with the first host of the address that has what was kept, or, at a first start, with an empty one.

use super::address::Target;
use super::empty::{Empty, Passed};
use super::session::{Purpose, Session};
use super::session_failure::SessionFailure;

impl Session {
    /// Opens a session with the first of the hosts that will have one. One that is empty waits until all have been looked at: another may
    /// have what was kept.
    pub(in crate::store) async fn open(
        target: &Target,
        purpose: Purpose,
    ) -> Result<Self, SessionFailure> {
        let mut passed = Vec::new();
        let mut empty = None;
        let tls = target.tls().await;
        for (number, host) in target.hosts().iter().enumerate() {
            let (found, opened) = match Self::greet(target, host, &tls).await {
                Ok((session, found)) if found.schema == 0 && !found.read_only => {
                    empty.get_or_insert(Empty {
                        number,
                        session,
                        found,
                    });
                    continue;
                }
                Ok((session, found)) => {
                    target.has_met(&found);
                    let opened = session.made_fit(target, &found, purpose).await;
                    (Some(found), opened)
                }
                Err(failure) => (None, Err(failure)),
            };
            // What a standby lacks may have come to its primary already.
            let lags = purpose == Purpose::Read && found.as_ref().is_some_and(|it| it.read_only);
            match opened {
                Ok(session) => return Ok(session),
                // Another host has the same data: it would be no better.
                Err(fault @ SessionFailure::Fault(_)) if !lags => return Err(fault),
                Err(failure) => passed.push(Passed {
                    number,
                    schema: found.map(|found| found.schema),
                    failure,
                }),
            }
        }
        match empty {
            Some(empty) => empty.taken(target, &tls, purpose, passed).await,
            None => Err(why_none(passed)),
        }
    }
}

/// Why none of the hosts was opened: what one that answers lacks, one that does not may have.
fn why_none(mut passed: Vec<Passed>) -> SessionFailure {
    let unasked = passed
        .iter()
        .rposition(|passed| !matches!(passed.failure, SessionFailure::Fault(_)));
    let told = match unasked {
        Some(unasked) => Some(passed.swap_remove(unasked)),
        None => passed.pop(),
    };
    told.map_or(SessionFailure::ReadOnly, |passed| passed.failure)
}
