//! Problem details for HTTP APIs (RFC 9457), as a value.
//!
//! A [`Problem`] tells the sender what to mend. It never tells a stranger what would have been right.

use http::StatusCode;
use serde::Serialize;

/// The media type of a problem's body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One problem: what `application/problem+json` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// The last part of the type, `urn:countersign:problem:NAME`.
    pub name: &'static str,
    /// A short summary, the same at each occurrence.
    pub title: &'static str,
    /// What to mend.
    pub detail: String,
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// The body.
    pub fn to_json(&self) -> String {
        let members = Members {
            r#type: format!("urn:countersign:problem:{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        // A struct of strings and a number always serializes.
        serde_json::to_string(&members).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let problem = Problem {
            status: StatusCode::UNAUTHORIZED,
            name: "signature-missing",
            title: "The delivery bears no signature",
            detail: "send the \"signature\" header".into(),
        };
        let value: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!(value["type"], "urn:countersign:problem:signature-missing");
        assert_eq!(value["status"], 401);
        assert_eq!(value["title"], "The delivery bears no signature");
        assert_eq!(value["detail"], "send the \"signature\" header");
    }
}
