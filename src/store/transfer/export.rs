//! A store as JSON Lines: a header, one line for each row, and an end line by which a cut or altered file is known.
//!
//! All lines are of one moment: the embedded store is read in one transaction, PostgreSQL in one that is repeatable. Rows
//! are read as they are written out, so memory does not hang on the size of the store. Kinds stand in an order in which
//! each names only what stands before it; payments and events stand by tenant, in the order of the lists, the oldest first;
//! events that are forgotten follow them.
//!
//! The end line has the number of rows of each kind and the SHA-256 of all lines between the header and itself.

use std::io::{BufRead, Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::frame::{Counts, EXTENT_FORM, End, EndMark, FORMAT, Header, VERSION, WITHOUT_SHADOWS};
use super::lines::{Lines, TransferFault};
use super::record::{Hex, Micros, Record};
use super::writing::{ExportFailure, OnRows, Position, Writing};
use crate::store::location::Url;
use crate::store::postgres;
use crate::store::sqlite;

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// This tenant's alone.
    pub tenant: Option<String>,
}

/// What an export came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Rows in all, those of an earlier part among them.
    pub rows: Counts,
}

/// An export of which a part is there.
#[derive(Debug)]
pub struct Part {
    header: Header,
    after: Position,
    counts: Counts,
    hash: Sha256,
    /// Bytes of it that stay; what follows them is written anew.
    pub bytes: u64,
    /// Whether nothing is missing from it.
    pub whole: bool,
}

impl Part {
    /// Reads what an interrupted export left.
    ///
    /// # Errors
    /// When it is no export, or something in it is not what an export writes. That its end is cut off is none.
    pub fn read(input: &mut (dyn BufRead + Send)) -> Result<Self, TransferFault> {
        let mut lines = Lines::begin(input)?;
        let mut part = Self {
            header: lines.header().clone(),
            after: Position::Beginning,
            counts: Counts::default(),
            hash: Sha256::new(),
            bytes: lines.bytes(),
            whole: false,
        };
        loop {
            let record = match lines.next() {
                Ok(Some(line)) => line.record,
                Ok(None) => {
                    part.whole = true;
                    part.counts = lines.counts();
                    part.bytes = lines.bytes();
                    return Ok(part);
                }
                Err(TransferFault::CutOff { .. }) => return Ok(part),
                Err(fault) => return Err(fault),
            };
            part.after = match &record {
                Record::Payment(row) => Position::payment(row),
                Record::Event(row) => Position::event(row),
                Record::Forgotten(row) => Position::forgotten(row),
                Record::Producer(_)
                | Record::Secret(_)
                | Record::Leaf(_)
                | Record::Refusal(_)
                | Record::Shadow(_) => continue,
            };
            part.counts = lines.counts();
            part.hash = lines.hash();
            part.bytes = lines.bytes();
        }
    }

    /// How many rows stay.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.total()
    }
}

/// The store, at the moment at which it was opened.
enum Source {
    Sqlite(sqlite::export::Source),
    Postgres(Box<postgres::export::Source>),
}

impl Export {
    /// Writes the store at `url` to `out`, from the beginning or from where a part ends. Blocks the thread while it reads
    /// and writes: it is for a command.
    pub async fn run(
        &self,
        url: &Url,
        part: Option<Part>,
        out: &mut (dyn Write + Send),
        progress: OnRows<'_>,
    ) -> Result<Exported, ExportFailure> {
        let written = self.write(url, part, out, progress).await;
        written.map_err(|failure| failure.found_in(url))
    }

    async fn write(
        &self,
        url: &Url,
        part: Option<Part>,
        out: &mut (dyn Write + Send),
        progress: OnRows<'_>,
    ) -> Result<Exported, ExportFailure> {
        let tenant = self.tenant.as_deref();
        let source = match url {
            Url::Sqlite(path) => Source::Sqlite(sqlite::export::Source::open(path, tenant)?),
            Url::Postgres(address) => {
                let source = postgres::export::Source::open(address, tenant).await?;
                Source::Postgres(Box::new(source))
            }
        };
        let (store, schema, extent, about, has_shadows) = match &source {
            Source::Sqlite(source) => (
                "sqlite",
                source.schema(),
                source.extent()?,
                source.about()?,
                source.has_shadows()?,
            ),
            Source::Postgres(source) => (
                "postgres",
                source.schema(),
                source.extent().await?,
                source.about().await?,
                source.has_shadows().await?,
            ),
        };
        let header = Header {
            format: FORMAT.to_owned(),
            version: if has_shadows {
                VERSION
            } else {
                WITHOUT_SHADOWS
            },
            countersign: env!("CARGO_PKG_VERSION").to_owned(),
            store: store.to_owned(),
            schema,
            exported_at: Micros(Timestamp::now().as_microsecond()),
            tenant_id: self.tenant.clone(),
            extent,
            extent_form: EXTENT_FORM,
        };
        let mut writing = Writing {
            out,
            progress,
            about: about.filter(|_| tenant.is_none()),
            hash: Sha256::new(),
            counts: Counts::default(),
            line: Vec::new(),
        };
        let mut after = Position::Beginning;
        match part {
            None => writing.plain(&header)?,
            Some(part) => {
                part.must_continue(&header)?;
                (after, writing.hash, writing.counts) = (part.after, part.hash, part.counts);
            }
        }
        match source {
            Source::Sqlite(source) => source.write(&after, &mut writing)?,
            Source::Postgres(source) => source.write(&after, &mut writing).await?,
        }
        let end = End {
            row: EndMark::End,
            rows: writing.counts,
            sha256: Hex(writing.hash.clone().finalize().into()),
        };
        writing.plain(&end)?;
        writing.out.flush().map_err(ExportFailure::Output)?;
        Ok(Exported {
            rows: writing.counts,
        })
    }
}

impl Part {
    /// Rows of two moments are no export.
    fn must_continue(&self, header: &Header) -> Result<(), ExportFailure> {
        let part = &self.header;
        let what = if (&part.store, part.schema) != (&header.store, header.schema) {
            "the part is of another store"
        } else if part.tenant_id != header.tenant_id {
            "the part is of another tenant, or of all"
        } else if part.extent_form != header.extent_form {
            "another version of countersign wrote the part, and did not note what tells whether the store is as it was"
        } else if part.extent != header.extent {
            "payments or events have come, changed or gone since the part was written"
        } else if part.version != header.version {
            "the first shadow mark was met, or the last tally went, since the part was written"
        } else {
            return Ok(());
        };
        Err(ExportFailure::NotTheSame { what })
    }
}
