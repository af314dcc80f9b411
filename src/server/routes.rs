//! The layers of the providers' side, outermost first.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::HeaderName;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::{Afterwards, Answer};
use super::identify::identify;
use super::receive::receive;
use super::receiver::Receiver;
use crate::inbox::Inbox;
use crate::telemetry::Wait;
use crate::tls::Connection;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One handler for every path: which paths there are, a reload may change.
pub(super) fn providers<I: Inbox + 'static>(
    receiver: Arc<Receiver<I>>,
) -> impl Service<
    http::Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    ServiceBuilder::new()
        .map_request(|request: http::Request<Incoming>| request.map(Body::new))
        .layer(from_fn_with_state(Arc::clone(&receiver), account::<I>))
        .layer(CatchPanicLayer::custom(defect))
        .layer(from_fn_with_state(Arc::clone(&receiver), identify::<I>))
        .service(receive::<I>.with_state(receiver))
}

/// Counts and times each answer, gives it its id, and sees to it that a connection which must not go on does not.
async fn account<I: Send + Sync + 'static>(
    State(receiver): State<Arc<Receiver<I>>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let connection = request.extensions().get::<Connection>().cloned();
    let version = request.version();
    let mut response = next.run(request).await;
    let afterwards = response.extensions().get::<Afterwards>();
    if afterwards.is_some_and(|afterwards| afterwards.closes_connection(version))
        && let Some(connection) = connection
    {
        connection.close_after_response();
    }
    let id = receiver.request_id();
    response.headers_mut().insert(X_REQUEST_ID, id);
    receiver.meters.responded(response.status().as_u16());
    let seconds = begun.elapsed().as_secs_f64();
    receiver.meters.waited(Wait::Request, seconds);
    response
}

/// A defect of ours is a failure like any other: the sender comes again.
fn defect(_panic: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request met a defect of ours; answered 503");
    Answer::failed_within().into_response()
}
