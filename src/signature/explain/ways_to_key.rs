//! The keys with which a delivery may have been signed: each secret, taken otherwise, in each algorithm.

use std::sync::Arc;

use super::delivery::{Delivery, items};
use super::mistakes::{KeyMistake, Mistake};
use super::other_keys::{self, OtherKey};
use crate::secret::Secret;
use crate::signature::key::Key;
use crate::signature::profile::algorithm::{Algorithm, MacKind};
use crate::signature::profile::descriptor::{Encoding, KeyForm};
use crate::signature::scheme::{AlgorithmRule, Variant};
use crate::signature::secrets::Prepared;

/// The plain digests that are taken for HMACs.
const DIGESTS: [Algorithm; 4] = [
    Algorithm::Sha256,
    Algorithm::Sha1,
    Algorithm::Sha512,
    Algorithm::Md5,
];

/// A key that could have been made of one of the secrets.
pub(super) struct WayToKey {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) label: Arc<str>,
    pub(super) secret: Secret,
    pub(super) key: Key,
    pub(super) encoding: Encoding,
}

/// One secret, and how the profile uses it.
struct Use<'a> {
    secret: &'a Prepared,
    variant: &'a Variant,
    /// The algorithm that the signature names.
    stated: Option<Algorithm>,
    all: Vec<WayToKey>,
}

impl Delivery<'_> {
    /// The keys that could have been made of one secret; what the profile itself makes of it comes first.
    pub(super) fn keys(&self, secret: &Prepared) -> Vec<WayToKey> {
        let Some(variant) = self.scheme.variants().nth(secret.variant) else {
            return Vec::new();
        };
        let stated = self.stated_algorithm(&variant.algorithm);
        let asymmetric = variant.is_asymmetric();
        let mac = variant.mac;
        let mut used = Use {
            secret,
            variant,
            stated,
            all: Vec::new(),
        };
        used.in_each_algorithm();
        match mac {
            MacKind::Hash => used.as_hmacs(),
            MacKind::Hmac if !asymmetric => used.as_digests(),
            MacKind::Hmac => {}
        }
        used.all
    }

    /// The algorithm that the signature names, where it is the sender's to choose.
    fn stated_algorithm(&self, rule: &AlgorithmRule) -> Option<Algorithm> {
        let AlgorithmRule::ByItem { item, allow } = rule else {
            return None;
        };
        let items = items(self.scheme, &self.texts)?;
        let named = items.named(item).ok()?.and_then(Algorithm::named);
        named.filter(|named| allow.contains(named))
    }
}

impl Use<'_> {
    /// What may rightly be used: what the signature names, or whatever the profile allows.
    fn own(&self) -> Vec<Algorithm> {
        match self.stated {
            Some(stated) => vec![stated],
            None => self.variant.algorithm.possible().to_vec(),
        }
    }

    fn in_each_algorithm(&mut self) {
        for own in self.own() {
            for used in self.instead_of(own) {
                let named = (used != own).then(|| match self.stated {
                    Some(named) => Mistake::AlgorithmNamed { used, named },
                    None => Mistake::Algorithm(used),
                });
                self.with_each_key(used, named.as_ref());
            }
        }
    }

    /// The algorithms that may have been used for this one, which comes first.
    fn instead_of(&self, own: Algorithm) -> Vec<Algorithm> {
        let mut all = other_keys::algorithms(own);
        if self.stated.is_some() {
            let allowed = self.variant.algorithm.possible().iter().copied();
            let others: Vec<_> = allowed.filter(|one| !all.contains(one)).collect();
            all.extend(others);
        }
        all
    }

    fn with_each_key(&mut self, algorithm: Algorithm, named: Option<&Mistake>) {
        let Variant {
            key,
            mac,
            strip_prefix,
            ..
        } = self.variant;
        let others = other_keys::keys(&self.secret.shown, *key, strip_prefix.as_deref());
        for other in others {
            let OtherKey {
                mistake,
                secret,
                form,
                prefix,
            } = other;
            // A digest has no key: the secret's own text is what it is made of.
            if *mac == MacKind::Hash && !mistake.is_none_or(KeyMistake::is_of_the_text) {
                continue;
            }
            if let Ok(key) = Key::prepare(&secret, form, prefix.as_deref(), *mac, algorithm) {
                let made = mistake.map(Mistake::Key).into_iter();
                let mistakes = made.chain(named.cloned()).collect();
                self.add(mistakes, secret, key);
            }
        }
    }

    /// An HMAC where the profile has a digest that the secret is a part of.
    fn as_hmacs(&mut self) {
        for own in self.own() {
            let shown = self.secret.shown.clone();
            if let Ok(key) = Key::prepare(&shown, KeyForm::Utf8, None, MacKind::Hmac, own) {
                self.add(vec![Mistake::Hmac], shown, key);
            }
        }
    }

    fn as_digests(&mut self) {
        for digest in DIGESTS {
            let mistakes = vec![Mistake::PlainDigest(digest)];
            self.add(mistakes, self.secret.shown.clone(), Key::Hash(digest));
        }
    }

    fn add(&mut self, mistakes: Vec<Mistake>, secret: Secret, key: Key) {
        self.all.push(WayToKey {
            mistakes,
            label: Arc::clone(&self.secret.label),
            secret,
            key,
            encoding: self.variant.encoding,
        });
    }
}
