//! Drives the real binary from outside, as a provider, an operator and a stranger would.
//!
//! # How to write a test
//!
//! ```text
//! #[test]
//! fn a_signed_delivery_is_accepted_and_kept() {
//!     let receiver = Receiver::start();                  // its own CA, directory, ports and process
//!     let mut producer = receiver.producer();            // the configured one: certificate and secret
//!     assert_eq!(producer.deliver(r#"{"id":"evt_1"}"#).status, 204);
//!     let events = receiver.countersign(&["events", "list", "--json"]);
//!     assert!(events.stdout.contains("evt_1"));
//! }                                                      // the process is ended, the directory removed
//! ```
//!
//! - [`Receiver`] is one running `countersign serve`. `Receiver::with` changes its configuration before the
//!   start; `kill`, `terminate`, `restart` and `reload` are what happens to a process.
//! - [`Authority`] is a private CA; [`Identity`] is a leaf with its key, good or bad as the test wants it.
//! - [`Producer`] speaks mutual TLS and HTTP/1.1 on one kept-alive connection and signs what it delivers;
//!   `Connection` below it sends raw bytes.
//! - [`peers`] runs real `curl` and `openssl`.
//! - [`eventually`] waits for a state; no test waits for time to pass.
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

mod answers;
mod benching;
mod connections;
mod cutoff;
mod deliveries;
mod displaced;
mod explaining;
mod figures;
mod handshakes;
mod life_cycle;
mod moving;
mod origins;
mod outage;
mod overload;
mod radar;
mod rehearsal;
mod replay;
mod resumption;
mod retention;
mod rotation;
mod sending;
mod shadow;
mod tables;
mod told;

pub(crate) use kit::{
    Answer, Authority, Identity, Leaf, Producer, Receiver, authority, event, eventually, peers,
    postgres, producer, receiver,
};

/// A tenant whose producer has the subject and the name of the first one's, on a path of its own.
const SECOND_TENANT: &str = "[[tenants]]\nid = \"tenant-7\"\n[[tenants.producers]]\nname = \"payments-provider\"\n\
                             subject = \"CN=payments-provider,O=Example,OU=tenant-42\"\npath = \"/webhooks/seven\"\n\
                             secrets = [\"file:certs/producer.secret\"]\n";
