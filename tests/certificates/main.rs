//! Certificates as OpenSSL makes and reads them: what we decode is what it wrote, and what we issue is what it accepts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod hostile;
mod leaves;
mod openssl;
mod private_ca;
mod revocation;
