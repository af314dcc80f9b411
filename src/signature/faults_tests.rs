//! What a profile may not say: told with its key when it is loaded, never by the first delivery.

use super::{Profile, ProfileDescriptor};

/// A profile without a fault, in which each case replaces something.
const SOUND: &str = r#"signed = "body"
[signature]
from = { header = ["acme-signature"] }
split = ","
pair = "="
pick = ["v1"]
algorithm = "sha256"
encoding = "hex"
key = "utf8"
content = "{timestamp}.{body}"
[timestamp]
from = { item = "t" }
unit = "s"
past = "5m"
[event]
id = "/id"
type = "/type"
payment_id = "/data/id"
amount = "/data/amount"
currency = "/data/currency"
[event.status]
"payment.succeeded" = "succeeded"
[answer]
accepted = 204
"#;

/// The same over fields.
const FIELDS: &str = r#"signed = "fields"
[signature]
from = { header = ["acme-signature"] }
content = "{json:/id}:{json:/pid}:{json:/amount}:{json:/currency}:{json:/type}"
[event]
id = "/id"
type = "/type"
payment_id = "/pid"
amount = "/amount"
currency = "/currency"
[event.status]
"payment.succeeded" = "succeeded"
"#;

fn told(text: &str) -> Vec<String> {
    let descriptor: ProfileDescriptor = toml::from_str(text).unwrap();
    match Profile::compile("test", &descriptor) {
        Ok(_sound) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn replaced(base: &str, changes: &[(&str, &str)]) -> String {
    let mut text = base.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in the profile");
        text = text.replacen(old, new, 1);
    }
    text
}

/// The only fault is the one that begins so.
#[track_caller]
fn check(base: &str, changes: &[(&str, &str)], expected: &str) {
    let told = told(&replaced(base, changes));
    assert!(
        matches!(&told[..], [one] if one.starts_with(expected)),
        "{changes:?}: {told:#?}"
    );
}

#[track_caller]
fn check_sound(base: &str, changes: &[(&str, &str)]) {
    assert_eq!(
        told(&replaced(base, changes)),
        Vec::<String>::new(),
        "{changes:?}"
    );
}

#[test]
fn the_profiles_that_the_cases_change_hold() {
    check_sound(SOUND, &[]);
    check_sound(FIELDS, &[]);
}

#[test]
fn a_value_of_which_a_part_alone_is_signed_counts_for_nothing() {
    let uncovered = "takes a value that the signature does not cover";
    for (signed, filtered, key) in [
        ("{json:/amount}", "{json:/amount|after:.}", "event.amount"),
        ("{json:/amount}", "{crc32:json:/amount}", "event.amount"),
        (
            "{json:/currency}",
            "[{json:/x}{json:/currency}]",
            "event.currency",
        ),
        ("{json:/pid}", "{json:/pid|after:/}", "event.payment_id"),
        ("{json:/id}", "{json:/id|after:/}", "event.id"),
        ("{json:/type}", "{crc32:json:/type}", "event.status_by"),
    ] {
        let expected = match key {
            "event.status_by" => {
                "event.status_by: is missing, and the signature does not cover the type".to_owned()
            }
            key => format!("{key}: {uncovered}"),
        };
        check(FIELDS, &[(signed, filtered)], &expected);
    }
    let timestamp = "timestamp: the signature does not cover it";
    for content in [
        "{timestamp|after:T}.{body}",
        "{crc32:timestamp}.{body}",
        "[{timestamp}{header:x}.]{body}",
    ] {
        check(SOUND, &[("{timestamp}.{body}", content)], timestamp);
    }
    let id = ("pair = \"=\"", "pair = \"=\"\nid = { header = [\"x-id\"] }");
    for content in [
        "{id|after:-}.{timestamp}.{body}",
        "{crc32:id}.{timestamp}.{body}",
    ] {
        let content = ("{timestamp}.{body}", content);
        check(SOUND, &[id, content], &format!("signature.id: {uncovered}"));
    }
    for content in [
        "{header:x-id|after:/}{timestamp}.{body}",
        "{crc32:header:x-id}{timestamp}.{body}",
        "[{header:x-id}{header:x-other}]{timestamp}.{body}",
    ] {
        let changes = [
            ("{timestamp}.{body}", content),
            ("\"/id\"", "\"{header:x-id}\""),
        ];
        check(SOUND, &changes, &format!("event.id: {uncovered}"));
    }
}

#[test]
fn a_value_that_is_signed_whole_counts_however_it_is_written() {
    for amount in [
        "{json:/amount|is:amount}",
        "{json:/amount|without::}",
        "{sha256_hex:json:/amount}",
        "[{json:/amount};]",
    ] {
        check_sound(FIELDS, &[("{json:/amount}", amount)]);
    }
    for content in ["{timestamp|is:unix}{body}", "[{timestamp}.]{body}"] {
        check_sound(SOUND, &[("{timestamp}.{body}", content)]);
    }
}
