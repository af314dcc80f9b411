//! The two peers of a handshake in memory, rustls on both sides.

use std::io;
use std::path::Path;
use std::sync::Arc;

use countersign::secret::Secret;
use countersign::tls::{Capture, HandshakeRefusal, PeerCertificates, ServerIdentity, Trust};
use jiff::Timestamp;
use rcgen::{KeyPair, SanType};
use rustls::client::Resumption as ClientResumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::forge::{Ca, openssl};
use crate::version_1::certificate;

pub(crate) const ADDRESS: &str = "203.0.113.9:4711";

/// What a client shows.
pub(crate) struct Shown {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Shown {
    pub(crate) fn new(chain: &[&[u8]], key: &KeyPair) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        Self { chain, key }
    }

    pub(crate) fn load(at: &Path, certificate_file: &str, key_file: &str) -> Self {
        Self {
            chain: vec![certificate(at, certificate_file)],
            key: PrivateKeyDer::from_pem_file(at.join(key_file)).unwrap(),
        }
    }

    pub(crate) fn certified(&self) -> Arc<SingleCertAndKey> {
        let chain = self.chain.iter().map(|der| der.clone().into()).collect();
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(self.key.clone_key());
        Arc::new(CertifiedKey::new(chain, key.unwrap()).into())
    }
}

/// What came of a handshake.
pub(crate) struct Outcome {
    pub(crate) server: Result<PeerCertificates, HandshakeRefusal>,
    /// The alert that the client was told, if it was.
    pub(crate) alert: Option<String>,
    pub(crate) kind: Option<HandshakeKind>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) group: Option<NamedGroup>,
    pub(crate) protocol: Option<Vec<u8>>,
}

impl Outcome {
    pub(crate) fn reason(&self) -> &'static str {
        match &self.server {
            Ok(_) => "holds",
            Err(refusal) => refusal.reason.as_str(),
        }
    }
}

/// Our own certificate and its key.
pub(crate) fn server() -> ServerIdentity {
    let ca = Ca::root("Server CA");
    let key = KeyPair::generate().unwrap();
    let mut params = crate::forge::leaf_params();
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    let chain = [ca.certify(&params, &key), ca.der].map(|der| pem(&der));
    let key = Secret::new(key.serialize_pem().into_bytes());
    ServerIdentity::load(chain.concat().as_bytes(), &key).unwrap()
}

pub(crate) fn pem(der: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("der"), der).unwrap();
    openssl(directory.path(), "x509 -inform DER -in der -out pem");
    std::fs::read_to_string(directory.path().join("pem")).unwrap()
}

/// A client that takes any server for good.
pub(crate) fn client(
    shown: Option<&Shown>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown.certified()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = ClientResumption::disabled();
    config
}

#[derive(Debug)]
pub(crate) struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Shakes hands; afterwards one byte goes each way, so that tickets and alerts arrive.
pub(crate) async fn shake(
    trust: &Trust,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> Outcome {
    let (near, far) = duplex(64 * 1024);
    let server = serve(trust, server, near);
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, far).await?;
        let session = stream.get_ref().1;
        let group = session
            .negotiated_key_exchange_group()
            .map(|group| group.name());
        let seen = (
            session.handshake_kind(),
            session.protocol_version(),
            group,
            session.alpn_protocol().map(<[u8]>::to_vec),
        );
        stream.read_u8().await?;
        Ok::<_, io::Error>(seen)
    };
    let (server, client) = tokio::join!(server, client);
    let alert = client.as_ref().err().map(ToString::to_string);
    let (kind, version, group, protocol) = client.unwrap_or_default();
    Outcome {
        server,
        alert,
        kind,
        version,
        group,
        protocol,
    }
}

pub(crate) async fn serve(
    trust: &Trust,
    config: Arc<ServerConfig>,
    stream: DuplexStream,
) -> Result<PeerCertificates, HandshakeRefusal> {
    let address = ADDRESS.parse().unwrap();
    let capture = Capture::new();
    let accepted = TlsAcceptor::from(config).accept(stream);
    match capture.scope(accepted).await {
        Ok(mut stream) => {
            let session = stream.get_ref().1;
            let proven = capture.established(session, trust, address, Timestamp::now());
            // A resumed session that proves nothing is closed without a word.
            if proven.is_ok() {
                stream.write_u8(1).await.unwrap();
            }
            proven
        }
        Err(error) => Err(capture.refused(&error, address)),
    }
}
