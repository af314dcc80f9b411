//! Whatever in a request could be its signature, wherever it stands and however it is written.

use http::HeaderName;

use super::delivery::{Delivery, items};
use super::mistakes::Mistake;
use crate::signature::body::form;
use crate::signature::grammar::{ITEMS_MAX, Pick};
use crate::signature::key::Finished;
use crate::signature::places::Place;
use crate::signature::profile::descriptor::Encoding;
use crate::signature::template::Value;

/// Fewer bytes are no signature, but any text.
const BYTES_MIN: usize = 16;
/// So many letters make whole bytes in each encoding: eight of base64 are six digits, and those are three bytes.
const LETTERS_OF_BYTES_MAX: usize = 8;
const ENCODINGS: [Encoding; 4] = [
    Encoding::Hex,
    Encoding::Base64,
    Encoding::Base64url,
    Encoding::Base64OfHex,
];

/// A text that may be a signature.
pub(super) struct Candidate {
    /// What is wrong with where it stands.
    place: Option<Mistake>,
    encoding: Encoding,
    bytes: Vec<u8>,
    /// The text itself, where it ends within a byte: what was cut off may be a part of one.
    cut: Option<Box<str>>,
}

impl Candidate {
    /// Whether it stands where the profile looks for signatures, in whatever form.
    pub(super) fn stands_in_its_place(&self) -> bool {
        !matches!(self.place, Some(Mistake::Header(_)))
    }

    /// What was done otherwise if `right` is what a signature must be; `None` if it is not this one.
    pub(super) fn mistakes(
        &self,
        right: &Finished<'_>,
        expected: Encoding,
    ) -> Option<Vec<Mistake>> {
        let begins_it = || {
            let begins = |bytes: &&[u8]| bytes.starts_with(&self.bytes);
            right.bytes().filter(begins).is_some_and(|bytes| {
                self.cut
                    .as_deref()
                    .is_none_or(|text| begins_so(&self.encoding.encode(bytes), text, self.encoding))
            })
        };
        let cut_off = match self.cut.is_none() && right.matches(&self.bytes) {
            true => None,
            false if begins_it() => Some(Mistake::CutOff),
            false => return None,
        };
        let written = (self.encoding != expected).then_some(Mistake::Encoding(self.encoding));
        let all = written.into_iter().chain(cut_off);
        Some(all.chain(self.place.clone()).collect())
    }
}

impl Delivery<'_> {
    /// Those at the signature's own place come first.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let is_own = |name: &HeaderName| matches!(&self.scheme.place, Place::Header(names) if names.contains(name));
        let listed = self.listed();
        let mut candidates = Vec::new();
        let mut add = |piece: &str, place: Option<Mistake>| {
            candidates.extend(decoded(piece).map(|(encoding, bytes, cut)| Candidate {
                place: place.clone(),
                encoding,
                bytes,
                cut,
            }));
        };
        for piece in self.texts.iter().flat_map(|text| pieces(text)) {
            let elsewhere = || Mistake::Listed(self.as_listed());
            add(piece, (!listed.contains(&piece)).then(elsewhere));
        }
        for (name, value) in self.request.headers {
            let text = value.to_str().unwrap_or_default();
            if !is_own(name) {
                for piece in pieces(text) {
                    add(piece, Some(Mistake::Header(name.clone())));
                }
            }
        }
        candidates
    }

    /// What of the signature's place no report may show: all that may be a signature, and is not named as something else.
    pub(super) fn withheld(&self) -> Vec<&str> {
        let items = items(self.scheme, &self.texts);
        let named = |piece: &str| {
            self.scheme.values().any(|value| match value {
                Value::Item(key) => items
                    .as_ref()
                    .is_some_and(|items| items.named(key) == Ok(Some(piece))),
                Value::Body
                | Value::Timestamp
                | Value::Id
                | Value::Url
                | Value::Method
                | Value::PathAndQuery
                | Value::Secret
                | Value::KeyId
                | Value::Header(_)
                | Value::Query(_)
                | Value::Form(_)
                | Value::Json(_)
                | Value::Config(_) => false,
            })
        };
        let all = self.texts.iter().flat_map(|text| pieces(text));
        let hidden = all.filter(|piece| may_be_one(piece) && !named(piece));
        let mut hidden: Vec<_> = hidden.collect();
        // Of one that stands in another, nothing must be left over.
        hidden.sort_unstable_by_key(|piece| std::cmp::Reverse(piece.len()));
        hidden
    }

    /// The texts that the profile takes for signatures.
    fn listed(&self) -> Vec<&str> {
        let mut listed = Vec::new();
        if let Some(items) = items(self.scheme, &self.texts) {
            let picks = self.scheme.variants().map(|variant| &variant.pick);
            // One that is written otherwise is listed even so: the padding of base64 is no separator.
            for (pick, encoding) in
                picks.flat_map(|pick| ENCODINGS.map(|encoding| (pick, encoding)))
            {
                items.each_signature(pick, encoding, self.key_id(), |text| {
                    listed.extend(std::str::from_utf8(text));
                });
            }
        }
        listed
    }

    /// How the profile wants a signature to be listed.
    fn as_listed(&self) -> String {
        match (&self.scheme.main.pick, self.scheme.grammar.pair) {
            (Pick::Keys(keys), Some(pair)) => {
                let key = keys.first().map(|key| key.written(pair, self.key_id()));
                format!("as {}{pair}SIGNATURE", key.unwrap_or_default())
            }
            (Pick::From(first), _) => format!("as an item behind the first {first}"),
            (Pick::Keys(_) | Pick::Whole, _) => {
                "alone, with nothing before or behind it".to_owned()
            }
        }
    }

    fn key_id(&self) -> Option<&str> {
        self.verifier.values.get("key_id").map(String::as_str)
    }
}

/// Whether a signature may stand in a text, also where it is written or parted from the rest as no provider does.
fn may_be_one(piece: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "+/=_-".contains(letter);
    let runs = |text: &str| {
        let mut runs = text.split(|letter| !is_letter(letter));
        runs.any(|run| decoded(run).next().is_some())
    };
    let unescaped = piece.replace('+', "%2B");
    let unescaped = form::decoded(unescaped.as_bytes());
    decoded(piece).next().is_some() || runs(piece) || runs(&String::from_utf8_lossy(&unescaped))
}

/// The bytes that a text may stand for, by each encoding in which it can be read; and the text, where the last of its letters
/// make no whole byte.
fn decoded(piece: &str) -> impl Iterator<Item = (Encoding, Vec<u8>, Option<Box<str>>)> {
    ENCODINGS.into_iter().filter_map(move |encoding| {
        let whole = encoding.decode(piece).map(|bytes| (bytes, None));
        let (bytes, cut) = whole.or_else(|| {
            let shorter = (1..=LETTERS_OF_BYTES_MAX).map(|cut| piece.len().checked_sub(cut));
            let mut shorter = shorter.filter_map(|end| encoding.decode(piece.get(..end?)?));
            Some((shorter.next()?, Some(piece.into())))
        })?;
        (bytes.len() >= BYTES_MIN).then(|| (encoding, bytes.to_vec(), cut))
    })
}

/// Whether the written signature begins with this text.
fn begins_so(written: &str, text: &str, encoding: Encoding) -> bool {
    let written = written.get(..text.len());
    written.is_some_and(|written| match encoding {
        Encoding::Hex => written.eq_ignore_ascii_case(text),
        Encoding::Base64 | Encoding::Base64url | Encoding::Base64OfHex => written == text,
    })
}

/// A text, and what stands behind each separator in it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for item in text.split([',', ';', '&', ' ']).chain([text]) {
        let item = item.trim().trim_matches(['"', '\'']);
        pieces.push(item);
        let behind = item
            .char_indices()
            .filter(|(_, letter)| matches!(letter, '=' | ',' | '|' | '/' | ':'));
        pieces.extend(
            behind
                .filter_map(|(at, letter)| item.get(at + letter.len_utf8()..))
                .map(|piece| piece.trim_matches(['"', '\''])),
        );
    }
    pieces.sort_unstable();
    pieces.dedup();
    pieces.retain(|piece| piece.len() >= BYTES_MIN);
    pieces.truncate(ITEMS_MAX * 4);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_behind_any_separator_is_a_piece() {
        let hex = "0123456789abcdef0123456789abcdef";
        for text in [
            hex.to_owned(),
            format!("v1={hex}"),
            format!("t=1;v1=\"{hex}\""),
            format!("v1, '{hex}'"),
            format!("KEY/SHA256/{hex}"),
        ] {
            assert!(pieces(&text).contains(&hex), "{text}");
        }
        assert!(pieces("v1=short").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}|[a-f=,;|/: \"é]{0,80}") {
            for piece in pieces(&text) {
                decoded(piece).for_each(drop);
            }
        }
    }
}
