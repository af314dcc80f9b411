//! What a replay is asked for: which events, by which mappings, and whether the outcome is kept.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::signature::Profile;

/// What is read again, and whether the outcome is kept.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Events that were received then or later.
    pub since: Timestamp,
    /// This tenant's alone.
    pub tenant: Option<String>,
    /// This producer's alone.
    pub producer: Option<String>,
    /// What becomes of the outcome.
    pub mode: ReplayMode,
}

/// What becomes of a replay's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayMode {
    /// It is kept.
    Commit,
    /// It is told and rolled back.
    DryRun,
}

/// Which profile reads a producer's events today.
#[derive(Clone, Debug, Default)]
pub struct Mappings(HashMap<(Box<str>, Box<str>), Arc<Profile>>);

impl Mappings {
    /// `profile` reads what `producer` of `tenant` sent.
    pub fn insert(&mut self, tenant: &str, producer: &str, profile: Arc<Profile>) {
        self.0.insert((tenant.into(), producer.into()), profile);
    }

    pub(in crate::store) fn of(&self, tenant: &str, producer: &str) -> Option<&Arc<Profile>> {
        self.0.get(&(tenant.into(), producer.into()))
    }
}

/// How far a replay is: events read, of all that are to be read.
pub type OnProgress = Box<dyn FnMut(u64, u64) + Send>;
