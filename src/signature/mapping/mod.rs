//! `[event]`: from a body whose signature held to the event and the payment that it speaks of.
//!
//! [`compiler`] checks it when it is loaded, [`compiled`] is what comes of that, [`read`] takes [`facts`] from a body by it. Only what the signature covers
//! ever becomes an amount, a status or an account, and no number passes through a float.

pub(super) mod around;
pub(super) mod compiled;
mod compiler;
pub(super) mod facts;
#[cfg(test)]
mod facts_tests;
pub(super) mod known;
pub(super) mod occurred;
pub(super) mod place;
mod read;
pub(super) mod refunds;
pub(super) mod reread;
mod rules;
