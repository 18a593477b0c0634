//! From a request to a message on the queue, and from the run table to a status.

use std::time::Duration;

use http::Request;
use hyper::body::Bytes;
use postpress_bridge::bus::EventBridgeBus;
use postpress_bridge::ids::TriggerKey;
use postpress_bridge::queue::{Source, SqsQueue};
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::DynamoStore;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{SECRET, TIMEOUT, TOKEN, body, front, get, now, open_front, outcome, post, queued, request, signed};
use crate::harness::emulator::Emulated;
use crate::harness::lambda::{Kind, Outcome};

#[tokio::test]
async fn an_accepted_trigger_is_on_the_queue_unchanged() {
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    let trigger = r#"{"chat_id": "a/b é", "correlation_id": "order-17", "metadata": {"n": 1.50}}"#;
    let response = front.answer(&signed(SECRET, now(), trigger)).await;
    assert_eq!(outcome(&response), "202", "{response:?}\n{}", front.log());
    let trigger = queued(&aws).await;
    assert_eq!(trigger.subject.id(), "a/b é");
    assert_eq!(trigger.key, TriggerKey::of("msg_1"));
    assert_eq!(trigger.trigger.correlation_id.as_deref(), Some("order-17"));
    assert_eq!(serde_json::to_string(&trigger.trigger.metadata).unwrap(), r#"{"n": 1.50}"#);
    let message_id = trigger.trigger.message_id;
    assert_eq!(
        body(&response),
        json!({"object": "SyncRequest", "chat_id": "a/b é", "message_id": message_id, "idempotency_key": "msg_1"})
    );

    let log = front.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.filter(|line: &serde_json::Value| line["level"] == "INFO").collect();
    let [line] = &lines[..] else { panic!("{log}") };
    assert_eq!((line["chat_id"].as_str(), line["message_id"].as_str()), (Some("a/b é"), Some(message_id.as_str())));
}

#[tokio::test]
async fn every_front_end_behaves_the_same() {
    for (kind, prefix) in [
        (Kind::FunctionUrl, ""),
        (Kind::HttpApi { stage: "$default" }, ""),
        (Kind::HttpApi { stage: "prod" }, "/prod"),
        (Kind::HttpApi1 { stage: "$default" }, ""),
        (Kind::HttpApi1 { stage: "prod" }, "/prod"),
        (Kind::RestApi { base_path: "" }, ""),
        (Kind::RestApi { base_path: "/bridge/v1" }, "/bridge/v1"),
    ] {
        let aws = Emulated::new().await;
        let front = front(&aws, kind, &[("BRIDGE_WEBHOOK_SECRET", SECRET), ("BRIDGE_WEBHOOK_TOKEN", TOKEN)]);
        let at = |mut request: Request<Bytes>| {
            *request.uri_mut() = format!("{prefix}{}", request.uri()).parse().unwrap();
            request
        };
        let trigger = at(signed(SECRET, now(), r#"{"chat_id": "é"}"#));
        assert_eq!(outcome(&front.answer(&trigger).await), "202", "{kind:?}: {}", front.log());
        assert_eq!(queued(&aws).await.subject.id(), "é");
        for (path, expected) in [
            ("/healthz", "200"),
            ("/v1/chats/a%2Fb%20%C3%A9/sync", "404 bridge/no_run"),
            ("/v1/chats/%00/sync", "400 bridge/invalid_chat_id"),
            ("/v1/syncs", "405 bridge/method_not_allowed"),
            ("/v2/syncs", "404 bridge/no_such_path"),
        ] {
            assert_eq!(outcome(&front.answer(&at(get(path))).await), expected, "{kind:?} {path}: {}", front.log());
        }
        let mut twice = at(post(r#"{"chat_id": "c"}"#));
        twice.headers_mut().append("authorization", "Bearer another-token-of-the-test".parse().unwrap());
        assert_eq!(outcome(&front.answer(&twice).await), "401 bridge/unauthorized", "{kind:?}: {}", front.log());
        assert_eq!(front.processes_started(), 1);
    }
}

#[tokio::test]
async fn payload_format_1_is_answered() {
    let aws = Emulated::new().await;
    let front = front(&aws, Kind::HttpApi1 { stage: "prod" }, &[("BRIDGE_WEBHOOK_TOKEN", "a-token-for-trying")]);
    let event = serde_json::from_str(include_str!("../../data/http-api-payload-1.0.json")).unwrap();
    let Outcome::Answered(answer) = front.invoke(&event).await else { panic!("{}", front.log()) };
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(202), &json!(false)), "{answer}");
    assert_eq!(answer["headers"]["content-type"], "application/json");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["object"], &body["chat_id"]), (&json!("SyncRequest"), &json!("c1")));
    assert_eq!(queued(&aws).await.subject.id(), "c1");
}

#[tokio::test]
async fn a_status_follows_the_run() {
    let aws = Emulated::new().await;
    let (front, worker) = (open_front(&aws), worker(&aws));
    let path = "/v1/chats/done-in-1s%20%C3%A9%2F%25/sync";
    assert_eq!(outcome(&front.answer(&get(path)).await), "404 bridge/no_run", "{}", front.log());

    let accepted = front.answer(&post(r#"{"chat_id": "done-in-1s é/%", "correlation_id": "hidden"}"#)).await;
    assert_eq!(outcome(&accepted), "202", "{}", front.log());
    assert_eq!(outcome(&front.answer(&get(path)).await), "404 bridge/no_run", "the worker has not seen it yet");

    let mut seen = Vec::new();
    while seen.last() != Some(&json!("SYNC_DONE")) {
        let record = aws.receive(1).await;
        worker.handle(&record, Instant::now() + TIMEOUT).await;
        aws.queue(&aws.sdk).delete(&record).await.unwrap();
        let response = front.answer(&get(path)).await;
        let status = body(&response);
        assert_eq!(outcome(&response), "200", "{}", front.log());
        assert_eq!((&status["object"], &status["chat_id"]), (&json!("ChatHistorySync"), &json!("done-in-1s é/%")));
        assert!(!status.to_string().contains("hidden"), "{status}");
        seen.push(status["status"].clone());
    }
    // The first call's answer is in the poll on the queue, and reaches the table one poll later.
    assert_eq!(seen.first(), Some(&Value::Null));

    let ended = front.answer(&get(path)).await;
    let (status, tag) = (body(&ended), ended.headers()["etag"].to_str().unwrap());
    assert_eq!((&status["phase"], &status["restarts"]), (&json!("ended"), &json!(0)));
    assert!(status["requested_at"].as_str() < status["finished_at"].as_str(), "{status}");
    let bearer = format!("Bearer {TOKEN}");
    let again = request("GET", path, &[("authorization", &bearer), ("if-none-match", tag)], "");
    assert_eq!(outcome(&front.answer(&again).await), "304");
    assert_eq!(front.processes_started(), 1);
}

/// A worker with short delays, and a provider in this process.
fn worker(aws: &Emulated) -> Worker<Simulator, DynamoStore, SqsQueue, EventBridgeBus> {
    let schedule = Schedule { poll_initial: Duration::from_secs(1), poll_factor: 1.0, ..Schedule::default() };
    let rules = Rules { schedule, lease_margin: Duration::ZERO, ..Rules::default() };
    let config = Config { rules, ..Config::default() };
    let provider = Simulator::new(Faults::default());
    Worker::new(provider, aws.store(&aws.sdk), aws.queue(&aws.sdk), aws.bus(&aws.sdk), Clock::System, config)
}
