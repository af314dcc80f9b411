//! `countersign health`: for a container's health check, which has no shell and no curl. It needs nothing of the configuration but
//! where the operator's side is, and no token: what it asks is open to all.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::output::{Outcome, complain, json_line, say};
use super::runtime::block_on;
use crate::config::{ConfigFile, Environment, ListenAddress};

const WAIT: Duration = Duration::from_secs(2);
const ANSWER_BYTES: usize = 64 * 1024;

/// Ask a running receiver on this machine whether it is well (for a container's health check)
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask whether deliveries are taken (/readyz), not only whether the process lives (/healthz)
    #[arg(long)]
    ready: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Health {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        block_on(self.ask(ListenAddress::of_admin(place, environment)))
    }

    // A receiver is well or not whatever became of its configuration since it started.
    async fn ask(self, admin: ListenAddress) -> Outcome {
        let ListenAddress { address, unread } = admin;
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let asked = tokio::time::timeout(WAIT, ask(reachable(address), path));
        let answered = match asked.await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer in {} s", WAIT.as_secs())),
        };
        let well = matches!(&answered, Ok((status, _)) if status.is_success());
        let unknown = answered.is_err() && unread.is_some();
        let answered = answered.map_err(|error| match unread {
            Some(fault) => {
                format!("{error}; this is the default, for admin.listen cannot be known: {fault}")
            }
            None => error,
        });
        let url = format!("http://{address}{path}");
        if self.json {
            json_line(&object(&url, well, &answered));
        } else {
            match answered {
                Ok((_, body)) => say(body.trim()),
                Err(error) => complain(&format!("countersign: {url}: {error}")),
            }
        }
        if well {
            Outcome::Done
        } else if unknown {
            Outcome::Unusable
        } else {
            Outcome::Failed
        }
    }
}

/// For programs: what was asked, and what came of it.
fn object(url: &str, well: bool, answered: &Result<(http::StatusCode, String), String>) -> Value {
    let body = answered.as_ref().ok().map(|(_, body)| body.trim());
    // `/readyz` answers with an object, `/healthz` with a word.
    let answer = body.map(|body| serde_json::from_str(body).unwrap_or_else(|_| json!(body)));
    json!({
        "url": url,
        "well": well,
        "status": answered.as_ref().ok().map(|(status, _)| status.as_u16()),
        "answer": answer,
        "error": answered.as_ref().err(),
    })
}

/// From this machine, "every address" is reached by loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(if listen.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

async fn ask(
    address: SocketAddr,
    path: &str,
) -> Result<(http::StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES)
        .collect()
        .await?
        .to_bytes();
    driver.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
