//! A served acceptor and its peers, for the statements about gates 0 and 1.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::service_fn;

use countersign::{
    secret::Secret,
    tls::{
        Acceptor, Connection, CurrentTrust, HandshakeRefusal, LimitReached, Limits, MinVersion,
        Network, Observer, PeerCertificates, Resumption, ReusePort, ServerConfig, ServerIdentity,
        Trust, TrustParts, listen, serve, server_config,
    },
    x509::Certificate,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) refusals: Mutex<Vec<HandshakeRefusal>>,
    pub(crate) limits: Mutex<Vec<LimitReached>>,
    changed: Notify,
}

impl Observer for Log {
    fn refused(&self, refusal: HandshakeRefusal) {
        self.refusals.lock().unwrap().push(refusal);
        self.changed.notify_one();
    }

    fn closed_at_limit(&self, limit: LimitReached, _address: SocketAddr) {
        self.limits.lock().unwrap().push(limit);
        self.changed.notify_one();
    }

    fn accept_failed(&self, error: &std::io::Error) {
        panic!("{error}");
    }
}

impl Log {
    pub(crate) async fn next<T>(&self, mut pick: impl FnMut(&Self) -> Option<T>) -> T {
        timeout(PATIENCE, async {
            loop {
                if let Some(found) = pick(self) {
                    return found;
                }
                self.changed.notified().await;
            }
        })
        .await
        .unwrap()
    }

    pub(crate) async fn refusal(&self) -> HandshakeRefusal {
        self.next(|log| log.refusals.lock().unwrap().pop()).await
    }

    pub(crate) async fn limit(&self) -> LimitReached {
        self.next(|log| log.limits.lock().unwrap().pop()).await
    }
}

/// A served acceptor. Its service answers 200 with the peer's subject, `/wait` after `release` only,
/// `/last` with a close.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) acceptor: Acceptor,
    pub(crate) trust: Arc<Trust>,
    pub(crate) log: Arc<Log>,
    pub(crate) release: Arc<Notify>,
    pub(crate) client: ClientConfig,
    pub(crate) stranger: ClientConfig,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::start_behind(limits, Vec::new())
    }

    pub(crate) fn start_behind(limits: Limits, proxies: Vec<Network>) -> Self {
        let (trust, client, stranger) = trust();
        let log = Arc::new(Log::default());
        let observer: Arc<dyn Observer> = Arc::clone(&log) as _;
        let of_now = trust.trust();
        let acceptor = Acceptor::new(trust, observer, limits, proxies);
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), ReusePort::No).unwrap();
        let address = listener.local_addr().unwrap();
        let release = Arc::new(Notify::new());
        let service = service_fn({
            let release = Arc::clone(&release);
            move |request| answer(request, Arc::clone(&release))
        });
        let (stop, stopped) = oneshot::channel();
        let serving = serve(vec![listener], acceptor.clone(), service).unwrap();
        let served = tokio::spawn(async {
            let _ = stopped.await;
            serving.stop(sleep(Duration::from_secs(2))).await;
        });
        Self {
            address,
            acceptor,
            trust: of_now,
            log,
            release,
            client,
            stranger,
            stop: Some(stop),
            served,
        }
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.try_connect(&self.client).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        config: &ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        self.shake_hands(tcp, config).await
    }

    pub(crate) async fn shake_hands(
        &self,
        tcp: TcpStream,
        config: &ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config.clone()))
            .connect(name, tcp)
            .await
    }

    pub(crate) async fn count(&self, expected: usize) {
        timeout(PATIENCE, async {
            while self.acceptor.connections().count() != expected {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

pub(crate) async fn answer(
    request: Request<Incoming>,
    release: Arc<Notify>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let peer: &PeerCertificates = request.extensions().get().unwrap();
    let subject = peer.leaf().subject().to_string();
    let connection: &Connection = request.extensions().get().unwrap();
    match request.uri().path() {
        "/wait" => release.notified().await,
        "/last" => connection.close_after_response(),
        _ => {}
    }
    Ok(Response::new(Full::from(subject)))
}

pub(crate) fn trust() -> (Arc<dyn CurrentTrust>, ClientConfig, ClientConfig) {
    struct Fixed(Arc<Trust>, Arc<ServerConfig>);
    impl CurrentTrust for Fixed {
        fn trust(&self) -> Arc<Trust> {
            Arc::clone(&self.0)
        }
        fn server_config(&self) -> Arc<ServerConfig> {
            Arc::clone(&self.1)
        }
    }
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (certificate, key) = leaf("localhost");
    let key = Secret::new(key.serialize_pem().into_bytes());
    let identity = ServerIdentity::load(certificate.pem().as_bytes(), &key).unwrap();
    let trust = Arc::new(
        Trust::build(TrustParts {
            anchors: vec![Certificate::decode(ca.der()).unwrap()],
            ..TrustParts::default()
        })
        .unwrap(),
    );
    let server = server_config(&identity, &trust, MinVersion::Tls13, Resumption::Off).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let (certificate, key) = leaf("producer");
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (
        Arc::new(Fixed(trust, server)),
        client
            .clone()
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap(),
        client.with_no_client_auth(),
    )
}

/// How a peer says that it will write no more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// TLS alone.
    CloseNotify,
    /// TCP alone.
    Fin,
    Both,
}

impl End {
    pub(crate) const ALL: [Self; 3] = [Self::CloseNotify, Self::Fin, Self::Both];

    pub(crate) async fn of(self, stream: &mut TlsStream<TcpStream>) {
        if matches!(self, Self::CloseNotify | Self::Both) {
            stream.get_mut().1.send_close_notify();
            // A peer that reads nothing has no room for it.
            let _ = timeout(Duration::from_millis(100), stream.flush()).await;
        }
        if matches!(self, Self::Fin | Self::Both) {
            stream.get_mut().0.shutdown().await.unwrap();
        }
    }
}

pub(crate) async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    stream.write_all(request(path).as_bytes()).await.unwrap();
    read_answer(stream).await
}

pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// One answer, which ends with the subject.
pub(crate) async fn read_answer(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = String::new();
    while !answer.ends_with("CN=producer") {
        let mut buffer = [0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(read, 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    answer
}

/// Reads to the end, which must come, and not as a reset.
pub(crate) async fn read_to_close(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

pub(crate) async fn h2(
    server: &Server,
) -> (
    hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    JoinHandle<hyper::Result<()>>,
) {
    let mut config = server.client.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = server.try_connect(&config).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    (sender, tokio::spawn(connection))
}

pub(crate) fn h2_request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .body(Empty::new())
        .unwrap()
}

/// How HTTP/2 begins, by hand (RFC 9113 §3.4): no settings, and all the room there is for answers.
pub(crate) const H2_BEGUN: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0";

/// `GET /` by hand, whole in one HEADERS frame.
pub(crate) fn h2_get(stream: u32) -> Vec<u8> {
    let fields = b"\x82\x84\x87\x41\x09localhost";
    let mut frame = vec![0, 0, u8::try_from(fields.len()).unwrap(), 1, 5];
    frame.extend(stream.to_be_bytes());
    frame.extend(fields);
    frame
}

pub(crate) fn quick(header_timeout: Duration) -> Limits {
    Limits {
        header_timeout,
        ..Limits::default()
    }
}
