//! Texts that a person reads: on a line of a log, at a terminal, or to be pasted into a shell.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    add_causes(&mut text, error);
    text
}

/// Adds the causes of an error to what was said of itself.
pub fn add_causes(text: &mut String, error: &dyn Error) {
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
}

/// A text that an editor or a shell saved in UTF-16: with a byte order mark, or beginning with letters of ASCII; `None` for any other.
pub fn from_utf16(saved: &[u8]) -> Option<String> {
    let (pairs, rest) = saved.as_chunks::<2>();
    let (from, pairs): (fn([u8; 2]) -> u16, _) = match pairs {
        [[0xff, 0xfe], pairs @ ..] => (u16::from_le_bytes, pairs),
        [[0xfe, 0xff], pairs @ ..] => (u16::from_be_bytes, pairs),
        [[1..0x80, 0], [1..0x80, 0], ..] => (u16::from_le_bytes, pairs),
        [[0, 1..0x80], [0, 1..0x80], ..] => (u16::from_be_bytes, pairs),
        _ => return None,
    };
    let units = pairs.iter().map(|pair| from(*pair));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    (rest.is_empty() && !text.is_empty()).then_some(text)
}

/// A stranger's text as a terminal may show it: control characters, and those that turn or hide text, escaped.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns_or_hides(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Bidirectional controls, invisible characters and line separators (Unicode TR 36).
pub fn turns_or_hides(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as a fault names it: what is long is known by its beginning.
pub fn shortened(text: &str) -> Cow<'_, str> {
    const LETTERS_MAX: usize = 80;
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// One word to a POSIX shell: in quotes only where it needs them.
pub fn word(text: &str) -> Cow<'_, str> {
    let quoter = shlex::Quoter::new().allow_nul(true);
    // It refuses zero bytes, and nothing else.
    quoter.quote(text).unwrap_or(Cow::Borrowed(text))
}

/// The same of a path, which no program takes for an option.
pub fn path_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') {
        word(&format!("./{text}")).into_owned()
    } else {
        word(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_would_forge_a_line_is_escaped() {
        assert_eq!(printable("CN=a\nlevel=info"), "CN=a\\nlevel=info");
        assert_eq!(printable("\u{1b}[2Jx\u{202e}"), "\\u{1b}[2Jx\\u{202e}");
        assert_eq!(printable("CN=Müller"), "CN=Müller");
    }

    #[test]
    fn a_text_in_utf16_is_known_by_its_mark_or_its_first_letters() {
        let saved = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            let pairs = text.encode_utf16().flat_map(bytes);
            pairs.collect::<Vec<u8>>()
        };
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            for text in ["{\"a\":\"é\u{1f600}\"}", "ab"] {
                let with_mark = saved(&format!("\u{feff}{text}"), bytes);
                assert_eq!(from_utf16(&with_mark).as_deref(), Some(text));
                assert_eq!(from_utf16(&saved(text, bytes)).as_deref(), Some(text));
            }
        }
        for other in [
            &b""[..],
            b"{}",
            b"\xff\xfe",
            b"\xff\xfea",
            b"\xff\xfe\x00\xd8",
            b"a\0",
            "é".as_bytes(),
        ] {
            assert_eq!(from_utf16(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_printed_is_one_word_to_a_shell() {
        assert_eq!(word("certs/ca.crt"), "certs/ca.crt");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's"), "\"it's\"");
        assert_eq!(word("a; rm $x"), "'a; rm $x'");
        assert_eq!(word(""), "''");
        assert_eq!(path_word(Path::new("my keys/x")), "'my keys/x'");
        assert_eq!(path_word(Path::new("-r")), "./-r");
    }
}
