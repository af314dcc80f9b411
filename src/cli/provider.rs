//! Who sends, and to whom: flags that commands which play a provider share.

use std::path::PathBuf;

use clap::Args;

use super::sender::{self, Author, Stopped};
use super::wire::Target;
use crate::config::{ConfigFile, Environment};
use crate::secret::Secret;
use crate::signature::Settings;
use crate::tls::client::Connector;

/// A provider and its receiver; whatever is not said is what `dev` made.
#[derive(Debug, Args)]
pub(super) struct Provider {
    /// The receiver, and the path that takes deliveries
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://localhost:8443/webhooks/payments"
    )]
    pub(super) url: String,
    /// The CA that vouches for the receiver [default: certs/ca.crt beside the configuration]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The sender's certificate [default: certs/producer.crt beside the configuration]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The sender's key [default: certs/producer.key beside the configuration]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The signature profile; `countersign profiles list` prints them
    #[arg(long, value_name = "NAME", default_value = "timestamped")]
    pub(super) profile: String,
    /// The secret to sign with, as file:FILE or env:NAME; for asymmetric profiles the private key [default: certs/producer.secret beside the configuration]
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
    /// A value that the profile needs, as key_id=abc; may be repeated
    #[arg(long = "value", value_name = "NAME=TEXT", value_parser = sender::parse_value)]
    values: Vec<(String, String)>,
    /// The URL as it is registered with the provider, where the signature covers it [default: --url]
    #[arg(long, value_name = "URL")]
    registered_url: Option<String>,
}

impl Provider {
    /// The one who signs.
    pub(super) fn author(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<Author, Stopped> {
        let target = Target::parse(&self.url)?;
        let profile = sender::profile(&self.profile, place, environment)?;
        let secret = if profile.descriptor().signature.is_some() {
            let reference = self.secret.clone().unwrap_or_else(|| {
                let made = sender::home(place).join("certs/producer.secret");
                format!("file:{}", made.display())
            });
            let secrets = sender::secrets(&reference, environment)?;
            secrets.into_iter().next().map(|(_, secret)| secret)
        } else {
            None
        };
        let url = self
            .registered_url
            .clone()
            .unwrap_or_else(|| sender::origin(&self.url));
        Author::new(
            profile,
            secret.unwrap_or_else(|| Secret::new(Vec::new())),
            Settings {
                url: Some(url),
                values: self.values.iter().cloned().collect(),
                ..Settings::default()
            },
            target,
        )
    }

    /// What connects with the provider's certificate.
    pub(super) fn connector(&self, place: &ConfigFile) -> Result<Connector, Stopped> {
        let read = |named: Option<&PathBuf>, made, what| {
            sender::read(&sender::file_or(named, place, made), what)
        };
        let ca = read(self.ca.as_ref(), "certs/ca.crt", "the CA's certificate")?;
        let certificate = read(
            self.cert.as_ref(),
            "certs/producer.crt",
            "the sender's certificate",
        )?;
        let key = read(self.key.as_ref(), "certs/producer.key", "the sender's key")?;
        Ok(Connector::new(
            &ca,
            Some((&certificate, &Secret::new(key))),
        )?)
    }
}
