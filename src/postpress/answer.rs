//! What a call came back with, classed by what the run has to do next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, BodyFault, NoObject, Object, unescape};
use super::catalogue::{self, RetryClass};
use super::envelope::{self, ErrorBody, LABEL_MAX_BYTES};
use super::{Envelope, Mask};
use crate::ids::ChatId;
use crate::text::bounded;

/// The `object` of every documented 200.
const OBJECT: &str = "ChatHistorySync";
/// The most bytes of a body that is not understood that a detail quotes; a detail has at most 4 KiB.
const QUOTED_MAX_BYTES: usize = 2 * 1024;
/// What may stand in front of a quoted status: JSON's quote, Python's, or HTML's.
const QUOTES: [&str; 4] = ["\"", "'", "&quot;", "&#34;"];

/// A status that says the sync is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// This very call started the sync.
    #[serde(rename = "SYNC_STARTED")]
    Started,
    /// It was running before this call.
    #[serde(rename = "SYNC_RUNNING")]
    Running,
}

impl Progress {
    /// The status as the provider writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "SYNC_STARTED",
            Self::Running => "SYNC_RUNNING",
        }
    }
}

/// A status that says the sync is over. After `SYNC_DONE` and `SYNC_ERROR` the next call starts the whole sync again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Finish {
    /// The whole history is there.
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

/// What one call came back with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// In progress: ask again later.
    InProgress(Progress),
    /// Over: never ask again.
    Over(Finish),
    /// A 200 that cannot be believed, but says nothing of an end either, so asking again restarts nothing: in progress
    /// of another chat or object, or no readable `status`. The text says what was wrong with it.
    Unusable(String),
    /// An error, or no answer at all.
    Failed(Failure),
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What the failure means for the run.
    pub retry_class: RetryClass,
    /// postpress's own error, its `status` replaced by the HTTP status; absent if there was none to read.
    pub envelope: Option<Envelope>,
    /// The HTTP status if it was an error; 504 for a call that ran out of time, 502 for everything else.
    pub status: u16,
    /// What happened, for people: bounded, and without any secret.
    pub detail: String,
    /// `Retry-After`, as a time from now; not yet capped.
    pub retry_after: Option<Duration>,
    /// The call ran out of time and may have reached the provider, where it may still land.
    pub may_land_late: bool,
}

impl Failure {
    /// A call that came back without an answer; it may pass.
    pub(crate) fn lost(status: u16, detail: String, may_land_late: bool) -> Self {
        Self { retry_class: RetryClass::Retryable, envelope: None, status, detail, retry_after: None, may_land_late }
    }
}

impl Answer {
    /// Classes what came back: the HTTP `status`, the longest `Retry-After`, and as much of the body as arrived.
    ///
    /// Every 2xx is read like the documented 200. `chat` is the one that was asked for. `mask` hides the key, which the
    /// provider may echo, in every text that is kept.
    pub fn from_response(
        chat: &ChatId,
        status: u16,
        retry_after: Option<Duration>,
        body: &Body,
        mask: Mask<'_>,
    ) -> Self {
        let response = Response { status, retry_after, body, mask };
        match status {
            200..=299 => response.success(chat),
            _ => Self::Failed(response.error()),
        }
    }
}

/// An HTTP response to one call.
struct Response<'a> {
    status: u16,
    retry_after: Option<Duration>,
    body: &'a Body,
    mask: Mask<'a>,
}

impl Response<'_> {
    /// What a 2xx says. Whatever may be an end must not be polled again, because that call might restart the sync.
    fn success(&self, chat: &ChatId) -> Answer {
        let http_status = self.status;
        let object = match self.body.object() {
            Ok(object) => object,
            Err(no_object) => {
                return self.unreadable(format!("postpress answered {http_status}, but {}", self.reason(no_object)));
            }
        };
        let Some(status) = object.text("status") else {
            let instead = self.instead_of_status(&object);
            return self.unreadable(format!("postpress answered {http_status} with {instead}"));
        };
        match (Status::parse(&status), self.mismatch(&object, chat)) {
            // What stands around an object that is no whole answer may make it a part of something that has ended.
            (Status::InProgress(_), None) if object.around().into_iter().any(may_be_an_end) => {
                Answer::Failed(self.mentions_an_end(&format!("postpress answered {status} within other text")))
            }
            (Status::InProgress(progress), None) => Answer::InProgress(progress),
            (Status::Over(finish), None) => Answer::Over(finish),
            (Status::InProgress(_), Some(mismatch)) => {
                self.unreadable(format!("postpress answered {status} {mismatch}, so it is not believed"))
            }
            (Status::Over(_), Some(mismatch)) => {
                Answer::Failed(self.possible_end(format!(
                    "postpress answered {status} {mismatch}; it may be an end, so it ends the run"
                )))
            }
            (Status::Unknown, _) => {
                let status = self.label(status);
                Answer::Failed(self.possible_end(format!(
                    "postpress answered the unknown status {status:?}; it may be an end, so it ends the run"
                )))
            }
        }
    }

    /// A 2xx that is not an answer about this chat: it ends the run if it mentions an end anywhere.
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
        let retry_class = catalogue::retry_class(status, retry_class);
        if retry_class != RetryClass::Terminal && may_be_an_end(self.body.text()) {
            return self.mentions_an_end(&format!("postpress answered {status}"));
        }
        if let Some(ErrorBody { envelope, .. }) = error {
            return Failure {
                retry_class,
                detail: format!("postpress answered {status}: {} ({})", envelope.title, envelope.kind),
                envelope: Some(envelope),
                status,
                retry_after: self.retry_after,
                may_land_late: false,
            };
        }
        let what = without_envelope(status, self.body.fault());
        // Its envelope may still have been on the way, and with it what the status means.
        if self.body.fault() == Some(BodyFault::TimedOut) && object.is_err() {
            return Failure { retry_after: self.retry_after, ..Failure::lost(504, what, true) };
        }
        Failure {
            retry_class,
            envelope: None,
            status: if status >= 400 { status } else { 502 },
            detail: what,
            retry_after: self.retry_after,
            may_land_late: false,
        }
    }

    fn mentions_an_end(&self, what: &str) -> Failure {
        let text = bounded(self.mask.hide_in_raw(self.body.text()), QUOTED_MAX_BYTES).0;
        self.possible_end(format!("{what}; it mentions an end, so it ends the run: {text}"))
    }

    /// An answer that may be an end, but not one that can be believed.
    fn possible_end(&self, detail: String) -> Failure {
        Failure {
            retry_class: RetryClass::Terminal,
            envelope: None,
            status: if self.status >= 400 { self.status } else { 502 },
            detail,
            retry_after: self.retry_after,
            may_land_late: false,
        }
    }

    /// What kept the body from being one object.
    fn reason(&self, no_object: NoObject) -> String {
        self.body.fault().map_or_else(|| no_object.to_string(), |fault| fault.to_string())
    }

    /// What a 2xx without a readable `status` has.
    fn instead_of_status(&self, object: &Object<'_>) -> String {
        match self.error_body(object) {
            Some(ErrorBody { envelope, .. }) => format!("an error envelope: {} ({})", envelope.title, envelope.kind),
            None => "no readable `status`".to_owned(),
        }
    }

    /// How this is not the sync of `chat`; `None` if it is.
    fn mismatch(&self, object: &Object<'_>, chat: &ChatId) -> Option<String> {
        let expected = [("object", OBJECT), ("chat_id", chat.as_str())];
        expected.into_iter().find_map(|(name, expected)| match object.text(name) {
            Some(found) if found == expected => None,
            Some(found) => Some(format!("with {name} {:?} instead of {expected:?}", self.label(found))),
            None => Some(format!("with no readable {name} instead of {expected:?}")),
        })
    }

    fn error_body(&self, object: &Object<'_>) -> Option<ErrorBody> {
        envelope::read(object, self.status, |text| self.mask.hide_in(text))
    }

    /// A foreign text, to be shown as part of a message.
    fn label(&self, text: String) -> String {
        bounded(self.mask.hide_in(text), LABEL_MAX_BYTES).0
    }
}

/// Whether a text may say that the sync is over: a terminal status stands in it as a quoted word, wherever that is.
pub fn may_be_an_end(text: &str) -> bool {
    let is_quoted = |text: &str, status: &str| {
        text.match_indices(status).any(|(at, _)| QUOTES.iter().any(|quote| text[..at].ends_with(quote)))
    };
    let unescaped = unescape(text);
    Finish::ALL.iter().any(|finish| is_quoted(text, finish.as_str()) || is_quoted(&unescaped, finish.as_str()))
}

/// What the `status` of a 2xx says.
enum Status {
    InProgress(Progress),
    Over(Finish),
    Unknown,
}

impl Status {
    fn parse(text: &str) -> Self {
        match text {
            "SYNC_STARTED" => Self::InProgress(Progress::Started),
            "SYNC_RUNNING" => Self::InProgress(Progress::Running),
            "SYNC_DONE" => Self::Over(Finish::Done),
            "SYNC_ERROR" => Self::Over(Finish::Error),
            "CHAT_DELETED" => Self::Over(Finish::Deleted),
            _ => Self::Unknown,
        }
    }
}

/// What to say of an answer that is not a 2xx and has no error envelope.
fn without_envelope(status: u16, fault: Option<BodyFault>) -> String {
    match (status, fault) {
        (300..=399, _) => format!(
            "postpress answered {status}, a redirect, which is not followed, because the API key would go along; \
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
