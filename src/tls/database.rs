//! The client's side towards a database: TLS on a stream that the database's own protocol has opened.
//!
//! What is checked of the server is what libpq's `sslmode` says: nothing, that a configured authority vouches for it, or
//! that it bears the host's name as well.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use crate::secret::Secret;
use crate::x509::{Certificate, decode_certificates};

/// What is checked of a database's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Nothing: whoever is in between can read along (`require`, `prefer`).
    None,
    /// One of these certificates (PEM) vouches for it, or is it (`verify-ca`).
    Authority(Vec<u8>),
    /// And it bears the name of the host (`verify-full`).
    AuthorityAndName(Vec<u8>),
}

/// Makes TLS sessions with a database.
#[derive(Clone)]
pub struct DatabaseTls(TlsConnector);

impl std::fmt::Debug for DatabaseTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseTls")
    }
}

/// Why TLS with a database cannot be set up. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseTlsFault {
    /// The authority's file holds no certificate.
    #[error("the authority's certificate cannot be used: {detail}")]
    Authority {
        /// What is wrong.
        detail: String,
    },
    /// Our own certificate or key cannot be used.
    #[error("the client certificate and its key cannot be used: {detail}")]
    Identity {
        /// What is wrong.
        detail: String,
    },
}

impl DatabaseTlsFault {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Authority { .. } => {
                "write the certificate of the database's CA, in PEM, where sslrootcert of store.url names it"
            }
            Self::Identity { .. } => {
                "write the client's certificate and its own key, in PEM, where sslcert and sslkey of store.url name them"
            }
        }
    }
}

impl DatabaseTls {
    /// Checks the server so, and presents `identity` (certificate chain and key, in PEM) where it asks for one.
    pub fn new(
        check: &ServerCheck,
        identity: Option<(&[u8], &Secret)>,
    ) -> Result<Self, DatabaseTlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authority = |detail: String| DatabaseTlsFault::Authority { detail };
        let (pem, name) = match check {
            ServerCheck::None => (None, NameCheck::Skipped),
            ServerCheck::Authority(pem) => (Some(pem), NameCheck::Skipped),
            ServerCheck::AuthorityAndName(pem) => (Some(pem), NameCheck::Required),
        };
        let trusted = match pem {
            None => None,
            Some(pem) => {
                let anchors = decode_certificates(pem).map_err(|e| authority(e.to_string()))?;
                let mut roots = RootCertStore::empty();
                for anchor in &anchors {
                    roots
                        .add(anchor.clone().into())
                        .map_err(|e| authority(e.to_string()))?;
                }
                let chains = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                )
                .build()
                .map_err(|e| authority(e.to_string()))?;
                Some(Trusted {
                    chains,
                    itself: anchors,
                })
            }
        };
        let verifier = Verifier {
            provider: Arc::clone(&provider),
            trusted,
            name,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| authority(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let unusable = |detail: String| DatabaseTlsFault::Identity { detail };
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate_pem, key_pem)) => {
                let chain =
                    decode_certificates(certificate_pem).map_err(|e| unusable(e.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(key_pem.expose())
                    .map_err(|e| unusable(e.to_string()))?;
                let key = provider
                    .key_provider
                    .load_private_key(key)
                    .map_err(|e| unusable(e.to_string()))?;
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                // Unchecked, since the certificate may be of version 1; the database judges it.
                let certified = Arc::new(CertifiedKey::new(chain, key));
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                    certified,
                )))
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The handshake, on a stream to `host`.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<DatabaseStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0
            .connect(name, stream)
            .await
            .map(|stream| DatabaseStream(Box::new(stream)))
    }
}

/// A session with a database.
#[derive(Debug)]
pub struct DatabaseStream<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S> DatabaseStream<S> {
    /// The `tls-server-end-point` binding (RFC 5929 §4.1), by which a password's proof is bound to this session. `None`
    /// where the certificate is not signed with SHA-256 or less: its binding would be by another hash.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        let (_, session) = self.0.get_ref();
        let leaf = session.peer_certificates()?.first()?;
        signed_with_sha256(leaf).then(|| Sha256::digest(leaf).to_vec())
    }
}

/// sha256WithRSAEncryption or ecdsa-with-SHA256.
fn signed_with_sha256(certificate: &[u8]) -> bool {
    const OBJECT_IDENTIFIERS: [&[u8]; 2] = [
        &[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
        ],
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    ];
    Certificate::decode(certificate).is_ok_and(|leaf| {
        let algorithm = leaf.signed_data().algorithm_contents();
        OBJECT_IDENTIFIERS
            .iter()
            .any(|oid| algorithm.starts_with(oid))
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for DatabaseStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DatabaseStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_shutdown(cx)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameCheck {
    Required,
    Skipped,
}

#[derive(Debug)]
struct Trusted {
    chains: Arc<WebPkiServerVerifier>,
    /// A self-signed certificate is commonly both what the server presents and what the client is given.
    itself: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trusted: Option<Trusted>,
    name: NameCheck,
}

impl Verifier {
    fn pinned(
        &self,
        trusted: &Trusted,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if !trusted
            .itself
            .iter()
            .any(|der| der.as_slice() == end_entity.as_ref())
        {
            return None;
        }
        let checked = || {
            let leaf = Certificate::decode(end_entity)
                .map_err(|_malformed| CertificateError::BadEncoding)?;
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let now = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
            if now > leaf.validity().not_after {
                return Err(CertificateError::Expired);
            }
            if now < leaf.validity().not_before {
                return Err(CertificateError::NotValidYet);
            }
            Ok(())
        };
        Some(
            checked()
                .map_err(Error::from)
                .and_then(|()| match self.name {
                    NameCheck::Skipped => Ok(()),
                    NameCheck::Required => {
                        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                        rustls::client::verify_server_name(&parsed, server_name)
                    }
                }),
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if let Some(result) = self.pinned(trusted, end_entity, server_name, now) {
            return result.map(|()| ServerCertVerified::assertion());
        }
        let result = trusted.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match (result, self.name) {
            // The name is checked last, once the chain holds.
            (
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )),
                NameCheck::Skipped,
            ) => Ok(ServerCertVerified::assertion()),
            (result, NameCheck::Skipped | NameCheck::Required) => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
