//! The client's side, for `countersign send` and its relatives: mutual TLS to a receiver.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server_config::load_key;
pub use super::words::in_words;
use crate::secret::Secret;
use crate::x509::decode_certificates;

/// Makes connections to receivers that the given CA vouches for.
#[derive(Clone)]
pub struct Connector(TlsConnector);

/// A connection whose handshake is done on our side.
pub type Stream = TlsStream<TcpStream>;

/// Why no connector can be made, or no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The CA's file is no certificate.
    #[error("the CA's certificate cannot be used: {detail}")]
    Ca {
        /// What is wrong.
        detail: String,
    },
    /// The client's certificate or key cannot be used.
    #[error("the client's certificate and key cannot be used: {detail}")]
    Identity {
        /// What is wrong.
        detail: String,
    },
    /// The host's name is none that a certificate could bear.
    #[error("\"{host}\" is no host name and no IP address")]
    Host {
        /// What was given.
        host: String,
    },
    /// There is no TCP connection.
    #[error("cannot connect to {host}:{port}")]
    Tcp {
        /// To which host.
        host: String,
        /// To which port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake {
        /// What rustls said.
        source: io::Error,
    },
}

/// What to do about a TLS error, if one is in `error` or among its causes: for the terminal, after the error itself.
///
/// A receiver's refusal of our certificate arrives after the handshake, with the first read: ask here then too.
pub fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` shows what it wraps by `get_ref`, and skips it in `source`.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = wrapped.or_else(|| error.downcast_ref()) {
            return hint_of(tls);
        }
        cause = error.source();
    }
    None
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "foreign enums, of which these have a known remedy"
)]
fn hint_of(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, CertificateError, Error};
    let hint = match error {
        Error::InvalidCertificate(of_server) => match of_server {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the receiver's certificate was not issued by the CA in --ca: name the CA that issued it"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the receiver's certificate has ended: it needs a new one"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the receiver's certificate does not name the host of --url: use a name that it has, or issue it for this one"
            }
            // webpki's own words; it has no variant of rustls'.
            other if other.to_string().contains("UnsupportedCertVersion") => {
                "the receiver's certificate is of X.509 version 1, which names no host: issue it with subjectAltName"
            }
            _ => return None,
        },
        Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => {
                "the receiver wants a client certificate: name it with --cert and --key"
            }
            Alert::UnknownCA => "the receiver does not know the CA of --cert",
            Alert::CertificateExpired => "to the receiver, --cert has ended or not begun",
            Alert::CertificateRevoked => "the receiver's CA has revoked --cert",
            Alert::UnsupportedCertificate => {
                "--cert is not for TLS clients (keyUsage, extendedKeyUsage), or of a form that the receiver does not accept"
            }
            Alert::DecryptError => {
                "--key does not belong to --cert, or --cert was not signed by the CA that it names"
            }
            Alert::ProtocolVersion => "the receiver speaks no version of TLS that this side does",
            _ => return None,
        },
        Error::InvalidMessage(_) => "what answers at --url does not speak TLS",
        _ => return None,
    };
    Some(hint)
}

impl Connector {
    /// A connector that trusts the certificates in `ca_pem`, and presents `certificate_pem` where there is one.
    pub fn new(ca_pem: &[u8], identity: Option<(&[u8], &Secret)>) -> Result<Self, ConnectFailure> {
        let mut roots = RootCertStore::empty();
        let anchors = decode_certificates(ca_pem).map_err(|fault| ConnectFailure::Ca {
            detail: fault.to_string(),
        })?;
        for anchor in anchors {
            roots
                .add(anchor.into())
                .map_err(|error| ConnectFailure::Ca {
                    detail: error.to_string(),
                })?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConnectFailure::Ca {
                detail: error.to_string(),
            })?
            .with_root_certificates(roots);
        let unusable = |detail: String| ConnectFailure::Identity { detail };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate_pem, key_pem)) => {
                let chain = decode_certificates(certificate_pem)
                    .map_err(|fault| unusable(fault.to_string()))?;
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                let key = load_key(key_pem).map_err(unusable)?;
                // Unchecked, since the certificate may be of version 1; the receiver judges it.
                let certified = Arc::new(CertifiedKey::new(chain, key));
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                    certified,
                )))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The same, but each handshake is a full one.
    pub fn without_resumption(&self) -> Self {
        let mut config = ClientConfig::clone(self.0.config());
        config.resumption = Resumption::disabled();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Connects, by TCP and TLS.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Stream, ConnectFailure> {
        let tcp = TcpStream::connect((bare(host), port)).await;
        self.shake_hands(tcp, host, port).await
    }

    /// Connects to an address that was looked up before; who answers there must prove to be `host`.
    pub async fn connect_to(
        &self,
        address: SocketAddr,
        host: &str,
    ) -> Result<Stream, ConnectFailure> {
        let tcp = TcpStream::connect(address).await;
        self.shake_hands(tcp, host, address.port()).await
    }

    async fn shake_hands(
        &self,
        tcp: io::Result<TcpStream>,
        host: &str,
        port: u16,
    ) -> Result<Stream, ConnectFailure> {
        let name = ServerName::try_from(bare(host).to_owned()).map_err(|_invalid| {
            ConnectFailure::Host {
                host: host.to_owned(),
            }
        })?;
        let no_tcp = |source| ConnectFailure::Tcp {
            host: host.to_owned(),
            port,
            source,
        };
        let tcp = tcp.map_err(no_tcp)?;
        tcp.set_nodelay(true).map_err(no_tcp)?;
        self.0
            .connect(name, tcp)
            .await
            .map_err(|source| ConnectFailure::Handshake { source })
    }
}

/// An IPv6 address without the brackets that a URL puts around it.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
