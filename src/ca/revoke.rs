//! The CA's revocation list (RFC 5280 §5): each one holds the entries of the one before it.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::x509::der::{self, tag};
use crate::x509::{Certificate, RevocationList};

use super::template::{CRL_NUMBER, authority_key_id, extension, time};
use super::{CaFault, PrivateCa, seal};

/// How long a list may be relied upon. The file beside the CA is the newest there is, so a short life would only turn a
/// forgotten renewal into an outage.
const LIST_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// What a revocation did.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The list's file.
    pub path: PathBuf,
    /// How many certificates are new in it; one that stood there already is not counted.
    pub added: usize,
    /// When the list must be renewed.
    pub next_update: Timestamp,
}

impl PrivateCa {
    /// The list that follows `previous`.
    pub(super) fn next_revocation_list(
        &self,
        previous: Option<&RevocationList>,
        certificates: &[Certificate],
        now: Timestamp,
    ) -> Result<(Vec<u8>, Revocation), CaFault> {
        let this_update = time(now);
        let next_update = now.checked_add(LIST_LIFE).unwrap_or(Timestamp::MAX);
        let mut entries = previous
            .map(|list| list.entries_der().to_vec())
            .unwrap_or_default();
        let mut added = Vec::new();
        for certificate in certificates {
            if certificate == self.certificate() {
                let subject = certificate.subject().to_string();
                return Err(CaFault::OwnCertificate { subject });
            }
            if !certificate.is_issued_by(self.certificate()) || certificate.is_self_issued() {
                return Err(CaFault::ForeignCertificate {
                    subject: certificate.subject().to_string(),
                    serial: certificate.serial().to_string(),
                });
            }
            let serial = certificate.serial();
            if previous.is_some_and(|list| list.revokes(serial)) || added.contains(&serial) {
                continue;
            }
            added.push(serial);
            entries.extend(der::sequence(&[
                &der::element(tag::INTEGER, serial.contents()),
                &this_update,
            ]));
        }

        let issuer = self.issuer();
        let number = next_number(previous);
        let mut extensions = vec![extension(CRL_NUMBER, false, &der::unsigned(&number))];
        extensions.extend(issuer.key_id.map(authority_key_id));
        let extensions = der::element(tag::SEQUENCE, &extensions.concat());
        // An empty list of entries is left out altogether.
        let entries = if entries.is_empty() {
            entries
        } else {
            der::element(tag::SEQUENCE, &entries)
        };
        let tbs = der::sequence(&[
            &der::unsigned(&[1]),
            issuer.algorithm,
            issuer.name,
            &this_update,
            &time(next_update),
            &entries,
            &der::element(tag::context_constructed(0), &extensions),
        ]);
        let list = seal(&tbs, issuer.algorithm, &self.key)?;
        Ok((
            list,
            Revocation {
                path: PathBuf::new(),
                added: added.len(),
                next_update,
            },
        ))
    }
}

/// One more than the number of `previous`, big-endian.
fn next_number(previous: Option<&RevocationList>) -> Vec<u8> {
    let number = previous.and_then(RevocationList::number);
    let mut octets = vec![0];
    octets.extend_from_slice(number.map(|number| number.contents()).unwrap_or_default());
    for octet in octets.iter_mut().rev() {
        let (sum, carried) = octet.overflowing_add(1);
        *octet = sum;
        if !carried {
            break;
        }
    }
    octets
}
