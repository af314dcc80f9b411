//! A private CA made on the spot, and leaves of every quality.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};

/// rcgen's type of a time has no name here: its crate is no dependency of ours.
macro_rules! days_from_now {
    ($days:expr) => {{
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let days = Duration::from_secs(86_400 * $days.unsigned_abs());
        let then = if $days < 0 { now - days } else { now + days };
        date_time_ymd(1970, 1, 1) + then
    }};
}

/// A private CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(crate) certificate: String,
}

/// A leaf and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a leaf is to be. `Leaf::of` gives a good one; change a field for a bad one.
pub(crate) struct Leaf<'a> {
    /// In the order of the encoding: `[("CN", "payments-provider"), ("O", "Example")]`.
    pub(crate) subject: &'a [(&'a str, &'a str)],
    pub(crate) names: &'a [&'a str],
    pub(crate) usage: ExtendedKeyUsagePurpose,
    /// Days from now; negative ones are past.
    pub(crate) not_before_days: i64,
    pub(crate) not_after_days: i64,
}

impl<'a> Leaf<'a> {
    /// A client's leaf that is good in every respect.
    pub(crate) fn of(subject: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            subject,
            names: &[],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            not_before_days: -1,
            not_after_days: 90,
        }
    }
}

/// The subject that every `Receiver` is configured for.
pub(crate) const SUBJECT: &[(&str, &str)] = &[
    ("CN", "payments-provider"),
    ("O", "Example"),
    ("OU", "tenant-42"),
];

impl Authority {
    pub(crate) fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = name(&[("CN", common_name), ("O", "Example")]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = days_from_now!(-2_i64);
        params.not_after = days_from_now!(3650_i64);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> Identity {
        self.issue_for(leaf, None)
    }

    /// The same, with the Unix time of its last second instead of its days.
    pub(crate) fn issue_until(&self, leaf: &Leaf<'_>, last: u64) -> Identity {
        self.issue_for(leaf, Some(Duration::from_secs(last)))
    }

    fn issue_for(&self, leaf: &Leaf<'_>, until: Option<Duration>) -> Identity {
        let names: Vec<String> = leaf.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = name(leaf.subject);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![leaf.usage.clone()];
        params.not_before = days_from_now!(leaf.not_before_days);
        params.not_after = match until {
            Some(until) => date_time_ymd(1970, 1, 1) + until,
            None => days_from_now!(leaf.not_after_days),
        };
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A revocation list that names nobody, and has ended. PEM.
    pub(crate) fn ended_list(&self) -> String {
        let params = CertificateRevocationListParams {
            this_update: days_from_now!(-3_i64),
            next_update: days_from_now!(-1_i64),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// The leaf of the receiver itself.
    pub(crate) fn issue_server(&self) -> Identity {
        self.issue(&Leaf {
            names: &["localhost", "127.0.0.1"],
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            ..Leaf::of(&[("CN", "localhost")])
        })
    }
}

fn name(attributes: &[(&str, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (attribute, value) in attributes {
        let attribute = match *attribute {
            "CN" => DnType::CommonName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "C" => DnType::CountryName,
            other => panic!("no attribute {other} here"),
        };
        name.push(attribute, *value);
    }
    name
}
