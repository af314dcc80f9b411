//! `tls.certificate` and `tls.private_key`: what the receiver shows of itself.

use std::path::Path;

use jiff::Timestamp;

use crate::secret::Secret;
use crate::text::path_word;
use crate::tls::{IdentityFault, ServerIdentity};
use crate::x509::{Certificate, flaw_of_pem};

use super::context::{Context, FILE_BYTES_MAX};
use super::ends::warn_of_our_end;
use super::file;
use super::key::KeyPath;
use super::secrets::warn_of_readers;

/// A file that the configuration names, and where it does so.
struct Named<'a> {
    key: KeyPath,
    path: &'a Path,
}

/// Loads the pair, or tells why it cannot be used.
pub(super) fn load(
    shape: &file::Tls,
    at: &KeyPath,
    context: &mut Context<'_>,
    now: Timestamp,
) -> Option<ServerIdentity> {
    let (certificate_path, key_path) = (
        context.resolve(&shape.certificate),
        context.resolve(&shape.private_key),
    );
    let (certificate, key) = (
        Named {
            key: at.key("certificate"),
            path: &certificate_path,
        },
        Named {
            key: at.key("private_key"),
            path: &key_path,
        },
    );
    let chain = context.read(&certificate.key, certificate.path, FILE_BYTES_MAX);
    let read = context.read(&key.key, key.path, FILE_BYTES_MAX);
    let (chain, read) = (chain?.bytes, read?);
    if read.is_open_to_others() {
        warn_of_readers(key.path, &key.key, &mut context.findings);
    }
    let secret = Secret::new(read.bytes);
    // One file may be named for both, with all in it.
    let both_in_each = holds_a_certificate(&chain) && holds_a_key(secret.expose());
    if !both_in_each && holds_a_key(&chain) && holds_a_certificate(secret.expose()) {
        let what = format!(
            "{} holds a private key, and {} a certificate: the two are swapped",
            certificate.path.display(),
            key.path.display()
        );
        let mend = format!(
            "write certificate = {:?} and private_key = {:?}",
            shape.private_key, shape.certificate
        );
        context.findings.fault(&certificate.key, what, mend);
        return None;
    }
    match ServerIdentity::load(&chain, &secret) {
        Ok(identity) => {
            warn_of_our_leaf(identity.leaf(), &certificate, now, context);
            Some(identity)
        }
        Err(fault) => {
            tell(fault, &certificate, &chain, &key, &secret, context);
            None
        }
    }
}

fn tell(
    fault: IdentityFault,
    certificate: &Named<'_>,
    chain: &[u8],
    key: &Named<'_>,
    secret: &Secret,
    context: &mut Context<'_>,
) {
    let findings = &mut context.findings;
    let (certificate_path, key_path) = (certificate.path.display(), key.path.display());
    match fault {
        IdentityFault::Certificate { detail } => {
            let detail = flaw_of_pem(chain).map_or(detail, |flaw| flaw.to_string());
            let what = format!("{certificate_path} is no certificate: {detail}");
            let mend = "write the server's certificate there in PEM, and its chain after it";
            findings.fault(&certificate.key, what, mend);
        }
        IdentityFault::Key { .. } if contains(secret.expose(), b"ENCRYPTED") => {
            let what = format!("{key_path} is encrypted with a passphrase");
            let mend = format!(
                "decrypt it: openssl pkey -in {} -out NEW, and name NEW, mode 600",
                path_word(key.path)
            );
            findings.fault(&key.key, what, mend);
        }
        IdentityFault::Key { detail } => {
            let mend = "write the certificate's key there in PEM (PKCS #8, PKCS #1 or SEC 1)";
            let (what, mend) = match flaw_of_pem(secret.expose()) {
                Some(flaw) => (format!("{key_path} is no private key: {flaw}"), mend),
                None if holds_a_key(secret.expose()) => (
                    format!("{key_path} holds a private key that cannot be used: {detail}"),
                    "use one of RSA (rsaEncryption) with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519, and have its certificate issued anew",
                ),
                None => (format!("{key_path} is no private key: {detail}"), mend),
            };
            findings.fault(&key.key, what, mend);
        }
        IdentityFault::Order { subject } => {
            let what = format!(
                "{certificate_path} does not begin with the certificate of {subject}, whose key this is"
            );
            let mend = "put the server's own certificate first, and the CAs of its chain after it";
            findings.fault(&certificate.key, what, mend);
        }
        IdentityFault::Mismatch { .. } => {
            let what =
                format!("{key_path} is not the key of the certificate in {certificate_path}");
            let mend = "put the pair there together; openssl pkey -pubout and openssl x509 -pubkey print the same for both";
            findings.pair_mismatch(&key.key, what, mend);
        }
    }
}

fn warn_of_our_leaf(
    leaf: &Certificate,
    certificate: &Named<'_>,
    now: Timestamp,
    context: &mut Context<'_>,
) {
    let (findings, key) = (&mut context.findings, &certificate.key);
    let path = certificate.path.display().to_string();
    let issue = "have it issued anew, as with: countersign certs issue --ca certs --subject CN=NAME --server NAME --out certs/new, and name certs/new.crt and certs/new.key";
    if leaf.version() < 3 {
        let what = format!("{path} is of X.509 version 1, which many clients refuse");
        findings.warn(key, what, issue);
    } else if leaf.subject_alt_names().is_empty() {
        let what = format!("{path} has no subjectAltName, without which clients refuse it");
        findings.warn(key, what, issue);
    }
    if let Some(usage) = leaf.extended_key_usage()
        && !usage.server_auth()
        && !usage.any()
    {
        let what = format!("{path} is not meant for servers (extendedKeyUsage)");
        findings.warn(key, what, issue);
    }
    warn_of_our_end(leaf, &path, key, now, findings);
}

/// Whether there is a private key in this PEM, whatever its form.
fn holds_a_key(pem: &[u8]) -> bool {
    contains(pem, b"PRIVATE KEY-----")
}

fn holds_a_certificate(pem: &[u8]) -> bool {
    contains(pem, b"-----BEGIN CERTIFICATE-----")
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
