//! SHA-256 of certificates and of their keys.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// SHA-256 of a certificate's DER. `Display` is lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Fingerprint(pub [u8; 32]);

impl Sha256Fingerprint {
    /// Of a certificate's DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Sha256Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// SHA-256 of a whole SubjectPublicKeyInfo, written `sha256:HEX` (`FromStr`, `Display`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpkiPin(pub [u8; 32]);

impl SpkiPin {
    /// Of a SubjectPublicKeyInfo's DER.
    pub fn of(raw_spki: &[u8]) -> Self {
        Self(Sha256::digest(raw_spki).into())
    }

    /// The hex alone.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// A text that is no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is written sha256: and 64 hex digits, as `countersign certs inspect` prints it")]
pub struct NotAPin;

impl FromStr for SpkiPin {
    type Err = NotAPin;

    fn from_str(text: &str) -> Result<Self, NotAPin> {
        let digits = text.strip_prefix("sha256:").ok_or(NotAPin)?;
        let mut pin = [0; 32];
        match hex::decode_to_slice(digits, &mut pin) {
            Ok(()) => Ok(Self(pin)),
            Err(_no_hex) => Err(NotAPin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_printed() {
        let pin = SpkiPin::of(b"key");
        assert_eq!(pin.to_string().parse(), Ok(pin));
        assert_eq!(
            format!("sha256:{}", pin.hex().to_uppercase()).parse(),
            Ok(pin)
        );
        for text in [
            "",
            "sha256:",
            &pin.hex(),
            "sha256:00",
            "sha512:00",
            &format!("{pin}00"),
        ] {
            assert_eq!(text.parse::<SpkiPin>(), Err(NotAPin), "{text}");
        }
    }
}
