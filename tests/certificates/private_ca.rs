//! The private CA: its files, what it issues, and CAs that OpenSSL made.

use std::os::unix::fs::PermissionsExt;

use countersign::ca::{
    CaFault, KeyAlgorithm, KeyUse, Order, PrivateCa, ServerName, Template, write_new_secret,
};
use countersign::x509::{
    CertificateReport, DistinguishedName, SigningRequest, Validity, decode_signing_request,
};
use jiff::{SignedDuration, Timestamp};

use crate::openssl::OpenSsl;

const PRODUCER: &str = "CN=payments-provider,O=Example,OU=tenant-42";

fn subject(text: &str) -> DistinguishedName {
    DistinguishedName::parse_as_encoded(text).unwrap()
}

fn order(days: u32) -> Order {
    Order {
        subject: Some(subject(PRODUCER)),
        days,
        request: None,
        server_names: Vec::new(),
    }
}

fn init(openssl: &OpenSsl) -> PrivateCa {
    PrivateCa::init(
        &openssl.path("certs"),
        subject("CN=Private CA,O=Example"),
        3650,
        Timestamp::now(),
    )
    .unwrap()
}

/// The week that has begun.
fn week() -> Validity {
    let now = Timestamp::now();
    Validity {
        not_before: now,
        not_after: now + SignedDuration::from_hours(7 * 24),
    }
}

fn mode(openssl: &OpenSsl, name: &str) -> u32 {
    std::fs::metadata(openssl.path(name))
        .unwrap()
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn a_ca_is_made_once_and_its_key_is_nobody_elses() {
    let openssl = OpenSsl::new();
    let ca = init(&openssl);
    assert_eq!(mode(&openssl, "certs/ca.key"), 0o600);
    let certificate = openssl.leaf("certs/ca.crt");
    assert_eq!(&certificate, ca.certificate());
    assert_eq!(
        (
            certificate.version(),
            certificate.is_ca(),
            certificate.serial().contents().len()
        ),
        (3, true, 16)
    );
    assert_eq!(
        certificate.key_usage().unwrap().names().collect::<Vec<_>>(),
        ["keyCertSign", "cRLSign"]
    );
    openssl.run("openssl verify -x509_strict -CAfile certs/ca.crt certs/ca.crt");
    openssl.run("openssl pkey -in certs/ca.key -check -noout");

    let key = openssl.read("certs/ca.key");
    for missing in ["", "certs/ca.crt", "certs/ca.key"] {
        if !missing.is_empty() {
            std::fs::rename(openssl.path(missing), openssl.path("aside")).unwrap();
        }
        let again = PrivateCa::init(
            &openssl.path("certs"),
            subject("CN=Other"),
            1,
            Timestamp::now(),
        );
        assert!(matches!(again, Err(CaFault::Exists { .. })));
        if !missing.is_empty() {
            assert!(
                !openssl.path(missing).exists(),
                "{missing} of another CA is laid beside what is there"
            );
            std::fs::rename(openssl.path("aside"), openssl.path(missing)).unwrap();
        }
    }
    assert_eq!(openssl.read("certs/ca.key"), key);
    let files = std::fs::read_dir(openssl.path("certs")).unwrap().count();
    assert_eq!(files, 2, "no temporary file is left");
}

#[test]
fn what_was_issued_is_written_whole_or_not_at_all() {
    let openssl = OpenSsl::new();
    let issued = init(&openssl).issue(&order(90), Timestamp::now()).unwrap();
    for taken in ["crt", "key"] {
        let prefix = openssl.path(&format!("{taken}/leaf"));
        std::fs::create_dir(openssl.path(taken)).unwrap();
        let there = prefix.with_extension(taken);
        std::fs::write(&there, "somebody else's").unwrap();
        let written = issued.write(&prefix);
        assert!(matches!(&written, Err(CaFault::Exists { path }) if *path == there));
        assert_eq!(std::fs::read_to_string(&there).unwrap(), "somebody else's");
        let files = std::fs::read_dir(openssl.path(taken)).unwrap().count();
        assert_eq!(files, 1, "{taken}");
    }
}

#[test]
fn a_key_is_told_apart_by_160_bits_of_its_hash() {
    let ca = PrivateCa::generate(
        &Template::authority(subject("CN=CA"), week()),
        KeyAlgorithm::EcP256,
    );
    let ca = ca.unwrap();
    let leaf = ca.issue(&order(1), Timestamp::now()).unwrap();
    let (ca, leaf) = (ca.certificate(), leaf.certificate());
    for certificate in [ca, leaf] {
        let hash = certificate.spki().0;
        assert_eq!(certificate.subject_key_id(), Some(&hash[..20]));
    }
    assert_eq!(leaf.authority_key_id(), ca.subject_key_id());
}

#[test]
fn every_serial_is_positive_and_of_16_octets_and_another() {
    let ca = PrivateCa::generate(
        &Template::authority(subject("CN=CA"), week()),
        KeyAlgorithm::EcP256,
    );
    let ca = ca.unwrap();
    let serials: std::collections::HashSet<Vec<u8>> = (0..64)
        .map(|_| {
            let issued = ca.issue(&order(1), Timestamp::now()).unwrap();
            issued.certificate().serial().contents().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 64);
    for serial in &serials {
        assert_eq!((serial.len(), serial[0] >> 6), (16, 0b01), "{serial:02x?}");
    }
}

#[test]
fn a_client_leaf_is_what_openssl_accepts_of_a_client() {
    let openssl = OpenSsl::new();
    init(&openssl);
    let ca = PrivateCa::open(&openssl.path("certs")).unwrap();
    let now = Timestamp::now();
    let issued = ca.issue(&order(90), now).unwrap();
    issued.write(&openssl.path("certs/producer.v1")).unwrap();

    assert_eq!(mode(&openssl, "certs/producer.v1.key"), 0o600);
    openssl.run(
        "openssl verify -x509_strict -purpose sslclient -CAfile certs/ca.crt certs/producer.v1.crt",
    );
    openssl.attempt("openssl verify -x509_strict -purpose sslserver -CAfile certs/ca.crt certs/producer.v1.crt").unwrap_err();
    assert_eq!(
        openssl.field(
            "certs/producer.v1.crt",
            "-subject -nameopt oneline,-space_eq"
        ),
        "CN=payments-provider, O=Example, OU=tenant-42",
        "the order that was asked for",
    );
    let leaf = openssl.leaf("certs/producer.v1.crt");
    let days = leaf.validity().not_after.duration_since(now);
    assert!((SignedDuration::from_hours(90 * 24) - days).abs() <= SignedDuration::from_secs(1));
    assert!(leaf.validity().contains(now) && leaf.is_issued_by(ca.certificate()));
    assert_eq!(leaf.authority_key_id(), ca.certificate().subject_key_id());
    openssl.run("openssl x509 -in certs/producer.v1.crt -noout -pubkey > a && openssl pkey -in certs/producer.v1.key -pubout > b && cmp a b");

    assert!(matches!(
        issued.write(&openssl.path("certs/producer.v1")),
        Err(CaFault::Exists { .. })
    ));
    std::fs::remove_file(openssl.path("certs/producer.v1.crt")).unwrap();
    assert!(matches!(
        issued.write(&openssl.path("certs/producer.v1")),
        Err(CaFault::Exists { .. })
    ));
    assert!(
        !openssl.path("certs/producer.v1.crt").exists(),
        "no certificate beside another's key"
    );
}

#[test]
fn a_server_leaf_bears_its_names() {
    let openssl = OpenSsl::new();
    let ca = init(&openssl);
    let names =
        ["localhost", "*.example.com", "127.0.0.1", "::1"].map(|name| name.parse().unwrap());
    let order = Order {
        server_names: names.to_vec(),
        ..order(90)
    };
    ca.issue(&order, Timestamp::now())
        .unwrap()
        .write(&openssl.path("new/server"))
        .unwrap();
    for check in [
        "-verify_hostname localhost",
        "-verify_hostname a.example.com",
        "-verify_ip 127.0.0.1",
        "-verify_ip ::1",
    ] {
        openssl.run(&format!("openssl verify -x509_strict -purpose sslserver {check} -CAfile certs/ca.crt new/server.crt"));
    }
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(longest.parse::<ServerName>().is_ok());
    for text in [
        "",
        "a b",
        "-a",
        "a-",
        "a..b",
        "*",
        "a.*.b",
        "https://a",
        "a:8443",
        "a\0",
        &"a".repeat(64),
        &format!("{longest}a"),
        "\u{e9}.example",
    ] {
        assert!(
            matches!(text.parse::<ServerName>(), Err(CaFault::ServerName { .. })),
            "{text}"
        );
    }
}

#[test]
fn with_a_request_the_provider_keeps_its_key() {
    let openssl = OpenSsl::new();
    let ca = init(&openssl);
    for key in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"] {
        openssl.run(&format!("openssl req -new -newkey {key} -nodes -keyout own.key -subj '/O=Provider/CN=theirs' -out own.csr"));
        let request =
            SigningRequest::decode(&decode_signing_request(&openssl.read("own.csr")).unwrap())
                .unwrap();
        let requested = Order {
            subject: None,
            request: Some(request),
            ..order(30)
        };
        let issued = ca.issue(&requested, Timestamp::now()).unwrap();
        assert!(issued.key_pem().is_none());
        assert_eq!(
            issued.certificate().subject().to_string(),
            "CN=theirs,O=Provider"
        );
        let renamed = Order {
            subject: Some(subject(PRODUCER)),
            ..requested
        };
        let issued = ca.issue(&renamed, Timestamp::now()).unwrap();
        assert!(issued.certificate().subject().matches(&subject(PRODUCER)));
        let (_, key_path) = issued.write(&openssl.path("theirs")).unwrap();
        assert_eq!(key_path, None);
        openssl
            .run("openssl verify -x509_strict -purpose sslclient -CAfile certs/ca.crt theirs.crt");
        openssl.run("openssl x509 -in theirs.crt -noout -pubkey > a && openssl pkey -in own.key -pubout > b && cmp a b && rm theirs.crt");
    }
    let nameless = Order {
        subject: None,
        ..order(30)
    };
    assert!(matches!(
        ca.issue(&nameless, Timestamp::now()),
        Err(CaFault::NoSubject)
    ));
}

#[test]
fn a_ca_that_openssl_made_is_as_good() {
    for (make, name) in [
        (
            "openssl genrsa -out ca.key 4096",
            "/CN=Webhook Internal CA/O=Example",
        ),
        (
            "openssl genrsa -traditional -out ca.key 2048",
            "/DC=com/DC=example/OU=one/OU=two/CN=a+OU=b",
        ),
        (
            "openssl ecparam -name prime256v1 -genkey -out ca.key",
            "/C=DE/emailAddress=a@b.c",
        ),
        (
            "openssl ecparam -name secp384r1 -genkey -noout -out ca.key",
            "/CN=Z\u{f6}e",
        ),
        (
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out ca.key",
            "/CN=a",
        ),
        ("openssl genpkey -algorithm ed25519 -out ca.key", "/CN=a"),
    ] {
        let openssl = OpenSsl::new();
        openssl.run("mkdir own");
        openssl.run(&format!("cd own && {make} && openssl req -x509 -new -utf8 -key ca.key -days 1825 -subj '{name}' -out ca.crt"));
        let ca = PrivateCa::open(&openssl.path("own")).unwrap();
        ca.issue(&order(90), Timestamp::now())
            .unwrap()
            .write(&openssl.path("leaf"))
            .unwrap();
        openssl.run("openssl verify -purpose sslclient -CAfile own/ca.crt leaf.crt");
    }
}

#[test]
fn how_many_intermediates_a_ca_may_have_below_it_is_read_from_its_certificate() {
    let openssl = OpenSsl::new();
    openssl.run("openssl req -new -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=a -out ca.csr");
    for (constraints, expected) in [("", None), (",pathlen:0", Some(0)), (",pathlen:3", Some(3))] {
        openssl.run(&format!(
            "echo basicConstraints=critical,CA:true{constraints} > ca.cnf && \
             openssl x509 -req -in ca.csr -signkey ca.key -extfile ca.cnf -out ca.crt"
        ));
        let ca = PrivateCa::open(&openssl.path("")).unwrap();
        let read = ca.certificate().basic_constraints().unwrap();
        assert_eq!(read.path_len_max, expected);
    }
}

#[test]
fn an_intermediate_issues_with_its_own_certificate_behind_the_leaf() {
    let openssl = OpenSsl::new();
    let root = init(&openssl);
    let validity = root.certificate().validity();
    let template = Template::authority(subject("CN=Intermediate"), validity);
    let intermediate = root
        .sign_authority(&template, KeyAlgorithm::Rsa2048)
        .unwrap();
    let role = |ca: &PrivateCa| CertificateReport::of(ca.certificate()).role.as_str();
    assert_eq!(
        [role(&root), role(&intermediate)],
        ["trust_anchor", "intermediate"]
    );
    openssl.run("mkdir own");
    openssl.write("own/ca.crt", &intermediate.certificate_pem());
    std::fs::write(openssl.path("own/ca.key"), intermediate.key_pem().expose()).unwrap();
    let ca = PrivateCa::open(&openssl.path("own")).unwrap();
    ca.issue(&order(90), Timestamp::now())
        .unwrap()
        .write(&openssl.path("leaf"))
        .unwrap();
    openssl.run("openssl verify -x509_strict -purpose sslclient -CAfile certs/ca.crt -untrusted leaf.crt leaf.crt");
}

#[test]
fn what_is_no_ca_is_refused_by_name() {
    let openssl = OpenSsl::new();
    openssl.follow_the_guide();
    let check = |certificate: &str, key: &str, expected: &str| {
        openssl.run(&format!("rm -rf d && mkdir d && {{ [ -z '{certificate}' ] || cp {certificate} d/ca.crt; }} && {{ [ -z '{key}' ] || cp {key} d/ca.key; }}"));
        let fault = PrivateCa::open(&openssl.path("d")).err().unwrap();
        let told = fault
            .to_string()
            .replace(&format!("{}/", openssl.path("d").display()), "");
        assert_eq!(told, expected);
        assert!(!fault.mend().is_empty());
    };
    openssl.run("openssl pkey -in ca.key -aes256 -passout pass:x -out locked.key");
    openssl.run("openssl genpkey -algorithm ed448 -out ed448.key");
    openssl.run("openssl req -x509 -key ca.key -subj /CN=a -addext keyUsage=digitalSignature -out usage.crt");
    check("", "ca.key", "ca.crt: cannot be read");
    check("ca.crt", "", "ca.key: cannot be read");
    check(
        "ca.crt",
        "producer.key",
        "ca.crt: does not belong to the key beside it",
    );
    check(
        "producer.crt",
        "producer.key",
        "ca.crt: is no CA's certificate: its basicConstraints do not say CA:TRUE",
    );
    check(
        "usage.crt",
        "ca.key",
        "ca.crt: is no CA's certificate: its keyUsage lacks keyCertSign",
    );
    check(
        "ca.crt",
        "locked.key",
        "ca.key: holds no private key in PEM that can be read without a password",
    );
    check(
        "ca.crt",
        "ca.crt",
        "ca.key: holds no private key in PEM that can be read without a password",
    );
    check(
        "ca.crt",
        "ed448.key",
        "ca.key: holds a key that is not RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519",
    );
    check(
        "producer.csr",
        "ca.key",
        "ca.crt: cannot be read as a certificate",
    );
}

#[test]
fn a_leaf_does_not_outlive_its_ca_and_a_lapsed_ca_issues_none() {
    let openssl = OpenSsl::new();
    let now = Timestamp::now();
    let ca = PrivateCa::init(&openssl.path("certs"), subject("CN=Short"), 10, now).unwrap();
    let leaf = ca.issue(&order(90), now).unwrap();
    assert_eq!(
        leaf.certificate().validity().not_after,
        ca.certificate().validity().not_after
    );
    for days in [-1, 11] {
        let then = now + SignedDuration::from_hours(24 * days);
        assert!(matches!(
            ca.issue(&order(1), then),
            Err(CaFault::CaNotValid { .. })
        ));
    }
    for days in [0, 36_501, u32::MAX] {
        assert!(matches!(
            ca.issue(&order(days), now),
            Err(CaFault::Days { .. })
        ));
    }
}

#[test]
fn a_template_makes_every_kind_of_leaf_that_a_rehearsal_needs() {
    let openssl = OpenSsl::new();
    let ca = init(&openssl);
    let now = Timestamp::now();
    let at = |from: i64, to: i64| Validity {
        not_before: now + SignedDuration::from_hours(from),
        not_after: now + SignedDuration::from_hours(to),
    };
    let check = |template: &Template, complaint: &str| {
        let issued = ca.sign(template, KeyAlgorithm::EcP256).unwrap();
        issued.write(&openssl.path("leaf")).unwrap();
        let said = openssl.attempt("openssl verify -purpose sslclient -CAfile certs/ca.crt leaf.crt; code=$?; rm leaf.crt leaf.key; exit $code");
        assert!(
            said.clone().unwrap_or_else(|said| said).contains(complaint),
            "{said:?} lacks {complaint}"
        );
        issued.certificate().clone()
    };
    let client = |validity| Template::client(subject(PRODUCER), validity);
    let sound = client(at(-1, 1));
    for (template, is_of_a_rehearsal) in [
        (sound.clone(), false),
        (sound.clone().for_rehearsal(), true),
        (sound.clone().for_rehearsal().with_version_1(), true),
    ] {
        let serial = check(&template, "leaf.crt: OK").serial().clone();
        assert_eq!(serial.is_of_a_rehearsal(), is_of_a_rehearsal, "{serial}");
    }
    check(&client(at(-3, -1)), "certificate has expired");
    check(&client(at(1, 3)), "certificate is not yet valid");
    check(
        &Template::server(subject(PRODUCER), Vec::new(), at(-1, 1)),
        "unsuitable certificate purpose",
    );
    check(
        &sound.clone().with_key_uses(&[KeyUse::CrlSign]),
        "unsuitable certificate purpose",
    );
    check(
        &sound
            .clone()
            .with_extension(b"\x2a\x03\x04", true, b"\x05\0"),
        "unhandled critical extension",
    );
    assert_eq!(
        check(&sound.clone().with_version_1(), "leaf.crt: OK").version(),
        1
    );
    let late = Validity {
        not_before: "1949-12-31T23:59:59Z".parse().unwrap(),
        not_after: "2050-01-01T00:00:00Z".parse().unwrap(),
    };
    assert_eq!(check(&client(late), "leaf.crt: OK").validity(), late);
}

#[test]
fn a_secret_is_256_random_bits_that_nobody_else_reads() {
    let openssl = OpenSsl::new();
    write_new_secret(&openssl.path("secret")).unwrap();
    assert_eq!(mode(&openssl, "secret"), 0o600);
    let text = String::from_utf8(openssl.read("secret")).unwrap();
    assert_eq!(
        hex::decode(text.strip_suffix('\n').unwrap()).unwrap().len(),
        32
    );
    assert!(matches!(
        write_new_secret(&openssl.path("secret")),
        Err(CaFault::Exists { .. })
    ));
}

#[test]
fn a_request_whose_key_is_not_taken_is_told_so_and_not_called_forged() {
    for (options, expected) in [
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            "its key is ECDSA secp256k1 (unsupported): not one of RSA (rsaEncryption) with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
        ),
        ("rsa:1024", "its key is RSA 1024: too short"),
        (
            "rsa:2048 -sha224",
            "it is signed with an algorithm that is not supported",
        ),
    ] {
        let openssl = OpenSsl::new();
        openssl.run(&format!(
            "openssl req -new -newkey {options} -nodes -keyout key -subj /CN=a -out csr"
        ));
        let der = decode_signing_request(&openssl.read("csr")).unwrap();
        let fault = SigningRequest::decode(&der).unwrap_err();
        assert_eq!(fault.to_string(), expected, "{options}");
    }
}
