//! What is wrong with a PostgreSQL's address, and what to do about it.

use std::path::PathBuf;

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// The driver does not understand it.
    #[error("{detail}")]
    Form {
        /// Its words.
        detail: String,
    },
    /// A password, or a parameter, holds a character that ends another part.
    #[error("a {character} in a user's name, a password or a parameter can be read in two ways")]
    Ambiguous {
        /// The character.
        character: char,
    },
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// As many ports as hosts, or one.
    #[error("it names {ports} ports for {hosts} hosts")]
    Ports {
        /// How many hosts.
        hosts: usize,
        /// How many ports.
        ports: usize,
    },
    /// None of libpq's.
    #[error("sslmode={mode} is none of disable, prefer, require, verify-ca, verify-full")]
    SslMode {
        /// What was given.
        mode: String,
    },
    /// A check of the server, and nothing to check it by.
    #[error("sslmode={mode} needs sslrootcert=FILE, the authority that vouches for the database")]
    NoAuthority {
        /// The mode.
        mode: &'static str,
    },
    /// A certificate without its key or a key without its certificate.
    #[error("sslcert and sslkey must be given together")]
    HalfAnIdentity,
    /// A file that cannot be read.
    #[error("{}: {detail}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

impl AddressFault {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Form { .. } | Self::NoHost => {
                "write postgres://USER@HOST/DATABASE in store.url".to_owned()
            }
            Self::Ambiguous { .. } => {
                "write %40 for @, %3F for ? and %23 for # within them in store.url, or take the password out, and write store.password"
                    .to_owned()
            }
            Self::Ports { .. } => "give each host of store.url its port, or all one".to_owned(),
            Self::SslMode { .. } => {
                "write sslmode=verify-full in store.url, or another of them".to_owned()
            }
            Self::NoAuthority { .. } => {
                "add sslrootcert=FILE to store.url: the CA's certificate, in PEM".to_owned()
            }
            Self::HalfAnIdentity => "add the other one to store.url, or take both out".to_owned(),
            Self::File { path, .. } => format!(
                "store.url names {}: make it readable to the receiver's user, or name another file",
                path.display()
            ),
        }
    }
}
