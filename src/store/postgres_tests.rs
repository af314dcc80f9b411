//! What PostgreSQL alone has to prove: several receivers, outages, and texts that it cannot hold.

#[path = "../../tests/it/postgres.rs"]
pub(super) mod server;
