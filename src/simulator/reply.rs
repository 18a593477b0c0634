//! The simulated answers, and their form as HTTP.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Serialize, Serializer};

use super::script::{ErrorAnswer, ErrorKind, Oddity};
use crate::ids::{Subject, Workspace, subject_fields};
use crate::postpress::catalogue::ErrorType;
use crate::postpress::{Envelope, Finish, Operation, Progress};

/// The chat id of answers for the wrong chat.
const ANOTHER_CHAT: &str = "chat_of_someone_else";

/// One HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub http_status: u16,
    /// `Retry-After`, in whole seconds on the wire.
    pub retry_after: Option<Duration>,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// `SYNC_STARTED`: this call started a sync.
    Started {
        /// Whether the last sync had been reported as over: the restart that the bridge exists to avoid.
        restart: bool,
    },
    /// `SYNC_STARTED`: this call started the next chunk of an account's sync.
    NextChunk,
    /// `SYNC_RUNNING`.
    Running,
    /// `CHUNK_DONE`: the next call starts the next chunk.
    ChunkDone,
    /// The sync is over, or the chat is deleted.
    Over(Finish),
    /// An error or a malformed answer.
    Error(ErrorAnswer),
}

impl Said {
    /// The reply to call `number`, which is for `subject`.
    pub(super) fn reply(self, subject: &Subject, number: u64) -> Reply {
        let status = match self {
            Self::Started { .. } | Self::NextChunk => Progress::Started.as_str(),
            Self::Running => Progress::Running.as_str(),
            Self::ChunkDone => Progress::ChunkDone.as_str(),
            Self::Over(finish) => finish.as_str(),
            Self::Error(error) => return error.reply(subject, number),
        };
        sync_reply(Operation::of(subject.kind()).object, subject, status)
    }
}

/// The documented answer, with its fields in the documented order.
fn sync_reply(object: &str, subject: &Subject, status: &str) -> Reply {
    #[derive(Serialize)]
    struct WithId<'a> {
        object: &'a str,
        #[serde(flatten, with = "subject_fields")]
        subject: Subject,
        status: &'a str,
    }
    #[derive(Serialize)]
    struct WithoutId<'a> {
        object: &'a str,
        status: &'a str,
    }
    if Operation::of(subject.kind()).answers_id {
        // The provider knows no workspaces.
        let subject = subject.clone().in_workspace(Workspace::DEFAULT);
        json_reply(&WithId { object, subject, status })
    } else {
        json_reply(&WithoutId { object, status })
    }
}

/// A 200 with this JSON.
pub(super) fn json_reply(value: &impl Serialize) -> Reply {
    ok(serde_json::to_string(value).unwrap_or_default())
}

fn ok(body: String) -> Reply {
    Reply { http_status: 200, retry_after: None, content_type: "application/json", body }
}

impl ErrorAnswer {
    pub(super) fn reply(self, subject: &Subject, number: u64) -> Reply {
        let reply = match self.kind {
            ErrorKind::Error(error) => error_reply(error, number),
            ErrorKind::Status(status) => bare_reply(status),
            ErrorKind::Odd(oddity) => odd_reply(oddity, subject, number),
        };
        Reply { retry_after: self.retry_after, ..reply }
    }
}

/// A documented error in its envelope.
pub(super) fn error_reply(error: &ErrorType, number: u64) -> Reply {
    Reply { http_status: error.status, ..envelope_reply(error.kind, error.status, error.meaning, number) }
}

/// A status without an envelope, like that of a gateway or a wrong base URL.
pub(super) fn bare_reply(status: u16) -> Reply {
    Reply { http_status: status, content_type: "text/plain", ..ok(String::new()) }
}

/// A 200 with an envelope for this status.
fn envelope_reply(kind: &str, status: u16, meaning: &str, number: u64) -> Reply {
    json_reply(&Envelope {
        title: kind.rsplit('/').next().unwrap_or(kind).replace('_', " "),
        detail: Some(meaning.to_owned()),
        instance: Some(format!("req_{number:08}")),
        kind: kind.to_owned(),
        status,
    })
}

fn odd_reply(oddity: Oddity, subject: &Subject, number: u64) -> Reply {
    let object = Operation::of(subject.kind()).object;
    let of_another = |status| {
        json_reply(&serde_json::json!({ "object": "ChatHistorySync", "chat_id": ANOTHER_CHAT, "status": status }))
    };
    match oddity {
        Oddity::Html => Reply {
            content_type: "text/html",
            ..ok("<!doctype html><title>Maintenance</title><p>We'll be back soon.".to_owned())
        },
        Oddity::Empty => ok(String::new()),
        Oddity::Truncated => ok("{\"object\": \"ChatHistorySync\", \"chat_id\": \"".to_owned()),
        Oddity::WrongChat => of_another("SYNC_RUNNING"),
        Oddity::WrongChatDone => of_another("SYNC_DONE"),
        Oddity::WrongObject => sync_reply("Chat", subject, "SYNC_RUNNING"),
        Oddity::UnknownStatus => sync_reply(object, subject, "SYNC_PAUSED"),
        Oddity::EnvelopeIn200 => envelope_reply("errors/unexpected_error", 500, "Something went wrong.", number),
    }
}

/// As in the log: `SYNC_DONE`, `404 errors/resource_not_found`, `200 html`.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { restart: false } => f.write_str(Progress::Started.as_str()),
            Self::Started { restart: true } => f.write_str("SYNC_STARTED (restart)"),
            Self::NextChunk => f.write_str("SYNC_STARTED (next chunk)"),
            Self::Running => f.write_str(Progress::Running.as_str()),
            Self::ChunkDone => f.write_str(Progress::ChunkDone.as_str()),
            Self::Over(finish) => f.write_str(finish.as_str()),
            Self::Error(error) => error.kind.fmt(f),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "{} {}", error.status, error.kind),
            Self::Status(status) => status.fmt(f),
            Self::Odd(oddity) => {
                let value = oddity.to_possible_value();
                write!(f, "200 {}", value.as_ref().map_or("odd", PossibleValue::get_name))
            }
        }
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Behaviour, Script};
    use super::*;

    fn error(id: &str) -> Said {
        match Script::of(&Subject::chat(id).unwrap()).behaviour {
            Behaviour::Error(error) => Said::Error(error),
            behaviour => panic!("{behaviour:?} is not an error"),
        }
    }

    #[test]
    fn status_is_the_documented_object() {
        let chat = Subject::chat("a\"b").unwrap();
        let reply = Said::Over(Finish::Done).reply(&chat, 1);
        assert_eq!(reply.http_status, 200);
        assert_eq!(reply.body, r#"{"object":"ChatHistorySync","chat_id":"a\"b","status":"SYNC_DONE"}"#);
    }

    #[test]
    fn error_is_the_documented_envelope() {
        let chat = Subject::chat("x").unwrap();
        let reply = error("resource_not_found-retry-after-7s").reply(&chat, 42);
        assert_eq!((reply.http_status, reply.retry_after), (404, Some(Duration::from_secs(7))));
        let envelope: Envelope = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            envelope,
            Envelope {
                title: "resource not found".to_owned(),
                detail: Some("The requested resource was not found.".to_owned()),
                instance: Some("req_00000042".to_owned()),
                kind: "errors/resource_not_found".to_owned(),
                status: 404,
            }
        );
    }

    #[test]
    fn answers_are_displayed_as_in_the_log() {
        for (said, text) in [
            (Said::Started { restart: true }, "SYNC_STARTED (restart)"),
            (Said::Over(Finish::Deleted), "CHAT_DELETED"),
            (error("limit_exceeded"), "422 errors/limit_exceeded"),
            (error("503"), "503"),
            (error("wrong-chat"), "200 wrong-chat"),
        ] {
            assert_eq!(said.to_string(), text);
        }
    }
}
