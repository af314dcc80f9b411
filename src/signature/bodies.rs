//! The bodies that may have been signed instead of the one that was sent: what the usual mistakes make of it.

use std::borrow::Cow;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use super::form;
use super::mistakes::BodyMistake;
use super::rewritten::rewritten;

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
        match std::str::from_utf8(sent) {
            Ok(text) => bodies.add_texts(text),
            Err(_not_utf8) => bodies.add(BodyMistake::SentInLatin1, of_latin1(sent)),
        }
        bodies.add(BodyMistake::UrlDecoded, form::decoded(sent).into_owned());
        bodies.add(BodyMistake::Empty, Vec::new());
        bodies.add(
            BodyMistake::Base64,
            base64::engine::general_purpose::STANDARD.encode(sent),
        );
        bodies.add(BodyMistake::Digest, hex::encode(Sha256::digest(sent)));
        bodies
    }

    fn add(&mut self, mistake: BodyMistake, body: impl Into<Vec<u8>>) {
        let body = body.into();
        if !self.all.iter().any(|(_, known)| *known == body) {
            self.all.push((Some(mistake), body));
        }
    }

    fn add_ends(&mut self, sent: &[u8]) {
        let trimmed = sent
            .strip_suffix(b"\n")
            .map(|text| text.strip_suffix(b"\r").unwrap_or(text));
        if let Some(trimmed) = trimmed {
            self.add(BodyMistake::NewlineSent, trimmed);
        }
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

    fn add_texts(&mut self, text: &str) {
        let unix = text.replace("\r\n", "\n");
        self.add(BodyMistake::LineBreaks, unix.replace('\n', "\r\n"));
        self.add(BodyMistake::LineBreaks, unix);
        self.add_rewritten(text);
        self.add(BodyMistake::Latin1, of_latin1(text.as_bytes()));
        let latin1 = text.chars().map(|letter| u8::try_from(letter).ok());
        if let Some(latin1) = latin1.collect::<Option<Vec<_>>>() {
            // What is UTF-8 even so was encoded twice.
            let mistake = match std::str::from_utf8(&latin1) {
                Ok(_) => BodyMistake::Latin1Sent,
                Err(_not_utf8) => BodyMistake::SignedInLatin1,
            };
            self.add(mistake, latin1);
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

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
