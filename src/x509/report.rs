//! A certificate as it is told to an operator, and as `--json` and the admin side print it.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::Certificate;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateRole {
    /// Shown by a server.
    Server,
    /// Issues others, and was issued by nobody else, or is configured as an anchor.
    TrustAnchor,
    /// Issues others, and was itself issued by one.
    Intermediate,
    /// Shown by a client.
    Client,
}

impl CertificateRole {
    /// What a certificate seems to be for: one that says nothing about it is a client's.
    pub fn of(certificate: &Certificate) -> Self {
        let is_server = match certificate.extended_key_usage() {
            Some(usage) => usage.server_auth() && !usage.client_auth(),
            None => !certificate.subject_alt_names().is_empty(),
        };
        if certificate.is_ca() && certificate.is_self_issued() {
            Self::TrustAnchor
        } else if certificate.is_ca() {
            Self::Intermediate
        } else if is_server {
            Self::Server
        } else {
            Self::Client
        }
    }

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::TrustAnchor => "trust_anchor",
            Self::Intermediate => "intermediate",
            Self::Client => "client",
        }
    }
}

/// Everything that `certs inspect` tells, and the admin side's certificate object.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateReport {
    /// What it is for.
    pub role: CertificateRole,
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// Lower-case hex, of the whole certificate.
    pub sha256: String,
    /// Lower-case hex, of the SubjectPublicKeyInfo; with `sha256:` before it, a pin.
    pub spki_sha256: String,
    /// RFC 3339, with milliseconds.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: Timestamp,
    /// RFC 3339, with milliseconds.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: Timestamp,
    /// The configured producer that it belongs to.
    pub producer: Option<String>,
    /// And its tenant.
    pub tenant_id: Option<String>,
    /// When a handshake last showed it.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_seen: Option<Timestamp>,
    /// 1, 2 or 3.
    pub version: u8,
    /// `ECDSA P-256`, `RSA 2048`, and so on.
    pub key: String,
    /// `DNS:localhost`, `IP:127.0.0.1`, and so on.
    pub subject_alt_names: Vec<String>,
    /// By their names in RFC 5280; absent, the key may be used for anything.
    pub key_usage: Option<Vec<&'static str>>,
    /// By their names in RFC 5280, or in dotted notation; absent, it may be shown for anything.
    pub extended_key_usage: Option<Vec<String>>,
    /// How many intermediates a CA may have below it.
    pub path_len_max: Option<u32>,
}

impl CertificateReport {
    /// What a certificate says by itself. To whom it maps, and when it was seen, is for the caller to add.
    pub fn of(certificate: &Certificate) -> Self {
        let names = certificate.subject_alt_names().iter();
        let purposes = certificate.extended_key_usage();
        Self {
            role: CertificateRole::of(certificate),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.serial().to_string(),
            sha256: certificate.sha256().to_string(),
            spki_sha256: certificate.spki().hex(),
            not_before: certificate.validity().not_before,
            not_after: certificate.validity().not_after,
            producer: None,
            tenant_id: None,
            last_seen: None,
            version: certificate.version(),
            key: certificate.key_kind().to_string(),
            subject_alt_names: names.map(ToString::to_string).collect(),
            key_usage: certificate.key_usage().map(|usage| usage.names().collect()),
            extended_key_usage: purposes.map(|usage| usage.names().map(str::to_owned).collect()),
            path_len_max: certificate
                .basic_constraints()
                .and_then(|constraints| constraints.path_len_max),
        }
    }
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn rfc3339_or_null<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
