//! The sender's time: read strictly, and held against a clock that is an argument.

use jiff::{SignedDuration, Timestamp};

use super::filter::Shape;
use super::mapping;
use super::places::Place;
use super::profile::descriptor::{TimeUnit, TimestampDescriptor};
use super::profile::faults::{Faults, duration};
use super::refusal::SignatureRefusal;

/// The longest timestamp that is read, in bytes.
const TEXT_BYTES_MAX: usize = 40;

/// Where the sender's time stands, and how far it may be off.
#[derive(Clone, Debug)]
pub(super) struct TimestampRule {
    pub(super) place: Place,
    pub(super) unit: TimeUnit,
    pub(super) past: Option<SignedDuration>,
    pub(super) future: Option<SignedDuration>,
}

impl TimeUnit {
    /// The time that `text` states; signs, spaces and fractions are none of the numeric units'.
    pub(super) fn read(self, text: &str) -> Option<Timestamp> {
        self.read_bytes(text.as_bytes())
    }

    /// What [`TimeUnit::read`] reads, of bytes that may be no text.
    pub(super) fn read_bytes(self, text: &[u8]) -> Option<Timestamp> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        match self {
            Self::S => Timestamp::from_second(digits(text)?).ok(),
            Self::Ms => Timestamp::from_millisecond(digits(text)?).ok(),
            Self::SOrMs if text.len() <= 11 => Timestamp::from_second(digits(text)?).ok(),
            Self::SOrMs => Timestamp::from_millisecond(digits(text)?).ok(),
            Self::Rfc3339 => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::HttpDate => {
                let parser = jiff::fmt::rfc2822::DateTimeParser::new();
                parser.parse_timestamp(text).ok()
            }
            Self::DatetimeMsOrS => {
                let text = std::str::from_utf8(text).ok()?;
                let text = Some(text).filter(|text| Shape::DatetimeMsOrS.fits(text))?;
                mapping::occurred::parse(text, None)
            }
        }
    }

    /// A time as the provider writes it.
    pub fn written(self, time: Timestamp) -> String {
        match self {
            Self::S => time.as_second().to_string(),
            Self::Ms | Self::SOrMs => time.as_millisecond().to_string(),
            Self::Rfc3339 => format!("{time:.3}"),
            Self::HttpDate => {
                let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
                printer
                    .timestamp_to_rfc9110_string(&time)
                    .unwrap_or_default()
            }
            Self::DatetimeMsOrS => time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        }
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    // With more digits than these it is no time, whatever the unit. A zero before them could be the end of what is signed before it.
    if text.is_empty() || text.len() > 18 || text.len() > 1 && text.starts_with(b"0") {
        return None;
    }
    text.iter().try_fold(0_i64, |number, letter| {
        let digit = letter.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

impl TimestampRule {
    /// Checks `[timestamp]`.
    pub(super) fn compile(descriptor: &TimestampDescriptor, faults: &mut Faults) -> Option<Self> {
        let place = match &descriptor.from {
            Some(from) => Place::compile(from, "timestamp.from", faults),
            None => {
                faults.add(
                    "timestamp.from",
                    "is missing",
                    "write from = { header = [\"x-timestamp\"] } or { item = \"t\" }",
                );
                None
            }
        };
        let past = duration(descriptor.past.as_deref(), "timestamp.past", faults);
        let future = duration(descriptor.future.as_deref(), "timestamp.future", faults);
        Some(Self {
            place: place?,
            unit: descriptor.unit.unwrap_or(TimeUnit::S),
            past,
            future,
        })
    }

    /// Refuses a time that is too old or too far ahead; `tolerance` replaces both limits of the profile.
    pub(super) fn check(
        &self,
        sent: Timestamp,
        tolerance: Option<SignedDuration>,
        now: Timestamp,
    ) -> Result<(), SignatureRefusal> {
        // Whole seconds cannot be told apart from their fractions: the edge itself is within the tolerance.
        let clock = match self.unit {
            TimeUnit::S | TimeUnit::HttpDate => {
                Timestamp::from_second(now.as_second()).unwrap_or(now)
            }
            TimeUnit::Ms | TimeUnit::SOrMs | TimeUnit::Rfc3339 | TimeUnit::DatetimeMsOrS => now,
        };
        let age = clock.duration_since(sent);
        let too_old = tolerance.or(self.past).is_some_and(|past| age > past);
        let too_new = tolerance
            .or(self.future)
            .is_some_and(|future| -age > future);
        if too_old || too_new {
            return Err(SignatureRefusal::TimestampOutsideTolerance { sent, now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_read_strictly_and_written_back() {
        for (unit, text) in [
            (TimeUnit::S, "1674087231"),
            (TimeUnit::Ms, "1674087231123"),
            (TimeUnit::SOrMs, "1674087231123"),
            (TimeUnit::Rfc3339, "2023-01-19T00:13:51.123Z"),
            (TimeUnit::HttpDate, "Thu, 19 Jan 2023 00:13:51 GMT"),
            (TimeUnit::DatetimeMsOrS, "2023-01-19 00:13:51.123"),
        ] {
            let time = unit.read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.as_second(), 1_674_087_231);
            assert_eq!(unit.written(time), text);
        }
        for text in [
            "",
            "+1674087231",
            "01674087231",
            " 1674087231",
            "1674087231.0",
            "-1",
            "1e9",
            "99999999999999999999",
        ] {
            assert_eq!(TimeUnit::S.read(text), None, "{text}");
        }
        for unit in [TimeUnit::SOrMs, TimeUnit::DatetimeMsOrS] {
            let time = unit.read("1674087231").map(Timestamp::as_second);
            assert_eq!(time, Some(1_674_087_231));
        }
    }
}
