//! How a time is written.

use serde::{Deserialize, Serialize};

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Unix seconds.
    S,
    /// Unix milliseconds.
    Ms,
    /// Unix seconds up to 11 digits, milliseconds from 12 on (providers whose own pages disagree).
    SOrMs,
    /// RFC 3339.
    Rfc3339,
    /// An HTTP date (RFC 9110 §5.6.7).
    HttpDate,
    /// Date and time in UTC to the millisecond, `2026-11-27 08:00:00.000` (BlueSnap; zeros at the end may be left out), or Unix seconds.
    DatetimeMsOrS,
}
