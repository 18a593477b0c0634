//! The worker against faulty ports, one invocation at a time, in virtual time.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::{BatchResult, Worker};
use crate::event::Event;
use crate::ids::Subject;
use crate::message::Record;
use crate::metrics::Metrics;
use crate::postpress::pace::Rate;
use crate::queue::{MemoryQueue, Source};
use crate::run::{Disposition, Item, Rules, Schedule};
use crate::settings::Config;
use crate::time::{Clock, Millis};

mod batch;
mod delays;
mod endings;
mod faults;
mod measured;
mod pacing;
mod ports;
mod sends;
mod sweeps;
mod time_limits;

use ports::{Faults, FaultyBus, FaultyQueue, FaultyStore, Scripted};

const SECOND: Duration = Duration::from_secs(1);
/// How long an invocation lasts unless a test says otherwise.
const INVOCATION: Duration = Duration::from_mins(1);
/// How long a received message stays invisible: longer than its lease, which is the invocation and the margin of 5 s.
const VISIBILITY: Duration = Duration::from_secs(90);
/// When every scene begins.
const EPOCH: Millis = Millis(1_795_514_400_000);

/// A worker and its ports.
struct Scene {
    provider: Rc<Scripted>,
    store: Rc<FaultyStore>,
    queue: Rc<FaultyQueue>,
    bus: Rc<FaultyBus>,
    clock: Clock,
    worker: Worker<Rc<Scripted>, Rc<FaultyStore>, Rc<FaultyQueue>, Rc<FaultyBus>>,
}

impl Scene {
    /// A worker with the default settings.
    fn new() -> Self {
        Self::with(Config::default())
    }

    /// A worker with this schedule, and default settings otherwise.
    fn polling(schedule: Schedule) -> Self {
        Self::with(Config { rules: Rules { schedule, ..Rules::default() }, ..Config::default() })
    }

    fn with(config: Config) -> Self {
        Self::calling(Scripted::default(), config)
    }

    /// A worker with the default settings whose calls keep to this rate.
    fn paced(rate: Rate) -> Self {
        Self::calling(Scripted::paced(rate), Config::default())
    }

    fn calling(provider: Scripted, config: Config) -> Self {
        let clock = Clock::starting_at(EPOCH);
        let (provider, store, bus) = (Rc::new(provider), Rc::new(FaultyStore::new()), Rc::new(FaultyBus::new()));
        let queue = Rc::new(FaultyQueue::new(MemoryQueue::new("m", clock, VISIBILITY, 5)));
        let (ports_store, ports_queue, ports_bus) = (Rc::clone(&store), Rc::clone(&queue), Rc::clone(&bus));
        let worker = Worker::new(Rc::clone(&provider), ports_store, ports_queue, ports_bus, clock, config);
        Self { provider, store, queue, bus, clock, worker }
    }

    /// Puts a message on the queue.
    fn put(&self, body: &str) {
        self.queue.inner.put(body, Duration::ZERO);
    }

    /// Puts a trigger for this chat on the queue.
    fn trigger(&self, chat: &str) {
        self.put(&serde_json::json!({"chat_id": chat}).to_string());
    }

    /// Receives at most ten messages, waiting for the first.
    async fn receive(&self) -> Vec<Record> {
        self.queue.inner.receive(10).await.unwrap()
    }

    /// Runs one invocation and returns the disposition of each message, in the order received.
    async fn invoke(&self) -> Vec<Disposition> {
        self.invoke_for(INVOCATION).await
    }

    async fn invoke_for(&self, time: Duration) -> Vec<Disposition> {
        self.report_for(time).await.messages.into_iter().map(|(_, disposition)| disposition).collect()
    }

    /// Runs one invocation and returns its metrics.
    async fn measure(&self) -> Metrics {
        self.report_for(INVOCATION).await.metrics
    }

    async fn report_for(&self, time: Duration) -> BatchResult {
        let batch = self.receive().await;
        let report = self.worker.handle(&batch, Instant::now() + time).await;
        let returned: Vec<_> = report.batch_item_failures().cloned().collect();
        let done: Vec<_> = batch.into_iter().filter(|record| !returned.contains(&record.message_id)).collect();
        self.queue.inner.delete(&done).await.unwrap();
        report
    }

    /// Invokes until the queue is empty and returns the disposition of every delivery.
    async fn play_out(&self) -> Vec<Disposition> {
        let mut dispositions = Vec::new();
        while !self.queue.inner.is_empty() {
            dispositions.extend(self.invoke().await);
        }
        dispositions
    }

    /// Loses the next messages, as if they became dead letters.
    async fn lose_messages(&self) {
        let lost = self.receive().await;
        self.queue.inner.delete(&lost).await.unwrap();
    }

    /// The faults of the port with this kind of operation.
    fn faults_of(&self, operation: &str) -> &Faults {
        match operation {
            "send" | "entry" => &self.queue.faults,
            "publish" => &self.bus.faults,
            _ => &self.store.faults,
        }
    }

    /// The chat's item.
    fn item(&self, chat: &str) -> Item {
        let chat = Subject::chat(chat).unwrap();
        self.store.inner.items().into_iter().find(|item| item.subject == chat).unwrap()
    }

    /// The published events.
    fn events(&self) -> Vec<Event> {
        self.bus.inner.events()
    }
}
