//! `countersign rehearse`: plays the provider against a running receiver, good and bad, and tells what passed.
//!
//! Its events bear ids that begin with `rehearsal_`, and stay: it changes nothing but what a provider can change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::burst::{kind_of, problem};
use super::output::{Outcome, Table, complain, json_line, say};
use super::sample::{self, Tale};
use super::sender::{self, Author, Delivery, Stopped};
use super::tamper::Tamper;
use super::unusable;
use super::wire::{Answered, Target, Wire, WireFailure};
use crate::ca::{Issued, KeyAlgorithm, KeyUse, PrivateCa, Template};
use crate::config::{Config, ConfigFile, Environment};
use crate::identity::Producer;
use crate::secret::Secret;
use crate::signature::Profile;
use crate::tls::client::Connector;
use crate::x509::{DistinguishedName, Validity};

/// Whose certificates nobody expects.
const STRANGER: &str = "CN=rehearsal-stranger,O=Nobody";
const ONE_DAY: SignedDuration = SignedDuration::from_hours(24);

/// Play the provider against a running receiver: what it must take, and what it must refuse
///
/// Exit code 0 if nothing failed, 1 otherwise. Its events bear ids that begin with rehearsal_, and stay.
#[derive(Debug, Args)]
pub(super) struct Rehearse {
    /// The receiver [default: the configured one, on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Which producer to play, by its name [default: the first]
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The producer's certificate and key, PREFIX.crt and PREFIX.key [default: certs/producer beside the configuration]
    #[arg(long, value_name = "PREFIX")]
    identity: Option<PathBuf>,
    /// A certificate that was revoked, and its key: PREFIX.crt and PREFIX.key
    #[arg(long, value_name = "PREFIX")]
    revoked: Option<PathBuf>,
    /// The directory of the private CA, for the certificates that must be refused [default: certs beside the configuration]
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    /// The producer's secret, as file:FILE or env:NAME [default: certs/producer.secret beside the configuration]
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
    /// A value that the profile needs, as key_id=abc; may be repeated
    #[arg(long = "value", value_name = "NAME=TEXT", value_parser = sender::parse_value)]
    values: Vec<(String, String)>,
    /// The URL as it is registered with the provider, where the signature covers it [default: --url]
    #[arg(long, value_name = "URL")]
    registered_url: Option<String>,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

/// How one scene went.
#[derive(Debug, Serialize)]
struct Scene {
    scene: &'static str,
    result: &'static str,
    detail: String,
}

/// A receiver, and everything that is at hand to play its producer.
struct Stage {
    author: Author,
    ca_pem: Vec<u8>,
    certificate: Vec<u8>,
    key: Secret,
    subject: DistinguishedName,
    private_ca: Result<PrivateCa, String>,
    body_bytes: usize,
    body_timeout: Duration,
    scenes: Vec<Scene>,
}

impl Rehearse {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return super::output::failed(&error),
        };
        let played = runtime.block_on(async {
            let mut stage = self.stage(place, environment)?;
            stage.play(self.revoked.as_ref()).await?;
            Ok(stage.scenes)
        });
        match played {
            Ok(scenes) => self.print(&scenes),
            Err(Stopped::Unusable(faults)) => unusable(&faults),
            Err(Stopped::Failed(text)) => {
                complain(&format!("countersign: {text}"));
                Outcome::Failed
            }
        }
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
        let url = self
            .url
            .clone()
            .unwrap_or_else(|| address(&config, &producer));
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
        let registered = self
            .registered_url
            .clone()
            .unwrap_or_else(|| sender::origin(&url));
        let author = Author::new(
            profile,
            secret.unwrap_or_else(|| Secret::new(Vec::new())),
            registered,
            self.values.iter().cloned().collect(),
            Target::parse(&url)?,
        )?;
        let ca = sender::file_or(self.ca.as_ref(), place, "certs");
        let identity = sender::file_or(self.identity.as_ref(), place, "certs/producer");
        let (certificate, key) = pair(&identity)?;
        Ok(Stage {
            author,
            ca_pem: sender::read(&ca.join("ca.crt"), "the CA's certificate")?,
            certificate,
            key,
            subject: producer.subject.clone(),
            private_ca: PrivateCa::open(&ca)
                .map_err(|_fault| format!("the CA's key is not at hand in {}", ca.display())),
            body_bytes: config.server.body_bytes,
            body_timeout: config.server.body_timeout,
            scenes: Vec::new(),
        })
    }

    fn producer(&self, config: &Config) -> Result<Arc<Producer>, Stopped> {
        let producers = config.snapshot.directory().producers();
        let named = |producer: &&Arc<Producer>| {
            self.producer
                .as_ref()
                .is_none_or(|name| **name == *producer.name)
        };
        producers.iter().find(named).cloned().ok_or_else(|| {
            Stopped::because(
                "there is no such producer in the configuration; name another with --producer",
            )
        })
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
        }
        if failed == 0 {
            Outcome::Done
        } else {
            Outcome::Failed
        }
    }
}

const PASSED: &str = "passed";
const FAILED: &str = "failed";
const SKIPPED: &str = "skipped";

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

fn pair(prefix: &std::path::Path) -> Result<(Vec<u8>, Secret), Stopped> {
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", prefix.display()));
    let certificate = sender::read(&with(".crt"), "the certificate")?;
    let key = Secret::new(sender::read(&with(".key"), "the key")?);
    Ok((certificate, key))
}

/// What must come of a scene.
#[derive(Clone, Copy)]
enum Expected {
    /// An acceptance.
    Accepted,
    /// A TLS alert.
    Alert,
    /// The alert, or an acceptance, as the configuration has it.
    Either,
    /// This problem, whatever its status.
    Problem(&'static str),
    /// This status.
    Status(u16),
}

impl Stage {
    async fn play(&mut self, revoked: Option<&PathBuf>) -> Result<(), Stopped> {
        // Without a receiver there is nothing to rehearse.
        let own = self.connector()?;
        let good = self.fresh()?;
        match self.send(&own, &good).await {
            Ok(answered) if answered.status.is_success() => {
                self.note("good delivery", Expected::Accepted, Ok(answered));
            }
            Ok(answered) => {
                return Err(Stopped::Failed(format!(
                    "a good delivery is refused already: {}; look at countersign refusals list",
                    kind_of(&answered)
                )));
            }
            Err(failure) => {
                return Err(Stopped::Failed(format!(
                    "a good delivery does not get through: {}",
                    failure.told()
                )));
            }
        }
        self.handshakes().await?;
        self.revoked(revoked).await?;
        self.signatures(&own).await?;
        self.repetitions(&own).await?;
        self.limits(&own).await?;
        self.registration(&own).await
    }

    async fn handshakes(&mut self) -> Result<(), Stopped> {
        let nobody = Connector::new(&self.ca_pem, None)?;
        self.scene("no certificate", &nobody, Expected::Alert)
            .await?;

        let now = Timestamp::now();
        let valid = validity(now, -ONE_DAY, ONE_DAY);
        let client = |validity| Template::client(self.subject.clone(), validity);
        let stranger = DistinguishedName::parse_as_encoded(STRANGER)?;
        let foreign_ca = PrivateCa::generate(
            &Template::authority(stranger.clone(), valid),
            KeyAlgorithm::EcP256,
        )?;
        let foreign = foreign_ca.sign(&client(valid), KeyAlgorithm::EcP256)?;
        let ended = validity(now, -ONE_DAY * 2, -ONE_DAY);
        let to_come = validity(now, ONE_DAY, ONE_DAY * 2);
        let orders = [
            ("expired", client(ended), Expected::Alert),
            ("not yet valid", client(to_come), Expected::Alert),
            (
                "wrong subject",
                Template::client(stranger, valid),
                Expected::Problem("unknown-producer"),
            ),
            (
                "wrong key usage",
                client(valid).with_key_uses(&[KeyUse::KeyCertSign]),
                Expected::Alert,
            ),
            (
                "version 1 leaf",
                client(valid).with_version_1(),
                Expected::Either,
            ),
        ];
        let connector = self.connector_of(&foreign)?;
        self.scene("foreign CA", &connector, Expected::Alert)
            .await?;
        for (name, template, expected) in orders {
            let issued = match &self.private_ca {
                Ok(ca) => ca.sign(&template, KeyAlgorithm::EcP256)?,
                Err(lacking) => {
                    let lacking = lacking.clone();
                    self.skip(name, &lacking);
                    continue;
                }
            };
            let connector = self.connector_of(&issued)?;
            self.scene(name, &connector, expected).await?;
        }
        Ok(())
    }

    async fn revoked(&mut self, prefix: Option<&PathBuf>) -> Result<(), Stopped> {
        let Some(prefix) = prefix else {
            self.skip(
                "revoked",
                "revoking would change your CA's list: revoke one with countersign certs revoke, and name it with --revoked PREFIX",
            );
            return Ok(());
        };
        let (certificate, key) = pair(prefix)?;
        let connector = Connector::new(&self.ca_pem, Some((&certificate, &key)))?;
        self.scene("revoked", &connector, Expected::Alert).await
    }

    async fn signatures(&mut self, own: &Connector) -> Result<(), Stopped> {
        let profile = Arc::clone(&self.author.profile);
        let refused = profile
            .answer()
            .bad_signature
            .map_or(401, |status| status.as_u16());
        for (name, tamper) in [
            ("bad signature", Tamper::Signature),
            ("stale", Tamper::Timestamp),
        ] {
            let now = Timestamp::now();
            let delivery = self.author.tell(&self.tale()?, now)?;
            match tamper.with(&delivery, &profile, now) {
                Ok(changed) => {
                    let outcome = self.send(own, &changed).await;
                    self.note(name, Expected::Status(refused), outcome);
                }
                Err(nothing) => self.skip(name, &nothing.to_string()),
            }
        }
        Ok(())
    }

    async fn repetitions(&mut self, own: &Connector) -> Result<(), Stopped> {
        let tale = self.tale()?;
        let now = Timestamp::now();
        let first = self.author.tell(&tale, now)?;
        let outcome = self.send(own, &first).await;
        self.note("first of several", Expected::Accepted, outcome);
        let outcome = self.send(own, &first).await;
        self.note("replayed, byte for byte", Expected::Accepted, outcome);
        let again = self.author.tell(&tale, Timestamp::now())?;
        let outcome = self.send(own, &again).await;
        self.note("duplicate, signed anew", Expected::Accepted, outcome);
        let other = Tale {
            payment: sender::fresh_id("rehearsal")?,
            ..tale
        };
        let conflicting = self.author.tell(&other, Timestamp::now())?;
        if conflicting.event_id == first.event_id {
            let outcome = self.send(own, &conflicting).await;
            self.note("conflicting body", Expected::Accepted, outcome);
        } else {
            self.skip(
                "conflicting body",
                "the profile's events have no id of their own: another body is another event",
            );
        }

        let kinds = sample::story(&self.author.profile);
        let payment = sender::fresh_id("rehearsal")?;
        let ids = kinds
            .iter()
            .map(|_| sender::fresh_id("rehearsal"))
            .collect::<Result<Vec<_>, _>>()?;
        let tales = sample::tales(&kinds, &payment, &ids, Timestamp::now());
        let mut last = None;
        for tale in tales.iter().rev() {
            let delivery = self.author.tell(tale, Timestamp::now())?;
            let outcome = self.send(own, &delivery).await;
            let accepted = matches!(&outcome, Ok(answered) if answered.status.is_success());
            last = Some(outcome);
            if !accepted {
                break;
            }
        }
        if let Some(outcome) = last {
            self.note("out of order", Expected::Accepted, outcome);
        }
        Ok(())
    }

    async fn limits(&mut self, own: &Connector) -> Result<(), Stopped> {
        let mut delivery = self.fresh()?;
        delivery.body = Bytes::from(vec![b' '; self.body_bytes.saturating_add(1)]);
        let outcome = self.send(own, &delivery).await;
        self.note("oversize", Expected::Status(413), outcome);
        let outcome = self.dawdle(own).await;
        let (result, detail) = match outcome {
            Ok(status) if status.starts_with("HTTP/1.1 408") => (PASSED, status),
            Ok(status) => (FAILED, format!("expected 408, got \"{status}\"")),
            Err(told) => (FAILED, told),
        };
        self.scenes.push(Scene {
            scene: "slow",
            result,
            detail,
        });
        Ok(())
    }

    /// A head that promises a body, and then nothing; gives the status line.
    async fn dawdle(&self, own: &Connector) -> Result<String, String> {
        let target = &self.author.target;
        let mut stream = own
            .connect(&target.host, target.port)
            .await
            .map_err(|failure| super::output::chain(&failure))?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n{{",
            target.path_and_query,
            target.authority()
        );
        let wait = self.body_timeout + Duration::from_secs(5);
        let exchange = async {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            let mut answer = vec![0_u8; 1024];
            let length = stream.read(&mut answer).await?;
            answer.truncate(length);
            Ok::<_, std::io::Error>(answer)
        };
        match tokio::time::timeout(wait, exchange).await {
            Ok(Ok(answer)) => {
                let text = String::from_utf8_lossy(&answer);
                Ok(text
                    .lines()
                    .next()
                    .unwrap_or("a closed connection")
                    .to_owned())
            }
            Ok(Err(error)) => Err(format!("no answer: {error}")),
            Err(_elapsed) => Err(format!("no answer in {} s", wait.as_secs())),
        }
    }

    /// Efí asks twice: without a certificate, which must fail, and with it, which must not.
    async fn registration(&mut self, own: &Connector) -> Result<(), Stopped> {
        const SCENE: &str = "Efí's registration";
        if self.author.profile.name() != "pix" {
            self.skip(SCENE, "the producer's profile is not pix");
            return Ok(());
        }
        let delivery = self.fresh()?;
        let nobody = Connector::new(&self.ca_pem, None)?;
        let without = self.send(&nobody, &delivery).await;
        if !matches!(&without, Err(failure) if failure.is_tls()) {
            self.note(SCENE, Expected::Alert, without);
            return Ok(());
        }
        let with = self.send(own, &delivery).await;
        self.note(SCENE, Expected::Accepted, with);
        Ok(())
    }

    fn connector(&self) -> Result<Connector, Stopped> {
        Ok(Connector::new(
            &self.ca_pem,
            Some((&self.certificate, &self.key)),
        )?)
    }

    fn connector_of(&self, issued: &Issued) -> Result<Connector, Stopped> {
        let key = issued
            .key_pem()
            .ok_or_else(|| Stopped::because("a certificate was made without its key"))?;
        let certificate = issued.certificate_pem();
        Ok(Connector::new(
            &self.ca_pem,
            Some((certificate.as_bytes(), key)),
        )?)
    }

    fn tale(&self) -> Result<Tale, Stopped> {
        let profile: &Profile = &self.author.profile;
        Ok(Tale {
            kind: sample::usual_kind(profile).unwrap_or("*").to_owned(),
            id: sender::fresh_id("rehearsal")?,
            payment: sender::fresh_id("rehearsal")?,
            at: Timestamp::now(),
        })
    }

    fn fresh(&self) -> Result<Delivery, Stopped> {
        self.author.tell(&self.tale()?, Timestamp::now())
    }

    /// Every scene has a connection of its own.
    async fn send(
        &self,
        connector: &Connector,
        delivery: &Delivery,
    ) -> Result<Answered, WireFailure> {
        let mut wire = Wire::open(connector, &self.author.target).await?;
        wire.post(
            &delivery.path_and_query,
            &delivery.headers,
            delivery.body.clone(),
        )
        .await
    }

    async fn scene(
        &mut self,
        name: &'static str,
        connector: &Connector,
        expected: Expected,
    ) -> Result<(), Stopped> {
        let delivery = self.fresh()?;
        let outcome = self.send(connector, &delivery).await;
        self.note(name, expected, outcome);
        Ok(())
    }

    fn note(
        &mut self,
        scene: &'static str,
        expected: Expected,
        outcome: Result<Answered, WireFailure>,
    ) {
        let passed = match (&outcome, expected) {
            (Ok(answered), Expected::Accepted | Expected::Either) => answered.status.is_success(),
            (Ok(answered), Expected::Problem(name)) => problem(answered).as_deref() == Some(name),
            (Ok(answered), Expected::Status(status)) => answered.status.as_u16() == status,
            (Err(failure), Expected::Alert | Expected::Either) => failure.is_tls(),
            (Ok(_), Expected::Alert)
            | (Err(_), Expected::Accepted | Expected::Problem(_) | Expected::Status(_)) => false,
        };
        let detail = match &outcome {
            Ok(answered) => kind_of(answered),
            Err(failure) => failure.told(),
        };
        self.scenes.push(Scene {
            scene,
            result: if passed { PASSED } else { FAILED },
            detail,
        });
    }

    fn skip(&mut self, scene: &'static str, why: &str) {
        self.scenes.push(Scene {
            scene,
            result: SKIPPED,
            detail: why.to_owned(),
        });
    }
}

fn validity(now: Timestamp, from: SignedDuration, to: SignedDuration) -> Validity {
    Validity {
        not_before: now.checked_add(from).unwrap_or(now),
        not_after: now.checked_add(to).unwrap_or(now),
    }
}
