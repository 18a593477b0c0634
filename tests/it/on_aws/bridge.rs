//! A worker that reaches AWS through a proxy, and a provider in this process.

use std::num::NonZeroU32;
use std::time::Duration;

use postpress_bridge::bus::EventBridgeBus;
use postpress_bridge::ids::{MessageId, Subject};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::pace::{Pace, Paced, Rate};
use postpress_bridge::queue::{Source, SqsQueue};
use postpress_bridge::run::{DEFAULT_OVERDUE, Disposition, Item, Rules, Schedule};
use postpress_bridge::settings::{Config, Limits};
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::{DynamoStore, RunStore};
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use tokio::time::Instant;

use crate::harness::emulator::{self, Emulated, LONG_VISIBILITY};
use crate::harness::proxy::Proxy;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Bridge {
    pub(super) aws: Emulated,
    /// Where the worker's requests to AWS go. The test's own requests bypass it.
    pub(super) proxy: Proxy,
    pub(super) simulator: Simulator,
    worker: Worker<Paced<Simulator>, DynamoStore, SqsQueue, EventBridgeBus>,
    pub(super) invocation: Duration,
}

impl Bridge {
    /// A bridge with short delays: polls and retried messages come after a second, SQS's shortest delay. `invocation` is the
    /// time of an invocation.
    pub(super) async fn new(invocation: Duration) -> Self {
        Self::with(invocation, LONG_VISIBILITY, DEFAULT_OVERDUE).await
    }

    /// Like [`Bridge::new`], with a key that allows a call in each of these intervals.
    pub(super) async fn paced(invocation: Duration, interval: Duration) -> Self {
        let rate = Rate { interval, burst: NonZeroU32::MIN };
        Self::with_pace(invocation, LONG_VISIBILITY, DEFAULT_OVERDUE, Some(rate)).await
    }

    /// Like [`Bridge::new`], with this visibility timeout. A message is received once, and a run counts as lost `overdue`
    /// after its lease.
    pub(super) async fn with(invocation: Duration, visibility: Duration, overdue: Duration) -> Self {
        Self::with_pace(invocation, visibility, overdue, None).await
    }

    async fn with_pace(invocation: Duration, visibility: Duration, overdue: Duration, rate: Option<Rate>) -> Self {
        let max_receive_count = if visibility == LONG_VISIBILITY { 10 } else { 1 };
        let aws = Emulated::with(visibility, max_receive_count).await;
        let proxy = Proxy::start(emulator::endpoint()).await;
        let sdk = emulator::sdk(proxy.endpoint());
        let schedule = Schedule { poll_initial: SECOND, poll_factor: 1.0, speedup: 15, ..Schedule::default() };
        let rules = Rules { schedule, lease_margin: Duration::ZERO, overdue, ..Rules::default() };
        let limits = Limits { provider_timeout: SECOND, ..Limits::default() };
        let config = Config { rules, limits, ..Config::default() };
        let simulator = Simulator::new(Faults::default());
        let (provider, queue) = (Paced::new(simulator.clone(), Pace::new(rate)), aws.queue(&sdk));
        let worker = Worker::new(provider, aws.store(&sdk), queue, aws.bus(&sdk), Clock::System, config);
        Self { aws, proxy, simulator, worker, invocation }
    }

    /// Puts a trigger for this chat on the queue and returns its message id.
    pub(super) async fn trigger(&self, chat: &str) -> MessageId {
        self.aws.put(&serde_json::json!({"chat_id": chat}).to_string()).await
    }

    /// Runs one invocation with these messages and returns their dispositions.
    pub(super) async fn invoke(&self, batch: &[Record]) -> Vec<Disposition> {
        let report = self.worker.handle(batch, Instant::now() + self.invocation).await;
        let returned: Vec<_> = report.batch_item_failures().cloned().collect();
        let done: Vec<_> = batch.iter().filter(|record| !returned.contains(&record.message_id)).cloned().collect();
        if !done.is_empty() {
            self.aws.queue(&self.aws.sdk).delete(&done).await.unwrap();
        }
        report.messages.into_iter().map(|(_, disposition)| disposition).collect()
    }

    /// Invokes until the queue is empty, one message at a time, and returns the disposition of every delivery.
    pub(super) async fn play_out(&self) -> Vec<Disposition> {
        let mut dispositions = Vec::new();
        while !self.aws.queue_is_empty().await {
            dispositions.extend(self.invoke(&self.aws.receive(1).await).await);
        }
        dispositions
    }

    pub(super) async fn item(&self, chat: &str) -> Option<Item> {
        self.aws.store(&self.aws.sdk).read(&Subject::chat(chat).unwrap()).await.unwrap()
    }
}
