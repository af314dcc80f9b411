//! How a report shows what it may, and what it may not.

use crate::signature::profile::descriptor::Encoding;

/// What stands for the secret.
pub(super) const MASK: &[u8] = b"<secret>";
/// What stands for a signature.
pub(super) const SIGNATURE_MASK: &[u8] = b"<signature>";

/// How a text is written, without telling it.
pub(super) fn described(text: &str) -> String {
    let letters = text.chars().count();
    let kind = if text.is_empty() {
        "an empty text"
    } else if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "hexadecimal"
    } else if Encoding::Base64.decode(text).is_some() {
        "base64"
    } else if Encoding::Base64url.decode(text).is_some() {
        "base64url"
    } else {
        "neither hexadecimal nor base64 as a whole: a list, or a value behind its name, as in v1=…"
    };
    format!("{letters} characters, {kind}")
}

/// The bytes with `mask` for each `hidden`; what is this short would be found in any text.
pub(super) fn masked(bytes: &[u8], hidden: &[u8], mask: &[u8]) -> Vec<u8> {
    const HIDDEN_BYTES_MIN: usize = 6;
    let mut rest = bytes;
    let mut shown = Vec::with_capacity(bytes.len());
    while let Some(first) = rest.first() {
        match rest
            .strip_prefix(hidden)
            .filter(|_| hidden.len() >= HIDDEN_BYTES_MIN)
        {
            Some(after) => {
                shown.extend_from_slice(mask);
                rest = after;
            }
            None => {
                shown.push(*first);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    shown
}

/// Bytes as one line of ASCII.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(char::from(*byte)),
            other => line.push_str(&format!("\\x{other:02x}")),
        }
    }
    line
}
