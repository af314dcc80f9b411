//! `[profiles]`: what can never match or count, and which secrets are none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use countersign::config::Environment;

use super::{TENANT, check, directory, load, write};

#[test]
fn a_place_that_can_never_hold_anything_is_a_fault() {
    check(
        "[profiles.mine]
extends = \"timestamped\"
[profiles.mine.event]
amount = \"/data/*/amount\"
account = \"{/links/*}\"
minor_digits = { ZZZ = 2, isk = 2 }
currency = [\"/c\", \"=EUR\", \"=EURO\"]
",
        &[
            "countersign.toml:4: profiles.mine.event.amount: \"/data/*/amount\" has a \"*\", which is a list's elements in each alone; name one element, as /data/0/amount; or set event.each, and write what stands in an element",
            "countersign.toml:5: profiles.mine.event.account: \"/links/*\" has a \"*\", which is a list's elements in each alone; name one element, as /data/0/amount; or set event.each, and write what stands in an element",
            "countersign.toml:6: profiles.mine.event.minor_digits.ZZZ: \"ZZZ\" is no currency of ISO 4217; write its code of three letters, as ISK = 2",
            "countersign.toml:7: profiles.mine.event.currency: \"EURO\" is no currency of ISO 4217; write its code of three letters, as \"=EUR\"",
        ],
    );
}

#[test]
fn a_profile_that_extends_itself_is_told_so() {
    check(
        "[profiles.mine]\nextends = \"mine\"\n",
        &[
            "countersign.toml:2: profiles.mine.extends: \"mine\" extends itself, and no built-in profile has that name; name another profile, or leave it out",
        ],
    );
}

#[test]
fn a_profile_whose_extends_is_misspelt_is_told_only_that() {
    check(
        "[profiles.mine]
extend = \"stripe\"
[profiles.mine.event]
amount = \"/data/amount\"
",
        &["countersign.toml:2: profiles.mine.extend: unknown key; did you mean extends?"],
    );
}

#[test]
fn a_profile_whose_type_is_not_signed_is_told_which_key_it_lacks() {
    check(
        "[profiles.mine]
signed = \"fields\"
[profiles.mine.signature]
from = { header = [\"x-sig\"] }
content = \"{json:/id}:{json:/status}\"
[profiles.mine.event]
type = \"/kind\"
payment_id = \"/id\"
[profiles.mine.event.status]
\"paid\" = \"succeeded\"
",
        &[
            "countersign.toml:6: profiles.mine.event.status_by: is missing, and the signature does not cover the type, which would decide without it; add it, with a place that signature.content names, as status_by = \"/status\"",
        ],
    );
}

#[test]
fn a_public_key_may_be_read_by_everybody() {
    let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAz8GqkMp7lFDcajPSjXnJ8s2Cn192jxnDaM92dfbyHwc=\n-----END PUBLIC KEY-----\n";
    let raw = "whpk_z8GqkMp7lFDcajPSjXnJ8s2Cn192jxnDaM92dfbyHwc=\n";
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=\n";
    let own = "[profiles.mine.signature]\nfrom = { header = [\"x-sig\"] }\nalgorithm = \"ed25519\"\ncontent = \"{body}\"\n";
    for (profile, held, warned) in [
        ("mine", key, false),
        ("standard-webhooks", raw, false),
        ("standard-webhooks", secret, true),
        ("standard-webhooks", &format!("{raw}{secret}"), true),
        ("timestamped", "a-secret-of-thirty-two-bytes-len", true),
    ] {
        let directory = directory();
        write(&directory, "certs/producer.secret", held);
        let path = directory.path().join("certs/producer.secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let text = format!("{TENANT}profile = \"{profile}\"\n{own}");
        let config = load(directory.path(), &text, &Environment::empty()).unwrap();
        let told: Vec<_> = config
            .warnings
            .iter()
            .filter(|warning| warning.what.contains("can be read by every user"))
            .map(|warning| warning.key.to_string())
            .collect();
        let expected: &[&str] = if warned {
            &["tenants[0].producers[0].secrets[0]"]
        } else {
            &[]
        };
        assert_eq!(told, expected, "{profile} {held}");
    }
}

#[test]
fn what_no_delivery_could_ever_meet_is_told_with_its_line() {
    check(
        "[profiles.mine]
extends = \"timestamped\"
[profiles.mine.signature]
content = []
[profiles.mine.event]
id = \"=same\"
[[profiles.mine.event.when]]
type = \"dispute.*\"
currency = \"=EURO\"
[profiles.mine.answer]
accepted = 205
body = \"x\"
",
        &[
            "countersign.toml:4: profiles.mine.signature.content: is an empty list; write what is signed, as content = \"{timestamp}.{body}\"",
            "countersign.toml:6: profiles.mine.event.id: is the same for every event: all but the first would be conflicts; name what differs from event to event; without an id the body's SHA-256 counts",
            "countersign.toml:9: profiles.mine.event.when[0].currency: \"EURO\" is no currency of ISO 4217; write its code of three letters, as \"=EUR\"",
            "countersign.toml:12: profiles.mine.answer.body: an answer 205 has no body; set answer.accepted = 200",
        ],
    );
}

#[test]
fn an_account_is_bound_by_a_place_that_can_hold_it() {
    check(
        &format!(
            "{TENANT}profile = \"timestamped\"\naccount = {{ pointer = \"/links/*/account\", equals = \"a\" }}\n"
        ),
        &[
            "countersign.toml:8: tenants[0].producers[0].account.pointer: has a \"*\", which names nothing here; name one element, as /data/0/id; or set `each`, and write what stands in an element",
        ],
    );
}

#[test]
fn a_number_or_a_text_that_is_none_is_told_once_and_in_words() {
    check(
        &format!(
            "{TENANT}profile = \"mine\"\n[profiles.mine]\nextends = \"timestamped\"\n[profiles.mine.signature]\ncontent = 5\n"
        ),
        &[
            "countersign.toml:11: profiles.mine.signature.content: this value does not belong here; write a text, or a list of texts",
        ],
    );
    check(
        "[profiles.mine]
extends = \"timestamped\"
[profiles.mine.event]
minor_digits = { EUR = -1 }
[profiles.mine.answer]
accepted = 99999
",
        &[
            "countersign.toml:4: profiles.mine.event.minor_digits.EUR: is no currency and a count of decimals; write a count from 0 to 8, as ISK = 2",
            "countersign.toml:6: profiles.mine.answer.accepted: 99999 is no possible status here; write a status between 200 and 299",
        ],
    );
    let long = "/a".repeat(500);
    check(
        &format!(
            "[profiles.mine]\nextends = \"timestamped\"\n[profiles.mine.event]\namount = \"{long}\"\n"
        ),
        &[&format!(
            "countersign.toml:4: profiles.mine.event.amount: \"{}...\" has more than 32 parts; write a JSON pointer, as /data/id",
            "/a".repeat(40)
        )],
    );
}

#[test]
fn a_fault_names_the_key_that_it_is_about_and_no_other() {
    check(
        "[profiles.mine]
extends = \"timestamped\"
[profiles.mine.signature]
also = [{ pick = [\"v1\"], algorithm = \"sha512\" }]
[[profiles.mine.event.when]]
equals = { \"/additionalData/modification.*\" = \"cancel\", \"/a/*/b.c\" = \"x\" }
status = \"canceled\"
",
        &[
            "countersign.toml:4: profiles.mine.signature.also[0].strip_prefix: is missing; add strip_prefix = …",
            "countersign.toml:6: profiles.mine.event.when[0].equals.\"/a/*/b.c\": \"/a/*/b.c\" has a \"*\", which is a list's elements in each alone; name one element, as /data/0/amount; or set event.each, and write what stands in an element",
        ],
    );
}

#[test]
fn a_key_that_is_picked_by_its_id_needs_the_id() {
    let profile = "profile = \"mine\"
[profiles.mine.signature]
from = { header = [\"x-sig\"] }
split = \",\"
pair = \"/\"
pick = [\"{key_id}/SHA256\"]
content = \"{body}\"
";
    let told = |text: &str| {
        let faults = load(directory().path(), text, &Environment::empty());
        let faults = faults.map(|_| ()).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let faults = told(&format!("{TENANT}{profile}"));
    assert!(
        matches!(&faults[..], [one] if one.contains("values.key_id")),
        "{faults:?}"
    );
    let given = format!("{TENANT}values = {{ key_id = \"k1\" }}\n{profile}");
    assert_eq!(told(&given), Vec::<String>::new());
}

#[test]
fn a_name_that_no_profile_has_is_told_with_the_one_that_was_meant() {
    for (base, meant) in [
        ("stirpe", "stripe"),
        ("Stripe", "stripe"),
        ("oter", "other"),
    ] {
        check(
            &format!(
                "[profiles.mine]\nextends = {base:?}\n[profiles.other]\nextends = \"github\"\n"
            ),
            &[&format!(
                "countersign.toml:2: profiles.mine.extends: there is no profile {base:?}; did you mean {meant:?}?"
            )],
        );
    }
    check(
        "[profiles.mine]\nextends = \"nobody-at-all\"\n",
        &[
            "countersign.toml:2: profiles.mine.extends: there is no profile \"nobody-at-all\"; `countersign profiles list` prints the built-in ones",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_form_is_told_with_one_that_fits() {
    check(
        "[profiles.mine]
extends = \"stripe\"
challenge = [{ body = \"x\" }]
[profiles.mine.signature]
from = \"x-signature\"
[profiles.mine.timestamp]
past = 300
[profiles.mine.event]
minor_digits = 2
[profiles.mine.event.status]
payment_intent.succeeded = \"succeeded\"
",
        &[
            "countersign.toml:3: profiles.mine.challenge[0].when: is missing; add when = { json = \"/challenge\" }",
            "countersign.toml:5: profiles.mine.signature.from: this text does not belong here; write a table, as { header = [\"x-signature\"] }",
            "countersign.toml:7: profiles.mine.timestamp.past: a whole number does not belong here; write a text in quotes, as \"300s\"",
            "countersign.toml:9: profiles.mine.event.minor_digits: a whole number does not belong here; write a table, as { JPY = 0 }",
            "countersign.toml:11: profiles.mine.event.status.payment_intent: a table does not belong here; write a text in quotes; a key with a dot is a table unless it stands in quotes itself, as \"a.b\"",
        ],
    );
}

#[test]
fn what_another_language_writes_before_a_value_is_pointed_out() {
    let text = |content: &str| {
        let own =
            format!("extends = \"stripe\"\n[profiles.mine.signature]\ncontent = \"{content}\"\n");
        format!("{TENANT}[profiles.mine]\n{own}")
    };
    for (content, mark) in [
        ("${timestamp}.${body}", Some("$")),
        ("#{timestamp}.#{body}", Some("#")),
        ("{timestamp}.{body}", None),
        ("{timestamp}.{body}$", None),
    ] {
        let directory = directory();
        let config = load(directory.path(), &text(content), &Environment::empty()).unwrap();
        let told = config
            .warnings
            .iter()
            .filter(|one| one.key == "profiles.mine.signature.content");
        let told: Vec<_> = told.map(|one| one.what.as_str()).collect();
        let expected = mark.map(|mark| format!("\"{mark}\" before a value is signed as it stands"));
        assert_eq!(told, Vec::from_iter(expected), "{content}");
    }
}
