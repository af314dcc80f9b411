//! The live authenticated connections, and how one of them is ended from outside.
//!
//! Promises: a connection that has had no request in flight for [`header_timeout`](super::Limits) is closed,
//! whether it is idle, slow with a head, or does not read its answers; [`Connections::close_where`] closes idle
//! connections at once and busy ones after their answer. It costs a request two atomic counts and no timer:
//! one sweep looks at all connections a few times a second, and time is counted in sweeps.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
    thread,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::{task, time};

use super::{ChainRefusal, HandshakeReason, PeerCertificates, Trust};
use crate::x509::Validity;

/// The longest time between two sweeps.
const SWEEP_MAX: Duration = Duration::from_millis(250);
/// The shortest: only tests have timeouts that short.
const SWEEP_MIN: Duration = Duration::from_millis(10);
/// Chains that a review verifies between two pauses, a few milliseconds' work, and how long it pauses.
const REVIEWED_AT_ONCE: usize = 32;
const REVIEW_PAUSE: Duration = Duration::from_millis(1);
/// How many sweeps a connection that was told to close may take for it before it is cut, counted from its last request. A request that
/// begins later than so many sweeps after that counts for nothing: over HTTP/2 they could go on for ever, since it is the peer who says
/// that it has heard of the end.
const GRACE_SWEEPS: u32 = 3;

/// The registry of live authenticated connections. Clones are the same registry.
#[derive(Clone)]
pub struct Connections {
    registry: Arc<Registry>,
}

struct Registry {
    live: Mutex<HashMap<u64, Connection>>,
    next: AtomicU64,
    /// The sweeps so far: the time, for all connections.
    sweeps: AtomicU32,
    /// Set when the server stops: the next answer of each connection is then its last.
    stopping: AtomicBool,
}

/// Why a connection comes to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Signal {
    /// It does not.
    Open,
    /// It closes when nothing is in flight.
    Close,
    /// It is cut.
    Abort,
}

/// A live authenticated connection; every request bears it as an extension. Clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    live: Arc<Live>,
}

struct Live {
    peer: PeerCertificates,
    http: Http,
    registry: Arc<Registry>,
    requests: AtomicU32,
    /// The sweep at which the last request ended.
    idle_since: AtomicU32,
    signal: AtomicU8,
    /// The sweep at which the connection was told to close.
    signalled_at: AtomicU32,
    waker: AtomicWaker,
}

/// What ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// An empty registry.
    pub fn new() -> Self {
        Self {
            registry: Arc::new(Registry {
                live: Mutex::new(HashMap::new()),
                next: AtomicU64::new(0),
                sweeps: AtomicU32::new(0),
                stopping: AtomicBool::new(false),
            }),
        }
    }

    /// How many connections are live and authenticated.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Closes the connections whose peer fails: idle ones at once, busy ones after their answer. Returns how
    /// many were told.
    pub fn close_where(&self, fails: impl FnMut(&PeerCertificates) -> bool) -> usize {
        self.signal_where(Signal::Close, fails)
    }

    /// Closes, as [`Connections::close_where`] does, the connections from whose chain trust was withdrawn and those that may not
    /// stay for another reason. Returns how many were told.
    ///
    /// A connection whose chain has only ended stays: its next request is refused, and so recorded, or it lies idle for too long.
    ///
    /// After a reload that is every connection at once, so it runs beside the runtime's threads, pauses, and verifies a chain that several
    /// connections have in common once.
    pub async fn review(
        &self,
        trust: Arc<Trust>,
        now: Timestamp,
        may_stay: impl Fn(&PeerCertificates) -> bool + Send + 'static,
    ) -> usize {
        let connections = self.clone();
        let reviewing = move || connections.review_all(&trust, now, may_stay);
        // A defect in it has been told by the panic itself; the next request of each connection is judged all the same.
        task::spawn_blocking(reviewing).await.unwrap_or_default()
    }

    fn review_all(
        &self,
        trust: &Trust,
        now: Timestamp,
        may_stay: impl Fn(&PeerCertificates) -> bool,
    ) -> usize {
        let mut found: HashMap<Vec<CertificateDer<'static>>, Result<Validity, ChainRefusal>> =
            HashMap::new();
        self.close_where(|peer| {
            let withdrawn = !peer.held_under(trust)
                && peer
                    .ask_again(trust, now, || {
                        if let Some(known) = found.get(peer.chain()) {
                            return known.clone();
                        }
                        if !found.is_empty() && found.len().is_multiple_of(REVIEWED_AT_ONCE) {
                            thread::sleep(REVIEW_PAUSE);
                        }
                        let verified = trust.verify(peer.chain(), now).map(|held| held.window);
                        found.insert(peer.chain().to_vec(), verified.clone());
                        verified
                    })
                    .is_err_and(|told| told.refusal.reason != HandshakeReason::Expired);
            withdrawn || !may_stay(peer)
        })
    }

    /// Whether some chain was not judged under this trust yet: then a [`Connections::review`] is due.
    pub fn any_unknown(&self, trust: &Trust) -> bool {
        let live = self.lock();
        live.values().any(|one| !one.live.peer.is_judged(trust))
    }

    /// Cuts all connections, whatever is in flight on them. Returns how many were cut.
    pub fn abort_all(&self) -> usize {
        self.signal_where(Signal::Abort, |_| true)
    }

    /// Lets all connections come to their end without losing a request. HTTP/2 has a word for it. An HTTP/1.1
    /// client may be sending its next request just now: it is answered, and told that it was the last; only
    /// who stays silent for a few sweeps is closed. The same goes for a handshake that is still to end.
    pub(super) fn stop(&self) {
        self.registry.stopping.store(true, Ordering::Release);
        for connection in self.lock().values() {
            match connection.http() {
                Http::Two => connection.tell(Signal::Close),
                Http::One => {}
            }
        }
    }

    /// Enters a connection; it leaves when the guard is dropped.
    pub(super) fn enter(&self, peer: PeerCertificates, http: Http) -> (Connection, Entered) {
        let connection = Connection {
            live: Arc::new(Live {
                peer,
                http,
                registry: Arc::clone(&self.registry),
                requests: AtomicU32::new(0),
                idle_since: AtomicU32::new(self.registry.sweeps.load(Ordering::Relaxed)),
                signal: AtomicU8::new(Signal::Open as u8),
                signalled_at: AtomicU32::new(0),
                waker: AtomicWaker::new(),
            }),
        };
        let id = self.registry.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, connection.clone());
        let entered = Entered {
            id,
            connections: self.clone(),
        };
        (connection, entered)
    }

    /// Sweeps until it is dropped. `header_timeout` is asked for each time, since a reload may change it.
    pub(super) async fn sweep(&self, header_timeout: impl Fn() -> Duration) {
        let mut sweeps = 0_u32;
        loop {
            let timeout = header_timeout();
            let period = (timeout / 8).clamp(SWEEP_MIN, SWEEP_MAX);
            time::sleep(period).await;
            sweeps = sweeps.wrapping_add(1);
            self.registry.sweeps.store(sweeps, Ordering::Relaxed);
            self.sweep_once(sweeps, sweeps_of(timeout, period));
        }
    }

    fn sweep_once(&self, now: u32, timeout: u32) {
        let stopping = self.registry.stopping.load(Ordering::Acquire);
        for connection in self.lock().values() {
            let live = &connection.live;
            if live.requests.load(Ordering::Relaxed) > 0 {
                continue;
            }
            let idle = now.wrapping_sub(live.idle_since.load(Ordering::Relaxed));
            match connection.signal() {
                Signal::Open => {
                    if idle > timeout || (stopping && idle > GRACE_SWEEPS) {
                        connection.tell(Signal::Close);
                    }
                }
                Signal::Close => {
                    if connection.told_for().min(idle) > GRACE_SWEEPS {
                        connection.tell(Signal::Abort);
                    }
                }
                Signal::Abort => {}
            }
        }
    }

    fn signal_where(
        &self,
        signal: Signal,
        mut fails: impl FnMut(&PeerCertificates) -> bool,
    ) -> usize {
        // The predicate may verify a chain: it must not hold up connections that open and close meanwhile.
        let live: Vec<Connection> = self.lock().values().cloned().collect();
        let mut told = 0;
        for connection in live {
            if fails(&connection.live.peer) {
                connection.tell(signal);
                told += 1;
            }
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.registry
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn sweeps_of(timeout: Duration, period: Duration) -> u32 {
    let sweeps = timeout.as_millis().div_ceil(period.as_millis().max(1));
    u32::try_from(sweeps).unwrap_or(u32::MAX)
}

/// A connection's place in the registry.
#[derive(Debug)]
pub(super) struct Entered {
    id: u64,
    connections: Connections,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = self.connections.lock().remove(&self.id);
        // Outside the lock: this may be the last clone, and the chain in it is not small.
        drop(left);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address())
            .field("http", &self.live.http)
            .field("signal", &self.signal())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whose it is.
    pub fn peer(&self) -> &PeerCertificates {
        &self.live.peer
    }

    /// The peer's own address, also behind a trusted proxy.
    pub fn address(&self) -> SocketAddr {
        self.live.peer.address()
    }

    /// Closes the connection once what is in flight on it has been answered.
    pub fn close_after_response(&self) {
        self.tell(Signal::Close);
    }

    pub(super) fn http(&self) -> Http {
        self.live.http
    }

    pub(super) fn signal(&self) -> Signal {
        match self.live.signal.load(Ordering::Acquire) {
            0 => Signal::Open,
            1 => Signal::Close,
            _ => Signal::Abort,
        }
    }

    /// The task that drives the connection is woken when it is told something.
    pub(super) fn register(&self, waker: &Waker) {
        self.live.waker.register(waker);
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.live.requests.fetch_add(1, Ordering::Relaxed);
        let in_time = match self.signal() {
            Signal::Open => true,
            Signal::Close | Signal::Abort => self.told_for() <= GRACE_SWEEPS,
        };
        InFlight {
            connection: self.clone(),
            in_time,
        }
    }

    /// How many sweeps ago it was told to end, if it was.
    fn told_for(&self) -> u32 {
        let now = self.live.registry.sweeps.load(Ordering::Relaxed);
        now.wrapping_sub(self.live.signalled_at.load(Ordering::Relaxed))
    }

    fn tell(&self, signal: Signal) {
        let live = &self.live;
        if self.signal() >= signal {
            return;
        }
        // Before the signal: a sweep that sees the one must not find the other's time at its beginning.
        let now = live.registry.sweeps.load(Ordering::Relaxed);
        live.signalled_at.store(now, Ordering::Relaxed);
        let before = live.signal.fetch_max(signal as u8, Ordering::AcqRel);
        if before < signal as u8 {
            live.waker.wake();
        }
    }
}

/// A request that is being answered.
pub(super) struct InFlight {
    connection: Connection,
    /// The connection had not been told to end, or only just.
    in_time: bool,
}

impl InFlight {
    /// Whether the answer is the last on its connection.
    pub(super) fn is_last(&self) -> bool {
        let live = &self.connection.live;
        if live.registry.stopping.load(Ordering::Relaxed) {
            self.connection.tell(Signal::Close);
        }
        self.connection.signal() != Signal::Open
    }

    pub(super) fn http(&self) -> Http {
        self.connection.http()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let live = &self.connection.live;
        if self.in_time {
            let now = live.registry.sweeps.load(Ordering::Relaxed);
            live.idle_since.store(now, Ordering::Relaxed);
        }
        live.requests.fetch_sub(1, Ordering::Release);
    }
}
