//! What bears the signature, read as it may have been meant: where its time, or another of its items, cannot be read as it is
//! written, no search for the signature alone can find anything.

use http::HeaderName;

use super::delivery::{Delivery, items};
use super::mistakes::Mistake;
use super::search::Search;
use crate::signature::body::form;
use crate::signature::places::Place;
use crate::signature::template::Value;

/// How many bytes each of these readings may hash.
const SEARCH_BYTES_MAX: usize = 32 << 20;
/// How many of several texts are read alone.
const TEXTS_MAX: usize = 8;

impl Delivery<'_> {
    /// The first reading under which a signature is right, with what had to be read otherwise as the last of its mistakes.
    pub(super) fn search_otherwise(&self) -> Option<Search> {
        let readings = self.readings();
        readings.into_iter().find_map(|(mistake, texts)| {
            let mut search = self.with_texts(texts).search(SEARCH_BYTES_MAX);
            search.mistakes.as_mut()?.push(mistake);
            Some(search)
        })
    }

    fn readings(&self) -> Vec<(Mistake, Vec<String>)> {
        let mut all = Vec::new();
        if self.texts.is_empty() && self.scheme.values().any(|value| item_of(value).is_some()) {
            all.extend(self.elsewhere());
        }
        if self.texts.len() > 1 {
            let texts = self.texts.iter().take(TEXTS_MAX);
            all.extend(texts.map(|text| (Mistake::Repeated, vec![text.clone()])));
        }
        for way in [unquoted, url_decoded, without_word] {
            if let Some((mistake, text)) = self.texts.iter().find_map(|text| way(text)) {
                all.push((mistake, vec![text]));
            }
        }
        all
    }

    /// The other headers whose text has the items that are signed.
    fn elsewhere(&self) -> Vec<(Mistake, Vec<String>)> {
        let has_its_items = |text: &String| {
            let texts = std::slice::from_ref(text);
            let Some(items) = items(self.scheme, texts) else {
                return false;
            };
            let mut signed = self.scheme.values().filter_map(item_of);
            signed.all(|key| matches!(items.named(key), Ok(Some(_))))
        };
        let own = |name: &HeaderName| matches!(&self.scheme.place, Place::Header(names) if names.contains(name));
        let others = self.request.headers.iter().filter(|(name, _)| !own(name));
        let texts = others.filter_map(|(name, value)| {
            let text = value.to_str().ok()?.to_owned();
            has_its_items(&text).then(|| (Mistake::Header(name.clone()), vec![text]))
        });
        texts.take(TEXTS_MAX).collect()
    }
}

fn item_of(value: &Value) -> Option<&str> {
    if let Value::Item(key) = value {
        Some(key)
    } else {
        None
    }
}

fn unquoted(text: &str) -> Option<(Mistake, String)> {
    let within = |quote: char| text.trim().strip_prefix(quote)?.strip_suffix(quote);
    let inner = within('"').or_else(|| within('\''))?;
    Some((Mistake::QuotedWhole, inner.to_owned()))
}

fn url_decoded(text: &str) -> Option<(Mistake, String)> {
    // The plus sign is a digit of base64.
    let text = text.contains('%').then(|| text.replace('+', "%2B"))?;
    let decoded = form::decoded(text.as_bytes());
    let decoded = std::str::from_utf8(&decoded).ok()?;
    Some((Mistake::UrlEncoded, decoded.to_owned()))
}

/// Behind the first word, as in `Bearer t=1,v1=ab`.
fn without_word(text: &str) -> Option<(Mistake, String)> {
    let (word, rest) = text.trim().split_once(' ')?;
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word.then(|| (Mistake::Word(word.to_owned()), rest.trim().to_owned()))
}
