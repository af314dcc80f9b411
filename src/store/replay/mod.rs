//! Rebuilding the ledger from the kept bodies, with today's mapping.
//!
//! [`rebuild`] is the command, [`asked`] what it is told, [`outcome`] what it comes to; [`reading`] is what an event says under a mapping, [`fold`] what a payment's events come to:
//! the same for both engines.

pub(super) mod asked;
pub(super) mod fold;
pub(super) mod not_rebuilt;
pub(super) mod outcome;
pub(super) mod reading;
pub(super) mod rebuild;

#[cfg(test)]
mod tests;
