//! Loads secrets from where their references point.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::secret::{
    BYTE_ORDER_MARK, Secret, SecretReference, blank_beside, from_utf16, without_blanks,
};

use crate::text::path_word;

use super::context::Context;
use super::fault::Findings;
use super::key::KeyPath;

/// The longest file of secrets.
const SECRET_FILE_BYTES_MAX: usize = 64 << 10;
/// Secrets in one file, at most: each is tried for every delivery.
const SECRETS_MAX: usize = 16;
/// Fewer bits than this are named by `check`.
const BITS_MIN: usize = 128;
/// So few different characters hold less than their alphabet could: of 32 random hexadecimal digits, fewer than one in a
/// thousand million is made of so few.
const FEW_CHARACTERS: usize = 6;

/// A secret and what it may be called in a log: its reference, never its value.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// `file:PATH`, `file:PATH#2` for the second line of that file, `env:NAME`.
    pub label: Arc<str>,
    /// The secret.
    pub secret: Secret,
}

/// What a reference points to.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) secrets: Vec<Labelled>,
    /// The file, where every user of this machine can read it.
    pub(super) open_file: Option<PathBuf>,
}

/// Loads what the reference at `key` points to, or tells why it cannot, and who else can read it.
pub(super) fn load(reference: &str, key: &KeyPath, context: &mut Context<'_>) -> Vec<Labelled> {
    let loaded = load_any(reference, key, context);
    if let Some(path) = &loaded.open_file {
        warn_of_readers(path, key, &mut context.findings);
    }
    loaded.secrets
}

/// The same, where it may be a public key that everybody may read. A file of several lines holds several secrets, all of
/// them active, so that one can follow the other.
pub(super) fn load_any(reference: &str, key: &KeyPath, context: &mut Context<'_>) -> Loaded {
    let Some(content) = Content::read(reference, key, context) else {
        return Loaded::default();
    };
    let Content {
        label,
        bytes: content,
        open_file,
    } = content;
    let findings = &mut context.findings;
    if from_utf16(content.expose()).map(Secret::new).is_some() {
        let what = format!("{label} is written in UTF-16");
        findings.fault(key, what, "save it as UTF-8 without a byte order mark");
        return Loaded::default();
    }
    let lines = lines(content.expose());
    if lines.len() > SECRETS_MAX {
        let what = format!("{label} holds more than {SECRETS_MAX} secrets");
        findings.fault(key, what, "keep those that are in use, one a line");
        return Loaded::default();
    }
    let mut secrets = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if without_blanks(line).is_empty() {
            let what = match lines.len() {
                1 => format!("{label} is empty"),
                _ => format!("line {} of {label} is empty", index + 1),
            };
            findings.fault(key, what, "write one secret a line, and nothing else");
            continue;
        }
        let place = match index {
            0 => label.clone(),
            later => format!("{label}#{}", later + 1),
        };
        warn_of_a_stray_or_weak_one(line, &place, key, findings);
        if let Some((what, mend)) = annotated(line) {
            let line = index + 1;
            let what = format!("line {line} of {label} {what}, and is a secret as it stands");
            findings.warn(key, what, mend);
        }
        secrets.push(Labelled {
            label: place.into(),
            secret: Secret::new(line.to_vec()),
        });
    }
    Loaded { secrets, open_file }
}

/// What a reference leads to.
struct Content {
    label: String,
    bytes: Secret,
    open_file: Option<PathBuf>,
}

impl Content {
    fn read(reference: &str, key: &KeyPath, context: &mut Context<'_>) -> Option<Self> {
        let Ok(parsed) = reference.parse::<SecretReference>() else {
            // The text is not told: it may be the secret itself.
            let mend = "write \"file:PATH\" or \"env:NAME\", never the secret itself";
            let what = "is no reference to a secret";
            context.findings.fault(key, what, mend);
            return None;
        };
        let label = parsed.to_string();
        match &parsed {
            SecretReference::File(path) => {
                let path = context.resolve(path);
                let read = context.read(key, &path, SECRET_FILE_BYTES_MAX)?;
                if let Some(written) = read.written() {
                    context.secret_files.insert(label.clone(), written);
                }
                Some(Self {
                    label,
                    open_file: read.is_open_to_others().then_some(path),
                    // From here on the bytes are wiped when they are dropped.
                    bytes: Secret::new(read.bytes),
                })
            }
            SecretReference::Env(name) => {
                context.variables.insert(name.clone());
                let Some(bytes) = context.environment.bytes(name) else {
                    let what = format!("the variable {name} is not set");
                    let mend = format!("set {name} to the secret, or name another variable");
                    context.findings.fault(key, what, mend);
                    return None;
                };
                Some(Self {
                    label,
                    bytes: Secret::new(bytes.to_vec()),
                    open_file: None,
                })
            }
        }
    }
}

fn warn_of_a_stray_or_weak_one(secret: &[u8], place: &str, key: &KeyPath, findings: &mut Findings) {
    if let Some((what, mend)) = stray(secret) {
        findings.warn(key, format!("{place} {what}"), mend);
    }
    let bits = bits(secret);
    if bits < BITS_MIN {
        let what = format!("{place} is weak: {bits} bits at most");
        let mend = format!(
            "use a random secret of at least {BITS_MIN} bits, as openssl rand -hex 32 prints"
        );
        findings.warn(key, what, mend);
    }
}

/// What hardly belongs to a secret and is a part of it all the same, and the mend.
fn stray(secret: &[u8]) -> Option<(String, &'static str)> {
    if secret.starts_with(BYTE_ORDER_MARK) && std::str::from_utf8(secret).is_ok() {
        let what = "begins with a byte order mark, which is part of the secret";
        return Some((
            what.to_owned(),
            "save it as UTF-8 without a byte order mark",
        ));
    }
    if let Some(blank) = blank_beside(secret) {
        let what = format!("begins or ends with {blank}, which is part of the secret");
        return Some((what, "take it out, unless the provider's secret has it"));
    }
    let is_key = secret.starts_with(b"-----BEGIN ") || std::str::from_utf8(secret).is_err();
    (secret.contains(&b'\r') && !is_key).then(|| {
        let what = "holds a carriage return, which ends no line here and is part of the secret";
        let mend = "write one secret a line, each ended by a line feed";
        (what.to_owned(), mend)
    })
}

/// What a secret looks like around which somebody wrote what other files have, and the mend. A comment that stands here signs deliveries.
fn annotated(secret: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = std::str::from_utf8(secret).ok()?;
    let is_base64 = |text: &str| text.bytes().all(is_of_base64);
    // Base64 may begin with two slashes.
    if text.starts_with('#') || (text.starts_with("//") && !is_base64(text)) {
        let mend = "take the line out: there are no comments here, and whoever knows it can sign; leave it if the provider's secret begins so";
        return Some(("looks like a comment", mend));
    }
    let is_in = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if is_in('"') || is_in('\'') {
        let mend = "take the quotes out, unless the provider's secret has them";
        return Some(("stands in quotes", mend));
    }
    let (name, value) = text.split_once('=')?;
    let name = name.strip_prefix("export ").unwrap_or(name);
    // What base64 and base32 are filled up with stands at the end alone.
    if is_name_of_variable(name) && !value.trim_start_matches('=').is_empty() {
        let mend =
            "keep what stands behind the =, unless the provider's secret has the rest as well";
        return Some(("looks like a variable, NAME=value", mend));
    }
    None
}

/// As those in upper case are called that programs are configured by. What is shorter may be the beginning of a password.
fn is_name_of_variable(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(is_part)
}

fn is_of_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte)
}

pub(super) fn warn_of_readers(path: &Path, key: &KeyPath, findings: &mut Findings) {
    findings.warn(
        key,
        format!(
            "{} can be read by every user of this machine",
            path.display()
        ),
        format!("chmod 600 {}", path_word(path)),
    );
}

/// The lines of a text, less the one newline at its end. What is no text, or a key in PEM, is one secret.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    let content = match content.strip_suffix(b"\n") {
        Some(content) => content.strip_suffix(b"\r").unwrap_or(content),
        None => content,
    };
    if std::str::from_utf8(content).is_err() || content.starts_with(b"-----BEGIN ") {
        return vec![content];
    }
    let lines = content.split(|byte| *byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect()
}

/// What stands behind the words that providers put before the random part: whsec_, sk_live_.
pub(super) fn random_part(secret: &[u8]) -> &[u8] {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    match secret.iter().rposition(|byte| *byte == b'_') {
        Some(at) if at > 1 && secret.iter().take(at).all(is_word) => {
            secret.get(at + 1..).unwrap_or_default()
        }
        Some(_) | None => secret,
    }
}

/// The most bits that a secret of this form can hold.
fn bits(secret: &[u8]) -> usize {
    let random = random_part(secret);
    // What stands there again and again was chosen once.
    let once = random.get(..period(random)).unwrap_or(random);
    let each = if random.iter().all(u8::is_ascii_hexdigit) {
        4
    } else if random.iter().copied().all(is_of_base64) {
        6
    } else {
        8
    };
    let different = random.iter().collect::<BTreeSet<_>>().len();
    let each = if different > FEW_CHARACTERS {
        each
    } else {
        // As many bits as tell so many apart.
        different.next_power_of_two().ilog2().min(each)
    };
    let chosen = once.iter().filter(|byte| **byte != b'=').count();
    chosen * usize::try_from(each).unwrap_or(8)
}

/// After how many bytes it begins anew, where it does so at least once to its half: less could be chance.
fn period(secret: &[u8]) -> usize {
    let repeats = |at: &usize| {
        secret
            .iter()
            .skip(*at)
            .eq(secret.iter().take(secret.len() - at))
    };
    let found = (1..=secret.len() / 2).find(repeats);
    found.unwrap_or(secret.len())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::array::uniform32;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_trailing_newline_is_no_part_of_a_secret() {
        assert_eq!(lines(b"abc\n"), [b"abc"]);
        assert_eq!(lines(b"abc\r\n"), [b"abc"]);
        assert_eq!(lines(b"abc"), [b"abc"]);
        assert_eq!(lines(b" abc "), [b" abc "]);
        assert_eq!(lines(b"old\nnew\n"), [b"old", b"new"]);
        assert_eq!(lines(b"abc\n\n"), [&b"abc"[..], b""]);
        assert_eq!(lines(b""), [b""]);
    }

    #[test]
    fn a_binary_secret_or_a_key_in_pem_is_one() {
        assert_eq!(lines(b"\xff\n\x00"), [b"\xff\n\x00"]);
        let pem = b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----";
        assert_eq!(lines(pem), [pem]);
    }

    #[test]
    fn what_nobody_sees_in_a_secret_is_told_with_its_mend() {
        for (secret, what, mend) in [
            (" secret", "white space", "take it out"),
            ("secret\u{a0}", "a no-break space", "take it out"),
            ("secret\u{b}", "a vertical tab", "take it out"),
            ("\u{feff}secret", "begins with a byte order mark", "UTF-8"),
            ("old\rnew", "a carriage return", "ended by a line feed"),
        ] {
            let (told, mended) = stray(secret.as_bytes()).unwrap();
            assert!(told.contains(what), "{told}");
            assert!(mended.contains(mend), "{mended}");
        }
        let raw = b"\xef\xbb\xbf\xff\r";
        let pem = b"-----BEGIN PUBLIC KEY-----\rAA==\r-----END PUBLIC KEY-----";
        for secret in [&b"a secret"[..], raw, pem] {
            assert_eq!(stray(secret), None);
        }
    }

    #[test]
    fn what_looks_as_if_it_stood_around_a_secret_is_told_with_its_mend() {
        for (secret, what, mend) in [
            (
                "# rotated 2026-01-01 by Alice",
                "a comment",
                "take the line out",
            ),
            ("#", "a comment", "take the line out"),
            ("// the old one", "a comment", "take the line out"),
            ("\"c2VjcmV0\"", "in quotes", "take the quotes out"),
            ("'c2VjcmV0'", "in quotes", "take the quotes out"),
            ("STRIPE_SECRET=whsec_c2VjcmV0", "NAME=value", "behind the ="),
            ("export KEY2=c2VjcmV0==", "NAME=value", "behind the ="),
        ] {
            let (told, mended) = annotated(secret.as_bytes()).unwrap();
            assert!(told.contains(what), "{told}");
            assert!(mended.contains(mend), "{mended}");
        }
        for secret in [
            &b"//8Dc2VjcmV0"[..],
            b"ABCDEFGHIJKLMNOP====",
            b"SECRETS=",
            b"\"",
            b"AB=cd",
            b"user:pa=ss",
            b"name=value",
            b"#\xff",
        ] {
            assert_eq!(annotated(secret), None, "{}", secret.escape_ascii());
        }
    }

    #[test]
    fn a_secret_is_as_strong_as_its_alphabet() {
        assert_eq!(bits(b"5f3c1b0a9d8e7f6a4b2c0d1e3f5a7b9c"), 128);
        assert_eq!(bits(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 192);
        assert!(bits(b"hunter2!") < BITS_MIN);
        assert!(bits(b"a-secret-of-thirty-two-bytes-len") >= BITS_MIN);
    }

    #[test]
    fn what_is_repeated_makes_no_secret_stronger() {
        for (piece, bytes, expected) in [
            ("a", 64, 0),
            ("0", 64, 0),
            ("password", 64, 48),
            ("1234567890", 32, 40),
            ("changeme-", 44, 54),
            ("0123456789abcdef", 64, 64),
        ] {
            let secret: Vec<u8> = piece.bytes().cycle().take(bytes).collect();
            assert_eq!(bits(&secret), expected, "{piece}");
            let prefixed = [b"whsec_", &secret[..]].concat();
            assert_eq!(bits(&prefixed), expected, "{piece}");
        }
        assert_eq!(bits(b"abbabaabbaababbabaababbaabbabaab"), 32);
        assert_eq!(bits(b""), 0);
    }

    proptest! {
        #[test]
        fn no_random_secret_is_called_weak(random in uniform32(any::<u8>()).no_shrink(), more in 0..=16_usize) {
            let bytes = &random[..16 + more];
            let hexadecimal = hex::encode(bytes);
            let uuid = hex::encode(&random[..16]);
            let (a, b, c, d, e) = (&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]);
            for secret in [
                hexadecimal.to_uppercase(),
                hexadecimal,
                STANDARD.encode(bytes),
                // A beginning that ends with an underscore may look like a provider's word.
                URL_SAFE_NO_PAD.encode(random),
                format!("whsec_{}", STANDARD.encode(bytes)),
                format!("{a}-{b}-{c}-{d}-{e}"),
            ] {
                prop_assert!(bits(secret.as_bytes()) >= BITS_MIN, "{}", secret);
                prop_assert_eq!(annotated(secret.as_bytes()), None, "{}", secret);
            }
        }
    }
}
