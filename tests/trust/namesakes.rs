//! Revocation lists of a CA that has, or had, several keys under one name; and of CAs that share a name by mistake.

use countersign::tls::{Concerned, CrlExpired, CrlMissing, Trust, TrustParts, TrustPolicy};
use countersign::x509::{Certificate, RevocationList};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyUsagePurpose, SerialNumber, date_time_ymd};

use crate::forge::{Ca, OddCrl, der, extension};
use crate::{leaves, now, parts, verdict, verdict_at};

const REFUSE: TrustPolicy = TrustPolicy {
    v1_leaf: countersign::tls::V1Leaf::Accept,
    crl_expired: CrlExpired::Refuse,
    crl_missing: CrlMissing::Refuse,
};

fn build(anchors: &[&[u8]], intermediates: &[&[u8]], crls: &[&[u8]]) -> Trust {
    with_policy(anchors, intermediates, crls, REFUSE)
}

fn with_policy(
    anchors: &[&[u8]],
    intermediates: &[&[u8]],
    crls: &[&[u8]],
    policy: TrustPolicy,
) -> Trust {
    Trust::build(TrustParts {
        intermediates: leaves(intermediates),
        crls: crls.iter().map(|der| list(der)).collect(),
        policy,
        ..parts(anchors)
    })
    .unwrap()
}

fn list(der: &[u8]) -> RevocationList {
    RevocationList::decode(der).unwrap()
}

fn numbered(serial: u8) -> impl Fn(&mut CertificateParams) {
    move |p| p.serial_number = Some(SerialNumber::from_slice(&[serial]))
}

fn signs_lists_alone(params: &mut CertificateParams) {
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from_slice(&[99]));
}

fn lasting(crl: &mut rcgen::CertificateRevocationListParams) {
    crl.next_update = date_time_ymd(2039, 1, 1);
}

#[test]
fn a_ca_that_changed_its_key_revokes_by_the_new_one_what_the_old_one_signed() {
    let (old, new) = (Ca::root("Root"), Ca::root("Root"));
    let of_new = new.crl(&[7]);
    for policy in [TrustPolicy::default(), REFUSE] {
        let trust = with_policy(&[&old.der, &new.der], &[], &[&of_new], policy);
        let leaf = |serial| old.leaf_with(numbered(serial));
        assert_eq!(verdict(&trust, &[&leaf(7)]), "revoked");
        // Nobody else has a list, so the new key's vouches for the rest.
        assert_eq!(verdict(&trust, &[&leaf(8)]), "holds");
        let old_ca = Certificate::decode(&old.der).unwrap();
        assert!(trust.has_list_of(&old_ca, now()));
        assert!(trust.is_revoked(
            Certificate::decode(&leaf(7)).unwrap().serial(),
            old_ca.subject(),
            Some(old_ca.spki()),
            now()
        ));
    }
}

#[test]
fn a_key_apart_under_the_cas_name_revokes_for_it() {
    let root = Ca::root("Root");
    let apart = root.sub_with("Root", signs_lists_alone);
    let crl = apart.crl(&[7]);
    for policy in [TrustPolicy::default(), REFUSE] {
        let trust = with_policy(&[&root.der], &[&apart.der], &[&crl], policy);
        assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(7))]), "revoked");
        assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(8))]), "holds");
    }
    // The certificate by which it signs was itself revoked: it still refuses, and vouches for nobody.
    let revoked = apart.crl(&[7, 99]);
    let trust = build(&[&root.der], &[&apart.der], &[&revoked]);
    assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(7))]), "revoked");
    let unlisted = root.leaf_with(numbered(8));
    assert_eq!(verdict(&trust, &[&unlisted]), "revocation-unknown");
}

#[test]
fn a_key_apart_vouches_no_longer_than_its_certificate() {
    let root = Ca::root("Root");
    let apart = root.sub_with("Root", |p| {
        signs_lists_alone(p);
        p.not_after = date_time_ymd(2026, 7, 1);
    });
    let trust = build(
        &[&root.der],
        &[&apart.der],
        &[&apart.crl_with(&[], lasting)],
    );
    let leaf = root.leaf();
    let window = trust.verify(&[leaf[..].into()], now()).unwrap().window;
    assert_eq!(window.not_after, "2026-07-01T00:00:00Z".parse().unwrap());
    let later = "2026-07-02T00:00:00Z".parse().unwrap();
    assert_eq!(verdict_at(&trust, &[&leaf], later), "revocation-unknown");
}

#[test]
fn what_no_anchor_certified_refuses_and_vouches_for_nobody() {
    let root = Ca::root("Root");
    // One whose name is another, one that only says it is the root, and one to which the root gave a key that may not certify.
    let apart = root.sub_with("Root", signs_lists_alone);
    for stranger in [Ca::root("Stranger"), Ca::root("Root"), apart] {
        let forged = stranger.sub_with("Root", signs_lists_alone);
        let of_forged = forged.crl(&[7]);
        let trust = build(&[&root.der], &[&stranger.der, &forged.der], &[&of_forged]);
        assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(7))]), "revoked");
        let unlisted = root.leaf_with(numbered(8));
        assert_eq!(verdict(&trust, &[&unlisted]), "revocation-unknown");
        let root = Certificate::decode(&root.der).unwrap();
        assert!(!trust.has_list_of(&root, now()));
    }
}

#[test]
fn each_key_of_a_name_is_vouched_for_by_its_own_lists_and_refused_by_all() {
    let (one, other) = (Ca::root("Root"), Ca::root("Root"));
    let (of_one, of_other) = (one.crl(&[7]), other.crl_with(&[8], lasting));
    for crls in [[&of_one[..], &of_other], [&of_other, &of_one]] {
        let trust = build(&[&one.der, &other.der], &[], &crls);
        // The newer list of one key takes nothing back of what the other's says.
        for ca in [&one, &other] {
            for (serial, expected) in [(7, "revoked"), (8, "revoked"), (9, "holds")] {
                let leaf = ca.leaf_with(numbered(serial));
                assert_eq!(verdict(&trust, &[&leaf]), expected, "{serial}");
            }
        }
        let later: Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
        let unlisted = |ca: &Ca| ca.leaf_with(numbered(9));
        assert_eq!(
            verdict_at(&trust, &[&unlisted(&one)], later),
            "revocation-unknown"
        );
        assert_eq!(verdict_at(&trust, &[&unlisted(&other)], later), "holds");
        let ended = trust.out_of_time(&list(&of_one), later);
        assert_eq!(ended, Some(Concerned::OneKey));
    }
}

#[test]
fn a_list_of_an_anchor_that_only_watches_decides_nothing_under_its_name() {
    let (root, watching) = (Ca::root("Root"), Ca::root("Root"));
    let trust = Trust::build(TrustParts {
        shadow_anchors: leaves(&[&watching.der]),
        crls: vec![list(&watching.crl(&[7]))],
        ..parts(&[&root.der])
    })
    .unwrap();
    assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(7))]), "holds");
    let root = Certificate::decode(&root.der).unwrap();
    assert!(!trust.is_revoked(&"07".parse().unwrap(), root.subject(), None, now()));
    assert!(!trust.has_list_of(&root, now()));
}

#[test]
fn what_certified_a_signer_takes_nothing_from_its_list_though_it_only_watches() {
    let (root, next) = (Ca::root("Root"), Ca::root("Next"));
    let (old, new) = (root.sub("Issuing"), next.sub("Issuing"));
    for shadow_anchors in [leaves(&[]), leaves(&[&next.der])] {
        let trust = Trust::build(TrustParts {
            shadow_anchors,
            intermediates: leaves(&[&old.der, &new.der]),
            crls: vec![list(&new.crl(&[7]))],
            ..parts(&[&root.der])
        })
        .unwrap();
        let leaf = |serial| old.leaf_with(numbered(serial));
        assert_eq!(verdict(&trust, &[&leaf(7)]), "revoked");
        assert_eq!(verdict(&trust, &[&leaf(8)]), "holds");
    }
}

#[test]
fn of_two_lists_of_one_moment_the_higher_number_counts_and_else_both() {
    let root = Ca::root("Root");
    let crl = |serial, number: &[u8]| {
        root.crl_with(&[serial], |p| {
            p.crl_number = SerialNumber::from_slice(number);
        })
    };
    let unnumbered = root.odd_crl(OddCrl {
        version_2: true,
        next_update: true,
        entries: &[&der(
            0x30,
            &[&der(2, &[&[9]]), &der(0x17, &[b"260501000000Z"])],
        )],
        extensions: &[&extension(35, false, &der(0x30, &[]))],
    });
    let asked = |crls: [&[u8]; 2], serial| {
        let [one, other] = crls;
        for crls in [[one, other], [other, one]] {
            let trust = build(&[&root.der], &[], &crls);
            let told = verdict(&trust, &[&root.leaf_with(numbered(serial))]);
            let again = build(&[&root.der], &[], &[other, one]);
            assert_eq!(told, verdict(&again, &[&root.leaf_with(numbered(serial))]));
        }
        let trust = build(&[&root.der], &[], &[one, other]);
        verdict(&trust, &[&root.leaf_with(numbered(serial))])
    };
    let (low, high) = (crl(7, &[0x7f]), crl(8, &[1, 0]));
    assert_eq!(asked([&low, &high], 7), "holds");
    assert_eq!(asked([&low, &high], 8), "revoked");
    let same = crl(8, &[0x7f]);
    assert_eq!(asked([&low, &same], 7), "revoked");
    assert_eq!(asked([&low, &same], 8), "revoked");
    assert_eq!(asked([&low, &unnumbered], 7), "revoked");
    assert_eq!(asked([&low, &unnumbered], 9), "revoked");
}

#[test]
fn a_list_that_has_not_begun_refuses_as_one_that_has_ended_does() {
    let root = Ca::root("Root");
    let future = root.crl_with(&[9], |p| p.this_update = date_time_ymd(2026, 6, 20));
    let warn = TrustPolicy {
        crl_expired: CrlExpired::Warn,
        ..TrustPolicy::default()
    };
    let begins: Timestamp = "2026-06-20T00:00:00Z".parse().unwrap();
    let soon = "2026-06-19T23:56:00Z".parse().unwrap();
    for (policy, before) in [
        (TrustPolicy::default(), "revocation-unknown"),
        (warn, "holds"),
    ] {
        let trust = with_policy(&[&root.der], &[], &[&future], policy);
        assert_eq!(verdict(&trust, &[&root.leaf()]), before);
        assert_eq!(verdict(&trust, &[&root.leaf_with(numbered(9))]), "revoked");
        assert_eq!(
            trust.out_of_time(&list(&future), now()),
            Some(Concerned::Everyone)
        );
        assert_eq!(trust.warnings(now()).len(), 1);
        // A CA's clock may be ahead by a little.
        assert_eq!(verdict_at(&trust, &[&root.leaf()], soon), "holds");
        assert_eq!(verdict_at(&trust, &[&root.leaf()], begins), "holds");
        assert_eq!(trust.warnings(soon).len(), 0);
    }
}
