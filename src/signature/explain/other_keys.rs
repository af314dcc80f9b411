//! The keys that may have been used instead of the one that the profile makes of a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::mistakes::KeyMistake;
use crate::secret::{BYTE_ORDER_MARK, Secret, from_utf16, without_blanks};
use crate::signature::profile::algorithm::Algorithm;
use crate::signature::profile::descriptor::KeyForm;

/// How displayed secrets begin: Stripe's and many others', Revolut's, Paddle's, Polar's, Paystack's, MONEI's.
const PREFIXES: [&str; 8] = [
    "whsec_",
    "wsk_",
    "pdl_ntfset_",
    "polar_whs_",
    "sk_live_",
    "sk_test_",
    "pk_live_",
    "pk_test_",
];
/// How long a prefix may be that stands before a secret twice.
const PREFIX_BYTES_MAX: usize = 24;
/// How many secrets are looked for in one.
const LINES_MAX: usize = 16;

/// What may have been made a key of, and how.
pub(super) struct OtherKey {
    /// What was done otherwise than the profile has it; of the profile's own key nothing.
    pub(super) mistake: Option<KeyMistake>,
    pub(super) secret: Secret,
    pub(super) form: KeyForm,
    /// What was taken off the secret.
    pub(super) prefix: Option<String>,
}

/// The keys that may have been made of a secret; the first is the profile's own.
pub(super) fn keys(secret: &Secret, form: KeyForm, prefix: Option<&str>) -> Vec<OtherKey> {
    let mut keys = Keys {
        secret,
        form,
        prefix,
        all: Vec::new(),
    };
    keys.add(None, secret.clone(), form, prefix);
    // Of a public key there is one form.
    if form != KeyForm::PublicKey {
        keys.in_other_forms();
        keys.with_another_prefix();
        keys.with_something_around();
        keys.digested_or_encoded();
        keys.as_copied();
    }
    keys.all
}

struct Keys<'a> {
    secret: &'a Secret,
    form: KeyForm,
    prefix: Option<&'a str>,
    all: Vec<OtherKey>,
}

impl Keys<'_> {
    fn add(
        &mut self,
        mistake: Option<KeyMistake>,
        secret: Secret,
        form: KeyForm,
        prefix: Option<&str>,
    ) {
        self.all.push(OtherKey {
            mistake,
            secret,
            form,
            prefix: prefix.map(str::to_owned),
        });
    }

    /// Other bytes, of which the profile's key is made.
    fn add_bytes(&mut self, mistake: KeyMistake, bytes: &[u8]) {
        let secret = Secret::new(bytes.to_vec());
        self.add(Some(mistake), secret, self.form, self.prefix);
    }

    /// Other bytes, which are the key.
    fn add_key(&mut self, mistake: KeyMistake, bytes: Vec<u8>) {
        self.add(Some(mistake), Secret::new(bytes), KeyForm::Utf8, None);
    }

    fn in_other_forms(&mut self) {
        for other in [KeyForm::Utf8, KeyForm::Base64, KeyForm::Hex, KeyForm::Sha1] {
            if other != self.form {
                let mistake = Some(KeyMistake::Form(other));
                self.add(mistake, self.secret.clone(), other, self.prefix);
                // Who does not decode a secret rarely takes its prefix off.
                self.add(mistake, self.secret.clone(), other, None);
            }
        }
    }

    fn with_another_prefix(&mut self) {
        let shown = self.secret.expose();
        let mut lengths = 1..=PREFIX_BYTES_MAX;
        let once = lengths.find_map(|length| {
            let (prefix, rest) = shown.split_at_checked(length)?;
            (prefix.ends_with(b"_") && rest.starts_with(prefix)).then_some(rest)
        });
        if let Some(once) = once {
            self.add_bytes(KeyMistake::PrefixTwice, once);
        }
        let is_there = |prefix: &str| shown.starts_with(prefix.as_bytes());
        if self.prefix.is_none() && !PREFIXES.into_iter().any(is_there) {
            // Who leaves it off here uses less than the provider does.
            for prefix in PREFIXES {
                let whole = Secret::new([prefix.as_bytes(), shown].concat());
                let mistake = Some(KeyMistake::PrefixMissing(prefix));
                self.add(mistake, whole, self.form, None);
            }
        }
        let underscore = shown.iter().take(12).position(|byte| *byte == b'_');
        let another = underscore
            .and_then(|at| shown.get(..=at))
            .and_then(|text| std::str::from_utf8(text).ok());
        if self.prefix.is_some() {
            self.add(
                Some(KeyMistake::PrefixLeftOn),
                self.secret.clone(),
                self.form,
                None,
            );
        } else if another.is_some() {
            // Who takes a prefix off that belongs to the secret often decodes the rest, as other providers' secrets want it.
            for decoded in [KeyForm::Base64, KeyForm::Hex] {
                let mistake = Some(KeyMistake::PrefixAndForm(decoded));
                self.add(mistake, self.secret.clone(), decoded, another);
            }
            self.add(
                Some(KeyMistake::PrefixTakenOff),
                self.secret.clone(),
                self.form,
                another,
            );
        }
    }

    fn with_something_around(&mut self) {
        // A text that is decoded has nothing around it.
        if !matches!(self.form, KeyForm::Utf8 | KeyForm::Sha1) {
            return;
        }
        let around: [(KeyMistake, &[u8], &[u8]); 6] = [
            (KeyMistake::Newline, b"", b"\n"),
            (KeyMistake::Newline, b"", b"\r\n"),
            (KeyMistake::Spaced, b"", b" "),
            (KeyMistake::Spaced, b" ", b""),
            (KeyMistake::Quoted, b"\"", b"\""),
            (KeyMistake::Quoted, b"'", b"'"),
        ];
        for (mistake, before, behind) in around {
            let whole = Secret::new([before, self.secret.expose(), behind].concat());
            self.add(Some(mistake), whole, self.form, self.prefix);
        }
    }

    fn digested_or_encoded(&mut self) {
        let shown = self.secret.expose();
        let digest = Sha256::digest(shown);
        self.add_key(KeyMistake::Digest, digest.to_vec());
        self.add_key(KeyMistake::Digest, hex::encode(digest).into());
        for (written, text) in [
            (KeyForm::Base64, STANDARD.encode(shown)),
            (KeyForm::Hex, hex::encode(shown)),
        ] {
            self.add_key(KeyMistake::Encoded(written), text.into());
        }
        // Of hexadecimal digits alone: who writes them in the other case did not decode them.
        if shown.iter().all(u8::is_ascii_hexdigit) {
            for text in [shown.to_ascii_lowercase(), shown.to_ascii_uppercase()] {
                if text != shown {
                    self.add_key(KeyMistake::Case, text);
                }
            }
        }
    }

    /// With what gets beside a secret, or into it, when it is copied here.
    fn as_copied(&mut self) {
        let shown = self.secret.expose();
        if let Some((mistake, inner)) = surrounded(shown) {
            self.add_bytes(mistake, inner);
        }
        if let Some(text) = from_utf16(shown).map(Secret::new) {
            self.add_bytes(KeyMistake::Utf16, without_blanks(text.expose()));
        }
        if shown.contains(&b'\r') {
            for line in shown.split(|byte| *byte == b'\r').take(LINES_MAX) {
                self.add_bytes(KeyMistake::CarriageReturn, without_blanks(line));
            }
        }
    }
}

/// What stands around a secret by mistake, and the secret without it.
pub(in crate::signature) fn surrounded(shown: &[u8]) -> Option<(KeyMistake, &[u8])> {
    let bare = without_blanks(shown);
    let found = if shown.starts_with(BYTE_ORDER_MARK) {
        Some((
            KeyMistake::ByteOrderMark,
            without_quotes(bare).unwrap_or(bare),
        ))
    } else if let Some(inner) = without_quotes(bare) {
        Some((KeyMistake::Quotes, inner))
    } else if let Some(inner) = without_name(shown) {
        Some((KeyMistake::Name, inner))
    } else {
        (bare.len() != shown.len()).then_some((KeyMistake::Space, bare))
    };
    found.filter(|(_, inner)| !inner.is_empty())
}

fn without_quotes(text: &[u8]) -> Option<&[u8]> {
    let within = |quote: &[u8]| text.strip_prefix(quote)?.strip_suffix(quote);
    within(b"\"").or_else(|| within(b"'"))
}

/// What stands behind `NAME=`, as in a file of variables.
fn without_name(shown: &[u8]) -> Option<&[u8]> {
    // The padding of base64 is followed by nothing that could be a secret.
    const SECRET_BYTES_MIN: usize = 8;
    let line = shown.trim_ascii();
    let line = line.strip_prefix(b"export ").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = line.split_at_checked(at)?;
    let value = value.strip_prefix(b"=")?.trim_ascii();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let fits = !name.is_empty() && name.iter().all(is_name) && value.len() >= SECRET_BYTES_MIN;
    fits.then(|| without_quotes(value).unwrap_or(value))
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
            Algorithm::Md5,
        ];
        all.extend(others.into_iter().filter(|other| *other != own));
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_around_a_secret_is_known() {
        let check = |shown: &[u8], expected: Option<(KeyMistake, &[u8])>| {
            assert_eq!(surrounded(shown), expected);
        };
        check(b" abc\t", Some((KeyMistake::Space, b"abc")));
        check("abc\u{a0}".as_bytes(), Some((KeyMistake::Space, b"abc")));
        check(b" \"abc\"", Some((KeyMistake::Quotes, b"abc")));
        check(b"'abc'", Some((KeyMistake::Quotes, b"abc")));
        check(
            b"\xef\xbb\xbfabc",
            Some((KeyMistake::ByteOrderMark, b"abc")),
        );
        check(
            b"export KEY='abcdefgh'",
            Some((KeyMistake::Name, b"abcdefgh")),
        );
        check(b"KEY=abcdefgh", Some((KeyMistake::Name, b"abcdefgh")));
        for secret in [&b"abc"[..], b"YWJjZGVm==", b"", b"\"\"", b"a b=cdefghijk"] {
            check(secret, None);
        }
    }

    proptest! {
        #[test]
        fn no_secret_makes_it_panic(secret in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = surrounded(&secret);
            let _ = keys(&Secret::new(secret), KeyForm::Utf8, None);
        }
    }
}
