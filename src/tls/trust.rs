//! Whom we trust: anchors, intermediates, revocation lists, and the rules by which a chain is verified.
//!
//! A [`Trust`] is complete and checked when it is built, and never changes; a reload builds another. `path` finds the path of a
//! chain under it, `explain` tells why there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::objections::{
    CONSTRAINS_DIRECTORY_NAMES, CONSTRAINS_DIRECTORY_NAMES_MEND, bar_of_anchor,
    constrains_directory_names,
};
use super::revocation::{Concerned, Forgetful, Issuers, RevocationLists};
use super::signatures::{self, Signature};
use super::trust_parts::{CrlExpired, CutOffs, TrustFault, TrustParts, TrustPolicy};
use crate::x509::{Certificate, DistinguishedName, RevocationList, Serial, SpkiPin};

/// What is no fault of the configuration, and still matters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustWarning {
    /// An anchor's own validity has ended, and with it that of everything below.
    #[error("the trust anchor {subject} ended at {since:.0}: nobody under it is accepted")]
    AnchorEnded {
        /// Its subject.
        subject: DistinguishedName,
        /// When.
        since: Timestamp,
    },
    /// An anchor's own validity has not begun.
    #[error(
        "the trust anchor {subject} is not valid before {begins:.0}: nobody under it is accepted"
    )]
    AnchorNotBegun {
        /// Its subject.
        subject: DistinguishedName,
        /// When it begins.
        begins: Timestamp,
    },
    /// What an anchor says of itself forbids everything that it is configured for.
    #[error("nobody under the trust anchor {subject} is accepted: {bar}")]
    AnchorUseless {
        /// Its subject.
        subject: DistinguishedName,
        /// What stands in it, or is missing.
        bar: String,
    },
    /// A CA's nameConstraints speak of directory names, so nothing below it is taken.
    #[error(
        "the CA {subject} {}; {}",
        CONSTRAINS_DIRECTORY_NAMES,
        CONSTRAINS_DIRECTORY_NAMES_MEND
    )]
    ConstrainsDirectoryNames {
        /// Its subject.
        subject: DistinguishedName,
    },
    /// A revocation list is past its `nextUpdate`.
    #[error("the CRL of {issuer} ended at {since:.0}: {}", consequence_of_end(*.consequence))]
    CrlEnded {
        /// Whose list it is.
        issuer: DistinguishedName,
        /// When.
        since: Timestamp,
        /// What that means, by `tls.crl_expired`.
        consequence: CrlExpired,
    },
    /// A revocation list is of the future.
    #[error("the CRL of {issuer} begins only at {begins:.0}: {}", consequence_until_begin(*.consequence))]
    CrlNotBegun {
        /// Whose list it is.
        issuer: DistinguishedName,
        /// When it begins.
        begins: Timestamp,
        /// What that means, by `tls.crl_expired`.
        consequence: CrlExpired,
    },
}

fn consequence_of_end(consequence: CrlExpired) -> &'static str {
    match consequence {
        CrlExpired::Refuse => "nobody under it is accepted",
        CrlExpired::Warn => "whom it should name by now is accepted (tls.crl_expired)",
    }
}

fn consequence_until_begin(consequence: CrlExpired) -> &'static str {
    match consequence {
        CrlExpired::Refuse => "until then nobody whom no other list covers is accepted under it",
        CrlExpired::Warn => "whom it does not name is accepted all the same (tls.crl_expired)",
    }
}

/// A built trust. Each has a generation of its own, so that "is it still the same?" is one comparison.
#[derive(Debug)]
pub struct Trust {
    anchors: Vec<Certificate>,
    paths: Vec<TrustAnchor<'static>>,
    shadow: Option<Box<Trust>>,
    intermediates: Vec<Certificate>,
    revocation: Arc<RevocationLists>,
    policy: TrustPolicy,
    cut_offs: CutOffs,
    algorithms: WebPkiSupportedAlgorithms,
    generation: u64,
}

impl Trust {
    /// Builds a trust, or tells everything that is wrong with the parts.
    pub fn build(parts: TrustParts) -> Result<Self, Vec<TrustFault>> {
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let mut faults = Vec::new();
        if parts.anchors.is_empty() {
            faults.push(TrustFault::NoAnchor);
        }
        let mut paths = Vec::new();
        let anchors = parts.anchors.iter().chain(&parts.shadow_anchors);
        for (place, anchor) in anchors.enumerate() {
            match path_anchor(anchor, place, &algorithms) {
                Ok(path) => paths.push(path),
                Err(fault) => faults.push(fault),
            }
        }
        let issuers = Issuers {
            anchors: &parts.anchors,
            shadow_anchors: &parts.shadow_anchors,
            intermediates: &parts.intermediates,
        };
        let revocation = RevocationLists::build(parts.crls, &issuers, &algorithms, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let shadow_paths = paths.split_off(parts.anchors.len());
        let live = Self {
            anchors: parts.anchors,
            paths,
            shadow: None,
            intermediates: parts.intermediates,
            revocation: Arc::new(revocation),
            policy: parts.policy,
            cut_offs: parts.cut_offs,
            algorithms,
            generation: next_generation(),
        };
        Ok(live.watched_by(parts.shadow_anchors, shadow_paths))
    }

    /// Adds what decides nothing: a trust like this one under other anchors.
    fn watched_by(mut self, anchors: Vec<Certificate>, paths: Vec<TrustAnchor<'static>>) -> Self {
        if !anchors.is_empty() {
            self.shadow = Some(Box::new(Self {
                anchors,
                paths,
                shadow: None,
                intermediates: self.intermediates.clone(),
                revocation: Arc::clone(&self.revocation),
                policy: self.policy,
                cut_offs: self.cut_offs.clone(),
                algorithms: self.algorithms,
                generation: next_generation(),
            }));
        }
        self
    }

    /// The same trust with other cut-offs: another generation, so that every connection is asked again.
    pub fn with_cut_offs(&self, cut_offs: &CutOffs) -> Self {
        let shadow = self.shadow.as_ref();
        Self {
            anchors: self.anchors.clone(),
            paths: self.paths.clone(),
            shadow: shadow.map(|shadow| Box::new(shadow.with_cut_offs(cut_offs))),
            intermediates: self.intermediates.clone(),
            revocation: Arc::clone(&self.revocation),
            policy: self.policy,
            cut_offs: cut_offs.clone(),
            algorithms: self.algorithms,
            generation: next_generation(),
        }
    }

    /// What tells this trust from every other of this process; never 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The trust anchors.
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// The configured intermediates.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The revocation lists that count.
    pub fn crls(&self) -> impl Iterator<Item = &RevocationList> {
        self.revocation.lists()
    }

    /// Whether a list that counts names the certificate of this serial number. A list of an anchor that only watches counts where it is
    /// that of the issuer's key.
    pub fn is_revoked(
        &self,
        serial: &Serial,
        issuer: &DistinguishedName,
        issuer_key: Option<SpkiPin>,
        now: Timestamp,
    ) -> bool {
        self.revocation.name(serial, issuer, issuer_key, now)
    }

    /// Whom it concerns that a revocation list has ended or not begun; none of one that holds.
    pub fn out_of_time(&self, list: &RevocationList, now: Timestamp) -> Option<Concerned> {
        let issuers: Vec<&Certificate> = self.anchors.iter().chain(&self.intermediates).collect();
        self.revocation.out_of_time(list, &issuers, now)
    }

    /// Each revocation list here that stands in the place of a newer one that `before` has, and does not name all whom that one revokes.
    pub fn lists_that_forgot<'a>(
        &'a self,
        before: &'a Self,
        now: Timestamp,
    ) -> impl Iterator<Item = Forgetful<'a>> {
        self.revocation.that_forgot(&before.revocation, now)
    }

    /// Whether a revocation list is configured by which certificates of this issuer are judged.
    pub fn has_list_of(&self, issuer: &Certificate, now: Timestamp) -> bool {
        self.revocation.has_any(issuer, now)
    }

    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    pub(super) fn path_anchors(&self) -> &[TrustAnchor<'static>] {
        &self.paths
    }

    pub(super) fn revocation(&self) -> &RevocationLists {
        &self.revocation
    }

    pub(super) fn policy(&self) -> TrustPolicy {
        self.policy
    }

    pub(super) fn cut_offs(&self) -> &CutOffs {
        &self.cut_offs
    }

    /// The trust that decides nothing.
    pub(super) fn shadow(&self) -> Option<&Self> {
        self.shadow.as_deref()
    }

    /// The anchors that decide nothing.
    pub fn shadow_anchors(&self) -> &[Certificate] {
        self.shadow().map_or(&[], Self::anchors)
    }

    /// What is no fault, but ends deliveries now or soon enough: for the log and for `countersign check`.
    pub fn warnings(&self, now: Timestamp) -> Vec<TrustWarning> {
        let mut warnings = Vec::new();
        let shadow = self.shadow.iter().flat_map(|shadow| &shadow.anchors);
        for anchor in self.anchors.iter().chain(shadow) {
            let subject = anchor.subject().clone();
            let validity = anchor.validity();
            if validity.is_past_end(now) {
                let since = validity.not_after;
                warnings.push(TrustWarning::AnchorEnded { subject, since });
            } else if validity.is_before_start(now) {
                let begins = validity.not_before;
                warnings.push(TrustWarning::AnchorNotBegun { subject, begins });
            } else if constrains_directory_names(anchor) {
                warnings.push(TrustWarning::ConstrainsDirectoryNames { subject });
            } else if let Some(bar) = bar_of_anchor(anchor) {
                warnings.push(TrustWarning::AnchorUseless { subject, bar });
            }
        }
        for intermediate in &self.intermediates {
            if constrains_directory_names(intermediate) {
                let subject = intermediate.subject().clone();
                warnings.push(TrustWarning::ConstrainsDirectoryNames { subject });
            }
        }
        for list in self.revocation.lists() {
            let issuer = list.issuer().clone();
            // An old list beside its successor changes nothing.
            let concerned = self.out_of_time(list, now);
            if concerned.is_none_or(|concerned| concerned == Concerned::Nobody) {
                continue;
            }
            let consequence = self.policy.crl_expired;
            if let Some(since) = list.next_update().filter(|until| *until < now) {
                warnings.push(TrustWarning::CrlEnded {
                    issuer,
                    since,
                    consequence,
                });
            } else {
                let begins = list.this_update();
                warnings.push(TrustWarning::CrlNotBegun {
                    issuer,
                    begins,
                    consequence,
                });
            }
        }
        warnings
    }
}

fn next_generation() -> u64 {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1);
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// The form in which webpki knows an anchor. Anchors may be of version 1, as roots made long ago are: those that signed
/// themselves, for nothing else says that they are a CA's.
fn path_anchor(
    anchor: &Certificate,
    place: usize,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<TrustAnchor<'static>, TrustFault> {
    let is_a_ca = if anchor.version() < 3 {
        anchor.is_self_issued()
            && signatures::check(&anchor.signed_data(), anchor, algorithms) != Signature::Broken
    } else {
        anchor.is_ca()
    };
    if !is_a_ca {
        return Err(TrustFault::NotACa {
            subject: anchor.subject().clone(),
            anchor: place,
        });
    }
    let der = CertificateDer::from_slice(anchor.der());
    let path = webpki::anchor_from_trusted_cert(&der).map_err(|error| TrustFault::Unusable {
        subject: anchor.subject().clone(),
        anchor: place,
        detail: error.to_string(),
    })?;
    Ok(path.to_owned())
}
