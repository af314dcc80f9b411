//! The configuration as it is written: a tree whose every value knows the line or the variable it stands in.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::key::{KeyPath, Step};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In the file, at this line, from 1.
    Line(usize),
    /// In this environment variable.
    Variable(Arc<str>),
    /// Nowhere: the default counts.
    Nowhere,
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Time,
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// A value that had no shape and has been told of: it reads as whatever is asked for.
    Void,
}

impl Value {
    /// What kind of value it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "this text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a point",
            Self::Boolean(_) => "true or false",
            Self::Time => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Void => "nothing",
        }
    }
}

/// A syntax fault: the line from 1, and what is wrong there.
pub(super) struct NotToml {
    pub(super) line: Option<usize>,
    pub(super) what: String,
}

impl Node {
    /// Parses a file as far as it can be understood, and tells every line that cannot.
    pub(super) fn parse(text: &str) -> (Self, Vec<NotToml>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let lines = Lines::of(text);
        let root = Self {
            origin: Origin::Nowhere,
            value: from_table(table.get_ref(), &|span| Origin::Line(lines.line(span))),
        };
        let mut faults: Vec<NotToml> = Vec::new();
        for error in errors {
            let line = error.span().map(|span| lines.line(span.start));
            // One mistake often trips the parser several times on its line: the first word counts.
            if line.is_none() || faults.iter().all(|told| told.line != line) {
                let message = error.message();
                let named = error.span().and_then(|span| text.get(span));
                let what = match named.filter(|_| message == "duplicate key") {
                    Some(name) => format!("{message} {name}"),
                    None => message.to_owned(),
                };
                faults.push(NotToml { line, what });
            }
        }
        faults.sort_by_key(|fault| fault.line);
        (root, faults)
    }

    /// Reads a variable's value: TOML where it is a list or an inline table, else the text as it stands.
    pub(super) fn of_variable(name: &Arc<str>, text: &str) -> Self {
        let origin = Origin::Variable(Arc::clone(name));
        let trimmed = text.trim();
        if trimmed.starts_with(['[', '{'])
            && let Ok(value) = DeValue::parse(trimmed)
        {
            let value = from_value(value.get_ref(), &|_| origin.clone());
            return Self { origin, value };
        }
        Self {
            origin,
            value: Value::Text(text.to_owned()),
        }
    }

    /// Where `path` was written; where it was not, where the nearest thing around it was.
    pub(super) fn origin(&self, path: &KeyPath) -> Origin {
        let mut here = self;
        for step in path.steps() {
            match here.child(step) {
                Some(child) => here = child,
                None => break,
            }
        }
        here.origin.clone()
    }

    /// The value at `path`.
    pub(super) fn at(&self, path: &KeyPath) -> Option<&Self> {
        path.steps()
            .iter()
            .try_fold(self, |here, step| here.child(step))
    }

    /// Takes the value at `path` away: an element of a list leaves its place void, so that those after it keep
    /// their index. False where there is nothing to take.
    pub(super) fn take(&mut self, path: &[Step]) -> bool {
        let Some((last, above)) = path.split_last() else {
            return false;
        };
        let parent = above
            .iter()
            .try_fold(&mut *self, |here, step| here.child_mut(step));
        let Some(parent) = parent else {
            return self.take(above);
        };
        match (&mut parent.value, last) {
            (Value::Table(entries), Step::Key(key)) if entries.contains_key(key) => {
                entries.remove(key);
                true
            }
            (Value::List(elements), Step::Index(index)) => match elements.get_mut(*index) {
                Some(element) if !matches!(element.value, Value::Void) => {
                    element.value = Value::Void;
                    true
                }
                Some(_) | None => self.take(above),
            },
            _ => self.take(above),
        }
    }

    /// Whether what stood at `path` was taken away.
    pub(super) fn is_void_at(&self, path: &[Step]) -> bool {
        let mut steps = path.iter();
        let there = steps.try_fold(self, |here, step| here.child(step));
        there.is_some_and(|node| matches!(node.value, Value::Void))
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get(key),
            (Value::List(elements), Step::Index(index)) => elements.get(*index),
            _ => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get_mut(key),
            (Value::List(elements), Step::Index(index)) => elements.get_mut(*index),
            _ => None,
        }
    }
}

/// A key's line counts for its value: a list or table may begin lines above the place of interest.
fn from_table(table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let node = Node {
            origin: origin(key.span().start),
            value: from_value(value.get_ref(), origin),
        };
        (key.get_ref().to_string(), node)
    });
    Value::Table(entries.collect())
}

fn from_value(value: &DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => {
            // Out of every range is out of ours.
            let digits = i128::from_str_radix(integer.as_str(), integer.radix());
            Value::Integer(digits.unwrap_or(i128::MAX))
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(elements) => {
            let nodes = elements.iter().map(|element| Node {
                origin: origin(element.span().start),
                value: from_value(element.get_ref(), origin),
            });
            Value::List(nodes.collect())
        }
        DeValue::Table(table) => from_table(table, origin),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, byte: usize) -> usize {
        self.0.partition_point(|end| *end < byte) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let text = "[server]\nlisten = \"x\"\npaths = [\n  \"/a\",\n  \"/b\",\n]\n[[tenants]]\nid = \"a\"\n[[tenants.producers]]\nname = \"p\"\n[[tenants]]\n";
        let (tree, faults) = Node::parse(text);
        assert!(faults.is_empty());
        let line = |path: &KeyPath| match tree.origin(path) {
            Origin::Line(line) => line,
            Origin::Variable(_) | Origin::Nowhere => 0,
        };
        let tenants = KeyPath::of(&["tenants"]);
        assert_eq!(line(&KeyPath::of(&["server"])), 1);
        assert_eq!(line(&KeyPath::of(&["server", "listen"])), 2);
        assert_eq!(line(&KeyPath::of(&["server", "paths"]).index(1)), 5);
        assert_eq!(line(&tenants.index(0)), 7);
        assert_eq!(line(&tenants.index(0).key("producers").index(0)), 9);
        assert_eq!(
            line(&tenants.index(0).key("producers").index(0).key("subject")),
            9
        );
        assert_eq!(line(&tenants.index(1)), 11);
        assert_eq!(
            tree.origin(&KeyPath::of(&["store", "url"])),
            Origin::Nowhere
        );
    }

    #[test]
    fn every_broken_line_is_told_once() {
        let (_, faults) = Node::parse("a = \nb = 1\nc = ]\nd = \"x\nb = 2\n");
        let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [Some(1), Some(3), Some(4), Some(5)]);
    }
}
