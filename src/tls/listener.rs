//! Listening sockets: bound here, or handed over by the service manager (`LISTEN_FDS`).

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
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

/// Raises this process's limit of open files towards what `connections` need, as far as the operator's hard
/// limit allows; returns how many files may be open then. A shell's usual 1024 would otherwise be the bound.
pub fn raise_open_files(connections: usize) -> io::Result<u64> {
    // What lingers, the store and its connections, watched files, standard streams.
    let needed = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(1024);
    let mut limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    if soft < needed.min(hard) {
        limit.current = Some(needed.min(hard));
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(soft.max(needed.min(hard)))
}

/// What to do where no file, and so no connection, can be opened for want of descriptors.
pub fn mend_of_open_files(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            Some("raise this process's limit of open files: ulimit -n, or LimitNOFILE= of systemd")
        }
        Some(Errno::NFILE) => Some("raise this machine's limit of open files: sysctl fs.file-max"),
        Some(_) | None => None,
    }
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
