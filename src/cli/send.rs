//! `countersign send`: a signed delivery over mutual TLS, as the provider would make it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::json;

use super::output::{Outcome, chain, complain, json_line, printable, say};
use super::wire::{Answered, Target, Wire};
use crate::config::{Config, ConfigFile, Environment};
use crate::secret::{Secret, SecretReference};
use crate::signature::{self, Profile, Request, SignRequest, builtin, sign};
use crate::tls::client::Connector;

/// Send a signed delivery over mutual TLS
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The receiver, and the path that takes deliveries
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://localhost:8443/webhooks/payments"
    )]
    url: String,
    /// The CA that vouches for the receiver
    #[arg(long, value_name = "FILE", default_value = "certs/ca.crt")]
    ca: PathBuf,
    /// The sender's certificate
    #[arg(long, value_name = "FILE", default_value = "certs/producer.crt")]
    cert: PathBuf,
    /// The sender's key
    #[arg(long, value_name = "FILE", default_value = "certs/producer.key")]
    key: PathBuf,
    /// The signature profile
    #[arg(long, value_name = "NAME", default_value = "timestamped")]
    profile: String,
    /// The secret to sign with
    #[arg(
        long,
        value_name = "file:FILE",
        default_value = "file:certs/producer.secret"
    )]
    secret: String,
    /// The body; default: a payment event with a fresh id
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What stood in the way, told whole.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

impl Send {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return super::output::failed(&error),
        };
        match runtime.block_on(self.deliver(place, environment)) {
            Ok((answered, id)) => {
                self.print(&answered, &id);
                if answered.status.is_success() {
                    Outcome::Done
                } else {
                    Outcome::Failed
                }
            }
            Err(Failed(text)) => {
                complain(&format!("countersign: {text}"));
                Outcome::Failed
            }
        }
    }

    async fn deliver(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<(Answered, String), Failed> {
        let target = Target::parse(&self.url)?;
        let profile = profile(&self.profile, place, environment)?;
        let secret = secret(&self.secret, environment)?;
        let now = Timestamp::now();
        let id = fresh_id(now)?;
        let body = match &self.body {
            Some(path) => Bytes::from(read(path)?),
            None => Bytes::from(payment_event(&id, now)),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION"))),
        );
        let request = Request {
            method: &Method::POST,
            path_and_query: &target.path_and_query,
            headers: &headers,
        };
        let settings = signature::Settings {
            url: Some(origin(&self.url)),
            ..signature::Settings::default()
        };
        let signed = sign(
            &profile,
            &secret,
            &settings,
            &SignRequest {
                request,
                id: &id,
                now,
            },
            body,
        )?;
        headers.extend(signed.headers);

        let key = Secret::new(read(&self.key)?);
        let connector = Connector::new(&read(&self.ca)?, Some((&read(&self.cert)?, &key)))?;
        let mut wire = Wire::open(&connector, &target).await?;
        let answered = wire
            .post(&signed.path_and_query, &headers, signed.body)
            .await?;
        Ok((answered, id))
    }

    fn print(&self, answered: &Answered, id: &str) {
        let text = String::from_utf8_lossy(&answered.body);
        if self.json {
            let request_id = answered
                .headers
                .get("x-request-id")
                .and_then(|value| value.to_str().ok());
            json_line(&json!({
                "status": answered.status.as_u16(),
                "event_id": if self.body.is_none() { Some(id) } else { None },
                "request_id": request_id,
                "body": text,
            }));
            return;
        }
        say(&format!("{}", answered.status));
        if self.body.is_none() && answered.status.is_success() {
            say(&format!(
                "event {id}: see it with: countersign events show {id}"
            ));
        }
        if !text.is_empty() {
            say(&printable(&text));
        }
    }
}

/// A profile of this name, the user's own before a built-in one.
fn profile(
    name: &str,
    place: &ConfigFile,
    environment: &Environment,
) -> Result<Arc<Profile>, Failed> {
    if let Ok(config) = Config::load(place, environment, Timestamp::now())
        && let Some(profile) = config.snapshot.profiles().get(name)
    {
        return Ok(Arc::clone(profile));
    }
    builtin().get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = builtin().iter().map(|profile| profile.name()).collect();
        Failed(format!(
            "there is no profile \"{name}\"; built in are {}",
            known.join(", ")
        ))
    })
}

fn secret(reference: &str, environment: &Environment) -> Result<Secret, Failed> {
    let bytes = match SecretReference::from_str(reference)? {
        SecretReference::File(path) => read(&path)?,
        SecretReference::Env(name) => {
            let value = environment
                .text(&name)
                .ok_or_else(|| Failed(format!("the variable {name} is not set")))?;
            value.as_bytes().to_vec()
        }
    };
    // The first line: a file may hold several secrets.
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    if line.is_empty() {
        return Err(Failed(format!("{reference}: the secret is empty")));
    }
    Ok(Secret::new(line.to_vec()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path).map_err(|error| {
        Failed(format!(
            "{}: {error}; `countersign dev` makes the files that the defaults name",
            path.display()
        ))
    })
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(after_scheme..).unwrap_or_default();
    let end = rest.find('/').map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url).to_owned()
}

fn fresh_id(now: Timestamp) -> Result<String, Failed> {
    let mut random = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_unspecified| Failed("no random bytes can be had".to_owned()))?;
    Ok(format!("evt_{:x}{}", now.as_second(), hex::encode(random)))
}

/// A payment event in the form of the `timestamped` profile.
fn payment_event(id: &str, now: Timestamp) -> String {
    let payment = id.replacen("evt", "pay", 1);
    json!({
        "id": id,
        "type": "payment.succeeded",
        "created": now.as_second(),
        "data": { "payment_id": payment, "amount": 1999, "amount_refunded": 0, "currency": "EUR", "status": "succeeded" },
    })
    .to_string()
}
