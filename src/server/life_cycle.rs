//! Start and stop.

use std::error::Error;
use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep_until};

use super::background::Background;
use super::current::{Current, LiveCurrent};
use super::journey;
use super::notify::{Notifier, State};
use super::operator::Desk;
use super::receiver::Receiver;
use super::record::Recorder;
use super::shadow::ShadowTally;
use super::signals::{Signals, StopSignals};
use super::sockets::{self, Announced, ListenFailure, Sockets};
use super::tasks::TaskEnded;
use crate::admin::Guard;
use crate::config::{Config, ConfigFile, Environment, Live, Reloader, StoreSettings};
use crate::inbox::Inbox;
use crate::refusals::Book;
use crate::store::{Seen, Shadows, Store, StoreFault};
use crate::telemetry::{Exporter, ExporterFailure};
use crate::tls::{self, Acceptor};

/// How long what is in flight may take once the stop has begun.
const GRACE: Duration = Duration::from_secs(30);

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
    /// The same.
    pub signals: Signals,
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

/// Why the receiver could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store {
        /// Why.
        #[from]
        source: StoreFault,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenFailure),
    /// Metrics cannot be recorded.
    #[error(transparent)]
    Metrics(#[from] ExporterFailure),
    /// Random numbers cannot be had.
    #[error(transparent)]
    Seed(#[from] tls::SetupFailure),
    /// Something ended that the receiver cannot do without.
    #[error(transparent)]
    Task(#[from] TaskEnded),
    /// Signals cannot be listened for, or the sockets not be used.
    #[error("the system refused what a server needs")]
    System(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT, or until something ends that the receiver cannot do without. `announce` is called once, when deliveries
/// are accepted. A second SIGINT ends the grace of what is in flight.
pub async fn serve(start: Start, announce: impl FnOnce(Announced)) -> Result<(), ServeFailure> {
    let Start {
        config,
        file,
        environment,
        prelude,
        signals:
            Signals {
                hang_up,
                mut stop,
                meaningless,
            },
    } = start;
    let begin = Running::begin(config, file, environment, prelude, hang_up);
    let mut running = tokio::select! {
        running = begin => running?,
        () = stop.stop() => {
            tracing::info!("told to stop before deliveries were accepted");
            return Ok(());
        }
    };
    running.background.ignore(meaningless);
    announce(running.announced);
    running.notifier.tell(State::Ready);
    let ended = running.until_told(&mut stop).await;
    running.stop(stop).await;
    ended.map_or(Ok(()), |task| Err(task.into()))
}

/// A receiver at work.
struct Running {
    announced: Announced,
    providers: tls::Serving,
    background: Background,
    desk: Arc<Desk>,
    notifier: Notifier,
    store: Arc<Store>,
    book: Arc<Book>,
}

impl Running {
    async fn begin(
        config: Config,
        file: ConfigFile,
        environment: Environment,
        prelude: Prelude,
        hang_up: Signal,
    ) -> Result<Self, ServeFailure> {
        let open_files = tls::raise_open_files(config.server.connections.connections);
        let exporter = Exporter::install()?;
        let (store, book) = open(&config).await?;
        warn(&config, open_files);
        let sockets = Sockets::bind(&config, prelude.end().await?)?;
        let announced = sockets.addresses()?;
        let gates = wire(
            &config,
            Arc::clone(&store),
            Arc::clone(&book),
            Arc::clone(store.seen()),
            Arc::clone(store.shadows()),
        );
        let notifier = Notifier::new(environment.os("NOTIFY_SOCKET").map(ToOwned::to_owned));
        let guard = Arc::new(Guard::new(config.admin.listen, config.admin.tokens.clone()));
        let desk = Arc::new(Desk::new(
            Reloader::new(file, environment, &config),
            Arc::clone(&gates.live),
            gates.acceptor.clone(),
            Arc::clone(&store),
            Arc::clone(&gates.recorder),
            Arc::clone(&guard),
        ));
        let mut background = Background::default();
        background.serve_desk(&desk, sockets.desk, exporter.clone(), guard, &store);
        background.supervise_writers(&store);
        background.write_down(&store, &book);
        background.pulse(&desk, exporter);
        background.prune(&store, &gates.live);
        background.reload(&desk, &notifier, hang_up);
        let service = journey::service(gates.receiver);
        let providers = tls::serve(sockets.providers, gates.acceptor, service)?;
        Ok(Self {
            announced,
            providers,
            background,
            desk,
            notifier,
            store,
            book,
        })
    }

    /// Resolves when it is to stop: with what has ended, unless it was told to.
    async fn until_told(&mut self, stop: &mut StopSignals) -> Option<TaskEnded> {
        tokio::select! {
            () = stop.stop() => None,
            task = self.background.tasks.ended() => {
                tracing::error!(error = &task as &dyn Error, "the receiver cannot go on");
                Some(task)
            }
        }
    }

    /// Ends the deliveries, and then what runs in their background.
    async fn stop(self, mut signals: StopSignals) {
        tracing::info!(
            "stopping: no new connections; what is in flight has {} s",
            GRACE.as_secs()
        );
        self.desk.drain();
        self.notifier.tell(State::Stopping);
        let mut grace_ends = Instant::now() + GRACE;
        let grace = async {
            tokio::select! {
                () = sleep_until(grace_ends) => {}
                () = signals.hurry() => {
                    tracing::warn!("interrupted again: what is in flight is cut off");
                    grace_ends = Instant::now();
                }
            }
        };
        self.providers.stop(grace).await;
        self.background
            .wind_down(&self.store, &self.book, grace_ends)
            .await;
        tracing::info!("stopped");
    }
}

/// Serves the providers' side alone, into an inbox of the caller's, until the future is dropped: for benchmarks of the gates without a
/// store.
pub async fn serve_into<I: Inbox + 'static>(
    config: Config,
    inbox: I,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), ServeFailure> {
    tls::seed()?;
    let providers = sockets::providers(&config, Vec::new())?;
    announce(sockets::local_address(&providers)?);
    let gates = wire(
        &config,
        Arc::new(inbox),
        Arc::default(),
        Arc::default(),
        Arc::default(),
    );
    let _serving = tls::serve(providers, gates.acceptor, journey::service(gates.receiver))?;
    pending().await
}

/// The store, and the refusals of its earlier lives.
async fn open(config: &Config) -> Result<(Arc<Store>, Arc<Book>), StoreFault> {
    let StoreSettings {
        url, limits, spool, ..
    } = &config.store;
    let store = Store::open_with_spool(url, *limits, spool.as_ref()).await?;
    let book = Book::default();
    if let Err(failure) = store.load(&book).await {
        tracing::warn!(
            error = &failure as &dyn Error,
            "refusals of earlier could not be read"
        );
    }
    Ok((Arc::new(store), Arc::new(book)))
}

/// What is not as it should be, and no reason not to serve.
fn warn(config: &Config, open_files: io::Result<u64>) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = config.store.forsaken() {
        tracing::error!("{warning}");
    }
    let connections = config.server.connections.connections;
    match open_files {
        Ok(open_files) if open_files < u64::try_from(connections).unwrap_or(u64::MAX) => {
            tracing::warn!(
                open_files,
                connections,
                "fewer files may be open than server.limits.connections: raise the limit (ulimit -n, or LimitNOFILE= of systemd), or lower that key"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// The gates before an inbox, and what else must know of them.
struct Gates<I> {
    live: Arc<LiveCurrent>,
    recorder: Arc<Recorder>,
    acceptor: Acceptor,
    receiver: Arc<Receiver<I>>,
}

fn wire<I: Inbox>(
    config: &Config,
    inbox: Arc<I>,
    book: Arc<Book>,
    seen: Arc<Seen>,
    shadows: Arc<Shadows>,
) -> Gates<I> {
    let live: Arc<LiveCurrent> = Arc::new(Live::new(Current::new(Arc::clone(&config.snapshot))));
    let shadow = ShadowTally::new(shadows);
    let recorder = Arc::new(Recorder::new(Arc::clone(&live), book, shadow.clone()));
    let acceptor = Acceptor::new(
        Arc::clone(&live) as Arc<dyn tls::CurrentTrust>,
        Arc::clone(&recorder) as Arc<dyn tls::Observer>,
        config.server.connections.clone(),
        config.server.trusted_proxies.clone(),
    );
    let receiver = Arc::new(Receiver::new(
        Arc::clone(&live),
        inbox,
        Arc::clone(&recorder),
        seen,
        shadow,
    ));
    Gates {
        live,
        recorder,
        acceptor,
        receiver,
    }
}
