//! The operator's side: health, metrics, what was received and turned away, and a reload on request.
//!
//! Plain HTTP, on loopback by default. Anywhere else the configuration demands a token, which every request but
//! `/healthz` and `/readyz` must bear. A web page that asks on behalf of another origin gets nothing. This room looks on: it
//! changes nothing but by [`Operator::reload`].

mod api;
mod certificates;
mod guard;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;

use crate::config::Fault;
use crate::store::{Backlog, Store};
use crate::telemetry::Exporter;

pub use certificates::{CertificateView, Certificates, Role, ShadowView};
pub use guard::Guard;

/// What came of a reload: the keys that count only after a restart, or every fault.
pub type Reloaded = Result<Vec<String>, Vec<Fault>>;

/// What the receiver tells its operator.
pub trait Operator: Send + Sync + 'static {
    /// Whether deliveries can be made durable now.
    fn readiness(&self) -> Readiness;

    /// Reads the configuration and its files again: all or nothing. Gives the keys that count only after a restart.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>>;

    /// Every certificate that matters here, as `/api/certificates` lists them.
    fn certificates(&self) -> Pin<Box<dyn Future<Output = Certificates> + Send + '_>>;
}

/// What `/readyz` says.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether a delivery would be answered 204.
    pub ready: bool,
    /// Whether the receiver is on its way out.
    pub stopping: bool,
    /// The store: [`OK`]; [`SPOOLING`] while the database is away and the spool takes deliveries; or why none is taken.
    pub store: String,
    /// What waits in the spool, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<Backlog>,
    /// The last reload: [`OK`], or what it found wrong; the old configuration serves on.
    pub reload: String,
    /// Since when reloads fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_failing_since: Option<String>,
}

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    operator: Arc<dyn Operator>,
    store: Arc<Store>,
    exporter: Exporter,
    guard: Arc<Guard>,
}

/// What [`Readiness`] says of a part that is well.
pub const OK: &str = "ok";
/// What it says of the store while the spool takes the deliveries.
pub const SPOOLING: &str = "spooling";

/// The operator's routes.
pub fn router(
    operator: Arc<dyn Operator>,
    store: Arc<Store>,
    exporter: Exporter,
    guard: Arc<Guard>,
) -> Router {
    let open = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/events", get(api::events))
        .route("/api/events/{tenant}/{id}", get(api::event))
        .route("/api/payments", get(api::payments))
        .route("/api/payments/{tenant}/{id}", get(api::payment))
        .route("/api/refusals", get(api::refusals))
        .route("/api/certificates", get(api::certificates))
        .route("/api/reload", post(api::reload))
        .fallback(api::unknown)
        // Not for its routes alone: which paths there are is not told to who bears no token.
        .layer(middleware::from_fn_with_state(
            Arc::clone(&guard),
            guard::demand_token,
        ));
    open.merge(guarded)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&guard),
            guard::refuse_other_origins,
        ))
        .with_state(Pages {
            operator,
            store,
            exporter,
            guard,
        })
}

/// The process answers: nothing more.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whoever may ask is told whether, and since when; what is wrong names files, keys and hosts, so it is for those who bear the token.
async fn readyz(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let mut readiness = pages.operator.readiness();
    if !pages.guard.knows_token(&headers) {
        for told in [&mut readiness.store, &mut readiness.reload] {
            if told != OK && told != SPOOLING {
                *told = "failing; the token opens the details".to_owned();
            }
        }
    }
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(readiness)).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let mut response = pages.exporter.render().into_response();
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, version);
    response
}
