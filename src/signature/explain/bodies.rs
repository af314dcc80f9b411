//! The bodies that may have been signed instead of the one that was sent: what the usual mistakes make of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::as_kept;
use super::mistakes::BodyMistake;
use super::rewritten::rewritten;
use super::rewritten_form;
use crate::secret::BYTE_ORDER_MARK;
use crate::signature::body;
use crate::text::from_utf16;

/// The bodies that may have been signed instead of the one that was sent; the first is that one.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) all: Vec<(Option<BodyMistake>, Vec<u8>)>,
    /// There would be too many bytes of them: some were left out.
    pub(super) cut_off: bool,
}

impl Bodies {
    pub(super) fn of(sent: &[u8]) -> Self {
        let mut bodies = Self {
            all: vec![(None, sent.to_vec())],
            cut_off: false,
        };
        bodies.add_ends(sent);
        if let Some(text) = from_utf16(sent) {
            bodies.add_kept_in_utf16(&text);
        }
        match std::str::from_utf8(sent) {
            Ok(text) => bodies.add_texts(text),
            Err(_not_utf8) => {
                bodies.add(BodyMistake::SentInLatin1, of_latin1(sent));
                bodies.add(BodyMistake::SentInLatin1, of_windows_1252(sent));
                bodies.add(
                    BodyMistake::Replaced,
                    String::from_utf8_lossy(sent).as_bytes(),
                );
            }
        }
        bodies.add(
            BodyMistake::UrlDecoded,
            body::form::decoded(sent).into_owned(),
        );
        bodies.add(BodyMistake::Empty, Vec::new());
        bodies.add(BodyMistake::Base64, STANDARD.encode(sent));
        if let Ok(held) = STANDARD.decode(sent.trim_ascii()) {
            bodies.add(BodyMistake::Base64Sent, held);
        }
        let digest = Sha256::digest(sent);
        bodies.add(BodyMistake::Digest, hex::encode(digest));
        bodies.add(BodyMistake::Digest, STANDARD.encode(digest));
        for text in NO_TEXTS {
            bodies.add(BodyMistake::NoText(text), text);
        }
        bodies.add(BodyMistake::PythonBytes, python_bytes(sent));
        bodies.add_as_kept(sent);
        bodies
    }

    fn add(&mut self, mistake: BodyMistake, body: impl Into<Vec<u8>>) {
        let body = body.into();
        if !self.all.iter().any(|(_, known)| *known == body) {
            self.all.push((Some(mistake), body));
        }
    }

    /// What was whole before it was kept.
    fn add_as_kept(&mut self, sent: &[u8]) {
        for whole in as_kept::completed(sent) {
            self.add(BodyMistake::CutAtItsEnd, whole);
        }
        if let Some(whole) = as_kept::unchunked(sent) {
            self.add(BodyMistake::Chunked, whole);
        }
        for rest in as_kept::behind_a_head(sent) {
            self.add(BodyMistake::WithHead, rest);
            if let Some(whole) = as_kept::unchunked(rest) {
                self.add(BodyMistake::Chunked, whole);
            }
        }
    }

    /// What saves a text so often gives it other line breaks as well, and one at its end.
    fn add_kept_in_utf16(&mut self, text: &str) {
        let unix = text.replace("\r\n", "\n");
        for text in [text, &unix] {
            self.add(BodyMistake::KeptInUtf16, text);
            let without = text.strip_suffix('\n').unwrap_or(text);
            let without = without.strip_suffix('\r').unwrap_or(without);
            self.add(BodyMistake::KeptInUtf16, without);
        }
    }

    fn add_ends(&mut self, sent: &[u8]) {
        let trimmed = sent
            .strip_suffix(b"\n")
            .map(|text| text.strip_suffix(b"\r").unwrap_or(text));
        if let Some(trimmed) = trimmed {
            self.add(BodyMistake::NewlineSent, trimmed);
        }
        self.add(BodyMistake::SpaceSent, sent.trim_ascii());
        self.add(BodyMistake::NewlineSigned, [sent, b"\n"].concat());
        self.add(BodyMistake::NewlineSigned, [sent, b"\r\n"].concat());
        match sent.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => self.add(BodyMistake::ByteOrderMark, rest),
            None => self.add(
                BodyMistake::ByteOrderMarkSigned,
                [BYTE_ORDER_MARK, sent].concat(),
            ),
        }
    }

    fn add_rewritten(&mut self, text: &str) {
        let first = self.all.len();
        let mut left = REWRITTEN_BYTES_MAX;
        for (writing, body) in rewritten(text) {
            // One that is too long may be followed by a shorter one.
            let fits = body.and_then(|body| Some((left.checked_sub(body.len())?, body)));
            let Some((rest, body)) = fits else {
                self.cut_off = true;
                continue;
            };
            left = rest;
            self.add(BodyMistake::Rewritten(writing), body);
        }
        // Editors and most programs end a text with a line break, and `curl -d @FILE` takes it off again.
        let with_line_break = |(mistake, body): &(Option<BodyMistake>, Vec<u8>)| match mistake {
            Some(BodyMistake::Rewritten(writing)) => {
                let mistake = BodyMistake::RewrittenWithNewline(*writing);
                Some((mistake, [body.as_slice(), b"\n"].concat()))
            }
            Some(_) | None => None,
        };
        let others = self.all.iter().skip(first).filter_map(with_line_break);
        for (mistake, body) in others.collect::<Vec<_>>() {
            let Some(rest) = left.checked_sub(body.len()) else {
                self.cut_off = true;
                return;
            };
            left = rest;
            self.add(mistake, body);
        }
    }

    fn add_forms(&mut self, text: &str) {
        for (writing, body) in rewritten_form::rewritten(text) {
            self.add(BodyMistake::FormRewritten(writing), body);
        }
        if let Some(body) = rewritten_form::in_other_case(text) {
            self.add(BodyMistake::EscapeCase, body);
        }
        for value in rewritten_form::values(text) {
            self.add(BodyMistake::FormField, value);
        }
        let Some(json) = rewritten_form::as_json(text) else {
            return;
        };
        if json.len() > FORM_BYTES_MAX {
            self.cut_off = true;
        } else {
            for body in rewritten(&json).filter_map(|(_, body)| body) {
                self.add(BodyMistake::FormAsJson, body);
            }
        }
    }

    fn add_texts(&mut self, text: &str) {
        let unix = text.replace("\r\n", "\n");
        self.add(BodyMistake::LineBreaks, unix.replace('\n', "\r\n"));
        self.add(BodyMistake::LineBreaks, unix);
        self.add_rewritten(text);
        self.add_forms(text);
        self.add(BodyMistake::Latin1, of_latin1(text.as_bytes()));
        self.add(BodyMistake::Latin1, of_windows_1252(text.as_bytes()));
        for bytes in [to_latin1(text), to_windows_1252(text)]
            .into_iter()
            .flatten()
        {
            // What is UTF-8 even so was encoded twice.
            let mistake = match std::str::from_utf8(&bytes) {
                Ok(_) => BodyMistake::Latin1Sent,
                Err(_not_utf8) => BodyMistake::SignedInLatin1,
            };
            self.add(mistake, bytes);
        }
        let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes);
        self.add(BodyMistake::SignedInUtf16, utf16.collect::<Vec<_>>());
        for (double, single) in HTML_QUOTES {
            self.add(BodyMistake::HtmlEscaped, html_escaped(text, double, single));
        }
        self.add(BodyMistake::HtmlEscapedSent, html_unescaped(text));
        for (kept, space) in URL_ENCODINGS {
            self.add(BodyMistake::UrlEncoded, url_encoded(text, kept, space));
        }
        if let Ok(quoted) = serde_json::to_string(text) {
            self.add(BodyMistake::Quoted, in_ascii(&quoted));
            self.add(BodyMistake::Quoted, quoted);
        }
        if let Ok(held) = serde_json::from_str::<String>(text) {
            self.add(BodyMistake::QuotedSent, held);
        }
    }
}

/// How many bytes all the other writings of one value may have.
const REWRITTEN_BYTES_MAX: usize = 64 << 20;

/// How long a form may be to be written as JSON in every usual way.
const FORM_BYTES_MAX: usize = 128 << 10;

/// How `"` and `'` are escaped for HTML: by Python, PHP, JavaScript's libraries, Go, and by those that leave them.
const HTML_QUOTES: [(&str, &str); 5] = [
    ("&quot;", "&#x27;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&#39;"),
    ("&#34;", "&#39;"),
    ("\"", "'"),
];

/// Which letters stay beside letters and digits, and what a space becomes: RFC 3986, forms, `encodeURIComponent`.
const URL_ENCODINGS: [(&str, &str); 3] = [("-_.~", "%20"), ("-_.~", "+"), ("-_.~!'()*", "%20")];

/// What JavaScript and Python make of a value that is no text.
const NO_TEXTS: [&str; 4] = ["[object Object]", "undefined", "null", "None"];

/// What Windows-1252 has where Latin-1 has the control characters from 0x80 on; five of them it lacks.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn of_windows_1252(bytes: &[u8]) -> String {
    let letter = |byte: &u8| {
        let own = WINDOWS_1252.get(usize::from(byte.wrapping_sub(0x80)));
        own.copied().unwrap_or(char::from(*byte))
    };
    bytes.iter().map(letter).collect()
}

/// `None` where a character of the text is not in it.
fn to_windows_1252(text: &str) -> Option<Vec<u8>> {
    let byte = |letter: char| match (0x80..).zip(WINDOWS_1252).find(|(_, own)| *own == letter) {
        Some((byte, _)) => Some(byte),
        None => u8::try_from(letter)
            .ok()
            .filter(|byte| !(0x80..0xa0).contains(byte)),
    };
    text.chars().map(byte).collect()
}

/// `None` where a character of the text is not in it.
fn to_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|letter| u8::try_from(letter).ok())
        .collect()
}

/// What Python prints of bytes: `b'...'`.
fn python_bytes(bytes: &[u8]) -> String {
    let has = |quote| bytes.contains(&quote);
    let quote = if has(b'\'') && !has(b'"') { '"' } else { '\'' };
    let mut text = format!("b{quote}");
    for byte in bytes {
        match char::from(*byte) {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            letter if letter == quote => text.extend(['\\', letter]),
            letter @ ' '..='~' => text.push(letter),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push(quote);
    text
}

fn of_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn html_escaped(text: &str, double: &str, single: &str) -> String {
    let ampersands = text.replace('&', "&amp;");
    let brackets = ampersands.replace('<', "&lt;").replace('>', "&gt;");
    brackets.replace('"', double).replace('\'', single)
}

fn html_unescaped(text: &str) -> String {
    let mut plain = Cow::Borrowed(text);
    for (escaped, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#x27;", "'"),
        ("&#039;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        if plain.contains(escaped) {
            plain = Cow::Owned(plain.replace(escaped, letter));
        }
    }
    plain.into_owned()
}

/// As it is written where it is a parameter of a URL.
pub(super) fn as_a_parameter(text: &str) -> String {
    url_encoded(text, "-_.~", "%20")
}

fn url_encoded(text: &str, kept: &str, space: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match char::from(byte) {
            ' ' => encoded.push_str(space),
            letter if letter.is_ascii_alphanumeric() || kept.contains(letter) => {
                encoded.push(letter);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// JSON with all but ASCII as `\uXXXX`.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_body_that_was_sent_comes_first_and_no_body_twice() {
        let all = Bodies::of(b"{\"b\":1,\"a\":2}").all;
        assert_eq!(all[0], (None, b"{\"b\":1,\"a\":2}".to_vec()));
        for (at, (_, body)) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|(_, other)| other != body));
        }
    }

    #[track_caller]
    fn check(sent: &[u8], signed: &[u8], expected: BodyMistake) {
        let all = Bodies::of(sent).all;
        let found = all.iter().find(|(_, body)| body == signed);
        assert_eq!(found.map(|(mistake, _)| *mistake), Some(Some(expected)));
    }

    #[test]
    fn each_other_writing_of_a_text_is_named() {
        use BodyMistake::*;
        let sent = "{\"a\":\"é & <b> it's\"}";
        let bytes = sent.as_bytes();
        let mojibake = "{\"a\":\"Ã© & <b> it's\"}".as_bytes();
        let latin1 = b"{\"a\":\"\xe9 & <b> it's\"}";
        check(bytes, mojibake, Latin1);
        check(mojibake, bytes, Latin1Sent);
        check(bytes, latin1, SignedInLatin1);
        check(latin1, bytes, SentInLatin1);
        check(
            bytes,
            &[BYTE_ORDER_MARK, bytes].concat(),
            ByteOrderMarkSigned,
        );
        check(&[BYTE_ORDER_MARK, bytes].concat(), bytes, ByteOrderMark);
        check(b"a", b"a\0", SignedInUtf16);
        for (kept, signed) in [
            ("\u{feff}{\r\n}\r\n", "{\n}\n"),
            ("\u{feff}{\r\n}\r\n", "{\n}"),
            ("\u{feff}{\r\n}\r\n", "{\r\n}"),
            ("\u{feff}é", "é"),
            ("{}", "{}"),
        ] {
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                let kept: Vec<u8> = kept.encode_utf16().flat_map(bytes).collect();
                check(&kept, signed.as_bytes(), KeptInUtf16);
            }
        }
        let html = b"{&quot;a&quot;:&quot;x &amp; &lt;b&gt; it&#x27;s&quot;}";
        let plain = b"{\"a\":\"x & <b> it's\"}";
        check(plain, html, HtmlEscaped);
        check(html, plain, HtmlEscapedSent);
        check(plain, b"{\"a\":\"x &amp; &lt;b&gt; it's\"}", HtmlEscaped);
        check(b"{\"a b\"}", b"%7B%22a+b%22%7D", UrlEncoded);
        check(b"%7B%22a+b%22%7D", b"{\"a b\"}", UrlDecoded);
        check(b"{\"a\":1}", br#""{\"a\":1}""#, Quoted);
        check(br#""{\"a\":1}""#, b"{\"a\":1}", QuotedSent);
        check("é".as_bytes(), br#""\u00e9""#, Quoted);
        check(b"abc", b"YWJj", Base64);
        check(b"YWJj", b"abc", Base64Sent);
        check(" a\n\n".as_bytes(), b"a", SpaceSent);
        check("5 € é".as_bytes(), b"5 \x80 \xe9", SignedInLatin1);
        check(b"5 \x80 \xe9", "5 € é".as_bytes(), SentInLatin1);
        check("€".as_bytes(), "â‚¬".as_bytes(), Latin1);
        check("â‚¬".as_bytes(), "€".as_bytes(), Latin1Sent);
        check(b"a\xff", "a\u{fffd}".as_bytes(), Replaced);
        check(bytes, b"[object Object]", NoText("[object Object]"));
        check(b"\"it's\"\n\xff", br#"b'"it\'s"\n\xff'"#, PythonBytes);
        check(b"it's", br#"b"it's""#, PythonBytes);
        check(b"payload=%7B%7D&b=1", b"{}", FormField);
        check(b"a=1&b=x+y", br#"{"a": "1", "b": "x y"}"#, FormAsJson);
    }

    #[test]
    fn that_a_writing_is_too_long_to_be_tried_is_told() {
        let (open, close) = ("[".repeat(120), "]".repeat(120));
        let deep = format!("{open}{}1{close}", "1,".repeat(20_000));
        assert!(Bodies::of(deep.as_bytes()).cut_off);
        assert!(!Bodies::of(b"[1]").cut_off);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Bodies::of(&body);
        }
    }
}
