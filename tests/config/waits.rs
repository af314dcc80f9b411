//! Waits that must fit into each other.

use countersign::config::Environment;

use super::{TENANT, directory, load};

#[test]
fn a_wait_that_outlasts_its_request_is_warned_of() {
    let directory = directory();
    let warned = |request: &str, more: &str| {
        let text = format!(
            "[server.limits]\nbody_timeout = \"5s\"\nrequest_timeout = \"{request}\"\n[store]\nurl = \"postgres://db/inbox\"\n{more}\n{TENANT}"
        );
        let config = load(directory.path(), &text, &Environment::empty()).unwrap();
        let keys = config.warnings.into_iter().map(|warning| warning.key);
        keys.collect::<Vec<_>>()
    };
    assert_eq!(warned("10s", ""), [""; 0]);
    assert_eq!(warned("9s", ""), ["store.limits.wait"]);
    assert_eq!(warned("9s", "[store.limits]\nwait = \"9s\""), [""; 0]);
    // With a spool there are two waits, which share the request's time.
    assert_eq!(warned("9s", "[store.spool]\npath = \"spool.db\""), [""; 0]);
}

#[test]
fn a_spool_lies_beside_the_configuration_and_leaves_time_to_answer() {
    let directory = directory();
    let text =
        "[server.limits]\nrequest_timeout = \"16s\"\n[store]\nurl = \"postgres://db/inbox\"\n";
    let text = format!("{text}{TENANT}");
    let none = load(directory.path(), &text, &Environment::empty()).unwrap();
    assert_eq!(none.store.spool, None);
    let variables = [("COUNTERSIGN_STORE__SPOOL__PATH", "later/spool.db")];
    let config = load(directory.path(), &text, &Environment::from(variables)).unwrap();
    let spool = config.store.spool.unwrap();
    assert_eq!(spool.path, directory.path().join("later/spool.db"));
    assert_eq!(spool.bytes, 1 << 30);
    assert_eq!(spool.database_wait.as_secs(), 8);
    assert_eq!(spool.spool_wait.as_secs(), 4);
}
