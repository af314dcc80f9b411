//! Which certificates and secrets are in use: noted in memory with each delivery, written down now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::identity::TenantId;
use crate::x509::Certificate;

/// The certificates and secrets of deliveries since they were last written down.
///
/// Noting one costs a short lock and a look-up. Memory is bounded: beyond [`Seen::ENTRIES_MAX`] kinds, new ones wait
/// for the next writing.
#[derive(Debug, Default)]
pub struct Seen {
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    leaves: HashMap<(TenantId, Arc<str>, [u8; 32]), LeafSighting>,
    secrets: HashMap<(TenantId, Arc<str>, Arc<str>), SecretSighting>,
}

/// A client certificate in use.
#[derive(Clone, Debug)]
pub(super) struct LeafSighting {
    pub(super) tenant: TenantId,
    pub(super) producer: Arc<str>,
    pub(super) leaf: Certificate,
    pub(super) anchor: Certificate,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// A secret in use.
#[derive(Clone, Debug)]
pub(super) struct SecretSighting {
    pub(super) tenant: TenantId,
    pub(super) producer: Arc<str>,
    pub(super) secret: Arc<str>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Seen {
    /// Certificates, and secrets, that are noted between two writings, at most.
    pub const ENTRIES_MAX: usize = 10_000;

    /// Notes that `producer` presented `leaf`, which chained to `anchor`.
    pub fn note_leaf(
        &self,
        tenant: &TenantId,
        producer: &Arc<str>,
        leaf: &Certificate,
        anchor: &Certificate,
        now: Timestamp,
    ) {
        self.take_in_leaf(LeafSighting {
            tenant: tenant.clone(),
            producer: Arc::clone(producer),
            leaf: leaf.clone(),
            anchor: anchor.clone(),
            first: now,
            last: now,
        });
    }

    /// Notes that this secret of `producer` verified a delivery.
    pub fn note_secret(
        &self,
        tenant: &TenantId,
        producer: &Arc<str>,
        secret: &Arc<str>,
        now: Timestamp,
    ) {
        self.take_in_secret(SecretSighting {
            tenant: tenant.clone(),
            producer: Arc::clone(producer),
            secret: Arc::clone(secret),
            first: now,
            last: now,
        });
    }

    fn take_in_leaf(&self, seen: LeafSighting) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = Arc::clone(&seen.producer);
        let key = (seen.tenant.clone(), producer, seen.leaf.sha256().0);
        if let Some(before) = noted.leaves.get_mut(&key) {
            // Of two anchors the one of the latest delivery counts.
            if seen.last >= before.last {
                before.anchor = seen.anchor;
            }
            before.first = before.first.min(seen.first);
            before.last = before.last.max(seen.last);
        } else if noted.leaves.len() < Self::ENTRIES_MAX {
            noted.leaves.insert(key, seen);
        }
    }

    fn take_in_secret(&self, seen: SecretSighting) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let (producer, secret) = (Arc::clone(&seen.producer), Arc::clone(&seen.secret));
        let key = (seen.tenant.clone(), producer, secret);
        if let Some(before) = noted.secrets.get_mut(&key) {
            before.first = before.first.min(seen.first);
            before.last = before.last.max(seen.last);
        } else if noted.secrets.len() < Self::ENTRIES_MAX {
            noted.secrets.insert(key, seen);
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> (Vec<LeafSighting>, Vec<SecretSighting>) {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        (
            noted.leaves.into_values().collect(),
            noted.secrets.into_values().collect(),
        )
    }

    /// Gives back what could not be written down.
    pub(super) fn give_back(&self, leaves: Vec<LeafSighting>, secrets: Vec<SecretSighting>) {
        for seen in leaves {
            self.take_in_leaf(seen);
        }
        for seen in secrets {
            self.take_in_secret(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, leaf};
    use super::*;

    #[test]
    fn what_is_given_back_keeps_when_it_was_first_seen() {
        let seen = Seen::default();
        let (tenant, producer) = (TenantId::new("tenant-42"), Arc::from("payments-provider"));
        let secret = Arc::from("file:a.secret");
        let note = |second| {
            seen.note_leaf(&tenant, &producer, &leaf(), &leaf(), at(second));
            seen.note_secret(&tenant, &producer, &secret, at(second));
        };
        let times = |(leaves, secrets): &(Vec<LeafSighting>, Vec<SecretSighting>)| {
            let leaves = leaves.iter().map(|one| (one.first, one.last));
            let secrets = secrets.iter().map(|one| (one.first, one.last));
            leaves.chain(secrets).collect::<Vec<_>>()
        };
        note(100);
        note(200);
        // A writing fails twice: with nothing new meanwhile, and with a later delivery.
        let (leaves, secrets) = seen.take();
        seen.give_back(leaves, secrets);
        let (leaves, secrets) = seen.take();
        note(300);
        seen.give_back(leaves, secrets);
        assert_eq!(times(&seen.take()), [(at(100), at(300)); 2]);
    }
}
