//! What gets beside a secret, or into it, when its text is copied or saved, and is seen by nobody.

/// What an editor of Windows writes before UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The secret without the white space and the invisible characters at its ends. What is no UTF-8 is a key of raw bytes,
/// and stays as it is.
pub fn without_blanks(shown: &[u8]) -> &[u8] {
    match std::str::from_utf8(shown) {
        Ok(text) => text.trim_matches(is_blank).as_bytes(),
        Err(_raw) => shown,
    }
}

/// What stands at the beginning or the end of the secret and is no part of it, as a person would call it.
pub fn blank_beside(shown: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(shown).ok()?;
    let mut ends = text.chars().next().into_iter().chain(text.chars().last());
    let blank = ends.find(|letter| is_blank(*letter))?;
    Some(match blank {
        ' ' | '\t' => "white space".to_owned(),
        '\u{a0}' => "a no-break space (U+00A0)".to_owned(),
        '\u{b}' => "a vertical tab (U+000B)".to_owned(),
        '\u{feff}' => "a byte order mark (U+FEFF)".to_owned(),
        other => format!("the invisible character U+{:04X}", u32::from(other)),
    })
}

/// The text of a secret that was saved in UTF-16, with or without a byte order mark: letters of ASCII, each beside a zero
/// byte. No key of raw bytes is so by chance.
pub fn from_utf16(shown: &[u8]) -> Option<Vec<u8>> {
    const LETTERS_MIN: usize = 4;
    let (pairs, rest) = shown.as_chunks::<2>();
    let (little, pairs) = match pairs {
        [[0xff, 0xfe], pairs @ ..] => (true, pairs),
        [[0xfe, 0xff], pairs @ ..] => (false, pairs),
        [[_, 0], ..] => (true, pairs),
        _ => (false, pairs),
    };
    // Half of the line break at its end may have been taken for a whole one.
    let complete = rest.iter().all(|byte| *byte == 0);
    let letters = pairs.iter().map(|[one, other]| {
        let (letter, zero) = if little {
            (*one, *other)
        } else {
            (*other, *one)
        };
        (zero == 0 && letter != 0 && letter.is_ascii()).then_some(letter)
    });
    let letters = letters.collect::<Option<Vec<u8>>>()?;
    (complete && letters.len() >= LETTERS_MIN).then_some(letters)
}

fn is_blank(letter: char) -> bool {
    let invisible = matches!(
        letter,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    );
    letter.is_whitespace() || letter.is_control() || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, little: bool) -> Vec<u8> {
        let units = text.encode_utf16();
        let bytes = units.map(|unit| {
            if little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            }
        });
        bytes.flatten().collect()
    }

    #[test]
    fn what_nobody_sees_is_no_part_of_a_secret() {
        for (shown, named) in [
            ("secret ", "white space"),
            ("\u{a0}secret", "U+00A0"),
            ("secret\u{b}", "U+000B"),
            ("\u{feff}secret", "U+FEFF"),
            ("secret\u{200b}", "U+200B"),
        ] {
            assert_eq!(without_blanks(shown.as_bytes()), b"secret", "{shown:?}");
            let told = blank_beside(shown.as_bytes()).unwrap();
            assert!(told.contains(named), "{told}");
        }
        for shown in [
            &b"sec ret"[..],
            b"secret",
            b"",
            b"\xff\xfesecret ",
            b" \xff ",
        ] {
            assert_eq!(without_blanks(shown), shown);
            assert_eq!(blank_beside(shown), None);
        }
    }

    #[test]
    fn a_secret_in_utf16_is_read_in_either_order() {
        for (mark, little) in [
            ("", true),
            ("", false),
            ("\u{feff}", true),
            ("\u{feff}", false),
        ] {
            let shown = utf16(&format!("{mark}whsec_1\r\n"), little);
            assert_eq!(from_utf16(&shown).as_deref(), Some(&b"whsec_1\r\n"[..]));
            let cut = shown.strip_suffix(b"\n").unwrap_or(&shown);
            let read = from_utf16(cut).unwrap();
            assert_eq!(without_blanks(&read), b"whsec_1");
        }
        for shown in [
            &b""[..],
            b"whsec_1",
            b"\xff\xfe",
            b"\xff\xfea-key-of-raw-bytes",
            b"a\0b\0",
        ] {
            assert_eq!(from_utf16(shown), None, "{shown:?}");
        }
    }
}
