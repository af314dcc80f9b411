//! Revocation lists, each bound to the key that signed it when it was loaded (RFC 5280 §5 and §6.3).
//!
//! A list that can't be followed safely is a fault, not a list that is half followed: delta lists, indirect ones, lists for some
//! reasons only, critical extensions that mean something else. Of several lists with one scope the newest counts.

use std::collections::HashMap;

use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;

use super::TrustFault;
use super::signatures::{self, Signature};
use crate::x509::der::{DerFault, Element, Reader, tag};
use crate::x509::{Certificate, DistinguishedName, RevocationList, Serial, SpkiPin};

/// The contents of an OBJECT IDENTIFIER `2.5.29.n`.
const fn certificate_extension(number: u8) -> [u8; 3] {
    [0x55, 0x1d, number]
}

const DELTA_CRL_INDICATOR: [u8; 3] = certificate_extension(27);
const ISSUING_DISTRIBUTION_POINT: [u8; 3] = certificate_extension(28);
const CRL_DISTRIBUTION_POINTS: [u8; 3] = certificate_extension(31);

/// Of a list: its number and its issuer's key, which may be critical and change nothing.
const HARMLESS_IN_LISTS: [[u8; 3]; 2] = [certificate_extension(20), certificate_extension(35)];
/// Of an entry: why, and since when. That it is revoked stands, whatever they say.
const HARMLESS_IN_ENTRIES: [[u8; 3]; 3] = [
    certificate_extension(21),
    certificate_extension(23),
    certificate_extension(24),
];

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

/// One list, ready to be asked.
#[derive(Debug)]
struct Listed {
    list: RevocationList,
    /// Sorted.
    serials: Vec<Serial>,
    scope: Scope,
    until: Timestamp,
}

/// Which certificates of its issuer a list covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    users_only: bool,
    cas_only: bool,
    /// The names of the distribution point that it is; none means all.
    points: Vec<Vec<u8>>,
}

/// Why a list can't be followed.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it can not be read")]
    Der(#[from] DerFault),
    #[error("it has no nextUpdate, so nobody could tell it from one that was held back")]
    NoNextUpdate,
    #[error("it is a delta CRL: configure the complete one")]
    Delta,
    #[error("it is an indirect CRL, of certificates of other issuers too")]
    Indirect,
    #[error("it covers some reasons of revocation only, or attribute certificates only")]
    Partial,
    #[error("its distribution point is named relative to an issuer, or not at all")]
    PointUnnamed,
    #[error("it has a critical extension that is not understood")]
    UnknownCriticalExtension,
    #[error("one of its serial numbers is too long")]
    Serial,
    #[error(
        "it is signed with an algorithm or a key that proves nothing (SHA-1, RSA under 2048 bits)"
    )]
    WeakSignature,
    #[error("the keyUsage of its issuer's certificate lacks cRLSign")]
    SignerMayNot,
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

impl Listed {
    fn read(list: RevocationList) -> Result<Self, Unusable> {
        let until = list.next_update().ok_or(Unusable::NoNextUpdate)?;
        let mut scope = Scope::default();
        for extension in extensions_of_list(&list)? {
            let Extension {
                id,
                critical,
                value,
            } = extension?;
            if id == DELTA_CRL_INDICATOR {
                return Err(Unusable::Delta);
            } else if id == ISSUING_DISTRIBUTION_POINT {
                scope = Scope::read(value)?;
            } else if critical && !HARMLESS_IN_LISTS.iter().any(|known| id == known) {
                return Err(Unusable::UnknownCriticalExtension);
            }
        }
        let mut serials = Vec::new();
        let mut entries = Reader::new(list.entries_der());
        while !entries.is_empty() {
            let mut entry = entries.expect(tag::SEQUENCE)?.reader();
            let serial = entry.expect(tag::INTEGER)?;
            serials.push(Serial::decode(serial.contents).ok_or(Unusable::Serial)?);
            entry.element()?;
            for extension in extensions(entry.optional(tag::SEQUENCE)?) {
                let Extension { id, critical, .. } = extension?;
                // The one other that RFC 5280 has names another issuer.
                if critical && !HARMLESS_IN_ENTRIES.iter().any(|known| id == known) {
                    return Err(Unusable::Indirect);
                }
            }
        }
        serials.sort_unstable();
        Ok(Self {
            list,
            serials,
            scope,
            until,
        })
    }
}

impl Scope {
    /// From an `IssuingDistributionPoint` (RFC 5280 §5.2.5).
    fn read(value: &[u8]) -> Result<Self, Unusable> {
        let mut fields = Reader::new(value).expect(tag::SEQUENCE)?.reader();
        let mut scope = Self::default();
        if let Some(point) = fields.optional(tag::context_constructed(0))? {
            scope.points = full_name(&point).map(<[u8]>::to_vec).collect();
            if scope.points.is_empty() {
                return Err(Unusable::PointUnnamed);
            }
        }
        let mut flag = |number| {
            let element = fields.optional(tag::context(number))?;
            Ok::<bool, DerFault>(element.is_some_and(|flag| flag.contents != [0]))
        };
        scope.users_only = flag(1)?;
        scope.cas_only = flag(2)?;
        let some_reasons = flag(3)?;
        let indirect = flag(4)?;
        let attributes = flag(5)?;
        fields.finish()?;
        if indirect {
            Err(Unusable::Indirect)
        } else if some_reasons || attributes {
            Err(Unusable::Partial)
        } else {
            Ok(scope)
        }
    }

    fn covers(&self, subject: &Certificate) -> bool {
        let kind = if subject.is_ca() {
            !self.users_only
        } else {
            !self.cas_only
        };
        kind && (self.points.is_empty() || self.is_point_of(subject))
    }

    /// Whether the certificate names this point, or none at all.
    fn is_point_of(&self, subject: &Certificate) -> bool {
        let Some(points) = distribution_points(subject) else {
            return true;
        };
        let mut points = Reader::new(points);
        while let Ok(point) = points.element() {
            let name = point.reader().optional(tag::context_constructed(0));
            if let Ok(Some(name)) = name
                && full_name(&name).any(|name| self.points.iter().any(|own| own == name))
            {
                return true;
            }
        }
        false
    }
}

/// The general names of a `DistributionPointName`, if they are spelt out.
fn full_name<'a>(point: &Element<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let names = point.reader().optional(tag::context_constructed(0));
    let names = names.ok().flatten().map(|names| names.contents);
    let mut names = Reader::new(names.unwrap_or_default());
    std::iter::from_fn(move || names.element().ok().map(|name| name.whole))
}

/// The contents of a certificate's `CRLDistributionPoints`.
fn distribution_points(certificate: &Certificate) -> Option<&[u8]> {
    let mut fields = Reader::new(certificate.signed_data().message)
        .element()
        .ok()?
        .reader();
    let wrapped = std::iter::from_fn(|| fields.element().ok())
        .find(|field| field.tag == tag::context_constructed(3))?;
    let list = wrapped.reader().element().ok()?;
    let value = extensions(Some(list))
        .filter_map(Result::ok)
        .find(|extension| extension.id == CRL_DISTRIBUTION_POINTS)?
        .value;
    let points = Reader::new(value).expect(tag::SEQUENCE).ok()?;
    Some(points.contents)
}

#[derive(Clone, Copy, Debug)]
struct Extension<'a> {
    id: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

fn extensions_of_list(
    list: &RevocationList,
) -> Result<impl Iterator<Item = Result<Extension<'_>, DerFault>>, DerFault> {
    let mut fields = Reader::new(list.signed_data().message).element()?.reader();
    let mut wrapped = None;
    while !fields.is_empty() {
        let field = fields.element()?;
        if field.tag == tag::context_constructed(0) {
            wrapped = Some(field.reader().expect(tag::SEQUENCE)?);
        }
    }
    Ok(extensions(wrapped))
}

/// The extensions in an `Extensions` element.
fn extensions<'a>(
    list: Option<Element<'a>>,
) -> impl Iterator<Item = Result<Extension<'a>, DerFault>> {
    let mut list = Reader::new(list.map(|list| list.contents).unwrap_or_default());
    std::iter::from_fn(move || {
        let next = (!list.is_empty()).then(|| extension(&mut list))?;
        if next.is_err() {
            // What follows a broken one can't be told from it.
            list = Reader::new(&[]);
        }
        Some(next)
    })
}

fn extension<'a>(list: &mut Reader<'a>) -> Result<Extension<'a>, DerFault> {
    let mut fields = list.expect(tag::SEQUENCE)?.reader();
    let id = fields.expect(tag::OID)?.contents;
    let critical = fields.optional(tag::BOOLEAN)?;
    let value = fields.expect(tag::OCTET_STRING)?.contents;
    fields.finish()?;
    Ok(Extension {
        id,
        critical: critical.is_some_and(|flag| flag.contents != [0]),
        value,
    })
}

fn describe(unusable: &Unusable) -> String {
    match unusable {
        Unusable::Der(fault) => format!("{unusable}: {fault}"),
        Unusable::NoNextUpdate
        | Unusable::Delta
        | Unusable::Indirect
        | Unusable::Partial
        | Unusable::PointUnnamed
        | Unusable::UnknownCriticalExtension
        | Unusable::Serial
        | Unusable::WeakSignature
        | Unusable::SignerMayNot => unusable.to_string(),
    }
}
