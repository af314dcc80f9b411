//! How a chain is verified: a path from its leaf to an anchor is found, and holds if nothing stands against it.
//!
//! webpki builds the paths of version 3 leaves and verifies their signatures, dates, constraints and purposes (RFC 5280 §6). What it
//! leaves out is judged in `judge`; leaves of version 1 have their own way here.

use std::cell::RefCell;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::candidates::Candidates;
use super::explain::explain;
use super::flaw::Flaw;
use super::judge::judge;
use super::objections::{Objection, Path};
use super::reason::HandshakeReason;
use super::signatures::{self, Signature};
use super::trust::Trust;
use crate::x509::{Certificate, Validity};

/// A chain that held.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    /// The leaf.
    pub leaf: Certificate,
    /// The anchor that it ends in.
    pub anchor: Certificate,
    /// When all of it holds: leaf, intermediates, anchor, and the lists that must be fresh.
    pub window: Validity,
}

/// A chain that did not.
#[derive(Clone, Debug)]
pub struct ChainRefusal {
    /// Why.
    pub reason: HandshakeReason,
    /// What exactly, for the operator.
    pub detail: String,
    /// The leaf, if it could be decoded.
    pub leaf: Option<Certificate>,
}

impl Trust {
    /// Verifies what a client sent, leaf first, for use as a TLS client at `now`.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedChain, ChainRefusal> {
        let Some((end, sent)) = chain.split_first() else {
            return Err(ChainRefusal {
                reason: HandshakeReason::NoCertificate,
                detail: "no certificate was presented".to_owned(),
                leaf: None,
            });
        };
        let leaf = Certificate::decode(end).map_err(|fault| ChainRefusal {
            reason: Flaw::LeafUnreadable.reason(),
            detail: Flaw::LeafUnreadable.words(&[&fault]),
            leaf: None,
        })?;
        find(self, &leaf, end, sent, now).map_err(|objection| ChainRefusal {
            reason: objection.reason,
            detail: objection.detail,
            leaf: Some(leaf),
        })
    }

    /// The anchor marked `shadow` under which a chain that was refused would have held.
    pub fn would_accept(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Option<Certificate> {
        let verified = self.shadow()?.verify(chain, now).ok()?;
        Some(verified.anchor)
    }
}

/// Finds a path that holds, or tells why there is none.
fn find(
    trust: &Trust,
    leaf: &Certificate,
    end: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<VerifiedChain, Objection> {
    let candidates = Candidates::of(trust, sent);
    if leaf.version() < 3 {
        return find_version_1(trust, leaf, now)
            .ok_or_else(|| explain(trust, leaf, &candidates, now, None));
    }
    find_version_3(trust, leaf, end, &candidates.all, now)
        .map_err(|error| explain(trust, leaf, &candidates, now, Some(&error)))
}

fn find_version_3(
    trust: &Trust,
    leaf: &Certificate,
    end: &CertificateDer<'_>,
    candidates: &[Certificate],
    now: Timestamp,
) -> Result<VerifiedChain, webpki::Error> {
    let certificate = EndEntityCert::try_from(end)?;
    let intermediates: Vec<CertificateDer<'_>> = candidates
        .iter()
        .map(|candidate| CertificateDer::from_slice(candidate.der()))
        .collect();
    let found: RefCell<Option<VerifiedChain>> = RefCell::default();
    let examine = |path: &VerifiedPath<'_>| {
        let verified = examine(trust, leaf, candidates, path, now)?;
        found.replace(Some(verified));
        Ok(())
    };
    certificate.verify_for_usage(
        trust.algorithms().all,
        trust.path_anchors(),
        &intermediates,
        unix_time(now),
        KeyUsage::client_auth(),
        None,
        Some(&examine),
    )?;
    found.into_inner().ok_or(webpki::Error::UnknownIssuer)
}

/// Judges a path that webpki found good. An error sends it to look for another; which error it is does not matter, since
/// [`explain`] judges again.
fn examine(
    trust: &Trust,
    leaf: &Certificate,
    candidates: &[Certificate],
    path: &VerifiedPath<'_>,
    now: Timestamp,
) -> Result<VerifiedChain, webpki::Error> {
    // By address: two anchors may have one subject, and even one key, but not one place.
    let place = trust
        .path_anchors()
        .iter()
        .position(|anchor| std::ptr::addr_eq(anchor, path.anchor()));
    let anchor = place
        .and_then(|place| trust.anchors().get(place))
        .ok_or(webpki::Error::UnknownIssuer)?;
    let mut intermediates = Vec::new();
    for certificate in path.intermediate_certificates() {
        let der = certificate.der();
        let candidate = candidates
            .iter()
            .find(|candidate| candidate.der() == der.as_ref())
            .ok_or(webpki::Error::UnknownIssuer)?;
        intermediates.push(candidate);
    }
    let judgement = judge(
        trust,
        &Path {
            leaf,
            intermediates: &intermediates,
            anchor,
        },
        now,
    );
    if judgement.objections.is_empty() {
        Ok(VerifiedChain {
            leaf: leaf.clone(),
            anchor: anchor.clone(),
            window: judgement.window,
        })
    } else {
        Err(webpki::Error::UnknownIssuer)
    }
}

/// A version 1 leaf has no extensions, so nothing limits what it is for: it holds only where an anchor itself signed it.
fn find_version_1(trust: &Trust, leaf: &Certificate, now: Timestamp) -> Option<VerifiedChain> {
    for anchor in trust.anchors() {
        if anchor.subject_der() != leaf.issuer_der() {
            continue;
        }
        let path = Path {
            leaf,
            intermediates: &[],
            anchor,
        };
        let judgement = judge(trust, &path, now);
        if judgement.objections.is_empty()
            && signatures::check(&leaf.signed_data(), anchor, trust.algorithms())
                == Signature::Holds
        {
            return Some(VerifiedChain {
                leaf: leaf.clone(),
                anchor: anchor.clone(),
                window: judgement.window,
            });
        }
    }
    None
}

/// In whole seconds; what was before 1970 counts as its first.
fn unix_time(now: Timestamp) -> UnixTime {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}
