//! Events as a provider would tell them, filled in from its profile's samples.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::payments::Status;
use crate::signature::{AccountBinding, BodyFormat, Facts, OneOrMany, Profile, Request};

/// The amount of every sample, in the minor unit of its currency, and in the unit itself.
const AMOUNT: (&str, &str) = ("1999", "19.99");
const CURRENCY: &str = "EUR";
/// What a payment that goes well passes through.
const STORY: [Status; 5] = [
    Status::Pending,
    Status::Authorized,
    Status::Captured,
    Status::Succeeded,
    Status::Refunded,
];
/// How often the one event of a provider is told that has no others.
const REPEATED: usize = 3;

/// The payment of a sample that is only looked at.
const PAYMENT_TOLD: &str = "pay_1";

/// One event that is to be told.
#[derive(Clone, Debug)]
pub(super) struct Tale {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) payment: String,
    pub(super) at: Timestamp,
}

impl Tale {
    /// The body: the profile's own sample of this type, or of those that begin like it.
    pub(super) fn body(&self, profile: &Profile) -> Option<String> {
        let (sample, rest) = sample(profile, &self.kind)?;
        let unix = self.at.as_second().to_string();
        let unix_ms = self.at.as_millisecond().to_string();
        let rfc3339 = format!("{:.3}", self.at);
        let date_time = self.at.strftime("%Y-%m-%d.%H:%M:%S").to_string();
        let digits = self.at.strftime("%Y%m%d%H%M%S").to_string();
        let filled = [
            ("$ID", self.id.as_str()),
            ("$TYPE", &self.kind),
            ("$REST", rest),
            ("$PAYMENT", &self.payment),
            // The longer name first: the shorter one is its beginning.
            ("$UNIX_MS", &unix_ms),
            ("$UNIX", &unix),
            ("$RFC3339", &rfc3339),
            ("$DATE_TIME", &date_time),
            ("$DIGITS", &digits),
            ("$AMOUNT_MINOR", AMOUNT.0),
            ("$AMOUNT_MAJOR", AMOUNT.1),
            ("$CURRENCY", CURRENCY),
        ]
        .into_iter()
        .fold(sample.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
        Some(filled)
    }
}

/// The sample that serves this type, and what its `*` stands for: its own, or the one whose beginning is longest.
fn sample<'a>(profile: &'a Profile, kind: &'a str) -> Option<(&'a str, &'a str)> {
    let samples = profile.descriptor().samples.as_ref()?;
    if let Some(own) = samples.get(kind) {
        return Some((own, ""));
    }
    samples
        .iter()
        .filter_map(|(name, sample)| Some((kind.strip_prefix(name.strip_suffix('*')?)?, sample)))
        .min_by_key(|(rest, _)| rest.len())
        .map(|(rest, sample)| (sample.as_str(), rest))
}

/// The body, with this account named by each of its events. A body that is no JSON stays as it is.
pub(super) fn of_account(profile: &Profile, body: String, account: &AccountBinding) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(&body) else {
        return body;
    };
    let descriptor = profile.descriptor();
    let signed = descriptor
        .signature
        .iter()
        .find_map(|it| it.each.as_deref());
    let told = descriptor.event.iter().find_map(|it| it.each.as_deref());
    match signed.or(told).and_then(|each| each.split_once("/*")) {
        Some((list, item)) => {
            let items = document.pointer_mut(list).and_then(Value::as_array_mut);
            for item in items
                .into_iter()
                .flatten()
                .filter_map(|it| it.pointer_mut(item))
            {
                name_it(item, account);
            }
        }
        None => name_it(&mut document, account),
    }
    document.to_string()
}

fn name_it(document: &mut Value, account: &AccountBinding) {
    let mut place = document;
    for token in account.pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        let Value::Object(fields) = place else {
            return;
        };
        place = fields.entry(key).or_insert_with(|| json!({}));
    }
    *place = Value::String(account.equals.clone());
}

/// The type that a profile is best shown by: one that says that a payment succeeded.
pub(super) fn usual_kind(profile: &Profile) -> Option<&str> {
    let samples = profile.descriptor().samples.as_ref()?;
    let named = || {
        samples
            .keys()
            .map(String::as_str)
            .filter(|name| !name.ends_with('*'))
    };
    let succeeded = |name: &&str| status_of(profile, name) == Some(Status::Succeeded);
    named().find(succeeded).or_else(|| named().next())
}

/// Whether there is a body for this type.
pub(super) fn knows(profile: &Profile, kind: &str) -> bool {
    sample(profile, kind).is_some()
}

/// The types of the events of one payment that goes well, in the order in which they happen.
pub(super) fn story(profile: &Profile) -> Vec<String> {
    let descriptor = profile.descriptor();
    let samples = descriptor.samples.iter().flatten();
    let named = samples.map(|(name, _)| name);
    let named = named.filter(|name| !name.ends_with('*'));
    let table = descriptor.event.iter().flat_map(|event| &event.status);
    let others = table.flatten().map(|(kind, _)| kind);
    let mut kinds: Vec<(Status, &String)> = Vec::new();
    let usual = usual_kind(profile);
    let usual = named.clone().filter(|kind| Some(kind.as_str()) == usual);
    for kind in usual
        .chain(named.clone())
        .chain(others.filter(|kind| knows(profile, kind)))
    {
        // What a sample really says is asked of the profile itself.
        if let Some(status) = status_told(profile, kind)
            && STORY.contains(&status)
            && kinds.iter().all(|(known, _)| *known != status)
        {
            kinds.push((status, kind));
        }
    }
    kinds.sort_unstable_by_key(|(status, _)| *status);
    let mut story: Vec<String> = kinds.into_iter().map(|(_, kind)| kind.clone()).collect();
    if story.len() < 2 {
        // The provider has one kind of event, or none of payments: then that one, again and again.
        let usual = story
            .pop()
            .or_else(|| usual_kind(profile).map(str::to_owned));
        story = vec![usual.unwrap_or_else(|| "*".to_owned()); REPEATED];
    }
    story
}

/// The status that the sample of this type gives its payment.
fn status_told(profile: &Profile, kind: &str) -> Option<Status> {
    let payment = facts_told(profile, kind)?.payment.ok()?;
    let ours = payment.payment_id.ends_with(PAYMENT_TOLD);
    payment.status.filter(|_| ours)?.parse().ok()
}

/// What the sample of this type tells.
fn facts_told(profile: &Profile, kind: &str) -> Option<Facts> {
    let tale = Tale {
        kind: kind.to_owned(),
        id: "evt_1".to_owned(),
        payment: PAYMENT_TOLD.to_owned(),
        at: Timestamp::UNIX_EPOCH,
    };
    let mut headers = HeaderMap::new();
    name_the_type(profile, kind, &mut headers);
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &headers,
    };
    let body = Bytes::from(as_sent(profile, tale.body(profile)?));
    let item = profile.items(&body).ok()?.into_iter().next()?;
    profile.facts(&item, &request).ok()
}

/// A document that a form holds, as the form.
fn as_sent(profile: &Profile, body: String) -> String {
    let event = profile.descriptor().event.as_ref();
    let format = event.and_then(|event| event.format);
    match (format, event.and_then(|event| event.field.as_deref())) {
        (Some(BodyFormat::FormXml), Some(field)) => {
            let text = STANDARD.encode(body).replace('+', "%2B");
            format!("{field}={}", text.replace('/', "%2F").replace('=', "%3D"))
        }
        _ => body,
    }
}

/// The events of one payment, a second apart, the last of them at `now`.
pub(super) fn tales(kinds: &[String], payment: &str, ids: &[String], now: Timestamp) -> Vec<Tale> {
    let steps = (0_i64..).take(kinds.len()).collect::<Vec<_>>();
    kinds
        .iter()
        .zip(ids)
        .zip(steps.iter().rev())
        .map(|((kind, id), seconds)| Tale {
            kind: kind.clone(),
            id: id.clone(),
            payment: payment.to_owned(),
            at: now
                .checked_sub(SignedDuration::from_secs(*seconds))
                .unwrap_or(now),
        })
        .collect()
}

fn status_of(profile: &Profile, kind: &str) -> Option<Status> {
    let table = profile.descriptor().event.as_ref()?.status.as_ref()?;
    table.get(kind)?.parse().ok()
}

/// Where a profile takes the type from a header, that header: the first word, behind which stands what the body says.
pub(super) fn name_the_type(profile: &Profile, kind: &str, headers: &mut HeaderMap) {
    let kind = kind.split(' ').next().unwrap_or(kind);
    for name in headers_of_the_type(profile) {
        if let Ok(value) = HeaderValue::from_str(kind) {
            headers.insert(name, value);
        }
    }
}

/// Whether a delivery bears the type beside the body.
pub(super) fn bears_the_type(profile: &Profile) -> bool {
    headers_of_the_type(profile).next().is_some()
}

fn headers_of_the_type(profile: &Profile) -> impl Iterator<Item = HeaderName> {
    let event = profile.descriptor().event.as_ref();
    let places = event.and_then(|event| event.kind.as_ref());
    let places = places.into_iter().flat_map(OneOrMany::iter);
    places.filter_map(|place| {
        let named = place.strip_prefix("{header:")?.strip_suffix('}')?;
        named.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::players::players;
    use crate::cli::sender::{Delivery, fresh_id};
    use crate::signature::{NoPayment, builtin};

    #[test]
    fn every_profile_has_a_usual_event_and_a_story() {
        for profile in builtin().iter() {
            let name = profile.name();
            let kind = usual_kind(profile).unwrap_or_else(|| panic!("{name}"));
            assert!(knows(profile, kind), "{name}");
            let story = story(profile);
            assert!(story.len() >= 2, "{name}: {story:?}");
            for kind in &story {
                let tale = Tale {
                    kind: kind.clone(),
                    id: "evt_1".to_owned(),
                    payment: "pay_1".to_owned(),
                    at: Timestamp::UNIX_EPOCH,
                };
                let body = tale.body(profile).unwrap();
                assert!(!body.contains('$'), "{name} {kind}: {body}");
            }
        }
    }

    /// What is told by the sample of this type: its status and the type that it bears.
    fn told(profile: &Profile, kind: &str) -> Option<(String, String)> {
        let status = status_told(profile, kind)?;
        Some((
            status.as_str().to_owned(),
            facts_told(profile, kind)?.event_type?,
        ))
    }

    #[test]
    fn every_type_of_a_table_has_a_sample_that_lands_as_its_status() {
        let mut wrong = Vec::new();
        for profile in builtin().iter() {
            let event = profile.descriptor().event.clone().unwrap_or_default();
            let has = |event: &Option<OneOrMany>, what: &str| {
                let mut texts = event.iter().flat_map(OneOrMany::iter);
                texts.any(|text| text.starts_with(what))
            };
            let by_type_and_more = has(&event.status_by, "{type}:");
            let by_type = event.status_by.is_none() || has(&event.status_by, "{type}");
            let table = event.status.unwrap_or_default();
            if has(&event.kind, "{header:") {
                // There it is keyed by what orders and disputes say of themselves, under some topic.
                let samples = profile.descriptor().samples.iter().flatten();
                let topics: Vec<_> = samples
                    .filter_map(|(name, _)| name.split(' ').next())
                    .collect();
                for (key, status) in &table {
                    let right = |topic: &&str| {
                        told(profile, &format!("{topic} {key}"))
                            == Some((status.clone(), (*topic).to_owned()))
                    };
                    if !topics.iter().any(right) {
                        wrong.push(format!("{} {key}", profile.name()));
                    }
                }
                continue;
            }
            for (key, status) in &table {
                // Its body, as Paystack makes it, has no time, without which it is not mapped but to be fetched.
                if (profile.name(), &**key) == ("paystack", "refund.processed") {
                    let facts = facts_told(profile, key).unwrap();
                    assert_eq!(facts.payment, Err(NoPayment::NoTime));
                    assert!(facts.fetch.is_needed());
                    continue;
                }
                let kind = match key.rsplit_once(':') {
                    Some((kind, _)) if by_type_and_more => kind,
                    Some(_) | None => key,
                };
                let told_of_key = told(profile, key);
                let right = told_of_key
                    .as_ref()
                    .is_some_and(|(told, of_type)| told == status && (of_type == kind || !by_type));
                // The type alone serves as well: the body tells one of its statuses.
                let of_kind = told(profile, kind).filter(|(_, of_type)| of_type == kind);
                if !right || (by_type && of_kind.is_none()) {
                    wrong.push(format!(
                        "{} {key}: {told_of_key:?} {of_kind:?}",
                        profile.name()
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_story_is_told_in_the_order_of_the_ledger() {
        for (name, expected) in [
            (
                "timestamped",
                "payment.pending authorized captured payment.succeeded payment.refunded",
            ),
            ("github", "ping ping ping"),
        ] {
            let story = story(builtin().get(name).unwrap());
            assert_eq!(story.join(" "), expected);
        }
    }

    #[test]
    fn the_usual_event_is_a_payment_that_succeeded() {
        for (name, kind) in [
            ("timestamped", "payment.succeeded"),
            ("stripe", "payment_intent.succeeded"),
            ("github", "ping"),
        ] {
            assert_eq!(usual_kind(builtin().get(name).unwrap()), Some(kind));
        }
    }

    #[test]
    fn what_a_profile_tells_in_one_moment_are_events_with_ids_of_their_own() {
        const TIMES: usize = 3;
        let now = Timestamp::now();
        let mut wrong = Vec::new();
        for player in players() {
            let name = player.profile.name();
            let ids_of = |tale: Tale| {
                let delivery = player.author.tell(&tale, now);
                delivery.map_or_else(|_| panic!("{name} {tale:?}"), |it: Delivery| it.event_id)
            };
            let samples = player.profile.descriptor().samples.iter().flatten();
            for kind in samples.map(|(kind, _)| kind.replace('*', "x")) {
                let tales = (0..TIMES).map(|_| Tale {
                    kind: kind.clone(),
                    ..player.tale(now)
                });
                let ids: BTreeSet<String> = tales.map(ids_of).collect();
                if ids.len() != TIMES {
                    wrong.push(format!("{name} {kind}: {ids:?}"));
                }
            }
            let kinds = story(&player.profile);
            let stories = (0..TIMES).flat_map(|_| {
                let ids: Vec<_> = kinds
                    .iter()
                    .map(|_| fresh_id("evt").ok().unwrap())
                    .collect();
                tales(&kinds, &fresh_id("pay").ok().unwrap(), &ids, now)
            });
            let ids: BTreeSet<String> = stories.map(ids_of).collect();
            if ids.len() != TIMES * kinds.len() {
                wrong.push(format!("{name} {kinds:?}: {ids:?}"));
            }
        }
        assert_eq!(wrong, [""; 0]);
    }
}
