//! One revocation list as it is followed: whom it names, what it covers, until when (RFC 5280 §5).
//!
//! A list that can't be followed safely is a fault, not a list that is half followed: delta lists, indirect ones, lists for some
//! reasons only, critical extensions that mean something else.

use jiff::Timestamp;

use crate::x509::der::{DerFault, Element, Reader, tag};
use crate::x509::{Certificate, RevocationList, Serial};

/// The contents of an OBJECT IDENTIFIER `2.5.29.n`.
const fn certificate_extension(number: u8) -> [u8; 3] {
    [0x55, 0x1d, number]
}

const DELTA_CRL_INDICATOR: [u8; 3] = certificate_extension(27);
const ISSUING_DISTRIBUTION_POINT: [u8; 3] = certificate_extension(28);
const CERTIFICATE_ISSUER: [u8; 3] = certificate_extension(29);
const CRL_DISTRIBUTION_POINTS: [u8; 3] = certificate_extension(31);

/// Of a list: its number and its issuer's key, which may be critical and change nothing.
const HARMLESS_IN_LISTS: [[u8; 3]; 2] = [certificate_extension(20), certificate_extension(35)];
/// Of an entry: why, and since when. That it is revoked stands, whatever they say.
const HARMLESS_IN_ENTRIES: [[u8; 3]; 3] = [
    certificate_extension(21),
    certificate_extension(23),
    certificate_extension(24),
];

/// One list, ready to be asked.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) list: RevocationList,
    /// Sorted.
    pub(super) serials: Vec<Serial>,
    pub(super) scope: Scope,
    pub(super) until: Timestamp,
}

/// Which certificates of its issuer a list covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    users_only: bool,
    cas_only: bool,
    /// The names of the distribution point that it is; none means all.
    points: Vec<Vec<u8>>,
}

/// Why a list can't be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read")]
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

impl Listed {
    pub(super) fn read(list: RevocationList) -> Result<Self, Unusable> {
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
                if id == CERTIFICATE_ISSUER {
                    return Err(Unusable::Indirect);
                } else if critical && !HARMLESS_IN_ENTRIES.iter().any(|known| id == known) {
                    return Err(Unusable::UnknownCriticalExtension);
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

    pub(super) fn covers(&self, subject: &Certificate) -> bool {
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

pub(super) fn describe(unusable: &Unusable) -> String {
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
