//! What stands in a file that the configuration names, decoded, and where it is named.

use std::path::PathBuf;

use crate::text::chain;
use crate::x509::{Certificate, X509Fault, decode_certificates, flaw_of_pem};

use super::context::{Context, FILE_BYTES_MAX};
use super::fault::Findings;
use super::key::KeyPath;

/// Something decoded, and where the configuration names it.
pub(super) struct Found<T> {
    pub(super) what: T,
    pub(super) key: KeyPath,
    pub(super) file: PathBuf,
}

/// The certificates of a file.
pub(super) fn certificates(
    path: &str,
    key: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<Found<Certificate>> {
    if path.is_empty() {
        // A table without a file was told of where its shape was read.
        if context.findings.any_told_within(key) {
            return Vec::new();
        }
        let mend = "write the path of a certificate, as \"certs/ca.crt\"";
        context.findings.missing(key, "names no file", mend);
        return Vec::new();
    }
    let file = context.resolve(path);
    let Some(read) = context.read(key, &file, FILE_BYTES_MAX) else {
        return Vec::new();
    };
    let ders = decode_certificates(&read.bytes);
    let ders = ders.map_err(|fault| flaw_of_pem(&read.bytes).unwrap_or(fault));
    let ders = ders.and_then(|ders| ders.iter().map(|der| Certificate::decode(der)).collect());
    decoded(ders, "certificate", file, key, &mut context.findings)
}

/// What was decoded of a file, each with its place, or the fault.
pub(super) fn decoded<T>(
    result: Result<Vec<T>, X509Fault>,
    kind: &str,
    file: PathBuf,
    key: &KeyPath,
    findings: &mut Findings,
) -> Vec<Found<T>> {
    let path = file.display();
    match result {
        Ok(all) if all.is_empty() => {
            let what = format!("{path} holds no {kind}");
            findings.fault(key, what, format!("write the {kind} there, in PEM or DER"));
            Vec::new()
        }
        Ok(all) => {
            let found = |what| Found {
                what,
                key: key.clone(),
                file: file.clone(),
            };
            all.into_iter().map(found).collect()
        }
        Err(fault) => {
            let what = format!("{path} is no {kind}: {}", chain(&fault));
            findings.fault(key, what, format!("write the {kind} there, in PEM or DER"));
            Vec::new()
        }
    }
}
