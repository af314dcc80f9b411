//! Why an event stays other than a new store would have it.

use serde::Serialize;

/// Why a new store would say something else of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRebuilt {
    /// It would know it by another id: duplicates and conflicts are told by the one that it has.
    OtherId,
    /// It would keep its body as several events.
    Several,
    /// It could not read it.
    Unreadable,
    /// Its time was signed where nothing is kept.
    TimeLost,
    /// The mapping reads a parameter of the query string that is not kept with it.
    QueryLost,
}

impl NotRebuilt {
    /// What becomes of such an event, for a person.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::OtherId => "would have another id; the one that it has stays",
            Self::Several => "would be several events; it stays as it is",
            Self::Unreadable => "could not be read, and would be quarantined; it claims nothing",
            Self::TimeLost => "has the time that it had: what its signature covers is not kept",
            Self::QueryLost => "lacks a parameter of the query string, which was not kept",
        }
    }
}
