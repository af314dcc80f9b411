//! Files that are written whole or not at all: keys readable by their owner alone, and nothing overwritten by accident.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CaFault;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    ByOwner,
    ByAll,
}

/// Makes a file that must not exist yet. A crash leaves either all of it or nothing under its name.
pub(super) fn create(path: &Path, readable: Readable, contents: &[u8]) -> Result<(), CaFault> {
    let temporary = write_beside(path, readable, contents)?;
    let linked = match fs::hard_link(&temporary, path) {
        // Some file systems know no links. There, `create_new` still overwrites nothing.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            open_new(path, readable).and_then(|file| write_and_sync(file, contents))
        }
        linked => linked,
    };
    let removed = fs::remove_file(&temporary);
    match linked.and(removed) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CaFault::Exists { path: path.into() })
        }
        Err(source) => Err(unwritable(path, source)),
    }
}

/// Writes a file anew, in one step: whoever reads it sees the old contents or the new.
pub(super) fn replace(path: &Path, contents: &[u8]) -> Result<(), CaFault> {
    let temporary = write_beside(path, Readable::ByAll, contents)?;
    fs::rename(&temporary, path).map_err(|source| unwritable(path, source))?;
    sync_directory(path)
}

/// Fails if the file exists, before any work is done for it.
pub(super) fn must_be_new(path: &Path) -> Result<(), CaFault> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(CaFault::Exists { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(unwritable(path, source)),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CaFault> {
    fs::read(path).map_err(|source| CaFault::File {
        path: path.into(),
        done: "read",
        source,
    })
}

pub(super) fn unwritable(path: &Path, source: io::Error) -> CaFault {
    CaFault::File {
        path: path.into(),
        done: "written",
        source,
    }
}

fn write_beside(path: &Path, readable: Readable, contents: &[u8]) -> Result<PathBuf, CaFault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left behind by a crash of a process that had this number.
    let _ = fs::remove_file(&temporary);
    let file = open_new(&temporary, readable).map_err(|source| unwritable(path, source))?;
    match write_and_sync(file, contents) {
        Ok(()) => Ok(temporary),
        Err(source) => {
            let _ = fs::remove_file(&temporary);
            Err(unwritable(path, source))
        }
    }
}

fn open_new(path: &Path, readable: Readable) -> io::Result<File> {
    let mode = match readable {
        Readable::ByOwner => 0o600,
        Readable::ByAll => 0o644,
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

fn write_and_sync(mut file: File, contents: &[u8]) -> io::Result<()> {
    file.write_all(contents)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), CaFault> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| unwritable(path, source))
}
