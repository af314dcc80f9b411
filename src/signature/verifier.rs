//! One producer's check: what its profile says, and what the producer's configuration adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::profile::faults::{Faults, ProfileFault};
use super::profile::meaning::Profile;
use super::secrets::{Account, Prepared, ProducerSecret, Settings, account, check_url, prepared};
use crate::identity::Force;
use crate::secret::Secret;

/// One producer's check: its profile, its keys (prepared once), its bindings. Immutable: a reload builds another.
pub struct Verifier {
    pub(super) profile: Arc<Profile>,
    pub(super) secrets: Vec<Prepared>,
    pub(super) tolerance: Option<SignedDuration>,
    pub(super) account: Option<Account>,
    pub(super) url: Option<String>,
    pub(super) values: BTreeMap<String, String>,
}

impl Verifier {
    /// Prepares the check, or names every fault: its `key` is that of the producer's configuration.
    pub fn new(
        profile: Arc<Profile>,
        secrets: Vec<ProducerSecret>,
        settings: Settings,
    ) -> Result<Self, Vec<ProfileFault>> {
        let mut faults = Faults::default();
        let prepared = prepared(&profile, secrets, &mut faults);
        let account = settings
            .account
            .and_then(|binding| account(&profile, binding, &mut faults));
        check_url(&profile, settings.url.as_deref(), &mut faults);
        for name in profile.needed_values() {
            if settings.values.get(name).is_none_or(String::is_empty) {
                let mend =
                    format!("write values = {{ {name} = \"...\" }} as the provider shows it");
                faults.add(
                    &format!("values.{name}"),
                    "is missing, and the profile needs it",
                    &mend,
                );
            }
        }
        let tolerance = settings
            .tolerance
            .filter(|tolerance| !tolerance.is_negative());
        if tolerance != settings.tolerance {
            faults.add("tolerance", "is negative", "write a duration, as \"5m\"");
        }
        let Settings { url, values, .. } = settings;
        faults.or(Self {
            profile,
            secrets: prepared,
            tolerance,
            account,
            url,
            values,
        })
    }

    /// The profile by which it checks.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The first secret that decides, as the provider signs with it; `None` where there is none, or a public key alone.
    pub fn signing_secret(&self) -> Option<&Secret> {
        let scheme = self.profile.scheme.as_ref()?;
        let symmetric = |secret: &&Prepared| {
            let mut variants = scheme.variants();
            variants
                .nth(secret.variant)
                .is_some_and(|variant| !variant.is_asymmetric())
        };
        self.secrets
            .iter()
            .filter(|secret| secret.force == Force::Live)
            .find(symmetric)
            .map(|secret| &secret.shown)
    }

    /// All secrets, as the provider displays them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().map(|secret| &secret.shown)
    }

    /// Whether it has a secret of this name.
    pub fn has_secret(&self, label: &str) -> bool {
        self.secrets.iter().any(|secret| *secret.label == *label)
    }

    /// What the producer's configuration adds to the profile.
    pub fn settings(&self) -> Settings {
        Settings {
            tolerance: self.tolerance,
            account: self.account.as_ref().map(|account| account.binding.clone()),
            url: self.url.clone(),
            values: self.values.clone(),
        }
    }

    /// How old a delivery may be; `None` where any age is accepted.
    pub fn oldest(&self) -> Option<SignedDuration> {
        let rule = self.profile.timestamp.as_ref()?;
        self.tolerance.or(rule.past)
    }

    /// The references of the secrets that only watch.
    pub fn shadow_secrets(&self) -> impl Iterator<Item = &Arc<str>> {
        let shadow = self
            .secrets
            .iter()
            .filter(|secret| secret.force == Force::Shadow);
        shadow.map(|secret| &secret.label)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels: Vec<_> = self.secrets.iter().map(|secret| &secret.label).collect();
        let mut all = f.debug_struct("Verifier");
        all.field("profile", &self.profile.name())
            .field("secrets", &labels)
            .finish_non_exhaustive()
    }
}
