//! The operator's side on its socket: plain HTTP/1.1, with a bound on connections and on how long one may say nothing. Where it is not on
//! loopback, a stranger can reach it without a token, and shares the limit of open files with the providers.

use std::future::{Future, Ready, ready};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// Connections at once, at most; what comes beyond is closed.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take over a request's head, and may lie idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is told at most that connections were closed for want of room.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Answers until `stop`, and then for as long as `grace`.
pub(super) async fn serve(
    listener: TcpListener,
    router: axum::Router,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> io::Result<()> {
    // A client that does not read its answers would hold its place for ever: HTTP has no time-out for writing, TCP has one.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(HEADER_TIMEOUT))?;
    let handle = axum_server::Handle::new();
    // To find out which version of HTTP somebody speaks, it would wait for their first bytes without end.
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .acceptor(Bounded::to(CONNECTIONS_MAX))
        .http1_only();
    server
        .http_builder()
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    tokio::spawn(async move {
        stop.await;
        handle.graceful_shutdown(Some(grace));
    });
    server.serve(router.into_make_service()).await
}

/// Lets in as many connections at once as there is room for.
#[derive(Clone)]
struct Bounded {
    room: Arc<Semaphore>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Bounded {
    fn to(connections: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(connections)),
            told: Arc::default(),
        }
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                connections = CONNECTIONS_MAX,
                "the operator's side has no room for more connections; the latest are closed"
            );
        }
    }
}

impl<I, S> Accept<I, S> for Bounded {
    type Stream = I;
    /// It lives as long as its connection, and so does the room that was taken for that.
    type Service = AddExtension<S, Arc<OwnedSemaphorePermit>>;
    type Future = Ready<io::Result<(I, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        ready(match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => Ok((stream, Extension(Arc::new(room)).layer(service))),
            Err(full) => {
                self.tell();
                Err(io::Error::other(full))
            }
        })
    }
}
