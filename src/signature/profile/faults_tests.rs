//! What a profile may not say: told with its key when it is loaded, never by the first delivery.

use crate::signature::{Profile, ProfileDescriptor};

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
            "[c={json:/x}{json:/currency}]",
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
        "[t={timestamp}{header:x}.]{body}",
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
        "[id={header:x-id}{header:x-other}]t={timestamp}.{body}",
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
        "[amount={json:/amount};]currency=",
    ] {
        check_sound(FIELDS, &[("{json:/amount}", amount)]);
    }
    for content in ["{timestamp|is:unix}{body}", "[t={timestamp}.]{body}"] {
        check_sound(SOUND, &[("{timestamp}.{body}", content)]);
    }
}

/// In which a sound profile is changed, and what is told of it.
type Cases<'a> = &'a [(&'a str, &'a str, &'a str)];

#[track_caller]
fn check_all(base: &str, cases: Cases<'_>) {
    for (old, new, expected) in cases {
        check(base, &[(old, new)], expected);
    }
}

#[test]
fn a_signature_that_could_never_be_right_is_a_fault() {
    let from = "{ header = [\"acme-signature\"] }";
    let inside = "signature.from: stands inside what is signed";
    let content = "\"{timestamp}.{body}\"";
    check_all(
        SOUND,
        &[
            (content, "[]", "signature.content: is an empty list"),
            (
                content,
                "\"{quoted:timestamp}.{body}\"",
                "signature.content: \"quoted:\" is for challenges",
            ),
            (
                content,
                "\"{json:/a/*}.{timestamp}.{body}\"",
                "signature.content: has a \"*\"",
            ),
            (
                content,
                "\"{item:}.{timestamp}.{body}\"",
                "signature.content: there is no value",
            ),
            (
                content,
                "\"{item:+99}.{timestamp}.{body}\"",
                "signature.content: there is no item at position +99",
            ),
            (from, "{ json = \"/sig\" }", inside),
            (from, "{ form = \"sig\" }", inside),
            (from, "{ json = \"/*/sig\" }", "signature.from: has a \"*\""),
            (
                content,
                "\"{header:acme-signature}{timestamp}.{body}\"",
                inside,
            ),
            (
                "pick = [\"v1\"]",
                "pick = [\"v,1\"]",
                "signature.pick: \"v,1\" is no item's key",
            ),
            (
                "pick = [\"v1\"]",
                "pick = [\" v1 \"]",
                "signature.pick: \" v1 \" is no item's key",
            ),
            (
                "algorithm = \"sha256\"",
                "algorithm = { item = \"\", allow = [\"sha256\"] }",
                "signature.algorithm: names no item",
            ),
            (
                content,
                "\"{timestamp}.{body}\"\nstrip_prefix = \"old_\"\nalso = [{ pick = [\"v0\"], algorithm = \"sha512\", strip_prefix = \"old_\" }]",
                "signature.also[0].strip_prefix: is another scheme's as well",
            ),
        ],
    );
    let query = (from, "{ query = \"sig\" }");
    for value in ["{path_and_query}", "{url}", "{query:sig}"] {
        let content = format!("\"{value}{{timestamp}}.{{body}}\"");
        check(
            SOUND,
            &[query, ("\"{timestamp}.{body}\"", &content)],
            inside,
        );
    }
    let whole = [(from, "{ json = \"\" }"), ("{json:/id}:", "{json:/id}")];
    let told = told(&replaced(FIELDS, &whole));
    assert!(
        told.iter()
            .any(|fault| fault.contains("names the whole body")),
        "{told:#?}"
    );
    check(
        FIELDS,
        &[(
            "[signature]",
            "[signature]\nalgorithm = { item = \"alg\", allow = [\"sha256\"] }",
        )],
        "signature.algorithm: names an item of a signature that has none",
    );
}

#[test]
fn a_time_that_stands_nowhere_is_a_fault() {
    check_all(
        SOUND,
        &[
            (
                "{ item = \"t\" }",
                "{ item = \"\" }",
                "timestamp.from: names no item",
            ),
            (
                "{ item = \"t\" }",
                "{ item = \"+x\" }",
                "timestamp.from: \"+x\" is no position",
            ),
            (
                "{ item = \"t\" }",
                "{ item = \"+99999999999999999999\" }",
                "timestamp.from: \"+99999999999999999999\" is no position",
            ),
            (
                "{ item = \"t\" }",
                "{ item = \"+32\" }",
                "timestamp.from: there is no item at position +32",
            ),
            (
                "unit = \"s\"",
                "unit = \"http-date\"",
                "timestamp.unit: an HTTP date holds commas and spaces",
            ),
        ],
    );
    check_sound(SOUND, &[("{ item = \"t\" }", "{ item = \"+0\" }")]);
    check_sound(
        SOUND,
        &[
            ("unit = \"s\"", "unit = \"http-date\""),
            ("split = \",\"", "split = \";\""),
        ],
    );
}

#[test]
fn a_mapping_that_no_event_could_meet_is_a_fault() {
    let type_ = "type = \"/type\"\n";
    let currency = "currency = \"/data/currency\"\n";
    let amount = "amount = \"/data/amount\"\n";
    let status = "[event.status]";
    check_all(
        SOUND,
        &[
            ("\"/id\"", "\"=x\"", "event.id: is the same for every event"),
            (
                "\"/id\"",
                "[\"/id\", \"=x\"]",
                "event.id: is the same for every event",
            ),
            (
                type_,
                "",
                "event.type: is missing, and event.status is looked up by it",
            ),
            (type_, "type = []\n", "event.type: is missing"),
            (
                "payment_id = \"/data/id\"\n",
                "",
                "event.amount: speaks of a payment",
            ),
            (
                amount,
                "amount = \"=abc\"\n",
                "event.amount: \"=abc\" is no amount",
            ),
            (
                amount,
                "amount = \"=19.99\"\n",
                "event.amount: \"=19.99\" is no amount",
            ),
            (
                currency,
                "amount_unit = \"major\"\n",
                "event.currency: is missing",
            ),
            (
                currency,
                "minor_digits = { ISK = 2 }\n",
                "event.minor_digits: counts the decimals of currencies",
            ),
            (
                currency,
                "currency = \"/c\"\nminor_digits = { ISK = 2, isk = 0 }\n",
                "event.minor_digits.isk: stands twice",
            ),
            (
                status,
                "amount_unit = \"major\"\n[[event.when]]\ntype = \"a\"\ncurrency = []\n[event.status]",
                "event.when[0].currency: is missing",
            ),
            (
                status,
                "[[event.when]]\ntype = \"\"\n[event.status]",
                "event.when[0].type: \"\" fits no type",
            ),
            (
                status,
                "[[event.when]]\ntype = \"a*b\"\n[event.status]",
                "event.when[0].type: \"a*b\" fits no type",
            ),
            (
                status,
                "[[event.when]]\ntype = []\n[event.status]",
                "event.when[0].type: names no type",
            ),
            (
                status,
                "[[event.when]]\ntype = \"*\"\n[[event.when]]\ntype = \"a\"\n[event.status]",
                "event.when[1].type: is never looked at",
            ),
            (
                status,
                "refunds = { each = \"/r/*\", amount = \"/a/*/b\" }\n[event.status]",
                "event.refunds.amount: has a \"*\"",
            ),
        ],
    );
    for sound in [
        "payment_id = []\n",
        "payment_id = \"/data/id\"\namount_unit = \"major\"\n",
        "payment_id = \"/data/id\"\nwhen = []\n",
    ] {
        check_sound(SOUND, &[("payment_id = \"/data/id\"\n", sound)]);
    }
    check_sound(SOUND, &[(amount, "amount = \"=1999\"\n")]);
    check_sound(SOUND, &[(type_, "status_by = \"/data/status\"\n")]);
}

#[test]
fn an_answer_that_nobody_can_hear_is_a_fault() {
    let accepted = "accepted = 204";
    check_all(
        SOUND,
        &[
            (
                accepted,
                "accepted = 205\nbody = \"x\"",
                "answer.body: an answer 205 has no body",
            ),
            (
                accepted,
                "accepted = 200\nbody = \"x\"\ncontent_type = \"nonsense\"",
                "answer.content_type: is no media type",
            ),
            (
                accepted,
                "accepted = 200\nbody = \"x\"\ncontent_type = \"a b/c\"",
                "answer.content_type: is no media type",
            ),
            (
                accepted,
                "accepted = 204\n[[challenge]]\nwhen = { json = \"/c\" }\nstatus = 204\nbody = \"{json:/c}\"",
                "challenge[0].status: an answer 204 has no body",
            ),
            (
                accepted,
                "accepted = 204\n[[challenge]]\nwhen = { json = \"/c\" }\ncontent_type = \"x\"\nbody = \"{json:/c}\"",
                "challenge[0].content_type: is no media type",
            ),
        ],
    );
    check_sound(
        SOUND,
        &[(
            accepted,
            "accepted = 200\nbody = \"{}\"\ncontent_type = \"application/json; charset=utf-8\"",
        )],
    );
}

#[test]
fn what_send_could_not_write_is_a_fault() {
    let answer = "[answer]";
    check_all(
        SOUND,
        &[
            (
                answer,
                "[sent]\nsignature = \"t=$TIME,x=$SIGNATURE\"\n[answer]",
                "sent.signature: is written as signature.split, pair and pick do not read it",
            ),
            (
                answer,
                "[sent]\nsignature = \"v1=$SIGNATURE\"\n[answer]",
                "sent.signature: lacks the item",
            ),
            (
                answer,
                "[sent]\nheaders = { host = \"x\" }\n[answer]",
                "sent.headers.host: is a header of the connection's own",
            ),
            (
                answer,
                "[sent]\nheaders = { Content-Length = \"3\" }\n[answer]",
                "sent.headers.Content-Length: is a header of the connection's own",
            ),
            (
                answer,
                "[sent]\nheaders = { a = \"x\\ny\" }\n[answer]",
                "sent.headers.a: has a control character",
            ),
            (
                answer,
                "[samples]\nx = \"{\"\n[answer]",
                "samples.\"x\": is not of the form",
            ),
            (
                answer,
                "[samples]\nx = \"id=$ID\"\n[answer]",
                "samples.\"x\": is not of the form",
            ),
        ],
    );
    check(
        SOUND,
        &[
            (
                "[event]",
                "[samples]\nx = \"{}\"\n[event]\nformat = \"form\"",
            ),
            ("\"/data/id\"", "\"/id\""),
            ("\"/data/amount\"", "\"/amount\""),
            ("\"/data/currency\"", "\"/currency\""),
        ],
        "samples.\"x\": is not of the form",
    );
    for sound in [
        "[sent]\nsignature = \"t=$TIME, v1=$SIGNATURE\"\n[answer]",
        "[samples]\nx = '{\"id\":\"$ID\",\"amount\":$AMOUNT_MINOR}'\n[answer]",
    ] {
        check_sound(SOUND, &[(answer, sound)]);
    }
}

#[test]
fn sha_1_is_weak_whichever_scheme_has_it() {
    let pick = "pick = [\"v1\"]";
    let also = "pick = [\"v1\"]\nalso = [{ pick = [\"v0\"], algorithm = \"sha1\", strip_prefix = \"old_\" }]";
    check(SOUND, &[(pick, also)], "weak: SHA-1 is weak");
    let weak = "signed = \"body\"\nweak = \"for as long as old secrets are in use\"";
    check_sound(SOUND, &[("signed = \"body\"", weak), (pick, also)]);
}

#[test]
fn a_signature_that_stands_where_something_else_does_is_a_fault() {
    let (pick, time) = ("pick = [\"v1\"]", "{ item = \"t\" }");
    let content = "content = \"{timestamp}.{body}\"";
    let with_an_id = "id = { header = \"Acme-Signature\" }\ncontent = \"{id}.{timestamp}.{body}\"";
    check_all(
        SOUND,
        &[
            (
                pick,
                "pick = [\"t\"]",
                "timestamp.from: the item t is the signature itself",
            ),
            (
                content,
                "content = \"{item:v1}.{timestamp}.{body}\"",
                "signature.content: the item v1 is the signature itself",
            ),
            (
                time,
                "{ header = \"acme-signature\" }",
                "timestamp.from: is the signature's own place",
            ),
            (
                content,
                with_an_id,
                "signature.id: is the signature's own place",
            ),
        ],
    );
    check_sound(SOUND, &[(pick, "pick = [\"t\", \"v1\"]")]);
    check_sound(SOUND, &[(pick, "pick = [\"t\"]\nbare = true")]);
}

#[test]
fn a_place_or_a_line_that_nothing_ever_fits_is_a_fault() {
    let (status, kind) = ("[event.status]\n", "type = \"/type\"\n");
    let line = "\"payment.succeeded\"";
    let by_both = "type = \"/type\"\nstatus_by = \"{type}:{/data/status}\"\n";
    check_all(
        SOUND,
        &[
            (
                status,
                "[event.status]\n\"payment.*\" = \"failed\"\n",
                "event.status.\"payment.*\": fits no type",
            ),
            (
                kind,
                by_both,
                "event.status_by: writes nothing that event.status has a line for",
            ),
            (
                kind,
                "type = \"/type\"\noccurred_at = \"=x\"\n",
                "event.occurred_at: is the same for every event",
            ),
            (
                status,
                "[[event.when]]\ntype = \"a\"\noccurred_at = \"=x\"\n[event.status]\n",
                "event.when[0].occurred_at: is the same for every event",
            ),
            (
                "currency = \"/data/currency\"\n",
                "",
                "event.currency: is missing, and an amount means nothing without it",
            ),
        ],
    );
    check_sound(SOUND, &[(kind, by_both), (line, "\"payment:paid\"")]);
    let form = [
        ("\"/id\"", "\"/id\"\nformat = \"form\""),
        ("\"/data/id\"", "[\"/id\", \"/data~1id\"]"),
        ("\"/data/currency\"", "\"/currency\""),
    ];
    let [a, b, c] = form;
    check_sound(SOUND, &[a, b, c, ("\"/data/amount\"", "\"/amount\"")]);
    check(SOUND, &form, "event.amount: \"/data/amount\" lies deeper");
}

#[test]
fn fields_that_could_be_cut_up_in_another_way_are_a_fault() {
    let two = "{json:/pid}:{json:/amount}";
    let open = "signature.content: nothing tells where the field /pid of the body ends and the field /amount of the body begins";
    check(FIELDS, &[(two, "{json:/pid}{json:/amount}")], open);
    check_sound(
        FIELDS,
        &[(
            "{json:/amount}:{json:/currency}",
            "{json:/amount}{json:/currency|is:currency}",
        )],
    );
    // What the mapping does not read may be cut up as one likes.
    check_sound(
        FIELDS,
        &[(two, "{json:/pid}:{json:/amount}:{json:/x}{json:/y}")],
    );
}
