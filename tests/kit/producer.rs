//! A provider: mutual TLS, HTTP/1.1 kept alive, deliveries signed by the `timestamped` profile.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sha2::Sha256;

use super::Identity;

/// How long a peer of the receiver waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider that delivers to one receiver.
pub(crate) struct Producer {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) secret: Vec<u8>,
    tls: Arc<ClientConfig>,
    connection: Option<Connection>,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads one answer, its body told by Content-Length, by chunks, or by the end of the connection.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let status = line(stream)?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: {status:?}")))?;
        let mut headers = Vec::new();
        while let Some((name, value)) = line(stream)?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self {
            status,
            headers,
            body: String::new(),
        };
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            body.resize(length.parse().unwrap(), 0);
            stream.read_exact(&mut body)?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&line(stream)?, 16).unwrap();
                let start = body.len();
                body.resize(start + length, 0);
                stream.read_exact(&mut body[start..])?;
                line(stream)?;
                if length == 0 {
                    break;
                }
            }
        } else if answer.closes() && status != 204 {
            stream.read_to_end(&mut body)?;
        }
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the receiver said that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// `NAME` of `urn:countersign:problem:NAME`.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        let name = problem.get("type")?.as_str()?;
        Some(name.strip_prefix("urn:countersign:problem:")?.to_owned())
    }
}

/// A payment event's body with this id, for payment `pay_{id}`.
pub(crate) fn event(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"payment.succeeded","created":1790000000,"data":{{"payment_id":"pay_{id}","amount":1999,"amount_refunded":0,"currency":"EUR","status":"succeeded"}}}}"#
    )
}

/// Client settings that trust `ca` and show `identity`, if there is one.
pub(crate) fn client_config(ca: &str, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
                    .collect::<Result<_, _>>()
                    .unwrap(),
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

impl Producer {
    pub(crate) fn new(address: SocketAddr, tls: ClientConfig, path: &str, secret: &[u8]) -> Self {
        Self {
            address,
            path: path.to_owned(),
            secret: secret.to_vec(),
            tls: Arc::new(tls),
            connection: None,
        }
    }

    /// The same producer, with a connection of its own.
    pub(crate) fn renewed(&self) -> Self {
        Self {
            address: self.address,
            path: self.path.clone(),
            secret: self.secret.clone(),
            tls: Arc::clone(&self.tls),
            connection: None,
        }
    }

    /// A new connection beside the one that `deliver` uses, its handshake done.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address, Arc::clone(&self.tls))
    }

    /// Delivers a body, signed now, on the kept-alive connection; a closed one is opened again.
    #[track_caller]
    pub(crate) fn deliver(&mut self, body: &str) -> Answer {
        self.try_deliver(body).unwrap()
    }

    /// The same, for a receiver that may be away.
    pub(crate) fn try_deliver(&mut self, body: &str) -> io::Result<Answer> {
        let request = self.signed(body);
        let kept = self
            .connection
            .take()
            .and_then(|mut connection| connection.is_open().then_some(connection));
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let answer = connection.exchange(&request)?;
        if !answer.closes() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// The bytes of a whole request with this body, signed now.
    pub(crate) fn signed(&self, body: &str) -> Vec<u8> {
        self.signed_at(unix_now(), body)
    }

    /// The head of a request with a body of so many bytes, which may never come.
    pub(crate) fn begun(&self, bytes: usize) -> Vec<u8> {
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n",
            self.path
        )
        .into_bytes()
    }

    /// A connection of HTTP/2 on which so many deliveries have begun, each with so many headers of a byte each; their bodies never come.
    pub(crate) fn begun_over_http_2(
        &self,
        deliveries: u32,
        headers: usize,
    ) -> io::Result<Connection> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let mut connection = Connection::open(self.address, Arc::new(tls))?;
        // No settings (RFC 9113 §3.4).
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
        for stream in (0..deliveries).map(|delivery| 1 + 2 * delivery) {
            let mut fields = b"\x83\x87\x01\x09localhost\x04".to_vec();
            fields.push(u8::try_from(self.path.len()).unwrap());
            fields.extend(self.path.as_bytes());
            // The first names a header, the others mean that one (RFC 7541 §6.1, §6.2.1).
            if stream == 1 {
                fields.extend(b"\x40\x01a\0");
            }
            fields.resize(fields.len() + headers, 0xbe);
            let mut frame = vec![0];
            frame.extend(u16::try_from(fields.len()).unwrap().to_be_bytes());
            frame.extend([1, 4]);
            frame.extend(stream.to_be_bytes());
            frame.extend(fields);
            connection.send(&frame)?;
        }
        Ok(connection)
    }

    /// The same, signed at another time.
    pub(crate) fn signed_at(&self, unix_seconds: u64, body: &str) -> Vec<u8> {
        let signature = sign(&self.secret, unix_seconds, body);
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nX-Webhook-Timestamp: {unix_seconds}\r\n\
             X-Webhook-Signature: {signature}\r\n\r\n{body}",
            self.path,
            body.len()
        )
        .into_bytes()
    }
}

/// Seconds since the epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The `timestamped` profile: hex of HMAC-SHA256 over `{timestamp}.{body}`.
pub(crate) fn sign(secret: &[u8], unix_seconds: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{unix_seconds}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// How a peer says that it will write no more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// TLS alone.
    CloseNotify,
    /// TCP alone.
    Fin,
    Both,
}

impl End {
    pub(crate) const ALL: [Self; 3] = [Self::CloseNotify, Self::Fin, Self::Both];
}

/// One TLS connection, for whatever bytes a test wants to send.
pub(crate) struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(tls, name).unwrap();
        let mut stream = StreamOwned::new(client, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends bytes and reads one answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Sends bytes and no more after them.
    pub(crate) fn send_last(&mut self, bytes: &[u8], end: End) -> io::Result<()> {
        let StreamOwned { conn, sock } = self.stream.get_mut();
        conn.writer().write_all(bytes)?;
        if matches!(end, End::CloseNotify | End::Both) {
            conn.send_close_notify();
        }
        while conn.wants_write() {
            conn.write_tls(sock)?;
        }
        match end {
            End::CloseNotify => Ok(()),
            End::Fin | End::Both => sock.shutdown(Shutdown::Write),
        }
    }

    /// Sends bytes, of whose last TLS record the end does not come.
    pub(crate) fn send_torn(&mut self, bytes: &[u8]) -> io::Result<()> {
        let StreamOwned { conn, sock } = self.stream.get_mut();
        conn.writer().write_all(bytes)?;
        let mut records = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut records)?;
        }
        records.pop();
        sock.write_all(&records)?;
        sock.shutdown(Shutdown::Write)
    }

    /// Reads one answer with its body.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.stream)
    }

    /// Whether the peer has not closed it yet.
    pub(crate) fn is_open(&mut self) -> bool {
        let StreamOwned { conn, sock } = self.stream.get_mut();
        sock.set_nonblocking(true).unwrap();
        let open = loop {
            match conn.read_tls(sock) {
                Ok(0) => break false,
                Ok(_) => match conn.process_new_packets() {
                    Ok(state) if state.peer_has_closed() => break false,
                    Ok(_) => {}
                    Err(_) => break false,
                },
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        sock.set_nonblocking(false).unwrap();
        open
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
