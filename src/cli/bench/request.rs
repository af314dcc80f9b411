//! The requests of `countersign bench`: as the profile's own samples, each with an id that no other has, signed.
//!
//! What is the same within a second is made once a second; an id is stamped over the one before it.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::cli::sample::{self, Tale};
use crate::cli::sender::{Author, Stopped};
use crate::signature::{Request, SignRequest, Signed};

/// What every event's id begins with.
pub(super) const ID_PREFIX: &str = "bench_";
const PAYMENT_PREFIX: &str = "bench_pay_";
/// 96 random bits in hexadecimal.
const DIGITS: usize = 24;
/// How many ids' random bits are drawn at once.
const DRAWN: usize = 32;

/// What the requests of one connection are made from.
pub(super) struct Mould {
    of: Arc<Pattern>,
    /// The second that the body tells of.
    second: i64,
    body: Vec<u8>,
    /// Where in the body an id's digits stand.
    places: Vec<usize>,
    id: String,
    random: Vec<u8>,
    request: Vec<u8>,
}

/// What the requests of all connections have in common.
pub(super) struct Pattern {
    author: Author,
    kind: String,
    headers: HeaderMap,
    body_bytes: usize,
}

impl Pattern {
    /// Bodies are padded to `body_bytes`, where they are not longer by themselves.
    pub(super) fn new(author: Author, body_bytes: usize) -> Result<Self, Stopped> {
        let kind = sample::usual_kind(&author.profile)
            .unwrap_or("*")
            .to_owned();
        let headers = author.headers(Some(&kind))?;
        Ok(Self {
            author,
            kind,
            headers,
            body_bytes,
        })
    }
}

impl Mould {
    pub(super) fn new(of: &Arc<Pattern>) -> Self {
        Self {
            of: Arc::clone(of),
            second: i64::MIN,
            body: Vec::new(),
            places: Vec::new(),
            id: String::new(),
            random: Vec::new(),
            request: Vec::new(),
        }
    }

    /// A whole request with a fresh id, signed now.
    pub(super) fn cast(&mut self, now: Timestamp) -> Result<&[u8], Stopped> {
        let digits = self.draw()?;
        if self.second == now.as_second() {
            for at in &self.places {
                if let Some(place) = self.body.get_mut(*at..*at + DIGITS) {
                    place.copy_from_slice(digits.as_bytes());
                }
            }
        } else {
            self.renew(&digits, now)?;
        }
        self.id.clear();
        self.id.push_str(ID_PREFIX);
        self.id.push_str(&digits);
        let Pattern {
            author, headers, ..
        } = &*self.of;
        let request = Request {
            method: &Method::POST,
            path_and_query: &author.target.path_and_query,
            headers,
        };
        let to_sign = SignRequest {
            request,
            id: &self.id,
            now,
        };
        let body = Bytes::copy_from_slice(&self.body);
        let signed = author.pen.sign(&to_sign, body)?;
        write(&mut self.request, headers, &signed)?;
        Ok(&self.request)
    }

    /// How many bytes the last request's body has.
    pub(super) fn body_bytes(&self) -> usize {
        let head = self.request.windows(4).position(|four| four == b"\r\n\r\n");
        head.map_or(0, |head| self.request.len() - head - 4)
    }

    /// 96 bits that nobody had before.
    fn draw(&mut self) -> Result<String, Stopped> {
        if self.random.is_empty() {
            self.random.resize(DRAWN * DIGITS / 2, 0);
            aws_lc_rs::rand::fill(&mut self.random)
                .map_err(|_unspecified| Stopped::because("the random number generator failed"))?;
        }
        let rest = self.random.len().saturating_sub(DIGITS / 2);
        let digits = hex::encode(self.random.get(rest..).unwrap_or_default());
        self.random.truncate(rest);
        Ok(digits)
    }

    /// The body as it is told in this second.
    fn renew(&mut self, digits: &str, now: Timestamp) -> Result<(), Stopped> {
        let tale = Tale {
            kind: self.of.kind.clone(),
            id: format!("{ID_PREFIX}{digits}"),
            payment: format!("{PAYMENT_PREFIX}{digits}"),
            at: now,
        };
        let profile = &self.of.author.profile;
        let body = tale.body(profile).ok_or_else(|| {
            Stopped::Failed(format!(
                "the profile \"{}\" has no sample that could be sent; give it [profiles.{}.samples]",
                profile.name(),
                profile.name()
            ))
        })?;
        let body = padded(body, self.of.body_bytes);
        self.places = body.match_indices(digits).map(|(at, _)| at).collect();
        self.body = body.into_bytes();
        self.second = now.as_second();
        Ok(())
    }
}

fn write(into: &mut Vec<u8>, headers: &HeaderMap, signed: &Signed) -> Result<(), Stopped> {
    into.clear();
    write!(into, "POST {} HTTP/1.1\r\n", signed.path_and_query)?;
    let own = headers.iter();
    for (name, value) in own.chain(signed.headers.iter().map(|(name, value)| (name, value))) {
        into.extend_from_slice(name.as_str().as_bytes());
        into.extend_from_slice(b": ");
        into.extend_from_slice(value.as_bytes());
        into.extend_from_slice(b"\r\n");
    }
    write!(
        into,
        "content-type: {}\r\ncontent-length: {}\r\n\r\n",
        signed.content_type,
        signed.body.len()
    )?;
    into.extend_from_slice(&signed.body);
    Ok(())
}

/// A body with a member, a field or white space more, so that it has so many bytes, if it was shorter.
fn padded(mut body: String, bytes: usize) -> String {
    let end = body.trim_end().len();
    let is_object = body.starts_with('{') && body.get(..end).is_some_and(|it| it.ends_with('}'));
    let is_form = !body.starts_with(['{', '[', '<']) && body.contains('=');
    let (before, after) = match (is_object, is_form) {
        (true, _) => (",\"padding\":\"", "\"}"),
        (false, true) => ("&padding=", ""),
        (false, false) => ("", ""),
    };
    if is_object {
        body.truncate(end - 1);
    }
    let fixed = body.len() + before.len() + after.len();
    let filler = if is_object || is_form { "x" } else { " " };
    body.push_str(before);
    body.push_str(&filler.repeat(bytes.saturating_sub(fixed)));
    body.push_str(after);
    body
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::cli::wire::Target;
    use crate::secret::Secret;
    use crate::signature::{Algorithm, AlgorithmDescriptor, Profile, Settings, builtin};

    /// Hexadecimal and base64 at once, so that it serves every form of key.
    const SECRET: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";

    fn pattern(profile: &Arc<Profile>, bytes: usize) -> Arc<Pattern> {
        let values: BTreeMap<String, String> = profile
            .needed_values()
            .into_iter()
            .map(|name| (name.to_owned(), "abc".to_owned()))
            .collect();
        let author = Author::new(
            Arc::clone(profile),
            Secret::new(SECRET.into()),
            Settings {
                url: Some("https://hooks.example.com".to_owned()),
                values,
                ..Settings::default()
            },
            Target::parse("https://localhost/hooks").unwrap(),
        );
        let pattern = author.and_then(|author| Pattern::new(author, bytes));
        Arc::new(pattern.unwrap_or_else(|_| panic!("{}", profile.name())))
    }

    fn is_signed_by_a_private_key(profile: &Profile) -> bool {
        let signature = profile.descriptor().signature.as_ref();
        let algorithm = signature.and_then(|signature| signature.algorithm.clone());
        algorithm == Some(AlgorithmDescriptor::Fixed(Algorithm::RsaPkcs1Sha256))
    }

    /// The body of a request.
    fn body(request: &[u8]) -> &str {
        let text = std::str::from_utf8(request).unwrap();
        text.split_once("\r\n\r\n").unwrap().1
    }

    #[test]
    fn no_two_requests_are_alike_and_each_is_what_the_profile_would_sign() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        for profile in builtin().iter() {
            let name = profile.name();
            if is_signed_by_a_private_key(profile) {
                continue;
            }
            let pattern = pattern(profile, 1024);
            let mut mould = Mould::new(&pattern);
            let mut requests = BTreeSet::new();
            for _ in 0..50 {
                let request = mould.cast(now).unwrap_or_else(|_| panic!("{name}"));
                requests.insert(request.to_vec());
            }
            assert_eq!(requests.len(), 50, "{name}");
            // The last one, written anew by what `send` writes with.
            let unsigned = Bytes::from(mould.body.clone());
            let expected = pattern
                .author
                .write(unsigned, Some(&pattern.kind), &mould.id, now)
                .unwrap_or_else(|_| panic!("{name}"));
            let request = std::str::from_utf8(&mould.request).unwrap();
            assert_eq!(body(&mould.request).as_bytes(), expected.body, "{name}");
            let begin = format!("POST {} HTTP/1.1\r\n", expected.path_and_query);
            assert!(request.starts_with(&begin), "{name}: {request}");
            for (header, value) in &expected.headers {
                let line = format!("\r\n{header}: {}\r\n", value.to_str().unwrap());
                assert!(request.contains(&line), "{name}: {line:?}: {request}");
            }
        }
    }

    #[test]
    fn a_body_has_the_bytes_that_were_asked_for_and_stays_readable() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let profile = builtin().get("timestamped").unwrap();
        for bytes in [400, 1024, 65_536] {
            let pattern = pattern(profile, bytes);
            let mut mould = Mould::new(&pattern);
            assert!(mould.cast(now).is_ok());
            assert_eq!(mould.body_bytes(), bytes);
            let event: serde_json::Value = serde_json::from_str(body(&mould.request)).unwrap();
            assert_eq!(event["id"], mould.id);
            assert!(mould.id.starts_with(ID_PREFIX));
        }
        assert_eq!(padded("a=b".to_owned(), 20).len(), 20);
        assert_eq!(padded("[1]".to_owned(), 20).len(), 20);
        // What is longer already stays readable.
        let long = padded(r#"{"a":1}"#.to_owned(), 3);
        assert!(serde_json::from_str::<serde_json::Value>(&long).is_ok());
    }
}
