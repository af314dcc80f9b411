//! CAs under which nobody gets in, whatever their clients do.

use crate::tls::{
    CONSTRAINS_DIRECTORY_NAMES, CONSTRAINS_DIRECTORY_NAMES_MEND, bar_of_anchor,
    constrains_directory_names,
};
use crate::x509::Certificate;

use super::fault::Findings;
use super::found::Found;

/// Whoever relies on such an anchor learns of it here, and not from the first sender that is turned away. `none_left` is whether nobody
/// gets in under any other either.
pub(super) fn warn_of_an_anchors_bar(
    found: &Found<Certificate>,
    none_left: bool,
    findings: &mut Findings,
) {
    let (ca, file) = (found.what.subject(), found.file.display());
    let (what, mend) = if constrains_directory_names(&found.what) {
        let what = format!("the CA {ca} in {file} {CONSTRAINS_DIRECTORY_NAMES}");
        (what, CONSTRAINS_DIRECTORY_NAMES_MEND)
    } else if let Some(bar) = bar_of_anchor(&found.what) {
        let what = format!("nobody gets in under the CA {ca} in {file}: {bar}");
        let mend = "name the CA that issues your producers' certificates, or have this one's issued anew without that";
        (what, mend)
    } else {
        return;
    };
    if none_left {
        let what = format!("{what}; none is left under tls.client_ca, so no client is let in");
        findings.warn_of_refusals(&found.key, what, mend);
    } else {
        findings.warn(&found.key, what, mend);
    }
}

/// Below an intermediate with such constraints nothing is taken either.
pub(super) fn warn_of_an_intermediates_constraints(
    found: &Found<Certificate>,
    findings: &mut Findings,
) {
    if constrains_directory_names(&found.what) {
        warn_of_an_anchors_bar(found, false, findings);
    }
}
