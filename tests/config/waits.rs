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
