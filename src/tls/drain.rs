//! The last word reaches the peer: a TLS alert, a 403 before the close.
//!
//! A socket that is closed while bytes of the peer lie unread in it answers with a TCP reset, and the reset
//! makes the peer's kernel throw away what we wrote last. So a socket is shut down for writing first and read
//! until the peer closes its side, within a bound of bytes and time; the number of sockets that linger so is
//! bounded too, and beyond it a socket is simply closed.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, runtime, sync::Semaphore, time};

/// Sockets that linger at once.
const LINGERING_MAX: usize = 512;

/// Lets closed sockets linger.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    places: Arc<Semaphore>,
}

/// How much a socket may still say, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DrainLimits {
    bytes: usize,
    time: Duration,
}

impl DrainLimits {
    /// For a peer that did not pass the handshake.
    pub(super) const STRANGER: Self = Self {
        bytes: 64 * 1024,
        time: Duration::from_secs(1),
    };
    /// For an authenticated peer, which may be in the middle of a body that was refused early.
    pub(super) const AUTHENTICATED: Self = Self {
        bytes: 4 * 1024 * 1024,
        time: Duration::from_secs(3),
    };
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LINGERING_MAX)),
        }
    }
}

impl Drain {
    /// Shuts the socket down for writing and reads what the peer still sends, in a task of its own.
    pub(super) fn linger(&self, mut tcp: TcpStream, limits: DrainLimits) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        // Without a runtime (it is being taken down) the socket closes as it is.
        let Ok(runtime) = runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let _ = time::timeout(limits.time, read_out(&mut tcp, limits.bytes)).await;
            drop(place);
        });
    }
}

async fn read_out(tcp: &mut TcpStream, bytes_max: usize) {
    if tcp.shutdown().await.is_err() {
        return;
    }
    let mut buffer = [0; 4096];
    let mut bytes = 0;
    while bytes < bytes_max {
        match tcp.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes += read,
        }
    }
}
