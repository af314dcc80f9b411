//! When an event happened, in the many ways in which providers write it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use crate::signature::profile::descriptor::TimeUnit;

/// Reads a time. Without a unit: a number of 14 digits is a date and time, any other Unix seconds up to 11 digits and milliseconds from
/// 12 on, anything else is RFC 3339. A date and time without an offset is UTC, as the providers that write so say.
pub(in crate::signature) fn parse(text: &str, unit: Option<TimeUnit>) -> Option<Timestamp> {
    let at = match unit {
        Some(TimeUnit::S) => unix(text, 1_000_000_000),
        Some(TimeUnit::Ms) => unix(text, 1_000_000),
        Some(TimeUnit::Rfc3339) => rfc3339(text),
        Some(TimeUnit::DatetimeMsOrS) => rfc3339(text).or_else(|| unix(text, 1_000_000_000)),
        Some(TimeUnit::HttpDate) => rfc2822::DateTimeParser::new().parse_timestamp(text).ok(),
        Some(TimeUnit::SOrMs) => unix_by_size(text),
        None => digits_of_a_date(text)
            .or_else(|| unix_by_size(text))
            .or_else(|| rfc3339(text)),
    };
    at.map(|at| at.min(last()))
}

/// The last time that there is, in whole seconds: what lies behind it cannot be kept in microseconds.
fn last() -> Timestamp {
    Timestamp::from_second(Timestamp::MAX.as_second()).unwrap_or(Timestamp::MAX)
}

/// `20260921141320`, in UTC: as milliseconds it would lie centuries ahead.
fn digits_of_a_date(text: &str) -> Option<Timestamp> {
    let is_one = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    let at = is_one.then(|| DateTime::strptime("%Y%m%d%H%M%S", text).ok())??;
    in_utc(at)
}

/// What some write for "never ends" lies some hours behind the last time that there is: it is that one, and sorts last.
fn in_utc(at: DateTime) -> Option<Timestamp> {
    let last = (at.year() == 9999).then_some(Timestamp::MAX);
    TimeZone::UTC.to_timestamp(at).ok().or(last)
}

fn unix_by_size(text: &str) -> Option<Timestamp> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let digits = whole.trim_start_matches('-').len();
    unix(
        text,
        if digits > 11 {
            1_000_000
        } else {
            1_000_000_000
        },
    )
}

/// A decimal number of units of so many nanoseconds. What is finer than a nanosecond is cut off.
fn unix(text: &str, unit_ns: i128) -> Option<Timestamp> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = !whole.is_empty() && whole.len() <= 18 && digits(whole) && digits(fraction);
    if !shaped || (fraction.is_empty() && text.ends_with('.')) {
        return None;
    }
    let mut nanoseconds = whole.parse::<i128>().ok()? * unit_ns;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds += i128::from(digit - b'0') * place;
    }
    // Within the year 9999, as in `in_utc`; what is greater is no time.
    const YEAR_10000: i128 = 253_402_300_800_000_000_000;
    let nanoseconds = sign * nanoseconds;
    let last = Timestamp::MAX.as_nanosecond();
    if (last..YEAR_10000).contains(&nanoseconds) {
        return Some(Timestamp::MAX);
    }
    Timestamp::from_nanosecond(nanoseconds).ok()
}

/// RFC 3339 with any precision; a space for the `T`, an offset without a colon, and no offset at all, pass too.
fn rfc3339(text: &str) -> Option<Timestamp> {
    const NANOSECOND_DIGITS: usize = 9;
    let cut;
    let text = match text.split_once('.') {
        Some((before, after)) => {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if digits > NANOSECOND_DIGITS {
                cut = format!(
                    "{before}.{}{}",
                    after.get(..NANOSECOND_DIGITS)?,
                    after.get(digits..)?
                );
                &cut
            } else {
                text
            }
        }
        None => text,
    };
    // The name of a zone may stand behind an offset, which tells the time. Alone, it would need a table of zones.
    if let Some((before, _zone)) = text.split_once('[') {
        return with_an_offset(before);
    }
    let naive = || {
        let has_an_offset = text.get(DAY..)?.contains(['+', '-']);
        // A day alone is no moment.
        let is_a_moment = text.contains(':') && !has_an_offset;
        is_a_moment.then(|| in_utc(text.parse().ok()?))?
    };
    with_an_offset(text).or_else(naive).or_else(|| dotted(text))
}

const DAY: usize = "2026-09-21".len();

fn with_an_offset(text: &str) -> Option<Timestamp> {
    let late = || {
        let time = text.get(DAY..)?;
        let at = time.find(['Z', 'z', '+', '-'])?;
        let at: DateTime = text.get(..DAY + at)?.parse().ok()?;
        (at.year() == 9999).then_some(Timestamp::MAX)
    };
    text.parse().ok().or_else(late)
}

/// `2026-09-21.14:13:20`, in UTC, as Nuvei writes it.
fn dotted(text: &str) -> Option<Timestamp> {
    let time = text.get(DAY..)?.strip_prefix('.')?;
    rfc3339(&format!("{}T{time}", text.get(..DAY)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, unit: Option<TimeUnit>, expected: Option<&str>) {
        let found = parse(text, unit).map(|at| at.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn unix_times_are_exact() {
        check("1790000000", None, Some("2026-09-21T14:13:20Z"));
        check(
            "1790000000",
            Some(TimeUnit::S),
            Some("2026-09-21T14:13:20Z"),
        );
        check("1790000000123", None, Some("2026-09-21T14:13:20.123Z"));
        check(
            "1790000000123",
            Some(TimeUnit::Ms),
            Some("2026-09-21T14:13:20.123Z"),
        );
        check(
            "1790000000.1234567891",
            None,
            Some("2026-09-21T14:13:20.123456789Z"),
        );
        check("0", Some(TimeUnit::S), Some("1970-01-01T00:00:00Z"));
        check("-1", None, Some("1969-12-31T23:59:59Z"));
        for text in [
            "",
            "-",
            "1.",
            ".5",
            "1e9",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "99999999999999999999",
        ] {
            check(text, Some(TimeUnit::S), None);
        }
        check("1790000000", Some(TimeUnit::Rfc3339), None);
        check("2026-09-21T14:13:20Z", Some(TimeUnit::S), None);
    }

    #[test]
    fn written_times_have_any_precision_and_offset() {
        check("2026-09-21T14:13:20Z", None, Some("2026-09-21T14:13:20Z"));
        check(
            "2026-09-21T14:13:20.5Z",
            None,
            Some("2026-09-21T14:13:20.5Z"),
        );
        check("2026-09-21t14:13:20z", None, Some("2026-09-21T14:13:20Z"));
        check(
            "2026-09-21T19:43:20+05:30",
            None,
            Some("2026-09-21T14:13:20Z"),
        );
        check(
            "2026-09-21T16:13:20+0200",
            None,
            Some("2026-09-21T14:13:20Z"),
        );
        check(
            "2026-09-21T14:13:20.123456789012Z",
            None,
            Some("2026-09-21T14:13:20.123456789Z"),
        );
        check("2026-09-21 14:13:20", None, Some("2026-09-21T14:13:20Z"));
        check(
            "2026-09-21T14:13:20.7",
            None,
            Some("2026-09-21T14:13:20.7Z"),
        );
        check("2026-09-21.14:13:20", None, Some("2026-09-21T14:13:20Z"));
        check("20260921141320", None, Some("2026-09-21T14:13:20Z"));
        check("2026-09-21", None, None);
        check("yesterday", None, None);
        check(
            "Mon, 21 Sep 2026 14:13:20 GMT",
            Some(TimeUnit::HttpDate),
            Some("2026-09-21T14:13:20Z"),
        );
    }

    #[test]
    fn a_time_that_never_comes_sorts_last() {
        let last = last();
        let kept = Timestamp::from_microsecond(last.as_microsecond());
        assert_eq!(kept.unwrap(), last);
        let last = last.to_string();
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59+02:00",
            "9999-12-31T23:59:59-0500",
            "9999-12-31 23:59:59",
            "99991231235959",
            "253402300799999",
            "9999-12-30T22:00:00.5Z",
        ] {
            check(text, None, Some(&last));
        }
        check("253402300799", Some(TimeUnit::S), Some(&last));
        check("253402300799999", Some(TimeUnit::Ms), Some(&last));
        for text in [
            "253402300800",
            "10000-01-01T00:00:00Z",
            "9999-13-31T23:59:59Z",
        ] {
            check(text, Some(TimeUnit::Rfc3339), None);
            check(text, Some(TimeUnit::S), None);
        }
    }

    #[test]
    fn the_name_of_a_zone_takes_nothing_from_the_offset() {
        for (text, expected) in [
            (
                "2026-09-21T16:13:20+02:00[Europe/Berlin]",
                Some("2026-09-21T14:13:20Z"),
            ),
            (
                "2026-09-21T16:13:20+02:00[Atlantis/Nowhere]",
                Some("2026-09-21T14:13:20Z"),
            ),
            ("2026-09-21T14:13:20Z[UTC]", Some("2026-09-21T14:13:20Z")),
            ("2026-09-21T16:13:20[Europe/Berlin]", None),
            ("2026-09-21 16:13:20+99:00", None),
        ] {
            check(text, None, expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[0-9:T.+-]{0,40}") {
            for unit in [None, Some(TimeUnit::S), Some(TimeUnit::Ms), Some(TimeUnit::HttpDate), Some(TimeUnit::SOrMs), Some(TimeUnit::DatetimeMsOrS)] {
                let _ = parse(&text, unit);
            }
        }
    }
}
