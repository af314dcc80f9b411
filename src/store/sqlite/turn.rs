//! Whose turn it is to move a file's log, among the processes that have it open.
//!
//! SQLite lets each of them do so at any moment. But that its sync failed only the process knows whose it was, and what that process
//! writes again would go over what another moves meanwhile. So one moves, for as long as it has the file open, and the others leave
//! the log to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The turn, as this process knows of it.
#[derive(Debug, Default)]
pub(super) enum Turn {
    /// It was not asked for yet, or another process has it.
    #[default]
    NotOurs,
    Ours {
        /// It is ours until this is closed. Where no file can bear the lock, nobody tells us of anybody else.
        _lock: Option<File>,
        /// Nothing is known of how the syncs of those ended who had it before.
        taken_over: bool,
    },
}

impl Turn {
    /// Asks for it where it is not ours. Whether it is.
    pub(super) fn take(&mut self, path: &Path) -> bool {
        if let Self::NotOurs = self {
            let lock = match ask(path) {
                Ok(lock) => Some(lock),
                Err(TryLockError::WouldBlock) => return false,
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(
                        store = %path.display(),
                        %error,
                        "no other process can be told that this one moves the store's log"
                    );
                    None
                }
            };
            *self = Self::Ours {
                _lock: lock,
                taken_over: true,
            };
        }
        true
    }

    /// Whether it was taken over since this was asked last.
    pub(super) fn was_taken_over(&mut self) -> bool {
        match self {
            Self::Ours { taken_over, .. } => std::mem::take(taken_over),
            Self::NotOurs => false,
        }
    }
}

/// A file of its own bears the lock: to close any way to the store's file would take away SQLite's locks on it.
fn ask(path: &Path) -> Result<File, TryLockError> {
    let lock = open(&mover_of(path)).map_err(TryLockError::Error)?;
    lock.try_lock()?;
    Ok(lock)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// It stays where it is: were it removed, two might each have the lock of one.
fn mover_of(path: &Path) -> PathBuf {
    let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mut mover = file.into_os_string();
    mover.push("-mover");
    mover.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_turn_and_begins_by_taking_it_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        let (mut first, mut second) = (Turn::default(), Turn::default());
        assert!(first.take(&file) && first.was_taken_over());
        assert!(first.take(&file) && !first.was_taken_over());
        assert!(!second.take(&file) && !second.was_taken_over());
        drop(first);
        assert!(second.take(&file) && second.was_taken_over());
    }

    #[test]
    fn where_no_file_can_tell_of_it_the_turn_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nothing").join("store.db");
        let mut turn = Turn::default();
        assert!(turn.take(&nowhere) && turn.was_taken_over());
    }
}
