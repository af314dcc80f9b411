//! Why a store cannot be used: what is wrong with it, and how that is mended.

use std::path::{Path, PathBuf};

use super::postgres::address_fault::AddressFault;
use crate::text::{add_causes, path_word};

/// Why a store cannot be used. The operator's to mend.
///
/// Its `Display` is one line: `what; mend`.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.line())]
pub enum StoreFault {
    /// The file's directory is not there.
    NoDirectory {
        /// The store's file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The file was removed or replaced while it was open.
    Displaced {
        /// The store's file.
        path: PathBuf,
    },
    /// The file's log was removed or replaced while both were open.
    LogDisplaced {
        /// The store's file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
        /// Whether all that was in it is in the file.
        moved: bool,
    },
    /// Somebody else holds the file's lock.
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk is full.
    NoRoom {
        /// The store's file.
        path: PathBuf,
        /// Bytes that are left, if that can be known.
        bytes: Option<u64>,
    },
    /// The disk, or its file system, fails.
    DiskFails {
        /// What cannot be reached.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Only the file's log is there.
    LogAlone {
        /// The store's file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// There is no store to read.
    NoStore {
        /// The store's file, or the database.
        path: PathBuf,
    },
    /// A directory, where a file is needed.
    IsDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The role that is used lacks a right.
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
    Unopenable {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is damaged, or is no SQLite database.
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A database of another program.
    Foreign {
        /// The store.
        place: String,
    },
    /// A file of ours that is for something else.
    OtherKind {
        /// The file.
        place: String,
        /// What it is.
        kind: &'static str,
    },
    /// A newer countersign wrote it.
    Newer {
        /// The store.
        place: String,
        /// The store's schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// An older schema, where nothing may be written.
    Older {
        /// The store.
        place: String,
        /// The store's schema.
        found: i64,
        /// What this program needs.
        known: i64,
    },
    /// A migration failed; the store is as it was before it.
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
    Address {
        /// The store.
        place: String,
        /// What is wrong with it.
        source: AddressFault,
    },
    /// TLS with a PostgreSQL cannot be set up.
    Tls {
        /// The store.
        place: String,
        /// What is wrong.
        source: crate::tls::DatabaseTlsFault,
    },
    /// A database that cannot hold every text.
    Encoding {
        /// The store.
        place: String,
        /// Its encoding.
        found: String,
    },
    /// A PostgreSQL does not answer, or lets nobody in.
    Unreachable {
        /// The store.
        place: String,
        /// What it or the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do about that, where it can be told.
        mend: Option<&'static str>,
    },
    /// The spool's file cannot be used.
    Spool {
        /// What is wrong with it. It is told with the whole and not as its cause: its own mend would be a store's.
        within: Box<StoreFault>,
    },
    /// A spool beside a store that is a file itself.
    NeedlessSpool {
        /// The store.
        place: String,
    },
    /// The system gave no thread or task to run on.
    NoWriter {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreFault {
    /// That of an address that names no database, shown as `place`.
    pub(super) fn of_address(place: &str, source: AddressFault) -> Self {
        Self::Address {
            place: place.to_owned(),
            source,
        }
    }

    /// The same, of the spool's file.
    pub(super) fn in_spool(fault: Self) -> Self {
        Self::Spool {
            within: Box::new(fault),
        }
    }

    fn line(&self) -> String {
        match self.mend() {
            Some(mend) => format!("{}; {mend}", self.what()),
            None => self.what(),
        }
    }

    /// What is wrong and what caused it, in one line.
    pub fn what_with_causes(&self) -> String {
        let mut text = self.what();
        add_causes(&mut text, self);
        text
    }

    /// What is wrong, what caused it, and what to do about it, in one line.
    pub fn in_full(&self) -> String {
        match self.mend() {
            Some(mend) => format!("{}; {mend}", self.what_with_causes()),
            None => self.what_with_causes(),
        }
    }

    fn what(&self) -> String {
        match self {
            Self::NoDirectory { path, directory } => {
                let (path, directory) = (path.display(), directory.display());
                format!("{path}: the directory {directory} does not exist")
            }
            Self::Displaced { path } => {
                let path = path.display();
                format!(
                    "{path}: the store's file was removed or replaced while it was in use, and nothing is written meanwhile"
                )
            }
            Self::LogDisplaced { path, log, .. } => {
                let (path, log) = (path.display(), log.display());
                format!(
                    "{path}: the log of the store's file, {log}, was removed or replaced while it was in use, and nothing is written meanwhile"
                )
            }
            Self::Locked { path } => {
                let path = path.display();
                format!(
                    "{path}: another process, or another part of this one, holds the lock on the store's file (SQLITE_BUSY), and nothing can be written until it lets go"
                )
            }
            Self::DiskFails { path, .. } => {
                format!("{}: the disk gives an I/O error", path.display())
            }
            Self::NoRoom { path, bytes } => {
                let left = bytes.map(|bytes| format!(" ({bytes} bytes are left)"));
                let left = left.unwrap_or_default();
                format!("{}: its disk is full{left}", path.display())
            }
            Self::LogAlone { path, log } => {
                let (path, log) = (path.display(), log.display());
                format!(
                    "{path}: the store's file is gone, and acknowledged events may be in what is left of it, {log}"
                )
            }
            Self::NoStore { path } => format!("{}: there is no store yet", path.display()),
            Self::IsDirectory { path } => format!("{}: this is a directory", path.display()),
            Self::Rights {
                place, role, what, ..
            } => format!("{place}: the role \"{role}\" may not {what}"),
            Self::Unopenable { path, .. } => {
                format!(
                    "{}: cannot be opened for reading and writing",
                    path.display()
                )
            }
            Self::Damaged { path, .. } => {
                let path = path.display();
                format!("{path}: the store is damaged, or is no SQLite database")
            }
            Self::Foreign { place } => {
                format!("{place}: this database belongs to another program")
            }
            Self::OtherKind { place, kind } => {
                format!("{place}: this file is {kind} of countersign, and serves as nothing else")
            }
            Self::Newer {
                place,
                found,
                known,
            } => format!(
                "{place}: the store has schema {found}, and this countersign knows schemas up to {known}"
            ),
            Self::Older {
                place,
                found,
                known,
            } => {
                format!("{place}: the store has schema {found}, and this countersign needs {known}")
            }
            Self::Migration { place, name, .. } => {
                format!("{place}: migration {name} failed, and the store is as it was before")
            }
            Self::Address { place, .. } => format!("{place}: the address cannot be used"),
            Self::Tls { place, .. } => {
                format!("{place}: TLS with the database cannot be set up")
            }
            Self::Encoding { place, found } => {
                format!("{place}: the database's encoding is {found}")
            }
            Self::Unreachable { place, .. } => {
                format!("{place}: the database cannot be reached")
            }
            Self::Spool { within } => format!(
                "the spool (store.spool.path) cannot be used: {}",
                within.what_with_causes()
            ),
            Self::NeedlessSpool { place } => format!(
                "{place}: a spool stands in for a PostgreSQL that is away, and a file needs none"
            ),
            Self::NoWriter { .. } => "the store's writer cannot be started".to_owned(),
        }
    }

    /// What to do about it; nothing where only the cause can tell.
    pub fn mend(&self) -> Option<String> {
        let mend = match self {
            Self::NoDirectory { directory, .. } => mend_of_directory(directory),
            Self::Displaced { path } => format!(
                "put that very file back, or stop the receiver, put the file or its copy back beside the log that stays ({}-wal), and start it",
                path.display()
            ),
            Self::LogDisplaced { moved, .. } => mend_of_log(*moved).to_owned(),
            Self::Locked { path } => format!("find it with: fuser -v {}", path_word(path)),
            Self::NoRoom { .. } => {
                "make room on that disk, or give it more (pruning frees none of it): a receiver that runs takes deliveries again without a restart"
                    .to_owned()
            }
            Self::DiskFails { .. } => {
                "see what the system says of it (dmesg), and whether a quota is used up (quota) or it is mounted read-only (findmnt), and mend that; if it has to be mounted again, start the receiver again then"
                    .to_owned()
            }
            Self::LogAlone { .. } => {
                "put the file back beside it, or move that away as well to begin anew".to_owned()
            }
            Self::NoStore { .. } => {
                "start the receiver, or run: countersign migrate".to_owned()
            }
            Self::IsDirectory { .. } => {
                "name a file in it: put /countersign.db at the end of the path".to_owned()
            }
            Self::Rights { grant, .. } => format!("let the owner say: {grant}"),
            Self::Unopenable { .. } => MEND_RIGHTS.to_owned(),
            Self::Damaged { path, .. } => format!(
                "stop the receiver, move the file and its -wal away, and put the last copy that countersign backup made in its place; without one, \
                 save what can be read (by a sqlite3 that has .recover) with: sqlite3 {} .recover | sqlite3 NEW; or name another file in store.url",
                path_word(path)
            ),
            Self::Foreign { .. } | Self::OtherKind { .. } => {
                "name another one in store.url".to_owned()
            }
            Self::Newer { .. } => "use the newer version that wrote it".to_owned(),
            Self::Older { .. } => "run: countersign migrate".to_owned(),
            Self::Migration { .. } => "mend the cause and start again".to_owned(),
            Self::Address { source, .. } => mend_of_address(source),
            Self::Tls { source, .. } => source.mend().to_owned(),
            Self::Encoding { .. } => {
                "make one with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0".to_owned()
            }
            Self::Spool { within } => within.mend_in_spool(),
            Self::NeedlessSpool { .. } => "take [store.spool] out".to_owned(),
            Self::Unreachable { mend, .. } => return mend.map(ToOwned::to_owned),
            Self::NoWriter { .. } => return None,
        };
        Some(mend)
    }

    /// What to do about it where it is a spool's file: a store's own mend would name another key, and a spool has no backup.
    fn mend_in_spool(&self) -> String {
        let mend = match self {
            Self::NoDirectory { directory, .. } => return mend_of_directory(directory),
            Self::Displaced { .. }
            | Self::LogDisplaced { .. }
            | Self::Locked { .. }
            | Self::NoRoom { .. }
            | Self::DiskFails { .. } => return self.mend().unwrap_or_default(),
            Self::Unopenable { .. } => MEND_RIGHTS,
            Self::Damaged { .. } => {
                "keep a copy of it, for acknowledged events may be in it, and name another file in store.spool.path"
            }
            Self::LogAlone { .. } => {
                "put the file back beside its log, for acknowledged events may be in it, or move that away as well to begin anew"
            }
            Self::Newer { .. } => "use the newer version that wrote it",
            Self::NoWriter { .. } | Self::Migration { .. } => "mend the cause and start again",
            Self::Foreign { .. }
            | Self::OtherKind { .. }
            | Self::NoStore { .. }
            | Self::IsDirectory { .. }
            | Self::Rights { .. }
            | Self::Older { .. }
            | Self::Address { .. }
            | Self::Tls { .. }
            | Self::Encoding { .. }
            | Self::Unreachable { .. }
            | Self::Spool { .. }
            | Self::NeedlessSpool { .. } => "name another file in store.spool.path",
        };
        mend.to_owned()
    }
}

const MEND_RIGHTS: &str = "the receiver's user must be able to read and write the file and its directory, and its disk must have room";

/// What to do about a directory that is not there: where a file is in its place, it cannot be made.
fn mend_of_directory(directory: &Path) -> String {
    let mut above = directory.ancestors();
    match above.find(|above| above.exists()) {
        Some(file) if !file.is_dir() => {
            format!("{} is a file: name a path elsewhere", file.display())
        }
        Some(_) | None => format!("make it: mkdir -p {}", path_word(directory)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_told_with_a_mend_that_can_be_followed_wherever_one_is() {
        let path = PathBuf::from("etc/certs");
        let fault = StoreFault::IsDirectory { path };
        assert_eq!(fault.what(), "etc/certs: this is a directory");
        let mend = fault.mend().unwrap();
        assert!(
            mend.contains("/countersign.db") && !mend.contains("certs"),
            "{mend}"
        );
    }

    #[test]
    fn a_path_may_hold_what_stands_between_a_fault_and_its_mend() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("data; x");
        let path = directory.join("y z.db");
        let fault = StoreFault::NoDirectory {
            path: path.clone(),
            directory: directory.clone(),
        };
        let what = format!(
            "{}: the directory {} does not exist",
            path.display(),
            directory.display()
        );
        assert_eq!(fault.what_with_causes(), what);
        let mend = format!("make it: mkdir -p '{}'", directory.display());
        assert_eq!(fault.mend(), Some(mend.clone()));
        assert_eq!(fault.to_string(), format!("{what}; {mend}"));
        let fault = StoreFault::in_spool(fault);
        assert_eq!(
            fault.what_with_causes(),
            format!("the spool (store.spool.path) cannot be used: {what}")
        );
        assert_eq!(fault.mend(), Some(mend));
    }

    #[test]
    fn a_spool_is_mended_otherwise_than_a_store() {
        let damaged = || StoreFault::Damaged {
            path: "spool.db".into(),
            source: std::io::Error::other("no database").into(),
        };
        let what = "spool.db: the store is damaged, or is no SQLite database: no database";
        assert_eq!(damaged().what_with_causes(), what);
        assert!(damaged().mend().unwrap().ends_with("store.url"));
        let fault = StoreFault::in_spool(damaged());
        let told = fault.what_with_causes();
        let within = "the spool (store.spool.path) cannot be used: ";
        assert_eq!(told.strip_prefix(within), Some(what));
        assert!(fault.mend().unwrap().ends_with("store.spool.path"));
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
            let address = super::super::Address::new(&format!("postgres://db.example{parameters}"));
            let fault = crate::store::postgres::address::Target::load(&address).unwrap_err();
            let told = fault.mend().unwrap();
            assert!(told.contains(mend), "{told}");
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
}
