//! One path from a leaf to an anchor, judged by everything that can be said without a signature; and how paths are found.
//!
//! webpki builds the paths of version 3 leaves and verifies their signatures, dates, constraints and purposes (RFC 5280 §6). What it
//! leaves out stands here: the anchor's own dates, path length and usage, keyCertSign of each issuer, digitalSignature of the leaf,
//! revocation by lists whose signers are configured, cut-offs, and leaves of version 1.

use std::cell::RefCell;
use std::fmt::Display;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::HandshakeReason;
use super::explain::explain;
use super::flaw::Flaw;
use super::revocation::Revocation;
use super::signatures::{self, Signature};
use super::trust::{CrlExpired, CrlMissing, Trust, V1Leaf, VerifiedChain};
use crate::x509::der::{self, tag};
use crate::x509::{Certificate, DerFault, DistinguishedName, Validity};

/// Of the certificates after the leaf that a client sends, so many are looked at; no honest chain is longer.
const SENT_MAX: usize = 8;
/// And so many with one subject. The number of paths grows with the number of ways to go on from each name.
pub(super) const NAMESAKES_MAX: usize = 3;

/// One reason against one path.
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

    /// To a flaw, with what its words name.
    pub(super) fn to(flaw: Flaw, names: &[&dyn Display]) -> Self {
        Self::new(flaw.reason(), flaw.words(names))
    }
}

/// From a leaf to an anchor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    pub(super) leaf: &'a Certificate,
    /// From the leaf's issuer upwards.
    pub(super) intermediates: &'a [&'a Certificate],
    pub(super) anchor: &'a Certificate,
}

impl<'a> Path<'a> {
    fn issuers(&self) -> impl Iterator<Item = &'a Certificate> {
        let anchor = std::iter::once(self.anchor);
        self.intermediates.iter().copied().chain(anchor)
    }

    /// Each certificate below the anchor, with its issuer.
    fn links(&self) -> impl Iterator<Item = (&'a Certificate, &'a Certificate)> {
        let subjects = std::iter::once(self.leaf).chain(self.intermediates.iter().copied());
        subjects.zip(self.issuers())
    }
}

/// What is to be said of a path: what stands against it, the most telling first, and when it holds if nothing does.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) objections: Vec<Objection>,
    pub(super) window: Validity,
}

/// Finds a path that holds, or tells why there is none.
pub(super) fn find(
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

/// The intermediates through which a path may go: what the client sent, then what is configured.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) all: Vec<Certificate>,
    /// The subject of one that was sent and is not looked at, for others have it as well.
    pub(super) left_out: Option<DistinguishedName>,
}

impl Candidates {
    fn of(trust: &Trust, sent: &[CertificateDer<'_>]) -> Self {
        let mut candidates = Self::default();
        for der in sent.iter().take(SENT_MAX) {
            // One that can't be read leads nowhere, and is no reason to refuse a leaf that needs it not.
            let Ok(certificate) = Certificate::decode(der) else {
                continue;
            };
            let namesakes = candidates
                .all
                .iter()
                .filter(|other| other.subject_der() == certificate.subject_der())
                .count();
            if namesakes < NAMESAKES_MAX {
                candidates.all.push(certificate);
            } else {
                candidates.left_out = Some(certificate.subject().clone());
            }
        }
        for configured in trust.intermediates() {
            if !candidates.all.contains(configured) {
                candidates.all.push(configured.clone());
            }
        }
        candidates
    }
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
    object_to_leaf(trust, path, &mut objections);
    object_to_issuers(path, &mut objections);
    objections.append(&mut uncertain);
    Judgement { objections, window }
}

fn outside_dates(whose: &str, certificate: &Certificate, now: Timestamp) -> Option<Objection> {
    let validity = certificate.validity();
    let subject = certificate.subject();
    if validity.is_past_end(now) {
        let detail = format!("{whose} {subject} ended at {:.0}", validity.not_after);
        Some(Objection::new(HandshakeReason::Expired, detail))
    } else if validity.is_before_start(now) {
        let begins = validity.not_before;
        let detail = format!("{whose} {subject} is not valid before {begins:.0}");
        Some(Objection::new(HandshakeReason::NotYetValid, detail))
    } else {
        None
    }
}

fn object_to_leaf(trust: &Trust, path: &Path<'_>, objections: &mut Vec<Objection>) {
    let leaf = path.leaf;
    let mut object = |flaw| objections.push(Objection::to(flaw, &[]));
    match leaf.version() {
        3.. => {}
        1 if trust.policy().v1_leaf == V1Leaf::Refuse => object(Flaw::LeafVersion1),
        // Whoever checks constraints looks at a leaf's extensions too, and this one has none; nothing else here would check them.
        1 if path.anchor.constrains_names() => object(Flaw::LeafVersion1Constrained),
        1 if path.intermediates.is_empty() => {}
        1 => object(Flaw::LeafVersion1Below),
        _ => object(Flaw::LeafVersion2),
    }
    if leaf.is_ca() {
        object(Flaw::LeafIsCa);
    }
    if leaf
        .key_usage()
        .is_some_and(|usage| !usage.digital_signature())
    {
        object(Flaw::LeafKeyUsage);
    }
    // RFC 5280 §4.2.1.12 lets us refuse anyExtendedKeyUsage alone, as OpenSSL and webpki do for clients; Go takes it.
    if let Some(usage) = leaf
        .extended_key_usage()
        .filter(|usage| !usage.client_auth())
    {
        object(if usage.any() {
            Flaw::LeafAnyExtendedKeyUsage
        } else {
            Flaw::LeafExtendedKeyUsage
        });
    }
    if let Some(why) = leaf.key_kind().flaw() {
        objections.push(Objection::to(Flaw::LeafKey, &[&leaf.key_kind(), &why]));
    }
}

fn object_to_issuers(path: &Path<'_>, objections: &mut Vec<Objection>) {
    let (mut below, mut self_issued) = (0, 0);
    for issuer in path.issuers() {
        let mut object = |flaw| objections.push(Objection::to(flaw, &[issuer.subject()]));
        let is_anchor = std::ptr::eq(issuer, path.anchor);
        // What may be an anchor was settled when the trust was built; an old root of version 1 is one.
        if !is_anchor && issuer.version() < 3 {
            object(Flaw::IssuerVersion1);
        } else if !is_anchor && !issuer.is_ca() {
            object(Flaw::IssuerIsNoCa);
        }
        if issuer
            .key_usage()
            .is_some_and(|usage| !usage.key_cert_sign())
        {
            object(Flaw::IssuerKeyUsage);
        }
        let path_len_max = issuer
            .basic_constraints()
            .and_then(|constraints| constraints.path_len_max);
        if path_len_max.is_some_and(|max| below > max) {
            object(Flaw::IssuerPathLen);
        } else if !is_anchor && path_len_max.is_some_and(|max| below + self_issued > max) {
            object(Flaw::IssuerPathLenSelfIssued);
        }
        if issuer
            .extended_key_usage()
            .is_some_and(|usage| !usage.client_auth())
        {
            object(Flaw::IssuerExtendedKeyUsage);
        }
        if constrains_directory_names(issuer) {
            object(Flaw::IssuerDirectoryNames);
        }
        if is_anchor && issuer.has_unknown_critical_extension() {
            object(Flaw::AnchorExtension);
        }
        // RFC 5280 §4.2.1.9: a self-issued certificate does not count. To webpki, which looks at all but the anchor, it does.
        if issuer.is_self_issued() {
            self_issued += 1;
        } else {
            below += 1;
        }
    }
}

/// What is to be said of a CA that constrains directory names.
pub const CONSTRAINS_DIRECTORY_NAMES: &str =
    "has nameConstraints on directory names, which are not evaluated: nothing below it is taken";
/// What helps. Pins do not, for they come after the path.
pub const CONSTRAINS_DIRECTORY_NAMES_MEND: &str =
    "have it issued anew without them, or put an unconstrained CA below it under tls.client_ca";

/// Whether the nameConstraints of a CA speak of directory names: webpki then takes nothing below it, be it inside of them or not, as
/// RFC 5280 §4.2.1.10 lets it.
pub fn constrains_directory_names(ca: &Certificate) -> bool {
    if !ca.constrains_names() {
        return false;
    }
    let der = CertificateDer::from_slice(ca.der());
    let constraints = webpki::anchor_from_trusted_cert(&der)
        .ok()
        .and_then(|anchor| anchor.name_constraints);
    constraints.is_some_and(|constraints| names_a_directory(&constraints).unwrap_or(false))
}

fn names_a_directory(constraints: &[u8]) -> Result<bool, DerFault> {
    // What is permitted, and what is excluded.
    let mut lists = der::Reader::new(constraints);
    while !lists.is_empty() {
        let mut subtrees = lists.element()?.reader();
        while !subtrees.is_empty() {
            let base = subtrees.expect(tag::SEQUENCE)?.reader().element()?;
            if base.tag == tag::context_constructed(4) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What in an anchor's own certificate bars everybody below it, whatever their leaves say.
pub fn bar_of_anchor(anchor: &Certificate) -> Option<String> {
    if let Some(flaw) = anchor.key_kind().flaw() {
        return Some(format!("its key is {}: {flaw}", anchor.key_kind()));
    }
    let mut objections = Vec::new();
    let path = Path {
        leaf: anchor,
        intermediates: &[],
        anchor,
    };
    object_to_issuers(&path, &mut objections);
    objections
        .into_iter()
        .next()
        .map(|objection| objection.detail)
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

/// In whole seconds; what was before 1970 counts as its first.
fn unix_time(now: Timestamp) -> UnixTime {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}
