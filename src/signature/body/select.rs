//! Many places of a document, in one pass over it.
//!
//! A mapping asks for a dozen pointers; walking the body once for each would cost more than its HMAC. The
//! pointers are laid together as a tree, and the body is read along that tree.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{self, JsonFault, Pointer};

/// The pointers that a mapping asks for.
#[derive(Clone, Debug, Default)]
pub(in crate::signature) struct Selection {
    /// In the order of their slots.
    pointers: Vec<Pointer>,
    root: Node,
}

/// Where a pointer's value will stand in [`Values`].
pub(in crate::signature) type Slot = usize;

/// What stands at each pointer: scalars alone, as texts.
#[derive(Debug)]
pub(in crate::signature) struct Values<'a>(Vec<Found<'a>>);

/// What stands at one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Nothing, null, a list or an object.
    Absent,
    /// A string's characters; a number or boolean as it is written.
    Text(Cow<'a, str>),
    /// A key on the way occurs twice.
    Repeated,
}

/// A document that is no JSON (a form, XML): pointer to text, `None` where a name occurs twice.
pub(super) type Fields = BTreeMap<String, Option<String>>;

/// Fields of one document, at most: short ones would take a hundred times the memory that the body has.
pub(super) const FIELDS_MAX: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Node {
    slot: Option<Slot>,
    children: Vec<(Box<str>, Node)>,
}

impl Selection {
    /// Adds a pointer; one that is there already keeps its slot.
    pub(in crate::signature) fn add(&mut self, pointer: &Pointer) -> Slot {
        if let Some(slot) = self.pointers.iter().position(|known| known == pointer) {
            return slot;
        }
        let slot = self.pointers.len();
        self.pointers.push(pointer.clone());
        self.root.add(pointer.tokens(), slot);
        slot
    }

    /// Reads all of them from a JSON object.
    pub(in crate::signature) fn read<'a>(
        &self,
        document: &'a RawValue,
    ) -> Result<Values<'a>, JsonFault> {
        let mut values = Values(vec![Found::Absent; self.pointers.len()]);
        let mut reader = serde_json::Deserializer::from_str(document.get());
        let walk = Walk {
            node: &self.root,
            values: &mut values,
        };
        match walk.deserialize(&mut reader) {
            Ok(()) => Ok(values),
            // Valid JSON that serde cannot read as values: a number beyond a float where an object is looked
            // for. One pointer after the other then, which looks at nothing else.
            Err(_) => self.read_one_by_one(document),
        }
    }

    /// Reads all of them from fields.
    pub(in crate::signature) fn read_fields<'a>(&self, fields: &'a Fields) -> Values<'a> {
        let find = |pointer: &Pointer| match fields.get(&pointer.to_string()) {
            None => Found::Absent,
            Some(None) => Found::Repeated,
            Some(Some(text)) => Found::Text(Cow::Borrowed(text)),
        };
        Values(self.pointers.iter().map(find).collect())
    }

    fn read_one_by_one<'a>(&self, document: &'a RawValue) -> Result<Values<'a>, JsonFault> {
        let find = |pointer: &Pointer| match pointer.text(document) {
            Ok(None) => Ok(Found::Absent),
            Ok(Some(text)) => Ok(Found::Text(text)),
            Err(JsonFault::Repeated) => Ok(Found::Repeated),
            Err(fault @ (JsonFault::NotJson | JsonFault::TooMany)) => Err(fault),
        };
        Ok(Values(
            self.pointers.iter().map(find).collect::<Result<_, _>>()?,
        ))
    }
}

impl<'a> Values<'a> {
    /// The text in a slot.
    pub(in crate::signature) fn text(&self, slot: Slot) -> Option<&str> {
        match self.0.get(slot)? {
            Found::Text(text) => Some(text),
            Found::Absent | Found::Repeated => None,
        }
    }

    /// Whether a key on the way to any of them occurs twice.
    pub(in crate::signature) fn any_repeated(&self) -> bool {
        self.0.contains(&Found::Repeated)
    }

    fn set(&mut self, slot: Slot, found: Found<'a>) {
        if let Some(place) = self.0.get_mut(slot) {
            *place = found;
        }
    }
}

impl Node {
    fn add(&mut self, tokens: &[Box<str>], slot: Slot) {
        let Some((first, rest)) = tokens.split_first() else {
            self.slot = Some(slot);
            return;
        };
        match self.children.iter_mut().find(|(name, _)| name == first) {
            Some((_, child)) => child.add(rest, slot),
            None => {
                let mut child = Self::default();
                child.add(rest, slot);
                self.children.push((first.clone(), child));
            }
        }
    }

    fn mark_repeated(&self, values: &mut Values<'_>) {
        if let Some(slot) = self.slot {
            values.set(slot, Found::Repeated);
        }
        for (_, child) in &self.children {
            child.mark_repeated(values);
        }
    }
}

/// Reads one value along one node.
struct Walk<'n, 'v, 'a> {
    node: &'n Node,
    values: &'v mut Values<'a>,
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        let Some(slot) = self.node.slot else {
            return reader.deserialize_any(self);
        };
        let raw = <&'a RawValue as serde::Deserialize<'a>>::deserialize(reader)?;
        self.values
            .set(slot, json::scalar(raw).map_or(Found::Absent, Found::Text));
        if self.node.children.is_empty() {
            return Ok(());
        }
        let mut inner = serde_json::Deserializer::from_str(raw.get());
        inner
            .deserialize_any(self)
            .map_err(serde::de::Error::custom)
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.node.children.len()];
        while let Some(known) = map.next_key_seed(KeyIn(&self.node.children))? {
            let child = known
                .and_then(|index| Some((self.node.children.get(index)?, seen.get_mut(index)?)));
            match child {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(((_, child), seen)) if *seen => {
                    map.next_value::<IgnoredAny>()?;
                    child.mark_repeated(&mut *self.values);
                }
                Some(((_, child), seen)) => {
                    *seen = true;
                    map.next_value_seed(Walk {
                        node: child,
                        values: &mut *self.values,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        for at in 0_usize.. {
            let name = at.to_string();
            let child = self
                .node
                .children
                .iter()
                .find(|(token, _)| **token == *name);
            let more = match child {
                Some((_, node)) => list
                    .next_element_seed(Walk {
                        node,
                        values: &mut *self.values,
                    })?
                    .is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Which child a key names.
struct KeyIn<'n>(&'n [(Box<str>, Node)]);

impl<'a> DeserializeSeed<'a> for KeyIn<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Option<usize>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIn<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|(token, _)| **token == *key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn select(body: &str, pointers: &[&str]) -> Vec<Option<String>> {
        let mut selection = Selection::default();
        for pointer in pointers {
            selection.add(&Pointer::parse(pointer).unwrap());
        }
        let values = selection
            .read(json::document(body.as_bytes()).unwrap())
            .unwrap();
        values
            .0
            .into_iter()
            .map(|found| match found {
                Found::Absent => None,
                Found::Text(text) => Some(text.into_owned()),
                Found::Repeated => Some("TWICE".to_owned()),
            })
            .collect()
    }

    #[track_caller]
    fn check(body: &str, pointers: &[&str], expected: &[Option<&str>]) {
        let found = select(body, pointers);
        assert_eq!(
            found.iter().map(Option::as_deref).collect::<Vec<_>>(),
            expected,
            "{body}"
        );
    }

    #[test]
    fn one_pass_finds_all() {
        let body = r#"{"id":"e","data":{"object":{"amount":10.00,"paid":true,"x":null,"l":[1,[2,3]]}},"\u0074":"\u00e9"}"#;
        check(
            body,
            &[
                "/id",
                "/data/object/amount",
                "/data/object/paid",
                "/data/object/x",
                "/data/object/l/1/0",
                "/t",
                "/data",
                "/nothing/here",
            ],
            &[
                Some("e"),
                Some("10.00"),
                Some("true"),
                None,
                Some("2"),
                Some("é"),
                None,
                None,
            ],
        );
    }

    #[test]
    fn a_place_and_a_place_below_it_are_both_found() {
        let pointers = ["/payment", "/payment/id", "/payment/id/x"];
        check(
            r#"{"payment":{"id":"p"}}"#,
            &pointers,
            &[None, Some("p"), None],
        );
        check(r#"{"payment":"p"}"#, &pointers, &[Some("p"), None, None]);
    }

    #[test]
    fn a_number_that_no_float_holds_is_a_text_like_any() {
        check(
            r#"{"a":1e999,"b":12345678901234567890.10}"#,
            &["/a", "/b"],
            &[Some("1e999"), Some("12345678901234567890.10")],
        );
        check(
            r#"{"a":1e999,"b":"x"}"#,
            &["/a/c", "/b"],
            &[None, Some("x")],
        );
    }

    #[test]
    fn a_key_that_occurs_twice_spoils_what_is_below_it_and_nothing_else() {
        let body = r#"{"a":{"b":1,"b":2,"c":3},"d":4,"e":5,"e":6}"#;
        check(
            body,
            &["/a/b", "/a/c", "/d"],
            &[Some("TWICE"), Some("3"), Some("4")],
        );
        let body = r#"{"a":{"b":1},"\u0061":{}}"#;
        check(body, &["/a/b"], &[Some("TWICE")]);
    }

    fn json_value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("1e400".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?",
            "\"[ a-c]{0,3}\"",
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3)
                    .prop_map(|list| format!("[{}]", list.join(" , "))),
                proptest::collection::vec(("[ab0]", inner), 0..4).prop_map(|pairs| {
                    let pairs: Vec<_> = pairs
                        .into_iter()
                        .map(|(key, value)| format!("\"{key}\": {value}"))
                        .collect();
                    format!("{{{}}}", pairs.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn together_or_one_by_one_is_the_same(
            body in json_value(),
            pointers in proptest::collection::vec("(/[ab01]){0,4}", 1..6),
        ) {
            let mut selection = Selection::default();
            for pointer in &pointers {
                selection.add(&Pointer::parse(pointer).unwrap());
            }
            let document = json::document(body.as_bytes()).unwrap();
            let together = selection.read(document).unwrap().0;
            prop_assert_eq!(together, selection.read_one_by_one(document).unwrap().0);
        }
    }
}
