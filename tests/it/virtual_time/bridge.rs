//! A bridge in memory, and what the tests observe of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::event::{Detail, Event};
use postpress_bridge::event_source_mapping::{EventSourceMapping, Handler, InvocationResult};
use postpress_bridge::ids::Subject;
use postpress_bridge::message::Record;
use postpress_bridge::queue::{MemoryQueue, Redelivery};
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::worker::Worker;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

/// When every bridge and its provider begin.
pub(super) const EPOCH: Millis = Millis(1_795_514_400_000);

/// Like the event source mapping's: an invocation ends before its messages are visible again.
const MAPPING: EventSourceMapping =
    EventSourceMapping { batch_size: 10, concurrency: 20, invocation: Duration::from_mins(1) };
const VISIBILITY: Duration = Duration::from_secs(90);
const MAX_RECEIVE_COUNT: u32 = 10;

pub(super) struct Bridge {
    pub(super) simulator: Simulator,
    pub(super) queue: Rc<MemoryQueue>,
    store: Rc<MemoryStore>,
    bus: Rc<MemoryBus>,
    worker: Worker<Simulator, Rc<MemoryStore>, Rc<MemoryQueue>, Rc<MemoryBus>>,
}

impl Bridge {
    /// A bridge with the default settings, and a provider that answers immediately.
    pub(super) fn new() -> Self {
        Self::with(&Schedule::default(), Faults::default(), Box::new(|_| None))
    }

    pub(super) fn with_schedule(schedule: &Schedule) -> Self {
        Self::with(schedule, Faults::default(), Box::new(|_| None))
    }

    pub(super) fn with(schedule: &Schedule, faults: Faults, redelivery: Redelivery) -> Self {
        let simulator = Simulator::new(faults);
        let clock = Clock::starting_at(EPOCH);
        let queue = Rc::new(queue(clock, redelivery));
        let (store, bus) = (Rc::new(MemoryStore::default()), Rc::new(MemoryBus::default()));
        let rules = Rules { schedule: schedule.clone(), ..Rules::default() };
        let config = Config { rules, ..Config::default() };
        let provider = simulator.clone();
        let worker = Worker::new(provider, Rc::clone(&store), Rc::clone(&queue), Rc::clone(&bus), clock, config);
        Self { simulator, queue, store, bus, worker }
    }

    /// Puts a trigger for this chat on the queue.
    pub(super) fn trigger(&self, chat: &str) {
        self.put(&serde_json::json!({"chat_id": chat}));
    }

    /// Puts a trigger on the queue.
    pub(super) fn put(&self, trigger: &serde_json::Value) {
        self.queue.put(&trigger.to_string(), Duration::ZERO);
    }

    /// Works until the queue is empty. By then no run is open, and there are no dead letters.
    pub(super) async fn work(&self) {
        self.work_by(&self.worker).await;
    }

    /// The same, while this share of the invocations is killed at a random moment. Returns how many were.
    pub(super) async fn work_with_kills(&self, share: f64, seed: u64) -> u32 {
        let killed = Killed::new(&self.worker, share, seed);
        self.work_by(&killed).await;
        killed.kills.get()
    }

    async fn work_by(&self, handler: &impl Handler) {
        consume(&self.queue, handler, self.queue.drained()).await;
        assert!(self.queue.is_empty());
        assert_eq!(self.queue.dead_letters(), []);
        let open: Vec<_> = self.store.items().into_iter().filter(|item| !item.state.is_published()).collect();
        assert_eq!(open, []);
    }

    /// Triggers one chat, works, and returns its only event.
    pub(super) async fn ending_of(&self, chat: &str) -> Event {
        self.trigger(chat);
        self.work().await;
        let [event] = &self.events()[..] else { panic!("{chat}: {:?}", self.events()) };
        event.clone()
    }

    /// The published events, in order.
    pub(super) fn events(&self) -> Vec<Event> {
        self.bus.events()
    }

    /// When each call of this chat was sent.
    pub(super) fn calls(&self, chat: &str) -> Vec<Millis> {
        let chat = Subject::chat(chat).unwrap();
        let calls = self.simulator.log().into_iter().filter(|record| record.subject == chat);
        calls.map(|record| EPOCH + Duration::from_millis(record.sent_at_ms)).collect()
    }
}

/// A handler whose process is killed now and then.
pub(super) struct Killed<'a, H> {
    worker: &'a H,
    share: f64,
    random: RefCell<StdRng>,
    pub(super) kills: Cell<u32>,
}

impl<'a, H> Killed<'a, H> {
    /// This share of the invocations is killed at a random moment.
    pub(super) fn new(worker: &'a H, share: f64, seed: u64) -> Self {
        Self { worker, share, random: RefCell::new(StdRng::seed_from_u64(seed)), kills: Cell::default() }
    }
}

impl<H: Handler> Handler for Killed<'_, H> {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        // Most invocations take a few seconds: their calls.
        let dies_after = {
            let mut random = self.random.borrow_mut();
            random.random_bool(self.share).then(|| Duration::from_millis(random.random_range(0..4000)))
        };
        let Some(dies_after) = dies_after else { return self.worker.handle(batch, ends).await };
        tokio::select! {
            result = self.worker.handle(batch, ends) => result,
            () = sleep(dies_after) => {
                self.kills.update(|kills| kills + 1);
                InvocationResult::Killed
            }
        }
    }
}

/// A queue of triggers and polls whose message ids begin with the clock.
pub(super) fn queue(clock: Clock, redelivery: Redelivery) -> MemoryQueue {
    MemoryQueue::new("m", clock, VISIBILITY, MAX_RECEIVE_COUNT).with_redelivery(redelivery)
}

/// Feeds the queue's messages to this handler until `stop`.
pub(super) async fn consume(queue: &MemoryQueue, handler: &impl Handler, stop: impl Future<Output = ()>) {
    MAPPING.run(queue, handler, stop).await;
}

/// An event's ending in one line: `SYNC_DONE`, or `503 errors/no_handler (postpress)`, and what ended the run.
pub(super) fn summary(event: &Event) -> String {
    let Detail { status, error, origin, ended_by, .. } = &event.detail;
    let ending = match (status, error, origin) {
        (Some(status), None, None) => status.as_str().to_owned(),
        (None, Some(error), Some(origin)) => format!("{} {} ({origin:?})", error.status, error.kind),
        other => panic!("neither a status nor an error: {other:?}"),
    };
    assert_eq!(event.detail_type.as_str(), status.map_or("ERROR_ENVELOPE", |status| status.as_str()));
    match ended_by {
        Some(ended_by) => format!("{ending} by {ended_by:?}").to_lowercase(),
        None => ending.to_lowercase(),
    }
}
