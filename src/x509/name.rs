//! X.500 names, compared attribute by attribute (RFC 5280 §7.1), parsed and printed as RFC 4514 has them.

/// A distinguished name: its RDNs in the order of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DistinguishedName {}

/// A name's key for look-ups: equal for two names that match in either order of their RDNs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameKey(Box<[u8]>);

/// A text or DER that is no name.
#[derive(Debug, thiserror::Error)]
#[error("not a distinguished name")]
pub struct NameFault;
