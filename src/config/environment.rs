//! The environment, which no other room reads: values that override the file, and secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::ConfigFile;
use super::fault::Findings;
use super::nearest::nearest;
use super::tree::{Node, Origin, Value};

/// What every variable of ours begins with.
const PREFIX: &str = "COUNTERSIGN_";

/// What variables for our tests begin with.
const TESTS_PREFIX: &str = "COUNTERSIGN_TEST_";

/// More parts than any key has.
const PARTS_MAX: usize = 16;

/// Variables that are ours, but no keys of the file.
const RESERVED: [&str; 3] = [
    "COUNTERSIGN_CONFIG",
    "COUNTERSIGN_LOG",
    "COUNTERSIGN_LOG_FORMAT",
];

/// The sections of the file, which a variable's first part must name.
const SECTIONS: [&str; 6] = ["server", "admin", "tls", "store", "tenants", "profiles"];

/// The environment as it was when it was taken. Silent in `Debug`: it may hold secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The process's own environment.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// No variables at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A variable's value, if it is set and is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str()
    }

    /// Which file is the configuration: the flag's value before `COUNTERSIGN_CONFIG`, before the default.
    pub fn configuration_file(&self, flag: Option<PathBuf>) -> ConfigFile {
        let named = flag.or_else(|| self.os("COUNTERSIGN_CONFIG").map(PathBuf::from));
        let named = named.filter(|path| !path.as_os_str().is_empty());
        named.map_or(ConfigFile::Default, ConfigFile::Named)
    }

    /// A variable's value, if it is set.
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// A variable's bytes, if it is set.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|value| value.as_encoded_bytes())
    }

    /// Whether any variable overrides a key of the file.
    pub(super) fn overrides_any(&self) -> bool {
        self.overrides().next().is_some()
    }

    /// The variables that override a key of the file, each with its value; with none where that may be a secret, or lead to one.
    pub fn overriding(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.overrides().map(|(name, value)| {
            // A key may be written in either case.
            let key = name.to_ascii_uppercase();
            let may_hold_a_secret = match key.rsplit("__").next() {
                Some("PASSWORD" | "TOKEN" | "SECRETS") => true,
                _ if key.contains("__SECRETS__") || key.contains("__VALUES") => true,
                Some("URL") => !value.to_str().is_some_and(|url| url.starts_with("sqlite:")),
                // A list of whole tables says anything.
                _ => !key.contains("__") || key.starts_with("COUNTERSIGN_TENANTS"),
            };
            (name, value.to_str().filter(|_| !may_hold_a_secret))
        })
    }

    fn overrides(&self) -> impl Iterator<Item = (&str, &OsString)> {
        let ours = self.0.iter().map(|(name, value)| (name.as_str(), value));
        ours.filter(|(name, _)| {
            name.starts_with(PREFIX)
                && !name.starts_with(TESTS_PREFIX)
                && !RESERVED.contains(name)
                && !is_of_kubernetes(name)
        })
    }

    /// Lays the variables over `tree`. A list grows by one where a variable names the index after its last.
    pub(super) fn lay_over(&self, tree: &mut Node) -> Vec<Stray> {
        let mut strays = Vec::new();
        let mut overrides: Vec<(Vec<Part>, &str, &OsString)> = self
            .overrides()
            .map(|(name, value)| (Part::all_of(name), name, value))
            .collect();
        // What stands further up comes first, and indices count up.
        overrides.sort_by(|one, other| one.0.cmp(&other.0));
        for (parts, name, value) in overrides {
            let laid = match (parts.split_first(), value.to_str()) {
                (Some((Part::Key(section), _)), _) if !SECTIONS.contains(&section.as_str()) => {
                    Err(Misplaced::UnknownSection)
                }
                _ if parts.len() > PARTS_MAX => Err(Misplaced::InsideAValue),
                (_, None) => Err(Misplaced::NotText),
                (_, Some(text)) => {
                    let name = Arc::from(name);
                    lay(tree, &parts, &name, Node::of_variable(&name, text))
                }
            };
            if let Err(misplaced) = laid {
                strays.push(Stray {
                    name: name.to_owned(),
                    misplaced,
                });
            }
        }
        strays
    }
}

impl FromIterator<(String, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let owned = variables.map(|(name, value)| (name.to_owned(), OsString::from(value)));
        Self(BTreeMap::from(owned))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = self.0.keys().filter(|name| name.starts_with(PREFIX));
        f.debug_set().entries(ours).finish()
    }
}

/// A variable that found no place in the tree.
#[derive(Debug)]
pub(super) struct Stray {
    name: String,
    misplaced: Misplaced,
}

#[derive(Debug)]
enum Misplaced {
    UnknownSection,
    NotText,
    EmptyPart,
    BeyondTheList { length: usize },
    NotAnIndex { length: usize },
    InsideAValue,
}

impl Stray {
    /// Tells it, unless the configuration refers to the variable as `env:NAME`.
    pub(super) fn tell(&self, referred: &BTreeSet<String>, findings: &mut Findings) {
        if referred.contains(&self.name) && matches!(self.misplaced, Misplaced::UnknownSection) {
            return;
        }
        let (what, mend) = match self.misplaced {
            Misplaced::UnknownSection => {
                let first = self.name.trim_start_matches(PREFIX);
                let first = first.split("__").next().unwrap_or_default().to_lowercase();
                let mend = match nearest(&first, SECTIONS) {
                    Some(section) => {
                        format!("did you mean {PREFIX}{}__…?", section.to_uppercase())
                    }
                    None => format!(
                        "unset it, or write {PREFIX} and the key's path, as COUNTERSIGN_STORE__URL"
                    ),
                };
                ("names no key".to_owned(), mend)
            }
            Misplaced::NotText => (
                "is not UTF-8".to_owned(),
                "write the value as text".to_owned(),
            ),
            Misplaced::EmptyPart => (
                "names no key: a part of its path is empty".to_owned(),
                "write two underscores between the parts, and none at the ends".to_owned(),
            ),
            Misplaced::BeyondTheList { length } => (
                format!("skips a place: the list's next one is {length}"),
                format!("write {length} in its place"),
            ),
            Misplaced::NotAnIndex { length } => (
                "names no element of a list".to_owned(),
                format!("write an index from 0 to {length}"),
            ),
            Misplaced::InsideAValue => (
                "names a key inside a value that is no table".to_owned(),
                "unset it, or the variable that sets that value".to_owned(),
            ),
        };
        findings.stray_variable(&self.name, what, mend);
    }
}

/// A part of a variable's name, between two underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Index(usize),
    Key(String),
}

impl Part {
    fn all_of(name: &str) -> Vec<Self> {
        let path = name.strip_prefix(PREFIX).unwrap_or(name);
        path.split("__")
            .map(|part| match part.parse() {
                Ok(index) => Self::Index(index),
                Err(_) => Self::Key(part.to_lowercase()),
            })
            .collect()
    }

    fn as_key(&self) -> String {
        match self {
            Self::Index(index) => index.to_string(),
            Self::Key(key) => key.clone(),
        }
    }
}

fn lay(here: &mut Node, path: &[Part], name: &Arc<str>, value: Node) -> Result<(), Misplaced> {
    let Some((part, below)) = path.split_first() else {
        *here = value;
        return Ok(());
    };
    if part.as_key().is_empty() {
        return Err(Misplaced::EmptyPart);
    }
    let absent = || Node {
        origin: Origin::Variable(Arc::clone(name)),
        value: match below.first() {
            Some(Part::Index(_)) => Value::List(Vec::new()),
            Some(Part::Key(_)) | None => Value::Table(BTreeMap::new()),
        },
    };
    match (&mut here.value, part) {
        (Value::Table(entries), part) => {
            // `my-acme` is written MY_ACME in a variable's name.
            let spelled = spelled(&part.as_key());
            let known = entries.keys().find(|key| self::spelled(key) == spelled);
            let key = known.cloned().unwrap_or_else(|| part.as_key());
            lay(
                entries.entry(key).or_insert_with(absent),
                below,
                name,
                value,
            )
        }
        (Value::List(elements), Part::Index(index)) => {
            let length = elements.len();
            if *index == length {
                elements.push(absent());
            }
            match elements.get_mut(*index) {
                Some(element) => lay(element, below, name, value),
                None => Err(Misplaced::BeyondTheList { length }),
            }
        }
        (Value::List(elements), Part::Key(_)) => Err(Misplaced::NotAnIndex {
            length: elements.len(),
        }),
        _ => Err(Misplaced::InsideAValue),
    }
}

/// A key as a variable's name can spell it.
fn spelled(key: &str) -> String {
    let letters = key.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    letters.collect()
}

/// Kubernetes puts variables of its own into every container beside a service that is called `countersign…`.
fn is_of_kubernetes(name: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let port = name.split("_PORT").nth(1);
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || port.is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .trim_start_matches('_')
                    .starts_with(|c: char| c.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::KeyPath;

    fn laid_over(text: &str, variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let owned = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.into()));
        let environment: Environment = owned.collect();
        let mut tree = Node::parse(text).0;
        let strays = environment.lay_over(&mut tree);
        (tree, strays.into_iter().map(|stray| stray.name).collect())
    }

    fn text(tree: &Node, path: &KeyPath) -> String {
        match tree.at(path).map(|node| &node.value) {
            Some(Value::Text(text)) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_variable_overrides_the_file_and_is_named_where_it_is_wrong() {
        let (tree, strays) = laid_over(
            "[store]\nurl = \"a\"\n[[tenants]]\nid = \"x\"\n",
            &[
                ("COUNTERSIGN_STORE__URL", "b"),
                ("COUNTERSIGN_TENANTS__0__ID", "y"),
                ("COUNTERSIGN_TENANTS__1__ID", "z"),
                ("COUNTERSIGN_TENANTS__1__PRODUCERS__0__NAME", "p"),
            ],
        );
        assert!(strays.is_empty(), "{strays:?}");
        let tenants = KeyPath::of(&["tenants"]);
        assert_eq!(text(&tree, &KeyPath::of(&["store", "url"])), "b");
        assert_eq!(text(&tree, &tenants.index(0).key("id")), "y");
        let name = tenants.index(1).key("producers").index(0).key("name");
        assert_eq!(text(&tree, &name), "p");
        let variable = Origin::Variable("COUNTERSIGN_TENANTS__1__PRODUCERS__0__NAME".into());
        assert_eq!(tree.origin(&name), variable);
    }

    #[test]
    fn a_tenth_tenant_comes_after_the_second() {
        let variables: Vec<(String, String)> = (0..12)
            .map(|i| (format!("COUNTERSIGN_TENANTS__{i}__ID"), format!("t{i}")))
            .collect();
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let (tree, strays) = laid_over("", &variables);
        assert!(strays.is_empty(), "{strays:?}");
        assert_eq!(
            text(&tree, &KeyPath::of(&["tenants"]).index(11).key("id")),
            "t11"
        );
    }

    #[test]
    fn a_profile_whose_name_has_a_hyphen_can_be_reached() {
        let (tree, _) = laid_over(
            "[profiles.my-acme]\nsigned = \"body\"\n",
            &[("COUNTERSIGN_PROFILES__MY_ACME__SIGNED", "fields")],
        );
        let signed = KeyPath::of(&["profiles", "my-acme", "signed"]);
        assert_eq!(text(&tree, &signed), "fields");
    }

    #[test]
    fn what_names_no_key_is_a_stray() {
        let (_, strays) = laid_over(
            "[server]\nlisten = \"x\"\n",
            &[
                ("COUNTERSIGN_STOER__URL", "b"),
                ("COUNTERSIGN_SERVER__LISTEN__PORT", "b"),
                ("COUNTERSIGN_TENANTS__5__ID", "b"),
                ("COUNTERSIGN_SERVER__", "b"),
                ("COUNTERSIGN_CONFIG", "b"),
                ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"),
                ("COUNTERSIGN_PORT", "tcp://10.0.0.1:8443"),
                ("COUNTERSIGN_PORT_8443_TCP_ADDR", "10.0.0.1"),
                ("COUNTERSIGN_ADMIN_SERVICE_PORT_HTTPS", "9443"),
                ("OTHER", "b"),
            ],
        );
        let mut strays = strays;
        strays.sort();
        assert_eq!(
            strays,
            [
                "COUNTERSIGN_SERVER__",
                "COUNTERSIGN_SERVER__LISTEN__PORT",
                "COUNTERSIGN_STOER__URL",
                "COUNTERSIGN_TENANTS__5__ID"
            ]
        );
    }

    #[test]
    fn a_variable_that_may_hold_a_secret_is_not_shown_however_it_is_spelt() {
        let shown = |name: &str, value: &str| {
            let environment = Environment::from([(name, value)]);
            let mut all = environment.overriding();
            all.next().unwrap().1.map(str::to_owned)
        };
        for (name, value) in [
            ("COUNTERSIGN_STORE__URL", "postgres://u:hunter2@h/db"),
            ("COUNTERSIGN_store__url", "postgres://u:hunter2@h/db"),
            ("COUNTERSIGN_admin__Token", "hunter2"),
            ("COUNTERSIGN_tenants", "[]"),
            (
                "COUNTERSIGN_Tenants__0__producers__0__values__salt",
                "hunter2",
            ),
        ] {
            assert_eq!(shown(name, value), None, "{name}");
        }
        let shown = shown("COUNTERSIGN_server__listen", "127.0.0.1:1");
        assert_eq!(shown.as_deref(), Some("127.0.0.1:1"));
    }
}
