//! What a version-3 certificate adds: what its key is for, whose it is, and how far it may sign.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};

use super::der;
use super::fault::X509Fault;
use super::name::write_visible;

/// The extensions that mean something here. A certificate of version 1 has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) subject_alt_names: Vec<SubjectAltName>,
    pub(super) subject_key_id: Option<Box<[u8]>>,
    pub(super) authority_key_id: Option<Box<[u8]>>,
    pub(super) constrains_names: bool,
    pub(super) has_unknown_critical: bool,
}

impl Extensions {
    pub(super) fn read(extensions: &[X509Extension<'_>]) -> Result<Self, X509Fault> {
        let mut seen = HashSet::new();
        let mut read = Self::default();
        for extension in extensions {
            let oid = || extension.oid.to_id_string();
            if !seen.insert(&extension.oid) {
                return Err(X509Fault::DuplicateExtension { oid: oid() });
            }
            let known = read.take(extension);
            if !known {
                read.has_unknown_critical |= extension.critical;
            }
            let failed = matches!(
                extension.parsed_extension(),
                ParsedExtension::ParseError { .. }
            );
            if failed || (known && der::check(extension.value).is_err()) {
                return Err(X509Fault::Extension { oid: oid() });
            }
        }
        Ok(read)
    }

    /// Takes what an extension says; whether it is one that is heeded, here or by the path validation.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, which grows with every extension"
    )]
    fn take(&mut self, extension: &X509Extension<'_>) -> bool {
        match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some(KeyUsage(usage.flags)),
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints = Some(BasicConstraints {
                    is_ca: constraints.ca,
                    path_len_max: constraints.path_len_constraint,
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let named = [
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                let named = named
                    .iter()
                    .filter(|(set, _)| *set)
                    .map(|(_, name)| (*name).to_owned());
                self.extended_key_usage = Some(ExtendedKeyUsage {
                    purposes: named
                        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
                        .collect(),
                });
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alt_names = names
                    .general_names
                    .iter()
                    .map(SubjectAltName::read)
                    .collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.into()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.into());
            }
            ParsedExtension::NameConstraints(_) => self.constrains_names = true,
            _ => return false,
        }
        true
    }
}

/// What a key may be used for (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage(u16);

impl KeyUsage {
    const NAMES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    /// Whether it may sign in a TLS handshake.
    pub fn digital_signature(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it may sign certificates.
    pub fn key_cert_sign(self) -> bool {
        self.0 & (1 << 5) != 0
    }

    /// Whether it may sign revocation lists.
    pub fn crl_sign(self) -> bool {
        self.0 & (1 << 6) != 0
    }

    /// The uses by their names in RFC 5280.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Self::NAMES.into_iter().enumerate();
        named.filter_map(move |(bit, name)| (self.0 & (1 << bit) != 0).then_some(name))
    }
}

/// Whether a certificate is a CA's, and how many intermediates may follow it (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it may issue certificates.
    pub is_ca: bool,
    /// The number of intermediates that may stand between it and a leaf; `None` is any.
    pub path_len_max: Option<u32>,
}

/// What a certificate may be shown for (RFC 5280 §4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    purposes: Vec<String>,
}

impl ExtendedKeyUsage {
    /// Whether a TLS server may be shown it by its client: `clientAuth` is listed.
    pub fn client_auth(&self) -> bool {
        self.has("clientAuth")
    }

    /// Whether a TLS client may be shown it by its server: `serverAuth` is listed.
    pub fn server_auth(&self) -> bool {
        self.has("serverAuth")
    }

    /// `anyExtendedKeyUsage` is listed. Path validation does not take it for any certain purpose.
    pub fn any(&self) -> bool {
        self.has("anyExtendedKeyUsage")
    }

    /// The purposes by their names in RFC 5280, or in dotted notation.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.purposes.iter().map(String::as_str)
    }

    fn has(&self, purpose: &str) -> bool {
        self.names().any(|name| name == purpose)
    }
}

/// Another name of the subject. `Display` is as `openssl x509 -text` has it (`DNS:localhost`), control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A host's name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
    /// A name of a form that says nothing here.
    Unread,
}

impl SubjectAltName {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, of which these forms say something here"
    )]
    fn read(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(name) => Self::Dns((*name).to_owned()),
            GeneralName::RFC822Name(address) => Self::Email((*address).to_owned()),
            GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from))
                    .map_or(Self::Unread, Self::Ip)
            }
            _ => Self::Unread,
        }
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = match self {
            Self::Ip(address) => return write!(f, "IP:{address}"),
            Self::Unread => return f.write_str("(a name of another form)"),
            Self::Dns(text) => ("DNS", text),
            Self::Email(text) => ("email", text),
            Self::Uri(text) => ("URI", text),
        };
        write!(f, "{kind}:")?;
        write_visible(f, text)
    }
}
