//! `countersign why`: what is known of one sender, in prose, and what to do.

use clap::Args;
use jiff::Timestamp;

use super::lists::with_views;
use super::output::{Outcome, complain, printable, say};
use super::unusable;
use crate::config::{Config, ConfigFile, Environment, Snapshot};
use crate::identity::{Producer, Standing};
use crate::server::{in_words, still_marked};
use crate::store::{Filter, LeafSeen, ReadFailure, RefusalView, SecretSeen, ShadowSeen, Views};
use crate::x509::DistinguishedName;

/// Groups of refusals that are told of one sender, at most.
const REFUSALS_MAX: usize = 10;
const DAY_SECONDS: i64 = 86_400;

/// What is known of one sender, and why it is refused
#[derive(Debug, Args)]
pub(super) struct Why {
    /// A producer's name, or the subject of a certificate
    who: String,
}

/// What the store has of one sender.
struct Known {
    leaves: Vec<LeafSeen>,
    secrets: Vec<SecretSeen>,
    refusals: Vec<RefusalView>,
    shadows: Vec<ShadowSeen>,
}

impl Why {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let now = Timestamp::now();
        let config = match Config::load(place, environment, now) {
            Ok(config) => config,
            Err(faults) => return unusable(&faults),
        };
        let subject = DistinguishedName::parse(&self.who).ok();
        let is_meant = |producer: &Producer| {
            *producer.name == *self.who
                || subject
                    .as_ref()
                    .is_some_and(|subject| producer.subject.matches(subject))
        };
        with_views(place, environment, async |views| {
            let producers = config.snapshot.directory().producers();
            let meant: Vec<_> = producers.iter().filter(|one| is_meant(one)).collect();
            let mut known = Known::read(views).await?;
            known.shadows = still_marked(&config.snapshot, known.shadows);
            for producer in &meant {
                of_producer(producer, &config.snapshot, &known, now);
            }
            if !meant.is_empty() {
                return Ok(Outcome::Done);
            }
            let refused: Vec<_> = known
                .refusals
                .iter()
                .filter(|refusal| is_of(refusal, &self.who, subject.as_ref()))
                .collect();
            if refused.is_empty() {
                complain(&format!(
                    "countersign: no producer is called {}, none has it as its subject, and nobody of that name was turned away",
                    printable(&self.who)
                ));
                return Ok(Outcome::Failed);
            }
            say(&format!(
                "No producer has the subject {}: whoever presents it is refused.",
                printable(&self.who)
            ));
            tell_refusals(&refused);
            tell_shadows(&config.snapshot, &known, |tally| {
                is_subject(&tally.subject, &self.who, subject.as_ref())
            });
            Ok(Outcome::Done)
        })
    }
}

impl Known {
    async fn read(views: &Views) -> Result<Self, ReadFailure> {
        let mut refusals = Vec::new();
        let mut after = None;
        loop {
            let filter = Filter {
                after,
                limit: Filter::LIMIT_MAX,
                ..Filter::default()
            };
            let page = views.refusals(filter).await?;
            refusals.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Self {
            leaves: views.leaves_seen().await?,
            secrets: views.secrets_seen().await?,
            shadows: views.shadows_seen().await?,
            refusals,
        })
    }
}

/// Whether what was refused claimed this subject.
fn is_of(refusal: &RefusalView, text: &str, subject: Option<&DistinguishedName>) -> bool {
    let claimed = refusal.subject.as_deref();
    claimed.is_some_and(|claimed| is_subject(claimed, text, subject))
}

fn is_subject(claimed: &str, text: &str, subject: Option<&DistinguishedName>) -> bool {
    claimed == text
        || subject.is_some_and(|subject| {
            DistinguishedName::parse(claimed).is_ok_and(|claimed| claimed.matches(subject))
        })
}

/// What marks with `shadow = true` would have decided.
fn tell_shadows(snapshot: &Snapshot, known: &Known, is_its: impl Fn(&ShadowSeen) -> bool) {
    for tally in known.shadows.iter().filter(|tally| is_its(tally)) {
        let anchors = snapshot.trust().shadow_anchors();
        let anchor = anchors
            .iter()
            .find(|anchor| anchor.sha256().to_string() == tally.what);
        let which = anchor.map_or_else(|| tally.what.clone(), |one| one.subject().to_string());
        say(&format!(
            "The {} {}, which only watches (shadow = true), {}, last at {:.0}.",
            match tally.mark.as_str() {
                "client_ca" => "CA",
                other => other,
            },
            printable(&which),
            printable(&in_words(tally)),
            tally.last_seen.0
        ));
    }
}

fn of_producer(producer: &Producer, snapshot: &Snapshot, known: &Known, now: Timestamp) {
    let Producer { name, tenant, .. } = producer;
    say(&format!(
        "{name} of {tenant} has the subject {} and delivers to {}{}.",
        printable(&producer.subject.to_string()),
        match &producer.path {
            Some(path) => format!("{path} alone"),
            None => snapshot.limits().paths.join(", "),
        },
        match producer.pins.len() {
            0 => String::new(),
            pins => format!(", with one of {pins} pinned keys"),
        }
    ));
    match producer.standing {
        Standing::Live => {}
        Standing::Shadow => {
            say(
                "It is marked shadow = true, so it decides nothing and its deliveries are refused: take the mark away to let it in.",
            );
        }
    }
    let cut_offs = snapshot.cut_offs().entries().iter();
    for entry in cut_offs.filter(|entry| entry.who.names(producer)) {
        say(&format!(
            "{} is cut off since {:.0}: countersign cutoff --lift lets it in again.",
            entry.who, entry.since
        ));
    }
    let is_its = |tenant_id: &str, named: &str| tenant_id == tenant.as_str() && *named == **name;
    let mut leaves: Vec<_> = known
        .leaves
        .iter()
        .filter(|leaf| is_its(&leaf.tenant_id, &leaf.producer))
        .collect();
    leaves.sort_by_key(|leaf| std::cmp::Reverse(leaf.last_seen));
    if leaves.is_empty() {
        say("No delivery of it was ever accepted.");
    }
    for leaf in leaves {
        say(&format!(
            "Its certificate {} (from {}) was first seen at {:.0} and last at {:.0}, and {}.",
            leaf.serial,
            leaf.anchor_subject
                .as_deref()
                .map_or_else(|| printable(&leaf.issuer), printable),
            leaf.first_seen.0,
            leaf.last_seen.0,
            end(leaf.not_after.0, now),
        ));
        cut_off_by_certificate(leaf, snapshot);
    }
    let secrets = known.secrets.iter();
    for secret in secrets.filter(|secret| is_its(&secret.tenant_id, &secret.producer)) {
        say(&format!(
            "Its secret {} last verified a delivery at {:.0}.",
            printable(&secret.secret),
            secret.last_used.0
        ));
    }
    tell_shadows(snapshot, known, |tally| {
        let of = tally.tenant_id.as_deref().zip(tally.producer.as_deref());
        of.is_some_and(|(tenant_id, named)| is_its(tenant_id, named))
    });
    let refused: Vec<_> = known
        .refusals
        .iter()
        .filter(|refusal| {
            is_of(refusal, "", Some(&producer.subject))
                && refusal
                    .producer
                    .as_deref()
                    .is_none_or(|named| named == &**name)
        })
        .collect();
    if refused.is_empty() {
        say("Nothing of it was turned away.");
    } else {
        tell_refusals(&refused);
    }
}

/// A certificate that is cut off by its serial number or its key.
fn cut_off_by_certificate(leaf: &LeafSeen, snapshot: &Snapshot) {
    for entry in snapshot.cut_offs().entries() {
        let which = entry.who.to_string();
        let (serial, key) = (
            format!("the serial number {}", leaf.serial),
            format!("the key sha256:{}", leaf.spki_sha256),
        );
        if which == serial || which == key {
            say(&format!(
                "  It is cut off by {which} since {:.0}: countersign cutoff --{} ... --lift lets it in again.",
                entry.since,
                entry.who.kind()
            ));
        }
    }
}

fn end(not_after: Timestamp, now: Timestamp) -> String {
    let days = (not_after.as_second() - now.as_second()).div_euclid(DAY_SECONDS);
    if not_after < now {
        format!("ended at {not_after:.0}")
    } else {
        format!("ends at {not_after:.0}, in {days} days")
    }
}

fn tell_refusals(refused: &[&RefusalView]) {
    for refusal in refused.iter().take(REFUSALS_MAX) {
        let times = if refusal.count == 1 {
            "once".to_owned()
        } else {
            format!("{} times", refusal.count)
        };
        say(&format!(
            "It was refused {times} with {} ({}) from {}, first at {:.0}, last at {:.0}{}.",
            refusal.reason,
            refusal.gate,
            refusal.address,
            refusal.first_seen.0,
            refusal.last_seen.0,
            refusal
                .detail
                .as_deref()
                .map(|detail| format!(": {}", printable(detail)))
                .unwrap_or_default(),
        ));
        say(&format!("  What to do: {}.", remedy(&refusal.reason)));
    }
    if refused.len() > REFUSALS_MAX {
        say(&format!(
            "{} more groups: countersign refusals list.",
            refused.len() - REFUSALS_MAX
        ));
    }
}

/// What the operator, or the sender, does about it.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "no-certificate" => "the sender must present its client certificate",
        "expired" => "the sender needs a new certificate: countersign certs issue, or its own CA",
        "not-yet-valid" => "wait, or put the clocks right, the sender's CA's or this machine's",
        "unknown-issuer" => {
            "if its CA is to be trusted, add it to tls.client_ca, or the intermediate that is missing to tls.intermediates"
        }
        "revoked" => {
            "if that was meant, nothing; else countersign cutoff --list shows what is cut off, and a CRL's own entries are for its CA to undo by a new certificate"
        }
        "revocation-unknown" => "put the CA's newest CRL where tls.crls names it",
        "bad-signature" => "the certificate is not what its CA signed: have it issued anew",
        "wrong-key-usage" | "wrong-extended-key-usage" | "unsupported-certificate" => {
            "have the certificate issued anew for TLS clients (digitalSignature, clientAuth)"
        }
        "protocol-version" => "the sender must speak TLS 1.3, or set tls.min_version = \"1.2\"",
        "unknown-producer" => {
            "compare the subject with the producer's, and the path with its path; if it is cut off, countersign cutoff --lift"
        }
        "pin-mismatch" => "if the new key is the sender's, add its pin, which certs inspect prints",
        "account-mismatch" => "another customer of the provider delivers here, or account is wrong",
        "certificate-no-longer-valid" => {
            "the certificate ended, or trust was withdrawn, while the connection was open: renew it"
        }
        "signature-missing" => "the sender must sign, by the scheme that profile names",
        "signature-malformed" => "look whether profile is the one that the sender signs by",
        "signature-mismatch" => {
            "look whether both sides have the same secret, and whether something changes the body on the way"
        }
        "timestamp-outside-tolerance" => "put the sender's clock right; or it was a replay",
        _ => "the detail tells what there is to know",
    }
}
