//! Texts as PostgreSQL holds them: without U+0000, and in an order that is ours whatever its locale.

use std::borrow::Cow;

use crate::payments::{Claim, Status};

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

/// A claim's recency, as a text whose byte order is the ledger's order: time, rank, event id, producer.
pub(super) fn recency(claim: &Claim) -> String {
    let key = claim.key();
    // With the sign turned, the order of unsigned numbers is that of signed ones.
    let time = key.occurred_at_us().cast_unsigned() ^ (1 << 63);
    let rank = claim.status().map_or(0, Status::rank);
    let mut text = format!("{time:016x}{rank:02x}");
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

/// The time (in microseconds) and the event's id of a [`recency`].
pub(super) fn time_and_event(recency: &str) -> Option<(i64, String)> {
    let time = u64::from_str_radix(recency.get(..16)?, 16).ok()?;
    let part = recency.get(18..)?.split(END).next()?;
    let mut event_id = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        event_id.push(match character {
            '\u{2}' => match characters.next()? {
                '\u{2}' => '\0',
                '\u{3}' => '\u{1}',
                _ => '\u{2}',
            },
            other => other,
        });
    }
    Some(((time ^ (1 << 63)).cast_signed(), event_id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
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
        Claim::read(&facts, at, id, &Arc::from(producer)).unwrap()
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
            prop_assert_eq!(recency(&a).cmp(&recency(&b)), a.key().cmp(b.key()));
            // With a value behind it as well: that is what is compared.
            prop_assert_eq!(
                format!("{}{END}9", recency(&a)).cmp(&format!("{}{END}9", recency(&b))),
                a.key().cmp(b.key())
            );
        }

        #[test]
        fn time_and_event_are_read_from_a_recency(claim in any_claim()) {
            let read = time_and_event(&recency(&claim));
            prop_assert_eq!(read, Some((claim.key().occurred_at_us(), claim.key().event_id().to_owned())));
        }
    }
}
