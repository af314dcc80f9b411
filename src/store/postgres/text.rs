//! Texts as PostgreSQL holds them: without U+0000, and in an order that is ours whatever its locale.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::payments::Recency;

/// Stands before `0` for U+0000 and before `1` for itself. It is no character, so real texts hardly have it.
const ESCAPE: char = '\u{ffff}';

/// The text without U+0000, which PostgreSQL cannot hold.
pub(super) fn hold(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut held = String::with_capacity(text.len().saturating_add(8));
    for character in text.chars() {
        match character {
            '\0' => held.extend([ESCAPE, '0']),
            ESCAPE => held.extend([ESCAPE, '1']),
            other => held.push(other),
        }
    }
    Cow::Owned(held)
}

/// What [`hold`] was given.
pub(super) fn give_back(held: String) -> String {
    if !held.contains(ESCAPE) {
        return held;
    }
    let mut text = String::with_capacity(held.len());
    let mut characters = held.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => text.push(if characters.next() == Some('0') {
                '\0'
            } else {
                ESCAPE
            }),
            other => text.push(other),
        }
    }
    text
}

/// Ends a part of a recency or of a register: less than every character that may stand in one.
const END: char = '\u{1}';

/// A recency, as a text whose byte order is the ledger's order: time, rank, event id, producer.
pub(super) fn recency(key: &Recency) -> String {
    // With the sign turned, the order of unsigned numbers is that of signed ones.
    let time = key.occurred_at_us().cast_unsigned() ^ (1 << 63);
    let mut text = format!("{time:016x}{:02x}", key.rank());
    push_ordered(&mut text, key.event_id());
    text.push(END);
    push_ordered(&mut text, key.producer());
    text
}

/// Appends a part without U+0000 and U+0001, so that the order of what is written is that of the parts.
fn push_ordered(text: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            '\0' => text.push_str("\u{2}\u{2}"),
            '\u{1}' => text.push_str("\u{2}\u{3}"),
            '\u{2}' => text.push_str("\u{2}\u{4}"),
            other => text.push(other),
        }
    }
}

/// What [`recency`] was given.
pub(super) fn read_recency(text: &str) -> Option<Recency> {
    let time = u64::from_str_radix(text.get(..16)?, 16).ok()?;
    let rank = u8::from_str_radix(text.get(16..18)?, 16).ok()?;
    let (event_id, producer) = text.get(18..)?.split_once(END)?;
    let occurred_at = (time ^ (1 << 63)).cast_signed();
    let (event_id, producer) = (read_part(event_id)?, read_part(producer)?);
    Some(Recency::restore(occurred_at, rank, &event_id, &producer))
}

/// A register: whose word it is, and the word.
pub(super) fn register(key: &Recency, word: &str) -> String {
    format!("{}{END}{word}", recency(key))
}

/// What [`register`] was given.
pub(super) fn read_register(text: &str) -> Option<(Recency, &str)> {
    let (key, word) = text.rsplit_once(END)?;
    Some((read_recency(key)?, word))
}

/// The time, if there is one, and the event's id of a [`recency`].
pub(super) fn time_and_event(recency: &str) -> Option<(Option<Timestamp>, String)> {
    let key = read_recency(recency)?;
    Some((key.occurred_at(), key.event_id().to_owned()))
}

fn read_part(part: &str) -> Option<String> {
    let mut text = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\u{2}' => match characters.next()? {
                '\u{2}' => '\0',
                '\u{3}' => '\u{1}',
                _ => '\u{2}',
            },
            other => other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::payments::{Claim, Status};
    use crate::signature::{AmountUnit, PaymentFacts};

    fn claim(second: i64, status: Option<Status>, id: &str, producer: &str) -> Claim {
        let facts = PaymentFacts {
            payment_id: "pay_1".into(),
            status: status.map(|status| status.to_string()),
            amount: None,
            amount_refunded: None,
            currency: Some("EUR".into()),
            unit: AmountUnit::Minor,
            minor_digits: None,
        };
        let at = Timestamp::from_second(second).unwrap();
        Claim::read(&facts, Some(at), id, &Arc::from(producer)).unwrap()
    }

    fn part() -> impl Strategy<Value = String> {
        let character = proptest::sample::select(vec![
            '\0',
            '\u{1}',
            '\u{2}',
            '\u{3}',
            'a',
            'é',
            ESCAPE,
            '\u{10ffff}',
        ]);
        proptest::collection::vec(character, 0..4).prop_map(String::from_iter)
    }

    fn any_claim() -> impl Strategy<Value = Claim> {
        let status = proptest::option::of(proptest::sample::select(Status::ALL.to_vec()));
        (-2..3_i64, status, part(), part())
            .prop_map(|(at, status, id, producer)| claim(at, status, &id, &producer))
    }

    proptest! {
        #[test]
        fn what_is_held_is_given_back(text in part()) {
            let held = hold(&text).into_owned();
            prop_assert!(!held.contains('\0'));
            prop_assert_eq!(give_back(held), text);
        }

        #[test]
        fn the_order_of_the_texts_is_the_ledgers(a in any_claim(), b in any_claim()) {
            prop_assert_eq!(recency(a.key()).cmp(&recency(b.key())), a.key().cmp(b.key()));
            // With a value behind it as well: that is what is compared.
            prop_assert_eq!(
                register(a.key(), "9").cmp(&register(b.key(), "9")),
                a.key().cmp(b.key())
            );
        }

        #[test]
        fn a_recency_and_a_register_are_read_again(claim in any_claim()) {
            let key = claim.key();
            prop_assert_eq!(read_recency(&recency(key)), Some(key.clone()));
            let held = register(key, "9");
            prop_assert_eq!(read_register(&held), Some((key.clone(), "9")));
            let read = time_and_event(&recency(key));
            prop_assert_eq!(read, Some((key.occurred_at(), key.event_id().to_owned())));
        }
    }
}
