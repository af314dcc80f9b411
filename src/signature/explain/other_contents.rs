//! The contents that may have been signed instead: the same parts, put together otherwise.

use crate::signature::template::Template;

/// The contents that are often signed by those who know another provider's scheme.
///
/// `own` are the texts of the profile's.
pub(super) fn contents<'a>(
    own: impl Iterator<Item = &'a str>,
    has_time: bool,
    has_id: bool,
    has_url: bool,
) -> Vec<(String, Template)> {
    let mut texts = vec!["{body}".to_owned()];
    for text in own {
        texts.extend(SEPARATORS.iter().filter_map(|other| separated(text, other)));
        texts.extend(with_a_literal_left_out(text));
        texts.extend(with_secret(text));
        texts.extend(without_the_secret(text));
    }
    texts.extend(with_secret("{body}"));
    let mut joined = |parts: &[&str]| {
        for separator in SEPARATORS {
            texts.push(parts.join(separator));
        }
    };
    if has_time {
        joined(&["{timestamp}", "{body}"]);
        joined(&["{body}", "{timestamp}"]);
    }
    if has_id {
        joined(&["{id}", "{body}"]);
    }
    if has_time && has_id {
        joined(&["{id}", "{timestamp}", "{body}"]);
        joined(&["{timestamp}", "{id}", "{body}"]);
    }
    if has_url {
        joined(&["{url}", "{body}"]);
        joined(&["{body}", "{url}"]);
    }
    if has_time {
        let versions = [
            "v0:{timestamp}:{body}",
            "v1:{timestamp}:{body}",
            "v1.{timestamp}.{body}",
        ];
        texts.extend(versions.map(str::to_owned));
    }
    let parsed = texts.into_iter().filter_map(|text| {
        let template = Template::parse(&text).ok()?;
        Some((text, template))
    });
    parsed.collect()
}

/// What stands between the parts of a content, the usual first.
const SEPARATORS: [&str; 11] = [".", "", ":", "\n", "|", "-", "_", " ", ",", ";", "&"];

/// How many contents with something left out are tried.
const LEFT_OUT_MAX: usize = 32;

/// A content without one of the texts that stand beside its values, or without the separator that such a text begins or
/// ends with; none where it has groups.
fn with_a_literal_left_out(text: &str) -> Vec<String> {
    if text.contains(['[', ']']) {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut start = 0;
    for part in text.split_inclusive('}') {
        let literal = part.split('{').next().unwrap_or_default();
        let without = |from: usize, to: usize| {
            let before = text.get(..start + from).unwrap_or_default();
            let behind = text.get(start + to..).unwrap_or_default();
            format!("{before}{behind}")
        };
        let all_of_it = literal.len();
        let separates = |letter: &char| SEPARATORS.contains(&letter.to_string().as_str());
        if all_of_it > 0 {
            all.push(without(0, all_of_it));
        }
        if let Some(last) = literal.chars().last().filter(separates) {
            all.push(without(all_of_it - last.len_utf8(), all_of_it));
        }
        if let Some(first) = literal.chars().next().filter(separates) {
            all.push(without(0, first.len_utf8()));
        }
        start += part.len();
    }
    all.dedup();
    all.truncate(LEFT_OUT_MAX);
    all
}

/// The secret before and behind a content, as those put it there who know no HMAC.
fn with_secret(text: &str) -> [String; 4] {
    [
        format!("{{secret}}{text}"),
        format!("{text}{{secret}}"),
        format!("{{secret}}.{text}"),
        format!("{text}.{{secret}}"),
    ]
}

/// A content with its secret at the other end, and one without it, for an HMAC.
fn without_the_secret(text: &str) -> Vec<String> {
    const SECRET: &str = "{secret}";
    let joint = |letter: char| SEPARATORS.iter().any(|one| one.starts_with(letter));
    let (rest, moved) = match (text.strip_suffix(SECRET), text.strip_prefix(SECRET)) {
        (Some(rest), _) => {
            let bare = rest.trim_end_matches(joint);
            let between = rest.get(bare.len()..).unwrap_or_default();
            (bare, format!("{SECRET}{between}{bare}"))
        }
        (None, Some(rest)) => {
            let bare = rest.trim_start_matches(joint);
            let between = rest.get(..rest.len() - bare.len()).unwrap_or_default();
            (bare, format!("{bare}{between}{SECRET}"))
        }
        (None, None) => return Vec::new(),
    };
    vec![moved, rest.to_owned()]
}

/// A content with another text between its values; `None` where it has groups, or one value alone.
fn separated(text: &str, other: &str) -> Option<String> {
    let split = |part| str::find(part, '{').and_then(|at| part.split_at_checked(at));
    let (own, _) = text.split_inclusive('}').nth(1).and_then(split)?;
    if text.contains(['[', ']']) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split_inclusive('}').enumerate() {
        let (literal, value) = split(part).unwrap_or((part, ""));
        if !own.is_empty() {
            out.push_str(&literal.replace(own, other));
        } else if at > 0 && literal.is_empty() && !value.is_empty() {
            out.push_str(other);
        } else {
            out.push_str(literal);
        }
        out.push_str(value);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_is_put_together_with_other_separators() {
        let check = |text, other, expected: Option<&str>| {
            assert_eq!(separated(text, other).as_deref(), expected, "{text}");
        };
        check("{timestamp}.{body}", ":", Some("{timestamp}:{body}"));
        check("v0:{timestamp}:{body}", ".", Some("v0.{timestamp}.{body}"));
        check("{url}{body}", "|", Some("{url}|{body}"));
        check("{json:/a}:{json:/b}", "", Some("{json:/a}{json:/b}"));
        check("{timestamp}{body}\n", "-", Some("{timestamp}-{body}\n"));
        check("{body}", ".", None);
        check("[{id}.]{body}", ".", None);
        check("", ".", None);
    }

    #[test]
    fn of_a_content_one_literal_alone_is_left_out() {
        let check = |text, expected: &[&str]| {
            assert_eq!(with_a_literal_left_out(text), expected, "{text}");
        };
        check("{timestamp}.{body}", &["{timestamp}{body}"]);
        check(
            "v0:{timestamp}:{body}",
            &[
                "{timestamp}:{body}",
                "v0{timestamp}:{body}",
                "v0:{timestamp}{body}",
            ],
        );
        check("{url}{body}\n", &["{url}{body}"]);
        check("{body}", &[]);
        check("[{id}.]{body}", &[]);
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(text in ".{0,30}|[a{}.:\\[]{0,20}") {
            let _ = with_a_literal_left_out(&text);
            let _ = separated(&text, ":");
        }
    }
}
