//! What `[event]` can say, and no event can ever meet, or what would make of every event the same.

use super::descriptor::{
    AmountUnit, BodyFormat, EventDescriptor, OneOrMany, ProfileDescriptor, WhenDescriptor,
};
use super::faults::Faults;
use crate::signature::mapping::place::unfiltered;

/// Adds a fault for all that can never be.
pub(super) fn check(profile: &ProfileDescriptor, faults: &mut Faults) {
    let Some(event) = &profile.event else { return };
    let constant = |texts: &Option<OneOrMany>| {
        let mut texts = texts.iter().flat_map(OneOrMany::iter);
        texts.any(|text| text.starts_with('='))
    };
    if constant(&event.id) {
        let mend = "name what differs from event to event; without an id the body's SHA-256 counts";
        let what = "is the same for every event: all but the first would be conflicts";
        faults.add("event.id", what, mend);
    }
    check_the_type(event, faults);
    check_the_time(event, faults);
    check_the_table(event, faults);
    check_the_depth(event, faults);
    check_the_payment(event, faults);
    check_the_currency(event, faults);
    check_the_digits(event, faults);
    check_the_rules(event, faults);
}

/// Whether a key names any place; an empty list takes one away that another profile has.
fn names(texts: &Option<OneOrMany>) -> bool {
    texts.iter().flat_map(OneOrMany::iter).next().is_some()
}

fn check_the_type(event: &EventDescriptor, faults: &mut Faults) {
    let mut by = event.status_by.iter().flat_map(OneOrMany::iter);
    let by_type = event.status_by.is_none() || by.all(|text| text.contains("{type}"));
    if event.status.is_some() && by_type && !names(&event.kind) {
        let mend = "write where the type stands, as type = \"/type\", or set status_by";
        let what = "is missing, and event.status is looked up by it";
        faults.add("event.type", what, mend);
    }
}

/// A time that is written into the profile orders nothing.
fn check_the_time(event: &EventDescriptor, faults: &mut Faults) {
    let rules = event.when.iter().flatten().enumerate();
    let own = rules.map(|(at, rule)| (format!("event.when[{at}].occurred_at"), &rule.occurred_at));
    let all = std::iter::once(("event.occurred_at".to_owned(), &event.occurred_at)).chain(own);
    for (key, texts) in all {
        if texts
            .iter()
            .flat_map(OneOrMany::iter)
            .any(|text| text.starts_with('='))
        {
            let what = "is the same for every event, and would put none before another";
            let mend = "write where the time stands, as occurred_at = \"/created\"";
            faults.add(&key, what, mend);
        }
    }
}

fn check_the_table(event: &EventDescriptor, faults: &mut Faults) {
    let keys = || event.status.iter().flatten().map(|(key, _)| key.as_str());
    for key in keys().filter(|key| key.ends_with('*')) {
        let what = "fits no type: the keys of this table are whole";
        let mend = "write a line for each type, or [[event.when]] with this type and a status";
        faults.add(&format!("event.status.\"{key}\""), what, mend);
    }
    let Some(by) = &event.status_by else { return };
    let some = |key: &str| by.iter().any(|text| may_write(text, key));
    if by.iter().next().is_some() && keys().next().is_some() && !keys().any(some) {
        let what = "writes nothing that event.status has a line for";
        let mend = "write the keys of event.status as this writes them, or add \"{type}\" to it";
        faults.add("event.status_by", what, mend);
    }
}

/// Whether a place may come to this text: what stands between its values must be in it, in order.
fn may_write(place: &str, text: &str) -> bool {
    if let Some(constant) = place.strip_prefix('=') {
        return constant == text;
    }
    if place.starts_with('/') {
        return true;
    }
    let mut rest = text;
    let mut literals = place
        .split('{')
        .map(|part| part.split_once('}').map_or(part, |(_, literal)| literal));
    let Some(after) = literals.next().and_then(|first| rest.strip_prefix(first)) else {
        return false;
    };
    rest = after;
    for literal in literals {
        // A value is never empty.
        let mut letters = rest.chars();
        if letters.next().is_none() {
            return false;
        }
        match letters.as_str().find(literal) {
            Some(at) => {
                rest = letters
                    .as_str()
                    .get(at + literal.len()..)
                    .unwrap_or_default()
            }
            None => return false,
        }
    }
    true
}

/// The fields of a form hold texts, and nothing below them.
fn check_the_depth(event: &EventDescriptor, faults: &mut Faults) {
    if event.format != Some(BodyFormat::Form) || event.field.is_some() {
        return;
    }
    let is_deep = |text: &str| {
        let mut named = text.split(['{', '}']).map(unfiltered);
        named.any(|part| part.starts_with('/') && part.matches('/').count() > 1)
    };
    for (key, texts) in places(event) {
        let deep = texts
            .first()
            .filter(|_| texts.iter().all(|text| is_deep(text)));
        if let Some(deep) = deep {
            let what = format!("\"{deep}\" lies deeper than a form does");
            let mend = "name the field, as \"/amount\"; a \"/\" in its name is written ~1";
            faults.add(&key, what, mend);
        }
    }
}

/// Every place from which something of an event is taken, or by which one is chosen, with its key.
pub(super) fn places(event: &EventDescriptor) -> Vec<(String, Vec<&str>)> {
    fn texts(one: &Option<OneOrMany>) -> Vec<&str> {
        one.iter().flat_map(OneOrMany::iter).collect()
    }
    let own = [
        ("id", &event.id),
        ("type", &event.kind),
        ("occurred_at", &event.occurred_at),
        ("account", &event.account),
        ("payment_id", &event.payment_id),
        ("amount", &event.amount),
        ("amount_refunded", &event.amount_refunded),
        ("currency", &event.currency),
        ("status_by", &event.status_by),
    ];
    let own = own.map(|(name, one)| (format!("event.{name}"), texts(one)));
    let mut all = Vec::from(own);
    for (at, rule) in event.when.iter().flatten().enumerate() {
        let key = |name: &str| format!("event.when[{at}].{name}");
        for (name, one) in [
            ("present", &rule.present),
            ("payment_id", &rule.payment_id),
            ("amount", &rule.amount),
            ("amount_refunded", &rule.amount_refunded),
            ("currency", &rule.currency),
            ("occurred_at", &rule.occurred_at),
        ] {
            all.push((key(name), texts(one)));
        }
        let same = rule.same.iter().flatten().map(String::as_str);
        all.push((key("same"), same.collect()));
        for place in rule
            .equals
            .iter()
            .flatten()
            .map(|(place, _)| place.as_str())
        {
            all.push((key(&format!("equals.\"{place}\"")), vec![place]));
        }
    }
    all
}

fn check_the_payment(event: &EventDescriptor, faults: &mut Faults) {
    if event.payment_id.is_some() {
        return;
    }
    let rules = || event.when.iter().flatten();
    for (key, is_there) in [
        ("event.amount", names(&event.amount)),
        ("event.amount_refunded", names(&event.amount_refunded)),
        ("event.when", rules().any(|rule| names(&rule.payment_id))),
        ("event.when", rules().any(|rule| names(&rule.amount))),
    ] {
        if is_there {
            let what = "speaks of a payment, and event.payment_id is missing: no event would";
            let mend = "write payment_id = \"/data/id\", or payment_id = [] if no payment is meant";
            faults.add(key, what, mend);
            return;
        }
    }
}

fn check_the_currency(event: &EventDescriptor, faults: &mut Faults) {
    let mend = "write where it stands, as currency = \"/currency\", or the one that it always is, as \"=EUR\"";
    let amounts = names(&event.amount) || names(&event.amount_refunded);
    let counts = event.minor_digits.iter().flatten().next().is_some();
    if counts && !any_currency(event) {
        let what = "counts the decimals of currencies, and event.currency is missing";
        faults.add("event.minor_digits", what, mend);
        return;
    }
    let what = "is missing, and an amount means nothing without it";
    if amounts && !names(&event.currency) {
        faults.add("event.currency", what, mend);
        return;
    }
    for (at, rule) in event.when.iter().flatten().enumerate() {
        let own = |own: &Option<OneOrMany>, base: &Option<OneOrMany>| {
            own.as_ref()
                .map_or_else(|| names(base), |own| own.iter().next().is_some())
        };
        let amounts =
            own(&rule.amount, &event.amount) || own(&rule.amount_refunded, &event.amount_refunded);
        if amounts && !own(&rule.currency, &event.currency) {
            faults.add(&format!("event.when[{at}].currency"), what, mend);
        }
    }
}

fn any_currency(event: &EventDescriptor) -> bool {
    let mut rules = event.when.iter().flatten();
    names(&event.currency) || rules.any(|rule| names(&rule.currency))
}

fn check_the_digits(event: &EventDescriptor, faults: &mut Faults) {
    let mut codes: Vec<String> = Vec::new();
    for code in event.minor_digits.iter().flatten().map(|(code, _)| code) {
        if codes.contains(&code.to_ascii_uppercase()) {
            let key = format!("event.minor_digits.{code}");
            faults.add(
                &key,
                "stands twice, in another case",
                "write it once, in capitals",
            );
        }
        codes.push(code.to_ascii_uppercase());
    }
    let rules = event.when.iter().flatten().enumerate();
    let of_rules = rules.flat_map(|(at, rule)| {
        let key = |name: &str| format!("event.when[{at}].{name}");
        [
            (key("amount"), &rule.amount, rule.amount_unit),
            (
                key("amount_refunded"),
                &rule.amount_refunded,
                rule.amount_unit,
            ),
        ]
    });
    let own = [
        ("event.amount".to_owned(), &event.amount, None),
        (
            "event.amount_refunded".to_owned(),
            &event.amount_refunded,
            None,
        ),
    ];
    for (key, texts, unit) in own.into_iter().chain(of_rules) {
        let unit = unit.or(event.amount_unit).unwrap_or_default();
        for text in texts.iter().flat_map(OneOrMany::iter) {
            if text
                .strip_prefix('=')
                .is_some_and(|text| !is_an_amount(text, unit))
            {
                let what = format!("\"{text}\" is no amount");
                faults.add(
                    &key,
                    what,
                    "write a number, as \"=1999\", or where the amount stands",
                );
            }
        }
    }
}

fn is_an_amount(text: &str, unit: AmountUnit) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (unit, text.split_once('.')) {
        (AmountUnit::Minor | AmountUnit::Major, None) => digits(text),
        (AmountUnit::Major, Some((whole, fraction))) => digits(whole) && digits(fraction),
        (AmountUnit::Minor, Some(_)) => false,
    }
}

fn check_the_rules(event: &EventDescriptor, faults: &mut Faults) {
    let rules: Vec<_> = event.when.iter().flatten().collect();
    let last = rules.iter().position(|rule| rule.is_for_every_event());
    if let Some(last) = last.filter(|last| last + 1 < rules.len()) {
        let what = format!("is never looked at: event.when[{last}] is for every event");
        let mend = "put the rule for every event last";
        faults.add(&format!("event.when[{}].type", last + 1), what, mend);
    }
    for (at, WhenDescriptor { kind, .. }) in rules.into_iter().enumerate() {
        let key = format!("event.when[{at}].type");
        let mend = "write a type, or how it begins, as \"charge.*\"";
        if kind
            .as_ref()
            .is_some_and(|kind| kind.iter().next().is_none())
        {
            faults.add(&key, "names no type, and would fit every event", mend);
        }
        for pattern in kind.iter().flat_map(OneOrMany::iter) {
            let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
            if pattern.is_empty() || beginning.contains('*') {
                faults.add(&key, format!("\"{pattern}\" fits no type"), mend);
            }
        }
        if kind.is_some() && !names(&event.kind) {
            let what = "chooses by the type, and event.type is missing";
            faults.add(
                &key,
                what,
                "write where the type stands, as type = \"/type\"",
            );
        }
    }
}
