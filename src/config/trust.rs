//! What `[tls]` means: our certificate and key, and whom we trust.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::secret::Secret;
use crate::tls::{
    CrlExpired, CrlMissing, IdentityFault, MinVersion, Resumption, ServerIdentity, Trust,
    TrustFault, TrustParts, TrustPolicy, V1Leaf, bar_of_anchor,
};
use crate::x509::{
    Certificate, DistinguishedName, RevocationList, decode_certificates, flaw_of_pem,
};

use super::client_cas::{warn_of_an_anchors_bar, warn_of_an_intermediates_constraints};
use super::context::{Context, FILE_BYTES_MAX};
use super::crls::{
    revocation_lists, warn_of_a_list_that_is_not_named, warn_of_missing_lists, warn_of_old_lists,
};
use super::ends::{has_ended, warn_of_an_issuers_end, warn_of_our_end};
use super::fault::Findings;
use super::file;
use super::key::KeyPath;

/// Gate 1's part of a configuration.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Our certificate and its key.
    pub identity: ServerIdentity,
    /// Whom we trust.
    pub trust: Arc<Trust>,
    /// The lowest version of TLS.
    pub min_version: MinVersion,
    /// Whether sessions are resumed.
    pub resumption: Resumption,
}

/// Something decoded, and where the configuration names it.
pub(super) struct Found<T> {
    pub(super) what: T,
    pub(super) key: KeyPath,
    pub(super) file: PathBuf,
}

pub(super) fn tls(
    shape: &file::Tls,
    context: &mut Context<'_>,
    now: Timestamp,
) -> Option<TlsSettings> {
    let at = KeyPath::of(&["tls"]);
    let identity = identity(shape, &at, context, now);
    let (mut anchors, mut shadow_anchors) = (Vec::new(), Vec::new());
    let key = at.key("client_ca");
    if shape.client_ca.iter().all(|ca| ca.shadow) {
        let mend = "write client_ca = [\"certs/ca.crt\"]: only its certificates are let in";
        context
            .findings
            .missing(&key, "no CA is trusted, so no client could be let in", mend);
    }
    for (index, ca) in shape.client_ca.iter().enumerate() {
        let found = certificates(&ca.text, &key.index(index), context);
        if ca.shadow {
            shadow_anchors.extend(found);
        } else {
            anchors.extend(found);
        }
    }
    let key = at.key("intermediates");
    let mut intermediates = Vec::new();
    for (index, path) in shape.intermediates.iter().enumerate() {
        intermediates.extend(certificates(path, &key.index(index), context));
    }
    // What signs a CA's lists for it need not be a CA's (RFC 5280 §4.2.1.3).
    let signs_lists = |one: &Certificate| one.key_usage().is_some_and(|usage| usage.crl_sign());
    for found in intermediates
        .iter()
        .filter(|found| !found.what.is_ca() && !signs_lists(&found.what))
    {
        not_a_ca(found, found.what.subject(), &mut context.findings);
    }
    let key = at.key("crls");
    let mut crls = Vec::new();
    for (index, path) in shape.crls.iter().enumerate() {
        crls.extend(revocation_lists(path, &key.index(index), context));
    }
    warn_of_a_list_that_is_not_named(&anchors, &shape.crls, &key, context);
    once_each(&mut anchors);
    once_each(&mut shadow_anchors);
    let none_left = anchors
        .iter()
        .all(|anchor| has_ended(anchor, now) || bar_of_anchor(&anchor.what).is_some());
    let findings = &mut context.findings;
    for found in &anchors {
        warn_of_an_issuers_end(found, none_left, now, findings);
        warn_of_an_anchors_bar(found, none_left, findings);
    }
    for found in &shadow_anchors {
        warn_of_an_issuers_end(found, false, now, findings);
        warn_of_an_anchors_bar(found, false, findings);
    }
    for found in &intermediates {
        warn_of_an_issuers_end(found, false, now, findings);
        warn_of_an_intermediates_constraints(found, findings);
    }
    let policy = TrustPolicy {
        v1_leaf: if shape.accept_v1_leaf {
            V1Leaf::Accept
        } else {
            V1Leaf::Refuse
        },
        crl_expired: match shape.crl_expired {
            file::CrlExpired::Refuse => CrlExpired::Refuse,
            file::CrlExpired::Warn => CrlExpired::Warn,
        },
        crl_missing: match shape.crl_missing {
            file::CrlMissing::Allow => CrlMissing::Allow,
            file::CrlMissing::Refuse => CrlMissing::Refuse,
        },
    };
    let trust = trust(
        &anchors,
        &shadow_anchors,
        &intermediates,
        &crls,
        policy,
        context,
    );
    warn_of_old_lists(&crls, policy, trust.as_ref(), now, &mut context.findings);
    if let Some(trust) = trust
        .as_ref()
        .filter(|_| policy.crl_missing == CrlMissing::Refuse)
    {
        let issuers = anchors.iter().chain(&intermediates);
        warn_of_missing_lists(issuers, trust, now, &mut context.findings);
    }
    Some(TlsSettings {
        identity: identity?,
        trust: Arc::new(trust?),
        min_version: match shape.min_version {
            file::MinVersion::Tls12 => MinVersion::Tls12,
            file::MinVersion::Tls13 => MinVersion::Tls13,
        },
        resumption: if shape.resumption {
            Resumption::Tickets
        } else {
            Resumption::Off
        },
    })
}

fn identity(
    shape: &file::Tls,
    at: &KeyPath,
    context: &mut Context<'_>,
    now: Timestamp,
) -> Option<ServerIdentity> {
    let (certificate_key, key_key) = (at.key("certificate"), at.key("private_key"));
    let certificate_path = context.resolve(&shape.certificate);
    let key_path = context.resolve(&shape.private_key);
    let certificate = context.read(&certificate_key, &certificate_path, FILE_BYTES_MAX);
    let key = context.read(&key_key, &key_path, FILE_BYTES_MAX);
    let (certificate, key) = (certificate?, key?);
    if key.is_open_to_others() {
        let what = format!(
            "{} can be read by every user of this machine",
            key_path.display()
        );
        let mend = format!("chmod 600 {}", key_path.display());
        context.findings.warn(&key_key, what, mend);
    }
    let key = Secret::new(key.bytes);
    // One file may be named for both, with all in it.
    let both_in_each = holds_a_certificate(&certificate.bytes) && holds_a_key(key.expose());
    if !both_in_each && holds_a_key(&certificate.bytes) && holds_a_certificate(key.expose()) {
        let what = format!(
            "{} holds a private key, and {} a certificate: the two are swapped",
            certificate_path.display(),
            key_path.display()
        );
        let mend = format!(
            "write certificate = {:?} and private_key = {:?}",
            shape.private_key, shape.certificate
        );
        context.findings.fault(&certificate_key, what, mend);
        return None;
    }
    let encrypted = contains(key.expose(), b"ENCRYPTED");
    match ServerIdentity::load(&certificate.bytes, &key) {
        Ok(identity) => {
            let path = certificate_path.display();
            warn_of_our_leaf(
                identity.leaf(),
                &path.to_string(),
                &certificate_key,
                now,
                context,
            );
            Some(identity)
        }
        Err(IdentityFault::Certificate { detail }) => {
            let flaw = flaw_of_pem(&certificate.bytes);
            let detail = flaw.map_or(detail, |flaw| flaw.to_string());
            let what = format!("{} is no certificate: {detail}", certificate_path.display());
            let mend = "write the server's certificate there in PEM, and its chain after it";
            context.findings.fault(&certificate_key, what, mend);
            None
        }
        Err(IdentityFault::Key { .. }) if encrypted => {
            let path = key_path.display();
            let mend =
                format!("decrypt it: openssl pkey -in {path} -out NEW, and name NEW, mode 600");
            let what = format!("{path} is encrypted with a passphrase");
            context.findings.fault(&key_key, what, mend);
            None
        }
        Err(IdentityFault::Key { detail }) => {
            let path = key_path.display();
            let mend = "write the certificate's key there in PEM (PKCS #8, PKCS #1 or SEC 1)";
            let (what, mend) = match flaw_of_pem(key.expose()) {
                Some(flaw) => (format!("{path} is no private key: {flaw}"), mend),
                None if holds_a_key(key.expose()) => (
                    format!("{path} holds a private key that cannot be used: {detail}"),
                    "use one of RSA (rsaEncryption) with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519, and have its certificate issued anew",
                ),
                None => (format!("{path} is no private key: {detail}"), mend),
            };
            context.findings.fault(&key_key, what, mend);
            None
        }
        Err(IdentityFault::Order { subject }) => {
            let path = certificate_path.display();
            let what = format!(
                "{path} does not begin with the certificate of {subject}, whose key this is"
            );
            let mend = "put the server's own certificate first, and the CAs of its chain after it";
            context.findings.fault(&certificate_key, what, mend);
            None
        }
        Err(IdentityFault::Mismatch { .. }) => {
            let what = format!(
                "{} is not the key of the certificate in {}",
                key_path.display(),
                certificate_path.display()
            );
            let mend = "put the pair there together; openssl pkey -pubout and openssl x509 -pubkey print the same for both";
            context.findings.pair_mismatch(&key_key, what, mend);
            None
        }
    }
}

fn warn_of_our_leaf(
    leaf: &Certificate,
    path: &str,
    key: &KeyPath,
    now: Timestamp,
    context: &mut Context<'_>,
) {
    let findings = &mut context.findings;
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
    warn_of_our_end(leaf, path, key, now, findings);
}

fn trust(
    anchors: &[Found<Certificate>],
    shadow_anchors: &[Found<Certificate>],
    intermediates: &[Found<Certificate>],
    crls: &[Found<RevocationList>],
    policy: TrustPolicy,
    context: &mut Context<'_>,
) -> Option<Trust> {
    fn all<T: Clone>(found: &[Found<T>]) -> Vec<T> {
        found.iter().map(|found| found.what.clone()).collect()
    }
    let findings = &mut context.findings;
    if !shadow_anchors.is_empty() {
        // On their own first, so that a fault names the right one.
        let parts = TrustParts {
            anchors: all(shadow_anchors),
            policy,
            ..TrustParts::default()
        };
        for fault in Trust::build(parts).err().into_iter().flatten() {
            tell(&fault, shadow_anchors, &[], findings);
        }
    }
    if findings.any_within(&KeyPath::of(&["tls"])) || anchors.is_empty() {
        // What could not be read would be told of again as a CA that is missing; the rest is still looked at.
        for found in anchors {
            let parts = TrustParts {
                anchors: vec![found.what.clone()],
                policy,
                ..TrustParts::default()
            };
            for fault in Trust::build(parts).err().into_iter().flatten() {
                tell(&fault, std::slice::from_ref(found), &[], findings);
            }
        }
        return None;
    }
    let parts = TrustParts {
        anchors: all(anchors),
        shadow_anchors: all(shadow_anchors),
        intermediates: all(intermediates),
        crls: all(crls),
        policy,
        ..TrustParts::default()
    };
    match Trust::build(parts) {
        Ok(trust) => Some(trust),
        Err(faults) => {
            for fault in faults {
                tell(&fault, anchors, crls, findings);
            }
            None
        }
    }
}

fn tell(
    fault: &TrustFault,
    anchors: &[Found<Certificate>],
    crls: &[Found<RevocationList>],
    findings: &mut Findings,
) {
    match fault {
        TrustFault::NoAnchor => {}
        TrustFault::NotACa { subject, anchor } => {
            if let Some(found) = anchors.get(*anchor) {
                not_a_ca(found, subject, findings);
            }
        }
        TrustFault::Unusable {
            subject,
            anchor,
            detail,
        } => {
            if let Some(found) = anchors.get(*anchor) {
                let file = found.file.display();
                let what = format!("{subject} in {file} cannot be a trust anchor: {detail}");
                findings.fault(
                    &found.key,
                    what,
                    "ask the CA for a certificate of the usual form",
                );
            }
        }
        TrustFault::ForeignCrl { issuer, crl } => {
            if let Some(found) = crls.get(*crl) {
                let file = found.file.display();
                let what =
                    format!("no CA that is configured here signed the CRL of {issuer} in {file}");
                let mend = "take it out, or name its CA in tls.client_ca or tls.intermediates";
                findings.fault(&found.key, what, mend);
            }
        }
        TrustFault::UnusableCrl {
            issuer,
            crl,
            detail,
        } => {
            if let Some(found) = crls.get(*crl) {
                let file = found.file.display();
                let what = format!("the CRL of {issuer} in {file} cannot be used: {detail}");
                findings.fault(&found.key, what, "ask the CA for a full and direct CRL");
            }
        }
    }
}

fn not_a_ca<T>(found: &Found<T>, subject: &DistinguishedName, findings: &mut Findings) {
    let what = format!(
        "{} holds {subject}, which is not a CA's certificate",
        found.file.display()
    );
    let mend = "name the certificate of the CA that issues your producers' certificates";
    findings.fault(&found.key, what, mend);
}

fn certificates(path: &str, key: &KeyPath, context: &mut Context<'_>) -> Vec<Found<Certificate>> {
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

pub(super) fn decoded<T>(
    result: Result<Vec<T>, crate::x509::X509Fault>,
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

/// The same certificate in two files is one.
fn once_each(found: &mut Vec<Found<Certificate>>) {
    let mut seen = std::collections::HashSet::new();
    found.retain(|found| seen.insert(found.what.sha256()));
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
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
