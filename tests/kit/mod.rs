//! What tests that drive the real binary stand on: a receiver, its CA, a provider, real peers and a throw-away PostgreSQL.
//!
//! A target includes the whole of it, by `#[path = "../kit/mod.rs"] mod kit;`. The library's own tests, which have no
//! binary, take [`postgres`] and [`eventually`](mod@eventually) alone, side by side in one module as here.
#![allow(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    reason = "each target uses a part of it"
)]

pub(crate) mod authority;
pub(crate) mod eventually;
pub(crate) mod peers;
pub(crate) mod postgres;
pub(crate) mod producer;
pub(crate) mod receiver;

pub(crate) use authority::{Authority, Identity, Leaf};
pub(crate) use eventually::{eventually, eventually_ok};
pub(crate) use producer::{Answer, Producer, event};
pub(crate) use receiver::{Changes, Receiver};
