//! Filters: what a template may make of a value before it is signed.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// One filter; the descriptor's page tells what each does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    Base64,
    Sha256Base64,
    Sha256Hex,
    Crc32,
    Upper,
    Lower,
    Quoted,
    Mac,
    After(Box<str>),
}

impl Filter {
    /// Whether two values never look the same behind the filter.
    pub(super) fn tells_apart(&self) -> bool {
        match self {
            Self::Base64 | Self::Sha256Base64 | Self::Sha256Hex | Self::Quoted | Self::Mac => true,
            // Letters of another case are the same letters.
            Self::Upper | Self::Lower => true,
            Self::Crc32 | Self::After(_) => false,
        }
    }

    /// The filter that stands before a value under this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64" => Self::Base64,
            "sha256_base64" => Self::Sha256Base64,
            "sha256_hex" => Self::Sha256Hex,
            "crc32" => Self::Crc32,
            "upper" => Self::Upper,
            "lower" => Self::Lower,
            "quoted" => Self::Quoted,
            "mac" => Self::Mac,
            _ => return None,
        })
    }

    /// What it makes of `bytes`; `None` if they are not what it can take.
    pub(super) fn apply<'a>(
        &self,
        bytes: Cow<'a, [u8]>,
        mac: &dyn Fn(&[u8]) -> Option<String>,
    ) -> Option<Cow<'a, [u8]>> {
        let text = match self {
            Self::Base64 => STANDARD.encode(&bytes),
            Self::Sha256Base64 => STANDARD.encode(Sha256::digest(&bytes)),
            Self::Sha256Hex => hex::encode(Sha256::digest(&bytes)),
            Self::Crc32 => crc32(&bytes).to_string(),
            Self::Upper => return Some(Cow::Owned(bytes.to_ascii_uppercase())),
            Self::Lower => return Some(Cow::Owned(bytes.to_ascii_lowercase())),
            Self::After(mark) => {
                return Some(Cow::Owned(after_last(&bytes, mark.as_bytes()).to_vec()));
            }
            Self::Quoted => serde_json::to_string(std::str::from_utf8(&bytes).ok()?).ok()?,
            Self::Mac => mac(&bytes)?,
        };
        Some(Cow::Owned(text.into_bytes()))
    }
}

fn after_last<'a>(bytes: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let at = bytes
        .windows(mark.len().max(1))
        .rposition(|window| window == mark);
    at.and_then(|at| bytes.get(at + mark.len()..))
        .unwrap_or(bytes)
}

/// CRC-32 as in zlib (PayPal signs it instead of the body); no proof of anything by itself.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
