//! What is told of a signature that does not match: where things stand, how they are written, and what was signed. It holds no
//! secret and no signature, neither the one that was received nor the one that would be right.

use std::sync::Arc;

use jiff::SignedDuration;

use super::mistakes::Mistake;
use crate::signature::body::compressed::Compression;
use crate::signature::refusal::SignatureRefusal;

pub(super) const SEVERAL: &str = "there are several, of which none counts";

/// The whole report.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What gate 3 says.
    pub outcome: Result<(), SignatureRefusal>,
    /// Which secret verified it.
    pub verified_by: Option<Arc<str>>,
    /// What the profile expects, where, and what is there.
    pub findings: Vec<Finding>,
    /// Nothing is signed by this profile: the connection is the only proof.
    pub nothing_is_signed: bool,
    /// The exact signed content, escaped; several where the profile tries several forms. Empty when a part is absent, or stands twice.
    pub contents: Vec<String>,
    /// How far the stated time is from ours: positive when the delivery is old.
    pub age: Option<SignedDuration>,
    /// Whether some listed signature is right, whatever the time says.
    pub signature_is_right: bool,
    /// The time would be within the tolerance if it were read in the other unit.
    pub time_in_the_other_unit: bool,
    /// The fewest mistakes that together would make a listed signature match; empty when none of the usual does.
    pub mistakes: Vec<Mistake>,
    /// The secret with which they do, where there are several.
    pub mistaken_secret: Option<Arc<str>>,
    /// Not every usual mistake was tried: there were too many bytes to hash.
    pub search_was_cut_off: bool,
    /// The profile's deliveries are lists of events, signed as a whole, and this is none: perhaps one of its events.
    pub is_no_batch: bool,
    /// The body seems to have been compressed, or unpacked, after it was signed.
    pub compression: Option<Compression>,
    /// A part of the URL is signed, and no URL was given: [`Request::path_and_query`](crate::signature::Request) is empty.
    pub url_is_missing: bool,
    /// The signature's place is there, with nothing in it.
    pub signature_is_empty: bool,
    /// What is signed of the request's line and of the URL, as it is known here.
    pub signed_of_the_request: Vec<String>,
    /// The length that the headers state for the body, where it is another than the body's.
    pub stated_length: Option<u64>,
    /// The body ends in the midst of its JSON.
    pub is_cut_off: bool,
    /// The body is written in UTF-16.
    pub is_in_utf16: bool,
    /// The URL that is signed, where no header names its host.
    pub url_of_another_host: Option<String>,
    /// A secret begins as another credential of the same provider does, and not as what it signs with: with this.
    pub other_credential: Option<&'static str>,
}

impl Explanation {
    /// What is expected and stands there more than once, so that none of it counts.
    pub fn repeated(&self) -> impl Iterator<Item = &Finding> {
        let is_repeated = |found: &&Finding| found.found.as_deref() == Some(SEVERAL);
        self.findings.iter().filter(is_repeated)
    }

    /// Whether nothing but the time of signing is wrong.
    pub fn is_refused_for_its_time(&self) -> bool {
        matches!(
            self.outcome,
            Err(SignatureRefusal::TimestampOutsideTolerance { .. })
        )
    }
}

/// One thing that the profile expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// Where it must stand.
    pub place: String,
    /// What is there, described; `None` when nothing is.
    pub found: Option<String>,
    /// What it means if nothing is.
    pub absence: Absence,
}

/// What it means that nothing stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was not sent, or was taken away on the way here.
    Lost,
    /// Whoever wrote the signature left it out.
    Unwritten,
    /// Nothing by itself: what is signed leaves it out as well.
    Allowed,
}
