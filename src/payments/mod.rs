//! Gate 5: what a payment's state is, given the set of events that speak of it.
//!
//! The state of a [`Payment`] is a pure function of the *set* of its accepted events: whatever the order of
//! arrival, the ledger ends the same. Each field is a register that the greatest event wins which states it,
//! by [`Recency`]; [`Payment::apply`] takes one event, [`Payment::merge`] two halves of a set.
//!
//! A [`Claim`] is an event as far as the ledger understands it; an event that makes none is [`Unmapped`].
//! Amounts are integers of the currency's smallest unit (ISO 4217), converted from the text in the body.
//!
//! Promises: pure, no clock, no input and output, no float. Never: guesses an amount that it cannot convert
//! exactly.

mod amount;
#[cfg(test)]
mod bodies_tests;
mod claim;
#[cfg(test)]
mod currencies_tests;
#[cfg(test)]
mod ends_tests;
mod currency;
#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod later_tests;
mod payment;
#[cfg(test)]
mod profiles_tests;
mod status;
#[cfg(test)]
mod whose_tests;

pub use amount::{Amount, AmountFault};
pub use claim::{Claim, Recency, Unmapped, Unreadable, unreadable};
pub use currency::{Currency, UnknownCurrency};
pub use payment::{Effect, Payment, Registers, UnreadablePayment};
pub use status::{Status, UnknownStatus};
