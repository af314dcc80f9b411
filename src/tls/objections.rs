//! What stands against a path by its certificates alone: their dates, their versions, and what their keys are for.
//!
//! webpki leaves out the anchor's own dates, path length and usage, keyCertSign of each issuer, and digitalSignature of the leaf.

use std::fmt::Display;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::flaw::Flaw;
use super::reason::HandshakeReason;
use super::trust_parts::{TrustPolicy, V1Leaf};
use crate::x509::der::{self, tag};
use crate::x509::{Certificate, DerFault};

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
    pub(super) fn issuers(&self) -> impl Iterator<Item = &'a Certificate> {
        let anchor = std::iter::once(self.anchor);
        self.intermediates.iter().copied().chain(anchor)
    }

    /// Each certificate below the anchor, with its issuer.
    pub(super) fn links(&self) -> impl Iterator<Item = (&'a Certificate, &'a Certificate)> {
        let subjects = std::iter::once(self.leaf).chain(self.intermediates.iter().copied());
        subjects.zip(self.issuers())
    }
}

pub(super) fn outside_dates(
    whose: &str,
    certificate: &Certificate,
    now: Timestamp,
) -> Option<Objection> {
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

pub(super) fn object_to_leaf(
    policy: TrustPolicy,
    path: &Path<'_>,
    objections: &mut Vec<Objection>,
) {
    let leaf = path.leaf;
    let mut object = |flaw| objections.push(Objection::to(flaw, &[]));
    match leaf.version() {
        3.. => {}
        1 if policy.v1_leaf == V1Leaf::Refuse => object(Flaw::LeafVersion1),
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

pub(super) fn object_to_issuers(path: &Path<'_>, objections: &mut Vec<Objection>) {
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
