//! The usual mistakes of those who sign, and how each is told.

use std::fmt;

use super::rewritten::Writing;
use super::rewritten_form::FormWriting;
use crate::signature::profile::algorithm::Algorithm;
use crate::signature::profile::descriptor::{Encoding, KeyForm};

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
    PlainDigest(Algorithm),
    /// An HMAC was made, and no plain digest.
    Hmac,
    /// What should be signed was the key, and the secret was signed.
    KeyAndContentExchanged,
    /// Another algorithm was used.
    Algorithm(Algorithm),
    /// Another algorithm was used than the one that the signature names.
    AlgorithmNamed {
        /// By which it was made.
        used: Algorithm,
        /// What stands beside it.
        named: Algorithm,
    },
    /// The parts were put together otherwise.
    Content(String),
    /// The timestamp was signed in another unit than it is sent in.
    TimestampUnit,
    /// The timestamp was signed in another form than it is sent in.
    TimestampForm,
    /// The time was taken anew for what is sent, a second apart.
    TimestampTwice,
    /// The signature is written otherwise.
    Encoding(Encoding),
    /// The signature stands in another header.
    Header(http::HeaderName),
    /// It stands in its place otherwise than as this.
    Listed(String),
    /// Only its first bytes are there.
    CutOff,
    /// What bears it came more than once, so that what else stands there counts for nothing.
    Repeated,
    /// What bears it stands in quotes.
    QuotedWhole,
    /// What bears it was URL-encoded.
    UrlEncoded,
    /// This word stands before it.
    Word(String),
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
    /// White space around it was sent and not signed.
    SpaceSent,
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
    /// What was no UTF-8 in it was replaced before it was signed.
    Replaced,
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
    /// It was sent in base64, and signed without.
    Base64Sent,
    /// Its SHA-256 digest was signed, as a text.
    Digest,
    /// A form, parsed and written again in this way.
    FormRewritten(FormWriting),
    /// Its `%XX` were signed in the other case.
    EscapeCase,
    /// One field of the form was signed alone.
    FormField,
    /// The form was signed as a JSON object.
    FormAsJson,
    /// What stands for a value that is no text was signed.
    NoText(&'static str),
    /// What Python prints of bytes was signed.
    PythonBytes,
    /// Nothing of the body was signed.
    Empty,
    /// Its last closing brackets are not here.
    CutAtItsEnd,
    /// It was kept with the sizes of its chunks.
    Chunked,
    /// It was kept with the head of the request before it.
    WithHead,
    /// It was kept in UTF-16.
    KeptInUtf16,
}

/// What was done to the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMistake {
    /// It was read in this form.
    Form(KeyForm),
    /// The prefix that is no part of the key was left on when it was signed.
    PrefixLeftOn,
    /// The prefix that is a part of the key was taken off when it was signed.
    PrefixTakenOff,
    /// This prefix, which is a part of the key, is missing here.
    PrefixMissing(&'static str),
    /// Its prefix stands before it twice here.
    PrefixTwice,
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
    /// Its SHA-256 digest was the key, as bytes or in hexadecimal.
    Digest,
    /// Its prefix was taken off, and the rest read in this form.
    PrefixAndForm(KeyForm),
    /// It was written in this form once more, and that text was the key.
    Encoded(KeyForm),
    /// Its letters were the key in the other case.
    Case,
    /// A name and `=` stand before it here.
    Name,
    /// A byte order mark stands before it here.
    ByteOrderMark,
    /// It is written in UTF-16 here.
    Utf16,
    /// It is one of several here, with carriage returns alone between them.
    CarriageReturn,
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
    /// Without its port, or with the one that needs not be written.
    Port,
    /// With `www.` before its host, or without.
    Www,
    /// Without its scheme.
    NoScheme,
    /// The host of the request's `Host` header, and the request's own path.
    Request,
    /// The host of the request's `Host` header.
    Host,
    /// The host that a proxy says it was asked for.
    Forwarded,
    /// The request's own path and query.
    RequestPath,
    /// Without its path.
    NoPath,
    /// The same host with this port.
    OtherPort(u16),
    /// With the letters of its host in lower case.
    Case,
    /// With its `%XX` decoded.
    Decoded,
    /// With all but letters and digits as `%XX`, as a parameter of another URL is written.
    Encoded,
    /// With a slash twice where one is enough.
    TwoSlashes,
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
            Self::AlgorithmNamed { used, named } => write!(
                f,
                "the algorithm was {}, and the signature's header names {}",
                used.name_for_senders(),
                named.name_for_senders()
            ),
            Self::Algorithm(algorithm) => write!(f, "the algorithm was {}", algorithm.name_for_senders()),
            Self::Content(content) => {
                write!(f, "what was signed was put together as {}", content.escape_debug())
            }
            Self::Url(url) => url.fmt(f),
            Self::PlainDigest(algorithm) => {
                write!(f, "the signature is a plain {} digest and no HMAC", algorithm.name_for_senders())
            }
            Self::Hmac => f.write_str("the signature is an HMAC with the secret as its key, and no plain digest"),
            Self::KeyAndContentExchanged => {
                f.write_str("the secret and what is signed were exchanged: the secret is the key of the HMAC")
            }
            Self::TimestampUnit => {
                f.write_str("the timestamp was signed in seconds and sent in milliseconds, or the other way round")
            }
            Self::TimestampForm => {
                f.write_str("the timestamp was signed as RFC 3339 and sent as a number, or the other way round")
            }
            Self::TimestampTwice => {
                f.write_str("another second was signed than is sent: take the time once, for both")
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
            Self::Repeated => {
                f.write_str("what bears the signature came more than once, so that what else stands in it counts for nothing")
            }
            Self::QuotedWhole => f.write_str("what bears the signature stands in quotes: send it without"),
            Self::UrlEncoded => {
                f.write_str("what bears the signature was URL-encoded (%3D for =): send it as it is")
            }
            Self::Word(word) => {
                write!(f, "\"{}\" stands before the signature: send it without", word.escape_debug())
            }
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
            Self::SpaceSent => "white space around the body was sent that was not signed",
            Self::LineBreaks => {
                "the line breaks of the body were changed (LF, CR LF) after it was signed"
            }
            Self::ByteOrderMark => "a byte order mark was sent that was not signed",
            Self::Latin1 => "the body was read as Latin-1 (or Windows-1252) before it was signed; it is UTF-8",
            Self::ByteOrderMarkSigned => "a byte order mark was signed that was not sent",
            Self::Latin1Sent => {
                "the body was read as Latin-1 (or Windows-1252) after it was signed, and encoded in UTF-8 once more"
            }
            Self::SignedInLatin1 => "the body was signed in Latin-1 (or Windows-1252), and sent in UTF-8",
            Self::SentInLatin1 => "the body was sent in Latin-1 (or Windows-1252), and signed in UTF-8",
            Self::Replaced => {
                "the body is no UTF-8, and what could not be read in it was replaced before it was signed"
            }
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
            Self::Base64Sent => "the body was sent in base64, and signed without",
            Self::Digest => "not the body was signed, but its SHA-256 digest as a text",
            Self::FormRewritten(writing) => {
                return write!(f, "the form was parsed and written again: it was signed {writing}");
            }
            Self::EscapeCase => "the form was signed with its %XX in the other case",
            Self::FormField => "one field of the form was signed alone, decoded",
            Self::FormAsJson => "the form was parsed, and signed as a JSON object",
            Self::NoText(text) => {
                return write!(f, "\"{text}\" was signed for the body: a value that is no text, or nothing");
            }
            Self::PythonBytes => "the body was signed as Python prints bytes, in b'...'",
            Self::Empty => "the body was signed as if it were empty",
            Self::CutAtItsEnd => {
                "the body was cut off before its last brackets: it was signed whole"
            }
            Self::Chunked => {
                "the body was kept as it is transferred, with the size of each chunk between its parts: it was signed without"
            }
            Self::WithHead => "the request's headers stand before the body: it was signed without",
            Self::KeptInUtf16 => {
                "the body that is given was saved in UTF-16, as editors and PowerShell's > do: it was signed in UTF-8"
            }
        })
    }
}

impl KeyMistake {
    /// Whether it is in the secret's own text, whatever is made of it.
    pub(super) fn is_of_the_text(self) -> bool {
        match self {
            Self::Newline
            | Self::Spaced
            | Self::Quoted
            | Self::Space
            | Self::Quotes
            | Self::Name
            | Self::ByteOrderMark
            | Self::Utf16
            | Self::CarriageReturn
            | Self::PrefixMissing(_)
            | Self::PrefixTwice => true,
            Self::Form(_)
            | Self::PrefixLeftOn
            | Self::PrefixTakenOff
            | Self::PrefixAndForm(_)
            | Self::Digest
            | Self::Encoded(_)
            | Self::Case => false,
        }
    }
}

impl fmt::Display for KeyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |form: &KeyForm| match form {
            KeyForm::Hex => "hexadecimal",
            KeyForm::Base64 => "base64",
            KeyForm::Utf8 | KeyForm::Sha1 | KeyForm::PublicKey => "another form",
        };
        f.write_str(match self {
            Self::Form(KeyForm::Utf8) => "the secret was not decoded: its text itself was the key",
            Self::Form(KeyForm::Hex) => "the secret was decoded from hexadecimal",
            Self::Form(KeyForm::Base64) => "the secret was decoded from base64",
            Self::Form(KeyForm::Sha1) => "the key was the SHA-1 digest of the secret",
            Self::Form(KeyForm::PublicKey) => "the secret was read as a public key",
            Self::PrefixLeftOn => {
                "the secret's prefix was left on when it was signed, and is no part of the key"
            }
            Self::PrefixTakenOff => {
                "the secret's prefix was taken off when it was signed, and is a part of the key"
            }
            Self::PrefixMissing(prefix) => {
                return write!(
                    f,
                    "the secret that is configured here lacks the \"{prefix}\" before it, which is a part of the key: copy it whole"
                );
            }
            Self::PrefixTwice => {
                "the secret that is configured here begins with its prefix twice: write it once"
            }
            Self::Newline => "a trailing newline was a part of the secret",
            Self::Space => {
                "the secret that is configured here has white space or invisible characters around it"
            }
            Self::Quotes => "the secret that is configured here stands in quotes",
            Self::Spaced => "white space beside the secret was a part of the key",
            Self::Quoted => "quotes around the secret were a part of the key",
            Self::Digest => "the key was the SHA-256 digest of the secret",
            Self::PrefixAndForm(form) => {
                return write!(
                    f,
                    "the secret's prefix was taken off, and the rest decoded from {}",
                    named(form)
                );
            }
            Self::Encoded(form) => {
                return write!(
                    f,
                    "the key was the {} text of the secret that is configured here",
                    named(form)
                );
            }
            Self::Case => "the text of the secret was the key, with its letters in the other case",
            Self::Name => {
                "a name and \"=\" stand before the secret that is configured here: write the secret alone"
            }
            Self::ByteOrderMark => {
                "a byte order mark stands before the secret that is configured here"
            }
            Self::Utf16 => {
                "the secret that is configured here is written in UTF-16: save its file as UTF-8"
            }
            Self::CarriageReturn => {
                "what is configured here are several secrets with carriage returns alone between them: end each line with a line feed"
            }
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
            Self::Www => "another URL was signed: with \"www.\" where here is none, or without",
            Self::NoScheme => "another URL was signed: without its scheme",
            Self::Request => "another URL was signed: that of the request's Host header and path",
            Self::Host => "another URL was signed: with the host of the request's Host header",
            Self::Forwarded => {
                "another URL was signed: with the host that a proxy says it was asked for (X-Forwarded-Host, Forwarded)"
            }
            Self::RequestPath => "another URL was signed: with the request's own path and query",
            Self::NoPath => "another URL was signed: without its path",
            Self::OtherPort(port) => {
                return write!(f, "another URL was signed: with the port {port}");
            }
            Self::Case => "another URL was signed: with its host in lower case",
            Self::Decoded => "another URL was signed: with its %XX decoded",
            Self::Encoded => "another URL was signed: encoded as a part of another one is (%3A%2F%2F for ://)",
            Self::TwoSlashes => "another URL was signed: with two slashes between its host and its path",
            Self::Path => "another URL was signed: its path alone",
            Self::Origin => "another URL was signed: its scheme and host alone",
        })
    }
}
