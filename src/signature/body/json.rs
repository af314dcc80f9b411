//! Reading signed JSON where it stands: by pointer (RFC 6901), without a tree and without a copy.
//!
//! A number stays the text that the sender wrote; no float is ever made of it. A key that occurs twice on the
//! way is a fault: two readers could take two values from it, and only one of them would be the signed one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How many elements a batch may have.
pub(super) const BATCH_ELEMENTS_MAX: usize = 4096;

/// A JSON pointer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signature) struct Pointer {
    tokens: Box<[Box<str>]>,
}

/// Why a document could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signature) enum JsonFault {
    /// It is no JSON.
    NotJson,
    /// A key on the pointer's way occurs twice.
    Repeated,
    /// A list has more than [`BATCH_ELEMENTS_MAX`] elements.
    TooMany,
}

impl Pointer {
    /// Reads `/a/b~1c`; the empty pointer is the whole document.
    pub(in crate::signature) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self {
                tokens: Box::default(),
            });
        }
        let rest = text
            .strip_prefix('/')
            .ok_or("a JSON pointer begins with \"/\"")?;
        let tokens = rest.split('/').map(unescape).collect::<Result<_, _>>()?;
        Ok(Self { tokens })
    }

    /// The pointer to a key of the document itself.
    pub(in crate::signature) fn of_name(name: &str) -> Self {
        Self {
            tokens: [name.into()].into(),
        }
    }

    /// Whether a part of it is `*`, which stands for no element but in a list pointer.
    pub(in crate::signature) fn has_a_star(&self) -> bool {
        self.tokens.iter().any(|token| **token == *"*")
    }

    /// Its parts, unescaped.
    pub(in crate::signature) fn tokens(&self) -> &[Box<str>] {
        &self.tokens
    }

    /// What the pointer names in `document`; `None` when nothing is there.
    pub(in crate::signature) fn find<'a>(
        &self,
        document: &'a RawValue,
    ) -> Result<Option<&'a RawValue>, JsonFault> {
        let mut at = document;
        for token in &self.tokens {
            if !at.get().starts_with(['{', '[']) {
                return Ok(None);
            }
            let mut reader = serde_json::Deserializer::from_str(at.get());
            match Step(token)
                .deserialize(&mut reader)
                .map_err(|_not_json| JsonFault::NotJson)?
            {
                Found::Nothing => return Ok(None),
                Found::Twice => return Err(JsonFault::Repeated),
                Found::Here(next) => at = next,
            }
        }
        Ok(Some(at))
    }

    /// The text of the scalar that the pointer names: a string's characters, a number or boolean as it stands.
    pub(in crate::signature) fn text<'a>(
        &self,
        document: &'a RawValue,
    ) -> Result<Option<Cow<'a, str>>, JsonFault> {
        Ok(self.find(document)?.and_then(scalar))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// A pointer with one `*`: the elements of a list, or a part of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signature) struct ListPointer {
    list: Pointer,
    element: Pointer,
}

impl ListPointer {
    /// Reads `/events/*` or `/a/*/b`.
    pub(in crate::signature) fn parse(text: &str) -> Result<Self, &'static str> {
        let (list, element) = match text.split_once("/*") {
            Some((list, element)) if element.is_empty() || element.starts_with('/') => {
                (list, element)
            }
            Some(_) | None => {
                return Err("a list is named by a pointer with one \"*\", as \"/events/*\"");
            }
        };
        if element.contains("/*") {
            return Err("only one \"*\" is possible");
        }
        Ok(Self {
            list: Pointer::parse(list)?,
            element: Pointer::parse(element)?,
        })
    }

    /// The pointer to the list.
    pub(in crate::signature) fn list_text(&self) -> String {
        self.list.to_string()
    }

    /// The pointer inside each element; empty for the whole of it.
    pub(in crate::signature) fn element_text(&self) -> String {
        self.element.to_string()
    }

    /// The elements in order; `None` where there is no list. An element that lacks the inner part, or has it twice, stands whole: one
    /// that cannot be read hides no other.
    pub(in crate::signature) fn elements<'a>(
        &self,
        document: &'a RawValue,
    ) -> Result<Option<Vec<&'a RawValue>>, JsonFault> {
        let Some(list) = self
            .list
            .find(document)?
            .filter(|list| list.get().starts_with('['))
        else {
            return Ok(None);
        };
        let mut reader = serde_json::Deserializer::from_str(list.get());
        let elements = Elements
            .deserialize(&mut reader)
            .map_err(|_not_json| JsonFault::TooMany)?;
        let inner =
            |element: &'a RawValue| self.element.find(element).ok().flatten().unwrap_or(element);
        Ok(Some(elements.into_iter().map(inner).collect()))
    }
}

/// The whole of `body` as JSON.
pub(in crate::signature) fn document(body: &[u8]) -> Result<&RawValue, JsonFault> {
    serde_json::from_slice(body).map_err(|_not_json| JsonFault::NotJson)
}

/// A scalar's text; `None` for null, lists and objects.
pub(super) fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => match serde_json::from_str::<&str>(text) {
            Ok(plain) => Some(Cow::Borrowed(plain)),
            Err(_) => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        },
        b'n' | b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(text)),
    }
}

fn unescape(token: &str) -> Result<Box<str>, &'static str> {
    let mut rest = token;
    let mut plain = String::with_capacity(token.len());
    while let Some((before, after)) = rest.split_once('~') {
        plain.push_str(before);
        plain.push(match after.as_bytes().first() {
            Some(b'0') => '~',
            Some(b'1') => '/',
            Some(_) | None => {
                return Err(
                    "in a JSON pointer \"~\" is written \"~0\" and \"/\" is written \"~1\"",
                );
            }
        });
        rest = after.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    Ok(plain.into())
}

enum Found<'a> {
    Nothing,
    Here(&'a RawValue),
    Twice,
}

struct Step<'t>(&'t str);

impl<'a> DeserializeSeed<'a> for Step<'_> {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Found<'a>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Step<'_> {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Found<'a>, A::Error> {
        let mut found = Found::Nothing;
        while let Some(wanted) = map.next_key_seed(KeyIs(self.0))? {
            if wanted {
                let value = map.next_value()?;
                found = match found {
                    Found::Nothing => Found::Here(value),
                    Found::Here(_) | Found::Twice => Found::Twice,
                };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Found<'a>, A::Error> {
        let index = self
            .0
            .parse::<usize>()
            .ok()
            .filter(|index| index.to_string() == *self.0);
        let mut found = Found::Nothing;
        let mut at = 0_usize;
        while let Some(value) = list.next_element::<&'a RawValue>()? {
            if Some(at) == index {
                found = Found::Here(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

struct KeyIs<'t>(&'t str);

impl<'a> DeserializeSeed<'a> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Elements;

impl<'a> DeserializeSeed<'a> for Elements {
    type Value = Vec<&'a RawValue>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Elements {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {BATCH_ELEMENTS_MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() == BATCH_ELEMENTS_MAX {
                return Err(serde::de::Error::invalid_length(elements.len() + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(body: &str, pointer: &str, expected: Result<Option<&str>, JsonFault>) {
        let found = Pointer::parse(pointer)
            .unwrap()
            .text(document(body.as_bytes()).unwrap());
        assert_eq!(
            found.as_ref().map(|text| text.as_deref()),
            expected.as_ref().map(|text| *text),
            "{body} {pointer}"
        );
    }

    #[test]
    fn a_pointer_finds_scalars_as_they_are_written() {
        check(r#"{"a":{"b":[1,10.00]}}"#, "/a/b/1", Ok(Some("10.00")));
        check(
            r#"{"a":12345678901234567890123}"#,
            "/a",
            Ok(Some("12345678901234567890123")),
        );
        check(r#"{"a":"\u0041\n"}"#, "/a", Ok(Some("A\n")));
        check(r#"{"a/b":{"~":true}}"#, "/a~1b/~0", Ok(Some("true")));
        check(r#"{"":{"":null}}"#, "//", Ok(None));
        check(r#"{"a":{}}"#, "/a", Ok(None));
        check(r#"{"a":[1]}"#, "/a/01", Ok(None));
        check(r#"{"\u0061":1}"#, "/a", Ok(Some("1")));
    }

    #[test]
    fn a_key_that_occurs_twice_is_a_fault_only_on_the_pointers_way() {
        check(r#"{"a":1,"\u0061":2}"#, "/a", Err(JsonFault::Repeated));
        check(r#"{"x":1,"x":2,"a":3}"#, "/a", Ok(Some("3")));
    }

    #[test]
    fn a_list_pointer_walks_the_inner_part_of_each_element() {
        let body = r#"{"l":[{"i":{"v":1}},{"j":2}]}"#;
        let list = ListPointer::parse("/l/*/i").unwrap();
        let elements = list
            .elements(document(body.as_bytes()).unwrap())
            .unwrap()
            .unwrap();
        let texts: Vec<_> = elements.iter().map(|element| element.get()).collect();
        assert_eq!(texts, [r#"{"v":1}"#, r#"{"j":2}"#]);
        assert!(ListPointer::parse("/l").is_err());
        assert!(ListPointer::parse("/*/x/*").is_err());
        let bare = ListPointer::parse("/*").unwrap();
        assert_eq!(
            bare.elements(document(b"[1,2]").unwrap())
                .unwrap()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(
            bare.elements(document(b"{}").unwrap())
                .unwrap()
                .map(|all| all.len()),
            None
        );
    }

    #[test]
    fn a_batch_without_end_is_refused() {
        let body = format!("[{}0]", "0,".repeat(BATCH_ELEMENTS_MAX));
        let elements = ListPointer::parse("/*").unwrap();
        assert_eq!(
            elements
                .elements(document(body.as_bytes()).unwrap())
                .unwrap_err(),
            JsonFault::TooMany
        );
    }

    proptest! {
        #[test]
        fn no_body_and_no_pointer_makes_it_panic(body in ".*", pointer in "[/a-c0-2~*]{0,12}") {
            if let (Ok(document), Ok(pointer)) = (document(body.as_bytes()), Pointer::parse(&pointer)) {
                let _ = pointer.text(document);
            }
            let _ = ListPointer::parse(&pointer);
        }
    }
}
