//! What a template writes, and what it refuses.

use std::borrow::Cow;

use proptest::prelude::*;

use super::template::*;

/// Each value is its own name; what `absent` names is absent.
struct Named {
    absent: &'static str,
}

impl Values for Named {
    fn at_hand(&self, value: &Value) -> Option<&[u8]> {
        let here = *value == Value::Timestamp && self.absent != "123";
        here.then_some(b"123")
    }

    fn value(&self, value: &Value) -> Result<Option<Cow<'_, [u8]>>, Unwritable> {
        let name = match value {
            Value::Header(name) => name.to_string(),
            Value::Query(name) | Value::Form(name) | Value::Item(name) | Value::Config(name) => {
                name.to_string()
            }
            Value::Json(pointer) => pointer.to_string(),
            Value::Body => "body".to_owned(),
            Value::Timestamp => "123".to_owned(),
            Value::Id
            | Value::Url
            | Value::Method
            | Value::PathAndQuery
            | Value::Secret
            | Value::KeyId => "other".to_owned(),
        };
        Ok((name != self.absent).then(|| Cow::Owned(name.into_bytes())))
    }

    fn mac(&self, bytes: &[u8]) -> Option<String> {
        Some(format!("mac({})", String::from_utf8_lossy(bytes)))
    }
}

fn written(template: &str, absent: &'static str) -> Result<String, Unwritable> {
    let mut out = Vec::new();
    Template::parse(template)
        .unwrap()
        .write(&Named { absent }, &mut |bytes| out.extend_from_slice(bytes))?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn values_and_literals_stand_in_order() {
    assert_eq!(written("{timestamp}.{body}", "").unwrap(), "123.body");
    assert_eq!(written("v0:{timestamp}:{body}", "").unwrap(), "v0:123:body");
    assert_eq!(written("{{{header:X-A}}}[[x]]", "").unwrap(), "{x-a}[x]");
    assert_eq!(written("{json:/a/b}|{item:t}", "").unwrap(), "/a/b|t");
}

#[test]
fn filters_apply_from_the_inside_out() {
    assert_eq!(written("{base64:body}", "").unwrap(), "Ym9keQ==");
    assert_eq!(written("{upper:json:/status}", "").unwrap(), "/STATUS");
    assert_eq!(written("{header:user-agent|after:-}", "").unwrap(), "agent");
    assert_eq!(
        written("{upper:header:user-agent|after:-}", "").unwrap(),
        "AGENT"
    );
    assert_eq!(
        written("{quoted:body}{mac:body}", "").unwrap(),
        "\"body\"mac(body)"
    );
    assert_eq!(written("{crc32:body}", "").unwrap(), "3685223346");
}

#[test]
fn a_group_vanishes_when_a_value_in_it_is_absent() {
    let template = "[id:{query:data.id};][request-id:{header:x-request-id};]ts:{timestamp};";
    assert_eq!(
        written(template, "").unwrap(),
        "id:data.id;request-id:x-request-id;ts:123;"
    );
    assert_eq!(
        written(template, "data.id").unwrap(),
        "request-id:x-request-id;ts:123;"
    );
    assert_eq!(
        written(template, "x-request-id").unwrap(),
        "id:data.id;ts:123;"
    );
}

#[test]
fn an_absent_field_is_empty_and_an_absent_header_is_an_error() {
    assert_eq!(written("{json:/a}:{json:/b}", "/a").unwrap(), ":/b");
    assert!(matches!(
        written("{header:a}", "a"),
        Err(Unwritable::Absent(Value::Header(_)))
    ));
}

#[test]
fn impossible_templates_are_told_why() {
    for (template, expected) in [
        ("{bdoy}", "no value \"bdoy\""),
        ("{header}", "no value \"header\""),
        ("{header:a b}", "no header name"),
        ("{json:a}", "begins with \"/\""),
        ("{body", "not closed"),
        ("body}", "closes nothing"),
        ("[{body}", "not closed"),
        ("[a]", "without a value"),
        ("[{body}[{body}]]", "inside a group"),
        ("{header:a|after:}", "no filter \"|after:\""),
        ("{json:/a|is:number}", "no filter \"|is:number\""),
    ] {
        let what = Template::parse(template).unwrap_err().what;
        assert!(what.contains(expected), "{template}: {what}");
    }
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(text in "[a-z{}\\[\\]:|/.\u{e9}]{0,24}") {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.write(&Named { absent: "" }, &mut |_| {});
        }
    }
}
