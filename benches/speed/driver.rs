//! The client: closed loop, keep-alive, requests written by hand so that it costs little beside the server.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::ServerName;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::setup::{Credentials, SECRET, Server};

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Requests,
    Handshakes,
}

impl Load {
    pub fn title(self) -> &'static str {
        match self {
            Self::Requests => "Deliveries",
            Self::Handshakes => "Full handshakes",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub per_second: f64,
    pub cpu_seconds_per_thousand: f64,
    pub p99: Duration,
}

type Failure = Box<dyn Error + Send + Sync>;

pub async fn drive(
    load: Load,
    server: &Server,
    credentials: &Credentials,
    connections: usize,
    window: Duration,
) -> Result<Measured, Failure> {
    let connector = TlsConnector::from(credentials.client_config());
    let sequence = Arc::new(AtomicU64::new(0));
    let connections = if load == Load::Handshakes {
        connections.min(16)
    } else {
        connections
    };
    let warm_up = window / 5;
    let (begin, cpu_before) = (Instant::now(), server.cpu_seconds());
    let stop = begin + warm_up + window;
    let mut tasks = Vec::new();
    for _connection in 0..connections {
        let (connector, sequence, port) = (connector.clone(), Arc::clone(&sequence), server.port);
        tasks.push(tokio::spawn(async move {
            match load {
                Load::Requests => deliver(port, &connector, &sequence, begin + warm_up, stop).await,
                Load::Handshakes => shake_hands(port, &connector, begin + warm_up, stop).await,
            }
        }));
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    let cpu = server.cpu_seconds() - cpu_before;
    let whole = begin.elapsed().as_secs_f64() / window.as_secs_f64();
    waits.sort();
    let count = waits.len().max(1);
    Ok(Measured {
        per_second: count as f64 / window.as_secs_f64(),
        cpu_seconds_per_thousand: cpu / whole / count as f64 * 1000.0,
        p99: waits.get(count * 99 / 100).copied().unwrap_or_default(),
    })
}

async fn connect(port: u16, connector: &TlsConnector) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(connector
        .connect(ServerName::try_from("localhost")?, tcp)
        .await?)
}

async fn deliver(
    port: u16,
    connector: &TlsConnector,
    sequence: &AtomicU64,
    from: Instant,
    stop: Instant,
) -> Result<Vec<Duration>, Failure> {
    let mut stream = connect(port, connector).await?;
    let key = Hmac::<Sha256>::new_from_slice(SECRET)?;
    let mut waits = Vec::with_capacity(16 * 1024);
    let mut answer = Vec::with_capacity(1024);
    loop {
        let request = request(&key, sequence.fetch_add(1, Ordering::Relaxed))?;
        let begun = Instant::now();
        if begun >= stop {
            return Ok(waits);
        }
        stream.write_all(&request).await?;
        stream.flush().await?;
        answer.clear();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        if !answer.starts_with(b"HTTP/1.1 204") {
            return Err(format!("not accepted: {}", String::from_utf8_lossy(&answer)).into());
        }
        if begun >= from {
            waits.push(begun.elapsed());
        }
    }
}

async fn shake_hands(
    port: u16,
    connector: &TlsConnector,
    from: Instant,
    stop: Instant,
) -> Result<Vec<Duration>, Failure> {
    let mut waits = Vec::new();
    loop {
        let begun = Instant::now();
        if begun >= stop {
            return Ok(waits);
        }
        let mut stream = connect(port, connector).await?;
        stream.shutdown().await?;
        if begun >= from {
            waits.push(begun.elapsed());
        }
    }
}

/// A request of 1 KiB with an id that no other has, and that does not ascend.
fn request(key: &Hmac<Sha256>, sequence: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Write;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    // A bijection of the sequence (splitmix64's finalizer): unique and spread like a random id.
    let mut id = sequence
        .wrapping_add(now.subsec_nanos().into())
        .wrapping_add(now.as_secs() << 32);
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^= id >> 31;
    let mut body = format!(
        "{{\"id\":\"evt_{id:016x}{sequence:x}\",\"type\":\"payment.succeeded\",\"created\":{},\"data\":{{\"payment_id\":\"pay_{id:016x}\",\
         \"amount\":1999,\"amount_refunded\":0,\"currency\":\"EUR\",\"status\":\"succeeded\"}},\"padding\":\"",
        now.as_secs()
    );
    while body.len() < 1022 {
        body.push('x');
    }
    body.push_str("\"}");
    let mut mac = key.clone();
    mac.update(now.as_secs().to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    let mut request = Vec::with_capacity(1400);
    write!(
        request,
        "POST /webhooks/payments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-webhook-timestamp: {}\r\n\
         x-webhook-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        now.as_secs(),
        hex::encode(mac.finalize().into_bytes()),
        body.len()
    )?;
    Ok(request)
}
