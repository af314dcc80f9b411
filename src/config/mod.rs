//! From `countersign.toml` and the environment to a [`Config`] in the types of the rooms; from that to the
//! [`Snapshot`] that a reload swaps.
//!
//! `file.rs` is the shape of the file, what was typed; the rest of the room is its meaning. Everything that is wrong is
//! gathered as [`Fault`]s, each with file, line, key and mend, before anything stops; what works but should be known is
//! a [`Warning`]. A configuration is complete and checked before a port is bound.
//!
//! Promises: all faults at once; all or nothing; no secret in a fault, a warning or a log line. Never: a connection, a
//! store that is opened, a clock of its own. No other room reads the environment.

mod context;
mod environment;
mod fault;
mod file;
mod key;
mod meaning;
mod secrets;
mod shape;
mod snapshot;
mod tenants;
mod tree;
mod trust;
mod verifiers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use context::Context;
use fault::Findings;
use file::File;
use key::KeyPath;
use snapshot::Parts;
use tenants::Tenants;
use tree::Node;

pub use environment::Environment;
pub use fault::{Fault, Warning};
pub use meaning::{AdminSettings, ServerSettings, StoreSettings};
pub use secrets::Labelled;
pub use snapshot::{Live, Snapshot};
pub use trust::TlsSettings;

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
    /// Every file that was read: what a reload watches.
    pub files: BTreeSet<PathBuf>,
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
        let (mut context, shape) = open(file, environment)?;
        let server = meaning::server(&shape.server, &mut context.findings);
        let admin = meaning::admin(&shape.admin, server.as_ref(), &mut context);
        let store = meaning::store(&shape.store, server.as_ref(), &mut context);
        let tls = trust::tls(&shape.tls, &mut context, now);
        let Tenants { directory, plans } = tenants::tenants(&shape.tenants, &mut context);
        let profiles = verifiers::profiles(&shape.profiles, &mut context.findings);
        let verifiers =
            verifiers::verifiers(plans, &shape.profiles, &profiles, &mut context.findings);
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
        let (Some(server), Some(admin), Some(store), Some(tls)) = (server, admin, store, tls)
        else {
            return Err(findings.into_faults());
        };
        if findings.any() {
            return Err(findings.into_faults());
        }
        let parts = Parts {
            server: server.clone(),
            tls,
            directory,
            verifiers,
            profiles,
        };
        let snapshot = match Snapshot::build(parts) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(failure) => {
                let mend = "name another certificate and key";
                let key = KeyPath::of(&["tls"]);
                findings.fault(&key, trust::chain(&failure), mend);
                return Err(findings.into_faults());
            }
        };
        Ok(Self {
            server,
            admin,
            store,
            snapshot,
            warnings: findings.take_warnings(),
            files,
        })
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
}

/// Reads the file and the environment, as far as they have a shape.
fn open<'e>(
    file: &ConfigFile,
    environment: &'e Environment,
) -> Result<(Context<'e>, File), Vec<Fault>> {
    let path = file.path();
    let name: Box<str> = path.display().to_string().into();
    let text = text(file, environment).map_err(|(what, mend)| {
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
        files: BTreeSet::from([path.to_owned()]),
        variables: BTreeSet::new(),
        strays,
    };
    Ok((context, shape))
}

/// The file's text; what is wrong with it, and its mend, where it has none.
fn text(file: &ConfigFile, environment: &Environment) -> Result<String, (String, String)> {
    let path = file.path();
    let read = match context::read_file(path, CONFIG_BYTES_MAX) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match file {
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
