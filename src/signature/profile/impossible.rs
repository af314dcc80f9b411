//! What a profile can say, and no delivery can ever meet: told when it is loaded, so that nobody looks for the fault at the
//! provider's. `[event]` is looked at in `impossible_event`.

use http::HeaderName;
use jiff::Timestamp;

use super::descriptor::{
    AlgorithmDescriptor, AlsoDescriptor, AnswerDescriptor, BodyFormat, OneOrMany, PlaceDescriptor,
    ProfileDescriptor, SignatureDescriptor, TimeUnit,
};
use super::faults::Faults;
use super::sent::Sent;
use super::{borders, impossible_event};
use crate::signature::body;
use crate::signature::body::document::Document;
use crate::signature::grammar::{Grammar, ITEMS_MAX, Items};
use crate::signature::scheme::{Place, Scheme, Variant};
use crate::signature::template::{Template, Value};

/// Headers that belong to the connection, or are counted from the body.
const NOT_TO_BE_SENT: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Adds a fault for all that can never be.
pub(super) fn check(
    profile: &ProfileDescriptor,
    scheme: Option<&Scheme>,
    sent: &Sent,
    faults: &mut Faults,
) {
    if let (Some(signature), Some(scheme)) = (&profile.signature, scheme) {
        check_the_signature(signature, scheme, faults);
        check_the_places(profile, scheme, faults);
        check_the_items(profile, signature, scheme, faults);
        borders::check(profile, scheme, faults);
        check_what_is_sent(profile, scheme, sent, faults);
    }
    check_the_sent_headers(profile, faults);
    impossible_event::check(profile, faults);
    check_the_samples(profile, faults);
    check_the_answers(profile, faults);
}

fn check_the_signature(descriptor: &SignatureDescriptor, scheme: &Scheme, faults: &mut Faults) {
    if scheme.contents.is_empty() && descriptor.content == Some(OneOrMany::Many(Vec::new())) {
        let mend = "write what is signed, as content = \"{timestamp}.{body}\"";
        faults.add("signature.content", "is an empty list", mend);
    }
    let content = |test: &dyn Fn(&Template) -> bool| scheme.contents.iter().any(test);
    if scheme.values().any(|value| stands_in(&scheme.place, value)) {
        let mend = "sign the fields that stand beside it, or take the signature from a header";
        let what = "stands inside what is signed: no signature could ever be right";
        faults.add("signature.from", what, mend);
    }
    if content(&Template::quotes) {
        let mend = "leave it out";
        faults.add("signature.content", "\"quoted:\" is for challenges", mend);
    }
    if matches!(&scheme.place, Place::Json(pointer) if pointer.tokens().is_empty()) {
        let mend = "write where it stands, as { json = \"/signature\" }";
        faults.add("signature.from", "names the whole body", mend);
    }
    if scheme
        .values()
        .any(|value| matches!(value, Value::Json(pointer) if pointer.has_a_star()))
    {
        let mend = "name one element, as {json:/data/0/amount}; or set signature.each";
        faults.add(
            "signature.content",
            "has a \"*\" in a pointer, which names nothing",
            mend,
        );
    }
    let mut prefixes: Vec<&str> = descriptor.strip_prefix.as_deref().into_iter().collect();
    for (at, AlsoDescriptor { strip_prefix, .. }) in descriptor.also.iter().flatten().enumerate() {
        if prefixes.contains(&strip_prefix.as_str()) {
            let mend = "a secret is for the scheme whose prefix it bears: give each its own";
            let key = format!("signature.also[{at}].strip_prefix");
            faults.add(&key, "is another scheme's as well", mend);
        }
        prefixes.push(strip_prefix);
    }
}

/// A time or an id cannot stand where the signature does.
fn check_the_places(profile: &ProfileDescriptor, scheme: &Scheme, faults: &mut Faults) {
    let time = profile.timestamp.as_ref();
    let time = time.and_then(|rule| rule.from.as_ref());
    // What is no place is told where it is compiled.
    let time = time.and_then(|from| Place::compile(from, "", &mut Faults::default()));
    for (key, place) in [("timestamp.from", &time), ("signature.id", &scheme.id)] {
        let values: Vec<Value> = match place {
            Some(Place::Header(names)) => names.iter().cloned().map(Value::Header).collect(),
            Some(Place::Json(pointer)) => vec![Value::Json(pointer.clone())],
            Some(Place::Form(name)) => vec![Value::Form(name.clone())],
            Some(Place::Query(name)) => vec![Value::Query(name.clone())],
            Some(Place::Item(_)) | None => Vec::new(),
        };
        if values.iter().any(|value| stands_in(&scheme.place, value)) {
            let what = "is the signature's own place, whose text is the signature";
            let mend = "name another place, or an item of the signature, as { item = \"t\" }";
            faults.add(key, what, mend);
        }
    }
}

/// Whether the signature's own place is a part of this value.
fn stands_in(place: &Place, value: &Value) -> bool {
    match (place, value) {
        (Place::Json(_) | Place::Form(_), Value::Body) => true,
        (Place::Query(_), Value::Url | Value::PathAndQuery) => true,
        (Place::Json(own), Value::Json(signed)) => signed.tokens().starts_with(own.tokens()),
        (Place::Form(own), Value::Form(signed)) => own == signed,
        (Place::Query(own), Value::Query(signed)) => own == signed,
        (Place::Header(own), Value::Header(signed)) => own.contains(signed),
        (_, _) => false,
    }
}

/// Items are named by key, where they have keys, or by position, where there is one.
fn check_the_items(
    profile: &ProfileDescriptor,
    signature: &SignatureDescriptor,
    scheme: &Scheme,
    faults: &mut Faults,
) {
    let grammar = scheme.grammar;
    let of_place = |place: &Option<PlaceDescriptor>| place.as_ref()?.item.clone();
    let time = profile.timestamp.as_ref();
    let time_item = time.and_then(|rule| of_place(&rule.from));
    let algorithm = match &signature.algorithm {
        Some(AlgorithmDescriptor::ByItem(by)) => Some(by.item.clone()),
        Some(AlgorithmDescriptor::Fixed(_)) | None => None,
    };
    let mut named = vec![
        ("timestamp.from", time_item.clone()),
        ("signature.id", of_place(&signature.id)),
        ("signature.algorithm", algorithm),
    ];
    for value in scheme.values() {
        if let Value::Item(item) = value {
            named.push(("signature.content", Some(item.to_string())));
        }
    }
    for (key, item) in named {
        let Some(item) = item else { continue };
        if let Some((what, mend)) = no_item(&item, grammar) {
            faults.add(key, what, mend);
        }
        // Of several keys the signature may bear another.
        let is_it = |variant: &Variant| variant.pick.is_the_key(&item);
        if !grammar.bare && scheme.variants().any(is_it) {
            let what = format!(
                "the item {item} is the signature itself: no signature could ever be right"
            );
            let mend = "name another item, or take it out of the pick";
            faults.add(key, what, mend);
        }
    }
    let cuts = |separator: Option<char>| matches!(separator, Some(',' | ' '));
    if time.is_some_and(|rule| rule.unit == Some(TimeUnit::HttpDate))
        && time_item.is_some()
        && cuts(grammar.split)
    {
        let mend = "take the time from a header of its own, or write it in another unit";
        let what = "an HTTP date holds commas and spaces, at which signature.split cuts it";
        faults.add("timestamp.unit", what, mend);
    }
    let mut picks = vec![("signature.pick".to_owned(), signature.pick.as_ref())];
    for (at, also) in signature.also.iter().flatten().enumerate() {
        picks.push((format!("signature.also[{at}].pick"), Some(&also.pick)));
    }
    for (key, pick) in picks {
        let names = pick.iter().flat_map(|pick| pick.iter());
        let never = |name: &&str| {
            *name != name.trim() || grammar.split.is_some_and(|split| name.contains(split))
        };
        for name in names.filter(never) {
            let what = format!(
                "\"{name}\" is no item's key: items are cut at signature.split, and trimmed"
            );
            faults.add(&key, what, "write the key alone, as pick = [\"v1\"]");
        }
    }
}

/// Why there can be no item of this name.
fn no_item(item: &str, grammar: Grammar) -> Option<(String, &'static str)> {
    let write = "write the item's key, as { item = \"t\" }, or its position, as { item = \"+0\" }";
    let Some(position) = item.strip_prefix('+') else {
        return if item.is_empty() {
            Some(("names no item".to_owned(), write))
        } else if grammar.pair.is_none() {
            let what = "names an item of a signature that has none".to_owned();
            Some((what, "set signature.split and signature.pair"))
        } else if item.trim() != item || grammar.split.is_some_and(|split| item.contains(split)) {
            Some((format!("\"{item}\" is no item's key"), write))
        } else {
            None
        };
    };
    match position.parse::<usize>() {
        Ok(0) => None,
        Ok(position) if position < ITEMS_MAX && grammar.split.is_some() => None,
        Ok(_) => {
            let what = format!("there is no item at position {item}");
            Some((what, "set signature.split, and count from \"+0\""))
        }
        Err(_no_number) => Some((format!("\"{item}\" is no position"), write)),
    }
}

/// Whether what `send` writes is what the scheme reads.
fn check_what_is_sent(
    profile: &ProfileDescriptor,
    scheme: &Scheme,
    sent: &Sent,
    faults: &mut Faults,
) {
    let rule = profile.timestamp.as_ref();
    let unit = rule.and_then(|rule| rule.unit).unwrap_or(TimeUnit::S);
    let time = unit.written(Timestamp::UNIX_EPOCH);
    let possible = scheme.main.algorithm.possible().first();
    let bytes = possible.and_then(|algorithm| algorithm.signature_bytes());
    let signature = scheme
        .main
        .encoding
        .encode(&vec![0xa5; bytes.unwrap_or(64)]);
    let Some(text) = sent.written(&signature, Some(&time)) else {
        return;
    };
    let mut found = false;
    let mut has_the_time = true;
    if let Ok(items) = Items::read(scheme.grammar, [&*text].into_iter()) {
        items.each_signature(&scheme.main.pick, scheme.main.encoding, None, |one| {
            found |= one == signature.as_bytes();
        });
        if let Some(item) = rule.and_then(|rule| rule.from.as_ref()?.item.as_deref()) {
            has_the_time = items.named(item) == Ok(Some(&*time));
        }
    }
    let mend = "write it with the separators and the key that [signature] names";
    if text.contains(&signature) && !found {
        let what = "is written as signature.split, pair and pick do not read it";
        faults.add("sent.signature", what, mend);
    } else if text.contains(&signature) && !has_the_time {
        let what = "lacks the item that timestamp.from names";
        faults.add("sent.signature", what, "write $TIME where it belongs");
    }
}

fn check_the_sent_headers(profile: &ProfileDescriptor, faults: &mut Faults) {
    let headers = profile.sent.as_ref().and_then(|sent| sent.headers.as_ref());
    for (name, text) in headers.into_iter().flatten() {
        let key = format!("sent.headers.{name}");
        let known = name.parse::<HeaderName>();
        if known.is_ok_and(|name| NOT_TO_BE_SENT.contains(&name.as_str())) {
            let what = "is a header of the connection's own";
            faults.add(&key, what, "leave it out: `send` writes it itself");
        }
        if text.contains(char::is_control) {
            let mend = "write one line of visible text";
            faults.add(&key, "has a control character, which no header holds", mend);
        }
    }
}

fn check_the_samples(profile: &ProfileDescriptor, faults: &mut Faults) {
    let event = profile.event.as_ref();
    let format = event.and_then(|event| event.format).unwrap_or_default();
    let field = event.and_then(|event| event.field.as_deref());
    for (name, sample) in profile.samples.iter().flatten() {
        let filled = filled(sample);
        let (fits, mend) = match (format, field) {
            (BodyFormat::Json, _) | (BodyFormat::JsonOrForm | BodyFormat::Form, Some(_)) => (
                serde_json::from_str::<serde::de::IgnoredAny>(&filled).is_ok() || {
                    let read = Document::read(filled.as_bytes(), format, field);
                    format != BodyFormat::Json && read.is_ok()
                },
                "write a JSON document",
            ),
            (BodyFormat::JsonOrForm | BodyFormat::Form, None) => (
                filled.contains('=') && !filled.trim_start().starts_with(['{', '[']),
                "write a form, as 'id=$ID&amount=$AMOUNT_MINOR'",
            ),
            (BodyFormat::FormXml, _) => (
                body::xml::fields(&filled).is_some(),
                "write an XML document",
            ),
        };
        if !fits {
            let what = "is not of the form that event.format says";
            faults.add(&format!("samples.\"{name}\""), what, mend);
        }
    }
}

/// A sample with something for each `$NAME`.
fn filled(sample: &str) -> String {
    let mut pieces = sample.split('$');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        filled.push('1');
        filled.push_str(piece.trim_start_matches(name));
    }
    filled
}

fn check_the_answers(profile: &ProfileDescriptor, faults: &mut Faults) {
    let plain = AnswerDescriptor::default();
    let answer = profile.answer.as_ref().unwrap_or(&plain);
    // 204 is told where the answer is compiled.
    if answer.accepted == Some(205) && answer.body.is_some() {
        let mend = "set answer.accepted = 200";
        faults.add("answer.body", "an answer 205 has no body", mend);
    }
    let mut types = vec![(
        "answer.content_type".to_owned(),
        answer.content_type.as_deref(),
    )];
    for (at, challenge) in profile.challenge.iter().flatten().enumerate() {
        let key = |name: &str| format!("challenge[{at}].{name}");
        if let Some(status @ (204 | 205)) = challenge.status
            && !challenge.body.is_empty()
        {
            let what = format!("an answer {status} has no body, and the provider waits for it");
            faults.add(&key("status"), what, "leave it out: 200 is the default");
        }
        types.push((key("content_type"), challenge.content_type.as_deref()));
    }
    for (key, text) in types {
        if text.is_some_and(|text| !is_a_media_type(text)) {
            faults.add(
                &key,
                "is no media type",
                "write one, as \"application/json\"",
            );
        }
    }
}

/// RFC 9110 §8.3.1, as far as it tells a media type from another text.
fn is_a_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !text.is_empty() && text.bytes().all(letter)
    };
    let plain = text.split(';').next().unwrap_or_default().trim_end();
    let parts = plain.split_once('/');
    parts.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && !text.contains(char::is_control)
        && text.is_ascii()
}
