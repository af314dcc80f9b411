//! Notices that a file of the configuration has changed.
//!
//! It looks at the files themselves (inode, size, times, through every symbolic link), four times a second. So a Kubernetes
//! secret's symlink swap, an editor's rename, and a file system that tells nothing are all the same. The system is not
//! asked to tell of their directories: the store may lie in one of them, and would pay for each page that it writes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the files must be as they are before that counts: whoever writes several is given the time.
const SETTLED_AFTER: Duration = Duration::from_millis(300);
/// How long that may take at most.
const SETTLED_AT_LAST: Duration = Duration::from_secs(2);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    /// The file as it is now, through every symbolic link; none where there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path)
            .ok()
            .map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Mark {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Files, and how each was when it was last read.
pub(super) type Marks = BTreeMap<PathBuf, Option<Mark>>;

/// The files that are in use, shared between who reads and who watches.
#[derive(Clone, Debug)]
pub(super) struct InUse(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    marks: Marks,
    /// The cut-offs: always replaced as a whole, and to count at once.
    whole: PathBuf,
}

impl InUse {
    pub(super) fn new(marks: Marks, whole: &Path) -> Self {
        let whole = whole.to_owned();
        Self(Arc::new(Mutex::new(Files { marks, whole })))
    }

    fn now(&self) -> (Marks, PathBuf) {
        let files = self.lock();
        (files.marks.clone(), files.whole.clone())
    }

    /// These files were read, and no others are in use.
    pub(super) fn replace(&self, marks: Marks, whole: &Path) {
        let whole = whole.to_owned();
        *self.lock() = Files { marks, whole };
    }

    /// These files were read or looked at; others stay in use.
    pub(super) fn update(&self, marks: Marks) {
        self.lock().marks.extend(marks);
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the files of a configuration: those that are named in it, and itself.
#[derive(Debug)]
pub struct Watch {
    files: InUse,
}

impl Watch {
    pub(super) fn new(files: InUse) -> Self {
        Self { files }
    }

    /// Waits until a file has changed since it was last read, and has settled; a cut-off waits for nothing. May be dropped at any time.
    pub async fn changed(&self) {
        loop {
            let (before, whole) = self.files.now();
            let now = look(before.keys().cloned()).await;
            if now != before {
                // Another file that changes as well keeps nobody in: if it goes on changing, that is noticed again.
                let settled = if now.get(&whole) != before.get(&whole) {
                    now
                } else {
                    self.settled(now).await
                };
                self.files.update(settled);
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks until two looks in a row are the same, or it has taken long enough.
    async fn settled(&self, first: Marks) -> Marks {
        let at_last = Instant::now() + SETTLED_AT_LAST;
        let mut before = first;
        loop {
            sleep_until((Instant::now() + SETTLED_AFTER).min(at_last)).await;
            let now = look(before.keys().cloned()).await;
            if now == before || Instant::now() >= at_last {
                return now;
            }
            before = now;
        }
    }
}

/// Looks at files off the runtime's threads: they may lie on a network.
async fn look(files: impl Iterator<Item = PathBuf> + Send) -> Marks {
    let files: Vec<PathBuf> = files.collect();
    let looked = tokio::task::spawn_blocking(move || {
        files
            .into_iter()
            .map(|file| {
                let mark = Mark::of(&file);
                (file, mark)
            })
            .collect()
    });
    looked.await.unwrap_or_default()
}
