//! What is wrong with a value whose shape is another one than belongs there, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::key::{KeyPath, Step};
use super::nearest::nearest;
use super::tree::Value;

/// A value that has not the shape that belongs there.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The steps from the root, the last first.
    path: Vec<Step>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    UnknownWord {
        word: String,
        known: &'static [&'static str],
    },
    Missing {
        key: &'static str,
    },
    Unfit {
        what: String,
        expected: String,
    },
    /// A table where a list belongs: of tables, if its header only lacks its second pair of brackets.
    TableForList,
    Words(String),
}

/// Lists of which each element is a table with a header of its own.
const LISTS_OF_TABLES: [&str; 5] = ["tenants", "producers", "challenge", "also", "when"];

/// How a value is written, where what belongs there does not tell it.
fn example_of(path: &KeyPath, expected: &str) -> &'static str {
    let Some(Step::Key(key)) = path.steps().last() else {
        return "";
    };
    match (key.as_str(), expected) {
        ("past" | "future" | "budget", "a text in quotes") => ", as \"300s\"",
        ("from", "a table") => ", as { header = [\"x-signature\"] }",
        ("minor_digits", "a table") => ", as { JPY = 0 }",
        _ => "",
    }
}

impl Misfit {
    pub(super) fn of(kind: Kind) -> Self {
        Self {
            path: Vec::new(),
            kind,
        }
    }

    pub(super) fn inside(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// The whole path, what is wrong, and how to mend it.
    pub(super) fn in_words(&self) -> (KeyPath, String, String) {
        let path: KeyPath = self.path.iter().rev().cloned().collect();
        match &self.kind {
            Kind::UnknownKey { key, known } => {
                let mend = match nearest(key, known.iter().copied()) {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None if known.is_empty() => "take it out".to_owned(),
                    None => format!("the keys here are {}", known.join(", ")),
                };
                (path.key(key), "unknown key".to_owned(), mend)
            }
            Kind::UnknownWord { word, known } => {
                // What is as long as this was not meant as one of the words, and may be a secret.
                let what = match word.len() {
                    0..=24 => format!("unknown value {word:?}"),
                    _ => "unknown value".to_owned(),
                };
                let mend = match nearest(word, known.iter().copied()) {
                    Some(nearest) => format!("did you mean {nearest:?}?"),
                    None => format!("write {}", one_of(known)),
                };
                (path, what, mend)
            }
            Kind::Missing { key } => {
                let example = match *key {
                    "when" => "{ json = \"/challenge\" }",
                    _ => "…",
                };
                let mend = format!("add {key} = {example}");
                (path.key(key), "is missing".to_owned(), mend)
            }
            Kind::Unfit { what, expected } => {
                let mend = format!("write {expected}{}", example_of(&path, expected));
                (path, what.clone(), mend)
            }
            Kind::TableForList => {
                let keys = path.steps().iter().filter_map(|step| match step {
                    Step::Key(key) => Some(key.as_str()),
                    Step::Index(_) => None,
                });
                let keys: Vec<&str> = keys.collect();
                let mend = match keys.last() {
                    Some(last) if LISTS_OF_TABLES.contains(last) => {
                        format!("write [[{}]]", keys.join("."))
                    }
                    Some(_) | None => "write a list in square brackets".to_owned(),
                };
                (path, "a table does not belong here".to_owned(), mend)
            }
            Kind::Words(words) => (
                path,
                "this value does not belong here".to_owned(),
                format!("write {words}"),
            ),
        }
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, what, mend) = self.in_words();
        write!(f, "{path}: {what}; {mend}")
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::of(Kind::Words(words.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        if matches!(found, Unexpected::Map) && expected == "a sequence" {
            return Self::of(Kind::TableForList);
        }
        let found = match found {
            Unexpected::Bool(_) => Value::Boolean(true).kind(),
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => Value::Integer(0).kind(),
            Unexpected::Float(_) => Value::Float(0.0).kind(),
            // The text itself is not told: it may be a secret in the wrong place.
            Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => {
                Value::Text(String::new()).kind()
            }
            Unexpected::Seq => Value::List(Vec::new()).kind(),
            Unexpected::Map | Unexpected::StructVariant => Value::Table(BTreeMap::new()).kind(),
            Unexpected::Other(other) => other,
            Unexpected::Unit
            | Unexpected::Option
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant => "this value",
        };
        let is_a_table = found == Value::Table(BTreeMap::new()).kind();
        let expected = match expected.as_str() {
            "a string" if is_a_table => {
                "a text in quotes; a key with a dot is a table unless it stands in quotes itself, as \"a.b\"".to_owned()
            }
            "a string" => "a text in quotes".to_owned(),
            "a sequence" => "a list in square brackets".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a map" => "a table".to_owned(),
            "i64" | "u64" | "u32" | "u16" | "usize" => "a whole number".to_owned(),
            other if other.starts_with("struct ") => "a table".to_owned(),
            _ => expected,
        };
        Self::of(Kind::Unfit {
            what: format!("{found} does not belong here"),
            expected,
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Signed(number) => Self::out_of_range(number.to_string(), expected),
            Unexpected::Unsigned(number) => Self::out_of_range(number.to_string(), expected),
            // Only what it says is wrong, not that a text stands here.
            Unexpected::Str(_) => Self::of(Kind::Unfit {
                what: "this text cannot be read".to_owned(),
                expected: expected.to_string(),
            }),
            Unexpected::Bool(_)
            | Unexpected::Float(_)
            | Unexpected::Char(_)
            | Unexpected::Bytes(_)
            | Unexpected::Unit
            | Unexpected::Option
            | Unexpected::NewtypeStruct
            | Unexpected::Seq
            | Unexpected::Map
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => Self::invalid_type(found, expected),
        }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownWord {
            word: word.to_owned(),
            known,
        })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownKey {
            key: key.to_owned(),
            known,
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::of(Kind::Missing { key })
    }
}

impl Misfit {
    fn out_of_range(number: String, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u16" => format!("a whole number from 0 to {}", u16::MAX),
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            "u64" | "usize" => "a whole number that is not negative".to_owned(),
            "i64" => "a whole number of at most 18 digits".to_owned(),
            other => other.to_owned(),
        };
        Self::of(Kind::Unfit {
            what: format!("{number} does not belong here"),
            expected,
        })
    }
}
