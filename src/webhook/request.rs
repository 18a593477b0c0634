//! The content of a `POST /v1/syncs`: one trigger, and its idempotency key if a header has it.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{JSON, Request};
use crate::ids::{MessageGroup, MessageId, Subject, SubjectFields, subject_fields};
use crate::json::BYTE_ORDER_MARK;
use crate::message::TriggerBody;

/// The most bytes of a body, which is many times the largest trigger.
pub const BODY_MAX_BYTES: usize = 16 * 1024;
/// The idempotency key of Standard Webhooks, by its name and by Svix's.
pub const WEBHOOK_ID: [&str; 2] = ["webhook-id", "svix-id"];
/// The idempotency key of clients that send it neither there nor in the body.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header with the tenant.
pub const MESSAGE_GROUP: &str = "message-group-id";

/// The answer once SQS has the trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "object": "SyncRequest",
    "chat_id": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    "message_id": "5fea7756-0ea4-451a-a703-a558b933e274",
    "idempotency_key": "crm-8841",
}]))]
pub struct SyncRequest {
    /// The type of this object.
    #[schemars(extend("const" = "SyncRequest"))]
    object: &'static str,
    /// What to sync.
    #[serde(flatten, with = "subject_fields")]
    #[schemars(with = "SubjectFields")]
    subject: Subject,
    /// SQS's id of the trigger, which the event that answers it contains.
    #[schemars(with = "String")]
    message_id: MessageId,
    /// Another trigger of it with this key is the same request.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

impl SyncRequest {
    /// The answer to this trigger, sent as this message.
    pub fn accepted(trigger: &TriggerBody, message_id: MessageId) -> Self {
        let (subject, idempotency_key) = (trigger.subject.clone(), trigger.idempotency_key.clone());
        Self { object: "SyncRequest", subject, message_id, idempotency_key }
    }
}

/// The answer once SQS has a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "object": "CancelRequest",
    "chat_id": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    "message_id": "5fea7756-0ea4-451a-a703-a558b933e274",
    "detail": CANCEL_DETAIL,
}]))]
pub struct CancelRequest {
    /// The type of this object.
    #[schemars(extend("const" = "CancelRequest"))]
    object: &'static str,
    /// What the run syncs.
    #[serde(flatten, with = "subject_fields")]
    #[schemars(with = "SubjectFields")]
    subject: Subject,
    /// SQS's id of the request.
    #[schemars(with = "String")]
    message_id: MessageId,
    /// When it takes effect, and when it does nothing.
    detail: &'static str,
}

/// When a cancel takes effect, for people.
pub const CANCEL_DETAIL: &str = "a run in flight that began before this request makes no further call: it ends at once if no \
    message holds it, otherwise with its next poll, up to 15 minutes later, unless its sync ends first. Without such a run \
    nothing happens, and a sync that postpress has begun goes on";

impl CancelRequest {
    /// The answer to a request to cancel, sent as this message.
    pub fn accepted(subject: Subject, message_id: MessageId) -> Self {
        Self { object: "CancelRequest", subject, message_id, detail: CANCEL_DETAIL }
    }
}

/// Refuses a body that is larger than any trigger, before it is read.
///
/// # Errors
/// 413
pub fn check_size(body: &[u8]) -> Result<(), Problem> {
    if body.len() > BODY_MAX_BYTES {
        let detail = format!("the body is {} bytes long; at most {BODY_MAX_BYTES} are allowed", body.len());
        return Err(Problem::new(Kind::BodyTooLarge, detail));
    }
    Ok(())
}

/// The trigger in a request, with its idempotency key: the body's, else the `webhook-id` of Standard Webhooks, else the
/// `Idempotency-Key`. `event_source` is the `source` of our own events, which are never triggers.
///
/// # Errors
/// 400 or 415, with what to send instead.
pub fn read(request: &Request, event_source: &str) -> Result<TriggerBody, Problem> {
    check_content_type(&request.headers)?;
    let invalid = |why: String| Problem::new(Kind::InvalidTrigger, why);
    let json = text(&request.body).map_err(invalid)?;
    if json.trim().is_empty() {
        return Err(invalid("the body is empty; send {\"chat_id\": \"…\"}".to_owned()));
    }
    let mut trigger = TriggerBody::parse(json, event_source).map_err(invalid)?;
    // An invalid key is refused even if another takes precedence.
    let webhook_id = key(&request.headers, &WEBHOOK_ID)?;
    let beside = key(&request.headers, &[IDEMPOTENCY_KEY])?;
    trigger.idempotency_key = trigger.idempotency_key.or(webhook_id).or(beside);
    Ok(trigger)
}

/// The tenant in the header `Message-Group-Id`, by whom SQS's fair queues share the worker.
///
/// # Errors
/// 400, if SQS would refuse it.
pub fn group(headers: &HeaderMap) -> Result<Option<MessageGroup>, Problem> {
    let mut values = headers.get_all(MESSAGE_GROUP).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let group = value.to_str().ok().and_then(MessageGroup::parse).filter(|_| values.next().is_none());
    group.map(Some).ok_or_else(|| {
        let max = MessageGroup::MAX_LEN;
        let why = format!("`{MESSAGE_GROUP}` is not one value of 1 to {max} letters, digits and ASCII punctuation");
        Problem::new(Kind::InvalidTrigger, why)
    })
}

/// The body as text. A byte-order mark is refused, because it is not JSON.
fn text(body: &[u8]) -> Result<&str, String> {
    match body {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err("the body is UTF-16, by its byte-order mark; send it in UTF-8".to_owned());
        }
        [0, _, ..] | [_, 0, ..] => {
            return Err("the body looks like UTF-16, by its zero bytes; send it in UTF-8".to_owned());
        }
        _ => {}
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        let byte = body.get(at).copied().unwrap_or_default();
        format!(
            "the body is not UTF-8: byte {at} is 0x{byte:02x}; send it in UTF-8, not in Latin-1 or another encoding"
        )
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err("the body begins with a byte-order mark (U+FEFF); send it without one".to_owned());
    }
    Ok(text)
}

/// Requires `application/json`, and UTF-8 if a charset is named.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |why: &str| {
        let detail = format!("{why}; send one JSON object with `Content-Type: application/json`");
        Err(Problem::new(Kind::UnsupportedMediaType, detail))
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (value, another) = (values.next(), values.next());
    if another.is_some() {
        return refused("`Content-Type` is repeated");
    }
    let Some(value) = value else { return refused("`Content-Type` is missing") };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case(JSON) {
        return refused("`Content-Type` is not `application/json`");
    }
    if !parts.all(is_utf8) {
        return refused("`Content-Type` names a charset that is not UTF-8");
    }
    Ok(())
}

/// Whether a media type's parameter names no charset but UTF-8, which many clients write without the hyphen.
fn is_utf8(parameter: &str) -> bool {
    let Some((name, charset)) = parameter.split_once('=') else { return true };
    let charset = charset.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset")
        || ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// The key in a header that has these names.
fn key(headers: &HeaderMap, names: &[&str]) -> Result<Option<String>, Problem> {
    let invalid = |why: String| Problem::new(Kind::InvalidIdempotencyKey, why);
    let mut found = None;
    for name in names {
        for value in headers.get_all(*name) {
            if found.is_some_and(|(_, other)| other != value) {
                return Err(invalid(format!("`{}` has several values; send one", names.join("` or `"))));
            }
            found = Some((name, value));
        }
    }
    let Some((name, value)) = found else { return Ok(None) };
    let key = std::str::from_utf8(value.as_bytes()).ok().filter(|key| !key.chars().any(char::is_control));
    let key = key.ok_or_else(|| invalid(format!("`{name}` has unprintable characters; use others")))?;
    TriggerBody::check_label(name, key).map_err(invalid)?;
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        entries.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for (values, taken) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=UTF-8"], true),
            (&["application/json;charset=\"utf-8\""], true),
            (&["application/json; profile=x"], true),
            (&["application/json; charset=utf8"], true),
            (&["application/json ; Charset = \"UTF8\""], true),
            (&["application/json; charset="], false),
            (&["application/json; charset=utf-16"], false),
            (&["application/json; charset=utf8; charset=latin1"], false),
            (&["application/json; charset=latin1"], false),
            (&["application/problem+json"], false),
            (&["text/json"], false),
            (&["application/json, application/json"], false),
            (&["application/json", "application/json"], false),
            (&[""], false),
            (&[], false),
        ] {
            let entries: Vec<_> = values.iter().map(|value| ("content-type", *value)).collect();
            assert_eq!(check_content_type(&headers(&entries)).is_ok(), taken, "{values:?}");
        }
    }

    #[test]
    fn keys_in_headers_are_printable() {
        let key = |headers: &HeaderMap| key(headers, &[IDEMPOTENCY_KEY]);
        assert_eq!(key(&headers(&[])), Ok(None));
        let long = "x".repeat(257);
        for value in ["", &long, "a\tb", "a\u{85}"] {
            let refused = key(&headers(&[(IDEMPOTENCY_KEY, value)])).unwrap_err();
            assert_eq!(refused.kind, Kind::InvalidIdempotencyKey, "{value:?}");
        }
        for taken in ["crm-1", "é", &"x".repeat(256)] {
            assert_eq!(key(&headers(&[(IDEMPOTENCY_KEY, taken)])), Ok(Some(taken.to_owned())));
        }
    }

    #[test]
    fn a_group_is_one_value_that_sqs_allows() {
        assert_eq!(group(&headers(&[])), Ok(None));
        assert_eq!(group(&headers(&[(MESSAGE_GROUP, "tenant-1")])), Ok(MessageGroup::parse("tenant-1")));
        for entries in [&[""][..], &["a b"], &["é"], &[&"x".repeat(129)], &["a", "a"]] {
            let entries: Vec<_> = entries.iter().map(|value| (MESSAGE_GROUP, *value)).collect();
            assert_eq!(group(&headers(&entries)).unwrap_err().kind, Kind::InvalidTrigger, "{entries:?}");
        }
    }

    #[test]
    fn repeated_keys_must_be_equal() {
        for (entries, found) in [
            (&[("webhook-id", "a")][..], Some("a")),
            (&[("svix-id", "a")], Some("a")),
            (&[("webhook-id", "a"), ("svix-id", "a")], Some("a")),
            (&[("webhook-id", "a"), ("webhook-id", "a")], Some("a")),
        ] {
            assert_eq!(key(&headers(entries), &WEBHOOK_ID), Ok(found.map(str::to_owned)), "{entries:?}");
        }
        for entries in [[("webhook-id", "a"), ("svix-id", "b")], [("svix-id", "a"), ("svix-id", "b")]] {
            let refused = key(&headers(&entries), &WEBHOOK_ID).unwrap_err();
            assert!(refused.detail.contains("several values"), "{}", refused.detail);
        }
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_refused_with_the_reason() {
        for (body, why) in [
            (&b"\xef\xbb\xbf{}"[..], "byte-order mark (U+FEFF)"),
            (b"\xff\xfe{\0}\0", "UTF-16, by its byte-order mark"),
            (b"\xfe\xff\0{\0}", "UTF-16, by its byte-order mark"),
            (b"{\0}\0", "UTF-16, by its zero bytes"),
            (b"\0{\0}", "UTF-16, by its zero bytes"),
            (b"{\"chat_id\": \"\xe9\"}", "byte 13 is 0xe9"),
            (b"{\"chat_id\": \"\xc3", "byte 13 is 0xc3"),
        ] {
            let refused = text(body).unwrap_err();
            assert!(refused.contains(why), "{body:?}: {refused}");
        }
        for body in ["", "{", "{}", "\u{e9}"] {
            assert_eq!(text(body.as_bytes()), Ok(body));
        }
    }
}
