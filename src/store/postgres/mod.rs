//! The engine for several receivers: one PostgreSQL, or whatever speaks its protocol.
//!
//! [`opening`] finds the host that has what was kept; [`empty`] is where a ledger may begin; a [`session`] knows what an error means
//! for what was asked; [`reach`] is what all sessions know together of whether it can be reached. [`engine`] is what stands
//! behind group commit, [`batch`] its one statement.
//! What a command or a pass asks of a store is here file by file under the name of what asks it, as it is for SQLite.

pub(super) mod address;
pub(super) mod address_fault;
pub(super) mod batch;
mod bodies;
#[cfg(test)]
mod bodies_tests;
mod empty;
pub(super) mod engine;
#[cfg(test)]
mod errand_tests;
pub(super) mod errands;
pub(super) mod export;
#[cfg(test)]
mod first_tests;
#[cfg(test)]
mod gone_tests;
pub(super) mod import;
#[cfg(test)]
mod import_tests;
mod import_write;
#[cfg(test)]
mod late_tests;
mod mend;
pub(super) mod moving;
#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod mute_tests;
mod opening;
mod parts;
mod password;
#[cfg(test)]
mod plain_tests;
pub(super) mod reach;
pub(super) mod read;
pub(super) mod replay;
mod replay_fold;
mod replay_notes;
#[cfg(test)]
mod replay_tests;
mod replay_write;
pub(super) mod retention;
#[cfg(test)]
mod retention_tests;
mod rights;
mod rows;
mod schema;
#[cfg(test)]
mod schema_tests;
pub(super) mod session;
pub(super) mod session_failure;
pub(super) mod shadows;
pub(super) mod steps;
#[cfg(test)]
pub(super) mod tests;
mod text;
mod tls;
#[cfg(test)]
mod tls_tests;

pub(super) use engine::Postgres;
