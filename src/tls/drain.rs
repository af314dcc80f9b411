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
    /// For an authenticated peer, which may be in the middle of a body that was refused early: many clients read no answer before
    /// they have written all of it. What is thrown away costs little, so time is the bound that counts.
    pub(super) const AUTHENTICATED: Self = Self {
        bytes: 256 * 1024 * 1024,
        time: Duration::from_secs(3),
    };
}

impl Default for Drain {
    fn default() -> Self {
        Self::with_places(LINGERING_MAX)
    }
}

impl Drain {
    fn with_places(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_word_is_read_by_a_peer_that_has_written_before_it() {
        let (mut client, mut server) = pair().await;
        client.write_all(&[b'x'; 30_000]).await.unwrap();
        server.readable().await.unwrap();
        server.write_all(b"the last word").await.unwrap();
        Drain::default().linger(server, DrainLimits::STRANGER);
        // More, after the server has shut its side: still no reset.
        client.write_all(&[b'x'; 10_000]).await.unwrap();
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"the last word");
    }

    #[tokio::test]
    async fn lingering_is_bounded_in_number_bytes_and_time() {
        let drain = Drain::with_places(2);
        let limits = DrainLimits {
            bytes: 10_000,
            time: Duration::from_secs(60),
        };
        let (mut endless, server) = pair().await;
        drain.linger(server, limits);
        // The reset is what ends a peer that would write for ever.
        while endless.write_all(&[b'x'; 1000]).await.is_ok() {}
        let silent = DrainLimits {
            bytes: 10_000,
            time: Duration::from_millis(20),
        };
        let mut clients = Vec::new();
        for _ in 0..2 {
            let (client, server) = pair().await;
            drain.linger(server, limits);
            clients.push(client);
        }
        assert_eq!(drain.places.available_permits(), 0);
        let (mut unlucky, server) = pair().await;
        drain.linger(server, limits);
        assert_eq!(unlucky.read(&mut [0; 1]).await.unwrap(), 0);
        clients.clear();
        drop(drain.places.acquire_many(2).await.unwrap());
        let (_silent, server) = pair().await;
        drain.linger(server, silent);
        drop(drain.places.acquire_many(2).await.unwrap());
    }
}
