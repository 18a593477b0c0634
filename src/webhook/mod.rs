//! The HTTP API: it puts authenticated triggers on the queue and answers with the status of a chat's run.
//!
//! ```text
//! lambda.rs    Lambda's HTTP events as requests   handler.rs   one request, one answer
//! routes.rs    which call a path means            auth.rs      who may make it
//! request.rs   the trigger in a POST              status.rs    the status of a run
//! problem.rs   errors, as the provider's envelope openapi.rs   the OpenAPI description
//! ```
//!
//! It never calls the provider, so a query is always safe. A request is authenticated before its body is read, and every
//! answer is described in `events/schemas/webhook.openapi.json`.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;

mod auth;
mod handler;
#[cfg(feature = "aws")]
mod lambda;
pub mod openapi;
pub mod problem;
pub mod request;
pub mod routes;
pub mod status;
#[cfg(test)]
mod tests;

pub use auth::Auth;
pub(crate) use auth::{bears_one_of, single};
pub use handler::Webhook;
#[cfg(feature = "aws")]
pub use lambda::Answer;

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Lambda's request id, for the log and an error's `instance`.
    pub id: String,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: Path,
    /// The values of `workspace` in the query, decoded. No other parameter is read.
    pub workspaces: Vec<String>,
    /// The headers. A name may have several values.
    pub headers: HeaderMap,
    /// The body, decoded from Base64.
    pub body: Vec<u8>,
}

/// The path of a request, without the API's stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// As the client sent it, percent-encoded: from a function URL or a REST API.
    Encoded(String),
    /// Already decoded, so that a slash in a chat id looks like any other: from an HTTP API.
    Decoded(String),
}

/// An HTTP response.
pub type Response = http::Response<String>;

/// The media type of triggers, and of answers other than errors.
pub(crate) const JSON: &str = "application/json";
pub(crate) const NO_STORE: &str = "no-store";

/// A response with this body.
///
/// # Panics
/// Never: bodies are plain data, which is always valid JSON.
pub(crate) fn json_response(
    status: StatusCode,
    body: &impl Serialize,
    media_type: &'static str,
    cache: &'static str,
) -> Response {
    let mut response = Response::new(serde_json::to_string(body).expect("plain data"));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
