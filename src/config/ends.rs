//! Certificates that have ended, or soon will: told, and no reason not to start.

use jiff::{Timestamp, ToSpan};

use crate::x509::Certificate;

use super::fault::Findings;
use super::found::Found;
use super::key::KeyPath;

/// How long before a certificate's end it is told of.
const ENDS_SOON_DAYS: i64 = 28;

pub(super) fn has_ended(found: &Found<Certificate>, now: Timestamp) -> bool {
    found.what.validity().is_past_end(now)
}

/// Tells of a CA's end. `none_left` is whether nobody gets in under any other either.
pub(super) fn warn_of_an_issuers_end(
    found: &Found<Certificate>,
    none_left: bool,
    now: Timestamp,
    findings: &mut Findings,
) {
    let file = found.file.display();
    let whose = format!("the CA {} in {file}", found.what.subject());
    if !has_ended(found, now) {
        let mend = "add its successor beside it before then, and take this one out once it ended";
        warn_of_an_end_to_come(&found.what, &whose, mend, &found.key, now, findings);
        return;
    }
    let ended = format!("{whose} ended at {}", found.what.validity().not_after);
    let mend = "put its successor in its place";
    if none_left {
        let what = format!("{ended}, and none is left under tls.client_ca: no client is let in");
        findings.warn_of_refusals(&found.key, what, mend);
    } else {
        findings.warn(&found.key, ended, format!("{mend}, or take it out"));
    }
}

/// Tells of the end of the server's own certificate, which is in the file `path`.
pub(super) fn warn_of_our_end(
    leaf: &Certificate,
    path: &str,
    key: &KeyPath,
    now: Timestamp,
    findings: &mut Findings,
) {
    let mend = "issue its successor and put it and its key there: it is taken up without a restart";
    let whose = format!("the certificate in {path}");
    let validity = leaf.validity();
    if validity.is_past_end(now) {
        let what = format!(
            "{whose} ended at {}: every client that looks refuses it",
            validity.not_after
        );
        findings.warn_of_refusals(key, what, mend);
    } else {
        warn_of_an_end_to_come(leaf, &whose, mend, key, now, findings);
    }
}

fn warn_of_an_end_to_come(
    certificate: &Certificate,
    whose: &str,
    mend: &str,
    key: &KeyPath,
    now: Timestamp,
    findings: &mut Findings,
) {
    let validity = certificate.validity();
    let soon = now.checked_add((ENDS_SOON_DAYS * 24).hours());
    if validity.is_before_start(now) {
        let what = format!("{whose} begins only at {}", validity.not_before);
        findings.warn(key, what, "wait, or mend this machine's clock");
    } else if soon.is_ok_and(|soon| validity.is_past_end(soon)) {
        let what = format!("{whose} ends soon, at {}", validity.not_after);
        findings.warn(key, what, mend);
    }
}
