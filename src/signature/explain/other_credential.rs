//! Another credential of the provider's, an API key above all, that was taken for the secret of the webhooks.

use crate::signature::places::Place;
use crate::signature::verifier::Verifier;

/// How credentials begin that sign no webhook, by the header of the signature. Where the same key does both, none is named.
const OTHERS: [(&str, &[&str]); 8] = [
    (
        "stripe-signature",
        &[
            "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "we_",
        ],
    ),
    ("x-shopify-hmac-sha256", &["shpat_", "shpca_", "shppa_"]),
    (
        "x-square-hmacsha256-signature",
        &["sq0csp-", "sq0idp-", "sandbox-sq0", "wbhk_", "EAAA"],
    ),
    ("x-slack-signature", &["xoxb-", "xoxp-", "xapp-"]),
    (
        "x-hub-signature-256",
        &["ghp_", "github_pat_", "gho_", "ghs_"],
    ),
    ("x-razorpay-signature", &["rzp_live_", "rzp_test_"]),
    ("x-paystack-signature", &["pk_live_", "pk_test_"]),
    ("x-signature", &["APP_USR-"]),
];

/// How a secret begins that is such a credential.
pub(super) fn of(verifier: &Verifier) -> Option<&'static str> {
    let scheme = verifier.profile.scheme.as_ref()?;
    let Place::Header(names) = &scheme.place else {
        return None;
    };
    let (_, begins) = OTHERS
        .iter()
        .find(|(header, _)| names.iter().any(|name| name.as_str() == *header))?;
    begins.iter().copied().find(|begin| {
        let mut secrets = verifier.secrets.iter();
        secrets.any(|secret| secret.shown.expose().starts_with(begin.as_bytes()))
    })
}
