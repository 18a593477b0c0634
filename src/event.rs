//! The events that the bridge publishes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{AccountId, ChatId, MessageId, Subject, SubjectId, Workspace};
use crate::postpress::operation::OPERATIONS;
use crate::postpress::{Envelope, Finish, Operation, Resync};
use crate::run::{
    self, EndedRun, Ending, FreshAnswer, InvalidTrigger, Item, Origin, Publication, TRIGGERS_MAX, Trigger,
    TriggerMessage, bridge_error,
};
use crate::time::{Millis, rfc3339};

/// The version of the detail's schema.
pub const SCHEMA_VERSION: &str = "1";

/// An EventBridge event, without the bus and the source, which are the publisher's settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The `detail-type`, which rules usually match.
    pub detail_type: DetailType,
    /// The `detail`.
    pub detail: Detail,
}

/// The `detail-type` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DetailType {
    /// The whole history is loaded.
    SyncDone,
    /// The provider gave up.
    SyncError,
    /// The chat no longer exists.
    ChatDeleted,
    /// The run ended with an error, from postpress or from the bridge.
    ErrorEnvelope,
}

impl DetailType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::SyncDone, Self::SyncError, Self::ChatDeleted, Self::ErrorEnvelope];

    /// The type as EventBridge spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncDone => "SYNC_DONE",
            Self::SyncError => "SYNC_ERROR",
            Self::ChatDeleted => "CHAT_DELETED",
            Self::ErrorEnvelope => "ERROR_ENVELOPE",
        }
    }
}

impl From<Finish> for DetailType {
    fn from(status: Finish) -> Self {
        match status {
            Finish::Done => Self::SyncDone,
            Finish::Error => Self::SyncError,
            Finish::Deleted => Self::ChatDeleted,
        }
    }
}

/// What ended the run of an event, or why the event repeats an earlier ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// A final response.
    Answer,
    /// Consecutive failures for longer than `BRIDGE_RETRY_SECONDS`, or one unusable 200 too many.
    Retries,
    /// `BRIDGE_RUN_DEADLINE_SECONDS` since the run's first claim.
    Deadline,
    /// `BRIDGE_MAX_POLLS`.
    Polls,
    /// A cancel.
    Cancelled,
    /// An earlier run answers the trigger; nothing was synced.
    Fresh,
}

impl From<run::EndedBy> for EndedBy {
    fn from(ended_by: run::EndedBy) -> Self {
        match ended_by {
            run::EndedBy::Answer => Self::Answer,
            run::EndedBy::Retries => Self::Retries,
            run::EndedBy::Deadline => Self::Deadline,
            run::EndedBy::Polls => Self::Polls,
            run::EndedBy::Cancelled => Self::Cancelled,
        }
    }
}

/// The `detail` of an event. A field without a value is absent, not null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EventDetail")]
pub struct Detail {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: String,
    /// Identifies the ending, however often it is published: use it to drop repeats.
    pub event_id: Uuid,
    /// The chat, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<ChatId>,
    /// The account, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// The workspace, unless it is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "object_schema")]
    pub object: Option<String>,
    /// The options of an account's sync, as the trigger that started it has them.
    #[serde(default, skip_serializing_if = "Resync::is_empty")]
    pub resync: Resync,
    /// The run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<Uuid>,
    /// The provider's terminal status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Finish>,
    /// The error, in the provider's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Envelope>,
    /// Who produced the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What ended the run, or `fresh` for a trigger that an earlier run answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// The body of an invalid trigger, cut to 8 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Whether `input` was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The triggers that this event answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = TRIGGERS_MAX))]
    pub triggers: Vec<Trigger>,
    /// Calls made, or possibly made before a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polls: Option<u32>,
    /// How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// The chunks of an account's sync that were done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u32>,
    /// When SQS accepted the run's first trigger.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub requested_at: Option<Millis>,
    /// When the ending was decided.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished_at: Option<Millis>,
}

/// The schema of an `object`: that of each operation.
pub(crate) fn object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": OPERATIONS.map(|operation| operation.object) })
}

/// [`rfc3339`] for an optional time.
mod optional_time {
    use serde::{Deserializer, Serializer};

    use super::{Millis, rfc3339};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(time: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => rfc3339::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Millis>, D::Error> {
        rfc3339::deserialize(deserializer).map(Some)
    }
}

impl Event {
    /// The event of a run's ending; `None` if the run has not ended.
    pub fn of_run(item: &Item) -> Option<Self> {
        item.state.outcome().map(|outcome| Self::of_ending(EndedRun::new(item, outcome)))
    }

    fn of_ending(ended: EndedRun) -> Self {
        let EndedRun { subject, resync, run_id, outcome, triggers, polls, restarts, chunks } = ended;
        let (detail_type, status, error, origin) = match outcome.ending {
            Ending::Sync { status } => (status.into(), Some(status), None, None),
            Ending::Error { error, origin } => (DetailType::ErrorEnvelope, None, Some(error), Some(origin)),
        };
        let detail = Detail {
            run_id: Some(run_id.as_uuid()),
            status,
            error,
            origin,
            ended_by: Some(outcome.ended_by.into()),
            requested_at: triggers.first().map(|trigger| trigger.requested_at),
            triggers,
            polls: Some(polls),
            restarts: Some(restarts),
            chunks: Operation::of(subject.kind()).has_chunks().then_some(chunks),
            resync,
            finished_at: Some(outcome.finished_at),
            ..Detail::new(run_id.as_uuid(), Some(subject))
        };
        Self { detail_type, detail }
    }

    /// The event that answers a trigger with an earlier run's ending.
    fn of_fresh_answer(answer: FreshAnswer) -> Self {
        let FreshAnswer { run, key, trigger } = answer;
        let event_id = Uuid::new_v5(&run.run_id.as_uuid(), &key.to_bytes());
        let event = Self::of_ending(run);
        let triggers = vec![Trigger { joined: true, ..trigger }];
        let detail = Detail { event_id, ended_by: Some(EndedBy::Fresh), triggers, ..event.detail };
        Self { detail, ..event }
    }

    /// The event that answers an invalid trigger.
    pub fn of_invalid_trigger(invalid: InvalidTrigger) -> Self {
        let error = bridge_error::invalid_trigger(&invalid.reason);
        let mut event = Self::refusal(invalid.subject, invalid.resync, invalid.trigger, error);
        event.detail.input = Some(invalid.input);
        event.detail.truncated = invalid.truncated;
        event
    }

    /// The event that answers a valid trigger that was not accepted.
    fn of_refused(message: TriggerMessage, error: Envelope) -> Self {
        Self::refusal(Some(message.subject), message.resync, message.trigger, error)
    }

    /// The event that answers a trigger with an error of the bridge.
    fn refusal(subject: Option<Subject>, resync: Resync, trigger: Trigger, error: Envelope) -> Self {
        let event_id = refusal_id(&trigger.message_id, &error.kind);
        let detail = Detail {
            resync,
            error: Some(error),
            origin: Some(Origin::Bridge),
            triggers: vec![trigger],
            ..Detail::new(event_id, subject)
        };
        Self { detail_type: DetailType::ErrorEnvelope, detail }
    }

    /// EventBridge's `resources`: the id of what was to be synced, if it is known.
    pub fn resources(&self) -> Vec<String> {
        self.detail.subject().iter().map(|subject| subject.id().to_owned()).collect()
    }

    /// The event as one line of JSON: the detail, and the fields of EventBridge's envelope that matter to a reader.
    ///
    /// # Panics
    /// Never: every part of an event can be serialized.
    pub fn to_line(&self, source: &str) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Line<'a> {
            detail_type: DetailType,
            source: &'a str,
            resources: Vec<String>,
            detail: &'a Detail,
        }
        let (detail_type, resources) = (self.detail_type, self.resources());
        let line = Line { detail_type, source, resources, detail: &self.detail };
        serde_json::to_string(&line).expect("an event is plain data")
    }

    /// The `detail` as JSON, the same bytes for every publication of one ending.
    ///
    /// # Panics
    /// Never: every part of a detail can be serialized.
    pub fn detail_json(&self) -> String {
        serde_json::to_string(&self.detail).expect("a detail is plain data")
    }
}

impl From<Publication> for Event {
    fn from(publication: Publication) -> Self {
        match publication {
            Publication::Ending(ended) => Self::of_ending(*ended),
            Publication::Fresh(answer) => Self::of_fresh_answer(*answer),
            Publication::TooManyTriggers(message) => Self::of_refused(*message, bridge_error::too_many_triggers()),
            Publication::WaitedTooLong(message) => Self::of_refused(*message, bridge_error::waited_too_long()),
            Publication::UnknownWorkspace(message) => {
                let error = bridge_error::unknown_workspace(message.subject.workspace());
                Self::of_refused(*message, error)
            }
        }
    }
}

impl Detail {
    /// What was to be synced, if it is known.
    pub fn subject(&self) -> Option<Subject> {
        let chat = self.chat_id.clone().map(SubjectId::Chat);
        let id = chat.or_else(|| self.account_id.clone().map(SubjectId::Account))?;
        Some(Subject::from(id).in_workspace(self.workspace.clone().unwrap_or_default()))
    }

    fn new(event_id: Uuid, subject: Option<Subject>) -> Self {
        let mut detail = Self { schema_version: SCHEMA_VERSION.to_owned(), event_id, ..Self::default() };
        let Some(subject) = subject else { return detail };
        detail.object = Some(Operation::of(subject.kind()).object.to_owned());
        let (workspace, id) = subject.into_parts();
        detail.workspace = workspace.unless_default().cloned();
        match id {
            SubjectId::Chat(id) => detail.chat_id = Some(id),
            SubjectId::Account(id) => detail.account_id = Some(id),
        }
        detail
    }
}

/// The UUID namespace of the `event_id`s of refusals: random, chosen once.
const REFUSALS: Uuid = Uuid::from_u128(0x6f1d_0f5e_3c6b_4a55_9f0e_5b7c_91d2_a8e4);

/// The `event_id` of an event that belongs to no run, the same for every delivery of the message.
fn refusal_id(message_id: &MessageId, kind: &str) -> Uuid {
    Uuid::new_v5(&REFUSALS, format!("{message_id} {kind}").as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Message, Record};
    use crate::run::arbitrary;

    fn read(body: String) -> Message {
        let (message_id, receipt_handle) = (MessageId::new("m"), String::new());
        let record =
            Record { message_id, receipt_handle, body, sent_at: Millis(0), receive_count: 1, trace: None, group: None };
        Message::parse(&record, "postpress.bridge")
    }

    #[test]
    fn unknown_workspace_is_answered_with_the_same_bytes_at_every_delivery() {
        let body = r#"{"chat_id": "c", "workspace": "team-7", "correlation_id": "o-1", "metadata": {"n": 1}}"#;
        let event = || match read(body.to_owned()) {
            Message::Trigger(trigger) => Event::from(Publication::UnknownWorkspace(Box::new(trigger))),
            other => panic!("{other:?}"),
        };
        assert_eq!(event().detail_json(), event().detail_json());
        assert_eq!((event().detail_type, event().resources()), (DetailType::ErrorEnvelope, vec!["c".to_owned()]));
        insta::assert_snapshot!(event().detail_json(), @r#"{"schema_version":"1","event_id":"168788df-3b08-5040-999c-cf626318f05e","chat_id":"c","workspace":"team-7","object":"ChatHistorySync","error":{"title":"The workspace is not configured","detail":"the secret in BRIDGE_WORKSPACES_SECRET_ID has no workspace `team-7`; this trigger was not accepted, and may be sent again once the secret has it","type":"bridge/unknown_workspace","status":400},"origin":"bridge","triggers":[{"message_id":"m","correlation_id":"o-1","metadata":{"n": 1},"requested_at":"1970-01-01T00:00:00.000Z","joined":false}]}"#);
        let error = event().detail.error.unwrap();
        assert_eq!((error.kind.as_str(), error.status), ("bridge/unknown_workspace", 400));
    }

    proptest! {
        #[test]
        fn the_event_of_every_run_can_be_read_back_and_is_not_a_trigger(
            item in arbitrary::item(), outcome in arbitrary::outcome(),
        ) {
            let event = Event::of_ending(EndedRun::new(&item, &outcome));
            let text = event.detail_json();
            prop_assert_eq!(serde_json::from_str::<Detail>(&text).unwrap(), event.detail.clone());
            for trigger in &event.detail.triggers {
                // Byte for byte.
                prop_assert!(trigger.metadata.as_ref().is_none_or(|metadata| text.contains(metadata.as_str())));
            }
            prop_assert_eq!(read(text), Message::OwnEvent);
            prop_assert_eq!(read(event.to_line("postpress.bridge")), Message::OwnEvent);
        }
    }
}
