//! Room that a spool keeps for itself on its disk. To take rows out of a file, SQLite writes to its log first: a spool that had
//! filled its disk could not be emptied, nor even opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes that are kept, at most, unless deliveries may be so large that it takes more.
const BYTES_MAX: u64 = 8 << 20;
/// Bytes with which a spool can be emptied at all: a few pages in the log, and its index.
const BYTES_MIN: u64 = 96 << 10;
/// Of the largest delivery, so many times its bytes: in the log as it is and with what comes before it is moved, and in the file.
const DELIVERIES: u64 = 3;
/// Of a small disk, one part in so many.
const PART: u64 = 4;
/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4096;
/// Pages that the log may have before they are moved into the file, at most and at least.
const LOG_PAGES: (u64, u64) = (16, 1000);

/// A file beside the spool's that means nothing and takes room. That it is there, is how all who have the spool open know that it
/// may grow.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Held by whoever takes the room or gives it.
    changing: Mutex<()>,
}

impl Reserve {
    /// Of a spool that may have so many bytes, and deliveries of so many: as large as it was before, or as suits the disk. One that is
    /// too small for these deliveries counts as none.
    pub(super) fn of(spool: &Path, spool_bytes: u64, delivery_bytes: u64) -> Self {
        let path = with_ending(spool, "-reserve");
        let least = delivery_bytes
            .saturating_mul(DELIVERIES)
            .max(BYTES_MIN)
            .min(spool_bytes);
        let before = length(&path);
        let bytes = if before >= least {
            before
        } else {
            (room_beside(spool) / PART)
                .min(spool_bytes)
                .min(BYTES_MAX)
                .max(least)
        };
        Self {
            path,
            bytes,
            changing: Mutex::new(()),
        }
    }

    /// Pages that the log may have before they are moved into the file. There may be room for that only here, and for one more
    /// delivery.
    pub(super) fn log_pages(&self) -> i64 {
        let (least, most) = LOG_PAGES;
        let pages = (self.bytes / PAGE_BYTES / 3).clamp(least, most);
        i64::try_from(pages).unwrap_or(i64::MAX)
    }

    /// Bytes that the spool's file and its log may still take together, this room included, for it is given to move the one into the
    /// other. None while it is given: what grew into it could never be taken out.
    pub(super) fn room(&self) -> u64 {
        // Twice as much, so that it is not taken from the one to whom it was just given.
        if !self.is_taken() && room_beside(&self.path) / 2 >= self.bytes {
            self.take();
        }
        self.room_with(room_beside(&self.path))
    }

    /// The same, with so many bytes free beside it.
    fn room_with(&self, free: u64) -> u64 {
        if self.is_taken() {
            free.saturating_add(self.bytes)
        } else {
            0
        }
    }

    fn is_taken(&self) -> bool {
        length(&self.path) >= self.bytes
    }

    /// Takes the room, unless it is taken. Where there is too little, none of it is.
    pub(super) fn take(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_taken() {
            return;
        }
        if let Err(error) = self.fill() {
            let _none = std::fs::remove_file(self.part());
            tracing::warn!(
                reserve = %self.path.display(),
                %error,
                "the spool has no reserve, and may not grow until there is room for one: make room on its disk"
            );
        }
    }

    /// It bears its name once it is whole.
    fn part(&self) -> PathBuf {
        with_ending(&self.path, ".part")
    }

    fn fill(&self) -> io::Result<()> {
        let part = self.part();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file: File = options.open(&part)?;
        // No zeros: a file system may keep none of those.
        let piece = [0xa5; 64 << 10];
        let mut left = self.bytes;
        while left > 0 {
            let length = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            file.write_all(piece.get(..length).unwrap_or(&piece))?;
            left = left.saturating_sub(length as u64);
        }
        file.sync_all()?;
        std::fs::rename(&part, &self.path)
    }

    /// Gives the room to whoever needs it now. Whether there was any.
    pub(super) fn give(&self) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Where a kill left something half-written, that is room as well.
        let half = std::fs::remove_file(self.part()).is_ok();
        std::fs::remove_file(&self.path).is_ok() || half
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |there| there.len())
}

/// Bytes that a file there may grow by; none where that cannot be known.
fn room_beside(spool: &Path) -> u64 {
    let directory = match spool.parent() {
        Some(directory) if directory != Path::new("") => directory,
        Some(_) | None => Path::new("."),
    };
    rustix::fs::statvfs(directory).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_its_room_once_and_gives_it_once() {
        let place = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&place.path().join("spool.db"), 100_000, 10_000);
        assert!(!reserve.give());
        reserve.take();
        let file = place.path().join("spool.db-reserve");
        let taken = file.metadata().unwrap();
        assert_eq!(taken.len(), 100_000);
        reserve.take();
        let still = file.metadata().unwrap();
        assert_eq!(still.modified().unwrap(), taken.modified().unwrap());
        let after_a_start = Reserve::of(&place.path().join("spool.db"), 50_000_000, 10_000);
        assert_eq!(after_a_start.bytes, 100_000);
        assert!(reserve.give());
        assert!(!file.exists());
        let larger = Reserve::of(&place.path().join("spool.db"), 50_000_000, 10_000);
        assert_eq!((larger.bytes, larger.log_pages()), (8 << 20, 682));
    }

    #[test]
    fn what_a_kill_left_of_it_counts_as_none() {
        let place = tempfile::tempdir().unwrap();
        let spool = place.path().join("spool.db");
        let file = place.path().join("spool.db-reserve");
        std::fs::write(&file, [0xa5; 5]).unwrap();
        let reserve = Reserve::of(&spool, 1_000_000, 10_000);
        // Others write to the same disk meanwhile.
        assert!(reserve.room() >= 1_000_000);
        assert_eq!(reserve.room_with(700), 1_000_700);
        assert_eq!(length(&file), 1_000_000);
        let for_larger_deliveries = Reserve::of(&spool, 50_000_000, 1_000_000);
        assert_eq!(for_larger_deliveries.bytes, 8 << 20);
    }

    #[test]
    fn until_it_is_whole_it_bears_another_name() {
        let place = tempfile::tempdir().unwrap();
        let part = place.path().join("spool.db-reserve.part");
        // It cannot be written.
        std::fs::create_dir(&part).unwrap();
        let reserve = Reserve::of(&place.path().join("spool.db"), 100_000, 10_000);
        assert_eq!(reserve.room(), 0);
        assert!(!place.path().join("spool.db-reserve").exists());
        std::fs::remove_dir(&part).unwrap();
        std::fs::write(&part, [0xa5; 5]).unwrap();
        assert!(reserve.room() >= 100_000);
        assert!(!part.exists());
        std::fs::write(&part, [0xa5; 5]).unwrap();
        assert!(reserve.give());
        assert!(!part.exists());
    }

    #[test]
    fn where_it_can_not_be_it_is_not() {
        let place = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(
            &place.path().join("missing").join("spool.db"),
            100_000,
            10_000,
        );
        assert_eq!(reserve.log_pages(), 16);
        reserve.take();
        assert!(!reserve.give());
    }
}
