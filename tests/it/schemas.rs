//! The JSON Schemas in `events/schemas/`: generated from the types, and consistent with the bridge.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use boon::{Compiler, SchemaIndex, Schemas};
use clap::Parser;
use postpress_bridge::bus::MemoryBus;
use postpress_bridge::cli;
use postpress_bridge::event::Event;
use postpress_bridge::event_source_mapping::EventSourceMapping;
use postpress_bridge::ids::MessageId;
use postpress_bridge::message::{Message, Record};
use postpress_bridge::queue::MemoryQueue;
use postpress_bridge::run::TRIGGERS_MAX;
use postpress_bridge::schema;
use postpress_bridge::settings::{DEFAULT_EVENT_SOURCE, FromEnv, WorkerSettings};
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::worker::Worker;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::files::{assert_same_files, read_files};
use crate::sample_events::samples;

/// A compiled schema.
struct Judge {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Judge {
    fn of(schema: &schemars::Schema) -> Self {
        let id = schema.get("$id").and_then(Value::as_str).unwrap();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(id, schema.as_value().clone()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile(id, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn takes(&self, value: &Value) -> bool {
        self.schemas.validate(value, self.index).is_ok()
    }

    fn assert_takes(&self, value: &Value) {
        if let Err(error) = self.schemas.validate(value, self.index) {
            panic!("{error:#}\nin {value:#}");
        }
    }
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    schema: cli::schema::Schema,
}

#[test]
fn schema_files_match_the_types() {
    let fresh = tempfile::tempdir().unwrap();
    let arguments = ["schema", "--write", fresh.path().to_str().unwrap()];
    Program::parse_from(arguments).schema.run().unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/schemas");
    assert_same_files(&committed, &read_files(fresh.path()), "cargo run -- schema --write");
}

/// What accepts a body as a trigger.
#[derive(Debug, PartialEq, Eq)]
enum TakenBy {
    Both,
    Neither,
    /// The schema cannot express what is wrong with it.
    SchemaOnly,
    /// The schema describes the content of the wrapper.
    BridgeOnly,
}
use TakenBy::{Both, BridgeOnly, Neither, SchemaOnly};

#[test]
fn the_trigger_schema_accepts_what_the_bridge_accepts() {
    let judge = Judge::of(&schema::trigger());
    let chat = |id: &str| json!({ "chat_id": id }).to_string();
    let with = |field: &str, value: Value| json!({ "chat_id": "c", field: value }).to_string();
    for (body, taken_by) in [
        (chat("chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR"), Both),
        (chat("a/b?c#d %2e é 日本"), Both),
        (chat("..."), Both),
        (chat(&"x".repeat(512)), Both),
        (chat(&"é".repeat(256)), Both),
        (chat(&"x".repeat(513)), Neither),
        (chat(""), Neither),
        (chat("."), Neither),
        (chat(".."), Neither),
        (chat("a\nb"), Neither),
        (chat("a\n"), Neither),
        (chat("\u{0}"), Neither),
        (chat("a\u{7f}"), Neither),
        (chat("a\u{85}b"), Neither),
        (chat("a\u{a0}b"), Both),
        ("{}".to_owned(), Neither),
        ("[]".to_owned(), Neither),
        ("\"c\"".to_owned(), Neither),
        (with("chat_id", Value::Null), Neither),
        (with("chat_id", json!(17)), Neither),
        (json!({"account_id": "a", "resync": {"partial": true, "chunk_size": 5, "after": null}}).to_string(), Both),
        (json!({"account_id": "a", "chat_id": null, "resync": null}).to_string(), Both),
        (json!({"account_id": "a", "resync": {"linkedin_product": "classic", "before": 0}}).to_string(), Both),
        (json!({"account_id": "a", "resync": {"linkedin_product": "premium"}}).to_string(), Neither),
        (json!({"account_id": "a", "resync": {"chunk_size": 10_001}}).to_string(), Neither),
        (json!({"account_id": "a", "resync": {"before": -1}}).to_string(), Neither),
        (json!({"account_id": "a", "resync": {"full": true}}).to_string(), Neither),
        (json!({"account_id": ".."}).to_string(), Neither),
        (json!({"chat_id": "c", "account_id": "a"}).to_string(), Neither),
        (with("resync", json!({})), Neither),
        (with("resync", Value::Null), Both),
        (with("since_v2", json!([1])), Both),
        (with("correlation_id", Value::Null), Both),
        (with("correlation_id", json!("x".repeat(256))), Both),
        (with("correlation_id", json!("x".repeat(257))), Neither),
        (with("correlation_id", json!("")), Neither),
        (with("correlation_id", json!(17)), Neither),
        (with("idempotency_key", Value::Null), Both),
        (with("idempotency_key", json!("x".repeat(256))), Both),
        (with("idempotency_key", json!("x".repeat(257))), Neither),
        (with("idempotency_key", json!("")), Neither),
        (with("idempotency_key", json!(["k"])), Neither),
        (with("action", json!("cancel")), Both),
        (with("action", json!("sync")), Both),
        (with("action", Value::Null), Both),
        (with("action", json!("Cancel")), Neither),
        (with("action", json!(["cancel"])), Neither),
        (with("after_request", json!(true)), Both),
        (with("after_request", Value::Null), Both),
        (with("after_request", json!("true")), Neither),
        (with("after_request", json!(1)), Neither),
        (with("metadata", Value::Null), Both),
        (with("metadata", json!({"a": {"b": [1, null]}})), Both),
        (with("metadata", json!([1])), Neither),
        (with("metadata", json!("{}")), Neither),
        // bytes, of which a character has up to four
        (chat(&"é".repeat(257)), SchemaOnly),
        (with("correlation_id", json!("é".repeat(129))), SchemaOnly),
        (with("metadata", json!({"a": "x".repeat(1024)})), SchemaOnly),
        // the text, which the value does not show
        (r#"{"chat_id": "c", "chat_id": "d"}"#.to_owned(), SchemaOnly),
        // the bridge's own events and messages
        (
            json!({"chat_id": "c", "event_id": Uuid::nil(), "schema_version": "1", "triggers": []}).to_string(),
            SchemaOnly,
        ),
        (json!({"chat_id": "c", "event_id": Uuid::nil(), "schema_version": "1", "origin": "crm"}).to_string(), Both),
        (json!({"chat_id": "c", "postpress_bridge": "poll", "v": 1}).to_string(), SchemaOnly),
        (json!({"Type": "Notification", "MessageId": "m", "Message": chat("c")}).to_string(), BridgeOnly),
        (json!({"detail-type": "t", "source": "s", "id": "i", "detail": {"chat_id": "c"}}).to_string(), BridgeOnly),
    ] {
        let by_schema = judge.takes(&serde_json::from_str(&body).unwrap());
        let by_bridge = is_accepted(&body);
        let found = match (by_schema, by_bridge) {
            (true, true) => Both,
            (false, false) => Neither,
            (true, false) => SchemaOnly,
            (false, true) => BridgeOnly,
        };
        assert_eq!(found, taken_by, "{body}");
    }
}

/// A value of a field: texts around every bound, and other types.
fn value() -> impl Strategy<Value = Value> {
    let part =
        select(vec!["", ".", "..", "a", "é", "🐟", "\0", "\n", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{ffff}"]);
    let length = select(vec![1, 2, 3, 63, 64, 65, 128, 129, 255, 256, 257, 341, 512, 513]);
    let text = (part, length).prop_map(|(part, times)| part.repeat(times));
    let object = (any::<String>(), any::<String>(), 0..1100_usize).prop_map(|(name, text, more)| {
        let fill = if more % 2 == 0 { String::new() } else { "x".repeat(more) };
        json!({ name: [text, null, 1.5], "fill": fill })
    });
    prop_oneof![
        4 => text.prop_map(Value::from),
        2 => any::<String>().prop_map(Value::from),
        2 => object,
        1 => select(vec![json!(null), json!(true), json!([]), json!({})]),
        2 => select(vec![json!(17), json!(-1), json!(0), json!(1.5), json!(60.0), json!(2_592_000), json!(2_592_001), json!(1e300)]),
    ]
}

/// What the schema cannot express: it counts characters, not bytes.
fn fits_in_bytes(trigger: &Value) -> bool {
    let bytes = |field: &str| trigger[field].as_str().map_or(0, str::len);
    let metadata = trigger.get("metadata").map_or(0, |metadata| metadata.to_string().len());
    bytes("chat_id") <= 512
        && bytes("account_id") <= 512
        && bytes("correlation_id") <= 256
        && bytes("idempotency_key") <= 256
        && metadata <= 1024
}

proptest! {
    #[test]
    fn the_trigger_schema_equals_the_bridge_except_for_bytes(
        chat_id in prop_oneof![3 => Just(json!("c")), 2 => value()],
        fields in vec((select(vec!["correlation_id", "idempotency_key", "metadata", "fresh_for_seconds", "after_request", "action", "workspace", "since_v2"]), value()), 0..4),
    ) {
        thread_local!(static JUDGE: Judge = Judge::of(&schema::trigger()));
        let mut trigger = json!({ "chat_id": chat_id });
        fields.into_iter().for_each(|(field, value)| trigger[field] = value);
        let by_bridge = is_accepted(&trigger.to_string());
        let by_schema = JUDGE.with(|judge| judge.takes(&trigger));
        prop_assert_eq!(by_bridge, by_schema && fits_in_bytes(&trigger), "{}", trigger);
    }
}

fn is_accepted(body: &str) -> bool {
    matches!(Message::parse(&record(body), DEFAULT_EVENT_SOURCE), Message::Trigger(_) | Message::Cancel(_))
}

fn record(body: &str) -> Record {
    Record {
        message_id: MessageId::new("m-1"),
        receipt_handle: "r-1".to_owned(),
        body: body.to_owned(),
        sent_at: Millis(1_795_514_400_000),
        receive_count: 1,
        trace: None,
        group: None,
    }
}

#[test]
fn samples_match_the_event_schema_and_need_every_field() {
    let judge = Judge::of(&schema::event());
    for (name, event) in samples() {
        let detail = detail(&event);
        judge.assert_takes(&detail);
        for field in detail.as_object().unwrap().keys() {
            let may_go = field == "resync";
            let mut without = detail.clone();
            without.as_object_mut().unwrap().remove(field);
            assert_eq!(judge.takes(&without), may_go, "{name} without `{field}`");
            let mut null = detail.clone();
            null[field] = Value::Null;
            assert!(!judge.takes(&null), "{name} with `{field}: null`");
        }
    }
}

#[test]
fn event_forms_exclude_fields_of_others() {
    let judge = Judge::of(&schema::event());
    let details = samples().map(|(name, event)| (name, detail(&event)));
    for (name, detail) in &details {
        for (other, donor) in &details {
            for (field, value) in donor.as_object().unwrap() {
                let mut mixed = detail.clone();
                // Any event about a chat or an account may be of another workspace.
                let may_have = field == "workspace" && detail.get("object").is_some();
                if mixed.as_object_mut().unwrap().insert(field.clone(), value.clone()).is_none() && !may_have {
                    assert!(!judge.takes(&mixed), "{name} with `{field}` of {other}");
                }
            }
        }
        let mut later = detail.clone();
        later["since_v2"] = json!({});
        judge.assert_takes(&later);
    }
}

fn detail(event: &Event) -> Value {
    serde_json::from_str(&event.detail_json()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_event_of_a_simulated_bridge_matches_the_schema() {
    let trigger = |chat: &str| json!({ "chat_id": chat }).to_string();
    let mut bodies: Vec<_> = [
        "done",
        "error-in-1h",
        "deleted-in-5s",
        "resource_not_found",
        "limit_exceeded",
        "503",
        "404",
        "html",
        "unknown-status",
        "invalid_credentials",
        "done-in-48h",
    ]
    .map(trigger)
    .into();
    bodies.push(json!({"chat_id": "done~1", "correlation_id": "order-17", "metadata": {"n": 1.50}}).to_string());
    bodies.push("hello".to_owned());
    bodies.push("é\u{0}".repeat(10_000));
    bodies.push(json!({"chat_id": "done~2", "idempotency_key": "k", "metadata": 1}).to_string());
    bodies.extend(
        (0..=TRIGGERS_MAX).map(|n| json!({"chat_id": "done-in-1m", "idempotency_key": n.to_string()}).to_string()),
    );

    let events = rehearse(&bodies).await;
    let judge = Judge::of(&schema::event());
    let details: Vec<_> = events.iter().map(detail).collect();
    details.iter().for_each(|detail| judge.assert_takes(detail));

    // They include every kind of ending.
    let kinds: BTreeSet<_> = details.iter().map(kind).collect();
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    insta::assert_snapshot!(kinds.join("\n"), @r"
    CHAT_DELETED by answer
    SYNC_DONE by answer
    SYNC_ERROR by answer
    bridge/deadline_exceeded by deadline
    bridge/invalid_trigger
    bridge/retries_exhausted by retries
    bridge/too_many_triggers
    bridge/unexpected_response by answer
    bridge/unexpected_response by retries
    errors/invalid_credentials by answer
    errors/limit_exceeded by retries
    errors/resource_not_found by answer
    ");
}

/// Summarises an event.
fn kind(detail: &Value) -> String {
    let text = |pointer: &str| detail.pointer(pointer).and_then(Value::as_str);
    let what = text("/status").or(text("/error/type")).unwrap();
    match text("/ended_by") {
        Some(ended_by) => format!("{what} by {ended_by}"),
        None => what.to_owned(),
    }
}

/// The events from these messages, processed to their end with the simulator in virtual time.
async fn rehearse(bodies: &[String]) -> Vec<Event> {
    let settings = WorkerSettings::read(&|name| match name {
        "BRIDGE_BACKEND" => Some("memory".to_owned()),
        "POSTPRESS_API_KEY" => Some("x".to_owned()),
        _ => None,
    })
    .unwrap();
    let invocation = Duration::from_secs(60);
    let clock = Clock::starting_at(Millis(1_795_514_400_000));
    let queue = Rc::new(MemoryQueue::new("q", clock, invocation, 3));
    bodies.iter().for_each(|body| drop(queue.put(body, Duration::ZERO)));
    let bus = Rc::new(MemoryBus::default());
    let provider = Simulator::new(Faults::default());
    let worker =
        Worker::new(provider, MemoryStore::default(), Rc::clone(&queue), Rc::clone(&bus), clock, settings.config);
    let mapping = EventSourceMapping { batch_size: 10, concurrency: 10, invocation };
    mapping.run(&*queue, &worker, queue.drained()).await;
    assert!(queue.dead_letters().is_empty());
    bus.events()
}
