//! A CA in a directory: `ca.crt`, `ca.key`, and `ca.crl` once something was revoked.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::secret::Secret;
use crate::x509::{
    Certificate, DistinguishedName, RevocationList, decode_certificates, decode_revocation_lists,
    encode_pem,
};

use super::files::{self, Readable};
use super::revoke::Revocation;
use super::{CaFault, Issued, KeyAlgorithm, PrivateCa, Template, random, validity_of};

impl PrivateCa {
    /// Makes a CA with an ECDSA key on P-256 in `directory`, which need not exist; its two files must not.
    pub fn init(
        directory: &Path,
        subject: DistinguishedName,
        days: u32,
        now: Timestamp,
    ) -> Result<Self, CaFault> {
        let (certificate_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        files::must_be_new(&certificate_path)?;
        files::must_be_new(&key_path)?;
        let template = Template::authority(subject, validity_of(days, now)?);
        let ca = Self::generate(&template, KeyAlgorithm::EcP256)?;
        make_directory(directory)?;
        files::create(&key_path, Readable::ByOwner, ca.key_pem().expose())?;
        files::create(
            &certificate_path,
            Readable::ByAll,
            ca.certificate_pem().as_bytes(),
        )?;
        Ok(ca)
    }

    /// Opens the CA in `directory`, whoever made it: the key in PEM as PKCS #8, PKCS #1 or SEC 1.
    pub fn open(directory: &Path) -> Result<Self, CaFault> {
        let key = read_key(&directory.join("ca.key"))?;
        let path = directory.join("ca.crt");
        let raw_spki = key.subject_public_key_info();
        let mut certificates = read_certificates(&path)?.into_iter();
        let certificate = certificates.find(|certificate| certificate.raw_spki() == raw_spki);
        let certificate = certificate.ok_or_else(|| CaFault::KeyMismatch { path: path.clone() })?;
        if !certificate.is_ca() {
            return Err(CaFault::NotACa {
                path,
                why: "its basicConstraints do not say CA:TRUE",
            });
        }
        if certificate
            .key_usage()
            .is_some_and(|usage| !usage.key_cert_sign())
        {
            return Err(CaFault::NotACa {
                path,
                why: "its keyUsage lacks keyCertSign",
            });
        }
        Ok(Self { certificate, key })
    }

    /// Adds certificates to the CA's list, `ca.crl`, and renews it; without any, it only renews it. What stands in the list
    /// stays. A certificate that another CA issued is refused, and nothing is written.
    pub fn revoke(
        directory: &Path,
        certificates: &[Certificate],
        now: Timestamp,
    ) -> Result<Revocation, CaFault> {
        let ca = Self::open(directory)?;
        let usage = ca.certificate().key_usage();
        if usage.is_some_and(|usage| !usage.crl_sign()) {
            return Err(CaFault::NotACa {
                path: directory.join("ca.crt"),
                why: "its keyUsage lacks cRLSign",
            });
        }
        // Of two that revoke at the same time, the second must see the list of the first.
        let key_path = directory.join("ca.key");
        let lock = File::open(&key_path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|source| CaFault::File {
            path: key_path,
            done: "locked",
            source,
        })?;

        let path = directory.join("ca.crl");
        let previous = if path.exists() {
            Some(read_list(&path)?)
        } else {
            None
        };
        if previous
            .as_ref()
            .is_some_and(|list| !list.is_issued_by(ca.certificate()))
        {
            return Err(CaFault::ForeignRevocationList { path });
        }
        let (list, revocation) = ca.next_revocation_list(previous.as_ref(), certificates, now)?;
        files::replace(&path, encode_pem("X509 CRL", &list).as_bytes())?;
        Ok(Revocation { path, ..revocation })
    }
}

impl Issued {
    /// Writes `PREFIX.crt`, and `PREFIX.key` if the key was made here; gives the paths. Neither file may exist.
    pub fn write(&self, prefix: &Path) -> Result<(PathBuf, Option<PathBuf>), CaFault> {
        let (certificate_path, key_path) =
            (with_suffix(prefix, ".crt"), with_suffix(prefix, ".key"));
        files::must_be_new(&certificate_path)?;
        if let Some(parent) = prefix.parent() {
            make_directory(parent)?;
        }
        let key_path = match self.key_pem() {
            Some(key) => {
                files::create(&key_path, Readable::ByOwner, key.expose())?;
                Some(key_path)
            }
            None => None,
        };
        files::create(
            &certificate_path,
            Readable::ByAll,
            self.certificate_pem().as_bytes(),
        )?;
        Ok((certificate_path, key_path))
    }
}

/// Writes a new secret of 256 random bits, as 64 hex digits and a newline, readable by its owner alone.
pub fn write_new_secret(path: &Path) -> Result<(), CaFault> {
    let bytes: [u8; 32] = random()?;
    files::create(
        path,
        Readable::ByOwner,
        format!("{}\n", hex::encode(bytes)).as_bytes(),
    )
}

fn read_key(path: &Path) -> Result<KeyPair, CaFault> {
    let pem = Secret::new(files::read(path)?);
    match PrivateKeyDer::from_pem_slice(pem.expose()) {
        Ok(der) => KeyPair::try_from(&der).map_err(|source| CaFault::UnsupportedKey {
            path: path.into(),
            source,
        }),
        Err(_no_key) => Err(CaFault::NoKey { path: path.into() }),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, CaFault> {
    let fault = |source| CaFault::Decode {
        path: path.into(),
        what: "a certificate",
        source,
    };
    let certificates = decode_certificates(&files::read(path)?).map_err(fault)?;
    certificates
        .iter()
        .map(|der| Certificate::decode(der).map_err(fault))
        .collect()
}

fn read_list(path: &Path) -> Result<RevocationList, CaFault> {
    let fault = |source| CaFault::Decode {
        path: path.into(),
        what: "a revocation list",
        source,
    };
    let lists = decode_revocation_lists(&files::read(path)?).map_err(fault)?;
    RevocationList::decode(lists.first().map(Vec::as_slice).unwrap_or_default()).map_err(fault)
}

fn make_directory(path: &Path) -> Result<(), CaFault> {
    fs::create_dir_all(path).map_err(|source| CaFault::File {
        path: path.into(),
        done: "written",
        source,
    })
}

/// `PREFIX` may have dots of its own, so `with_extension` would not do.
fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(suffix);
    path.into()
}
