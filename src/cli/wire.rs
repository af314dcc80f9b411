//! One request over mutual TLS, and its answer: what `send` and its relatives share.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::output::chain;
use crate::tls::client::{ConnectFailure, Connector, hint, in_words};

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// How long a connection that failed may take to say why.
const ENDING: Duration = Duration::from_secs(1);
const ANSWER_BYTES: usize = 1024 * 1024;

/// Where deliveries go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path_and_query: String,
}

/// A text that is no address of a receiver.
#[derive(Debug, thiserror::Error)]
#[error("\"{url}\" is no receiver's address; write https://HOST:PORT/PATH")]
pub(super) struct NotATarget {
    url: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, NotATarget> {
        let wrong = || NotATarget {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_invalid| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let path_and_query = uri
            .path_and_query()
            .map_or("/", |whole| whole.as_str())
            .to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(443),
            path_and_query,
        })
    }

    /// What the `Host` header says.
    pub(super) fn authority(&self) -> String {
        if self.port == 443 {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireFailure {
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    #[error("the request cannot be written")]
    Request(#[from] http::Error),
    #[error("the connection failed before the answer")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer in {} s", WAIT.as_secs())]
    TooSlow,
}

impl WireFailure {
    /// What happened, and where TLS said so, what its alert means or what can be done.
    pub(super) fn told(&self) -> String {
        match in_words(self) {
            Some(words) => words,
            None => match hint(self) {
                Some(hint) => format!("{}: {hint}", chain(self)),
                None => chain(self),
            },
        }
    }

    /// Whether TLS refused: an alert, or a certificate that was not accepted here.
    pub(super) fn is_tls(&self) -> bool {
        in_words(self).is_some()
    }
}

/// A connection that is kept alive between requests.
pub(super) struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<Result<(), hyper::Error>>,
    authority: String,
}

impl Wire {
    pub(super) async fn open(connector: &Connector, target: &Target) -> Result<Self, WireFailure> {
        let stream = connector.connect(&target.host, target.port).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| WireFailure::Http(error.into()))?;
        let connection = tokio::spawn(connection);
        Ok(Self {
            sender,
            connection,
            authority: target.authority(),
        })
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn post(
        &mut self,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answered, WireFailure> {
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(path_and_query)
            .header("host", &self.authority)
            .body(Full::new(body))?;
        request.headers_mut().extend(headers.clone());
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Answered {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        match tokio::time::timeout(WAIT, exchange).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(error)) => Err(self.ended(error).await),
            Err(_elapsed) => Err(WireFailure::TooSlow),
        }
    }

    /// Why a request failed. An alert that came before the request was written is known to the connection alone.
    async fn ended(&mut self, error: Box<dyn std::error::Error + Send + Sync>) -> WireFailure {
        let failure = WireFailure::Http(error);
        if failure.is_tls() || self.connection.is_finished() && !self.sender.is_closed() {
            return failure;
        }
        match tokio::time::timeout(ENDING, &mut self.connection).await {
            Ok(Ok(Err(error))) => WireFailure::Http(error.into()),
            Ok(Ok(Ok(())) | Err(_)) | Err(_) => failure,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
