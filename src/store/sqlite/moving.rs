//! Moving a file's log into the file: by one at a time, and never beyond what may have got lost.

use std::io;
use std::sync::MutexGuard;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, ffi};

use super::frames::generation;
use super::place::Place;

/// The right to move a file's log, which nobody else in this process has meanwhile.
#[derive(Debug)]
pub(super) struct Moving<'a> {
    place: &'a Place,
    _alone: MutexGuard<'a, ()>,
}

/// The same, of a file that has all that was moved into it.
#[derive(Debug)]
pub(super) struct Sound<'a> {
    moving: Moving<'a>,
    held: Held,
}

/// What a log holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    pages: i64,
    moved: i64,
}

impl Held {
    /// What a move tells. Where another process was at it, or at the log's index, SQLite knows neither, and says -1.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (pages, moved) = (row.get("log")?, row.get("checkpointed")?);
        if pages < 0 || moved < 0 {
            let busy = ffi::Error::new(ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None));
        }
        Ok(Self { pages, moved })
    }

    fn left(self) -> i64 {
        self.pages.saturating_sub(self.moved)
    }
}

/// What became of a log that was to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emptied {
    /// Whether the file has all that the log held.
    pub(super) all: bool,
    /// Whether the room that it took was given back. A reader may keep it.
    pub(super) cut_off: bool,
}

impl Place {
    /// The right to move the log; `None` while another does.
    pub(super) fn moving(&self) -> Option<Moving<'_>> {
        let alone = self.unsynced().alone()?;
        Some(Moving {
            place: self,
            _alone: alone,
        })
    }

    /// The same, once nobody else does.
    pub(super) fn wait_moving(&self) -> Moving<'_> {
        Moving {
            place: self,
            _alone: self.unsynced().wait_alone(),
        }
    }

    /// Moves the log from so many pages on, unless another does. Not within a transaction.
    pub(in crate::store) fn bound_log(&self, connection: &Connection, pages: i64) {
        let sound = self
            .moving()
            // Beside another log, what this one holds may be older than the file.
            .filter(|_| self.expect().is_ok())
            .and_then(|moving| moving.made_sound(connection));
        if let Some(sound) = sound
            && sound.pages() >= pages
            && sound.left() > 0
        {
            // Nothing is lost: the log stays as it is, and what is wrong with the disk shows when it is written to.
            let _best_effort = sound.step(connection);
        }
    }

    /// Moves all that the log holds, and cuts it off. It stays where a failed sync is not mended.
    pub(in crate::store) fn empty_log(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.wait_moving().made_sound(connection) {
            Some(sound) => sound.empty(connection).map(drop),
            None => Ok(()),
        }
    }
}

impl<'a> Moving<'a> {
    /// Nothing where the file may lack what was moved into it.
    pub(super) fn if_sound(self, connection: &Connection) -> Option<Sound<'a>> {
        if self.place.unsynced().is_doubtful() {
            return None;
        }
        let held = held(connection).ok()?;
        Some(Sound { moving: self, held })
    }

    /// The same, once what a failed sync may have lost was moved again.
    pub(super) fn made_sound(self, connection: &Connection) -> Option<Sound<'a>> {
        let unsynced = self.place.unsynced();
        if unsynced.is_doubtful()
            && (unsynced.is_to_rest() || !unsynced.note_mended(self.write_again(connection)))
        {
            return None;
        }
        self.if_sound(connection)
    }

    /// Writes all that was moved into the file once more. How many frames those were.
    fn write_again(&self, connection: &Connection) -> io::Result<u64> {
        let log = self.place.open_log()?;
        let before = generation(&log)?;
        let moved = held(connection).map_err(io::Error::other)?.moved;
        // Nobody may write meanwhile: a log of which all was moved begins anew with what is written next.
        let alone = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
            .map_err(io::Error::other)?;
        let moved = if generation(&log)? == before {
            u64::try_from(moved).unwrap_or(0)
        } else {
            // It did so, after a sync that succeeded.
            0
        };
        let open = || self.place.file().open_to_write();
        self.place.unsynced().write_again(&log, moved, open)?;
        alone.rollback().map_err(io::Error::other)?;
        Ok(moved)
    }
}

impl Sound<'_> {
    /// Pages in the log.
    pub(super) fn pages(&self) -> i64 {
        self.held.pages
    }

    /// Those that are not in the file yet.
    pub(super) fn left(&self) -> i64 {
        self.held.left()
    }

    /// Moves what no reader keeps. It waits for nobody.
    pub(super) fn step(&self, connection: &Connection) -> rusqlite::Result<()> {
        let moved = connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut step| step.query_row([], |_| Ok(())));
        self.moving.place.unsynced().note(&moved);
        moved
    }

    /// Moves all, and gives back the room that the log took. It waits for readers and writers as the connection does for a lock.
    pub(super) fn empty(&self, connection: &Connection) -> rusqlite::Result<Emptied> {
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok(Emptied {
                all: Held::read(row)?.left() == 0,
                cut_off: row.get::<_, i64>("busy")? == 0,
            })
        });
        self.moving.place.unsynced().note(&emptied);
        emptied
    }
}

/// Pages in the log.
pub(super) fn pages(connection: &Connection) -> rusqlite::Result<i64> {
    held(connection).map(|held| held.pages)
}

/// Pages in the log that are not in the file yet.
pub(super) fn left(connection: &Connection) -> rusqlite::Result<i64> {
    held(connection).map(Held::left)
}

/// What the log holds, and how much of it is in the file; it takes no lock.
fn held(connection: &Connection) -> rusqlite::Result<Held> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], Held::read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures;
    use crate::store::sqlite::engine::open;

    fn io_failure() -> rusqlite::Result<()> {
        Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_IOERR_FSYNC),
            None,
        ))
    }

    /// A store of whose log one step was moved, and what is on its disk if the sync of that step failed: nothing of it.
    fn half_moved() -> (fixtures::Place, Place, Connection) {
        let site = fixtures::Place::sqlite();
        let writer = open(&site.file()).unwrap();
        let place = Place::of(&site.file());
        let before = std::fs::read(site.file()).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE mine (a); \
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
                 INSERT INTO mine SELECT randomblob(900) FROM n",
            )
            .unwrap();
        let reader = Connection::open(site.file()).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        reading
            .query_row("SELECT count(*) FROM mine", [], |_| Ok(()))
            .unwrap();
        writer.execute_batch("INSERT INTO mine VALUES (1)").unwrap();
        // No further than the reader sees, and so without a sync.
        place.bound_log(&writer, 1);
        drop(reading);
        std::fs::write(site.file(), before).unwrap();
        place.unsynced().note(&io_failure());
        (site, place, writer)
    }

    fn is_whole(site: &fixtures::Place) -> bool {
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("copy.db");
        std::fs::copy(site.file(), &file).unwrap();
        let log = crate::store::sqlite::place::log_of(&site.file());
        std::fs::copy(log, copy.path().join("copy.db-wal")).unwrap();
        let read = Connection::open(file).unwrap();
        let sound = read.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        let rows = read.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, i64>(0));
        sound == Ok("ok".to_owned()) && rows == Ok(301)
    }

    #[test]
    fn what_a_failed_sync_lost_is_moved_out_of_the_log_again() {
        let (site, place, writer) = half_moved();
        place.bound_log(&writer, 1);
        assert_eq!(left(&writer), Ok(0));
        // The log begins anew: from now on the file alone has the first step.
        writer
            .execute_batch("UPDATE mine SET a = 2 WHERE a = 1")
            .unwrap();
        assert!(is_whole(&site));
    }

    #[test]
    fn a_log_is_kept_until_what_a_failed_sync_lost_was_moved_again() {
        let (site, place, writer) = half_moved();
        let half = held(&writer).unwrap().moved;
        // While another writes, the log may be beginning anew.
        let other = Connection::open(site.file()).unwrap();
        let writing = Transaction::new_unchecked(&other, TransactionBehavior::Immediate).unwrap();
        writer.busy_timeout(std::time::Duration::ZERO).unwrap();
        place.bound_log(&writer, 1);
        place.empty_log(&writer).unwrap();
        assert!(place.unsynced().is_doubtful());
        drop(writing);
        // It was tried only just now.
        assert!(!place.move_all(&writer));
        assert_eq!(held(&writer).unwrap().moved, half);
    }

    #[test]
    fn a_log_that_was_taken_away_is_moved_again_as_well() {
        let (site, place, writer) = half_moved();
        std::fs::remove_file(crate::store::sqlite::place::log_of(&site.file())).unwrap();
        assert!(place.move_all(&writer));
        let read = Connection::open(site.file()).unwrap();
        let rows = read.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows, Ok(301));
    }

    #[test]
    fn nothing_is_moved_again_while_another_move_is_under_way() {
        let (_site, place, writer) = half_moved();
        let half = held(&writer).unwrap();
        assert!(half.left() > 0);
        let under_way = place.wait_moving();
        place.bound_log(&writer, 1);
        assert!(place.unsynced().is_doubtful());
        assert_eq!(held(&writer).unwrap().moved, half.moved);
        drop(under_way);
        place.bound_log(&writer, 1);
        assert!(!place.unsynced().is_doubtful());
    }

    #[test]
    fn a_move_that_another_was_at_has_moved_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        let told = |pages: i64, moved: i64| {
            let sql = "SELECT ?1 AS log, ?2 AS checkpointed";
            let held = connection.query_row(sql, [pages, moved], Held::read);
            held.map(Held::left).ok()
        };
        // What SQLite says while another process holds the lock for it.
        assert_eq!(told(-1, -1), None);
        assert_eq!(told(5, -1), None);
        assert_eq!((told(5, 5), told(5, 2)), (Some(0), Some(3)));
    }

    #[test]
    fn only_a_disk_that_fails_casts_doubt_on_what_was_moved() {
        let site = fixtures::Place::sqlite();
        let place = Place::of(&site.file());
        let unsynced = place.unsynced();
        unsynced.note(&Ok(()));
        // SQLITE_FULL, SQLITE_BUSY, and SQLITE_IOERR_WRITE, which a quota gives: what was not written was not lost after it was.
        for code in [13, 5, 778] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            unsynced.note::<()>(&Err(error));
        }
        assert!(!unsynced.is_doubtful());
        unsynced.note(&io_failure());
        assert!(unsynced.is_doubtful());
    }
}
