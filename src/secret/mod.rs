//! Secrets: zeroized when dropped, silent in `Debug`, and named only by reference.
//!
//! A [`Secret`] is bytes that never reach a log, an error, a metric or the admin pages. What may be
//! shown is its [`SecretReference`]. This room reads no file and no environment: `config` does.

mod around;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use around::{BYTE_ORDER_MARK, blank_beside, from_utf16, without_blanks};

/// Secret bytes. Cloning shares the one copy, which is wiped when the last owner drops it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes ownership of `bytes`; the caller must not keep a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes, for the one place that computes with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret is to be found: `file:PATH` or `env:NAME`, as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretReference {
    /// `file:PATH`; a relative path is relative to the configuration file.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
}

/// A text that is no secret reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a secret is given by reference, as \"file:PATH\" or \"env:NAME\"")]
pub struct NotAReference;

impl FromStr for SecretReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            _ => Err(NotAReference),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}
