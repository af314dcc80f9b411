//! A TCP proxy whose wires a test can cut, stall and narrow.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They pass.
    Open,
    /// They wait, in both directions.
    Stalled,
    /// The server gets what the client sends; what it answers waits.
    Unanswered,
    /// So few pass at once, with a short pause after each piece.
    Narrow(usize),
}

/// The pause of a narrow way: 100 pieces a second.
const PAUSE: Duration = Duration::from_millis(10);

/// It ends with this value, and its connections with it.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    wires: Arc<Wires>,
}

struct Wires {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    way: Way,
    /// How often all connections were cut: one of an earlier time is no longer served.
    cuts: u64,
    ended: bool,
    /// Connections in which an answer of the server waits.
    answers_held: usize,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Stands before the host of this URL; returns the URL to use instead.
    pub(crate) fn before(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").unwrap();
        let host_end = rest.find('/').unwrap();
        let (authority, database) = rest.split_at(host_end);
        let (user, host) = authority.split_once('@').unwrap_or(("", authority));
        let server = host.parse().expect("a database at an address and a port");
        let proxy = Self::start(server);
        let instead = format!("{scheme}://{user}@{}{database}", proxy.address);
        (proxy, instead)
    }

    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            way: Way::Open,
            cuts: 0,
            ended: false,
            answers_held: 0,
            connections: Vec::new(),
        };
        let wires = Arc::new(Wires {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let served = Arc::clone(&wires);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if served.state.lock().unwrap().ended {
                    return;
                }
                // A server that is away is what the client sees as well.
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                served.connect(&client, &server);
            }
        });
        Self { address, wires }
    }

    /// From now on.
    pub(crate) fn set(&self, way: Way) {
        self.wires.state.lock().unwrap().way = way;
        self.wires.changed.notify_all();
    }

    /// Of how many connections the server has answered, and the client has not got it.
    pub(crate) fn answers_held(&self) -> usize {
        self.wires.state.lock().unwrap().answers_held
    }

    /// Cuts every connection; what waited in it is lost.
    pub(crate) fn cut(&self) {
        self.wires.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wires.state.lock().unwrap().ended = true;
        self.wires.cut();
        // Wakes the thread that listens.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Wires {
    fn connect(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        for socket in [client, server] {
            socket.set_nodelay(true).unwrap();
        }
        let mut state = self.state.lock().unwrap();
        for socket in [client, server] {
            state.connections.push(socket.try_clone().unwrap());
        }
        for (from, to, direction) in [
            (client, server, Direction::ToServer),
            (server, client, Direction::ToClient),
        ] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (wires, cuts) = (Arc::clone(self), state.cuts);
            thread::spawn(move || wires.pump(from, to, direction, cuts));
        }
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cuts += 1;
        for socket in state.connections.drain(..) {
            // It may have ended by itself.
            let _closed = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, direction: Direction, cuts: u64) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let Some(way) = self.passable(direction, cuts) else {
                    return;
                };
                let most = if let Way::Narrow(most) = way {
                    thread::sleep(PAUSE);
                    most
                } else {
                    rest.len()
                };
                let (piece, left) = rest.split_at(most.min(rest.len()));
                if to.write_all(piece).is_err() {
                    let _closed = from.shutdown(Shutdown::Both);
                    return;
                }
                rest = left;
            }
        }
        let _closed = to.shutdown(Shutdown::Write);
    }

    /// Waits until bytes may pass; `None` once the connection was cut.
    fn passable(&self, direction: Direction, cuts: u64) -> Option<Way> {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.cuts != cuts {
                return None;
            }
            match (state.way, direction) {
                (Way::Stalled, Direction::ToServer) => {
                    state = self.changed.wait(state).unwrap();
                }
                (Way::Stalled | Way::Unanswered, Direction::ToClient) => {
                    state.answers_held += 1;
                    state = self.changed.wait(state).unwrap();
                    state.answers_held -= 1;
                }
                (way, _) => return Some(way),
            }
        }
    }
}
