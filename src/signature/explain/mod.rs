//! Why a signature does not match, for the person who has the request, the body and the secret at hand.
//!
//! [`report`] tells what was signed and what was expected; [`search`] looks for the fewest of the usual [`mistakes`] under which
//! a listed signature would match. No report holds a secret or a valid signature ([`shown`]).

mod absent;
mod as_kept;
mod bodies;
mod candidates;
mod delivery;
mod exchanged;
pub(super) mod explanation;
#[cfg(test)]
mod absent_tests;
#[cfg(test)]
mod around_tests;
#[cfg(test)]
mod blamed_tests;
#[cfg(test)]
mod mistakes_tests;
#[cfg(test)]
mod signatures_tests;
#[cfg(test)]
mod usual_tests;
mod floats;
pub(super) mod mistakes;
mod other_contents;
mod other_credential;
pub(super) mod other_keys;
mod other_urls;
mod otherwise;
pub(super) mod rewritten;
pub(super) mod rewritten_form;
pub(super) mod report;
mod search;
pub(super) mod shown;
mod ways_to_key;
