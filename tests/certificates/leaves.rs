//! Leaves that OpenSSL made.

use countersign::x509::{
    Certificate, CertificateReport, CertificateRole, DistinguishedName, KeyKind,
    decode_pem_certificates,
};
use jiff::Timestamp;

use crate::openssl::OpenSsl;

#[test]
fn a_leaf_by_the_commands_of_every_guide_is_of_version_1_and_reads_whole() {
    let openssl = OpenSsl::new();
    openssl.follow_the_guide();
    let (ca, leaf) = (openssl.leaf("ca.crt"), openssl.leaf("producer.crt"));

    assert_eq!(leaf.version(), 1);
    assert!(
        leaf.key_usage().is_none()
            && leaf.basic_constraints().is_none()
            && leaf.extended_key_usage().is_none()
    );
    assert!(!leaf.is_ca() && !leaf.is_self_issued());
    assert_eq!(leaf.key_kind(), KeyKind::Rsa { bits: 2048 });
    let configured =
        DistinguishedName::parse("CN=payments-provider,O=Example,OU=tenant-42").unwrap();
    assert!(leaf.subject().matches(&configured));
    assert_eq!(
        leaf.subject().to_string(),
        openssl.field("producer.crt", "-subject -nameopt RFC2253")
    );
    assert_eq!(
        leaf.issuer().to_string(),
        openssl.field("producer.crt", "-issuer -nameopt RFC2253")
    );
    assert_eq!(
        leaf.serial().to_string(),
        openssl.field("producer.crt", "-serial").to_lowercase()
    );
    let fingerprint = openssl
        .field("producer.crt", "-fingerprint -sha256")
        .replace(':', "")
        .to_lowercase();
    assert_eq!(leaf.sha256().to_string(), fingerprint);
    let pin = openssl.run("openssl x509 -in producer.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256");
    assert!(pin.trim_end().ends_with(&leaf.spki().hex()));
    let not_after = openssl
        .field("producer.crt", "-enddate -dateopt iso_8601")
        .replace(' ', "T");
    assert_eq!(
        leaf.validity().not_after,
        not_after.parse::<Timestamp>().unwrap()
    );

    assert_eq!(ca.version(), 3);
    assert!(ca.is_ca() && ca.is_self_issued() && ca.is_issued_by(&ca));
    assert!(leaf.is_issued_by(&ca));
    assert!(!ca.is_issued_by(&leaf) && !leaf.is_issued_by(&leaf));
    // Another key under the same name.
    openssl.run("openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -subj '/CN=Webhook Internal CA/O=Example' -out other.crt");
    assert!(!leaf.is_issued_by(&openssl.leaf("other.crt")));
}

#[test]
fn the_parts_of_a_signature_verify_by_hand() {
    let openssl = OpenSsl::new();
    openssl.follow_the_guide();
    let (ca, leaf) = (openssl.leaf("ca.crt"), openssl.leaf("producer.crt"));
    let signed = leaf.signed_data();
    std::fs::write(openssl.path("message"), signed.message).unwrap();
    std::fs::write(openssl.path("signature"), signed.signature).unwrap();
    std::fs::write(openssl.path("key"), ca.raw_spki()).unwrap();
    openssl.run("openssl dgst -sha256 -verify key -signature signature message");
    // sha256WithRSAEncryption and rsaEncryption, each with its NULL.
    assert_eq!(
        hex::encode(signed.algorithm),
        "300d06092a864886f70d01010b0500"
    );
    assert_eq!(
        hex::encode(signed.algorithm_contents()),
        "06092a864886f70d01010b0500"
    );
    assert_eq!(
        hex::encode(ca.public_key().algorithm_contents),
        "06092a864886f70d0101010500"
    );
    assert!(ca.raw_spki().ends_with(ca.public_key().bits));
}

#[test]
fn every_kind_of_key_is_named_and_its_signature_verified() {
    for (options, kind, printed) in [
        ("rsa:2048", KeyKind::Rsa { bits: 2048 }, "RSA 2048"),
        ("rsa:3072", KeyKind::Rsa { bits: 3072 }, "RSA 3072"),
        ("rsa:4096", KeyKind::Rsa { bits: 4096 }, "RSA 4096"),
        (
            "rsa-pss -pkeyopt rsa_keygen_bits:2048",
            KeyKind::Unsupported { name: "RSA-PSS" },
            "RSA-PSS (unsupported)",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-256",
            KeyKind::EcP256,
            "ECDSA P-256",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-384 -sha512",
            KeyKind::EcP384,
            "ECDSA P-384",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            KeyKind::Unsupported {
                name: "ECDSA secp256k1",
            },
            "ECDSA secp256k1 (unsupported)",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-521",
            KeyKind::EcP521,
            "ECDSA P-521",
        ),
        ("ed25519", KeyKind::Ed25519, "Ed25519"),
        (
            "ed448",
            KeyKind::Unsupported { name: "Ed448" },
            "Ed448 (unsupported)",
        ),
    ] {
        let openssl = OpenSsl::new();
        openssl.run(&format!(
            "openssl req -x509 -newkey {options} -nodes -keyout key -subj /CN=a -out crt"
        ));
        let leaf = openssl.leaf("crt");
        assert_eq!(leaf.key_kind(), kind, "{options}");
        assert_eq!(leaf.key_kind().to_string(), printed);
        let supported = kind.flaw().is_none();
        assert_eq!(leaf.is_issued_by(&leaf), supported, "{options}");
    }
}

#[test]
fn every_string_type_that_openssl_writes_is_read_as_the_same_name() {
    const TEXT: &str = "Z\u{f6}e  GmbH";
    for (mask, value) in [
        ("utf8only", TEXT),
        ("MASK:0x2000", TEXT),
        ("MASK:4", TEXT),
        ("MASK:0x800", TEXT),
        ("MASK:0x100", TEXT),
        ("pkix", TEXT),
        ("nombstr", TEXT),
        ("default", "Example"),
        ("MASK:2", "Example"),
        ("MASK:0x10", "Ex@mple"),
        ("MASK:0x40", "Ex@mple"),
        ("MASK:1", "4 2"),
    ] {
        let openssl = OpenSsl::new();
        openssl.write("cnf", &format!(
            "[req]\nstring_mask = {mask}\nutf8 = yes\nprompt = no\ndistinguished_name = dn\n[dn]\nO = {value}\nOU = {value}\n"
        ));
        openssl.run("openssl req -x509 -config cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out crt");
        let leaf = openssl.leaf("crt");
        let written = format!("O={value},OU={}", value.to_uppercase().replace("  ", " "));
        assert!(
            leaf.subject()
                .matches(&DistinguishedName::parse(&written).unwrap()),
            "{mask}: {}",
            leaf.subject()
        );
        assert_eq!(
            leaf.subject().to_string(),
            openssl.field("crt", "-subject -nameopt RFC2253,-esc_msb,utf8"),
            "{mask}"
        );
    }
}

#[test]
fn whatever_openssl_prints_of_a_subject_reads_back_as_that_subject() {
    for subject in [
        "/CN=payments-provider/O=Example/OU=tenant-42",
        "/C=DE/ST=Bayern/L=M\u{fc}nchen/O=Example, Inc./CN=a+OU=b",
        r"/CN=a\/b/O=c\+d",
        r#"/CN=#a "quoted", <b>; c=d\\/O= lead and trail "#,
        "/DC=com/DC=example/OU=one/OU=two/CN=x/UID=y/emailAddress=a@example.com/serialNumber=42",
        "/organizationIdentifier=PSDDE-BAFIN-1/jurisdictionC=DE/businessCategory=Private/CN=\u{65e5}\u{672c}",
        "/CN=a\u{1}b\u{7f}",
    ] {
        let openssl = OpenSsl::new();
        openssl.write("subject", subject);
        openssl.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8 -keyout key -subj \"$(cat subject)\" -out crt");
        let leaf = openssl.leaf("crt");
        let same = |text: &str| {
            let read =
                DistinguishedName::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert!(read.matches(leaf.subject()), "{text} / {}", leaf.subject());
        };
        same(subject);
        same(&leaf.subject().to_string());
        same(&openssl.field("crt", "-subject -nameopt RFC2253"));
        same(&openssl.field("crt", "-subject -nameopt RFC2253,-esc_msb,utf8"));
        same(&openssl.field("crt", "-subject -nameopt oneline"));
        if !subject.contains(r"\") && !subject.contains('+') {
            // This one escapes no separators.
            same(&openssl.field("crt", "-subject -nameopt compat"));
        }
    }
}

#[test]
fn what_version_3_says_is_reported() {
    let openssl = OpenSsl::new();
    openssl.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -subj /CN=receiver -out crt -days 30 \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,URI:https://a/,email:a@b.c,RID:1.2.3 \
         -addext keyUsage=critical,digitalSignature,keyEncipherment,decipherOnly -addext extendedKeyUsage=serverAuth,1.2.3.4 \
         -addext basicConstraints=critical,CA:FALSE",
    );
    let leaf = openssl.leaf("crt");
    let report = CertificateReport::of(&leaf);
    assert_eq!(report.role, CertificateRole::Server);
    let json = serde_json::to_value(&report).unwrap();
    for (field, value) in [
        ("role", "server".into()),
        ("subject", "CN=receiver".into()),
        ("serial", leaf.serial().to_string().into()),
        ("spki_sha256", leaf.spki().hex().into()),
        (
            "not_before",
            format!("{:.3}", leaf.validity().not_before).into(),
        ),
        ("producer", serde_json::Value::Null),
        ("last_seen", serde_json::Value::Null),
        ("version", 3.into()),
        ("key", "ECDSA P-256".into()),
        (
            "subject_alt_names",
            vec![
                "DNS:localhost",
                "IP:127.0.0.1",
                "IP:::1",
                "URI:https://a/",
                "email:a@b.c",
                "(a name of another form)",
            ]
            .into(),
        ),
        (
            "key_usage",
            vec!["digitalSignature", "keyEncipherment", "decipherOnly"].into(),
        ),
        ("extended_key_usage", vec!["serverAuth", "1.2.3.4"].into()),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    assert!(json["not_after"].as_str().unwrap().ends_with(".000Z"));
    assert_eq!(leaf.subject_key_id().map(<[u8]>::len), Some(20));
    assert!(!leaf.has_unknown_critical_extension());
}

#[test]
fn far_ends_are_read() {
    let openssl = OpenSsl::new();
    openssl.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -subj /CN=a -days 40000 -out crt");
    let leaf = openssl.leaf("crt");
    let not_after = openssl
        .field("crt", "-enddate -dateopt iso_8601")
        .replace(' ', "T");
    assert_eq!(
        leaf.validity().not_after,
        not_after.parse::<Timestamp>().unwrap()
    );

    // RFC 5280 §4.1.2.5: no end.
    let mut der = leaf.der().to_vec();
    let end = der
        .windows(2)
        .rposition(|pair| pair == [0x18, 0x0f])
        .unwrap();
    der[end + 2..end + 17].copy_from_slice(b"99991231235959Z");
    assert_eq!(
        Certificate::decode(&der).unwrap().validity().not_after,
        Timestamp::MAX
    );
}

#[test]
fn every_certificate_of_a_file_is_read_and_all_else_passed_over() {
    let openssl = OpenSsl::new();
    openssl.run("openssl req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=a -out crt");
    openssl.run("openssl x509 -in crt -text -out text && cat key text crt > both && openssl x509 -in crt -outform DER -out der");
    let both = decode_pem_certificates(&openssl.read("both")).unwrap();
    assert_eq!(both, vec![openssl.read("der"); 2]);
    assert_eq!(openssl.leaf("der"), openssl.leaf("both"));
    assert_eq!(
        decode_pem_certificates(&openssl.read("key"))
            .unwrap_err()
            .to_string(),
        "no CERTIFICATE in it"
    );
    assert_eq!(
        decode_pem_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n")
            .unwrap_err()
            .to_string(),
        "not in PEM"
    );
    assert_eq!(
        decode_pem_certificates(b"").unwrap_err().to_string(),
        "no CERTIFICATE in it"
    );
}
