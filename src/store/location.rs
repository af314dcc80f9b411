//! Where a store is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::postgres::address::{Access, Address};
use crate::secret::Secret;

/// A store's address, as `store.url` has it. Its `Display` and `Debug` tell no password, and two are equal that lead to the same place,
/// whatever the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Url {
    /// `sqlite:PATH`: a file of this machine.
    Sqlite(PathBuf),
    /// `postgres://…` or `postgresql://…`, as libpq writes it.
    Postgres(Address),
}

/// A text that is no store's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAUrl {
    /// No scheme, or an unknown one.
    #[error("names no kind of store that is known here")]
    Scheme,
    /// `sqlite:` and nothing else.
    #[error("sqlite: has no path")]
    NoPath,
    /// A store that would forget everything when the process ends.
    #[error("sqlite::memory: keeps nothing")]
    Memory,
    /// Parameters, as other programs take them: the file would be called so.
    #[error("sqlite: takes no parameters")]
    Parameters,
}

impl NotAUrl {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Scheme => "write sqlite:PATH or postgres://USER@HOST/DATABASE",
            Self::NoPath | Self::Memory => "write sqlite:data/countersign.db",
            Self::Parameters => "take out what begins with ?, and rename a file that is called so",
        }
    }
}

impl FromStr for Url {
    type Err = NotAUrl;

    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Address::new(text)));
        }
        let path = text.strip_prefix("sqlite:").ok_or(NotAUrl::Scheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" => Err(NotAUrl::NoPath),
            ":memory:" => Err(NotAUrl::Memory),
            path if path.contains('?') => Err(NotAUrl::Parameters),
            path => Ok(Self::Sqlite(path.into())),
        }
    }
}

impl Url {
    /// The same address with a relative file's path put behind `directory`, where the configuration is.
    pub fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(directory.join(path)),
            Self::Postgres(address) => Self::Postgres(address.relative_to(directory)),
        }
    }

    /// Whether it holds a password, which belongs into a file or the environment.
    pub fn holds_a_password(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(address) => address.holds_a_password(),
        }
    }

    /// The same address, opened with this password instead of one in it. A file has none.
    pub fn with_password(self, password: Option<Secret>) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path),
            Self::Postgres(address) => Self::Postgres(address.with_password(password)),
        }
    }

    /// Takes the password of `other`, for all clones. Whether it is another one.
    pub(super) fn renew_password(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Postgres(address), Self::Postgres(other)) => address.renew_password(other),
            (Self::Sqlite(_), _) | (_, Self::Sqlite(_)) => false,
        }
    }

    /// Whether `other` is used in the same way, wherever it is.
    pub fn is_used_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Postgres(address), Self::Postgres(other)) => address.is_used_like(other),
            (Self::Sqlite(_), _) | (_, Self::Sqlite(_)) => true,
        }
    }

    /// The same address, used so. A file is used in one way.
    pub fn with_access(self, access: Access) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path),
            Self::Postgres(address) => Self::Postgres(address.with_access(access)),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_no_password() {
        let url: Url = "postgres://user:pa@ss@db.example:5432/inbox?password=x"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:5432/inbox");
        assert_eq!(format!("{url:?}"), "Url(postgres://db.example:5432/inbox)");
    }

    #[test]
    fn a_relative_file_is_relative_to_the_configuration() {
        let url: Url = "sqlite:data/countersign.db".parse().unwrap();
        assert_eq!(
            url.relative_to(Path::new("/etc/cs")),
            Url::Sqlite("/etc/cs/data/countersign.db".into())
        );
        let url: Url = "sqlite:///var/lib/cs.db".parse().unwrap();
        assert_eq!(
            url.relative_to(Path::new("/etc/cs")),
            Url::Sqlite("/var/lib/cs.db".into())
        );
        assert_eq!("mysql://x".parse::<Url>(), Err(NotAUrl::Scheme));
        assert_eq!("sqlite::memory:".parse::<Url>(), Err(NotAUrl::Memory));
        let with_mode = "sqlite:data/k.db?mode=ro".parse::<Url>();
        assert_eq!(with_mode, Err(NotAUrl::Parameters));
    }
}
