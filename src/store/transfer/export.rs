//! A store as JSON Lines: a header, one line for each row, and an end line by which a cut or altered file is known.
//!
//! All lines are of one moment: the embedded store is read in one transaction, PostgreSQL in one that is repeatable. Rows
//! are read as they are written out, so memory does not hang on the size of the store. Kinds stand in an order in which
//! each names only what stands before it; payments and events stand by tenant, in the order of the lists, the oldest first;
//! events that are forgotten follow them.
//!
//! The end line has the number of rows of each kind and the SHA-256 of all lines between the header and itself.

use std::io::{self, BufRead, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lines::{Lines, TransferFault};
use super::record::{
    EventRecord, ForgottenRecord, Hex, Kind, Micros, PaymentRecord, Record, Unsound,
};
use crate::store::fault::StoreFault;
use crate::store::location::Url;
use crate::store::postgres;
use crate::store::sqlite;

/// What an export calls itself.
pub(super) const FORMAT: &str = "countersign-export";
/// The form of the lines: the newest that is read. One that an older program would misread gets the next number.
pub(super) const VERSION: u32 = 2;
/// That of an export without tallies of shadow marks, which came with the second: older programs read it.
const WITHOUT_SHADOWS: u32 = 1;

/// What an extent is of: every column of every payment and event, in the engine's own form, and since when there are bodies.
const EXTENT_FORM: u32 = 2;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    /// The program that wrote it.
    pub(super) countersign: String,
    /// `sqlite` or `postgres`.
    pub(super) store: String,
    pub(super) schema: i64,
    pub(super) exported_at: Micros,
    /// The one tenant that it has, if it has not all.
    pub(super) tenant_id: Option<String>,
    /// Of all payments and events: tells whether the store is still what it was.
    pub(super) extent: Hex<32>,
    /// What `extent` is of. A header without it is of the first form: of when each tenant's oldest and latest events came.
    #[serde(default = "first_form")]
    pub(super) extent_form: u32,
}

fn first_form() -> u32 {
    1
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) row: EndMark,
    pub(super) rows: Counts,
    pub(super) sha256: Hex<32>,
}

/// What the last line begins with, where the others have their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EndMark {
    #[serde(rename = "end")]
    End,
}

/// How many rows there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Producers that sent something.
    pub producers: u64,
    /// Secrets that verified deliveries, by reference.
    pub secrets: u64,
    /// Client certificates that deliveries came with.
    pub leaves: u64,
    /// Payments.
    pub payments: u64,
    /// Events: accepted ones, conflicts, and quarantined ones.
    pub events: u64,
    /// Events of which nothing is kept but what recognises them.
    pub forgotten: u64,
    /// Groups of refusals.
    pub refusals: u64,
    /// What shadow marks would have decided, by mark and subject.
    #[serde(default, skip_serializing_if = "is_none")]
    pub shadows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Counts {
    pub(super) fn count(&mut self, kind: Kind) {
        let count = match kind {
            Kind::Producers => &mut self.producers,
            Kind::Secrets => &mut self.secrets,
            Kind::Leaves => &mut self.leaves,
            Kind::Payments => &mut self.payments,
            Kind::Events => &mut self.events,
            Kind::Forgotten => &mut self.forgotten,
            Kind::Refusals => &mut self.refusals,
            Kind::Shadows => &mut self.shadows,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        [
            self.producers,
            self.secrets,
            self.leaves,
            self.payments,
            self.events,
            self.forgotten,
            self.refusals,
            self.shadows,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Where an export goes on. The small kinds before the payments are begun anew, and so are those after the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) enum Position {
    #[default]
    Beginning,
    Payment {
        tenant_id: String,
        changed_at: i64,
        payment_id: String,
    },
    Event {
        tenant_id: String,
        received_at: i64,
        key: [u8; 16],
    },
    Forgotten {
        tenant_id: String,
        received_at: i64,
        key: [u8; 16],
    },
}

impl Position {
    fn payment(row: &PaymentRecord) -> Self {
        Self::Payment {
            tenant_id: row.tenant_id.clone(),
            changed_at: row.changed_at.0,
            payment_id: row.payment_id.clone(),
        }
    }

    fn event(row: &EventRecord) -> Self {
        Self::Event {
            tenant_id: row.tenant_id.clone(),
            received_at: row.received_at.0,
            key: row.key.0,
        }
    }

    fn forgotten(row: &ForgottenRecord) -> Self {
        Self::Forgotten {
            tenant_id: row.tenant_id.clone(),
            received_at: row.received_at.0,
            key: row.key.0,
        }
    }
}

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

/// How far an export is: rows written, and about how many there are, if that is known.
pub type OnRows<'a> = &'a mut (dyn FnMut(u64, Option<u64>) + Send);

/// Why an export is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportFailure {
    /// There is no store that can be read.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A statement failed.
    #[error("the store could not be read")]
    Statement {
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that no import would take.
    #[error("{name}: the row is damaged; events replay mends a payment, a backup the rest")]
    Damaged {
        /// Which row.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No such tenant.
    #[error("the store has no tenant {tenant_id}")]
    NoTenant {
        /// As asked for.
        tenant_id: String,
    },
    /// What is there of the export is of another one, or of an earlier state of the store.
    #[error("{what}; begin anew: remove the part, and leave --resume out")]
    NotTheSame {
        /// What differs.
        what: &'static str,
    },
    /// The lines cannot be written.
    #[error("the export could not be written")]
    Output(#[source] io::Error),
}

impl ExportFailure {
    pub(in crate::store) fn statement(
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Statement {
            source: error.into(),
        }
    }

    pub(in crate::store) fn damaged(
        name: String,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Damaged {
            name,
            source: error.into(),
        }
    }
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

/// Writes lines, and keeps account of them.
pub(in crate::store) struct Writing<'a> {
    out: &'a mut (dyn Write + Send),
    progress: OnRows<'a>,
    about: Option<u64>,
    hash: Sha256,
    counts: Counts,
    line: Vec<u8>,
}

impl Writing<'_> {
    /// Writes a row that is sound.
    pub(in crate::store) fn write(&mut self, record: &Record) -> Result<(), ExportFailure> {
        let damaged = |unsound: Unsound| ExportFailure::damaged(record.name(), unsound);
        record.check().map_err(damaged)?;
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)
            .map_err(|error| ExportFailure::damaged(record.name(), error))?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.counts.count(record.kind());
        self.out
            .write_all(&self.line)
            .map_err(ExportFailure::Output)?;
        (self.progress)(self.counts.total(), self.about);
        Ok(())
    }

    fn plain(&mut self, line: &impl Serialize) -> Result<(), ExportFailure> {
        let mut text = serde_json::to_vec(line)
            .map_err(|error| ExportFailure::Output(io::Error::other(error)))?;
        text.push(b'\n');
        self.out.write_all(&text).map_err(ExportFailure::Output)
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
