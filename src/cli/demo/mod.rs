//! `postpress-bridge demo`: the whole bridge in one process against the simulator, with the code of production.
//!
//! A stateless poller runs concurrently with the same messages and faults against its own simulated provider, which counts its
//! restarts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::bus::MemoryBus;
use crate::event::Event;
use crate::event_source_mapping::{EventSourceMapping, Handler};
use crate::ids::Subject;
use crate::message::Record;
use crate::queue::MemoryQueue;
use crate::settings::{Config, DEFAULT_EVENT_SOURCE, log_filter_from_env};
use crate::simulator::{Faults, Simulator, Span, Stats};
use crate::store::MemoryStore;
use crate::telemetry::{self, LogFilter, LogFormat};
use crate::time::Clock;
use crate::worker::Worker;

use super::chat_state::Results;
use super::observed_provider::{ObservedProvider, PollCountdown};
use super::output::EventFormat;
use super::progress::ProgressDisplay;
use super::stateless::Stateless;

mod chats;
mod kill;
mod table;

use chats::{CHATS, DELIVERED_AGAIN_AFTER, DELIVERED_TWICE, DemoChat, KILLED, chat_id};
use kill::{Kill, KillableHandler, KillingBus};

/// How many times faster than production the demo polls.
const SPEEDUP: u32 = 10;
/// Time limit of the demo.
const DEMO_MAX: Duration = Duration::from_secs(14);
/// Maximum length of an invocation; the message of a killed handler is redelivered after it.
const INVOCATION: Duration = Duration::from_millis(1500);

/// Run the whole bridge against a simulated provider in one process
///
/// Syncs nine chats that end in all possible ways, and an account. Progress goes to stderr. Unless stdout is a terminal,
/// the events go there as an EventBridge rule receives them, one JSON object per line.
#[derive(Debug, Clone, Default, Args)]
pub struct Demo {
    /// Print the events as JSON lines on a terminal too
    #[arg(long)]
    json: bool,
}

/// What both pollers share: the messages and the faults.
struct Setup {
    simulator: Simulator,
    queue: Rc<MemoryQueue>,
}

impl Demo {
    /// Runs the demo; returns whether every promise was kept.
    ///
    /// # Errors
    /// If `BRIDGE_LOG` is invalid.
    pub async fn run(self) -> anyhow::Result<bool> {
        // The progress lines show what happens; the log is off by default.
        let filter = log_filter_from_env(LogFilter::off())?;
        telemetry::init(&filter, LogFormat::Compact)?;

        let chats = CHATS.each_ref().map(chat_id);
        let events = EventFormat::new(self.json, DEFAULT_EVENT_SOURCE);
        let results = Rc::new(Results::new(ProgressDisplay::new(&chats), events));
        results.display.note("Nine chats and an account, each with a trigger.\nThe provider is simulated, and everything is ten times faster.\n");
        let (bridge, stateless) = (Setup::new(), Setup::new());
        let bus = Rc::new(bus(&results));
        let kill = Rc::new(Kill { results: Rc::clone(&results), is_done: Cell::new(false), signal: Notify::new() });

        let (ended, stateless_endings) =
            tokio::join!(run_bridge(&bridge, &results, &bus, &kill), run_stateless(&stateless));
        let comparison = Comparison {
            events: bus.events(),
            bridge: bridge.simulator.stats(),
            stateless: stateless.simulator.stats(),
            stateless_endings,
        };
        results.display.note(&table::render(&comparison));
        let kept = ended && kill.is_done.get() && comparison.kept();
        results.display.note(if kept {
            "Every sync had exactly one ending, and no finished sync was restarted."
        } else {
            "A PROMISE WAS BROKEN, see the table. Please report this with the output above."
        });
        Ok(kept)
    }
}

/// The result of the demo.
struct Comparison {
    events: Vec<Event>,
    bridge: Stats,
    stateless: Stats,
    stateless_endings: Vec<Subject>,
}

impl Comparison {
    /// The events about a chat, without repeats.
    fn endings_of(&self, chat: &Subject) -> Vec<&Event> {
        let mut seen = BTreeSet::new();
        let about = self.events.iter().filter(|event| event.detail.subject().as_ref() == Some(chat));
        about.filter(|event| seen.insert(event.detail.event_id)).collect()
    }

    fn kept_for(&self, chat: &DemoChat) -> bool {
        let id = chat_id(chat);
        let endings = self.endings_of(&id);
        let has_right_ending = endings.len() == 1 && endings[0].detail_type.as_str() == chat.ending;
        let has_all_triggers = endings.iter().all(|event| event.detail.triggers.len() == chat.triggers.len());
        has_right_ending && has_all_triggers && syncs(&self.bridge, &id) == chat.syncs
    }

    fn kept(&self) -> bool {
        CHATS.iter().all(|chat| self.kept_for(chat))
            && self.bridge.total.restarts == 0
            && self.bridge.max_in_flight_each <= 1
    }
}

/// How many syncs of a chat the provider started.
fn syncs(stats: &Stats, chat: &Subject) -> u64 {
    stats.subjects.get(chat).map_or(0, |counts| counts.syncs_started)
}

impl Setup {
    fn new() -> Self {
        let latency = Span::between(Duration::from_millis(20), Duration::from_millis(60));
        let simulator = Simulator::new(Faults { latency, ..Faults::default() });
        let once = Cell::new(true);
        let redelivery = move |record: &Record| {
            let again = record.body == DELIVERED_TWICE.trigger() && once.replace(false);
            again.then_some(DELIVERED_AGAIN_AFTER)
        };
        let queue = MemoryQueue::new("message", Clock::System, INVOCATION, 5).with_redelivery(Box::new(redelivery));
        for (chat, delay) in CHATS.iter().flat_map(|chat| chat.triggers.iter().map(move |delay| (chat, delay))) {
            queue.put(&chat.trigger(), *delay);
        }
        Self { simulator, queue: Rc::new(queue) }
    }

    /// Consumes until the queue is empty; false if the time limit ends it.
    async fn run(&self, handler: &impl Handler) -> bool {
        let mapping = EventSourceMapping { batch_size: 1, concurrency: 50, invocation: INVOCATION };
        timeout(DEMO_MAX, mapping.run(&*self.queue, handler, self.queue.drained())).await.is_ok()
    }
}

/// A bus that prints each event, and shows how its chat ended.
fn bus(results: &Rc<Results>) -> MemoryBus {
    let results = Rc::clone(results);
    MemoryBus::with_subscriber(Box::new(move |event| match event.detail.subject() {
        Some(chat) => results.end(&chat, event),
        None => results.print(event),
    }))
}

async fn run_bridge(setup: &Setup, results: &Rc<Results>, bus: &Rc<MemoryBus>, kill: &Rc<Kill>) -> bool {
    let mut config = Config::default();
    config.rules.schedule.speedup = SPEEDUP;
    config.rules.lease_margin = Duration::from_millis(100);
    config.limits.provider_timeout = Duration::from_secs(1);
    let provider = ObservedProvider { provider: setup.simulator.clone(), results: Rc::clone(results) };
    let store = Rc::new(MemoryStore::default());
    let bus = KillingBus { bus: Rc::clone(bus), kill: Rc::clone(kill) };
    let queue = PollCountdown { queue: Rc::clone(&setup.queue), results: Rc::clone(results) };
    let handler = Worker::new(provider, store, queue, bus, Clock::System, config);
    setup.run(&KillableHandler { handler, kill: Rc::clone(kill) }).await
}

async fn run_stateless(setup: &Setup) -> Vec<Subject> {
    let (was_killed, endings) = (Cell::new(false), RefCell::new(Vec::new()));
    let handler = Stateless {
        provider: setup.simulator.clone(),
        queue: Rc::clone(&setup.queue),
        poll_every: Duration::from_millis(500),
        is_killed: |chat: &Subject| *chat == chat_id(&KILLED) && !was_killed.replace(true),
        publish: |chat| endings.borrow_mut().push(chat),
    };
    // Each restart causes more polls, so it may run into the time limit; then the counts so far are used.
    setup.run(&handler).await;
    endings.into_inner()
}
