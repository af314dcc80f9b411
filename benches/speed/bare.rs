//! The yardstick: TLS by rustls, an HTTP/1.1 parser that looks only for the end of a request, a fixed 204.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>) -> std::io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let (tcp, _address) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                return;
            };
            let mut buffer = Vec::with_capacity(16 * 1024);
            loop {
                let end = loop {
                    if let Some(end) = end_of_request(&buffer) {
                        break end;
                    }
                    match stream.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                };
                buffer.drain(..end);
                if stream.write_all(ANSWER).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Where the first whole request in `buffer` ends.
fn end_of_request(buffer: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let at = buffer[..head]
        .windows(LENGTH.len())
        .position(|part| part.eq_ignore_ascii_case(LENGTH));
    let digits = at
        .map(|at| &buffer[at + LENGTH.len()..head])
        .unwrap_or(b"0");
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next()?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (buffer.len() >= head + length).then_some(head + length)
}
