//! What is written in a configuration: what the template offers, and what a mend says to write.

use std::fs;
use std::process::Command;

use countersign::config::{Config, ConfigFile, Environment, TEMPLATE};
use jiff::Timestamp;

use crate::{TENANT, check, directory, load, write};

#[test]
fn each_key_of_the_template_counts_once_its_sign_is_taken_away() {
    let directory = directory();
    let is_key = |line: &str| {
        let key = line.strip_prefix('#');
        key.is_some_and(|key| key.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    let mut opened = 0;
    for (number, line) in TEMPLATE.lines().enumerate() {
        if !is_key(line) {
            continue;
        }
        let lines = TEMPLATE.lines().enumerate();
        let lines = lines.map(|(at, line)| {
            let opened = line.strip_prefix('#').filter(|_| at == number);
            opened.unwrap_or(line)
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        match load(directory.path(), &text, &Environment::empty()) {
            Ok(config) => assert_eq!(config.warnings, [], "{line}"),
            Err(faults) => panic!("{line}: {faults:?}"),
        }
        opened += 1;
    }
    assert!(opened > 30, "{opened}");
}

#[test]
fn a_mend_is_of_the_shape_that_belongs_there() {
    check(
        "[server]
paths = { a = 1 }
[server.limits]
body_bytes = 9223372036854775808
connections = -9223372036854775808
[tls]
client_ca = [{ pin = \"certs/ca.crt\" }]
[[tenants]]
id = \"a\"
[tenants.producers]
name = \"p\"
[profiles.acme.event.when]
",
        &[
            "countersign.toml:2: server.paths: a table does not belong here; write a list in square brackets",
            "countersign.toml:4: server.limits.body_bytes: 9223372036854775808 does not belong here; write a whole number of at most 18 digits",
            "countersign.toml:5: server.limits.connections: -9223372036854775808 is out of range; write a number from 1 to 1000000",
            "countersign.toml:7: tls.client_ca[0].pin: unknown key; the keys here are file, shadow",
            "countersign.toml:7: tls.client_ca[0].file: is missing; add file = …",
            "countersign.toml:10: tenants[0].producers: a table does not belong here; write [[tenants.producers]]",
            "countersign.toml:12: profiles.acme.event.when: a table does not belong here; write [[profiles.acme.event.when]]",
            "countersign.toml:12: profiles.acme.signature: is missing; add [signature] or `extends`, or say signed = \"connection\" if mutual TLS is the only proof",
        ],
    );
    check(
        "[tenants]\nid = \"a\"\n",
        &["countersign.toml:1: tenants: a table does not belong here; write [[tenants]]"],
    );
    check(
        "[[tenants]]
id = \"a\"
[[tenants.producers]]
name = \"p\"
subject = \"CN=p\"
secrets = [{}]
pins = [{}]
[[tenants.producers]]
name = \"q\"
subject = \"CN=q\"
secrets = [{ secret = \"file:certs/producer.secret\", x = 1 }]
",
        &[
            "countersign.toml:6: tenants[0].producers[0].secrets[0].secret: is missing; add secret = …",
            "countersign.toml:6: tenants[0].producers[0].secrets[0]: is no reference to a secret; write \"file:PATH\" or \"env:NAME\", never the secret itself",
            "countersign.toml:7: tenants[0].producers[0].pins[0].pin: is missing; add pin = …",
            "countersign.toml:7: tenants[0].producers[0].pins[0]: is no pin; write sha256: and 64 hex digits, as countersign certs inspect FILE prints it",
            "countersign.toml:11: tenants[0].producers[1].secrets[0].x: unknown key; the keys here are secret, shadow",
        ],
    );
}

#[test]
fn a_path_that_names_no_file_is_a_fault() {
    let mend =
        "names no file; write its path; relative paths begin where the configuration file is";
    check(
        "[server]\ncutoffs = \"\"\n[tls]\ncertificate = \"\"\nprivate_key = \"\"\nclient_ca = [\"\"]\n",
        &[
            "countersign.toml:2: server.cutoffs: names no file; write cutoffs = \"data/cutoffs.toml\"",
            &format!("countersign.toml:4: tls.certificate: {mend}"),
            &format!("countersign.toml:5: tls.private_key: {mend}"),
            "countersign.toml:6: tls.client_ca[0]: names no file; write the path of a certificate, as \"certs/ca.crt\"",
        ],
    );
    let directory = directory();
    let path = directory.path().join("countersign.toml");
    fs::write(&path, "[server]\ncutoffs = \"\"\n").unwrap();
    let faults = Config::load_cut_offs(&ConfigFile::Named(path), &Environment::empty());
    assert_eq!(faults.unwrap_err()[0].key, "server.cutoffs");
}

#[test]
fn a_mend_that_is_written_into_the_file_is_taken_up_there() {
    let directory = directory();
    write(&directory, "certs/ca.crl", "what certs revoke wrote");
    let path = directory.path().join("countersign.toml");
    fs::write(&path, TEMPLATE).unwrap();
    let file = ConfigFile::Named(path);
    let config = Config::load(&file, &Environment::empty(), Timestamp::now()).unwrap();
    assert_eq!(config.warnings[0].mend, "add it: crls = [\"certs/ca.crl\"]");
}

#[test]
fn a_certificate_and_a_key_that_can_not_be_used_are_told_for_what_they_are() {
    let directory = directory();
    let root = format!("{}/", directory.path().display());
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let told = |tls: &str| -> Vec<String> {
        let text = format!("[tls]\n{tls}\n{}", crate::TENANT);
        let loaded = load(directory.path(), &text, &Environment::empty());
        let faults = loaded.err().unwrap_or_default().into_iter();
        faults
            .map(|fault| fault.to_string().replace(&root, ""))
            .collect()
    };
    assert_eq!(
        told("certificate = \"certs/server.key\"\nprivate_key = \"certs/server.crt\""),
        [
            "countersign.toml:2: tls.certificate: certs/server.key holds a private key, and certs/server.crt a certificate: the two are swapped; write certificate = \"certs/server.crt\" and private_key = \"certs/server.key\""
        ]
    );

    let pair = read("certs/server.key") + &read("certs/server.crt");
    write(&directory, "certs/pair.pem", &pair);
    let both = "certificate = \"certs/pair.pem\"\nprivate_key = \"certs/pair.pem\"";
    assert!(told(both).is_empty(), "{:?}", told(both));

    let ca = read("certs/ca.crt");
    write(&directory, "certs/marked.crt", format!("\u{feff}{ca}{ca}"));
    write(&directory, "certs/cut.crt", &ca[..ca.len() - 30]);
    let key = read("certs/server.key");
    write(&directory, "certs/cut.key", &key[..key.len() - 30]);
    let all = told(
        "private_key = \"certs/cut.key\"\nclient_ca = [\"certs/marked.crt\", \"certs/cut.crt\"]",
    );
    let expected = [
        "certs/cut.key is no private key: it is cut off: ",
        "certs/marked.crt is no certificate: it begins with a byte order mark",
        "certs/cut.crt is no certificate: it is cut off: ",
    ];
    assert_eq!(all.len(), expected.len(), "{all:?}");
    for (told, expected) in all.iter().zip(expected) {
        assert!(told.contains(expected), "{told}");
    }

    for (name, arguments) in [
        ("certs/short.key", &["genrsa", "1024"][..]),
        (
            "certs/koblitz.key",
            &["ecparam", "-name", "secp256k1", "-genkey", "-noout"],
        ),
        (
            "certs/pss.key",
            &[
                "genpkey",
                "-algorithm",
                "RSA-PSS",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
            ],
        ),
    ] {
        let made = Command::new("openssl").args(arguments).output().unwrap();
        write(&directory, name, made.stdout);
        let told = told(&format!("private_key = \"{name}\""));
        let what = format!("{name} holds a private key that cannot be used: ");
        assert!(told[0].contains(&what), "{told:?}");
        assert!(told[0].contains("; use one of RSA"), "{told:?}");
    }
}

#[test]
fn what_is_empty_is_not_called_missing() {
    check(
        "[[tenants]]
id = \"\"
[[tenants.producers]]
name = \"\"
subject = \"CN=p\"
secrets = [\"file:certs/producer.secret\"]
account = { pointer = \"/a\", equals = \"\" }
[[tenants.producers]]
subject = \"CN=q\"
secrets = [\"file:certs/producer.secret\"]
",
        &[
            "countersign.toml:2: tenants[0].id: is empty; write id = \"tenant-42\"",
            "countersign.toml:4: tenants[0].producers[0].name: is empty; write name = \"payments-provider\"",
            "countersign.toml:7: tenants[0].producers[0].account.equals: is empty; write account = { pointer = \"/data/account\", equals = \"acct_1\" }",
            "countersign.toml:8: tenants[0].producers[1].name: is missing; write name = \"payments-provider\"",
        ],
    );
}

#[test]
fn a_star_in_a_path_is_told_to_stand_for_itself() {
    let directory = directory();
    let text = format!("[server]\npaths = [\"/webhooks/*\"]\n{TENANT}");
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let [told] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(
        told.contains(":2: server.paths[0]: a * is that very character"),
        "{told}"
    );
}
