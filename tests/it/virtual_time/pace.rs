//! A provider that limits its key by a token bucket, and many chats triggered at once.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::event::EndedBy;
use postpress_bridge::event_source_mapping::{EventSourceMapping, Handler, InvocationResult};
use postpress_bridge::ids::{MessageGroup, Subject};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::pace::{Pace, Paced, Rate};
use postpress_bridge::postpress::{Answer, NotAdmitted, Provider, SyncCall, Token};
use postpress_bridge::queue::{MemoryQueue, Outgoing, Redelivery};
use postpress_bridge::run::{AckReason, Disposition};
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Simulator, Span};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use tokio::time::{Instant, sleep};

use super::bridge::{EPOCH, Killed, queue};
use super::crowd::redelivery;

/// Calls a second that the key allows, and the burst.
const CALLS_PER_SECOND: f64 = 20.0;
const BURST: f64 = 40.0;
const PROCESSES: u32 = 10;
const MAPPING: EventSourceMapping =
    EventSourceMapping { batch_size: 10, concurrency: PROCESSES as usize, invocation: Duration::from_mins(1) };

/// How a process calls the provider.
enum Caller {
    /// At its share of each key's rate: that of the default workspace, and that of another one.
    Paced([Paced<Simulator>; 2]),
    /// As fast as it can.
    Unpaced(Simulator),
}

impl Provider for Caller {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        match self {
            Self::Paced(keys) => keys[key(&call.subject)].sync(call, deadline).await,
            Self::Unpaced(provider) => provider.sync(call, deadline).await,
        }
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        match self {
            Self::Paced(keys) => keys[key(subject)].admit(subject, until).await,
            Self::Unpaced(provider) => provider.admit(subject, until).await,
        }
    }
}

fn key(subject: &Subject) -> usize {
    usize::from(!subject.workspace().is_default())
}

type Process = Worker<Caller, Rc<MemoryStore>, Rc<MemoryQueue>, Rc<MemoryBus>>;

/// The processes of one deployment, each of which handles one invocation at a time and keeps its own pace.
struct Bridge {
    /// The provider, as the default workspace's key sees it.
    simulator: Simulator,
    /// As the other workspace's key does.
    other: Simulator,
    queue: Rc<MemoryQueue>,
    store: Rc<MemoryStore>,
    bus: Rc<MemoryBus>,
    processes: Vec<Process>,
    idle: RefCell<Vec<usize>>,
    /// How many messages were sent again, because their turns to call came too late.
    deferred: Cell<usize>,
}

/// A process while it handles an invocation, even one that is killed.
struct Busy<'a>(&'a Bridge, usize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.idle.borrow_mut().push(self.1);
    }
}

impl Handler for Bridge {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        let process = self.idle.borrow_mut().pop().expect("an idle process");
        let _busy = Busy(self, process);
        let result = self.processes[process].handle(batch, ends).await;
        let is_deferred = |(_, disposition): &&(_, _)| *disposition == Disposition::Ack(AckReason::Deferred);
        self.deferred.update(|deferred| deferred + result.messages.iter().filter(is_deferred).count());
        InvocationResult::Completed(result.batch_item_failures().cloned().collect())
    }
}

impl Bridge {
    /// A bridge whose calls keep to this rate; `None` if they do not.
    fn new(rate: Option<f64>) -> Self {
        Self::with(CALLS_PER_SECOND, rate, Box::new(|_| None))
    }

    /// The same, with keys that allow `allowed` calls a second.
    fn with(allowed: f64, rate: Option<f64>, redelivery: Redelivery) -> Self {
        // Each process may begin a call at once.
        let burst = (2.0 * allowed).max(PROCESSES.into());
        let faults = Faults {
            latency: Span::between(Duration::from_millis(50), Duration::from_secs(2)),
            calls_per_second: Some(allowed),
            calls_burst: burst,
            ..Faults::default()
        };
        let (simulator, other) = (Simulator::new(faults), Simulator::new(faults));
        let clock = Clock::starting_at(EPOCH);
        let queue = Rc::new(queue(clock, redelivery));
        let (store, bus) = (Rc::new(MemoryStore::default()), Rc::new(MemoryBus::default()));
        let processes = NonZeroU32::new(PROCESSES).unwrap();
        let rate = rate.map(|rate| Rate::share(rate, Some(burst), processes));
        let process = |_| {
            let provider = match rate {
                Some(_) => Caller::Paced([&simulator, &other].map(|key| Paced::new(key.clone(), Pace::new(rate)))),
                None => Caller::Unpaced(simulator.clone()),
            };
            Worker::new(provider, Rc::clone(&store), Rc::clone(&queue), Rc::clone(&bus), clock, Config::default())
        };
        let processes = (0..PROCESSES).map(process).collect();
        Self {
            simulator,
            other,
            queue,
            store,
            bus,
            processes,
            deferred: Cell::default(),
            idle: RefCell::new((0..PROCESSES as usize).collect()),
        }
    }

    /// Triggers this many chats of a tenant at once, whose syncs last 20 s to two minutes.
    fn trigger(&self, tenant: &str, chats: usize) {
        for number in 0..chats {
            let workspace = if tenant == "other" { r#", "workspace": "other""# } else { "" };
            let seconds = 20 + number * 37 % 100;
            let body = format!(r#"{{"chat_id": "done-in-{seconds}s~{tenant}-{number}"{workspace}}}"#);
            let group = MessageGroup::parse(tenant);
            self.queue.put_outgoing(&Outgoing { body, delay: Duration::ZERO, trace: None, group });
        }
    }

    /// Works until every run has ended, and returns how long that took.
    async fn work(&self) -> Duration {
        self.work_by(self).await
    }

    async fn work_by(&self, handler: &impl Handler) -> Duration {
        let began = Instant::now();
        MAPPING.run(&*self.queue, handler, self.queue.drained()).await;
        assert_eq!(self.queue.dead_letters(), []);
        assert_eq!(self.store.open_runs(), 0);
        began.elapsed()
    }

    /// How long it takes until this many chats of a tenant are started.
    async fn starts(&self, tenant: &str, chats: usize) -> Duration {
        let started = || {
            let items = self.store.items().into_iter();
            let items = items.filter(|item| item.subject.id().contains(&format!("~{tenant}-")));
            items.map(|item| item.started_at_ms.since(EPOCH)).collect::<Vec<_>>()
        };
        let all_started = async {
            while started().len() < chats {
                sleep(Duration::from_secs(1)).await;
            }
        };
        MAPPING.run(&*self.queue, self, all_started).await;
        started().into_iter().max().unwrap()
    }

    fn ended_by_retries(&self) -> usize {
        self.bus.events().iter().filter(|event| event.detail.ended_by == Some(EndedBy::Retries)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_chats_at_once_keep_to_the_pace_of_their_key() {
    println!("10,000 chats at once, a key of 20 calls a second with a burst of 40, 10 processes");
    for rate in [Some(CALLS_PER_SECOND), None] {
        let bridge = Bridge::new(rate);
        bridge.trigger("big", 10_000);
        let took = bridge.work().await;
        let stats = bridge.simulator.stats();
        let (calls, refused) = (stats.total.calls, stats.total.over_limit);
        // The calls that were needed, at the rate of the key, after its first burst.
        let ideal = ((calls - refused) as f64 - BURST) / CALLS_PER_SECOND;
        let (ratio, share) = (took.as_secs_f64() / ideal, refused as f64 / calls as f64);
        let runs = bridge.ended_by_retries();
        println!(
            "{}: {calls} calls, {refused} of them answered 429 ({:.1} %), {:.0} s of ideally {ideal:.0} s ({ratio:.2}), {} events, {} sends, \
             {runs} runs ended by their retry budget",
            if rate.is_some() { "with pace" } else { "without" },
            100.0 * share,
            took.as_secs_f64(),
            bridge.bus.events().len(),
            bridge.queue.send_requests(),
        );
        if rate.is_some() {
            assert!(share <= 0.01, "{share}");
            assert!(ratio <= 1.25, "{ratio}");
            assert_eq!((stats.total.restarts, runs), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_tenant_beside_a_big_one_is_started_within_twice_its_own_time() {
    for chats in [50, 200] {
        let bridge = Bridge::new(Some(CALLS_PER_SECOND));
        bridge.trigger("small", chats);
        let alone = bridge.starts("small", chats).await;
        let bridge = Bridge::new(Some(CALLS_PER_SECOND));
        bridge.trigger("big", 10_000);
        bridge.trigger("small", chats);
        let beside = bridge.starts("small", chats).await;
        println!(
            "the last of {chats} chats is started after {alone:?} alone, and after {beside:?} beside 10,000 others"
        );
        // With 30 messages in flight a tenant is noisy itself, and shares the calls equally with the other. And the first batches of
        // the big tenant come before any tenant is noisy.
        let first_batch = Duration::from_secs_f64(MAPPING.batch_size as f64 * f64::from(PROCESSES) / CALLS_PER_SECOND);
        let slack = if chats <= 50 { Duration::ZERO } else { first_batch };
        assert!(beside <= 2 * alone + slack, "{beside:?} {alone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_at_a_slow_pace_with_two_keys_duplicates_and_kills() {
    // A batch of ten takes longer than its invocation, and the backlog longer than SQS can delay a message.
    const SLOW: f64 = 1.0;
    let (redelivery, redelivered) = redelivery(1);
    let bridge = Bridge::with(SLOW, Some(SLOW), redelivery);
    for tenant in ["big", "other"] {
        bridge.trigger(tenant, 1000);
    }
    let killed = Killed::new(&bridge, 0.1, 1);
    let took = bridge.work_by(&killed).await;
    let mut endings = HashMap::<_, HashSet<_>>::new();
    for event in bridge.bus.events() {
        for trigger in &event.detail.triggers {
            endings.entry(trigger.message_id.clone()).or_default().insert(event.detail.event_id);
        }
    }
    let (one, two) = (bridge.simulator.stats().total, bridge.other.stats().total);
    println!(
        "2,000 chats of two keys of a call a second, {} deliveries repeated, {} invocations killed, {} messages sent again to wait: {} triggers \
         ended after {:.0} s, {} + {} calls, {} + {} of them answered 429",
        redelivered.get(),
        killed.kills.get(),
        bridge.deferred.get(),
        endings.len(),
        took.as_secs_f64(),
        one.calls,
        two.calls,
        one.over_limit,
        two.over_limit,
    );
    assert_eq!(endings.len(), 2000, "each trigger has an ending");
    assert!(endings.values().all(|endings| endings.len() == 1), "a trigger is in two endings");
    assert_eq!(bridge.ended_by_retries(), 0);
    assert!(redelivered.get() > 100 && killed.kills.get() > 20 && bridge.deferred.get() > 100);
    for total in [one, two] {
        assert!(total.over_limit * 100 <= total.calls, "{total:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_waits_by_message_takes_little_longer_than_its_calls() {
    const SLOW: f64 = 1.0;
    let bridge = Bridge::with(SLOW, Some(SLOW), Box::new(|_| None));
    bridge.trigger("big", 2000);
    let took = bridge.work().await;
    let calls = bridge.simulator.stats().total.calls;
    let ratio = took.as_secs_f64() / (calls as f64 / SLOW);
    println!(
        "2,000 chats at a call a second: {} messages sent again to wait, {calls} calls in {took:?} ({ratio:.2} of the ideal time)",
        bridge.deferred.get()
    );
    assert!(bridge.deferred.get() > 100);
    assert!(ratio <= 1.25, "{ratio}");
}

#[tokio::test(start_paused = true)]
async fn a_pace_above_what_the_key_allows_is_slowed_by_its_429s() {
    let mut shares = Vec::new();
    for rate in [Some(2.0 * CALLS_PER_SECOND), None] {
        let bridge = Bridge::new(rate);
        bridge.trigger("big", 3000);
        bridge.work().await;
        let total = bridge.simulator.stats().total;
        println!(
            "3,000 chats, a pace of {rate:?} calls a second: {} of {} calls answered 429",
            total.over_limit, total.calls
        );
        assert_eq!((bridge.ended_by_retries(), total.restarts), (0, 0));
        shares.push(total.over_limit as f64 / total.calls as f64);
    }
    assert!(shares[0] < shares[1] / 3.0, "{shares:?}");
}
