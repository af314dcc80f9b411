//! The journey of a request, outermost first.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, Method};
use hyper::body::Incoming;
use tower::{Service, service_fn};

use super::answer::{Afterwards, Answer, Heard};
use super::head::name_the_host;
use super::identify::identify;
use super::receive::receive;
use super::receiver::Receiver;
use super::remark;
use crate::inbox::Inbox;
use crate::telemetry::Wait;
use crate::tls::Connection;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One handler for every path: which paths there are, a reload may change.
pub(super) fn service<I: Inbox + 'static>(
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
    service_fn(move |request: http::Request<Incoming>| {
        let receiver = Arc::clone(&receiver);
        // In a box, since a connection keeps room for it also while it is idle.
        let answered: BoxFuture<'static, _> = Box::pin(async move {
            let (mut head, body) = request.into_parts();
            name_the_host(&mut head);
            Ok(respond(&receiver, &head, body).await)
        });
        answered
    })
}

/// Counts and times each answer, gives it its id, and sees to it that a connection which must not go on does not.
async fn respond<I: Inbox + 'static>(
    receiver: &Receiver<I>,
    head: &Parts,
    body: Incoming,
) -> Response {
    let begun = Instant::now();
    let answered = catch_panic(receiver, head, body).await;
    if let Err(answer) = &answered
        && answer.heard() == Heard::Nowhere
    {
        remark::of_answer(receiver, head, answer);
    }
    if let Err(answer) = &answered
        && !answer.held_back().is_zero()
    {
        tokio::time::sleep(answer.held_back()).await;
    }
    let mut response = answered.into_response();
    let afterwards = response.extensions().get::<Afterwards>();
    if afterwards.is_some_and(|afterwards| afterwards.closes_connection(head.version))
        && let Some(connection) = head.extensions.get::<Connection>()
    {
        connection.close_after_response();
    }
    if head.method == Method::HEAD {
        // hyper leaves it out over HTTP/1.1 alone (RFC 9110 §9.3.2).
        *response.body_mut() = Body::empty();
    }
    let id = receiver.request_id();
    response.headers_mut().insert(X_REQUEST_ID, id);
    receiver.meters.responded(response.status().as_u16());
    let seconds = begun.elapsed().as_secs_f64();
    receiver.meters.waited(Wait::Request, seconds);
    response
}

/// A defect of ours is a failure like any other: the sender comes again.
async fn catch_panic<I: Inbox + 'static>(
    receiver: &Receiver<I>,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Answer> {
    let journey = AssertUnwindSafe(journey(receiver, head, body));
    journey.catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!("a request met a defect of ours; answered 503");
        Err(receiver.defect())
    })
}

/// The gates: who it is, and what becomes of what they say.
async fn journey<I: Inbox + 'static>(
    receiver: &Receiver<I>,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Answer> {
    let (admitted, body) = identify(receiver, head, body).await?;
    receive(receiver, admitted, head, body).await
}
