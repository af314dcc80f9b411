//! Profiles as data: what stands under `[profiles.NAME]` and in `profiles.toml`, and what it means.
//!
//! [`descriptor`] is the written form, [`meaning`] what it comes to, checked once and whole; [`covering`] finds what would
//! be taken and is not proved, [`impossible`] what no delivery could ever meet. [`catalogue`] knows them by name, and
//! [`extend`] joins one with another.

pub(super) mod algorithm;
mod borders;
pub(super) mod catalogue;
mod challenge_descriptor;
mod covering;
pub(super) mod descriptor;
mod event_descriptor;
mod extend;
pub(super) mod faults;
#[cfg(test)]
mod faults_tests;
mod impossible;
mod impossible_event;
pub(super) mod meaning;
mod place_descriptor;
pub(super) mod sent;
mod time_unit;
