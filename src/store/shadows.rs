//! What marks with `shadow = true` would have decided: tallied in memory, written down now and then.
//!
//! One tally for each mark and each subject that met it. Memory is bounded, and so is what is kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::identity::{ShadowMark, Would};
use crate::inbox::digest16;
use crate::refusals::kept;

/// What a mark said of one handshake or delivery. The texts may be a peer's.
#[derive(Clone, Copy, Debug)]
pub struct ShadowSighting<'a> {
    /// What is marked.
    pub mark: ShadowMark,
    /// Which one: a CA's SHA-256, a producer's name, a pin, a secret's reference.
    pub what: &'a str,
    /// The tenant whose producer it is, or whom the subject names; empty if nobody's.
    pub tenant: &'a str,
    /// That producer's name; empty if nobody's.
    pub producer: &'a str,
    /// The subject of the certificate that met the mark.
    pub subject: &'a str,
    /// Where it came from.
    pub address: IpAddr,
    /// What the mark would have done.
    pub would: Would,
}

/// What one mark would have decided of one subject since this was last written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShadowTally {
    pub(super) key: [u8; 16],
    pub(super) mark: ShadowMark,
    pub(super) what: Box<str>,
    pub(super) tenant: Box<str>,
    pub(super) producer: Box<str>,
    pub(super) subject: Box<str>,
    pub(super) address: IpAddr,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) counts: Counts,
}

/// How often a mark would have done what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accept: u64,
    pub(super) agree: u64,
    pub(super) refuse: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.accept = self.accept.saturating_add(other.accept);
        self.agree = self.agree.saturating_add(other.agree);
        self.refuse = self.refuse.saturating_add(other.refuse);
    }
}

/// The tallies since they were last written down.
#[derive(Debug, Default)]
pub struct Shadows {
    noted: Mutex<HashMap<[u8; 16], ShadowTally>>,
}

impl Shadows {
    /// Tallies that are kept, at most, here between two writings and in the store; the longest silent go first.
    pub const TALLIES_MAX: usize = 10_000;

    /// Notes what a mark would have done at `now`.
    pub fn note(&self, sighting: &ShadowSighting<'_>, now: Timestamp) {
        let (subject, what) = (kept(sighting.subject), kept(sighting.what));
        let key = key([
            sighting.mark.as_str(),
            &what,
            sighting.tenant,
            sighting.producer,
            &subject,
        ]);
        let one = match sighting.would {
            Would::Accept => Counts {
                accept: 1,
                ..Counts::default()
            },
            Would::Agree => Counts {
                agree: 1,
                ..Counts::default()
            },
            Would::Refuse => Counts {
                refuse: 1,
                ..Counts::default()
            },
        };
        self.take_in(ShadowTally {
            key,
            mark: sighting.mark,
            what,
            tenant: sighting.tenant.into(),
            producer: sighting.producer.into(),
            subject,
            address: sighting.address,
            first: now,
            last: now,
            counts: one,
        });
    }

    fn take_in(&self, tally: ShadowTally) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = noted.get_mut(&tally.key) {
            before.counts.add(tally.counts);
            before.first = before.first.min(tally.first);
            before.last = before.last.max(tally.last);
            before.address = tally.address;
        } else if noted.len() < Self::TALLIES_MAX {
            noted.insert(tally.key, tally);
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> Vec<ShadowTally> {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        noted.into_values().collect()
    }

    /// Gives back what could not be written down.
    pub(super) fn give_back(&self, tallies: Vec<ShadowTally>) {
        for tally in tallies {
            self.take_in(tally);
        }
    }
}

/// What a tally is found by: its mark, what is marked, tenant, producer and subject.
pub(super) fn key(parts: [&str; 5]) -> [u8; 16] {
    digest16(&parts.map(str::as_bytes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn sighting(subject: &str, would: Would) -> ShadowSighting<'_> {
        ShadowSighting {
            mark: ShadowMark::ClientCa,
            what: "aa",
            tenant: "",
            producer: "",
            subject,
            address: Ipv4Addr::LOCALHOST.into(),
            would,
        }
    }

    #[test]
    fn a_flood_of_subjects_is_bounded_and_what_is_given_back_is_counted_once() {
        let shadows = Shadows::default();
        let now = Timestamp::UNIX_EPOCH;
        shadows.note(&sighting("CN=a", Would::Accept), now);
        shadows.note(&sighting("CN=a", Would::Refuse), now);
        let taken = shadows.take();
        assert_eq!(taken.len(), 1);
        shadows.note(&sighting("CN=a", Would::Accept), now);
        shadows.give_back(taken);
        let taken = shadows.take();
        let expected = Counts {
            accept: 2,
            agree: 0,
            refuse: 1,
        };
        assert_eq!(taken[0].counts, expected);
        for number in 0..2 * Shadows::TALLIES_MAX {
            shadows.note(&sighting(&format!("CN={number}"), Would::Agree), now);
        }
        assert_eq!(shadows.take().len(), Shadows::TALLIES_MAX);
    }
}
