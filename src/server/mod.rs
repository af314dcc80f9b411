//! server
pub mod notify;
