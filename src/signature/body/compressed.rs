//! Whether a body that does not verify was compressed, or is no longer: nothing here can undo it, but a person can.

use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// What was done to a body between signing and receiving, as far as its first bytes and `Content-Encoding` tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is compressed in this coding.
    Compressed(&'static str),
    /// Its header names this coding, and it is a plain text.
    Undone(&'static str),
}

/// The codings of RFC 9110 §8.4.1, and two that browsers know.
const CODINGS: [&str; 5] = ["gzip", "deflate", "compress", "br", "zstd"];

impl Compression {
    pub(in crate::signature) fn of(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let is_text = std::str::from_utf8(body).is_ok();
        if let Some(coding) = begun(body).filter(|_| !is_text) {
            return Some(Self::Compressed(coding));
        }
        let named = headers.get_all(CONTENT_ENCODING).iter();
        let named = named.filter_map(|value| value.to_str().ok());
        let mut named = named.flat_map(|text| text.split(','));
        let coding = named.find_map(|name| {
            let name = name.trim().trim_start_matches("x-");
            CODINGS
                .into_iter()
                .find(|coding| name.eq_ignore_ascii_case(coding))
        })?;
        Some(if is_text {
            Self::Undone(coding)
        } else {
            Self::Compressed(coding)
        })
    }
}

/// The coding whose first bytes these are (RFC 1952 §2.3.1, RFC 1950 §2.2, RFC 8878 §3.1.1).
fn begun(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some("deflate"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed(coding) => write!(
                f,
                "the body is compressed ({coding}): the provider signed it uncompressed, or a proxy compressed it; \
                 try again with the uncompressed body"
            ),
            Self::Undone(coding) => write!(
                f,
                "Content-Encoding says {coding}, and the body is not compressed: something on the way unpacked what \
                 the provider may have signed compressed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_known_to_be_compressed_by_its_header_or_its_first_bytes() {
        use Compression::{Compressed, Undone};
        let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0";
        for (header, body, expected) in [
            (None, gzip, Some(Compressed("gzip"))),
            (Some("br"), gzip, Some(Compressed("gzip"))),
            (Some("br"), b"\x0b\xff", Some(Compressed("br"))),
            (None, b"\x78\x9c\xab\xae\x05\0", Some(Compressed("deflate"))),
            (None, b"x^2", None),
            (None, b"{}", None),
            (Some("x-gzip"), b"{}", Some(Undone("gzip"))),
            (Some("identity"), b"{}", None),
            (Some("aes128gcm"), b"{}", None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(CONTENT_ENCODING, header.parse().unwrap());
            }
            assert_eq!(
                Compression::of(&headers, body),
                expected,
                "{header:?} {body:?}"
            );
        }
    }
}
