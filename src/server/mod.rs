//! Wiring: the providers' side, the operator's side, and the life of the process.
//!
//! A delivery's way is `journey.rs`: gate 2 in `identify.rs`, the gates after it in `receive.rs`; what they demand of a request's head is in
//! `head.rs`, and the reading of its body in `body.rs`. What it is answered is in `answer.rs`, the only file that knows a status; what all
//! requests share in `receiver.rs`; start and stop in `life_cycle.rs`, at the signals of
//! `signals.rs`; what runs meanwhile in `background.rs`, and under whose eyes in
//! `tasks.rs`.
//!
//! Nothing is bound before the configuration is whole and the store is open, and nothing that was begun is cut at the stop before its
//! grace has passed.

mod admin_listener;
mod answer;
mod background;
mod body;
mod certificates;
mod claimed;
mod clock_doubt;
mod current;
mod delivery_memory;
mod ends;
mod head;
mod identify;
mod journey;
mod life_cycle;
mod line_bound;
mod marks;
mod notify;
mod operator;
mod receive;
mod receiver;
mod record;
mod remark;
mod retention;
mod shadow;
mod signals;
mod sockets;
mod tasks;

pub use certificates::{certificates, configured_certificates, is_revoked, of_another};
pub use life_cycle::{Prelude, ServeFailure, Start, serve, serve_into};
pub use marks::{in_words, still_marked};
pub use signals::{Signals, StopSignals};
pub use sockets::{Announced, ListenFailure};
pub use tasks::TaskEnded;
