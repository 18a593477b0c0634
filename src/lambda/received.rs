//! Describes unexpected events, for the person who fixes the cause.

use std::fmt;

use lambda_runtime::Diagnostic;
use serde_json::value::RawValue;

use crate::json::{self, RawObject};
use crate::text::bounded;

/// The most bytes of a foreign name that an error quotes.
const NAME_MAX_BYTES: usize = 100;
/// The most members that an error names.
const MEMBERS_MAX: usize = 8;

/// The error of an invocation with an event that the function cannot read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownEvent(String);

impl UnknownEvent {
    /// The error for this event, with the remedy.
    pub fn new(received: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self(format!("nothing was done: {received}; {remedy}"))
    }
}

/// The runtime logs errors with `Debug`: the log has the same line as the caller gets.
impl fmt::Debug for UnknownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<UnknownEvent> for Diagnostic {
    fn from(error: UnknownEvent) -> Self {
        Self { error_type: "bridge/unknown_event".to_owned(), error_message: error.0 }
    }
}

/// Describes an event. The only values it shows are the names of sources and types.
pub fn description(event: &RawValue) -> String {
    let Some(object) = RawObject::of(event) else {
        return format!("the event is {}, not an object", json::kind(event.get()));
    };
    if let Some(records) = object.get("Records").and_then(elements) {
        return match records.first().map(|record| RawObject::of(record)) {
            Some(Some(record)) => format!("the event's first record has {}", source(&record)),
            Some(None) => "the event's first record is not an object".to_owned(),
            None => "the event has no records in `Records`".to_owned(),
        };
    }
    if object.has("detail-type") && object.has("source") {
        let name = |member: &str| object.text(member).map_or_else(|| "?".to_owned(), shown);
        return format!("this is an EventBridge event, {} from {}", name("detail-type"), name("source"));
    }
    if object.has("requestContext") || object.has("httpMethod") {
        return "this looks like an HTTP request".to_owned();
    }
    if object.has("chat_id") {
        return "this is a bare trigger".to_owned();
    }
    if object.has("postpress_bridge") {
        return "this is a bare message of the bridge itself".to_owned();
    }
    if object.has("eventSource") || object.has("EventSource") {
        return format!("the event has {}", source(&object));
    }
    format!("the event is an object {}", members(&object))
}

/// The elements of an array.
pub(super) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// The source of a record.
pub(super) fn source(record: &RawObject<'_>) -> String {
    for name in ["eventSource", "EventSource"] {
        if let Some(value) = record.get(name) {
            let text = serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
            return format!("`{name}` {}", shown(text));
        }
    }
    format!("no `eventSource`: it is an object {}", members(record))
}

/// The names of an object's members.
fn members(object: &RawObject<'_>) -> String {
    let names: Vec<_> = object.members().take(MEMBERS_MAX).map(|(name, _)| shown(name.to_owned())).collect();
    match object.members().count() {
        0 => "without members".to_owned(),
        count if count > MEMBERS_MAX => format!("with {count} members: {}, …", names.join(", ")),
        _ => format!("with {}", names.join(", ")),
    }
}

/// A foreign name, bounded and escaped.
fn shown(name: String) -> String {
    match bounded(name, NAME_MAX_BYTES) {
        (name, false) => format!("{name:?}"),
        (name, true) => format!("{name:?}…"),
    }
}
