//! countersign: a webhook receiver for payment providers.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod secret;
pub mod x509;
pub mod tls;
pub mod identity;
pub mod signature;
pub mod inbox;
pub mod payments;
pub mod refusals;
pub mod store;
pub mod config;
pub mod telemetry;
pub mod ca;
pub mod problem;
pub mod admin;
pub mod server;
pub mod cli;
