//! Anchors: which count, of one name or none, and what is said of them.

use countersign::refusals::TEXT_CHARACTERS;
use countersign::tls::{Trust, TrustFault, TrustParts};
use rcgen::{CertificateParams, GeneralSubtree, KeyUsagePurpose, NameConstraints, date_time_ymd};

use crate::forge::{Ca, name};
use crate::{leaves, now, parts, trust, verdict};

#[test]
fn two_anchors_may_have_one_name() {
    let (one, other, third) = (Ca::root("Root"), Ca::root("Root"), Ca::root("Root"));
    let both = trust(&[&one.der, &other.der]);
    for ca in [&one, &other] {
        let verified = both.verify(&[ca.leaf()[..].into()], now()).unwrap();
        assert_eq!(verified.anchor.der(), ca.der);
    }
    assert_eq!(verdict(&both, &[&third.leaf()]), "bad-signature");
    // A leaf that says which key signed it tells that it is another CA's.
    let leaf = third.leaf_with(|p| p.use_authority_key_identifier_extension = true);
    assert_eq!(verdict(&both, &[&leaf]), "unknown-issuer");
}

#[test]
fn an_anchor_that_was_issued_again_takes_over_from_the_lapsed_one() {
    let lapsed = Ca::root_with("Root", |p| p.not_after = date_time_ymd(2026, 6, 1));
    let mut params = lapsed.params.clone();
    params.not_after = date_time_ymd(2030, 1, 1);
    let again = params.self_signed(&*lapsed.key).unwrap().der().to_vec();
    let leaf = lapsed.leaf();
    assert_eq!(verdict(&trust(&[&lapsed.der]), &[&leaf]), "expired");
    for order in [[&lapsed.der[..], &again], [&again, &lapsed.der]] {
        let both = trust(&order);
        let verified = both.verify(&[leaf[..].into()], now()).unwrap();
        assert_eq!(verified.anchor.der(), again);
    }
}

#[test]
fn an_intermediate_is_an_anchor_where_it_is_configured_as_one() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let of_sub = trust(&[&sub.der]);
    assert_eq!(verdict(&of_sub, &[&sub.leaf()]), "holds");
    assert_eq!(
        verdict(&of_sub, &[&sub.leaf(), &sub.der, &root.der]),
        "holds"
    );
    // It vouches for what is below it alone.
    assert_eq!(
        verdict(&of_sub, &[&root.leaf(), &root.der]),
        "unknown-issuer"
    );
}

#[test]
fn a_shadow_anchor_decides_nothing_and_tells_what_it_would_have_done() {
    let (live, shadow) = (Ca::root("Live"), Ca::root("Shadow"));
    let trusted = Trust::build(TrustParts {
        shadow_anchors: leaves(&[&shadow.der]),
        ..parts(&[&live.der])
    })
    .unwrap();
    assert_eq!(verdict(&trusted, &[&live.leaf()]), "holds");
    let leaf = shadow.leaf();
    assert_eq!(verdict(&trusted, &[&leaf]), "unknown-issuer");
    let would = |leaf: &[u8]| trusted.would_accept(&[leaf.into()], now());
    assert_eq!(would(&leaf).unwrap().der(), shadow.der);
    let lapsed = shadow.leaf_with(|p| p.not_after = date_time_ymd(2026, 6, 1));
    assert!(would(&lapsed).is_none());
    assert!(would(&Ca::root("Nobody").leaf()).is_none());
}

#[test]
fn a_useless_anchor_is_warned_of() {
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, Change); 4] = [
        ("ended at 2026-06-01", |p| {
            p.not_after = date_time_ymd(2026, 6, 1)
        }),
        ("not valid before 2026-07-01", |p| {
            p.not_before = date_time_ymd(2026, 7, 1)
        }),
        ("lacks keyCertSign", |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign]
        }),
        ("", |_| {}),
    ];
    for (told, change) in cases {
        let root = Ca::root_with("Root", change);
        let warnings = trust(&[&root.der]).warnings(now());
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let warnings = warnings.join("; ");
        assert!(warnings.contains(told), "{warnings}");
        assert_eq!(warnings.is_empty(), told.is_empty(), "{warnings}");
    }
}

/// Constraints that a leaf of the forge is inside of.
fn of_directory_names(p: &mut CertificateParams) {
    p.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("example.com".to_owned()),
            GeneralSubtree::DirectoryName(name("payments-provider")),
        ],
        excluded_subtrees: Vec::new(),
    });
}

/// And such as speak of another name.
fn of_another_directory_name(p: &mut CertificateParams) {
    p.name_constraints = Some(NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![GeneralSubtree::DirectoryName(name("somebody-else"))],
    });
}

#[test]
fn below_a_ca_that_constrains_directory_names_nothing_is_taken_and_the_ca_is_told() {
    for change in [of_directory_names, of_another_directory_name] {
        let root = Ca::root_with("Constrained", change);
        let (top, below) = (Ca::root("Top"), root.sub("Below"));
        let sub = top.sub_with("Constrained", change);
        let cases: [(&Ca, &[&[u8]]); 4] = [
            (&root, &[&root.leaf()]),
            (&root, &[&below.leaf(), &below.der]),
            (&top, &[&sub.leaf(), &sub.der]),
            (&sub, &[&sub.leaf()]),
        ];
        for (anchor, chain) in cases {
            let chain: Vec<_> = chain.iter().map(|der| (*der).into()).collect();
            let trusted = trust(&[&anchor.der]);
            let refusal = trusted.verify(&chain, now()).unwrap_err();
            assert_eq!(refusal.reason.as_str(), "unsupported-certificate");
            let detail = refusal.detail;
            assert!(detail.starts_with("the issuer "), "{detail}");
            assert!(detail.contains("CN=Constrained"), "{detail}");
            assert!(detail.contains("directory names"), "{detail}");
            // What is kept of it must not end before the mend does.
            assert!(detail.len() < TEXT_CHARACTERS, "{detail}");
        }
        // What is told to help, helps: the same CA without them, and a CA below it as an anchor.
        let mut params = root.params.clone();
        params.name_constraints = None;
        let anew = params.self_signed(&*root.key).unwrap().der().to_vec();
        assert_eq!(verdict(&trust(&[&anew]), &[&root.leaf()]), "holds");
        assert_eq!(verdict(&trust(&[&below.der]), &[&below.leaf()]), "holds");
        let over_both = trust(&[&root.der, &below.der]);
        assert_eq!(verdict(&over_both, &[&below.leaf()]), "holds");
    }
}

#[test]
fn a_configured_ca_that_constrains_directory_names_is_warned_of() {
    let told = |trusted: &Trust| -> Vec<String> {
        let warnings = trusted.warnings(now());
        warnings.iter().map(ToString::to_string).collect()
    };
    let top = Ca::root("Top");
    for change in [of_directory_names, of_another_directory_name] {
        let root = Ca::root_with("Constrained", change);
        let sub = top.sub_with("Constrained", change);
        let through = Trust::build(TrustParts {
            intermediates: leaves(&[&sub.der]),
            ..parts(&[&top.der])
        });
        for trusted in [trust(&[&root.der]), through.unwrap()] {
            let told = told(&trusted);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains("CN=Constrained"), "{told:?}");
            assert!(told[0].contains("directory names"), "{told:?}");
        }
    }
    let of_hosts = Ca::root_with("Hosts", |p| {
        p.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    assert!(told(&trust(&[&of_hosts.der])).is_empty());
}

#[test]
fn without_an_anchor_there_is_no_trust() {
    let faults = Trust::build(TrustParts::default()).unwrap_err();
    assert_eq!(faults, [TrustFault::NoAnchor]);
}
