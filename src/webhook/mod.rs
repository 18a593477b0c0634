//! The HTTP front door: it puts authenticated triggers on the queue, and tells how a chat's run is getting on.
//!
//! ```text
//! routes.rs      which call is meant               status.rs      what a chat's status answer says
//! auth.rs        who may make it                   request.rs     what a trigger that is handed in says
//! key_ring.rs    its secrets, and their rotation   problem.rs     the errors, in the provider's form
//! handler.rs     one request, one answer           openapi.rs     all of it, for machines
//! lambda.rs      Lambda's HTTP events in these terms
//! ```
//!
//! It never calls the provider, so asking is always safe. A request is authenticated before its body is read, and every
//! answer is one of those that `events/schemas/webhook.openapi.json` names.

use http::{HeaderMap, Method};

#[cfg(feature = "aws")]
mod auth;
#[cfg(feature = "aws")]
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

#[cfg(feature = "aws")]
pub use auth::Auth;
#[cfg(feature = "aws")]
pub use handler::Webhook;
#[cfg(feature = "aws")]
pub use lambda::Answer;

/// A request, as it reached the function.
#[derive(Debug, Clone)]
pub struct Request {
    /// Lambda's id of the request, which goes into the log and into an error's `instance`.
    pub id: String,
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub path: Path,
    /// Its headers; several values of one name may be several entries.
    pub headers: HeaderMap,
    /// Its body, no longer in Base64.
    pub body: Vec<u8>,
}

/// The path of a request, without the API's stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// As the client sent it, percent-encoded: from a function URL or a REST API.
    Encoded(String),
    /// Decoded already, so that a slash in a chat id looks like any other: from an HTTP API.
    Decoded(String),
}

/// An answer.
pub type Response = http::Response<String>;

/// The media type of a trigger, and of an answer that is no error.
const JSON: &str = "application/json";
