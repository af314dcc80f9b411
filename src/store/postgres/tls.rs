//! TLS to a PostgreSQL, as the address asks for it in libpq's words.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::config::SslMode;

use super::address_fault::AddressFault;
use super::parts::Parts;
use crate::secret::Secret;
use crate::store::{StoreFault, off_the_runtime};
use crate::tls::{DatabaseTls, ServerCheck};

/// Bytes of one file that an address names, at most: bundles of authorities are the largest.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    pub(super) fn driver(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// What an address says of TLS, and what came of it last.
pub(super) struct Tls {
    parameters: TlsParameters,
    base: PathBuf,
    loaded: Mutex<DatabaseTls>,
}

impl Tls {
    pub(super) fn load(
        parameters: TlsParameters,
        base: &Path,
        place: &str,
    ) -> Result<Self, StoreFault> {
        let loaded = parameters.load(base).map_err(|fault| fault.at(place))?;
        Ok(Self {
            parameters,
            base: base.into(),
            loaded: Mutex::new(loaded),
        })
    }

    /// TLS by the files as they are now: a certificate for the database is replaced without a restart. Where they cannot be read, as in
    /// the middle of being replaced, by what they were.
    pub(super) async fn current(&self, place: &str) -> DatabaseTls {
        let Tls {
            parameters,
            base,
            loaded,
        } = self;
        let held = || loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if parameters.names_no_file() {
            return held().clone();
        }
        let (parameters, base, place) = (parameters.clone(), base.clone(), place.to_owned());
        let read = off_the_runtime(move || {
            let fault = |fault: TlsFault| fault.at(&place);
            parameters.load(&base).map_err(fault)
        });
        match read.await {
            Ok(tls) => *held() = tls,
            Err(fault) => tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the files that store.url names cannot be used; they count as they were"
            ),
        }
        held().clone()
    }
}

/// The same in libpq's words. The driver knows only half of them.
#[derive(Clone, Debug)]
pub(super) struct TlsParameters {
    pub(super) mode: Mode,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

enum TlsFault {
    Address(AddressFault),
    Tls(crate::tls::DatabaseTlsFault),
}

impl TlsFault {
    fn at(self, place: &str) -> StoreFault {
        match self {
            Self::Address(fault) => StoreFault::of_address(place, fault),
            Self::Tls(source) => StoreFault::Tls {
                place: place.to_owned(),
                source,
            },
        }
    }
}

impl TlsParameters {
    /// Takes them out of an address.
    pub(super) fn take(address: &str) -> Result<(String, Self), AddressFault> {
        let mut taken = Self {
            mode: Mode::Prefer,
            authority: None,
            certificate: None,
            key: None,
        };
        let Parts { head, query, .. } = Parts::of(address)?;
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "sslmode" => taken.mode = mode(value)?,
                "sslrootcert" => taken.authority = Some(decode(value).into()),
                "sslcert" => taken.certificate = Some(decode(value).into()),
                "sslkey" => taken.key = Some(decode(value).into()),
                _ => kept.push(pair),
            }
        }
        // As libpq has it: who names an authority wants it asked.
        if taken.mode == Mode::Require && taken.authority.is_some() {
            taken.mode = Mode::VerifyCa;
        }
        let rest = if kept.is_empty() {
            head.to_owned()
        } else {
            format!("{head}?{}", kept.join("&"))
        };
        Ok((rest, taken))
    }

    fn names_no_file(&self) -> bool {
        self.authority.is_none() && self.certificate.is_none() && self.key.is_none()
    }

    fn load(&self, base: &Path) -> Result<DatabaseTls, TlsFault> {
        let read = |path: &Path| {
            let path = base.join(path);
            read_file(&path).map_err(|error| {
                TlsFault::Address(AddressFault::File {
                    path,
                    detail: error.to_string(),
                })
            })
        };
        let needed = |mode| TlsFault::Address(AddressFault::NoAuthority { mode });
        let check = match (self.mode, &self.authority) {
            (Mode::Disable | Mode::Prefer | Mode::Require, _) => ServerCheck::None,
            (Mode::VerifyCa, Some(path)) => ServerCheck::Authority(read(path)?),
            (Mode::VerifyFull, Some(path)) => ServerCheck::AuthorityAndName(read(path)?),
            (Mode::VerifyCa, None) => return Err(needed("verify-ca")),
            (Mode::VerifyFull, None) => return Err(needed("verify-full")),
        };
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, Secret::new(read(key)?))),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(TlsFault::Address(AddressFault::HalfAnIdentity));
            }
        };
        let identity = identity
            .as_ref()
            .map(|(certificate, key)| (certificate.as_slice(), key));
        DatabaseTls::new(&check, identity).map_err(TlsFault::Tls)
    }
}

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let announced = file.metadata()?.len().min(FILE_BYTES_MAX);
    // It may be a key: a buffer that grew would leave parts of it where nothing wipes them.
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0).saturating_add(64));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn mode(text: &str) -> Result<Mode, AddressFault> {
    match text {
        "disable" => Ok(Mode::Disable),
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        other => Err(AddressFault::SslMode {
            mode: other.to_owned(),
        }),
    }
}

/// Undoes percent-encoding; what is none stays as it is.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let encoded = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        match encoded.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_read_up_to_its_bound() {
        let error = read_file(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        let largest = vec![b'x'; 4 << 20];
        std::fs::write(&path, &largest).unwrap();
        assert_eq!(read_file(&path).unwrap(), largest);
    }
}
