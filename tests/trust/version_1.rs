//! Leaves of X.509 version 1, made with the very commands that guides for nginx give.

use std::path::Path;
use std::sync::OnceLock;

use countersign::tls::{CrlMissing, Trust, TrustFault, TrustParts, TrustPolicy, V1Leaf};
use countersign::x509::{
    Certificate, RevocationList, decode_certificates, decode_revocation_lists,
};
use jiff::{Timestamp, ToSpan};

use crate::forge::openssl;
use crate::{leaves, parts, trust, verdict_at};

/// A directory in which the commands were run, once for all tests.
pub(crate) fn guide() -> &'static Path {
    static GUIDE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = GUIDE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        openssl(at, "genrsa -out ca.key 4096");
        openssl(at, "req -x509 -new -nodes -key ca.key -sha256 -days 1825 -subj '/CN=Webhook Internal CA/O=Example' -out ca.crt");
        openssl(at, "genrsa -out producer.key 2048");
        openssl(at, "req -new -key producer.key -subj '/CN=payments-provider/O=Example/OU=tenant-42' -out producer.csr");
        openssl(at, "x509 -req -in producer.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -sha256 -out producer.crt");
        directory
    });
    directory.path()
}

pub(crate) fn certificate(at: &Path, file: &str) -> Vec<u8> {
    let pem = std::fs::read(at.join(file)).unwrap();
    decode_certificates(&pem).unwrap().remove(0)
}

fn ca() -> Vec<u8> {
    certificate(guide(), "ca.crt")
}

fn producer() -> Vec<u8> {
    certificate(guide(), "producer.crt")
}

#[test]
fn the_leaf_of_the_guides_is_of_version_1_and_holds() {
    let leaf = Certificate::decode(&producer()).unwrap();
    assert_eq!(leaf.version(), 1);
    let trusted = trust(&[&ca()]);
    assert_eq!(
        verdict_at(&trusted, &[&producer()], Timestamp::now()),
        "holds"
    );
    // With the CA sent along, or with nonsense.
    assert_eq!(
        verdict_at(&trusted, &[&producer(), &ca()], Timestamp::now()),
        "holds"
    );
    assert_eq!(
        verdict_at(&trusted, &[&producer(), b"?"], Timestamp::now()),
        "holds"
    );
}

#[test]
fn it_is_refused_where_the_configuration_says_so() {
    let refusing = Trust::build(TrustParts {
        policy: TrustPolicy {
            v1_leaf: V1Leaf::Refuse,
            ..TrustPolicy::default()
        },
        ..parts(&[&ca()])
    })
    .unwrap();
    let verdict = verdict_at(&refusing, &[&producer()], Timestamp::now());
    assert_eq!(verdict, "unsupported-certificate");
}

#[test]
fn it_lapses_as_any_other() {
    let trusted = trust(&[&ca()]);
    let now = Timestamp::now();
    for (days, expected) in [
        (-2, "not-yet-valid"),
        (0, "holds"),
        (89, "holds"),
        (91, "expired"),
    ] {
        let at = now + (days * 24).hours();
        assert_eq!(verdict_at(&trusted, &[&producer()], at), expected, "{days}");
    }
}

#[test]
fn another_key_of_the_same_name_did_not_sign_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -days 1825 -subj '/CN=Webhook Internal CA/O=Example' -out ca.crt",
    );
    let namesake = certificate(at, "ca.crt");
    let _made = guide();
    let now = Timestamp::now();
    assert_eq!(
        verdict_at(&trust(&[&namesake]), &[&producer()], now),
        "bad-signature"
    );
    assert_eq!(
        verdict_at(&trust(&[&namesake]), &[&producer(), &ca()], now),
        "bad-signature"
    );
    // Beside the right one it does no harm.
    assert_eq!(
        verdict_at(&trust(&[&namesake, &ca()]), &[&producer()], now),
        "holds"
    );
    // And a stranger is a stranger.
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout x.key -days 9 -subj /CN=x -out x.crt",
    );
    let stranger = certificate(at, "x.crt");
    assert_eq!(
        verdict_at(&trust(&[&stranger]), &[&producer()], now),
        "unknown-issuer"
    );
}

#[test]
fn under_an_intermediate_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("ca"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    let (of_ca, of_sub) = ("-CA root.crt -CAkey root.key", "-CA sub.crt -CAkey sub.key");
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -days 9 -subj /CN=Root -out root.crt",
    );
    openssl(
        at,
        "req -new -newkey rsa:2048 -nodes -keyout sub.key -subj /CN=Sub -out sub.csr",
    );
    openssl(
        at,
        &format!("x509 -req -in sub.csr {of_ca} -CAcreateserial -days 9 -extfile ca -out sub.crt"),
    );
    openssl(
        at,
        "req -new -newkey rsa:2048 -nodes -keyout leaf.key -subj /CN=Certificate -out leaf.csr",
    );
    openssl(
        at,
        &format!("x509 -req -in leaf.csr {of_sub} -CAcreateserial -days 9 -out leaf.crt"),
    );
    let [root, sub, leaf] = ["root.crt", "sub.crt", "leaf.crt"].map(|file| certificate(at, file));
    let now = Timestamp::now();
    let of_root = trust(&[&root]);
    assert_eq!(
        verdict_at(&of_root, &[&leaf, &sub], now),
        "unsupported-certificate"
    );
    let configured = Trust::build(TrustParts {
        intermediates: leaves(&[&sub]),
        ..parts(&[&root])
    })
    .unwrap();
    assert_eq!(
        verdict_at(&configured, &[&leaf], now),
        "unsupported-certificate"
    );
    // Where the intermediate is an anchor itself, it is what signed it.
    assert_eq!(verdict_at(&trust(&[&sub]), &[&leaf], now), "holds");

    // It never acts as a CA, whether it is sent, configured, or offered as an anchor.
    openssl(
        at,
        "req -new -newkey rsa:2048 -nodes -keyout below.key -subj /CN=Below -out below.csr",
    );
    let of_leaf = "-CA leaf.crt -CAkey leaf.key -CAcreateserial -days 9";
    openssl(
        at,
        &format!("x509 -req -in below.csr {of_leaf} -out below-1.crt"),
    );
    std::fs::write(at.join("plain"), "basicConstraints=CA:FALSE\n").unwrap();
    openssl(
        at,
        &format!("x509 -req -in below.csr {of_leaf} -extfile plain -out below-3.crt"),
    );
    let of_sub = trust(&[&sub]);
    let now = Timestamp::now();
    for below in ["below-1.crt", "below-3.crt"] {
        let below = certificate(at, below);
        let verdict = verdict_at(&of_sub, &[&below, &leaf], now);
        assert_eq!(verdict, "unsupported-certificate");
    }
    assert!(Trust::build(parts(&[&leaf])).is_err());
}

#[test]
fn a_leaf_of_version_1_does_not_escape_the_names_to_which_its_anchor_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    openssl(at, "ecparam -genkey -name prime256v1 -noout -out ca.key");
    openssl(
        at,
        "req -x509 -new -key ca.key -days 30 -subj '/CN=CA' -addext 'nameConstraints=critical,permitted;email:example.com' -out ca.crt",
    );
    openssl(
        at,
        "ecparam -genkey -name prime256v1 -noout -out producer.key",
    );
    openssl(
        at,
        "req -new -key producer.key -subj '/CN=payments-provider' -out producer.csr",
    );
    openssl(
        at,
        "x509 -req -in producer.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -out producer.crt",
    );
    let producer = certificate(at, "producer.crt");
    assert_eq!(Certificate::decode(&producer).unwrap().version(), 1);
    let trusted = trust(&[&certificate(at, "ca.crt")]);
    let verdict = verdict_at(&trusted, &[&producer], Timestamp::now());
    assert_eq!(verdict, "unsupported-certificate");
}

#[test]
fn a_root_of_version_1_may_be_an_anchor() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    openssl(
        at,
        "req -new -newkey rsa:2048 -nodes -keyout root.key -subj /CN=Root -out root.csr",
    );
    openssl(
        at,
        "x509 -req -in root.csr -signkey root.key -days 9 -out root.crt",
    );
    let root = certificate(at, "root.crt");
    assert_eq!(Certificate::decode(&root).unwrap().version(), 1);
    std::fs::write(at.join("plain"), "basicConstraints=CA:FALSE\n").unwrap();
    for (name, extensions) in [("one", ""), ("three", "-extfile plain")] {
        openssl(
            at,
            &format!(
                "req -new -newkey rsa:2048 -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"
            ),
        );
        openssl(
            at,
            &format!(
                "x509 -req -in {name}.csr -CA root.crt -CAkey root.key -CAcreateserial -days 9 {extensions} -out {name}.crt"
            ),
        );
        let leaf = certificate(at, &format!("{name}.crt"));
        assert_eq!(
            verdict_at(&trust(&[&root]), &[&leaf], Timestamp::now()),
            "holds",
            "{name}"
        );
    }
}

#[test]
fn what_names_itself_and_is_signed_by_another_key_is_no_root_of_version_1() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for name in ["root", "leaf"] {
        let request = format!(
            "req -new -newkey rsa:2048 -nodes -keyout {name}.key -subj /CN=Root -out {name}.csr"
        );
        openssl(at, &request);
    }
    openssl(
        at,
        "x509 -req -in root.csr -signkey root.key -days 9 -out root.crt",
    );
    openssl(
        at,
        "x509 -req -in leaf.csr -CA root.crt -CAkey root.key -CAcreateserial -days 9 -out leaf.crt",
    );
    let leaf = certificate(at, "leaf.crt");
    let decoded = Certificate::decode(&leaf).unwrap();
    assert_eq!((decoded.version(), decoded.is_self_issued()), (1, true));
    let faults = Trust::build(parts(&[&leaf])).unwrap_err();
    assert!(matches!(faults[..], [TrustFault::NotACa { anchor: 0, .. }]));
}

#[test]
fn it_can_be_revoked_and_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let config =
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index\ndefault_md = sha256\ndefault_crl_days = 30\n";
    std::fs::write(at.join("conf"), config).unwrap();
    std::fs::write(at.join("index"), "").unwrap();
    for file in ["ca.key", "ca.crt", "producer.crt"] {
        std::fs::copy(guide().join(file), at.join(file)).unwrap();
    }
    let gencrl = "ca -config conf -keyfile ca.key -cert ca.crt -gencrl -out crl.pem";
    let with_list = |crl_missing| {
        let lists = decode_revocation_lists(&std::fs::read(at.join("crl.pem")).unwrap()).unwrap();
        let decode = |der: &Vec<u8>| RevocationList::decode(der).unwrap();
        Trust::build(TrustParts {
            crls: lists.iter().map(decode).collect(),
            policy: TrustPolicy {
                crl_missing,
                ..TrustPolicy::default()
            },
            ..parts(&[&ca()])
        })
        .unwrap()
    };
    openssl(at, gencrl);
    let trusted = with_list(CrlMissing::Refuse);
    assert_eq!(
        verdict_at(&trusted, &[&producer()], Timestamp::now()),
        "holds"
    );
    openssl(
        at,
        "ca -config conf -keyfile ca.key -cert ca.crt -revoke producer.crt",
    );
    openssl(at, gencrl);
    let trusted = with_list(CrlMissing::Allow);
    assert_eq!(
        verdict_at(&trusted, &[&producer()], Timestamp::now()),
        "revoked"
    );
    let mut parts = parts(&[&ca()]);
    parts.policy.crl_missing = CrlMissing::Refuse;
    let trusted = Trust::build(parts).unwrap();
    assert_eq!(
        verdict_at(&trusted, &[&producer()], Timestamp::now()),
        "revocation-unknown"
    );
}

#[test]
fn no_byte_of_it_may_change() {
    let trusted = trust(&[&ca()]);
    let (leaf, ca) = (producer(), ca());
    for place in 0..leaf.len() {
        let mut changed = leaf.clone();
        changed[place] ^= 0x41;
        let chain = [changed[..].into(), ca[..].into()];
        assert!(
            trusted.verify(&chain, Timestamp::now()).is_err(),
            "byte {place}"
        );
    }
}
