//! `countersign rehearse`: plays the provider against a running receiver, good and bad, and tells what passed.
//!
//! Its events bear ids that begin with `rehearsal_`, in their bodies where a body's SHA-256 is the event's id; the certificates that it makes
//! have serial numbers that say so. What it sends stays, and so do the refusals: it changes nothing but what a provider can change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::output::{Outcome, Table, complain, json_line, say};
use super::runtime::block_on;
use super::scenes::{FAILED, Identity, NOT_SEEN, PASSED, Revoked, SKIPPED, Scene, Stage};
use super::sender::{self, Author, Stopped};
use super::stored::{Stored, seen_within};
use super::unusable;
use super::wire::Target;
use crate::ca::PrivateCa;
use crate::config::{Config, ConfigFile, Environment};
use crate::identity::Producer;
use crate::secret::Secret;
use crate::signature::{Settings, Verifier};
use crate::store::Views;
use crate::x509::{Certificate, decode_certificates};

/// What stays in the store, so that nobody takes it for the provider's.
const LEFT: &str = "What it leaves stays in the store, with the producer: events whose ids begin with rehearsal_ (in their bodies, where a body's SHA-256 is \
                    the event's id), and what was refused (refusals list). The certificates that were made for it have serial numbers that begin with \
                    72656865617273616c (rehearsal): nobody is told of them as in use.";

/// Play the provider against a running receiver: what it must take, and what it must refuse
///
/// What must be accepted must be in the store as well, where the configuration's can be read. Exit code 0 if nothing failed, 1
/// otherwise, 2 if there is nothing to play it with. What it leaves stays with the producer: events
/// whose ids begin with rehearsal_ (in their bodies, where a body's SHA-256 is the event's id), and what was refused.
#[derive(Debug, Args)]
pub(super) struct Rehearse {
    /// The receiver [default: the configured one, on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Which producer to play, by its name [default: the first]
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// Which tenant's producer, where several have one of that name
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// The producer's certificate and key, PREFIX.crt and PREFIX.key [default: certs/producer beside the configuration if it
    /// is that producer's, else one that the private CA issues for a day]
    #[arg(long, value_name = "PREFIX")]
    identity: Option<PathBuf>,
    /// A certificate that was revoked, and its key: PREFIX.crt and PREFIX.key
    #[arg(long, value_name = "PREFIX")]
    revoked: Option<PathBuf>,
    /// Issue a certificate and revoke it: it stays on the private CA's list, DIR/ca.crl, which tls.crls must name
    #[arg(long, conflicts_with = "revoked")]
    revoke: bool,
    /// The directory of the private CA, for the certificates that must be refused [default: certs beside the configuration]
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    /// The producer's secret, as file:FILE or env:NAME; for asymmetric profiles the private key [default: the first that the
    /// configuration has for the producer]
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
    /// A value that the profile needs, as key_id=abc; may be repeated [default: the producer's]
    #[arg(long = "value", value_name = "NAME=TEXT", value_parser = sender::parse_value)]
    values: Vec<(String, String)>,
    /// The URL as it is registered with the provider, where the signature covers it [default: the producer's]
    #[arg(long, value_name = "URL")]
    registered_url: Option<String>,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

impl Rehearse {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let stage = self.stage(place, environment);
        let stage = match stage.and_then(Stage::ready) {
            Ok(stage) => stage,
            Err(stopped) => return told(stopped, Outcome::Unusable),
        };
        block_on(async {
            match stage.play().await {
                Ok(scenes) => self.print(&scenes),
                Err(stopped) => told(stopped, Outcome::Failed),
            }
        })
    }

    fn stage(&self, place: &ConfigFile, environment: &Environment) -> Result<Stage, Stopped> {
        let config =
            Config::load(place, environment, Timestamp::now()).map_err(Stopped::Unusable)?;
        let producer = self.producer(&config)?;
        let verifier = config
            .snapshot
            .verifier(producer.id)
            .ok_or_else(|| Stopped::because("the producer has no profile"))?;
        let profile = Arc::clone(verifier.profile());
        let configured = address(&config, &producer);
        let url = self.url.clone().unwrap_or_else(|| configured.clone());
        let stored = Stored {
            views: Views::open(&config.store.url).map_err(|fault| fault.in_full()),
            tenant: producer.tenant.as_str().to_owned(),
            producer: producer.name.to_string(),
            own: sender::origin(&url) == sender::origin(&configured),
            spool: config.store.spool.is_some(),
            seen_within: seen_within(&config.store),
        };
        let secret = self.secret(verifier, environment)?;
        let author = Author::new(
            profile,
            secret,
            self.settings(verifier, &url),
            Target::parse(&url)?,
        )?;
        let ca = sender::file_or(self.ca.as_ref(), place, "certs");
        let private_ca = PrivateCa::open(&ca)
            .map_err(|_fault| format!("the CA's key is not at hand in {}", ca.display()));
        let identity = self.identity(place, &producer, private_ca.as_ref().ok())?;
        let revoked = match &self.revoked {
            Some(prefix) => Revoked::Given(Identity::read(prefix)?),
            None if self.revoke => Revoked::Made(ca.clone()),
            None => Revoked::Skipped,
        };
        Ok(Stage {
            author,
            stored,
            ca_pem: sender::read(&ca.join("ca.crt"), "the CA's certificate")?,
            identity,
            subject: producer.subject.clone(),
            pinned: !producer.pins.is_empty(),
            private_ca,
            revoked,
            oldest: verifier.oldest(),
            body_bytes: config.server.body_bytes,
            body_timeout: config.server.body_timeout,
            scenes: Vec::new(),
        })
    }

    /// What the provider signs with: what was named, or what the configuration has.
    fn secret(&self, verifier: &Verifier, environment: &Environment) -> Result<Secret, Stopped> {
        let profile = verifier.profile();
        if profile.descriptor().signature.is_none() {
            return Ok(Secret::new(Vec::new()));
        }
        let Some(reference) = &self.secret else {
            return verifier.signing_secret().cloned().ok_or_else(|| {
                Stopped::because(
                    "the producer has public keys alone; name the private one with --secret",
                )
            });
        };
        let secrets = sender::secrets(reference, environment)?;
        let first = secrets.into_iter().next().map(|(_, secret)| secret);
        first.ok_or_else(|| Stopped::because("--secret holds no secret"))
    }

    fn settings(&self, verifier: &Verifier, url: &str) -> Settings {
        let mut settings = verifier.settings();
        settings.values.extend(self.values.iter().cloned());
        settings.url = self
            .registered_url
            .clone()
            .or(settings.url)
            .or_else(|| Some(sender::origin(url)));
        settings
    }

    /// The producer's own certificate, where it is at hand; else one that the private CA issues in its name.
    fn identity(
        &self,
        place: &ConfigFile,
        producer: &Producer,
        private_ca: Option<&PrivateCa>,
    ) -> Result<Identity, Stopped> {
        if let Some(prefix) = &self.identity {
            return Identity::read(prefix);
        }
        let made = sender::home(place).join("certs/producer");
        if is_of(&made, producer) {
            return Identity::read(&made);
        }
        let lacking = |why: &str| {
            Stopped::because(format!(
                "{why}; name the certificate and key of {} with --identity PREFIX",
                producer.subject
            ))
        };
        if !producer.pins.is_empty() {
            return Err(lacking("the producer is bound to pinned keys"));
        }
        let ca = private_ca.ok_or_else(|| lacking("no certificate of the producer is at hand"))?;
        Identity::issue(ca, &producer.subject)
    }

    fn producer(&self, config: &Config) -> Result<Arc<Producer>, Stopped> {
        let is_named =
            |named: Option<&String>, name: &str| named.is_none_or(|named| *named == name);
        let producers = config.snapshot.directory().producers().iter();
        let named: Vec<_> = producers
            .filter(|producer| {
                is_named(self.producer.as_ref(), &producer.name)
                    && is_named(self.tenant.as_ref(), producer.tenant.as_str())
            })
            .collect();
        match (named.as_slice(), &self.producer) {
            ([], _) => Err(Stopped::because(
                "there is no such producer in the configuration; name another with --producer and --tenant",
            )),
            // Playing another tenant's would leave events with it.
            ([_, _, ..], Some(name)) => {
                let tenants: Vec<_> = named.iter().map(|one| one.tenant.as_str()).collect();
                Err(Stopped::Failed(format!(
                    "several tenants have a producer {name}: say which with --tenant ({})",
                    tenants.join(", ")
                )))
            }
            ([first, ..], _) => Ok(Arc::clone(first)),
        }
    }

    fn print(&self, scenes: &[Scene]) -> Outcome {
        let count = |result| scenes.iter().filter(|scene| scene.result == result).count();
        let failed = count(FAILED);
        if self.json {
            scenes.iter().for_each(json_line);
        } else {
            let mut table = Table::new(["SCENE", "RESULT", "WHAT HAPPENED"]);
            for scene in scenes {
                table.row([
                    scene.scene.to_owned(),
                    scene.result.to_owned(),
                    scene.detail.clone(),
                ]);
            }
            table.print();
            say(&format!(
                "\n{} passed, {failed} failed, {} skipped",
                count(PASSED),
                count(SKIPPED)
            ));
            let unseen = scenes
                .iter()
                .filter(|it| it.store == Some(NOT_SEEN))
                .count();
            if unseen > 0 {
                say(&format!(
                    "{unseen} of them passed as far as the answer goes: whether the receiver kept what it accepted was not seen."
                ));
            }
            say(LEFT);
        }
        if failed == 0 {
            Outcome::Done
        } else {
            Outcome::Failed
        }
    }
}

fn told(stopped: Stopped, outcome: Outcome) -> Outcome {
    match stopped {
        Stopped::Unusable(faults) => unusable(&faults),
        Stopped::Failed(text) => {
            complain(&format!("countersign: {text}"));
            outcome
        }
    }
}

/// Whether the certificate at PREFIX.crt can stand for the producer.
fn is_of(prefix: &Path, producer: &Producer) -> bool {
    let leaf = std::fs::read(format!("{}.crt", prefix.display()))
        .ok()
        .and_then(|file| decode_certificates(&file).ok())
        .and_then(|ders| Certificate::decode(ders.first()?).ok());
    leaf.is_some_and(|leaf| {
        let named = leaf.subject().matches(&producer.subject);
        named && (producer.pins.is_empty() || producer.pins.contains(&leaf.spki()))
    })
}

/// From this machine, by the name that `dev` put into the certificate.
fn address(config: &Config, producer: &Producer) -> String {
    let listen = config.server.listen;
    let host = if listen.ip().is_unspecified() || listen.ip().is_loopback() {
        "localhost".to_owned()
    } else if listen.is_ipv6() {
        format!("[{}]", listen.ip())
    } else {
        listen.ip().to_string()
    };
    let path = producer.path.as_ref().or(config.server.paths.first());
    let path = path.map_or("/", |path| path.as_ref());
    format!("https://{host}:{}{path}", listen.port())
}
