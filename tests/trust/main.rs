//! Attacks gate 1: chains, revocation lists and handshakes of every quality, against a clock that is an argument.
//!
//! `forge` makes what a CA would not; `anchors`, `chains`, `namesakes`, `revocation` and `version_1` ask a `Trust` directly, `handshakes` and `recheck` shake hands
//! in memory, as the two `peers` do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod anchors;
mod chains;
mod forge;
mod handshakes;
mod namesakes;
mod peers;
mod recheck;
mod revocation;
mod version_1;

use countersign::tls::{Flaw, Trust, TrustParts};
use countersign::x509::Certificate;
use jiff::Timestamp;

/// When the tests take place.
pub(crate) fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

pub(crate) fn parts(anchors: &[&[u8]]) -> TrustParts {
    TrustParts {
        anchors: leaves(anchors),
        ..TrustParts::default()
    }
}

pub(crate) fn trust(anchors: &[&[u8]]) -> Trust {
    Trust::build(parts(anchors)).unwrap()
}

pub(crate) fn leaves(certificates: &[&[u8]]) -> Vec<Certificate> {
    let decode = |der: &&[u8]| Certificate::decode(der).unwrap();
    certificates.iter().map(decode).collect()
}

/// The reason for which `chain` is refused, or that it holds.
#[track_caller]
pub(crate) fn verdict(trust: &Trust, chain: &[&[u8]]) -> &'static str {
    verdict_at(trust, chain, now())
}

#[track_caller]
pub(crate) fn verdict_at(trust: &Trust, chain: &[&[u8]], at: Timestamp) -> &'static str {
    let chain: Vec<_> = chain.iter().map(|der| (*der).into()).collect();
    match trust.verify(&chain, at) {
        Ok(verified) => {
            assert!(verified.window.contains(at), "{:?}", verified.window);
            "holds"
        }
        Err(refusal) => {
            let (reason, detail) = (refusal.reason.as_str(), refusal.detail);
            eprintln!("{reason}: {detail}");
            // What is to be done about these depends on the flaw, which whoever has the detail alone must know again.
            let is_flawed = Flaw::ALL.iter().any(|flaw| flaw.reason() == refusal.reason);
            assert_eq!(
                is_flawed,
                Flaw::told_by(reason, &detail).is_some(),
                "{detail}"
            );
            reason
        }
    }
}
