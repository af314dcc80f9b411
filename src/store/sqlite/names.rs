//! The numbers of names that come with every event, as far as the writer has met them.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::identity::TenantId;
use crate::x509::Certificate;

/// Certificates and secrets that are remembered, at most; beyond that the file is asked again.
const ENTRIES_MAX: usize = 20_000;

/// Numbers that are committed, or given out in the open transaction: after a rollback all of them must be forgotten.
#[derive(Debug, Default)]
pub(super) struct Names {
    producers: HashMap<(TenantId, Arc<str>), Producer>,
    secrets: HashMap<(i64, Arc<str>), i64>,
    leaves: HashMap<(i64, [u8; 32]), i64>,
}

/// A producer's number and its tenant's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Producer {
    pub(super) tenant: i64,
    pub(super) producer: i64,
}

impl Names {
    pub(super) fn producer(
        &mut self,
        connection: &Connection,
        tenant_id: &TenantId,
        name: &Arc<str>,
    ) -> rusqlite::Result<Producer> {
        let key = (tenant_id.clone(), Arc::clone(name));
        if let Some(numbers) = self.producers.get(&key) {
            return Ok(*numbers);
        }
        connection
            .prepare_cached("INSERT INTO tenants (tenant_id) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([tenant_id.as_str()])?;
        let tenant = connection
            .prepare_cached("SELECT tenant FROM tenants WHERE tenant_id = ?1")?
            .query_row([tenant_id.as_str()], |row| row.get(0))?;
        connection
            .prepare_cached(
                "INSERT INTO producers (tenant, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![tenant, name])?;
        let producer = connection
            .prepare_cached("SELECT producer FROM producers WHERE tenant = ?1 AND name = ?2")?
            .query_row(params![tenant, name], |row| row.get(0))?;
        let numbers = Producer { tenant, producer };
        if self.producers.len() >= ENTRIES_MAX {
            self.producers.clear();
        }
        self.producers.insert(key, numbers);
        Ok(numbers)
    }

    pub(super) fn secret(
        &mut self,
        connection: &Connection,
        producer: Producer,
        reference: &Arc<str>,
        now: i64,
    ) -> rusqlite::Result<i64> {
        let key = (producer.producer, Arc::clone(reference));
        if let Some(number) = self.secrets.get(&key) {
            return Ok(*number);
        }
        let find =
            "SELECT secret FROM secrets WHERE tenant = ?1 AND producer = ?2 AND reference = ?3";
        let found = connection
            .prepare_cached(find)?
            .query_row(
                params![producer.tenant, producer.producer, reference],
                |row| row.get(0),
            )
            .optional()?;
        let number = match found {
            Some(number) => number,
            None => {
                connection
                    .prepare_cached(
                        "INSERT INTO secrets (tenant, producer, reference, first_used, last_used)
                         VALUES (?1, ?2, ?3, ?4, ?4)",
                    )?
                    .execute(params![producer.tenant, producer.producer, reference, now])?;
                connection.last_insert_rowid()
            }
        };
        if self.secrets.len() >= ENTRIES_MAX {
            self.secrets.clear();
        }
        self.secrets.insert(key, number);
        Ok(number)
    }

    pub(super) fn leaf(
        &mut self,
        connection: &Connection,
        producer: Producer,
        leaf: &Certificate,
        now: i64,
    ) -> rusqlite::Result<i64> {
        let sha256 = leaf.sha256().0;
        let key = (producer.producer, sha256);
        if let Some(number) = self.leaves.get(&key) {
            return Ok(*number);
        }
        let find = "SELECT leaf FROM leaves WHERE tenant = ?1 AND producer = ?2 AND sha256 = ?3";
        let found = connection
            .prepare_cached(find)?
            .query_row(params![producer.tenant, producer.producer, sha256], |row| {
                row.get(0)
            })
            .optional()?;
        let number = match found {
            Some(number) => number,
            None => {
                let validity = leaf.validity();
                connection
                    .prepare_cached(
                        "INSERT INTO leaves (tenant, producer, sha256, subject, issuer, serial, spki_sha256,
                             not_before, not_after, first_seen, last_seen)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
                    )?
                    .execute(params![
                        producer.tenant,
                        producer.producer,
                        sha256,
                        leaf.subject().to_string(),
                        leaf.issuer().to_string(),
                        leaf.serial().to_string(),
                        leaf.spki().0,
                        validity.not_before.as_microsecond(),
                        validity.not_after.as_microsecond(),
                        now,
                    ])?;
                connection.last_insert_rowid()
            }
        };
        if self.leaves.len() >= ENTRIES_MAX {
            self.leaves.clear();
        }
        self.leaves.insert(key, number);
        Ok(number)
    }
}
