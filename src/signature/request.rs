//! What is verified: a request, as it came.

use http::{HeaderMap, Method};

/// What of a request is signed besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path and query, as they stand in the request line.
    pub path_and_query: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
}
