//! `countersign.toml` and the environment: what is read, what is refused, and in which words.

use std::fs;
use std::path::Path;

use countersign::config::{Config, ConfigFile, Environment, Fault};
use jiff::Timestamp;
use tempfile::TempDir;

#[path = "it/authority.rs"]
mod authority;

use authority::{Authority, Leaf, SUBJECT};

/// A directory with the files that the contract's example names.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("certs")).unwrap();
    let authority = Authority::new("Webhook Internal CA");
    let server = authority.issue_server();
    let producer = authority.issue(&Leaf::of(SUBJECT));
    write(&directory, "certs/ca.crt", &authority.certificate);
    write(&directory, "certs/server.crt", &server.certificate);
    write(&directory, "certs/server.key", &server.key);
    write(&directory, "certs/producer.crt", &producer.certificate);
    write(&directory, "certs/producer.key", &producer.key);
    write(
        &directory,
        "certs/producer.secret",
        "a-secret-of-thirty-two-bytes-len\n",
    );
    directory
}

/// Writes a file that only its owner may read.
fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn load(directory: &Path, text: &str, environment: &Environment) -> Result<Config, Vec<Fault>> {
    let path = directory.join("countersign.toml");
    fs::write(&path, text).unwrap();
    Config::load(&ConfigFile::Named(path), environment, Timestamp::now())
}

/// What `check` would print for this file, the directory's name left out.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    check_with(text, [], expected);
}

#[track_caller]
fn check_with<const N: usize>(text: &str, variables: [(&str, &str); N], expected: &[&str]) {
    let directory = directory();
    let root = format!("{}/", directory.path().display());
    let faults = match load(directory.path(), text, &Environment::from(variables)) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    let told: Vec<String> = faults
        .iter()
        .map(|fault| fault.to_string().replace(&root, ""))
        .collect();
    assert_eq!(told, expected);
}

const TENANT: &str = "[[tenants]]\nid = \"tenant-42\"\n[[tenants.producers]]\nname = \"p\"\nsubject = \"CN=p\"\nsecrets = [\"file:certs/producer.secret\"]\n";

#[test]
fn an_attribute_without_a_value_is_told_as_the_house_tells_it() {
    let text = TENANT.replace("CN=p", "CN=");
    check(
        &text,
        &[
            "countersign.toml:5: tenants[0].producers[0].subject: \"CN\" has no value; write CN=payments-provider",
        ],
    );
}

#[test]
fn all_faults_are_told_at_once_and_in_order() {
    check(
        "[server]\nlisten = \"everywhere\"\npath = [\"/a\"]\npaths = [\"b\", \"/c?d\"]\n[server.limits]\nbody_timeout = 15\nconnections = 0\nheader_timeout = \"soon\"\n[tls]\nmin_version = \"1.1\"\naccept_v1_leaf = \"yes\"\n[store]\nurl = \"mysql://root:hunter2@db\"\n[stroe]\n",
        &[
            "countersign.toml:2: server.listen: \"everywhere\" is no IP address with a port; write 0.0.0.0:8443, or [::]:8443 for IPv6 too",
            "countersign.toml:3: server.path: unknown key; did you mean paths?",
            "countersign.toml:4: server.paths[0]: does not begin with /; write \"/b\"",
            "countersign.toml:4: server.paths[1]: a path has no query and no fragment; write \"/c\"",
            "countersign.toml:6: server.limits.body_timeout: a whole number does not belong here; write a time with its unit, as \"500ms\", \"10s\", \"5m\" or \"1h\"",
            "countersign.toml:7: server.limits.connections: 0 is out of range; write a number from 1 to 1000000",
            "countersign.toml:8: server.limits.header_timeout: this text does not belong here; write a time with its unit, as \"500ms\", \"10s\", \"5m\" or \"1h\"",
            "countersign.toml:10: tls.min_version: unknown value \"1.1\"; did you mean \"1.2\"?",
            "countersign.toml:11: tls.accept_v1_leaf: this text does not belong here; write true or false",
            "countersign.toml:13: store.url: names no kind of store that is known here; write sqlite:PATH or postgres://USER@HOST/DATABASE",
            "countersign.toml:14: stroe: unknown key; did you mean store?",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_kind_hides_no_other_fault() {
    let text = "tenants = [{ id = 5, producers = [7, { name = \"p\", subject = [], pins = [1, \"x\"], secrets = 3, colour = \"red\" }] }, { id = \"a/b\" }]\n";
    check(
        text,
        &[
            "countersign.toml:1: tenants[0].id: a whole number does not belong here; write a text in quotes",
            "countersign.toml:1: tenants[0].producers[0]: a whole number does not belong here; write a table",
            "countersign.toml:1: tenants[0].producers[1].colour: unknown key; the keys here are name, subject, pins, profile, secrets, tolerance, path, account, url, values, signature, shadow",
            "countersign.toml:1: tenants[0].producers[1].pins[0]: a whole number does not belong here; write a text in quotes",
            "countersign.toml:1: tenants[0].producers[1].secrets: a whole number does not belong here; write a list in square brackets",
            "countersign.toml:1: tenants[0].producers[1].subject: a list does not belong here; write a text in quotes",
            "countersign.toml:1: tenants[0].producers[1].pins[1]: is no pin; write sha256: and 64 hex digits, as countersign certs inspect FILE prints it",
            "countersign.toml:1: tenants[1].id: holds a character that no name has here; use letters, digits and - _ . : @ +, as id = \"tenant-42\"",
        ],
    );
}
