//! Start, reload, stop.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::notify::{Notifier, State};
use super::operator::Desk;
use super::receiver::{Current, LiveCurrent, Receiver};
use super::record::Recorder;
use super::watching::Watching;
use super::{retention, routes};
use crate::admin::{self, Guard};
use crate::config::{Config, ConfigFile, Environment, Live, Reloader, Snapshot};
use crate::inbox::Inbox;
use crate::refusals::Book;
use crate::store::{Store, StoreFault};
use crate::telemetry::{Exporter, ExporterFailure};
use crate::tls::{self, Acceptor};

/// How long what is in flight may take once the stop has begun.
const GRACE: Duration = Duration::from_secs(30);
/// How often the store is asked whether it is ready, and histograms are folded.
const PULSE: Duration = Duration::from_secs(1);
/// Groups of refusals that are kept.
const REFUSAL_GROUPS: usize = 10_000;

/// What a receiver is started with.
pub struct Start {
    /// The loaded configuration.
    pub config: Config,
    /// Where it came from, for reloads.
    pub file: ConfigFile,
    /// What overrides it.
    pub environment: Environment,
    /// What was begun before the configuration was read.
    pub prelude: Prelude,
}

/// What comes before all else in a receiver's process.
pub struct Prelude {
    /// The sockets that a service manager opened for us, if any: taken before any thread starts, for taking them changes the
    /// process's environment.
    inherited: Vec<TcpListener>,
    /// The random number generator's seeding takes longer than the rest of the start, which goes on beside it.
    seeding: std::thread::JoinHandle<Result<(), tls::SetupFailure>>,
}

impl Prelude {
    /// To be called once, while the process has one thread.
    pub fn begin() -> io::Result<Self> {
        let inherited = tls::inherited()?;
        let seeding = std::thread::Builder::new()
            .name("seed".to_owned())
            .spawn(tls::seed)?;
        Ok(Self { inherited, seeding })
    }

    async fn end(self) -> Result<Vec<TcpListener>, ServeFailure> {
        let seeded = tokio::task::spawn_blocking(|| self.seeding.join());
        match seeded.await.map_err(io::Error::other)? {
            Ok(seeded) => seeded?,
            Err(_panic) => return Err(io::Error::other("the seeding panicked").into()),
        }
        Ok(self.inherited)
    }
}

/// The addresses that are listened on.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// The providers' side.
    pub server: SocketAddr,
    /// The operator's side.
    pub admin: SocketAddr,
}

/// Why the receiver could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// The store can not be opened.
    #[error("the store can not be opened")]
    Store {
        /// Why.
        #[from]
        source: StoreFault,
    },
    /// An address can not be listened on.
    #[error("{key} = \"{address}\" can not be listened on; {}", hindrance(source.kind()))]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Metrics can not be recorded.
    #[error(transparent)]
    Metrics(#[from] ExporterFailure),
    /// Random numbers can not be had.
    #[error(transparent)]
    Seed(#[from] tls::SetupFailure),
    /// Signals can not be listened for, or the sockets not be used.
    #[error("the system refused what a server needs")]
    System(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT. `announce` is called once, when deliveries are accepted.
pub async fn serve(start: Start, announce: impl FnOnce(Announced)) -> Result<(), ServeFailure> {
    let Start {
        config,
        file,
        environment,
        prelude,
    } = start;
    let open_files = tls::raise_open_files(config.server.connections.connections);
    let exporter = Exporter::install()?;
    let store = Arc::new(
        Store::open_with_spool(
            &config.store.url,
            config.store.limits,
            config.store.spool.as_ref(),
        )
        .await?,
    );
    let book = Arc::new(Book::new(REFUSAL_GROUPS));
    if let Err(failure) = store.load(&book).await {
        tracing::warn!(
            error = &failure as &dyn Error,
            "refusals of earlier could not be read"
        );
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = config.store.forsaken() {
        tracing::error!("{warning}");
    }
    if let Err(error) = open_files {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }

    let providers = listeners(&config, prelude.end().await?)?;
    // The next version finds both of our addresses in use, or neither.
    let desk_listener = bind(
        "admin.listen",
        config.admin.listen,
        config.server.reuse_port,
    )?;
    let announced = Announced {
        server: local_address(&providers)?,
        admin: desk_listener.local_addr()?,
    };

    let snapshot: Arc<Snapshot> = Arc::clone(&config.snapshot);
    let live: Arc<LiveCurrent> = Arc::new(Live::new(Current::new(snapshot)));
    let watching = Watching::new(Arc::clone(store.shadows()));
    let recorder = Arc::new(Recorder::new(
        Arc::clone(&live),
        Arc::clone(&book),
        watching.clone(),
    ));
    let acceptor = Acceptor::new(
        Arc::clone(&live) as Arc<dyn tls::CurrentTrust>,
        Arc::clone(&recorder) as Arc<dyn tls::Observer>,
        config.server.connections.clone(),
        config.server.trusted_proxies.clone(),
    );
    let receiver = Arc::new(Receiver::new(
        Arc::clone(&live),
        Arc::clone(&store),
        Arc::clone(&recorder),
        Arc::clone(store.seen()),
        watching,
    ));
    let notifier = Notifier::new(environment.os("NOTIFY_SOCKET").map(ToOwned::to_owned));
    let guard = Guard::new(config.admin.listen, config.admin.tokens.clone());
    let reloader = Reloader::new(file, environment, &config, Timestamp::now());
    let desk = Arc::new(Desk::new(
        reloader,
        Arc::clone(&live),
        acceptor.clone(),
        Arc::clone(&store),
        Arc::clone(&recorder),
    ));

    let (stopping, stopped) = watch::channel(());
    let mut ended = stopped.clone();
    let admin = tokio::spawn(serve_admin(
        desk_listener,
        admin::router(
            Arc::clone(&desk) as Arc<dyn admin::Operator>,
            Arc::clone(&store),
            exporter.clone(),
            guard,
        ),
        async move {
            let _gone = ended.changed().await;
        },
    ));
    let (settling, settled) = watch::channel(());
    let errands = tokio::spawn({
        let (store, book) = (Arc::clone(&store), Arc::clone(&book));
        let mut settled = settled;
        async move {
            let stop = async move { drop(settled.changed().await) };
            store.keep(&book, stop).await;
        }
    });
    let pulse = tokio::spawn(Arc::clone(&desk).pulse(PULSE, exporter));
    let retained = tokio::spawn(retention::retain(Arc::clone(&store), Arc::clone(&live)));
    // Before anybody is told that we are here: an unhandled SIGHUP ends a process.
    let hang_up = signal(SignalKind::hangup())?;
    let reloads = tokio::spawn(reload_on_request(
        Arc::clone(&desk),
        notifier.clone(),
        hang_up,
    ));

    let stop = stop_signal()?;
    announce(announced);
    tell(&notifier, State::Ready);
    let on_stop = {
        let (notifier, desk) = (notifier.clone(), Arc::clone(&desk));
        async move {
            stop.await;
            tracing::info!(
                "stopping: no new connections; what is in flight has {} s",
                GRACE.as_secs()
            );
            desk.drain();
            tell(&notifier, State::Stopping);
        }
    };
    tls::serve(
        providers,
        acceptor,
        routes::providers(receiver),
        on_stop,
        GRACE,
    )
    .await?;

    reloads.abort();
    pulse.abort();
    retained.abort();
    drop(settling);
    let written = async {
        // What it has taken out of memory, nobody else can write.
        errands.await?;
        store.flush(&book).await?;
        // One flush is bounded; at the stop, all of it is written.
        while !book.drain_is_done() {
            store.flush(&book).await?;
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    };
    let written = tokio::time::timeout(GRACE, written).await;
    if let Err(cause) = written.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        tracing::warn!(
            error = &*cause as &dyn Error,
            "the last refusals could not be written down"
        );
    }
    store.close().await;
    drop(stopping);
    let _joined = tokio::time::timeout(PULSE, admin).await;
    tracing::info!("stopped");
    Ok(())
}

/// Serves the providers' side alone, into an inbox of the caller's, until the future is dropped: for benchmarks of the gates without a
/// store.
pub async fn serve_into<I: Inbox + 'static>(
    config: Config,
    inbox: I,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), ServeFailure> {
    tls::seed()?;
    let providers = listeners(&config, Vec::new())?;
    announce(local_address(&providers)?);
    let live: Arc<LiveCurrent> = Arc::new(Live::new(Current::new(Arc::clone(&config.snapshot))));
    let watching = Watching::new(Arc::default());
    let recorder = Arc::new(Recorder::new(
        Arc::clone(&live),
        Arc::new(Book::new(REFUSAL_GROUPS)),
        watching.clone(),
    ));
    let acceptor = Acceptor::new(
        Arc::clone(&live) as Arc<dyn tls::CurrentTrust>,
        Arc::clone(&recorder) as Arc<dyn tls::Observer>,
        config.server.connections.clone(),
        config.server.trusted_proxies.clone(),
    );
    let receiver = Arc::new(Receiver::new(
        live,
        Arc::new(inbox),
        recorder,
        Arc::default(),
        watching,
    ));
    tls::serve(
        providers,
        acceptor,
        routes::providers(receiver),
        std::future::pending(),
        GRACE,
    )
    .await?;
    Ok(())
}

fn listeners(
    config: &Config,
    inherited: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, ServeFailure> {
    if inherited.is_empty() {
        return Ok(vec![bind(
            "server.listen",
            config.server.listen,
            config.server.reuse_port,
        )?]);
    }
    Ok(inherited)
}

fn bind(
    key: &'static str,
    address: SocketAddr,
    reuse: tls::ReusePort,
) -> Result<TcpListener, ServeFailure> {
    tls::listen(address, reuse).map_err(|source| ServeFailure::Listen {
        key,
        address,
        source,
    })
}

/// What is in the way of listening, and what to do.
fn hindrance(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::AddrInUse {
        "is another process there already?"
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "no interface of this machine has this address: name one that it has, or 0.0.0.0 for all"
    } else if kind == io::ErrorKind::PermissionDenied {
        "the receiver's user may not take this port: name one from 1024 on"
    } else {
        "name another address or port"
    }
}

fn local_address(listeners: &[TcpListener]) -> io::Result<SocketAddr> {
    listeners
        .first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
        .local_addr()
}

async fn serve_admin(
    listener: TcpListener,
    router: axum::Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let server = axum_server::from_tcp(listener)?;
    let handle = axum_server::Handle::new();
    let mut server = server.handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10));
    tokio::spawn(async move {
        stop.await;
        handle.graceful_shutdown(Some(PULSE));
    });
    server.serve(router.into_make_service()).await
}

/// Resolves at SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Reloads at SIGHUP, and when a file of the configuration has changed.
async fn reload_on_request(desk: Arc<Desk>, notifier: Notifier, mut hang_up: Signal) {
    let changes = desk.watch();
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            () = changes.changed() => {}
        }
        tell(&notifier, State::Reloading);
        // The desk logs what it finds and remembers it for /readyz.
        let _faults = desk.reload_at(Timestamp::now()).await;
        tell(&notifier, State::Ready);
    }
}

fn tell(notifier: &Notifier, state: State) {
    if let Err(error) = notifier.notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_interface_has_is_not_called_taken() {
        let told = |kind: io::ErrorKind| {
            let failure = ServeFailure::Listen {
                key: "server.listen",
                address: SocketAddr::from(([192, 0, 2, 1], 1)),
                source: kind.into(),
            };
            failure.to_string()
        };
        let away = told(io::ErrorKind::AddrNotAvailable);
        assert!(away.contains("no interface of this machine"), "{away}");
        assert!(!away.contains("another process"), "{away}");
        assert!(told(io::ErrorKind::AddrInUse).contains("another process"));
    }
}
