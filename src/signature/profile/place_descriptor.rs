//! Where a value stands in a delivery, as it is written.

use serde::{Deserialize, Serialize};

/// One text, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// A single text.
    One(String),
    /// A list of them.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
        .map(String::as_str)
    }
}

/// Where a text of the request stands: exactly one key is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceDescriptor {
    /// The first of these headers that is present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<OneOrMany>,
    /// A field of the form body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// A JSON pointer into the body (into the item, where `each` is set).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A parameter of the query string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// An item of the signature's list: by its key, or by its position (`"+0"` is the first).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
}
