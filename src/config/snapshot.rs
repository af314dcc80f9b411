//! What a reload swaps: built and checked whole, then never changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::identity::{Directory, Producer, ProducerId};
use crate::signature::{Profiles, Verifier};
use crate::store::Retention;
use crate::tls::{ServerConfig, SetupFailure, Trust, server_config};

use super::cut_offs::CutOffs;
use super::settings::ServerSettings;
use super::trust::TlsSettings;

/// Everything that a delivery is judged by, of one generation.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    server: ServerSettings,
    server_config: Arc<ServerConfig>,
    tls: TlsSettings,
    directory: Arc<Directory>,
    verifiers: Vec<Arc<Verifier>>,
    profiles: Profiles,
    paths: HashSet<Arc<str>>,
    cut_offs: CutOffs,
    retention: Retention,
    secret_files: Arc<HashMap<String, Timestamp>>,
}

/// Parts of a snapshot, each without a fault.
pub(super) struct Parts {
    pub(super) server: ServerSettings,
    pub(super) tls: TlsSettings,
    pub(super) directory: Directory,
    /// By the place of their producers.
    pub(super) verifiers: Vec<Arc<Verifier>>,
    pub(super) profiles: Profiles,
    pub(super) cut_offs: CutOffs,
    pub(super) retention: Retention,
    /// When the files of secrets were last written, by their references.
    pub(super) secret_files: Arc<HashMap<String, Timestamp>>,
}

impl Snapshot {
    /// Puts together what was checked before.
    pub(super) fn build(parts: Parts) -> Result<Self, SetupFailure> {
        let Parts {
            server,
            tls,
            directory,
            verifiers,
            profiles,
            cut_offs,
            retention,
            secret_files,
        } = parts;
        let (tls, directory) = apply(&cut_offs, tls, directory);
        let server_config =
            server_config(&tls.identity, &tls.trust, tls.min_version, tls.resumption)?;
        let own = directory
            .producers()
            .iter()
            .filter_map(|producer| producer.path.clone());
        let paths = server.paths.iter().cloned().chain(own).collect();
        Ok(Self {
            generation: next_generation(),
            server,
            server_config,
            tls,
            directory: Arc::new(directory),
            verifiers,
            profiles,
            paths,
            cut_offs,
            retention,
            secret_files,
        })
    }

    /// The same snapshot with other cut-offs: whatever else is written by now, good or bad, is left out of it.
    pub(super) fn with_cut_offs(&self, cut_offs: CutOffs) -> Result<Self, SetupFailure> {
        Self::build(Parts {
            server: self.server.clone(),
            tls: self.tls.clone(),
            directory: (*self.directory).clone(),
            verifiers: self.verifiers.clone(),
            profiles: self.profiles.clone(),
            cut_offs,
            retention: self.retention.clone(),
            secret_files: Arc::clone(&self.secret_files),
        })
    }

    /// Whom the operator turned away by hand.
    pub fn cut_offs(&self) -> &CutOffs {
        &self.cut_offs
    }

    /// For how long each tenant's things are kept.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What tells this snapshot from every other of this process; each is greater than those before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Gate 1: whom we trust.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.tls.trust
    }

    /// Gate 1: the configuration of TLS that was made with that trust.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server_config
    }

    /// Our own certificate and TLS's settings.
    pub fn tls(&self) -> &TlsSettings {
        &self.tls
    }

    /// Gate 2: who may deliver.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Gate 3: how this producer's deliveries are checked.
    pub fn verifier(&self, producer: ProducerId) -> Option<&Arc<Verifier>> {
        self.verifiers.get(producer.0)
    }

    /// When the file was last written in which the secret of this name stands.
    pub fn secret_written(&self, label: &str) -> Option<Timestamp> {
        let of_line = label.rsplit_once('#').map(|(file, _line)| file);
        let written = |name| self.secret_files.get(name).copied();
        written(label).or_else(|| of_line.and_then(written))
    }

    /// All profiles, built in and the user's own.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The bounds of the providers' side.
    pub fn limits(&self) -> &ServerSettings {
        &self.server
    }

    /// Where the deliveries of this producer, one of the directory's, are taken.
    pub fn paths_of<'a>(&'a self, producer: &'a Producer) -> Vec<&'a str> {
        self.directory.paths_of(producer, &self.server.paths)
    }

    /// Whether deliveries are taken at this path: one of `server.paths`, or a producer's own.
    pub fn accepts_path(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// Gates 1 and 2 with these cut-offs and no others.
fn apply(
    cut_offs: &CutOffs,
    mut tls: TlsSettings,
    directory: Directory,
) -> (TlsSettings, Directory) {
    let known = cut_offs.for_trust(directory.producers());
    tls.trust = Arc::new(tls.trust.with_cut_offs(&known));
    (
        tls,
        directory.with_cut_offs(|producer| cut_offs.cuts(producer)),
    )
}

/// A value that is read by every request and swapped whole by a reload.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// Today's value.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Puts another in its place, and gives back what was there.
    pub fn swap(&self, value: Arc<T>) -> Arc<T> {
        self.0.swap(value)
    }
}

fn next_generation() -> u64 {
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    GENERATION.fetch_add(1, Ordering::Relaxed)
}
