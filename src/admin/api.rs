//! `/api`: the objects of the command line's `--json`, as pages.

use std::error::Error;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinError;

use super::guard::answer;
use super::{Operator, Pages, Reloaded};
use crate::problem::Problem;
use crate::store::{Cursor, Filter, ReadFailure};
use crate::text::chain;

/// How long a page is when nobody says.
const LIMIT_DEFAULT: usize = 100;

/// What counts for a list of the store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfList {
    tenant: Option<String>,
    since: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// What counts for the list of certificates: they are all in use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCertificates {
    tenant: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// What counts for one event: two producers may give the same id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfEvent {
    producer: Option<String>,
}

/// Nothing counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfNothing {}

impl OfList {
    fn filter(self) -> Result<Filter, Problem> {
        let after = match self.after.as_deref() {
            None | Some("") => None,
            Some(text) => Some(
                text.parse::<Cursor>()
                    .map_err(|fault| bad_request(&fault.to_string()))?,
            ),
        };
        let since = match self.since.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let time = text.parse::<jiff::Timestamp>();
                Some(time.map_err(|fault| {
                        bad_request(&format!(
                            "\"since\" is no time as 2026-01-31T08:00:00Z is (RFC 3339; a + in it is written %2B): {fault}"
                        ))
                    })?)
            }
        };
        let limit = match self.limit {
            None => LIMIT_DEFAULT,
            Some(0) => Filter::LIMIT_MAX,
            Some(limit) => limit.min(Filter::LIMIT_MAX),
        };
        Ok(Filter {
            tenant: self.tenant,
            since,
            after,
            limit,
        })
    }
}

type Asked<T> = Result<Query<T>, QueryRejection>;

/// What was asked; what does not count here is told, for a list that silently holds more than was asked for misleads.
fn asked<T>(query: Asked<T>) -> Result<T, Problem> {
    match query {
        Ok(Query(asked)) => Ok(asked),
        Err(fault) => Err(bad_request(&misunderstood(&fault.body_text()))),
    }
}

/// What is wrong with a query, without the words of who writes programs.
fn misunderstood(told: &str) -> String {
    let told = told
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(told);
    if told.starts_with("limit: ") {
        return "\"limit\" is a whole number; 0 is as many as go on a page".to_owned();
    }
    told.to_owned()
}

fn filter(query: Asked<OfList>) -> Result<Filter, Problem> {
    asked(query)?.filter()
}

pub(super) async fn events(State(pages): State<Pages>, query: Asked<OfList>) -> Response {
    match filter(query) {
        Ok(filter) => page(pages.store.views().events(filter).await),
        Err(problem) => answer(&problem),
    }
}

pub(super) async fn payments(State(pages): State<Pages>, query: Asked<OfList>) -> Response {
    match filter(query) {
        Ok(filter) => page(pages.store.views().payments(filter).await),
        Err(problem) => answer(&problem),
    }
}

pub(super) async fn refusals(State(pages): State<Pages>, query: Asked<OfList>) -> Response {
    match filter(query) {
        Ok(filter) => page(pages.store.views().refusals(filter).await),
        Err(problem) => answer(&problem),
    }
}

pub(super) async fn event(
    State(pages): State<Pages>,
    Path((tenant, id)): Path<(String, String)>,
    query: Asked<OfEvent>,
) -> Response {
    let producer = match asked(query) {
        Ok(of) => of.producer,
        Err(problem) => return answer(&problem),
    };
    let found = pages
        .store
        .views()
        .whole_events_by_id(Some(&tenant), &id)
        .await;
    let found = found.map(|mut events| {
        events.retain(|found| {
            let named = producer.as_deref();
            named.is_none_or(|name| found.shown.event.producer == name)
        });
        events
    });
    if let Ok(events) = &found {
        let whose = events.iter().map(|found| &*found.shown.event.producer);
        let mut whose: Vec<&str> = whose.collect();
        whose.sort_unstable();
        whose.dedup();
        if whose.len() > 1 {
            return answer(&Problem {
                status: StatusCode::CONFLICT,
                name: "ambiguous-id",
                title: "Several producers have an event of this id",
                detail: format!("choose with ?producer=NAME: {}", whose.join(", ")),
            });
        }
    }
    // Accepted before conflicts: the first is what the id stands for.
    one(found.map(|events| events.into_iter().next()), "event")
}

/// No page of ours.
pub(super) async fn unknown() -> Response {
    answer(&Problem {
        status: StatusCode::NOT_FOUND,
        name: "not-found",
        title: "Not found",
        detail: "the pages are /healthz, /readyz, /metrics, /api/events, /api/events/TENANT/ID, /api/payments, /api/payments/TENANT/ID, /api/refusals, /api/certificates, and /api/reload for POST".to_owned(),
    })
}

/// A page of ours, asked for by a method that it has not.
pub(super) async fn method_not_allowed() -> Response {
    answer(&Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        name: "method-not-allowed",
        title: "The page has no such method",
        detail: "ask by one that the header Allow names".to_owned(),
    })
}

pub(super) async fn payment(
    State(pages): State<Pages>,
    Path((tenant, id)): Path<(String, String)>,
    query: Asked<OfNothing>,
) -> Response {
    if let Err(problem) = asked(query) {
        return answer(&problem);
    }
    let found = pages.store.views().payments_by_id(Some(&tenant), &id).await;
    one(found.map(|payments| payments.into_iter().next()), "payment")
}

/// The list is gathered whole, so its cursor is a place in it.
pub(super) async fn certificates(
    State(pages): State<Pages>,
    query: Asked<OfCertificates>,
) -> Response {
    let of = match asked(query) {
        Ok(of) => of,
        Err(problem) => return answer(&problem),
    };
    let after = match of.after.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse::<usize>() {
            Ok(after) => after,
            Err(_no_number) => return answer(&bad_request("\"after\" is no cursor of this list")),
        },
    };
    let limit = match of.limit {
        None => LIMIT_DEFAULT,
        Some(0) => usize::MAX,
        Some(limit) => limit,
    };
    match pages.operator.certificates().await {
        Ok(mut items) => {
            if let Some(tenant) = of.tenant {
                items.retain(|item| item.tenant_id.as_ref() == Some(&tenant));
            }
            let end = after.saturating_add(limit);
            let next = (end < items.len()).then(|| end.to_string());
            let items: Vec<_> = items.into_iter().skip(after).take(limit).collect();
            Json(json!({ "items": items, "next": next })).into_response()
        }
        Err(failure) => unreadable(&failure),
    }
}

pub(super) async fn reload(State(pages): State<Pages>) -> Response {
    let outcome = match brought_to_its_end(pages.operator).await {
        Ok(outcome) => outcome,
        // A panic has told of itself.
        Err(_broken_off) => {
            return answer(&Problem {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                name: "defect",
                title: "The reload came to no end",
                detail: "see the log, and ask for it once more".to_owned(),
            });
        }
    };
    match outcome {
        Ok(needs_restart) => {
            Json(json!({ "reloaded": true, "needs_restart": needs_restart })).into_response()
        }
        Err(faults) => {
            let faults: Vec<_> = faults
                .iter()
                .map(|fault| json!({ "file": fault.file, "line": fault.line, "key": fault.key, "what": fault.what, "mend": fault.mend }))
                .collect();
            let problem = json!({
                "type": "urn:countersign:problem:configuration-refused",
                "title": "The configuration was refused",
                "status": 422,
                "detail": "the running configuration serves on; mend every fault and reload again",
                "faults": faults,
            });
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                [("content-type", crate::problem::MEDIA_TYPE)],
                problem.to_string(),
            )
                .into_response()
        }
    }
}

/// Whoever asks may go away meanwhile: what has begun goes on, is counted and logged.
async fn brought_to_its_end(operator: Arc<dyn Operator>) -> Result<Reloaded, JoinError> {
    tokio::spawn(async move { operator.reload().await }).await
}

fn page<T: Serialize>(read: Result<T, ReadFailure>) -> Response {
    match read {
        Ok(page) => Json(page).into_response(),
        Err(failure) => unreadable(&failure),
    }
}

fn one<T: Serialize>(read: Result<Option<T>, ReadFailure>, what: &str) -> Response {
    match read {
        Ok(Some(object)) => Json(object).into_response(),
        Ok(None) => answer(&Problem {
            status: StatusCode::NOT_FOUND,
            name: "not-found",
            title: "Not found",
            detail: format!("no such {what}"),
        }),
        Err(failure) => unreadable(&failure),
    }
}

fn unreadable(failure: &ReadFailure) -> Response {
    tracing::warn!(
        error = failure as &dyn Error,
        "the operator's question could not be answered"
    );
    let detail = match failure {
        // Its own words are the title's.
        ReadFailure::Statement { source } => chain(&**source),
        ReadFailure::Store(fault) => fault.in_full(),
        ReadFailure::TookTooLong { .. } | ReadFailure::BrokenOff => chain(failure),
    };
    answer(&Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        name: "store-unavailable",
        title: "The store cannot be read",
        detail,
    })
}

fn bad_request(detail: &str) -> Problem {
    Problem {
        status: StatusCode::BAD_REQUEST,
        name: "bad-request",
        title: "The query cannot be understood",
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::sync::Notify;

    use super::super::{Certificates, Readiness};
    use super::*;
    use crate::store::StoreFault;

    #[derive(Debug, thiserror::Error)]
    #[error("db error")]
    struct Statement(#[source] std::io::Error);

    async fn told(failure: ReadFailure) -> String {
        let body = unreadable(&failure).into_body().collect().await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!(problem["title"], "The store cannot be read");
        problem["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_query_is_told_to_be_wrong_in_words_that_say_what_is_right() {
        let asked = |query: &str| {
            let address = format!("/api/events?{query}").parse().unwrap();
            filter(Query::try_from_uri(&address)).map_err(|problem| problem.detail)
        };
        assert_eq!(
            asked("limit=0&since=2026-01-31T08:00:00Z").unwrap().limit,
            Filter::LIMIT_MAX
        );
        for (query, told) in [
            ("limit=many", "\"limit\" is a whole number; 0 is"),
            ("limit=-1", "\"limit\" is a whole number; 0 is"),
            (
                "since=yesterday",
                "\"since\" is no time as 2026-01-31T08:00:00Z is",
            ),
            (
                "since=2026-01-31T08:00:00+01:00",
                "a + in it is written %2B",
            ),
            ("producer=acme", "producer: unknown field"),
        ] {
            let detail = asked(query).unwrap_err();
            assert!(detail.contains(told), "{query}: {detail}");
            assert!(!detail.contains("deserialize"), "{query}: {detail}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_once_and_with_every_cause() {
        let source = || Box::new(Statement(std::io::Error::other("relation is gone")));
        let failure = ReadFailure::Statement { source: source() };
        assert_eq!(told(failure).await, "db error: relation is gone");
        let place = "postgres://db.example/inbox".to_owned();
        let failure = ReadFailure::Store(StoreFault::Unreachable {
            place,
            source: source(),
            mend: Some("start the database"),
        });
        assert_eq!(
            told(failure).await,
            "postgres://db.example/inbox: the database cannot be reached: db error: relation is gone; start the database"
        );
    }

    /// Reloads once it is told to.
    #[derive(Default)]
    struct Slow {
        begun: Notify,
        goes_on: Notify,
        done: Notify,
    }

    impl Operator for Slow {
        fn readiness(&self) -> Readiness {
            unreachable!("nobody asks")
        }

        fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>> {
            Box::pin(async {
                self.begun.notify_one();
                self.goes_on.notified().await;
                self.done.notify_one();
                Ok(Vec::new())
            })
        }

        fn certificates(&self) -> Pin<Box<dyn Future<Output = Certificates> + Send + '_>> {
            unreachable!("nobody asks")
        }
    }

    #[tokio::test]
    async fn a_reload_is_brought_to_its_end_when_whoever_asked_has_gone() {
        let slow = Arc::new(Slow::default());
        let asked = brought_to_its_end(Arc::clone(&slow) as Arc<dyn Operator>);
        tokio::select! {
            _ = asked => unreachable!("it was not told to go on"),
            () = slow.begun.notified() => {}
        }
        slow.goes_on.notify_one();
        let done = tokio::time::timeout(Duration::from_secs(60), slow.done.notified());
        done.await.unwrap();
    }
}
