//! The errors: the provider's envelope, with types of our own, as `application/problem+json` (RFC 9457 has the same fields).

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::Response;
use crate::postpress::Envelope;

/// The media type of an error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// After how many seconds to try again what is not available now.
pub const RETRY_AFTER_SECONDS: &str = "5";

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It came through a front end that is not supported, or not in the form that a supported one has.
    UnreadableRequest,
    /// The body is no trigger.
    InvalidTrigger,
    /// The idempotency key beside the body cannot be one.
    InvalidIdempotencyKey,
    /// The path names no chat that can be.
    InvalidChatId,
    /// It is not known who asks.
    Unauthorized,
    /// There is no such path.
    NoSuchPath,
    /// No run of this chat is remembered.
    NoRun,
    /// The path does not answer this method.
    MethodNotAllowed,
    /// The body is larger than any trigger.
    BodyTooLarge,
    /// The body says that it is something else than JSON.
    UnsupportedMediaType,
    /// The queue or the table did not do what it was asked.
    Unavailable,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 11] = [
        Self::UnreadableRequest,
        Self::InvalidTrigger,
        Self::InvalidIdempotencyKey,
        Self::InvalidChatId,
        Self::Unauthorized,
        Self::NoSuchPath,
        Self::NoRun,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Unavailable,
    ];

    /// Its status, `type` and `title`.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnreadableRequest => {
                (StatusCode::BAD_REQUEST, "bridge/unreadable_request", "The request cannot be read")
            }
            Self::InvalidTrigger => (StatusCode::BAD_REQUEST, "bridge/invalid_trigger", "The body is not a trigger"),
            Self::InvalidIdempotencyKey => {
                (StatusCode::BAD_REQUEST, "bridge/invalid_idempotency_key", "The idempotency key cannot be used")
            }
            Self::InvalidChatId => (StatusCode::BAD_REQUEST, "bridge/invalid_chat_id", "No chat can have this id"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "bridge/unauthorized", "Not authenticated"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "bridge/no_such_path", "There is nothing here"),
            Self::NoRun => (StatusCode::NOT_FOUND, "bridge/no_run", "No run is remembered"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "bridge/method_not_allowed", "The path does not answer this method")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "bridge/body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bridge/unsupported_media_type", "The body is not JSON")
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "bridge/unavailable", "Not available at the moment"),
        }
    }

    /// The answer's status.
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

/// A request that is refused. Neither `detail` nor a header shows a secret, or anything that the request said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub kind: Kind,
    /// What to do about it.
    pub detail: String,
    /// A header that goes with it.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem that needs no header of its own.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), header: None }
    }

    /// 401, with how to authenticate.
    pub fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Self {
        Self::new(Kind::Unauthorized, detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// 405, with the methods that there are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Kind::MethodNotAllowed, format!("use one of: {allow}")).with(ALLOW, allow)
    }

    /// 503, with when to try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, detail).with(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// The error as the provider would write it; `instance` is the request's id.
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

    /// The answer to the request of this id.
    ///
    /// # Panics
    /// Never: every part of an envelope has a JSON form.
    pub fn into_response(self, instance: &str) -> Response {
        let mut response = Response::new(serde_json::to_string(&self.envelope(instance)).expect("plain data"));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.header);
        response
    }
}
