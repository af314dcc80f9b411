//! A body, unpacked as far as its format asks for: JSON as it stands, a form, or what a form holds.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::value::RawValue;

use super::form;
use super::json::{BATCH_ELEMENTS_MAX, JsonFault};
use super::select::{FIELDS_MAX, Fields};
use super::xml;
use crate::signature::profile::descriptor::BodyFormat;

/// What can be read from.
#[derive(Debug)]
pub(in crate::signature) enum Document<'a> {
    /// The text of a JSON object; whether it is one to its end, reading it tells.
    Json(Cow<'a, str>),
    /// Names and texts.
    Fields(Fields),
}

/// The body is signed, and yet no JSON object (or what else the profile's bodies are).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// Not JSON at all.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but a list or a scalar.
    #[error("the body is JSON, but no object")]
    NoObject,
    /// A batch of more elements than one delivery may hold.
    #[error(
        "the batch has more than {BATCH_ELEMENTS_MAX} elements, which is the most that one delivery may have"
    )]
    TooMany,
    /// Not the form that this provider posts.
    #[error("the body is not the form that the profile reads")]
    NotTheForm,
}

impl From<JsonFault> for NotAnObject {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::TooMany => Self::TooMany,
            JsonFault::NotJson | JsonFault::Repeated => Self::NotJson,
        }
    }
}

impl<'a> Document<'a> {
    /// Unpacks `body`; `field` is the form field that holds the document.
    pub(in crate::signature) fn read(
        body: &'a [u8],
        format: BodyFormat,
        field: Option<&str>,
    ) -> Result<Self, NotAnObject> {
        let is_json = || matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        let held = || {
            let value = form::value(body, field?).ok()??;
            String::from_utf8(value.into_owned()).ok()
        };
        let text = || {
            std::str::from_utf8(body)
                .map(Cow::Borrowed)
                .map_err(|_not_utf8| NotAnObject::NotJson)
        };
        match format {
            BodyFormat::Json => Self::json(text()?),
            BodyFormat::JsonOrForm if is_json() => Self::json(text()?),
            BodyFormat::Form if field.is_none() => form_fields(body)
                .ok_or(NotAnObject::NotTheForm)
                .map(Self::Fields),
            BodyFormat::JsonOrForm | BodyFormat::Form => {
                Self::json(Cow::Owned(held().ok_or(NotAnObject::NotTheForm)?))
            }
            BodyFormat::FormXml => held()
                .and_then(|base64| xml::fields(&decoded(&base64)?))
                .ok_or(NotAnObject::NotTheForm)
                .map(Self::Fields),
        }
    }

    fn json(text: Cow<'a, str>) -> Result<Self, NotAnObject> {
        if text.trim_ascii_start().starts_with('{') {
            Ok(Self::Json(text))
        } else if serde_json::from_str::<&RawValue>(&text).is_ok() {
            Err(NotAnObject::NoObject)
        } else {
            Err(NotAnObject::NotJson)
        }
    }
}

fn form_fields(body: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    for (name, value) in form::pairs(body) {
        let name = std::str::from_utf8(&name)
            .ok()?
            .replace('~', "~0")
            .replace('/', "~1");
        let value = String::from_utf8(value.into_owned()).ok()?;
        fields
            .entry(format!("/{name}"))
            .and_modify(|text| *text = None)
            .or_insert(Some(value));
        if fields.len() > FIELDS_MAX {
            return None;
        }
    }
    (!fields.is_empty()).then_some(fields)
}

/// Base64 as Ruby's and Java's encoders write it, in lines.
fn decoded(base64: &str) -> Option<String> {
    let packed: String = base64.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document's JSON, or its fields written one after the other.
    fn read(format: BodyFormat, body: &str) -> Result<String, NotAnObject> {
        let field = match format {
            BodyFormat::Json | BodyFormat::Form => None,
            BodyFormat::JsonOrForm | BodyFormat::FormXml => Some("payload"),
        };
        Ok(match Document::read(body.as_bytes(), format, field)? {
            Document::Json(text) => text.into_owned(),
            Document::Fields(fields) => {
                let text = |(name, text): (String, Option<String>)| format!("{name}={text:?};");
                fields.into_iter().map(text).collect()
            }
        })
    }

    #[track_caller]
    fn check(format: BodyFormat, body: &str, expected: Result<&str, NotAnObject>) {
        let found = read(format, body);
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{body}");
    }

    #[test]
    fn forms_and_what_they_hold_are_unpacked() {
        use BodyFormat::{Form, FormXml, Json, JsonOrForm};
        use NotAnObject::{NoObject, NotJson, NotTheForm};
        check(Json, " {}", Ok(" {}"));
        check(Json, "[{}]", Err(NoObject));
        check(Json, "a=1", Err(NotJson));
        check(
            Form,
            "a=1&i%2Fd=x+y&a=2",
            Ok("/a=None;/i~1d=Some(\"x y\");"),
        );
        check(Form, "", Err(NotTheForm));
        check(Form, "a=%ff", Err(NotTheForm));
        let many: String = (0..=FIELDS_MAX).map(|n| format!("{n}=&")).collect();
        check(Form, &many, Err(NotTheForm));
        check(JsonOrForm, "payload=%7B%22id%22%3A1%7D", Ok("{\"id\":1}"));
        check(JsonOrForm, "{\"id\":1}", Ok("{\"id\":1}"));
        check(JsonOrForm, "id=1", Err(NotTheForm));
        check(JsonOrForm, "payload=1", Err(NoObject));
        let xml = "payload=PG4%2BPGtpbmQ%2BY2hl%0AY2s8L2tpbmQ%2BPC9uPg%3D%3D%0A&signature=x";
        check(FormXml, xml, Ok("/n/kind=Some(\"check\");"));
        check(FormXml, "payload=%3Cn%3E", Err(NotTheForm));
    }
}
