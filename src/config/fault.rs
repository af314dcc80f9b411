//! What is wrong, or merely unwise, in a configuration: where, what, and how to mend it.

use std::fmt;

use serde::Serialize;

use super::key::KeyPath;
use super::tree::{Node, Origin};

/// Faults that are kept of one configuration: whoever has more mends these first.
const FAULTS_MAX: usize = 500;

/// A fault of the configuration: it stops the start, or refuses the reload.
///
/// Its `Display` is one line: `countersign.toml:31: tenants[0].id: what; mend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", Line { file, line: *line, key, what, mend })]
pub struct Fault {
    /// The configuration file as it was named, or the environment variable that holds the value.
    pub file: Box<str>,
    /// The line in `file`, from 1; none for a variable.
    pub line: Option<usize>,
    /// The path of the key, as `tenants[0].producers[1].subject`; empty where there is none.
    pub key: String,
    /// What is wrong. Never a secret, nor anything that may hold one.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// How much a warning weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Deliveries go on.
    Unwise,
    /// The receiver starts, and no client that it concerns gets in: to `check` it is a fault.
    Refuses,
}

/// What works, but should be known: told by `check` and at every start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// As in [`Fault`].
    pub file: Box<str>,
    /// As in [`Fault`].
    pub line: Option<usize>,
    /// As in [`Fault`].
    pub key: String,
    /// What is unwise.
    pub what: String,
    /// What to do about it.
    pub mend: String,
    /// What comes of it.
    #[serde(skip)]
    pub weight: Weight,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            key,
            what,
            mend,
            weight: _,
        } = self;
        let line = Line {
            file,
            line: *line,
            key,
            what,
            mend,
        };
        write!(f, "{line}")
    }
}

/// The one form in which both are written.
struct Line<'a> {
    file: &'a str,
    line: Option<usize>,
    key: &'a str,
    what: &'a str,
    mend: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

/// Gathers the findings of one configuration and knows where each of its keys was written. Not `Debug`: it may hold what
/// somebody wrote in a secret's place.
pub(super) struct Findings {
    file: Box<str>,
    tree: Node,
    /// Lines that no TOML reader understands.
    broken_lines: Vec<usize>,
    /// Keys whose value has no shape: nothing more is told about them.
    shapeless: Vec<KeyPath>,
    wrong: Vec<KeyPath>,
    pair_mismatch: bool,
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
}

impl Findings {
    /// Nothing found yet in `tree`, which was read from `file`.
    pub(super) fn new(file: Box<str>, tree: Node) -> Self {
        Self {
            file,
            tree,
            broken_lines: Vec::new(),
            shapeless: Vec::new(),
            wrong: Vec::new(),
            pair_mismatch: false,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The tree as it was written.
    pub(super) fn tree(&self) -> &Node {
        &self.tree
    }

    /// Tells that a line is no TOML.
    pub(super) fn not_toml(&mut self, line: Option<usize>, what: String, mend: String) {
        self.broken_lines.extend(line);
        let file = self.file.clone();
        self.push(Fault {
            file,
            line,
            key: String::new(),
            what,
            mend,
        });
    }

    /// Tells that the value at `key` has not the shape that it must have.
    pub(super) fn shapeless(&mut self, key: KeyPath, what: String, mend: String) {
        if !self.told_about(&key) {
            let fault = self.fault_at(&key, what, mend);
            self.push(fault);
            self.shapeless.push(key);
        }
    }

    /// Tells that the value at `key` is wrong.
    pub(super) fn fault(
        &mut self,
        key: &KeyPath,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        if !self.told_about(key) {
            let fault = self.fault_at(key, what.into(), mend.into());
            self.push(fault);
            self.wrong.push(key.clone());
        }
    }

    /// Tells that there must be something at `key`. Not told where a broken line may hold it.
    pub(super) fn missing(
        &mut self,
        key: &KeyPath,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        if self.broken_lines.is_empty() {
            self.fault(key, what, mend);
        }
    }

    /// Warns that there is nothing at `key`. Not told where a broken line may hold it.
    pub(super) fn warn_missing(&mut self, key: &KeyPath, what: &str, mend: &str) {
        if self.broken_lines.is_empty() {
            self.warn(key, what, mend);
        }
    }

    /// Tells that a key is not the certificate's: while the two are replaced one after the other, that passes.
    pub(super) fn pair_mismatch(&mut self, key: &KeyPath, what: String, mend: &str) {
        self.pair_mismatch = true;
        self.fault(key, what, mend);
    }

    /// Tells of a variable that means nothing here.
    pub(super) fn stray_variable(&mut self, name: &str, what: String, mend: String) {
        self.push(Fault {
            file: name.into(),
            line: None,
            key: String::new(),
            what,
            mend,
        });
    }

    /// Tells what works, but should be known.
    pub(super) fn warn(&mut self, key: &KeyPath, what: impl Into<String>, mend: impl Into<String>) {
        if !self.told_about(key) && self.warnings.len() < FAULTS_MAX {
            let warning = self.warning_at(key, what.into(), mend.into());
            self.warnings.push(warning);
        }
    }

    /// Tells what keeps out every client that it concerns, while the receiver itself works.
    pub(super) fn warn_of_refusals(&mut self, key: &KeyPath, what: String, mend: &str) {
        let told = self.warnings.len();
        self.warn(key, what, mend);
        if let Some(warning) = self.warnings.get_mut(told) {
            warning.weight = Weight::Refuses;
        }
    }

    /// Whether anything stops the start so far.
    pub(super) fn any(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Whether certificate and key do not belong together.
    pub(super) fn has_pair_mismatch(&self) -> bool {
        self.pair_mismatch
    }

    /// Whether anything at `key` or below it is wrong.
    pub(super) fn any_within(&self, key: &KeyPath) -> bool {
        self.wrong.iter().any(|wrong| wrong.is_within(key))
    }

    /// Whether any fault was told of `key` or of what is below it, its shape included.
    pub(super) fn any_told_within(&self, key: &KeyPath) -> bool {
        let key = key.to_string();
        self.faults.iter().any(|fault| {
            let below = fault.key.strip_prefix(&key);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// The faults in the order of the file, the environment's after them.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        let file = self.file.clone();
        self.faults.sort_by(|one, other| {
            let place = |fault: &Fault| (fault.file != file, fault.line);
            let by_place = place(one).cmp(&place(other));
            by_place.then_with(|| one.file.cmp(&other.file))
        });
        self.faults
    }

    /// The warnings so far, in the order of the file.
    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        self.warnings.sort_by_key(|warning| warning.line);
        std::mem::take(&mut self.warnings)
    }

    /// A fault at `key`, wherever that was written.
    pub(super) fn fault_at(&self, key: &KeyPath, what: String, mend: String) -> Fault {
        let (file, line) = self.place(key);
        Fault {
            file,
            line,
            key: key.to_string(),
            what,
            mend,
        }
    }

    /// A warning at `key`, wherever that was written.
    pub(super) fn warning_at(&self, key: &KeyPath, what: String, mend: String) -> Warning {
        let (file, line) = self.place(key);
        Warning {
            file,
            line,
            key: key.to_string(),
            what,
            mend,
            weight: Weight::Unwise,
        }
    }

    fn place(&self, key: &KeyPath) -> (Box<str>, Option<usize>) {
        match self.tree.origin(key) {
            Origin::Line(line) => (self.file.clone(), Some(line)),
            Origin::Variable(name) => ((*name).into(), None),
            Origin::Nowhere => (self.file.clone(), None),
        }
    }

    fn told_about(&self, key: &KeyPath) -> bool {
        if self.shapeless.iter().any(|told| key.is_within(told)) {
            return true;
        }
        match self.tree.origin(key) {
            Origin::Line(line) => self.broken_lines.contains(&line),
            Origin::Variable(_) | Origin::Nowhere => false,
        }
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}
