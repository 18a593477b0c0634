//! A message that is retried, dropped or rejected logs one line with a reason that the runbook explains; at `debug`, each
//! of its steps logs a line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::ids::{RunId, Subject};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::pace::{Pace, Paced};
use postpress_bridge::queue::{MemoryQueue, Source};
use postpress_bridge::run::{AckReason, Disposition, DueRun, Item, Write, WriteResult};
use postpress_bridge::service::ServiceError;
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::{MemoryStore, RunStore};
use postpress_bridge::telemetry;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::worker::{Reason, Worker};
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use crate::harness::log::Log;

/// A table's fault.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TableFault {
    Nothing,
    /// No item can be read.
    Unreadable,
    /// Reading panics.
    Panics,
    /// Another run has always started by the time of a join.
    Overtakes,
    /// No ending can be recorded.
    Unrecordable,
    /// The item has disappeared by the time of the ending.
    Forgets,
}

/// A table in memory with a fault.
struct FaultyTable(MemoryStore, TableFault);

impl RunStore for FaultyTable {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        match self.1 {
            TableFault::Unreadable => Err(ServiceError::Permanent("AccessDenied".to_owned())),
            TableFault::Panics => panic!("this table panics"),
            _ => self.0.read(subject).await,
        }
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        match (self.1, write) {
            (TableFault::Overtakes, Write::Join { run_id, .. }) => {
                let mut item = self.0.read(write.subject()).await?.unwrap();
                item.run_id = RunId::from_random(run_id.as_uuid().as_u128() + 1);
                Ok(WriteResult::ConditionFailed(Some(Box::new(item))))
            }
            (TableFault::Unrecordable, Write::End { .. }) => Err(ServiceError::Permanent("AccessDenied".to_owned())),
            (TableFault::Forgets, Write::End { .. }) => Ok(WriteResult::ConditionFailed(None)),
            _ => self.0.write(write).await,
        }
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        self.0.due(shard, before, after).await
    }
}

struct Scene {
    log: Log,
    clock: Clock,
    queue: Rc<MemoryQueue>,
    store: Rc<FaultyTable>,
    pace: Pace,
    worker: Worker<Paced<Simulator>, Rc<FaultyTable>, Rc<MemoryQueue>, MemoryBus>,
}

impl Scene {
    fn new(fault: TableFault) -> Self {
        let clock = Clock::starting_at(Millis(1_795_514_400_000));
        let queue = Rc::new(MemoryQueue::new("m", clock, Duration::from_secs(90), 10));
        let config = Config::default();
        let pace = Pace::new(None);
        let provider = Paced::new(Simulator::new(Faults::default()), pace.clone());
        let store = Rc::new(FaultyTable(MemoryStore::default(), fault));
        let (ports_store, bus) = (Rc::clone(&store), MemoryBus::default());
        let worker = Worker::new(provider, ports_store, Rc::clone(&queue), bus, clock, config);
        Self { log: Log::start(), clock, queue, store, pace, worker }
    }

    async fn receive(&self, body: &str) -> Vec<Record> {
        self.queue.put(body, Duration::ZERO);
        self.queue.receive(1).await.unwrap()
    }

    async fn handle(&self, batch: &[Record], seconds: u64) -> Disposition {
        let ends = Instant::now() + Duration::from_secs(seconds);
        let report = self.worker.handle(batch, ends).instrument(telemetry::invocation("request-1")).await;
        report.messages[0].1
    }

    /// A message's lines at these levels since the last call.
    fn lines(&self, levels: &[&str]) -> Vec<Value> {
        let text = self.log.text();
        for item in self.store.0.items() {
            assert!(!text.contains(&item.claim_id.to_hex()), "a claim id outside queue and table: {text}");
        }
        assert!(!text.contains("hush"), "a producer's text is logged: {text}");
        let lines = self.log.take_lines().into_iter().filter(|line| line["message_id"].is_string());
        lines.filter(|line| levels.contains(&line["level"].as_str().unwrap())).collect()
    }
}

const RUNNING: &str = r#"{"chat_id": "done-in-100s", "correlation_id": "hush", "metadata": {"a": "hush"}}"#;
const ENDS: &str = r#"{"chat_id": "deleted~1"}"#;
const NEWER: &str = r#"{"postpress_bridge": "poll", "v": 2}"#;
const MALFORMED: &str = r#"{"postpress_bridge": "poll", "v": 1}"#;
const OWN_EVENT: &str = r#"{"source": "postpress.bridge", "detail-type": "SYNC_DONE", "detail": {"chat_id": "c"}}"#;

#[tokio::test(start_paused = true)]
async fn a_problem_is_one_log_line_with_its_reason_and_ids() {
    use TableFault::{Forgets, Nothing, Overtakes, Panics, Unreadable, Unrecordable};
    let mut seen = BTreeSet::new();
    for (reason, level, fault, body, seconds, text) in [
        ("no_time", "WARN", Nothing, RUNNING, 14, ""),
        ("paced", "WARN", Nothing, RUNNING, 60, ""),
        ("contended", "WARN", Overtakes, RUNNING, 60, ""),
        ("lease_held", "WARN", Nothing, RUNNING, 60, ""),
        ("failed", "ERROR", Unreadable, RUNNING, 60, "could not read the run: AccessDenied"),
        ("bug", "ERROR", Forgets, ENDS, 60, "the item of a claimed run is gone"),
        ("bug", "ERROR", Panics, ENDS, 60, "handling panicked"),
        ("newer_version", "WARN", Nothing, NEWER, 60, "version 2"),
        ("handed_on", "ERROR", Unrecordable, ENDS, 60, "could not write the run: AccessDenied"),
        ("refused", "WARN", Nothing, r#"{"chat_id": 7}"#, 60, "chat_id"),
        ("own_event", "ERROR", Nothing, OWN_EVENT, 60, ""),
        ("malformed", "ERROR", Nothing, MALFORMED, 60, ""),
    ] {
        let scene = Scene::new(fault);
        if reason == "contended" {
            let other = scene.receive(RUNNING).await;
            scene.handle(&other, 60).await;
        }
        let batch = scene.receive(body).await;
        if reason == "lease_held" {
            scene.handle(&batch, 60).await; // and is delivered once more
        }
        if reason == "paced" {
            scene.handle(&batch, 60).await; // and is delivered once more, when the provider has asked for a pause
            tokio::time::sleep(Duration::from_secs(70)).await;
            scene.pace.slow_down(Instant::now(), Some(Duration::from_mins(1)));
        }
        scene.lines(&[]);
        let disposition = scene.handle(&batch, seconds).await;

        let [line] = &scene.lines(&["WARN", "ERROR"])[..] else { panic!("{reason}: not one line") };
        assert_eq!((&line["reason"], &line["level"]), (&Value::from(reason), &Value::from(level)), "{line}");
        let texts = format!("{} {}", line["error"], line["detail"]);
        assert!(texts.contains(text), "{reason}: {line}");
        assert_eq!(
            (&line["request_id"], line["message_id"].as_str()),
            (&Value::from("request-1"), Some(batch[0].message_id.as_str()))
        );
        assert_eq!(line["chat_id"].is_string(), body == RUNNING || body == ENDS, "{line}");
        let knows_the_run = ["paced", "contended", "lease_held", "handed_on"].contains(&reason) || fault == Forgets;
        assert_eq!(line["run_id"].is_string(), knows_the_run, "{line}");

        let not_before = line["not_before"].as_str().map(|time| Millis::parse_rfc3339(time).unwrap());
        assert_eq!(not_before.is_some(), disposition.is_retry(), "{line}");
        let backoff = scene.clock.now() + Duration::from_secs(15);
        assert!(not_before.is_none_or(|time| time >= backoff), "{line}");
        if reason == "lease_held" {
            assert_eq!(not_before, Some(scene.store.0.items()[0].lease_until_ms + Duration::from_millis(1)));
        }
        seen.insert(reason);
    }
    assert_eq!(seen, Reason::ALL.into_iter().map(|reason| reason.name).collect());
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_message_is_a_debug_line_with_its_ids() {
    let scene = Scene::new(TableFault::Nothing);
    let debug_lines = |batch: &[Record]| {
        let lines = scene.lines(&["DEBUG"]);
        for line in &lines {
            assert_eq!(line["message_id"], batch[0].message_id.as_str(), "{line}");
            assert!(line["chat_id"].is_string() && line["trace_id"].is_string(), "{line}");
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let summary = |line: &Value| {
            let fields = ["kind", "next", "write", "applied", "found", "answer", "disposition"];
            let fields = fields.iter().filter_map(|field| line.get(*field)).map(text);
            [text(&line["message"])].into_iter().chain(fields).collect::<Vec<_>>().join(" ")
        };
        lines.iter().map(summary).collect::<Vec<_>>()
    };

    let trigger = scene.receive(RUNNING).await;
    assert_eq!(scene.handle(&trigger, 60).await, Disposition::Ack(AckReason::PolledOn));
    scene.queue.delete(&trigger).await.unwrap();
    assert_eq!(
        debug_lines(&trigger),
        [
            "message received trigger",
            "decided read",
            "run read nothing",
            "decided admit",
            "decided start",
            "run written start true",
            "decided call",
            "provider called in progress: Started",
            "decided poll_on",
            "poll sent",
            "message settled Ack(PolledOn)",
        ]
    );

    let join = scene.receive(RUNNING).await;
    assert_eq!(scene.handle(&join, 60).await, Disposition::Ack(AckReason::Joined));
    scene.queue.delete(&join).await.unwrap();
    assert_eq!(
        debug_lines(&join),
        [
            "message received trigger",
            "decided read",
            "run read active",
            "decided join",
            "run written join true",
            "message settled Ack(Joined)",
        ]
    );

    tokio::time::sleep(Duration::from_secs(100)).await;
    let poll = scene.queue.receive(1).await.unwrap();
    assert_eq!(scene.handle(&poll, 60).await, Disposition::Ack(AckReason::Ended));
    assert_eq!(
        debug_lines(&poll),
        [
            "message received poll",
            "decided admit",
            "decided claim",
            "run written claim true",
            "decided call",
            "provider called over: Done",
            "decided end",
            "run written end true",
            "decided publish",
            "decided mark_published",
            "run written mark_published true",
            "message settled Ack(Ended)",
        ]
    );

    assert_eq!(scene.handle(&poll, 60).await, Disposition::Ack(AckReason::Over));
    assert_eq!(
        debug_lines(&poll),
        [
            "message received poll",
            "decided admit",
            "decided claim",
            "run written claim false published",
            "message settled Ack(Over)",
        ]
    );
}

/// The rows of the runbook's table of reasons: the reason, its meaning, and what to do.
#[test]
fn the_runbook_has_exactly_one_row_per_reason() {
    let runbook = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md")).unwrap();
    let (_, table) = runbook.split_once("| `reason` |").expect("the runbook has a table of reasons");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    for row in &rows {
        let [_, means, does] = &row[..] else { panic!("{row:?}") };
        assert!(!means.is_empty() && !does.is_empty(), "{row:?}");
    }
    let explained: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(explained, Reason::ALL.map(|reason| reason.name));
}
