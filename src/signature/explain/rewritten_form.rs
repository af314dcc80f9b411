//! A form, parsed and written again as the usual libraries do: the same fields in other bytes.
//!
//! Sources: WHATWG URL §5, RFC 3986 §2, and the documentation of the libraries that [`Escaping`] names.

use std::borrow::Cow;
use std::fmt;

use crate::signature::body;

/// How many fields a form may have to be written again.
const FIELDS_MAX: usize = 4096;

/// In which way a form was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormWriting {
    escaping: Escaping,
    sorted: bool,
}

/// Which bytes of a field are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    /// JavaScript's `URLSearchParams`, and Java.
    Browser,
    /// Python's `urlencode`, and Go.
    Python,
    /// PHP's `http_build_query`.
    Php,
    /// RFC 3986: Python's `quote`, PHP's `rawurlencode`, Ruby.
    Percent,
    /// JavaScript's `encodeURIComponent`, and Node's `querystring`.
    Component,
    /// .NET's `HttpUtility`, in lower case.
    DotNet,
    /// RFC 3986 in lower case.
    PercentInLowerCase,
}

impl Escaping {
    /// What stays beside letters and digits, what a space becomes, and whether hexadecimal digits are in upper case.
    fn rule(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Browser => ("*-._", "+", true),
            Self::Python => ("-._~", "+", true),
            Self::Php => ("-._", "+", true),
            Self::Percent => ("-._~", "%20", true),
            Self::Component => ("-_.!~*'()", "%20", true),
            Self::DotNet => ("-_.!*()", "+", false),
            Self::PercentInLowerCase => ("-._~", "%20", false),
        }
    }

    fn write(self, bytes: &[u8], out: &mut String) {
        let (kept, space, upper_case) = self.rule();
        for byte in bytes {
            match char::from(*byte) {
                ' ' => out.push_str(space),
                letter if letter.is_ascii_alphanumeric() || kept.contains(letter) => {
                    out.push(letter);
                }
                _ if upper_case => out.push_str(&format!("%{byte:02X}")),
                _ => out.push_str(&format!("%{byte:02x}")),
            }
        }
    }
}

impl fmt::Display for FormWriting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, space, upper_case) = self.escaping.rule();
        let case = if upper_case { "upper" } else { "lower" };
        write!(
            f,
            "with {space} for a space, {kept} as they are and %XX in {case} case"
        )?;
        if self.sorted {
            f.write_str(", with its fields sorted")?;
        }
        Ok(())
    }
}

type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The fields of a body that can be nothing but a form; none of any other.
fn fields(body: &str) -> Vec<Field<'_>> {
    let is_form = body.contains('=')
        && body
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'{'));
    let fields: Vec<_> = body::form::pairs(body.as_bytes())
        .take(FIELDS_MAX + 1)
        .collect();
    if is_form && fields.len() <= FIELDS_MAX {
        fields
    } else {
        Vec::new()
    }
}

/// The same fields in every usual writing.
pub(super) fn rewritten(body: &str) -> impl Iterator<Item = (FormWriting, String)> {
    let in_order = fields(body);
    let mut sorted = in_order.clone();
    sorted.sort();
    let all = [
        Escaping::Browser,
        Escaping::Python,
        Escaping::Php,
        Escaping::Percent,
        Escaping::Component,
        Escaping::DotNet,
        Escaping::PercentInLowerCase,
    ];
    let writings = [(false, in_order), (true, sorted)];
    writings.into_iter().flat_map(move |(sorted, fields)| {
        // A body that is no form has no other writing.
        let escapings = all.into_iter().filter(|_| !fields.is_empty());
        let written: Vec<_> = escapings
            .map(|escaping| (FormWriting { escaping, sorted }, joined(&fields, escaping)))
            .collect();
        written
    })
}

fn joined(fields: &[Field<'_>], escaping: Escaping) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        escaping.write(name, &mut out);
        out.push('=');
        escaping.write(value, &mut out);
    }
    out
}

/// The form with its `%XX` in the other case, and else as it stands; `None` where it is no form.
pub(super) fn in_other_case(body: &str) -> Option<String> {
    if fields(body).is_empty() {
        return None;
    }
    let mut left = 0;
    let swapped = body.chars().map(|letter| {
        if letter == '%' {
            left = 2;
            return letter;
        }
        let is_escape = left > 0;
        left -= usize::from(is_escape);
        match letter {
            _ if !is_escape => letter,
            'a'..='f' => letter.to_ascii_uppercase(),
            'A'..='F' => letter.to_ascii_lowercase(),
            other => other,
        }
    });
    Some(swapped.collect())
}

/// The texts of its fields, each alone.
pub(super) fn values(body: &str) -> Vec<Vec<u8>> {
    /// Who signs one alone signs one of the first.
    const VALUES_MAX: usize = 16;
    let values = fields(body)
        .into_iter()
        .map(|(_, value)| value.into_owned());
    values.take(VALUES_MAX).collect()
}

/// The form as a JSON object, as a framework that parsed it hands it on; `None` where it is no form.
pub(super) fn as_json(body: &str) -> Option<String> {
    let fields = fields(body);
    if fields.is_empty() {
        return None;
    }
    let text = |bytes: &[u8]| serde_json::to_string(std::str::from_utf8(bytes).ok()?).ok();
    let members = fields
        .iter()
        .map(|(name, value)| Some(format!("{}:{}", text(name)?, text(value)?)));
    let members = members.collect::<Option<Vec<_>>>()?;
    Some(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "b=x+y%21~&a=%C3%A9%2f*";

    #[track_caller]
    fn has(expected: &str) {
        assert!(
            rewritten(FORM).any(|(_, text)| text == expected),
            "{expected}"
        );
    }

    #[test]
    fn the_usual_libraries_writings_are_among_them() {
        // new URLSearchParams(form).toString()
        has("b=x+y%21%7E&a=%C3%A9%2F*");
        // urllib.parse.urlencode(parse_qsl(form)), with quote_via=quote, and sorted.
        has("b=x+y%21~&a=%C3%A9%2F%2A");
        has("b=x%20y%21~&a=%C3%A9%2F%2A");
        has("a=%C3%A9%2F%2A&b=x+y%21~");
        // querystring.stringify(querystring.parse(form))
        has("b=x%20y!~&a=%C3%A9%2F*");
        // http_build_query
        has("b=x+y%21%7E&a=%C3%A9%2F%2A");
        // HttpUtility.UrlEncode
        has("b=x+y!%7e&a=%c3%a9%2f*");
        assert_eq!(
            as_json(FORM).as_deref(),
            Some("{\"b\":\"x y!~\",\"a\":\"é/*\"}")
        );
        assert_eq!(in_other_case("AF=%2f%C3ab").as_deref(), Some("AF=%2F%c3ab"));
        assert_eq!(values(FORM).last().unwrap(), "é/*".as_bytes());
    }

    #[test]
    fn what_is_no_form_has_no_other_writing() {
        for body in ["", "{\"a\":\"b=c\"}", "text", "a b=c", "<a b='c'/>"] {
            assert_eq!(rewritten(body).count(), 0, "{body}");
            assert!(as_json(body).is_none() && values(body).is_empty(), "{body}");
        }
        let many = "a=1&".repeat(FIELDS_MAX + 1);
        assert_eq!(rewritten(&many).count(), 0);
    }

    proptest! {
        #[test]
        fn every_writing_means_the_same(fields in prop::collection::vec(("[a-z]{1,3}", ".{0,6}"), 1..4)) {
            let mut body = String::new();
            for (name, value) in &fields {
                body::form::append(&mut body, name, value.as_bytes());
            }
            for (writing, text) in rewritten(&body).filter(|(writing, _)| !writing.sorted) {
                let read: Vec<_> = body::form::pairs(text.as_bytes()).collect();
                let own: Vec<_> = body::form::pairs(body.as_bytes()).collect();
                prop_assert_eq!(read, own, "{}", writing);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[a=&%+0-9]{0,40}") {
            rewritten(&text).for_each(drop);
            let _ = as_json(&text);
            let _ = values(&text);
        }
    }
}
