//! What an operator can get wrong with a private CA.

use std::io;
use std::path::PathBuf;

use crate::x509::X509Fault;

use super::DAYS_MAX;

/// Why the CA did not do what it was asked. `Display` says what is wrong, [`mend`](Self::mend) what to do.
#[derive(Debug, thiserror::Error)]
pub enum CaFault {
    /// A file is in the way.
    #[error("{}: exists, and is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: cannot be {done}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read", "written" or "locked".
        done: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file that is no certificate, request or revocation list.
    #[error("{}: cannot be read as {what}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        source: X509Fault,
    },
    /// A file without a private key, or with one that needs a password.
    #[error("{}: holds no private key in PEM that can be read without a password", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of a kind that cannot sign here.
    #[error("{}: holds a key that is not RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519", path.display())]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// What the key's reader says.
        source: rcgen::Error,
    },
    /// Certificate and key do not belong together.
    #[error("{}: does not belong to the key beside it", path.display())]
    KeyMismatch {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A certificate that may not issue others.
    #[error("{}: is no CA's certificate: {why}", path.display())]
    NotACa {
        /// The certificate's file.
        path: PathBuf,
        /// Which of its statements is in the way.
        why: &'static str,
    },
    /// A CA whose time is over, or has not come.
    #[error("the CA is valid from {not_before:.0} to {not_after:.0} only")]
    CaNotValid {
        /// Its first second.
        not_before: jiff::Timestamp,
        /// Its last second.
        not_after: jiff::Timestamp,
    },
    /// The CA's own certificate.
    #[error(
        "this is the certificate of the CA itself, {subject}, which no list of its own revokes"
    )]
    OwnCertificate {
        /// Its subject.
        subject: String,
    },
    /// A certificate that somebody else issued.
    #[error("the certificate with serial {serial} of {subject} was not issued by this CA")]
    ForeignCertificate {
        /// Its subject.
        subject: String,
        /// Its serial number.
        serial: String,
    },
    /// A revocation list that somebody else signed.
    #[error("{}: was not signed by this CA", path.display())]
    ForeignRevocationList {
        /// The list's file.
        path: PathBuf,
    },
    /// A text that is neither a host's name nor an address.
    #[error("{text:?} is neither a host's name nor an IP address")]
    ServerName {
        /// As given.
        text: String,
    },
    /// A life that is too short or too long.
    #[error("a certificate is valid for 1 to {DAYS_MAX} days, not for {days}")]
    Days {
        /// As given.
        days: u32,
    },
    /// The subject has no attributes.
    #[error("the certificate would have no subject")]
    NoSubject,
    /// The certificate would not be one that can be decoded.
    #[error("the certificate would not be sound")]
    Unsound {
        /// What is wrong with it.
        source: X509Fault,
    },
    /// The operating system has no random numbers.
    #[error("the random number generator failed")]
    Random,
    /// A key or a signature could not be made.
    #[error("the cryptographic library refused to {what}")]
    Crypto {
        /// What it was asked for.
        what: &'static str,
        /// What it says.
        source: rcgen::Error,
    },
}

impl CaFault {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "move the file away, or choose another place",
            Self::File { .. } => "check the path and the permissions",
            Self::Decode { .. } => "give a file in PEM or DER",
            Self::NoKey { .. } => {
                "write the key in PEM without a password: openssl pkey -in FILE -out FILE.pem"
            }
            Self::UnsupportedKey { .. } => {
                "make another key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
            }
            Self::KeyMismatch { .. } => {
                "put the key and the certificate that were made together side by side"
            }
            Self::NotACa { .. } => {
                "give the directory of a CA: ca.crt and ca.key, as countersign certs init makes them"
            }
            Self::CaNotValid { .. } => {
                "make a new CA with countersign certs init --out DIR, and trust both while leaves are replaced"
            }
            Self::OwnCertificate { .. } => {
                "take it out of tls.client_ca, and of wherever else it is trusted"
            }
            Self::ForeignCertificate { .. } => {
                "give a certificate of this CA, or the directory of the CA that issued it"
            }
            Self::ForeignRevocationList { .. } => "move the list away; a new one is then begun",
            Self::ServerName { .. } => "write it as receiver.example.com or 192.0.2.1",
            Self::Days { .. } => "choose a number of days within that",
            Self::NoSubject => "give --subject, for example CN=payments-provider,O=Example",
            Self::Unsound { .. } => "shorten the subject and the names",
            Self::Random => "check that the system offers getrandom",
            Self::Crypto { .. } => "check that the key is sound: openssl pkey -in FILE -check",
        }
    }
}
