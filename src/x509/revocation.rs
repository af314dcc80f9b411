//! Revocation lists (RFC 5280 §5), as far as somebody has to read them: whose, how new, and which serials.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{Certificate, timestamp};
use super::der::{Reader, tag};
use super::fault::X509Fault;
use super::signed::{Envelope, SignedData, range_in, slice};
use super::{DistinguishedName, Serial};

/// A list that is larger than this is refused unread, in bytes of DER.
pub const REVOCATION_LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A decoded certificate revocation list, cheap to clone. That it decodes says nothing about whether it can be trusted.
#[derive(Clone)]
pub struct RevocationList(Arc<Decoded>);

struct Decoded {
    der: Box<[u8]>,
    envelope: Envelope,
    issuer: DistinguishedName,
    issuer_der: Range<usize>,
    entries: Range<usize>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    number: Option<Serial>,
}

impl RevocationList {
    /// Decodes one list: strict DER, nothing after it, at most 32 MiB.
    pub fn decode(der: &[u8]) -> Result<Self, X509Fault> {
        if der.len() > REVOCATION_LIST_BYTES_MAX {
            return Err(X509Fault::TooLarge {
                bytes_max: REVOCATION_LIST_BYTES_MAX,
            });
        }
        let der: Box<[u8]> = der.into();
        let (envelope, tbs) = Envelope::read(&der)?;

        let mut fields = tbs.reader();
        fields.optional(tag::INTEGER)?;
        let algorithm = fields.expect(tag::SEQUENCE)?;
        if algorithm.whole != envelope.parts(&der).algorithm {
            return Err(X509Fault::AlgorithmsDiffer);
        }
        let issuer = fields.expect(tag::SEQUENCE)?;
        // thisUpdate and nextUpdate, each in either form; the parser below insists on the first.
        for _ in 0..2 {
            if fields.optional(tag::UTC_TIME)?.is_none() {
                fields.optional(tag::GENERALIZED_TIME)?;
            }
        }
        let entries = fields.optional(tag::SEQUENCE)?;
        fields.optional(tag::context_constructed(0))?;
        fields.finish()?;

        let (_, list) = CertificateRevocationList::from_der(&der).map_err(X509Fault::structure)?;
        let number = list
            .crl_number()
            .map(|number| super::der::unsigned(&number.to_bytes_be()));
        let decoded = Decoded {
            issuer: DistinguishedName::decode_checked(issuer.whole)?,
            issuer_der: range_in(&der, issuer.whole),
            entries: entries.map_or(0..0, |list| range_in(&der, list.contents)),
            this_update: timestamp(&list.last_update()),
            next_update: list.next_update().as_ref().map(timestamp),
            number: number.and_then(|integer| integer.get(2..).and_then(Serial::decode)),
            envelope,
            der,
        };
        Ok(Self(Arc::new(decoded)))
    }

    /// Who revokes.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }

    /// The issuer's DER `Name`, as it is encoded.
    pub fn issuer_der(&self) -> &[u8] {
        slice(&self.0.der, &self.0.issuer_der)
    }

    /// When it was made.
    pub fn this_update(&self) -> Timestamp {
        self.0.this_update
    }

    /// When a newer one is due.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.0.next_update
    }

    /// Its number, which grows from list to list.
    pub fn number(&self) -> Option<&Serial> {
        self.0.number.as_ref()
    }

    /// Whether it names `serial`. It reads the list from its start.
    pub fn revokes(&self, serial: &Serial) -> bool {
        self.serials().any(|revoked| revoked == *serial)
    }

    /// Every serial that it names.
    pub fn serials(&self) -> impl Iterator<Item = Serial> {
        let mut entries = Reader::new(self.entries_der());
        std::iter::from_fn(move || {
            let mut entry = entries.element().ok()?.reader();
            Serial::decode(entry.element().ok()?.contents)
        })
    }

    /// Its entries, one DER element after another.
    pub fn entries_der(&self) -> &[u8] {
        slice(&self.0.der, &self.0.entries)
    }

    /// The whole list.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// What its issuer signed, how, and the signature.
    pub fn signed_data(&self) -> SignedData<'_> {
        self.0.envelope.parts(&self.0.der)
    }

    /// Whether `issuer` bears the name of its issuer, and the key that signed it.
    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        self.issuer_der() == issuer.subject_der()
            && self.signed_data().is_signed_by(issuer.raw_spki())
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RevocationList({}, of {})",
            self.issuer(),
            self.this_update()
        )
    }
}
