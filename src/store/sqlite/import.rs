//! The embedded store as an import sees it: rows found by their names, and rows written as they were.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::checkpoints::Checkpoints;
use super::engine;
use super::export;
use super::file::leave;
use super::place::Place;
use super::write::effect_number;
use crate::store::row::{FORGOTTEN, payment_key};
use crate::store::transfer::importing::{ImportFailure, ImportMode};
use crate::store::transfer::lines::Line;
use crate::store::transfer::record::{
    EventRecord, ForgottenRecord, LeafRecord, PaymentRecord, ProducerRecord, Record, RefusalRecord,
    SecretRecord, ShadowRecord,
};

/// A connection, and what moves its log into the file while it writes.
pub(in crate::store) struct SqliteShelf {
    connection: Connection,
    checkpoints: Option<Checkpoints>,
}

/// Why a row was not written.
enum Refusal {
    Statement(rusqlite::Error),
    Dangling(&'static str),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error)
    }
}

impl SqliteShelf {
    pub(in crate::store) fn open(path: &Path, mode: ImportMode) -> Result<Self, ImportFailure> {
        Ok(match mode {
            ImportMode::Write => Self {
                connection: engine::open(path)?,
                checkpoints: Some(Checkpoints::start(Arc::new(Place::of(path)))?),
            },
            ImportMode::Compare => Self {
                connection: engine::open_to_read(path)?,
                checkpoints: None,
            },
        })
    }

    pub(in crate::store) fn find(
        &self,
        lines: &[Line],
    ) -> Result<Vec<Option<Record>>, ImportFailure> {
        lines
            .iter()
            .map(|line| export::find(&self.connection, &line.record))
            .collect::<rusqlite::Result<_>>()
            .map_err(ImportFailure::statement)
    }

    pub(in crate::store) fn write(&self, lines: &[Line]) -> Result<(), ImportFailure> {
        let run = |sql| {
            self.connection
                .execute_batch(sql)
                .map_err(ImportFailure::statement)
        };
        run("BEGIN IMMEDIATE")?;
        let written = lines.iter().try_for_each(|line| {
            self.write_row(&line.record)
                .map_err(|refusal| match refusal {
                    Refusal::Statement(error) => ImportFailure::statement(error),
                    Refusal::Dangling(what) => ImportFailure::dangling(line, what),
                })
        });
        let ended = written.and_then(|()| run("COMMIT"));
        if ended.is_err() && !self.connection.is_autocommit() {
            // Closing the connection would do it as well.
            let _rolled_back = run("ROLLBACK");
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.tend(&self.connection);
        }
        ended
    }

    /// Moves what is in the log into the file, and closes it.
    pub(in crate::store) fn close(self) {
        if let Some(checkpoints) = self.checkpoints {
            leave(&checkpoints.end(), &self.connection);
        }
    }

    fn write_row(&self, record: &Record) -> Result<(), Refusal> {
        match record {
            Record::Producer(row) => self.write_producer(row),
            Record::Secret(row) => self.write_secret(row),
            Record::Leaf(row) => self.write_leaf(row),
            Record::Payment(row) => self.write_payment(row),
            Record::Event(row) => self.write_event(row),
            Record::Forgotten(row) => self.write_forgotten(row),
            Record::Refusal(row) => self.write_refusal(row),
            Record::Shadow(row) => self.write_shadow(row),
        }
    }

    fn execute(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<(), Refusal> {
        self.connection.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }

    fn number(
        &self,
        sql: &str,
        parameters: &[&dyn rusqlite::ToSql],
        what: &'static str,
    ) -> Result<i64, Refusal> {
        self.connection
            .prepare_cached(sql)?
            .query_row(parameters, |row| row.get(0))
            .optional()?
            .ok_or(Refusal::Dangling(what))
    }

    fn tenant(&self, tenant_id: &str) -> Result<i64, Refusal> {
        let sql = "SELECT tenant FROM tenants WHERE tenant_id = ?1";
        self.number(sql, params![tenant_id], "tenant")
    }

    fn producer(&self, tenant: i64, name: &str) -> Result<i64, Refusal> {
        let sql = "SELECT producer FROM producers WHERE tenant = ?1 AND name = ?2";
        self.number(sql, params![tenant, name], "producer")
    }

    fn write_producer(&self, row: &ProducerRecord) -> Result<(), Refusal> {
        self.execute(
            "INSERT INTO tenants (tenant_id) VALUES (?1) ON CONFLICT DO NOTHING",
            params![row.tenant_id],
        )?;
        let tenant = self.tenant(&row.tenant_id)?;
        self.execute(
            "INSERT INTO producers (tenant, name) VALUES (?1, ?2)",
            params![tenant, row.producer],
        )
    }

    fn write_secret(&self, row: &SecretRecord) -> Result<(), Refusal> {
        let tenant = self.tenant(&row.tenant_id)?;
        let producer = self.producer(tenant, &row.producer)?;
        self.execute(
            "INSERT INTO secrets (tenant, producer, reference, first_used, last_used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (tenant, producer, reference) DO UPDATE SET first_used = min(first_used, excluded.first_used),
                 last_used = max(last_used, excluded.last_used)",
            params![tenant, producer, row.secret, row.first_used.0, row.last_used.0],
        )
    }

    fn write_leaf(&self, row: &LeafRecord) -> Result<(), Refusal> {
        let tenant = self.tenant(&row.tenant_id)?;
        let producer = self.producer(tenant, &row.producer)?;
        self.execute(
            "INSERT INTO leaves (tenant, producer, sha256, subject, issuer, serial, spki_sha256, not_before, not_after,
                 anchor_subject, anchor_sha256, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (tenant, producer, sha256) DO UPDATE SET first_seen = min(first_seen, excluded.first_seen),
                 anchor_subject = iif(excluded.last_seen >= last_seen, ifnull(excluded.anchor_subject, anchor_subject),
                     ifnull(anchor_subject, excluded.anchor_subject)),
                 anchor_sha256 = iif(excluded.last_seen >= last_seen, ifnull(excluded.anchor_sha256, anchor_sha256),
                     ifnull(anchor_sha256, excluded.anchor_sha256)),
                 last_seen = max(last_seen, excluded.last_seen)",
            params![
                tenant,
                producer,
                row.sha256.0,
                row.subject,
                row.issuer,
                row.serial,
                row.spki_sha256.0,
                row.not_before.0,
                row.not_after.0,
                row.anchor_subject,
                row.anchor_sha256.map(|sha256| sha256.0),
                row.first_seen.0,
                row.last_seen.0,
            ],
        )
    }

    fn write_payment(&self, row: &PaymentRecord) -> Result<(), Refusal> {
        let tenant = self.tenant(&row.tenant_id)?;
        // As `Payment::encode` writes it: arrays, texts and integers have one form.
        let state = row.state.to_string();
        self.execute(
            "INSERT INTO payments (tenant, key, payment_id, status, amount_minor, amount_refunded_minor, currency,
                 occurred_at, last_event_id, events, changed_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                tenant,
                payment_key(&row.payment_id),
                row.payment_id,
                row.status,
                row.amount_minor,
                row.amount_refunded_minor,
                row.currency,
                row.occurred_at.map(|time| time.0),
                row.last_event_id,
                row.events,
                row.changed_at.0,
                state,
            ],
        )
    }

    fn write_event(&self, row: &EventRecord) -> Result<(), Refusal> {
        let tenant = self.tenant(&row.tenant_id)?;
        let producer = self.producer(tenant, &row.producer)?;
        let secret = match &row.secret {
            None => None,
            Some(reference) => {
                let sql = "SELECT secret FROM secrets WHERE tenant = ?1 AND producer = ?2 AND reference = ?3";
                Some(self.number(sql, params![tenant, producer, reference], "secret")?)
            }
        };
        let leaf = self.number(
            "SELECT leaf FROM leaves WHERE tenant = ?1 AND producer = ?2 AND sha256 = ?3",
            params![tenant, producer, row.leaf_sha256.0],
            "certificate",
        )?;
        let payment = match &row.payment_id {
            None => None,
            Some(payment_id) => {
                let sql = "SELECT payment FROM payments WHERE tenant = ?1 AND key = ?2";
                Some(self.number(sql, params![tenant, payment_key(payment_id)], "payment")?)
            }
        };
        self.execute(
            "INSERT INTO events (tenant, key, producer, event_id, kind, verdict, effect, duplicates, occurred_at,
                 received_at, body_sha256, secret, leaf, payment, status, amount_minor, amount_refunded_minor, currency,
                 named_payment_id, fetch_needed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            params![
                tenant,
                row.key.0,
                producer,
                row.event_id,
                row.kind,
                row.verdict.number(),
                row.effect.map(effect_number),
                row.duplicates,
                row.occurred_at.map(|time| time.0),
                row.received_at.0,
                row.body_sha256.0,
                secret,
                leaf,
                payment,
                row.status,
                row.amount_minor,
                row.amount_refunded_minor,
                row.currency,
                row.named_payment_id,
                row.fetch_needed,
            ],
        )?;
        let event = self.connection.last_insert_rowid();
        // Its soundness was checked with its line.
        if let (Some(headers), Ok(Some(body))) = (&row.headers, row.body_bytes()) {
            let headers = serde_json::to_string(headers).unwrap_or_default();
            self.execute(
                "INSERT INTO bodies (event, headers, body) VALUES (?1, ?2, ?3)",
                params![event, headers, &*body],
            )?;
        }
        Ok(())
    }

    /// As pruning leaves it.
    fn write_forgotten(&self, row: &ForgottenRecord) -> Result<(), Refusal> {
        let tenant = self.tenant(&row.tenant_id)?;
        self.execute(
            "INSERT INTO events (tenant, key, producer, event_id, verdict, duplicates, received_at, body_sha256, leaf)
             VALUES (?1, ?2, 0, '', ?3, ?4, ?5, ?6, 0)",
            params![
                tenant,
                row.key.0,
                FORGOTTEN,
                row.duplicates,
                !row.received_at.0,
                row.body_sha256.0,
            ],
        )
    }

    fn write_refusal(&self, row: &RefusalRecord) -> Result<(), Refusal> {
        self.execute(
            "INSERT INTO refusals (key, gate, reason, subject, issuer, serial, address, server_name, tenant_id, producer,
                 detail, first_seen, last_seen, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                row.key.0,
                row.gate,
                row.reason,
                row.subject,
                row.issuer,
                row.serial,
                row.address,
                row.server_name,
                row.tenant_id,
                row.producer,
                row.detail,
                row.first_seen.0,
                row.last_seen.0,
                row.count,
            ],
        )
    }

    fn write_shadow(&self, row: &ShadowRecord) -> Result<(), Refusal> {
        self.execute(
            "INSERT INTO shadows (key, mark, what, tenant_id, producer, subject, address, accept, agree, refuse, first_seen,
                 last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                row.key.0,
                row.mark,
                row.what,
                row.tenant_id.as_deref().unwrap_or_default(),
                row.producer.as_deref().unwrap_or_default(),
                row.subject,
                row.address,
                row.accept,
                row.agree,
                row.refuse,
                row.first_seen.0,
                row.last_seen.0,
            ],
        )
    }
}
