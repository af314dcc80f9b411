//! Reads the shape of a tree: every value that has the wrong one is told, with what belongs there, and the rest is
//! read as if it were not there, so that one reading finds all.

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::Findings;
use super::key::{KeyPath, Step};
use super::misfit::{Kind, Misfit, one_of};
use super::tree::{Node, Origin, Value};

/// Values without a shape that are told of one file.
const MISFITS_MAX: usize = 200;

/// Reads `tree`, which stands at `at`, as far as it has a shape; tells the rest to `findings`.
pub(super) fn read<T: de::DeserializeOwned + Default>(
    tree: &Node,
    at: &KeyPath,
    findings: &mut Findings,
) -> T {
    let mut tree = tree.clone();
    for _ in 0..MISFITS_MAX {
        let misfit = match T::deserialize(Reading(&tree)) {
            Ok(read) => return read,
            Err(misfit) => misfit,
        };
        let (path, what, mut mend) = misfit.in_words();
        if let (Kind::Unfit { expected, .. }, Origin::Variable(name)) =
            (&misfit.kind, tree.origin(&path))
            && expected == "a table"
        {
            mend = format!("name the key that is meant in the variable, as {name}__KEY");
        }
        let taken = match misfit.kind {
            // What is missing cannot be taken away: the table that lacks it is.
            Kind::Missing { .. } => path.steps().split_last().map(|(_, above)| above.to_vec()),
            Kind::UnknownKey { .. }
            | Kind::UnknownWord { .. }
            | Kind::Unfit { .. }
            | Kind::TableForList
            | Kind::Words(_) => Some(path.steps().to_vec()),
        };
        // What was taken away already lacks nothing more.
        if !taken.as_ref().is_some_and(|path| tree.is_void_at(path)) {
            let told = at.steps().iter().chain(path.steps()).cloned().collect();
            findings.shapeless(told, what, mend);
        }
        if !taken.is_some_and(|path| tree.take(&path)) {
            break;
        }
    }
    T::default()
}

/// Lends a node to serde.
struct Reading<'de>(&'de Node);

impl Reading<'_> {
    fn is_void(&self) -> bool {
        matches!(self.0.value, Value::Void)
    }

    /// The text of a variable, whose type is what is asked for.
    fn of_variable(&self) -> Option<&str> {
        match (&self.0.value, &self.0.origin) {
            (Value::Text(text), Origin::Variable(_)) => Some(text),
            _ => None,
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit>
    where
        Self: Deserializer<'de, Error = Misfit>,
    {
        if self.is_void() {
            return visitor.visit_u64(0);
        }
        match self.of_variable().and_then(|text| text.trim().parse().ok()) {
            Some(integer) => visitor.visit_i64(integer),
            None => self.deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Reading<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(integer) => match (i64::try_from(*integer), u64::try_from(*integer)) {
                (Ok(integer), _) => visitor.visit_i64(integer),
                (_, Ok(integer)) => visitor.visit_u64(integer),
                _ => Err(de::Error::invalid_type(
                    Unexpected::Other("a number as large as this"),
                    &visitor,
                )),
            },
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Time => Err(de::Error::invalid_type(
                Unexpected::Other(Value::Time.kind()),
                &visitor,
            )),
            Value::List(elements) => visitor.visit_seq(Elements {
                elements: elements.iter().enumerate(),
            }),
            Value::Table(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                value: None,
            }),
            Value::Void => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_void() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_void() {
            return visitor.visit_bool(false);
        }
        match self.of_variable().map(str::trim) {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            Some(_) | None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.integer(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.integer(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.integer(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_void() {
            visitor.visit_str("")
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    /// A variable's text that is no TOML list is a list separated by commas. An empty one is none: a variable that nobody filled in
    /// must not take pins, lists of revocation or all tenants away.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.of_variable() {
            Some(text) if text.trim().starts_with('[') => {
                let found = Unexpected::Other("a list that is no TOML");
                Err(de::Error::invalid_type(
                    found,
                    &"a list as [\"a\", \"b\"], or a,b",
                ))
            }
            Some(text) if text.trim().is_empty() => {
                let found = Unexpected::Other("an empty variable");
                let list = "a list as [\"a\", \"b\"], or a,b, [] for an empty one, or unset it";
                Err(de::Error::invalid_type(found, &list))
            }
            Some(text) => visitor.visit_seq(Parts { rest: Some(text) }),
            None => {
                if self.is_void() {
                    visitor.visit_seq(Parts { rest: None })
                } else {
                    self.deserialize_any(visitor)
                }
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_void() {
            let entries = Default::default();
            let value = None;
            visitor.visit_map(Entries { entries, value })
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        // A struct may be written as a list in serde's eyes, but not in ours.
        if matches!(self.0.value, Value::List(_)) {
            return Err(de::Error::invalid_type(Unexpected::Seq, &"a table"));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match (&self.0.value, words.first()) {
            (Value::Text(word), _) => visitor.visit_enum(Word(word)),
            (Value::Void, Some(first)) => visitor.visit_enum(Word(first)),
            _ => Err(Misfit::of(Kind::Unfit {
                what: format!("{} does not belong here", self.0.value.kind()),
                expected: one_of(words),
            })),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

struct Elements<'de> {
    elements: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, element)) = self.elements.next() else {
            return Ok(None);
        };
        seed.deserialize(Reading(element))
            .map(Some)
            .map_err(|misfit| misfit.inside(Step::Index(index)))
    }
}

struct Entries<'de> {
    entries: std::collections::btree_map::Iter<'de, String, Node>,
    value: Option<(&'de String, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Misfit> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value for every key"));
        };
        seed.deserialize(Reading(value))
            .map_err(|misfit| misfit.inside(Step::Key(key.clone())))
    }
}

/// The parts of a variable's text, between commas.
struct Parts<'de> {
    rest: Option<&'de str>,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some(text) = self.rest.filter(|rest| !rest.trim().is_empty()) else {
            return Ok(None);
        };
        let (part, rest) = match text.split_once(',') {
            Some((part, rest)) => (part, Some(rest)),
            None => (text, None),
        };
        self.rest = rest;
        let part: StringDeserializer<Misfit> = part.trim().to_owned().into_deserializer();
        seed.deserialize(part).map(Some)
    }
}

/// A word out of several.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        let word: StrDeserializer<'_, Misfit> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Misfit> {
        Err(de::Error::custom("one word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Misfit> {
        Err(de::Error::custom("one word"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Misfit> {
        Err(de::Error::custom("one word"))
    }
}
