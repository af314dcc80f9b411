//! The TCP side of a connection: what TLS reads from and writes to.
//!
//! It replays what was read past a PROXY header, remembers how the peer began and ended while the handshake
//! lasts, holds the connection's place, and hands the socket to the drain when it is dropped: whoever drops
//! it (axum-server's acceptor does when a handshake fails), the peer still reads what was written last.

use std::{
    io,
    ops::RangeInclusive,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use rustls::server::Acceptor;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    connections::{Connection, Entered, Signal},
    drain::{Drain, DrainLimits},
    limits::Ticket,
};

/// An admitted socket, which lingers when it is dropped.
#[derive(Debug)]
pub struct Socket {
    /// `None` only while it is dropped.
    tcp: Option<TcpStream>,
    replay: Vec<u8>,
    beginning: Option<Arc<Beginning>>,
    ended: bool,
    drain: Drain,
    established: Option<Established>,
}

/// What an authenticated connection holds until it is closed.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "the guards are held for what they do when they are dropped"
)]
pub(super) struct Established {
    pub(super) connection: Connection,
    pub(super) entered: Entered,
    pub(super) ticket: Ticket,
}

/// The first bytes that a peer sent: they outlive a socket that a failed handshake drops.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    bytes: Mutex<Vec<u8>>,
}

/// What is kept of a beginning: a ClientHello with post-quantum key shares has 2 KiB.
const BEGINNING_BYTES: usize = 4096;
/// The content types of TLS records: change_cipher_spec to heartbeat (RFC 8446 §5.1, RFC 6520 §3).
const TLS_CONTENT: RangeInclusive<u8> = 20..=24;

impl Beginning {
    /// The peer sent something, and it was no TLS.
    pub(super) fn is_not_tls(&self) -> bool {
        self.bytes()
            .first()
            .is_some_and(|first| !TLS_CONTENT.contains(first))
    }

    /// The peer sent nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The name that the peer asked for, if its hello was read and has one.
    pub(super) fn server_name(&self) -> Option<String> {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut self.bytes().as_slice()).ok()?;
        let accepted = acceptor.accept().ok()??;
        accepted.client_hello().server_name().map(str::to_owned)
    }

    fn read(&self, bytes: &[u8]) {
        let mut kept = self.bytes();
        let room = BEGINNING_BYTES - kept.len().min(BEGINNING_BYTES);
        kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    pub(super) fn new(
        tcp: TcpStream,
        replay: Vec<u8>,
        beginning: Arc<Beginning>,
        drain: Drain,
    ) -> Self {
        Self {
            tcp: Some(tcp),
            replay,
            beginning: Some(beginning),
            ended: false,
            drain,
            established: None,
        }
    }

    /// The handshake has ended well.
    pub(super) fn establish(&mut self, established: Established) {
        self.beginning = None;
        self.replay = Vec::new();
        self.established = Some(established);
    }

    /// Acknowledges the peer's last flight now: TLS 1.3 without tickets has nothing to answer it with, and a peer that holds its
    /// request back until then (Nagle's algorithm) would wait for the kernel's delayed ACK, 40 ms.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Some(tcp) = &self.tcp {
            // Without it the request is only later.
            let _hint = SockRef::from(tcp).set_tcp_quickack(true);
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.tcp {
            Some(tcp) => Ok(Pin::new(tcp)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if this.replay.is_empty() {
            ready!(this.tcp()?.poll_read(cx, buf))?;
        } else {
            let length = this.replay.len().min(buf.remaining());
            buf.put_slice(this.replay.get(..length).unwrap_or_default());
            this.replay.drain(..length);
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        this.ended |= read.is_empty();
        if let Some(beginning) = &this.beginning {
            beginning.read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().tcp()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().tcp()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().tcp()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().tcp()?.poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(tcp) = self.tcp.take() else { return };
        let limits = match &self.established {
            None => DrainLimits::STRANGER,
            Some(established) if established.connection.signal() == Signal::Abort => {
                // What the peer would not read must not stay in the kernel on its behalf.
                let _ = tcp.set_zero_linger();
                return;
            }
            Some(_) => DrainLimits::AUTHENTICATED,
        };
        if !self.ended {
            self.drain.linger(tcp, limits);
        }
    }
}
