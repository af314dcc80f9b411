//! From `countersign.toml` and the environment to a [`Config`] in the types of the rooms; from that to the
//! [`Snapshot`] that a reload swaps.
//!
//! `file.rs` is the shape of the file, what was typed; the rest of the room is its meaning. Everything that is wrong is
//! gathered as [`Fault`]s, each with file, line, key and mend, before anything stops; what works but should be known is
//! a [`Warning`]. A configuration is complete and checked before a port is bound.
//!
//! Promises: all faults at once; all or nothing; no secret in a fault, a warning or a log line. Never: a connection, a
//! store that is opened, a clock of its own. No other room reads the environment, but for the sockets that a service
//! manager hands over.

mod bounds;
mod client_cas;
mod context;
mod crls;
mod cut_short;
mod cut_offs;
mod ends;
mod environment;
mod fault;
mod file;
mod found;
mod key;
mod listen;
mod meaning;
mod misfit;
mod nearest;
mod reload;
mod retention;
mod secrets;
mod server_identity;
mod settings;
mod shape;
mod snapshot;
mod spool;
mod template;
mod tenants;
mod tree;
mod trust;
mod verifiers;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::identity::{Directory, TenantId};

use context::Context;
use fault::Findings;
use file::File;
use key::KeyPath;
use reload::Running;
use snapshot::Parts;
use tenants::Tenants;
use tree::Node;
use watch::{Mark, Marks};

use crate::signature::Profiles;
use crate::store::Retention;
use crate::text::chain;

pub use cut_offs::{CutOff, CutOffEntry, CutOffFault, CutOffs};
pub use environment::Environment;
pub use fault::{Fault, Warning, Weight};
pub use listen::ListenAddress;
pub use reload::{ReloadStatus, Reloader};
pub use secrets::Labelled;
pub use settings::{AdminSettings, ServerSettings, StoreSettings};
pub use snapshot::{Live, Snapshot};
pub use spool::Forsaken;
pub use template::TEMPLATE;
pub use trust::TlsSettings;
pub use watch::Watch;

/// The longest configuration file.
const CONFIG_BYTES_MAX: usize = 4 << 20;

/// Which file is the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// Named by `--config` or `COUNTERSIGN_CONFIG`: it must be there.
    Named(PathBuf),
    /// `countersign.toml` here; it may be missing where the environment says everything.
    Default,
}

impl ConfigFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Default => Path::new("countersign.toml"),
        }
    }
}

/// Every producer by its tenant and its name.
pub type ProducerNames = Vec<(TenantId, Box<str>)>;

/// A configuration without a fault, in the types of the rooms.
#[derive(Debug)]
pub struct Config {
    /// The providers' side.
    pub server: ServerSettings,
    /// The operator's side.
    pub admin: AdminSettings,
    /// The store.
    pub store: StoreSettings,
    /// What a reload swaps.
    pub snapshot: Arc<Snapshot>,
    /// What works, but should be known.
    pub warnings: Vec<Warning>,
    /// The keys that are other than what a running receiver was started with, and count only after a restart.
    pub needs_restart: Vec<String>,
    /// Every file that was read, and how it was then.
    files: Marks,
}

impl Config {
    /// Loads a configuration and everything that it names, or names everything that is wrong with it.
    ///
    /// `now` is for warnings alone: a certificate that ended stops no start.
    pub fn load(
        file: &ConfigFile,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, Vec<Fault>> {
        load_all(file, environment, None, now).config
    }

    /// Everything that can be said of a configuration, whatever is wrong with it.
    pub fn review(file: &ConfigFile, environment: &Environment, now: Timestamp) -> Review {
        let loaded = load_all(file, environment, None, now);
        let mut review = Review {
            store: loaded.store,
            faults: Vec::new(),
            warnings: loaded.warnings_beside_faults,
            config: None,
        };
        match loaded.config {
            Ok(mut config) => {
                review.warnings = std::mem::take(&mut config.warnings);
                review.config = Some(config);
            }
            Err(faults) => review.faults = faults,
        }
        review
    }

    /// Whether `file` was there when this was loaded.
    fn was_in(&self, file: &ConfigFile) -> bool {
        self.files.get(file.path()).is_some_and(Option::is_some)
    }

    /// Loads `[profiles]` alone, beside the built-in ones: for the commands that play a sender.
    pub fn load_profiles(
        file: &ConfigFile,
        environment: &Environment,
    ) -> Result<Profiles, Vec<Fault>> {
        let (mut context, shape) = open(file, environment)?;
        let profiles = verifiers::profiles(&shape.profiles, &mut context.findings);
        if context.findings.any() {
            Err(context.findings.into_faults())
        } else {
            Ok(profiles)
        }
    }

    /// Loads the cut-offs alone, and who can be cut off: a cut-off can be made whatever else is wrong with the configuration.
    pub fn load_cut_offs(
        file: &ConfigFile,
        environment: &Environment,
    ) -> Result<(CutOffs, ProducerNames), Vec<Fault>> {
        let (mut context, shape) = open(file, environment)?;
        let Some(path) = cut_offs::place(&shape.server.cutoffs, &mut context) else {
            return Err(context.findings.into_faults());
        };
        let known = shape.tenants.iter().flat_map(|tenant| {
            let producers = tenant.producers.iter();
            producers.map(|producer| {
                let name = producer.name.as_str().into();
                (TenantId::new(&tenant.id), name)
            })
        });
        match CutOffs::read(&path) {
            Ok(cut_offs) => Ok((cut_offs, known.collect())),
            Err(fault) => {
                let key = KeyPath::of(&["server", "cutoffs"]);
                let mend = "mend it, or take it away: a receiver that runs has it in memory";
                context.findings.fault(&key, chain(&fault), mend);
                Err(context.findings.into_faults())
            }
        }
    }

    /// Loads `[store]` alone, for the commands that only read the store: they need no key and no secret.
    pub fn load_store(
        file: &ConfigFile,
        environment: &Environment,
    ) -> Result<StoreSettings, Vec<Fault>> {
        let (mut context, shape) = open(file, environment)?;
        let store = meaning::store(&shape.store, None, &mut context);
        match store {
            Some(store) if !context.findings.any() => Ok(store),
            Some(_) | None => Err(context.findings.into_faults()),
        }
    }

    /// A fault of what a key names, wherever that was written: a line of the file, or a variable.
    pub fn fault_of(
        file: &ConfigFile,
        environment: &Environment,
        key: &[&str],
        what: String,
        mend: String,
    ) -> Fault {
        let key = KeyPath::of(key);
        match open(file, environment) {
            Ok((context, _)) => context.findings.fault_at(&key, what, mend),
            Err(_unreadable) => Fault {
                file: file.path().display().to_string().into(),
                line: None,
                key: key.to_string(),
                what,
                mend,
            },
        }
    }

    /// Loads `[store]`, and how long each tenant's things are kept: for pruning.
    pub fn load_retention(
        file: &ConfigFile,
        environment: &Environment,
    ) -> Result<(StoreSettings, Retention), Vec<Fault>> {
        let (mut context, shape) = open(file, environment)?;
        let store = meaning::store(&shape.store, None, &mut context);
        let retention = retention::retention(&shape, &mut context.findings);
        match store.zip(retention) {
            Some(both) if !context.findings.any() => Ok(both),
            Some(_) | None => Err(context.findings.into_faults()),
        }
    }
}

/// What there is to say of a configuration.
#[derive(Debug)]
pub struct Review {
    /// What would be served; `None` where there is a fault.
    pub config: Option<Config>,
    /// What keeps it from being served.
    pub faults: Vec<Fault>,
    /// What works, but should be known.
    pub warnings: Vec<Warning>,
    /// `[store]`, if nothing is wrong with that.
    pub store: Option<StoreSettings>,
}

/// A loaded configuration, or why there is none; and what was read for it.
struct Loaded {
    config: Result<Config, Vec<Fault>>,
    /// What should be known as well, where there is none.
    warnings_beside_faults: Vec<Warning>,
    /// `[store]`, whatever is wrong elsewhere.
    store: Option<StoreSettings>,
    files: Marks,
    /// Whether certificate and key do not belong together, as for a moment when they are replaced.
    pair_mismatch: bool,
}

impl Loaded {
    fn nothing(faults: Vec<Fault>, files: Marks) -> Self {
        Self {
            config: Err(faults),
            warnings_beside_faults: Vec::new(),
            store: None,
            files,
            pair_mismatch: false,
        }
    }

    fn failed(file: &ConfigFile, error: &dyn std::error::Error) -> Self {
        let fault = Fault {
            file: file.path().display().to_string().into(),
            line: None,
            key: String::new(),
            what: format!("could not be loaded: {}", chain(error)),
            mend: "report this as a bug".to_owned(),
        };
        Self {
            ..Self::nothing(vec![fault], Marks::new())
        }
    }
}

/// Loads all, beside what a running receiver serves if there is one.
fn load_all(
    file: &ConfigFile,
    environment: &Environment,
    running: Option<&Running>,
    now: Timestamp,
) -> Loaded {
    let mark = Mark::of(file.path());
    let absence = match running {
        Some(running) if running.had_file => Absence::Fault,
        Some(_) | None => Absence::AsNamed,
    };
    let (mut context, shape) = match open_with(file, environment, absence) {
        Ok(opened) => opened,
        Err(faults) => {
            return Loaded::nothing(faults, Marks::from([(file.path().to_owned(), mark)]));
        }
    };
    context.files.insert(file.path().to_owned(), mark);
    let serving = running.map(|running| &*running.snapshot);
    let (parts, store) = parts(&shape, serving, &mut context, now);
    let mut needs_restart = Vec::new();
    if let (Some(running), Some((parts, admin)), Some(store)) = (running, &parts, &store) {
        needs_restart = hold_against(running, parts, admin, store, &mut context.findings);
    }
    let Context {
        mut findings,
        files,
        variables,
        strays,
        ..
    } = context;
    for stray in strays {
        stray.tell(&variables, &mut findings);
    }
    let snapshot = match parts {
        Some((parts, admin)) if !findings.any() => match Snapshot::build(parts) {
            Ok(snapshot) => Some((Arc::new(snapshot), admin)),
            Err(failure) => {
                let key = KeyPath::of(&["tls"]);
                findings.fault(&key, chain(&failure), "name another certificate and key");
                None
            }
        },
        Some(_) | None => None,
    };
    let pair_mismatch = findings.has_pair_mismatch();
    let warnings = findings.take_warnings();
    let mut warnings_beside_faults = Vec::new();
    let config = match snapshot.zip(store.clone()) {
        Some(((snapshot, admin), store)) => Ok(Config {
            server: snapshot.limits().clone(),
            admin,
            store,
            snapshot,
            warnings,
            needs_restart,
            files: files.clone(),
        }),
        None => {
            warnings_beside_faults = warnings;
            Err(findings.into_faults())
        }
    };
    Loaded {
        config,
        warnings_beside_faults,
        store,
        files,
        pair_mismatch,
    }
}

/// Refuses what would leave nobody who can deliver, and gives the keys that count only after a restart.
fn hold_against(
    running: &Running,
    parts: &Parts,
    admin: &AdminSettings,
    store: &StoreSettings,
    findings: &mut Findings,
) -> Vec<String> {
    let had_producers = !running.snapshot.directory().producers().is_empty();
    if had_producers && parts.directory.producers().is_empty() {
        let what = "no tenant is left that has a producer, so every delivery would be refused: what served before serves on";
        let mend = "write the file whole, as it was cut short or emptied; if nobody is to deliver any more, restart the receiver";
        findings.fault(&KeyPath::of(&["tenants"]), what, mend);
    }
    let mut needs_restart = Vec::new();
    for key in running.fixed.differing(&parts.server, admin, store) {
        let what = "is other than what this receiver was started with";
        let key = KeyPath::of(&key);
        findings.warn(&key, what, "restart it for this to count");
        needs_restart.push(key.to_string());
    }
    needs_restart
}

/// What each section means, beside what serves; everything that is wrong with any of them goes to the context's findings. The store's can
/// be looked at by itself.
fn parts(
    shape: &File,
    serving: Option<&Snapshot>,
    context: &mut Context<'_>,
    now: Timestamp,
) -> (Option<(Parts, AdminSettings)>, Option<StoreSettings>) {
    let server = meaning::server(&shape.server, &mut context.findings);
    let admin = meaning::admin(&shape.admin, server.as_ref(), context);
    let store = meaning::store(&shape.store, server.as_ref(), context);
    let trusted = serving.map(|serving| &**serving.trust());
    let tls = trust::tls(&shape.tls, trusted, context, now);
    let mut tenants = tenants::tenants(&shape.tenants, context);
    if let Some(server) = &server {
        tenants.directory = tenants.directory.with_common_paths(&server.paths);
        tenants::tell_of_taken_paths(&tenants, &server.paths, &mut context.findings);
    }
    let Tenants { directory, plans } = tenants;
    let cut_offs = cut_offs(&shape.server.cutoffs, serving, &directory, context);
    let findings = &mut context.findings;
    if let Some(serving) = serving {
        cut_short::tell(&plans, &directory, serving, findings);
    }
    let retention = retention::retention(shape, findings);
    let profiles = verifiers::profiles(&shape.profiles, findings);
    let verifiers = verifiers::verifiers(plans, &shape.profiles, &profiles, findings);
    let whole = || {
        let parts = Parts {
            server: server?,
            tls: tls?,
            directory,
            verifiers,
            profiles,
            cut_offs: cut_offs?,
            retention: retention?,
            secret_files: Arc::new(std::mem::take(&mut context.secret_files)),
        };
        Some((parts, admin?))
    };
    (whole(), store)
}

/// Whom the operator turned away by hand.
fn cut_offs(
    path: &str,
    serving: Option<&Snapshot>,
    directory: &Directory,
    context: &mut Context<'_>,
) -> Option<CutOffs> {
    let key = KeyPath::of(&["server", "cutoffs"]);
    let path = cut_offs::place(path, context)?;
    context.files.insert(path.clone(), Mark::of(&path));
    let read = match serving {
        Some(serving) => CutOffs::read_beside(&path, serving.cut_offs()),
        None => CutOffs::read(&path),
    };
    match read {
        Ok(cut_offs) => {
            cut_offs.warn_of_strangers(directory.producers(), &mut context.findings);
            Some(cut_offs)
        }
        Err(fault) => {
            let mend = match fault {
                CutOffFault::Lost { .. } => {
                    "put it back; countersign cutoff --lift lets one in again; if all are to be let in, restart the receiver"
                }
                CutOffFault::File { .. } | CutOffFault::Form { .. } => {
                    "mend it, or take it away and write it anew with countersign cutoff"
                }
            };
            context.findings.fault(&key, chain(&fault), mend);
            None
        }
    }
}

/// What it means that the file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// A fault, but of the default file where the environment says everything.
    AsNamed,
    /// A fault: what runs was started with it.
    Fault,
}

/// Reads the file and the environment, as far as they have a shape.
fn open<'e>(
    file: &ConfigFile,
    environment: &'e Environment,
) -> Result<(Context<'e>, File), Vec<Fault>> {
    open_with(file, environment, Absence::AsNamed)
}

fn open_with<'e>(
    file: &ConfigFile,
    environment: &'e Environment,
    absence: Absence,
) -> Result<(Context<'e>, File), Vec<Fault>> {
    let path = file.path();
    let name: Box<str> = path.display().to_string().into();
    let text = text(file, environment, absence).map_err(|(what, mend)| {
        vec![Fault {
            file: name.clone(),
            line: None,
            key: String::new(),
            what,
            mend,
        }]
    })?;
    let (mut tree, broken) = Node::parse(&text);
    let strays = environment.lay_over(&mut tree);
    let mut findings = Findings::new(name, tree);
    let mut lost = false;
    for fault in broken {
        // Without its header, whatever follows would be told of as if it stood elsewhere.
        lost |= fault.line.is_none_or(|line| is_header(&text, line));
        let mend = "mend this line; https://toml.io has the form";
        findings.not_toml(
            fault.line,
            format!("no TOML: {}", fault.what),
            mend.to_owned(),
        );
    }
    if lost {
        return Err(findings.into_faults());
    }
    let shape = shape::read(&findings.tree().clone(), &KeyPath::default(), &mut findings);
    let context = Context {
        findings,
        environment,
        base: path.parent().map(Path::to_owned).unwrap_or_default(),
        files: Marks::new(),
        secret_files: HashMap::new(),
        variables: BTreeSet::new(),
        strays,
    };
    Ok((context, shape))
}

/// The file's text; what is wrong with it, and its mend, where it has none.
fn text(
    file: &ConfigFile,
    environment: &Environment,
    absence: Absence,
) -> Result<String, (String, String)> {
    let path = file.path();
    let read = match context::read_file(path, CONFIG_BYTES_MAX) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match file {
            _ if absence == Absence::Fault => {
                let mend = "put it back: until then what it said serves on; to run by variables alone, restart the receiver";
                return Err(("does not exist any more".to_owned(), mend.to_owned()));
            }
            ConfigFile::Default if environment.overrides_any() => return Ok(String::new()),
            ConfigFile::Default => {
                let mend = "run countersign dev to have one made, or name one with --config FILE";
                return Err(("does not exist".to_owned(), mend.to_owned()));
            }
            ConfigFile::Named(_) => {
                let mend = "make it, or name another with --config FILE or COUNTERSIGN_CONFIG";
                return Err(("does not exist".to_owned(), mend.to_owned()));
            }
        },
        Err(error) => return Err(context::unreadable(path, &error)),
    };
    match String::from_utf8(read.bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let before = error.utf8_error().valid_up_to();
            let line = error
                .as_bytes()
                .iter()
                .take(before)
                .filter(|byte| **byte == b'\n');
            let what = format!("is not UTF-8 in line {}", line.count() + 1);
            Err((what, "save it as UTF-8".to_owned()))
        }
    }
}

fn is_header(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1));
    line.is_some_and(|line| line.trim_start().starts_with('['))
}
