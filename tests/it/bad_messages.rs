//! Messages put on the queue by mistake or with malice: their disposition, their log lines, and that the provider is not called.

use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::event::Event;
use postpress_bridge::ids::{ChatId, MessageId};
use postpress_bridge::message::{Message, Record, SWEEP_BODY};
use postpress_bridge::queue::{MemoryQueue, Source};
use postpress_bridge::run::{AckReason, Disposition, Item, RetryReason};
use postpress_bridge::settings::{Config, DEFAULT_EVENT_SOURCE};
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::worker::Worker;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fuzz::invariants::wrapping::{EventBridge, Sns, WRAPPINGS, parse, wrap};
use crate::harness::log::Log;
use crate::sample_events::samples;

/// A worker with everything in memory, and its log.
struct Scene {
    simulator: Simulator,
    store: Rc<MemoryStore>,
    queue: Rc<MemoryQueue>,
    bus: Rc<MemoryBus>,
    worker: Worker<Simulator, Rc<MemoryStore>, Rc<MemoryQueue>, Rc<MemoryBus>>,
    log: Log,
}

/// The state that a message must not change unless it is allowed to.
#[derive(Debug, PartialEq)]
struct State {
    calls: u64,
    items: Vec<Item>,
    waiting: Vec<MessageId>,
    events: Vec<Event>,
}

impl Scene {
    fn new() -> Self {
        let clock = Clock::starting_at(Millis(1_795_514_400_000));
        let simulator = Simulator::new(Faults::default());
        let queue = Rc::new(MemoryQueue::new("m", clock, Duration::from_secs(90), 5));
        let (store, bus) = (Rc::new(MemoryStore::default()), Rc::new(MemoryBus::default()));
        let config = Config::default();
        let provider = simulator.clone();
        let worker = Worker::new(provider, Rc::clone(&store), Rc::clone(&queue), Rc::clone(&bus), clock, config);
        Self { simulator, store, queue, bus, worker, log: Log::start() }
    }

    /// One invocation with one message.
    async fn handle(&self, body: &str) -> Disposition {
        let record = Record {
            message_id: MessageId::new("m-bad"),
            receipt_handle: "r-bad".to_owned(),
            body: body.to_owned(),
            sent_at: Millis(1_795_514_400_000),
            receive_count: 1,
            trace: None,
            group: None,
        };
        self.invoke(&record).await
    }

    async fn invoke(&self, record: &Record) -> Disposition {
        let ends = Instant::now() + Duration::from_mins(1);
        let report = self.worker.handle(std::slice::from_ref(record), ends).await;
        report.messages[0].1
    }

    /// Processes the next message of the queue and returns its record and disposition.
    async fn work_one(&self) -> (Record, Disposition) {
        let record = self.queue.receive(1).await.unwrap().remove(0);
        let dealt = self.invoke(&record).await;
        self.queue.delete(std::slice::from_ref(&record)).await.unwrap();
        (record, dealt)
    }

    fn state(&self) -> State {
        State {
            calls: self.simulator.stats().total.calls,
            items: self.store.items(),
            waiting: self.queue.waiting(),
            events: self.bus.events(),
        }
    }
}

/// The expected treatment of a message.
#[derive(Debug)]
enum Becomes {
    /// It is answered with an event that says why, and names this chat if that is valid.
    Refused(&'static str, Option<&'static str>),
    /// It is one of our own events: dropped, with an error in the log.
    OwnEvent,
    /// It is an invalid message of our own: dropped, with an error in the log.
    Malformed,
    /// It is returned until a newer worker reads it.
    Newer,
    /// It is a sweep, and finds nothing.
    Swept,
    /// It is a poll of a run that does not exist.
    Over,
}
use Becomes::{Malformed, Newer, Over, OwnEvent, Refused, Swept};

impl Becomes {
    fn dealt(&self) -> Disposition {
        match self {
            Refused(..) => Disposition::Ack(AckReason::Refused),
            OwnEvent => Disposition::Ack(AckReason::OwnEvent),
            Malformed => Disposition::Ack(AckReason::Malformed),
            Newer => Disposition::Retry(RetryReason::NewerVersion),
            Swept => Disposition::Ack(AckReason::Swept),
            Over => Disposition::Ack(AckReason::Over),
        }
    }

    fn said(&self) -> &'static [&'static str] {
        match self {
            Refused(..) => &["INFO event published", "WARN trigger refused; answered with an error event"],
            OwnEvent => &[
                "ERROR one of our own events came back as a message and was dropped; narrow the rule that sends it here",
            ],
            Malformed => &["ERROR a broken message of our own was dropped"],
            Newer => &["WARN a newer worker's message is delivered again until a newer worker reads it"],
            Swept | Over => &[],
        }
    }

    /// Handles the message twice, as it may be delivered.
    async fn assert_of(&self, body: &str) {
        let scene = Scene::new();
        let short = &body[..body.floor_char_boundary(200)];
        for delivery in 1..=2 {
            assert_eq!(scene.handle(body).await, self.dealt(), "{short}");
            assert_eq!(scene.log.take_messages(), self.said(), "{short}");
            let State { calls, items, waiting, events } = scene.state();
            assert_eq!((calls, items.len(), waiting.len()), (0, 0, 0), "{short}");
            let Refused(reason, chat) = self else {
                assert_eq!(events, [], "{short}");
                continue;
            };
            assert_eq!(events.len(), delivery, "{short}");
            assert_eq!(events[0], events[delivery - 1], "the same event at every delivery");
            let detail = &events[0].detail;
            let error = detail.error.as_ref().unwrap();
            assert_eq!((&*error.kind, error.status), ("bridge/invalid_trigger", 400), "{short}");
            let why = error.detail.as_ref().unwrap();
            assert!(why.contains(reason), "{short} is said to be wrong because {why}");
            assert_eq!(detail.chat_id.as_ref().map(ChatId::as_str), *chat, "{short}");
            assert!(body.starts_with(detail.input.as_ref().unwrap()), "{short}");
            assert_eq!(detail.triggers[0].message_id.as_str(), "m-bad", "{short}");
        }
    }
}

fn with(field: &str, json: &str) -> String {
    format!(r#"{{"chat_id": "c", "{field}": {json}}}"#)
}

fn chat(json: &str) -> String {
    format!(r#"{{"chat_id": {json}}}"#)
}

#[tokio::test(start_paused = true)]
async fn invalid_triggers_are_answered_with_one_event_without_a_call() {
    let long = format!("\"{}\"", "x".repeat(10_000));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_metadata = format!(r#"{{"a": {}{}}}"#, "[".repeat(500), "]".repeat(500));
    let mebibyte = 1 << 20;
    let not_json = "the message is not a JSON object";
    for (body, reason, chat_id) in [
        // not JSON
        (String::new(), "the message is empty", None),
        (" ".to_owned(), "the message is empty", None),
        ("chat_01HXYZ".to_owned(), not_json, None),
        ("null".to_owned(), not_json, None),
        (r#"[{"chat_id": "c"}]"#.to_owned(), not_json, None),
        (r#""{\"chat_id\": \"c\"}""#.to_owned(), not_json, None),
        ("\u{feff}{\"chat_id\": \"c\"}".to_owned(), "begins with a byte-order mark", None),
        ("\"".repeat(mebibyte), not_json, None),
        ("{".repeat(mebibyte), "cannot be read", None),
        (r#"{"chat_id": "c""#.to_owned(), "cannot be read", None),
        (r#"{"chat_id": "c"} {}"#.to_owned(), "cannot be read", None),
        (r#"{"chat_id": "c", "chat_id": "c"}"#.to_owned(), "duplicate field `chat_id`", None),
        (r#"{"chat_id": "c", "metadata": {}, "metadata": {}}"#.to_owned(), "duplicate field `metadata`", None),
        (r#"{"chat_id": "c", "x": 01}"#.to_owned(), "cannot be read", None),
        ("{\"chat_id\": \"a\nb\"}".to_owned(), "control character", None),
        // the chat
        ("{}".to_owned(), "`chat_id` is missing", None),
        (chat("null"), "`chat_id` is missing", None),
        (chat("17"), "`chat_id` is not a string", None),
        (chat("1e400"), "`chat_id` is not a string", None),
        (chat(r#"["c"]"#), "`chat_id` is not a string", None),
        (chat(&deep), "`chat_id` is not a string", None),
        (chat(r#""\ud800""#), "`chat_id` cannot be read: it has a lone surrogate", None),
        (chat(r#""\udc00\ud800""#), "`chat_id` cannot be read: it has a lone surrogate", None),
        (chat(r#""""#), "`chat_id` is empty", None),
        (chat(r#"".""#), "navigation", None),
        (chat(r#""..""#), "navigation", None),
        (chat(r#""\u002e.""#), "navigation", None),
        (chat(r#""a\u0000b""#), "control character", None),
        (chat(r#""a\nb""#), "control character", None),
        (chat(r#""a\u0085b""#), "control character", None),
        (chat(&long), "10000 bytes long; at most 512", None),
        (chat(&format!("\"{}\"", "\\\"".repeat(mebibyte / 2))), "524288 bytes long", None),
        // its other fields
        (with("correlation_id", "17"), "`correlation_id` is not a string", Some("c")),
        (with("correlation_id", r#""""#), "`correlation_id` is empty", Some("c")),
        (with("correlation_id", &long), "10000 bytes long; at most 256", Some("c")),
        (with("correlation_id", r#""\ud83d""#), "`correlation_id` cannot be read: it has a lone surrogate", Some("c")),
        (with("idempotency_key", "{}"), "`idempotency_key` is not a string", Some("c")),
        (with("idempotency_key", r#""""#), "`idempotency_key` is empty", Some("c")),
        (with("idempotency_key", &long), "10000 bytes long; at most 256", Some("c")),
        (with("metadata", "[]"), "`metadata` is not a JSON object", Some("c")),
        (with("metadata", r#""{}""#), "`metadata` is not a JSON object", Some("c")),
        (with("metadata", &format!(r#"{{"a": {long}}}"#)), "at most 1024", Some("c")),
        (with("metadata", &format!(r#"{{"a": {deep}}}"#)), "at most 1024", Some("c")),
        (with("metadata", &deep_metadata), "`metadata` is refused: recursion limit", Some("c")),
        (with("metadata", r#"{"a": 1e400}"#), "`metadata` is refused: number out of range", Some("c")),
        (with("metadata", r#"{"a": "\ud800"}"#), "`metadata` is refused: it has a lone surrogate", Some("c")),
        // wrapped
        (wrap("{}", &[EventBridge]), "`chat_id` is missing", None),
        (wrap("hello", &[Sns]), not_json, None),
        (wrap(&with("metadata", "7"), &[EventBridge, Sns]), "`metadata` is not a JSON object", Some("c")),
        (wrap(&chat(r#""c""#), &[Sns, EventBridge, Sns]), "wrapped more than 2 times", None),
        (wrap(&chat(r#""c""#), &[EventBridge; 3]), "wrapped more than 2 times", None),
        (wrap(&chat(r#""c""#), &[EventBridge; 100]), "wrapped more than 2 times", None),
        (wrap("", &[EventBridge]), "cannot be read", None),
    ] {
        Refused(reason, chat_id).assert_of(&body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn own_events_are_dropped_in_every_wrapper() {
    let answer_to = |body: String| match parse(&body) {
        Message::Invalid(invalid) => Event::of_invalid_trigger(invalid),
        other => panic!("{other:?}"),
    };
    let long = answer_to("é\u{0}".repeat(10_000));
    assert!(long.detail.truncated);
    // An answer to a truncated answer.
    let mut cut = long.detail_json();
    cut.pop();
    let events = samples().into_iter().chain([("long-input", long), ("answered-again", answer_to(cut))]);
    for (name, event) in events {
        for own in [event.detail_json(), event.to_line(DEFAULT_EVENT_SOURCE)] {
            OwnEvent.assert_of(&own).await;
            for layers in WRAPPINGS {
                println!("{name} in {layers:?}");
                OwnEvent.assert_of(&wrap(&own, layers)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_events_with_our_field_names_are_triggers() {
    let theirs = [
        r#"{"event_id": "7f", "schema_version": 2, "chat_id": "done~1"}"#,
        r#"{"event_id": "00000000-0000-4000-8000-000000000001", "schema_version": "1", "chat_id": "done~1"}"#,
        r#"{"event_id": "00000000-0000-4000-8000-000000000001", "schema_version": "1", "origin": "crm", "chat_id": "done~1"}"#,
        r#"{"event_id": "7f", "schema_version": "1", "triggers": [], "origin": "bridge", "chat_id": "done~1"}"#,
    ];
    let wrappings = WRAPPINGS.iter().copied().filter(|layers| layers.len() <= 2).chain([&[][..]]);
    for (layers, body) in wrappings.flat_map(|layers| theirs.map(|body| (layers, wrap(body, layers)))) {
        let scene = Scene::new();
        assert_eq!(scene.handle(&body).await, Disposition::Ack(AckReason::PolledOn), "{body} in {layers:?}");
        assert_eq!(scene.state().calls, 1, "{body} in {layers:?}");
    }
}

/// A poll of ours, of a run that does not exist, with changes.
fn poll(changes: &[(&str, Value)]) -> String {
    let mut poll = json!({
        "postpress_bridge": "poll",
        "v": 1,
        "chat_id": "c",
        "run_id": "00000000-0000-4000-8000-000000000001",
        "claim_id": "00000000000000000000000000000001",
    });
    for (field, value) in changes {
        poll[field] = value.clone();
    }
    poll.to_string()
}

#[tokio::test(start_paused = true)]
async fn invalid_own_messages_are_dropped_and_newer_ones_returned() {
    let envelope = |title: Value| json!({"envelope": {"title": title, "type": "t", "status": 500}});
    let of_poll = |field: &str, value: Value| poll(&[(field, value)]);
    for (body, becomes) in [
        (poll(&[]), Over),
        (of_poll("since_v1_1", json!([1])), Over),
        (of_poll("learned", envelope("x".repeat(100_000).into())), Over),
        (
            of_poll(
                "answer",
                json!({"status": "SYNC_DONE", "ended_by": "answer", "finished_at": "2026-11-24T10:00:00Z"}),
            ),
            Over,
        ),
        (of_poll("v", json!(2)), Newer),
        (of_poll("v", json!(u64::MAX)), Newer),
        (poll(&[("v", json!(2)), ("chat_id", json!(17)), ("claim_id", Value::Null)]), Newer),
        (poll(&[("v", json!(9)), ("postpress_bridge", json!("audit"))]), Newer),
        (of_poll("v", json!(0)), Malformed),
        (of_poll("v", json!(-1)), Malformed),
        (of_poll("v", json!(1.5)), Malformed),
        (of_poll("v", json!("1")), Malformed),
        (of_poll("v", Value::Null), Malformed),
        (of_poll("postpress_bridge", json!("audit")), Malformed),
        (of_poll("postpress_bridge", json!({"poll": 1})), Malformed),
        (of_poll("chat_id", json!("..")), Malformed),
        (of_poll("chat_id", Value::Null), Malformed),
        (of_poll("run_id", json!("1")), Malformed),
        (of_poll("claim_id", json!("1")), Malformed),
        (of_poll("learned", json!(7)), Malformed),
        (of_poll("learned", json!({"failures": -1})), Malformed),
        (of_poll("learned", json!({"status": "SYNC_DONE"})), Malformed),
        (of_poll("learned", envelope(json!(7))), Malformed),
        (of_poll("answer", json!({})), Malformed),
        (
            of_poll(
                "answer",
                json!({"status": "SYNC_RUNNING", "ended_by": "answer", "finished_at": "2026-11-24T10:00:00Z"}),
            ),
            Malformed,
        ),
        (
            of_poll("answer", json!({"status": "SYNC_DONE", "ended_by": "answer", "finished_at": "yesterday"})),
            Malformed,
        ),
        (poll(&[]).replacen("\"v\":1", "\"v\":1,\"v\":1", 1), Malformed),
        (poll(&[]).replacen("_bridge", "\\u005fbridge", 1).replacen("\"v\":1", "\"v\":0", 1), Malformed),
        (poll(&[]).replace('}', ""), Malformed),
        (SWEEP_BODY.to_owned(), Swept),
        (json!({"postpress_bridge": "sweep", "v": 1, "shard": 3, "chat_id": "c", "claim_id": []}).to_string(), Swept),
        (json!({"postpress_bridge": "sweep", "v": 2}).to_string(), Newer),
        (json!({"postpress_bridge": "sweep"}).to_string(), Malformed),
    ] {
        becomes.assert_of(&body).await;
    }
    // The bridge does not wrap its own messages, so a wrapped one is not from the bridge.
    for own in [poll(&[]), of_poll("v", json!(2)), SWEEP_BODY.to_owned()] {
        for layers in WRAPPINGS {
            Malformed.assert_of(&wrap(&own, layers)).await;
        }
    }
}

/// Handles a message that must have no effect.
async fn assert_dropped(scene: &Scene, body: &Value, why: AckReason) {
    let before = scene.state();
    scene.log.take_messages();
    assert_eq!(scene.handle(&body.to_string()).await, Disposition::Ack(why), "{body}");
    assert_eq!(scene.state(), before, "{body}");
    assert_eq!(scene.log.take_messages(), [""; 0], "{body}");
}

/// The polls that could be forged from a genuine one without its claim: claim, run or chat does not match.
fn forgeries(genuine: &Value) -> Vec<(Value, AckReason)> {
    let done = json!({"status": "SYNC_DONE", "ended_by": "answer", "finished_at": "2026-11-24T10:00:00Z"});
    let error = json!({
        "error": {"title": "forged", "type": "errors/x", "status": 404}, "origin": "postpress", "ended_by": "answer",
        "finished_at": "2026-11-24T10:00:00Z",
    });
    let mut forgeries = Vec::new();
    for (field, value, why) in [
        ("claim_id", "f".repeat(32), AckReason::Superseded),
        ("run_id", "00000000-0000-4000-8000-000000000001".to_owned(), AckReason::Over),
        ("chat_id", "another".to_owned(), AckReason::Over),
    ] {
        for answer in [None, Some(&done), Some(&error)] {
            let mut forged = genuine.clone();
            forged[field] = value.clone().into();
            if let Some(answer) = answer {
                forged["answer"] = answer.clone();
            }
            forgeries.push((forged, why));
        }
    }
    forgeries
}

#[tokio::test(start_paused = true)]
async fn forged_and_replayed_polls_have_no_effect() {
    let scene = Scene::new();
    scene.queue.put(r#"{"chat_id": "done-in-20s"}"#, Duration::ZERO);
    let (_, started) = scene.work_one().await;
    assert_eq!(started, Disposition::Ack(AckReason::PolledOn));

    // While the run is active: all that do not have its current claim.
    let mut replays: Vec<Value> = Vec::new();
    loop {
        let record = scene.queue.receive(1).await.unwrap().remove(0);
        let genuine: Value = serde_json::from_str(&record.body).unwrap();
        for (forged, why) in forgeries(&genuine) {
            assert_dropped(&scene, &forged, why).await;
        }
        for replayed in &replays {
            assert_dropped(&scene, replayed, AckReason::Superseded).await;
        }
        let dealt = scene.invoke(&record).await;
        scene.queue.delete(&[record]).await.unwrap();
        replays.push(genuine);
        if dealt == Disposition::Ack(AckReason::Ended) {
            break;
        }
    }
    assert!(replays.len() > 2 && scene.bus.events().len() == 1, "{}", replays.len());

    // After its end, not even one that does.
    let claim = scene.store.items()[0].claim_id.to_hex();
    let mut last = replays[0].clone();
    last["claim_id"] = claim.into();
    let mut last_with_answer = last.clone();
    last_with_answer["answer"] =
        json!({"status": "SYNC_ERROR", "ended_by": "answer", "finished_at": "2026-11-24T10:00:00Z"});
    let forged: Vec<_> = replays.iter().flat_map(forgeries).map(|(forged, _)| forged).collect();
    for body in replays.iter().chain(&forged).chain([&last, &last_with_answer]) {
        assert_dropped(&scene, body, AckReason::Over).await;
    }
    assert_eq!(scene.simulator.stats().total.restarts, 0);
}
