//! `countersign why`: what is known of one sender, and what to do.

use clap::Args;
use jiff::Timestamp;

use super::advice::remedy;
use super::known::{Certificate, Cut, Known, Refused, Sender};
use super::lists::with_views;
use super::output::{Outcome, complain, json_line};
use super::unusable;
use super::why_prose::tell;
use crate::config::{Config, ConfigFile, CutOff, CutOffEntry, Environment, Snapshot};
use crate::identity::{Force, Producer};
use crate::refusals::Gate;
use crate::server::{is_revoked, still_marked};
use crate::store::{
    Filter, LeafSeen, Millis, ReadFailure, RefusalView, SecretSeen, ShadowSeen, Views,
};
use crate::text::printable;
use crate::x509::{DistinguishedName, Serial, SpkiPin};

/// What is known of one sender, and why it is refused
#[derive(Debug, Args)]
pub(super) struct Why {
    /// A producer's name, or the subject of a certificate
    who: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the store has of all senders.
struct Seen {
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
        with_views(place, environment, async |views| {
            let mut seen = Seen::read(views).await?;
            seen.shadows = still_marked(&config.snapshot, seen.shadows);
            let sender = seen.of(&self.who, &config.snapshot, now);
            if sender.producers.is_empty() && sender.refusals.is_empty() {
                complain(&format!(
                    "countersign: no producer is called \"{}\", none has it as its subject, and nobody of that name was turned away",
                    printable(&self.who)
                ));
                return Ok(Outcome::Failed);
            }
            if self.json {
                json_line(&sender);
            } else {
                tell(&sender, &config.snapshot, now);
            }
            Ok(Outcome::Done)
        })
    }
}

impl Seen {
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

    fn of<'a>(&'a self, who: &'a str, snapshot: &'a Snapshot, now: Timestamp) -> Sender<'a> {
        let subject = DistinguishedName::parse(who).ok();
        let is_meant = |producer: &&std::sync::Arc<Producer>| {
            *producer.name == *who
                || subject
                    .as_ref()
                    .is_some_and(|subject| producer.subject.matches(subject))
        };
        let producers = snapshot.directory().producers().iter();
        let producers: Vec<_> = producers
            .filter(is_meant)
            .map(|producer| self.of_producer(producer, snapshot, now))
            .collect();
        let mut sender = Sender {
            who,
            producers,
            refusals: Vec::new(),
            shadows: Vec::new(),
        };
        if sender.producers.is_empty() {
            let is_its = |claimed: &str| is_subject(claimed, who, subject.as_ref());
            sender.refusals =
                self.refused(|refusal| refusal.subject.as_deref().is_some_and(is_its));
            let shadows = self.shadows.iter();
            sender.shadows = shadows.filter(|tally| is_its(&tally.subject)).collect();
        }
        sender
    }

    fn of_producer<'a>(
        &'a self,
        producer: &'a Producer,
        snapshot: &'a Snapshot,
        now: Timestamp,
    ) -> Known<'a> {
        let Producer { name, tenant, .. } = producer;
        let is_its =
            |tenant_id: &str, named: &str| tenant_id == tenant.as_str() && *named == **name;
        let entries = snapshot.cut_offs().entries().iter();
        let cut_offs = entries.filter(|entry| entry.who.names(producer));
        let leaves = self.leaves.iter();
        let mut certificates: Vec<_> = leaves
            .filter(|leaf| is_its(&leaf.tenant_id, &leaf.producer))
            .map(|seen| Certificate {
                seen,
                revoked: is_revoked(snapshot, seen, now),
                cut_offs: cut_offs_of(seen, snapshot),
            })
            .collect();
        certificates.sort_by_key(|certificate| std::cmp::Reverse(certificate.seen.last_seen));
        let secrets = self.secrets.iter();
        let shadows = self.shadows.iter();
        let of_its = |tally: &&ShadowSeen| {
            let of = tally.tenant_id.as_deref().zip(tally.producer.as_deref());
            of.is_some_and(|(tenant_id, named)| is_its(tenant_id, named))
        };
        let refused = |refusal: &RefusalView| {
            let claimed = refusal.subject.as_deref();
            // A handshake has no path, so it is of all who have the subject; and so is what was recorded for none of them.
            let is_its_or_anybodys = match (&refusal.tenant_id, &refusal.producer) {
                _ if refusal.gate == Gate::Handshake.as_str() => true,
                (Some(tenant_id), Some(named)) => is_its(tenant_id, named),
                (None, Some(named)) => **named == **name,
                (_, None) => true,
            };
            claimed.is_some_and(|claimed| is_subject(claimed, "", Some(&producer.subject)))
                && is_its_or_anybodys
        };
        Known {
            tenant_id: tenant.as_str(),
            producer: name,
            subject: producer.subject.to_string(),
            paths: snapshot.paths_of(producer),
            pins: producer.pins.len(),
            shadow: producer.force == Force::Shadow,
            cut_offs: cut_offs.map(cut).collect(),
            certificates,
            secrets: secrets
                .filter(|secret| is_its(&secret.tenant_id, &secret.producer))
                .collect(),
            shadows: shadows.filter(of_its).collect(),
            refusals: self.refused(refused),
        }
    }

    fn refused(&self, is_its: impl Fn(&RefusalView) -> bool) -> Vec<Refused<'_>> {
        let refusals = self.refusals.iter().filter(|refusal| is_its(refusal));
        let refused = refusals.map(|refusal| Refused {
            refusal,
            what_to_do: remedy(
                &refusal.reason,
                refusal.detail.as_deref().unwrap_or_default(),
            ),
        });
        refused.collect()
    }
}

fn is_subject(claimed: &str, text: &str, subject: Option<&DistinguishedName>) -> bool {
    claimed == text
        || subject.is_some_and(|subject| {
            DistinguishedName::parse(claimed).is_ok_and(|claimed| claimed.matches(subject))
        })
}

fn cut(entry: &CutOffEntry) -> Cut {
    Cut {
        who: entry.who.to_string(),
        kind: entry.who.kind(),
        since: Millis(entry.since),
    }
}

/// By its serial number, or by its key.
fn cut_offs_of(leaf: &LeafSeen, snapshot: &Snapshot) -> Vec<Cut> {
    let serial: Option<Serial> = leaf.serial.parse().ok();
    let key: Option<SpkiPin> = format!("sha256:{}", leaf.spki_sha256).parse().ok();
    let names_it = |entry: &&CutOffEntry| match &entry.who {
        CutOff::Serial(of) => serial.as_ref() == Some(of),
        CutOff::Key(of) => key.as_ref() == Some(of),
        CutOff::Tenant(_) | CutOff::Producer { .. } => false,
    };
    let cut_offs = snapshot.cut_offs().entries().iter();
    cut_offs.filter(names_it).map(cut).collect()
}
