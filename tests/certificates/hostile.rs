//! Certificates that nobody should have made.

use std::sync::LazyLock;

use countersign::ca::{KeyAlgorithm, PrivateCa, Template};
use countersign::x509::{
    Certificate, DistinguishedName, RevocationList, SigningRequest, Validity, X509Fault,
};
use proptest::prelude::*;

use crate::openssl::OpenSsl;

fn template() -> Template {
    let validity = Validity {
        not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
    };
    Template::client(
        DistinguishedName::parse("CN=payments-provider,O=Example").unwrap(),
        validity,
    )
}

fn made(template: &Template) -> Result<Certificate, countersign::ca::CaFault> {
    PrivateCa::generate(template, KeyAlgorithm::EcP256).map(|ca| ca.certificate().clone())
}

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| made(&template()).unwrap().der().to_vec());
static REQUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let openssl = OpenSsl::new();
    openssl.run("openssl req -new -newkey ed25519 -nodes -keyout key -subj /CN=a -addext subjectAltName=DNS:a -outform DER -out csr");
    openssl.read("csr")
});
static LIST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let openssl = OpenSsl::new();
    openssl.run("openssl req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=a -out crt");
    openssl.write("cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=db\ncrlnumber=n\ndefault_md=default\ndefault_crl_days=9\n");
    openssl.write("n", "01\n");
    openssl.write(
        "db",
        "R\t300101000000Z\t260101000000Z,keyCompromise\t0A\tunknown\t/CN=b\n",
    );
    openssl.run("openssl ca -config cnf -gencrl -cert crt -keyfile key -out pem && openssl crl -in pem -outform DER -out crl");
    openssl.read("crl")
});

/// The sound certificate with the first `from` replaced.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = SOUND
        .windows(from.len())
        .position(|window| window == from)
        .expect("the pattern occurs");
    [&SOUND[..at], to, &SOUND[at + from.len()..]].concat()
}

#[test]
fn bytes_after_the_end_are_refused() {
    assert!(Certificate::decode(&SOUND).is_ok());
    assert!(matches!(
        Certificate::decode(&[&SOUND[..], b"\0"].concat()),
        Err(X509Fault::Der(_))
    ));
    assert!(matches!(
        SigningRequest::decode(&[&REQUEST[..], b"\0"].concat()),
        Err(X509Fault::Der(_))
    ));
    assert!(matches!(
        RevocationList::decode(&[&LIST[..], b"\0"].concat()),
        Err(X509Fault::Der(_))
    ));
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..SOUND.len() {
        assert!(Certificate::decode(&SOUND[..length]).is_err(), "{length}");
    }
}

#[test]
fn the_algorithm_outside_must_be_the_one_inside() {
    // ecdsa-with-SHA256, which stands inside first, becomes ecdsa-with-SHA384.
    let forged = patched(
        b"\x2a\x86\x48\xce\x3d\x04\x03\x02",
        b"\x2a\x86\x48\xce\x3d\x04\x03\x03",
    );
    assert!(matches!(
        Certificate::decode(&forged),
        Err(X509Fault::AlgorithmsDiffer)
    ));
}

#[test]
fn a_version_must_exist_and_allow_what_the_certificate_has() {
    for version in [0, 1, 3, 0x7f] {
        let forged = patched(b"\xa0\x03\x02\x01\x02", &[0xa0, 3, 2, 1, version]);
        assert!(
            matches!(Certificate::decode(&forged), Err(X509Fault::Version)),
            "{version}"
        );
    }
    assert_eq!(made(&template().with_version_1()).unwrap().version(), 1);
}

#[test]
fn an_extension_twice_is_refused() {
    let twice = template().with_extension(b"\x55\x1d\x13", true, b"\x30\0");
    let fault = made(&twice).err().unwrap();
    assert_eq!(
        std::error::Error::source(&fault).unwrap().to_string(),
        "its extension 2.5.29.19 occurs twice"
    );
}

#[test]
fn an_extension_that_is_not_what_it_says_is_refused() {
    for (last_arc, value) in [
        (17, &b"\x30\x01"[..]),
        (30, b"\x04\x01\x01"),
        (30, b"\x30\0\0"),
        (30, b""),
    ] {
        let unreadable = template().with_extension(&[0x55, 0x1d, last_arc], false, value);
        let fault = made(&unreadable).err().unwrap();
        assert_eq!(
            std::error::Error::source(&fault).unwrap().to_string(),
            format!("its extension 2.5.29.{last_arc} cannot be read"),
        );
    }
}

#[test]
fn a_critical_extension_that_nobody_heeds_is_told() {
    for (oid, critical, unknown) in [
        (&b"\x2a\x03\x04"[..], true, true),
        (b"\x2a\x03\x04", false, false),
        (b"\x55\x1d\x24", true, true),
    ] {
        let template = template().with_extension(oid, critical, b"\x30\x03\x80\x01\x00");
        assert_eq!(
            made(&template).unwrap().has_unknown_critical_extension(),
            unknown
        );
    }
}

#[test]
fn what_is_too_large_is_refused_unread_with_its_own_limit() {
    let told = |fault: Option<X509Fault>| fault.map(|fault| fault.to_string());
    assert_eq!(
        told(Certificate::decode(&vec![0x30; (64 << 10) + 1]).err()),
        Some("larger than 65536 bytes".to_owned())
    );
    assert_eq!(
        told(RevocationList::decode(&vec![0x30; (32 << 20) + 1]).err()),
        Some("larger than 33554432 bytes".to_owned())
    );
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    assert!(SigningRequest::decode(&REQUEST).is_ok());
    let mut forged = REQUEST.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(
        SigningRequest::decode(&forged),
        Err(X509Fault::NoProofOfPossession)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_change_to_the_bytes_makes_a_decoder_panic(
        which in 0usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut der = [&*SOUND, &*REQUEST, &*LIST][which].clone();
        for (at, byte) in changes {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Some(cut) = cut {
            der.remove(cut.index(der.len()));
        }
        if let Ok(leaf) = Certificate::decode(&der) {
            let told = format!("{leaf:?} {:?}", leaf.signed_data());
            prop_assert!(!told.is_empty());
            leaf.is_issued_by(&leaf);
        }
        let _ = SigningRequest::decode(&der);
        if let Ok(list) = RevocationList::decode(&der) {
            prop_assert!(list.serials().count() <= 1);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(der in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Certificate::decode(&der).is_err());
        prop_assert!(RevocationList::decode(&der).is_err());
        prop_assert!(SigningRequest::decode(&der).is_err());
    }
}
