//! Which certificates and secrets are in use: noted in memory with each delivery, written down now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::identity::TenantId;
use crate::x509::Leaf;

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
    pub(super) leaf: Leaf,
    pub(super) anchor: Leaf,
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
        leaf: &Leaf,
        anchor: &Leaf,
        now: Timestamp,
    ) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), Arc::clone(producer), leaf.sha256().0);
        if let Some(sighting) = noted.leaves.get_mut(&key) {
            sighting.last = sighting.last.max(now);
            if sighting.anchor.sha256() != anchor.sha256() {
                sighting.anchor = anchor.clone();
            }
        } else if noted.leaves.len() < Self::ENTRIES_MAX {
            let (tenant, producer) = (tenant.clone(), Arc::clone(producer));
            let sighting = LeafSighting {
                tenant,
                producer,
                leaf: leaf.clone(),
                anchor: anchor.clone(),
                first: now,
                last: now,
            };
            noted.leaves.insert(key, sighting);
        }
    }

    /// Notes that this secret of `producer` verified a delivery.
    pub fn note_secret(
        &self,
        tenant: &TenantId,
        producer: &Arc<str>,
        secret: &Arc<str>,
        now: Timestamp,
    ) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), Arc::clone(producer), Arc::clone(secret));
        if let Some(sighting) = noted.secrets.get_mut(&key) {
            sighting.last = sighting.last.max(now);
        } else if noted.secrets.len() < Self::ENTRIES_MAX {
            let (tenant, producer, secret) =
                (tenant.clone(), Arc::clone(producer), Arc::clone(secret));
            noted.secrets.insert(
                key,
                SecretSighting {
                    tenant,
                    producer,
                    secret,
                    first: now,
                    last: now,
                },
            );
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
            self.note_leaf(
                &seen.tenant,
                &seen.producer,
                &seen.leaf,
                &seen.anchor,
                seen.last,
            );
        }
        for seen in secrets {
            self.note_secret(&seen.tenant, &seen.producer, &seen.secret, seen.last);
        }
    }
}
