//! What has had its time: how long things are kept, and how they go.
//!
//! [`keep`] says what is due, [`clock`] what time it may be taken for, [`pruning`] goes through a store, [`pruned`] is what came of
//! it. The steps are the engines'.

mod clock;
pub(super) mod keep;
pub(super) mod pruned;
pub(super) mod pruning;
