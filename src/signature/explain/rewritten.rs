//! JSON, parsed and written again as the usual libraries do: the same value in other bytes.
//!
//! Keys keep their order and numbers their text unless a library changes them, so the text is taken apart by its tokens
//! and not read into values. Depth and length are bounded: the text may be anyone's. Source: RFC 8259, and the documentation
//! of the libraries that [`Texts`] and [`Numbers`] name.

use std::fmt;
use std::iter::{self, Peekable};
use std::str::CharIndices;

use serde::de::IgnoredAny;

use super::floats;

/// How deep lists and objects may stand in each other.
const DEPTH_MAX: usize = 128;
/// How many times longer than the text another writing of it may be; indentation in great depth would be.
const GROWTH_MAX: usize = 8;
/// What a short text may have beyond that, in bytes.
const GROWTH_BYTES_MIN: usize = 65_536;

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
    /// The same with two spaces, and CR LF between the lines.
    WindowsLines,
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
    /// All but printable ASCII as `\uXXXX`: Python's `json.dumps`.
    Ascii,
    /// All but ASCII as `\uXXXX`, and `/` as `\/`: PHP's `json_encode`.
    AsciiAndSlashes,
    /// `/` as `\/` alone: PHP with `JSON_UNESCAPED_UNICODE`.
    Slashes,
    /// `<`, `>`, `&` and the line separators as `\u003c` and so on: Go's `json.Marshal`, Rails' `to_json`.
    ForHtml,
    /// `=` and `'` as well: Java's Gson.
    ForHtmlAndQuotes,
    /// All but ASCII and every sign that HTML knows as `\uXXXX` in upper case: .NET's `JsonSerializer`.
    AsciiForHtml,
    /// No JSON at all: what Python prints of a dict.
    Python,
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    Kept,
    /// All as floats, 19 for 19.0 and 19.5 for 19.50: JavaScript, Go's maps, PHP.
    AllFloats,
    /// Those with a fraction or an exponent as floats, 19.5 for 19.50 and 100.0 for 1e2: Python, Ruby, Java.
    Floats,
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.space {
            Space::Nowhere => "without white space",
            Space::AfterCommaAndColon => "with a space after each comma and colon",
            Space::Lines("\t") => "with line breaks and indentation by tabs",
            Space::Lines("  ") => "with line breaks and indentation by two spaces",
            Space::Lines(_) => "with line breaks and indentation by four spaces",
            Space::WindowsLines => "with CR LF line breaks and indentation by two spaces",
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
            Texts::ForHtmlAndQuotes => {
                f.write_str(", with \"<\", \">\", \"&\", \"=\" and \"'\" as \\uXXXX")?;
            }
            Texts::AsciiForHtml => {
                f.write_str(", with quotes, \"+\", \"<\", \">\", \"&\" and characters beyond ASCII as \\uXXXX")?;
            }
            Texts::Python => f.write_str(", with texts in single quotes, True, False and None")?,
        }
        match self.numbers {
            Numbers::Kept => {}
            Numbers::AllFloats => f.write_str(", with numbers shortened (19 for 19.0)")?,
            Numbers::Floats => f.write_str(", with fractions shortened (19.5 for 19.50)")?,
        }
        match self.library() {
            Some(library) => write!(f, " (as {library} does)"),
            None => Ok(()),
        }
    }
}

/// All that its lists can be combined to.
type Group = (
    &'static [Space],
    &'static [Order],
    Texts,
    &'static [Numbers],
);

/// Every usual way in groups, the plainest first: of two that make the same bytes the first is named.
const WRITINGS: [Group; 12] = {
    use Numbers::{AllFloats, Floats, Kept as SameNumbers};
    use Order::{Kept as InOrder, Sorted};
    use Space::{AfterCommaAndColon as Spaced, Lines, Nowhere as Compact, WindowsLines};
    use Texts::{
        Ascii, AsciiAndSlashes, AsciiForHtml, ForHtml, ForHtmlAndQuotes, Kept as SameTexts, Plain,
        Python, Slashes,
    };
    const BOTH: &[Order] = &[InOrder, Sorted];
    const ANY: &[Space] = &[
        Compact,
        Spaced,
        Lines("  "),
        Lines("    "),
        Lines("\t"),
        WindowsLines,
    ];
    const UNSPACED: &[Space] = &[
        Compact,
        Lines("  "),
        Lines("    "),
        Lines("\t"),
        WindowsLines,
    ];
    const BY_GO: &[Space] = &[Compact, Lines("  "), Lines("\t")];
    const BRACED: &[Space] = &[Compact, Lines("  "), WindowsLines];
    const BY_FOUR: &[Space] = &[Compact, Lines("    ")];
    const IN_ORDER: &[Order] = &[InOrder];
    const BY_ALL: &[Numbers] = &[SameNumbers, AllFloats, Floats];
    [
        (ANY, BOTH, SameTexts, &[SameNumbers]),
        (ANY, BOTH, Plain, &[SameNumbers, Floats]),
        (UNSPACED, BOTH, Plain, &[AllFloats]),
        (ANY, BOTH, Ascii, &[SameNumbers, Floats]),
        (BY_FOUR, BOTH, Slashes, BY_ALL),
        (BY_FOUR, BOTH, AsciiAndSlashes, BY_ALL),
        (BY_FOUR, BOTH, Ascii, &[AllFloats]),
        (BY_GO, BOTH, ForHtml, &[SameNumbers, AllFloats]),
        (&[Compact], IN_ORDER, ForHtml, &[Floats]),
        (BRACED, IN_ORDER, ForHtmlAndQuotes, &[SameNumbers, Floats]),
        (BRACED, IN_ORDER, AsciiForHtml, &[SameNumbers]),
        (&[Spaced], IN_ORDER, Python, &[Floats]),
    ]
};

/// The same value in every usual writing, without those that would be too long; nothing where the text is no JSON.
pub(super) fn rewritten(json: &str) -> impl Iterator<Item = (Writing, Option<String>)> {
    let is_json = serde_json::from_str::<IgnoredAny>(json).is_ok();
    let mut tokens = Tokens {
        text: json,
        letters: json.char_indices().peekable(),
    };
    let node = is_json.then(|| tokens.node(DEPTH_MAX)).flatten();
    let bytes_max = json.len() * GROWTH_MAX + GROWTH_BYTES_MIN;
    node.into_iter().flat_map(move |node| {
        let mut all = Vec::new();
        for (spaces, orders, texts, numbers) in WRITINGS {
            for (&numbers, &order) in numbers.iter().flat_map(|one| iter::repeat(one).zip(orders)) {
                all.extend(spaces.iter().map(|&space| Writing {
                    space,
                    order,
                    texts,
                    numbers,
                }));
            }
        }
        all.into_iter().map(move |writing| {
            let mut out = String::with_capacity(json.len());
            let whole = writing.write(&node, 0, bytes_max, &mut out);
            (writing, whole.map(|()| out))
        })
    })
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

    /// The next value, if no more than so many values stand around each other in it.
    fn node(&mut self, depth_left: usize) -> Option<Node<'a>> {
        self.skip_space();
        match self.letters.peek()?.1 {
            '"' => self.literal().map(Node::Text),
            '[' => {
                self.letters.next();
                let depth_left = depth_left.checked_sub(1)?;
                let mut elements = Vec::new();
                while !self.takes(']') {
                    elements.push(self.node(depth_left)?);
                    self.takes(',');
                }
                Some(Node::List(elements))
            }
            '{' => {
                self.letters.next();
                let depth_left = depth_left.checked_sub(1)?;
                let mut members = Vec::new();
                while !self.takes('}') {
                    self.skip_space();
                    let key = self.literal()?;
                    if !self.takes(':') {
                        return None;
                    }
                    members.push((key, self.node(depth_left)?));
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
    /// Who writes so, where the bytes tell.
    fn library(self) -> Option<&'static str> {
        match (self.texts, self.space) {
            (texts, _) if self.order == Order::Sorted && texts != Texts::ForHtml => None,
            (Texts::Kept | Texts::Plain, Space::Nowhere) => Some("JSON.stringify"),
            (Texts::Kept | Texts::Plain | Texts::Ascii, Space::AfterCommaAndColon) => {
                Some("Python's json.dumps")
            }
            (Texts::Slashes | Texts::AsciiAndSlashes, _) => Some("PHP's json_encode"),
            (Texts::ForHtml, _) => Some("Go's json.Marshal"),
            (Texts::ForHtmlAndQuotes, _) => Some("Java's Gson"),
            (Texts::AsciiForHtml, _) => Some(".NET's JsonSerializer"),
            (Texts::Python, _) => Some("Python's str of a dict"),
            (
                Texts::Kept | Texts::Plain | Texts::Ascii,
                Space::Nowhere | Space::Lines(_) | Space::WindowsLines,
            ) => None,
        }
    }

    /// Writes a value; `None` once that is longer than `bytes_max`.
    fn write(
        self,
        node: &Node<'_>,
        depth: usize,
        bytes_max: usize,
        out: &mut String,
    ) -> Option<()> {
        match node {
            Node::Scalar(scalar) => self.scalar(scalar, out),
            Node::Text(literal) => self.text(literal, out),
            Node::List(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    self.before(at, depth, out);
                    self.write(element, depth + 1, bytes_max, out)?;
                }
                self.end(elements.is_empty(), depth, out);
                out.push(']');
            }
            Node::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.order == Order::Sorted {
                    members.sort_by_cached_key(|(key, _)| decoded(key));
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
                    self.write(value, depth + 1, bytes_max, out)?;
                }
                self.end(members.is_empty(), depth, out);
                out.push('}');
            }
        }
        (out.len() <= bytes_max).then_some(())
    }

    /// What stands before the member or element at this place.
    fn before(self, at: usize, depth: usize, out: &mut String) {
        if at > 0 {
            out.push(',');
        }
        match self.space {
            Space::Nowhere => {}
            Space::AfterCommaAndColon if at == 0 => {}
            Space::AfterCommaAndColon => out.push(' '),
            Space::Lines(_) | Space::WindowsLines => self.new_line(depth + 1, out),
        }
    }

    fn end(self, empty: bool, depth: usize, out: &mut String) {
        if !empty {
            self.new_line(depth, out);
        }
    }

    fn new_line(self, depth: usize, out: &mut String) {
        let (line_break, indent) = match self.space {
            Space::Nowhere | Space::AfterCommaAndColon => return,
            Space::Lines(indent) => ("\n", indent),
            Space::WindowsLines => ("\r\n", "  "),
        };
        out.push_str(line_break);
        for _ in 0..depth {
            out.push_str(indent);
        }
    }

    fn scalar(self, scalar: &str, out: &mut String) {
        let in_python = match scalar {
            "true" => Some("True"),
            "false" => Some("False"),
            "null" => Some("None"),
            _ => None,
        };
        if let Some(word) = in_python {
            let is_python = self.texts == Texts::Python;
            out.push_str(if is_python { word } else { scalar });
            return;
        }
        let written = match self.numbers {
            Numbers::Kept => None,
            Numbers::AllFloats => floats::javascript(scalar),
            Numbers::Floats => floats::python(scalar),
        };
        out.push_str(written.as_deref().unwrap_or(scalar));
    }

    fn text(self, literal: &str, out: &mut String) {
        // A half of a surrogate pair is no character: such a text stays as it is.
        let decoded = (self.texts != Texts::Kept)
            .then(|| decoded(literal))
            .flatten();
        let Some(text) = decoded else {
            out.push_str(literal);
            return;
        };
        let quote = match self.texts {
            Texts::Python if text.contains('"') || !text.contains('\'') => '\'',
            Texts::Python
            | Texts::Kept
            | Texts::Plain
            | Texts::Ascii
            | Texts::AsciiAndSlashes
            | Texts::Slashes
            | Texts::ForHtml
            | Texts::ForHtmlAndQuotes
            | Texts::AsciiForHtml => '"',
        };
        out.push(quote);
        for letter in text.chars() {
            match letter {
                _ if self.texts.escapes(letter) => escape(letter, self.texts, out),
                '/' if matches!(self.texts, Texts::Slashes | Texts::AsciiAndSlashes) => {
                    out.push_str("\\/");
                }
                '"' | '\'' if letter == quote => out.extend(['\\', letter]),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' if self.texts != Texts::Python => out.push_str("\\b"),
                '\u{c}' if self.texts != Texts::Python => out.push_str("\\f"),
                control if u32::from(control) < 0x20 => escape(control, self.texts, out),
                other => out.push(other),
            }
        }
        out.push(quote);
    }
}

impl Texts {
    /// Whether this letter is written by its number, and is no control character.
    fn escapes(self, letter: char) -> bool {
        match self {
            Self::Kept | Self::Plain => false,
            Self::Slashes => matches!(letter, '\u{2028}' | '\u{2029}'),
            Self::Ascii => letter > '~',
            Self::AsciiAndSlashes => !letter.is_ascii(),
            Self::ForHtml => matches!(letter, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
            Self::ForHtmlAndQuotes => "<>&='\u{2028}\u{2029}".contains(letter),
            Self::AsciiForHtml => letter > '~' || "\"'<>&+`".contains(letter),
            Self::Python => letter == '\x7f',
        }
    }
}

fn decoded(literal: &str) -> Option<String> {
    serde_json::from_str(literal).ok()
}

fn escape(letter: char, texts: Texts, out: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&match texts {
            Texts::AsciiForHtml => format!("\\u{unit:04X}"),
            Texts::Python => format!("\\x{unit:02x}"),
            Texts::Kept
            | Texts::Plain
            | Texts::Ascii
            | Texts::AsciiAndSlashes
            | Texts::Slashes
            | Texts::ForHtml
            | Texts::ForHtmlAndQuotes => format!("\\u{unit:04x}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const JSON: &str =
        r#" { "b" : [ 19.0, 1.50, -2e2, {} , [] ], "a/é": "x\u00e9\/ <\"'+\u007f" , "t":true } "#;

    fn rewritten(json: &str) -> impl Iterator<Item = (Writing, String)> {
        super::rewritten(json).filter_map(|(writing, text)| Some((writing, text?)))
    }

    #[track_caller]
    fn has(expected: &str) {
        assert!(
            rewritten(JSON).any(|(_, text)| text == expected),
            "{expected}"
        );
    }

    #[test]
    fn the_usual_libraries_writings_are_among_them() {
        // JSON.stringify(JSON.parse(text)), and with an indentation of 2.
        has("{\"b\":[19,1.5,-200,{},[]],\"a/é\":\"xé/ <\\\"'+\x7f\",\"t\":true}");
        has(
            "{\n  \"b\": [\n    19,\n    1.5,\n    -200,\n    {},\n    []\n  ],\n  \"a/é\": \"xé/ <\\\"'+\x7f\",\n  \"t\": true\n}",
        );
        // json.dumps(json.loads(text)), with sort_keys=True, and str(json.loads(text)).
        has(r#"{"b": [19.0, 1.5, -200.0, {}, []], "a/\u00e9": "x\u00e9/ <\"'+\u007f", "t": true}"#);
        has(r#"{"a/\u00e9": "x\u00e9/ <\"'+\u007f", "b": [19.0, 1.5, -200.0, {}, []], "t": true}"#);
        has(r#"{'b': [19.0, 1.5, -200.0, {}, []], 'a/é': 'xé/ <"\'+\x7f', 't': True}"#);
        // json_encode(json_decode($text)).
        has("{\"b\":[19,1.5,-200,{},[]],\"a\\/\\u00e9\":\"x\\u00e9\\/ <\\\"'+\x7f\",\"t\":true}");
        // json.Marshal of a map.
        has("{\"a/é\":\"xé/ \\u003c\\\"'+\x7f\",\"b\":[19,1.5,-200,{},[]],\"t\":true}");
        // Gson's toJson of a JsonElement, and JsonSerializer.Serialize of a JsonDocument.
        has("{\"b\":[19.0,1.50,-2e2,{},[]],\"a/é\":\"xé/ \\u003c\\\"\\u0027+\x7f\",\"t\":true}");
        has(
            r#"{"b":[19.0,1.50,-2e2,{},[]],"a/\u00E9":"x\u00E9/ \u003C\u0022\u0027\u002B\u007F","t":true}"#,
        );
        // Only the white space.
        has(r#"{"b":[19.0,1.50,-2e2,{},[]],"a/é":"x\u00e9\/ <\"'+\u007f","t":true}"#);
        has(
            "{\r\n  \"b\": [\r\n    19.0,\r\n    1.50,\r\n    -2e2,\r\n    {},\r\n    []\r\n  ],\r\n  \"a/é\": \"x\\u00e9\\/ <\\\"'+\\u007f\",\r\n  \"t\": true\r\n}",
        );
    }

    #[test]
    fn what_is_no_json_has_no_other_writing() {
        for text in ["", "{", "{\"a\":1,}", "[1 2]", "nothing"] {
            assert_eq!(rewritten(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn great_depth_and_great_length_are_left_alone() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(rewritten(&nested(DEPTH_MAX)).count() > 0);
        assert_eq!(rewritten(&nested(DEPTH_MAX + 1)).count(), 0);
        assert_eq!(rewritten(&nested(500_000)).count(), 0);
        let many = nested(120).replace("[]", &format!("[{}1]", "1,".repeat(50_000)));
        for (writing, text) in rewritten(&many) {
            let bytes_max = many.len() * GROWTH_MAX + GROWTH_BYTES_MIN;
            assert!(text.len() <= bytes_max, "{writing}");
        }
        assert!(rewritten(&many).count() > 0);
        assert!(super::rewritten(&many).any(|(_, text)| text.is_none()));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
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
            let json = value.to_string();
            for (writing, text) in rewritten(&json).filter(|(writing, _)| writing.texts != Texts::Python) {
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(&read, &value, "{}", writing);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9a-u\\\\ é-]{0,40}") {
            rewritten(&text).for_each(drop);
        }
    }
}
