//! A path, judged by everything that can be said without a signature: its certificates, cut-offs, and revocation by lists whose
//! signers are configured.

use jiff::Timestamp;

use super::objections::{Objection, Path, object_to_issuers, object_to_leaf, outside_dates};
use super::reason::HandshakeReason;
use super::revocation::Revocation;
use super::trust::Trust;
use super::trust_parts::{CrlExpired, CrlMissing};
use crate::x509::{Certificate, Validity};

/// What is to be said of a path: what stands against it, the most telling first, and when it holds if nothing does.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) objections: Vec<Objection>,
    pub(super) window: Validity,
}

/// Judges a path whose signatures hold.
pub(super) fn judge(trust: &Trust, path: &Path<'_>, now: Timestamp) -> Judgement {
    let mut objections = Vec::new();
    let mut window = path.leaf.validity();
    for issuer in path.issuers() {
        window = window.intersect(issuer.validity());
    }
    if trust.cut_offs().names(path.leaf) {
        let detail = "cut off by the operator; `countersign cutoff --lift` undoes it";
        objections.push(Objection::new(HandshakeReason::Revoked, detail));
    }
    let mut uncertain = Vec::new();
    for (subject, issuer) in path.links() {
        match not_revoked(trust, subject, issuer, now) {
            Ok(until) => window.not_after = window.not_after.min(until),
            Err(objection) if objection.reason == HandshakeReason::Revoked => {
                objections.push(objection);
            }
            Err(objection) => uncertain.push(objection),
        }
    }
    objections.extend(outside_dates("the leaf", path.leaf, now));
    for intermediate in path.intermediates {
        objections.extend(outside_dates("the intermediate", intermediate, now));
    }
    objections.extend(outside_dates("the trust anchor", path.anchor, now));
    object_to_leaf(trust.policy(), path, &mut objections);
    object_to_issuers(path, &mut objections);
    objections.append(&mut uncertain);
    Judgement { objections, window }
}

/// Until when the answer "not revoked" holds; for ever, where nothing demands a fresh list.
fn not_revoked(
    trust: &Trust,
    subject: &Certificate,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<Timestamp, Objection> {
    let policy = trust.policy();
    let unknown = |detail| Err(Objection::new(HandshakeReason::RevocationUnknown, detail));
    match trust.revocation().look_up(subject, issuer, now) {
        Revocation::Revoked => {
            let (serial, issuer) = (subject.serial(), issuer.subject());
            let detail = format!("the CRL of {issuer} names serial {serial}");
            Err(Objection::new(HandshakeReason::Revoked, detail))
        }
        Revocation::Fresh { until } if policy.crl_expired == CrlExpired::Refuse => Ok(until),
        Revocation::Stale { since } if policy.crl_expired == CrlExpired::Refuse => unknown(
            format!("the CRL of {} ended at {since:.0}", issuer.subject()),
        ),
        Revocation::Ahead { begins }
            if policy.crl_expired == CrlExpired::Refuse
                || policy.crl_missing == CrlMissing::Refuse =>
        {
            let issuer = issuer.subject();
            unknown(format!("the CRL of {issuer} begins only at {begins:.0}"))
        }
        Revocation::NoList if policy.crl_missing == CrlMissing::Refuse => unknown(format!(
            "no CRL of {} that covers {} is configured",
            issuer.subject(),
            subject.subject()
        )),
        Revocation::Fresh { .. }
        | Revocation::Stale { .. }
        | Revocation::Ahead { .. }
        | Revocation::NoList => Ok(Timestamp::MAX),
    }
}
