//! `countersign explain`: why a signature does not match, for the person who holds the delivery and the secret.
//!
//! It runs offline. It prints no secret and no signature, neither the one that came nor the one that would be right.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::head::{Head, path_and_query};
use super::output::{Outcome, complain, json_line, say};
use super::sender::{self, Stopped};
use super::unusable;
use crate::config::{ConfigFile, Environment};
use crate::identity::Force;
use crate::signature::{
    Absence, Compression, Explanation, Finding, ProducerSecret, ProfileFault, Request, Settings,
    SignatureRefusal, Verifier, explain,
};
use crate::text::printable;

/// Explain why a signature does not match, offline
///
/// Exit code 0 if it verifies, 1 if not, 2 if a file, the secret or the profile cannot be read.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The signature profile; `countersign profiles list` prints them
    #[arg(long, value_name = "NAME", default_value = "timestamped")]
    profile: String,
    /// The delivery's headers: one a line as `Name: value`, after a request line or not; what curl -v showed; or JSON
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The delivery's body, byte for byte
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The secret, as file:FILE or env:NAME; a file of several lines holds several [default: certs/producer.secret beside the configuration]
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
    /// The URL that the delivery was sent to, as it is registered with the provider
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The request's method [default: that of the request line, or POST]
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,
    /// When it arrived, for judging its timestamp: RFC 3339 or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_at)]
    at: Option<Timestamp>,
    /// A value that the profile needs, as key_id=abc; may be repeated
    #[arg(long = "value", value_name = "NAME=TEXT", value_parser = sender::parse_value)]
    values: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        match self.explained(place, environment) {
            Ok(explanation) => {
                if self.json {
                    json_line(&object(&explanation));
                } else {
                    print(&explanation, self.at.is_some());
                }
                if explanation.outcome.is_ok() {
                    Outcome::Done
                } else {
                    Outcome::Failed
                }
            }
            Err(Stopped::Unusable(faults)) => unusable(&faults),
            Err(Stopped::Failed(text)) => {
                complain(&format!("countersign: {text}"));
                Outcome::Unusable
            }
        }
    }

    fn explained(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<Explanation, Stopped> {
        let profile = sender::profile(&self.profile, place, environment)?;
        let secrets = if profile.descriptor().signature.is_some() {
            let reference = self.secret.clone().unwrap_or_else(|| {
                let made = sender::home(place).join("certs/producer.secret");
                format!("file:{}", made.display())
            });
            sender::secrets(&reference, environment)?
        } else {
            Vec::new()
        };
        let secrets = secrets.into_iter().map(|(label, secret)| ProducerSecret {
            label,
            secret,
            force: Force::Live,
        });
        let settings = Settings {
            url: self.url.clone(),
            values: self.values.iter().cloned().collect(),
            ..Settings::default()
        };
        let verifier = Verifier::new(profile, secrets.collect(), settings)
            .map_err(|faults| Stopped::Failed(told(&faults)))?;

        let text = sender::read_given(&self.headers, "the file of headers")?;
        let head = Head::parse(&text)
            .map_err(|wrong| Stopped::Failed(format!("{}:{wrong}", self.headers.display())))?;
        let body = Bytes::from(sender::read_given(&self.body, "the body")?);
        let of_url = self.url.as_deref().map(path_and_query);
        let request = Request {
            method: self
                .method
                .as_ref()
                .or(head.method.as_ref())
                .unwrap_or(&Method::POST),
            path_and_query: head
                .path_and_query
                .as_deref()
                .or(of_url)
                .unwrap_or_default(),
            headers: &head.headers,
        };
        let now = self.at.unwrap_or_else(Timestamp::now);
        Ok(explain(&verifier, &request, &body, now))
    }
}

/// The verifier's faults, in the words of this command's flags.
fn told(faults: &[ProfileFault]) -> String {
    let told = faults.iter().map(|fault| {
        if fault.key.starts_with("secrets") {
            return format!("--secret: {}; {}", fault.what, fault.mend);
        }
        let flag = match fault.key.split_once('.') {
            Some(("values", name)) => format!("--value {name}=TEXT"),
            Some(_) | None => format!("--{}", fault.key),
        };
        format!("{flag}: {}", fault.what)
    });
    told.collect::<Vec<_>>().join("; ")
}

fn print(explanation: &Explanation, at_given: bool) {
    match &explanation.outcome {
        Ok(()) if explanation.nothing_is_signed => {
            say("nothing is signed by this profile: the client's certificate is the only proof");
        }
        Ok(()) => {
            let by = explanation.verified_by.as_deref().unwrap_or("no secret");
            say(&format!("the signature is right, by {}", printable(by)));
        }
        Err(refusal) => say(&format!(
            "{}: {}",
            refusal.name(),
            printable(&refusal.to_string())
        )),
    }
    if explanation.nothing_is_signed {
        return;
    }
    say("\nexpected");
    for finding in &explanation.findings {
        let found = finding.found.as_deref().unwrap_or("nothing is there");
        say(&format!(
            "  {} in {}: {}",
            finding.what,
            printable(&finding.place),
            printable(found)
        ));
    }
    if let Some(age) = explanation.age {
        say(&format!("  its time is {}", age_text(age, at_given)));
    }
    match explanation.contents.as_slice() {
        [] => {
            say("\nwhat was signed cannot be put together: a part of it is absent, or stands twice")
        }
        contents => {
            say("\nthe signed content, byte for byte (escaped)");
            for content in contents {
                say(&format!("  {content}"));
            }
        }
    }
    let causes = causes(explanation);
    if !causes.is_empty() {
        say("\nlikely cause");
        for cause in causes {
            say(&format!("  {}", printable(&cause)));
        }
    }
}

/// What most probably went wrong.
fn causes(explanation: &Explanation) -> Vec<String> {
    let mut causes = Vec::new();
    if explanation.time_in_the_other_unit {
        causes.push(
            "the timestamp is in milliseconds where seconds are expected, or the other way round"
                .to_owned(),
        );
    }
    causes.extend(explanation.mistakes.iter().map(ToString::to_string));
    if let Some(secret) = &explanation.mistaken_secret {
        causes.push(format!("with the secret {secret}"));
    }
    match &explanation.outcome {
        Err(refusal) if causes.is_empty() => other_causes(explanation, refusal),
        Ok(_) | Err(_) => causes,
    }
}

/// What is likely where no mistake was found that would make the signature match.
fn other_causes(explanation: &Explanation, refusal: &SignatureRefusal) -> Vec<String> {
    let mut causes = Vec::new();
    let compression = explanation
        .compression
        .filter(|_| !explanation.signature_is_right)
        .map(|compression| compression.to_string());
    let named = |finding: &Finding| format!("the {} in {}", finding.what, finding.place);
    let lost: Vec<_> = absent(explanation, Absence::Lost).map(named).collect();
    let repeated: Vec<_> = explanation.repeated().map(named).collect();
    let unwritten: Vec<_> = absent(explanation, Absence::Unwritten).map(named).collect();
    let cause = if explanation.signature_is_right && explanation.is_refused_for_its_time() {
        "the signature is right, and only the time is not: a clock that is off, a delivery that is old (say when it arrived with --at), or a replay".to_owned()
    } else if explanation.signature_is_empty {
        let signature = explanation.findings.first();
        let place = signature.map_or("its place", |finding| finding.place.as_str());
        format!("{place} is there, and empty: whoever sent it wrote no signature into it")
    } else if !lost.is_empty() {
        causes.extend(compression);
        format!(
            "{}: another profile, or headers that a proxy took away",
            missing(&lost)
        )
    } else if !unwritten.is_empty() {
        let rest = if explanation.signature_is_right {
            "but for that, the signature would be right"
        } else {
            "another profile, or a sender that left it out"
        };
        format!("{}: {rest}", missing(&unwritten))
    } else if explanation.signature_is_right {
        format!("the signature itself is right, and yet: {refusal}")
    } else if !repeated.is_empty() {
        format!(
            "{} stands more than once, so that none of it counts: send it once",
            repeated.join(", and ")
        )
    } else if explanation.url_is_missing {
        "the URL is missing, and a part of it is signed: give it with --url, or the request line as the first line of --headers".to_owned()
    } else if explanation.is_no_batch {
        "a list of events is signed as a whole, and the body is none: the store keeps each event apart, so that only the whole delivery, as it came, can be explained".to_owned()
    } else if let Some(compression) = compression {
        compression
    } else if explanation.is_in_utf16 {
        "the body that is given is written in UTF-16, as editors and PowerShell's > save it, and no usual mistake beside that makes it match: save it byte for byte as it came".to_owned()
    } else if let Some(length) = explanation.stated_length {
        format!(
            "Content-Length says {length} bytes, and the body that is given has another length: save it whole, byte for byte as it came"
        )
    } else if explanation.is_cut_off {
        "the body ends in the midst of its JSON: it was cut off; save it whole, byte for byte as it came".to_owned()
    } else if let Some(begin) = explanation.other_credential {
        format!(
            "the secret begins with {begin}, as another of the provider's credentials does: the webhook's own secret is shown beside the endpoint, where it is registered"
        )
    } else if explanation.search_was_cut_off {
        "none of the mistakes that were tried makes it match, and the search for them was cut off because the delivery is large: try a smaller one, or one secret alone".to_owned()
    } else {
        nothing_usual(explanation)
    };
    causes.push(cause);
    causes
}

/// What may have been signed otherwise, for whoever made none of the usual mistakes.
fn nothing_usual(explanation: &Explanation) -> String {
    const OTHERS: &str = "another secret (another endpoint's, or the test mode's), or a body that is not the one that was signed";
    let mut cause = match &explanation.url_of_another_host {
        Some(url) => format!(
            "none of the usual mistakes makes it match. The URL is signed, and no header that is given names the host of {url}: compare it with the one that is registered with the provider, letter by letter; if it is that one: {OTHERS}"
        ),
        None => format!("none of the usual mistakes makes it match: {OTHERS}"),
    };
    let known = &explanation.signed_of_the_request;
    let is_told = |part: &&String| {
        let url = explanation.url_of_another_host.as_deref();
        !url.is_some_and(|url| part.ends_with(url))
    };
    for part in known.iter().filter(is_told) {
        cause += &format!("; or something else than {part} was signed");
    }
    for finding in absent(explanation, Absence::Allowed) {
        cause += &format!("; or {}, which is not here, was signed", finding.place);
    }
    cause
}

/// The places where nothing is, and what that means.
fn absent(explanation: &Explanation, absence: Absence) -> impl Iterator<Item = &Finding> {
    let of_it = move |finding: &&Finding| finding.found.is_none() && finding.absence == absence;
    explanation.findings.iter().filter(of_it)
}

/// That one or more of the values that are needed are not there.
fn missing(named: &[String]) -> String {
    let verb = if named.len() == 1 { "is" } else { "are" };
    format!("{} {verb} missing", named.join(", and "))
}

fn age_text(age: SignedDuration, at_given: bool) -> String {
    let side = if age.is_negative() {
        "ahead of"
    } else {
        "before"
    };
    let when = if at_given { "--at" } else { "now" };
    // A sender's clock, and ours, are no better than that.
    let seconds = SignedDuration::from_secs(age.abs().as_secs());
    if seconds.is_zero() {
        format!("less than a second {side} {when}")
    } else {
        format!("{seconds:#} {side} {when}")
    }
}

fn object(explanation: &Explanation) -> Value {
    let findings = explanation.findings.iter().map(
        |finding| json!({ "what": finding.what, "place": finding.place, "found": finding.found }),
    );
    let mistakes = explanation.mistakes.iter().map(ToString::to_string);
    json!({
        "verified": explanation.outcome.is_ok(),
        "reason": explanation.outcome.as_ref().err().map(|refusal| refusal.name()),
        "detail": explanation.outcome.as_ref().err().map(ToString::to_string),
        "nothing_is_signed": explanation.nothing_is_signed,
        "secret": explanation.verified_by.as_deref(),
        "expected": findings.collect::<Vec<_>>(),
        "signed_content": explanation.contents,
        "age_seconds": explanation.age.map(|age| age.as_secs()),
        "signature_is_right": explanation.signature_is_right,
        "time_in_the_other_unit": explanation.time_in_the_other_unit,
        "search_was_cut_off": explanation.search_was_cut_off,
        "mistakes": mistakes.collect::<Vec<_>>(),
        "mistaken_secret": explanation.mistaken_secret.as_deref(),
        "body_is_compressed": matches!(explanation.compression, Some(Compression::Compressed(_))),
        "likely_cause": causes(explanation),
    })
}

fn parse_at(text: &str) -> Result<Timestamp, String> {
    let unix = text
        .parse::<i64>()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    unix.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("\"{text}\" is no time: write 2026-01-31T08:00:00Z, or Unix seconds")
    })
}
