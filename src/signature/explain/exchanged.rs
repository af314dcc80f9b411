//! The secret and what is signed, exchanged.

use std::sync::Arc;

use super::delivery::{Delivery, items};
use super::mistakes::Mistake;
use super::search::Search;
use crate::secret::Secret;
use crate::signature::key::Key;
use crate::signature::profile::algorithm::MacKind;
use crate::signature::profile::descriptor::KeyForm;

impl Delivery<'_> {
    /// An HMAC of the secret, with what should have been signed as its key.
    pub(super) fn with_key_and_content_exchanged(&self) -> Option<Search> {
        let candidates = self.candidates();
        let items = items(self.scheme, &self.texts);
        let sources = self.sources(items.as_ref());
        self.verifier.secrets.iter().find_map(|secret| {
            let variant = self.scheme.variants().nth(secret.variant)?;
            let is_hmac = variant.mac == MacKind::Hmac && !variant.is_asymmetric();
            let algorithms = variant.algorithm.possible().iter();
            let mut keys = algorithms.filter(|_| is_hmac).flat_map(|algorithm| {
                let contents = self.scheme.contents.iter();
                contents.filter_map(|content| {
                    let mut key = Vec::new();
                    let mut add = |piece: &[u8]| key.extend_from_slice(piece);
                    content.write(&sources, &mut add).ok()?;
                    let key = Secret::new(key);
                    Key::prepare(&key, KeyForm::Utf8, None, MacKind::Hmac, *algorithm).ok()
                })
            });
            let mistakes = keys.find_map(|key| {
                let mut run = key.start();
                run.update(secret.shown.expose());
                let finished = run.finish();
                let right = candidates.iter();
                let mut right = right.filter_map(|one| one.mistakes(&finished, variant.encoding));
                right.next()
            })?;
            let exchanged = std::iter::once(Mistake::KeyAndContentExchanged);
            Some(Search {
                mistakes: Some(exchanged.chain(mistakes).collect()),
                secret: Some(Arc::clone(&secret.label)),
                cut_off: false,
            })
        })
    }
}
