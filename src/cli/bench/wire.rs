//! The wire of `countersign bench`: HTTP/1.1 by hand on a kept connection, so that little of what is measured is ours.
//!
//! Whatever is waited for has an end, and of an answer only the head is read; its body is skipped.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::cli::output::chain;
use crate::cli::sender::Stopped;
use crate::cli::wire::Target;
use crate::tls::client::{ConnectFailure, Connector, Stream, in_words};

/// How long a connection, an answer, or the end of a connection is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A longer body is not read: the connection is given up instead.
const SKIPPED_BYTES_MAX: usize = 1024 * 1024;

/// Where connections go: looked up once.
pub(super) struct Dial {
    connector: Connector,
    host: String,
    addresses: Vec<SocketAddr>,
    /// Which of them answered last.
    place: AtomicUsize,
}

/// A connection that is kept alive.
pub(super) struct Line {
    stream: Stream,
    answer: Vec<u8>,
    /// No request may follow.
    spent: bool,
}

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineFailure {
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    #[error("the host has no address")]
    NoAddress,
    #[error("no connection within {} s", PATIENCE.as_secs())]
    NoConnection,
    #[error("no answer within {} s", PATIENCE.as_secs())]
    NoAnswer,
    #[error("the connection failed before the answer")]
    Broken(#[source] io::Error),
    #[error("the connection was closed before the answer")]
    Closed,
    #[error("the connection was not closed within {} s", PATIENCE.as_secs())]
    NotClosed,
    #[error("what came back is no answer of HTTP/1.1")]
    Unreadable,
}

impl LineFailure {
    /// What happened, and where TLS said so, what it means.
    pub(super) fn told(&self) -> String {
        in_words(self).unwrap_or_else(|| chain(self))
    }
}

impl Dial {
    pub(super) async fn find(connector: &Connector, target: &Target) -> Result<Self, Stopped> {
        let Target { host, port, .. } = target;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = timeout(PATIENCE, tokio::net::lookup_host((bare, *port))).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                return Err(Stopped::Failed(format!(
                    "the address of {host} cannot be found: {error}"
                )));
            }
            Err(_elapsed) => {
                return Err(Stopped::Failed(format!(
                    "the address of {host} was not found within {} s",
                    PATIENCE.as_secs()
                )));
            }
        };
        Ok(Self {
            connector: connector.without_resumption(),
            host: host.clone(),
            addresses,
            place: AtomicUsize::new(0),
        })
    }

    /// A new connection, by a full handshake.
    pub(super) async fn open(&self) -> Result<Line, LineFailure> {
        let stream = timeout(PATIENCE, self.connect())
            .await
            .map_err(|_elapsed| LineFailure::NoConnection)??;
        Ok(Line {
            stream,
            answer: Vec::new(),
            spent: false,
        })
    }

    /// At the address that answered last; where nobody listens there, at the next.
    async fn connect(&self) -> Result<Stream, LineFailure> {
        let begin = self.place.load(Ordering::Relaxed);
        let places = self.addresses.iter().enumerate();
        let mut last = LineFailure::NoAddress;
        for (place, address) in places.clone().skip(begin).chain(places.take(begin)) {
            match self.connector.connect_to(*address, &self.host).await {
                Ok(stream) => {
                    self.place.store(place, Ordering::Relaxed);
                    return Ok(stream);
                }
                Err(failure @ ConnectFailure::Tcp { .. }) => last = failure.into(),
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(last)
    }
}

impl Line {
    /// Whether another request may be sent: the receiver has not closed the connection since.
    pub(super) fn is_open(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut read = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let silent = Pin::new(&mut self.stream)
            .poll_read(&mut context, &mut read)
            .is_pending();
        silent && !self.spent
    }

    /// Sends a request and tells the status of its answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<u16, LineFailure> {
        match timeout(PATIENCE, self.trade(request)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(LineFailure::NoAnswer),
        }
    }

    async fn trade(&mut self, request: &[u8]) -> Result<u16, LineFailure> {
        self.answer.clear();
        let written = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        if let Err(error) = written.await {
            // Why the receiver would not have it may lie unread.
            return match self.stream.read_buf(&mut self.answer).await {
                Err(alert) if in_words(&alert).is_some() => Err(LineFailure::Broken(alert)),
                Ok(_) | Err(_) => Err(LineFailure::Broken(error)),
            };
        }
        loop {
            let end = self.read_head().await?;
            let head = self.answer.get(..end).and_then(Head::parse);
            let head = head.ok_or(LineFailure::Unreadable)?;
            let beyond = self.answer.len() - end;
            if (100..200).contains(&head.status) {
                self.answer.drain(..end);
                continue;
            }
            match head.body {
                Some(length) if length <= SKIPPED_BYTES_MAX && beyond <= length => {
                    self.skip(length - beyond).await?;
                    self.spent |= head.closes;
                }
                Some(_) | None => self.spent = true,
            }
            return Ok(head.status);
        }
    }

    /// Reads until the end of a head, and tells where that is.
    async fn read_head(&mut self) -> Result<usize, LineFailure> {
        let mut searched = 0_usize;
        loop {
            let unread = self.answer.get(searched..).unwrap_or_default();
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(searched + at + 4);
            }
            if self.answer.len() > HEAD_BYTES_MAX {
                return Err(LineFailure::Unreadable);
            }
            searched = self.answer.len().saturating_sub(3);
            match self.stream.read_buf(&mut self.answer).await {
                Ok(0) => return Err(LineFailure::Closed),
                Ok(_) => {}
                Err(error) => return Err(LineFailure::Broken(error)),
            }
        }
    }

    async fn skip(&mut self, mut bytes: usize) -> Result<(), LineFailure> {
        let mut scratch = [0; 4096];
        while bytes > 0 {
            let most = scratch.len().min(bytes);
            let part = scratch.get_mut(..most).unwrap_or_default();
            match self.stream.read(part).await {
                Ok(0) => return Err(LineFailure::Closed),
                Ok(read) => bytes = bytes.saturating_sub(read),
                Err(error) => return Err(LineFailure::Broken(error)),
            }
        }
        Ok(())
    }

    /// Waits for the receiver to close the connection.
    pub(super) async fn closed(&mut self) -> LineFailure {
        let mut scratch = [0; 64];
        loop {
            match self.stream.read(&mut scratch).await {
                Ok(0) => return LineFailure::Closed,
                Ok(_) => {}
                Err(error) => return LineFailure::Broken(error),
            }
        }
    }

    /// Closes the connection, and waits until the receiver has: so its side of the handshake is done, and went well.
    pub(super) async fn close(mut self) -> Result<(), LineFailure> {
        let close = async {
            // A receiver that has closed already is told by what it said last.
            let _gone = self.stream.shutdown().await;
            self.closed().await
        };
        match timeout(PATIENCE, close).await {
            Ok(ended) if in_words(&ended).is_some() => Err(ended),
            Ok(_closed) => Ok(()),
            Err(_elapsed) => Err(LineFailure::NotClosed),
        }
    }
}

/// What is to be known of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// How many bytes follow; `None` if only their end tells (chunks, or the end of the connection).
    body: Option<usize>,
    closes: bool,
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let version_and_status = lines.next()?.strip_prefix("HTTP/1.")?;
        let (version, rest) = version_and_status.split_once(' ')?;
        let status: u16 = rest.get(..3)?.parse().ok()?;
        let mut length = None;
        let mut chunked = false;
        let mut closes = version == "0";
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().ok()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            }
        }
        let body = match status {
            100..200 | 204 | 304 => Some(0),
            _ if chunked => None,
            _ => length,
        };
        Some(Self {
            status,
            body,
            closes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: Option<(u16, Option<usize>, bool)>) {
        let expected = expected.map(|(status, body, closes)| Head {
            status,
            body,
            closes,
        });
        assert_eq!(Head::parse(head.as_bytes()), expected, "{head:?}");
    }

    #[test]
    fn a_head_tells_what_follows_it() {
        check(
            "HTTP/1.1 204 No Content\r\n\r\n",
            Some((204, Some(0), false)),
        );
        check(
            "HTTP/1.1 503 \r\nContent-Length: 12\r\nConnection: Close\r\n\r\n",
            Some((503, Some(12), true)),
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            Some((200, None, false)),
        );
        check(
            "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n",
            Some((200, Some(3), true)),
        );
        check("HTTP/1.1 200 OK\r\n\r\n", Some((200, None, false)));
    }

    #[test]
    fn what_is_no_head_is_not_taken_for_one() {
        for head in [
            "",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x4 No\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        ] {
            check(head, None);
        }
    }
}
