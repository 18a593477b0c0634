//! The worker's log: enough to find a run, and not too many lines.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::{EventBus, MemoryBus};
use postpress_bridge::event::Event;
use postpress_bridge::ids::MessageId;
use postpress_bridge::queue::{MemoryQueue, Source};
use postpress_bridge::service::ServiceError;
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::telemetry;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::trace::TraceHeader;
use postpress_bridge::worker::{BatchResult, Worker};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;

use crate::harness::log::Log;

/// A bus that fails.
struct Out;

impl EventBus for Out {
    async fn publish(&self, events: &[Event], _trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        vec![Err(ServiceError::Transient("InternalFailure".to_owned())); events.len()]
    }
}

/// A worker in memory.
struct Scene<B> {
    queue: Rc<MemoryQueue>,
    worker: Worker<Simulator, Rc<MemoryStore>, Rc<MemoryQueue>, B>,
    invocations: u32,
}

impl<B: EventBus> Scene<B> {
    fn with(bus: B) -> Self {
        let clock = Clock::starting_at(Millis(1_795_514_400_000));
        let queue = Rc::new(MemoryQueue::new("m", clock, Duration::from_secs(90), 10));
        let config = Config::default();
        let provider = Simulator::new(Faults::default());
        let worker = Worker::new(provider, Rc::default(), Rc::clone(&queue), bus, clock, config);
        Self { queue, worker, invocations: 0 }
    }

    fn put(&self, trigger: &Value) {
        self.queue.put(&trigger.to_string(), Duration::ZERO);
    }

    /// Processes a batch as `sync-worker` does.
    async fn invoke(&mut self) -> BatchResult {
        self.invocations += 1;
        let batch = self.queue.receive(10).await.unwrap();
        let span = telemetry::invocation(&format!("request-{}", self.invocations));
        let report = self.worker.handle(&batch, Instant::now() + Duration::from_mins(1)).instrument(span).await;
        let returned: Vec<_> = report.batch_item_failures().cloned().collect();
        let done: Vec<_> = batch.into_iter().filter(|record| !returned.contains(&record.message_id)).collect();
        self.queue.delete(&done).await.unwrap();
        report
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_logs_its_start_and_its_end_only() {
    let log = Log::filtered("info");
    let mut scene = Scene::with(MemoryBus::default());
    scene.put(&json!({
        "chat_id": "done-in-100s", "correlation_id": "order-hush", "idempotency_key": "key-hush", "metadata": {"a": "hush"},
    }));
    while !scene.queue.is_empty() {
        scene.invoke().await;
    }
    assert!(scene.invocations >= 7, "it was polled: {}", scene.invocations);

    let lines = log.take_lines();
    let [start, end] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&start["message"], &end["message"]), (&json!("run started"), &json!("event published")));
    assert_eq!((&start["request_id"], &start["message_id"]), (&json!("request-1"), &json!("m-1")));
    assert_eq!(end["request_id"], format!("request-{}", scene.invocations));
    assert_ne!(end["message_id"], start["message_id"], "the last poll's");
    for id in ["chat_id", "run_id", "trace_id"] {
        assert!(start[id].is_string() && start[id] == end[id], "{id}: {lines:?}");
    }
    assert_eq!((&end["ending"], &end["polls"]), (&json!("SYNC_DONE"), &json!(scene.invocations)));
    assert!(!format!("{lines:?}").contains("hush"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_logs_one_line_per_message_and_invocation() {
    let log = Log::filtered("warn");
    let mut scene = Scene::with(Out);
    for chat in ["deleted~1", "deleted~2"] {
        scene.put(&json!({ "chat_id": chat }));
    }
    let mut deliveries = 0;
    while deliveries < 6 {
        let report = scene.invoke().await;
        deliveries += report.messages.len();
        let lines = log.take_lines();
        let said: HashSet<_> = lines.iter().map(|line| line["message_id"].as_str().unwrap()).collect();
        let returned: HashSet<_> = report.batch_item_failures().map(MessageId::as_str).collect();
        assert_eq!((said, lines.len()), (returned, report.messages.len()), "{lines:?}");
        for line in &lines {
            assert_eq!(line["error"], "could not publish an event: InternalFailure");
            assert_eq!((&line["reason"], line["not_before"].is_string()), (&json!("failed"), true), "{line}");
            assert!(
                line["chat_id"].is_string() && line["run_id"].is_string() && line["request_id"].is_string(),
                "{line}"
            );
        }
    }
}
