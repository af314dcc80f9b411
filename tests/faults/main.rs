//! Breaks what the real binary stands on, under load, and looks at what is left.
//!
//! # How to write a test
//!
//! ```text
//! #[test]
//! fn a_receiver_that_is_killed_loses_nothing() {
//!     let mut scene = Scene::new("killed", Changes::default());  // a receiver on a port that it keeps, and a seed
//!     let load = Load::begin(&scene);                            // several providers, each in a thread
//!     load.advance(scene.chance.up_to(50));                      // so many more are acknowledged, or it fails
//!     scene.receiver.kill();                                     // the fault
//!     scene.receiver.restart();
//!     load.advance(50);                                          // it recovered, without a hand
//!     verify(&scene.receiver, &load.finish());                   // each sender ends once its last event is acknowledged
//! }
//! ```
//!
//! - [`Scene`] is a receiver, with a port that it keeps when it is started again, and the seed of all that is left to
//!   chance. A failure prints the seed; `COUNTERSIGN_FAULTS_SEED` plays it again.
//! - [`Load`] sends signed payment events over mutual TLS, in any order, some of them twice, some under a taken id, and
//!   each until it is acknowledged.
//! - [`Model`] is the contract's ledger in the plainest words; it calls nothing of the library.
//! - [`verify`] holds the store's lists against what was sent: each event once, nothing else, the ledger equal to the model.
//! - [`Proxy`] stands between a receiver and its database; [`SmallDisk`] and [`Limit`] bound what it can write; [`Clock`] is
//!   a clock that jumps.
//! - What the machine lacks is said loudly, and under CI it fails; but where nothing can be mounted (a container without
//!   rights), files that may not grow stand in for the full disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "../kit/mod.rs"]
mod kit;

mod clock;
mod disk;
mod load;
mod model;
mod proxy;
mod scene;
mod verify;

mod clocks_that_jump;
mod databases;
mod disks_that_fill;
mod networks;
mod processes;

pub(crate) use clock::Clock;
pub(crate) use disk::{Limit, SmallDisk};
pub(crate) use kit::{
    Answer, Changes, Producer, Receiver, eventually, eventually_ok, postgres, producer,
};
pub(crate) use load::{Load, Sent};
pub(crate) use model::{Model, Told};
pub(crate) use proxy::{Proxy, Way};
pub(crate) use scene::{Chance, Scene};
pub(crate) use verify::verify;
