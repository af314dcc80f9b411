//! What has had its time: how long things are kept, and how they go.
//!
//! [`keep`] says what is due, [`pruning`] goes through a store, [`pruned`] is what came of it. The steps are the engines'.

pub(super) mod keep;
pub(super) mod pruned;
pub(super) mod pruning;
