//! What a rehearsal plays: each scene with a connection of its own, and what must come of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::burst::{kind_of, problem};
use super::sample::{self, Tale};
use super::sender::{self, Author, Delivery, Stopped};
use super::stored::{Must, Stored};
use super::tamper::Tamper;
use super::wire::{Answered, Wire, WireFailure};
use crate::ca::{Issued, KeyAlgorithm, KeyUse, PrivateCa, Template};
use crate::secret::Secret;
use crate::signature::{Coverage, Profile};
use crate::tls::client::Connector;
use crate::x509::{Certificate, DistinguishedName, Validity};

/// What the ids of all events and payments that are told begin with, and `_`.
pub(super) const REHEARSAL: &str = "rehearsal";
/// Whose certificates nobody expects.
const STRANGER: &str = "CN=rehearsal-stranger,O=Nobody";
const ONE_DAY: SignedDuration = SignedDuration::from_hours(24);
/// How much older than the oldest that is accepted a stale delivery is.
const TOO_OLD_BY: SignedDuration = SignedDuration::from_mins(1);
/// How long a receiver may take to notice a changed revocation list, and how often it is asked.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_millis(500);

pub(super) const PASSED: &str = "passed";
pub(super) const FAILED: &str = "failed";
pub(super) const SKIPPED: &str = "skipped";

pub(super) const SEEN: &str = "seen";
pub(super) const NOT_SEEN: &str = "not seen";

/// How one scene went.
#[derive(Debug, Serialize)]
pub(super) struct Scene {
    pub(super) scene: &'static str,
    pub(super) result: &'static str,
    pub(super) detail: String,
    /// Whether the store was looked into as well, where something must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<&'static str>,
}

/// A certificate and its key.
pub(super) struct Identity {
    certificate: Vec<u8>,
    key: Secret,
}

/// The certificate of the scene in which a revoked one is shown.
pub(super) enum Revoked {
    /// One that was revoked before.
    Given(Identity),
    /// One that is made and revoked for it, by the CA in this directory.
    Made(PathBuf),
    /// None.
    Skipped,
}

/// A receiver, and everything that is at hand to play its producer.
pub(super) struct Stage {
    pub(super) author: Author,
    pub(super) stored: Stored,
    pub(super) ca_pem: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) subject: DistinguishedName,
    /// Whether it is bound to keys, of which a certificate that is made here has none.
    pub(super) pinned: bool,
    pub(super) private_ca: Result<PrivateCa, String>,
    pub(super) revoked: Revoked,
    /// How old a delivery may be.
    pub(super) oldest: Option<SignedDuration>,
    pub(super) body_bytes: usize,
    pub(super) body_timeout: Duration,
    pub(super) scenes: Vec<Scene>,
}

impl Identity {
    /// PREFIX.crt and PREFIX.key.
    pub(super) fn read(prefix: &Path) -> Result<Self, Stopped> {
        let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", prefix.display()));
        Ok(Self {
            certificate: sender::read(&with(".crt"), "the certificate")?,
            key: Secret::new(sender::read(&with(".key"), "the key")?),
        })
    }

    /// A client's certificate for a day.
    pub(super) fn issue(ca: &PrivateCa, subject: &DistinguishedName) -> Result<Self, Stopped> {
        let valid = validity(Timestamp::now(), -ONE_DAY, ONE_DAY);
        let template = Template::client(subject.clone(), valid).for_rehearsal();
        Self::of(&ca.sign(&template, KeyAlgorithm::EcP256)?)
    }

    fn of(issued: &Issued) -> Result<Self, Stopped> {
        let key = issued
            .key_pem()
            .ok_or_else(|| Stopped::because("a certificate was made without its key"))?;
        Ok(Self {
            certificate: issued.certificate_pem().into(),
            key: key.clone(),
        })
    }

    fn connector(&self, ca_pem: &[u8]) -> Result<Connector, Stopped> {
        Ok(Connector::new(
            ca_pem,
            Some((&self.certificate, &self.key)),
        )?)
    }
}

/// What must come of a scene.
#[derive(Clone, Copy)]
pub(super) enum Expected {
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
    /// Whether a delivery can be made at all: a profile of one's own may have no sample.
    pub(super) fn ready(self) -> Result<Self, Stopped> {
        self.fresh()?;
        Ok(self)
    }

    /// Plays all scenes.
    pub(super) async fn play(mut self) -> Result<Vec<Scene>, Stopped> {
        // Without a receiver there is nothing to rehearse.
        let own = self.identity.connector(&self.ca_pem)?;
        let good = self.fresh()?;
        match self.send(&own, &good).await {
            Ok(answered) if answered.status.is_success() => {
                // Of events that all have one id, the store could tell nothing.
                if self.fresh()?.event_id == good.event_id {
                    self.stored
                        .give_up("the profile's samples give every event one id");
                }
                let look = self.stored.find(&Must::hold(&good.event_id, 1, 0)).await;
                self.note_stored("good delivery", kind_of(&answered), look);
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
        self.revoked().await?;
        self.signatures(&own).await?;
        self.repetitions(&own).await?;
        self.limits(&own).await?;
        self.registration(&own).await?;
        Ok(self.scenes)
    }

    async fn handshakes(&mut self) -> Result<(), Stopped> {
        let nobody = Connector::new(&self.ca_pem, None)?;
        self.scene("no certificate", &nobody, Expected::Alert)
            .await?;

        let now = Timestamp::now();
        let valid = validity(now, -ONE_DAY, ONE_DAY);
        let client = |validity| Template::client(self.subject.clone(), validity).for_rehearsal();
        let stranger = DistinguishedName::parse_as_encoded(STRANGER)?;
        let foreign_ca = PrivateCa::generate(
            &Template::authority(stranger.clone(), valid),
            KeyAlgorithm::EcP256,
        )?;
        let foreign = foreign_ca.sign(&client(valid), KeyAlgorithm::EcP256)?;
        let ended = validity(now, -ONE_DAY * 2, -ONE_DAY);
        let to_come = validity(now, ONE_DAY, ONE_DAY * 2);
        let mut orders = vec![
            ("expired", client(ended), Expected::Alert),
            ("not yet valid", client(to_come), Expected::Alert),
            (
                "wrong subject",
                Template::client(stranger, valid).for_rehearsal(),
                Expected::Problem("unknown-producer"),
            ),
            (
                "wrong key usage",
                client(valid).with_key_uses(&[KeyUse::KeyCertSign]),
                Expected::Alert,
            ),
        ];
        let version_1 = "version 1 leaf";
        if self.pinned {
            self.skip(version_1, "the producer is bound to pinned keys");
        } else {
            orders.push((version_1, client(valid).with_version_1(), Expected::Either));
        }
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

    async fn revoked(&mut self) -> Result<(), Stopped> {
        const SCENE: &str = "revoked";
        let made = match &self.revoked {
            Revoked::Given(identity) => {
                let connector = identity.connector(&self.ca_pem)?;
                self.scene(SCENE, &connector, Expected::Alert).await?;
                self.advise("let tls.crls name the list that has it");
                return Ok(());
            }
            Revoked::Made(directory) => directory.clone(),
            Revoked::Skipped => {
                let why = "it would stay on your CA's list: let one be made and revoked with --revoke, or name one with --revoked PREFIX";
                self.skip(SCENE, why);
                return Ok(());
            }
        };
        let identity = match &self.private_ca {
            Ok(ca) => Identity::issue(ca, &self.subject)?,
            Err(lacking) => {
                let lacking = lacking.clone();
                self.skip(SCENE, &lacking);
                return Ok(());
            }
        };
        let ders = crate::x509::decode_certificates(&identity.certificate)?;
        let leaves = ders
            .iter()
            .map(|der| Certificate::decode(der))
            .collect::<Result<Vec<_>, _>>()?;
        PrivateCa::revoke(&made, &leaves, Timestamp::now())?;
        let connector = identity.connector(&self.ca_pem)?;
        let asked_until = tokio::time::Instant::now() + NOTICED_WITHIN;
        // The list was changed a moment ago: the receiver may not have noticed yet.
        while tokio::time::Instant::now() < asked_until {
            let delivery = self.fresh()?;
            if self.send(&connector, &delivery).await.is_err() {
                break;
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
        self.scene(SCENE, &connector, Expected::Alert).await?;
        let list = made.join("ca.crl");
        self.advise(&format!("let tls.crls name {}", list.display()));
        Ok(())
    }

    async fn signatures(&mut self, own: &Connector) -> Result<(), Stopped> {
        let profile = Arc::clone(&self.author.profile);
        let refused = profile
            .answer()
            .bad_signature
            .map_or(401, |status| status.as_u16());
        for (name, tamper) in [
            ("bad signature", Tamper::Signature),
            ("changed time", Tamper::Timestamp),
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
        match self.oldest {
            Some(oldest) => {
                let then = Timestamp::now().checked_sub(oldest + TOO_OLD_BY)?;
                let delivery = self.author.tell(&self.tale()?, then)?;
                let outcome = self.send(own, &delivery).await;
                // Where the provider demands other words, no problem is named.
                let expected = match profile.answer().bad_signature_body {
                    Some(_) => Expected::Status(refused),
                    None => Expected::Problem("timestamp-outside-tolerance"),
                };
                self.note("stale", expected, outcome);
            }
            None => self.skip(
                "stale",
                "the producer's deliveries may be of any age; set its tolerance, if its profile signs a time",
            ),
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
            store: None,
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

    /// Efí asks twice: without a certificate, which must fail, and with it, which must not. What it asks names no account.
    async fn registration(&mut self, own: &Connector) -> Result<(), Stopped> {
        const SCENE: &str = "Efí's registration";
        if self.author.profile.coverage() != Coverage::Connection {
            self.skip(SCENE, "the producer's profile is not pix");
            return Ok(());
        }
        let mut asked = self.fresh()?;
        asked.body = Bytes::from_static(br#"{"evento":"teste_webhook"}"#);
        let nobody = Connector::new(&self.ca_pem, None)?;
        let without = self.send(&nobody, &asked).await;
        if !matches!(&without, Err(failure) if failure.is_tls()) {
            self.note(SCENE, Expected::Alert, without);
            return Ok(());
        }
        let with = self.send(own, &asked).await;
        self.note(SCENE, Expected::Accepted, with);
        Ok(())
    }

    fn connector_of(&self, issued: &Issued) -> Result<Connector, Stopped> {
        Identity::of(issued)?.connector(&self.ca_pem)
    }

    pub(super) fn tale(&self) -> Result<Tale, Stopped> {
        let profile: &Profile = &self.author.profile;
        Ok(Tale {
            kind: sample::usual_kind(profile).unwrap_or("*").to_owned(),
            id: sender::fresh_id(REHEARSAL)?,
            payment: sender::fresh_id(REHEARSAL)?,
            at: Timestamp::now(),
        })
    }

    fn fresh(&self) -> Result<Delivery, Stopped> {
        self.author.tell(&self.tale()?, Timestamp::now())
    }

    /// Every scene has a connection of its own.
    pub(super) async fn send(
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

    pub(super) fn note(
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
            store: None,
        });
    }

    /// What to look at, if the last scene failed.
    fn advise(&mut self, advice: &str) {
        if let Some(last) = self.scenes.last_mut().filter(|last| last.result == FAILED) {
            last.detail = format!("{}; {advice}", last.detail);
        }
    }

    pub(super) fn skip(&mut self, scene: &'static str, why: &str) {
        self.scenes.push(Scene {
            scene,
            result: SKIPPED,
            detail: why.to_owned(),
            store: None,
        });
    }
}

fn validity(now: Timestamp, from: SignedDuration, to: SignedDuration) -> Validity {
    Validity {
        not_before: now.checked_add(from).unwrap_or(now),
        not_after: now.checked_add(to).unwrap_or(now),
    }
}
