//! What stands in the environment in the place of a key.

use countersign::config::Environment;

use super::{TENANT, check_with, directory, load};

#[test]
fn a_variable_that_is_wrong_is_named_instead_of_a_line() {
    check_with(
        TENANT,
        [
            ("COUNTERSIGN_SERVER__LISTEN", "x"),
            ("COUNTERSIGN_SERVER__LIMITS__BODY_TIMEOUT", "15"),
            ("COUNTERSIGN_SERVER__PATHS", "/a,b"),
            ("COUNTERSIGN_STROE__URL", "sqlite:x"),
            ("COUNTERSIGN_STORE__URI", "sqlite:x"),
            ("COUNTERSIGN_LOG", "debug"),
        ],
        &[
            "COUNTERSIGN_SERVER__LIMITS__BODY_TIMEOUT: server.limits.body_timeout: this text cannot be read; write a time with its unit, as \"500ms\", \"10s\", \"5m\" or \"1h\"",
            "COUNTERSIGN_SERVER__LISTEN: server.listen: \"x\" is no IP address with a port; write 0.0.0.0:8443, or [::]:8443 for IPv6 too",
            "COUNTERSIGN_SERVER__PATHS: server.paths[1]: does not begin with /; write \"/b\"",
            "COUNTERSIGN_STORE__URI: store.uri: unknown key; did you mean url?",
            "COUNTERSIGN_STROE__URL: names no key; did you mean COUNTERSIGN_STORE__…?",
        ],
    );
}

#[test]
fn a_variable_that_names_a_table_is_told_to_name_a_key() {
    check_with(
        TENANT,
        [("COUNTERSIGN_SERVER__LIMITS", "15s")],
        &[
            "COUNTERSIGN_SERVER__LIMITS: server.limits: this text does not belong here; name the key that is meant in the variable, as COUNTERSIGN_SERVER__LIMITS__KEY",
        ],
    );
}

#[test]
fn a_variable_that_nobody_filled_in_takes_no_list_away() {
    for (variable, key) in [
        ("COUNTERSIGN_TENANTS", "tenants"),
        (
            "COUNTERSIGN_TENANTS__0__PRODUCERS__0__PINS",
            "tenants[0].producers[0].pins",
        ),
        ("COUNTERSIGN_TLS__CRLS", "tls.crls"),
    ] {
        let told = format!(
            "{variable}: {key}: an empty variable does not belong here; write a list as [\"a\", \"b\"], or a,b, [] for an empty one, or unset it"
        );
        check_with(TENANT, [(variable, " ")], &[&told]);
    }
    let directory = directory();
    let none = Environment::from([("COUNTERSIGN_TENANTS", "[]")]);
    let config = load(directory.path(), TENANT, &none).unwrap();
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "COUNTERSIGN_TENANTS: tenants: there are none: every delivery is refused; add [[tenants]] with an id, and [[tenants.producers]] below it"
        ]
    );
}
