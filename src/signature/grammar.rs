//! How a signature header is written: items, keys, and which of them are signatures.
//!
//! What is not known is skipped, never accepted: a `v0` next to a `v1` is another version's business.

use smallvec::SmallVec;

use super::profile::descriptor::Encoding;

/// How many items a header (with all its repetitions) may list; one more makes it malformed.
pub(super) const ITEMS_MAX: usize = 32;
/// More than these need an allocation.
const ITEMS_USUAL: usize = 4;
/// How long it may be altogether, in bytes.
pub(super) const HEADER_BYTES_MAX: usize = 8192;

/// How items stand in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grammar {
    pub(super) split: Option<char>,
    pub(super) pair: Option<char>,
    /// An item without a key is a signature too.
    pub(super) bare: bool,
}

/// Which items are signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// Each whole item.
    Whole,
    /// Each item from this position on.
    From(usize),
    /// The value of each item that bears one of these keys.
    Keys(Box<[KeyPattern]>),
}

/// A key, part by part (the separator of `pair` may stand in it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    parts: Box<[KeyPart]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPart {
    Literal(Box<str>),
    KeyId,
    Any,
}

impl KeyPattern {
    /// Reads `v1`, `{key_id}`, `*` or, with `/` between keys and values, `{key_id}/SHA256`.
    pub(super) fn parse(text: &str, pair: char) -> Result<Self, &'static str> {
        let part = |part: &str| match part {
            "" => Err("an empty key"),
            "*" => Ok(KeyPart::Any),
            "{key_id}" => Ok(KeyPart::KeyId),
            other if other.contains(['{', '}', '*']) => {
                Err("only {key_id} and * may stand for a key")
            }
            other => Ok(KeyPart::Literal(other.into())),
        };
        let parts = text.split(pair).map(part).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// The value of `item`, which is trimmed, if its key is this one.
    fn value<'a>(&self, item: &'a [u8], pair: u8, key_id: Option<&str>) -> Option<&'a [u8]> {
        let mut rest = item;
        for part in &self.parts {
            let key = match part {
                KeyPart::Literal(text) => Some(&**text),
                KeyPart::KeyId => key_id,
                KeyPart::Any => None,
            };
            rest = match key {
                Some(key) => after_key(rest, key.as_bytes(), pair)?,
                None => split_once(rest, pair)?.1,
            };
        }
        // The item itself ends with no space.
        Some(rest.trim_ascii_start())
    }

    /// The key as a sender writes it.
    pub(super) fn written(&self, pair: char, key_id: Option<&str>) -> String {
        let parts = self.parts.iter().map(|part| match part {
            KeyPart::Literal(text) => text,
            KeyPart::KeyId | KeyPart::Any => key_id.unwrap_or("key"),
        });
        parts.collect::<Vec<_>>().join(&pair.to_string())
    }
}

impl Pick {
    /// Whether this is the one key that a signature can bear.
    pub(super) fn is_the_key(&self, item: &str) -> bool {
        let Self::Keys(keys) = self else { return false };
        let same =
            |key: &KeyPattern| matches!(&*key.parts, [KeyPart::Literal(text)] if **text == *item);
        keys.iter().all(same)
    }

    /// Whether it asks for the configured key id.
    pub(super) fn names_the_key_id(&self) -> bool {
        let Self::Keys(keys) = self else { return false };
        let mut parts = keys.iter().flat_map(|key| key.parts.iter());
        parts.any(|part| *part == KeyPart::KeyId)
    }
}

/// A header holds more than anyone signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The items of a signature, in order. They are bytes: each is text that is cut up at ASCII alone, and to make sure of it again
/// would cost more than to read it.
#[derive(Debug)]
pub(super) struct Items<'a> {
    grammar: Grammar,
    /// The length of all texts, in bytes.
    bytes: usize,
    items: SmallVec<[&'a [u8]; ITEMS_USUAL]>,
}

impl<'a> Items<'a> {
    /// Takes apart all texts of a signature's place (a header may be repeated).
    pub(super) fn read(
        grammar: Grammar,
        mut texts: impl Iterator<Item = &'a str>,
    ) -> Result<Self, TooMany> {
        let mut items = Self::new(grammar);
        texts.try_for_each(|text| items.add(text.as_bytes()))?;
        Ok(items)
    }

    /// None yet.
    pub(super) fn new(grammar: Grammar) -> Self {
        Self {
            grammar,
            bytes: 0,
            items: SmallVec::new(),
        }
    }

    /// Takes apart one more text, which is UTF-8.
    pub(super) fn add(&mut self, text: &'a [u8]) -> Result<(), TooMany> {
        self.bytes += text.len();
        if self.bytes > HEADER_BYTES_MAX {
            return Err(TooMany);
        }
        let mut rest = Some(text);
        while let Some(text) = rest {
            let parts = match self.grammar.split {
                None => None,
                Some(' ') => text
                    .iter()
                    .position(u8::is_ascii_whitespace)
                    .and_then(|at| around(text, at)),
                Some(split) => split_once(text, ascii(split)),
            };
            let (item, after) = match parts {
                Some((item, after)) => (item, Some(after)),
                None => (text, None),
            };
            rest = after;
            let item = item.trim_ascii();
            if !item.is_empty() {
                self.items.push(item);
            }
            if self.items.len() > ITEMS_MAX {
                return Err(TooMany);
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Shows `each` the texts that may be signatures, by `pick`, in order.
    pub(super) fn each_signature(
        &self,
        pick: &Pick,
        encoding: Encoding,
        key_id: Option<&str>,
        mut each: impl FnMut(&'a [u8]),
    ) {
        for (at, item) in self.items.iter().copied().enumerate() {
            let text = match pick {
                Pick::Whole => Some(item),
                Pick::From(first) => (at >= *first).then_some(item),
                Pick::Keys(keys) => self.keyed(item, keys, encoding, key_id),
            };
            if let Some(text) = text {
                each(text);
            }
        }
    }

    /// The signature in `item`, if it bears one of `keys`, or none where it needs none.
    fn keyed(
        &self,
        item: &'a [u8],
        keys: &[KeyPattern],
        encoding: Encoding,
        key_id: Option<&str>,
    ) -> Option<&'a [u8]> {
        let pair = ascii(self.grammar.pair?);
        for key in keys {
            if let Some(text) = key.value(item, pair, key_id) {
                return Some(text);
            }
        }
        (self.grammar.bare && is_bare(item, pair, encoding)).then_some(item)
    }

    /// The item of this key (or at this position, `+0`): `Err` when there are several.
    pub(super) fn named(&self, key: &str) -> Result<Option<&'a str>, TooMany> {
        let item = self.named_bytes(key)?;
        Ok(item.and_then(|item| std::str::from_utf8(item).ok()))
    }

    /// The bytes of what [`Items::named`] finds.
    pub(super) fn named_bytes(&self, key: &str) -> Result<Option<&'a [u8]>, TooMany> {
        if let Some(position) = key
            .strip_prefix('+')
            .and_then(|position| position.parse::<usize>().ok())
        {
            return Ok(self.items.get(position).copied());
        }
        let Some(pair) = self.grammar.pair else {
            return Ok(None);
        };
        let (key, pair) = (key.as_bytes(), ascii(pair));
        let of_this_key = |item: &&'a [u8]| after_key(item, key, pair);
        let mut found = self.items.iter().filter_map(of_this_key);
        match (found.next(), found.next()) {
            (one, None) => Ok(one.map(<[u8]>::trim_ascii)),
            (_, Some(_)) => Err(TooMany),
        }
    }
}

/// A separator is ASCII: the profile may name no other.
fn ascii(separator: char) -> u8 {
    u8::try_from(separator).unwrap_or_default()
}

/// What stands before and after the first separator. A signature is long enough for a search of many bytes at once.
fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    around(text, memchr::memchr(separator, text)?)
}

/// What stands before and after the separator at a place.
fn around(text: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What follows `key` and its separator; `None` where another key stands before it.
fn after_key<'a>(item: &'a [u8], key: &[u8], pair: u8) -> Option<&'a [u8]> {
    let after = item.trim_ascii_start().strip_prefix(key)?;
    // The separator may be a space itself.
    after_pair(after, pair).or_else(|| after_pair(after.trim_ascii_start(), pair))
}

/// What follows a separator.
fn after_pair(text: &[u8], pair: u8) -> Option<&[u8]> {
    let (first, after) = text.split_first()?;
    (*first == pair).then_some(after)
}

/// Whether an item has no key. In base64 the padding is no separator.
fn is_bare(item: &[u8], pair: u8, encoding: Encoding) -> bool {
    let unpadded = match encoding {
        Encoding::Hex => item,
        Encoding::Base64 | Encoding::Base64url | Encoding::Base64OfHex => {
            let last = item.iter().rposition(|letter| *letter != b'=');
            item.get(..last.map_or(0, |last| last + 1)).unwrap_or(item)
        }
    };
    split_once(unpadded, pair).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signatures<'a>(items: &Items<'a>, pick: &Pick, encoding: Encoding) -> Vec<&'a str> {
        let mut texts = Vec::new();
        items.each_signature(pick, encoding, Some("KEY"), |text| {
            texts.push(std::str::from_utf8(text).unwrap());
        });
        texts
    }

    fn keys(keys: &[&str], pair: char) -> Pick {
        Pick::Keys(
            keys.iter()
                .map(|key| KeyPattern::parse(key, pair).unwrap())
                .collect(),
        )
    }

    fn check(
        grammar: (Option<char>, Option<char>, bool),
        pick: &Pick,
        texts: &[&str],
        expected: &[&str],
    ) {
        let (split, pair, bare) = grammar;
        let items = Items::read(Grammar { split, pair, bare }, texts.iter().copied()).unwrap();
        assert_eq!(
            signatures(&items, pick, Encoding::Base64),
            expected,
            "{texts:?}"
        );
    }

    #[test]
    fn the_grammars_of_the_providers_are_taken_apart() {
        let v1 = keys(&["v1"], '=');
        check(
            (Some(','), Some('='), false),
            &v1,
            &["t=1,v1=aa,v1=bb,v0=cc"],
            &["aa", "bb"],
        );
        check(
            (Some(','), Some('='), false),
            &v1,
            &["t=1, v1=aa", "v1=bb"],
            &["aa", "bb"],
        );
        let v1 = keys(&["v1"], ',');
        check(
            (Some(' '), Some(','), false),
            &v1,
            &["v1,a= v1a,b= v2,c="],
            &["a="],
        );
        let sha256 = keys(&["sha256"], '=');
        check((None, Some('='), true), &sha256, &["sha256=aa"], &["aa"]);
        check((None, Some('='), true), &sha256, &["aa"], &["aa"]);
        check((None, Some('='), true), &sha256, &["aa=="], &["aa=="]);
        check((None, Some('='), true), &sha256, &["sha512=aa"], &[]);
        check((None, Some('='), false), &sha256, &["aa"], &[]);
        check(
            (None, Some('='), false),
            &sha256,
            &["sha256=YQ=="],
            &["YQ=="],
        );
        check(
            (Some(','), None, false),
            &Pick::From(1),
            &["1,aa,bb"],
            &["aa", "bb"],
        );
        check(
            (None, None, false),
            &Pick::Whole,
            &["aa", "bb", " "],
            &["aa", "bb"],
        );
        check(
            (Some(','), Some('/'), false),
            &keys(&["{key_id}/SHA256"], '/'),
            &["KEY/SHA256/aa,X/SHA256/bb"],
            &["aa"],
        );
        check(
            (Some('&'), Some('|'), false),
            &keys(&["{key_id}"], '|'),
            &["X|aa&KEY|bb"],
            &["bb"],
        );
        check(
            (None, Some(' '), false),
            &keys(&["IATAPAY-HMAC-SHA256"], ' '),
            &["IATAPAY-HMAC-SHA256 aa"],
            &["aa"],
        );
    }

    #[test]
    fn an_item_that_stands_twice_is_not_chosen_between() {
        let grammar = Grammar {
            split: Some(','),
            pair: Some('='),
            bare: false,
        };
        let items = Items::read(grammar, ["t=1,t=1,v1=aa"].into_iter()).unwrap();
        assert_eq!(items.named("t"), Err(TooMany));
        assert_eq!(items.named("v1"), Ok(Some("aa")));
        assert_eq!(items.named("x"), Ok(None));
        assert_eq!(items.named("+2"), Ok(Some("v1=aa")));
    }

    #[test]
    fn a_flood_of_items_is_malformed() {
        let grammar = Grammar {
            split: Some(','),
            pair: None,
            bare: false,
        };
        assert!(Items::read(grammar, [&*"a,".repeat(ITEMS_MAX)].into_iter()).is_ok());
        assert!(Items::read(grammar, [&*"a,".repeat(ITEMS_MAX + 1)].into_iter()).is_err());
        assert!(Items::read(grammar, [&*"a".repeat(HEADER_BYTES_MAX + 1)].into_iter()).is_err());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(texts in prop::collection::vec("[a-z0-9=,|/ +v\u{e9}]{0,40}", 0..4), bare: bool) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let grammar = Grammar { split: Some(','), pair: Some('='), bare };
            if let Ok(items) = Items::read(grammar, texts.iter().copied()) {
                signatures(&items, &keys(&["v1", "*"], '='), Encoding::Hex);
                let _ = items.named("v");
            }
        }
    }
}
