//! Our own certificate, and the server's configuration of rustls.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::capture::note_server_name;
use super::tickets::Tickets;
use super::trust::Trust;
use super::verifier::Verifier;
use crate::secret::Secret;
use crate::x509::{Certificate, SubjectPublicKey, decode_certificates};

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Whether sessions are resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Every connection shakes hands in full.
    Off,
    /// By stateless tickets, whose keys rotate and end with the trust under which they were made.
    Tickets,
}

/// The receiver's certificate chain and key, which belong together.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    key: Arc<CertifiedKey>,
    leaf: Certificate,
}

/// Why a certificate and a key make no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The certificate file cannot be read as one.
    #[error("no certificate can be read: {detail}")]
    Certificate {
        /// What is wrong.
        detail: String,
    },
    /// The key file cannot be read as one.
    #[error("no private key can be read: {detail}")]
    Key {
        /// What is wrong.
        detail: String,
    },
    /// They do not belong together.
    #[error("the key does not belong to the certificate of {subject}")]
    Mismatch {
        /// The certificate's subject.
        subject: String,
    },
    /// The key belongs to a certificate that does not come first.
    #[error("the key belongs to the certificate of {subject}, which must come first in the file")]
    Order {
        /// The certificate's subject.
        subject: String,
    },
}

impl ServerIdentity {
    /// From PEM: the chain, leaf first, and a key as PKCS #8, PKCS #1 or SEC 1.
    ///
    /// The leaf may be of X.509 version 1, which rustls would not take: it is our peers who judge it.
    pub fn load(certificate_pem: &[u8], key_pem: &Secret) -> Result<Self, IdentityFault> {
        let chain =
            decode_certificates(certificate_pem).map_err(|fault| IdentityFault::Certificate {
                detail: fault.to_string(),
            })?;
        let first = chain.first().ok_or_else(|| IdentityFault::Certificate {
            detail: "the file is empty".into(),
        })?;
        let leaf = Certificate::decode(first).map_err(|fault| IdentityFault::Certificate {
            detail: fault.to_string(),
        })?;
        let key = load_key(key_pem).map_err(|detail| IdentityFault::Key { detail })?;
        let public = key.public_key().ok_or_else(|| IdentityFault::Key {
            detail: "it has no public part".into(),
        })?;
        if !is_key_of(&leaf, public.as_ref()) {
            let of_another = chain
                .iter()
                .skip(1)
                .filter_map(|der| Certificate::decode(der).ok());
            let mut of_another = of_another.filter(|other| is_key_of(other, public.as_ref()));
            return Err(match of_another.next() {
                Some(other) => IdentityFault::Order {
                    subject: other.subject().to_string(),
                },
                None => IdentityFault::Mismatch {
                    subject: leaf.subject().to_string(),
                },
            });
        }
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Ok(Self {
            key: Arc::new(CertifiedKey::new(chain, key)),
            leaf,
        })
    }

    /// Our leaf.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }
}

/// By the key alone: how its algorithm is written may differ, as RSA's parameters do.
fn is_key_of(certificate: &Certificate, raw_spki: &[u8]) -> bool {
    SubjectPublicKey::read(raw_spki).is_ok_and(|key| key.bits == certificate.public_key().bits)
}

/// Reads a private key.
pub(super) fn load_key(pem: &Secret) -> Result<Arc<dyn SigningKey>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|error| {
        // "Nothing found" is what PEM says of it.
        let encrypted = b"ENCRYPTED";
        let mut windows = pem.expose().windows(encrypted.len());
        if windows.any(|window| window == encrypted) {
            "it is encrypted; take the passphrase off with `openssl pkey -in FILE -out FILE.new`"
                .to_owned()
        } else {
            format!("no PEM key (PKCS #8, PKCS #1 or SEC 1): {error}")
        }
    })?;
    // rustls' own type wipes itself too.
    aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| error.to_string())
}

/// One certificate for every name; what the client asked for is only noted.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note_server_name(hello.server_name());
        Some(Arc::clone(&self.0))
    }
}

/// No configuration of TLS can be made of these settings.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub struct SetupFailure {
    #[from]
    source: rustls::Error,
}

/// The server's side of TLS: client certificates demanded and verified by `trust`, hybrid post-quantum key exchange first, ALPN
/// `h2` and `http/1.1`, no early data.
pub fn server_config(
    identity: &ServerIdentity,
    trust: &Arc<Trust>,
    min_version: MinVersion,
    resumption: Resumption,
) -> Result<Arc<ServerConfig>, SetupFailure> {
    let versions: &[&SupportedProtocolVersion] = match min_version {
        MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        MinVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(Verifier::new(Arc::clone(trust))))
        .with_cert_resolver(Arc::new(OneCertificate(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match resumption {
        Resumption::Off => config.send_tls13_tickets = 0,
        Resumption::Tickets => {
            // A new ticketer with each configuration: a reload voids what was handed out under another trust.
            config.ticketer = Arc::new(Tickets::new(aws_lc_rs::Ticketer::new()?));
            config.send_tls13_tickets = 1;
        }
    }
    Ok(Arc::new(config))
}

/// Seeds the random number generator, which takes longer than a handshake should: call it before listening.
pub fn seed() -> Result<(), SetupFailure> {
    let mut byte = [0];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut byte)
        .map_err(|_unseeded| rustls::Error::FailedToGetRandomBytes)?;
    Ok(())
}
