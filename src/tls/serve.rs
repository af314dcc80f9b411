//! Serves the providers' side: accepts, drives each connection, and stops without losing what has begun.
//!
//! The loop is our own since axum-server's cannot end one connection among many, nor let a handshake that
//! has begun come to its end when the server stops. Each connection is driven by hyper in the version of HTTP
//! that ALPN chose, with every bound that hyper has set here.

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum_server::accept::Accept;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tower::Service;

use super::{
    accept::Acceptor,
    connections::{Connection, Connections, Http, Signal},
    half_close::HalfClosable,
    listener::BACKLOG,
};

/// A request's line and headers, all together.
const HEAD_BYTES: u32 = 32 * 1024;
/// Streams of one HTTP/2 connection that are open at once.
const STREAMS: u32 = 100;
/// What one HTTP/2 stream, and one connection, may send before it is read.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// Streams that a peer opened and reset before we looked (CVE-2023-44487), and resets that it provoked
/// (CVE-2025-8671), until its connection is ended.
const RESETS_PENDING: usize = 32;
const RESETS_PROVOKED: usize = 128;
/// A pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the last connections are waited for after they were cut.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// What is served, until [`Serving::stop`]. Dropped without that, it accepts no more, and ends no connection.
pub struct Serving {
    connections: Connections,
    /// The listening tasks go on while it is there.
    stopping: watch::Sender<()>,
    /// Told of nothing: it closes with the last task.
    ended: mpsc::Receiver<()>,
    /// Ends with this.
    _sweeper: JoinSet<()>,
}

/// Begins to serve all listeners. To be called within a runtime.
pub fn serve<S, B>(
    listeners: Vec<std::net::TcpListener>,
    acceptor: Acceptor,
    service: S,
) -> io::Result<Serving>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listeners: Vec<TcpListener> = listeners
        .into_iter()
        .map(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .collect::<io::Result<_>>()?;
    let protocols = Arc::new(Protocols::new());
    // Each task holds a sender and never uses it: when the last one is gone, so are the tasks.
    let (alive, ended) = mpsc::channel::<()>(1);
    let (stopping, stopped) = watch::channel(());
    let connections = acceptor.connections().clone();
    let mut sweeper = JoinSet::new();
    sweeper.spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.sweep().await }
    });
    for listener in listeners {
        let (acceptor, service) = (acceptor.clone(), service.clone());
        let (protocols, alive) = (Arc::clone(&protocols), alive.clone());
        let failed = {
            let acceptor = acceptor.clone();
            move |error: &io::Error| acceptor.observer().accept_failed(error)
        };
        tokio::spawn(accept_all(listener, stopped.clone(), failed, move |tcp| {
            tokio::spawn(connection(
                acceptor.clone(),
                Arc::clone(&protocols),
                tcp,
                service.clone(),
                alive.clone(),
            ));
        }));
    }
    Ok(Serving {
        connections,
        stopping,
        ended,
        _sweeper: sweeper,
    })
}

impl Serving {
    /// Accepts no more, answers what is in flight and what comes on connections that are open, closes each after that answer, and
    /// returns when no connection is left, or once the grace is over after cutting those that are. Deliveries must be accepted until it
    /// returns.
    pub async fn stop(mut self, grace: impl Future<Output = ()>) {
        // The listening tasks hold senders too, so `ended` can't resolve before they have left.
        drop(self.stopping);
        self.connections.stop();
        tokio::select! {
            _ = self.ended.recv() => {}
            () = grace => {
                self.connections.abort_all();
                let _ = time::timeout(CUT_GRACE, self.ended.recv()).await;
            }
        }
    }
}

async fn accept_all(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    failed: impl Fn(&io::Error),
    mut spawn: impl FnMut(TcpStream),
) {
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    failing = false;
                    spawn(tcp);
                }
                Err(error) if is_peers(&error) => {}
                Err(error) => {
                    if !failing {
                        failed(&error);
                    }
                    failing = true;
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // The kernel has completed these for us: closing the listener would reset them. It is asked itself, since the runtime hears of
    // them later.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for _ in 0..BACKLOG {
        match listener.accept() {
            Ok((tcp, _)) => {
                if let Ok(tcp) = tcp
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(tcp))
                {
                    spawn(tcp);
                }
            }
            Err(error) if is_peers(&error) => {}
            Err(_) => break,
        }
    }
}

/// The peer went away before it was accepted: no fault of ours, and no reason to pause.
fn is_peers(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::Interrupted,
    ]
    .contains(&error.kind())
}

/// What is moved from one future into another stands in both: here nothing large is, for it is what an idle connection occupies.
async fn connection<S, B>(
    acceptor: Acceptor,
    protocols: Arc<Protocols>,
    tcp: TcpStream,
    service: S,
    _alive: mpsc::Sender<()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // The acceptor has told its observer of the refusal.
    let Ok((stream, service)) = acceptor.accept(tcp, service).await else {
        return;
    };
    let connection = service.connection().clone();
    let service = TowerToHyperService::new(service);
    match connection.http() {
        Http::One => {
            let io = TokioIo::new(HalfClosable::new(stream));
            let driven = pin!(protocols.one.serve_connection(io, service));
            drive(driven, &connection, |driven| driven.graceful_shutdown()).await;
        }
        Http::Two => {
            // h2 gives up all streams at the end of its peer's data: who ends its side here gets no answer.
            let io = TokioIo::new(stream);
            let mut driven = Box::pin(protocols.two.serve_connection(io, service));
            drive(driven.as_mut(), &connection, |driven| {
                driven.graceful_shutdown();
            })
            .await;
        }
    }
}

/// Drives a connection to its end, or until it is told to end.
async fn drive<C: Future>(
    mut driven: Pin<&mut C>,
    connection: &Connection,
    close: fn(Pin<&mut C>),
) {
    let mut closing = false;
    poll_fn(|cx| {
        connection.register(cx.waker());
        match connection.signal() {
            Signal::Open => {}
            Signal::Close => {
                if !closing {
                    closing = true;
                    close(driven.as_mut());
                }
            }
            Signal::Abort => return Poll::Ready(()),
        }
        driven.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// The hyper settings of a connection, made once.
#[derive(Debug)]
struct Protocols {
    one: http1::Builder,
    two: http2::Builder<TokioExecutor>,
}

impl Protocols {
    fn new() -> Self {
        let mut one = http1::Builder::new();
        // hyper's own timer for heads costs each request a registration; `Connections` sweeps instead.
        one.timer(TokioTimer::new())
            .header_read_timeout(None)
            // So one that is gone looks like one that ended its own side, and what it sent is worked off for nobody.
            .half_close(true)
            .max_buf_size(2 * HEAD_BYTES as usize)
            .max_header_size(HEAD_BYTES as usize);
        let mut two = http2::Builder::new(TokioExecutor::new());
        two.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(64 * 1024)
            .max_pending_accept_reset_streams(RESETS_PENDING)
            .max_local_error_reset_streams(RESETS_PROVOKED);
        Self { one, two }
    }
}
