//! Errors: the provider's envelope with our own types, as `application/problem+json` (RFC 9457 has the same fields).

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{NO_STORE, Response, json_response};
use crate::ids::SubjectKind;
use crate::postpress::Envelope;

/// The media type of an error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// When to try again after a 503.
pub const RETRY_AFTER_SECONDS: &str = "5";

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It came through an unsupported front end, or malformed.
    UnreadableRequest,
    /// The body is not a trigger.
    InvalidTrigger,
    /// The idempotency key in a header is invalid.
    InvalidIdempotencyKey,
    /// The id in the path, of this kind, is invalid.
    InvalidId(SubjectKind),
    /// The workspace in the query is invalid.
    InvalidWorkspace,
    /// The request is not authenticated.
    Unauthorized,
    /// The path does not exist.
    NoSuchPath,
    /// No run of this chat or account is remembered.
    NoRun,
    /// The path does not answer this method.
    MethodNotAllowed,
    /// The body is larger than any trigger.
    BodyTooLarge,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// The queue or the table failed.
    Unavailable,
}

impl Kind {
    /// Its status, `type` and `title`.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnreadableRequest => {
                (StatusCode::BAD_REQUEST, "bridge/unreadable_request", "The request cannot be read")
            }
            Self::InvalidTrigger => (StatusCode::BAD_REQUEST, "bridge/invalid_trigger", "The body is not a trigger"),
            Self::InvalidIdempotencyKey => {
                (StatusCode::BAD_REQUEST, "bridge/invalid_idempotency_key", "The idempotency key is invalid")
            }
            Self::InvalidId(SubjectKind::Chat) => {
                (StatusCode::BAD_REQUEST, "bridge/invalid_chat_id", "The chat id is invalid")
            }
            Self::InvalidId(SubjectKind::Account) => {
                (StatusCode::BAD_REQUEST, "bridge/invalid_account_id", "The account id is invalid")
            }
            Self::InvalidWorkspace => (StatusCode::BAD_REQUEST, "bridge/invalid_workspace", "The workspace is invalid"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "bridge/unauthorized", "Not authenticated"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "bridge/no_such_path", "The path does not exist"),
            Self::NoRun => (StatusCode::NOT_FOUND, "bridge/no_run", "No run found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "bridge/method_not_allowed", "The method is not allowed")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "bridge/body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bridge/unsupported_media_type", "The body is not JSON")
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "bridge/unavailable", "Temporarily unavailable"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The envelope's `type`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The envelope's `title`.
    pub fn title(self) -> &'static str {
        self.row().2
    }
}

/// A refused request. Neither `detail` nor a header shows a secret, or quotes the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub kind: Kind,
    /// What to do about it.
    pub detail: String,
    /// The header that belongs to it.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without a header.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), header: None }
    }

    /// 401, with a challenge.
    pub fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Self {
        Self::new(Kind::Unauthorized, detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// 405, with the allowed methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Kind::MethodNotAllowed, format!("use one of: {allow}")).with(ALLOW, allow)
    }

    /// 503, with `Retry-After`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, detail).with(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// The error in the provider's format; `instance` is the request's id.
    pub fn envelope(&self, instance: &str) -> Envelope {
        Envelope {
            title: self.kind.title().to_owned(),
            detail: Some(self.detail.clone()),
            instance: Some(instance.to_owned()).filter(|instance| !instance.is_empty()),
            kind: self.kind.name().to_owned(),
            status: self.kind.status().as_u16(),
        }
        .bounded()
    }

    /// The answer to the request with this id.
    pub fn into_response(self, instance: &str) -> Response {
        let mut response = json_response(self.kind.status(), &self.envelope(instance), PROBLEM_JSON, NO_STORE);
        response.headers_mut().extend(self.header);
        response
    }
}
