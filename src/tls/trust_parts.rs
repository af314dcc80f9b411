//! What a trust is built from, the choices that the configuration leaves open, and what makes none.

use crate::x509::{Certificate, DistinguishedName, RevocationList, Serial, SpkiPin};

/// Whether a leaf of X.509 version 1 may be accepted, if an anchor itself signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V1Leaf {
    /// It may.
    Accept,
    /// It may not.
    Refuse,
}

/// What a revocation list past its `nextUpdate` means, or one whose `thisUpdate` lies ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlExpired {
    /// Nobody under its issuer is accepted.
    Refuse,
    /// It counts as before.
    Warn,
}

/// What it means that an issuer has no revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlMissing {
    /// Its certificates are accepted.
    Allow,
    /// They are refused.
    Refuse,
}

/// The choices that the configuration leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    /// `tls.accept_v1_leaf`.
    pub v1_leaf: V1Leaf,
    /// `tls.crl_expired`.
    pub crl_expired: CrlExpired,
    /// `tls.crl_missing`.
    pub crl_missing: CrlMissing,
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            v1_leaf: V1Leaf::Accept,
            crl_expired: CrlExpired::Refuse,
            crl_missing: CrlMissing::Allow,
        }
    }
}

/// What the operator took trust from by hand (`countersign cutoff`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOffs {
    /// Leaves with one of these serial numbers, whoever issued them.
    pub serials: Vec<Serial>,
    /// Leaves with one of these keys.
    pub keys: Vec<SpkiPin>,
    /// Leaves with one of these subjects: all their producers are cut off.
    pub subjects: Vec<DistinguishedName>,
}

impl CutOffs {
    pub(super) fn names(&self, leaf: &Certificate) -> bool {
        self.serials.contains(leaf.serial())
            || self.keys.contains(&leaf.spki())
            || self
                .subjects
                .iter()
                .any(|subject| subject.matches(leaf.subject()))
    }
}

/// What a [`Trust`](super::Trust) is built from.
#[derive(Clone, Debug, Default)]
pub struct TrustParts {
    /// Trust anchors, each with where it comes from.
    pub anchors: Vec<Certificate>,
    /// Anchors that decide nothing; it is told what they would have accepted. A fault counts their places after the others'.
    pub shadow_anchors: Vec<Certificate>,
    /// Intermediates for clients that do not send theirs.
    pub intermediates: Vec<Certificate>,
    /// Revocation lists.
    pub crls: Vec<RevocationList>,
    /// Choices.
    pub policy: TrustPolicy,
    /// What was cut off.
    pub cut_offs: CutOffs,
}

/// Parts that make no trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustFault {
    /// There is no anchor at all.
    #[error("no trust anchor is configured")]
    NoAnchor,
    /// A certificate that is no CA's stands among the anchors.
    #[error("{subject} is not a CA's certificate")]
    NotACa {
        /// Its subject.
        subject: DistinguishedName,
        /// Its place among the anchors (the shadow anchors' come after).
        anchor: usize,
    },
    /// An anchor cannot be used.
    #[error("the certificate of {subject} cannot be a trust anchor: {detail}")]
    Unusable {
        /// Its subject.
        subject: DistinguishedName,
        /// Its place among the anchors (the shadow anchors' come after).
        anchor: usize,
        /// Why.
        detail: String,
    },
    /// No configured CA signed a revocation list.
    #[error("no configured CA signed the CRL of {issuer}")]
    ForeignCrl {
        /// Whom it names as its issuer.
        issuer: DistinguishedName,
        /// Its place among the lists.
        crl: usize,
    },
    /// A revocation list of a kind that cannot be followed (delta, indirect, unknown critical extension).
    #[error("the CRL of {issuer} cannot be used: {detail}")]
    UnusableCrl {
        /// Whom it names as its issuer.
        issuer: DistinguishedName,
        /// Its place among the lists.
        crl: usize,
        /// Why.
        detail: String,
    },
}
