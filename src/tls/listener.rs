//! Listening sockets: bound here, or handed over by the service manager (`LISTEN_FDS`).

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes for us before they are accepted.
pub(super) const BACKLOG: i32 = 4096;

/// Whether another process may listen on the same address at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReusePort {
    /// One process only.
    #[default]
    No,
    /// `SO_REUSEPORT`: an upgrade starts the new process before the old one stops.
    Yes,
}

/// Binds a listening socket; port 0 takes a free one.
pub fn listen(address: SocketAddr, reuse_port: ReusePort) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the old process's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    match reuse_port {
        ReusePort::Yes => socket.set_reuse_port(true)?,
        ReusePort::No => {}
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The listening sockets that a service manager opened for us, none if there is none. They are taken once:
/// call it before other threads start, since it clears `LISTEN_FDS` and `LISTEN_PID`.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(sockets.len());
    for index in 0..sockets.len() {
        if let Some(listener) = sockets.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_takes_a_free_port() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), ReusePort::No).unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
    }

    #[test]
    fn two_listeners_share_a_port_only_if_both_say_so() {
        let first = listen("127.0.0.1:0".parse().unwrap(), ReusePort::Yes).unwrap();
        let address = first.local_addr().unwrap();
        listen(address, ReusePort::Yes).unwrap();
        assert_eq!(
            listen(address, ReusePort::No).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
