//! Gates 0 and 1, in order: admit, learn the peer's address, shake hands, and let each request know whose it is.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum_server::{
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use jiff::Timestamp;
use pin_project_lite::pin_project;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{self, Instant},
};
use tokio_rustls::server::TlsStream;
use tower::Service;

use super::{
    Capture, CurrentTrust, HandshakeReason, HandshakeRefusal, Observer, PeerCertificates, Trust,
    connections::{Connection, Connections, Http, InFlight},
    drain::Drain,
    limits::{Gate, LimitReached, Limits, Peer, Ticket},
    proxy_protocol::{self, Header, HeaderRefusal, Network},
    socket::{Beginning, Established, Socket},
};

/// Takes TCP connections to authenticated ones. Clones are the same acceptor.
#[derive(Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

struct Shared {
    trust: Arc<dyn CurrentTrust>,
    observer: Arc<dyn Observer>,
    gate: Arc<Gate>,
    drain: Drain,
    connections: Connections,
    settings: RwLock<Settings>,
}

/// What a reload may change.
#[derive(Clone, Debug)]
struct Settings {
    handshake_timeout: Duration,
    header_timeout: Duration,
    trusted_proxies: Arc<[Network]>,
}

impl Settings {
    fn new(limits: &Limits, trusted_proxies: Vec<Network>) -> Self {
        Self {
            handshake_timeout: limits.handshake_timeout,
            header_timeout: limits.header_timeout,
            trusted_proxies: trusted_proxies.into(),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("connections", &self.shared.connections)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection; the observer has been told already.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed at the limit {}", .0.as_str())]
    Limit(LimitReached),
    #[error("refused: {}", .0.as_str())]
    Refused(HandshakeReason),
    /// Nobody is told: it happens every few seconds, and refuses nothing.
    #[error("a load balancer looked whether somebody is there, and said nothing")]
    Looked,
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl Acceptor {
    /// `trust` is asked at each handshake, so what it gives may change; `observer` is told of each refusal.
    pub fn new(
        trust: Arc<dyn CurrentTrust>,
        observer: Arc<dyn Observer>,
        limits: Limits,
        trusted_proxies: Vec<Network>,
    ) -> Self {
        let settings = RwLock::new(Settings::new(&limits, trusted_proxies));
        Self {
            shared: Arc::new(Shared {
                trust,
                observer,
                gate: Gate::new(limits),
                drain: Drain::default(),
                connections: Connections::new(),
                settings,
            }),
        }
    }

    /// The live authenticated connections.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Takes other bounds and proxies, for connections to come (and the header timeout for all).
    pub fn reconfigure(&self, limits: Limits, trusted_proxies: Vec<Network>) {
        let settings = Settings::new(&limits, trusted_proxies);
        *self
            .shared
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
        self.shared.gate.set_limits(limits);
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        &*self.shared.observer
    }

    /// Closes what is idle, until it is dropped.
    pub(super) async fn sweep(&self) {
        let header_timeout = || self.shared.settings().header_timeout;
        self.shared.connections.sweep(header_timeout).await;
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = TlsStream<Socket>;
    type Service = Admitted<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, tcp: TcpStream, service: S) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (stream, connection) = shared.accept(tcp).await.map_err(io::Error::other)?;
            let service = Admitted {
                inner: service,
                connection,
            };
            Ok((stream, service))
        })
    }
}

impl Shared {
    async fn accept(&self, mut tcp: TcpStream) -> Result<(TlsStream<Socket>, Connection), Ended> {
        let settings = self.settings();
        let deadline = Instant::now() + settings.handshake_timeout;
        // rustls sends session tickets before the first answer, which Nagle's algorithm would then hold back.
        tcp.set_nodelay(true)?;
        let address = canonical(tcp.peer_addr()?);
        let from_proxy = settings
            .trusted_proxies
            .iter()
            .any(|network| network.contains(address.ip()));
        let peer = if from_proxy {
            Peer::Proxy
        } else {
            Peer::Direct
        };
        let mut ticket = self
            .gate
            .admit(address.ip(), peer)
            .map_err(|limit| self.limit(limit, address))?;
        let mut behind = Behind::nobody(address);
        if from_proxy {
            behind = tokio::select! {
                biased;
                behind = self.proxied(&mut tcp, address, deadline) => behind?,
                () = ticket.evicted() => return Err(self.limit(LimitReached::Handshakes, address)),
            };
            if behind.address != address {
                ticket
                    .readdress(behind.address.ip())
                    .map_err(|limit| self.limit(limit, behind.address))?;
            }
        }
        self.handshake(tcp, behind, ticket, deadline).await
    }

    /// Reads the header that a trusted proxy owes us.
    async fn proxied(
        &self,
        tcp: &mut TcpStream,
        proxy: SocketAddr,
        deadline: Instant,
    ) -> Result<Behind, Ended> {
        let read = time::timeout_at(deadline, proxy_protocol::read(tcp)).await;
        let (reason, detail) = match read {
            Ok(Ok((header, replay))) => {
                let (address, is_nobody) = match header {
                    Header::Proxied(address) => (address, false),
                    // HAProxy's checks say so by version 1 and version 2.
                    Header::Unknown | Header::Local => (proxy, true),
                };
                return Ok(Behind {
                    address,
                    is_nobody,
                    replay,
                });
            }
            Ok(Err(refusal)) => {
                let reason = match refusal {
                    HeaderRefusal::Nothing => return Err(Ended::Looked),
                    HeaderRefusal::Closed | HeaderRefusal::Io(_) => HandshakeReason::Closed,
                    HeaderRefusal::Missing | HeaderRefusal::Malformed(_) => {
                        HandshakeReason::Malformed
                    }
                };
                (reason, refusal.to_string())
            }
            Err(_) => (
                HandshakeReason::Timeout,
                "the trusted proxy sent no whole PROXY header in time".to_owned(),
            ),
        };
        Err(self.refuse(HandshakeRefusal {
            reason,
            claimed: None,
            address: proxy,
            server_name: None,
            detail,
            shadow: None,
        }))
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        behind: Behind,
        mut ticket: Ticket,
        deadline: Instant,
    ) -> Result<(TlsStream<Socket>, Connection), Ended> {
        let Behind {
            address,
            is_nobody,
            replay,
        } = behind;
        let beginning = Arc::new(Beginning::default());
        let socket = Socket::new(tcp, replay, Arc::clone(&beginning), self.drain.clone());
        let capture = Capture::new();
        let handshake = RustlsAcceptor::new(RustlsConfig::from_config(self.trust.server_config()))
            .handshake_timeout(deadline.saturating_duration_since(Instant::now()))
            .accept(socket, ());
        let outcome = tokio::select! {
            biased;
            outcome = capture.scope(handshake) => outcome,
            () = ticket.evicted() => return Err(self.limit(LimitReached::Handshakes, address)),
        };
        let refusal = match outcome {
            Ok((mut stream, _)) => {
                let (_, session) = stream.get_ref();
                let (trust, now) = (self.trust.trust(), Timestamp::now());
                match capture.established(session, &trust, address, now) {
                    Ok(peer) => {
                        self.watch(&peer, &trust, now);
                        return Ok(self.establish(stream, peer, ticket));
                    }
                    Err(refusal) => {
                        // The time for alerts is over: it can only be told that there will be no answer.
                        let _told = time::timeout_at(deadline, stream.shutdown()).await;
                        refusal
                    }
                }
            }
            Err(_ended) if is_nobody && beginning.is_empty() => return Err(Ended::Looked),
            Err(error) => {
                let mut refusal = capture.refused(&error, address);
                // rustls may not have come so far as to tell, if the peer said little and went away.
                if beginning.is_not_tls() {
                    refusal.reason = HandshakeReason::NotTls;
                } else if refusal.server_name.is_none() {
                    // It ended before our certificate was asked for.
                    refusal.server_name = beginning.server_name();
                }
                refusal
            }
        };
        Err(self.refuse(refusal))
    }

    /// Tells what the anchors that decide nothing say of a handshake that held.
    fn watch(&self, peer: &PeerCertificates, trust: &Trust, now: Timestamp) {
        if !trust.shadow_anchors().is_empty() {
            let shadow = trust.would_accept(peer.chain(), now);
            self.observer.watched(peer, shadow.as_ref());
        }
    }

    fn establish(
        &self,
        mut stream: TlsStream<Socket>,
        peer: PeerCertificates,
        mut ticket: Ticket,
    ) -> (TlsStream<Socket>, Connection) {
        ticket.establish();
        stream.get_ref().0.acknowledge();
        let http = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Http::Two,
            Some(_) | None => Http::One,
        };
        let (connection, entered) = self.connections.enter(peer, http);
        stream.get_mut().0.establish(Established {
            connection: connection.clone(),
            entered,
            ticket,
        });
        (stream, connection)
    }

    fn settings(&self) -> Settings {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn limit(&self, limit: LimitReached, address: SocketAddr) -> Ended {
        self.observer.closed_at_limit(limit, address);
        Ended::Limit(limit)
    }

    fn refuse(&self, refusal: HandshakeRefusal) -> Ended {
        let reason = refusal.reason;
        self.observer.refused(refusal);
        Ended::Refused(reason)
    }
}

/// Who is at the other end, when a proxy may stand between.
struct Behind {
    address: SocketAddr,
    /// The proxy's own connection, or one of whose peer it says nothing.
    is_nobody: bool,
    /// What was read after the header.
    replay: Vec<u8>,
}

impl Behind {
    fn nobody(address: SocketAddr) -> Self {
        Self {
            address,
            is_nobody: false,
            replay: Vec::new(),
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The service of one authenticated connection: each request bears [`PeerCertificates`] and [`Connection`].
#[derive(Clone, Debug)]
pub struct Admitted<S> {
    inner: S,
    connection: Connection,
}

impl<S> Admitted<S> {
    /// The connection that it serves.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl<S, Q, B> Service<Request<Q>> for Admitted<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.connection.peer().clone());
        extensions.insert(self.connection.clone());
        Answering {
            in_flight: self.connection.begin(),
            answer: self.inner.call(request),
        }
    }
}

pin_project! {
    /// A request that is being answered.
    pub struct Answering<F> {
        #[pin]
        answer: F,
        in_flight: InFlight,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        if this.in_flight.is_last()
            && this.in_flight.http() == Http::One
            && let Ok(response) = &mut answer
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(answer)
    }
}
