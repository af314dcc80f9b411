//! What the reading of one configuration shares: findings, the environment, and every file that it names.

use std::collections::{BTreeSet, HashMap};
use std::fs::{FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::environment::{Environment, Stray};
use super::fault::Findings;
use super::key::KeyPath;
use super::watch::{Mark, Marks};

/// The longest file that is read, but for revocation lists.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// The reading of one configuration.
pub(super) struct Context<'a> {
    pub(super) findings: Findings,
    pub(super) environment: &'a Environment,
    /// Where relative paths begin.
    pub(super) base: PathBuf,
    /// Every file that was named, there or not, as it was before it was read: what a reload watches.
    pub(super) files: Marks,
    /// When the files of secrets were last written, by their references.
    pub(super) secret_files: HashMap<String, Timestamp>,
    /// Variables that secrets refer to.
    pub(super) variables: BTreeSet<String>,
    /// Variables that name no key; those that secrets refer to need not.
    pub(super) strays: Vec<Stray>,
}

impl Context<'_> {
    /// The path as seen from here.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }

    /// The path as the configuration would name it.
    pub(super) fn as_written<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.base).unwrap_or(path)
    }

    /// Reads the file that the value at `key` names, or tells why it cannot.
    pub(super) fn read(
        &mut self,
        key: &KeyPath,
        path: &Path,
        bytes_max: usize,
    ) -> Option<FileRead> {
        if path == self.base {
            let mend = "write its path; relative paths begin where the configuration file is";
            self.findings.fault(key, "names no file", mend);
            return None;
        }
        self.files.insert(path.to_owned(), Mark::of(path));
        match read_file(path, bytes_max) {
            Ok(read) => Some(read),
            Err(error) => {
                let (what, mend) = unreadable(path, &error);
                self.findings.fault(key, what, mend);
                None
            }
        }
    }
}

/// A file as it was at one moment.
pub(super) struct FileRead {
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: Metadata,
}

impl FileRead {
    /// When it was last written, as far as that can be known.
    pub(super) fn written(&self) -> Option<Timestamp> {
        Timestamp::try_from(self.metadata.modified().ok()?).ok()
    }

    /// Whether users other than its owner and group may read it.
    pub(super) fn is_open_to_others(&self) -> bool {
        self.metadata.permissions().mode() & 0o007 != 0
    }
}

/// What is left free behind a file's bytes, so that its end is found without a larger buffer.
const SPARE_BYTES: usize = 64;

/// A named pipe or the like, where a file should be.
#[derive(Debug, thiserror::Error)]
#[error("it is no file, but {what}")]
struct NoFile {
    what: &'static str,
}

impl NoFile {
    fn of(kind: FileType) -> Self {
        Self {
            what: if kind.is_fifo() {
                "a pipe"
            } else if kind.is_socket() {
                "a socket"
            } else {
                "a device"
            },
        }
    }
}

/// Reads a regular file of at most `bytes_max` bytes. It never waits for somebody who writes: a reload that did would wait for good.
pub(super) fn read_file(path: &Path, bytes_max: usize) -> io::Result<FileRead> {
    let mut options = OpenOptions::new();
    // The flags' bits are the system's own, whatever their sign.
    let at_once = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(at_once.bits().cast_signed());
    let mut file = options.read(true).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other(NoFile::of(metadata.file_type())));
    }
    // It may be a secret: a buffer that grew would leave parts of it where nothing wipes them.
    let announced = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(announced.min(bytes_max).saturating_add(SPARE_BYTES));
    let bound = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    Read::by_ref(&mut file)
        .take(bound)
        .read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(FileRead { bytes, metadata })
}

/// What an unreadable file is told as: what, and mend.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> (String, String) {
    let path = path.display();
    // Only what has a mend of its own is told apart.
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        (
            format!("{path} does not exist"),
            "make it, or name another file; relative paths begin where the configuration file is"
                .to_owned(),
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        (
            format!("{path} cannot be read by this user"),
            "let the user that runs countersign read it, and no other".to_owned(),
        )
    } else if kind == io::ErrorKind::IsADirectory {
        (
            format!("{path} is a directory"),
            "name a file in it".to_owned(),
        )
    } else if kind == io::ErrorKind::FileTooLarge {
        (
            format!("{path} is too large for what it should hold"),
            "name another file".to_owned(),
        )
    } else if let Some(NoFile { what }) = no_file(error) {
        (
            format!("{path} is no file, but {what}"),
            "put a file there, or name another one".to_owned(),
        )
    } else {
        (
            format!("{path} cannot be read ({error})"),
            "mend the cause, or name another file".to_owned(),
        )
    }
}

fn no_file(error: &io::Error) -> Option<&NoFile> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_into_one_buffer_that_never_grows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for length in [0, 1, 31, 32, 33, 4096, 65_536] {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            let read = read_file(&path, 65_536).unwrap();
            assert_eq!(read.bytes.len(), length);
            assert_eq!(read.bytes.capacity(), length + SPARE_BYTES);
        }
        assert!(read_file(&path, 65_535).is_err());
    }
}
