//! Whom the configuration itself would turn away for ever: that is told before anybody tries.

use countersign::config::{Config, ConfigFile, Environment, Weight};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber, date_time_ymd,
};

use super::{TENANT, directory, load, write};

/// A second producer of the first one's subject, with a path of its own.
fn with_a_rival(paths: &str, path: &str) -> String {
    format!(
        "[server]\npaths = [{paths}]\n{TENANT}[[tenants.producers]]\nname = \"q\"\nsubject = \"CN=p\"\npath = \"{path}\"\n\
         secrets = [\"file:certs/producer.secret\"]\n"
    )
}

#[test]
fn a_producer_to_whom_another_leaves_no_path_is_a_fault() {
    let directory = directory();
    let text = with_a_rival("\"/a\"", "/a");
    let faults = load(directory.path(), &text, &Environment::empty()).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with(
            "countersign.toml:7: tenants[0].producers[0].subject: is the subject of tenants[0].producers[1] as well, \
             with all of server.paths for its own: nothing is left for this one; give this one a path of its own, or another subject"
        ),
        "{told:?}"
    );
}

#[test]
fn a_producer_to_whom_another_leaves_some_paths_is_told_which() {
    let directory = directory();
    let text = with_a_rival("\"/a\", \"/b\"", "/a");
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|warning| warning.contains("only /b is left")),
        "{told:?}"
    );
    let paths: Vec<_> = config.snapshot.directory().producers().iter().collect();
    assert_eq!(config.snapshot.paths_of(paths[0]), ["/b"]);
    assert_eq!(config.snapshot.paths_of(paths[1]), ["/a"]);
    // Beside server.paths there is nothing to take away.
    let text = with_a_rival("\"/a\"", "/c");
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(!told.iter().any(|one| one.contains("left")), "{told:?}");
}

#[test]
fn a_ca_whose_list_is_demanded_and_not_configured_refuses_all_its_clients() {
    let directory = directory();
    let text = format!("[tls]\ncrl_missing = \"refuse\"\n{TENANT}");
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let refusing: Vec<_> = config
        .warnings
        .iter()
        .filter(|warning| warning.weight == Weight::Refuses)
        .map(|warning| (&*warning.key, &*warning.what))
        .collect();
    let [(key, what)] = refusing.as_slice() else {
        panic!("{refusing:?}");
    };
    assert!(key.starts_with("tls.client_ca"), "{key}");
    assert!(what.contains("every client under it is refused"), "{what}");
}

#[test]
fn what_has_ended_so_that_nobody_gets_in_is_a_fault_to_check_and_stops_no_start() {
    let directory = directory();
    let mut lasting = CertificateParams::new(Vec::new()).unwrap();
    lasting.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    lasting.not_after = date_time_ymd(2090, 1, 1);
    let lasting = lasting.self_signed(&KeyPair::generate().unwrap()).unwrap();
    write(&directory, "certs/lasting.crt", lasting.pem());
    let told = |tls: &str, days: i64| {
        let text = format!("[tls]\n{tls}\n{TENANT}");
        load(directory.path(), &text, &Environment::empty()).unwrap();
        let file = ConfigFile::Named(directory.path().join("countersign.toml"));
        let then = Timestamp::now() + SignedDuration::from_hours(days * 24);
        let config = Config::load(&file, &Environment::empty(), then).unwrap();
        let warnings = config.warnings.into_iter();
        let of_ends = warnings.filter(|warning| warning.what.contains("end"));
        of_ends
            .map(|warning| (warning.weight, format!("{}: {warning}", warning.key)))
            .collect::<Vec<_>>()
    };
    let [(Weight::Unwise, soon)] = &told("", 80)[..] else {
        panic!("{:?}", told("", 80));
    };
    assert!(soon.contains("ends soon"), "{soon}");
    let [(Weight::Refuses, ended)] = &told("", 100)[..] else {
        panic!("{:?}", told("", 100));
    };
    assert!(ended.starts_with("tls.certificate: "), "{ended}");
    let after_all = told("", 4000);
    let [(Weight::Refuses, _), (Weight::Refuses, alone)] = &after_all[..] else {
        panic!("{after_all:?}");
    };
    assert!(alone.starts_with("tls.client_ca"), "{alone}");
    assert!(alone.ends_with("no client is let in; put its successor in its place"));
    let with_another = told(
        "client_ca = [\"certs/ca.crt\", \"certs/lasting.crt\"]",
        4000,
    );
    let [(Weight::Refuses, _), (Weight::Unwise, one_of_two)] = &with_another[..] else {
        panic!("{with_another:?}");
    };
    assert!(!one_of_two.contains("before then"), "{one_of_two}");
}

#[test]
fn a_ca_under_which_nobody_gets_in_is_told_of_and_a_fault_to_check_if_no_other_is_left() {
    let directory = directory();
    let made = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.not_after = date_time_ymd(2090, 1, 1);
        change(&mut ca);
        let ca = ca.self_signed(&KeyPair::generate().unwrap()).unwrap();
        write(&directory, &format!("certs/{name}.crt"), ca.pem());
    };
    made("no-sign", &|ca| {
        ca.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    made("for-servers", &|ca| {
        ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    made("critical", &|ca| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        ca.custom_extensions.push(unknown);
    });
    let short = std::process::Command::new("openssl")
        .args("req -x509 -newkey rsa:1024 -nodes -keyout short.key -out certs/short.crt -days 9000 -subj /CN=Short".split(' '))
        .current_dir(directory.path())
        .output();
    assert!(short.unwrap().status.success());
    for (name, bar) in [
        ("no-sign", "lacks keyCertSign"),
        ("for-servers", "lacks clientAuth"),
        ("critical", "critical extension"),
        ("short", "its key is RSA 1024: too short"),
    ] {
        for (beside, weight) in [
            ("", Weight::Refuses),
            ("\"certs/ca.crt\", ", Weight::Unwise),
        ] {
            let text = format!("[tls]\nclient_ca = [{beside}\"certs/{name}.crt\"]\n{TENANT}");
            let config = load(directory.path(), &text, &Environment::empty()).unwrap();
            let warnings = config.warnings.iter();
            let told: Vec<_> = warnings
                .filter(|warning| warning.what.contains("nobody gets in under the CA"))
                .collect();
            let [warning] = told.as_slice() else {
                panic!("{name}: {told:?}");
            };
            assert!(warning.what.contains(bar), "{warning}");
            assert_eq!(warning.weight, weight, "{warning}");
            // And in the log.
            let of_trust = config.snapshot.trust().warnings(Timestamp::now());
            let told: Vec<String> = of_trust.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.contains(bar)), "{told:?}");
        }
    }
}

#[test]
fn a_list_that_begins_later_is_told_of() {
    let directory = directory();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2090, 1, 1);
    let ca = params.self_signed(&key).unwrap();
    write(&directory, "certs/other.crt", ca.pem());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2080, 1, 1),
        next_update: date_time_ymd(2081, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap();
    write(&directory, "certs/future.crl", list.pem().unwrap());
    for (policy, weight) in [("refuse", Weight::Refuses), ("warn", Weight::Unwise)] {
        let text = format!(
            "[tls]\nclient_ca = [\"certs/other.crt\"]\ncrls = [\"certs/future.crl\"]\ncrl_expired = \"{policy}\"\n{TENANT}"
        );
        let config = load(directory.path(), &text, &Environment::empty()).unwrap();
        let told: Vec<_> = config
            .warnings
            .iter()
            .filter(|warning| warning.what.contains("begins only at"))
            .collect();
        let [warning] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(warning.key, "tls.crls[0]");
        assert_eq!(warning.weight, weight, "{warning}");
    }
}

#[test]
fn a_ca_below_which_nothing_is_taken_is_warned_of() {
    let directory = directory();
    let mut organization = DistinguishedName::new();
    organization.push(DnType::OrganizationName, "Example");
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DirectoryName(organization)],
        excluded_subtrees: Vec::new(),
    });
    let ca = ca.self_signed(&KeyPair::generate().unwrap()).unwrap();
    write(&directory, "certs/constrained.crt", ca.pem());
    let text =
        format!("[tls]\nclient_ca = [\"certs/ca.crt\", \"certs/constrained.crt\"]\n{TENANT}");
    let config = load(directory.path(), &text, &Environment::empty()).unwrap();
    let told: Vec<_> = config
        .warnings
        .iter()
        .filter(|warning| warning.what.contains("nameConstraints on directory names"))
        .collect();
    let [warning] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(warning.key, "tls.client_ca[1]");
    assert!(warning.what.contains("certs/constrained.crt"), "{warning}");
}

#[test]
fn a_ca_without_a_file_is_told_of_once() {
    let directory = directory();
    let text = format!("[tls]\nclient_ca = [{{ fil = \"certs/ca.crt\" }}]\n{TENANT}");
    let faults = load(directory.path(), &text, &Environment::empty()).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("tls.client_ca[0].fil: unknown key"),
        "{told:?}"
    );
    assert!(
        told[1].contains("tls.client_ca[0].file: is missing"),
        "{told:?}"
    );
}

#[test]
fn a_key_that_is_written_twice_is_named() {
    let directory = directory();
    let text = format!("[server]\nlisten = \"[::]:1\"\nlisten = \"[::]:2\"\n{TENANT}");
    let faults = load(directory.path(), &text, &Environment::empty()).unwrap_err();
    let told = faults[0].to_string();
    assert!(told.contains("duplicate key listen"), "{told}");
}

#[test]
fn what_signs_a_cas_lists_alone_may_stand_among_the_intermediates_and_a_leaf_may_not() {
    let directory = directory();
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::from_params(&ca, &key);
    for (usage, may) in [
        (KeyUsagePurpose::CrlSign, true),
        (KeyUsagePurpose::DigitalSignature, false),
    ] {
        let mut apart = CertificateParams::new(Vec::new()).unwrap();
        apart.is_ca = IsCa::ExplicitNoCa;
        apart.key_usages = vec![usage];
        let apart = apart.signed_by(&KeyPair::generate().unwrap(), &issuer);
        write(&directory, "certs/apart.crt", apart.unwrap().pem());
        let text = format!("[tls]\nintermediates = [\"certs/apart.crt\"]\n{TENANT}");
        let loaded = load(directory.path(), &text, &Environment::empty());
        assert_eq!(loaded.is_ok(), may, "{:?}", loaded.err());
    }
}
