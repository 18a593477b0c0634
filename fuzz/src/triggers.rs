//! Whatever somebody puts on the queue.

use postpress_bridge::event::Event;
use postpress_bridge::ids::Subject;
use postpress_bridge::message::{INPUT_MAX_BYTES, Message};
use postpress_bridge::run::{InvalidTrigger, Trigger, TriggerMessage};

use super::wrapping::{EventBridge, WRAPPINGS, parse, wrap};

/// # Panics
/// Where a body is read as something that the contract rules out.
pub fn check(input: &[u8]) {
    let body = &*String::from_utf8_lossy(input);
    match parse(body) {
        Message::Trigger(trigger) if trigger.waits > 0 => super::own_messages::check(input),
        Message::Trigger(trigger) => check_trigger(body, &trigger),
        Message::Cancel(cancel) => assert!(body.contains(cancel.subject.id()) || body.contains('\\')),
        Message::Invalid(invalid) => check_invalid(body, invalid),
        Message::OwnEvent => check_own_event(body),
        Message::Malformed { .. } => {
            let is_marked = body.contains("postpress_bridge") || body.contains('\\');
            assert!(is_marked, "{body} is taken for a message of our own");
        }
        Message::Poll(_) | Message::Sweep | Message::Newer { .. } => super::own_messages::check(input),
    }
}

fn check_trigger(body: &str, message: &TriggerMessage) {
    check_fields(Some(&message.subject), &message.trigger);
    if let Some(metadata) = message.trigger.metadata.as_ref().filter(|_| !body.contains("Message")) {
        assert!(body.contains(metadata.as_str()), "not byte for byte: {body}");
    }
    // Written again, it is the same trigger.
    let again = write(message);
    match parse(&again) {
        Message::Trigger(read) => {
            assert_eq!(
                (&read.subject, &read.resync, &read.trigger),
                (&message.subject, &message.resync, &message.trigger)
            );
        }
        other => panic!("{again} is {other:?}"),
    }
    // Wrapped once more, it is the same trigger, or it has too many wrappings; and an own key stays the key.
    for layers in WRAPPINGS {
        match parse(&wrap(body, layers)) {
            Message::Trigger(wrapped) => {
                assert!(layers.len() <= 2, "{body} in {layers:?}");
                assert_eq!((&wrapped.subject, &wrapped.trigger), (&message.subject, &message.trigger), "{layers:?}");
                if message.trigger.idempotency_key.is_some() {
                    assert_eq!(wrapped.key, message.key, "{body} in {layers:?}");
                }
            }
            Message::Invalid(invalid) => {
                assert!(invalid.reason.contains("more than 2 times"), "{body} in {layers:?}: {}", invalid.reason);
            }
            other => panic!("{body} in {layers:?} is {other:?}"),
        }
    }
}

/// The trigger as a producer would write it.
fn write(message: &TriggerMessage) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let Trigger { correlation_id, idempotency_key, metadata, .. } = &message.trigger;
    let subject = &message.subject;
    let mut fields = vec![format!(r#""{}":{}"#, subject.kind().id_field(), text(subject.id()))];
    if !subject.workspace().is_default() {
        fields.push(format!(r#""workspace":"{}""#, subject.workspace()));
    }
    if !message.resync.is_empty() {
        fields.push(format!(r#""resync":{}"#, serde_json::to_string(&message.resync).expect("it is plain data")));
    }
    fields.extend(correlation_id.iter().map(|id| format!(r#""correlation_id":{}"#, text(id))));
    fields.extend(idempotency_key.iter().map(|key| format!(r#""idempotency_key":{}"#, text(key))));
    fields.extend(metadata.iter().map(|metadata| format!(r#""metadata":{}"#, metadata.as_str())));
    format!("{{{}}}", fields.join(","))
}

fn check_invalid(body: &str, invalid: InvalidTrigger) {
    assert!(!invalid.reason.is_empty(), "{body}");
    assert!(body.starts_with(&invalid.input));
    assert_eq!(invalid.truncated, invalid.input.len() < body.len());
    assert!(invalid.input.len() <= INPUT_MAX_BYTES);
    check_fields(invalid.subject.as_ref(), &invalid.trigger);

    let event = Event::of_invalid_trigger(invalid);
    let error = event.detail.error.as_ref().expect("it says what is wrong");
    assert!(error.detail.as_ref().is_some_and(|detail| detail.len() <= 4096), "{error:?}");
    check_own_event(&event.detail_json());
    check_own_event(&event.to_line("postpress.bridge"));
}

/// What this bridge published is never a trigger, however it comes back.
fn check_own_event(body: &str) {
    assert_eq!(parse(body), Message::OwnEvent, "{body}");
    // Around a text that is no JSON, EventBridge's wrapping makes no JSON either.
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
    for layers in WRAPPINGS.iter().filter(|layers| is_json || layers[0] != EventBridge) {
        let wrapped = parse(&wrap(body, layers));
        // What came wrapped deeply is, wrapped deeper still, at least no trigger; it may be answered.
        assert!(matches!(wrapped, Message::OwnEvent | Message::Invalid(_)), "{body} in {layers:?} is {wrapped:?}");
    }
}

fn check_fields(subject: Option<&Subject>, trigger: &Trigger) {
    if let Some(subject) = subject {
        let text = subject.id();
        assert!((1..=512).contains(&text.len()) && !text.chars().any(char::is_control), "{text:?}");
        assert!(text != "." && text != "..");
        assert!((1..=64).contains(&subject.workspace().as_str().len()));
    }
    for label in [&trigger.correlation_id, &trigger.idempotency_key].into_iter().flatten() {
        assert!((1..=256).contains(&label.len()), "{label:?}");
    }
    if let Some(metadata) = &trigger.metadata {
        let text = metadata.as_str();
        assert!(text.len() <= 1024);
        let value: serde_json::Value = serde_json::from_str(text).expect("an ordinary parser reads it");
        assert!(value.is_object(), "{text}");
    }
    assert!(!trigger.joined);
}
