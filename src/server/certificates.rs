//! Every certificate that matters here, and how long each still holds.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::marks::marks;
use crate::admin::{CertificateView, Certificates, Role};
use crate::config::Snapshot;
use crate::store::{LeafSeen, Millis, ReadFailure, SecretSeen, ShadowSeen, Store, Views};
use crate::telemetry::{CertificateEnd, CrlEnd, Meters};
use crate::tls::TrustWarning;
use crate::x509::{Certificate, DistinguishedName, RevocationList, SpkiPin};

/// Days before an end at which it is said once more.
const DAYS: [i64; 6] = [28, 14, 7, 3, 1, 0];
/// The mark behind them.
const ENDED: i64 = -1;
const DAY_SECONDS: i64 = 86_400;
/// How often ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

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
    all.extend(of_secrets(secrets, &configured, now));
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
            forgotten(whose(leaf), configured).or_else(|| {
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
    secrets: &[SecretSeen],
    configured: &HashSet<(&str, &str)>,
    now: Timestamp,
) -> Vec<CertificateView> {
    fn owner(secret: &SecretSeen) -> (&str, &str) {
        (&secret.tenant_id, &secret.producer)
    }
    let mut latest = Latest::default();
    for secret in secrets {
        latest.note(owner(secret), &secret.secret, secret.last_used.0);
    }
    let views = secrets.iter().map(|secret| {
        let note = forgotten(owner(secret), configured).or_else(|| {
            let successor = latest.but(owner(secret), &secret.secret);
            retirement(Some(secret.last_used.0), successor, now)
        });
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

/// What is to be said of something whose producer, by tenant and name, is not among those that are configured.
fn forgotten(owner: (&str, &str), configured: &HashSet<(&str, &str)>) -> Option<String> {
    (!configured.contains(&owner)).then(|| "its producer is configured no longer".to_owned())
}

fn whose(leaf: &LeafSeen) -> (&str, &str) {
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
fn configured(snapshot: &Snapshot) -> HashSet<(&str, &str)> {
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

/// The leaves that producers use: those with which one came within a day of its last delivery, however long ago that was. It may have
/// several, one for each of its machines; one that was replaced is not in use, whenever it ends. Of one that has ended, nobody has
/// anything to renew once its producer came with another.
fn in_use(seen: &[LeafSeen], now: Timestamp) -> impl Iterator<Item = &LeafSeen> {
    let mut latest: HashMap<(&str, &str), Timestamp> = HashMap::new();
    for leaf in seen {
        let last = latest.entry(whose(leaf)).or_insert(leaf.last_seen.0);
        *last = leaf.last_seen.0.max(*last);
    }
    seen.iter().filter(move |leaf| {
        latest.get(&whose(leaf)).is_some_and(|last| {
            let idle = last.as_second() - leaf.last_seen.0.as_second();
            let has_ended = leaf.not_after.0 < now;
            idle <= DAY_SECONDS && (!has_ended || leaf.last_seen.0 == *last)
        })
    })
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

/// Which ends have been warned of, and how near they were.
#[derive(Default)]
pub(super) struct Warnings {
    looked: Option<Instant>,
    generation: u64,
    said: HashMap<String, Said>,
    told: Vec<TrustWarning>,
}

/// What was last said of an end.
#[derive(Clone, Copy)]
struct Said {
    end: Timestamp,
    mark: i64,
}

impl Said {
    /// What counts as said from now on, and whether it is to be said now: once at each mark. A CRL is replaced again and again under one
    /// name: its later end is not said at once, but each mark before it counts anew.
    fn next(before: Option<Self>, end: Timestamp, left: i64) -> (Option<Self>, bool) {
        let mark = if left < 0 {
            Some(ENDED)
        } else {
            DAYS.into_iter().rev().find(|days| left <= *days)
        };
        let of_this_end = before.filter(|before| before.end == end);
        let Some(mark) = mark else {
            return (of_this_end, false);
        };
        if before.is_none_or(|before| mark < before.mark) {
            return (Some(Self { end, mark }), true);
        }
        (of_this_end.or(Some(Self { end, mark })), false)
    }
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
        // An old list beside its successor is nothing to warn of.
        let mut newest = HashMap::new();
        for crl in snapshot.trust().crls() {
            if let Some(end) = crl.next_update() {
                let issuer = crl.issuer().to_string();
                let newest: &mut Timestamp = newest.entry(issuer.clone()).or_insert(end);
                *newest = end.max(*newest);
                let at = end.as_second();
                ends.push(CrlEnd { issuer, at });
            }
        }
        for (issuer, end) in newest {
            self.warn(&format!("crl {issuer}"), "crl", &issuer, end, now);
        }
        meters.crls_end(ends);
        let Ok(seen) = store.views().leaves_seen().await else {
            return;
        };
        // A producer that is configured no longer has nothing to renew.
        let configured = configured(snapshot);
        let mut ends = Vec::new();
        for leaf in in_use(&seen, now) {
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

    fn all(&mut self, meters: &Meters, role: &'static str, leaves: &[Certificate], now: Timestamp) {
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
        let (said, is_new) = Said::next(self.said.get(which).copied(), end, left);
        match said {
            Some(said) => drop(self.said.insert(which.to_owned(), said)),
            None => drop(self.said.remove(which)),
        }
        if is_new && left < 0 {
            tracing::error!(role, whose, ended = %format!("{end:.0}"), "a certificate has ended");
        } else if is_new {
            tracing::warn!(role, whose, days_left = left, ends = %format!("{end:.0}"), "a certificate ends soon");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_end_is_told_at_each_mark_when_it_is_reached_and_again_where_another_list_bears_the_name()
    {
        let day = |day: i64| Timestamp::from_second(day * DAY_SECONDS).unwrap();
        let mut said = None;
        for (now, end, expected) in [
            (0, 60, false),
            (32, 60, true),
            (33, 60, false),
            (53, 60, true),
            (60, 60, true),
            (61, 60, true),
            (62, 60, false),
            // Its successor, and those that come each day after that, as long as they come.
            (62, 69, false),
            (63, 70, false),
            (66, 70, false),
            (67, 70, true),
            (69, 70, true),
            (70, 70, true),
            (71, 70, true),
            (71, 200, false),
            (190, 200, true),
        ] {
            let is_new;
            (said, is_new) = Said::next(said, day(end), end - now);
            assert_eq!(is_new, expected, "day {now}, end {end}");
        }
    }

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
    fn the_leaves_that_a_producer_uses_are_watched_and_not_the_one_that_was_replaced() {
        let days = |days: i64| days * DAY_SECONDS;
        let seen = [
            leaf("a", "replaced", days(10)),
            leaf("a", "one-machine", days(20)),
            leaf("a", "another-machine", days(20) - 3600),
            leaf("silent", "only", days(1)),
        ];
        let watched: Vec<&str> = in_use(&seen, Timestamp::UNIX_EPOCH)
            .map(|leaf| &*leaf.serial)
            .collect();
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
        let watched: Vec<_> = in_use(&seen, now)
            .map(|leaf| (&*leaf.producer, &*leaf.serial))
            .collect();
        assert_eq!(
            watched,
            [("renewed", "next"), ("silent", "ended"), ("other", "its")]
        );
    }
}
