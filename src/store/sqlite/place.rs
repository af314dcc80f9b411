//! Where a file was when it was opened, and whether it still is: what goes into a file without a name is gone with the process.
//!
//! A file and its log belong together. Either may be moved, removed or replaced while both are open, and nothing that is
//! written to them tells.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::unsynced::Unsynced;
use crate::store::StoreFault;

/// Device and number: what tells a file from another that bears its name later.
type Identity = (u64, u64);

/// A file that is to stay the one that it was: beside its path lies its log, which SQLite would apply to another file there, or
/// throw away.
#[derive(Debug)]
pub(in crate::store) struct Lasting {
    path: PathBuf,
    file: Option<Identity>,
    /// Leads to the file wherever it is. It reads nothing, so closing it takes away none of SQLite's locks.
    #[cfg(target_os = "linux")]
    trace: Option<std::os::fd::OwnedFd>,
}

impl Lasting {
    /// The file that is at this path now.
    pub(in crate::store) fn at(path: &Path) -> Self {
        Self {
            path: path.into(),
            file: identity(path).ok().flatten(),
            #[cfg(target_os = "linux")]
            trace: {
                use rustix::fs::{Mode, OFlags, open};
                open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
            },
        }
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::store) fn is_in_place(&self) -> bool {
        self.expect().is_ok()
    }

    /// Refuses another file where there was one.
    pub(in crate::store) fn expect_if_found(&self) -> Result<(), StoreFault> {
        if self.file.is_none() {
            return Ok(());
        }
        self.expect()
    }

    /// Refuses another file at the path, and none.
    pub(in crate::store) fn expect(&self) -> Result<(), StoreFault> {
        match identity(&self.path) {
            Ok(Some(found)) if self.file == Some(found) => Ok(()),
            Ok(_) => Err(StoreFault::Displaced {
                path: self.path.clone(),
            }),
            Err(error) => Err(unseen(&self.path, error)),
        }
    }

    /// The file, wherever it is.
    fn open(&self, options: &std::fs::OpenOptions) -> io::Result<std::fs::File> {
        #[cfg(target_os = "linux")]
        if let Some(trace) = &self.trace {
            use std::os::fd::AsRawFd as _;
            return options.open(format!("/proc/self/fd/{}", trace.as_raw_fd()));
        }
        self.expect_if_found().map_err(io::Error::other)?;
        options.open(&self.path)
    }

    /// The same, to be written to.
    pub(super) fn open_to_write(&self) -> io::Result<std::fs::File> {
        self.open(std::fs::OpenOptions::new().write(true))
    }

    /// Where the file is now, if it was given another name. Of one that was removed, or copied to another disk, nothing is found.
    pub(super) fn elsewhere(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd as _;
            let trace = self.trace.as_ref()?.as_raw_fd();
            let path = std::fs::read_link(format!("/proc/self/fd/{trace}")).ok()?;
            let found = identity(&path).ok().flatten();
            (found.is_some() && found == self.file).then_some(path)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }
}

/// A file that is open for writing, and its log, as all who ask whether deliveries are taken see them.
#[derive(Debug)]
pub(in crate::store) struct Place {
    file: Lasting,
    log: Mutex<Arc<Lasting>>,
    /// Whether all that the log holds was found to be in the file as well.
    moved: AtomicBool,
    /// Whether the writer waits for a lock.
    locked: AtomicBool,
    unsynced: Arc<Unsynced>,
}

impl Place {
    /// Of a file and a log that are there, and that nobody else in this process has open for writing.
    pub(in crate::store) fn of(path: &Path) -> Self {
        Self::beside(path, Arc::new(Unsynced::of(path)))
    }

    /// The same, beside others who know this of its last sync.
    pub(in crate::store) fn beside(path: &Path, unsynced: Arc<Unsynced>) -> Self {
        Self {
            file: Lasting::at(path),
            log: Mutex::new(Arc::new(Lasting::at(&log_of(path)))),
            moved: AtomicBool::new(false),
            locked: AtomicBool::new(false),
            unsynced,
        }
    }

    /// What is known of the file's last sync.
    pub(in crate::store) fn unsynced(&self) -> &Arc<Unsynced> {
        &self.unsynced
    }

    /// The log, wherever it is.
    pub(super) fn open_log(&self) -> io::Result<std::fs::File> {
        self.log().open(std::fs::OpenOptions::new().read(true))
    }

    pub(in crate::store) fn file(&self) -> &Lasting {
        &self.file
    }

    /// Nobody waits for it while another looks at the disk.
    fn log(&self) -> Arc<Lasting> {
        Arc::clone(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file was opened again.
    pub(in crate::store) fn opened_again(&self) {
        let log = Arc::new(Lasting::at(&log_of(self.file.path())));
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log;
        self.moved.store(false, Ordering::Release);
    }

    /// Moves what a log that was taken away holds into the file, which is in its place. Whether all of it is there.
    ///
    /// Of a log that has no name any more, this may be done only until all was moved: what others write from then on is in
    /// another log, and whoever looked for it in this one would write old pages over new ones.
    pub(in crate::store) fn move_all(&self, connection: &Connection) -> bool {
        let moving = self.wait_moving();
        // Only now: another connection of ours may have done it meanwhile.
        let before = self.moved.load(Ordering::Acquire);
        let moved = match moving.made_sound(connection) {
            Some(sound) if !before || sound.left() == 0 => {
                sound.empty(connection).is_ok_and(|emptied| emptied.all)
            }
            Some(_) | None => false,
        };
        self.moved.store(moved || before, Ordering::Release);
        moved || before
    }

    pub(super) fn locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Release);
    }

    /// Refuses to write while the file or its log is not where it was.
    pub(in crate::store) fn expect(&self) -> Result<(), StoreFault> {
        self.file.expect()?;
        self.expect_log()
    }

    /// The same, of the log alone.
    pub(in crate::store) fn expect_log(&self) -> Result<(), StoreFault> {
        let log = self.log();
        match log.expect_if_found() {
            Err(StoreFault::Displaced { path }) => Err(StoreFault::LogDisplaced {
                path: self.file.path().into(),
                log: path,
                moved: self.moved.load(Ordering::Acquire),
            }),
            Ok(()) => {
                // What is written to it from now on is in no file yet, should it be taken away again.
                self.moved.store(false, Ordering::Release);
                Ok(())
            }
            Err(unseen) => Err(unseen),
        }
    }

    /// Removes the log, the very one, where the file is gone: SQLite leaves it then.
    pub(super) fn remove_a_log_alone(&self) {
        let log = self.log();
        let is_alone = matches!(identity(self.file.path()), Ok(None)) && log.is_in_place();
        if is_alone && let Err(error) = std::fs::remove_file(log.path()) {
            tracing::warn!(
                log = %log.path().display(),
                %error,
                "nothing that is needed is in this log, and it could not be removed"
            );
        }
    }

    /// Whether the writer waits for another's lock just now.
    pub(in crate::store) fn expect_unlocked(&self) -> Result<(), StoreFault> {
        if self.locked.load(Ordering::Acquire) {
            return Err(StoreFault::Locked {
                path: self.file.path().into(),
            });
        }
        Ok(())
    }
}

/// Where SQLite writes first: beside the file itself, whatever links lead there.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mut log = file.into_os_string();
    log.push("-wal");
    log.into()
}

/// Bytes that files may grow by on the disk of the one at this path, if that can be known.
pub(in crate::store) fn room_beside(path: &Path) -> Option<u64> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        Some(_) | None => Path::new("."),
    };
    let disk = rustix::fs::statvfs(directory).ok()?;
    // Some that are served from elsewhere do not say.
    if disk.f_blocks == 0 {
        return None;
    }
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What is at a path, if anything is.
pub(in crate::store) fn found(path: &Path) -> Result<Option<std::fs::Metadata>, StoreFault> {
    seen(path).map_err(|error| unseen(path, error))
}

/// What is at the path of a store that must be there.
pub(super) fn store_at(path: &Path) -> Result<std::fs::Metadata, StoreFault> {
    match found(path)? {
        Some(found) => Ok(found),
        None => {
            refuse_a_log_alone(path)?;
            Err(StoreFault::NoStore { path: path.into() })
        }
    }
}

/// Beside an empty file SQLite would throw it away. One that is empty still tells that there was a store.
pub(in crate::store) fn refuse_a_log_alone(path: &Path) -> Result<(), StoreFault> {
    let log = log_of(path);
    if found(path)?.is_none() && found(&log)?.is_some() {
        return Err(StoreFault::LogAlone {
            path: path.into(),
            log,
        });
    }
    Ok(())
}

/// Why it is not known what is at a path.
pub(in crate::store) fn unseen(path: &Path, error: io::Error) -> StoreFault {
    let path = path.into();
    let of_the_disk = rustix::io::Errno::from_io_error(&error).is_some_and(|error| {
        // A file system that shut itself down says one or the other.
        error == rustix::io::Errno::IO || error == rustix::io::Errno::SHUTDOWN
    });
    if of_the_disk {
        return StoreFault::DiskFails {
            path,
            source: error,
        };
    }
    StoreFault::Unopenable {
        path,
        source: error.into(),
    }
}

fn seen(path: &Path) -> io::Result<Option<std::fs::Metadata>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<Option<Identity>> {
    Ok(seen(path)?.map(|metadata| (metadata.dev(), metadata.ino())))
}
