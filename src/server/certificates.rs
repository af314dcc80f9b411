//! Every certificate that matters here, and how long each still holds.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::marks::marks;
use crate::config::Snapshot;
use crate::store::{LeafSeen, ReadFailure, SecretSeen, Store, Views};
use crate::telemetry::{CertificateEnd, CrlEnd, Meters};
use crate::tls::TrustWarning;
use crate::x509::{DistinguishedName, Leaf};

/// Days before an end at which it is said once more.
const DAYS: [i64; 6] = [28, 14, 7, 3, 1, 0];
const DAY_SECONDS: i64 = 86_400;
/// How often ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long something must have been idle, while its successor was in use, to be called safe to retire.
const IDLE_DAYS: i64 = 7;

/// The server's leaf, the anchors and intermediates, the CRLs, every client leaf that was seen, every secret that verified a
/// delivery, and every mark with `shadow = true`; each with what is to be known of it.
pub async fn certificates(
    snapshot: &Snapshot,
    views: &Views,
    now: Timestamp,
) -> Result<Vec<Value>, ReadFailure> {
    let seen = views.leaves_seen().await?;
    let secrets = views.secrets_seen().await?;
    let shadows = views.shadows_seen().await?;
    let mut all = vec![ours("server", snapshot.tls().identity.leaf(), None, None)];
    let used = |anchor: &Leaf| {
        let sha256 = anchor.sha256().to_string();
        let under = seen
            .iter()
            .filter(move |leaf| leaf.anchor_sha256.as_deref() == Some(&sha256));
        under.map(|leaf| leaf.last_seen.0).max()
    };
    for anchor in snapshot.trust().anchors() {
        let others = snapshot
            .trust()
            .anchors()
            .iter()
            .filter(|other| other.sha256() != anchor.sha256());
        let successor = others.filter_map(used).max();
        let note = retirement(used(anchor), successor, now);
        all.push(ours("trust_anchor", anchor, used(anchor), note));
    }
    for intermediate in snapshot.trust().intermediates() {
        all.push(ours("intermediate", intermediate, None, None));
    }
    for crl in snapshot.trust().crls() {
        all.push(json!({
            "role": "crl",
            "subject": null,
            "issuer": crl.issuer().to_string(),
            "serial": null,
            "sha256": null,
            "spki_sha256": null,
            "not_before": format!("{:.3}", crl.this_update()),
            "not_after": crl.next_update().map(|end| format!("{end:.3}")),
            "producer": null,
            "tenant_id": null,
            "last_seen": null,
        }));
    }
    let configured = configured(snapshot);
    let forgotten = |tenant_id: &str, producer: &str| {
        let is_known = configured.contains(&(tenant_id, producer));
        (!is_known).then(|| "its producer is configured no longer".to_owned())
    };
    for leaf in &seen {
        let newer = seen.iter().filter(|other| {
            (&other.tenant_id, &other.producer) == (&leaf.tenant_id, &leaf.producer)
                && other.sha256 != leaf.sha256
        });
        let successor = newer.map(|other| other.last_seen.0).max();
        let revoked = is_revoked(snapshot, leaf, now);
        let note = if revoked {
            Some(format!("revoked: a CRL of {} names it", leaf.issuer))
        } else {
            forgotten(&leaf.tenant_id, &leaf.producer)
                .or_else(|| retirement(Some(leaf.last_seen.0), successor, now))
        };
        all.push(client(leaf, revoked, note));
    }
    for secret in &secrets {
        let others = secrets.iter().filter(|other| {
            (&other.tenant_id, &other.producer) == (&secret.tenant_id, &secret.producer)
                && other.secret != secret.secret
        });
        let successor = others.map(|other| other.last_used.0).max();
        let note = forgotten(&secret.tenant_id, &secret.producer)
            .or_else(|| retirement(Some(secret.last_used.0), successor, now));
        all.push(of_secret(secret, note));
    }
    all.extend(marks(snapshot, &shadows));
    Ok(all)
}

/// The producers, by tenant and name.
fn configured(snapshot: &Snapshot) -> HashSet<(&str, &str)> {
    let producers = snapshot.directory().producers().iter();
    producers
        .map(|producer| (producer.tenant.as_str(), &*producer.name))
        .collect()
}

/// Whether a revocation list that counts today names the leaf.
pub fn is_revoked(snapshot: &Snapshot, leaf: &LeafSeen, now: Timestamp) -> bool {
    let (Ok(serial), Ok(issuer)) = (leaf.serial.parse(), DistinguishedName::parse(&leaf.issuer))
    else {
        return false;
    };
    // Where the anchor itself issued it, its key tells it from another CA of that name.
    let anchors = snapshot.trust().anchors().iter();
    let issuer_key = anchors
        .filter(|anchor| anchor.subject().matches(&issuer))
        .find(|anchor| leaf.anchor_sha256.as_deref() == Some(&anchor.sha256().to_string()))
        .map(Leaf::spki);
    snapshot
        .trust()
        .is_revoked(&serial, &issuer, issuer_key, now)
}

/// The leaves that producers use: those with which one came within a day of its last delivery, however long ago that was. It may have
/// several, one for each of its machines; one that was replaced is not in use, whenever it ends.
fn in_use(seen: &[LeafSeen]) -> impl Iterator<Item = &LeafSeen> {
    let mut latest: HashMap<(&str, &str), i64> = HashMap::new();
    for leaf in seen {
        let last = latest
            .entry((&leaf.tenant_id, &leaf.producer))
            .or_insert(i64::MIN);
        *last = (*last).max(leaf.last_seen.0.as_second());
    }
    seen.iter().filter(move |leaf| {
        let last = latest.get(&(&*leaf.tenant_id, &*leaf.producer));
        last.is_some_and(|last| last - leaf.last_seen.0.as_second() <= DAY_SECONDS)
    })
}

/// Whether a leaf has ended, and its producer has delivered with another since: nobody has anything to renew.
fn is_over(leaf: &LeafSeen, seen: &[LeafSeen], now: Timestamp) -> bool {
    let is_newer = |other: &LeafSeen| {
        (&other.tenant_id, &other.producer) == (&leaf.tenant_id, &leaf.producer)
            && other.sha256 != leaf.sha256
            && other.last_seen > leaf.last_seen
    };
    leaf.not_after.0 < now && seen.iter().any(is_newer)
}

/// What is to be said of something that was last used then, while another in its place was last used at `successor`.
fn retirement(
    last: Option<Timestamp>,
    successor: Option<Timestamp>,
    now: Timestamp,
) -> Option<String> {
    let Some(last) = last else {
        return Some("no delivery has used it yet".to_owned());
    };
    let days = (now.as_second() - last.as_second()).div_euclid(DAY_SECONDS);
    (days >= IDLE_DAYS && successor.is_some_and(|successor| successor > last))
        .then(|| format!("safe to retire: last used {days} days ago"))
}

fn of_secret(secret: &SecretSeen, note: Option<String>) -> Value {
    json!({
        "role": "secret",
        "subject": null,
        "issuer": null,
        "serial": null,
        "sha256": null,
        "spki_sha256": null,
        "not_before": null,
        "not_after": null,
        "producer": secret.producer,
        "tenant_id": secret.tenant_id,
        "last_seen": secret.last_used,
        "secret": secret.secret,
        "note": note,
    })
}

fn ours(role: &str, leaf: &Leaf, last_seen: Option<Timestamp>, note: Option<String>) -> Value {
    json!({
        "role": role,
        "subject": leaf.subject().to_string(),
        "issuer": leaf.issuer().to_string(),
        "serial": leaf.serial().to_string(),
        "sha256": leaf.sha256().to_string(),
        "spki_sha256": leaf.spki().hex(),
        "not_before": format!("{:.3}", leaf.validity().not_before),
        "not_after": format!("{:.3}", leaf.validity().not_after),
        "producer": null,
        "tenant_id": null,
        "last_seen": last_seen.map(|time| format!("{time:.3}")),
        "note": note,
    })
}

fn client(leaf: &LeafSeen, revoked: bool, note: Option<String>) -> Value {
    json!({
        "role": "client",
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "serial": leaf.serial,
        "sha256": leaf.sha256,
        "spki_sha256": leaf.spki_sha256,
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "producer": leaf.producer,
        "tenant_id": leaf.tenant_id,
        "last_seen": leaf.last_seen,
        "anchor_subject": leaf.anchor_subject,
        "anchor_sha256": leaf.anchor_sha256,
        "revoked": revoked,
        "note": note,
    })
}

/// Which ends have been warned of, and how near they were.
#[derive(Default)]
pub(super) struct Warnings {
    looked: Option<Instant>,
    generation: u64,
    said: HashMap<String, i64>,
    told: Vec<TrustWarning>,
}

impl Warnings {
    /// Tells the metrics when each certificate ends, and the log once for each of the days before.
    pub(super) async fn look(
        &mut self,
        snapshot: &Snapshot,
        store: &Store,
        meters: &Meters,
        now: Timestamp,
    ) {
        if !self.is_due(snapshot.generation(), Instant::now()) {
            return;
        }
        // What is wrong with the trust itself is told when it begins, and again when it changes.
        let warnings = snapshot.trust().warnings(now);
        for warning in warnings.iter().filter(|one| !self.told.contains(one)) {
            tracing::error!("{warning}");
        }
        self.told = warnings;
        let ours = [snapshot.tls().identity.leaf().clone()];
        self.all(meters, "server", &ours, now);
        self.all(meters, "trust_anchor", snapshot.trust().anchors(), now);
        self.all(
            meters,
            "intermediate",
            snapshot.trust().intermediates(),
            now,
        );
        let mut ends = Vec::new();
        for crl in snapshot.trust().crls() {
            if let Some(end) = crl.next_update() {
                let issuer = crl.issuer().to_string();
                self.warn(&format!("crl {issuer}"), "crl", &issuer, end, now);
                let at = end.as_second();
                ends.push(CrlEnd { issuer, at });
            }
        }
        meters.crls_end(ends);
        let Ok(seen) = store.views().leaves_seen().await else {
            return;
        };
        // A producer that is configured no longer has nothing to renew.
        let configured = configured(snapshot);
        let mut ends = Vec::new();
        for leaf in in_use(&seen).filter(|leaf| !is_over(leaf, &seen, now)) {
            if !configured.contains(&(&*leaf.tenant_id, &*leaf.producer)) {
                continue;
            }
            let end = leaf.not_after.0;
            let whose = format!("{} of {}", leaf.producer, leaf.tenant_id);
            self.warn(&leaf.sha256, "client", &whose, end, now);
            ends.push(CertificateEnd {
                subject: leaf.subject.clone(),
                serial: leaf.serial.clone(),
                producer: leaf.producer.clone(),
                at: end.as_second(),
            });
        }
        meters.certificates_end("client", ends);
    }

    /// Whether it is time for the next look, which then counts as taken. What a reload brought is looked at at once.
    fn is_due(&mut self, generation: u64, now: Instant) -> bool {
        let looked = self.looked.filter(|_| generation == self.generation);
        let is_due =
            looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        if is_due {
            (self.looked, self.generation) = (Some(now), generation);
        }
        is_due
    }

    fn all(&mut self, meters: &Meters, role: &'static str, leaves: &[Leaf], now: Timestamp) {
        let mut ends = Vec::new();
        for leaf in leaves {
            let end = leaf.validity().not_after;
            let subject = leaf.subject().to_string();
            self.warn(&leaf.sha256().to_string(), role, &subject, end, now);
            ends.push(CertificateEnd {
                subject,
                serial: leaf.serial().to_string(),
                producer: String::new(),
                at: end.as_second(),
            });
        }
        meters.certificates_end(role, ends);
    }

    fn warn(&mut self, which: &str, role: &str, whose: &str, end: Timestamp, now: Timestamp) {
        let left = (end.as_second() - now.as_second()).div_euclid(DAY_SECONDS);
        let Some(mark) = DAYS.into_iter().rev().find(|days| left <= *days) else {
            return;
        };
        if self.said.get(which).is_some_and(|said| *said <= mark) {
            return;
        }
        self.said.insert(which.to_owned(), mark);
        let days_left = left.max(0);
        if left < 0 {
            tracing::error!(role, whose, ended = %format!("{end:.0}"), "a certificate has ended");
        } else {
            tracing::warn!(role, whose, days_left, ends = %format!("{end:.0}"), "a certificate ends soon");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Millis;

    fn leaf(producer: &str, serial: &str, last_seen: i64) -> LeafSeen {
        let at = |second| Millis(Timestamp::from_second(second).unwrap());
        LeafSeen {
            tenant_id: "tenant-42".to_owned(),
            producer: producer.to_owned(),
            subject: String::new(),
            issuer: String::new(),
            serial: serial.to_owned(),
            sha256: serial.to_owned(),
            spki_sha256: String::new(),
            not_before: at(0),
            not_after: at(i64::from(u32::MAX)),
            anchor_subject: None,
            anchor_sha256: None,
            first_seen: at(0),
            last_seen: at(last_seen),
        }
    }

    #[test]
    fn ends_are_looked_at_each_minute_and_after_a_reload() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut warnings = Warnings::default();
        assert!(warnings.is_due(0, at(0)));
        assert!(!warnings.is_due(0, at(59)));
        assert!(warnings.is_due(1, at(59)));
        assert!(!warnings.is_due(1, at(118)));
        assert!(warnings.is_due(1, at(119)));
    }

    #[test]
    fn the_leaves_that_a_producer_uses_are_watched_and_not_the_one_that_was_replaced() {
        let days = |days: i64| days * DAY_SECONDS;
        let seen = [
            leaf("a", "replaced", days(10)),
            leaf("a", "one-machine", days(20)),
            leaf("a", "another-machine", days(20) - 3600),
            leaf("silent", "only", days(1)),
        ];
        let watched: Vec<&str> = in_use(&seen).map(|leaf| &*leaf.serial).collect();
        assert_eq!(watched, ["one-machine", "another-machine", "only"]);
    }

    #[test]
    fn a_leaf_that_ended_is_over_once_its_producer_came_with_another() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ended = |producer: &str, last_seen: i64| LeafSeen {
            not_after: Millis(Timestamp::from_second(999_000).unwrap()),
            ..leaf(producer, "ended", last_seen)
        };
        let seen = [
            ended("renewed", 998_000),
            leaf("renewed", "next", 999_500),
            ended("silent", 998_000),
            leaf("other", "its", 999_500),
        ];
        let over: Vec<bool> = seen.iter().map(|leaf| is_over(leaf, &seen, now)).collect();
        assert_eq!(over, [true, false, false, false]);
    }
}
