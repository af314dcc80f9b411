//! The book of refusals: a bounded table in memory, with what changed since it was last written down.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{ClaimedProducer, Gate, Refusal, kept};
use crate::inbox::digest16;

/// All refusals of one gate, reason, subject and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// 128 bits that stand for gate, reason, subject and address.
    pub key: [u8; 16],
    /// The gate that stayed shut.
    pub gate: Gate,
    /// The handshake's reason or the problem's name.
    pub reason: Box<str>,
    /// The claimed subject.
    pub subject: Option<Box<str>>,
    /// The issuer, as last claimed.
    pub issuer: Option<Box<str>>,
    /// The serial number, as last claimed.
    pub serial: Option<Box<str>>,
    /// The peer's address.
    pub address: IpAddr,
    /// The SNI, as last sent.
    pub server_name: Option<Box<str>>,
    /// Whom the subject names.
    pub producer: Option<ClaimedProducer>,
    /// More about the last one, for the operator.
    pub detail: Option<Box<str>>,
    /// When the first one was.
    pub first_seen: Timestamp,
    /// When the last one was.
    pub last_seen: Timestamp,
    /// How many there were.
    pub count: u64,
}

/// A group that changed since it was last drained.
#[derive(Clone, Debug)]
pub struct Change {
    /// The group as it is now.
    pub group: Group,
    /// How many refusals came to it since; a store adds this, so that several receivers can share one table.
    pub added: u64,
}

/// The book: see the room.
#[derive(Debug)]
pub struct Book {
    pages: Mutex<Pages>,
    changed: Notify,
    groups_max: usize,
}

#[derive(Debug, Default)]
struct Pages {
    groups: HashMap<[u8; 16], Entry>,
    /// Groups from the longest silent to the latest, strangers before claimed producers.
    silence: BTreeMap<(Kind, u64), [u8; 16]>,
    clock: u64,
    dirty: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Stranger,
    Claimed,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    added: u64,
    touched: u64,
}

impl Entry {
    fn place(&self) -> (Kind, u64) {
        (
            if self.group.producer.is_some() {
                Kind::Claimed
            } else {
                Kind::Stranger
            },
            self.touched,
        )
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new(Self::GROUPS_MAX)
    }
}

impl Book {
    /// How many groups the book holds unless told otherwise.
    pub const GROUPS_MAX: usize = 10_000;

    /// An empty book of at most `groups_max` groups.
    pub fn new(groups_max: usize) -> Self {
        Self {
            pages: Mutex::new(Pages::default()),
            changed: Notify::new(),
            groups_max: groups_max.max(1),
        }
    }

    /// Notes a refusal, and returns how many its group has now.
    pub fn record(&self, refusal: Refusal) -> u64 {
        let subject = refusal.subject.as_deref().map(kept);
        let key = key(
            refusal.gate,
            refusal.reason,
            subject.as_deref(),
            refusal.address,
        );
        let mut pages = self.lock();
        let (before, mut entry) = match pages.take(&key) {
            Some(entry) => (entry.added, entry),
            None => {
                pages.make_room(self.groups_max);
                let group = Group {
                    key,
                    gate: refusal.gate,
                    reason: refusal.reason.into(),
                    subject,
                    issuer: None,
                    serial: None,
                    address: refusal.address,
                    server_name: None,
                    producer: None,
                    detail: None,
                    first_seen: refusal.at,
                    last_seen: refusal.at,
                    count: 0,
                };
                (
                    0,
                    Entry {
                        group,
                        added: 0,
                        touched: 0,
                    },
                )
            }
        };
        let group = &mut entry.group;
        group.issuer = refusal.issuer.as_deref().map(kept);
        group.serial = refusal.serial.as_deref().map(kept);
        group.server_name = refusal.server_name.as_deref().map(kept);
        group.detail = refusal.detail.as_deref().map(kept);
        group.producer = refusal.producer;
        group.first_seen = group.first_seen.min(refusal.at);
        group.last_seen = group.last_seen.max(refusal.at);
        group.count = group.count.saturating_add(1);
        let count = group.count;
        entry.added = before.saturating_add(1);
        if before == 0 {
            if pages.dirty == 0 {
                self.changed.notify_one();
            }
            pages.dirty = pages.dirty.saturating_add(1);
        }
        pages.put(entry);
        count
    }

    /// Resolves once something is recorded while all before it is drained. For one who waits; what is restored is nothing new.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes up groups that were written down in an earlier life, as far as there is room; they are not dirty.
    pub fn load(&self, groups: impl IntoIterator<Item = Group>) {
        let mut pages = self.lock();
        for group in groups {
            if pages.groups.len() < self.groups_max && !pages.groups.contains_key(&group.key) {
                pages.put(Entry {
                    group,
                    added: 0,
                    touched: 0,
                });
            }
        }
    }

    /// At most `groups_max` of the groups that changed since they were last drained, claimed producers and the latest
    /// first. What is drained counts as written down: give it back with [`Book::restore`] if that fails.
    pub fn drain_dirty(&self, groups_max: usize) -> Vec<Change> {
        let mut pages = self.lock();
        if pages.dirty == 0 {
            return Vec::new();
        }
        let keys: Vec<[u8; 16]> = pages
            .silence
            .values()
            .rev()
            .filter(|key| pages.groups.get(*key).is_some_and(|entry| entry.added > 0))
            .take(groups_max)
            .copied()
            .collect();
        let mut changes = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(entry) = pages.groups.get_mut(&key) {
                changes.push(Change {
                    group: entry.group.clone(),
                    added: std::mem::take(&mut entry.added),
                });
            }
        }
        pages.dirty = pages.dirty.saturating_sub(changes.len());
        changes
    }

    /// Whether nothing has changed since it was last drained.
    pub fn drain_is_done(&self) -> bool {
        self.lock().dirty == 0
    }

    /// Gives back changes that could not be written down.
    pub fn restore(&self, changes: Vec<Change>) {
        let mut pages = self.lock();
        for change in changes {
            let mut newly_dirty = false;
            if let Some(entry) = pages.groups.get_mut(&change.group.key) {
                newly_dirty = entry.added == 0 && change.added > 0;
                entry.added = entry.added.saturating_add(change.added);
            }
            if newly_dirty {
                pages.dirty = pages.dirty.saturating_add(1);
            }
        }
    }

    /// Every group, the latest first.
    pub fn snapshot(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .lock()
            .groups
            .values()
            .map(|entry| entry.group.clone())
            .collect();
        groups.sort_by(|a, b| {
            b.last_seen
                .cmp(&a.last_seen)
                .then_with(|| b.key.cmp(&a.key))
        });
        groups
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.lock().groups.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn take(&mut self, key: &[u8; 16]) -> Option<Entry> {
        let entry = self.groups.remove(key)?;
        self.silence.remove(&entry.place());
        Some(entry)
    }

    fn put(&mut self, mut entry: Entry) {
        self.clock = self.clock.saturating_add(1);
        entry.touched = self.clock;
        let key = entry.group.key;
        self.silence.insert(entry.place(), key);
        self.groups.insert(key, entry);
    }

    fn make_room(&mut self, groups_max: usize) {
        while self.groups.len() >= groups_max {
            let Some((_, key)) = self.silence.pop_first() else {
                return;
            };
            if self
                .groups
                .remove(&key)
                .is_some_and(|entry| entry.added > 0)
            {
                self.dirty = self.dirty.saturating_sub(1);
            }
        }
    }
}

fn key(gate: Gate, reason: &str, subject: Option<&str>, address: IpAddr) -> [u8; 16] {
    let address = address.to_canonical().to_string();
    let parts = [
        gate.as_str(),
        reason,
        if subject.is_some() { "s" } else { "" },
        subject.unwrap_or(""),
        &address,
    ];
    digest16(&parts.map(str::as_bytes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn refusal(subject: &str, last: u8, second: i64) -> Refusal {
        Refusal {
            gate: Gate::Handshake,
            reason: "expired",
            subject: Some(subject.to_owned()),
            issuer: None,
            serial: None,
            address: Ipv4Addr::new(192, 0, 2, last).into(),
            server_name: None,
            producer: None,
            detail: None,
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn claimed(subject: &str, second: i64) -> Refusal {
        let producer = ClaimedProducer {
            tenant_id: "tenant-42".into(),
            name: "payments-provider".into(),
        };
        Refusal {
            producer: Some(producer),
            ..refusal(subject, 1, second)
        }
    }

    #[test]
    fn refusals_of_one_reason_subject_and_address_are_one_group() {
        let book = Book::new(10);
        assert_eq!(book.record(refusal("CN=a", 1, 5)), 1);
        assert_eq!(book.record(refusal("CN=a", 1, 3)), 2);
        book.record(refusal("CN=a", 2, 9));
        book.record(refusal("CN=b", 1, 1));
        let groups = book.snapshot();
        assert_eq!(
            groups.iter().map(|group| group.count).collect::<Vec<_>>(),
            [1, 2, 1]
        );
        assert_eq!(groups[1].first_seen.as_second(), 3);
        assert_eq!(groups[1].last_seen.as_second(), 5);
    }

    #[test]
    fn a_flood_of_random_subjects_drives_out_strangers_before_a_lapsed_producer() {
        let book = Book::new(100);
        book.record(claimed("CN=payments-provider", 1));
        for number in 0..10_000 {
            book.record(refusal(&format!("CN={number}"), 7, 2));
        }
        assert_eq!(book.groups(), 100);
        let groups = book.snapshot();
        assert!(
            groups
                .iter()
                .any(|group| group.subject.as_deref() == Some("CN=payments-provider"))
        );
        assert!(
            groups
                .iter()
                .any(|group| group.subject.as_deref() == Some("CN=9999"))
        );
        assert!(
            !groups
                .iter()
                .any(|group| group.subject.as_deref() == Some("CN=1"))
        );
        assert_eq!(book.drain_dirty(1000).len(), 100);
    }

    #[test]
    fn a_drain_gives_each_refusal_once_and_a_restore_gives_it_again() {
        let book = Book::new(10);
        book.record(refusal("CN=a", 1, 1));
        book.record(refusal("CN=a", 1, 2));
        book.record(refusal("CN=b", 1, 3));
        let first = book.drain_dirty(1);
        assert_eq!(
            (
                first.len(),
                first[0].group.subject.as_deref(),
                first[0].added
            ),
            (1, Some("CN=b"), 1)
        );
        let second = book.drain_dirty(10);
        assert_eq!((second.len(), second[0].added), (1, 2));
        assert!(book.drain_dirty(10).is_empty());
        book.restore(second);
        book.record(refusal("CN=a", 1, 4));
        let again = book.drain_dirty(10);
        assert_eq!(
            (again.len(), again[0].added, again[0].group.count),
            (1, 3, 3)
        );
    }

    #[tokio::test]
    async fn whoever_waits_is_told_of_the_first_change_after_a_drain() {
        let book = Book::default();
        let is_told = async || timeout(Duration::ZERO, book.changed()).await.is_ok();
        assert!(!is_told().await);
        for number in 0..3 {
            book.record(refusal("CN=a", 1, number));
        }
        assert!(is_told().await);
        assert!(!is_told().await);
        let drained = book.drain_dirty(10);
        book.restore(drained);
        assert!(!is_told().await);
        let _drained = book.drain_dirty(10);
        book.record(refusal("CN=a", 1, 3));
        assert!(is_told().await);
    }

    #[test]
    fn a_loaded_group_goes_on_counting() {
        let book = Book::new(10);
        book.record(refusal("CN=a", 1, 1));
        let groups = book.snapshot();
        let next = Book::new(10);
        next.load(groups);
        assert!(next.drain_dirty(10).is_empty());
        assert_eq!(next.record(refusal("CN=a", 1, 2)), 2);
    }

    #[test]
    fn what_is_loaded_finds_no_more_room_than_there_is_and_displaces_nothing() {
        let earlier = Book::new(10);
        for (subject, second) in [("CN=a", 1), ("CN=b", 2), ("CN=c", 3)] {
            earlier.record(refusal(subject, 1, second));
        }
        let book = Book::new(2);
        book.record(refusal("CN=c", 1, 9));
        book.load(earlier.snapshot());
        let groups = book.snapshot();
        let subjects: Vec<_> = groups.iter().map(|one| one.subject.as_deref()).collect();
        assert_eq!(subjects, [Some("CN=c"), Some("CN=b")]);
        assert_eq!(groups[0].last_seen.as_second(), 9);
        assert_eq!(book.drain_dirty(10).len(), 1);
    }

    #[test]
    fn a_drain_is_done_though_what_was_to_be_drained_was_driven_out() {
        let book = Book::new(1);
        book.record(refusal("CN=a", 1, 1));
        book.record(refusal("CN=b", 1, 2));
        assert!(!book.drain_is_done());
        assert_eq!(book.drain_dirty(10).len(), 1);
        assert!(book.drain_is_done());
        book.record(refusal("CN=c", 1, 3));
        assert!(!book.drain_is_done());
    }
}
