//! A peer that has ended its own side of a connection may still read ours (RFC 8446 §6.1).
//!
//! It says so by TLS's close_notify, by TCP's FIN, or by both, and rustls takes a FIN alone for an error, since it may cut short what
//! ends with the connection. Over HTTP/1.1 nothing that a client sends ends so: a body has its length or its last chunk, and without
//! them it is refused.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pin_project! {
    /// A stream of TLS whose data ends alike, however its peer says so.
    #[derive(Debug)]
    pub(super) struct HalfClosable<S> {
        #[pin]
        stream: S,
    }
}

impl<S> HalfClosable<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream }
    }
}

impl<S: AsyncRead> AsyncRead for HalfClosable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.project().stream.poll_read(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite> AsyncWrite for HalfClosable<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }
}
