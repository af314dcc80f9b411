//! What is wrong with a profile, gathered key by key, and the small things that are read or are a fault.

use http::StatusCode;
use jiff::SignedDuration;

use crate::signature::body::json::Pointer;

/// What is wrong with a profile: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}; {mend}")]
pub struct ProfileFault {
    /// The key's path inside the profile, as `signature.content`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// Faults as they are found, each with its key.
#[derive(Debug, Default)]
pub(in crate::signature) struct Faults(Vec<ProfileFault>);

impl Faults {
    pub(in crate::signature) fn add(&mut self, key: &str, what: impl Into<String>, mend: &str) {
        self.0.push(ProfileFault {
            key: key.to_owned(),
            what: what.into(),
            mend: mend.to_owned(),
        });
    }

    /// The value, or a fault under `key`.
    pub(in crate::signature) fn keep<T>(
        &mut self,
        key: &str,
        value: Result<T, impl Into<String>>,
        mend: &str,
    ) -> Option<T> {
        value.map_err(|what| self.add(key, what, mend)).ok()
    }

    pub(in crate::signature) fn or<T>(self, value: T) -> Result<T, Vec<ProfileFault>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

/// A status within bounds, or a fault.
pub(in crate::signature) fn status(
    code: i64,
    range: std::ops::RangeInclusive<i64>,
    key: &str,
    faults: &mut Faults,
) -> Option<StatusCode> {
    let mend = format!(
        "write a status between {} and {}",
        range.start(),
        range.end()
    );
    let status = u16::try_from(code).ok().filter(|_| range.contains(&code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    faults.keep(
        key,
        status.ok_or_else(|| format!("{code} is no possible status here")),
        &mend,
    )
}

/// A pointer, or a fault.
pub(in crate::signature) fn pointer(text: &str, key: &str, faults: &mut Faults) -> Option<Pointer> {
    let mend = "write a JSON pointer, as \"/data/id\"";
    let pointer = faults.keep(key, Pointer::parse(text), mend)?;
    if pointer.has_a_star() {
        let mend =
            "name one element, as /data/0/id; or set `each`, and write what stands in an element";
        faults.add(key, "has a \"*\", which names nothing here", mend);
        return None;
    }
    Some(pointer)
}

/// A span of time, or a fault.
pub(in crate::signature) fn duration(
    text: Option<&str>,
    key: &str,
    faults: &mut Faults,
) -> Option<SignedDuration> {
    let duration = text?
        .parse::<SignedDuration>()
        .map_err(|_unreadable| "is no duration in hours, minutes and seconds".to_owned());
    let duration = duration.and_then(|duration| {
        if duration.is_negative() {
            Err("is negative".to_owned())
        } else {
            Ok(duration)
        }
    });
    faults.keep(
        key,
        duration,
        "write a duration that is not negative, as \"5m\", \"300s\" or \"48h\"",
    )
}
