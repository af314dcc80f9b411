//! A provider as we play it: its profile, its secret, and the signed deliveries that it makes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::output::chain;
use super::profiles;
use super::sample::{self, Tale};
use super::wire::Target;
use crate::config::{ConfigFile, Environment, Fault};
use crate::secret::{Secret, SecretReference};
use crate::signature::{
    AccountBinding, Facts, Pen, Profile, Request, Settings, SignRequest, Signed,
};
use crate::text::printable;

const USER_AGENT_VALUE: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Why a command that plays a sender could not do what was asked.
pub(super) enum Stopped {
    /// Something could not be used, or did not work; told whole.
    Failed(String),
    /// The configuration could not be used.
    Unusable(Vec<Fault>),
}

impl Stopped {
    pub(super) fn because(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl<E: std::error::Error> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(chain(&error))
    }
}

/// The folder of the configuration file: where `dev` made everything.
pub(super) fn home(place: &ConfigFile) -> &Path {
    place.path().parent().unwrap_or(Path::new(""))
}

/// The file that was named, or the one that `dev` made.
pub(super) fn file_or(named: Option<&PathBuf>, place: &ConfigFile, made: &str) -> PathBuf {
    named.map_or_else(|| home(place).join(made), Clone::clone)
}

/// What a file holds that `dev` makes, or one in its place.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Stopped> {
    let mend = "`countersign dev` makes the files that the defaults name";
    read_or(path, what, mend)
}

/// Whose secret a profile takes, nobody but its provider can tell.
const MEND_SECRET: &str = "give the secret with --secret file:FILE or env:NAME (`countersign dev` makes certs/producer.secret)";

/// What a file holds that nothing here makes.
pub(super) fn read_given(path: &Path, what: &str) -> Result<Vec<u8>, Stopped> {
    read_or(path, what, "name a file that is there")
}

/// More than any receiver takes: a device has no end.
const GIVEN_BYTES: u64 = 128 << 20;

fn read_or(path: &Path, what: &str, mend: &str) -> Result<Vec<u8>, Stopped> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(GIVEN_BYTES).read_to_end(&mut bytes));
    let told = match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length < GIVEN_BYTES) => {
            return Ok(bytes);
        }
        Ok(_) => format!("{what} is longer than any that is taken; name another file"),
        Err(error) => format!("{what} cannot be read: {error}; {mend}"),
    };
    Err(Stopped::Failed(format!("{}: {told}", path.display())))
}

/// `NAME=TEXT`, for a value that a profile needs.
pub(super) fn parse_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("\"{text}\" is no value; write NAME=TEXT")),
    }
}

/// The profile of this name: the configuration's own before a built-in one.
pub(super) fn profile(
    name: &str,
    place: &ConfigFile,
    environment: &Environment,
) -> Result<Arc<Profile>, Stopped> {
    let profiles = profiles::known(place, environment).map_err(Stopped::Unusable)?;
    match profiles.get(name) {
        Some(profile) => Ok(Arc::clone(profile)),
        None => Err(Stopped::Failed(profiles::unknown(name, &profiles))),
    }
}

/// The secrets behind a reference, each with what it may be called: one a line, or a whole key in PEM.
pub(super) fn secrets(
    reference: &str,
    environment: &Environment,
) -> Result<Vec<(Arc<str>, Secret)>, Stopped> {
    let content = match SecretReference::from_str(reference)? {
        SecretReference::File(path) => read_or(&path, "the secret", MEND_SECRET)?,
        SecretReference::Env(name) => {
            let value = environment.text(&name).ok_or_else(|| {
                Stopped::Failed(format!(
                    "the variable {name} is not set; set it to the secret, or name another"
                ))
            })?;
            value.as_bytes().to_vec()
        }
    };
    let content = Secret::new(content);
    let lines = lines(content.expose());
    let mut secrets = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        if line.is_empty() {
            return Err(Stopped::Failed(format!(
                "{reference}: line {} holds no secret; write one a line, and nothing else",
                at + 1
            )));
        }
        let label = match at {
            0 => reference.to_owned(),
            later => format!("{reference}#{}", later + 1),
        };
        secrets.push((label.into(), Secret::new(line.to_vec())));
    }
    Ok(secrets)
}

/// As the configuration reads them: the one newline at the end is no part, and a key in PEM is one.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    if std::str::from_utf8(content).is_err() || content.starts_with(b"-----BEGIN ") {
        return vec![content];
    }
    content
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect()
}

/// `PREFIX_` and 96 bits that nobody had before.
pub(super) fn fresh_id(prefix: &str) -> Result<String, Stopped> {
    let mut random = [0_u8; 12];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_unspecified| Stopped::because("the random number generator failed"))?;
    Ok(format!("{prefix}_{}", hex::encode(random)))
}

/// Scheme, host and port of an address.
pub(super) fn origin(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(after_scheme..).unwrap_or_default();
    let end = rest.find('/').map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url).to_owned()
}

/// Who signs, and for which receiver.
pub(super) struct Author {
    pub(super) profile: Arc<Profile>,
    pub(super) pen: Pen,
    /// What its samples say where the receiver looks for the account.
    account: Option<AccountBinding>,
    pub(super) target: Target,
}

/// A signed request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// By which the receiver will know its event, if it is accepted.
    pub(super) event_id: String,
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Author {
    /// Fails for a profile that needs values nobody gave, and for a secret that makes no key for it.
    pub(super) fn new(
        profile: Arc<Profile>,
        secret: Secret,
        settings: Settings,
        target: Target,
    ) -> Result<Self, Stopped> {
        let lacking: Vec<String> = profile
            .needed_values()
            .into_iter()
            .filter(|name| !settings.values.contains_key(*name))
            .map(|name| format!("--value {name}=TEXT"))
            .collect();
        if !lacking.is_empty() {
            return Err(Stopped::Failed(format!(
                "the profile \"{}\" needs {}",
                profile.name(),
                lacking.join(" and ")
            )));
        }
        let account = settings.account.clone();
        let pen = Pen::new(Arc::clone(&profile), secret, settings)?;
        Ok(Self {
            profile,
            pen,
            account,
            target,
        })
    }

    /// The profile's sample of this event, signed at `now`.
    pub(super) fn tell(&self, tale: &Tale, now: Timestamp) -> Result<Delivery, Stopped> {
        let body = tale
            .body(&self.profile)
            .ok_or_else(|| no_sample(&self.profile, &tale.kind))?;
        let body = match &self.account {
            Some(account) => sample::of_account(&self.profile, body, account),
            None => body,
        };
        self.write(Bytes::from(body), Some(&tale.kind), &tale.id, now)
    }

    /// What stands above every delivery of this type, before it is signed.
    pub(super) fn headers(&self, kind: Option<&str>) -> Result<HeaderMap, Stopped> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        headers.insert(HOST, HeaderValue::from_str(&self.target.authority())?);
        if let Some(kind) = kind {
            sample::name_the_type(&self.profile, kind, &mut headers);
        }
        Ok(headers)
    }

    /// These bytes, signed at `now`.
    pub(super) fn write(
        &self,
        body: Bytes,
        kind: Option<&str>,
        id: &str,
        now: Timestamp,
    ) -> Result<Delivery, Stopped> {
        let mut headers = self.headers(kind)?;
        let request = Request {
            method: &Method::POST,
            path_and_query: &self.target.path_and_query,
            headers: &headers,
        };
        let to_sign = SignRequest { request, id, now };
        let Signed {
            headers: signed,
            path_and_query,
            body,
            content_type,
        } = self.pen.sign(&to_sign, body)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in signed {
            headers.insert(name, value);
        }
        let mut delivery = Delivery {
            event_id: String::new(),
            path_and_query,
            headers,
            body,
        };
        delivery.event_id = self.event_id(&delivery, id);
        Ok(delivery)
    }

    /// As the inbox names it: by the event's own id, the delivery's signed one, or the body's SHA-256.
    fn event_id(&self, delivery: &Delivery, id: &str) -> String {
        let own = self.facts(delivery).and_then(|facts| facts.event_id);
        let signature = self.profile.descriptor().signature.as_ref();
        let signed = signature.is_some_and(|signature| signature.id.is_some());
        match own {
            Some(own) if !own.is_empty() => own,
            Some(_) | None if signed => id.to_owned(),
            Some(_) | None => hex::encode(Sha256::digest(self.event(delivery))),
        }
    }

    /// What the delivery's event tells, by the profile's own reading.
    pub(super) fn facts(&self, delivery: &Delivery) -> Option<Facts> {
        let request = Request {
            method: &Method::POST,
            path_and_query: &delivery.path_and_query,
            headers: &delivery.headers,
        };
        self.profile.facts(&self.event(delivery), &request).ok()
    }

    /// The bytes of the event: of a batch, the first.
    pub(super) fn event(&self, delivery: &Delivery) -> Bytes {
        let items = self.profile.items(&delivery.body).ok();
        let first = items.and_then(|items| items.into_iter().next());
        first.unwrap_or_else(|| delivery.body.clone())
    }
}

/// That there is nothing to send for this type, and what there is.
pub(super) fn no_sample(profile: &Profile, kind: &str) -> Stopped {
    let name = profile.name();
    let names = profiles::sample_names(profile);
    Stopped::Failed(if names.is_empty() {
        format!(
            "the profile \"{name}\" has no samples; give a --body FILE, or write some under [profiles.{name}.samples]"
        )
    } else {
        format!(
            "the profile \"{name}\" has no sample of \"{}\"; there are {}; or give a --body FILE",
            printable(kind),
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_the_configuration_reads_them() {
        assert_eq!(lines(b"abc\n"), [b"abc"]);
        assert_eq!(lines(b"old\r\nnew\r\n"), [b"old", b"new"]);
        let pem = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----";
        assert_eq!(lines(pem), [pem]);
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("https://h:1/a/b"), "https://h:1");
        assert_eq!(origin("https://h"), "https://h");
    }
}
