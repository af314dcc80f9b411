//! The layers of the providers' side, outermost first.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::Answer;
use super::receive::receive;
use super::receiver::Receiver;
use crate::inbox::Inbox;

/// One handler for every path: which paths there are, a reload may change.
pub(super) fn providers<I: Inbox + 'static>(receiver: Arc<Receiver<I>>) -> Router {
    Router::new()
        .fallback(receive::<I>)
        .with_state(receiver)
        .layer(CatchPanicLayer::custom(defect))
}

/// A defect of ours is a failure like any other: the sender comes again.
fn defect(_panic: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request met a defect of ours; answered 503");
    Answer::failed_within().into_response()
}
