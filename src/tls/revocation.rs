//! What revocation lists say of a certificate, each list bound to the key that signed it when it was loaded (RFC 5280 §5 and §6.3).
//!
//! Serial numbers under one issuer's name are one space, whichever of its keys signed what: RFC 5280 §5 and §6.3.3 know an issuer by its
//! name. A CA that changed its key, or signs its lists with a key apart, revokes under that name; so a list of any configured certificate of
//! the name refuses whom it lists. No key identifier tells such keys from those of another CA that has the name by mistake, so its lists
//! refuse too: operators who trust two CAs of one name are asked to bear that, and nobody is let in who was revoked.
//!
//! Vouching is narrower than refusing. That somebody is not revoked is told by the lists of the key that issued the certificate; where there
//! are none, by those of a certificate of that name that is an anchor or stands below one (§6.3.3 (f)). Of several lists of one key and scope
//! the newest counts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::WebPkiSupportedAlgorithms;

use super::listed::{Listed, Unusable, describe};
use super::signatures::{self, Signature};
use super::trust_parts::TrustFault;
use crate::x509::{Certificate, DistinguishedName, NameKey, RevocationList, Serial, SpkiPin};

/// How far a list's beginning may lie ahead: the clocks of a CA and of its receivers differ by a little, and it is fetched at once.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_mins(5);

/// What the lists say of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A list names it.
    Revoked,
    /// A list that counts today covers it, and does not name it.
    Fresh { until: Timestamp },
    /// Every list that covers it has ended.
    Stale { since: Timestamp },
    /// Every list that covers it begins later.
    Ahead { begins: Timestamp },
    /// No list covers it.
    NoList,
}

/// All lists, by the name of their issuer.
#[derive(Debug, Default)]
pub(super) struct RevocationLists {
    by_name: BTreeMap<NameKey, Vec<Signer>>,
}

/// What one key signed under one name.
#[derive(Debug)]
struct Signer {
    certificate: Certificate,
    standing: Standing,
    /// The newest first.
    lists: Vec<Listed>,
}

/// What a list counts for beside the certificates that the same key signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing: its signer only watches.
    Watches,
    /// It refuses under its name. Its signer is configured, and not what certified it: that may be whoever.
    Refuses,
    /// It refuses and vouches: its signer is an anchor, or stands below one.
    Vouches,
}

/// The certificates whose lists may count.
pub(super) struct Issuers<'a> {
    pub(super) anchors: &'a [Certificate],
    pub(super) shadow_anchors: &'a [Certificate],
    pub(super) intermediates: &'a [Certificate],
}

impl RevocationLists {
    /// Binds each list to the CA that signed it; tells which cannot be.
    pub(super) fn build(
        lists: Vec<RevocationList>,
        issuers: &Issuers<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
        faults: &mut Vec<TrustFault>,
    ) -> Self {
        let mut built = Self::default();
        if lists.is_empty() {
            return built;
        }
        let standing = standing(issuers, algorithms);
        for (place, list) in lists.into_iter().enumerate() {
            let issuer = list.issuer().clone();
            let bound = signer(&list, &standing, algorithms)
                .and_then(|signer| Ok((signer, Listed::read(list)?)));
            match bound {
                Ok((Some(signer), listed)) => built.add(signer, listed),
                Ok((None, _)) => faults.push(TrustFault::ForeignCrl { issuer, crl: place }),
                Err(unusable) => faults.push(TrustFault::UnusableCrl {
                    issuer,
                    crl: place,
                    detail: describe(&unusable),
                }),
            }
        }
        for signer in built.by_name.values_mut().flatten() {
            signer.lists.sort_by(|one, other| other.cmp_age(one));
        }
        built
    }

    fn add(&mut self, (certificate, standing): (&Certificate, Standing), listed: Listed) {
        let signers = self.by_name.entry(listed.list.issuer().key().clone());
        let signers = signers.or_default();
        let is_its = |signer: &&mut Signer| signer.certificate.spki() == certificate.spki();
        match signers.iter_mut().find(is_its) {
            Some(signer) => signer.lists.push(listed),
            None => signers.push(Signer {
                certificate: certificate.clone(),
                standing,
                lists: vec![listed],
            }),
        }
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        let signers = self.by_name.values().flatten();
        signers.flat_map(|signer| signer.lists.iter().map(|listed| &listed.list))
    }

    fn of(&self, name: &DistinguishedName) -> &[Signer] {
        self.by_name.get(name.key()).map_or(&[], Vec::as_slice)
    }

    /// Whether there is any list by which certificates of `issuer` are judged, whatever it covers and however old it is.
    pub(super) fn has_any(&self, issuer: &Certificate, now: Timestamp) -> bool {
        self.deciding(issuer, now).next().is_some()
    }

    /// Those who tell whether certificates of `issuer` are not revoked: its own key, or, where that signed no list, others of its name.
    fn deciding(&self, issuer: &Certificate, now: Timestamp) -> impl Iterator<Item = &Signer> {
        let signers = self.of(issuer.subject());
        let has_own = signers.iter().any(|signer| signer.is(issuer));
        signers.iter().filter(move |signer| {
            if has_own {
                signer.is(issuer)
            } else {
                self.vouches(signer, now)
            }
        })
    }

    /// Whether its lists speak for what other keys of its name signed.
    fn vouches(&self, signer: &Signer, now: Timestamp) -> bool {
        let certificate = &signer.certificate;
        signer.standing == Standing::Vouches
            && !self.name(certificate.serial(), certificate.issuer(), None, now)
    }

    /// What the lists under the name of `issuer` say of `subject`. A list that has ended still revokes what it names.
    pub(super) fn look_up(
        &self,
        subject: &Certificate,
        issuer: &Certificate,
        now: Timestamp,
    ) -> Revocation {
        let (mut own, mut of_others) = (Revocation::NoList, Revocation::NoList);
        for signer in self.of(issuer.subject()) {
            let is_own = signer.is(issuer);
            if !is_own && signer.standing == Standing::Watches {
                continue;
            }
            let vouches = is_own || self.vouches(signer, now);
            for listed in that_count(&signer.lists, now) {
                if listed.serials.binary_search(subject.serial()).is_ok() {
                    return Revocation::Revoked;
                }
                if !vouches || !listed.scope.covers(subject) {
                    continue;
                }
                if is_own {
                    own = own.or(listed.tells(listed.until, now));
                } else {
                    // What another key signed counts for no longer than that key's certificate.
                    let end = signer.certificate.validity().not_after;
                    of_others = of_others.or(listed.tells(listed.until.min(end), now));
                }
            }
        }
        if own == Revocation::NoList {
            of_others
        } else {
            own
        }
    }

    /// Whether a list that counts names a certificate of which no more is known than this.
    pub(super) fn name(
        &self,
        serial: &Serial,
        issuer: &DistinguishedName,
        issuer_key: Option<SpkiPin>,
        now: Timestamp,
    ) -> bool {
        let mut signers = self.of(issuer).iter().filter(|signer| {
            signer.standing > Standing::Watches || issuer_key == Some(signer.certificate.spki())
        });
        signers.any(|signer| {
            that_count(&signer.lists, now).any(|one| one.serials.binary_search(serial).is_ok())
        })
    }

    /// Each list here that is older than one of `others`, of the same key and scope, and so lets in again whom that one revokes.
    pub(super) fn that_forgot<'a>(
        &'a self,
        others: &'a Self,
        now: Timestamp,
    ) -> impl Iterator<Item = Forgetful<'a>> {
        let theirs = others.by_name.values().flatten();
        let theirs = theirs.flat_map(move |signer| {
            that_count(&signer.lists, now)
                .filter(move |newer| newer.has_begun(now))
                .map(move |newer| (signer, newer))
        });
        theirs.filter_map(move |(signer, newer)| {
            let name = newer.list.issuer();
            let same_key = self
                .of(name)
                .iter()
                .find(|own| own.is(&signer.certificate))?;
            let of_scope = |own: &&Listed| own.scope == newer.scope && own.has_begun(now);
            let newest = same_key.lists.iter().find(of_scope)?;
            let older = Some(newest).filter(|one| one.cmp_age(newer) == Ordering::Less)?;
            let spki = Some(signer.certificate.spki());
            let forgotten = newer.serials.iter();
            let forgotten = forgotten.filter(|serial| !self.name(serial, name, spki, now));
            let forgotten = forgotten.count();
            (forgotten > 0).then_some(Forgetful {
                older: &older.list,
                newer: &newer.list,
                forgotten,
            })
        })
    }

    /// What it means that a list has ended, or not begun, under `issuers`; nothing of one that holds.
    pub(super) fn out_of_time(
        &self,
        list: &RevocationList,
        issuers: &[&Certificate],
        now: Timestamp,
    ) -> Option<Concerned> {
        let is_it = |listed: &Listed| listed.list.der() == list.der();
        let signers = self.of(list.issuer()).iter();
        let signer = signers
            .clone()
            .find(|signer| signer.lists.iter().any(is_it))?;
        let listed = signer.lists.iter().find(|listed| is_it(listed))?;
        if listed.holds(now) {
            return None;
        }
        if !that_count(&signer.lists, now).any(is_it) {
            return Some(Concerned::Nobody);
        }
        let of_the_name = issuers.iter().filter(|issuer| {
            let usage = issuer.key_usage();
            issuer.subject().matches(list.issuer())
                && usage.is_none_or(|usage| usage.key_cert_sign())
        });
        let (mut decided, mut left) = (0, 0);
        let all = of_the_name.clone().count();
        for issuer in of_the_name {
            if !self.deciding(issuer, now).any(|one| one.is_same(signer)) {
                continue;
            }
            decided += 1;
            let mut lists = self
                .deciding(issuer, now)
                .flat_map(|one| that_count(&one.lists, now));
            if !lists.any(|one| one.holds(now)) {
                left += 1;
            }
        }
        Some(if decided == 0 {
            Concerned::Nobody
        } else if left == 0 {
            Concerned::TheUncovered
        } else if left == all {
            Concerned::Everyone
        } else {
            Concerned::OneKey
        })
    }
}

impl Signer {
    fn is(&self, issuer: &Certificate) -> bool {
        self.certificate.spki() == issuer.spki()
    }

    fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Listed {
    /// Whether it speaks of today, or of days to come.
    fn has_begun(&self, now: Timestamp) -> bool {
        let latest = now.checked_add(CLOCK_ALLOWANCE).unwrap_or(Timestamp::MAX);
        self.list.this_update() <= latest
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.has_begun(now) && now <= self.until
    }

    /// What it says of somebody whom it covers and does not name.
    fn tells(&self, until: Timestamp, now: Timestamp) -> Revocation {
        if !self.has_begun(now) {
            let begins = self.list.this_update();
            Revocation::Ahead { begins }
        } else if now <= until {
            Revocation::Fresh { until }
        } else {
            Revocation::Stale { since: until }
        }
    }

    /// By date; of one date, by number (RFC 5280 §5.2.3).
    fn cmp_age(&self, other: &Self) -> Ordering {
        let date = |listed: &Self| listed.list.this_update();
        let numbers = self.list.number().zip(other.list.number());
        date(self).cmp(&date(other)).then_with(|| {
            // In the fewest bytes, the longer number is the greater.
            let size = |number: &Serial| (number.contents().len(), number.clone());
            numbers.map_or(Ordering::Equal, |(one, two)| size(one).cmp(&size(two)))
        })
    }
}

/// A list that took the place of a newer one.
#[derive(Clone, Copy, Debug)]
pub struct Forgetful<'a> {
    /// It.
    pub older: &'a RevocationList,
    /// The one that counted before.
    pub newer: &'a RevocationList,
    /// How many the newer one revokes that no list does any more.
    pub forgotten: usize,
}

/// Whom it concerns that a list has ended, or has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// Every certificate of its issuer.
    Everyone,
    /// Those that the key signed which signed the list: its issuer has another key, with a list that holds.
    OneKey,
    /// Those that no other list of its issuer covers.
    TheUncovered,
    /// Nobody: a newer one stands beside it, or its issuer decides nothing.
    Nobody,
}

/// The lists of one key that count, from the newest on: of one scope, what is older than one that has begun counts no more. Where neither
/// date nor number tells which is the newer, both do.
fn that_count(lists: &[Listed], now: Timestamp) -> impl Iterator<Item = &Listed> {
    let mut told: Vec<&Listed> = Vec::new();
    lists.iter().filter(move |listed| {
        let is_superseded = |newer: &&Listed| {
            newer.scope == listed.scope && newer.cmp_age(listed) == Ordering::Greater
        };
        if told.iter().any(is_superseded) {
            return false;
        }
        if listed.has_begun(now) {
            told.push(listed);
        }
        true
    })
}

impl Revocation {
    /// This, or what another list adds to it.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Fresh { until: one }, Self::Fresh { until: two }) => Self::Fresh {
                until: one.max(two),
            },
            (fresh @ Self::Fresh { .. }, _) | (_, fresh @ Self::Fresh { .. }) => fresh,
            (Self::Stale { since: one }, Self::Stale { since: two }) => Self::Stale {
                since: one.max(two),
            },
            (stale @ Self::Stale { .. }, _) | (_, stale @ Self::Stale { .. }) => stale,
            (Self::Ahead { begins: one }, Self::Ahead { begins: two }) => Self::Ahead {
                begins: one.min(two),
            },
            (ahead @ Self::Ahead { .. }, _) | (_, ahead @ Self::Ahead { .. }) => ahead,
            (Self::NoList, Self::NoList) => Self::NoList,
        }
    }
}

/// Each certificate whose lists may count, and for what.
fn standing<'a>(
    issuers: &Issuers<'a>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Vec<(&'a Certificate, Standing)> {
    let anchors = issuers.anchors.iter();
    let watching = issuers.shadow_anchors.iter();
    let mut known: Vec<_> = anchors
        .map(|one| (one, Standing::Vouches))
        .chain(watching.map(|one| (one, Standing::Watches)))
        .collect();
    let mut rest: Vec<&Certificate> = issuers.intermediates.iter().collect();
    // From the anchors downwards, level by level. What is below a shadow anchor alone refuses as it would without that one.
    loop {
        let vouching = known.iter().filter(|(_, of)| *of == Standing::Vouches);
        let above: Vec<_> = vouching.collect();
        let is_below = |one: &&Certificate| {
            above
                .iter()
                .any(|(issuer, _)| certified(one, issuer, algorithms))
        };
        let (below, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_below);
        rest = others;
        if below.is_empty() {
            break;
        }
        known.extend(below.into_iter().map(|one| (one, Standing::Vouches)));
    }
    known.extend(rest.into_iter().map(|one| (one, Standing::Refuses)));
    // One key and name may be certified by several; the best of them counts.
    known.sort_by_key(|(one, standing)| std::cmp::Reverse((*standing, one.validity().not_after)));
    known
}

fn certified(
    subject: &Certificate,
    issuer: &Certificate,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let usage = issuer.key_usage();
    subject.issuer_der() == issuer.subject_der()
        && usage.is_none_or(|usage| usage.key_cert_sign())
        && signatures::check(&subject.signed_data(), issuer, algorithms) == Signature::Holds
}

/// The certificate whose key signed `list`, if it is one of an issuer of that name.
fn signer<'a>(
    list: &RevocationList,
    issuers: &[(&'a Certificate, Standing)],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<Option<(&'a Certificate, Standing)>, Unusable> {
    let mut problem = None;
    for (issuer, standing) in issuers {
        // By the name's meaning: the signature proves whose it is, however the two are encoded.
        if !issuer.subject().matches(list.issuer()) {
            continue;
        }
        match signatures::check(&list.signed_data(), issuer, algorithms) {
            Signature::Holds if issuer.key_usage().is_none_or(|usage| usage.crl_sign()) => {
                return Ok(Some((issuer, *standing)));
            }
            Signature::Holds => problem = Some(Unusable::SignerMayNot),
            Signature::Unsupported => problem = Some(Unusable::WeakSignature),
            Signature::Broken => {}
        }
    }
    problem.map_or(Ok(None), Err)
}
