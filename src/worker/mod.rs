//! The handler behind the queue: each message of a batch on its own, all at once, within the invocation's time.
//!
//! [`MessageHandler`](crate::run::MessageHandler) decides each step of a message, and `steps` carries it out with a time
//! limit. At the end a message is either acknowledged or delivered again.
//!
//! A message runs on its own until it is settled, or until it sends one: polls and waiting triggers are kept in the `outbox` until
//! the batch's last provider call, and then share their sends. Endings wait for no other message. A batch of more than a hundred messages is
//! handled in parts, one after the other.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument;

use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::MessageId;
use crate::message::{Message, Record};
use crate::metrics::{Metric, Metrics};
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{AckReason, Disposition, Jitter, RetryReason, StepContext, Task};
use crate::settings::Config;
use crate::store::RunStore;
use crate::telemetry;
use crate::time::{Clock, Millis};
use crate::trace::TraceHeader;

mod invocation;
mod message_telemetry;
mod once;
mod outbox;
mod reason;
mod sending;
mod steps;
mod sweeping;
#[cfg(test)]
mod tests;

pub use invocation::Invocation;
use message_telemetry::MessageTelemetry;
use outbox::{Outbox, PendingCall};
pub use reason::Reason;

/// How many messages are handled together, if not more calls may be in progress at once. A batch may have 10,000 messages, each
/// of which takes some kilobytes while it is handled; those for which no time is left are returned before they are claimed.
const MESSAGES_TOGETHER: usize = 100;

/// The handler of triggers, polls and sweeps.
pub struct Worker<P, S, Q, B> {
    provider: P,
    store: S,
    queue: Q,
    bus: B,
    clock: Clock,
    config: Config,
    /// Source of ids and jitter.
    rng: RefCell<StdRng>,
    /// One for each provider call that may be in progress at the same time.
    permits: Semaphore,
}

/// The result of one invocation.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// What happens to each message of the batch.
    pub messages: Vec<(MessageId, Disposition)>,
    /// What was counted and measured.
    pub metrics: Metrics,
}

impl BatchResult {
    /// The messages to deliver again: Lambda's `batchItemFailures`.
    pub fn batch_item_failures(&self) -> impl Iterator<Item = &MessageId> {
        self.messages.iter().filter(|(_, disposition)| disposition.is_retry()).map(|(message_id, _)| message_id)
    }
}

/// What happens to a message, and until when no delivery of it can claim.
type Handled = (Disposition, Option<Millis>);

/// One delivery of a message, while it is handled.
struct Delivery<'a> {
    record: &'a Record,
    trace: TraceHeader,
    outbox: &'a Outbox,
    /// The provider call that it may still make.
    call: Option<PendingCall<'a>>,
    telemetry: MessageTelemetry<'a>,
}

/// A message whose handling is over.
#[derive(Debug, Clone, Copy)]
struct Settled {
    disposition: Disposition,
    /// When the message is delivered again, if it is.
    redelivery: Option<Redelivery>,
}

/// When a message is delivered again.
#[derive(Debug, Clone, Copy)]
struct Redelivery {
    backoff: Duration,
    /// Until then no delivery of the message can claim.
    held_until: Option<Millis>,
}

impl Redelivery {
    /// How long the message stays invisible, counted from `now`.
    fn delay(self, now: Millis) -> Duration {
        let held = self.held_until.map(|until| (until + Duration::from_millis(1)).since(now));
        self.backoff.max(held.unwrap_or_default())
    }
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// A worker over these ports, with unpredictable ids.
    pub fn new(provider: P, store: S, queue: Q, bus: B, clock: Clock, config: Config) -> Self {
        let permits = Semaphore::new(config.limits.max_in_flight);
        let rng = RefCell::new(StdRng::from_rng(&mut rand::rng()));
        Self { provider, store, queue, bus, clock, config, rng, permits }
    }

    /// The same worker, with ids and jitter derived from `seed`. Only for tests that must be reproducible: two workers with
    /// one seed would claim under the same ids.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { rng: RefCell::new(StdRng::seed_from_u64(seed)), ..self }
    }

    /// Handles a batch. No message fails another, and nothing outlives the invocation.
    pub async fn handle(&self, records: &[Record], ends: Instant) -> BatchResult {
        let invocation = Invocation::new(ends, self.clock.now(), &self.config).with_records(records.len());
        if !invocation.has_time_to_call() {
            tracing::error!(
                left_ms = invocation.left().as_millis(),
                "the invocation began with too little time for a single call; raise the function's timeout to at least \
                 four times POSTPRESS_TIMEOUT_SECONDS"
            );
        }
        let mut settled = Vec::with_capacity(records.len());
        for records in records.chunks(MESSAGES_TOGETHER.max(2 * self.config.limits.max_in_flight)) {
            settled.extend(self.handle_together(records, &invocation).await);
        }
        self.change_visibility(records, &settled, &invocation).await;
        let now = self.now();
        let mut messages = Vec::new();
        for (record, Settled { disposition, .. }) in records.iter().zip(settled) {
            let mut metrics = invocation.metrics();
            metrics.count(Metric::Messages, 1);
            message_telemetry::metric_of(disposition).into_iter().for_each(|metric| metrics.count(metric, 1));
            metrics.time(Metric::Lag, now.since(record.due_at()));
            messages.push((record.message_id.clone(), disposition));
        }
        BatchResult { messages, metrics: invocation.metrics().clone() }
    }

    /// Handles messages concurrently.
    async fn handle_together(&self, records: &[Record], invocation: &Invocation) -> Vec<Settled> {
        let outbox = Outbox::new(records.len());
        let messages = join_all(records.iter().map(|record| self.handle_message(record, invocation, &outbox)));
        tokio::join!(messages, self.send_queued(&outbox, invocation)).0
    }

    /// Handles one message. If that panics, the message is delivered again, and the others continue.
    async fn handle_message(&self, record: &Record, invocation: &Invocation, outbox: &Outbox) -> Settled {
        let (_in_progress, call) = outbox.message();
        let trace = record.trace();
        let span = telemetry::message(record, &trace);
        let telemetry = MessageTelemetry::new(invocation, span.clone(), record);
        let mut delivery = Delivery { record, trace, outbox, call: Some(call), telemetry };
        let handled = AssertUnwindSafe(self.dispatch(&mut delivery)).catch_unwind().instrument(span).await;
        let panicked = |_| (Disposition::Retry(RetryReason::Bug("handling panicked")), None);
        let (disposition, held_until) = handled.unwrap_or_else(panicked);
        let redelivery = disposition.is_retry().then(|| Redelivery {
            backoff: self.config.rules.schedule.redelivery_backoff(record.receive_count, self.random()),
            held_until,
        });
        let now = self.now();
        delivery.telemetry.settled(disposition, redelivery.map(|redelivery| now + redelivery.delay(now)));
        Settled { disposition, redelivery }
    }

    async fn dispatch(&self, delivery: &mut Delivery<'_>) -> Handled {
        let telemetry = &mut delivery.telemetry;
        let disposition = match Message::parse(delivery.record, &self.config.event_source) {
            Message::Trigger(trigger) => {
                telemetry.set_run(&trigger.subject, None);
                telemetry.received("trigger");
                telemetry.invocation().metrics().count(Metric::Triggers, 1);
                return self.run_steps(Task::Trigger(trigger), delivery).await;
            }
            Message::Cancel(cancel) => {
                telemetry.set_run(&cancel.subject, None);
                telemetry.received("cancel");
                telemetry.invocation().metrics().count(Metric::Cancels, 1);
                return self.run_steps(Task::Cancel(cancel), delivery).await;
            }
            Message::Poll(poll) => {
                telemetry.set_run(&poll.subject, Some(poll.run_id));
                telemetry.received("poll");
                return self.run_steps(Task::Poll(poll), delivery).await;
            }
            Message::Invalid(invalid) => {
                telemetry.received("invalid");
                delivery.call = None;
                self.refuse(Event::of_invalid_trigger(invalid), delivery).await
            }
            Message::Sweep => {
                telemetry.received("sweep");
                delivery.call = None;
                self.sweep(telemetry).await
            }
            Message::OwnEvent => Disposition::Ack(AckReason::OwnEvent),
            Message::Malformed { reason } => {
                telemetry.set_fault(reason);
                Disposition::Ack(AckReason::Malformed)
            }
            Message::Newer { version } => {
                telemetry.set_fault(format!("version {version}"));
                Disposition::Retry(RetryReason::NewerVersion)
            }
        };
        (disposition, None)
    }

    fn step_context(&self) -> StepContext<'_> {
        StepContext { now: self.now(), jitter: Jitter::from_random(self.random()), rules: &self.config.rules }
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The next random value.
    fn random<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        self.rng.borrow_mut().random()
    }
}
