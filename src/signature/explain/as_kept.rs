//! What happens to a body where it is kept for later: it is cut off, or more than the body is kept.

use serde::de::IgnoredAny;

/// How many brackets may be missing.
const BRACKETS_MAX: usize = 64;

/// Whether it is JSON that ends before its end.
pub(super) fn is_cut_off(body: &[u8]) -> bool {
    let begins = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    begins && serde_json::from_slice::<IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

/// The body with the brackets that are missing at its end.
pub(super) fn completed(body: &[u8]) -> Vec<Vec<u8>> {
    if !is_cut_off(body) {
        return Vec::new();
    }
    let missing = missing(body);
    if missing.is_empty() || missing.len() > BRACKETS_MAX {
        return Vec::new();
    }
    let whole = [body, &missing].concat();
    let with_line_break = [&*whole, b"\n"].concat();
    vec![whole, with_line_break]
}

/// What closes all that is open at the end of the text.
fn missing(json: &[u8]) -> Vec<u8> {
    let mut open = Vec::new();
    let mut in_text = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => {
                bytes.next();
            }
            b'"' => in_text = !in_text,
            b'{' if !in_text => open.push(b'}'),
            b'[' if !in_text => open.push(b']'),
            b'}' | b']' if !in_text => {
                open.pop();
            }
            _ => {}
        }
    }
    if in_text {
        open.push(b'"');
    }
    open.reverse();
    open
}

/// The body out of its chunks (RFC 9112 §7.1).
pub(super) fn unchunked(kept: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    let mut rest = kept;
    loop {
        let (size, behind) = split_once(rest, b"\r\n")?;
        let digits = size.split(|byte| *byte == b';').next()?.trim_ascii();
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            return (!whole.is_empty()).then_some(whole);
        }
        let (chunk, behind) = behind.split_at_checked(size)?;
        whole.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
        // A reader that stops at the last byte of the body leaves the end of the chunks away.
        if rest.is_empty() {
            return Some(whole);
        }
    }
}

/// What stands behind the first empty line, where a head may stand before it.
pub(super) fn behind_a_head(kept: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let parts = ends.into_iter().filter_map(|end| split_once(kept, end));
    let with_head = parts.filter(|(head, _)| is_a_head(head));
    with_head.map(|(_, rest)| rest)
}

/// Whether each line but the first is `Name: value`.
fn is_a_head(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    let is_field = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next();
        let is_name = |name: &[u8]| {
            let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !name.is_empty() && name.iter().all(is_letter)
        };
        line.contains(&b':') && name.is_some_and(is_name)
    };
    let is_start = |line: &[u8]| line.windows(5).any(|part| part == b"HTTP/");
    let first = lines.next();
    first.is_some_and(|line| is_start(line) || is_field(line)) && lines.all(is_field)
}

fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut windows = bytes.windows(separator.len());
    let at = windows.position(|window| window == separator)?;
    let (before, behind) = bytes.split_at_checked(at)?;
    Some((before, behind.strip_prefix(separator)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_that_ends_early_is_told_from_one_that_is_no_json() {
        for cut in [
            &b"{\"a\":[1,{\"b\":\"x"[..],
            b"{\"a\":1",
            b" [",
            b"{\"a\":\"\xc3",
        ] {
            assert!(is_cut_off(cut), "{cut:?}");
        }
        for other in [
            &b"{\"a\":1}"[..],
            b"a=1&b=2",
            b"",
            b"{a",
            b"[1 2",
            b"12",
            b"\xff\xff{",
        ] {
            assert!(!is_cut_off(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_missing_at_the_end_is_put_there() {
        let completed = |body: &[u8]| completed(body).into_iter().next();
        let check = |body: &[u8], whole: &[u8]| assert_eq!(completed(body).as_deref(), Some(whole));
        check(b"{\"a\":[1,{\"b\":2", b"{\"a\":[1,{\"b\":2}]}");
        check(b"{\"a\":\"x\\\"}", b"{\"a\":\"x\\\"}\"}");
        assert_eq!(completed(b"{\"a\":1}"), None);
        assert_eq!(completed(b"a=1"), None);
        let deep = vec![b'['; BRACKETS_MAX + 1];
        assert_eq!(completed(&deep), None);
    }

    #[test]
    fn the_body_is_taken_out_of_its_chunks_and_from_behind_its_head() {
        let kept = b"5\r\n{\"a\":\r\n2;x=y\r\n1}\r\n0\r\n\r\n";
        assert_eq!(unchunked(kept).as_deref(), Some(&b"{\"a\":1}"[..]));
        for other in [&b"{\"a\":1}"[..], b"5\r\n{\"", b"0\r\n\r\n", b"", b"\r\n"] {
            assert_eq!(unchunked(other), None, "{other:?}");
        }
        let rest = |kept: &'static [u8]| behind_a_head(kept).next();
        let head = b"POST /in HTTP/1.1\r\nHost: h\r\n\r\n{}";
        assert_eq!(rest(head), Some(&b"{}"[..]));
        assert_eq!(rest(b"Host: h\nA: b\n\n{}"), Some(&b"{}"[..]));
        assert_eq!(rest(b"{\"a\": \"x\n\ny\"}"), None);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..40), json in "[\\[{}\\]\":,0-9\\\\\r\n;é]{0,30}") {
            for body in [&*body, json.as_bytes()] {
                let _ = completed(body);
                let _ = unchunked(body);
                behind_a_head(body).for_each(drop);
            }
        }
    }
}
