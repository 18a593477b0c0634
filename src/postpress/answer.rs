//! What a call came back with, classed by what the run has to do next.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::catalogue::{self, Disposition};
use super::envelope::LABEL_MAX_BYTES;
use super::{Envelope, Mask};
use crate::ids::ChatId;
use crate::text::bounded;

/// The most bytes of a body that are read, counted after decompression. A documented answer has about 100, and an
/// envelope a few hundred; what is larger is something else, and a compressed body must not fill the memory.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The `object` of every documented 200.
const OBJECT: &str = "ChatHistorySync";

/// Why a body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than [`BODY_MAX_BYTES`].
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    TooLarge,
    /// The connection broke before its end, or it could not be decompressed.
    #[error("the body broke off")]
    Cut,
}

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
    pub disposition: Disposition,
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
        Self { disposition: Disposition::Passing, envelope: None, status, detail, retry_after: None, may_land_late }
    }
}

impl Answer {
    /// Classes what came back: the HTTP `status`, `Retry-After` as [`retry_after`] reads it, and the body, decompressed.
    ///
    /// Every 2xx is read like the documented 200. `chat` is the one that was asked for. Whatever text of the answer is kept,
    /// `mask` hides the key in it, which the provider may echo.
    pub fn from_response(
        chat: &ChatId,
        status: u16,
        retry_after: Option<Duration>,
        body: Result<&[u8], BodyFault>,
        mask: Mask<'_>,
    ) -> Self {
        let fields = body.map(|body| Fields::parse(body, mask));
        match status {
            200..=299 => from_success(chat, status, retry_after, fields),
            _ => Self::Failed(Failure::from_error(status, retry_after, fields)),
        }
    }
}

/// What a 2xx says. Whatever might be an end must not be polled again, because that call might start the sync anew.
fn from_success(
    chat: &ChatId,
    http_status: u16,
    retry_after: Option<Duration>,
    fields: Result<Result<Fields<'_>, String>, BodyFault>,
) -> Answer {
    let fields = match fields.map_err(|fault| fault.to_string()).flatten() {
        Ok(fields) => fields,
        Err(fault) => return Answer::Unusable(format!("postpress answered {http_status}, but {fault}")),
    };
    let Some(status) = fields.text("status") else {
        return Answer::Unusable(format!("postpress answered {http_status} with {}", fields.instead_of_status()));
    };
    match (Status::parse(&status), fields.mismatch(chat)) {
        (Status::InProgress(progress), None) => Answer::InProgress(progress),
        (Status::Over(finish), None) => Answer::Over(finish),
        (Status::InProgress(_), Some(mismatch)) => {
            Answer::Unusable(format!("postpress answered {status} {mismatch}; it is not believed"))
        }
        (Status::Over(_), Some(mismatch)) => unexpected(
            retry_after,
            format!("postpress answered {status} {mismatch}; it may be an end, so it ends the run"),
        ),
        (Status::Unknown, _) => {
            let status = fields.label(status);
            unexpected(
                retry_after,
                format!("postpress answered the unknown status {status:?}; it may be an end, so it ends the run"),
            )
        }
    }
}

/// A 2xx that may be an end, but not one that can be believed.
fn unexpected(retry_after: Option<Duration>, detail: String) -> Answer {
    Answer::Failed(Failure {
        disposition: Disposition::Final,
        envelope: None,
        status: 502,
        detail,
        retry_after,
        may_land_late: false,
    })
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

impl Failure {
    /// An answer that is not a 2xx.
    fn from_error(
        status: u16,
        retry_after: Option<Duration>,
        fields: Result<Result<Fields<'_>, String>, BodyFault>,
    ) -> Self {
        let envelope = match &fields {
            Ok(Ok(fields)) if status >= 400 => fields.envelope(status),
            _ => None,
        };
        let kind = envelope.as_ref().map(|envelope| envelope.kind.as_str());
        Self {
            disposition: catalogue::disposition(status, kind),
            detail: match &envelope {
                Some(envelope) => format!("postpress answered {status}: {} ({})", envelope.title, envelope.kind),
                None => without_envelope(status, fields.err()),
            },
            envelope,
            status: if status >= 400 { status } else { 502 },
            retry_after,
            may_land_late: false,
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

/// The members of a JSON object, each value still unread, so that one of the wrong type spoils only itself.
struct Fields<'a> {
    members: BTreeMap<String, &'a RawValue>,
    mask: Mask<'a>,
}

impl<'a> Fields<'a> {
    /// Reads a body; the error says what it is instead of a JSON object.
    fn parse(body: &'a [u8], mask: Mask<'a>) -> Result<Self, String> {
        if body.is_empty() {
            return Err("the body is empty".to_owned());
        }
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
        serde_json::from_str(text).map(|members| Self { members, mask }).map_err(|error| {
            let fault = if error.is_eof() { "the body's JSON has no end" } else { "the body is not a JSON object" };
            fault.to_owned()
        })
    }

    /// The member of this name, if it is a string, as the provider wrote it: to be compared, not to be shown.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.members.get(name)?.get()).ok()
    }

    /// The same, to be shown.
    fn shown(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| self.mask.hide_in(text))
    }

    /// A foreign text, to be shown as part of a message.
    fn label(&self, text: String) -> String {
        bounded(self.mask.hide_in(text), LABEL_MAX_BYTES).0
    }

    /// The error envelope, if these are its members: `title` and `type` make one, and `status` is always the HTTP status.
    fn envelope(&self, http_status: u16) -> Option<Envelope> {
        let envelope = Envelope {
            title: self.shown("title")?,
            detail: self.shown("detail"),
            instance: self.shown("instance"),
            kind: self.shown("type")?,
            status: http_status,
        };
        Some(envelope.bounded())
    }

    /// What a 2xx without a readable `status` has.
    fn instead_of_status(&self) -> String {
        match (self.text("title"), self.text("type")) {
            (Some(title), Some(kind)) => format!("an error envelope: {} ({})", self.label(title), self.label(kind)),
            _ => "no readable `status`".to_owned(),
        }
    }

    /// How this is not the sync of `chat`; nothing if it is.
    fn mismatch(&self, chat: &ChatId) -> Option<String> {
        let expected = [("object", OBJECT), ("chat_id", chat.as_str())];
        expected.into_iter().find_map(|(name, expected)| match self.text(name) {
            Some(found) if found == expected => None,
            Some(found) => Some(format!("with {name} {:?} instead of {expected:?}", self.label(found))),
            None => Some(format!("with no readable {name} instead of {expected:?}")),
        })
    }
}

/// Reads a `Retry-After` header: whole seconds, or an HTTP date, which is taken as a time after `now`.
///
/// A date that is over is no wait at all. Anything else is ignored. RFC 9110, section 10.2.3.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
