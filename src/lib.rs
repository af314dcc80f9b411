//! **countersign** receives payment webhooks: it terminates mutual TLS itself, knows the tenant from the client
//! certificate, checks the signature over the raw body, keeps each event once, follows the payment, and tells what it
//! turned away.
//!
//! This page is the map. It states what holds, mostly what never happens; the links lead to the code that makes it so.
//!
//! # The journey of a delivery
//!
//! A delivery passes gates that open one after another. Each gate takes a value that only the gate before it can make, so
//! a handler that skips one does not compile.
//!
//! | gate | takes | gives on | refuses with |
//! |---|---|---|---|
//! | 0 limits ([`tls`]) | a TCP connection | an admitted connection | close |
//! | 1 handshake ([`tls`]) | a ClientHello | [`tls::PeerCertificates`], a verified chain | a TLS alert |
//! | 2 identity ([`identity`]) | subject, key and path | [`identity::Identified`] | 403; what is no delivery: 400, 404, 405, 501 |
//! | 3 signature ([`signature`]) | headers and the raw body | [`signature::VerifiedDelivery`] | 401, or what the profile says; another account: 403; a body that is no event, too slow or too large: 400, 408, 413 |
//! | 4 inbox ([`inbox`]) | [`inbox::Event`]s, all of a delivery or none | [`inbox::Receipt`]s, durable | 503 |
//! | 5 ledger ([`payments`]) | a [`payments::Claim`] | a [`payments::Payment`], in gate 4's transaction | nothing |
//!
//! `server/journey.rs` is the journey through it: gate 2 in `server/identify.rs`, the gates after it in `server/receive.rs`.
//!
//! # The rooms
//!
//! They stand in the order of imports: a room names only rooms above it, and no files import each other (`tests/house.rs` reads the
//! tree and holds that, and much of what follows). From `tls` to `payments` that is also the order in which a delivery meets them.
//!
//! - [`text`] makes texts fit for who reads them: a person, or a shell.
//! - [`secret`] never prints what it holds, and reads no file.
//! - [`x509`] says what a certificate says. It trusts nothing: the signatures that it checks are a request's own, and that
//!   of an issuer whom others name.
//! - [`tls`] alone names rustls. It never logs, and knows no tenant.
//! - [`identity`] never reads a header.
//! - [`signature`] takes nothing from a body before its signature held, but for the fields in which a signature, its time or what it covers
//!   stands. No provider has code of its own: a profile is data.
//! - [`inbox`] holds no SQL. It never reports success before the store did.
//! - [`payments`] is pure: no clock, no store, no float.
//! - [`refusals`] is bounded, whatever a flood brings.
//! - [`store`] is where SQL lives. It runs the ledger inside the inbox's transaction. It is so large that it has wings: one for
//!   each engine, which no other wing's SQL enters, and one for each of the spool, exports, replay and retention.
//! - [`config`] reads the environment, and the files that the configuration names. To others it leaves the sockets that a service manager
//!   hands over ([`tls`]) and the certificates that a database's address names ([`store`]). What it gives is complete and checked
//!   before a port is bound; a reload swaps it whole, or leaves it.
//! - [`telemetry`] knows every metric's name.
//! - [`ca`] is a small private CA. The receiver itself never needs its key.
//! - [`problem`] is RFC 9457 as a value.
//! - [`admin`] looks on, and asks for a reload. It changes nothing else.
//! - [`server`] alone wires; in it, only `answer.rs` knows the status of a delivery's answer.
//! - [`cli`] alone prints.
//!
//! # Whose fault it is
//!
//! A *refusal* is the sender's: an alert or a 4xx, and a record. A *failure* is ours: 503 with `Retry-After`, logged once with its
//! causes. A *fault* is the operator's: it stops the start or the reload, and names file, line, key and mend.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "a test that cannot go on fails"
    )
)]

pub mod text;
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
