//! Revocation lists: read, and what is to be said of those that let nobody in, or revoke nobody.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::tls::{Concerned, CrlExpired, Trust, TrustPolicy};
use crate::x509::{
    Certificate, REVOCATION_LIST_BYTES_MAX, RevocationList, decode_revocation_lists, flaw_of_pem,
};

use super::context::Context;
use super::fault::Findings;
use super::found::{Found, decoded};
use super::key::KeyPath;

pub(super) fn revocation_lists(
    path: &str,
    key: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<Found<RevocationList>> {
    let file = context.resolve(path);
    let Some(read) = context.read(key, &file, REVOCATION_LIST_BYTES_MAX) else {
        return Vec::new();
    };
    let lists = decode_revocation_lists(&read.bytes);
    let lists = lists.map_err(|fault| flaw_of_pem(&read.bytes).unwrap_or(fault));
    let lists = lists.and_then(|lists| {
        lists
            .iter()
            .map(|der| RevocationList::decode(der))
            .collect()
    });
    decoded(lists, "CRL", file, key, &mut context.findings)
}

/// `countersign certs revoke` writes the list beside the CA; it revokes nothing for who does not read it.
pub(super) fn warn_of_a_list_that_is_not_named(
    anchors: &[Found<Certificate>],
    named: &[String],
    key: &KeyPath,
    context: &mut Context<'_>,
) {
    let named: Vec<PathBuf> = named.iter().map(|path| context.resolve(path)).collect();
    let mut lists: Vec<PathBuf> = anchors
        .iter()
        .map(|anchor| anchor.file.with_extension("crl"))
        .filter(|list| !named.contains(list) && list.exists())
        .collect();
    lists.sort();
    lists.dedup();
    for list in lists {
        let what = format!(
            "{} lies beside the CA and is not named here: whom it revokes is let in",
            list.display()
        );
        let mend = format!("add it: crls = [{:?}]", context.as_written(&list));
        context.findings.warn(key, what, mend);
    }
}

/// A list that ended, or has not begun, does not stop the start: clients of other CAs go on, and the newest list is taken up without a
/// restart.
pub(super) fn warn_of_old_lists(
    crls: &[Found<RevocationList>],
    policy: TrustPolicy,
    trust: Option<&Trust>,
    now: Timestamp,
    findings: &mut Findings,
) {
    for found in crls {
        let file = found.file.display();
        let (flaw, mend) = if let Some(due) = found.what.next_update().filter(|due| *due < now) {
            let flaw = format!("the CRL in {file} should have been replaced by {due}");
            (flaw, "put the CA's newest CRL there")
        } else if let Some(trust) = trust
            && trust.out_of_time(&found.what, now).is_some()
        {
            let begins = found.what.this_update();
            let flaw = format!("the CRL in {file} begins only at {begins}");
            (
                flaw,
                "wait, mend this machine's clock, or put the CRL there that the CA had before",
            )
        } else {
            continue;
        };
        let whom = trust.and_then(|trust| trust.out_of_time(&found.what, now));
        let what = |consequence: &str| format!("{flaw}: {consequence}");
        let key = &found.key;
        match (whom.unwrap_or(Concerned::Everyone), policy.crl_expired) {
            (Concerned::Nobody, _) => findings.warn(
                key,
                what(
                    "it changes nothing, for a newer one is named as well, or its CA only watches",
                ),
                "take it out, or put the CA's newest CRL there",
            ),
            (_, CrlExpired::Warn) => {
                findings.warn(key, what("revocations since then are not known here"), mend);
            }
            (Concerned::Everyone, CrlExpired::Refuse) => {
                let what = what("every client of its CA is refused (tls.crl_expired)");
                findings.warn_of_refusals(key, what, mend);
            }
            (Concerned::OneKey, CrlExpired::Refuse) => {
                let what = what(
                    "clients whose certificates the same key of its CA signed are refused (tls.crl_expired)",
                );
                let mend = "put that key's newest CRL there; or take it out, if what the CA signs with another key names all that it revoked";
                findings.warn_of_refusals(key, what, mend);
            }
            (Concerned::TheUncovered, CrlExpired::Refuse) => findings.warn(
                key,
                what("clients of its CA that no other CRL covers are refused (tls.crl_expired)"),
                mend,
            ),
        }
    }
}

/// A list that was put back by mistake, or by who was revoked, is signed as well as the newer one is.
pub(super) fn tell_of_lists_that_forgot(
    crls: &[Found<RevocationList>],
    trust: &Trust,
    serving: &Trust,
    now: Timestamp,
    findings: &mut Findings,
) {
    for forgetful in trust.lists_that_forgot(serving, now) {
        let is_it = |found: &&Found<RevocationList>| found.what.der() == forgetful.older.der();
        let Some(found) = crls.iter().find(is_it) else {
            continue;
        };
        let what = format!(
            "the CRL in {} of {} is older than the one that serves, of {}, and would let in again {} that one revokes: what served before serves on",
            found.file.display(),
            forgetful.older.this_update(),
            forgetful.newer.this_update(),
            match forgetful.forgotten {
                1 => "a certificate".to_owned(),
                several => format!("{several} certificates"),
            },
        );
        let mend = "put the CA's newest CRL there; if the older one is meant, restart the receiver";
        findings.fault(&found.key, what, mend);
    }
}

/// As with a list that ended, clients of other CAs go on.
pub(super) fn warn_of_missing_lists<'a>(
    issuers: impl Iterator<Item = &'a Found<Certificate>>,
    trust: &Trust,
    now: Timestamp,
    findings: &mut Findings,
) {
    for found in issuers.filter(|found| !trust.has_list_of(&found.what, now)) {
        let what = format!(
            "no CRL of the CA {} in {} is configured: every client under it is refused (tls.crl_missing)",
            found.what.subject(),
            found.file.display()
        );
        let mend = "name its CRL in tls.crls, or write crl_missing = \"allow\"";
        findings.warn_of_refusals(&found.key, what, mend);
    }
}
