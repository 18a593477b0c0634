//! Triggers as data: parsed by [`crate::message`], kept by a run, and returned in its event.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Ending, Item, Outcome};
use crate::ids::{MessageGroup, MessageId, Subject, TriggerKey};
use crate::postpress::{Finish, Resync};
use crate::time::{Millis, rfc3339};

/// A valid trigger, as one message carries it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TriggerMessage {
    /// What to sync.
    pub subject: Subject,
    /// The options of an account's sync.
    pub resync: Resync,
    /// Two triggers for a subject with the same key are the same request.
    pub key: TriggerKey,
    /// How long before the request a sync may have finished to be recent enough; `None` if it is to be synced again.
    pub fresh_for: Option<Duration>,
    /// Whether the sync must begin after the request.
    pub after_request: bool,
    /// How often the trigger has waited for a run in flight that it may not join.
    pub waits: u32,
    /// The message group of its message, which the run keeps if the trigger starts it.
    pub group: Option<MessageGroup>,
    /// The part that the run keeps and its event returns.
    pub trigger: Trigger,
}

impl TriggerMessage {
    /// Whether this run, which ended like this, is what the trigger asks for.
    pub fn is_answered_by(&self, item: &Item, outcome: &Outcome) -> bool {
        let is_done = outcome.ending == Ending::Sync { status: Finish::Done };
        let is_fresh = |fresh_for| outcome.finished_at + fresh_for >= self.trigger.requested_at;
        let is_same = item.resync == self.resync && !self.after_request;
        is_done && is_same && self.fresh_for.is_some_and(is_fresh)
    }

    /// Whether the trigger may join this run in flight. `margin` is the clock skew tolerated between the worker that began the
    /// run and SQS, which accepted the request.
    pub fn may_join(&self, run: &Item, margin: Duration) -> bool {
        let begins_after = run.started_at_ms >= self.trigger.requested_at + margin;
        run.cancelled_at.is_none() && run.resync == self.resync && (begins_after || !self.after_request)
    }
}

/// A request to end the run in flight, without another call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cancel {
    /// What the run syncs.
    pub subject: Subject,
    /// When SQS accepted the request: a run that began later is left alone.
    pub requested_at: Millis,
}

/// A trigger as the run table keeps it and as events contain it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// The SQS message id of the message that carried it.
    #[schemars(with = "String")]
    pub message_id: MessageId,
    /// The producer's own id, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The producer's idempotency key, if it set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The producer's own data, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// When SQS accepted it.
    #[serde(with = "rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub requested_at: Millis,
    /// Whether the run was already in flight when the trigger arrived: the sync may have begun before the request.
    pub joined: bool,
}

/// A JSON object from the producer, kept byte for byte.
#[derive(Clone)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// Wraps the text of a JSON object; the caller has checked that it is one.
    pub(crate) fn of_object(json: Box<RawValue>) -> Self {
        Self(json)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Metadata {}

impl Hash for Metadata {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Metadata {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metadata".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

/// A message body that is not a valid trigger, with the parts that could be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvalidTrigger {
    /// What to sync, if that could be read.
    pub subject: Option<Subject>,
    /// The options of an account's sync, if they are valid.
    pub resync: Resync,
    /// The valid fields.
    pub trigger: Trigger,
    /// What is wrong, and what to send instead.
    pub reason: String,
    /// The body, cut to [`INPUT_MAX_BYTES`](crate::message::INPUT_MAX_BYTES).
    pub input: String,
    /// Whether the body was cut.
    pub truncated: bool,
}
