//! Every built-in profile: an amount keeps the currency in which it was stated.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::profiles_tests::{at, facts, filled, samples, stated};
use super::{Claim, Payment};
use crate::signature::{AmountUnit, Profile, builtin};

/// What the names of a sample and of a status may stand for: a key of the profile's table, or a part of one.
fn words(profile: &Profile) -> BTreeSet<String> {
    let event = profile.descriptor().event.clone().unwrap_or_default();
    let mut words = BTreeSet::from(["example.type".to_owned()]);
    for key in event.status.unwrap_or_default().into_keys() {
        for (at, _) in key.match_indices([' ', ':', '.', '_']) {
            words.extend([key[..at].to_owned(), key[at + 1..].to_owned()]);
        }
        words.insert(key);
    }
    words
}

/// All that the samples of a profile can claim, with this amount and currency.
fn claims(profile: &Profile, amount: &str, currency: &str, at: Timestamp) -> Vec<(String, Claim)> {
    let mut all = Vec::new();
    let all_samples = samples(profile);
    for (name, sample) in all_samples.clone() {
        let sample = sample
            .replace("$AMOUNT_MINOR", amount)
            .replace("$AMOUNT_MAJOR", amount)
            .replace("$CURRENCY", currency);
        // A sample for several types serves those for which none says more.
        let serves = |name: &String, word: &str| {
            let begins = name.strip_suffix('*');
            begins.is_some_and(|begins| word.starts_with(begins))
        };
        let more = |other: &String| other.len() > name.len();
        let fits = |word: &String| {
            let mut others = all_samples.keys().filter(|other| more(other));
            !sample.contains("$TYPE")
                || (serves(&name, word) && !others.any(|other| serves(other, word)))
        };
        for word in words(profile).into_iter().filter(fits) {
            let sample = sample.replace("$REST", &word);
            let facts = facts(profile, filled(&sample, &word, "id-1", "pay-1", at));
            let Ok(payment) = facts.payment else { continue };
            let claim = Claim::read(&payment, Some(at), "id-1", &Arc::from("p"));
            all.extend(claim.map(|claim| (format!("{name} {word}"), claim)));
        }
    }
    all
}

#[test]
fn no_event_puts_its_currency_to_the_amount_of_another() {
    for profile in builtin().iter() {
        let name = profile.name();
        let first = claims(profile, "1999", "JPY", at(0)).into_iter();
        let first = first.map(|(_, claim)| claim);
        let Some(first) = first.into_iter().find(|one| one.amount_minor().is_some()) else {
            continue;
        };
        for (told, then) in claims(profile, "2999", "USD", at(1)) {
            let mut payment = Payment::new(&first);
            payment.apply(&then);
            let found = (payment.amount_minor(), payment.currency());
            let of_one = [&first, &then].map(|one| (one.amount_minor(), one.currency()));
            assert!(of_one.contains(&found), "{name} {told}: {}", stated(&then));
        }
    }
}

/// Each way to write an amount in the currency's own unit, and how many thousandths of it that is.
const WRITTEN: [(&str, i64); 9] = [
    ("10", 10_000),
    ("10.0", 10_000),
    ("10.00", 10_000),
    ("10.000", 10_000),
    ("10.5", 10_500),
    ("10.50", 10_500),
    ("10.125", 10_125),
    ("1e1", 10_000),
    ("1.05E1", 10_500),
];

#[test]
fn an_amount_in_the_currencys_own_unit_is_read_however_many_decimals_it_is_written_with() {
    for profile in builtin().iter() {
        let name = profile.name();
        let event = profile.descriptor().event.as_ref();
        if event.and_then(|event| event.amount_unit) != Some(AmountUnit::Major) {
            continue;
        }
        let mut any = false;
        for currency in ["EUR", "JPY", "KWD"] {
            let usual = claims(profile, "10", currency, at(0));
            for (text, thousandths) in WRITTEN {
                let told = claims(profile, text, currency, at(0));
                assert_eq!(told.len(), usual.len(), "{name} {text}");
                for ((word, claim), (_, usual)) in told.iter().zip(&usual) {
                    let Some(stated) = usual.currency().filter(|_| usual.amount_minor().is_some())
                    else {
                        continue;
                    };
                    any = true;
                    let step = 10_i64.pow(3 - u32::from(stated.exponent()));
                    let exact = (thousandths % step == 0).then_some(thousandths / step);
                    assert_eq!(
                        claim.amount_minor(),
                        exact,
                        "{name} {word}: {text} {stated}"
                    );
                    // What is too fine for its currency is told, and nothing is rounded.
                    assert_eq!(
                        claim.unreadable().is_empty(),
                        exact.is_some(),
                        "{name} {word}"
                    );
                }
            }
        }
        assert!(any, "{name}");
    }
}
