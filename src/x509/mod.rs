//! What a certificate says: names, validity, keys.
//!
//! It promises that what it decodes is strict DER, bounded and whole, that names compare attribute by attribute, and that
//! nothing that it prints can break a log line. It never decides whom to trust: the signatures that it can check are a
//! request's own and that of a given issuer. Source: RFC 5280, RFC 4514, X.690.

mod attribute;
mod certificate;
pub(crate) mod der;
mod extensions;
mod fault;
mod fingerprint;
mod key_kind;
mod name;
mod name_text;
mod pem;
mod report;
mod request;
mod revocation;
mod serial;
mod signed;
mod validity;

pub use attribute::{AttributeType, AttributeValue};
pub use certificate::{CERTIFICATE_BYTES_MAX, Certificate};
pub use der::DerFault;
pub use extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
pub use fault::X509Fault;
pub use fingerprint::{NotAPin, Sha256Fingerprint, SpkiPin};
pub use key_kind::KeyKind;
pub use name::{
    AttributeTypeAndValue, DistinguishedName, NameFault, NameKey, RelativeDistinguishedName,
};
pub use pem::{
    decode_certificates, decode_pem_certificates, decode_revocation_lists, decode_signing_request,
    encode_pem, flaw_of_pem,
};
pub use report::{CertificateReport, CertificateRole};
pub use request::SigningRequest;
pub use revocation::{REVOCATION_LIST_BYTES_MAX, RevocationList};
pub use serial::{NotASerial, Serial};
pub(crate) use serial::{OF_A_REHEARSAL, OF_A_REHEARSAL_OCTETS};
pub use signed::{SignedData, SubjectPublicKey};
pub use validity::Validity;
