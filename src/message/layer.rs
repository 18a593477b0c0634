//! One JSON object in a message's body: a trigger, one of our own events, or a wrapper around either.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::SCHEMA_VERSION;
use crate::ids::SubjectKind;
use crate::json::{self, BYTE_ORDER_MARK, RawObject};
use crate::run::Origin;

/// How deep to search for our own events. Answering one would loop for ever, however it is wrapped.
pub(super) const OWN_EVENT_DEPTH: usize = 8;

/// The members that a trigger is read from. If one is repeated, it is unclear which value is meant.
const READ: [&str; 17] = [
    "action",
    "after_request",
    "chat_id",
    "account_id",
    "workspace",
    "resync",
    "correlation_id",
    "idempotency_key",
    "metadata",
    "fresh_for_seconds",
    // EventBridge's
    "id",
    "detail-type",
    "source",
    "detail",
    // SNS's
    "Type",
    "MessageId",
    "Message",
];

/// The members that EventBridge and SNS wrap a trigger in.
const WRAPPED: [&str; 2] = ["detail", "Message"];

/// An object with unparsed members.
pub(super) struct Layer<'a>(RawObject<'a>);

/// The content of a wrapper.
pub(super) struct Wrapper {
    /// The JSON inside.
    pub(super) inner: String,
    /// The wrapper's id, which replaces an idempotency key.
    pub(super) id: Option<String>,
    /// EventBridge's id takes precedence over the topic's, which only forwards it.
    pub(super) by_event_bridge: bool,
}

impl<'a> Layer<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// Says why the text is not one.
    pub(super) fn parse(json: &'a str) -> Result<Self, String> {
        const SEND: &str = "send {\"chat_id\": \"…\"}";
        let start = json.trim_start();
        if start.is_empty() {
            return Err(format!("the message is empty; {SEND}"));
        }
        if start.starts_with(BYTE_ORDER_MARK) {
            return Err("the message begins with a byte-order mark (U+FEFF); send it without one".to_owned());
        }
        if !start.starts_with('{') {
            return Err(format!("the message is not a JSON object; {SEND}"));
        }
        let object = RawObject::parse(json);
        object.map(Self).map_err(|error| format!("the message cannot be read: {}", json::reason(&error)))
    }

    /// The last value of a member, unless it is null.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name)
    }

    /// Whether it is marked as one of the bridge's own messages.
    pub(super) fn is_own_message(&self) -> bool {
        self.0.all("postpress_bridge").next().is_some()
    }

    /// Refuses an object in which a member that is read is repeated.
    ///
    /// # Errors
    /// Names the member.
    pub(super) fn check_duplicates(&self) -> Result<(), String> {
        let count = |name: &str| self.0.members().filter(|(other, _)| *other == name).count();
        match READ.iter().find(|name| count(name) > 1) {
            Some(name) => Err(format!("the message has a duplicate field `{name}`; keep one of them")),
            None => Ok(()),
        }
    }

    /// The content, if this is an EventBridge event or an SNS notification.
    ///
    /// # Errors
    /// If it is a notification with an unreadable message.
    pub(super) fn wrapper(&self) -> Result<Option<Wrapper>, String> {
        let Self(object) = self;
        if self.names_a_subject() {
            return Ok(None);
        }
        if let (true, true, Some(detail)) = (object.has("detail-type"), object.has("source"), object.get("detail")) {
            return Ok(Some(Wrapper { inner: detail.get().to_owned(), id: object.text("id"), by_event_bridge: true }));
        }
        if object.text("Type").as_deref() != Some("Notification") {
            return Ok(None);
        }
        let Some(message) = object.get("Message") else {
            return Err("the SNS notification has no `Message`; publish the trigger as the message".to_owned());
        };
        let inner = string("Message", message)?;
        Ok(Some(Wrapper { inner, id: object.text("MessageId"), by_event_bridge: false }))
    }

    /// Whether it says what to sync, as only a trigger does.
    fn names_a_subject(&self) -> bool {
        SubjectKind::ALL.into_iter().any(|kind| self.0.has(kind.id_field()))
    }

    /// Where one of our own events may be: in the content of a wrapper; beside what to sync, in the members of wrappers; otherwise
    /// in every member, except a trigger's metadata, which may quote an event.
    fn may_hold_an_event(&self) -> Vec<Cow<'a, str>> {
        if let Ok(Some(wrapper)) = self.wrapper() {
            return vec![wrapper.inner.into()];
        }
        let is_trigger = self.names_a_subject();
        let is_looked_at = |name: &str| if is_trigger { WRAPPED.contains(&name) } else { name != "metadata" };
        self.0.members().filter(|(name, _)| is_looked_at(name)).map(|(_, value)| value.get().into()).collect()
    }

    /// Whether this is an event that this bridge published, or the bare detail of one.
    ///
    /// Other producers' events have `event_id` and `schema_version`, too, so the whole form must match. An event with our source is
    /// ours whatever its detail is, since no other producer may use that name.
    fn is_own_event(&self, event_source: &str) -> bool {
        let Self(object) = self;
        let any = |name, is: &dyn Fn(&RawValue) -> bool| object.all(name).any(is);
        let any_text =
            |name, is: &dyn Fn(&str) -> bool| any(name, &|raw| json::text(raw).is_some_and(|text| is(&text)));
        let is_array = |raw: &RawValue| raw.get().starts_with('[');
        let is_origin = |raw: &RawValue| serde_json::from_str::<Origin>(raw.get()).is_ok();

        let detail_of_ours = any_text("schema_version", &|version| version == SCHEMA_VERSION)
            && any_text("event_id", &|id| Uuid::try_parse(id).is_ok())
            && (any("triggers", &is_array) || any("origin", &is_origin));
        let event_of_ours = any("detail-type", &|_| true) && any_text("source", &|source| source == event_source);
        detail_of_ours || event_of_ours
    }
}

/// Whether a body contains one of our own events, wrapped or bare. A rule's input transformer may also have put it into a JSON
/// string, an array or another object, where triggers are not searched for. If it were answered as an invalid trigger, it would
/// loop for ever.
pub(super) fn holds_own_event(body: &str, event_source: &str) -> bool {
    holds_own_event_within(body, event_source, OWN_EVENT_DEPTH)
}

fn holds_own_event_within(json: &str, event_source: &str, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let is_within = |json: &str| holds_own_event_within(json, event_source, depth);
    let json = json.trim_start().trim_start_matches(BYTE_ORDER_MARK);
    match json.trim_start().bytes().next() {
        Some(b'{') => Layer::parse(json).is_ok_and(|layer| {
            layer.is_own_event(event_source) || layer.may_hold_an_event().iter().any(|inner| is_within(inner))
        }),
        Some(b'"') => serde_json::from_str::<String>(json).is_ok_and(|text| is_within(&text)),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(json)
            .is_ok_and(|elements| elements.into_iter().any(|element| is_within(element.get()))),
        _ => false,
    }
}

/// The text of a member that must be a string.
///
/// # Errors
/// Says why it is not one.
pub(super) fn string(name: &str, raw: &RawValue) -> Result<String, String> {
    if !raw.get().starts_with('"') {
        return Err(format!("`{name}` is not a string"));
    }
    serde_json::from_str(raw.get()).map_err(|error| format!("`{name}` cannot be read: {}", json::reason(&error)))
}
