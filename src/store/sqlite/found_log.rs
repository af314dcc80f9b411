//! A log that is found when a file is opened: all of it is made durable before anything is written behind it.
//!
//! A sync of the log that failed leaves its frames whole in the system's cache and, it may be, not on the disk; the sender was told
//! so, and whoever told it may be gone. SQLite takes each whole frame that it finds for a committed one. What is acknowledged behind
//! it would be lost if the power went: there the log would end before it. The system does not write again what it believes to be
//! written, so each frame is written over itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::errors::fault;
use super::frames::{Pieces, generation};
use super::moving::pages;
use super::place::{log_of, unseen};
use crate::store::StoreFault;

/// Sees to it that what the log of this connection holds is on the disk, and the log's name too.
pub(super) fn make_durable(path: &Path, connection: &Connection) -> Result<(), StoreFault> {
    let of_sqlite = |error| fault(path, error);
    let log = log_of(path);
    let of_the_disk = |error| unseen(&log, error);
    if pages(connection).map_err(of_sqlite)? > 0 {
        let found = OpenOptions::new().read(true).write(true).open(&log);
        let found = found.map_err(of_the_disk)?;
        let first = generation(&found).map_err(of_the_disk)?;
        // Of this very log, however it was before.
        let frames = u64::try_from(pages(connection).map_err(of_sqlite)?).unwrap_or(0);
        let mut pieces = Pieces::of(&found, frames).map_err(of_the_disk)?;
        loop {
            // Nobody may write meanwhile, or old frames would go over new ones; and nobody has to wait for all of it.
            let alone = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
                .map_err(of_sqlite)?;
            // One that began anew did so when all of it was in the file.
            let is_the_same = generation(&found).map_err(of_the_disk)? == first;
            let more = is_the_same && pieces.write_next_over(&found).map_err(of_the_disk)?;
            alone.rollback().map_err(of_sqlite)?;
            if !more {
                break;
            }
        }
        found.sync_all().map_err(of_the_disk)?;
    }
    sync_directory(&log).map_err(of_the_disk)
}

/// SQLite does so as well, and does not look whether it succeeds.
fn sync_directory(log: &Path) -> io::Result<()> {
    let Some(Ok(directory)) = log.parent().map(File::open) else {
        return Ok(());
    };
    match directory.sync_all() {
        // Some systems have no such sync.
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rusqlite::config::DbConfig;

    use super::*;
    use crate::store::fixtures::Place;
    use crate::store::sqlite::engine::open;

    #[test]
    fn what_a_log_holds_that_is_found_is_written_once_more_and_stays_what_it_was() {
        let site = Place::sqlite();
        let first = open(&site.file()).unwrap();
        let left = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        first.set_db_config(left, true).unwrap();
        let write = "CREATE TABLE mine (a); INSERT INTO mine VALUES (randomblob(1000000))";
        first.execute_batch(write).unwrap();
        drop(first);
        let log = log_of(&site.file());
        let before = std::fs::read(&log).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        let file = OpenOptions::new().write(true).open(&log).unwrap();
        file.set_modified(long_ago).unwrap();
        drop(file);
        let second = open(&site.file()).unwrap();
        assert_ne!(
            std::fs::metadata(&log).unwrap().modified().unwrap(),
            long_ago
        );
        assert!(std::fs::read(&log).unwrap() == before);
        let held = second.query_row("SELECT length(a) FROM mine", [], |row| row.get(0));
        assert_eq!(held, Ok(1_000_000));
    }
}
