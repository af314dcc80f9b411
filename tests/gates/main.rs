//! Gates 0 and 1 without the binary: an acceptor is served in this process, and real sockets come to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod connections;
mod kit;
