//! Reloading: the whole configuration anew, or nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::secret::Secret;

use super::cut_offs::CutOffs;
use super::fault::Fault;
use super::settings::{AdminSettings, ServerSettings, StoreSettings};
use super::snapshot::Snapshot;
use super::watch::{InUse, Marks, Watch};
use super::{Config, ConfigFile, Environment, Loaded};

/// How often a certificate and key that do not belong together are read again: they may be under replacement.
const PAIR_ATTEMPTS: usize = 6;
/// How long between two readings of them.
const PAIR_PAUSE: Duration = Duration::from_millis(250);

/// Reads the configuration again, and remembers how that went.
#[derive(Debug)]
pub struct Reloader {
    file: ConfigFile,
    environment: Environment,
    fixed: Fixed,
    files: InUse,
    serving: Mutex<Serving>,
    status: Mutex<ReloadStatus>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// What was taken up last.
#[derive(Clone, Debug)]
struct Serving {
    snapshot: Arc<Snapshot>,
    tokens: Vec<Secret>,
    /// Whether any of what was taken up so far stood in a file.
    had_file: bool,
}

impl Serving {
    fn of(config: &Config, had_file: bool) -> Self {
        Self {
            snapshot: Arc::clone(&config.snapshot),
            tokens: config.admin.tokens.clone(),
            had_file,
        }
    }
}

/// What a reload finds: a configuration that was cut short or is gone must not pass for one that takes everything away.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) fixed: Fixed,
    pub(super) had_file: bool,
    pub(super) snapshot: Arc<Snapshot>,
}

/// How reloads went so far.
#[derive(Clone, Debug, Default)]
pub struct ReloadStatus {
    /// Since when what is written cannot be loaded.
    pub failing_since: Option<Timestamp>,
    /// What was wrong at the last attempt.
    pub faults: Vec<Fault>,
}

impl Reloader {
    /// For a receiver that serves `config`, loaded from `file` and `environment`.
    pub fn new(file: ConfigFile, environment: Environment, config: &Config) -> Self {
        let had_file = config.was_in(&file);
        Self {
            file,
            environment,
            fixed: Fixed::of(config),
            files: InUse::new(config.files.clone(), config.snapshot.cut_offs().path()),
            serving: Mutex::new(Serving::of(config, had_file)),
            status: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    /// Loads the configuration and everything that it names, and gives it to `take_up`; or tells everything that is
    /// wrong with it, and changes nothing. Reloads never overlap.
    ///
    /// What only a restart can change is a warning of the new configuration; the keys are given back.
    ///
    /// Cut-offs come first, in a configuration that is otherwise as it was: no fault elsewhere keeps anybody in.
    pub async fn reload(
        &self,
        now: Timestamp,
        mut take_up: impl FnMut(Config),
    ) -> Result<Vec<String>, Vec<Fault>> {
        let _alone = self.one_at_a_time.lock().await;
        if let Some(config) = self.cut_off_anew().await {
            let had_file = self.serving().had_file;
            *self.serving() = Serving::of(&config, had_file);
            take_up(config);
        }
        let mut attempt = 1;
        let result = loop {
            let loaded = self.load(now).await;
            match loaded.config {
                Ok(config) => {
                    let whole = config.snapshot.cut_offs().path();
                    self.files.replace(loaded.files, whole);
                    break Ok(config);
                }
                Err(_) if loaded.pair_mismatch && attempt < PAIR_ATTEMPTS => {
                    attempt += 1;
                    sleep(PAIR_PAUSE).await;
                }
                Err(faults) => {
                    // What serves now stays in use, and so does what the next attempt will read.
                    self.files.update(loaded.files);
                    break Err(faults);
                }
            }
        };
        // Taking up looks at every connection: nobody who asks for the status waits for that.
        let result = result.map(|config| {
            let had_file = self.serving().had_file || config.was_in(&self.file);
            *self.serving() = Serving::of(&config, had_file);
            let needs_restart = config.needs_restart.clone();
            take_up(config);
            needs_restart
        });
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(needs_restart) => {
                *status = ReloadStatus::default();
                Ok(needs_restart)
            }
            Err(faults) => {
                status.failing_since.get_or_insert(now);
                status.faults.clone_from(&faults);
                Err(faults)
            }
        }
    }

    /// How reloads went so far.
    pub fn status(&self) -> ReloadStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A watch over every file that the last reload read, whatever those come to be.
    pub fn watch(&self) -> Watch {
        Watch::new(self.files.clone())
    }

    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What serves, with the cut-offs as they are written now, if they are others than those that count.
    async fn cut_off_anew(&self) -> Option<Config> {
        let Serving {
            snapshot: serving,
            tokens,
            had_file: _,
        } = self.serving().clone();
        let anew = move || {
            // A list that can't be read is a fault of the whole reload, which comes next.
            let before = serving.cut_offs();
            let cut_offs = CutOffs::read_beside(before.path(), before).ok()?;
            let changed = cut_offs != *before;
            changed
                .then(|| serving.with_cut_offs(cut_offs).ok())
                .flatten()
        };
        let snapshot = tokio::task::spawn_blocking(anew).await.ok().flatten()?;
        Some(Config {
            server: snapshot.limits().clone(),
            admin: AdminSettings {
                listen: self.fixed.admin.listen,
                tokens,
            },
            store: self.fixed.store.clone(),
            snapshot: Arc::new(snapshot),
            warnings: Vec::new(),
            needs_restart: Vec::new(),
            files: Marks::new(),
        })
    }

    async fn load(&self, now: Timestamp) -> Loaded {
        let (file, environment) = (self.file.clone(), self.environment.clone());
        let serving = self.serving().clone();
        let running = Running {
            fixed: self.fixed.clone(),
            had_file: serving.had_file,
            snapshot: serving.snapshot,
        };
        let loading = move || super::load_all(&file, &environment, Some(&running), now);
        match tokio::task::spawn_blocking(loading).await {
            Ok(loaded) => loaded,
            Err(error) => Loaded::failed(&self.file, &error),
        }
    }
}

/// What a running receiver cannot change.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    server: ServerSettings,
    admin: AdminSettings,
    store: StoreSettings,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            admin: config.admin.clone(),
            store: config.store.clone(),
        }
    }

    /// The keys that differ, though only a restart can change them.
    pub(super) fn differing(
        &self,
        server: &ServerSettings,
        admin: &AdminSettings,
        store: &StoreSettings,
    ) -> impl Iterator<Item = [&'static str; 2]> {
        [
            (["server", "listen"], self.server.listen != server.listen),
            (
                ["server", "reuse_port"],
                self.server.reuse_port != server.reuse_port,
            ),
            (["admin", "listen"], self.admin.listen != admin.listen),
            (
                ["admin", "token"],
                // The running one stays demanded where others than this machine can ask.
                admin.tokens.is_empty() && !self.admin.may_be_open(),
            ),
            (["store", "url"], self.store.url != store.url),
            (
                ["store", "postgres"],
                !self.store.url.is_used_like(&store.url),
            ),
            (["store", "limits"], self.store.limits != store.limits),
            (["store", "spool"], self.store.spool != store.spool),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
    }
}
