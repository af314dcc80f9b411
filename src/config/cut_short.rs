//! Secrets that look as if their file was cut short while a receiver runs: what serves is better than what anybody could guess.

use crate::identity::Directory;
use crate::secret::Secret;

use super::fault::Findings;
use super::secrets::random_part;
use super::snapshot::Snapshot;
use super::tenants::SignaturePlan;

/// What is shorter than this, 32 bits in hexadecimal digits, is guessed in an afternoon of deliveries.
const BYTES_MIN: usize = 8;

/// Refuses secrets that do not serve yet and are the beginning of one of their producer's that does, or next to nothing.
pub(super) fn tell(
    plans: &[SignaturePlan],
    directory: &Directory,
    serving: &Snapshot,
    findings: &mut Findings,
) {
    for producer in directory.producers() {
        let Some(plan) = plans.get(producer.id.0) else {
            continue;
        };
        let before = serving
            .directory()
            .producers()
            .iter()
            .find(|before| before.tenant == producer.tenant && before.name == producer.name);
        let before = before.and_then(|before| serving.verifier(before.id));
        let before: Vec<&Secret> = before.iter().flat_map(|before| before.secrets()).collect();
        for planned in &plan.secrets {
            let secret = planned.secret.secret.expose();
            if before.iter().any(|before| before.expose() == secret) {
                continue;
            }
            let label = &planned.secret.label;
            let what = if before
                .iter()
                .any(|before| before.expose().starts_with(secret))
            {
                format!("{label} is the beginning of a secret that serves")
            } else if random_part(secret).len() < BYTES_MIN {
                format!("{label} is so short that anybody could guess it")
            } else {
                continue;
            };
            let mend = "write the file whole, as it was cut short; if the secret is meant, restart the receiver";
            let what = format!("{what}: what served before serves on");
            findings.fault(&plan.at.key("secrets").index(planned.index), what, mend);
        }
    }
}
