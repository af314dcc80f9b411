//! CAs under which nobody gets in, whatever their clients do.

use crate::tls::{
    CONSTRAINS_DIRECTORY_NAMES, CONSTRAINS_DIRECTORY_NAMES_MEND, constrains_directory_names,
};
use crate::x509::Certificate;

use super::fault::Findings;
use super::trust::Found;

/// Whoever relies on such a CA learns of it here, and not from the first sender that is turned away.
pub(super) fn warn_of_constraints_that_are_not_evaluated(
    found: &Found<Certificate>,
    findings: &mut Findings,
) {
    if constrains_directory_names(&found.what) {
        let ca = found.what.subject();
        let file = found.file.display();
        let what = format!("the CA {ca} in {file} {CONSTRAINS_DIRECTORY_NAMES}");
        findings.warn(&found.key, what, CONSTRAINS_DIRECTORY_NAMES_MEND);
    }
}
