//! For tests: every built-in profile's provider, with a secret at hand.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::sample::{self, Tale};
use super::sender::{Author, Delivery, fresh_id};
use super::wire::Target;
use crate::identity::Force;
use crate::secret::Secret;
use crate::signature::{
    Algorithm, AlgorithmDescriptor, ProducerSecret, Profile, Request, Settings, SignatureRefusal,
    Verifier, builtin,
};

/// 256 bits that are hexadecimal and base64 at once, so that they serve every form of key.
const SECRET: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";

/// A provider, and who checks what it signs.
pub(super) struct Player {
    pub(super) profile: Arc<Profile>,
    pub(super) author: Author,
    verifier: Verifier,
}

/// One of each profile but those that sign with a private key.
pub(super) fn players() -> impl Iterator<Item = Player> {
    builtin().iter().filter_map(|profile| {
        let signature = profile.descriptor().signature.as_ref();
        let algorithm = signature.and_then(|signature| signature.algorithm.clone());
        let private = AlgorithmDescriptor::Fixed(Algorithm::RsaPkcs1Sha256);
        (algorithm != Some(private)).then(|| Player::of(profile))
    })
}

impl Player {
    fn of(profile: &Arc<Profile>) -> Self {
        let values = profile.needed_values().into_iter();
        let settings = Settings {
            url: Some("https://h".to_owned()),
            values: values
                .map(|name| (name.to_owned(), "abc".to_owned()))
                .collect(),
            ..Settings::default()
        };
        let secret = || Secret::new(SECRET.as_bytes().to_vec());
        let secrets = profile
            .descriptor()
            .signature
            .iter()
            .map(|_| ProducerSecret {
                label: "file:secret".into(),
                secret: secret(),
                force: Force::Live,
            });
        let secrets = secrets.collect();
        let target = Target::parse("https://h/x").ok().unwrap();
        Self {
            profile: Arc::clone(profile),
            verifier: Verifier::new(Arc::clone(profile), secrets, settings.clone()).unwrap(),
            author: Author::new(Arc::clone(profile), secret(), settings, target)
                .ok()
                .unwrap(),
        }
    }

    pub(super) fn signs(&self) -> bool {
        self.profile.descriptor().signature.is_some()
    }

    /// A new event of a new payment.
    pub(super) fn tale(&self, at: Timestamp) -> Tale {
        Tale {
            kind: sample::usual_kind(&self.profile).unwrap().to_owned(),
            id: fresh_id("evt").ok().unwrap(),
            payment: fresh_id("pay").ok().unwrap(),
            at,
        }
    }

    pub(super) fn fresh(&self, now: Timestamp) -> Delivery {
        self.author.tell(&self.tale(now), now).ok().unwrap()
    }

    pub(super) fn check(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), SignatureRefusal> {
        let request = Request {
            method: &http::Method::POST,
            path_and_query: &delivery.path_and_query,
            headers: &delivery.headers,
        };
        let body: &Bytes = &delivery.body;
        self.verifier.check(&request, body, now).map(drop)
    }
}
