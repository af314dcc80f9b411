//! `application/x-www-form-urlencoded`, as far as a signature needs it (WHATWG URL §5).

use std::borrow::Cow;

/// The value of the one pair of this name; `Err` when there are several.
pub(in crate::signature) fn value<'a>(
    form: &'a [u8],
    name: &str,
) -> Result<Option<Cow<'a, [u8]>>, RepeatedField> {
    let mut found = None;
    for (key, value) in pairs(form) {
        if *key == *name.as_bytes() {
            if found.is_some() {
                return Err(RepeatedField);
            }
            found = Some(value);
        }
    }
    Ok(found)
}

/// A field that may stand once stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signature) struct RepeatedField;

/// All pairs, decoded, in order.
pub(in crate::signature) fn pairs(
    form: &[u8],
) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            (
                decoded(halves.next().unwrap_or_default()),
                decoded(halves.next().unwrap_or_default()),
            )
        })
}

/// A form without the pairs of this name.
pub(in crate::signature) fn without(form: &str, name: &str) -> String {
    let other = |pair: &&str| pairs(pair.as_bytes()).all(|(own, _)| *own != *name.as_bytes());
    form.split('&').filter(other).collect::<Vec<_>>().join("&")
}

/// Appends `name=value`, encoded, to a form or a query string.
pub(in crate::signature) fn append(form: &mut String, name: &str, value: &[u8]) {
    if !form.is_empty() {
        form.push('&');
    }
    encode(form, name.as_bytes());
    form.push('=');
    encode(form, value);
}

fn encode(form: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                form.push(char::from(*byte))
            }
            other => form.push_str(&format!("%{other:02X}")),
        }
    }
}

/// What a text stands for: `%XX` and `+` as what they mean.
pub(in crate::signature) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => plain.push(b' '),
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    plain.push(high << 4 | low);
                    rest = behind;
                }
                (Some(_) | None, Some(_) | None) => plain.push(b'%'),
            },
            (other, _) => plain.push(*other),
        }
    }
    Cow::Owned(plain)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_is_taken_out_however_it_is_written() {
        assert_eq!(without("a=1&b=2&%61=3&ab=4&a", "a"), "b=2&ab=4");
        assert_eq!(without("a=1", "a"), "");
    }

    #[test]
    fn a_field_is_decoded_and_may_stand_once() {
        let form = b"a=1+2%2B%zz&b&c=%e2%82%ac&b2=&c2=1&c2=2";
        assert_eq!(value(form, "a").unwrap().as_deref(), Some(&b"1 2+%zz"[..]));
        assert_eq!(value(form, "b").unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(
            value(form, "c").unwrap().as_deref(),
            Some("\u{20ac}".as_bytes())
        );
        assert_eq!(value(form, "d"), Ok(None));
        assert_eq!(value(form, "c2"), Err(RepeatedField));
    }

    proptest! {
        #[test]
        fn what_is_appended_is_read_again(name in "[a-z_]{1,8}", bytes: Vec<u8>) {
            let mut form = String::new();
            append(&mut form, "before", b"x&y");
            append(&mut form, &format!("n{name}"), &bytes);
            let read = value(form.as_bytes(), &format!("n{name}")).unwrap();
            prop_assert_eq!(read.as_deref(), Some(&bytes[..]));
        }
    }
}
