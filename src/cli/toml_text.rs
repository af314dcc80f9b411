//! A profile's values as TOML, so that what `profiles show` prints may stand in a configuration.

use serde_json::{Map, Value};

/// A table under its header, and the tables within it under theirs.
pub(super) fn table(path: &[&str], value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(entries) = value {
        write(
            &path.iter().map(|part| key(part)).collect::<Vec<_>>(),
            entries,
            &mut text,
        );
    }
    text.trim_end().to_owned()
}

fn write(path: &[String], entries: &Map<String, Value>, text: &mut String) {
    text.push_str(&format!("[{}]\n", path.join(".")));
    for (name, value) in entries
        .iter()
        .filter(|(name, value)| !is_table(name, value))
    {
        text.push_str(&format!("{} = {}\n", key(name), inline(value)));
    }
    for (name, value) in entries.iter().filter(|(name, value)| is_table(name, value)) {
        if let Value::Object(inner) = value {
            let mut path = path.to_vec();
            path.push(key(name));
            text.push('\n');
            write(&path, inner, text);
        }
    }
}

/// Places (`from`, `id`) read better in one line.
fn is_table(name: &str, value: &Value) -> bool {
    value.is_object() && !matches!(name, "from" | "id" | "algorithm" | "minor_digits")
}

/// A value in one line. `null` has no place in TOML, and none in a descriptor.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.contains('"') && is_literal(text) => format!("'{text}'"),
        Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Whether single quotes can hold it as it is.
fn is_literal(text: &str) -> bool {
    !text.contains('\'') && !text.chars().any(char::is_control)
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        // JSON's escapes are TOML's.
        Value::from(name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::signature::{ProfileDescriptor, builtin};

    #[test]
    fn what_is_printed_of_each_built_in_profile_is_that_profile() {
        for profile in builtin().iter() {
            let value = serde_json::to_value(profile.descriptor()).unwrap();
            let text = table(&[profile.name()], &value);
            let read: BTreeMap<String, ProfileDescriptor> =
                toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(&read[profile.name()], profile.descriptor(), "{text}");
        }
    }
}
