//! A batch of records: each on its own, all at once, within the invocation's time.
//!
//! What is to be done comes from [`MessageHandler`], step by step; `steps` carries it out, with a time limit for everything. A
//! message ends in one of two ways: it is acknowledged, or it comes back.
//!
//! Every message goes its way up to its end or up to the poll that it wants to send. The polls wait for the batch's last
//! call, then they share their sends. Endings wait for nobody, and nobody waits for them.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::MessageId;
use crate::message::{Message, Record};
use crate::metrics::{Metric, Metrics};
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{Acknowledged, Delay, Jitter, MessageHandler, Poll, Returned, Rules, StepContext, Task, Verdict};
use crate::settings::Limits;
use crate::store::RunStore;
use crate::telemetry;
use crate::time::{Clock, Millis};
use crate::trace::TraceHeader;

mod calls;
mod invocation;
mod once;
mod reason;
mod sending;
mod steps;
mod sweeping;
#[cfg(test)]
mod tests;
mod watch;

use calls::{Calls, ExpectedCall};
pub use invocation::Invocation;
pub use reason::Reason;
use watch::Watch;

/// What the worker is set to.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The run protocol's rules.
    pub rules: Rules,
    /// Timeouts and bounds.
    pub limits: Limits,
    /// The `source` of our own events.
    pub event_source: String,
}

/// The one handler: triggers, polls and sweeps.
pub struct Worker<P, S, Q, B> {
    provider: P,
    store: S,
    queue: Q,
    bus: B,
    clock: Clock,
    config: WorkerConfig,
    /// Where ids and jitter come from.
    chance: RefCell<StdRng>,
    /// One for each provider call that may be under way at once.
    permits: Semaphore,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// Each message, and what became of it.
    pub messages: Vec<(MessageId, Dealt)>,
    /// What was counted and measured meanwhile.
    pub metrics: Metrics,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dealt {
    /// SQS may delete it.
    Acknowledged(Acknowledged),
    /// It is to come back.
    Returned(Returned),
    /// It was a sweep, and is done.
    Swept,
    /// It was one of our own events, which is never answered.
    OwnEvent,
    /// It said that it was one of our own messages, but was not sound.
    Malformed,
    /// It is one of our own messages, of a version that a newer worker wrote and will read.
    Newer,
}

impl Dealt {
    /// It is a batch item failure.
    pub fn comes_back(self) -> bool {
        matches!(self, Self::Returned(_) | Self::Newer)
    }
}

impl From<Verdict> for Dealt {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Acknowledge(why) => Self::Acknowledged(why),
            Verdict::Return(why) => Self::Returned(why),
        }
    }
}

impl BatchReport {
    /// The messages that are to come back: Lambda's `batchItemFailures`.
    pub fn returned(&self) -> impl Iterator<Item = &MessageId> {
        self.messages.iter().filter(|(_, dealt)| dealt.comes_back()).map(|(message_id, _)| message_id)
    }
}

/// How far a message comes by itself.
enum Halfway<'a> {
    /// To its end.
    Settled(Settled),
    /// It wants to send this poll.
    Waits(Box<Waiting<'a>>),
}

/// A message at its end.
#[derive(Debug, Clone, Copy)]
struct Settled {
    dealt: Dealt,
    /// How long it stays away, if it comes back.
    away: Option<Away>,
}

/// How long a message that comes back stays away.
#[derive(Debug, Clone, Copy)]
struct Away {
    backoff: Duration,
    /// No delivery of it can claim before that.
    held_until: Option<Millis>,
}

impl Away {
    /// How long it stays away, counted from `now`.
    fn remaining(self, now: Millis) -> Duration {
        let held = self.held_until.map(|until| (until + Duration::from_millis(1)).since(now));
        self.backoff.max(held.unwrap_or_default())
    }
}

/// A message that waits for its batch.
struct Waiting<'a> {
    handling: MessageHandler,
    poll: Poll,
    delay: Delay,
    /// When it began to wait.
    since: Instant,
    trace: TraceHeader,
    watch: Watch<'a>,
}

impl From<Settled> for Halfway<'_> {
    fn from(settled: Settled) -> Self {
        Self::Settled(settled)
    }
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// A worker over these ports, whose ids nobody can foresee.
    pub fn new(provider: P, store: S, queue: Q, bus: B, clock: Clock, config: WorkerConfig) -> Self {
        let permits = Semaphore::new(config.limits.max_in_flight);
        let chance = RefCell::new(StdRng::from_rng(&mut rand::rng()));
        Self { provider, store, queue, bus, clock, config, chance, permits }
    }

    /// The same worker, whose ids and jitter all come from this seed: for tests that must be reproduced, and for nothing
    /// else, since two workers of one seed would claim under the same ids.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { chance: RefCell::new(StdRng::seed_from_u64(seed)), ..self }
    }

    /// Deals with a batch. No message fails another, and nothing outlives the invocation.
    pub async fn handle(&self, records: &[Record], ends: Instant) -> BatchReport {
        let invocation = Invocation::new(ends, self.clock.now(), &self.config.limits);
        if !invocation.has_time_to_call() {
            tracing::error!(
                left_ms = invocation.left().as_millis(),
                "the invocation began with too little time for a single call; raise the function's timeout to at least \
                 four times POSTPRESS_TIMEOUT_SECONDS"
            );
        }
        let settled = self.deal_with(records, &invocation).await;
        self.change_visibility(records, &settled, &invocation).await;
        let dealt: Vec<_> = settled.into_iter().map(|settled| settled.dealt).collect();
        self.count(records, &dealt, &invocation);
        let messages = records.iter().map(|record| record.message_id.clone()).zip(dealt).collect();
        BatchReport { messages, metrics: invocation.metrics().clone() }
    }

    /// What is only known at the end.
    fn count(&self, records: &[Record], dealt: &[Dealt], invocation: &Invocation) {
        let (mut metrics, now) = (invocation.metrics(), self.now());
        for (record, dealt) in records.iter().zip(dealt) {
            metrics.count(Metric::Messages, 1);
            watch::counted(*dealt).into_iter().for_each(|metric| metrics.count(metric, 1));
            metrics.time(Metric::Lag, now.since(record.due_at()));
        }
    }

    /// Starts every message at once. The polls leave together as soon as no call is expected any more, while endings may
    /// still be on their way.
    async fn deal_with(&self, records: &[Record], invocation: &Invocation) -> Vec<Settled> {
        let calls = Calls::expected(records.len());
        let mut under_way: FuturesUnordered<_> = records
            .iter()
            .enumerate()
            .map(|(place, record)| self.guarded(record, invocation, &calls).map(move |halfway| (place, halfway)))
            .collect();
        let mut halfway = Vec::new();
        {
            let mut all_answered = pin!(calls.all_answered());
            loop {
                tokio::select! {
                    biased;
                    Some(half) = under_way.next() => halfway.push(half),
                    () = &mut all_answered => break,
                }
            }
        }
        let (mut settled, others) = tokio::join!(self.send_polls(halfway, invocation), under_way.collect::<Vec<_>>());
        settled.extend(self.send_polls(others, invocation).await);
        settled.sort_by_key(|(place, _)| *place);
        settled.into_iter().map(|(_, settled)| settled).collect()
    }

    /// A message whose handling panics comes back, and its neighbours go on.
    async fn guarded<'a>(&self, record: &Record, invocation: &'a Invocation, calls: &Calls) -> Halfway<'a> {
        let call = calls.one();
        let trace = record.trace();
        let span = telemetry::message(record, &trace);
        let handled = AssertUnwindSafe(self.handle_one(record, trace, invocation, call)).catch_unwind();
        handled.instrument(span.clone()).await.unwrap_or_else(|_| {
            let panicked = Dealt::Returned(Returned::Bug("handling panicked"));
            self.settle(panicked, None, &Watch::new(invocation, span, record)).into()
        })
    }

    /// The one end of every message: it is logged, and the time that it stays away decided.
    fn settle(&self, dealt: Dealt, held_until: Option<Millis>, watch: &Watch<'_>) -> Settled {
        let away = dealt.comes_back().then(|| Away {
            backoff: self.config.rules.schedule.redelivery_backoff(watch.receive_count(), self.random()),
            held_until,
        });
        let now = self.now();
        watch.settled(dealt, away.map(|away| now + away.remaining(now)));
        Settled { dealt, away }
    }

    async fn handle_one<'a>(
        &self,
        record: &Record,
        trace: TraceHeader,
        invocation: &'a Invocation,
        call: ExpectedCall<'_>,
    ) -> Halfway<'a> {
        let mut watch = Watch::new(invocation, Span::current(), record);
        let dealt = match Message::parse(record, &self.config.event_source) {
            Message::Trigger(trigger) => {
                watch.is_about(&trigger.chat_id, None);
                watch.received("trigger");
                invocation.metrics().count(Metric::Triggers, 1);
                return self.drive(Task::Trigger(trigger), record, trace, watch, call).await;
            }
            Message::Poll(poll) => {
                watch.is_about(&poll.chat_id, Some(poll.run_id));
                watch.received("poll");
                return self.drive(Task::Poll(poll), record, trace, watch, call).await;
            }
            Message::Invalid(invalid) => {
                watch.received("invalid");
                drop(call);
                self.refuse(Event::of_invalid_trigger(invalid), &trace, &mut watch).await
            }
            Message::Sweep => {
                watch.received("sweep");
                drop(call);
                self.sweep(&mut watch).await
            }
            Message::OwnEvent => Dealt::OwnEvent,
            Message::Malformed { reason } => {
                watch.is_unusable(reason);
                Dealt::Malformed
            }
            Message::Newer { version } => {
                watch.is_unusable(format!("version {version}"));
                Dealt::Newer
            }
        };
        self.settle(dealt, None, &watch).into()
    }

    fn tick(&self) -> StepContext<'_> {
        StepContext { now: self.now(), jitter: Jitter::from_random(self.random()), rules: &self.config.rules }
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Chance's next word.
    fn random<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        self.chance.borrow_mut().random()
    }
}
