//! What the webhook needs around it, and requests to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Bytes;
use postpress_bridge::ids::TriggerKey;
use postpress_bridge::message::Message;
use postpress_bridge::run::{TriggerMessage, Write, WriteResult};
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::store::RunStore;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Front, Function, Kind};

pub(super) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(super) const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const TOKEN: &str = "token-of-the-test";
/// Longer than any request takes.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The webhook's environment, without its credentials.
pub(super) fn settings(aws: &Emulated) -> Vec<(String, String)> {
    let settings = [
        ("AWS_ENDPOINT_URL", &*emulator::endpoint()),
        ("BRIDGE_QUEUE_URL", &aws.queue_url),
        ("BRIDGE_TABLE", &aws.table),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A function with these additional settings.
pub(super) fn front(aws: &Emulated, kind: Kind, more: &[(&str, &str)]) -> Front {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Front::new(Function::webhook(settings(aws).into_iter().chain(more), TIMEOUT), kind)
}

/// A function URL that accepts signatures and tokens.
pub(super) fn open_front(aws: &Emulated) -> Front {
    front(aws, Kind::FunctionUrl, &[("BRIDGE_WEBHOOK_SECRET", SECRET), ("BRIDGE_WEBHOOK_TOKEN", TOKEN)])
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

/// A query with the token.
pub(super) fn get(path: &str) -> Request<Bytes> {
    request("GET", path, &[("authorization", &format!("Bearer {TOKEN}"))], "")
}

/// A trigger with the token.
pub(super) fn post(body: impl Into<Bytes>) -> Request<Bytes> {
    let bearer = format!("Bearer {TOKEN}");
    request("POST", "/v1/syncs", &[("authorization", &bearer), ("content-type", "application/json")], body)
}

pub(super) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A trigger that was signed at this time.
pub(super) fn signed(secret: &str, timestamp: i64, body: &str) -> Request<Bytes> {
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign("msg_1", timestamp, body.as_bytes()).unwrap();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &timestamp.to_string()),
        ("webhook-signature", &signature),
    ];
    request("POST", "/v1/syncs", &headers, body.to_owned())
}

pub(super) fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

/// The status of an answer, and the `type` if it is an error.
pub(super) fn outcome(response: &Response<Bytes>) -> String {
    let status = response.status().as_u16();
    body(response)["type"].as_str().map_or(status.to_string(), |kind| format!("{status} {kind}"))
}

/// Puts a run of this chat into the table, ended in an error after one poll.
pub(super) async fn remember(aws: &Emulated, chat: &str) {
    let item = json!({
        "subject": format!("default/chat/{chat}"),
        "run_id": Uuid::new_v4(),
        "claim_id": "00000000000000000000000000000007",
        "holder": "m",
        "lease_until_ms": 1_795_514_460_000_u64,
        "phase": "ended",
        "open": {"shard": 0, "sweep_at_ms": 1_795_516_201_000_u64},
        "triggers": [{"message_id": "m", "requested_at": "2026-11-24T10:00:00.000Z", "joined": false}],
        "keys": [TriggerKey::of("m")],
        "learned": {"status": "SYNC_RUNNING"},
        "started_at_ms": 1_795_514_401_000_u64,
        "polls": 2,
        "outcome": {
            "error": {"title": "No handler", "type": "errors/no_handler", "status": 503},
            "origin": "postpress",
            "ended_by": "retries",
            "finished_at": "2026-11-24T10:04:10.000Z",
        },
    });
    let write = Write::Start { item: Box::new(serde_json::from_value(item).unwrap()), over: None };
    let written = aws.store(&aws.sdk).write(&write).await.unwrap();
    assert!(matches!(written, WriteResult::Applied(_)), "{written:?}");
}

/// The one message on the queue, as the worker reads it.
pub(super) async fn queued(aws: &Emulated) -> TriggerMessage {
    let record = aws.receive(1).await.remove(0);
    match Message::parse(&record, DEFAULT_EVENT_SOURCE) {
        Message::Trigger(trigger) => trigger,
        other => panic!("{other:?}"),
    }
}
