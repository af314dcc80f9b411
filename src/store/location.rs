//! Where a store is, and what can be wrong with it before it serves.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::postgres::address::{Access, Address, AddressFault};
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
    #[error("a store is sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Scheme,
    /// `sqlite:` and nothing else.
    #[error("sqlite: has no path; write sqlite:data/countersign.db")]
    NoPath,
    /// A store that would forget everything when the process ends.
    #[error("sqlite::memory: keeps nothing; write sqlite:data/countersign.db")]
    Memory,
    /// Parameters, as other programs take them: the file would be called so.
    #[error(
        "sqlite: takes no parameters; take out what begins with ?, and rename a file that is called so"
    )]
    Parameters,
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

/// Why a store cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The file's directory is not there.
    #[error("{}: the directory {} does not exist; {}", path.display(), directory.display(), mend_of_directory(directory))]
    NoDirectory {
        /// The store's file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The file was removed or replaced while it was open.
    #[error("{}: the store's file was removed or replaced while it was in use, and nothing is written meanwhile; put that very file back, or stop the receiver, put the file or its copy back beside the log that stays ({}-wal), and start it", path.display(), path.display())]
    Displaced {
        /// The store's file.
        path: PathBuf,
    },
    /// The file's log was removed or replaced while both were open.
    #[error("{}: the log of the store's file, {}, was removed or replaced while it was in use, and nothing is written meanwhile; {}", path.display(), log.display(), mend_of_log(*moved))]
    LogDisplaced {
        /// The store's file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
        /// Whether all that was in it is in the file.
        moved: bool,
    },
    /// Somebody else holds the file's lock.
    #[error("{}: another process, or another part of this one, holds the lock on the store's file (SQLITE_BUSY), and nothing can be written until it lets go; find it with: fuser -v {}", path.display(), path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk, or its file system, fails.
    #[error("{}: the disk gives an I/O error; see what the system says of it (dmesg), mend or mount it again, and start the receiver again", path.display())]
    DiskFails {
        /// What cannot be reached.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Only the file's log is there.
    #[error("{}: the store's file is gone, and acknowledged events may be in what is left of it, {}; put the file back beside it, or move that away as well to begin anew", path.display(), log.display())]
    LogAlone {
        /// The store's file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// There is no store to read.
    #[error("{}: there is no store yet; start the receiver, or run: countersign migrate", path.display())]
    NoStore {
        /// The store's file, or the database.
        path: PathBuf,
    },
    /// A directory, where a file is needed.
    #[error("{}: this is a directory; name a file in it: put /countersign.db at the end of the path", path.display())]
    IsDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The role that is used lacks a right.
    #[error("{place}: the role \"{role}\" may not {what}; let the owner say: {grant}")]
    Rights {
        /// The store.
        place: String,
        /// Who.
        role: String,
        /// What it may not do.
        what: &'static str,
        /// The statement that gives the right.
        grant: String,
    },
    /// The file cannot be opened for reading and writing.
    #[error("{}: the store cannot be opened; the receiver's user must be able to read and write the file and its directory, and its disk must have room", path.display())]
    Unopenable {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is damaged, or is no SQLite database.
    #[error("{}: the store is damaged, or is no SQLite database; put a backup in its place, or name another file in store.url", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A database of another program.
    #[error("{place}: this database belongs to another program; name another one in store.url")]
    Foreign {
        /// The store.
        place: String,
    },
    /// A newer countersign wrote it.
    #[error(
        "{place}: the store has schema {found}, and this countersign knows schemas up to {known}; use the newer version that wrote it"
    )]
    Newer {
        /// The store.
        place: String,
        /// The store's schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// An older schema, where nothing may be written.
    #[error(
        "{place}: the store has schema {found}, and this countersign needs {known}; run: countersign migrate"
    )]
    Older {
        /// The store.
        place: String,
        /// The store's schema.
        found: i64,
        /// What this program needs.
        known: i64,
    },
    /// A migration failed; the store is as it was before it.
    #[error(
        "{place}: migration {name} failed, and the store is as it was before; mend the cause and start again"
    )]
    Migration {
        /// The store.
        place: String,
        /// The migration's file name.
        name: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address of a PostgreSQL cannot be understood.
    #[error("{place}: the address cannot be used; {}", mend_of_address(source))]
    Address {
        /// The store.
        place: String,
        /// What is wrong with it.
        source: AddressFault,
    },
    /// TLS with a PostgreSQL cannot be set up.
    #[error("{place}: TLS with the database cannot be set up; {}", source.mend())]
    Tls {
        /// The store.
        place: String,
        /// What is wrong.
        source: crate::tls::DatabaseTlsFault,
    },
    /// A database that cannot hold every text.
    #[error(
        "{place}: the database's encoding is {found}; make one with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The store.
        place: String,
        /// Its encoding.
        found: String,
    },
    /// A PostgreSQL does not answer, or lets nobody in.
    #[error("{place}: the database cannot be reached")]
    Unreachable {
        /// The store.
        place: String,
        /// What it or the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The spool's file cannot be used.
    #[error(
        "the spool (store.spool.path) cannot be used; {}",
        mend_of_spool(source)
    )]
    Spool {
        /// What is wrong with it.
        source: Box<StoreFault>,
    },
    /// A spool beside a store that is a file itself.
    #[error(
        "{place}: a spool stands in for a PostgreSQL that is away; a file needs none: take [store.spool] out"
    )]
    NeedlessSpool {
        /// The store.
        place: String,
    },
    /// The system gave no thread or task to run on.
    #[error("the store's writer cannot be started")]
    NoWriter {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What to do about a directory that is not there: where a file is in its place, it cannot be made.
fn mend_of_directory(directory: &Path) -> String {
    let mut above = directory.ancestors();
    match above.find(|above| above.exists()) {
        Some(file) if !file.is_dir() => {
            format!("{} is a file: name a path elsewhere", file.display())
        }
        Some(_) | None => format!("make it: mkdir -p {}", directory.display()),
    }
}

/// What to do about a log that was taken away: the next start makes another, beside a file that has all of it.
fn mend_of_log(moved: bool) -> &'static str {
    if moved {
        "all that was acknowledged is in the file: stop the receiver and start it again"
    } else {
        "what was acknowledged last could not yet be moved into the file, and is tried again: let the receiver run until it says that it was, then stop it and start it again"
    }
}

/// What to do about an address: where the driver names an option, what that may be.
fn mend_of_address(fault: &AddressFault) -> String {
    let AddressFault::Form { detail } = fault else {
        return fault.mend();
    };
    let allowed = if detail.starts_with("unknown option") {
        "take it out of store.url, where these may stand: sslmode, sslrootcert, sslcert, sslkey, channel_binding, target_session_attrs, connect_timeout, tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, keepalives_retries, hostaddr, load_balance_hosts, application_name, options"
    } else if detail.contains("`target_session_attrs`") {
        "write target_session_attrs=any, read-write or read-only in store.url"
    } else if detail.contains("`channel_binding`") {
        "write channel_binding=disable, prefer or require in store.url"
    } else if detail.contains("`load_balance_hosts`") {
        "write load_balance_hosts=disable or random in store.url"
    } else if detail.contains("`port`") {
        "write a port from 1 to 65535 in store.url, as in db1.internal:5432"
    } else if detail.starts_with("invalid value for option") {
        "write a whole number there in store.url"
    } else {
        return fault.mend();
    };
    allowed.to_owned()
}

/// What to do about a spool's file: a store's own mend would name another key, and a spool has no backup.
fn mend_of_spool(fault: &StoreFault) -> String {
    match fault {
        StoreFault::NoDirectory { directory, .. } => {
            mend_of_directory(directory)
        }
        StoreFault::Unopenable { .. } => {
            "the receiver's user must be able to read and write the file and its directory, and its disk must have room"
                .to_owned()
        }
        StoreFault::Damaged { .. } => {
            "keep a copy of it, for acknowledged events may be in it, and name another file in store.spool.path"
                .to_owned()
        }
        StoreFault::LogAlone { .. } => {
            "put the file back beside its log, for acknowledged events may be in it, or move that away as well to begin anew"
                .to_owned()
        }
        // They mend a spool as they do a store.
        StoreFault::Displaced { .. }
        | StoreFault::LogDisplaced { .. }
        | StoreFault::Locked { .. }
        | StoreFault::DiskFails { .. } => {
            let told = fault.to_string();
            told.rsplit_once("; ").map_or_else(String::new, |(_, mend)| mend.to_owned())
        }
        StoreFault::Newer { .. } => "use the newer version that wrote it".to_owned(),
        StoreFault::NoWriter { .. } | StoreFault::Migration { .. } => {
            "mend the cause and start again".to_owned()
        }
        StoreFault::Foreign { .. }
        | StoreFault::NoStore { .. }
        | StoreFault::IsDirectory { .. }
        | StoreFault::Rights { .. }
        | StoreFault::Older { .. }
        | StoreFault::Address { .. }
        | StoreFault::Tls { .. }
        | StoreFault::Encoding { .. }
        | StoreFault::Unreachable { .. }
        | StoreFault::Spool { .. }
        | StoreFault::NeedlessSpool { .. } => "name another file in store.spool.path".to_owned(),
    }
}

impl StoreFault {
    /// The same, of the spool's file.
    pub(super) fn in_spool(fault: Self) -> Self {
        Self::Spool {
            source: Box::new(fault),
        }
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
    fn a_directory_is_told_with_a_mend_that_can_be_followed_wherever_one_is() {
        let path = PathBuf::from("etc/certs");
        let told = StoreFault::IsDirectory { path }.to_string();
        let (what, mend) = told.split_once("; ").unwrap();
        assert_eq!(what, "etc/certs: this is a directory");
        assert!(
            mend.contains("/countersign.db") && !mend.contains("certs"),
            "{mend}"
        );
    }

    #[test]
    fn what_may_be_in_an_address_is_told() {
        for (parameters, mend) in [
            (
                "/x?target_session_attrs=primary",
                "=any, read-write or read-only",
            ),
            ("/x?ssl_mode=require", "sslmode, sslrootcert"),
            (":99999/x", "a port from 1 to 65535"),
            ("/x?channel_binding=yes", "=disable, prefer or require"),
            ("/x?load_balance_hosts=yes", "=disable or random"),
            ("/x?keepalives_retries=often", "a whole number"),
            ("/x?sslmode=full", "sslmode=verify-full"),
        ] {
            let address = Address::new(&format!("postgres://db.example{parameters}"));
            let fault = crate::store::postgres::address::Target::load(&address).unwrap_err();
            let told = fault.to_string();
            let (_, told) = told.split_once("; ").unwrap();
            assert!(told.contains(mend) && !told.contains("; "), "{told}");
        }
    }

    #[test]
    fn a_directory_below_a_file_is_not_to_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        std::fs::write(&file, "").unwrap();
        let below = file.join("data");
        let mend = mend_of_directory(&below);
        assert_eq!(
            mend,
            format!("{} is a file: name a path elsewhere", file.display())
        );
        assert!(
            mend_of_directory(&directory.path().join("data")).starts_with("make it: mkdir -p ")
        );
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
