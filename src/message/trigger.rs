//! Triggers: their fields, their limits, and the wrappings that a rule or a topic adds.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::layer::{Layer, OWN_EVENT_DEPTH, holds_own_event, string};
use super::{INPUT_MAX_BYTES, Message, Record};
use crate::ids::{MessageId, Subject, SubjectFields, SubjectKind, TriggerKey, Workspace, subject_fields};
use crate::json;
use crate::postpress::{Operation, Resync};
use crate::run::{Cancel, InvalidTrigger, Metadata, Trigger, TriggerMessage};
use crate::text::bounded;
use crate::time::{Millis, rfc3339};

/// The maximum length of a `correlation_id` and of an `idempotency_key`, in bytes.
const LABEL_MAX_BYTES: usize = 256;
/// The maximum length of `metadata`, in bytes of JSON.
const METADATA_MAX_BYTES: usize = 1024;
/// The largest `fresh_for_seconds`: 30 days, as long as a run is remembered by default (`BRIDGE_RUN_TTL_SECONDS`).
const FRESH_FOR_MAX_SECONDS: u32 = 30 * 86_400;
/// The longest message id, by SQS's documentation of `SendMessage`.
const MESSAGE_ID_MAX_BYTES: usize = 100;
/// How many wrappings a trigger may have: a rule's, a topic's, or one of each.
const WRAPPINGS_MAX: usize = 2;

/// The body of a trigger, as a producer writes it. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Trigger", extend("examples" = [{
    "chat_id": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    "correlation_id": "order-17",
    "idempotency_key": "crm-8841",
    "metadata": {"team": "sales"},
}]))]
pub struct TriggerBody {
    /// What to do: `sync`, unless it says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What to sync, and in which workspace.
    #[serde(flatten, with = "subject_fields")]
    #[schemars(with = "SubjectFields")]
    pub subject: Subject,
    /// The options of an account's sync.
    #[serde(skip_serializing_if = "Resync::is_empty")]
    #[schemars(with = "Option<Resync>", transform = without_other_members)]
    pub resync: Resync,
    /// Returned in the event: at most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = LABEL_MAX_BYTES))]
    pub correlation_id: Option<String>,
    /// Two triggers for one subject with the same key are one request: at most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = LABEL_MAX_BYTES))]
    pub idempotency_key: Option<String>,
    /// Returned in the event, byte for byte: at most 1 KiB of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// If the last sync, with the same `resync`, is done, and finished at most this many seconds before the request, its event answers the
    /// trigger, and nothing is synced: at most 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = FRESH_FOR_MAX_SECONDS))]
    pub fresh_for_seconds: Option<u64>,
    /// Whether the sync must begin after the request: `false`, unless it says otherwise. A run in flight that began earlier is not
    /// joined; the trigger waits until it is over. `fresh_for_seconds` is then ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_request: Option<bool>,
}

/// What a trigger asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Action {
    /// Sync the chat or the account: start a run, or join the one in flight.
    Sync,
    /// End the run in flight without another call to postpress. A run that began after the request is left alone, and without a
    /// run nothing happens. The other fields must be valid, and have no effect.
    Cancel,
}

impl TriggerBody {
    /// A trigger with no other fields.
    pub fn new(subject: Subject) -> Self {
        Self {
            action: None,
            subject,
            resync: Resync::default(),
            correlation_id: None,
            idempotency_key: None,
            metadata: None,
            fresh_for_seconds: None,
            after_request: None,
        }
    }

    /// The body of a message that asks for the same again.
    pub fn of(message: TriggerMessage) -> Self {
        let TriggerMessage { subject, resync, key: _, fresh_for, after_request, waits: _, group: _, trigger } = message;
        let Trigger { message_id: _, correlation_id, idempotency_key, metadata, requested_at: _, joined: _ } = trigger;
        let fresh_for_seconds = fresh_for.map(|fresh_for| fresh_for.as_secs());
        let after_request = after_request.then_some(true);
        Self {
            action: None,
            subject,
            resync,
            correlation_id,
            idempotency_key,
            metadata,
            fresh_for_seconds,
            after_request,
        }
    }

    /// The trigger of a message with this id and time.
    fn into_trigger(self, key: TriggerKey, message_id: MessageId, requested_at: Millis) -> TriggerMessage {
        let Self { action: _, subject, resync, correlation_id, idempotency_key, metadata, .. } = self;
        TriggerMessage {
            subject,
            resync,
            key,
            fresh_for: self.fresh_for_seconds.map(Duration::from_secs),
            after_request: self.after_request.unwrap_or_default(),
            waits: 0,
            group: None,
            trigger: Trigger { message_id, correlation_id, idempotency_key, metadata, requested_at, joined: false },
        }
    }

    /// Whether it asks to end a run in flight.
    pub fn is_cancel(&self) -> bool {
        self.action == Some(Action::Cancel)
    }

    /// A request to end a run in flight.
    pub fn cancel(subject: Subject) -> Self {
        Self { action: Some(Action::Cancel), ..Self::new(subject) }
    }

    /// Parses a trigger that is submitted directly, without wrappings. `event_source` is the `source` of our own
    /// events, which are never triggers.
    ///
    /// # Errors
    /// Lists everything that is wrong with it, and what to send instead.
    pub fn parse(json: &str, event_source: &str) -> Result<Self, String> {
        if holds_own_event(json, event_source) {
            return Err(
                "this is one of the bridge's own events, which never start a sync; stop sending them here".to_owned()
            );
        }
        let layer = Layer::parse(json)?;
        if layer.is_own_message() {
            return Err("`postpress_bridge` marks the bridge's own messages; send a trigger".to_owned());
        }
        layer.check_duplicates()?;
        Fields::of(&layer).into_body().map_err(|fields| fields.reason())
    }

    /// Checks a `correlation_id` or an idempotency key, which may also be sent outside the body.
    ///
    /// # Errors
    /// Describes what is wrong with it.
    pub fn check_label(name: &str, text: &str) -> Result<(), String> {
        match text.len() {
            0 => Err(format!("`{name}` is empty; leave it out instead")),
            bytes if bytes > LABEL_MAX_BYTES => {
                Err(format!("`{name}` is {bytes} bytes long; at most {LABEL_MAX_BYTES} are allowed"))
            }
            _ => Ok(()),
        }
    }

    /// The message to put on the queue.
    ///
    /// # Panics
    /// Never: every part of a trigger has a JSON form.
    pub fn to_body(&self) -> String {
        super::acceptable_to_sqs(&serde_json::to_string(self).expect("a trigger is plain data"))
    }
}

/// Reads a record that is not one of our own messages.
pub(super) fn parse(record: &Record, event_source: &str) -> Message {
    if holds_own_event(&record.body, event_source) {
        return Message::OwnEvent;
    }
    match unwrap(&record.body) {
        Unwrapped::OwnMessage(reason) => Message::Malformed { reason },
        Unwrapped::Trigger { layer, wrapped_id } => {
            let fields = Layer::parse(&layer).map_or_else(Fields::unreadable, |layer| Fields::of(&layer));
            fields.into_message(record, wrapped_id)
        }
        Unwrapped::Invalid(reason) => Fields::unreadable(reason).into_message(record, None),
    }
}

/// A trigger that waits for a run in flight, as the bridge sends it to itself. Its key, message id and time are those of its
/// first message.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting<T> {
    key: TriggerKey,
    message_id: MessageId,
    #[serde(with = "rfc3339")]
    requested_at: Millis,
    waits: NonZeroU32,
    trigger: T,
}

impl Waiting<TriggerBody> {
    pub(super) fn of(message: TriggerMessage) -> Self {
        let waits = NonZeroU32::new(message.waits).unwrap_or(NonZeroU32::MIN);
        let key = message.key;
        let Trigger { message_id, requested_at, .. } = &message.trigger;
        let (message_id, requested_at) = (message_id.clone(), *requested_at);
        Self { key, message_id, requested_at, waits, trigger: TriggerBody::of(message) }
    }
}

impl Waiting<&RawValue> {
    /// Reads a trigger that waits.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn into_message(self) -> Result<TriggerMessage, String> {
        if self.message_id.as_str().len() > MESSAGE_ID_MAX_BYTES {
            return Err("`message_id` is not an SQS message id".to_owned());
        }
        let layer = Layer::parse(self.trigger.get())?;
        layer.check_duplicates()?;
        let body = Fields::of(&layer).into_body().map_err(|fields| fields.reason())?;
        if body.is_cancel() {
            return Err("a cancel does not wait".to_owned());
        }
        let message = body.into_trigger(self.key, self.message_id, self.requested_at);
        Ok(TriggerMessage { waits: self.waits.get(), ..message })
    }
}

/// A body without its wrappings.
enum Unwrapped {
    Trigger {
        layer: String,
        wrapped_id: Option<String>,
    },
    /// A malformed message of our own, and what is wrong with it: valid ones are recognized earlier.
    OwnMessage(String),
    Invalid(String),
}

impl Unwrapped {
    /// A body that cannot be parsed. A possibly malformed message of our own is treated as such, since its fence must not
    /// appear in an event's `input`.
    fn unreadable(body: &str, reason: String) -> Self {
        if body.contains("postpress_bridge") { Self::OwnMessage(reason) } else { Self::Invalid(reason) }
    }
}

fn unwrap(body: &str) -> Unwrapped {
    let mut json = body.to_owned();
    let mut wrapped_id = None;
    for depth in 0..OWN_EVENT_DEPTH {
        let layer = match Layer::parse(&json) {
            Ok(layer) => layer,
            Err(reason) => return Unwrapped::unreadable(body, reason),
        };
        if layer.is_own_message() {
            let fault =
                if depth == 0 { "its head cannot be read" } else { "it is wrapped, which the bridge never does" };
            return Unwrapped::OwnMessage(fault.to_owned());
        }
        let wrapping = match layer.check_duplicates().and_then(|()| layer.wrapper()) {
            Ok(wrapping) => wrapping,
            Err(reason) => return Unwrapped::unreadable(body, reason),
        };
        let Some(wrapping) = wrapping else {
            if depth > WRAPPINGS_MAX {
                return Unwrapped::Invalid(too_many_wrappings());
            }
            return Unwrapped::Trigger { layer: json, wrapped_id };
        };
        if wrapping.by_event_bridge || wrapped_id.is_none() {
            wrapped_id = wrapping.id.or(wrapped_id);
        }
        json = wrapping.inner;
    }
    Unwrapped::unreadable(body, too_many_wrappings())
}

fn too_many_wrappings() -> String {
    format!("the trigger is wrapped more than {WRAPPINGS_MAX} times; send it with fewer wrappings")
}

/// A trigger's valid fields, and what is wrong with the others.
#[derive(Default)]
struct Fields {
    action: Option<Action>,
    subject: Option<Subject>,
    resync: Resync,
    correlation_id: Option<String>,
    idempotency_key: Option<String>,
    metadata: Option<Metadata>,
    fresh_for_seconds: Option<u64>,
    after_request: Option<bool>,
    faults: Vec<String>,
}

impl Fields {
    fn unreadable(reason: String) -> Self {
        Self { faults: vec![reason], ..Self::default() }
    }

    fn of(layer: &Layer<'_>) -> Self {
        let mut faults = Vec::new();
        let (subject, resync) = subject(layer, &mut faults);
        let mut keep = |fault: String| faults.push(fault);
        Self {
            action: action(layer.get("action")).map_err(&mut keep).ok().flatten(),
            subject,
            resync,
            correlation_id: label("correlation_id", layer.get("correlation_id")).map_err(&mut keep).ok().flatten(),
            idempotency_key: label("idempotency_key", layer.get("idempotency_key")).map_err(&mut keep).ok().flatten(),
            metadata: metadata(layer.get("metadata")).map_err(&mut keep).ok().flatten(),
            fresh_for_seconds: fresh_for(layer.get("fresh_for_seconds")).map_err(&mut keep).ok().flatten(),
            after_request: boolean("after_request", layer.get("after_request")).map_err(&mut keep).ok().flatten(),
            faults,
        }
    }

    /// What is wrong with the trigger.
    fn reason(&self) -> String {
        self.faults.join("; ")
    }

    /// The trigger; the fields again if it is not valid.
    fn into_body(mut self) -> Result<TriggerBody, Box<Self>> {
        let subject = if self.faults.is_empty() { self.subject.take() } else { None };
        let Some(subject) = subject else { return Err(Box::new(self)) };
        let Self {
            action, resync, correlation_id, idempotency_key, metadata, fresh_for_seconds, after_request, ..
        } = self;
        Ok(TriggerBody {
            action,
            subject,
            resync,
            correlation_id,
            idempotency_key,
            metadata,
            fresh_for_seconds,
            after_request,
        })
    }

    fn into_message(self, record: &Record, wrapped_id: Option<String>) -> Message {
        match self.into_body() {
            Ok(body) if body.is_cancel() => {
                Message::Cancel(Cancel { subject: body.subject, requested_at: record.sent_at })
            }
            Ok(body) => {
                let key_text = body.idempotency_key.clone().or(wrapped_id);
                let key = TriggerKey::of(key_text.as_deref().unwrap_or(record.message_id.as_str()));
                Message::Trigger(body.into_trigger(key, record.message_id.clone(), record.sent_at))
            }
            Err(fields) => Message::Invalid(fields.into_invalid(record)),
        }
    }

    fn into_invalid(self, record: &Record) -> InvalidTrigger {
        let reason = self.reason();
        let (input, truncated) = bounded(record.body.clone(), INPUT_MAX_BYTES);
        let Self { subject, resync, correlation_id, idempotency_key, metadata, .. } = self;
        let (message_id, requested_at) = (record.message_id.clone(), record.sent_at);
        let trigger = Trigger { message_id, correlation_id, idempotency_key, metadata, requested_at, joined: false };
        InvalidTrigger { subject, resync, trigger, reason, input, truncated }
    }
}

fn action(raw: Option<&RawValue>) -> Result<Option<Action>, String> {
    let Some(raw) = raw else { return Ok(None) };
    match string("action", raw)?.as_ref() {
        "sync" => Ok(Some(Action::Sync)),
        "cancel" => Ok(Some(Action::Cancel)),
        _ => Err("`action` is neither \"sync\" nor \"cancel\"".to_owned()),
    }
}

/// What to sync, its workspace and its options, as far as they are valid.
fn subject(layer: &Layer<'_>, faults: &mut Vec<String>) -> (Option<Subject>, Resync) {
    let ids: Vec<_> =
        SubjectKind::ALL.into_iter().filter_map(|kind| Some((kind, layer.get(kind.id_field())?))).collect();
    let [chat_id, account_id] = SubjectKind::ALL.map(SubjectKind::id_field);
    let subject = match ids[..] {
        [(kind, raw)] => {
            string(kind.id_field(), raw).and_then(|text| Subject::new(kind, &text).map_err(|error| error.to_string()))
        }
        [] => Err(format!("`{chat_id}` is missing, and so is `{account_id}`; name the chat or the account to sync")),
        _ => Err(format!("`{chat_id}` and `{account_id}` are both there; send a trigger for each")),
    };
    let resync = match layer.get("resync") {
        None => Ok(Resync::default()),
        Some(raw) if ids.iter().any(|(kind, _)| Operation::of(*kind).has_options) => Resync::parse(raw),
        Some(_) => Err(vec![format!("`resync` is only for an `{account_id}`; leave it out")]),
    };
    let subject = subject.map_err(|fault| faults.push(fault)).ok();
    let workspace = workspace(layer.get("workspace")).map_err(|fault| faults.push(fault)).unwrap_or_default();
    let subject = subject.map(|subject| subject.in_workspace(workspace));
    let resync = resync.map_err(|found| faults.extend(found)).unwrap_or_default();
    let resync = if subject.is_some() { resync } else { Resync::default() };
    (subject, resync)
}

fn workspace(raw: Option<&RawValue>) -> Result<Workspace, String> {
    let Some(raw) = raw else { return Ok(Workspace::DEFAULT) };
    Workspace::parse(&string("workspace", raw)?).map_err(|error| error.to_string())
}

fn label(name: &str, raw: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let text = string(name, raw)?;
    TriggerBody::check_label(name, &text).map(|()| Some(text))
}

fn metadata(raw: Option<&RawValue>) -> Result<Option<Metadata>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let bytes = raw.get().len();
    if !raw.get().starts_with('{') {
        return Err("`metadata` is not a JSON object".to_owned());
    }
    if bytes > METADATA_MAX_BYTES {
        return Err(format!("`metadata` is {bytes} bytes of JSON; at most {METADATA_MAX_BYTES} are allowed"));
    }
    // What common parsers reject (`1e400`, a lone surrogate) would reach a consumer that cannot read it.
    serde_json::from_str::<serde_json::Value>(raw.get())
        .map_err(|error| format!("`metadata` is refused: {}", json::reason(&error)))?;
    Ok(Some(Metadata::of_object(raw.to_owned())))
}

fn boolean(name: &str, raw: Option<&RawValue>) -> Result<Option<bool>, String> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|_| format!("`{name}` is neither true nor false"))
}

fn fresh_for(raw: Option<&RawValue>) -> Result<Option<u64>, String> {
    let Some(raw) = raw else { return Ok(None) };
    match json::whole_number(raw) {
        Some(seconds) if seconds <= u64::from(FRESH_FOR_MAX_SECONDS) => Ok(Some(seconds)),
        _ => Err(format!("`fresh_for_seconds` is not a whole number from 0 to {FRESH_FOR_MAX_SECONDS} (30 days)")),
    }
}

/// Unlike those of a trigger, unknown members of a `resync` are invalid.
fn without_other_members(schema: &mut Schema) {
    schema.insert("additionalProperties".to_owned(), false.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::MessageId;
    use crate::time::Millis;

    fn parse_body(body: &str) -> Message {
        let record = Record {
            message_id: MessageId::new("m-1"),
            receipt_handle: "r-1".to_owned(),
            body: body.to_owned(),
            sent_at: Millis(1_795_514_400_000),
            receive_count: 1,
            trace: None,
            group: None,
        };
        Message::parse(&record, "postpress.bridge")
    }

    fn valid(body: &str) -> TriggerMessage {
        match parse_body(body) {
            Message::Trigger(trigger) => trigger,
            other => panic!("{body} is {other:?}"),
        }
    }

    fn invalid(body: &str) -> InvalidTrigger {
        match parse_body(body) {
            Message::Invalid(invalid) => invalid,
            other => panic!("{body} is {other:?}"),
        }
    }

    fn event_bridge(detail: &serde_json::Value) -> serde_json::Value {
        json!({"version": "0", "id": "eb-1", "detail-type": "ChatOpened", "source": "crm", "detail": detail})
    }

    fn sns(message: &serde_json::Value) -> serde_json::Value {
        json!({"Type": "Notification", "MessageId": "sns-1", "TopicArn": "arn", "Message": message.to_string()})
    }

    #[test]
    fn a_trigger_needs_only_a_chat_id() {
        let message = valid(r#"{"chat_id": "c", "correlation_id": null, "later": [1]}"#);
        assert_eq!(message.subject.id(), "c");
        assert_eq!(message.key, TriggerKey::of("m-1"));
        assert_eq!(message.trigger.correlation_id, None);
        assert_eq!(message.trigger.requested_at, Millis(1_795_514_400_000));
    }

    #[test]
    fn fresh_for_seconds_is_a_whole_number_of_at_most_30_days() {
        let body = |value: &str| format!(r#"{{"chat_id": "c", "fresh_for_seconds": {value}}}"#);
        for (value, seconds) in
            [("0", Some(0)), ("2592000", Some(2_592_000)), ("60.0", Some(60)), ("6e1", Some(60)), ("null", None)]
        {
            assert_eq!(valid(&body(value)).fresh_for, seconds.map(Duration::from_secs), "{value}");
        }
        for value in ["-1", "1.5", "2592001", "18446744073709551616", "\"60\"", "true", "[60]", "1e400"] {
            let invalid = invalid(&body(value));
            assert!(
                invalid.reason.contains("`fresh_for_seconds` is not a whole number"),
                "{value}: {}",
                invalid.reason
            );
        }
    }

    #[test]
    fn metadata_is_kept_byte_for_byte() {
        let metadata = r#"{"b":0.1000, "a" : 12345678901234567890123, "é":"\u00e9"}"#;
        let message = valid(&format!(r#"{{"chat_id": "c", "metadata": {metadata}}}"#));
        assert_eq!(message.trigger.metadata.as_ref().map(Metadata::as_str), Some(metadata));
        let stored = serde_json::to_string(&message.trigger).unwrap();
        assert!(stored.contains(metadata), "{stored}");
        assert_eq!(serde_json::from_str::<Trigger>(&stored).unwrap(), message.trigger);
    }

    #[test]
    fn an_account_may_have_options_in_any_order() {
        let resync = Resync { partial: Some(true), after: Some(7), ..Resync::default() };
        for (body, expected) in [
            (json!({"account_id": "a"}), Resync::default()),
            (json!({"account_id": "a", "chat_id": null, "resync": null}), Resync::default()),
            (json!({"account_id": "a", "resync": {}}), Resync::default()),
            (json!({"account_id": "a", "resync": {"after": 7, "partial": true, "before": null}}), resync.clone()),
        ] {
            for body in [body.clone(), sns(&body), event_bridge(&body)] {
                let message = valid(&body.to_string());
                assert_eq!(
                    (message.subject, message.resync),
                    (Subject::account("a").unwrap(), expected.clone()),
                    "{body}"
                );
            }
            let submitted = TriggerBody::parse(&body.to_string(), "postpress.bridge").unwrap();
            assert_eq!(valid(&submitted.to_body()).resync, expected, "{body}");
        }
        assert!(valid(r#"{"chat_id": "c", "resync": null}"#).resync.is_empty());
    }

    #[test]
    fn a_trigger_and_a_cancel_may_name_a_workspace() {
        let chat = |workspace: &str| Subject::chat("c").unwrap().in_workspace(Workspace::parse(workspace).unwrap());
        for (value, workspace) in
            [(json!("team-7_EU"), "team-7_EU"), (json!("default"), "default"), (json!(null), "default")]
        {
            let body = json!({"chat_id": "c", "workspace": value});
            for body in [body.clone(), sns(&body), event_bridge(&body)] {
                assert_eq!(valid(&body.to_string()).subject, chat(workspace), "{body}");
            }
            let submitted = TriggerBody::parse(&body.to_string(), "postpress.bridge").unwrap();
            assert_eq!(valid(&submitted.to_body()).subject, chat(workspace), "{body}");
            assert_eq!(submitted.to_body().contains("workspace"), workspace != "default", "{body}");

            let cancel = json!({"chat_id": "c", "workspace": value, "action": "cancel"}).to_string();
            let requested_at = Millis(1_795_514_400_000);
            assert_eq!(parse_body(&cancel), Message::Cancel(Cancel { subject: chat(workspace), requested_at }));
        }
    }

    #[test]
    fn an_invalid_trigger_keeps_what_is_valid_of_its_account() {
        for (body, subject, has_resync) in [
            (r#"{"account_id": "a", "resync": {"after": 7}, "metadata": 1}"#, Some("a"), true),
            (r#"{"account_id": "a", "resync": {"after": -7}}"#, Some("a"), false),
            (r#"{"account_id": "", "resync": {"after": 7}}"#, None, false),
            (r#"{"chat_id": "c", "resync": {"after": 7}}"#, Some("c"), false),
            (r#"{"account_id": "a", "workspace": "", "resync": {"after": 7}}"#, Some("a"), true),
            (r#"{"chat_id": "c", "account_id": "a", "resync": {"after": 7}}"#, None, false),
        ] {
            let invalid = invalid(body);
            assert_eq!(
                (invalid.subject.as_ref().map(Subject::id), !invalid.resync.is_empty()),
                (subject, has_resync),
                "{body}"
            );
        }
    }

    #[test]
    fn wrapped_triggers_are_unwrapped_and_keyed_by_their_wrapper() {
        let trigger = json!({"chat_id": "c", "metadata": {"n": 1}});
        for (body, key) in [
            (event_bridge(&trigger), "eb-1"),
            (sns(&trigger), "sns-1"),
            (sns(&event_bridge(&trigger)), "eb-1"),
            (event_bridge(&sns(&trigger)), "eb-1"),
            (sns(&json!({"chat_id": "c", "idempotency_key": "own"})), "own"),
        ] {
            let message = valid(&body.to_string());
            assert_eq!(message.subject.id(), "c");
            assert_eq!(message.key, TriggerKey::of(key), "{body}");
        }
    }

    #[test]
    fn a_third_wrapping_is_rejected() {
        let body = sns(&event_bridge(&sns(&json!({"chat_id": "c"}))));
        assert!(invalid(&body.to_string()).reason.contains("more than 2 times"));
    }

    const EVENT_ID: &str = "2d7c61a8-54b3-4e09-9f10-83c2d6e50f01";

    #[test]
    fn own_events_are_recognized_at_any_layer() {
        let detail = json!({"event_id": EVENT_ID, "schema_version": "1", "chat_id": "c", "triggers": []});
        let event =
            json!({"id": "1", "detail-type": "SYNC_DONE", "source": "postpress.bridge", "detail": {"chat_id": "c"}});
        for body in [
            detail.clone(),
            event.clone(),
            event_bridge(&detail),
            sns(&detail),
            sns(&event),
            sns(&event_bridge(&detail)),
            sns(&event_bridge(&sns(&event_bridge(&detail)))),
            // As an input transformer may write it.
            event.to_string().into(),
            json!([event]),
            event_bridge(&detail.to_string().into()),
            sns(&json!([{"chat_id": "c"}, detail.to_string()])),
            json!({"event": detail}),
            json!({"event": {"of": [detail.to_string()]}}),
            json!({"source": "crm", "detail": detail}),
            json!({"chat_id": "c", "source": "crm", "detail-type": "SYNC_DONE", "detail": detail}),
            json!({"chat_id": "c", "Message": detail.to_string()}),
        ] {
            assert_eq!(parse_body(&body.to_string()), Message::OwnEvent, "{body}");
        }
        // A trigger that quotes the event it responds to.
        valid(&json!({"chat_id": "c", "metadata": {"after": {"event_id": EVENT_ID, "schema_version": "1", "triggers": []}}}).to_string());
        valid(&json!({"chat_id": "c", "previous": detail}).to_string());
        valid(r#"{"chat_id": "c", "source": "postpress.bridge"}"#);
    }

    #[test]
    fn own_events_are_recognized_by_their_fields() {
        let own = json!({
            "schema_version": "1", "event_id": EVENT_ID, "chat_id": "c", "triggers": [{"message_id": "m"}], "origin": "bridge",
        });
        let with = |name: &str, value: serde_json::Value| {
            let mut changed = own.clone();
            changed[name] = value;
            changed
        };
        let without = |name: &str| with(name, serde_json::Value::Null);
        for body in [
            own.to_string(),
            without("triggers").to_string(),
            without("origin").to_string(),
            with("origin", json!("postpress")).to_string(),
            with("origin", json!("crm")).to_string(),
            with("event_id", json!(EVENT_ID.to_uppercase())).to_string(),
            with("since_v1_1", json!({"event_id": 7})).to_string(),
            serde_json::to_string_pretty(&own).unwrap(),
            own.to_string().replace("schema_version", "schema\\u005fversion"),
            own.to_string().replacen('{', r#"{"event_id": "7f", "chat_id": "d", "#, 1),
            own.to_string().replacen('{', r#"{"schema_version": 2, "origin": null, "triggers": 7, "#, 1),
            format!("\u{feff}{own}"),
        ] {
            assert_eq!(parse_body(&body), Message::OwnEvent, "{body}");
            assert!(TriggerBody::parse(&body, "postpress.bridge").unwrap_err().contains("own events"), "{body}");
        }
        let mut neither = without("triggers");
        neither["origin"] = json!("crm");
        for theirs in [
            with("schema_version", json!(1)),
            with("schema_version", json!("2")),
            with("schema_version", json!("1.0")),
            without("schema_version"),
            with("event_id", json!("7f")),
            with("event_id", json!(7)),
            without("event_id"),
            neither,
            json!({"event_id": "7f", "schema_version": 2, "chat_id": "c"}),
            json!({"event_id": EVENT_ID, "schema_version": "1", "chat_id": "c", "triggers": {"by": "cron"}}),
            json!({"event_id": EVENT_ID, "schema_version": "1", "chat_id": "c", "origin": ["bridge"]}),
        ] {
            for body in [theirs.clone(), sns(&theirs), event_bridge(&theirs), sns(&event_bridge(&theirs))] {
                assert_eq!(valid(&body.to_string()).subject.id(), "c", "{body}");
            }
            let submitted = TriggerBody::parse(&theirs.to_string(), "postpress.bridge").unwrap();
            assert_eq!(submitted.subject.id(), "c", "{theirs}");
        }
    }

    #[test]
    fn an_invalid_trigger_lists_every_error_and_keeps_its_valid_fields() {
        let body = r#"{"chat_id": "c", "correlation_id": 7, "idempotency_key": "k", "metadata": [1]}"#;
        let invalid = invalid(body);
        assert_eq!(invalid.reason, "`correlation_id` is not a string; `metadata` is not a JSON object");
        assert_eq!(invalid.subject.unwrap().id(), "c");
        assert_eq!(invalid.trigger.idempotency_key.as_deref(), Some("k"));
        assert_eq!((invalid.trigger.correlation_id, invalid.trigger.metadata), (None, None));
        assert_eq!(invalid.input, body);
    }

    #[test]
    fn an_invalid_trigger_is_rejected_with_a_reason() {
        let long = "x".repeat(10_000);
        let deep = format!("{{\"chat_id\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
        for (body, reason) in [
            (String::new(), "the message is empty"),
            ("\u{feff}{\"chat_id\": \"c\"}".to_owned(), "byte-order mark"),
            ("hello".to_owned(), "not a JSON object"),
            ("[]".to_owned(), "not a JSON object"),
            ("{}".to_owned(), "`chat_id` is missing"),
            (r#"{"chat_id": null}"#.to_owned(), "`chat_id` is missing"),
            (r#"{"chat_id": ""}"#.to_owned(), "`chat_id` is empty"),
            (r#"{"account_id": ""}"#.to_owned(), "`account_id` is empty"),
            (r#"{"account_id": 7}"#.to_owned(), "`account_id` is not a string"),
            (r#"{"account_id": "..", "chat_id": null}"#.to_owned(), "`account_id` is a path navigation"),
            (r#"{"chat_id": "c", "account_id": "a"}"#.to_owned(), "`chat_id` and `account_id` are both there"),
            (r#"{"chat_id": "c", "resync": {}}"#.to_owned(), "`resync` is only for an `account_id`"),
            (r#"{"account_id": "a", "resync": []}"#.to_owned(), "`resync` is not a JSON object"),
            (r#"{"account_id": "a", "resync": {"chunk_size": 0, "x": 1}}"#.to_owned(), "`resync.chunk_size` is not"),
            (r#"{"account_id": "a", "account_id": "b"}"#.to_owned(), "duplicate field `account_id`"),
            (r#"{"chat_id": "c", "workspace": ""}"#.to_owned(), "`workspace` is not a name of 1 to 64 letters"),
            (r#"{"chat_id": "c", "workspace": "a b", "action": "cancel"}"#.to_owned(), "`workspace` is not a name"),
            (r#"{"chat_id": "c", "workspace": 7}"#.to_owned(), "`workspace` is not a string"),
            (r#"{"chat_id": "c", "workspace": "v", "workspace": "w"}"#.to_owned(), "duplicate field `workspace`"),
            (r#"{"chat_id": ".."}"#.to_owned(), "navigation"),
            (r#"{"chat_id": 5}"#.to_owned(), "`chat_id` is not a string"),
            (r#"{"chat_id": "\ud800"}"#.to_owned(), "`chat_id` cannot be read: it has a lone surrogate"),
            (r#"{"chat_id": "\udc00x"}"#.to_owned(), "`chat_id` cannot be read: it has a lone surrogate"),
            (r#"{"chat_id": "c", "\ud800": 1}"#.to_owned(), "the message cannot be read: it has a lone surrogate"),
            (r#"{"Type": "Notification", "Message": "\ud800"}"#.to_owned(), "`Message` cannot be read: it has a lone"),
            (r#"{"Type": "Notification", "Message": {"chat_id": "c"}}"#.to_owned(), "`Message` is not a string"),
            (r#"{"Type": "Notification"}"#.to_owned(), "has no `Message`"),
            (r#"{"chat_id": "a\u0000"}"#.to_owned(), "control character"),
            (format!(r#"{{"chat_id": "{long}"}}"#), "10000 bytes"),
            (r#"{"chat_id": "c", "chat_id": "d"}"#.to_owned(), "duplicate field"),
            (r#"{"chat_id": "c", "idempotency_key": ""}"#.to_owned(), "`idempotency_key` is empty"),
            (format!(r#"{{"chat_id": "c", "correlation_id": "{long}"}}"#), "at most 256"),
            (format!(r#"{{"chat_id": "c", "metadata": {{"a": "{long}"}}}}"#), "at most 1024"),
            (r#"{"chat_id": "c", "metadata": {"a": 1e400}}"#.to_owned(), "`metadata` is refused"),
            (
                r#"{"chat_id": "c", "metadata": {"a": "\ud800"}}"#.to_owned(),
                "`metadata` is refused: it has a lone surrogate",
            ),
            (deep, "chat_id"),
            (r#"{"chat_id": "c""#.to_owned(), "cannot be read"),
            (event_bridge(&json!({"chat": "c"})).to_string(), "`chat_id` is missing"),
            (r#"{"Type": "Notification", "Message": "hello"}"#.to_owned(), "not a JSON object"),
        ] {
            let invalid = invalid(&body);
            assert!(invalid.reason.contains(reason), "{} says {}", &body[..body.len().min(80)], invalid.reason);
        }
    }

    #[test]
    fn a_malformed_own_message_is_never_echoed() {
        let poll = r#"{"postpress_bridge": "poll", "v": 1, "claim_id": "00000000000000000000000000000001","#;
        for body in [
            format!("{poll} }}"),
            format!("{poll} \"v\": 1}}"),
            format!("{poll} \"v\": 1, \"chat_id\": \"c\"}}"),
            r#"{"postpress_bridge": 1e400, "v": 1, "chat_id": "c"}"#.to_owned(),
            event_bridge(&json!({"postpress_bridge": "sweep", "v": 1})).to_string(),
            sns(&json!({"postpress_bridge": "poll", "v": 1, "chat_id": "c"})).to_string(),
        ] {
            assert!(matches!(parse_body(&body), Message::Malformed { .. }), "{body}: {:?}", parse_body(&body));
        }
        valid(r#"{"chat_id": "c", "metadata": {"postpress_bridge": "poll"}}"#);
    }

    #[test]
    fn an_invalid_trigger_that_only_mentions_our_marker_is_answered() {
        for body in [
            r#"{"chat_id": "", "correlation_id": "postpress_bridge"}"#.to_owned(),
            r#"{"chat_id": "c", "metadata": {"postpress_bridge": 1e400}}"#.to_owned(),
            sns(&sns(&sns(&json!({"chat_id": "postpress_bridge"})))).to_string(),
        ] {
            assert_eq!(invalid(&body).input, body);
        }
    }

    #[test]
    fn a_submitted_trigger_reaches_the_worker_unchanged() {
        let metadata = r#"{"b":0.1000, "é":"\u00e9"}"#;
        let body = format!(
            r#"{{"chat_id": "c\ufffe", "correlation_id": "o-1", "idempotency_key": "k", "metadata": {metadata}, "fresh_for_seconds": 60, "after_request": true, "x": 1}}"#
        );
        let submitted = TriggerBody::parse(&body, "postpress.bridge").unwrap();
        let message = submitted.to_body();
        assert!(!message.contains('\u{fffe}'), "SQS would reject it");
        let TriggerMessage { subject, resync, key, fresh_for, after_request, waits, group: _, trigger } =
            valid(&message);
        assert!(resync.is_empty());
        assert_eq!((subject.id(), key), ("c\u{fffe}", TriggerKey::of("k")));
        assert_eq!((fresh_for, after_request, waits), (Some(Duration::from_secs(60)), true, 0));
        assert_eq!(trigger.correlation_id.as_deref(), Some("o-1"));
        assert_eq!(trigger.metadata.as_ref().map(Metadata::as_str), Some(metadata));
    }

    #[test]
    fn only_a_plain_trigger_can_be_submitted() {
        let event = json!({"event_id": EVENT_ID, "schema_version": "1", "chat_id": "c", "triggers": []});
        for (body, reason) in [
            (event_bridge(&event).to_string(), "own events"),
            ("\u{feff}{}".to_owned(), "byte-order mark"),
            (event.to_string(), "own events"),
            (r#"{"source": "postpress.bridge", "detail-type": "SYNC_DONE", "detail": {}}"#.to_owned(), "own events"),
            (r#"{"postpress_bridge": "poll", "v": 1, "chat_id": "c"}"#.to_owned(), "own messages"),
            (event_bridge(&json!({"chat_id": "c"})).to_string(), "`chat_id` is missing"),
            (r#"{"chat_id": "", "metadata": 1}"#.to_owned(), "`metadata` is not a JSON object"),
            ("[]".to_owned(), "not a JSON object"),
        ] {
            let refused = TriggerBody::parse(&body, "postpress.bridge").unwrap_err();
            assert!(refused.contains(reason), "{body}: {refused}");
        }
    }

    #[test]
    fn fields_of_the_maximum_length_are_valid() {
        let label = "x".repeat(LABEL_MAX_BYTES);
        let metadata = format!(r#"{{"a":"{}"}}"#, "x".repeat(METADATA_MAX_BYTES - 8));
        assert_eq!(metadata.len(), METADATA_MAX_BYTES);
        let body = json!({"chat_id": "c", "correlation_id": label, "idempotency_key": label}).to_string();
        let message = valid(&body.replacen('{', &format!(r#"{{"metadata": {metadata},"#), 1));
        assert_eq!(message.trigger.correlation_id.as_ref(), Some(&label));
        assert_eq!(message.trigger.metadata.as_ref().map(Metadata::as_str), Some(&*metadata));
    }

    #[test]
    fn a_long_input_is_truncated_and_marked() {
        let invalid = invalid(&"é".repeat(10_000));
        assert!(invalid.truncated);
        assert_eq!(invalid.input.len(), INPUT_MAX_BYTES);
    }
}
