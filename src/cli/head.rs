//! A request's head, as people keep it: lines, what `curl -v` showed, a dump of the whole request, or JSON.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use crate::text::from_utf16;

/// What is known of a request besides its body.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) method: Option<Method>,
    pub(super) path_and_query: Option<String>,
    pub(super) headers: HeaderMap,
    authority: Option<HeaderValue>,
}

impl Head {
    /// Reads it, or tells what of it is no head.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        // As PowerShell's > saves it.
        let saved = from_utf16(text);
        let text = saved.as_ref().map_or(text, |text| text.as_bytes());
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut head = match text.trim_ascii_start().first() {
            Some(b'{' | b'[') => Self::of_json(text)?,
            Some(_) | None => Self::of_lines(text)?,
        };
        // As a receiver reads it: over HTTP/2 the host stands there.
        if let Some(authority) = head.authority.take()
            && !head.headers.contains_key(HOST)
        {
            head.headers.insert(HOST, authority);
        }
        Ok(head)
    }

    /// `Name: value` lines, as HTTP/1.1 and `curl -v` write them, up to the body if that follows.
    fn of_lines(text: &[u8]) -> Result<Self, String> {
        let mut head = Self::default();
        let shown_by_curl = text.starts_with(b"> ") || find(text, b"\n> ");
        let mut begun = false;
        let mut margin = 0;
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = match line.strip_prefix(b">") {
                Some(sent) => sent.strip_prefix(b" ").unwrap_or(sent),
                // What curl says itself, and what it got.
                None if shown_by_curl => continue,
                None => line,
            };
            if line.trim_ascii().is_empty() {
                if begun {
                    break;
                }
                continue;
            }
            // What the line holds is never told: it may be the signature.
            let wrong = |what: &str| format!("{}: {what}", at + 1);
            let indent = line.len() - line.trim_ascii_start().len();
            if !begun {
                margin = indent;
            } else if indent > margin {
                // RFC 9112 §5.2; a receiver that takes it would read a value that none signed.
                return Err(wrong(
                    "the line goes on with the header above it; a receiver refuses folded headers: write each in one line",
                ));
            }
            if !std::mem::replace(&mut begun, true) && head.request_line(line) {
                continue;
            }
            let wrong = || wrong("the line is no header; write Name: value");
            // The colon before the name of a pseudo-header is a part of it.
            let colon = line.iter().skip(1).position(|byte| *byte == b':');
            let (name, value) = colon
                .and_then(|colon| line.split_at_checked(colon + 1))
                .ok_or_else(wrong)?;
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            head.add(name.trim_ascii(), value).ok_or_else(wrong)?;
        }
        Ok(head)
    }

    /// `{"Name": "value"}`, `{"Name": ["value"]}`, `[["Name", "value"]]` or `[{"name": ..., "value": ...}]`; or an object
    /// that has one of these as its `headers`, as `countersign events show --json` prints it.
    fn of_json(text: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut head = Self::default();
        let told = document
            .get("headers")
            .filter(|inner| inner.is_object() || inner.is_array());
        if told.is_some() {
            let text = |key: &str| document.get(key).and_then(Value::as_str);
            head.method = text("method").and_then(|method| method.parse().ok());
            head.path_and_query = text("path")
                .or(text("url"))
                .map(path_and_query)
                .map(str::to_owned);
        }
        let pairs: Vec<(&str, &Value)> = match told.unwrap_or(&document) {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (&**name, value))
                .collect(),
            Value::Array(list) => list.iter().filter_map(pair).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        for (at, (name, value)) in pairs.into_iter().enumerate() {
            let values = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                head.add(name.as_bytes(), text.as_bytes()).ok_or_else(|| {
                    format!(
                        "header {} of the document has a name or a value that no header may have",
                        at + 1
                    )
                })?;
            }
        }
        Ok(head)
    }

    /// Adds a header, or what HTTP/2 has in the place of a request line.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let text = String::from_utf8_lossy(value);
        match name {
            b":method" => self.method = text.parse().ok(),
            b":path" => self.path_and_query = Some(text.into_owned()),
            b":authority" => self.authority = HeaderValue::from_bytes(value).ok(),
            [b':', ..] => {}
            name => {
                let name = HeaderName::from_bytes(name).ok()?;
                self.headers
                    .append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        Some(())
    }

    /// `POST /path HTTP/1.1`.
    fn request_line(&mut self, line: &[u8]) -> bool {
        let Ok(line) = std::str::from_utf8(line) else {
            return false;
        };
        let parts: Vec<&str> = line.split_ascii_whitespace().collect();
        match parts.as_slice() {
            [method, target] | [method, target, _] if !method.contains(':') => {
                self.method = method.parse().ok();
                self.path_and_query = Some(path_and_query(target).to_owned());
                true
            }
            _ => false,
        }
    }
}

fn pair(item: &Value) -> Option<(&str, &Value)> {
    let named = || Some((item.get("name")?.as_str()?, item.get("value")?));
    let listed = || Some((item.get(0)?.as_str()?, item.get(1)?));
    named().or_else(listed)
}

fn find(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Of a whole URL, or of what stands in a request line.
pub(super) fn path_and_query(url: &str) -> &str {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).and_then(|at| rest.get(at..)),
        None => Some(url),
    };
    rest.filter(|rest| !rest.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_kept() {
        for text in [
            "POST /a?b=1 HTTP/1.1\r\nX-Sig: t=1,v1=2\r\nHost: h\r\n\r\n",
            "POST /a?b=1 HTTP/1.1\nX-Sig: t=1,v1=2\nHost: h\n\n{\"no\": \"header\"}\n\nnor this",
            "> POST /a?b=1 HTTP/1.1\n> X-Sig: t=1,v1=2\n> Host:h\n>\n",
            "*   Trying 127.0.0.1:8443...\n* using HTTP/1.x\n> POST /a?b=1 HTTP/1.1\r\n> Host: h\r\n\
             > X-Sig: t=1,v1=2\r\n> \r\n} [12 bytes data]\n< HTTP/1.1 401 Unauthorized\r\n< X-Sig: 3\r\n",
            ":method: POST\n:path: /a?b=1\nx-sig: t=1,v1=2\nhost: h",
            ":method: POST\n:authority: h\n:path: /a?b=1\nx-sig: t=1,v1=2\n",
            ":method: POST\n:authority: h\n:path: /a?b=1\nx-sig: t=1,v1=2\nhost: h\n",
            r#"{":method":"POST",":path":"/a?b=1","X-Sig":"t=1,v1=2","Host":["h"]}"#,
            r#"[[":method","POST"],[":path","/a?b=1"],["X-Sig","t=1,v1=2"],["Host","h"]]"#,
            r#"{"method":"POST","url":"https://h/a?b=1","headers":[{"name":"X-Sig","value":"t=1,v1=2"},
                {"name":"Host","value":"h"}]}"#,
        ] {
            let head = Head::parse(text.as_bytes()).unwrap();
            assert_eq!(head.method, Some(Method::POST), "{text}");
            assert_eq!(head.path_and_query.as_deref(), Some("/a?b=1"), "{text}");
            assert_eq!(head.headers.get("x-sig").unwrap(), "t=1,v1=2", "{text}");
            assert_eq!(head.headers.get("host").unwrap(), "h", "{text}");
            assert_eq!(head.headers.len(), 2, "{text}");
        }
    }

    #[test]
    fn what_is_no_head_is_told_where_and_never_what_it_holds() {
        for (text, expected) in [
            ("X-Sig: 1\nv1=5ec2e7\n", "2: the line is no header"),
            ("X-Sig: t=1,\n  v1=5ec2e7\n", "2: the line goes on"),
            ("> X-Sig: t=1,\r\n> \tv1=5ec2e7:\r\n", "2: the line goes on"),
            (
                "  Host: h\n  X-Sig: t=1,\n    v1=5ec2e7\n",
                "3: the line goes on",
            ),
            (
                "{\"a\":\"b\",\"v1=5ec2e7 \":\"c\"}",
                "header 2 of the document",
            ),
            ("[[\"v1=5ec2e7,\",\"x-sig\"]]", "header 1 of the document"),
            ("{\"a\":\"v1=5ec2e7\\n\"}", "header 1 of the document"),
            ("{\"v1=5ec2e7\":", "line 1"),
        ] {
            let told = Head::parse(text.as_bytes()).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("5ec2e7"), "{text}: {told}");
        }
    }

    #[test]
    fn a_head_that_is_indented_as_a_whole_is_read() {
        let head = Head::parse(b"  X-Sig: t=1,v1=2\n  Host: h\n").unwrap();
        assert_eq!(head.headers.len(), 2);
    }

    #[test]
    fn a_head_that_was_saved_in_utf16_is_read() {
        let text = "\u{feff}X-Sig: t=1,v1=2\r\nHost: h\r\n";
        let saved: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Head::parse(&saved).unwrap().headers.len(), 2);
    }

    #[test]
    fn a_path_is_what_follows_the_host() {
        assert_eq!(path_and_query("https://h/a?b"), "/a?b");
        assert_eq!(path_and_query("https://h"), "/");
        assert_eq!(path_and_query("/a"), "/a");
    }
}
