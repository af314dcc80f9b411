//! As much of XML as a provider's notification needs: elements, text, the five entities. No document type, no
//! namespaces, of the attributes only that of a list; what declares entities of its own is refused, whatever it says.

use super::select::{FIELDS_MAX, Fields};

/// How deep elements may stand in each other.
const DEPTH_MAX: usize = 64;
/// Bytes of a path, at most: each field has one of its own.
const PATH_BYTES_MAX: usize = 1024;

/// The text of each element that holds no other, by its path (`/notification/kind`); `None` for what is no such
/// document. An element that occurs twice in one place has no text; but of a list (`type="array"`) the first element
/// counts, however many there are.
pub(in crate::signature) fn fields(document: &str) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut open: Vec<Open> = Vec::new();
    let mut path = String::new();
    let mut rooted = false;
    let mut rest = document.trim_start_matches('\u{feff}').trim();
    while !rest.is_empty() {
        let (text, markup) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        match open.last_mut() {
            Some(element) => element.text.push_str(&unescaped(text)?),
            None if text.trim().is_empty() => {}
            None => return None,
        }
        if markup.is_empty() {
            break;
        }
        if let Some(inner) = markup.strip_prefix("<![CDATA[") {
            let (text, behind) = inner.split_once("]]>")?;
            open.last_mut()?.text.push_str(text);
            rest = behind;
        } else if let Some(inner) = markup.strip_prefix("<!--") {
            rest = inner.split_once("-->")?.1;
        } else if let Some(inner) = markup.strip_prefix("<?") {
            rest = inner.split_once("?>")?.1;
        } else if markup.starts_with("<!") {
            return None;
        } else if let Some(inner) = markup.strip_prefix("</") {
            let (name, behind) = inner.split_once('>')?;
            let element = open.pop()?;
            if path.get(element.parent_len + 1..)? != name.trim_end() {
                return None;
            }
            if element.leaf && element.counts {
                fields
                    .entry(path.clone())
                    .and_modify(|text| *text = None)
                    .or_insert(Some(element.text));
            }
            if fields.len() > FIELDS_MAX {
                return None;
            }
            path.truncate(element.parent_len);
            rest = behind;
        } else {
            let (inner, behind) = tag(markup.strip_prefix('<')?)?;
            let (inner, empty) = inner
                .strip_suffix('/')
                .map_or((inner, false), |inner| (inner, true));
            let name = inner
                .split(|c: char| c.is_ascii_whitespace())
                .next()
                .filter(|name| !name.is_empty())?;
            if name.contains('/') || open.len() == DEPTH_MAX || (open.is_empty() && rooted) {
                return None;
            }
            rooted = true;
            let counts = open.last_mut().is_none_or(|parent| {
                let is_first = std::mem::replace(&mut parent.leaf, false);
                parent.counts && (is_first || !parent.is_list)
            });
            if path.len() + "/".len() + name.len() > PATH_BYTES_MAX {
                return None;
            }
            if !empty {
                open.push(Open {
                    parent_len: path.len(),
                    leaf: true,
                    is_list: inner.contains("type=\"array\""),
                    counts,
                    text: String::new(),
                });
                path.push('/');
                path.push_str(name);
            }
            rest = behind;
        }
    }
    (open.is_empty() && rooted).then_some(fields)
}

struct Open {
    /// The length of the path without this element.
    parent_len: usize,
    leaf: bool,
    is_list: bool,
    /// Of each list around it, it stands in the first element.
    counts: bool,
    text: String,
}

/// A start tag's inside and what follows it; a `>` in an attribute's value does not end it.
fn tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, '<') => return None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (Some(_) | None, _) => {}
        }
    }
    None
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, behind) = after.split_once(';')?;
        plain.push_str(before);
        plain.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            other => {
                let number = other.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = behind;
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leaves_are_found_by_their_path() {
        let document = r#"<?xml version="1.0" encoding="UTF-8"?>
            <notification>
              <kind>transaction_settled</kind>
              <timestamp type="datetime">2026-09-21T14:13:20Z</timestamp>
              <subject><!-- of > which -->
                <transaction a="1>2" ><id>a&amp;b&#x41;</id><amount>19.99</amount><tax nil="true"/>
                <note><![CDATA[<x>]]></note></transaction>
              </subject>
              <ids><item>1</item><item>2</item></ids>
              <sales type="array"><sale><id>3</id><tax type="array"><a>5</a><a>6</a></tax></sale><sale><id>4</id><late>7</late></sale></sales>
              <none type="array"/>
            </notification>"#;
        let fields = fields(document).unwrap();
        let text = |path: &str| fields.get(path).and_then(|text| text.as_deref());
        assert_eq!(text("/notification/kind"), Some("transaction_settled"));
        assert_eq!(
            text("/notification/timestamp"),
            Some("2026-09-21T14:13:20Z")
        );
        assert_eq!(text("/notification/subject/transaction/id"), Some("a&bA"));
        assert_eq!(text("/notification/subject/transaction/note"), Some("<x>"));
        assert_eq!(text("/notification/subject/transaction/tax"), None);
        assert_eq!(fields["/notification/ids/item"], None);
        assert_eq!(text("/notification/sales/sale/id"), Some("3"));
        assert_eq!(text("/notification/sales/sale/tax/a"), Some("5"));
        assert_eq!(text("/notification/sales/sale/late"), None);
        assert_eq!(text("/notification/subject"), None);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a></a><b></b>",
            "<a></a>text",
            "<a>&unknown;</a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a b=\"</a>",
            "< a></a>",
        ] {
            assert_eq!(fields(document), None, "{document}");
        }
        let deep = format!("{}{}", "<a>".repeat(65), "</a>".repeat(65));
        assert_eq!(fields(&deep), None);
    }

    #[test]
    fn names_and_fields_have_a_bound() {
        let long = |name: usize| {
            let name = "a".repeat(name);
            fields(&format!("<{name}><b>1</b></{name}>"))
        };
        assert!(long(PATH_BYTES_MAX - 3).is_some());
        assert_eq!(long(PATH_BYTES_MAX - 2), None);
        let many = |fields_wanted: usize| {
            let each = |number| format!("<a{number}>1</a{number}>");
            let inner: String = (0..fields_wanted).map(each).collect();
            fields(&format!("<r>{inner}</r>"))
        };
        assert!(many(FIELDS_MAX).is_some());
        assert_eq!(many(FIELDS_MAX + 1), None);
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(document in "(<|>|/|a|b|&|;|\"|!|\\[|-|\u{e9}|amp| |CDATA|]){0,40}") {
            let _ = fields(&document);
        }
    }
}
