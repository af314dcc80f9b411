//! Why no path held, in the words that help most.
//!
//! webpki names the first obstacle, and looks at a leaf's dates before it looks for its issuer: a lapsed certificate of a stranger is
//! "expired" to it. So a chain that was refused is walked once more, by names and signatures alone. Where that reaches an anchor, the
//! path is judged as a whole; where it does not, the issuer is unknown, whatever else is wrong. The walk decides nothing: it only runs
//! for what is refused already.

use std::fmt::Display;

use jiff::Timestamp;

use super::candidates::{Candidates, NAMESAKES_MAX};
use super::flaw::Flaw;
use super::judge::judge;
use super::objections::{Objection, Path};
use super::reason::HandshakeReason;
use super::signatures::{self, Signature};
use super::trust::Trust;
use crate::x509::{Certificate, DistinguishedName};

/// Signatures that a walk verifies at most: a stranger must not make us work.
const SIGNATURES_MAX: u32 = 16;
/// Intermediates of a path that a walk follows; webpki follows as many.
const INTERMEDIATES_MAX: usize = 6;

/// Tells why `leaf` was refused; `error` is what webpki said, if it was asked.
pub(super) fn explain(
    trust: &Trust,
    leaf: &Certificate,
    candidates: &Candidates,
    now: Timestamp,
    error: Option<&webpki::Error>,
) -> Objection {
    let mut walk = Walk {
        trust,
        leaf,
        candidates: &candidates.all,
        now,
        signatures_left: SIGNATURES_MAX,
        reached: None,
        unsupported: None,
        broken: None,
        missing: None,
    };
    walk.from(leaf, &mut Vec::new());
    match walk.reached {
        Some(mut objections) if !objections.is_empty() => objections.swap_remove(0),
        // Signed, and nothing that we know of against it: webpki saw more.
        Some(_) => unexplained(error),
        None if candidates.left_out.is_some() => crowd(candidates),
        None => walk
            .unsupported
            .or(walk.broken)
            .or(walk.missing)
            .unwrap_or_else(|| unexplained(error)),
    }
}

struct Walk<'a> {
    trust: &'a Trust,
    leaf: &'a Certificate,
    candidates: &'a [Certificate],
    now: Timestamp,
    signatures_left: u32,
    /// What stands against the best of the paths that reached an anchor.
    reached: Option<Vec<Objection>>,
    unsupported: Option<Objection>,
    broken: Option<Objection>,
    missing: Option<Objection>,
}

impl<'a> Walk<'a> {
    fn from(&mut self, head: &'a Certificate, intermediates: &mut Vec<&'a Certificate>) {
        let mut named = false;
        for anchor in self.trust.anchors() {
            if anchor.subject_der() != head.issuer_der() {
                continue;
            }
            named = true;
            if self.is_signed_by(head, anchor) {
                let path = Path {
                    leaf: self.leaf,
                    intermediates,
                    anchor,
                };
                let objections = judge(self.trust, &path, self.now).objections;
                let best = self.reached.as_ref();
                if best.is_none_or(|best| objections.len() < best.len()) {
                    self.reached = Some(objections);
                }
            }
        }
        for candidate in self.candidates {
            let is_in_path = || {
                let mut path = intermediates.iter().copied().chain([self.leaf]);
                path.any(|other| {
                    other.spki() == candidate.spki()
                        && other.subject_der() == candidate.subject_der()
                })
            };
            if candidate.subject_der() != head.issuer_der() || is_in_path() {
                continue;
            }
            named = true;
            if intermediates.len() < INTERMEDIATES_MAX && self.is_signed_by(head, candidate) {
                intermediates.push(candidate);
                self.from(candidate, intermediates);
                intermediates.pop();
            }
        }
        if !named {
            let detail = self.nobody_is_called(head.issuer());
            let objection = Objection::new(HandshakeReason::UnknownIssuer, detail);
            self.missing.get_or_insert(objection);
        }
    }

    /// Issuers are found by the bytes of their names, as webpki has it: a name that is the same to a reader may be another one.
    fn nobody_is_called(&self, issuer: &DistinguishedName) -> String {
        let anchors = self.trust.anchors().iter();
        let mut known = anchors.chain(self.candidates);
        if known.any(|one| one.subject().matches(issuer)) {
            format!(
                "the CA {issuer} is known, but its name is encoded otherwise in its own certificate than in what it issued (string types, case, spaces or order), and the two are compared byte by byte: have either issued anew with the other's encoding"
            )
        } else {
            format!("no configured CA has the name {issuer}")
        }
    }

    fn is_signed_by(&mut self, subject: &Certificate, issuer: &Certificate) -> bool {
        let Some(left) = self.signatures_left.checked_sub(1) else {
            return false;
        };
        self.signatures_left = left;
        let check = signatures::check(&subject.signed_data(), issuer, self.trust.algorithms());
        match check {
            Signature::Holds => true,
            Signature::Unsupported => {
                let key = issuer.key_kind();
                let names: [&dyn Display; 3] = [subject.subject(), issuer.subject(), &key];
                let objection = Objection::to(Flaw::WeakSignature, &names);
                self.unsupported.get_or_insert(objection);
                false
            }
            Signature::Broken => {
                let objection = under_another_key(subject, issuer);
                self.broken.get_or_insert(objection);
                false
            }
        }
    }
}

/// The name is known, the key is not. Where the certificate itself says that it means another key, its issuer is another CA.
fn under_another_key(subject: &Certificate, issuer: &Certificate) -> Objection {
    let means_another = match (subject.authority_key_id(), issuer.subject_key_id()) {
        (Some(meant), Some(has)) => meant != has,
        (Some(_), None) | (None, _) => false,
    };
    let (subject, issuer) = (subject.subject(), issuer.subject());
    if means_another {
        let detail = format!("{subject} was issued by another CA of the name {issuer}");
        Objection::new(HandshakeReason::UnknownIssuer, detail)
    } else {
        Objection::to(Flaw::ForeignKey, &[subject, issuer])
    }
}

/// Whoever might have signed it was not looked at.
fn crowd(candidates: &Candidates) -> Objection {
    let name = candidates.left_out.as_ref().map(ToString::to_string);
    let name = name.unwrap_or_default();
    Objection::to(Flaw::Namesakes, &[&NAMESAKES_MAX, &name])
}

/// webpki's verdict in our words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, which grows"
)]
fn unexplained(error: Option<&webpki::Error>) -> Objection {
    use webpki::Error;
    let Some(error) = error else {
        return Objection::new(HandshakeReason::UnknownIssuer, "no trust anchor signed it");
    };
    let flaw = |flaw| Objection::to(flaw, &[]);
    let reason = match error {
        Error::NameConstraintViolation => return flaw(Flaw::LeafNames),
        Error::PathLenConstraintViolated => return flaw(Flaw::ChainPathLen),
        Error::BadDerTime => return flaw(Flaw::ChainDate),
        Error::UnsupportedCriticalExtension => return flaw(Flaw::ChainExtension),
        Error::MaximumPathDepthExceeded => return flaw(Flaw::ChainDepth),
        Error::CertExpired { .. } => HandshakeReason::Expired,
        Error::CertNotValidYet { .. } => HandshakeReason::NotYetValid,
        Error::UnknownIssuer => HandshakeReason::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => HandshakeReason::BadSignature,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            HandshakeReason::WrongExtendedKeyUsage
        }
        Error::CaUsedAsEndEntity | Error::EndEntityUsedAsCa => HandshakeReason::WrongKeyUsage,
        _ => HandshakeReason::UnsupportedCertificate,
    };
    Objection::new(reason, Flaw::Chain.words(&[error]))
}
