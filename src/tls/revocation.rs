//! Revocation lists, each bound to the key that signed it when it was loaded (RFC 5280 §5 and §6.3).
//!
//! Of several lists with one scope the newest counts.

use std::collections::HashMap;

use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;

use super::TrustFault;
use super::listed::{Listed, Scope, Unusable, describe};
use super::signatures::{self, Signature};
use crate::x509::{Certificate, DistinguishedName, RevocationList, Serial, SpkiPin};

/// What the lists say of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A list names it.
    Revoked,
    /// A list that still counts covers it, and does not name it.
    Fresh { until: Timestamp },
    /// Every list that covers it has ended.
    Stale { since: Timestamp },
    /// No list covers it.
    NoList,
}

/// All lists, by the key of their issuer.
#[derive(Debug, Default)]
pub(super) struct RevocationLists {
    by_key: HashMap<SpkiPin, Vec<Listed>>,
}

impl RevocationLists {
    /// Binds each list to the CA that signed it; tells which can not be.
    pub(super) fn build(
        lists: Vec<RevocationList>,
        issuers: &[&Certificate],
        algorithms: &WebPkiSupportedAlgorithms,
        faults: &mut Vec<TrustFault>,
    ) -> Self {
        let mut built = Self::default();
        for (place, list) in lists.into_iter().enumerate() {
            let issuer = list.issuer().clone();
            let bound =
                signer(&list, issuers, algorithms).and_then(|key| Ok((key, Listed::read(list)?)));
            match bound {
                Ok((Some(key), listed)) => built.by_key.entry(key).or_default().push(listed),
                Ok((None, _)) => faults.push(TrustFault::ForeignCrl { issuer, crl: place }),
                Err(unusable) => faults.push(TrustFault::UnusableCrl {
                    issuer,
                    crl: place,
                    detail: describe(&unusable),
                }),
            }
        }
        for lists in built.by_key.values_mut() {
            lists.sort_by(|one, other| {
                let age = |listed: &Listed| listed.list.this_update();
                age(other).cmp(&age(one))
            });
        }
        built
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.by_key.values().flatten().map(|listed| &listed.list)
    }

    /// Whether there is any list of `issuer`, whatever it covers and however old it is.
    pub(super) fn has_any(&self, issuer: &Certificate) -> bool {
        let is_its = |listed: &Listed| listed.list.issuer_der() == issuer.subject_der();
        let lists = self.by_key.get(&issuer.spki());
        lists.is_some_and(|lists| lists.iter().any(is_its))
    }

    /// What the lists of `issuer` say of `subject`. A list that has ended still revokes what it names.
    pub(super) fn look_up(
        &self,
        subject: &Certificate,
        issuer: &Certificate,
        now: Timestamp,
    ) -> Revocation {
        let Some(lists) = self.by_key.get(&issuer.spki()) else {
            return Revocation::NoList;
        };
        let mut best = Revocation::NoList;
        // Two CAs may share a key, if under two names.
        let is_its = |list: &RevocationList| list.issuer_der() == issuer.subject_der();
        for listed in that_count(lists, is_its, now) {
            if listed.serials.binary_search(subject.serial()).is_ok() {
                return Revocation::Revoked;
            }
            // A list of the future names whom it revokes, and vouches for nobody yet.
            if listed.list.this_update() > now {
                continue;
            }
            if listed.scope.covers(subject) {
                best = best.or_until(listed.until, now);
            }
        }
        best
    }

    /// Whether a list that counts names a certificate of which no more is known than this.
    pub(super) fn name(
        &self,
        serial: &Serial,
        issuer: &DistinguishedName,
        issuer_key: Option<SpkiPin>,
        now: Timestamp,
    ) -> bool {
        let is_its = |list: &RevocationList| list.issuer().matches(issuer);
        let by_key = self.by_key.iter();
        let mut lists = by_key.filter(|(key, _)| issuer_key.is_none_or(|meant| meant == **key));
        lists.any(|(_, lists)| {
            that_count(lists, is_its, now).any(|one| one.serials.binary_search(serial).is_ok())
        })
    }

    /// What it means that a list has ended, under `issuers`; nothing of one that has not.
    pub(super) fn end_of(
        &self,
        list: &RevocationList,
        issuers: &[&Certificate],
        now: Timestamp,
    ) -> Option<EndedCrl> {
        let is_it = |listed: &&Listed| listed.list.der() == list.der();
        let (key, lists) = self
            .by_key
            .iter()
            .find(|(_, lists)| lists.iter().any(|listed| is_it(&listed)))?;
        list.next_update().filter(|until| *until < now)?;
        let is_its = |other: &RevocationList| other.issuer_der() == list.issuer_der();
        let mut counting = that_count(lists, is_its, now);
        if !counting.any(|listed| is_it(&listed))
            || !issuers
                .iter()
                .any(|issuer| issuer.spki() == *key && issuer.subject_der() == list.issuer_der())
        {
            return Some(EndedCrl::Nobody);
        }
        let is_fresh = |one: &Listed| one.list.this_update() <= now && now <= one.until;
        if that_count(lists, is_its, now).any(is_fresh) {
            Some(EndedCrl::TheUncovered)
        } else {
            Some(EndedCrl::Everyone)
        }
    }
}

/// Whom the end of a list concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedCrl {
    /// Every certificate of its issuer.
    Everyone,
    /// Those that no other list of its issuer covers.
    TheUncovered,
    /// Nobody: a newer one stands beside it, or its issuer decides nothing.
    Nobody,
}

/// The lists of one issuer that count, from the newest on: of one scope, what is older than one that has begun counts no more.
fn that_count(
    lists: &[Listed],
    is_its: impl Fn(&RevocationList) -> bool,
    now: Timestamp,
) -> impl Iterator<Item = &Listed> {
    let mut told: Vec<&Scope> = Vec::new();
    lists.iter().filter(move |listed| {
        if !is_its(&listed.list) || told.contains(&&listed.scope) {
            return false;
        }
        if listed.list.this_update() <= now {
            told.push(&listed.scope);
        }
        true
    })
}

impl Revocation {
    /// This, or what a list that holds until `until` adds to it.
    fn or_until(self, until: Timestamp, now: Timestamp) -> Self {
        match self {
            Self::Revoked => self,
            Self::Fresh { until: before } => Self::Fresh {
                until: before.max(until),
            },
            Self::Stale { .. } | Self::NoList if now <= until => Self::Fresh { until },
            Self::Stale { since } => Self::Stale {
                since: since.max(until),
            },
            Self::NoList => Self::Stale { since: until },
        }
    }
}

/// The key that signed `list`, if it is one of an issuer of that name.
fn signer(
    list: &RevocationList,
    issuers: &[&Certificate],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<Option<SpkiPin>, Unusable> {
    let mut problem = None;
    for issuer in issuers {
        if issuer.subject_der() != list.issuer_der() {
            continue;
        }
        match signatures::check(&list.signed_data(), issuer, algorithms) {
            Signature::Holds if issuer.key_usage().is_none_or(|usage| usage.crl_sign()) => {
                return Ok(Some(issuer.spki()));
            }
            Signature::Holds => problem = Some(Unusable::SignerMayNot),
            Signature::Unsupported => problem = Some(Unusable::WeakSignature),
            Signature::Broken => {}
        }
    }
    problem.map_or(Ok(None), Err)
}
