//! Every certificate that matters here, and how long each still holds.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;

use super::marks::marks;
use crate::admin::{CertificateView, Certificates, Role};
use crate::config::Snapshot;
use crate::store::{LeafSeen, Millis, ReadFailure, SecretSeen, ShadowSeen, Views};
use crate::x509::{Certificate, DistinguishedName, RevocationList, SpkiPin};

pub(super) const DAY_SECONDS: i64 = 86_400;

/// How long something must have been idle, while its successor was in use, to be called safe to retire.
const IDLE_DAYS: i64 = 7;

/// The server's leaf, the anchors and intermediates, the CRLs, every client leaf that was seen, every secret that verified a
/// delivery, and every mark with `shadow = true`; each with what is to be known of it.
pub async fn certificates(snapshot: &Arc<Snapshot>, views: &Views, now: Timestamp) -> Certificates {
    let seen = views.leaves_seen().await?;
    let secrets = views.secrets_seen().await?;
    let shadows = views.shadows_seen().await?;
    let snapshot = Arc::clone(snapshot);
    // There may be thousands of leaves, which deliveries need not wait for.
    tokio::task::spawn_blocking(move || listed(&snapshot, &seen, &secrets, &shadows, now))
        .await
        .map_err(|_broken_off| ReadFailure::BrokenOff)
}

/// Those of them that the configuration names as files: for when the store, which knows what was seen, cannot be asked.
pub fn configured_certificates(snapshot: &Snapshot) -> Vec<CertificateView> {
    let anchors = snapshot.trust().anchors().iter();
    let anchors = anchors.map(|one| CertificateView::of(Role::TrustAnchor).read_from(one));
    of_files(snapshot, anchors)
}

/// The server's leaf, then the anchors as they are given, the intermediates and the CRLs.
fn of_files(
    snapshot: &Snapshot,
    anchors: impl IntoIterator<Item = CertificateView>,
) -> Vec<CertificateView> {
    let trust = snapshot.trust();
    let mut all = vec![CertificateView::of(Role::Server).read_from(snapshot.tls().identity.leaf())];
    all.extend(anchors);
    let intermediates = trust.intermediates().iter();
    all.extend(intermediates.map(|one| CertificateView::of(Role::Intermediate).read_from(one)));
    all.extend(trust.crls().map(of_crl));
    all
}

fn listed(
    snapshot: &Snapshot,
    seen: &[LeafSeen],
    secrets: &[SecretSeen],
    shadows: &[ShadowSeen],
    now: Timestamp,
) -> Vec<CertificateView> {
    let trust = snapshot.trust();
    let configured = configured(snapshot);
    let mut all = of_files(snapshot, of_anchors(trust.anchors(), seen, now));
    all.extend(of_clients(snapshot, seen, &configured, now));
    all.extend(of_secrets(snapshot, secrets, &configured, now));
    all.extend(marks(snapshot, shadows));
    all
}

fn of_anchors(anchors: &[Certificate], seen: &[LeafSeen], now: Timestamp) -> Vec<CertificateView> {
    let mut under: HashMap<&str, Timestamp> = HashMap::new();
    for leaf in seen {
        if let Some(anchor) = &leaf.anchor_sha256 {
            let last = under.entry(anchor).or_insert(leaf.last_seen.0);
            *last = leaf.last_seen.0.max(*last);
        }
    }
    let anchors: Vec<_> = anchors
        .iter()
        .map(|anchor| (anchor, anchor.sha256().to_string()))
        .collect();
    let mut latest = Latest::default();
    for (_, sha256) in &anchors {
        if let Some(last) = under.get(&**sha256) {
            latest.note((), sha256, *last);
        }
    }
    let views = anchors.iter().map(|(anchor, sha256)| {
        let last = under.get(&**sha256).copied();
        CertificateView {
            last_seen: last.map(Millis),
            note: retirement(last, latest.but((), sha256), now),
            ..CertificateView::of(Role::TrustAnchor).read_from(anchor)
        }
    });
    views.collect()
}

fn of_crl(crl: &RevocationList) -> CertificateView {
    CertificateView {
        issuer: Some(crl.issuer().to_string()),
        not_before: Some(Millis(crl.this_update())),
        not_after: crl.next_update().map(Millis),
        ..CertificateView::of(Role::Crl)
    }
}

fn of_clients(
    snapshot: &Snapshot,
    seen: &[LeafSeen],
    configured: &HashSet<(&str, &str)>,
    now: Timestamp,
) -> Vec<CertificateView> {
    let mut latest = Latest::default();
    for leaf in seen {
        latest.note(whose(leaf), &leaf.sha256, leaf.last_seen.0);
    }
    let mut issuers = Issuers::default();
    let views = seen.iter().map(|leaf| {
        let revoked = issuers.have_revoked(snapshot, leaf, now);
        let note = if revoked {
            Some(format!("revoked: a CRL of {} names it", leaf.issuer))
        } else {
            let ended = || (leaf.not_after.0 < now).then(|| "ended".to_owned());
            forgotten(whose(leaf), configured)
                .or_else(ended)
                .or_else(|| {
                    let successor = latest.but(whose(leaf), &leaf.sha256);
                    retirement(Some(leaf.last_seen.0), successor, now)
                })
        };
        CertificateView {
            role: Role::Client {
                anchor_subject: leaf.anchor_subject.clone(),
                anchor_sha256: leaf.anchor_sha256.clone(),
                revoked,
            },
            subject: Some(leaf.subject.clone()),
            issuer: Some(leaf.issuer.clone()),
            serial: Some(leaf.serial.clone()),
            sha256: Some(leaf.sha256.clone()),
            spki_sha256: Some(leaf.spki_sha256.clone()),
            not_before: Some(leaf.not_before),
            not_after: Some(leaf.not_after),
            producer: Some(leaf.producer.clone()),
            tenant_id: Some(leaf.tenant_id.clone()),
            last_seen: Some(leaf.last_seen),
            note,
        }
    });
    views.collect()
}

fn of_secrets(
    snapshot: &Snapshot,
    secrets: &[SecretSeen],
    configured: &HashSet<(&str, &str)>,
    now: Timestamp,
) -> Vec<CertificateView> {
    let doubt = |secret| {
        let forgotten = forgotten(owner(secret), configured);
        forgotten.or_else(|| of_another(snapshot, secret).map(ToOwned::to_owned))
    };
    let notes = notes_of_secrets(secrets, secrets.iter().map(doubt).collect(), now);
    let views = secrets.iter().zip(notes).map(|(secret, note)| {
        let reference = secret.secret.clone();
        CertificateView {
            producer: Some(secret.producer.clone()),
            tenant_id: Some(secret.tenant_id.clone()),
            last_seen: Some(secret.last_used),
            note,
            ..CertificateView::of(Role::Secret { secret: reference })
        }
    });
    views.collect()
}

/// What is to be said of each secret, of some of which there is a `doubt` already: such a one is no successor.
fn notes_of_secrets(
    secrets: &[SecretSeen],
    doubts: Vec<Option<String>>,
    now: Timestamp,
) -> Vec<Option<String>> {
    let mut latest = Latest::default();
    for (secret, doubt) in secrets.iter().zip(&doubts) {
        if doubt.is_none() {
            latest.note(owner(secret), &secret.secret, secret.last_used.0);
        }
    }
    let notes = secrets.iter().zip(doubts).map(|(secret, doubt)| {
        doubt.or_else(|| {
            let successor = latest.but(owner(secret), &secret.secret);
            retirement(Some(secret.last_used.0), successor, now)
        })
    });
    notes.collect()
}

fn owner(secret: &SecretSeen) -> (&str, &str) {
    (&secret.tenant_id, &secret.producer)
}

/// Why what was seen of a secret may be of another than the one that bears its name now: a name is a place, and what stands there is
/// replaced when secrets are rotated.
pub fn of_another(snapshot: &Snapshot, secret: &SecretSeen) -> Option<&'static str> {
    let mut producers = snapshot.directory().producers().iter();
    let producer = producers.find(|producer| {
        producer.tenant.as_str() == secret.tenant_id && *producer.name == *secret.producer
    })?;
    let verifier = snapshot.verifier(producer.id)?;
    if !verifier.has_secret(&secret.secret) {
        return Some("it is configured no longer");
    }
    let written = snapshot.secret_written(&secret.secret)?;
    (written > secret.last_used.0)
        .then_some("its file was written since: another secret may stand there")
}

/// What is to be said of something whose producer, by tenant and name, is not among those that are configured.
fn forgotten(owner: (&str, &str), configured: &HashSet<(&str, &str)>) -> Option<String> {
    (!configured.contains(&owner)).then(|| "its producer is configured no longer".to_owned())
}

pub(super) fn whose(leaf: &LeafSeen) -> (&str, &str) {
    (&leaf.tenant_id, &leaf.producer)
}

/// When the things of each owner were last used: of the one that was used last, and of all others of that owner.
struct Latest<'a, O>(HashMap<O, (&'a str, Timestamp, Option<Timestamp>)>);

impl<O> Default for Latest<'_, O> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, O: Eq + Hash> Latest<'a, O> {
    fn note(&mut self, owner: O, which: &'a str, used: Timestamp) {
        match self.0.entry(owner) {
            Entry::Vacant(owner) => {
                owner.insert((which, used, None));
            }
            Entry::Occupied(mut owner) => {
                let (first, last, others) = owner.get_mut();
                if *first == which {
                    *last = used.max(*last);
                } else if used > *last {
                    *others = Some(*last);
                    (*first, *last) = (which, used);
                } else {
                    *others = (*others).max(Some(used));
                }
            }
        }
    }

    /// When another one of the owner's than this was last used.
    fn but(&self, owner: O, which: &str) -> Option<Timestamp> {
        let (first, last, others) = *self.0.get(&owner)?;
        if first == which { others } else { Some(last) }
    }
}

/// The producers, by tenant and name.
pub(super) fn configured(snapshot: &Snapshot) -> HashSet<(&str, &str)> {
    let producers = snapshot.directory().producers().iter();
    producers
        .map(|producer| (producer.tenant.as_str(), &*producer.name))
        .collect()
}

/// Whether a revocation list that counts today names the leaf.
pub fn is_revoked(snapshot: &Snapshot, leaf: &LeafSeen, now: Timestamp) -> bool {
    Issuers::default().have_revoked(snapshot, leaf, now)
}

/// The issuers of leaves, each read once: by its name, and by the anchor that the leaf chained to.
#[derive(Default)]
struct Issuers<'a>(HashMap<(&'a str, Option<&'a str>), Option<Issuer>>);

struct Issuer {
    name: DistinguishedName,
    /// Where the anchor itself issued the leaf, its key tells it from another CA of that name.
    key: Option<SpkiPin>,
}

impl<'a> Issuers<'a> {
    fn have_revoked(&mut self, snapshot: &Snapshot, leaf: &'a LeafSeen, now: Timestamp) -> bool {
        let which = (&*leaf.issuer, leaf.anchor_sha256.as_deref());
        let issuer = self.0.entry(which);
        let issuer = issuer.or_insert_with(|| Issuer::of(leaf, snapshot));
        let (Some(issuer), Ok(serial)) = (issuer, leaf.serial.parse()) else {
            return false;
        };
        let trust = snapshot.trust();
        trust.is_revoked(&serial, &issuer.name, issuer.key, now)
    }
}

impl Issuer {
    fn of(leaf: &LeafSeen, snapshot: &Snapshot) -> Option<Self> {
        let name = DistinguishedName::parse(&leaf.issuer).ok()?;
        let anchors = snapshot.trust().anchors().iter();
        let key = anchors
            .filter(|anchor| anchor.subject().matches(&name))
            .find(|anchor| leaf.anchor_sha256.as_deref() == Some(&anchor.sha256().to_string()))
            .map(Certificate::spki);
        Some(Self { name, key })
    }
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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_what_was_used_last_of_what_else_the_owner_has() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut latest = Latest::default();
        for (owner, which, second) in [
            (1, "a", 20),
            (1, "b", 10),
            (1, "c", 30),
            (1, "d", 25),
            (1, "c", 29),
            (1, "c", 35),
            (2, "e", 40),
            (3, "f", 10),
            (3, "g", 20),
        ] {
            latest.note(owner, which, at(second));
        }
        for (owner, which, expected) in [
            (1, "a", Some(35)),
            (1, "b", Some(35)),
            (1, "c", Some(25)),
            (1, "d", Some(35)),
            (2, "e", None),
            (3, "f", Some(20)),
            (3, "g", Some(10)),
            (4, "h", None),
        ] {
            assert_eq!(latest.but(owner, which), expected.map(at), "{which}");
        }
    }

    #[test]
    fn a_secret_that_is_used_no_more_is_safe_to_retire_only_while_another_is_there() {
        let now = Timestamp::from_second(100 * DAY_SECONDS).unwrap();
        let seen = |secret: &str, days_ago: i64| {
            let used = Millis(Timestamp::from_second((100 - days_ago) * DAY_SECONDS).unwrap());
            SecretSeen {
                tenant_id: "tenant-42".to_owned(),
                producer: "p".to_owned(),
                secret: secret.to_owned(),
                first_used: used,
                last_used: used,
            }
        };
        let secrets = [seen("file:old", 10), seen("file:next", 0)];
        let note = |doubt: Option<&str>| {
            let doubts = vec![None, doubt.map(ToOwned::to_owned)];
            notes_of_secrets(&secrets, doubts, now)
        };
        let retire = "safe to retire: last used 10 days ago".to_owned();
        assert_eq!(note(None), [Some(retire), None]);
        // It was taken out, and what signs from now on is the old one.
        let gone = "it is configured no longer";
        assert_eq!(note(Some(gone)), [None, Some(gone.to_owned())]);
    }
}
