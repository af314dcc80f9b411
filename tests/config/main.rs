//! `countersign.toml` and the environment: what is read, what is refused, and in which words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::path::Path;

use countersign::config::{Config, ConfigFile, Environment, Fault};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

#[path = "../kit/mod.rs"]
mod kit;
mod profiles;
mod reload;
mod retention;
mod secrets;
mod shut_out;
mod variables;
mod waits;
mod written;

use kit::{Authority, Leaf, authority::SUBJECT};

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
            "countersign.toml:8: server.limits.header_timeout: this text cannot be read; write a time with its unit, as \"500ms\", \"10s\", \"5m\" or \"1h\"",
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

/// The contract's example, whole.
const EXAMPLE: &str = r#"
[server]
listen = "0.0.0.0:8443"            # the providers' side: mutual TLS only
paths  = ["/webhooks/payments"]    # exact paths that accept deliveries

[server.limits]                    # each has a safe default; these are the defaults
body_bytes = 1048576
connections = 10000
connections_per_ip = 256
handshake_timeout = "10s"
header_timeout = "10s"             # also closes an idle keep-alive connection
body_timeout = "15s"
request_timeout = "30s"

[admin]
listen = "127.0.0.1:9443"          # the operator's side; a non-loopback address needs admin.token

[tls]
certificate = "certs/server.crt"   # PEM chain, leaf first
private_key = "certs/server.key"
client_ca   = ["certs/ca.crt"]     # trust anchors for clients: only these, never the system's roots
intermediates = []                 # extra intermediates for clients that do not send theirs
crls = []                          # PEM or DER
min_version = "1.3"                # "1.2" is opt-in
accept_v1_leaf = true              # see "X.509 version 1" below
crl_expired = "refuse"             # or "warn"
crl_missing = "allow"              # an issuer for which no CRL is configured; or "refuse"
resumption  = false

[store]
url = "sqlite:data/countersign.db" # or "postgres://…"

[[tenants]]
id = "tenant-42"

[[tenants.producers]]
name    = "payments-provider"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
pins    = []                       # optional: "sha256:HEX" of the leaf's SubjectPublicKeyInfo; any one must match
profile = "timestamped"            # a signature profile, built in or from [profiles.NAME]
secrets = ["file:certs/producer.secret"]   # "file:PATH", "env:NAME"; several are active at once
tolerance = "5m"
path    = "/webhooks/payments/acme"    # optional: this producer delivers to this path only
account = { pointer = "/data/account", equals = "acct_1" }   # optional: the body must name this account

[profiles.acme]
signed = "body"                                   # or "fields", "reference": what the signature covers
[profiles.acme.signature]
from = { header = ["acme-signature"] }
split = ","
pair = "="
pick = ["v1"]
algorithm = "sha256"
encoding = "hex"
key = "utf8"
content = "{timestamp}.{body}"
[profiles.acme.timestamp]
from = { item = "t" }
unit = "s"
past = "5m"
future = "5m"
[profiles.acme.event]
id = "/id"
type = "/type"
occurred_at = "/created"
payment_id = "/data/object/id"
amount = "/data/object/amount"
amount_unit = "minor"
amount_refunded = "/data/object/amount_refunded"
currency = "/data/object/currency"
[profiles.acme.event.status]
"payment_intent.succeeded" = "succeeded"
[profiles.acme.answer]
accepted = 204
bad_signature = 401
"#;

#[test]
fn the_contracts_example_is_taken_without_a_warning() {
    let directory = directory();
    let config = load(directory.path(), EXAMPLE, &Environment::empty()).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8443");
    assert!(config.snapshot.accepts_path("/webhooks/payments"));
    assert!(config.snapshot.accepts_path("/webhooks/payments/acme"));
    assert!(!config.snapshot.accepts_path("/webhooks/payments/"));
    assert!(config.snapshot.profiles().get("acme").is_some());
    let producer = &config.snapshot.directory().producers()[0];
    let verifier = config.snapshot.verifier(producer.id).unwrap();
    assert_eq!(verifier.profile().name(), "timestamped");
}

#[test]
fn the_template_is_a_configuration() {
    let directory = directory();
    let config = load(
        directory.path(),
        countersign::config::TEMPLATE,
        &Environment::empty(),
    );
    assert_eq!(config.unwrap().warnings, []);
}

#[test]
fn two_of_a_kind_are_told_apart_by_nobody() {
    check(
        "[[tenants]]
id = \"a\"
[[tenants.producers]]
name = \"p\"
subject = \"CN=p,O=Example\"
secrets = [\"file:certs/producer.secret\"]
[[tenants.producers]]
name = \"p\"
subject = \"O=Example, CN=P\"
secrets = [\"file:certs/producer.secret\"]
[[tenants.producers]]
name = \"q\"
subject = \"/CN=p/O=Example\"
path = \"/other\"
secrets = [\"file:certs/producer.secret\"]
[[tenants]]
id = \"a\"
producers = []
",
        &[
            "countersign.toml:8: tenants[0].producers[1].name: producers[0] of this tenant has this name already; give each producer of a tenant a name of its own",
            "countersign.toml:9: tenants[0].producers[1].subject: tenants[0].producers[0] has the same subject, and the same path; give one of them another subject, or each a path of its own",
            "countersign.toml:17: tenants[1].id: tenants[0] has this id already; write all producers of a tenant below one [[tenants]]",
        ],
    );
}

#[test]
fn what_a_producer_says_is_checked_word_for_word() {
    check(
        "[[tenants]]
id = \"a\"
[[tenants.producers]]
name = \"p\"
subject = \"CN=p\"
profile = \"strip\"
pins = [\"sha256:12\"]
path = \"hooks\"
tolerance = \"8d\"
secrets = [\"hunter2\", \"env:NOT_SET\", \"file:certs/none\", \"file:certs\"]
account = { pointer = \"data\", equals = \"\" }
url = \"hooks.example.com\"
[[tenants.producers]]
name = \"q\"
subject = \"CN=q\"
[[tenants.producers]]
name = \"\"
secrets = [\"file:certs/producer.secret\"]
signature = \"none\"
",
        &[
            "countersign.toml:6: tenants[0].producers[0].profile: there is no profile \"strip\"; did you mean \"stripe\"?",
            "countersign.toml:7: tenants[0].producers[0].pins[0]: is no pin; write sha256: and 64 hex digits, as countersign certs inspect FILE prints it",
            "countersign.toml:8: tenants[0].producers[0].path: does not begin with /; write \"/hooks\"",
            "countersign.toml:9: tenants[0].producers[0].tolerance: 8d is out of range; write a time from \"1s\" to \"7d\"",
            "countersign.toml:10: tenants[0].producers[0].secrets[0]: is no reference to a secret; write \"file:PATH\" or \"env:NAME\", never the secret itself",
            "countersign.toml:10: tenants[0].producers[0].secrets[1]: the variable NOT_SET is not set; set NOT_SET to the secret, or name another variable",
            "countersign.toml:10: tenants[0].producers[0].secrets[2]: certs/none does not exist; make it, or name another file; relative paths begin where the configuration file is",
            "countersign.toml:10: tenants[0].producers[0].secrets[3]: certs is a directory; name a file in it",
            "countersign.toml:11: tenants[0].producers[0].account.pointer: is no JSON pointer; begin with / and write ~1 for a / and ~0 for a ~ within a name, as /data/account",
            "countersign.toml:11: tenants[0].producers[0].account.equals: is empty; write account = { pointer = \"/data/account\", equals = \"acct_1\" }",
            "countersign.toml:12: tenants[0].producers[0].url: is no URL; write the URL that is registered with the provider, as https://hooks.example.com/webhooks/payments",
            "countersign.toml:13: tenants[0].producers[1].secrets: there is none that decides; write secrets = [\"file:PATH\"]",
            "countersign.toml:16: tenants[0].producers[2].subject: is missing; write the subject of the producer's certificate, as countersign certs inspect FILE prints it",
            "countersign.toml:17: tenants[0].producers[2].name: is empty; write name = \"payments-provider\"",
            "countersign.toml:19: tenants[0].producers[2].signature: profile timestamped signs its deliveries, and they are checked; take signature = \"none\" out",
        ],
    );
}

#[test]
fn a_profile_of_the_users_own_is_checked_when_it_is_loaded() {
    check(
        "[profiles.acme]
signed = \"body\"
extends = \"strype\"
[profiles.other]
signed = \"boddy\"
[profiles.other.signature]
algorithm = \"sha257\"
hedaer = 1
[profiles.third]
extends = \"stripe\"
[profiles.third.event]
id = \"/a~2\"
",
        &[
            "countersign.toml:3: profiles.acme.extends: there is no profile \"strype\"; did you mean \"stripe\"?",
            "countersign.toml:5: profiles.other.signed: unknown value \"boddy\"; did you mean \"body\"?",
            "countersign.toml:6: profiles.other.signature.from: is missing; write from = { header = [\"x-signature\"] }",
            "countersign.toml:6: profiles.other.signature.content: is missing; write what is signed, as content = \"{timestamp}.{body}\"",
            "countersign.toml:7: profiles.other.signature.algorithm: this value does not belong here; write an algorithm (md5, sha1, sha256, sha384, sha512, rsa-pkcs1-sha256, rsa-pss-sha256, ecdsa-p256-sha256, ecdsa-p384-sha384 or ed25519), or { item = \"KEY\", allow = [ALGORITHMS] }",
            "countersign.toml:8: profiles.other.signature.hedaer: unknown key; the keys here are from, all, split, pair, pick, bare, mac, algorithm, encoding, key, strip_prefix, content, id, each, also",
            "countersign.toml:12: profiles.third.event.id: in a JSON pointer \"~\" is written \"~0\" and \"/\" is written \"~1\": \"/a~2\"; write a JSON pointer, as /data/id",
        ],
    );
}

#[test]
fn the_operators_side_is_open_to_this_machine_alone_unless_it_asks_for_a_token() {
    check(
        "[admin]\nlisten = \"0.0.0.0:9443\"\n",
        &[
            "countersign.toml:2: admin.listen: the operator's side would be open to others than this machine; write 127.0.0.1:9443, or set admin.token to a secret, as \"file:certs/admin.token\"",
        ],
    );
    check(
        "[admin]\nlisten = \"0.0.0.0:8443\"\ntoken = \"file:certs/producer.secret\"\n",
        &[
            "countersign.toml:2: admin.listen: is where server.listen is; give the operator's side a port of its own, as 127.0.0.1:9443",
        ],
    );
    check(
        "[server]\nlisten = \"127.0.0.1:9443\"\n",
        &[
            "countersign.toml: admin.listen: is where server.listen is; give the operator's side a port of its own, as 127.0.0.1:9444",
        ],
    );
}

#[test]
fn a_line_that_is_no_toml_hides_no_other_fault() {
    check(
        "[server]\nlisten = \npaths = [\"b\"]\n[store]\nurl = \"sqlite:\"\n",
        &[
            "countersign.toml:2: no TOML: string values must be quoted, expected literal string; mend this line; https://toml.io has the form",
            "countersign.toml:3: server.paths[0]: does not begin with /; write \"/b\"",
            "countersign.toml:5: store.url: sqlite: has no path; write sqlite:data/countersign.db",
        ],
    );
}

#[test]
fn the_environment_alone_can_say_everything() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let secret = "a-secret-of-thirty-two-bytes-len";
    let environment = Environment::from([
        (
            "COUNTERSIGN_TLS__CERTIFICATE",
            at("certs/server.crt").as_str(),
        ),
        (
            "COUNTERSIGN_TLS__PRIVATE_KEY",
            at("certs/server.key").as_str(),
        ),
        ("COUNTERSIGN_TLS__CLIENT_CA", at("certs/ca.crt").as_str()),
        ("COUNTERSIGN_TLS__ACCEPT_V1_LEAF", "false"),
        ("COUNTERSIGN_SERVER__PATHS", "[\"/a\", \"/b\"]"),
        ("COUNTERSIGN_SERVER__LISTEN", "[::1]:8443"),
        ("COUNTERSIGN_SERVER__LIMITS__BODY_BYTES", "2048"),
        ("COUNTERSIGN_TENANTS__0__ID", "tenant-42"),
        ("COUNTERSIGN_TENANTS__0__PRODUCERS__0__NAME", "p"),
        (
            "COUNTERSIGN_TENANTS__0__PRODUCERS__0__SUBJECT",
            "CN=p,O=Example",
        ),
        (
            "COUNTERSIGN_TENANTS__0__PRODUCERS__0__SECRETS",
            "env:COUNTERSIGN_SECRET_P",
        ),
        ("COUNTERSIGN_SECRET_P", secret),
    ]);
    let config = Config::load(&ConfigFile::Default, &environment, Timestamp::now()).unwrap();
    assert_eq!(config.server.body_bytes, 2048);
    assert_eq!(config.server.paths, ["/a".into(), "/b".into()]);
    assert_eq!(config.snapshot.directory().producers().len(), 1);

    let named = ConfigFile::Named(directory.path().join("none.toml"));
    let faults = Config::load(&named, &environment, Timestamp::now()).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].what, "does not exist");
}

#[test]
fn what_tls_names_must_be_what_it_should_be() {
    let directory = directory();
    let other = Authority::new("Other CA");
    let leaf = other.issue(&Leaf::of(SUBJECT));
    write(&directory, "certs/other.key", &leaf.key);
    write(&directory, "certs/other.crt", &leaf.certificate);
    let root = format!("{}/", directory.path().display());
    let told = |tls: &str| -> Vec<String> {
        let faults = load(
            directory.path(),
            &format!("[tls]\n{tls}\n{TENANT}"),
            &Environment::empty(),
        );
        let faults = faults.err().unwrap_or_default();
        faults
            .iter()
            .map(|fault| fault.to_string().replace(&root, ""))
            .collect()
    };
    assert_eq!(told(""), [""; 0]);
    assert_eq!(
        told("private_key = \"certs/other.key\"\nclient_ca = [\"certs/other.crt\"]"),
        [
            "countersign.toml:2: tls.private_key: certs/other.key is not the key of the certificate in certs/server.crt; put the pair there together; openssl pkey -pubout and openssl x509 -pubkey print the same for both",
            "countersign.toml:3: tls.client_ca[0]: certs/other.crt holds OU=tenant-42,O=Example,CN=payments-provider, which is not a CA's certificate; name the certificate of the CA that issues your producers' certificates",
        ]
    );
    assert_eq!(
        told(
            "client_ca = []\ncertificate = \"certs/producer.secret\"\nprivate_key = \"certs/producer.secret\"\ncrls = [\"certs/ca.crt\"]"
        ),
        [
            "countersign.toml:2: tls.client_ca: no CA is trusted, so no client could be let in; write client_ca = [\"certs/ca.crt\"]: only its certificates are let in",
            "countersign.toml:3: tls.certificate: certs/producer.secret is no certificate: no CERTIFICATE in it; write the server's certificate there in PEM, and its chain after it",
            "countersign.toml:5: tls.crls[0]: certs/ca.crt is no CRL: no X509 CRL in it; write the CRL there, in PEM or DER",
        ]
    );
}

#[test]
fn who_lets_every_sender_say_its_own_address_is_warned() {
    let directory = directory();
    let text = format!(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\",\n  \"::/0\"]\n{TENANT}"
    );
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let root = format!("{}/", directory.path().display());
    let told = config.warnings.iter();
    let told: Vec<_> = told.map(|one| one.to_string().replace(&root, "")).collect();
    assert_eq!(
        told,
        [
            "countersign.toml:2: server.trusted_proxies[1]: every sender is trusted to say what its address is; write the load balancer's addresses alone",
            "countersign.toml:3: server.trusted_proxies[2]: every sender is trusted to say what its address is; write the load balancer's addresses alone",
        ]
    );
}

#[test]
fn what_works_but_should_be_known_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = directory();
    let authority = Authority::new("Internal CA");
    let soon = authority.issue(&Leaf {
        not_after_days: 10,
        ..Leaf::of(&[("CN", "localhost")])
    });
    write(&directory, "certs/server.crt", &soon.certificate);
    write(&directory, "certs/server.key", &soon.key);
    write(&directory, "certs/producer.secret", "hunter2\nhunter2\n");
    write(
        &directory,
        "certs/late.secret",
        "a-secret-of-thirty-two-bytes-len",
    );
    write(&directory, "certs/ca.crl", "what certs revoke wrote");
    let key = directory.path().join("certs/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "{TENANT}[[tenants.producers]]\nname = \"pix\"\nsubject = \"CN=pix\"\nprofile = \"mine\"\nsignature = \"none\"\naccount = {{ pointer = \"/a\", equals = \"b\" }}\n[[tenants.producers]]\nname = \"late\"\nsubject = \"CN=late\"\nprofile = \"late\"\nsecrets = [\"file:certs/late.secret\"]\n[profiles.mine]\nsigned = \"connection\"\n[profiles.late]\nextends = \"timestamped\"\n[profiles.late.timestamp]\npast = \"1000h\"\n"
    );
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let root = format!("{}/", directory.path().display());
    let told: Vec<String> = config
        .warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.key, warning.what.replace(&root, "")))
        .collect();
    let expected = [
        "tls.private_key: certs/server.key can be read by every user of this machine",
        "tls.certificate: certs/server.crt has no subjectAltName",
        "tls.certificate: certs/server.crt is not meant for servers",
        "tls.certificate: the certificate in certs/server.crt ends soon",
        "tls.crls: certs/ca.crl lies beside the CA and is not named here",
        "tenants[0].producers[0].secrets[0]: file:certs/producer.secret is weak",
        "tenants[0].producers[0].secrets[0]: file:certs/producer.secret#2 is weak",
        "tenants[0].producers[0].secrets: file:certs/producer.secret#2 is the same secret",
        "tenants[0].producers[1].signature: the deliveries of mine are not signed",
        "tenants[0].producers[2].profile: profile late accepts deliveries that are 1000h old",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

/// Makes nonsense out of sense: cuts, doubles and swaps of the template's bytes.
fn mutated() -> impl Strategy<Value = String> {
    let cuts = proptest::collection::vec(
        (
            any::<Index>(),
            any::<Index>(),
            "[a-z0-9\\[\\]{}=\"'#.,\n -]{0,6}",
        ),
        1..8,
    );
    cuts.prop_map(|cuts| {
        let mut text = countersign::config::TEMPLATE
            .replace("\n#-", "\n")
            .replace("\n#", "\n")
            .into_bytes();
        for (from, to, inserted) in cuts {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let short = from.min(to)..from.max(to).min(from.min(to) + 40);
            text.splice(short, inserted.into_bytes());
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![any::<String>(), mutated()], value in any::<String>()) {
        let value = value.replace('\0', "");
        let environment = Environment::from([
            ("COUNTERSIGN_TLS__CLIENT_CA", value.as_str()),
            ("COUNTERSIGN_TENANTS__0__PRODUCERS__0__SECRETS", value.as_str()),
            ("COUNTERSIGN_SERVER__LIMITS__BODY_BYTES", value.as_str()),
        ]);
        let directory = tempfile::tempdir().unwrap();
        for environment in [Environment::empty(), environment] {
            let faults = load(directory.path(), &text, &environment).err().unwrap_or_default();
            for fault in faults {
                prop_assert!(!fault.what.is_empty() && !fault.mend.is_empty(), "{fault}");
            }
        }
    }
}

#[test]
fn a_spool_stands_in_for_a_postgresql_alone() {
    check(
        "[store]\nurl = \"sqlite:data/countersign.db\"\n[store.spool]\nbytes = 1000\n",
        &[
            "countersign.toml:3: store.spool: stands in for a PostgreSQL that is away; store.url is a file, and needs none; take [store.spool] out",
            "countersign.toml:4: store.spool.bytes: 1000 is out of range; write a number from 1048576 to 1099511627776",
        ],
    );
    check(
        "[server.limits]\nbody_bytes = 4194304\n[store]\nurl = \"postgres://db/inbox\"\n[store.spool]\npath = \"\"\nbytes = 2097152\n",
        &[
            "countersign.toml:6: store.spool.path: names no file; write path = \"data/spool.db\"",
            "countersign.toml:7: store.spool.bytes: a body as long as server.limits.body_bytes would never fit; write 4456448 or more",
        ],
    );
}
