//! Rebuilding the ledger from the kept bodies, with today's mapping.
//!
//! [`rebuild`] is the command; [`reading`] is what an event says under a mapping, [`fold`] what a payment's events come to:
//! the same for both engines.

pub(super) mod fold;
pub(super) mod reading;
pub(super) mod rebuild;
