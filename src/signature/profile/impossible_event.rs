//! What `[event]` can say, and no event can ever meet, or what would make of every event the same.

use super::descriptor::{
    AmountUnit, EventDescriptor, OneOrMany, ProfileDescriptor, WhenDescriptor,
};
use super::meaning::Faults;

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
    }
    let major = event.amount_unit == Some(AmountUnit::Major);
    let what = "is missing, and an amount in the major unit means nothing without it";
    if major && amounts && !names(&event.currency) {
        faults.add("event.currency", what, mend);
        return;
    }
    for (at, rule) in event.when.iter().flatten().enumerate() {
        let unit = rule.amount_unit.or(event.amount_unit).unwrap_or_default();
        let own = |own: &Option<OneOrMany>, base: &Option<OneOrMany>| {
            own.as_ref()
                .map_or_else(|| names(base), |own| own.iter().next().is_some())
        };
        let amounts =
            own(&rule.amount, &event.amount) || own(&rule.amount_refunded, &event.amount_refunded);
        if unit == AmountUnit::Major && amounts && !own(&rule.currency, &event.currency) {
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
