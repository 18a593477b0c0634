//! The status of the latest run of a chat or an account: what the run table has, except for internals (the fence, its holder) and other producers'
//! triggers.

use http::HeaderMap;
use http::header::IF_NONE_MATCH;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::event::object_schema;
use crate::ids::{Subject, SubjectFields, subject_fields};
use crate::postpress::operation::OPERATIONS;
use crate::postpress::{Envelope, Operation, Status};
use crate::run::{Ending, HISTORY_MAX, HistoryEntry, Item, Phase, PollAnswer};
use crate::time::Millis;

/// The latest run of a chat or an account, as the run table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SyncStatus", extend("examples" = [{
    "object": "ChatHistorySync",
    "chat_id": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    "phase": "ended",
    "status": "SYNC_DONE",
    "run_id": "0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11",
    "polls": 7,
    "restarts": 0,
    "requested_at": "2026-11-24T10:00:00.000Z",
    "finished_at": "2026-11-24T10:04:10.000Z",
    "history": [
        { "at": "2026-11-24T10:00:01.000Z", "answer": "SYNC_STARTED", "count": 1 },
        { "at": "2026-11-24T10:00:06.000Z", "answer": "SYNC_RUNNING", "count": 4 },
        { "at": "2026-11-24T10:01:40.000Z", "answer": "failed", "status": 503, "count": 1 },
    ],
}]))]
pub struct SyncStatus {
    /// The type of this object.
    #[schemars(schema_with = "object_schema")]
    object: &'static str,
    /// What it syncs.
    #[serde(flatten, with = "subject_fields")]
    #[schemars(with = "SubjectFields")]
    subject: Subject,
    /// Whether the run continues.
    phase: Phase,
    /// The provider's last status in the table, up to one poll old. Absent until the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "status_schema")]
    status: Option<Status>,
    /// The run, and the `event_id` of its ending.
    run_id: Uuid,
    /// Calls made, including those possibly made before a crash.
    polls: u32,
    /// How often the sync was observed to start again.
    restarts: u32,
    /// The chunks of an account's sync that were done.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u32>,
    /// When SQS accepted the run's first trigger.
    #[schemars(extend("format" = "date-time"))]
    requested_at: String,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    finished_at: Option<String>,
    /// When the run was cancelled: it makes no further call, and ends with its next message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    cancelled_at: Option<String>,
    /// The error that ended the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Envelope>,
    /// When the next poll is expected, as of the last claim: about that time, if the sync goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    next_poll_at: Option<String>,
    /// The answers to the run's calls, oldest first, without the ending. A long run's first calls are merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = HISTORY_MAX))]
    history: Vec<Answered>,
}

/// One call of a run, or several in a row with the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Answered {
    /// When the first of them was answered, or for `unrecorded` the next call. In whole seconds since the run began.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// The provider's status, or what the call failed with: `failed`, with the HTTP status (502 without a connection), `timed_out`,
    /// `unusable` (a 200 that cannot be used), `credentials` (the key was refused), `connecting` (the account is not connected
    /// yet). `unrecorded`: no answer was recorded, because the process died, its poll was lost or a cancel came first. `earlier`: the first calls of a
    /// long run, whatever the answers. Other values may be added.
    answer: &'static str,
    /// The HTTP status of `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// How many calls.
    count: u16,
}

impl Answered {
    /// An entry of the history of a run whose first claim was at `started_at`.
    pub(crate) fn new(entry: &HistoryEntry, started_at: Millis) -> Self {
        let (answer, status) = match entry.answer {
            PollAnswer::Earlier => ("earlier", None),
            PollAnswer::Unrecorded => ("unrecorded", None),
            PollAnswer::Started => ("SYNC_STARTED", None),
            PollAnswer::Running => ("SYNC_RUNNING", None),
            PollAnswer::ChunkDone => ("CHUNK_DONE", None),
            PollAnswer::Unusable => ("unusable", None),
            PollAnswer::TimedOut => ("timed_out", None),
            PollAnswer::Credentials => ("credentials", None),
            PollAnswer::Connecting => ("connecting", None),
            PollAnswer::Failed(status) => ("failed", Some(status)),
            PollAnswer::Unknown(_) => ("unknown", None),
        };
        Self { at: entry.at(started_at).to_string(), answer, status, count: entry.count }
    }
}

/// The schema of [`Status`].
fn status_schema(_: &mut SchemaGenerator) -> Schema {
    let mut all: Vec<Status> = Vec::new();
    for status in OPERATIONS.iter().flat_map(|operation| operation.statuses) {
        if !all.contains(status) {
            all.push(*status);
        }
    }
    json_schema!({ "type": "string", "enum": all })
}

impl SyncStatus {
    /// The status of a run.
    pub fn of(item: &Item) -> Self {
        let error = item.state.outcome().and_then(|outcome| match &outcome.ending {
            Ending::Error { error, .. } => Some(error.clone()),
            Ending::Sync { .. } => None,
        });
        let requested_at = item.triggers.first().map_or(item.started_at_ms, |trigger| trigger.requested_at);
        let operation = Operation::of(item.subject.kind());
        Self {
            object: operation.object,
            subject: item.subject.clone(),
            phase: item.state.phase(),
            status: item.status(),
            run_id: item.run_id.as_uuid(),
            polls: item.polls,
            restarts: item.learned.restarts,
            chunks: operation.has_chunks().then_some(item.learned.chunks),
            requested_at: requested_at.to_string(),
            finished_at: item.state.outcome().map(|outcome| outcome.finished_at.to_string()),
            cancelled_at: item.cancelled_at.map(|time| time.to_string()),
            error,
            next_poll_at: item
                .learned
                .next_poll_ms
                .filter(|_| item.state.is_active() && item.cancelled_at.is_none())
                .map(|time| time.to_string()),
            history: item
                .learned
                .history
                .entries()
                .iter()
                .map(|entry| Answered::new(entry, item.started_at_ms))
                .collect(),
        }
    }
}

/// The strong entity tag of a body: equal if and only if the bytes are.
pub fn entity_tag(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether the client has the body with this tag: `If-None-Match`, which compares weakly (RFC 9110, 13.1.2).
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
