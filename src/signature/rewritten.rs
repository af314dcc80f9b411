//! JSON, parsed and written again as the usual libraries do: the same value in other bytes.
//!
//! Keys keep their order and numbers their text unless a library changes them, so the text is taken apart by its tokens
//! and not read into values. Source: RFC 8259, and the documentation of the libraries that [`Texts`] and [`Numbers`] name.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

/// In which way a body was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    space: Space,
    order: Order,
    texts: Texts,
    numbers: Numbers,
}

/// What stands between tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Nowhere,
    AfterCommaAndColon,
    /// A line for each member, indented by this text; a space after each colon.
    Lines(&'static str),
}

/// Of an object's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Kept,
    Sorted,
}

/// How texts are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Texts {
    /// As they stand.
    Kept,
    /// What must be, and no more: JavaScript's `JSON.stringify`, Ruby, Java, Python with `ensure_ascii=False`.
    Plain,
    /// All but ASCII as `\uXXXX`: Python's `json.dumps`.
    Ascii,
    /// The same, and `/` as `\/`: PHP's `json_encode`.
    AsciiAndSlashes,
    /// `/` as `\/` alone: PHP with `JSON_UNESCAPED_UNICODE`.
    Slashes,
    /// `<`, `>`, `&` and the line separators as `\u003c` and so on: Go's `json.Marshal`.
    ForHtml,
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    Kept,
    /// Without a fraction of zero, as JavaScript writes them: 19 for 19.0 and 19.50 as 19.5.
    Shortest,
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.space {
            Space::Nowhere => "without white space",
            Space::AfterCommaAndColon => "with a space after each comma and colon",
            Space::Lines("\t") => "with line breaks and indentation by tabs",
            Space::Lines("  ") => "with line breaks and indentation by two spaces",
            Space::Lines(_) => "with line breaks and indentation by four spaces",
        })?;
        if self.order == Order::Sorted {
            f.write_str(", with its keys sorted")?;
        }
        match self.texts {
            Texts::Kept => {}
            Texts::Plain => f.write_str(", with escaped characters as themselves")?,
            Texts::Ascii => f.write_str(", with characters beyond ASCII as \\uXXXX")?,
            Texts::AsciiAndSlashes => {
                f.write_str(", with \"/\" escaped and characters beyond ASCII as \\uXXXX")?;
            }
            Texts::Slashes => f.write_str(", with \"/\" escaped")?,
            Texts::ForHtml => f.write_str(", with \"<\", \">\" and \"&\" as \\uXXXX")?,
        }
        match self.numbers {
            Numbers::Kept => Ok(()),
            Numbers::Shortest => f.write_str(", with numbers shortened (19 for 19.0)"),
        }
    }
}

/// Every usual way, the plainest first: of two that make the same bytes the first is named.
const WRITINGS: [(Space, Order, Texts, Numbers); 36] = {
    use Numbers::{Kept as AsIs, Shortest};
    use Order::{Kept as InOrder, Sorted};
    use Space::{AfterCommaAndColon as Spaced, Lines, Nowhere as Compact};
    use Texts::{Ascii, AsciiAndSlashes, ForHtml, Kept, Plain, Slashes};
    [
        (Compact, InOrder, Kept, AsIs),
        (Spaced, InOrder, Kept, AsIs),
        (Lines("  "), InOrder, Kept, AsIs),
        (Lines("    "), InOrder, Kept, AsIs),
        (Lines("\t"), InOrder, Kept, AsIs),
        (Compact, InOrder, Plain, AsIs),
        (Spaced, InOrder, Plain, AsIs),
        (Lines("  "), InOrder, Plain, AsIs),
        (Lines("    "), InOrder, Plain, AsIs),
        (Lines("\t"), InOrder, Plain, AsIs),
        (Compact, InOrder, Plain, Shortest),
        (Lines("  "), InOrder, Plain, Shortest),
        (Lines("    "), InOrder, Plain, Shortest),
        (Lines("\t"), InOrder, Plain, Shortest),
        (Compact, InOrder, Ascii, AsIs),
        (Spaced, InOrder, Ascii, AsIs),
        (Lines("  "), InOrder, Ascii, AsIs),
        (Lines("    "), InOrder, Ascii, AsIs),
        (Compact, InOrder, Slashes, AsIs),
        (Compact, InOrder, AsciiAndSlashes, AsIs),
        (Lines("    "), InOrder, Slashes, AsIs),
        (Lines("    "), InOrder, AsciiAndSlashes, AsIs),
        (Compact, InOrder, ForHtml, AsIs),
        (Compact, Sorted, Kept, AsIs),
        (Spaced, Sorted, Kept, AsIs),
        (Lines("  "), Sorted, Kept, AsIs),
        (Lines("    "), Sorted, Kept, AsIs),
        (Compact, Sorted, Plain, AsIs),
        (Compact, Sorted, Plain, Shortest),
        (Spaced, Sorted, Plain, AsIs),
        (Compact, Sorted, Ascii, AsIs),
        (Spaced, Sorted, Ascii, AsIs),
        (Lines("  "), Sorted, Ascii, AsIs),
        (Lines("    "), Sorted, Ascii, AsIs),
        (Compact, Sorted, ForHtml, AsIs),
        (Lines("  "), Sorted, ForHtml, AsIs),
    ]
};

/// The same value in every usual writing; nothing where the text is no JSON.
pub(super) fn rewritten(json: &str) -> Vec<(Writing, String)> {
    // It bounds the depth as well.
    if serde_json::from_str::<serde_json::Value>(json).is_err() {
        return Vec::new();
    }
    let mut tokens = Tokens {
        text: json,
        letters: json.char_indices().peekable(),
    };
    let Some(node) = tokens.node() else {
        return Vec::new();
    };
    let writings = WRITINGS.iter().map(|&(space, order, texts, numbers)| {
        let writing = Writing {
            space,
            order,
            texts,
            numbers,
        };
        let mut out = String::with_capacity(json.len());
        writing.write(&node, 0, &mut out);
        (writing, out)
    });
    writings.collect()
}

/// A value, as the pieces of the text that it stands in.
enum Node<'a> {
    /// `true`, `false`, `null`, or a number.
    Scalar(&'a str),
    /// With its quotes.
    Text(&'a str),
    List(Vec<Node<'a>>),
    Object(Vec<(&'a str, Node<'a>)>),
}

struct Tokens<'a> {
    text: &'a str,
    letters: Peekable<CharIndices<'a>>,
}

impl<'a> Tokens<'a> {
    fn skip_space(&mut self) {
        while self
            .letters
            .next_if(|(_, letter)| matches!(letter, ' ' | '\t' | '\r' | '\n'))
            .is_some()
        {}
    }

    /// The next letter that is no white space, if it is this one.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.letters
            .next_if(|(_, letter)| *letter == wanted)
            .is_some()
    }

    fn node(&mut self) -> Option<Node<'a>> {
        self.skip_space();
        match self.letters.peek()?.1 {
            '"' => self.literal().map(Node::Text),
            '[' => {
                self.letters.next();
                let mut elements = Vec::new();
                while !self.takes(']') {
                    elements.push(self.node()?);
                    self.takes(',');
                }
                Some(Node::List(elements))
            }
            '{' => {
                self.letters.next();
                let mut members = Vec::new();
                while !self.takes('}') {
                    self.skip_space();
                    let key = self.literal()?;
                    if !self.takes(':') {
                        return None;
                    }
                    members.push((key, self.node()?));
                    self.takes(',');
                }
                Some(Node::Object(members))
            }
            _ => {
                let from = self.letters.peek()?.0;
                let in_it = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
                while self.letters.next_if(|(_, letter)| in_it(*letter)).is_some() {}
                let scalar = self.piece(from)?;
                (!scalar.is_empty()).then_some(Node::Scalar(scalar))
            }
        }
    }

    fn literal(&mut self) -> Option<&'a str> {
        let (from, first) = self.letters.next()?;
        if first != '"' {
            return None;
        }
        loop {
            match self.letters.next()?.1 {
                '"' => return self.piece(from),
                '\\' => {
                    self.letters.next()?;
                }
                _ => {}
            }
        }
    }

    fn piece(&mut self, from: usize) -> Option<&'a str> {
        let to = self
            .letters
            .peek()
            .map_or(self.text.len(), |(place, _)| *place);
        self.text.get(from..to)
    }
}

impl Writing {
    fn write(&self, node: &Node<'_>, depth: usize, out: &mut String) {
        match node {
            Node::Scalar(scalar) => self.number(scalar, out),
            Node::Text(literal) => self.text(literal, out),
            Node::List(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    self.before(at, depth, out);
                    self.write(element, depth + 1, out);
                }
                self.end(elements.is_empty(), depth, out);
                out.push(']');
            }
            Node::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.order == Order::Sorted {
                    members.sort_by_key(|(key, _)| decoded(key));
                }
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    self.before(at, depth, out);
                    self.text(key, out);
                    out.push_str(if self.space == Space::Nowhere {
                        ":"
                    } else {
                        ": "
                    });
                    self.write(value, depth + 1, out);
                }
                self.end(members.is_empty(), depth, out);
                out.push('}');
            }
        }
    }

    /// What stands before the member or element at this place.
    fn before(&self, at: usize, depth: usize, out: &mut String) {
        if at > 0 {
            out.push(',');
        }
        match self.space {
            Space::Nowhere => {}
            Space::AfterCommaAndColon if at == 0 => {}
            Space::AfterCommaAndColon => out.push(' '),
            Space::Lines(indent) => new_line(indent, depth + 1, out),
        }
    }

    fn end(&self, empty: bool, depth: usize, out: &mut String) {
        if let (Space::Lines(indent), false) = (self.space, empty) {
            new_line(indent, depth, out);
        }
    }

    fn number(&self, scalar: &str, out: &mut String) {
        let short = match self.numbers {
            Numbers::Kept => scalar,
            Numbers::Shortest => match scalar.split_once('.') {
                Some((whole, fraction)) if !fraction.contains(['e', 'E']) => {
                    let fraction = fraction.trim_end_matches('0');
                    let digits = if fraction.is_empty() {
                        whole.len()
                    } else {
                        whole.len() + 1 + fraction.len()
                    };
                    scalar.get(..digits).unwrap_or(scalar)
                }
                Some(_) | None => scalar,
            },
        };
        out.push_str(short);
    }

    fn text(&self, literal: &str, out: &mut String) {
        // A half of a surrogate pair is no character: such a text stays as it is.
        let decoded = (self.texts != Texts::Kept)
            .then(|| decoded(literal))
            .flatten();
        let Some(text) = decoded else {
            out.push_str(literal);
            return;
        };
        out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' if matches!(self.texts, Texts::Slashes | Texts::AsciiAndSlashes) => {
                    out.push_str("\\/");
                }
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.texts == Texts::ForHtml => {
                    escape(letter, out);
                }
                control if u32::from(control) < 0x20 => escape(control, out),
                other
                    if !other.is_ascii()
                        && matches!(self.texts, Texts::Ascii | Texts::AsciiAndSlashes) =>
                {
                    escape(other, out);
                }
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

fn new_line(indent: &str, depth: usize, out: &mut String) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str(indent);
    }
}

fn decoded(literal: &str) -> Option<String> {
    serde_json::from_str(literal).ok()
}

fn escape(letter: char, out: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const JSON: &str =
        r#" { "b" : [ 19.0, 1.50, -2e2, {} , [] ], "a/é": "x\u00e9\/ <\"" , "t":true } "#;

    fn has(expected: &str) {
        let all = rewritten(JSON);
        assert!(all.iter().any(|(_, text)| text == expected), "{expected}");
    }

    #[test]
    fn the_usual_libraries_writings_are_among_them() {
        // JSON.stringify(JSON.parse(text)), and with an indentation of 2.
        has(r#"{"b":[19,1.5,-2e2,{},[]],"a/é":"xé/ <\"","t":true}"#);
        has(
            "{\n  \"b\": [\n    19,\n    1.5,\n    -2e2,\n    {},\n    []\n  ],\n  \"a/é\": \"xé/ <\\\"\",\n  \"t\": true\n}",
        );
        // json.dumps(json.loads(text)), and with sort_keys=True.
        has(r#"{"b": [19.0, 1.50, -2e2, {}, []], "a/\u00e9": "x\u00e9/ <\"", "t": true}"#);
        has(r#"{"a/\u00e9": "x\u00e9/ <\"", "b": [19.0, 1.50, -2e2, {}, []], "t": true}"#);
        // json_encode(json_decode($text)).
        has(r#"{"b":[19.0,1.50,-2e2,{},[]],"a\/\u00e9":"x\u00e9\/ <\"","t":true}"#);
        // json.Marshal of a map.
        has(r#"{"a/é":"xé/ \u003c\"","b":[19.0,1.50,-2e2,{},[]],"t":true}"#);
        // Only the white space.
        has(r#"{"b":[19.0,1.50,-2e2,{},[]],"a/é":"x\u00e9\/ <\"","t":true}"#);
    }

    #[test]
    fn what_is_no_json_has_no_other_writing() {
        for text in ["", "{", "{\"a\":1,}", "[1 2]", "nothing"] {
            assert!(rewritten(text).is_empty(), "{text}");
        }
        assert!(rewritten(&"[".repeat(100_000)).is_empty());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_writing_means_the_same(value in value()) {
            for (writing, text) in rewritten(&value.to_string()) {
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(&read, &value, "{}", writing);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9a-u\\\\ é-]{0,40}") {
            let _ = rewritten(&text);
        }
    }
}
