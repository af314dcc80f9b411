//! Chains of every quality.

use countersign::tls::{CutOffs, Trust, TrustFault, TrustParts};
use countersign::x509::Certificate;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SanType, date_time_ymd,
};

use crate::forge::{Ca, leaf_params, name, openssl};
use crate::{leaves, now, parts, trust, verdict, verdict_at};

#[test]
fn a_good_chain_holds_with_and_without_an_intermediate() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let trust = trust(&[&root.der]);
    assert_eq!(verdict(&trust, &[&root.leaf()]), "holds");
    assert_eq!(verdict(&trust, &[&sub.leaf(), &sub.der]), "holds");
    // Order, repetition, the root itself and what has nothing to do with it do no harm.
    let stranger = Ca::root("Stranger");
    let chain: [&[u8]; 5] = [&sub.leaf(), &root.der, &stranger.der, &sub.der, &sub.der];
    assert_eq!(verdict(&trust, &chain), "holds");
    assert_eq!(verdict(&trust, &[&sub.leaf()]), "unknown-issuer");
}

#[test]
fn a_leaf_is_refused_for_what_it_is() {
    type Change = fn(&mut CertificateParams);
    let cases: &[(&str, &str, Change)] = &[
        ("expired", "lapsed", |p| {
            p.not_after = date_time_ymd(2026, 6, 1)
        }),
        ("not-yet-valid", "early", |p| {
            p.not_before = date_time_ymd(2026, 7, 1)
        }),
        ("wrong-extended-key-usage", "for servers", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("wrong-extended-key-usage", "for anything", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        }),
        ("wrong-key-usage", "no digitalSignature", |p| {
            p.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        }),
        ("wrong-key-usage", "a CA's", |p| {
            p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        (
            "unsupported-certificate",
            "unknown critical extension",
            |p| {
                let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            },
        ),
        ("expired", "lapsed, and for servers", |p| {
            p.not_after = date_time_ymd(2026, 6, 1);
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("holds", "no usages at all", |p| {
            p.key_usages = Vec::new();
            p.extended_key_usages = Vec::new();
        }),
        ("holds", "more usages", |p| {
            p.extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }),
    ];
    let root = Ca::root("Root");
    let stranger = Ca::root("Stranger");
    let trust = trust(&[&root.der]);
    for (expected, what, change) in cases {
        let leaf = root.leaf_with(change);
        assert_eq!(verdict(&trust, &[&leaf]), *expected, "{what}");
        // Whatever else is wrong: of a CA that nobody knows, that is what is to be told.
        let leaf = stranger.leaf_with(change);
        let verdict = verdict(&trust, &[&leaf]);
        assert_eq!(verdict, "unknown-issuer", "{what}, of a stranger");
    }
}

#[test]
fn a_certificate_that_signed_itself_is_of_an_unknown_issuer() {
    let trust = trust(&[&Ca::root("Root").der]);
    let own = Ca::root("payments-provider");
    assert_eq!(verdict(&trust, &[&own.der]), "unknown-issuer");
    let key = KeyPair::generate().unwrap();
    let own = leaf_params().self_signed(&key).unwrap();
    assert_eq!(verdict(&trust, &[own.der()]), "unknown-issuer");
}

#[test]
fn a_lapsed_leaf_says_since_when() {
    let root = Ca::root("Root");
    let leaf = root.leaf_with(|p| p.not_after = date_time_ymd(2026, 6, 1));
    let refusal = trust(&[&root.der])
        .verify(&[leaf[..].into()], now())
        .unwrap_err();
    assert!(
        refusal.detail.contains("2026-06-01T00:00:00"),
        "{}",
        refusal.detail
    );
    assert_eq!(refusal.leaf.unwrap().der(), leaf);
}

#[test]
fn the_last_second_of_a_leaf_counts() {
    let root = Ca::root("Root");
    let leaf = root.leaf_with(|p| p.not_after = date_time_ymd(2026, 6, 1));
    let trust = trust(&[&root.der]);
    for (at, expected) in [
        ("2025-12-31T23:59:59.999Z", "not-yet-valid"),
        ("2026-01-01T00:00:00Z", "holds"),
        ("2026-06-01T00:00:00.999Z", "holds"),
        ("2026-06-01T00:00:01Z", "expired"),
    ] {
        let verdict = verdict_at(&trust, &[&leaf], at.parse().unwrap());
        assert_eq!(verdict, expected, "{at}");
    }
}

#[test]
fn an_issuer_is_refused_for_what_it_is() {
    type Change = fn(&mut CertificateParams);
    let cases: &[(&str, &str, Change)] = &[
        ("expired", "lapsed", |p| {
            p.not_after = date_time_ymd(2026, 6, 1)
        }),
        ("not-yet-valid", "early", |p| {
            p.not_before = date_time_ymd(2026, 7, 1)
        }),
        ("wrong-key-usage", "no keyCertSign", |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign];
        }),
        ("wrong-extended-key-usage", "for servers", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        (
            "unsupported-certificate",
            "unknown critical extension",
            |p| {
                let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            },
        ),
        ("holds", "no keyUsage", |p| p.key_usages = Vec::new()),
        ("holds", "for clients", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
    ];
    for (expected, what, change) in cases {
        let root = Ca::root_with("Root", change);
        let verdict_of_anchor = verdict(&trust(&[&root.der]), &[&root.leaf()]);
        assert_eq!(verdict_of_anchor, *expected, "an anchor: {what}");
        let root = Ca::root("Root");
        let sub = root.sub_with("Sub", change);
        let verdict_of_sub = verdict(&trust(&[&root.der]), &[&sub.leaf(), &sub.der]);
        assert_eq!(verdict_of_sub, *expected, "an intermediate: {what}");
        // As an anchor, an intermediate is held to the same.
        let verdict_of_sub = verdict(&trust(&[&sub.der]), &[&sub.leaf()]);
        assert_eq!(
            verdict_of_sub, *expected,
            "an intermediate as anchor: {what}"
        );
    }
}

#[test]
fn a_leaf_can_not_issue() {
    let root = Ca::root("Root");
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let sub = root.sub_with("Sub", |p| p.is_ca = is_ca);
        let trust = trust(&[&root.der]);
        assert_eq!(verdict(&trust, &[&sub.leaf(), &sub.der]), "wrong-key-usage");
        let faults = Trust::build(parts(&[&sub.der])).unwrap_err();
        assert!(matches!(faults[..], [TrustFault::NotACa { anchor: 0, .. }]));
    }
}

#[test]
fn a_path_is_no_longer_than_each_issuer_allows() {
    let constrained = |max| {
        move |p: &mut CertificateParams| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(max))
    };
    for (max, expected) in [(0, "wrong-key-usage"), (1, "holds")] {
        // By the anchor.
        let root = Ca::root_with("Root", constrained(max));
        let sub = root.sub("Sub");
        let by_anchor = verdict(&trust(&[&root.der]), &[&sub.leaf(), &sub.der]);
        assert_eq!(by_anchor, expected, "anchor, {max}");
        assert_eq!(verdict(&trust(&[&root.der]), &[&root.leaf()]), "holds");
        // By an intermediate.
        let root = Ca::root("Root");
        let upper = root.sub_with("Upper", constrained(max));
        let lower = upper.sub("Lower");
        let chain: [&[u8]; 3] = [&lower.leaf(), &lower.der, &upper.der];
        assert_eq!(
            verdict(&trust(&[&root.der]), &chain),
            expected,
            "intermediate, {max}"
        );
    }
}

#[test]
fn name_constraints_bind_leaves() {
    let permitted = |names: &[&str]| {
        let subtree = |name: &&str| GeneralSubtree::DnsName((*name).to_owned());
        NameConstraints {
            permitted_subtrees: names.iter().map(subtree).collect(),
            excluded_subtrees: Vec::new(),
        }
    };
    let named = |host: &str| {
        let host = SanType::DnsName(host.to_owned().try_into().unwrap());
        move |p: &mut CertificateParams| p.subject_alt_names = vec![host]
    };
    let root = Ca::root_with("Root", |p| {
        p.name_constraints = Some(permitted(&["example.com"]))
    });
    let of_anchor = trust(&[&root.der]);
    let good = root.leaf_with(named("a.example.com"));
    let bad = root.leaf_with(named("a.example.org"));
    assert_eq!(verdict(&of_anchor, &[&good]), "holds");
    assert_eq!(verdict(&of_anchor, &[&bad]), "wrong-key-usage");
    let top = Ca::root("Top");
    let sub = top.sub_with("Sub", |p| {
        p.name_constraints = Some(permitted(&["example.com"]))
    });
    let of_top = trust(&[&top.der]);
    let bad = sub.leaf_with(named("a.example.org"));
    assert_eq!(verdict(&of_top, &[&sub.leaf(), &sub.der]), "holds");
    assert_eq!(verdict(&of_top, &[&bad, &sub.der]), "wrong-key-usage");
}

#[test]
fn what_an_issuer_may_not_do_is_told_as_its_own() {
    let detail = |anchor: &[u8], chain: &[&[u8]]| {
        let chain: Vec<_> = chain.iter().map(|der| (*der).into()).collect();
        trust(&[anchor]).verify(&chain, now()).unwrap_err().detail
    };
    let root = Ca::root_with("Root", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    let sub = root.sub("Sub");
    let of_length = detail(&root.der, &[&sub.leaf(), &sub.der]);
    assert!(of_length.ends_with("(pathLenConstraint)"), "{of_length}");
    assert!(of_length.contains("CN=Root"), "{of_length}");
    let root = Ca::root_with("Root", |p| {
        p.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let host = SanType::DnsName("a.example.org".to_owned().try_into().unwrap());
    let bad = root.leaf_with(|p| p.subject_alt_names = vec![host]);
    let of_names = detail(&root.der, &[&bad]);
    assert!(of_names.ends_with("(nameConstraints)"), "{of_names}");
    let root = Ca::root("Root");
    let any = root.leaf_with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    let of_purpose = detail(&root.der, &[&any]);
    assert!(of_purpose.contains("anyExtendedKeyUsage"), "{of_purpose}");
}

#[test]
fn a_name_in_another_encoding_is_not_called_unknown() {
    let root = Ca::root("Root");
    let printable = DnValue::PrintableString("Root".try_into().unwrap());
    let mut otherwise = root.params.clone();
    otherwise.distinguished_name = DistinguishedName::new();
    otherwise
        .distinguished_name
        .push(DnType::CommonName, printable);
    otherwise
        .distinguished_name
        .push(DnType::OrganizationName, "Example");
    let der = otherwise.self_signed(&*root.key).unwrap().der().to_vec();
    let refusal = trust(&[&der])
        .verify(&[root.leaf()[..].into()], now())
        .unwrap_err();
    assert_eq!(refusal.reason.as_str(), "unknown-issuer");
    let detail = refusal.detail;
    assert!(detail.contains("compared byte by byte"), "{detail}");
    let refusal = trust(&[&Ca::root("Another").der])
        .verify(&[root.leaf()[..].into()], now())
        .unwrap_err();
    assert!(refusal.detail.starts_with("no configured CA has the name"));
}

#[test]
fn what_webpki_counts_or_does_not_read_is_told_as_it_is() {
    let detail = |anchor: &[u8], chain: &[&[u8]]| {
        let chain: Vec<_> = chain.iter().map(|der| (*der).into()).collect();
        trust(&[anchor]).verify(&chain, now()).unwrap_err().detail
    };
    let root = Ca::root("Root");
    let old = root.leaf_with(|p| p.not_before = date_time_ymd(1960, 1, 1));
    let told = detail(&root.der, &[&old]);
    assert!(told.contains("before 1970"), "{told}");
    // RFC 5280 §4.2.1.9 leaves a self-issued certificate out of the count, and webpki does not.
    let sub = root.sub_with("Sub", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let renewed = sub.sub("Sub");
    let chain: [&[u8]; 3] = [&renewed.leaf(), &renewed.der, &sub.der];
    let told = detail(&root.der, &chain);
    assert!(told.contains("a CA issued to itself counts"), "{told}");
}

#[test]
fn configured_intermediates_serve_clients_that_do_not_send_theirs() {
    let root = Ca::root("Root");
    let sub = root.sub("Sub");
    let configured = Trust::build(TrustParts {
        intermediates: leaves(&[&sub.der]),
        ..parts(&[&root.der])
    })
    .unwrap();
    assert_eq!(verdict(&configured, &[&sub.leaf()]), "holds");
    // It trusts nobody by itself.
    let stranger = Ca::root("Stranger");
    let elsewhere = Trust::build(TrustParts {
        intermediates: leaves(&[&sub.der]),
        ..parts(&[&stranger.der])
    })
    .unwrap();
    assert_eq!(verdict(&elsewhere, &[&sub.leaf()]), "unknown-issuer");
}

#[test]
fn a_cross_signed_intermediate_leads_to_whichever_root_is_trusted() {
    let (old, new) = (Ca::root("Old"), Ca::root("New"));
    let under_old = old.sub("Sub");
    let under_new = under_old.certified_by(&new);
    let leaf = under_old.leaf();
    for chain in [
        [&leaf[..], &under_old.der, &under_new.der],
        [&leaf, &under_new.der, &under_old.der],
    ] {
        for root in [&old, &new] {
            let verified = trust(&[&root.der])
                .verify(&chain.map(Into::into), now())
                .unwrap();
            assert_eq!(verified.anchor.der(), root.der);
        }
        // One way is lapsed, the other holds.
        let lapsed = Ca::root_with("Lapsed", |p| p.not_after = date_time_ymd(2026, 6, 1));
        assert_eq!(verdict(&trust(&[&lapsed.der, &new.der]), &chain), "holds");
    }
}

#[test]
fn circles_and_crowds_end() {
    let (a, b) = (Ca::root("A"), Ca::root("B"));
    let (a_by_b, b_by_a) = (a.certified_by(&b), b.certified_by(&a));
    let trusted = trust(&[&Ca::root("Root").der]);
    let circle: [&[u8]; 5] = [&a.leaf(), &a_by_b.der, &b_by_a.der, &a.der, &b.der];
    assert_eq!(verdict(&trusted, &circle), "unknown-issuer");

    // Everybody has one name, so everybody may have issued everybody.
    let crowd: Vec<Ca> = (0..30).map(|_| Ca::root("Crowd")).collect();
    let leaf = crowd[0].leaf();
    let mut chain: Vec<&[u8]> = vec![&leaf];
    chain.extend(crowd.iter().map(|ca| &ca.der[..]));
    let before = std::time::Instant::now();
    let _refused = verdict(&trusted, &chain);
    let by_name = trust(&[&Ca::root("Crowd").der]);
    assert_eq!(verdict(&by_name, &chain), "unsupported-certificate");
    let sent: Vec<_> = chain.iter().map(|der| (*der).into()).collect();
    let told = by_name.verify(&sent, now()).unwrap_err().detail;
    assert!(
        told.starts_with("more than 3 of the certificates"),
        "{told}"
    );
    // Generous for a slow machine, and far below what the unbounded search takes.
    assert!(before.elapsed().as_secs() < 5, "{:?}", before.elapsed());

    // Three ways on from each of many names.
    let mut layers: Vec<Vec<Ca>> = vec![(0..3).map(|_| Ca::root("L0")).collect()];
    for depth in 1..6 {
        let above = &layers[depth - 1];
        let name = format!("L{depth}");
        let first = above[0].sub(&name);
        layers.push(above.iter().map(|ca| first.certified_by(ca)).collect());
    }
    let leaf = layers[5][0].leaf();
    let mut chain: Vec<&[u8]> = vec![&leaf];
    chain.extend(layers.iter().rev().flatten().map(|ca| &ca.der[..]));
    assert_eq!(verdict(&trusted, &chain), "unknown-issuer");
}

#[test]
fn a_chain_of_twenty_is_refused_and_one_of_six_holds() {
    let root = Ca::root("Root");
    let mut chain = vec![root.clone()];
    for depth in 0..20 {
        let below = chain.last().unwrap().sub(&format!("Sub {depth}"));
        chain.push(below);
    }
    let trusted = trust(&[&root.der]);
    let below = |depth: usize| {
        let mut sent = vec![chain[depth].leaf()];
        sent.extend(chain[1..=depth].iter().rev().map(|ca| ca.der.clone()));
        sent
    };
    for (depth, expected) in [(5, "holds"), (6, "holds"), (20, "unsupported-certificate")] {
        let sent = below(depth);
        let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let verdict = verdict(&trusted, &sent);
        assert_eq!(verdict, expected, "{depth}");
    }
}

#[test]
fn a_forged_or_broken_certificate_is_refused_and_none_panics() {
    let root = Ca::root("Root");
    let trusted = trust(&[&root.der]);
    let leaf = root.leaf();
    let mut forged = leaf.clone();
    *forged.last_mut().unwrap() ^= 1;
    let verdict_of_forged = verdict(&trusted, &[&forged]);
    assert!(["bad-signature", "unsupported-certificate"].contains(&verdict_of_forged));
    assert_eq!(verdict(&trusted, &[]), "no-certificate");
    assert_eq!(verdict(&trusted, &[b""]), "unsupported-certificate");
    assert_eq!(
        verdict(&trusted, &[b"\x30\x03\x02\x01\x01"]),
        "unsupported-certificate"
    );
    // One byte after another: whatever comes of it, never a pass.
    for place in 0..leaf.len() {
        let mut changed = leaf.clone();
        changed[place] ^= 0x41;
        let chain = [changed[..].into(), root.der[..].into()];
        assert!(trusted.verify(&chain, now()).is_err(), "byte {place}");
        // Nor does a broken companion spoil a good leaf.
        let verdict = verdict(&trusted, &[&leaf, &changed]);
        assert_eq!(verdict, "holds");
    }
}

#[test]
fn weak_keys_and_hashes_prove_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let read = |file: &str| {
        let pem = std::fs::read(at.join(file)).unwrap();
        countersign::x509::decode_certificates(&pem)
            .unwrap()
            .remove(0)
    };
    std::fs::write(at.join("ext"), "basicConstraints=CA:FALSE\n").unwrap();
    let make_root = |name: &str, bits: u32| {
        openssl(
            at,
            &format!(
                "req -x509 -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.crt -days 30 -subj /CN={name}"
            ),
        );
    };
    let make_leaf = |name: &str, ca: &str, bits: u32, digest: &str| {
        openssl(
            at,
            &format!(
                "req -new -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            at,
            &format!(
                "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 9 {digest} -extfile ext -out {name}.crt"
            ),
        );
    };
    make_root("strong", 2048);
    make_root("weak", 1024);
    make_leaf("good", "strong", 2048, "-sha256");
    make_leaf("sha384", "strong", 3072, "-sha384");
    make_leaf("sha1", "strong", 2048, "-sha1");
    make_leaf("short", "strong", 1024, "-sha256");
    make_leaf("under-weak", "weak", 2048, "-sha256");
    let both = trust(&[&read("strong.crt"), &read("weak.crt")]);
    for (file, expected) in [
        ("good.crt", "holds"),
        ("sha384.crt", "holds"),
        ("sha1.crt", "unsupported-certificate"),
        ("short.crt", "unsupported-certificate"),
        ("under-weak.crt", "unsupported-certificate"),
    ] {
        let verdict = verdict_at(&both, &[&read(file)], Timestamp::now());
        assert_eq!(verdict, expected, "{file}");
    }
}

#[test]
fn every_kind_of_key_is_accepted() {
    let root = Ca::root("Root");
    let trusted = trust(&[&root.der]);
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let key = KeyPair::generate_for(kind).unwrap();
        let leaf = root.certify(&leaf_params(), &key);
        assert_eq!(verdict(&trusted, &[&leaf]), "holds", "{kind:?}");
        // And as a CA's.
        let mut ca = Ca::root("Other");
        ca.key = KeyPair::generate_for(kind).unwrap().into();
        ca.der = ca.params.self_signed(&*ca.key).unwrap().der().to_vec();
        assert_eq!(
            verdict(&trust(&[&ca.der]), &[&ca.leaf()]),
            "holds",
            "{kind:?}"
        );
    }
}

#[test]
fn a_leaf_of_a_key_that_is_not_taken_is_told_by_the_keys_name() {
    let root = Ca::root("Root");
    let trust = trust(&[&root.der]);
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (options, name) in [
        ("EC -pkeyopt ec_paramgen_curve:secp256k1", "ECDSA secp256k1"),
        ("EC -pkeyopt ec_paramgen_curve:P-224", "ECDSA P-224"),
        ("ED448", "Ed448"),
        ("RSA-PSS -pkeyopt rsa_keygen_bits:2048", "RSA-PSS"),
    ] {
        openssl(at, &format!("genpkey -algorithm {options} -out key"));
        openssl(at, "pkey -in key -pubout -outform DER -out spki");
        let spki = std::fs::read(at.join("spki")).unwrap();
        let leaf = root.leaf_of(&spki);
        let refusal = trust.verify(&[leaf[..].into()], now()).unwrap_err();
        assert_eq!(refusal.reason.as_str(), "unsupported-certificate", "{name}");
        let expected = format!("the leaf's key is {name} (unsupported): not one of RSA");
        assert!(refusal.detail.starts_with(&expected), "{}", refusal.detail);
    }
}

#[test]
fn what_is_cut_off_is_refused_by_serial_key_or_subject() {
    let root = Ca::root("Root");
    let leaf = root.leaf();
    let decoded = Certificate::decode(&leaf).unwrap();
    let other = Certificate::decode(&root.leaf_with(|p| {
        p.serial_number = Some(rcgen::SerialNumber::from_slice(&[8]));
        p.distinguished_name = name("another");
    }))
    .unwrap();
    let cut_offs = |of: &Certificate| {
        [
            CutOffs {
                serials: vec![of.serial().clone()],
                ..CutOffs::default()
            },
            CutOffs {
                keys: vec![of.spki()],
                ..CutOffs::default()
            },
            CutOffs {
                subjects: vec![of.subject().clone()],
                ..CutOffs::default()
            },
        ]
    };
    for (of, expected) in [(&decoded, "revoked"), (&other, "holds")] {
        for cut_offs in cut_offs(of) {
            let trusted = Trust::build(TrustParts {
                cut_offs,
                ..parts(&[&root.der])
            })
            .unwrap();
            assert_eq!(verdict(&trusted, &[&leaf]), expected);
        }
    }
}
