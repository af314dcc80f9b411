//! Why a delivery could not be signed.

use http::HeaderName;

use super::key::KeyFault;
use super::refusal::SignatureRefusal;

/// Why a delivery could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    /// The secret serves no signing.
    #[error("the secret cannot sign for this profile")]
    Key {
        /// Why.
        #[source]
        source: KeyFault,
    },
    /// The profile signs something that the request lacks.
    #[error("the request lacks something that the profile signs")]
    Content {
        /// What.
        #[source]
        source: SignatureRefusal,
    },
    /// The signature stands inside the body, and the body has no place for it.
    #[error(
        "the body has no place for the signature: it must be a JSON document of the profile's form"
    )]
    NoPlace,
    /// A value has bytes that no header may hold.
    #[error("{name} cannot hold the value that the profile puts into it")]
    Header {
        /// The header.
        name: HeaderName,
    },
}

impl From<KeyFault> for SignFault {
    fn from(source: KeyFault) -> Self {
        Self::Key { source }
    }
}
