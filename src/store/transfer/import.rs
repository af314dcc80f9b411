//! Rows of an export, put into a store as they were, and compared with it one by one.
//!
//! An import goes past the inbox: it counts no duplicate, asks no mapping and moves no time. What it leaves behaves as the
//! store did that was exported. It comes in batches, each one transaction. Of each batch, what is there already is read
//! first, the rest is written, and what was written is read back and compared in every field. So an import that was
//! interrupted is begun again, and finds what it had done.
//!
//! A row that is there and differs stays as it is, and nothing is merged with it: the rest is only compared, so that all
//! differences are told at once. What can be read twice is compared whole before anything of it is written. Of what can be
//! read once, the batches before the one with the difference were written by then. Payments come before their events: such a
//! store may hold payments without their events, and only a backup undoes that.
//!
//! When a certificate or a secret was first and last seen is no difference: the earlier and the later one stand.

use std::collections::HashSet;
use std::io::{BufRead, Seek};

use serde::Serialize;
use serde_json::Value;

use super::frame::Counts;
use super::importing::{ImportFailure, ImportMode};
use super::lines::{Line, Lines, TransferFault};
use super::record::{LeafRecord, Record, SecretRecord};
use crate::store::location::Url;
use crate::store::postgres::import::PostgresShelf;
use crate::store::sqlite::import::SqliteShelf;

/// Rows of one transaction, at most.
const BATCH_ROWS: usize = 250;
/// Bytes of lines of one transaction, unless one is longer.
const BATCH_BYTES: usize = 8 << 20;

/// What became of the rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// In the export.
    pub read: u64,
    /// Were there already, and are equal.
    pub there: u64,
    /// Were written, and read back equal.
    pub written: u64,
    /// Are not there.
    pub missing: u64,
    /// Are there, and differ. They are left as they are.
    pub different: u64,
}

/// A row that is there and differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its line in the export.
    pub line: u64,
    /// Which row.
    pub row: String,
    /// The fields that differ.
    pub fields: Vec<String>,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Producers.
    pub producers: RowCounts,
    /// Secrets, by reference.
    pub secrets: RowCounts,
    /// Client certificates.
    pub leaves: RowCounts,
    /// Payments.
    pub payments: RowCounts,
    /// Events.
    pub events: RowCounts,
    /// Events of which nothing is kept but what recognises them.
    pub forgotten: RowCounts,
    /// Groups of refusals.
    pub refusals: RowCounts,
    /// What shadow marks would have decided.
    pub shadows: RowCounts,
    /// The first rows that differ.
    pub differences: Vec<Difference>,
}

impl Imported {
    /// Differences that are told one by one; the others are counted.
    pub const DIFFERENCES_MAX: usize = 100;

    /// The kinds, by name.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, RowCounts); 8] {
        [
            ("producers", self.producers),
            ("secrets", self.secrets),
            ("certificates", self.leaves),
            ("payments", self.payments),
            ("events", self.events),
            ("forgotten", self.forgotten),
            ("refusals", self.refusals),
            ("shadow tallies", self.shadows),
        ]
    }

    /// Whether every row of the export is in the store, and equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.kinds()
            .iter()
            .all(|(_, tally)| tally.missing == 0 && tally.different == 0)
    }

    /// Whether a row is there and differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.kinds().iter().any(|(_, tally)| tally.different > 0)
    }

    fn tally(&mut self, record: &Record) -> &mut RowCounts {
        match record {
            Record::Producer(_) => &mut self.producers,
            Record::Secret(_) => &mut self.secrets,
            Record::Leaf(_) => &mut self.leaves,
            Record::Payment(_) => &mut self.payments,
            Record::Event(_) => &mut self.events,
            Record::Forgotten(_) => &mut self.forgotten,
            Record::Refusal(_) => &mut self.refusals,
            Record::Shadow(_) => &mut self.shadows,
        }
    }
}

/// How far an import is: bytes of the export, and rows.
pub type OnBytes<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// The store, as far as an import needs it.
enum Shelf {
    Sqlite(Box<SqliteShelf>),
    Postgres(Box<PostgresShelf>),
}

impl Shelf {
    async fn open(url: &Url, mode: ImportMode) -> Result<Self, ImportFailure> {
        Ok(match url {
            Url::Sqlite(path) => Self::Sqlite(Box::new(SqliteShelf::open(path, mode)?)),
            Url::Postgres(address) => {
                Self::Postgres(Box::new(PostgresShelf::open(address, mode).await?))
            }
        })
    }

    /// What the store has in the place of each of these rows, which are of one kind.
    async fn find(&self, lines: &[Line]) -> Result<Vec<Option<Record>>, ImportFailure> {
        match self {
            Self::Sqlite(shelf) => shelf.find(lines),
            Self::Postgres(shelf) => shelf.find(lines).await,
        }
    }

    /// Writes these rows, which are of one kind, or none of them.
    async fn write(&mut self, lines: &[Line]) -> Result<(), ImportFailure> {
        match self {
            Self::Sqlite(shelf) => shelf.write(lines),
            Self::Postgres(shelf) => shelf.write(lines).await,
        }
    }

    fn close(self) {
        match self {
            Self::Sqlite(shelf) => shelf.close(),
            Self::Postgres(_) => {}
        }
    }
}

/// Reads an export to its end, and tells whether all of it holds, before anything of it is written.
///
/// # Errors
/// When a line is at fault, or the export was cut off or altered.
pub fn check_export(
    input: &mut (dyn BufRead + Send),
    progress: OnBytes<'_>,
) -> Result<Counts, TransferFault> {
    let mut lines = Lines::begin(input)?;
    while lines.next()?.is_some() {
        progress(lines.bytes(), lines.counts().total());
    }
    Ok(lines.counts())
}

/// Puts the rows of an export into the store at `url`, or compares them. Blocks the thread while it reads: it is for a
/// command.
pub async fn import(
    url: &Url,
    mode: ImportMode,
    input: &mut (dyn BufRead + Send),
    progress: OnBytes<'_>,
) -> Result<Imported, ImportFailure> {
    // Before the store, which is made where there is none.
    let mut lines = Lines::begin(input)?;
    let mut importing = Importing::begin(url, mode).await?;
    importing.read(&mut lines, progress).await?;
    Ok(importing.end())
}

/// Puts the rows of an export that can be read twice into the store at `url`: all of them are compared first, and where one is there and
/// differs none is written. `progress` is told from the beginning again when the writing begins. Blocks the thread as [`import`] does.
pub async fn import_file<R: BufRead + Seek + Send>(
    url: &Url,
    input: &mut R,
    progress: OnBytes<'_>,
) -> Result<Imported, ImportFailure> {
    let mut lines = Lines::begin(input)?;
    let mut importing = Importing::begin(url, ImportMode::Write).await?;
    importing.mode = ImportMode::Compare;
    importing.read(&mut lines, progress).await?;
    let compared = &importing.imported;
    if !compared.is_equal() && !compared.differs() {
        importing.mode = ImportMode::Write;
        importing.imported = Imported::default();
        input.rewind().map_err(TransferFault::Input)?;
        importing.read(&mut Lines::begin(input)?, progress).await?;
    }
    Ok(importing.end())
}

/// Rows of one kind, none twice.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    bytes: usize,
    identities: HashSet<(String, String, Vec<u8>)>,
}

impl Batch {
    fn has_room_for(&self, line: &Line) -> bool {
        let Some(last) = self.lines.last() else {
            return true;
        };
        last.record.kind() == line.record.kind()
            && self.lines.len() < BATCH_ROWS
            && self.bytes.saturating_add(line.bytes) <= BATCH_BYTES
            && !self.identities.contains(&identity(line))
    }

    fn push(&mut self, line: Line) {
        self.bytes = self.bytes.saturating_add(line.bytes);
        self.identities.insert(identity(&line));
        self.lines.push(line);
    }
}

fn identity(line: &Line) -> (String, String, Vec<u8>) {
    let (tenant, producer, rest) = line.record.identity();
    (tenant.to_owned(), producer.to_owned(), rest.to_owned())
}

struct Importing {
    shelf: Shelf,
    /// Becomes [`ImportMode::Compare`] with the first row that differs.
    mode: ImportMode,
    imported: Imported,
}

impl Importing {
    async fn begin(url: &Url, mode: ImportMode) -> Result<Self, ImportFailure> {
        Ok(Self {
            shelf: Shelf::open(url, mode).await?,
            mode,
            imported: Imported::default(),
        })
    }

    /// Takes all that is left of an export.
    async fn read(
        &mut self,
        lines: &mut Lines<'_>,
        progress: OnBytes<'_>,
    ) -> Result<(), ImportFailure> {
        let mut batch = Batch::default();
        while let Some(line) = lines.next()? {
            if !batch.has_room_for(&line) {
                self.take(std::mem::take(&mut batch)).await?;
            }
            batch.push(line);
            progress(lines.bytes(), lines.counts().total());
        }
        self.take(batch).await
    }

    fn end(self) -> Imported {
        self.shelf.close();
        self.imported
    }

    async fn take(&mut self, batch: Batch) -> Result<(), ImportFailure> {
        let found = self.shelf.find(&batch.lines).await?;
        let mut left = Vec::new();
        for (line, found) in batch.lines.into_iter().zip(&found) {
            let tally = self.imported.tally(&line.record);
            tally.read = tally.read.saturating_add(1);
            match compare(found.as_ref(), &line.record) {
                Standing::Equal => tally.there = tally.there.saturating_add(1),
                Standing::Missing | Standing::Behind => left.push(line),
                Standing::Different(fields) => {
                    tally.different = tally.different.saturating_add(1);
                    self.mode = ImportMode::Compare;
                    self.tell(&line, fields);
                }
            }
        }
        if self.mode == ImportMode::Write && !left.is_empty() {
            self.shelf.write(&left).await?;
            let kept = self.shelf.find(&left).await?;
            for (line, kept) in left.iter().zip(&kept) {
                if compare(kept.as_ref(), &line.record) != Standing::Equal {
                    return Err(ImportFailure::NotKept {
                        line: line.number,
                        name: line.record.name(),
                    });
                }
                let tally = self.imported.tally(&line.record);
                tally.written = tally.written.saturating_add(1);
            }
        } else {
            for line in &left {
                let tally = self.imported.tally(&line.record);
                tally.missing = tally.missing.saturating_add(1);
            }
        }
        Ok(())
    }

    fn tell(&mut self, line: &Line, fields: Vec<String>) {
        if self.imported.differences.len() < Imported::DIFFERENCES_MAX {
            self.imported.differences.push(Difference {
                line: line.number,
                row: line.record.name(),
                fields,
            });
        }
    }
}

/// How a row of the store stands to one of the export.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Missing,
    Equal,
    /// The store has not seen it as early or as late.
    Behind,
    Different(Vec<String>),
}

fn compare(found: Option<&Record>, wanted: &Record) -> Standing {
    match (found, wanted) {
        (None, _) => Standing::Missing,
        (Some(found), wanted) if found == wanted => Standing::Equal,
        (Some(Record::Secret(found)), Record::Secret(wanted)) => secrets(found, wanted),
        (Some(Record::Leaf(found)), Record::Leaf(wanted)) => leaves(found, wanted),
        (Some(found), wanted) => Standing::Different(differing(found, wanted)),
    }
}

fn secrets(found: &SecretRecord, wanted: &SecretRecord) -> Standing {
    if found.first_used <= wanted.first_used && found.last_used >= wanted.last_used {
        Standing::Equal
    } else {
        Standing::Behind
    }
}

fn leaves(found: &LeafRecord, wanted: &LeafRecord) -> Standing {
    let later = found.last_seen > wanted.last_seen;
    let as_seen = LeafRecord {
        first_seen: found.first_seen,
        last_seen: found.last_seen,
        anchor_subject: found.anchor_subject.clone(),
        anchor_sha256: found.anchor_sha256,
        ..wanted.clone()
    };
    if as_seen != *found {
        let (found, wanted) = (Record::Leaf(found.clone()), Record::Leaf(wanted.clone()));
        return Standing::Different(differing(&found, &wanted));
    }
    // The anchor is written down a moment after the leaf: what the store knows by now, the export may not have known.
    let is_told = wanted.anchor_sha256.is_some();
    let anchored = later || !is_told || found.anchor_sha256 == wanted.anchor_sha256;
    if found.first_seen <= wanted.first_seen && found.last_seen >= wanted.last_seen && anchored {
        Standing::Equal
    } else {
        Standing::Behind
    }
}

/// The names of the fields that differ.
fn differing(found: &Record, wanted: &Record) -> Vec<String> {
    let fields = |record: &Record| match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        // A time that cannot be written: all the others are told.
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    if found.kind() != wanted.kind() {
        // An event that the one has, and the other has forgotten.
        return vec!["row".to_owned()];
    }
    let (found, wanted) = (fields(found), fields(wanted));
    let mut names: Vec<String> = found
        .iter()
        .filter(|(name, value)| wanted.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    names.extend(
        wanted
            .keys()
            .filter(|name| !found.contains_key(*name))
            .cloned(),
    );
    names
}
