//! Putting a text where the provider puts it: into the form, the JSON or the query string of a request.

use bytes::Bytes;
use serde_json::Value as Json;

use super::body;
use super::places::Place;
use super::sign_fault::SignFault;

/// Puts `value` at a place of the path and query or the body, instead of what stands there. Headers, and items of the
/// signature, are written elsewhere.
pub(super) fn at(
    place: &Place,
    value: Json,
    path_and_query: &mut String,
    body: Bytes,
) -> Result<Bytes, SignFault> {
    let plain = |value: Json| match value {
        Json::String(text) => text,
        other @ (Json::Null
        | Json::Bool(_)
        | Json::Number(_)
        | Json::Array(_)
        | Json::Object(_)) => other.to_string(),
    };
    match place {
        Place::Header(_) | Place::Item(_) => Ok(body),
        Place::Form(field) => {
            let mut form = body::form::without(&String::from_utf8_lossy(&body), field);
            body::form::append(&mut form, field, plain(value).as_bytes());
            Ok(form.into())
        }
        Place::Json(pointer) => {
            let mut whole: Json =
                serde_json::from_slice(&body).map_err(|_not_json| SignFault::NoPlace)?;
            into(&mut whole, &pointer.to_string(), value)?;
            Ok(whole.to_string().into())
        }
        Place::Query(name) => {
            let (path, query) = path_and_query
                .split_once('?')
                .unwrap_or((path_and_query, ""));
            let mut query = body::form::without(query, name);
            body::form::append(&mut query, name, plain(value).as_bytes());
            *path_and_query = format!("{path}?{query}");
            Ok(body)
        }
    }
}

/// Puts a value where the pointer says, and makes the objects on the way.
pub(super) fn into(document: &mut Json, pointer: &str, value: Json) -> Result<(), SignFault> {
    let mut at = document;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let object = at.as_object_mut().ok_or(SignFault::NoPlace)?;
        at = object
            .entry(name)
            .or_insert_with(|| Json::Object(serde_json::Map::new()));
    }
    *at = value;
    Ok(())
}
