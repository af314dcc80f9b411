//! The status of a delivery's answer: the one place that knows it.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode, Version};

use crate::identity::IdentityRefusal;
use crate::inbox::InboxFailure;
use crate::problem::{self, Problem};
use crate::signature::{AnswerBody, NotAnObject, SignatureRefusal};

/// Who is told at once that too much comes sends the next at once, and turning that away takes its time from what is kept. A part of a
/// second lets the queue be written, and is within what every provider waits for an answer.
const HELD_BACK: Duration = Duration::from_millis(500);

/// What becomes of the connection after the answer: an extension of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Keep,
    /// The rest of the body is not read: over HTTP/1.1 nothing can follow it, over HTTP/2 only its stream ends.
    CloseIfUnframed,
    Close,
}

impl Afterwards {
    /// Whether the connection is to be closed.
    pub(super) fn closes_connection(self, version: Version) -> bool {
        match self {
            Self::Keep => false,
            Self::CloseIfUnframed => version < Version::HTTP_2,
            Self::Close => true,
        }
    }
}

/// Where the operator hears of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Whoever refused, or failed, has said so.
    AtItsGate,
    /// No gate refused it: it is neither recorded nor logged before it is given.
    Nowhere,
}

/// An answer that is no success: a problem, and what goes with it.
#[derive(Debug)]
pub(super) struct Answer {
    problem: Problem,
    /// What is said instead of the problem.
    instead: Option<Box<AnswerBody>>,
    retry_after: Option<u32>,
    allow: Option<&'static str>,
    held_back: Duration,
    afterwards: Afterwards,
    heard: Heard,
}

impl Answer {
    fn new(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let problem = Problem {
            status,
            name,
            title,
            detail: detail.into(),
        };
        Self {
            problem,
            instead: None,
            retry_after: None,
            allow: None,
            held_back: Duration::ZERO,
            afterwards: Afterwards::Keep,
            heard: Heard::AtItsGate,
        }
    }

    /// What a sender whose certificate held did wrong, and no gate is there to refuse.
    fn of_no_gate(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            heard: Heard::Nowhere,
            ..Self::new(status, name, title, detail)
        }
    }

    fn and_close(mut self) -> Self {
        self.afterwards = Afterwards::Close;
        self
    }

    fn and_close_if_unframed(mut self) -> Self {
        self.afterwards = Afterwards::CloseIfUnframed;
        self
    }

    /// A failure of ours: the sender is asked to come again after `seconds`.
    fn unavailable(name: &'static str, detail: &str, seconds: u32) -> Self {
        let title = "The delivery could not be kept";
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, name, title, detail)
        }
    }

    /// How long it is kept back before it is given.
    pub(super) fn held_back(&self) -> Duration {
        self.held_back
    }

    /// Where the operator hears of it.
    pub(super) fn heard(&self) -> Heard {
        self.heard
    }

    /// The status with which it is given.
    pub(super) fn status(&self) -> StatusCode {
        self.problem.status
    }

    /// The problem's name.
    pub(super) fn name(&self) -> &'static str {
        self.problem.name
    }

    /// The same problem with the status that this provider demands.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.problem.status = status;
        self
    }

    /// The same with the body that this provider demands.
    pub(super) fn with_body(mut self, body: AnswerBody) -> Self {
        self.instead = Some(Box::new(body));
        self
    }

    pub(super) fn not_found() -> Self {
        Self::of_no_gate(
            StatusCode::NOT_FOUND,
            "not-found",
            "No such path",
            "deliver to the exact path that was agreed upon: case, slashes and escapes count",
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        let answer = Self::of_no_gate(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Deliveries are posted",
            "send the event with POST",
        );
        Self {
            allow: Some("POST"),
            ..answer
        }
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let detail = format!("send at most {limit} bytes");
        Self::of_no_gate(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            detail,
        )
        .and_close_if_unframed()
    }

    pub(super) fn body_too_slow() -> Self {
        let detail = "send the whole body in time";
        Self::of_no_gate(
            StatusCode::REQUEST_TIMEOUT,
            "body-too-slow",
            "The body did not arrive in time",
            detail,
        )
        .and_close_if_unframed()
    }

    pub(super) fn body_unreadable() -> Self {
        let detail = "the body ended early, or its framing is broken";
        Self::of_no_gate(
            StatusCode::BAD_REQUEST,
            "body-unreadable",
            "The body could not be read",
            detail,
        )
        .and_close_if_unframed()
    }

    pub(super) fn no_single_host() -> Self {
        let detail = "send exactly one Host header (a name or an address, and a port at most), and over HTTP/2 the same in :authority";
        Self::of_no_gate(
            StatusCode::BAD_REQUEST,
            "host-malformed",
            "The request names no host that can be, or several",
            detail,
        )
        .and_close()
    }

    pub(super) fn unknown_transfer_coding() -> Self {
        let detail = "send the body with Content-Length, or with Transfer-Encoding: chunked alone";
        Self::of_no_gate(
            StatusCode::NOT_IMPLEMENTED,
            "transfer-coding-unknown",
            "The transfer coding is not known here",
            detail,
        )
        .and_close()
    }

    pub(super) fn malformed_payload(fault: Option<NotAnObject>) -> Self {
        let what = fault.map_or_else(
            || "the body is not a JSON object".to_owned(),
            |fault| fault.to_string(),
        );
        Self::of_no_gate(
            StatusCode::BAD_REQUEST,
            "payload-malformed",
            "The body cannot be read",
            format!("the signature holds, and the body was kept apart, but {what}"),
        )
    }

    pub(super) fn account_mismatch() -> Self {
        let detail = "the body names an account that is not the one bound to this producer";
        Self::new(
            StatusCode::FORBIDDEN,
            "account-mismatch",
            "The delivery is for another account",
            detail,
        )
    }

    pub(super) fn overloaded() -> Self {
        let detail = "too many bodies are on their way: send again";
        Self {
            afterwards: Afterwards::CloseIfUnframed,
            ..Self::unavailable("overloaded", detail, 1)
        }
    }

    pub(super) fn shutting_down() -> Self {
        Self::unavailable("shutting-down", "the receiver is stopping: send again", 1).and_close()
    }

    pub(super) fn request_too_slow() -> Self {
        Self::unavailable(
            "store-slow",
            "the delivery was not kept in time: send again",
            2,
        )
    }

    pub(super) fn failed_within() -> Self {
        Self::unavailable("internal", "the receiver failed: send again", 5).and_close()
    }
}

impl From<&IdentityRefusal> for Answer {
    // No wildcard: a new refusal does not compile until its answer is chosen.
    fn from(refusal: &IdentityRefusal) -> Self {
        let forbidden =
            |title, detail: &str| Self::new(StatusCode::FORBIDDEN, refusal.name(), title, detail);
        match refusal {
            IdentityRefusal::CertificateNoLongerValid { .. } => forbidden(
                "The client certificate is no longer valid here",
                "renew the client certificate, or connect again",
            )
            .and_close(),
            IdentityRefusal::UnknownProducer { .. } | IdentityRefusal::CutOff { .. } => forbidden(
                "Unknown producer",
                "the certificate holds, but its subject is not one that may deliver here; ask the receiver's operator",
            ),
            IdentityRefusal::PinMismatch { .. } => forbidden(
                "The key is not pinned",
                "the certificate's key is not one that was announced; ask the receiver's operator to pin it",
            ),
        }
    }
}

impl From<&SignatureRefusal> for Answer {
    fn from(refusal: &SignatureRefusal) -> Self {
        let refused = |title, detail: &str| {
            Self::new(StatusCode::UNAUTHORIZED, refusal.name(), title, detail)
        };
        match refusal {
            SignatureRefusal::Missing { .. } => refused(
                "The delivery bears no signature",
                "sign the delivery as the agreed scheme demands",
            ),
            SignatureRefusal::Malformed { .. } => refused(
                "The signature cannot be read",
                "write signature and timestamp in the agreed scheme's form, each once",
            ),
            SignatureRefusal::Mismatch { .. } => refused(
                "The signature does not match",
                "sign the exact bytes of the body with the agreed secret",
            ),
            SignatureRefusal::AccountMismatch => Self::account_mismatch(),
            SignatureRefusal::TimestampOutsideTolerance { .. } => refused(
                "The timestamp is too old or too new",
                "sign at the time of sending, with a clock that is right",
            ),
        }
    }
}

impl From<&InboxFailure> for Answer {
    fn from(failure: &InboxFailure) -> Self {
        match failure {
            InboxFailure::QueueFull => Self {
                held_back: HELD_BACK,
                ..Self::unavailable("queue-full", "too many deliveries wait: send again", 1)
            },
            InboxFailure::ShuttingDown => Self::shutting_down(),
            InboxFailure::Unavailable { .. } => Self::unavailable(
                "store-unavailable",
                "the store is out of reach: send again",
                5,
            ),
            InboxFailure::TimedOut { .. } => Self::request_too_slow(),
            InboxFailure::Commit { .. } | InboxFailure::Row { .. } => Self::unavailable(
                "store-unavailable",
                "the store did not take the delivery: send again",
                2,
            ),
        }
    }
}

/// A response that says what a profile wants said, if it is anything.
pub(super) fn with_body(body: &AnswerBody) -> Response {
    let mut response = Response::new(Body::from(body.text.to_string()));
    if !body.text.is_empty()
        && let Ok(media_type) = HeaderValue::from_str(&body.content_type)
    {
        response.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    response
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match &self.instead {
            Some(body) => with_body(body),
            None => {
                let mut response = Response::new(Body::from(self.problem.to_json()));
                let media_type = HeaderValue::from_static(problem::MEDIA_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, media_type);
                response
            }
        };
        *response.status_mut() = self.problem.status;
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.afterwards != Afterwards::Keep {
            response.extensions_mut().insert(self.afterwards);
        }
        response
    }
}
