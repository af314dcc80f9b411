//! A clock that jumps, for one process: libfaketime between it and the system's.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A process's wall clock. Its other clocks go on as they do when a real one is set.
pub(crate) struct Clock {
    directory: TempDir,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right; `None`, after saying so loudly, where there is no libfaketime; under CI that is a failure.
    pub(crate) fn right() -> Option<Self> {
        let Some(library) = library() else {
            let lack = "no libfaketime: install it (Debian: apt-get install libfaketime)";
            assert!(std::env::var_os("CI").is_none(), "{lack}");
            eprintln!("\n*** NOT TESTED: {lack} ***\n");
            return None;
        };
        let clock = Self {
            directory: tempfile::tempdir().unwrap(),
            library,
        };
        clock.jump(0);
        Some(clock)
    }

    /// The environment of a process that goes by this clock.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            // In seconds. To look at the file each time, under the library's lock, holds up all threads of a busy machine.
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }

    /// Within a second it is ahead of the system's by so many seconds, or behind.
    pub(crate) fn jump(&self, seconds: i64) {
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        // In one step: the process reads it at any moment.
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }
}

/// Debian has it below its architecture's name.
fn library() -> Option<PathBuf> {
    let libraries = Path::new("/usr/lib");
    let architectures = fs::read_dir(libraries).ok()?.flatten();
    architectures
        .map(|entry| entry.path())
        .chain([libraries.to_owned()])
        .map(|place| place.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
}
