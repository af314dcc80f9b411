//! `[event]`: from a body whose signature held to the event and the payment that it speaks of.
//!
//! [`compiled`] is the mapping, checked when it is loaded; [`facts`] is what it takes from a body. Only what the signature covers
//! ever becomes an amount, a status or an account, and no number passes through a float.

pub(super) mod around;
pub(super) mod compiled;
pub(super) mod facts;
#[cfg(test)]
mod facts_tests;
pub(super) mod known;
pub(super) mod occurred;
pub(super) mod place;
pub(super) mod refunds;
pub(super) mod reread;
mod rules;
