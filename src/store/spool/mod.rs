//! The spool: deliveries are made durable in a file beside the receiver while the database is away, and moved later.
//!
//! [`spooling`] decides where a delivery goes, [`engine`] writes it down, [`mover`] brings it to the database, in order and
//! exactly once. Only PostgreSQL has a spool: the embedded store is a file itself.

pub(super) mod backlog;
pub(super) mod engine;
#[cfg(test)]
mod fault_tests;
mod form;
pub(super) mod mover;
#[cfg(test)]
mod place_tests;
mod queue;
mod reserve;
pub(super) mod spooling;
#[cfg(test)]
mod tests;
mod uncertain;
