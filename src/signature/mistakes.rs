//! The usual mistakes of those who sign: what each makes of a body, a key, a content.

use std::fmt;

use super::descriptor::{Algorithm, Encoding, KeyForm};
use super::form;
use super::rewritten::{Writing, rewritten};
use super::template::Template;
use crate::secret::Secret;

/// One thing that was done otherwise than the profile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Other bytes were signed than were sent.
    Body(BodyMistake),
    /// The key was taken from the secret otherwise.
    Key(KeyMistake),
    /// Another algorithm was used.
    Algorithm(Algorithm),
    /// The parts were put together otherwise.
    Content(String),
    /// The timestamp was signed in another unit than it is sent in.
    TimestampUnit,
    /// The signature is written otherwise.
    Encoding(Encoding),
    /// The signature stands in another header.
    Header(http::HeaderName),
}

/// What was done to the body between signing and sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMistake {
    /// Parsed and written again in this way.
    Rewritten(Writing),
    /// A final line break was signed and not sent.
    NewlineSigned,
    /// A final line break was sent and not signed.
    NewlineSent,
    /// Line breaks were signed as CR LF, or the other way round.
    LineBreaks,
    /// A byte order mark was sent and not signed.
    ByteOrderMark,
    /// Its bytes were taken for Latin-1 and written in UTF-8.
    Latin1,
    /// It was decoded as a form is, with `%` and `+`.
    UrlDecoded,
    /// It was signed as a JSON string that holds it.
    Quoted,
    /// Nothing of the body was signed.
    Empty,
}

/// What was done to the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMistake {
    /// It was read in this form.
    Form(KeyForm),
    /// Its prefix was left on, or taken off.
    Prefix,
    /// A final line break was kept as a part of it.
    Newline,
    /// White space around it was kept here.
    Space,
    /// It stands in quotes here.
    Quotes,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(body) => body.fmt(f),
            Self::Key(key) => key.fmt(f),
            Self::Algorithm(algorithm) => write!(f, "the algorithm was {}", algorithm.name_for_senders()),
            Self::Content(content) => write!(f, "what was signed was put together as {content}"),
            Self::TimestampUnit => {
                f.write_str("the timestamp was signed in seconds and sent in milliseconds, or the other way round")
            }
            Self::Encoding(encoding) => {
                let name = match encoding {
                    Encoding::Hex => "hexadecimal",
                    Encoding::Base64 => "base64",
                    Encoding::Base64url => "base64url",
                    Encoding::Base64OfHex => "base64 of the hexadecimal text",
                };
                write!(f, "the signature is written in {name}")
            }
            Self::Header(name) => write!(f, "the signature stands in the header {name}"),
        }
    }
}

impl fmt::Display for BodyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rewritten(writing) => {
                return write!(f, "the body was re-serialised: it was signed {writing}");
            }
            Self::NewlineSigned => "a trailing newline was signed that was not sent",
            Self::NewlineSent => "a trailing newline was sent that was not signed",
            Self::LineBreaks => {
                "the line breaks of the body were changed (LF, CR LF) after it was signed"
            }
            Self::ByteOrderMark => "a byte order mark was sent that was not signed",
            Self::Latin1 => "the body was read as Latin-1 before it was signed; it is UTF-8",
            Self::UrlDecoded => "the body was URL-decoded before it was signed",
            Self::Quoted => "the body was signed as a JSON string that holds it, in quotes",
            Self::Empty => "the body was signed as if it were empty",
        })
    }
}

impl fmt::Display for KeyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form(KeyForm::Utf8) => "the secret was not decoded: its text itself was the key",
            Self::Form(KeyForm::Hex) => "the secret was decoded from hexadecimal",
            Self::Form(KeyForm::Base64) => "the secret was decoded from base64",
            Self::Form(KeyForm::Sha1) => "the key was the SHA-1 digest of the secret",
            Self::Form(KeyForm::PublicKey) => "the secret was read as a public key",
            Self::Prefix => {
                "the secret's prefix was left on, or taken off, where the profile does otherwise"
            }
            Self::Newline => "a trailing newline was a part of the secret",
            Self::Space => "the secret that is configured here has white space around it",
            Self::Quotes => "the secret that is configured here stands in quotes",
        })
    }
}

/// The bodies that may have been signed instead of the one that was sent; the first is that one.
pub(super) fn bodies(sent: &[u8]) -> Vec<(Option<BodyMistake>, Vec<u8>)> {
    let mut bodies = vec![(None, sent.to_vec())];
    let mut add = |mistake, body: Vec<u8>| {
        if !bodies.iter().any(|(_, known)| *known == body) {
            bodies.push((Some(mistake), body));
        }
    };
    let trimmed = sent
        .strip_suffix(b"\n")
        .map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    if let Some(trimmed) = trimmed {
        add(BodyMistake::NewlineSent, trimmed.to_vec());
    }
    add(BodyMistake::NewlineSigned, [sent, b"\n"].concat());
    add(BodyMistake::NewlineSigned, [sent, b"\r\n"].concat());
    if let Some(rest) = sent.strip_prefix(b"\xef\xbb\xbf") {
        add(BodyMistake::ByteOrderMark, rest.to_vec());
    }
    if let Ok(text) = std::str::from_utf8(sent) {
        let unix = text.replace("\r\n", "\n");
        add(
            BodyMistake::LineBreaks,
            unix.replace('\n', "\r\n").into_bytes(),
        );
        add(BodyMistake::LineBreaks, unix.into_bytes());
        for (writing, body) in rewritten(text) {
            add(BodyMistake::Rewritten(writing), body.into_bytes());
        }
        let latin1: String = sent.iter().map(|byte| char::from(*byte)).collect();
        add(BodyMistake::Latin1, latin1.into_bytes());
        add(BodyMistake::UrlDecoded, form::decoded(sent).into_owned());
        if let Ok(quoted) = serde_json::to_vec(text) {
            add(BodyMistake::Quoted, quoted);
        }
    }
    add(BodyMistake::Empty, Vec::new());
    bodies
}

/// The secrets and forms that may have been the key instead; the first is the profile's own.
pub(super) fn keys(
    secret: &Secret,
    form: KeyForm,
    prefix: Option<&str>,
) -> Vec<(Option<KeyMistake>, Secret, KeyForm, Option<String>)> {
    let own = prefix.map(str::to_owned);
    let mut keys = vec![(None, secret.clone(), form, own.clone())];
    if form == KeyForm::PublicKey {
        return keys;
    }
    for other in [KeyForm::Utf8, KeyForm::Base64, KeyForm::Hex, KeyForm::Sha1] {
        if other != form {
            keys.push((
                Some(KeyMistake::Form(other)),
                secret.clone(),
                other,
                own.clone(),
            ));
            // Who does not decode a secret rarely takes its prefix off.
            keys.push((Some(KeyMistake::Form(other)), secret.clone(), other, None));
        }
    }
    let shown = secret.expose();
    let underscore = shown.iter().take(12).position(|byte| *byte == b'_');
    let another = underscore
        .and_then(|at| shown.get(..=at))
        .and_then(|text| std::str::from_utf8(text).ok());
    let another = another.map(str::to_owned);
    if own.is_none() && another.is_some() {
        // Who takes a prefix off that belongs to the secret often decodes the rest, as other providers' secrets want it.
        for decoded in [KeyForm::Base64, KeyForm::Hex] {
            keys.push((
                Some(KeyMistake::Form(decoded)),
                secret.clone(),
                decoded,
                another.clone(),
            ));
        }
    }
    let another = if own.is_some() { None } else { another };
    if another != own {
        keys.push((Some(KeyMistake::Prefix), secret.clone(), form, another));
    }
    keys.push((
        Some(KeyMistake::Newline),
        Secret::new([shown, b"\n"].concat()),
        form,
        own.clone(),
    ));
    let unquoted = |quote: &[u8]| {
        let inner = shown
            .trim_ascii()
            .strip_prefix(quote)?
            .strip_suffix(quote)?;
        (!inner.is_empty()).then(|| Secret::new(inner.to_vec()))
    };
    if let Some(inner) = unquoted(b"\"").or_else(|| unquoted(b"'")) {
        keys.push((Some(KeyMistake::Quotes), inner, form, own.clone()));
    }
    if shown.trim_ascii().len() != shown.len() {
        keys.push((
            Some(KeyMistake::Space),
            Secret::new(shown.trim_ascii().to_vec()),
            form,
            own,
        ));
    }
    keys
}

/// The algorithms that may have been used instead.
pub(super) fn algorithms(own: Algorithm) -> Vec<Algorithm> {
    let mut all = vec![own];
    if !own.is_asymmetric() {
        let others = [
            Algorithm::Sha256,
            Algorithm::Sha512,
            Algorithm::Sha1,
            Algorithm::Sha384,
        ];
        all.extend(others.into_iter().filter(|other| *other != own));
    }
    all
}

/// The contents that are often signed by those who know another provider's scheme.
pub(super) fn contents(has_time: bool, has_id: bool) -> Vec<(String, Template)> {
    let mut texts = vec!["{body}"];
    if has_time {
        texts.extend([
            "{timestamp}.{body}",
            "{timestamp}{body}",
            "{timestamp}:{body}",
            "{body}{timestamp}",
        ]);
        texts.extend([
            "{body}.{timestamp}",
            "v0:{timestamp}:{body}",
            "v1:{timestamp}:{body}",
            "v1.{timestamp}.{body}",
        ]);
    }
    if has_time && has_id {
        texts.extend(["{id}.{timestamp}.{body}", "{timestamp}.{id}.{body}"]);
    }
    let parsed = texts
        .into_iter()
        .filter_map(|text| Some((text.to_owned(), Template::parse(text).ok()?)));
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_that_was_sent_comes_first_and_no_body_twice() {
        let all = bodies(b"{\"b\":1,\"a\":2}");
        assert_eq!(all[0], (None, b"{\"b\":1,\"a\":2}".to_vec()));
        for (at, (_, body)) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|(_, other)| other != body));
        }
    }
}
