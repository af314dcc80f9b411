//! The embedded engine: one SQLite file in WAL mode, one connection that writes, a few that read.
//!
//! [`engine`] is what stands behind group commit; [`mod@file`] makes, opens and guards the file, the spool's too. What a
//! command or a pass asks of a store is here file by file under the name of what asks it, as it is for PostgreSQL.

mod checkpoints;
mod columns;
pub(super) mod engine;
mod errands;
pub(super) mod errors;
pub(super) mod export;
#[cfg(test)]
mod fault_tests;
pub(super) mod file;
mod found_log;
mod frames;
mod gaps;
pub(super) mod import;
mod moving;
mod names;
pub(super) mod place;
#[cfg(test)]
mod place_tests;
#[cfg(test)]
mod plans_tests;
pub(super) mod read;
pub(super) mod replay;
pub(super) mod retention;
#[cfg(test)]
mod retention_tests;
pub(super) mod shadows;
pub(super) mod unsynced;
mod write;

pub(super) use engine::{Sqlite, open, open_to_read};
