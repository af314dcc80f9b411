//! An export while it is written: where it goes on, the lines and the account of them, and why it may not become whole.

use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::frame::Counts;
use super::record::{EventRecord, ForgottenRecord, PaymentRecord, Record, Unsound};
use crate::store::fault::StoreFault;
use crate::store::location::Url;
use crate::store::sqlite::errors::damage;

/// Writes lines, and keeps account of them.
pub(in crate::store) struct Writing<'a> {
    pub(super) out: &'a mut (dyn Write + Send),
    pub(super) progress: OnRows<'a>,
    pub(super) about: Option<u64>,
    pub(super) hash: Sha256,
    pub(super) counts: Counts,
    pub(super) line: Vec<u8>,
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

    /// Writes a line that is no row.
    pub(super) fn plain(&mut self, line: &impl Serialize) -> Result<(), ExportFailure> {
        let mut text = serde_json::to_vec(line)
            .map_err(|error| ExportFailure::Output(io::Error::other(error)))?;
        text.push(b'\n');
        self.out.write_all(&text).map_err(ExportFailure::Output)
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
    pub(super) fn payment(row: &PaymentRecord) -> Self {
        Self::Payment {
            tenant_id: row.tenant_id.clone(),
            changed_at: row.changed_at.0,
            payment_id: row.payment_id.clone(),
        }
    }

    pub(super) fn event(row: &EventRecord) -> Self {
        Self::Event {
            tenant_id: row.tenant_id.clone(),
            received_at: row.received_at.0,
            key: row.key.0,
        }
    }

    pub(super) fn forgotten(row: &ForgottenRecord) -> Self {
        Self::Forgotten {
            tenant_id: row.tenant_id.clone(),
            received_at: row.received_at.0,
            key: row.key.0,
        }
    }
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

    /// The same, of the store at `url`: a file that a statement finds damaged is named, with its mend.
    pub(super) fn found_in(self, url: &Url) -> Self {
        match (self, url) {
            (Self::Statement { source }, Url::Sqlite(path)) => match damage(path, source) {
                Ok(fault) => Self::Store(fault),
                Err(source) => Self::Statement { source },
            },
            (failure, _) => failure,
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
