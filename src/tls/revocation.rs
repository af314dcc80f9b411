//! Revocation lists, each bound to the key that signed it when it was loaded.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use webpki::BorrowedCertRevocationList;

use super::TrustFault;
use super::version_1::is_signed_by;
use crate::x509::{Leaf, RevocationList, Serial, SpkiPin};

/// What the lists say of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A list names it.
    Revoked,
    /// A list that still counts does not name it.
    Fresh { until: Timestamp },
    /// Every list of its issuer has ended.
    Stale { since: Timestamp },
    /// Its issuer has none.
    NoList,
}

/// An issuer is its name and its key: two CAs may bear one name.
type IssuerKey = (Box<[u8]>, SpkiPin);

#[derive(Debug)]
struct Listed {
    list: RevocationList,
    serials: HashSet<Serial>,
}

/// All lists, by issuer.
#[derive(Debug, Default)]
pub(super) struct RevocationLists {
    by_issuer: HashMap<IssuerKey, Vec<Listed>>,
}

impl RevocationLists {
    /// Binds each list to the CA that signed it; tells which can not be.
    pub(super) fn build(
        lists: Vec<RevocationList>,
        issuers: &[Leaf],
        algorithms: &WebPkiSupportedAlgorithms,
        faults: &mut Vec<TrustFault>,
    ) -> Self {
        let mut built = Self::default();
        for (place, list) in lists.into_iter().enumerate() {
            // webpki refuses what can not be followed safely: delta and indirect lists, unknown critical extensions.
            if let Err(error) = BorrowedCertRevocationList::from_der(list.der()) {
                let (issuer, detail) = (list.issuer().clone(), error.to_string());
                faults.push(TrustFault::UnusableCrl {
                    issuer,
                    crl: place,
                    detail,
                });
                continue;
            }
            let signer = issuers.iter().find(|issuer| {
                issuer.subject_der() == list.issuer_der()
                    && issuer.key_usage().is_none_or(|usage| usage.crl_sign())
                    && is_signed_by(&list.signed_data(), issuer, algorithms)
            });
            match signer {
                Some(signer) => {
                    let serials = list.serials().collect();
                    let issuer = (signer.subject_der().into(), signer.spki());
                    built
                        .by_issuer
                        .entry(issuer)
                        .or_default()
                        .push(Listed { list, serials });
                }
                None => faults.push(TrustFault::ForeignCrl {
                    issuer: list.issuer().clone(),
                    crl: place,
                }),
            }
        }
        built
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.by_issuer.values().flatten().map(|listed| &listed.list)
    }

    /// What the lists of `issuer` say of `subject`. A list that has ended still revokes what it names.
    pub(super) fn look_up(&self, subject: &Leaf, issuer: &Leaf, now: Timestamp) -> Revocation {
        if self.by_issuer.is_empty() {
            return Revocation::NoList;
        }
        let key = (issuer.subject_der().into(), issuer.spki());
        let Some(lists) = self.by_issuer.get(&key) else {
            return Revocation::NoList;
        };
        let mut best = Revocation::NoList;
        for Listed { list, serials } in lists {
            if serials.contains(subject.serial()) {
                return Revocation::Revoked;
            }
            // A list without an end can not be told from one that was held back: it has ended already.
            let end = list.next_update().unwrap_or(list.this_update());
            best = match best {
                Revocation::Fresh { until } => Revocation::Fresh {
                    until: until.max(end),
                },
                _ if now <= end => Revocation::Fresh { until: end },
                Revocation::Stale { since } => Revocation::Stale {
                    since: since.max(end),
                },
                Revocation::NoList | Revocation::Revoked => Revocation::Stale { since: end },
            };
        }
        best
    }
}
