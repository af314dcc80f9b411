//! A profile with meaning: everything that its text says is checked here, once, when it is loaded.

use bytes::Bytes;
use http::StatusCode;
use jiff::SignedDuration;

use super::descriptor::{AnswerDescriptor, Coverage, ProfileDescriptor};
use super::faults::{Faults, ProfileFault, duration, status};
use super::sent::Sent;
use super::{covering, impossible};
use crate::secret::Secret;
use crate::signature::body::document::NotAnObject;
use crate::signature::body::json::ListPointer;
use crate::signature::challenge::Challenge;
use crate::signature::clock::TimestampRule;
use crate::signature::mapping::around::Around;
use crate::signature::mapping::compiled::Mapping;
use crate::signature::mapping::facts::Facts;
use crate::signature::places;
use crate::signature::request::Request;
use crate::signature::scheme::Scheme;
use crate::signature::template::Value;

/// A compiled profile: immutable, shared by every producer that uses it.
#[derive(Debug)]
pub struct Profile {
    name: Box<str>,
    descriptor: ProfileDescriptor,
    coverage: Coverage,
    pub(in crate::signature) scheme: Option<Scheme>,
    pub(in crate::signature) timestamp: Option<TimestampRule>,
    pub(in crate::signature) batch: Option<ListPointer>,
    pub(in crate::signature) mapping: Mapping,
    answer: Answer,
    pub(in crate::signature) challenges: Vec<Challenge>,
    pub(in crate::signature) sent: Sent,
}

/// What the provider expects to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of an accepted delivery.
    pub accepted: StatusCode,
    /// Its body and media type.
    pub body: Option<AnswerBody>,
    /// The status that the provider demands for a bad signature; `None` leaves the contract's 401.
    pub bad_signature: Option<StatusCode>,
    /// The body that it demands then, perhaps an empty one; `None` leaves the problem.
    pub bad_signature_body: Option<AnswerBody>,
    /// How long the provider waits.
    pub budget: Option<SignedDuration>,
}

/// An answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerBody {
    /// The text.
    pub text: Box<str>,
    /// Its media type.
    pub content_type: Box<str>,
}

impl Profile {
    /// Checks and compiles a profile that extends nothing (see [`Profiles::compile`](crate::signature::Profiles::compile)), or names all its faults.
    pub fn compile(name: &str, descriptor: &ProfileDescriptor) -> Result<Self, Vec<ProfileFault>> {
        let mut faults = Faults::default();
        if let Some(base) = &descriptor.extends {
            let mend = "extend a profile that is built in or stands in [profiles]";
            faults.add("extends", format!("there is no profile \"{base}\""), mend);
        }
        let coverage = descriptor.signed.unwrap_or(Coverage::Body);
        let timestamp = descriptor
            .timestamp
            .as_ref()
            .and_then(|rule| TimestampRule::compile(rule, &mut faults));
        let scheme = match (&descriptor.signature, coverage) {
            (None, Coverage::Connection) => None,
            (None, Coverage::Body | Coverage::Fields | Coverage::Reference) => {
                let mend = "add [signature] or `extends`, or say signed = \"connection\" if mutual TLS is the only proof";
                faults.add("signature", "is missing", mend);
                None
            }
            (Some(_), Coverage::Connection) => {
                let mend =
                    "leave it out, or say what it covers: \"body\", \"fields\" or \"reference\"";
                faults.add("signature", "contradicts signed = \"connection\"", mend);
                None
            }
            (Some(signature), Coverage::Body | Coverage::Fields | Coverage::Reference) => {
                let scheme = Scheme::compile(signature, descriptor, &mut faults);
                if let Some(scheme) = &scheme {
                    covering::check(descriptor, scheme, coverage, &mut faults);
                }
                scheme
            }
        };
        let batch = batch(descriptor, &mut faults);
        let (own, time) = (scheme.as_ref(), timestamp.as_ref());
        let mapping = Mapping::of_profile(descriptor, own, time, batch.clone(), &mut faults);
        let event = descriptor.event.as_ref();
        let challenges = descriptor.challenge.iter().flatten().enumerate();
        let challenges = challenges
            .filter_map(|(at, one)| Challenge::compile(one, at, own, coverage, event, &mut faults))
            .collect();
        let answer = Answer::compile(descriptor.answer.as_ref(), &mut faults);
        let sent = Sent::compile(descriptor, scheme.as_ref(), &mut faults);
        check_the_weakness(descriptor, scheme.as_ref(), &mut faults);
        impossible::check(descriptor, scheme.as_ref(), &sent, &mut faults);
        faults.or(Self {
            name: name.into(),
            descriptor: descriptor.clone(),
            coverage,
            scheme,
            timestamp,
            batch,
            mapping,
            answer,
            challenges,
            sent,
        })
    }

    /// The events of a delivery's body, as slices of it: one, or the elements of its batch.
    pub fn items(&self, body: &Bytes) -> Result<Vec<Bytes>, NotAnObject> {
        self.mapping.items(body)
    }

    /// What one event of a delivery tells. Only for bodies whose signature held: those that
    /// [`Verifier::verify`](crate::signature::Verifier::verify) passed on, also when they are read again from the store.
    pub fn facts(&self, item: &[u8], request: &Request<'_>) -> Result<Facts, NotAnObject> {
        let around = Around {
            headers: request.headers,
            query: places::query(request),
        };
        let mut facts = self.mapping.facts(item, around)?;
        if facts.event_id.is_none() {
            facts.event_id = self.mapping.known_by.id(item, request);
        }
        Ok(facts)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text, with what it extends filled in.
    pub fn descriptor(&self) -> &ProfileDescriptor {
        &self.descriptor
    }

    /// What its signature covers.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Why it is weak, for `check` to tell.
    pub fn weakness(&self) -> Option<&str> {
        self.descriptor.weak.as_deref()
    }

    /// What the provider expects to hear.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether this is a public key to it, which everybody may know.
    pub fn takes_for_public(&self, secret: &Secret) -> bool {
        let scheme = self.scheme.as_ref();
        scheme.is_some_and(|scheme| scheme.of_secret(secret).1.is_asymmetric())
    }

    /// Whether the producer must name the URL that it registered with the provider.
    pub fn needs_url(&self) -> bool {
        self.scheme.as_ref().is_some_and(Scheme::needs_url)
    }

    /// The parameters of the query string that a mapping reads and that only `{url}` in the content signs.
    pub(in crate::signature) fn read_by_url_alone(&self) -> impl Iterator<Item = &str> {
        let scheme = self
            .scheme
            .as_ref()
            .filter(|scheme| scheme.needs_url() && !scheme.signs_if_present(&Value::PathAndQuery));
        let signs = move |name: &str| {
            scheme.is_none_or(|scheme| scheme.signs_if_present(&Value::Query(name.into())))
        };
        let read = self.mapping.readings.query.iter().map(Box::as_ref);
        read.filter(move |name: &&str| !signs(name))
    }

    /// The values that the producer must configure (`{config:NAME}`, `{key_id}`).
    pub fn needed_values(&self) -> Vec<&str> {
        let mut names = self
            .scheme
            .as_ref()
            .map(Scheme::needed_values)
            .unwrap_or_default();
        names.extend(self.challenges.iter().flat_map(Challenge::needed_values));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the sender states a time that is checked.
    pub fn has_a_timestamp(&self) -> bool {
        self.timestamp.is_some()
    }
}

/// The list whose elements are the events: of the signature's items, or of the event's.
fn batch(descriptor: &ProfileDescriptor, faults: &mut Faults) -> Option<ListPointer> {
    let signed = descriptor
        .signature
        .as_ref()
        .and_then(|signature| signature.each.as_deref());
    let told = descriptor
        .event
        .as_ref()
        .and_then(|event| event.each.as_deref());
    let (key, text) = match (signed, told) {
        (Some(signed), Some(told)) if signed != told => {
            let mend = "leave event.each out: the items that bear signatures are the events";
            faults.add("event.each", "differs from signature.each", mend);
            return None;
        }
        (Some(signed), Some(_) | None) => ("signature.each", signed),
        (None, Some(told)) => ("event.each", told),
        (None, None) => return None,
    };
    faults.keep(
        key,
        ListPointer::parse(text),
        "write a pointer with one \"*\", as \"/events/*\"",
    )
}

impl Answer {
    fn compile(descriptor: Option<&AnswerDescriptor>, faults: &mut Faults) -> Self {
        let plain = AnswerDescriptor::default();
        let descriptor = descriptor.unwrap_or(&plain);
        let accepted = descriptor
            .accepted
            .unwrap_or(i64::from(StatusCode::NO_CONTENT.as_u16()));
        let accepted = status(accepted, 200..=299, "answer.accepted", faults)
            .unwrap_or(StatusCode::NO_CONTENT);
        let bad_signature = descriptor
            .bad_signature
            .and_then(|code| status(code, 400..=499, "answer.bad_signature", faults));
        let body = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(AnswerBody {
                text: text.into(),
                content_type: descriptor
                    .content_type
                    .as_deref()
                    .unwrap_or("text/plain; charset=utf-8")
                    .into(),
            })
        };
        let bad_signature_body = body(&descriptor.bad_signature_body);
        let body = body(&descriptor.body);
        if accepted == StatusCode::NO_CONTENT && body.is_some() {
            faults.add(
                "answer.body",
                "an answer 204 has no body",
                "set answer.accepted = 200",
            );
        }
        let budget = duration(descriptor.budget.as_deref(), "answer.budget", faults);
        Self {
            accepted,
            body,
            bad_signature,
            bad_signature_body,
            budget,
        }
    }
}

fn check_the_weakness(
    descriptor: &ProfileDescriptor,
    scheme: Option<&Scheme>,
    faults: &mut Faults,
) {
    let told = descriptor
        .weak
        .as_deref()
        .is_some_and(|why| !why.trim().is_empty());
    if let Some(reason) = scheme.and_then(Scheme::weakness)
        && !told
    {
        faults.add(
            "weak",
            format!("{reason}, and the profile does not own to it"),
            "write weak = \"...\" with the reason why it must be",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let descriptor: ProfileDescriptor = toml::from_str(text).unwrap();
        match Profile::compile("test", &descriptor) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    fn check(text: &str, expected: &str) {
        let found = faults(text);
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{text}\n{found:#?}"
        );
    }

    #[test]
    fn a_profile_without_anything_says_what_is_missing() {
        check("", "signature: is missing");
        check("[signature]", "signature.from: is missing");
        check("[signature]", "signature.content: is missing");
    }

    #[test]
    fn each_impossible_key_is_a_fault_with_its_path() {
        let base = "[signature]\nfrom = { header = \"x-sig\" }\n";
        for (text, expected) in [
            (
                "content = \"{bdoy}\"",
                "signature.content: there is no value \"bdoy\"",
            ),
            ("content = \"x\"", "signature.content: signs nothing"),
            (
                "content = \"{timestamp}.{body}\"",
                "there is no [timestamp]",
            ),
            ("content = \"{id}.{body}\"", "nothing says where it stands"),
            (
                "content = \"{item:t}.{body}\"",
                "an item of a signature that has none",
            ),
            (
                "content = \"{json:/a}\"",
                "does not cover what `signed` says",
            ),
            (
                "content = \"[{body}]\"",
                "does not cover what `signed` says",
            ),
            (
                "content = \"{crc32:body}\"",
                "does not cover what `signed` says",
            ),
            ("content = \"{mac:body}\"", "is for challenges"),
            (
                "content = \"{body}\"\npick = [\"v1\"]",
                "signature.pick: names keys",
            ),
            (
                "content = \"{body}\"\npair = \"=\"\npick = []",
                "signature.pick: picks nothing",
            ),
            (
                "content = \"{body}\"\nsplit = \"#\"",
                "signature.split: \"#\" is no possible separator",
            ),
            (
                "content = \"{body}\"\nsplit = \",\"\npair = \",\"",
                "signature.pair: is the same",
            ),
            (
                "content = \"{body}\"\nalgorithm = \"md5\"",
                "mac = \"hash\" alone",
            ),
            (
                "content = \"{body}\"\nalgorithm = \"sha1\"",
                "weak: SHA-1 is weak",
            ),
            ("content = \"{body}\"\nmac = \"hash\"", "anyone could sign"),
            (
                "content = \"{body}{secret}\"\nmac = \"hash\"",
                "weak: a digest",
            ),
            (
                "content = \"{body}\"\nalgorithm = \"ed25519\"\nkey = \"utf8\"",
                "signature.key: does not fit",
            ),
            (
                "content = \"{body}\"\nalgorithm = { item = \"a\", allow = [] }",
                "allows no digest",
            ),
            (
                "content = \"{body}\"\neach = \"/a\"",
                "signature.each: a list is named",
            ),
            (
                "content = \"{body}\"\n[timestamp]\nfrom = { header = \"t\" }",
                "the signature does not cover it",
            ),
            (
                "content = \"{timestamp}{body}\"\n[timestamp]\nfrom = { header = \"t\" }\npast = \"soon\"",
                "timestamp.past",
            ),
            (
                "content = \"{body}\"\n[answer]\naccepted = 500",
                "answer.accepted: 500",
            ),
            (
                "content = \"{body}\"\n[answer]\nbody = \"ok\"",
                "answer.body: an answer 204 has no body",
            ),
        ] {
            check(&format!("{base}{text}"), expected);
        }
        check(
            "[signature]\nfrom = {}\ncontent = \"{body}\"",
            "signature.from: must name one place",
        );
        check(
            "[signature]\nfrom = { header = \"a b\" }\ncontent = \"{body}\"",
            "is no header name",
        );
        check(
            "[signature]\nfrom = { json = \"a\" }\ncontent = \"{body}\"",
            "begins with \"/\"",
        );
        check(
            "signed = \"connection\"\n[signature]\nfrom = { header = \"a\" }",
            "contradicts",
        );
    }

    #[test]
    fn an_answer_to_an_unsigned_challenge_never_signs_what_a_stranger_chose() {
        let base =
            "signed = \"connection\"\n[[challenge]]\nmethod = \"GET\"\nwhen = { query = \"c\" }\n";
        check(
            &format!("{base}body = \"{{mac:query:c}}\""),
            "challenge[0].accept: is too wide",
        );
        assert_eq!(
            faults(&format!(
                "{base}accept = \"hex\"\nbody = \"{{mac:query:c}}\""
            )),
            Vec::<String>::new()
        );
        check(
            &format!("{base}body = \"{{secret}}\""),
            "challenge[0].body: may not hold the secret",
        );
        check(
            &format!("{base}body = \"{{header:cookie}}\""),
            "may not hold the header cookie",
        );
    }
}
