//! Revocation lists: whose they are, whom they cover, and what is done when they end.

use countersign::tls::{
    Concerned, CrlExpired, CrlMissing, Trust, TrustFault, TrustParts, TrustPolicy,
};
use countersign::x509::{Certificate, DistinguishedName, RevocationList, decode_revocation_lists};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use crate::forge::{Ca, OddCrl, der, entry, extension, openssl};
use crate::{leaves, now, parts, trust, verdict, verdict_at};

const REFUSE: TrustPolicy = TrustPolicy {
    v1_leaf: countersign::tls::V1Leaf::Accept,
    crl_expired: CrlExpired::Refuse,
    crl_missing: CrlMissing::Refuse,
};
const WARN: TrustPolicy = TrustPolicy {
    crl_expired: CrlExpired::Warn,
    crl_missing: CrlMissing::Allow,
    ..REFUSE
};

fn build(anchors: &[&[u8]], crls: &[&[u8]], policy: TrustPolicy) -> Result<Trust, Vec<TrustFault>> {
    let decode = |der: &&[u8]| RevocationList::decode(der).unwrap();
    Trust::build(TrustParts {
        crls: crls.iter().map(decode).collect(),
        policy,
        ..parts(anchors)
    })
}

fn with_crls(anchors: &[&[u8]], crls: &[&[u8]]) -> Trust {
    build(anchors, crls, TrustPolicy::default()).unwrap()
}

fn numbered(serial: u8) -> impl Fn(&mut CertificateParams) {
    move |p| p.serial_number = Some(SerialNumber::from_slice(&[serial]))
}

#[test]
fn a_listed_leaf_is_revoked_and_its_neighbours_are_not() {
    let root = Ca::root("Root");
    let crl = root.crl(&[200, 7, 3, 9, 1]);
    let trust = with_crls(&[&root.der], &[&crl]);
    for (serial, expected) in [
        (7, "revoked"),
        (1, "revoked"),
        (200, "revoked"),
        (8, "holds"),
    ] {
        let leaf = root.leaf_with(numbered(serial));
        assert_eq!(verdict(&trust, &[&leaf]), expected, "{serial}");
    }
}

#[test]
fn a_revoked_intermediate_takes_its_leaves_with_it() {
    let root = Ca::root("Root");
    let sub = root.sub_with("Sub", numbered(50));
    let other = root.sub_with("Other", numbered(51));
    let trust = with_crls(&[&root.der], &[&root.crl(&[50])]);
    assert_eq!(verdict(&trust, &[&sub.leaf(), &sub.der]), "revoked");
    assert_eq!(verdict(&trust, &[&other.leaf(), &other.der]), "holds");
}

#[test]
fn an_intermediate_revokes_what_it_issued() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let crl = RevocationList::decode(&sub.crl(&[7])).unwrap();
    let trust = Trust::build(TrustParts {
        intermediates: leaves(&[&sub.der]),
        crls: vec![crl],
        ..parts(&[&root.der])
    })
    .unwrap();
    assert_eq!(verdict(&trust, &[&sub.leaf(), &sub.der]), "revoked");
    // A serial number is its issuer's alone.
    assert_eq!(verdict(&trust, &[&root.leaf()]), "holds");
}

#[test]
fn a_list_that_no_configured_ca_signed_is_a_fault() {
    let (root, namesake, stranger) = (Ca::root("Root"), Ca::root("Root"), Ca::root("Stranger"));
    for crl in [namesake.crl(&[7]), stranger.crl(&[])] {
        let faults = build(&[&root.der], &[&root.crl(&[]), &crl], REFUSE).unwrap_err();
        assert!(
            matches!(faults[..], [TrustFault::ForeignCrl { crl: 1, .. }]),
            "{faults:?}"
        );
    }
    let mut forged = root.crl(&[7]);
    *forged.last_mut().unwrap() ^= 1;
    assert!(build(&[&root.der], &[&forged], REFUSE).is_err());
}

#[test]
fn a_ca_that_may_not_sign_lists_does_not() {
    let root = Ca::root("Root");
    let crl = root.crl(&[7]);
    let mut params = root.params.clone();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let silent = params.self_signed(&*root.key).unwrap().der().to_vec();
    let faults = build(&[&silent], &[&crl], REFUSE).unwrap_err();
    let [TrustFault::UnusableCrl { crl: 0, detail, .. }] = &faults[..] else {
        panic!("{faults:?}");
    };
    assert!(detail.contains("cRLSign"));
}

#[test]
fn a_list_past_its_end_refuses_or_only_warns() {
    let root = Ca::root("Root");
    let crl = root.crl(&[9]);
    let leaf = root.leaf();
    let listed = root.leaf_with(numbered(9));
    for (policy, after) in [
        (TrustPolicy::default(), "revocation-unknown"),
        (WARN, "holds"),
    ] {
        let trust = build(&[&root.der], &[&crl], policy).unwrap();
        for (at, expected) in [
            ("2026-06-15T00:00:00Z", "holds"),
            ("2026-07-01T00:00:00Z", "holds"),
            ("2026-07-01T00:00:01Z", after),
        ] {
            assert_eq!(
                verdict_at(&trust, &[&leaf], at.parse().unwrap()),
                expected,
                "{at}"
            );
            // What it names it names for ever.
            assert_eq!(
                verdict_at(&trust, &[&listed], at.parse().unwrap()),
                "revoked",
                "{at}"
            );
        }
        let warnings = |at: &str| trust.warnings(at.parse().unwrap()).len();
        assert_eq!(warnings("2026-06-15T00:00:00Z"), 0);
        assert_eq!(warnings("2026-07-02T00:00:00Z"), 1);
    }
    // The window that a connection is held to ends with the list, where that matters.
    let window = |policy| {
        let trust = build(&[&root.der], &[&crl], policy).unwrap();
        trust.verify(&[leaf[..].into()], now()).unwrap().window
    };
    let end: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    assert_eq!(window(TrustPolicy::default()).not_after, end);
    assert!(window(WARN).not_after > end);
}

#[test]
fn an_issuer_without_a_list_is_allowed_or_refused() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let chain: [&[u8]; 2] = [&sub.leaf(), &sub.der];
    assert_eq!(verdict(&trust(&[&root.der]), &chain), "holds");
    let only_root = build(&[&root.der], &[&root.crl(&[])], REFUSE).unwrap();
    assert_eq!(verdict(&only_root, &[&root.leaf()]), "holds");
    assert_eq!(verdict(&only_root, &chain), "revocation-unknown");
    let none = build(&[&root.der], &[], REFUSE).unwrap();
    assert_eq!(verdict(&none, &[&root.leaf()]), "revocation-unknown");
}

#[test]
fn the_newest_list_counts() {
    let root = Ca::root("Root");
    let old = root.crl(&[7]);
    let new = root.crl_with(&[8], |p| p.this_update = date_time_ymd(2026, 6, 10));
    let future = root.crl_with(&[9], |p| p.this_update = date_time_ymd(2026, 6, 20));
    for crls in [[&old[..], &new, &future], [&future, &new, &old]] {
        let trust = build(&[&root.der], &crls, REFUSE).unwrap();
        // Whoever was on hold, and no longer is, may come again; a list of the future revokes already.
        for (serial, expected) in [(7, "holds"), (8, "revoked"), (9, "revoked")] {
            let leaf = root.leaf_with(numbered(serial));
            assert_eq!(verdict(&trust, &[&leaf]), expected, "{serial}");
        }
    }
    // But it vouches for nobody.
    let only_future = build(&[&root.der], &[&future], REFUSE).unwrap();
    assert_eq!(verdict(&only_future, &[&root.leaf()]), "revocation-unknown");
    assert_eq!(only_future.warnings(now()).len(), 1);
}

#[test]
fn what_is_known_of_a_leaf_by_its_number_alone_is_looked_up_in_the_lists_that_count() {
    let (root, namesake) = (Ca::root("Root"), Ca::root("Root"));
    let old = root.crl(&[7]);
    let new = root.crl_with(&[8], |p| p.this_update = date_time_ymd(2026, 6, 10));
    let trust = build(&[&root.der, &namesake.der], &[&old, &new], REFUSE).unwrap();
    let decoded = |ca: &Ca| Certificate::decode(&ca.der).unwrap();
    let issuer = decoded(&root).subject().clone();
    let other = DistinguishedName::parse("CN=Another").unwrap();
    let is_revoked =
        |serial: &str, issuer, key| trust.is_revoked(&serial.parse().unwrap(), issuer, key, now());
    assert!(is_revoked("08", &issuer, None));
    assert!(is_revoked("08", &issuer, Some(decoded(&root).spki())));
    let of_namesake = Some(decoded(&namesake).spki());
    assert!(
        is_revoked("08", &issuer, of_namesake),
        "one name, one space"
    );
    assert!(!is_revoked("08", &other, None));
    assert!(!is_revoked("07", &issuer, None), "the newest list counts");
}

#[test]
fn the_end_of_a_list_concerns_those_whom_no_other_covers() {
    let (root, watching) = (Ca::root("Root"), Ca::root("Watching"));
    let scoped = |scope| {
        root.crl_with(&[], |p| {
            let uris = vec!["http://a.example/crl".to_owned()];
            let distribution_point = CrlDistributionPoint { uris };
            p.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point,
                scope: Some(scope),
            });
            p.next_update = date_time_ymd(2099, 1, 1);
        })
    };
    let ended = root.crl(&[]);
    let newer = root.crl_with(&[], |p| {
        p.this_update = date_time_ymd(2026, 6, 10);
        p.next_update = date_time_ymd(2099, 1, 1);
    });
    let later: Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
    let end = |crls: &[&[u8]], of: &[u8], at| {
        let trust = build(&[&root.der], crls, REFUSE).unwrap();
        trust.out_of_time(&RevocationList::decode(of).unwrap(), at)
    };
    assert_eq!(end(&[&ended], &ended, now()), None);
    assert_eq!(end(&[&ended], &ended, later), Some(Concerned::Everyone));
    assert_eq!(
        end(&[&ended, &newer], &ended, later),
        Some(Concerned::Nobody)
    );
    assert_eq!(end(&[&ended, &newer], &newer, later), None);
    let users = scoped(CrlScope::UserCertsOnly);
    let of_some = end(&[&ended, &users], &ended, later);
    assert_eq!(of_some, Some(Concerned::TheUncovered));
    let of_watching = watching.crl(&[]);
    let trust = Trust::build(TrustParts {
        shadow_anchors: leaves(&[&watching.der]),
        crls: vec![RevocationList::decode(&of_watching).unwrap()],
        ..parts(&[&root.der])
    })
    .unwrap();
    let list = RevocationList::decode(&of_watching).unwrap();
    assert_eq!(trust.out_of_time(&list, later), Some(Concerned::Nobody));
}

#[test]
fn a_list_covers_what_its_scope_says() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let point = |uri: &str| vec![uri.to_owned()];
    let scoped = |uri: &str, scope| {
        root.crl_with(&[], |p| {
            p.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: point(uri) },
                scope,
            });
        })
    };
    let of_point = |uri: &str| {
        root.leaf_with(|p| {
            p.crl_distribution_points = vec![CrlDistributionPoint { uris: point(uri) }];
        })
    };
    let (a, b) = ("http://a.example/crl", "http://b.example/crl");
    let asked =
        |crls: &[&[u8]], leaf: &[u8]| verdict(&build(&[&root.der], crls, REFUSE).unwrap(), &[leaf]);
    let all = scoped(a, None);
    let users = scoped(a, Some(CrlScope::UserCertsOnly));
    let cas = scoped(a, Some(CrlScope::CaCertsOnly));
    let of_b = scoped(b, None);
    assert_eq!(asked(&[&all], &root.leaf()), "holds");
    assert_eq!(asked(&[&all], &of_point(a)), "holds");
    assert_eq!(asked(&[&all], &of_point(b)), "revocation-unknown");
    assert_eq!(asked(&[&of_b, &all], &of_point(b)), "holds");
    assert_eq!(asked(&[&users], &of_point(a)), "holds");
    assert_eq!(asked(&[&cas], &of_point(a)), "revocation-unknown");
    assert_eq!(asked(&[&cas], &root.leaf()), "revocation-unknown");
    // A CA's certificate is covered by the list for CAs, its leaf by a list of its own.
    let sub_list = RevocationList::decode(&sub.crl(&[])).unwrap();
    for (of_root, expected) in [(&cas, "holds"), (&users, "revocation-unknown")] {
        let trust = Trust::build(TrustParts {
            intermediates: leaves(&[&sub.der]),
            crls: vec![RevocationList::decode(of_root).unwrap(), sub_list.clone()],
            policy: REFUSE,
            ..parts(&[&root.der])
        })
        .unwrap();
        assert_eq!(verdict(&trust, &[&sub.leaf(), &sub.der]), expected);
    }
    // One list of each scope stands beside the other.
    assert_eq!(asked(&[&users, &cas], &of_point(a)), "holds");
}

#[test]
fn a_list_that_can_not_be_followed_is_a_fault() {
    let root = Ca::root("Root");
    let plain = || OddCrl {
        version_2: true,
        next_update: true,
        entries: &[],
        extensions: &[],
    };
    let told = |list: OddCrl<'_>| {
        let crl = root.odd_crl(list);
        match build(&[&root.der], &[&crl], REFUSE) {
            Ok(trust) => verdict(&trust, &[&root.leaf()]).to_owned(),
            Err(faults) => match &faults[..] {
                [TrustFault::UnusableCrl { detail, .. }] => detail.clone(),
                other => panic!("{other:?}"),
            },
        }
    };
    let idp = |fields: &[&[u8]]| extension(28, true, &der(0x30, fields));
    assert_eq!(told(plain()), "holds");
    // `openssl ca -gencrl` makes version 1 where it is not told to number its lists.
    let version_1 = OddCrl {
        version_2: false,
        ..plain()
    };
    assert_eq!(told(version_1), "holds");
    // What is not understood and not critical is passed over, and so is what changes nothing, critical or not.
    let harmless: [&[u8]; 2] = [
        &extension(99, false, &[5, 0]),
        &extension(20, true, &[2, 1, 1]),
    ];
    let with_harmless = OddCrl {
        extensions: &harmless,
        ..plain()
    };
    assert_eq!(told(with_harmless), "holds");
    let why = [
        extension(21, true, &[0x0a, 1, 1]),
        extension(99, false, &[5, 0]),
    ];
    let of_others = entry(&[9], &[&why[0], &why[1]]);
    assert_eq!(
        told(OddCrl {
            entries: &[&of_others],
            ..plain()
        }),
        "holds"
    );
    let named = entry(&[7], &[&extension(21, false, &[0x0a, 1, 1])]);
    let entries: [&[u8]; 1] = [&named];
    assert_eq!(
        told(OddCrl {
            entries: &entries,
            ..plain()
        }),
        "revoked"
    );

    let endless = OddCrl {
        next_update: false,
        ..plain()
    };
    assert!(told(endless).contains("nextUpdate"));
    let unnamed = [6, 3, 0x55, 0x1d, 99];
    let cases: [(&str, Vec<u8>); 9] = [
        ("delta", extension(27, true, &[2, 1, 1])),
        ("delta", extension(27, false, &[2, 1, 1])),
        ("critical extension", extension(99, true, &[5, 0])),
        ("indirect", idp(&[&[0x84, 1, 0xff]])),
        ("some reasons", idp(&[&[0x83, 2, 1, 0x02]])),
        ("attribute certificates", idp(&[&[0x85, 1, 0xff]])),
        ("named relative", idp(&[&der(0xa0, &[&der(0xa1, &[])])])),
        ("cannot be read", idp(&[&[0x86, 1, 0xff]])),
        ("cannot be read", der(0x30, &[&unnamed, &[4, 0], &[5, 0]])),
    ];
    for (expected, extension) in &cases {
        let extensions: [&[u8]; 1] = [extension];
        let told = told(OddCrl {
            extensions: &extensions,
            ..plain()
        });
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // An entry of another issuer, and behind an entry that can't be read nothing is passed over.
    let of_another = entry(&[9], &[&extension(29, true, &der(0x30, &[]))]);
    let unknown = entry(&[9], &[&extension(99, true, &[5, 0])]);
    let endless_serial = entry(&[1; 60], &[]);
    for (expected, entries) in [
        ("indirect", [&of_another[..], &named]),
        ("critical extension", [&unknown, &named]),
        ("too long", [&endless_serial, &named]),
    ] {
        let told = told(OddCrl {
            entries: &entries,
            ..plain()
        });
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn lists_made_by_openssl_are_followed_in_pem_and_der() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let config = "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nserial = serial\ndefault_md = sha256\n\
        default_crl_days = 30\ndefault_days = 30\npolicy = p\nnew_certs_dir = .\nx509_extensions = e\n\
        [p]\ncommonName = supplied\n[e]\nbasicConstraints = CA:FALSE\n";
    std::fs::write(at.join("conf"), config).unwrap();
    std::fs::write(at.join("index"), "").unwrap();
    std::fs::write(at.join("serial"), "1000\n").unwrap();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 90 -subj /CN=Root",
    );
    for name in ["good", "bad"] {
        openssl(
            at,
            &format!(
                "req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            at,
            &format!(
                "ca -batch -config conf -keyfile ca.key -cert ca.crt -in {name}.csr -out {name}.crt -notext"
            ),
        );
    }
    openssl(
        at,
        "ca -config conf -keyfile ca.key -cert ca.crt -revoke bad.crt",
    );
    openssl(
        at,
        "ca -config conf -keyfile ca.key -cert ca.crt -gencrl -out crl.pem",
    );
    openssl(at, "crl -in crl.pem -outform DER -out crl.der");
    let read = |file: &str| {
        let pem = std::fs::read(at.join(file)).unwrap();
        countersign::x509::decode_certificates(&pem)
            .unwrap()
            .remove(0)
    };
    for file in ["crl.pem", "crl.der"] {
        let lists = decode_revocation_lists(&std::fs::read(at.join(file)).unwrap()).unwrap();
        let trust = build(&[&read("ca.crt")], &[&lists[0]], REFUSE).unwrap();
        let verdict = |file| verdict_at(&trust, &[&read(file)], Timestamp::now());
        assert_eq!(verdict("good.crt"), "holds");
        assert_eq!(verdict("bad.crt"), "revoked");
        assert_eq!(trust.crls().count(), 1);
    }
    let bad = Certificate::decode(&read("bad.crt")).unwrap();
    assert_eq!(bad.serial().to_string(), "1001");
}

#[test]
fn an_older_list_in_the_place_of_a_newer_one_is_seen_by_whom_it_lets_in_again() {
    let (root, other) = (Ca::root("Root"), Ca::root("Other"));
    let anchors = [&*root.der, &*other.der];
    let of = |day: u8, number: u8, serials: &[u8]| {
        root.crl_with(serials, |list| {
            list.this_update = date_time_ymd(2026, 6, day);
            list.crl_number = SerialNumber::from_slice(&[number]);
        })
    };
    let serving = with_crls(&anchors, &[&of(10, 5, &[7, 8, 9])]);
    let forgotten = |lists: &[&[u8]]| -> Vec<usize> {
        let trust = with_crls(&anchors, lists);
        let told = trust.lists_that_forgot(&serving, now());
        told.map(|forgetful| {
            assert_eq!(forgetful.newer.number().unwrap().to_string(), "05");
            forgetful.forgotten
        })
        .collect()
    };
    for (lists, expected) in [
        (&[&*of(9, 4, &[7])][..], &[2][..]),
        (&[&of(10, 4, &[7, 8])], &[1]),
        (&[&of(9, 6, &[])], &[3]),
        // Nobody is let in again.
        (&[&of(9, 4, &[7, 8, 9])], &[]),
        (&[&of(10, 5, &[7, 8, 9])], &[]),
        // What was revoked may have ended since.
        (&[&of(11, 6, &[7])], &[]),
        (&[&of(10, 6, &[])], &[]),
        // The newest counts, whatever lies beside it.
        (&[&of(9, 4, &[7]), &of(11, 6, &[9])], &[]),
        (&[&other.crl(&[])], &[]),
        (&[], &[]),
    ] {
        assert_eq!(forgotten(lists), expected, "{}", lists.len());
    }
    let trust = with_crls(&[&other.der], &[&other.crl(&[])]);
    assert_eq!(trust.lists_that_forgot(&serving, now()).count(), 0);
}
