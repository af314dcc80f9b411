//! The scenes of a rehearsal in which the store must tell one delivery from another: what comes again, what contradicts, and
//! what comes in the wrong order.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::burst::kind_of;
use super::sample::{self, Tale};
use super::scenes::{Expected, FAILED, NOT_SEEN, PASSED, REHEARSAL, SEEN, Scene, Stage};
use super::sender::{self, Author, Delivery, Stopped};
use super::stored::{Look, Must};
use super::wire::{Answered, WireFailure};
use crate::tls::client::Connector;

/// A payment's events lie closer together than this.
const STORY_MAX: SignedDuration = SignedDuration::from_secs(30);

impl Stage {
    pub(super) async fn repetitions(&mut self, own: &Connector) -> Result<(), Stopped> {
        let tale = self.tale()?;
        let now = Timestamp::now();
        let first = self.author.tell(&tale, now)?;
        let id = &first.event_id;
        let outcome = self.send(own, &first).await;
        self.stored("first of several", outcome, &Must::hold(id, 1, 0))
            .await;
        let outcome = self.send(own, &first).await;
        self.stored("replayed, byte for byte", outcome, &Must::hold(id, 1, 1))
            .await;
        let again = self.author.tell(&tale, Timestamp::now())?;
        // Where the signature stands in the body, and is another each time, the same event has another body.
        let (bodies, duplicates) = if self.author.event(&again) == self.author.event(&first) {
            (1, 2)
        } else {
            (2, 1)
        };
        let outcome = self.send(own, &again).await;
        let must = Must::hold(id, bodies, duplicates);
        self.stored("duplicate, signed anew", outcome, &must).await;
        match conflicting(&self.author, &tale, &first)? {
            Some(conflicting) => {
                let outcome = self.send(own, &conflicting).await;
                let must = Must::hold(id, bodies + 1, duplicates);
                self.stored("conflicting body", outcome, &must).await;
            }
            None => self.skip(
                "conflicting body",
                if is_known_by_its_body(&first) {
                    "the signature covers no id of the profile's events, so each is known by its body's SHA-256: another body is another event"
                } else {
                    "an event's id says all that a body of this profile can differ in: another body is another event"
                },
            ),
        }
        self.out_of_order(own).await
    }

    /// The events of a payment, the last one first.
    async fn out_of_order(&mut self, own: &Connector) -> Result<(), Stopped> {
        const SCENE: &str = "out of order";
        let kinds = sample::story(&self.author.profile);
        let payment = sender::fresh_id(REHEARSAL)?;
        let ids = kinds
            .iter()
            .map(|_| sender::fresh_id(REHEARSAL))
            .collect::<Result<Vec<_>, _>>()?;
        let tales = sample::tales(&kinds, &payment, &ids, Timestamp::now());
        // Signed when it happened: where a body states no time, the signature's is the event's. Where that would be too old,
        // nobody can say what such events come to.
        let on_time = self.oldest.is_some_and(|oldest| oldest < STORY_MAX);
        let mut told = Vec::new();
        let mut last = None;
        let mut status = None;
        for tale in tales.iter().rev() {
            let signed_at = if on_time { Timestamp::now() } else { tale.at };
            let delivery = self.author.tell(tale, signed_at)?;
            let facts = self.author.facts(&delivery);
            let payment = facts.and_then(|facts| facts.payment.ok());
            let of_payment = payment.and_then(|it| Some((it.payment_id, it.status?)));
            status = status.or(of_payment);
            told.push((delivery.event_id.clone(), self.author.event(&delivery)));
            match self.send(own, &delivery).await {
                Ok(answered) if answered.status.is_success() => last = Some(answered),
                refused => {
                    self.note(SCENE, Expected::Accepted, refused);
                    return Ok(());
                }
            }
        }
        let status = status.filter(|_| !on_time);
        let Some(answered) = last else { return Ok(()) };
        if are_told_apart(&told) {
            let ids: Vec<_> = told.into_iter().map(|(id, _)| id).collect();
            self.stored(SCENE, Ok(answered), &Must::hold_each(&ids, status))
                .await;
        } else {
            let why =
                "by this profile, a payment's events are not told apart by their ids and bodies";
            let look = Look::NotSeen(why.to_owned());
            self.note_stored(SCENE, kind_of(&answered), look);
        }
        Ok(())
    }

    /// What must be accepted, and be in the store then.
    async fn stored(
        &mut self,
        scene: &'static str,
        outcome: Result<Answered, WireFailure>,
        must: &Must,
    ) {
        match outcome {
            Ok(answered) if answered.status.is_success() => {
                let look = self.stored.look(must).await;
                self.note_stored(scene, kind_of(&answered), look);
            }
            refused => self.note(scene, Expected::Accepted, refused),
        }
    }

    pub(super) fn note_stored(&mut self, scene: &'static str, answer: String, look: Look) {
        let (result, store, found) = match look {
            Look::There(found) => (PASSED, SEEN, found),
            Look::Otherwise(found) => (FAILED, SEEN, found),
            Look::NotSeen(why) => (
                PASSED,
                NOT_SEEN,
                format!("as far as the answer goes: the store was not seen ({why})"),
            ),
        };
        self.scenes.push(Scene {
            scene,
            result,
            detail: format!("{answer}; {found}"),
            store: Some(store),
        });
    }
}

/// Another body under the id of `first`: of another payment, or of another time where the id is made of the payment.
fn conflicting(
    author: &Author,
    tale: &Tale,
    first: &Delivery,
) -> Result<Option<Delivery>, Stopped> {
    let others = [
        Tale {
            payment: sender::fresh_id(REHEARSAL)?,
            ..tale.clone()
        },
        Tale {
            at: tale.at.checked_sub(SignedDuration::from_secs(60))?,
            ..tale.clone()
        },
        Tale {
            id: sender::fresh_id(REHEARSAL)?,
            ..tale.clone()
        },
    ];
    for other in &others {
        let delivery = author.tell(other, Timestamp::now())?;
        if delivery.event_id == first.event_id && author.event(&delivery) != author.event(first) {
            return Ok(Some(delivery));
        }
    }
    Ok(None)
}

/// Whether each of these events, an id and what it says, is another: an id may be made of the payment alone, and a sample may bear
/// neither id nor time.
fn are_told_apart(told: &[(String, Bytes)]) -> bool {
    let ids: HashSet<_> = told.iter().map(|(id, _)| id).collect();
    let bodies: HashSet<_> = told.iter().map(|(_, body)| body).collect();
    ids.len() == told.len() && bodies.len() == told.len()
}

/// Its id is the SHA-256 of its body, or of the document in it.
fn is_known_by_its_body(delivery: &Delivery) -> bool {
    let id = delivery.event_id.as_bytes();
    id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::players::players;

    #[test]
    fn every_provider_can_tell_a_conflict_but_those_whose_events_are_known_by_their_bodies() {
        for player in players() {
            let name = player.profile.name();
            let now = Timestamp::now();
            let tale = player.tale(now);
            let first = player.author.tell(&tale, now).ok().unwrap();
            match conflicting(&player.author, &tale, &first).ok().unwrap() {
                Some(other) => {
                    assert_eq!(other.event_id, first.event_id, "{name}");
                    let event = |delivery| player.author.event(delivery);
                    assert_ne!(event(&other), event(&first), "{name}");
                }
                // What is told instead of the scene. Of Xero's events, the id says all that they say.
                None => assert!(is_known_by_its_body(&first) || name == "xero", "{name}"),
            }
        }
    }

    #[test]
    fn events_that_share_an_id_or_a_body_are_not_told_apart() {
        let told = |events: &[(&str, &'static str)]| {
            let events = events
                .iter()
                .map(|(id, body)| ((*id).to_owned(), Bytes::from_static(body.as_bytes())));
            are_told_apart(&events.collect::<Vec<_>>())
        };
        assert!(told(&[("evt_1", "paid"), ("evt_2", "captured")]));
        assert!(!told(&[("pay_1", "paid"), ("pay_1", "captured")]));
        assert!(!told(&[("evt_1", "paid"), ("evt_2", "paid")]));
    }

    #[test]
    fn every_provider_tells_a_payments_events_apart() {
        for player in players() {
            let profile = &player.author.profile;
            let kinds = sample::story(profile);
            let id = || sender::fresh_id(REHEARSAL).ok().unwrap();
            let ids: Vec<_> = kinds.iter().map(|_| id()).collect();
            let tales = sample::tales(&kinds, &id(), &ids, Timestamp::now());
            let tell = |tale| player.author.tell(tale, Timestamp::now()).ok().unwrap();
            let told = tales.iter().map(tell);
            let told: Vec<_> = told
                .map(|delivery| (delivery.event_id.clone(), player.author.event(&delivery)))
                .collect();
            assert!(are_told_apart(&told), "{}: {told:?}", player.profile.name());
        }
    }

    #[test]
    fn what_a_rehearsal_leaves_bears_its_word_in_the_id_or_in_what_the_id_is_made_of() {
        for player in players() {
            let name = player.profile.name();
            let now = Timestamp::now();
            let id = || sender::fresh_id(REHEARSAL).ok().unwrap();
            let tale = Tale {
                id: id(),
                payment: id(),
                ..player.tale(now)
            };
            let delivery = player.author.tell(&tale, now).ok().unwrap();
            let word = format!("{REHEARSAL}_");
            let marked = delivery.event_id.starts_with(&word);
            let body = String::from_utf8_lossy(&delivery.body);
            let facts = player.author.facts(&delivery).unwrap();
            let payment = facts.payment.map_or(String::new(), |it| it.payment_id);
            let within = body.contains(&word) || payment.starts_with(&word);
            let marked = marked || (is_known_by_its_body(&delivery) && within);
            assert!(marked, "{name}: {} {body}", delivery.event_id);
        }
    }
}
