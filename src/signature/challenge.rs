//! Handshakes: requests by which a provider asks whether we are there and hold the secret.
//!
//! A `POST` challenge is answered only after its signature held. A `GET` challenge bears none, so what it may
//! hold is narrow: nothing that it asks to be signed can ever be the content of a delivery.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::places::Place;
use super::profile::descriptor::{
    BodyFormat, ChallengeDescriptor, ChallengeText, Coverage, EventDescriptor,
};
use super::profile::faults::{Faults, status};
use super::scheme::{Scheme, configured};
use super::template::{Template, Value, Values};

/// The longest challenge that is answered, in bytes.
const CHALLENGE_BYTES_MAX: usize = 256;

/// Whether whoever sent a delivery whose signature held has signed this.
fn is_signed(value: &Value, scheme: Option<&Scheme>, coverage: Coverage) -> bool {
    let covers = |value: &Value| {
        scheme.is_some_and(|scheme| scheme.signs(value) && !scheme.folds_case_of(value))
    };
    match value {
        Value::Json(_) | Value::Form(_) => {
            coverage == Coverage::Body && covers(&Value::Body) || covers(value)
        }
        Value::Header(_) | Value::Query(_) => covers(value),
        Value::KeyId | Value::Config(_) | Value::Secret => true,
        Value::Body
        | Value::Timestamp
        | Value::Id
        | Value::Url
        | Value::Method
        | Value::PathAndQuery
        | Value::Item(_) => covers(value),
    }
}

/// Whether a delivery's content could be a challenge's: a document never is, and neither is what holds another letter.
fn may_be_hex(scheme: &Scheme, event: Option<&EventDescriptor>) -> bool {
    let field = event.and_then(|event| event.field.as_deref());
    let format = event.and_then(|event| event.format).unwrap_or_default();
    let document = match field {
        Some(field) => Some(Value::Form(field.into())),
        None => (format == BodyFormat::Json).then_some(Value::Body),
    };
    scheme.contents.iter().any(|content| {
        let holds_it = |document: &Value| content.covers(document) || content.covers(&Value::Body);
        let other = |letter: char| !matches!(letter, '0'..='9' | 'a'..='f');
        !document.as_ref().is_some_and(holds_it) && !content.always_holds(other)
    })
}

/// What a challenge is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Bytes,
}

/// A compiled challenge.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    method: Method,
    when: Value,
    equals: Option<Box<str>>,
    accept: ChallengeText,
    status: StatusCode,
    content_type: HeaderValue,
    body: Template,
}

impl Challenge {
    pub(super) fn compile(
        descriptor: &ChallengeDescriptor,
        at: usize,
        scheme: Option<&Scheme>,
        coverage: Coverage,
        event: Option<&EventDescriptor>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let key = |name: &str| format!("challenge[{at}].{name}");
        let method = match descriptor.method.as_deref() {
            None | Some("POST") => Some(Method::POST),
            Some("GET") => Some(Method::GET),
            Some(other) => {
                faults.add(
                    &key("method"),
                    format!("\"{other}\" is no method of a challenge"),
                    "write GET or POST",
                );
                None
            }
        };
        let when = Place::compile(&descriptor.when, &key("when"), faults)
            .and_then(|place| only_value(place, &key("when"), faults));
        let body = match Template::parse(&descriptor.body) {
            Ok(template) => Some(template),
            Err(fault) => {
                faults.add(&key("body"), fault.what, &fault.mend);
                None
            }
        };
        let status = status(
            descriptor.status.unwrap_or(200),
            200..=299,
            &key("status"),
            faults,
        );
        let content_type = descriptor
            .content_type
            .as_deref()
            .unwrap_or("text/plain; charset=utf-8");
        // One that is no media type is told where all are looked at.
        let content_type = HeaderValue::from_str(content_type).ok();
        let challenge = Self {
            method: method?,
            when: when?,
            equals: descriptor.equals.as_deref().map(Into::into),
            accept: descriptor.accept.unwrap_or_default(),
            status: status?,
            content_type: content_type?,
            body: body?,
        };
        challenge.check(&key, faults);
        if challenge.method == Method::GET
            && challenge.body.asks_for_a_mac()
            && scheme.is_some_and(|scheme| may_be_hex(scheme, event))
        {
            let what = "signs for anyone what could be the content of a delivery: hexadecimal digits alone";
            let mend = "leave this challenge out, unless signature.content holds the document, or a text with another letter in it";
            faults.add(&key("body"), what, mend);
        }
        // Of a delivery that was signed once, all else could be anybody's.
        let open = |value: &&Value| !is_signed(value, scheme, coverage);
        if challenge.method == Method::POST
            && challenge.body.asks_for_a_mac()
            && let Some(value) = challenge.body.values().into_iter().find(open)
        {
            let what = format!("answers with a MAC, and the signature does not cover {value}");
            let mend = "take what is asked for from what signature.content names: else anyone who holds one delivery could have others signed";
            faults.add(&key("body"), what, mend);
        }
        Some(challenge)
    }

    /// The answer to a request of this method, if it is this challenge.
    pub(super) fn answer(&self, method: &Method, values: &impl Values) -> Option<ChallengeAnswer> {
        if *method != self.method {
            return None;
        }
        let asked = values.value(&self.when).ok()??;
        let fits = match &self.equals {
            Some(text) => *asked == *text.as_bytes(),
            None => self.accepts(&asked),
        };
        if !fits {
            return None;
        }
        let mut body = Vec::new();
        self.body
            .write(values, &mut |bytes| body.extend_from_slice(bytes))
            .ok()?;
        Some(ChallengeAnswer {
            status: self.status,
            content_type: self.content_type.clone(),
            body: body.into(),
        })
    }

    /// The values that a producer must configure for it.
    pub(super) fn needed_values(&self) -> impl Iterator<Item = &str> {
        self.body.values().into_iter().filter_map(configured)
    }

    fn accepts(&self, asked: &[u8]) -> bool {
        match self.accept {
            ChallengeText::Hex => {
                (20..=32).contains(&asked.len())
                    && asked
                        .iter()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }
            ChallengeText::Text => {
                (1..=CHALLENGE_BYTES_MAX).contains(&asked.len())
                    && asked.iter().all(u8::is_ascii_graphic)
            }
        }
    }

    fn check(&self, key: &dyn Fn(&str) -> String, faults: &mut Faults) {
        let unsigned = self.method == Method::GET;
        if unsigned && !matches!(self.when, Value::Header(_) | Value::Query(_)) {
            faults.add(
                &key("when"),
                "a GET has no body",
                "name a header or a query parameter",
            );
        }
        if unsigned
            && self.body.asks_for_a_mac()
            && (self.accept != ChallengeText::Hex || self.equals.is_some())
        {
            let mend = "set accept = \"hex\": else anyone could have a delivery signed";
            faults.add(
                &key("accept"),
                "is too wide for an answer that is a MAC",
                mend,
            );
        }
        for value in self.body.values() {
            let possible = match value {
                Value::Header(_) | Value::Query(_) => !unsigned || *value == self.when,
                Value::Json(_) | Value::Form(_) => !unsigned,
                Value::KeyId | Value::Config(_) => true,
                Value::Body
                | Value::Timestamp
                | Value::Id
                | Value::Url
                | Value::Method
                | Value::PathAndQuery
                | Value::Secret
                | Value::Item(_) => false,
            };
            if !possible {
                let mend = "an answer holds the challenge itself, the key id or a configured value";
                faults.add(&key("body"), format!("may not hold {value}"), mend);
            }
        }
    }
}

fn only_value(place: Place, key: &str, faults: &mut Faults) -> Option<Value> {
    match place {
        Place::Header(names) => match &*names {
            [one] => Some(Value::Header(one.clone())),
            _ => {
                faults.add(key, "names several headers", "name one");
                None
            }
        },
        Place::Form(name) => Some(Value::Form(name)),
        Place::Json(pointer) => Some(Value::Json(pointer)),
        Place::Query(name) => Some(Value::Query(name)),
        Place::Item(_) => {
            faults.add(
                key,
                "a challenge has no items",
                "name json, header, query or form",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use http::HeaderMap;
    use jiff::Timestamp;

    use super::super::sign;
    use super::super::{ProducerSecret, Profile, Request, Settings, SignRequest, Verifier};
    use super::*;
    use crate::identity::Force;
    use crate::secret::Secret;

    const SECRET: &[u8] = b"a secret of at least 24 bytes!!!";

    struct Set {
        profile: Arc<Profile>,
        settings: Settings,
        verifier: Verifier,
    }

    fn set(text: &str) -> Set {
        let profile = Profile::compile("own", &toml::from_str(text).unwrap());
        let profile = Arc::new(profile.unwrap_or_else(|faults| panic!("{faults:#?}")));
        let values = BTreeMap::from([("key_id".to_owned(), "PUBLIC".to_owned())]);
        let settings = Settings {
            values,
            ..Settings::default()
        };
        let secret = ProducerSecret {
            label: "file:s".into(),
            secret: Secret::new(SECRET.to_vec()),
            force: Force::Live,
        };
        let verifier = Verifier::new(Arc::clone(&profile), vec![secret], settings.clone()).unwrap();
        Set {
            profile,
            settings,
            verifier,
        }
    }

    fn posted(set: &Set, body: &str) -> Option<ChallengeAnswer> {
        let (none, now) = (
            HeaderMap::new(),
            Timestamp::from_second(1_790_000_000).unwrap(),
        );
        let request = Request {
            method: &Method::POST,
            path_and_query: "/",
            headers: &none,
        };
        let to_sign = SignRequest {
            request,
            id: "x",
            now,
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let secret = Secret::new(SECRET.to_vec());
        let signed = sign(&set.profile, &secret, &set.settings, &to_sign, body.clone()).unwrap();
        let unsigned = set.verifier.prove(&request, body.clone(), now);
        assert!(
            unsigned.is_err(),
            "a challenge that nobody signed is answered"
        );
        let headers: HeaderMap = signed.headers.into_iter().collect();
        let request = Request {
            headers: &headers,
            ..request
        };
        set.verifier.prove(&request, body, now).unwrap().challenge
    }

    fn got(
        set: &Set,
        path_and_query: &str,
        header: Option<(&'static str, &str)>,
    ) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let request = Request {
            method: &Method::GET,
            path_and_query,
            headers: &headers,
        };
        let answer = set.verifier.answer_challenge(&request)?;
        Some(String::from_utf8(answer.body.to_vec()).unwrap())
    }

    const HMAC: &str = "[signature]\nfrom = { header = \"s\" }\ncontent = \"{body}\"\n";

    #[test]
    fn slacks_challenge_is_echoed_once_its_signature_held() {
        let set = set(&format!(
            "{HMAC}[[challenge]]\nwhen = {{ json = \"/type\" }}\nequals = \"url_verification\"\n\
             body = \"{{json:/challenge}}\"\n"
        ));
        let answer = posted(&set, r#"{"type":"url_verification","challenge":"3eZb"}"#).unwrap();
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, &b"3eZb"[..])
        );
        assert_eq!(
            posted(&set, r#"{"type":"event_callback","challenge":"3eZb"}"#),
            None
        );
    }

    #[test]
    fn zooms_token_is_answered_with_its_mac_as_json() {
        let set = set(&format!(
            "{HMAC}[[challenge]]\nwhen = {{ json = \"/event\" }}\nequals = \"endpoint.url_validation\"\n\
             content_type = \"application/json\"\n\
             body = '{{{{\"plainToken\":{{quoted:json:/payload/plainToken}},\"encryptedToken\":\"{{mac:json:/payload/plainToken}}\"}}}}'\n"
        ));
        let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"q\"w"}}"#;
        let answer = posted(&set, body).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        use hmac::{KeyInit, Mac};
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET).unwrap();
        mac.update(b"q\"w");
        assert_eq!(told["plainToken"], "q\"w");
        assert_eq!(
            told["encryptedToken"],
            hex::encode(mac.finalize().into_bytes())
        );
    }

    #[test]
    fn braintrees_challenge_is_answered_only_if_it_could_be_no_delivery() {
        let set = set(
            "weak = \"SHA-1\"\n[signature]\nfrom = { form = \"bt_signature\" }\nsplit = \"&\"\npair = \"|\"\n\
             pick = [\"{key_id}\"]\nalgorithm = \"sha1\"\nkey = \"sha1\"\ncontent = \"{form:bt_payload}\"\n\
             [event]\nformat = \"form-xml\"\nfield = \"bt_payload\"\n\
             [[challenge]]\nmethod = \"GET\"\nwhen = { query = \"bt_challenge\" }\naccept = \"hex\"\n\
             body = \"{key_id}|{mac:query:bt_challenge}\"\n",
        );
        let answer = got(
            &set,
            "/?bt_challenge=20f9f8ed05f77439fe955c977e4c8a53",
            None,
        )
        .unwrap();
        assert!(
            answer.starts_with("PUBLIC|") && answer.len() == 7 + 40,
            "{answer}"
        );
        for query in [
            "",
            "?bt_challenge=",
            "?bt_challenge=PHhtbD4%3D",
            "?bt_challenge=20f9",
            "?a=20f9f8ed05f77439fe955c",
        ] {
            assert_eq!(got(&set, &format!("/{query}"), None), None, "{query}");
        }
        let twice = "/?bt_challenge=20f9f8ed05f77439fe955c977e4c8a53&bt_challenge=20f9f8ed05f77439fe955c977e4c8a53";
        assert_eq!(got(&set, twice, None), None);
    }

    #[test]
    fn worldlines_header_is_echoed_if_it_is_plain_text() {
        let set = set(&format!(
            "{HMAC}[[challenge]]\nmethod = \"GET\"\nwhen = {{ header = \"x-gcs-webhooks-endpoint-verification\" }}\n\
             body = \"{{header:x-gcs-webhooks-endpoint-verification}}\"\n"
        ));
        let name = "x-gcs-webhooks-endpoint-verification";
        assert_eq!(
            got(&set, "/", Some((name, "abc-1"))).as_deref(),
            Some("abc-1")
        );
        assert_eq!(got(&set, "/", Some((name, "a b"))), None);
        assert_eq!(got(&set, "/", Some((name, &"a".repeat(257)))), None);
        assert_eq!(got(&set, "/", None), None);
    }
}
