//! What has had its time: how long things are kept, and how they go.
//!
//! [`keep`] says what is due, [`clock`] what time it may be taken for. [`pruning`] goes through a store, by what stands in [`asked`] and
//! what [`pruner`] remembers of the pass before; [`pruned`] is what came of it. The steps are the engines'.

pub(super) mod asked;
mod clock;
pub(super) mod keep;
pub(super) mod pruned;
pub(super) mod pruner;
pub(super) mod pruning;
