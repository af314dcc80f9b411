//! Whom we trust: anchors, intermediates, revocation lists, and the rules by which a chain is verified.
//!
//! Paths are built and verified by webpki (RFC 5280 §6). On top of it stand the checks that it leaves out: an anchor's own
//! validity, path length and key usage, keyCertSign of each issuer, digitalSignature of the leaf, and revocation by lists whose
//! signers were established when they were loaded. A [`Trust`] never changes; a reload builds another.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::HandshakeReason;
use super::revocation::{Revocation, RevocationLists};
use super::version_1;
use crate::x509::{DistinguishedName, Leaf, RevocationList, Serial, SpkiPin, Validity};

/// More certificates than this in one chain are refused unread.
const CHAIN_MAX: usize = 10;

/// Whether a leaf of X.509 version 1 may be accepted, if an anchor itself signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V1Leaf {
    /// It may.
    Accept,
    /// It may not.
    Refuse,
}

/// What a revocation list past its `nextUpdate` means.
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
    fn names(&self, leaf: &Leaf) -> bool {
        self.serials.contains(leaf.serial())
            || self.keys.contains(&leaf.spki())
            || self
                .subjects
                .iter()
                .any(|subject| subject.matches(leaf.subject()))
    }
}

/// What a [`Trust`] is built from.
#[derive(Clone, Debug, Default)]
pub struct TrustParts {
    /// Trust anchors, each with where it comes from.
    pub anchors: Vec<Leaf>,
    /// Anchors that decide nothing; it is told what they would have accepted.
    pub shadow_anchors: Vec<Leaf>,
    /// Intermediates for clients that do not send theirs.
    pub intermediates: Vec<Leaf>,
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
        /// Its place among the anchors.
        anchor: usize,
    },
    /// An anchor can not be used.
    #[error("the certificate of {subject} can not be a trust anchor: {detail}")]
    Unusable {
        /// Its subject.
        subject: DistinguishedName,
        /// Its place among the anchors.
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
    /// A revocation list of a kind that can not be followed (delta, indirect, unknown critical extension).
    #[error("the CRL of {issuer} can not be used: {detail}")]
    UnusableCrl {
        /// Whom it names as its issuer.
        issuer: DistinguishedName,
        /// Its place among the lists.
        crl: usize,
        /// Why.
        detail: String,
    },
}

/// A chain that held.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    /// The leaf.
    pub leaf: Leaf,
    /// The anchor that it ends in.
    pub anchor: Leaf,
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
    pub leaf: Option<Leaf>,
}

/// One reason on one path.
#[derive(Clone, Debug)]
pub(super) struct Objection {
    pub(super) reason: HandshakeReason,
    pub(super) detail: String,
}

impl Objection {
    pub(super) fn new(reason: HandshakeReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// A built trust. Each has a generation of its own, so that "is it still the same?" is one comparison.
#[derive(Debug)]
pub struct Trust {
    anchors: Vec<Leaf>,
    paths: Vec<TrustAnchor<'static>>,
    shadow: Option<Box<Trust>>,
    intermediates: Vec<Leaf>,
    revocation: RevocationLists,
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
        for (place, anchor) in parts.anchors.iter().enumerate() {
            match path_anchor(anchor, place) {
                Ok(path) => paths.push(path),
                Err(fault) => faults.push(fault),
            }
        }
        let issuers: Vec<Leaf> = parts
            .anchors
            .iter()
            .chain(&parts.intermediates)
            .cloned()
            .collect();
        let revocation = RevocationLists::build(parts.crls, &issuers, &algorithms, &mut faults);
        let shadow = if parts.shadow_anchors.is_empty() {
            None
        } else {
            let parts = TrustParts {
                anchors: parts.shadow_anchors,
                intermediates: parts.intermediates.clone(),
                policy: parts.policy,
                cut_offs: parts.cut_offs.clone(),
                shadow_anchors: Vec::new(),
                crls: Vec::new(),
            };
            Self::build(parts)
                .map_err(|more| faults.extend(more))
                .ok()
                .map(Box::new)
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            anchors: parts.anchors,
            paths,
            shadow,
            intermediates: parts.intermediates,
            revocation,
            policy: parts.policy,
            cut_offs: parts.cut_offs,
            algorithms,
            generation: next_generation(),
        })
    }

    /// What tells this trust from every other of this process; never 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The trust anchors.
    pub fn anchors(&self) -> &[Leaf] {
        &self.anchors
    }

    /// The configured intermediates.
    pub fn intermediates(&self) -> &[Leaf] {
        &self.intermediates
    }

    /// The revocation lists that count.
    pub fn crls(&self) -> impl Iterator<Item = &RevocationList> {
        self.revocation.lists()
    }

    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Verifies what a client sent, leaf first, for use as a TLS client at `now`.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedChain, ChainRefusal> {
        let refuse = |objection: Objection, leaf: Option<&Leaf>| ChainRefusal {
            reason: objection.reason,
            detail: objection.detail,
            leaf: leaf.cloned(),
        };
        let Some((end, sent)) = chain.split_first() else {
            return Err(refuse(
                Objection::new(
                    HandshakeReason::NoCertificate,
                    "no certificate was presented",
                ),
                None,
            ));
        };
        let leaf = Leaf::decode(end).map_err(|fault| {
            let detail = format!("the leaf can not be decoded: {fault}");
            refuse(
                Objection::new(HandshakeReason::UnsupportedCertificate, detail),
                None,
            )
        })?;
        if chain.len() > CHAIN_MAX {
            let detail = format!(
                "{} certificates were sent, more than {CHAIN_MAX}",
                chain.len()
            );
            return Err(refuse(
                Objection::new(HandshakeReason::UnsupportedCertificate, detail),
                Some(&leaf),
            ));
        }
        let mut verified = if leaf.version() < 3 {
            self.verify_version_1(&leaf, sent, now)
        } else {
            self.verify_path(&leaf, end, sent, now)
        }
        .map_err(|objection| refuse(objection, Some(&leaf)))?;
        if self.cut_offs.names(&verified.leaf) {
            let detail = "cut off by the operator; `countersign cutoff --lift` undoes it";
            return Err(refuse(
                Objection::new(HandshakeReason::Revoked, detail),
                Some(&leaf),
            ));
        }
        verified.window = verified.window.intersect(verified.leaf.validity());
        Ok(verified)
    }

    /// The anchor marked `shadow` under which a chain that was refused for want of an issuer would have held.
    pub fn would_accept(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Leaf> {
        let verified = self.shadow.as_ref()?.verify(chain, now).ok()?;
        Some(verified.anchor)
    }

    fn verify_path(
        &self,
        leaf: &Leaf,
        end: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedChain, Objection> {
        match self.build_path(leaf, end, sent, now) {
            // webpki looks at the leaf's dates before anything else: whether the rest would have held decides if this
            // certificate really lapsed, or only claims a subject that it never had.
            Err(lapsed)
                if matches!(
                    lapsed.reason,
                    HandshakeReason::Expired | HandshakeReason::NotYetValid
                ) =>
            {
                let when = if leaf.validity().is_past_end(now) {
                    leaf.validity().not_after
                } else if leaf.validity().is_before_start(now) {
                    leaf.validity().not_before
                } else {
                    return Err(lapsed);
                };
                match self.build_path(leaf, end, sent, when) {
                    Err(other) if issuer_is_in_doubt(other.reason) => Err(other),
                    Ok(_) | Err(_) => Err(lapsed),
                }
            }
            decided => decided,
        }
    }

    fn build_path(
        &self,
        leaf: &Leaf,
        end: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedChain, Objection> {
        let cert = EndEntityCert::try_from(end).map_err(|error| objection(&error, leaf))?;
        let intermediates: Vec<CertificateDer<'_>> = sent
            .iter()
            .cloned()
            .chain(
                self.intermediates
                    .iter()
                    .map(|leaf| CertificateDer::from_slice(leaf.der())),
            )
            .collect();
        let objections: RefCell<Vec<Objection>> = RefCell::default();
        let found: RefCell<Option<VerifiedChain>> = RefCell::default();
        let examine = |path: &VerifiedPath<'_>| match self.examine(leaf, path, now) {
            Ok(chain) => {
                found.replace(Some(chain));
                Ok(())
            }
            Err(objection) => {
                let error = refused_path(objection.reason);
                objections.borrow_mut().push(objection);
                Err(error)
            }
        };
        let outcome = cert.verify_for_usage(
            self.algorithms.all,
            &self.paths,
            &intermediates,
            unix_time(now),
            KeyUsage::client_auth(),
            None,
            Some(&examine),
        );
        match outcome {
            Ok(_) => found.into_inner().ok_or_else(|| {
                Objection::new(HandshakeReason::UnknownIssuer, "no path was examined")
            }),
            // A path that reached an anchor says more than those that did not.
            Err(error) => Err(objections
                .into_inner()
                .into_iter()
                .next()
                .unwrap_or_else(|| objection(&error, leaf))),
        }
    }

    /// What webpki leaves out, for a path that held otherwise.
    fn examine(
        &self,
        leaf: &Leaf,
        path: &VerifiedPath<'_>,
        now: Timestamp,
    ) -> Result<VerifiedChain, Objection> {
        let place = self
            .paths
            .iter()
            .position(|anchor| std::ptr::eq(anchor, anchor_address(path.anchor())));
        let anchor = place.and_then(|place| self.anchors.get(place));
        let anchor = anchor.ok_or_else(|| {
            Objection::new(
                HandshakeReason::UnknownIssuer,
                "the anchor is not one of ours",
            )
        })?;
        let mut issuers = Vec::new();
        for certificate in path.intermediate_certificates() {
            let der = certificate.der();
            let decoded = Leaf::decode(&der).map_err(|fault| {
                let detail = format!("an intermediate can not be decoded: {fault}");
                Objection::new(HandshakeReason::UnsupportedCertificate, detail)
            })?;
            issuers.push(decoded);
        }
        self.examine_anchor(anchor, &issuers, now)?;
        let mut window = leaf.validity().intersect(anchor.validity());
        for issuer in &issuers {
            require_cert_sign(issuer)?;
            window = window.intersect(issuer.validity());
        }
        if leaf
            .key_usage()
            .is_some_and(|usage| !usage.digital_signature())
        {
            let detail = "the leaf's keyUsage lacks digitalSignature";
            return Err(Objection::new(HandshakeReason::WrongKeyUsage, detail));
        }
        issuers.push(anchor.clone());
        let mut subject = leaf;
        for issuer in &issuers {
            let fresh_until = self.not_revoked(subject, issuer, now)?;
            window = window.intersect(fresh_until);
            subject = issuer;
        }
        Ok(VerifiedChain {
            leaf: leaf.clone(),
            anchor: anchor.clone(),
            window,
        })
    }

    /// The anchor's own certificate: its dates, its usage, how long a path may be below it.
    fn examine_anchor(
        &self,
        anchor: &Leaf,
        intermediates: &[Leaf],
        now: Timestamp,
    ) -> Result<(), Objection> {
        require_within(anchor, "the trust anchor", now)?;
        require_cert_sign(anchor)?;
        let path_len_max = anchor
            .basic_constraints()
            .and_then(|constraints| constraints.path_len_max);
        let below = intermediates
            .iter()
            .filter(|issuer| !issuer.is_self_issued())
            .count();
        if path_len_max.is_some_and(|max| u32::try_from(below).unwrap_or(u32::MAX) > max) {
            let detail = format!(
                "the trust anchor {} allows a shorter path (pathLenConstraint)",
                anchor.subject()
            );
            return Err(Objection::new(HandshakeReason::WrongKeyUsage, detail));
        }
        Ok(())
    }

    fn verify_version_1(
        &self,
        leaf: &Leaf,
        sent: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedChain, Objection> {
        if self.policy.v1_leaf == V1Leaf::Refuse {
            let detail = "an X.509 version 1 leaf, and tls.accept_v1_leaf is false";
            return Err(Objection::new(
                HandshakeReason::UnsupportedCertificate,
                detail,
            ));
        }
        let sent = sent.iter().filter_map(|der| Leaf::decode(der).ok());
        let others: Vec<Leaf> = sent.chain(self.intermediates.iter().cloned()).collect();
        let mut refused = None;
        for anchor in version_1::signers(leaf, &self.anchors, &others, &self.algorithms)? {
            match self.examine_version_1(leaf, anchor, now) {
                Ok(chain) => return Ok(chain),
                Err(objection) => refused = Some(objection),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Objection::new(HandshakeReason::UnknownIssuer, "no anchor signed it")
        }))
    }

    fn examine_version_1(
        &self,
        leaf: &Leaf,
        anchor: &Leaf,
        now: Timestamp,
    ) -> Result<VerifiedChain, Objection> {
        self.examine_anchor(anchor, &[], now)?;
        require_within(leaf, "the leaf", now)?;
        let fresh = self.not_revoked(leaf, anchor, now)?;
        let window = leaf
            .validity()
            .intersect(anchor.validity())
            .intersect(fresh);
        Ok(VerifiedChain {
            leaf: leaf.clone(),
            anchor: anchor.clone(),
            window,
        })
    }

    /// When the answer "not revoked" holds; always, where nothing demands a fresh list.
    fn not_revoked(
        &self,
        subject: &Leaf,
        issuer: &Leaf,
        now: Timestamp,
    ) -> Result<Validity, Objection> {
        let always = Validity {
            not_before: Timestamp::MIN,
            not_after: Timestamp::MAX,
        };
        match self.revocation.look_up(subject, issuer, now) {
            Revocation::Revoked => {
                let detail = format!(
                    "the CRL of {} names serial {}",
                    issuer.subject(),
                    subject.serial()
                );
                Err(Objection::new(HandshakeReason::Revoked, detail))
            }
            Revocation::Fresh { until } if self.policy.crl_expired == CrlExpired::Refuse => {
                Ok(Validity {
                    not_after: until,
                    ..always
                })
            }
            Revocation::Fresh { .. } => Ok(always),
            Revocation::Stale { since } if self.policy.crl_expired == CrlExpired::Refuse => {
                let detail = format!("the CRL of {} ended at {since:.0}", issuer.subject());
                Err(Objection::new(HandshakeReason::RevocationUnknown, detail))
            }
            Revocation::Stale { .. } => Ok(always),
            Revocation::NoList if self.policy.crl_missing == CrlMissing::Refuse => {
                let detail = format!("no CRL of {} is configured", issuer.subject());
                Err(Objection::new(HandshakeReason::RevocationUnknown, detail))
            }
            Revocation::NoList => Ok(always),
        }
    }
}

fn next_generation() -> u64 {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1);
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// The form in which webpki knows an anchor. Anchors may be of version 1, as roots made long ago are.
fn path_anchor(anchor: &Leaf, place: usize) -> Result<TrustAnchor<'static>, TrustFault> {
    if anchor.version() >= 3 && !anchor.is_ca() {
        return Err(TrustFault::NotACa {
            subject: anchor.subject().clone(),
            anchor: place,
        });
    }
    if anchor.version() < 3 && !anchor.is_self_issued() {
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

fn anchor_address<'a>(anchor: &'a TrustAnchor<'a>) -> *const TrustAnchor<'static> {
    std::ptr::from_ref(anchor).cast()
}

fn require_cert_sign(issuer: &Leaf) -> Result<(), Objection> {
    if issuer
        .key_usage()
        .is_some_and(|usage| !usage.key_cert_sign())
    {
        let detail = format!(
            "the keyUsage of the issuer {} lacks keyCertSign",
            issuer.subject()
        );
        return Err(Objection::new(HandshakeReason::WrongKeyUsage, detail));
    }
    Ok(())
}

fn require_within(certificate: &Leaf, whose: &str, now: Timestamp) -> Result<(), Objection> {
    let validity = certificate.validity();
    if validity.is_past_end(now) {
        return Err(Objection::new(
            HandshakeReason::Expired,
            lapsed(whose, certificate),
        ));
    }
    if validity.is_before_start(now) {
        return Err(Objection::new(
            HandshakeReason::NotYetValid,
            not_begun(whose, certificate),
        ));
    }
    Ok(())
}

fn lapsed(whose: &str, certificate: &Leaf) -> String {
    format!(
        "{whose} {} ended at {:.0}",
        certificate.subject(),
        certificate.validity().not_after
    )
}

fn not_begun(whose: &str, certificate: &Leaf) -> String {
    format!(
        "{whose} {} is not valid before {:.0}",
        certificate.subject(),
        certificate.validity().not_before
    )
}

/// Whether "expired" would be said of a certificate that never was ours.
fn issuer_is_in_doubt(reason: HandshakeReason) -> bool {
    matches!(
        reason,
        HandshakeReason::UnknownIssuer | HandshakeReason::BadSignature
    )
}

fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(whole_seconds(now)))
}

fn from_unix(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Seconds since 1970; what was before counts as its first.
fn whole_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

/// The error by which webpki is told to look for another path.
fn refused_path(reason: HandshakeReason) -> webpki::Error {
    match reason {
        HandshakeReason::Revoked => webpki::Error::CertRevoked,
        HandshakeReason::RevocationUnknown => webpki::Error::UnknownRevocationStatus,
        _ => webpki::Error::UnknownIssuer,
    }
}

/// webpki's verdict in our words.
fn objection(error: &webpki::Error, leaf: &Leaf) -> Objection {
    use webpki::Error;
    let (reason, detail) = match error {
        Error::CertExpired { not_after, .. }
            if not_after.as_secs() == whole_seconds(leaf.validity().not_after) =>
        {
            (HandshakeReason::Expired, lapsed("the leaf", leaf))
        }
        Error::CertExpired { not_after, .. } => (
            HandshakeReason::Expired,
            format!(
                "an intermediate of the chain ended at {:.0}",
                from_unix(*not_after)
            ),
        ),
        Error::CertNotValidYet { not_before, .. }
            if not_before.as_secs() == whole_seconds(leaf.validity().not_before) =>
        {
            (HandshakeReason::NotYetValid, not_begun("the leaf", leaf))
        }
        Error::CertNotValidYet { not_before, .. } => {
            let detail = format!(
                "an intermediate of the chain is not valid before {:.0}",
                from_unix(*not_before)
            );
            (HandshakeReason::NotYetValid, detail)
        }
        Error::UnknownIssuer => (
            HandshakeReason::UnknownIssuer,
            format!("no configured trust anchor issued {}", leaf.issuer()),
        ),
        Error::InvalidSignatureForPublicKey => {
            let detail = format!(
                "{} is known, but its key did not sign this certificate",
                leaf.issuer()
            );
            (HandshakeReason::BadSignature, detail)
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => (
            HandshakeReason::WrongExtendedKeyUsage,
            "the extended key usage does not allow a TLS client".to_owned(),
        ),
        Error::EndEntityUsedAsCa
        | Error::PathLenConstraintViolated
        | Error::NameConstraintViolation => (
            HandshakeReason::WrongKeyUsage,
            format!("an issuer of the chain may not issue it: {error}"),
        ),
        other => (
            HandshakeReason::UnsupportedCertificate,
            format!("the chain is not acceptable: {other}"),
        ),
    };
    Objection::new(reason, detail)
}
