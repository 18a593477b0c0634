//! What a `POST /v1/syncs` hands in: one trigger, and perhaps its idempotency key beside it.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{JSON, Request};
use crate::ids::{ChatId, MessageId};
use crate::message::TriggerBody;

/// The most bytes of a body: many times the largest trigger.
pub const BODY_MAX_BYTES: usize = 16 * 1024;
/// The idempotency key of clients that do not put it into the body.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The idempotency key of Standard Webhooks, which its signature covers.
const WEBHOOK_ID: &str = "webhook-id";

/// What is answered once SQS has the trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "object": "SyncRequest",
    "chat_id": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    "message_id": "5fea7756-0ea4-451a-a703-a558b933e274",
    "idempotency_key": "crm-8841",
}]))]
pub struct SyncRequest {
    /// Always the same.
    #[schemars(extend("const" = "SyncRequest"))]
    object: &'static str,
    /// The chat that is to be synced.
    chat_id: ChatId,
    /// SQS's id of the trigger, which is in the event that answers it.
    #[schemars(with = "String")]
    message_id: MessageId,
    /// What makes another trigger of this chat the same request.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

impl SyncRequest {
    /// The answer to this trigger, which became this message.
    pub fn accepted(trigger: &TriggerBody, message_id: MessageId) -> Self {
        let (chat_id, idempotency_key) = (trigger.chat_id.clone(), trigger.idempotency_key.clone());
        Self { object: "SyncRequest", chat_id, message_id, idempotency_key }
    }
}

/// Refuses a body that no trigger is as large as, before anything is made of it.
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

/// The trigger that a request hands in, with its idempotency key. `signed` says that a signature covers its `webhook-id`,
/// and `event_source` is the `source` of our own events, which are never triggers.
///
/// # Errors
/// 400 or 415, with what to send instead.
pub fn read(request: &Request, signed: bool, event_source: &str) -> Result<TriggerBody, Problem> {
    check_content_type(&request.headers)?;
    let invalid = |why: String| Problem::new(Kind::InvalidTrigger, why);
    let json = std::str::from_utf8(&request.body).map_err(|_| invalid("the body is not UTF-8".to_owned()))?;
    if json.trim().is_empty() {
        return Err(invalid("the body is empty; send {\"chat_id\": \"…\"}".to_owned()));
    }
    let mut trigger = TriggerBody::parse(json, event_source).map_err(invalid)?;
    // A key that cannot be one is refused also where another goes before it.
    let beside = key(&request.headers, IDEMPOTENCY_KEY)?;
    if trigger.idempotency_key.is_none() {
        trigger.idempotency_key = if signed { key(&request.headers, WEBHOOK_ID)? } else { beside };
    }
    Ok(trigger)
}

/// `application/json`, in UTF-8 if it says in what.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (value, another) = (values.next().and_then(|value| value.to_str().ok()), values.next());
    let is_json = value.is_some_and(|value| {
        let mut parts = value.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let is_utf8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        };
        media_type.eq_ignore_ascii_case(JSON) && parts.all(is_utf8)
    });
    if is_json && another.is_none() {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMediaType, "send one JSON object with `Content-Type: application/json`"))
}

/// The key in this header, if it is there.
fn key(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let invalid = |why: String| Problem::new(Kind::InvalidIdempotencyKey, why);
    let mut values = headers.get_all(name).iter();
    let (Some(value), another) = (values.next(), values.next()) else { return Ok(None) };
    if another.is_some() {
        return Err(invalid(format!("`{name}` is there more than once; send it once")));
    }
    let key = std::str::from_utf8(value.as_bytes()).ok().filter(|key| !key.chars().any(char::is_control));
    let key = key.ok_or_else(|| invalid(format!("`{name}` has characters that cannot be shown; use others")))?;
    TriggerBody::check_key(name, key).map_err(invalid)?;
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
    fn only_json_in_utf_8_is_taken() {
        for (values, taken) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=UTF-8"], true),
            (&["application/json;charset=\"utf-8\""], true),
            (&["application/json; profile=x"], true),
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
    fn a_key_in_a_header_is_there_once_and_can_be_shown() {
        assert_eq!(key(&headers(&[]), IDEMPOTENCY_KEY), Ok(None));
        let long = "x".repeat(257);
        for values in [&[""][..], &[&long], &["a\tb"], &["a", "a"], &["a\u{85}"]] {
            let entries: Vec<_> = values.iter().map(|value| (IDEMPOTENCY_KEY, *value)).collect();
            let refused = key(&headers(&entries), IDEMPOTENCY_KEY).unwrap_err();
            assert_eq!(refused.kind, Kind::InvalidIdempotencyKey, "{values:?}");
        }
        for taken in ["crm-1", "é", &"x".repeat(256)] {
            assert_eq!(key(&headers(&[(IDEMPOTENCY_KEY, taken)]), IDEMPOTENCY_KEY), Ok(Some(taken.to_owned())));
        }
    }
}
