//! `postpress-bridge demo`: the whole bridge in one process, against the simulator, through the same code as production.
//!
//! Beside it runs a poller without a memory, over a simulated provider of its own, with the same messages and the same
//! faults, so that its restarts are counted and not claimed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use crate::bus::MemoryBus;
use crate::event::{DetailType, Event};
use crate::event_source_mapping::{EventSourceMapping, Handler};
use crate::ids::ChatId;
use crate::message::Record;
use crate::queue::MemoryQueue;
use crate::run::Schedule;
use crate::settings::{DEFAULT_EVENT_SOURCE, Limits, log_filter_from_env};
use crate::simulator::{Faults, InProcess, Simulator, Span, Stats};
use crate::store::MemoryStore;
use crate::telemetry::{self, LogFilter, LogFormat};
use crate::time::Clock;
use crate::worker::{Worker, WorkerConfig};

use super::observed_provider::{ObservedProvider, words};
use super::progress::{Mark, ProgressDisplay};

mod cast;
mod death;
mod stateless;
mod table;

use cast::{CAST, DELIVERED_AGAIN_AFTER, DELIVERED_TWICE, KILLED, Part, chat_id};
use death::{Death, FatalBus, Mortal};
use stateless::Stateless;

/// How many times faster than production the demo polls.
const SPEEDUP: u32 = 10;
/// The demo's longest life.
const CURTAIN: Duration = Duration::from_secs(14);
/// As long as an invocation may last; a message whose handler was killed comes again after it.
const INVOCATION: Duration = Duration::from_millis(1500);

/// Run the whole bridge against a simulated provider, in one process.
///
/// Nine chats that end in every way there is. Progress is shown on stderr; the events, as a rule on EventBridge would get
/// them, are printed on stdout, one JSON object a line.
#[derive(Debug, Clone, Args)]
pub struct Demo {}

/// What both sides have in common: the messages and the faults.
struct Stage {
    simulator: Simulator,
    queue: Rc<MemoryQueue>,
}

impl Demo {
    /// Plays the demo, and tells whether every promise was kept.
    ///
    /// # Errors
    /// If `BRIDGE_LOG` cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        // The demo's own lines tell what happens; the log is for whoever asks for it.
        let filter = log_filter_from_env(LogFilter::off())?;
        telemetry::init(&filter, LogFormat::Compact)?;

        let chats = CAST.each_ref().map(chat_id);
        let display = Rc::new(ProgressDisplay::new(&chats));
        display.note("Nine chats, one trigger message each; the provider is simulated, and ten times as fast.\n");
        let (bridge, stateless) = (Stage::set(), Stage::set());
        let bus = Rc::new(bus(&display));
        let watched = Rc::clone(&display);
        let death =
            Rc::new(Death::new(move || watched.update(&chat_id(&KILLED), "SYNC_DONE, and its handler is killed")));

        let (ended, naive_endings) =
            tokio::join!(run_bridge(&bridge, &display, &bus, &death), run_stateless(&stateless),);
        let result = Outcome {
            events: bus.events(),
            bridge: bridge.simulator.stats(),
            stateless: stateless.simulator.stats(),
            stateless_endings: naive_endings,
        };
        display.note(&table::render(&result));
        let kept = ended && death.came() && result.kept();
        display.note(if kept {
            "Every chat had exactly one ending, and no finished sync was restarted."
        } else {
            "A PROMISE WAS BROKEN: see the table. Please report this with the lines above."
        });
        Ok(kept)
    }
}

/// What came of the demo.
struct Outcome {
    events: Vec<Event>,
    bridge: Stats,
    stateless: Stats,
    stateless_endings: Vec<ChatId>,
}

impl Outcome {
    /// The events about a chat, repeats dropped.
    fn endings_of(&self, chat: &ChatId) -> Vec<&Event> {
        let mut seen = BTreeSet::new();
        let about = self.events.iter().filter(|event| event.detail.chat_id.as_ref() == Some(chat));
        about.filter(|event| seen.insert(event.detail.event_id)).collect()
    }

    fn kept_for(&self, part: &Part) -> bool {
        let chat = chat_id(part);
        let endings = self.endings_of(&chat);
        let one_right_ending = endings.len() == 1 && endings[0].detail_type.as_str() == part.ending;
        let told = endings.iter().all(|event| event.detail.triggers.len() == part.triggers.len());
        one_right_ending && told && syncs(&self.bridge, &chat) == part.syncs
    }

    fn kept(&self) -> bool {
        CAST.iter().all(|part| self.kept_for(part))
            && self.bridge.total.restarts == 0
            && self.bridge.max_in_flight_per_chat <= 1
    }
}

/// How many syncs of a chat the provider started.
fn syncs(stats: &Stats, chat: &ChatId) -> u64 {
    stats.chats.get(chat).map_or(0, |counts| counts.syncs_started)
}

impl Stage {
    fn set() -> Self {
        let latency = Span::between(Duration::from_millis(20), Duration::from_millis(60));
        let simulator = Simulator::new(Faults { latency, ..Faults::default() });
        let once = Cell::new(true);
        let redelivery = move |record: &Record| {
            let again = record.body == DELIVERED_TWICE.trigger() && once.replace(false);
            again.then_some(DELIVERED_AGAIN_AFTER)
        };
        let queue = MemoryQueue::new("message", Clock::System, INVOCATION, 5).with_redelivery(Box::new(redelivery));
        for (part, delay) in CAST.iter().flat_map(|part| part.triggers.iter().map(move |delay| (part, delay))) {
            queue.put(&part.trigger(), *delay);
        }
        Self { simulator, queue: Rc::new(queue) }
    }

    /// Consumes until nothing is left on the queue; false if the curtain falls before.
    async fn play(&self, handler: &impl Handler) -> bool {
        let mapping = EventSourceMapping { batch_size: 1, concurrency: 50, invocation: INVOCATION };
        timeout(CURTAIN, mapping.run(&*self.queue, handler, self.queue.drained())).await.is_ok()
    }
}

/// Prints each event, and shows how its chat ended.
fn bus(display: &Rc<ProgressDisplay>) -> MemoryBus {
    let display = Rc::clone(display);
    MemoryBus::with_subscriber(Box::new(move |event| {
        display.data(&event.to_line(DEFAULT_EVENT_SOURCE))?;
        if let Some(chat) = &event.detail.chat_id {
            let mark = if event.detail_type == DetailType::SyncDone { Mark::Success } else { Mark::Failure };
            display.finish(chat, &format!("event {}", ended_as(event)), mark);
        }
        Ok(())
    }))
}

/// The event in a few words.
fn ended_as(event: &Event) -> String {
    let kind = event.detail.error.as_ref().map_or("", |error| error.kind.as_str());
    format!("{} {kind}", event.detail_type.as_str()).trim_end().to_owned()
}

async fn run_bridge(stage: &Stage, display: &Rc<ProgressDisplay>, bus: &Rc<MemoryBus>, death: &Rc<Death>) -> bool {
    let limits = Limits {
        provider_timeout: Duration::from_secs(1),
        lease_margin: Duration::from_millis(100),
        ..Limits::default()
    };
    let rules = limits.rules(&Schedule { speedup: SPEEDUP, ..Schedule::default() });
    let config = WorkerConfig { rules, limits, event_source: DEFAULT_EVENT_SOURCE.to_owned() };
    let watched = Rc::clone(display);
    let provider = ObservedProvider {
        provider: InProcess::new(stage.simulator.clone()),
        observe: move |chat: &ChatId, answer: &_| watched.update(chat, &words(answer)),
    };
    let store = Rc::new(MemoryStore::default());
    let bus = FatalBus { bus: Rc::clone(bus), death: Rc::clone(death) };
    let handler = Worker::new(provider, store, Rc::clone(&stage.queue), bus, Clock::System, config);
    stage.play(&Mortal { handler, death: Rc::clone(death) }).await
}

async fn run_stateless(stage: &Stage) -> Vec<ChatId> {
    let handler = Stateless {
        provider: InProcess::new(stage.simulator.clone()),
        queue: Rc::clone(&stage.queue),
        poll_every: Duration::from_millis(500),
        killed_for: chat_id(&KILLED),
        was_killed: Cell::new(false),
        endings: RefCell::default(),
    };
    // Each of its restarts makes more polls; what it has not ended by the curtain is counted as it stands.
    stage.play(&handler).await;
    handler.endings.into_inner()
}
