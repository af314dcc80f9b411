//! The frames of a log, as they lie in its file (SQLite's file format, section 4).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::FileExt as _;

/// Bytes before the log's first frame, and before the page in each frame.
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: u64 = 24;
/// Bytes that are written over themselves at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What tells a log from the one that begins anew in the same file. Of an empty one it is empty as well.
pub(super) fn generation(log: &File) -> io::Result<[u8; LOG_HEADER_BYTES]> {
    let mut header = [0; LOG_HEADER_BYTES];
    match log.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(header),
    }
}

/// Writes the last of each page among the log's first frames into the file.
pub(super) fn copy(log: &File, file: &File, frames: u64) -> io::Result<()> {
    if frames == 0 {
        return Ok(());
    }
    let page_bytes = page_bytes(log)?;
    let mut last = HashMap::new();
    for frame in 0..frames {
        last.insert(number(log, frame_at(frame, page_bytes))?, frame);
    }
    let mut page = vec![0; usize::try_from(page_bytes).map_err(Error::other)?];
    for (number, frame) in last {
        let Some(before) = number.checked_sub(1) else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a page of SQLite's log has no number",
            ));
        };
        let page_at = frame_at(frame, page_bytes).saturating_add(FRAME_HEADER_BYTES);
        log.read_exact_at(&mut page, page_at)?;
        file.write_all_at(&page, u64::from(before).saturating_mul(page_bytes))?;
    }
    Ok(())
}

/// The log's first frames, and what is before them, a piece at a time.
#[derive(Debug)]
pub(super) struct Pieces {
    at: u64,
    end: u64,
    piece: Vec<u8>,
}

impl Pieces {
    pub(super) fn of(log: &File, frames: u64) -> io::Result<Self> {
        let end = match page_bytes(log) {
            _ if frames == 0 => 0,
            Ok(page_bytes) => frame_at(frames, page_bytes),
            Err(error) if is_cut_off(&error) => 0,
            Err(error) => return Err(error),
        };
        Ok(Self {
            at: 0,
            end,
            piece: vec![0; PIECE_BYTES],
        })
    }

    /// Writes the next piece over itself. Whether it was not the last.
    pub(super) fn write_next_over(&mut self, log: &File) -> io::Result<bool> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let (piece, _rest) = self.piece.split_at_mut(left.min(PIECE_BYTES));
        match log.read_exact_at(piece, self.at) {
            Err(error) if is_cut_off(&error) => return Ok(false),
            read => read?,
        }
        log.write_all_at(piece, self.at)?;
        self.at = self.at.saturating_add(piece.len() as u64);
        Ok(self.at < self.end)
    }
}

/// Somebody moved all of it into the file, and cut it off.
fn is_cut_off(error: &Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof
}

fn page_bytes(log: &File) -> io::Result<u64> {
    let page_bytes = u64::from(number(log, 8)?);
    if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "this is no log of SQLite's",
        ));
    }
    Ok(page_bytes)
}

fn frame_at(frame: u64, page_bytes: u64) -> u64 {
    let bytes = FRAME_HEADER_BYTES.saturating_add(page_bytes);
    (LOG_HEADER_BYTES as u64).saturating_add(frame.saturating_mul(bytes))
}

fn number(log: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    log.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_that_was_cut_off_meanwhile_nothing_is_written() {
        let mut log = tempfile::tempfile().unwrap();
        let mut header = [0_u8; LOG_HEADER_BYTES];
        header[8..12].copy_from_slice(&512_u32.to_be_bytes());
        io::Write::write_all(&mut log, &header).unwrap();
        let mut found = Pieces::of(&log, 1).unwrap();
        assert!(!found.write_next_over(&log).unwrap());
        assert_eq!(log.metadata().unwrap().len(), LOG_HEADER_BYTES as u64);
        log.set_len(0).unwrap();
        let mut empty = Pieces::of(&log, 1).unwrap();
        assert!(!empty.write_next_over(&log).unwrap());
        assert_eq!(log.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_log_is_written_over_to_the_end_of_its_last_frame_and_no_further() {
        let frames = 3_000;
        let mut bytes = vec![7_u8; LOG_HEADER_BYTES + frames * (24 + 512) + 100];
        bytes[8..12].copy_from_slice(&512_u32.to_be_bytes());
        let log = tempfile::tempfile().unwrap();
        log.write_all_at(&bytes, 0).unwrap();
        let mut pieces = Pieces::of(&log, frames as u64).unwrap();
        let mut count = 1;
        while pieces.write_next_over(&log).unwrap() {
            count += 1;
        }
        assert_eq!(count, 2);
        assert_eq!(pieces.at, (bytes.len() - 100) as u64);
        let mut after = vec![0; bytes.len()];
        log.read_exact_at(&mut after, 0).unwrap();
        assert!(after == bytes);
    }
}
