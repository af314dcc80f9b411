//! What `[store.spool]` means.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::store::{SpoolSettings, Url, events_in_spool};

use super::bounds::number;
use super::context::Context;
use super::file;
use super::key::KeyPath;
use super::settings::{ServerSettings, StoreSettings};

/// A spool smaller than this would be of no use.
const BYTES_MIN: i64 = 1 << 20;
/// Room beside the largest body: what comes with it, and the file's own pages.
const ROOM_BYTES: u64 = 256 << 10;

pub(super) fn settings(
    shape: &file::StoreSpool,
    url: Option<&Url>,
    wait: Duration,
    server: Option<&ServerSettings>,
    key: &KeyPath,
    context: &mut Context<'_>,
) -> Option<SpoolSettings> {
    let findings = &mut context.findings;
    if let Some(Url::Sqlite(_)) = url {
        let what = "stands in for a PostgreSQL that is away; store.url is a file, and needs none";
        findings.fault(key, what, "take [store.spool] out");
    }
    if shape.path.is_empty() {
        let mend = "write path = \"data/spool.db\"";
        findings.fault(&key.key("path"), "names no file", mend);
    }
    let bytes = number(
        shape.bytes,
        BYTES_MIN..=1 << 40,
        &key.key("bytes"),
        findings,
    )?;
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let defaults = file::Limits::default();
    let body = server.map_or(usize::try_from(defaults.body_bytes).ok()?, |server| {
        server.body_bytes
    });
    let delivery_bytes = (body as u64).saturating_add(ROOM_BYTES);
    if bytes < delivery_bytes {
        let what = "a body as long as server.limits.body_bytes would never fit";
        let mend = format!("write {delivery_bytes} or more");
        findings.fault(&key.key("bytes"), what, mend);
    }
    let request = server.map_or(defaults.request_timeout.0, |server| server.request_timeout);
    Some(SpoolSettings {
        path: context.resolve(&shape.path),
        bytes,
        delivery_bytes,
        // Whoever waited in vain must still have the time to be answered from the spool.
        database_wait: wait.min(request / 2),
        spool_wait: wait.min(request / 4),
    })
}

impl StoreSettings {
    /// What to say if acknowledged events wait in the spool: whoever copies the database has not got them.
    pub fn behind(&self) -> Option<String> {
        let spool = self.spool.as_ref()?;
        let path = spool.path.display();
        match events_in_spool(&spool.path) {
            Ok(0) => None,
            Ok(waiting) => Some(format!(
                "{path}: {waiting} events that were acknowledged wait in this spool, and are not in the database; \
                 let a receiver move them before the database is left"
            )),
            Err(fault) => Some(format!(
                "{path}: whatever waits in this spool, which cannot be read: {}",
                fault.in_full()
            )),
        }
    }

    /// What to say if events wait in a spool that this configuration does not name. Only the default path can be looked at:
    /// no other is known.
    pub fn forsaken(&self) -> Option<Forsaken> {
        let path = self.unnamed_spool.clone()?;
        let waiting = events_in_spool(&path).ok().filter(|events| *events > 0)?;
        Some(Forsaken { path, waiting })
    }
}

/// Events that were acknowledged, in a spool that the configuration does not name. Its `Display` is one line: `what; mend`.
#[derive(Debug)]
pub struct Forsaken {
    path: PathBuf,
    waiting: u64,
}

impl Forsaken {
    /// What to do about it.
    pub const MEND: &str = "name it until it is empty, beside the database that they are for";

    /// What is wrong.
    pub fn what(&self) -> String {
        let Self { path, waiting } = self;
        format!(
            "{}: {waiting} events that were acknowledged wait in this spool, and store.spool.path does not name it",
            path.display()
        )
    }
}

impl fmt::Display for Forsaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), Self::MEND)
    }
}
