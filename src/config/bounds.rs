//! Numbers and spans of time within their bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::Findings;
use super::file::Span;
use super::key::KeyPath;

/// A number within bounds.
pub(super) fn number(
    value: i64,
    range: RangeInclusive<i64>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<usize> {
    if !range.contains(&value) {
        let mend = format!("write a number from {} to {}", range.start(), range.end());
        findings.fault(key, format!("{value} is out of range"), mend);
        return None;
    }
    usize::try_from(value).ok()
}

/// A span of time within bounds.
pub(super) fn span(
    span: Span,
    range: RangeInclusive<Duration>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Duration> {
    if !range.contains(&span.0) {
        let (least, most) = (Span(*range.start()), Span(*range.end()));
        let mend = format!("write a time from \"{least}\" to \"{most}\"");
        findings.fault(key, format!("{span} is out of range"), mend);
        return None;
    }
    Some(span.0)
}
