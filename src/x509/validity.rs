//! From when to when a certificate counts.

use jiff::Timestamp;

/// From when to when a certificate is valid, both ends included, whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second of validity.
    pub not_before: Timestamp,
    /// The last second of validity.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether `now` lies within; the last second counts to its end (RFC 5280 §4.1.2.5).
    pub fn contains(&self, now: Timestamp) -> bool {
        !self.is_before_start(now) && !self.is_past_end(now)
    }

    /// Whether it has not begun yet.
    pub fn is_before_start(&self, now: Timestamp) -> bool {
        now < self.not_before
    }

    /// Whether it has lapsed.
    pub fn is_past_end(&self, now: Timestamp) -> bool {
        now > self.not_after && now.as_second() > self.not_after.as_second()
    }

    /// When both are valid: of a leaf and its issuers, the time in which the chain holds. It may be never.
    pub fn intersect(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validity(from: i64, to: i64) -> Validity {
        Validity {
            not_before: Timestamp::from_second(from).unwrap(),
            not_after: Timestamp::from_second(to).unwrap(),
        }
    }

    #[test]
    fn both_ends_are_included_and_the_last_second_counts_whole() {
        let validity = validity(100, 200);
        for (millis, within) in [
            (99_999, false),
            (100_000, true),
            (200_000, true),
            (200_999, true),
            (201_000, false),
        ] {
            let now = Timestamp::from_millisecond(millis).unwrap();
            assert_eq!(validity.contains(now), within, "{millis}");
        }
    }

    #[test]
    fn a_chain_holds_while_all_of_it_holds() {
        assert_eq!(validity(1, 9).intersect(validity(4, 12)), validity(4, 9));
        let never = validity(1, 3).intersect(validity(5, 9));
        assert!((0..12).all(|second| !never.contains(Timestamp::from_second(second).unwrap())));
    }
}
