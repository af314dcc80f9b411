//! The intermediates through which a path may go: bounded, since a stranger sends them.

use rustls::pki_types::CertificateDer;

use super::trust::Trust;
use crate::x509::{Certificate, DistinguishedName};

/// Of the certificates after the leaf that a client sends, so many are looked at; no honest chain is longer.
const SENT_MAX: usize = 8;
/// And so many with one subject. The number of paths grows with the number of ways to go on from each name.
pub(super) const NAMESAKES_MAX: usize = 3;

/// The intermediates through which a path may go: what the client sent, then what is configured.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) all: Vec<Certificate>,
    /// The subject of one that was sent and is not looked at, for others have it as well.
    pub(super) left_out: Option<DistinguishedName>,
}

impl Candidates {
    pub(super) fn of(trust: &Trust, sent: &[CertificateDer<'_>]) -> Self {
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
