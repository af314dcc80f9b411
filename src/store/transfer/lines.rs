//! The lines of an export, read with a bound on each, and checked as they come.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

use super::frame::{Counts, End, FORMAT, Header, VERSION};
use super::record::{Kind, Record, Unsound};

/// Bytes of one line, at most. The longest body that a receiver can be told to take is 64 MiB. Escaped, it can be twice as
/// long, and so can the names that were read from it; headers are short beside that.
pub(super) const LINE_BYTES_MAX: usize = 320 << 20;

/// What is wrong with an export. Nothing of the line that it names was taken.
#[derive(Debug, thiserror::Error)]
pub enum TransferFault {
    /// It cannot be read.
    #[error("the export could not be read")]
    Input(#[source] io::Error),
    /// Something else.
    #[error("line 1: this is no export; make one with: countersign export --out FILE")]
    NotAnExport,
    /// A newer countersign wrote it.
    #[error(
        "line 1: the export has version {found}, and this countersign reads versions up to {VERSION}; use the newer version that wrote it"
    )]
    Newer {
        /// Its version.
        found: u64,
    },
    /// A line that is longer than any that an export has.
    #[error("line {line}: it is longer than {LINE_BYTES_MAX} bytes, which no line of an export is")]
    TooLong {
        /// Its number.
        line: u64,
    },
    /// A line that cannot be read.
    #[error("line {line}: it is no row of an export; the file was altered: export it again")]
    Unreadable {
        /// Its number.
        line: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A row that no store wrote.
    #[error("line {line}: {name}: {what}; the file was altered: export it again")]
    Unsound {
        /// Its number.
        line: u64,
        /// Which row.
        name: String,
        /// What is wrong.
        what: Unsound,
    },
    /// A row that stands after one that may need it.
    #[error("line {line}: {name} is out of its place; the file was altered: export it again")]
    OutOfPlace {
        /// Its number.
        line: u64,
        /// Which row.
        name: String,
    },
    /// No end line.
    #[error(
        "the export ends after line {line}, without its end line: it was cut off; go on with countersign export --resume, or export it again"
    )]
    CutOff {
        /// The last whole line.
        line: u64,
    },
    /// The lines are not those that were written.
    #[error(
        "line {line}: the lines before it are not those that were exported (their number or their SHA-256 differs); export them again"
    )]
    Altered {
        /// The end line.
        line: u64,
    },
    /// Something stands behind the end.
    #[error("line {line}: something follows the end of the export; remove it")]
    Surplus {
        /// Its number.
        line: u64,
    },
}

/// A row, and the number of its line.
#[derive(Clone, Debug)]
pub(in crate::store) struct Line {
    pub(super) number: u64,
    pub(in crate::store) record: Record,
    pub(super) bytes: usize,
}

/// Reads an export, line by line.
pub(super) struct Lines<'a> {
    input: &'a mut (dyn BufRead + Send),
    header: Header,
    number: u64,
    bytes: u64,
    hash: Sha256,
    counts: Counts,
    last: Kind,
    buffer: Vec<u8>,
}

/// How a reading of a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Whole,
    /// The input ends before the line does.
    Broken,
    TooLong,
}

impl<'a> Lines<'a> {
    /// Reads the header.
    pub(super) fn begin(input: &'a mut (dyn BufRead + Send)) -> Result<Self, TransferFault> {
        let mut buffer = Vec::new();
        // Whatever begins with a line that no header is as long as is none.
        match read_line(input, &mut buffer, 64 << 10).map_err(TransferFault::Input)? {
            Reading::Whole => {}
            Reading::Broken if begins_as_a_header(&buffer) => {
                return Err(TransferFault::CutOff { line: 0 });
            }
            Reading::Broken | Reading::TooLong => return Err(TransferFault::NotAnExport),
        }
        let header = read_header(&buffer)?;
        Ok(Self {
            input,
            header,
            number: 1,
            bytes: buffer.len() as u64,
            hash: Sha256::new(),
            counts: Counts::default(),
            last: Kind::Producers,
            buffer,
        })
    }

    /// The next row; `None` once the end line was read, and all of it holds.
    pub(super) fn next(&mut self) -> Result<Option<Line>, TransferFault> {
        self.buffer.clear();
        let read = read_line(self.input, &mut self.buffer, LINE_BYTES_MAX);
        match read.map_err(TransferFault::Input)? {
            Reading::Whole => {}
            Reading::Broken => return Err(TransferFault::CutOff { line: self.number }),
            Reading::TooLong => {
                return Err(TransferFault::TooLong {
                    line: self.number.saturating_add(1),
                });
            }
        }
        self.number = self.number.saturating_add(1);
        self.bytes = self.bytes.saturating_add(self.buffer.len() as u64);
        let line = self.number;
        if self.buffer.starts_with(br#"{"row":"end""#) {
            return self.end().map(|()| None);
        }
        let record: Record = serde_json::from_slice(&self.buffer)
            .map_err(|source| TransferFault::Unreadable { line, source })?;
        let name = || record.name();
        record.check().map_err(|what| TransferFault::Unsound {
            line,
            name: name(),
            what,
        })?;
        if record.kind() < self.last {
            return Err(TransferFault::OutOfPlace { line, name: name() });
        }
        self.last = record.kind();
        self.hash.update(&self.buffer);
        self.counts.count(record.kind());
        Ok(Some(Line {
            number: line,
            record,
            bytes: self.buffer.len(),
        }))
    }

    fn end(&mut self) -> Result<(), TransferFault> {
        let line = self.number;
        let end: End = serde_json::from_slice(&self.buffer)
            .map_err(|source| TransferFault::Unreadable { line, source })?;
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        if end.sha256.0 != sha256 || end.rows != self.counts {
            return Err(TransferFault::Altered { line });
        }
        match self.input.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(TransferFault::Surplus {
                line: line.saturating_add(1),
            }),
            Err(error) => Err(TransferFault::Input(error)),
        }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Rows so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of the lines so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of the rows so far.
    pub(super) fn hash(&self) -> Sha256 {
        self.hash.clone()
    }
}

fn read_header(line: &[u8]) -> Result<Header, TransferFault> {
    let parsed = serde_json::from_slice::<serde_json::Value>(line);
    let header = parsed.map_err(|_form| TransferFault::NotAnExport)?;
    if header.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(TransferFault::NotAnExport);
    }
    // A newer header may have another form: its version is all that is looked for.
    match header.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => Err(TransferFault::Newer { found }),
        Some(_) => serde_json::from_value(header)
            .map_err(|source| TransferFault::Unreadable { line: 1, source }),
        None => Err(TransferFault::NotAnExport),
    }
}

fn begins_as_a_header(text: &[u8]) -> bool {
    let beginning = format!("{{\"format\":\"{FORMAT}\"");
    beginning.as_bytes().starts_with(text) || text.starts_with(beginning.as_bytes())
}

/// Appends a line with its newline, and no more than `max` bytes of it.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<Reading> {
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(Reading::Broken);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end.saturating_add(1));
        if line.len().saturating_add(taken) > max {
            return Ok(Reading::TooLong);
        }
        line.extend_from_slice(available.get(..taken).unwrap_or_default());
        input.consume(taken);
        if end.is_some() {
            return Ok(Reading::Whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_up_to_its_bound() {
        let read = |text: &str, max| {
            let mut line = Vec::new();
            let reading = read_line(
                &mut io::BufReader::with_capacity(2, text.as_bytes()),
                &mut line,
                max,
            );
            (reading.unwrap(), String::from_utf8(line).unwrap())
        };
        assert_eq!(read("abc\nd", 4), (Reading::Whole, "abc\n".to_owned()));
        assert_eq!(read("abc", 4), (Reading::Broken, "abc".to_owned()));
        assert_eq!(read("", 4), (Reading::Broken, String::new()));
        assert_eq!(read("abcd\n", 4).0, Reading::TooLong);
    }

    #[test]
    fn what_is_no_export_is_told_from_a_newer_one() {
        let begin = |text: &str| Lines::begin(&mut text.as_bytes()).map(drop).unwrap_err();
        for other in [
            "",
            "\n",
            "[]\n",
            "{}\n",
            "diary\n",
            "{\"format\":\"x\",\"version\":1}\n",
        ] {
            let fault = begin(other);
            let expected = matches!(fault, TransferFault::NotAnExport)
                || other.is_empty() && matches!(fault, TransferFault::CutOff { line: 0 });
            assert!(expected, "{other:?}: {fault}");
        }
        let newer = "{\"format\":\"countersign-export\",\"version\":9,\"other\":{}}\n";
        assert!(matches!(begin(newer), TransferFault::Newer { found: 9 }));
        assert!(begin(newer).to_string().contains("use the newer version"));
    }
}
