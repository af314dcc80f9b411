//! What the operator cut off by hand: a small TOML file that `countersign cutoff` writes and the receiver watches.
//!
//! It is written whole under another name and moved into place, so whoever reads it sees the old one or the new one.

use std::fmt::{self, Write as _};
use std::fs::{self, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::identity::{Producer, TenantId};
use crate::tls;
use crate::x509::{Serial, SpkiPin};

use super::context::{self, Context};
use super::fault::Findings;
use super::key::KeyPath;

/// The longest file of cut-offs.
const BYTES_MAX: usize = 1 << 20;
/// How long whoever changes the list waits for others to be done with it, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const HEAD: &str = "# Whom this receiver turned away by hand: `countersign cutoff` writes this file, and takes an entry out with --lift.\n# A change counts within a second.\n";

/// Who is cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// Certificates with this serial number, whoever issued them.
    Serial(Serial),
    /// Certificates with this key.
    Key(SpkiPin),
    /// Every producer of this tenant.
    Tenant(TenantId),
    /// One producer.
    Producer {
        /// Its tenant.
        tenant: TenantId,
        /// Its name.
        name: Box<str>,
    },
}

impl CutOff {
    /// Whether this producer is named, itself or by its tenant.
    pub fn names(&self, producer: &Producer) -> bool {
        match self {
            Self::Serial(_) | Self::Key(_) => false,
            Self::Tenant(tenant) => *tenant == producer.tenant,
            Self::Producer { tenant, name } => {
                *tenant == producer.tenant && **name == *producer.name
            }
        }
    }

    /// `serial`, `spki`, `tenant` or `producer`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Serial(_) => "serial",
            Self::Key(_) => "spki",
            Self::Tenant(_) => "tenant",
            Self::Producer { .. } => "producer",
        }
    }
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "the serial number {serial}"),
            Self::Key(pin) => write!(f, "the key {pin}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::Producer { tenant, name } => write!(f, "producer {name} of {tenant}"),
        }
    }
}

/// One cut-off, and since when it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOffEntry {
    /// Who.
    pub who: CutOff,
    /// Since when.
    pub since: Timestamp,
}

/// The file of cut-offs as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOffs {
    path: PathBuf,
    entries: Vec<CutOffEntry>,
    /// Whether it stands in a file that begins as those do that are written here.
    has_head: bool,
}

/// A file of cut-offs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CutOffFault {
    /// It cannot be read or written.
    #[error("{} cannot be {doing}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// `read`, `written` or `locked`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is gone, or there is nothing in it, while somebody is cut off.
    #[error("{} {state}, which would let in everybody who is cut off: they stay cut off", .path.display())]
    Lost {
        /// Which.
        path: PathBuf,
        /// `is gone`, or `is empty`.
        state: &'static str,
    },
    /// It is not of the form that is written here.
    #[error("{}:{line} is no list of cut-offs: {what}", .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

impl CutOffFault {
    /// What to do about it.
    pub fn mend(&self) -> String {
        let Self::File { path, source, .. } = self else {
            return "mend the file, or take it away".to_owned();
        };
        let directory = directory_of(path).display();
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&source.kind()) {
            format!("make room where {directory} is: its disk, or a quota, is full")
        } else {
            format!("run it as a user who may write in {directory}, as the receiver's own")
        }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    cut_offs: Vec<toml::Spanned<WrittenEntry>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    since: String,
    serial: Option<String>,
    spki: Option<String>,
    tenant: Option<String>,
    producer: Option<String>,
}

impl CutOffs {
    /// Reads the file; one that is not there cuts nobody off.
    pub fn read(path: &Path) -> Result<Self, CutOffFault> {
        let read = match context::read_file(path, BYTES_MAX) {
            Ok(read) => read.bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(CutOffFault::File {
                    path: path.to_owned(),
                    doing: "read",
                    source,
                });
            }
        };
        let form = |before: Option<&[u8]>, what: String| CutOffFault::Form {
            path: path.to_owned(),
            line: before.map_or(1, |before| {
                1 + before.iter().filter(|b| **b == b'\n').count()
            }),
            what,
        };
        let text = std::str::from_utf8(&read)
            .map_err(|error| form(read.get(..error.valid_up_to()), "it is not UTF-8".into()))?;
        let before = |end: usize| read.get(..end);
        let written: Written = toml::from_str(text).map_err(|error| {
            let place = error.span().and_then(|span| before(span.start));
            form(place, error.message().to_owned())
        })?;
        let entries = written.cut_offs.into_iter().map(|entry| {
            let place = before(entry.span().start);
            let meaning = entry.into_inner().meaning();
            meaning.map_err(|what| form(place, what))
        });
        Ok(Self {
            path: path.to_owned(),
            entries: entries.collect::<Result<_, _>>()?,
            has_head: text.starts_with(HEAD),
        })
    }

    /// The same while `serving` counts. A list out of which the last one was taken keeps its head: one that is gone, emptied or cut short
    /// lets nobody in.
    pub(super) fn read_beside(path: &Path, serving: &Self) -> Result<Self, CutOffFault> {
        let list = Self::read(path)?;
        if list.entries.is_empty() && !list.has_head && !serving.entries.is_empty() {
            let state = if path.exists() { "is empty" } else { "is gone" };
            return Err(CutOffFault::Lost {
                path: path.to_owned(),
                state,
            });
        }
        Ok(list)
    }

    /// Reads the file, changes what it says, and writes it if `change` says so; whoever else is about to change it waits. Gives back
    /// what the file says then.
    pub fn edit(path: &Path, change: impl FnOnce(&mut Self) -> bool) -> Result<Self, CutOffFault> {
        let _alone = lock(path).map_err(|source| CutOffFault::File {
            path: path.to_owned(),
            doing: "locked",
            source,
        })?;
        let mut list = Self::read(path)?;
        if change(&mut list) {
            list.write()?;
            list.has_head = true;
        }
        Ok(list)
    }

    /// Where it is, or will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who is cut off, the first first.
    pub fn entries(&self) -> &[CutOffEntry] {
        &self.entries
    }

    /// Whether this one is cut off.
    pub fn has(&self, who: &CutOff) -> bool {
        self.entries.iter().any(|entry| entry.who == *who)
    }

    /// Cuts one more off from `now` on, and says whether that is new.
    pub fn add(&mut self, who: CutOff, now: Timestamp) -> bool {
        let new = !self.has(&who);
        if new {
            self.entries.push(CutOffEntry { who, since: now });
        }
        new
    }

    /// Lets one in again, and says whether it was cut off.
    pub fn lift(&mut self, who: &CutOff) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.who != *who);
        self.entries.len() < before
    }

    /// Writes the file whole and durably.
    fn write(&self) -> Result<(), CutOffFault> {
        let beside = beside(&self.path, &std::process::id().to_string());
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&beside)?;
            file.write_all(self.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)?;
            fs::File::open(directory_of(&self.path))?.sync_all()
        };
        let written = write();
        if written.is_err() {
            let _never_made_or_moved = fs::remove_file(&beside);
        }
        written.map_err(|source| CutOffFault::File {
            path: self.path.clone(),
            doing: "written",
            source,
        })
    }

    /// What gate 1 is to know: serial numbers, keys, and the subjects of which no producer is left.
    pub(super) fn for_trust(&self, producers: &[std::sync::Arc<Producer>]) -> tls::CutOffs {
        let mut known = tls::CutOffs::default();
        for entry in &self.entries {
            match &entry.who {
                CutOff::Serial(serial) => known.serials.push(serial.clone()),
                CutOff::Key(pin) => known.keys.push(*pin),
                CutOff::Tenant(_) | CutOff::Producer { .. } => {}
            }
        }
        for producer in producers.iter().filter(|producer| self.cuts(producer)) {
            let mut sharing = producers
                .iter()
                .filter(|other| other.subject.matches(&producer.subject));
            if sharing.all(|other| self.cuts(other)) {
                known.subjects.push(producer.subject.clone());
            }
        }
        known
    }

    /// Whether a producer is cut off, itself or with its tenant.
    pub fn cuts(&self, producer: &Producer) -> bool {
        self.entries.iter().any(|entry| entry.who.names(producer))
    }

    /// Tells of entries that name nobody: a slip of the pen here would leave someone in who should be out.
    pub(super) fn warn_of_strangers(
        &self,
        producers: &[std::sync::Arc<Producer>],
        findings: &mut Findings,
    ) {
        let key = KeyPath::of(&["server", "cutoffs"]);
        for CutOffEntry { who, .. } in &self.entries {
            let known = match who {
                CutOff::Serial(_) | CutOff::Key(_) => true,
                CutOff::Tenant(_) | CutOff::Producer { .. } => {
                    producers.iter().any(|producer| who.names(producer))
                }
            };
            if !known {
                let what = format!(
                    "{} cuts off {who}, whom nobody configured",
                    self.path.display()
                );
                findings.warn(
                    &key,
                    what,
                    "lift it: countersign cutoff --list, then --lift",
                );
            }
        }
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for CutOffEntry { who, since } in &self.entries {
            let keys = match who {
                CutOff::Serial(serial) => format!("serial = \"{serial}\""),
                CutOff::Key(pin) => format!("spki = \"{pin}\""),
                CutOff::Tenant(tenant) => format!("tenant = {}", quoted(tenant.as_str())),
                CutOff::Producer { tenant, name } => format!(
                    "tenant = {}\nproducer = {}",
                    quoted(tenant.as_str()),
                    quoted(name)
                ),
            };
            // Writing to a String does not fail.
            let _written = write!(text, "\n[[cut_offs]]\n{keys}\nsince = \"{since:.3}\"\n");
        }
        text
    }
}

/// Where the list is. Without a place there would be nothing to write anybody into.
pub(super) fn place(written: &str, context: &mut Context<'_>) -> Option<PathBuf> {
    if written.is_empty() {
        let key = KeyPath::of(&["server", "cutoffs"]);
        let mend = "write cutoffs = \"data/cutoffs.toml\"";
        context.findings.fault(&key, "names no file", mend);
        return None;
    }
    Some(context.resolve(written))
}

/// Locks the list until the file that is returned is dropped, and makes the list's directory where there is none. The list itself is
/// replaced by each change, so what is locked lies beside it.
fn lock(path: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(directory_of(path))?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(beside(path, "lock"))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(refused) => return Err(refused.into()),
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{end}"));
    PathBuf::from(name)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            _ if c.is_control() => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl WrittenEntry {
    fn meaning(self) -> Result<CutOffEntry, String> {
        let since = self
            .since
            .parse()
            .map_err(|_no_time| format!("since = {:?} is no time", self.since))?;
        let who = match (self.serial, self.spki, self.tenant, self.producer) {
            (Some(serial), None, None, None) => CutOff::Serial(
                serial
                    .parse()
                    .map_err(|_no_serial| format!("serial = {serial:?} is no serial number"))?,
            ),
            (None, Some(spki), None, None) => CutOff::Key(
                spki.parse()
                    .map_err(|_no_pin| format!("spki = {spki:?} is no pin"))?,
            ),
            (None, None, Some(tenant), None) => CutOff::Tenant(TenantId::new(&tenant)),
            (None, None, Some(tenant), Some(name)) => CutOff::Producer {
                tenant: TenantId::new(&tenant),
                name: name.into(),
            },
            _ => {
                let each = "each entry has serial, spki, tenant, or tenant and producer";
                return Err(each.to_owned());
            }
        };
        Ok(CutOffEntry { who, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::DistinguishedName;

    #[test]
    fn a_list_is_read_as_it_was_written_and_a_lifted_entry_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/cutoffs.toml");
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let who = [
            CutOff::Serial("0a:1b".parse().unwrap()),
            CutOff::Key(format!("sha256:{}", "ab".repeat(32)).parse().unwrap()),
            CutOff::Tenant(TenantId::new("tenant-42")),
            CutOff::Producer {
                tenant: TenantId::new("a"),
                name: "pay\"ments".into(),
            },
        ];
        let list = CutOffs::edit(&path, |list| {
            for one in who.clone() {
                assert!(list.add(one.clone(), now));
                assert!(!list.add(one, now));
            }
            true
        });
        let read = CutOffs::read(&path).unwrap();
        assert_eq!(read, list.unwrap());
        let lifted = CutOffs::edit(&path, |list| {
            for one in &who {
                assert!(list.lift(one));
                assert!(!list.lift(one));
            }
            true
        });
        assert!(lifted.unwrap().entries().is_empty());
        assert!(CutOffs::read(&path).unwrap().entries().is_empty());
    }

    #[test]
    fn of_a_list_that_cannot_be_written_nothing_is_left_and_its_mend_fits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cutoffs.toml");
        fs::create_dir(&path).unwrap();
        let list = CutOffs {
            path: path.clone(),
            ..CutOffs::default()
        };
        assert!(list.write().is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        for (kind, mend) in [
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::PermissionDenied, "run it as a user"),
        ] {
            let (path, doing, source) = (path.clone(), "written", kind.into());
            let fault = CutOffFault::File {
                path,
                doing,
                source,
            };
            assert!(fault.mend().starts_with(mend), "{}", fault.mend());
        }
    }

    fn producer(tenant: &str, name: &str, subject: &str) -> std::sync::Arc<Producer> {
        std::sync::Arc::new(Producer {
            id: crate::identity::ProducerId(0),
            tenant: TenantId::new(tenant),
            name: name.into(),
            subject: DistinguishedName::parse(&format!("CN={subject}")).unwrap(),
            pins: Vec::new(),
            shadow_pins: Vec::new(),
            path: None,
            force: crate::identity::Force::Live,
        })
    }

    #[test]
    fn whom_an_entry_names_is_cut_off_and_nobody_else() {
        let producers = [
            producer("a", "p", "a-p"),
            producer("a", "q", "shared"),
            producer("b", "p", "b-p"),
            producer("b", "q", "shared"),
        ];
        let check = |who: &[&CutOff], cut: &[usize], subjects: &[&str]| {
            let mut list = CutOffs::default();
            for who in who {
                list.add((*who).clone(), Timestamp::UNIX_EPOCH);
            }
            let found: Vec<_> = (0..producers.len())
                .filter(|&at| list.cuts(&producers[at]))
                .collect();
            assert_eq!(found, cut, "{who:?}");
            let known = list.for_trust(&producers).subjects;
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            assert_eq!(known, subjects, "{who:?}");
        };
        let tenant = |tenant: &str| CutOff::Tenant(TenantId::new(tenant));
        let one = |tenant: &str, name: &str| CutOff::Producer {
            tenant: TenantId::new(tenant),
            name: name.into(),
        };
        check(&[&one("a", "p")], &[0], &["CN=a-p"]);
        check(&[&one("b", "p")], &[2], &["CN=b-p"]);
        check(&[&one("c", "p")], &[], &[]);
        // Whoever shares its subject shakes hands on, and so must this one.
        check(&[&one("a", "q")], &[1], &[]);
        check(&[&tenant("a")], &[0, 1], &["CN=a-p"]);
        check(
            &[&one("a", "q"), &one("b", "q")],
            &[1, 3],
            &["CN=shared", "CN=shared"],
        );
        check(&[&CutOff::Serial("0a".parse().unwrap())], &[], &[]);
    }

    #[test]
    fn changes_at_one_moment_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/cutoffs.toml");
        let cut = |number: u8| {
            let who = CutOff::Serial(format!("{number:02x}").parse().unwrap());
            CutOffs::edit(&path, |list| list.add(who, Timestamp::UNIX_EPOCH)).unwrap();
        };
        std::thread::scope(|scope| {
            for number in 1..=16 {
                scope.spawn(move || cut(number));
            }
        });
        assert_eq!(CutOffs::read(&path).unwrap().entries().len(), 16);
    }

    #[test]
    fn a_file_of_another_form_is_no_list() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cutoffs.toml");
        for wrong in [
            "[[cut_offs]]\nsince = \"2026-01-01T00:00:00Z\"",
            "[[cut_offs]]\nsince = \"2026-01-01T00:00:00Z\"\nproducer = \"p\"",
            "[[cut_offs]]\nsince = \"yesterday\"\ntenant = \"p\"",
            "[[cut_offs]]\nsince = \"2026-01-01T00:00:00Z\"\nserial = \"xyz\"",
            "cut_off = 1",
            "[[",
        ] {
            fs::write(&path, format!("# Whom\n{wrong}")).unwrap();
            let told = CutOffs::read(&path).unwrap_err().to_string();
            assert!(told.contains("cutoffs.toml:2 is no list"), "{told}");
        }
    }
}
