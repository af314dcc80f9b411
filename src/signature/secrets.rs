//! A producer's own part of the check: its secrets, its account, its URL and values.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::body;
use super::body::json::{self, Pointer};
use super::explain::mistakes::KeyMistake;
use super::explain::other_keys::surrounded;
use super::key::{self, Key};
use super::mapping::place::Read;
use super::profile::algorithm::Algorithm;
use super::profile::descriptor::{BodyFormat, Coverage};
use super::profile::faults::{Faults, pointer};
use super::profile::meaning::Profile;
use super::template::Value;
use crate::identity::Force;
use crate::secret::Secret;

/// How many secrets a producer may have active at once.
const SECRETS_MAX: usize = 16;

/// One of a producer's secrets.
#[derive(Clone, Debug)]
pub struct ProducerSecret {
    /// Its reference, which may be shown.
    pub label: Arc<str>,
    /// As the provider displays it.
    pub secret: Secret,
    /// Whether it decides.
    pub force: Force,
}

/// What a producer's configuration adds to its profile.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Replaces the profile's limits, both ways.
    pub tolerance: Option<SignedDuration>,
    /// The account that the body must name.
    pub account: Option<AccountBinding>,
    /// The public URL, as it is registered with the provider.
    pub url: Option<String>,
    /// `{config:NAME}` and `{key_id}`.
    pub values: BTreeMap<String, String>,
}

/// `account = { pointer = "/data/account", equals = "acct_1" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBinding {
    /// Where the account stands; in each item, where a delivery is a batch.
    pub pointer: String,
    /// What must stand there.
    pub equals: String,
}

/// A secret with its keys, one for each algorithm that the sender may choose.
pub(super) struct Prepared {
    pub(super) label: Arc<str>,
    pub(super) force: Force,
    pub(super) shown: Secret,
    /// 0 is the main scheme, the others are those of `also`.
    pub(super) variant: usize,
    keys: Vec<(Algorithm, Key)>,
}

impl Prepared {
    pub(super) fn key(&self, algorithm: Algorithm) -> Option<&Key> {
        let mut keys = self.keys.iter();
        keys.find(|(own, _)| *own == algorithm).map(|(_, key)| key)
    }

    pub(super) fn main_key(&self) -> Option<&Key> {
        self.keys.first().map(|(_, key)| key)
    }
}

/// A compiled account binding.
pub(super) struct Account {
    pub(super) binding: AccountBinding,
    pointer: Pointer,
    name: Box<str>,
    equals: Box<str>,
}

impl Account {
    /// Whether `item` names the account; one that names it twice, or not at all, does not.
    pub(super) fn is_named_by(&self, profile: &Profile, item: &[u8]) -> bool {
        let as_json = |text: &[u8]| {
            let found = json::document(text).and_then(|document| {
                Ok(self
                    .pointer
                    .text(document)?
                    .is_some_and(|text| *text == *self.equals))
            });
            found.unwrap_or(false)
        };
        let field = |name: &str| body::form::value(item, name).ok().flatten();
        match (profile.mapping.format, profile.mapping.field.as_deref()) {
            (BodyFormat::Json, _) => as_json(item),
            (BodyFormat::JsonOrForm, _)
                if matches!(item.trim_ascii_start().first(), Some(b'{' | b'[')) =>
            {
                as_json(item)
            }
            (BodyFormat::Form | BodyFormat::JsonOrForm, Some(name)) => {
                field(name).is_some_and(|text| as_json(&text))
            }
            (BodyFormat::Form | BodyFormat::JsonOrForm, None) => {
                field(&self.name).is_some_and(|text| *text == *self.equals.as_bytes())
            }
            // An XML document has no pointers: the configuration refuses the binding.
            (BodyFormat::FormXml, _) => false,
        }
    }
}

pub(super) fn prepared(
    profile: &Profile,
    secrets: Vec<ProducerSecret>,
    faults: &mut Faults,
) -> Vec<Prepared> {
    let Some(scheme) = &profile.scheme else {
        if !secrets.is_empty() {
            let mend = "leave secrets out: mutual TLS is the only proof";
            faults.add("secrets", "nothing is signed in this profile", mend);
        }
        return Vec::new();
    };
    if !secrets.iter().any(|secret| secret.force == Force::Live) {
        faults.add(
            "secrets",
            "there is none that decides",
            "write secrets = [\"file:PATH\"]",
        );
    }
    if secrets.len() > SECRETS_MAX {
        faults.add(
            "secrets",
            "there are too many",
            &format!("keep at most {SECRETS_MAX} active"),
        );
    }
    let mut prepared = Vec::new();
    for (
        at,
        ProducerSecret {
            label,
            secret,
            force,
        },
    ) in secrets.into_iter().enumerate()
    {
        let (variant, chosen) = scheme.of_secret(&secret);
        let prefix = chosen.strip_prefix.as_deref();
        let keys = chosen.algorithm.possible().iter().map(|algorithm| {
            Ok((
                *algorithm,
                Key::prepare(&secret, chosen.key, prefix, chosen.mac, *algorithm)?,
            ))
        });
        match keys.collect::<Result<Vec<_>, key::KeyFault>>() {
            Ok(keys) => {
                prepared.push(Prepared {
                    label,
                    force,
                    shown: secret,
                    variant,
                    keys,
                });
            }
            Err(fault) => {
                let mend = match surrounded(secret.expose()) {
                    Some((KeyMistake::Quotes, _)) => "take the quotes off that it stands in",
                    Some((KeyMistake::Name, _)) => {
                        "take off the name and the \"=\" that stand before it"
                    }
                    Some((KeyMistake::ByteOrderMark, _)) => {
                        "take off the byte order mark that stands before it"
                    }
                    Some(_) | None => "copy the secret again as the provider displays it",
                };
                faults.add(&format!("secrets[{at}]"), format!("{label}: {fault}"), mend);
            }
        }
    }
    prepared
}

pub(super) fn account(
    profile: &Profile,
    binding: AccountBinding,
    faults: &mut Faults,
) -> Option<Account> {
    let key = "account.pointer";
    let at = pointer(&binding.pointer, key, faults)?;
    if binding.equals.is_empty() {
        faults.add(
            "account.equals",
            "is empty",
            "write the account's id as the provider does",
        );
    }
    // What the signature does not cover is never an account.
    let covered = match profile.coverage() {
        Coverage::Body | Coverage::Connection => profile.mapping.format != BodyFormat::FormXml,
        Coverage::Fields => {
            let signed = |value: &Value| {
                profile
                    .scheme
                    .as_ref()
                    .is_some_and(|scheme| scheme.signs(value) && !scheme.folds_case_of(value))
            };
            let name = binding.pointer.trim_start_matches('/');
            match Read::of(
                profile.mapping.format,
                profile.mapping.field.as_deref(),
                false,
            ) {
                Read::Json => signed(&Value::Json(at.clone())),
                Read::Form => signed(&Value::Form(name.into())),
                Read::Unpacked => false,
            }
        }
        Coverage::Reference => false,
    };
    if !covered {
        let mend =
            "name a field that the signature covers, or bind the producer by its certificate's pin";
        faults.add(key, "the profile's signature does not cover it", mend);
    }
    let name = binding.pointer.trim_start_matches('/').into();
    Some(Account {
        pointer: at,
        name,
        equals: binding.equals.as_str().into(),
        binding,
    })
}

pub(super) fn check_url(profile: &Profile, url: Option<&str>, faults: &mut Faults) {
    let mend = "write url = \"https://...\" exactly as it is registered with the provider";
    match url {
        None if profile.needs_url() => {
            faults.add("url", "is missing, and the signature covers it", mend)
        }
        Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
            faults.add("url", "is no URL", mend);
        }
        Some(url) if url.contains('?') => {
            // It is signed as it stands here; what a request has behind its own question mark could be anyone's.
            for name in profile.read_by_url_alone() {
                faults.add(
                    "url",
                    format!("has a query, and the mapping reads {{query:{name}}} of each request, which nothing signs then"),
                    "leave the query out of url: that of each request is signed with it",
                );
            }
        }
        None | Some(_) => {}
    }
}
