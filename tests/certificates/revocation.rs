//! Revocation lists: ours read by OpenSSL, OpenSSL's carried on by us.

use std::path::Path;

use countersign::ca::{CaFault, Order, PrivateCa};
use countersign::x509::{Certificate, DistinguishedName, RevocationList, decode_revocation_lists};
use jiff::Timestamp;

use crate::openssl::OpenSsl;

fn issue(openssl: &OpenSsl, directory: &str, name: &str) -> Certificate {
    let ca = PrivateCa::open(&openssl.path(directory)).unwrap();
    let subject = DistinguishedName::parse(&format!("CN={name}")).unwrap();
    let order = Order {
        subject: Some(subject),
        days: 9,
        request: None,
        server_names: Vec::new(),
    };
    let issued = ca.issue(&order, Timestamp::now()).unwrap();
    issued.write(&openssl.path(name)).unwrap();
    issued.certificate().clone()
}

fn list(directory: &Path) -> RevocationList {
    let lists = decode_revocation_lists(&std::fs::read(directory.join("ca.crl")).unwrap()).unwrap();
    RevocationList::decode(&lists[0]).unwrap()
}

fn check(openssl: &OpenSsl, directory: &str, leaf: &str) -> Result<String, String> {
    openssl.attempt(&format!("openssl verify -x509_strict -crl_check -CRLfile {directory}/ca.crl -CAfile {directory}/ca.crt {leaf}.crt"))
}

#[test]
fn a_revoked_leaf_is_refused_by_openssl_and_earlier_ones_stay_revoked() {
    let openssl = OpenSsl::new();
    let directory = openssl.path("certs");
    let name = DistinguishedName::parse("CN=CA").unwrap();
    let ca = PrivateCa::init(&directory, name, 3650, Timestamp::now()).unwrap();
    let (a, b) = (issue(&openssl, "certs", "a"), issue(&openssl, "certs", "b"));

    let now = Timestamp::now();
    assert_eq!(PrivateCa::revoke(&directory, &[], now).unwrap().added, 0);
    assert!(check(&openssl, "certs", "a").is_ok() && check(&openssl, "certs", "b").is_ok());

    let revocation = PrivateCa::revoke(&directory, &[a.clone(), a.clone()], now).unwrap();
    assert_eq!(
        (revocation.added, revocation.path),
        (1, directory.join("ca.crl"))
    );
    assert!(
        check(&openssl, "certs", "a")
            .unwrap_err()
            .contains("certificate revoked")
    );
    assert!(check(&openssl, "certs", "b").is_ok());

    assert_eq!(
        PrivateCa::revoke(&directory, &[b.clone(), a.clone()], now)
            .unwrap()
            .added,
        1
    );
    assert!(check(&openssl, "certs", "a").is_err() && check(&openssl, "certs", "b").is_err());

    let list = list(&directory);
    assert_eq!(list.number().unwrap().to_string(), "03");
    assert_eq!(
        list.serials().collect::<Vec<_>>(),
        [a.serial().clone(), b.serial().clone()]
    );
    assert!(list.revokes(a.serial()) && !list.revokes(ca.certificate().serial()));
    assert!(
        list.is_issued_by(ca.certificate()) && list.issuer().matches(ca.certificate().subject())
    );
    assert_eq!(
        list.next_update().unwrap().as_second(),
        revocation.next_update.as_second()
    );
    assert_eq!(list.this_update().as_second(), now.as_second());
    let printed =
        openssl.run("openssl crl -in certs/ca.crl -text -noout -CAfile certs/ca.crt -verify 2>&1");
    for text in [
        "verify OK",
        "X509v3 CRL Number: \n                3",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(printed.contains(text), "{printed}");
    }
}

#[test]
fn a_certificate_of_another_ca_is_not_revoked() {
    let openssl = OpenSsl::new();
    let name = DistinguishedName::parse("CN=CA").unwrap();
    for directory in ["one", "two"] {
        PrivateCa::init(&openssl.path(directory), name.clone(), 99, Timestamp::now()).unwrap();
    }
    let (ours, theirs) = (
        issue(&openssl, "one", "ours"),
        issue(&openssl, "two", "theirs"),
    );
    let (root, other_root) = (openssl.leaf("one/ca.crt"), openssl.leaf("two/ca.crt"));
    let own = PrivateCa::revoke(&openssl.path("one"), &[root], Timestamp::now());
    let own = own.unwrap_err();
    assert!(matches!(own, CaFault::OwnCertificate { .. }), "{own}");
    assert!(own.mend().contains("tls.client_ca"), "{own}");
    for foreign in [theirs, other_root] {
        let refused = PrivateCa::revoke(
            &openssl.path("one"),
            &[ours.clone(), foreign],
            Timestamp::now(),
        );
        assert!(matches!(refused, Err(CaFault::ForeignCertificate { .. })));
        assert!(!openssl.path("one/ca.crl").exists(), "all or nothing");
    }
    PrivateCa::revoke(&openssl.path("two"), &[], Timestamp::now()).unwrap();
    std::fs::copy(openssl.path("two/ca.crl"), openssl.path("one/ca.crl")).unwrap();
    let refused = PrivateCa::revoke(&openssl.path("one"), &[ours], Timestamp::now());
    assert!(matches!(
        refused,
        Err(CaFault::ForeignRevocationList { .. })
    ));
}

#[test]
fn a_list_that_openssl_began_is_carried_on() {
    let openssl = OpenSsl::new();
    openssl.run("mkdir own && openssl genrsa -out own/ca.key 2048");
    openssl.run("openssl req -x509 -key own/ca.key -days 99 -subj '/DC=com/DC=example/CN=a' -out own/ca.crt");
    let (first, second) = (
        issue(&openssl, "own", "first"),
        issue(&openssl, "own", "second"),
    );
    openssl.write("cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=db\ncrlnumber=n\ndefault_md=sha256\ndefault_crl_days=9\n");
    openssl.write("n", "FF\n");
    openssl.run("touch db");
    openssl.run("openssl ca -config cnf -cert own/ca.crt -keyfile own/ca.key -revoke first.crt -crl_reason keyCompromise");
    openssl
        .run("openssl ca -config cnf -cert own/ca.crt -keyfile own/ca.key -gencrl -out own/ca.crl");
    let began = list(&openssl.path("own"));
    assert!(began.revokes(first.serial()) && began.is_issued_by(&openssl.leaf("own/ca.crt")));

    PrivateCa::revoke(&openssl.path("own"), &[second], Timestamp::now()).unwrap();
    let carried_on = list(&openssl.path("own"));
    assert_eq!(carried_on.number().unwrap().to_string(), "0100");
    assert!(
        carried_on.entries_der().starts_with(began.entries_der()),
        "with its reason, byte for byte"
    );
    for leaf in ["first", "second"] {
        assert!(
            check(&openssl, "own", leaf)
                .unwrap_err()
                .contains("certificate revoked")
        );
    }
}

#[test]
fn two_that_revoke_at_once_lose_nothing() {
    let openssl = OpenSsl::new();
    let directory = openssl.path("certs");
    PrivateCa::init(
        &directory,
        DistinguishedName::parse("CN=CA").unwrap(),
        99,
        Timestamp::now(),
    )
    .unwrap();
    let leaves: Vec<Certificate> = (0..8)
        .map(|index| issue(&openssl, "certs", &format!("leaf{index}")))
        .collect();
    std::thread::scope(|scope| {
        for leaf in &leaves {
            let directory = &directory;
            scope.spawn(move || {
                PrivateCa::revoke(directory, std::slice::from_ref(leaf), Timestamp::now()).unwrap()
            });
        }
    });
    let list = list(&directory);
    assert_eq!(list.number().unwrap().to_string(), "08");
    assert!(leaves.iter().all(|leaf| list.revokes(leaf.serial())));
}
