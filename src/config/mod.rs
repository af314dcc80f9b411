//! `countersign.toml` to [`Config`]; `Fault`; the `Snapshot` that a reload swaps.
mod fault;
mod key;
mod tree;

pub use fault::{Fault, Warning};
