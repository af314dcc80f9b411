//! What a certificate says: names, validity, keys. It trusts nothing and checks no signature.

mod certificate;
mod name;

pub use certificate::{Leaf, Serial, Sha256Fingerprint, SpkiPin, Validity, X509Fault};
pub use name::{DistinguishedName, NameFault, NameKey};
