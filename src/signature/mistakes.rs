//! The usual mistakes of those who sign: what each makes of a key, a URL, a content.

use std::fmt;

use sha2::{Digest, Sha256};

use super::descriptor::{Algorithm, Encoding, KeyForm};
use super::rewritten::Writing;
use super::template::Template;
use crate::secret::Secret;

/// One thing that was done otherwise than the profile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Other bytes were signed than were sent.
    Body(BodyMistake),
    /// The key was taken from the secret otherwise.
    Key(KeyMistake),
    /// Another URL was signed.
    Url(UrlMistake),
    /// No HMAC was made, but a plain digest.
    PlainDigest,
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
    /// It stands in its place otherwise than as this.
    Listed(String),
    /// Only its first bytes are there.
    CutOff,
}

/// What was done to the body between signing and sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMistake {
    /// Parsed and written again in this way.
    Rewritten(Writing),
    /// The same, with a line break at its end.
    RewrittenWithNewline(Writing),
    /// A final line break was signed and not sent.
    NewlineSigned,
    /// A final line break was sent and not signed.
    NewlineSent,
    /// Line breaks were signed as CR LF, or the other way round.
    LineBreaks,
    /// A byte order mark was sent and not signed.
    ByteOrderMark,
    /// A byte order mark was signed and not sent.
    ByteOrderMarkSigned,
    /// Its bytes were taken for Latin-1 and written in UTF-8.
    Latin1,
    /// The same, after it was signed.
    Latin1Sent,
    /// It was signed in Latin-1, and sent in UTF-8.
    SignedInLatin1,
    /// It was sent in Latin-1, and signed in UTF-8.
    SentInLatin1,
    /// It was signed in UTF-16.
    SignedInUtf16,
    /// `<`, `>`, `&` and quotes were written as HTML before it was signed.
    HtmlEscaped,
    /// The same, after it was signed.
    HtmlEscapedSent,
    /// It was decoded as a form is, with `%` and `+`.
    UrlDecoded,
    /// It was encoded as a form is before it was signed.
    UrlEncoded,
    /// It was signed as a JSON string that holds it.
    Quoted,
    /// It was sent as a JSON string that holds it.
    QuotedSent,
    /// It was signed in base64.
    Base64,
    /// Its SHA-256 digest was signed, in hexadecimal.
    Digest,
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
    /// White space was a part of it.
    Spaced,
    /// Quotes were a part of it.
    Quoted,
    /// Its SHA-256 digest was the key.
    Digest,
}

/// What was done to the URL, or to the path and the query string, before it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlMistake {
    /// `http` for `https`, or the other way round.
    Scheme,
    /// With a slash at its end, or without.
    Slash,
    /// Without its query string.
    Query,
    /// With the port that needs none.
    Port,
    /// The host of the request's `Host` header, and the request's own path.
    Request,
    /// Only its path.
    Path,
    /// Only its scheme and host.
    Origin,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(body) => body.fmt(f),
            Self::Key(key) => key.fmt(f),
            Self::Algorithm(algorithm) => write!(f, "the algorithm was {}", algorithm.name_for_senders()),
            Self::Content(content) => {
                write!(f, "what was signed was put together as {}", content.escape_debug())
            }
            Self::Url(url) => url.fmt(f),
            Self::PlainDigest => f.write_str("the signature is a plain digest and no HMAC"),
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
            Self::Listed(expected) => {
                write!(f, "the signature stands in its place otherwise than the profile wants it: {expected}")
            }
            Self::CutOff => f.write_str("the signature was cut off: only its first bytes are there"),
        }
    }
}

impl fmt::Display for BodyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rewritten(writing) => {
                return write!(f, "the body was re-serialised: it was signed {writing}");
            }
            Self::RewrittenWithNewline(writing) => {
                return write!(
                    f,
                    "the body was re-serialised: it was signed {writing}, with a line break at its end"
                );
            }
            Self::NewlineSigned => "a trailing newline was signed that was not sent",
            Self::NewlineSent => "a trailing newline was sent that was not signed",
            Self::LineBreaks => {
                "the line breaks of the body were changed (LF, CR LF) after it was signed"
            }
            Self::ByteOrderMark => "a byte order mark was sent that was not signed",
            Self::Latin1 => "the body was read as Latin-1 before it was signed; it is UTF-8",
            Self::ByteOrderMarkSigned => "a byte order mark was signed that was not sent",
            Self::Latin1Sent => {
                "the body was read as Latin-1 after it was signed, and encoded in UTF-8 once more"
            }
            Self::SignedInLatin1 => "the body was signed in Latin-1, and sent in UTF-8",
            Self::SentInLatin1 => "the body was sent in Latin-1, and signed in UTF-8",
            Self::SignedInUtf16 => "the body was signed in UTF-16, and sent in UTF-8",
            Self::HtmlEscaped => {
                "the body was escaped for HTML (&amp; for &) before it was signed, and sent without"
            }
            Self::HtmlEscapedSent => {
                "the body was escaped for HTML (&amp; for &) after it was signed"
            }
            Self::UrlDecoded => {
                "the body was URL-decoded before it was signed, or URL-encoded afterwards"
            }
            Self::UrlEncoded => {
                "the body was URL-encoded before it was signed, or URL-decoded afterwards"
            }
            Self::Quoted => "the body was signed as a JSON string that holds it, in quotes",
            Self::QuotedSent => {
                "the body was sent as a JSON string that holds it, in quotes, and signed without"
            }
            Self::Base64 => "the body was signed in base64",
            Self::Digest => "not the body was signed, but its SHA-256 digest in hexadecimal",
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
            Self::Spaced => "white space beside the secret was a part of the key",
            Self::Quoted => "quotes around the secret were a part of the key",
            Self::Digest => "the key was the SHA-256 digest of the secret",
        })
    }
}

impl fmt::Display for UrlMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "another URL was signed: with http for https, or the other way round",
            Self::Slash => {
                "another URL was signed: with a slash at its end where here is none, or without"
            }
            Self::Query => "another URL was signed: without its query string",
            Self::Port => "another URL was signed: with its port where here is none, or without",
            Self::Request => "another URL was signed: that of the request's Host header and path",
            Self::Path => "another URL was signed: its path alone",
            Self::Origin => "another URL was signed: its scheme and host alone",
        })
    }
}

/// The URLs that may have been signed instead: each with what was done otherwise, and without what was not.
pub(super) fn urls(
    url: &str,
    host: Option<&str>,
    path_and_query: &str,
) -> Vec<(UrlMistake, String)> {
    let mut urls = Vec::new();
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let with_query = |base: &str| match query {
        Some(query) => format!("{base}?{query}"),
        None => base.to_owned(),
    };
    if query.is_some() {
        urls.push((UrlMistake::Query, base.to_owned()));
    }
    let slash = match base.strip_suffix('/') {
        Some(base) => base.to_owned(),
        None => format!("{base}/"),
    };
    urls.push((UrlMistake::Slash, with_query(&slash)));
    let Some((scheme, rest)) = base.split_once("://") else {
        return urls;
    };
    let (authority, path) = rest
        .find('/')
        .and_then(|at| rest.split_at_checked(at))
        .unwrap_or((rest, ""));
    let other = if scheme == "https" { "http" } else { "https" };
    urls.push((UrlMistake::Scheme, with_query(&format!("{other}://{rest}"))));
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let port = match authority.strip_suffix(usual) {
        Some(host) => host.to_owned(),
        None => format!("{authority}{usual}"),
    };
    urls.push((
        UrlMistake::Port,
        with_query(&format!("{scheme}://{port}{path}")),
    ));
    if let Some(host) = host {
        urls.push((
            UrlMistake::Request,
            format!("{scheme}://{host}{path_and_query}"),
        ));
    }
    urls.push((UrlMistake::Path, with_query(path)));
    urls.push((UrlMistake::Origin, format!("{scheme}://{authority}")));
    urls
}

/// The prefix of displayed secrets that most providers share.
const USUAL_PREFIX: &[u8] = b"whsec_";

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
    // Who leaves it off here uses less than the provider does.
    if own.is_none() && !shown.starts_with(USUAL_PREFIX) {
        keys.push((
            Some(KeyMistake::Prefix),
            Secret::new([USUAL_PREFIX, shown].concat()),
            form,
            None,
        ));
    }
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
    // A text that is decoded has nothing around it.
    let around: [(KeyMistake, &[u8], &[u8]); 6] = [
        (KeyMistake::Newline, b"", b"\n"),
        (KeyMistake::Newline, b"", b"\r\n"),
        (KeyMistake::Spaced, b"", b" "),
        (KeyMistake::Spaced, b" ", b""),
        (KeyMistake::Quoted, b"\"", b"\""),
        (KeyMistake::Quoted, b"'", b"'"),
    ];
    for (mistake, before, behind) in around {
        if matches!(form, KeyForm::Utf8 | KeyForm::Sha1) {
            let whole = Secret::new([before, shown, behind].concat());
            keys.push((Some(mistake), whole, form, own.clone()));
        }
    }
    keys.push((
        Some(KeyMistake::Digest),
        Secret::new(Sha256::digest(shown).to_vec()),
        KeyForm::Utf8,
        None,
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
pub(super) fn contents(has_time: bool, has_id: bool, has_url: bool) -> Vec<(String, Template)> {
    let mut texts: Vec<String> = ["{body}", "{secret}{body}", "{body}{secret}"]
        .map(str::to_owned)
        .into();
    let mut joined = |parts: &[&str]| {
        for separator in SEPARATORS {
            texts.push(parts.join(separator));
        }
    };
    if has_time {
        joined(&["{timestamp}", "{body}"]);
        joined(&["{body}", "{timestamp}"]);
    }
    if has_id {
        joined(&["{id}", "{body}"]);
    }
    if has_time && has_id {
        joined(&["{id}", "{timestamp}", "{body}"]);
        joined(&["{timestamp}", "{id}", "{body}"]);
    }
    if has_url {
        joined(&["{url}", "{body}"]);
        joined(&["{body}", "{url}"]);
    }
    if has_time {
        let versions = [
            "v0:{timestamp}:{body}",
            "v1:{timestamp}:{body}",
            "v1.{timestamp}.{body}",
        ];
        texts.extend(versions.map(str::to_owned));
    }
    let parsed = texts.into_iter().filter_map(|text| {
        let template = Template::parse(&text).ok()?;
        Some((text, template))
    });
    parsed.collect()
}

/// What stands between the parts of a content, the usual first.
const SEPARATORS: [&str; 8] = [".", "", ":", "\n", "|", "-", "_", " "];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_other_url_is_named() {
        use UrlMistake::*;
        let all = urls("https://example.com/in?a=1", Some("inner:8443"), "/own");
        let expected = [
            (Query, "https://example.com/in"),
            (Slash, "https://example.com/in/?a=1"),
            (Scheme, "http://example.com/in?a=1"),
            (Port, "https://example.com:443/in?a=1"),
            (Request, "https://inner:8443/own"),
            (Path, "/in?a=1"),
            (Origin, "https://example.com"),
        ];
        assert_eq!(
            all,
            expected.map(|(mistake, url)| (mistake, url.to_owned()))
        );
        let path: Vec<_> = urls("/in/", None, "");
        assert_eq!(path, [(Slash, "/in".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_url_makes_it_panic(url in ".{0,30}|[htps:/?.]{0,12}") {
            let _ = urls(&url, Some(&url), &url);
        }
    }
}
