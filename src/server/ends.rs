//! Ends that come near: told in the metrics at every look, and in the log at some days before each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::certificates::{DAY_SECONDS, configured, whose};
use crate::config::Snapshot;
use crate::store::{LeafSeen, Store};
use crate::telemetry::{CertificateEnd, CrlEnd, Meters};
use crate::tls::TrustWarning;
use crate::x509::Certificate;

/// Days before an end at which it is said once more.
const DAYS: [i64; 6] = [28, 14, 7, 3, 1, 0];
/// The mark behind them.
const ENDED: i64 = -1;
/// How often ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Which ends have been warned of, and how near they were.
#[derive(Default)]
pub(super) struct Warnings {
    looked: Option<Instant>,
    generation: u64,
    said: HashMap<String, Said>,
    told: Vec<TrustWarning>,
}

/// Something that ends.
struct Ending<'a> {
    /// What tells it from all others.
    which: &'a str,
    role: &'static str,
    whose: &'a str,
    /// A CRL has none.
    serial: Option<&'a str>,
    end: Timestamp,
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
            let ending = Ending {
                which: &format!("crl {issuer}"),
                role: "crl",
                whose: &issuer,
                serial: None,
                end,
            };
            self.warn(&ending, now);
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
            let ending = Ending {
                which: &leaf.sha256,
                role: "client",
                whose: &whose,
                serial: Some(&leaf.serial),
                end,
            };
            self.warn(&ending, now);
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
            let (subject, serial) = (leaf.subject().to_string(), leaf.serial().to_string());
            let ending = Ending {
                which: &leaf.sha256().to_string(),
                role,
                whose: &subject,
                serial: Some(&serial),
                end,
            };
            self.warn(&ending, now);
            ends.push(CertificateEnd {
                subject,
                serial,
                producer: String::new(),
                at: end.as_second(),
            });
        }
        meters.certificates_end(role, ends);
    }

    fn warn(&mut self, ending: &Ending<'_>, now: Timestamp) {
        let Ending {
            which,
            role,
            whose,
            serial,
            end,
        } = *ending;
        let left = (end.as_second() - now.as_second()).div_euclid(DAY_SECONDS);
        let (said, is_new) = Said::next(self.said.get(which).copied(), end, left);
        match said {
            Some(said) => drop(self.said.insert(which.to_owned(), said)),
            None => drop(self.said.remove(which)),
        }
        if is_new && left < 0 {
            tracing::error!(role, whose, serial, ended = %format!("{end:.0}"), "a certificate has ended");
        } else if is_new {
            tracing::warn!(role, whose, serial, days_left = left, ends = %format!("{end:.0}"), "a certificate ends soon");
        }
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
