//! By what an event without an id is known: where fields are signed, by those and by nothing else, or whoever holds one signed delivery
//! could make any number of events of it; else by the body and what is signed and read around it, or one could be taken for the
//! duplicate of another. Where a reference is signed alone, nothing but the body tells two deliveries of it apart.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::around::Readings;
use crate::signature::body::json;
use crate::signature::clock::TimestampRule;
use crate::signature::places::Sources;
use crate::signature::profile::descriptor::Coverage;
use crate::signature::request::Request;
use crate::signature::scheme::{Place, Scheme};
use crate::signature::template::{Value, Values as _};

/// What takes the place of an id.
#[derive(Clone, Debug, Default)]
pub(in crate::signature) struct KnownBy {
    parts: Box<[Part]>,
    /// The body tells one from another as well.
    body: bool,
}

#[derive(Clone, Debug)]
struct Part {
    value: Value,
    /// It is signed in one case of its letters alone.
    in_one_case: bool,
}

impl KnownBy {
    /// The signed fields, and the time that is signed with them; and of what is signed around the body that of which the event is read,
    /// since the rest may differ from attempt to attempt. Empty where the body is all there is, or where the signature covers the
    /// delivery's id. What is needed of it is kept with the event.
    pub(in crate::signature) fn compile(
        coverage: Coverage,
        scheme: Option<&Scheme>,
        time: Option<&TimestampRule>,
        readings: &mut Readings,
    ) -> Self {
        let Some(scheme) = scheme.filter(|scheme| !scheme.signs_the_id) else {
            return Self::default();
        };
        let fields = coverage == Coverage::Fields && !scheme.signs(&Value::Body);
        let whole = [Value::PathAndQuery, Value::Url];
        let by_url = whole.iter().any(|value| scheme.signs_if_present(value));
        let url_in_one_case = whole.iter().any(|value| scheme.folds_case_of(value));
        let time = time.filter(|_| fields && scheme.signs_if_present(&Value::Timestamp));
        let time = time.and_then(|rule| match &rule.place {
            Place::Header(names) => match &**names {
                [only] => Some(Value::Header(only.clone())),
                _ => None,
            },
            Place::Json(pointer) => Some(Value::Json(pointer.clone())),
            Place::Form(name) => Some(Value::Form(name.clone())),
            Place::Query(name) => Some(Value::Query(name.clone())),
            Place::Item(_) => None,
        });
        match &time {
            Some(Value::Header(name)) => readings.headers.push(name.clone()),
            Some(Value::Query(name)) => readings.query.push(name.clone()),
            Some(_) | None => {}
        }
        let is_part = |value: &Value| match value {
            Value::Json(_) | Value::Form(_) => fields,
            Value::Header(name) => readings.headers.contains(name),
            Value::Query(name) => !by_url && readings.query.contains(name),
            Value::Body
            | Value::Timestamp
            | Value::Id
            | Value::Url
            | Value::Method
            | Value::PathAndQuery
            | Value::Secret
            | Value::KeyId
            | Value::Item(_)
            | Value::Config(_) => false,
        };
        let mut values: Vec<Value> = scheme.covered_values().into_iter().cloned().collect();
        values.retain(is_part);
        if by_url {
            values.extend(readings.query.iter().cloned().map(Value::Query));
        }
        values.extend(time);
        let mut parts: Vec<Part> = Vec::new();
        for value in values {
            if !parts.iter().any(|part| part.value == value) {
                let in_url = by_url && matches!(value, Value::Query(_));
                let in_one_case = scheme.folds_case_of(&value) || in_url && url_in_one_case;
                parts.push(Part { value, in_one_case });
            }
        }
        Self {
            parts: parts.into(),
            body: !fields,
        }
    }

    /// Lower-case hex SHA-256 over it. `None` where none of it is there: then the body's own counts.
    pub(in crate::signature) fn id(&self, item: &[u8], request: &Request<'_>) -> Option<String> {
        if self.parts.is_empty() {
            return None;
        }
        let sources = Sources {
            request,
            body: item,
            document: json::document(item).ok(),
            timestamp: None,
            id: None,
            items: None,
            url: None,
            values: &BTreeMap::new(),
            secret: b"",
            key: None,
        };
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let mut any = false;
        for part in &self.parts {
            // What stands there twice does so in each of its deliveries.
            let found = sources.value(&part.value).ok().flatten();
            let Some(found) = found.filter(|bytes| !bytes.is_empty()) else {
                continue;
            };
            let found = match part.in_one_case {
                true => Cow::Owned(found.to_ascii_lowercase()),
                false => found,
            };
            any = true;
            put(part.name().as_bytes());
            put(&found);
        }
        if self.body {
            put(item);
        }
        any.then(|| hex::encode(hash.finalize()))
    }
}

impl Part {
    /// As templates have it: stores know events by it, so it never changes.
    fn name(&self) -> String {
        match &self.value {
            Value::Json(pointer) => format!("json:{pointer}"),
            Value::Form(name) => format!("form:{name}"),
            Value::Header(name) => format!("header:{name}"),
            Value::Query(name) => format!("query:{name}"),
            Value::Body
            | Value::Timestamp
            | Value::Id
            | Value::Url
            | Value::Method
            | Value::PathAndQuery
            | Value::Secret
            | Value::KeyId
            | Value::Item(_)
            | Value::Config(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use crate::signature::profile::descriptor::ProfileDescriptor;
    use crate::signature::profile::meaning::Profile;
    use crate::signature::request::Request;

    fn profile(text: &str) -> Profile {
        let descriptor: ProfileDescriptor = toml::from_str(text).unwrap();
        Profile::compile("own", &descriptor).unwrap()
    }

    fn id(
        profile: &Profile,
        path_and_query: &str,
        pay: &'static str,
        body: &str,
    ) -> Option<String> {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-pay"),
            HeaderValue::from_static(pay),
        )]);
        let request = Request {
            method: &Method::POST,
            path_and_query,
            headers: &headers,
        };
        profile.facts(body.as_bytes(), &request).unwrap().event_id
    }

    #[test]
    fn where_fields_are_signed_nothing_else_makes_another_event() {
        let own = profile(
            "signed = 'fields'\n[signature]\nfrom = { header = ['x-sig'] }\n\
             content = '{json:/pay|without::}:{json:/amount|is:amount}:{timestamp}'\n\
             [timestamp]\nfrom = { header = ['x-time'] }\n\
             [event]\noccurred_at = '/when'\npayment_id = '/pay'\namount = '/amount'\ncurrency = '=EUR'\nstatus_by = '=succeeded'",
        );
        let first = id(
            &own,
            "/",
            "",
            r#"{"pay":"p1","amount":5,"when":"2026-01-01T00:00:00Z"}"#,
        );
        assert!(first.is_some());
        let time = http::HeaderName::from_static("x-time");
        assert!(own.mapping.readings.headers.contains(&time));
        let later = id(
            &own,
            "/",
            "",
            r#" {"when":"2026-01-02T00:00:00Z","amount":5,"pay":"p1"}"#,
        );
        assert_eq!(first, later);
        assert_ne!(first, id(&own, "/", "", r#"{"pay":"p1","amount":6}"#));
        assert_ne!(first, id(&own, "/", "", r#"{"pay":"p2","amount":5}"#));
    }

    #[test]
    fn fields_that_would_read_alike_side_by_side_make_two_events() {
        let own = profile(
            "signed = 'fields'\n[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{json:/a|without:;};{json:/b}'\n[event]\ntype = '/a'",
        );
        let left = id(&own, "/", "", r#"{"a":"1json:/b2","b":"3"}"#);
        let right = id(&own, "/", "", r#"{"a":"1","b":"2json:/b3"}"#);
        assert!(left.is_some());
        assert_ne!(left, right);
    }

    #[test]
    fn what_is_read_around_the_body_makes_another_event_of_the_same_body() {
        let by_query = profile(
            "[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{path_and_query}|{body}'\n[event]\npayment_id = '{query:pay}'",
        );
        let by_header = profile(
            "[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{header:x-pay}:{body}'\n[event]\npayment_id = '{header:x-pay}'",
        );
        let body = "{}";
        assert_ne!(
            id(&by_query, "/?pay=1", "", body),
            id(&by_query, "/?pay=2", "", body)
        );
        assert_eq!(
            id(&by_query, "/?pay=1&x=1", "", body),
            id(&by_query, "/?pay=1&x=2", "", body)
        );
        assert_ne!(
            id(&by_header, "/", "1", body),
            id(&by_header, "/", "2", body)
        );
        assert_ne!(
            id(&by_header, "/", "1", body),
            id(&by_header, "/", "1", r#"{"a":1}"#)
        );
    }

    #[test]
    fn where_the_body_is_all_there_is_its_own_hash_counts() {
        let whole = profile(
            "[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{body}'\n[event]\ntype = '{header:x-pay}'",
        );
        assert_eq!(id(&whole, "/", "1", "{}"), None);
    }

    #[test]
    fn a_reference_without_an_id_is_known_by_it_and_by_the_body() {
        let pago = crate::signature::builtin().get("mercado-pago").unwrap();
        let of = |query: &str, body: &str| id(pago, &format!("/?data.id={query}"), "", body);
        assert_ne!(of("111", "{}"), of("222", "{}"));
        assert_ne!(of("111", "{}"), of("111", r#"{"a":1}"#));
        assert_eq!(of("abc", "{}"), of("ABC", "{}"));
    }
}
