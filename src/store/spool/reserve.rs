//! Room that a spool keeps for itself on its disk. To take rows out of a file, SQLite writes to its log first: a spool that had
//! filled its disk could not be emptied, nor even opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes that are kept, at most.
const BYTES_MAX: u64 = 8 << 20;
/// Of a small disk, one part in so many.
const PART: u64 = 4;
/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4096;
/// Pages that the log may have before they are moved into the file, at most and at least.
const LOG_PAGES: (u64, u64) = (16, 1000);

/// A file beside the spool's that means nothing and takes room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// Of a spool that may have so many bytes: as large as it was before, or as suits the disk.
    pub(super) fn of(spool: &Path, spool_bytes: u64) -> Self {
        let mut path = spool.as_os_str().to_owned();
        path.push("-reserve");
        let path: PathBuf = path.into();
        let before = std::fs::metadata(&path).map_or(0, |there| there.len());
        let bytes = if before > 0 {
            before
        } else {
            (room_beside(spool) / PART).min(spool_bytes).min(BYTES_MAX)
        };
        Self { path, bytes }
    }

    /// Pages that the log may have before they are moved into the file: once there is no room for that, it grows by as much again, and
    /// all of it has to find room here.
    pub(super) fn log_pages(&self) -> i64 {
        let (least, most) = LOG_PAGES;
        let pages = (self.bytes / PAGE_BYTES / 3).clamp(least, most);
        i64::try_from(pages).unwrap_or(i64::MAX)
    }

    /// Takes the room, unless it is taken. Where there is too little, none of it is.
    pub(super) fn take(&self) {
        if self.bytes == 0 {
            return;
        }
        let taken = std::fs::metadata(&self.path).is_ok_and(|there| there.len() == self.bytes);
        if taken {
            return;
        }
        if let Err(error) = self.fill() {
            self.give();
            tracing::warn!(
                reserve = %self.path.display(),
                %error,
                "the spool has no reserve: should its disk be full, it can not be emptied before there is room"
            );
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file: File = options.open(&self.path)?;
        // No zeros: a file system may keep none of those.
        let piece = [0xa5; 64 << 10];
        let mut left = self.bytes;
        while left > 0 {
            let length = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            file.write_all(piece.get(..length).unwrap_or(&piece))?;
            left = left.saturating_sub(length as u64);
        }
        file.sync_all()
    }

    /// Gives the room to whoever needs it now. Whether there was any.
    pub(super) fn give(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }
}

/// Bytes that a file there may grow by; none where that can not be known.
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
        let reserve = Reserve::of(&place.path().join("spool.db"), 100_000);
        assert!(!reserve.give());
        reserve.take();
        let file = place.path().join("spool.db-reserve");
        let taken = file.metadata().unwrap();
        assert_eq!(taken.len(), 100_000);
        reserve.take();
        let still = file.metadata().unwrap();
        assert_eq!(still.modified().unwrap(), taken.modified().unwrap());
        let after_a_start = Reserve::of(&place.path().join("spool.db"), 50_000_000);
        assert_eq!(after_a_start.bytes, 100_000);
        assert!(reserve.give());
        assert!(!file.exists());
        let larger = Reserve::of(&place.path().join("spool.db"), 50_000_000);
        assert_eq!((larger.bytes, larger.log_pages()), (8 << 20, 682));
    }

    #[test]
    fn where_it_can_not_be_it_is_not() {
        let place = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&place.path().join("missing").join("spool.db"), 100_000);
        assert_eq!(reserve.log_pages(), 16);
        reserve.take();
        assert!(!reserve.give());
    }
}
