//! The answer to a call, classified by what the run has to do next.

use std::time::Duration;

use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use super::body::{Body, BodyFault, Object, unescape};
use super::catalogue::{self, RetryClass};
use super::envelope::{self, ErrorBody, LABEL_MAX_BYTES};
use super::{Envelope, Mask, Operation};
use crate::ids::Subject;
use crate::text::bounded;

/// The most bytes that a detail, of at most 4 KiB, quotes of a body.
const QUOTED_MAX_BYTES: usize = 2 * 1024;
/// What may precede a quoted status: JSON's quote, Python's, or HTML's.
const QUOTES: [&str; 4] = ["\"", "'", "&quot;", "&#34;"];

/// A status of a sync in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// This call started the sync.
    #[serde(rename = "SYNC_STARTED")]
    Started,
    /// The sync was running before this call.
    #[serde(rename = "SYNC_RUNNING")]
    Running,
    /// A chunk of an account's sync is done; the next call starts the next chunk.
    #[serde(rename = "CHUNK_DONE")]
    ChunkDone,
}

impl Progress {
    /// The status as the provider writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "SYNC_STARTED",
            Self::Running => "SYNC_RUNNING",
            Self::ChunkDone => "CHUNK_DONE",
        }
    }
}

/// A status of an ended sync. After `SYNC_DONE` and `SYNC_ERROR`, the next call starts the whole sync again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Finish {
    /// The whole history is loaded.
    #[serde(rename = "SYNC_DONE")]
    Done,
    /// The provider gave up.
    #[serde(rename = "SYNC_ERROR")]
    Error,
    /// "The chat no longer exists at the provider."
    #[serde(rename = "CHAT_DELETED")]
    Deleted,
}

impl Finish {
    /// Every status that ends a sync.
    pub const ALL: [Self; 3] = [Self::Done, Self::Error, Self::Deleted];

    /// The status as the provider writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "SYNC_DONE",
            Self::Error => "SYNC_ERROR",
            Self::Deleted => "CHAT_DELETED",
        }
    }
}

/// A documented status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a sync in progress.
    InProgress(Progress),
    /// Of an ended sync.
    Over(Finish),
}

impl Status {
    /// Reads a status as the provider writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let text: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        Self::deserialize(text).ok()
    }

    /// The status as the provider writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress(progress) => progress.as_str(),
            Self::Over(finish) => finish.as_str(),
        }
    }
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// In progress: poll again later, which starts the next chunk after the end of one.
    InProgress(Progress),
    /// Ended: never poll again.
    Over(Finish),
    /// A 200 that cannot be trusted and does not mention an end, so that polling again restarts nothing: in progress for
    /// another subject or object, or without a readable `status`. The text says what is wrong with it.
    Unusable(String),
    /// An error, or no answer.
    Failed(Failure),
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What the failure means for the run.
    pub retry_class: RetryClass,
    /// postpress's error, with the HTTP status as its `status`; absent if none could be read.
    pub envelope: Option<Envelope>,
    /// The HTTP status if it was an error, 504 for a call that timed out, 502 for everything else.
    pub status: u16,
    /// What happened, for people: bounded and without secrets.
    pub detail: String,
    /// `Retry-After`, from now on, not yet capped.
    pub retry_after: Option<Duration>,
    /// The call timed out and may still reach the provider.
    pub may_land_late: bool,
}

impl Failure {
    /// A call without an answer, which is retryable.
    pub(crate) fn lost(status: u16, detail: String, may_land_late: bool) -> Self {
        Self { retry_class: RetryClass::Retryable, envelope: None, status, detail, retry_after: None, may_land_late }
    }

    /// Classifies a response that is not a 2xx, to any call about `subject`, as [`Answer::from_response`] does.
    pub(super) fn from_response(
        subject: &Subject,
        status: u16,
        retry_after: Option<Duration>,
        body: &Body,
        mask: Mask<'_>,
    ) -> Self {
        Response { subject, status, retry_after, body, mask }.error()
    }
}

impl Answer {
    /// Classifies a response: the HTTP `status`, the longest `Retry-After`, and as much of the body as arrived.
    ///
    /// Every 2xx is read like the documented 200. `subject` is that of the call. `mask` hides the key, which the provider may
    /// echo, in every kept text.
    pub fn from_response(
        subject: &Subject,
        status: u16,
        retry_after: Option<Duration>,
        body: &Body,
        mask: Mask<'_>,
    ) -> Self {
        let response = Response { subject, status, retry_after, body, mask };
        match status {
            200..=299 => response.success(),
            _ => Self::Failed(response.error()),
        }
    }
}

/// An HTTP response to one call.
struct Response<'a> {
    subject: &'a Subject,
    status: u16,
    retry_after: Option<Duration>,
    body: &'a Body,
    mask: Mask<'a>,
}

impl Response<'_> {
    fn operation(&self) -> &'static Operation {
        Operation::of(self.subject.kind())
    }

    /// A 2xx. An answer that may be an end must not be polled again, because that call might restart the sync.
    fn success(&self) -> Answer {
        let http_status = self.status;
        let object = match self.body.object() {
            Ok(object) => object,
            Err(no_object) => {
                let reason = self.body.fault().map_or_else(|| no_object.to_string(), |fault| fault.to_string());
                return self.unreadable(format!("postpress answered {http_status}, but {reason}"));
            }
        };
        let Some(status) = object.text("status") else {
            let instead = self.instead_of_status(&object);
            return self.unreadable(format!("postpress answered {http_status} with {instead}"));
        };
        let Some(known) = Status::parse(&status) else {
            let status = self.label(status);
            return Answer::Failed(self.possible_end(format!(
                "postpress answered the unknown status {status:?}; it may be an end, so it ends the run"
            )));
        };
        if !self.operation().statuses.contains(&known) {
            let kind = self.subject.kind();
            return Answer::Failed(self.possible_end(format!(
                "postpress answered {status}, a status that no sync of this kind has ({kind}); it may be an end, so it ends the \
                 run"
            )));
        }
        match (known, self.mismatch(&object)) {
            // The text around an object that is not the whole body may say that the sync has ended.
            (Status::InProgress(_), None) if object.around.into_iter().any(may_be_an_end) => {
                Answer::Failed(self.mentions_an_end(&format!("postpress answered {status} within other text")))
            }
            (Status::InProgress(progress), None) => Answer::InProgress(progress),
            (Status::Over(finish), None) => Answer::Over(finish),
            (Status::InProgress(_), Some(mismatch)) => {
                self.unreadable(format!("postpress answered {status} {mismatch}, so it is not trusted"))
            }
            (Status::Over(_), Some(mismatch)) => {
                Answer::Failed(self.possible_end(format!(
                    "postpress answered {status} {mismatch}; it may be an end, so it ends the run"
                )))
            }
        }
    }

    /// A 2xx that is not an answer about this subject. It ends the run if it mentions an end anywhere.
    fn unreadable(&self, what: String) -> Answer {
        if may_be_an_end(self.body.text()) {
            return Answer::Failed(self.mentions_an_end(&what));
        }
        match self.body.fault() {
            Some(BodyFault::TimedOut) => Answer::Failed(Failure::lost(504, what, true)),
            _ => Answer::Unusable(what),
        }
    }

    /// An answer that is not a 2xx.
    fn error(&self) -> Failure {
        let status = self.status;
        let object = self.body.object();
        let error = object.as_ref().ok().filter(|_| status >= 400).and_then(|object| self.error_body(object));
        let retry_class = error.as_ref().map(|ErrorBody { envelope, form }| (envelope.kind.as_str(), *form));
        let retry_class = catalogue::retry_class(self.operation(), status, retry_class);
        if retry_class != RetryClass::Terminal && may_be_an_end(self.body.text()) {
            return self.mentions_an_end(&format!("postpress answered {status}"));
        }
        if let Some(ErrorBody { envelope, .. }) = error {
            let detail = format!("postpress answered {status}: {} ({})", envelope.title, envelope.kind);
            return Failure { envelope: Some(envelope), ..self.failure(retry_class, detail) };
        }
        let what = without_envelope(status, self.body.fault());
        // The envelope, which decides what the status means, may not have arrived yet.
        if self.body.fault() == Some(BodyFault::TimedOut) && object.is_err() {
            return Failure { retry_after: self.retry_after, ..Failure::lost(504, what, true) };
        }
        self.failure(retry_class, what)
    }

    fn mentions_an_end(&self, what: &str) -> Failure {
        let text = bounded(self.mask.hide_in_raw(self.body.text()), QUOTED_MAX_BYTES).0;
        self.possible_end(format!("{what}; it mentions an end, so it ends the run: {text}"))
    }

    /// An answer that may be an end but cannot be trusted.
    fn possible_end(&self, detail: String) -> Failure {
        self.failure(RetryClass::Terminal, detail)
    }

    fn failure(&self, retry_class: RetryClass, detail: String) -> Failure {
        Failure {
            retry_class,
            envelope: None,
            status: if self.status >= 400 { self.status } else { 502 },
            detail,
            retry_after: self.retry_after,
            may_land_late: false,
        }
    }

    /// What a 2xx without a readable `status` contains.
    fn instead_of_status(&self, object: &Object<'_>) -> String {
        match self.error_body(object) {
            Some(ErrorBody { envelope, .. }) => format!("an error envelope: {} ({})", envelope.title, envelope.kind),
            None => "no readable `status`".to_owned(),
        }
    }

    /// Why this is not the sync of the subject; `None` if it is.
    fn mismatch(&self, object: &Object<'_>) -> Option<String> {
        let id = self.operation().answers_id.then(|| (self.subject.kind().id_field(), self.subject.id()));
        let expected = [Some(("object", self.operation().object)), id];
        expected.into_iter().flatten().find_map(|(name, expected)| match object.text(name) {
            Some(found) if found == expected => None,
            Some(found) => Some(format!("with {name} {:?} instead of {expected:?}", self.label(found))),
            None => Some(format!("with no readable {name} instead of {expected:?}")),
        })
    }

    fn error_body(&self, object: &Object<'_>) -> Option<ErrorBody> {
        envelope::read(self.operation(), object, self.status, |text| self.mask.hide_in(text))
    }

    /// A foreign text as part of a message.
    fn label(&self, text: String) -> String {
        bounded(self.mask.hide_in(text), LABEL_MAX_BYTES).0
    }
}

/// Whether a text may say that the sync has ended: it contains a terminal status as a quoted word, anywhere.
pub fn may_be_an_end(text: &str) -> bool {
    let is_quoted = |text: &str, status: &str| {
        text.match_indices(status).any(|(at, _)| QUOTES.iter().any(|quote| text[..at].ends_with(quote)))
    };
    let unescaped = unescape(text);
    Finish::ALL.iter().any(|finish| is_quoted(text, finish.as_str()) || is_quoted(&unescaped, finish.as_str()))
}

/// Describes an answer that is neither a 2xx nor an error envelope.
fn without_envelope(status: u16, fault: Option<BodyFault>) -> String {
    match (status, fault) {
        (300..=399, _) => format!(
            "postpress answered {status}, a redirect, which is not followed because it would receive the API key; \
             check POSTPRESS_BASE_URL"
        ),
        (404, None) => "postpress answered 404 without an error envelope, so the base URL is wrong; set \
             POSTPRESS_BASE_URL to https://api.postpress.ai/v1 or to https://api.postpress.ai/api/v1"
            .to_owned(),
        (_, None) => format!("postpress answered {status} without an error envelope"),
        (_, Some(fault)) => format!("postpress answered {status} without an error envelope: {fault}"),
    }
}

#[cfg(test)]
mod tests;
