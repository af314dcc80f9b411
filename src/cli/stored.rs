//! What a receiver's store holds of a rehearsal: an answer says that a delivery was taken, and not that anything came of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::output::chain;
use crate::config::StoreSettings;
use crate::store::{ReadFailure, Url, Views};

/// How long a spool may take to be emptied into the store: by default it stands still for 19 s at most.
const MOVED_WITHIN: Duration = Duration::from_secs(20);
/// How long a database may take to show what was written: whoever reads may be answered by a standby.
const COPIED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// The store of the configuration, as far as it can be read.
pub(super) struct Stored {
    pub(super) views: Result<Views, String>,
    pub(super) tenant: String,
    pub(super) producer: String,
    /// Whether the receiver is the configured one, so that what it accepts must be there.
    pub(super) own: bool,
    /// Whether what was accepted may wait beside the store.
    pub(super) spool: bool,
    /// How long what was accepted may take to be seen.
    pub(super) seen_within: Duration,
}

/// How long what is accepted may take to be seen in a store.
pub(super) fn seen_within(store: &StoreSettings) -> Duration {
    match &store.url {
        Url::Sqlite(_) => Duration::ZERO,
        Url::Postgres(_) if store.spool.is_some() => MOVED_WITHIN,
        Url::Postgres(_) => COPIED_WITHIN,
    }
}

/// Looks again until all is there, or that time is over.
async fn until_there(
    within: Duration,
    look: impl AsyncFn() -> Result<Look, ReadFailure>,
) -> Result<Look, ReadFailure> {
    let until = Instant::now() + within;
    loop {
        match look().await {
            Ok(Look::Otherwise(_)) if Instant::now() < until => sleep(ASKED_EVERY).await,
            looked => return looked,
        }
    }
}

/// What must be there.
pub(super) struct Must {
    events: Vec<MustEvent>,
    /// A payment's id, and its status.
    payment: Option<(String, String)>,
}

struct MustEvent {
    id: String,
    /// How many bodies came under the id; all but the first are conflicts.
    bodies: usize,
    /// How many deliveries repeated one of them.
    duplicates: u64,
}

/// What a look came to.
pub(super) enum Look {
    /// All is there; in words.
    There(String),
    /// Something else is; in words.
    Otherwise(String),
    /// The store was not seen, and why.
    NotSeen(String),
}

impl Must {
    /// One event, which so many bodies came under, and so many repetitions.
    pub(super) fn hold(id: &str, bodies: usize, duplicates: u64) -> Self {
        let id = id.to_owned();
        Self {
            events: vec![MustEvent {
                id,
                bodies,
                duplicates,
            }],
            payment: None,
        }
    }

    /// Each of these events, once, and what the payment must have come to.
    pub(super) fn hold_each(ids: &[String], payment: Option<(String, String)>) -> Self {
        let once = |id: &String| MustEvent {
            id: id.clone(),
            bodies: 1,
            duplicates: 0,
        };
        Self {
            events: ids.iter().map(once).collect(),
            payment,
        }
    }
}

impl Stored {
    /// The first look, which tells whether this is the receiver's store at all.
    pub(super) async fn find(&mut self, must: &Must) -> Look {
        let look = self.look(must).await;
        let why = match &look {
            Look::Otherwise(_) if !self.own => {
                "the configuration's store does not have what was sent to --url"
            }
            Look::Otherwise(_) if self.spool => "what was sent may still wait in the spool",
            Look::There(_) | Look::Otherwise(_) | Look::NotSeen(_) => return look,
        };
        self.give_up(why);
        Look::NotSeen(why.to_owned())
    }

    /// From now on, no look sees anything.
    pub(super) fn give_up(&mut self, why: &str) {
        self.views = Err(why.to_owned());
    }

    /// Whether all is there.
    pub(super) async fn look(&self, must: &Must) -> Look {
        let views = match &self.views {
            Ok(views) => views,
            Err(why) => return Look::NotSeen(why.clone()),
        };
        let look = until_there(self.seen_within, async || self.compare(views, must).await);
        look.await
            .unwrap_or_else(|failure| Look::NotSeen(chain(&failure)))
    }

    async fn compare(&self, views: &Views, must: &Must) -> Result<Look, ReadFailure> {
        let mut told = Vec::new();
        for event in &must.events {
            let (right, found) = self.event(views, event).await?;
            if !right {
                return Ok(Look::Otherwise(format!("of event {} {found}", event.id)));
            }
            told.push(found);
        }
        told.dedup();
        let several = must.events.len() > 1;
        let each = if several { "of each event " } else { "" };
        let mut text = format!("{each}{}", told.join(", "));
        if let Some((id, status)) = &must.payment {
            let payments = views.payments_by_id(Some(&self.tenant), id).await?;
            let found = payments.first().map(|found| &found.payment.status);
            let named = match found {
                Some(Some(found)) => found.clone(),
                Some(None) => "without a status".to_owned(),
                None => "not there".to_owned(),
            };
            if named != *status {
                return Ok(Look::Otherwise(format!(
                    "payment {id} is {named}, and must be {status}"
                )));
            }
            text.push_str(&format!(", and the payment is {status}"));
        }
        Ok(Look::There(text))
    }

    /// Whether an event is kept as it must be, and what was found of it.
    async fn event(&self, views: &Views, must: &MustEvent) -> Result<(bool, String), ReadFailure> {
        let found = views.events_by_id(Some(&self.tenant), &must.id).await?;
        let own = found
            .into_iter()
            .map(|detail| detail.event)
            .filter(|event| event.producer == self.producer);
        let (mut accepted, mut conflicts, mut unread, mut duplicates) = (0, 0, 0, 0);
        for event in own {
            duplicates += event.duplicates;
            match event.verdict {
                "accepted" => accepted += 1,
                "conflict" => conflicts += 1,
                _ => unread += 1,
            }
        }
        // What cannot be read is kept as well, and never conflicts with anything.
        let kept = (accepted == 1 && conflicts + 1 == must.bodies && unread == 0)
            || (accepted + conflicts == 0 && unread == must.bodies);
        let counts = [
            (accepted, "accepted"),
            (conflicts, "in conflict"),
            (unread, "in quarantine"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let text = if counts.is_empty() {
            "the store has nothing".to_owned()
        } else {
            format!("the store has {}, {duplicates} repeated", counts.join(", "))
        };
        Ok((kept && duplicates == must.duplicates, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all is there in the end, of what can be seen after `seen_after`.
    async fn is_seen(seen_after: Duration) -> bool {
        let began = Instant::now();
        let look = async || {
            Ok(if began.elapsed() >= seen_after {
                Look::There(String::new())
            } else {
                Look::Otherwise(String::new())
            })
        };
        let looked = until_there(COPIED_WITHIN, look).await;
        assert!(began.elapsed() <= COPIED_WITHIN + ASKED_EVERY);
        matches!(looked, Ok(Look::There(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_standby_shows_late_is_seen_and_what_it_never_shows_is_not() {
        assert!(is_seen(Duration::ZERO).await);
        assert!(is_seen(COPIED_WITHIN / 2).await);
        assert!(!is_seen(2 * COPIED_WITHIN).await);
    }
}
