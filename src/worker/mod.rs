//! A batch of records: each on its own, all at once, within the invocation's time.
//!
//! The only place where effects are ordered. What is to be done comes from [`Handling`], step by step; here it is carried
//! out, with a time limit for everything. A message ends in one of two ways: it is acknowledged, or it comes back.
//!
//! Every message goes its way up to its end or up to the poll that it wants to send. The polls wait for the batch's last
//! call, then they share their sends. Endings wait for nobody, and nobody waits for them.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::{ClaimId, MessageId, RunId};
use crate::message::{Message, Record};
use crate::postpress::Provider;
use crate::queue::{HandBack, Outgoing, Queue};
use crate::run::{
    Acknowledged, Call, Delay, Handling, Input, Jitter, Returned, Rules, Step, Task, Tick, Verdict, Write, Written,
};
use crate::service::{ServiceError, attempt};
use crate::settings::Limits;
use crate::store::RunStore;
use crate::time::{Clock, Millis};

mod calls;
mod invocation;
mod sweeping;
#[cfg(test)]
mod tests;

use calls::{Calls, ExpectedCall};
pub use invocation::Invocation;

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
    /// One for each provider call that may be under way at once.
    permits: Semaphore,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// Each message, and what became of it.
    pub messages: Vec<(MessageId, Dealt)>,
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
enum Halfway {
    /// It is dealt with; if it is to come back, then not before this time.
    Dealt(Dealt, Option<Millis>),
    /// It wants to send this poll, and has since then.
    Waits { handling: Box<Handling>, body: String, delay: Delay, since: Instant },
}

impl From<Dealt> for Halfway {
    fn from(dealt: Dealt) -> Self {
        Self::Dealt(dealt, None)
    }
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// A worker over these ports.
    pub fn new(provider: P, store: S, queue: Q, bus: B, clock: Clock, config: WorkerConfig) -> Self {
        let permits = Semaphore::new(config.limits.max_in_flight);
        Self { provider, store, queue, bus, clock, config, permits }
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
        let dealt = self.deal_with(records, &invocation).await;
        self.hand_back(records, &dealt, &invocation).await;
        let dealt = dealt.into_iter().map(|(dealt, _)| dealt);
        BatchReport { messages: records.iter().map(|record| record.message_id.clone()).zip(dealt).collect() }
    }

    /// Starts every message at once. The polls leave together as soon as no call is expected any more, while endings may
    /// still be on their way.
    async fn deal_with(&self, records: &[Record], invocation: &Invocation) -> Vec<(Dealt, Option<Millis>)> {
        let calls = Calls::expected(records.len());
        let mut under_way: FuturesUnordered<_> = records
            .iter()
            .enumerate()
            .map(|(place, record)| self.guarded(record, invocation, &calls).map(move |halfway| (place, halfway)))
            .collect();
        let mut halfway: Vec<Option<Halfway>> = records.iter().map(|_| None).collect();
        {
            let mut all_answered = pin!(calls.all_answered());
            loop {
                tokio::select! {
                    biased;
                    Some((place, half)) = under_way.next() => halfway[place] = Some(half),
                    () = &mut all_answered => break,
                }
            }
        }
        let (polls, others) = tokio::join!(self.send_polls(halfway, invocation), under_way.collect::<Vec<_>>());
        let mut dealt = polls;
        for (place, half) in others {
            dealt[place] = match half {
                Halfway::Dealt(dealt, held_until) => Some((dealt, held_until)),
                Halfway::Waits { .. } => self.send_polls(vec![Some(half)], invocation).await.pop().flatten(),
            };
        }
        dealt.into_iter().map(|dealt| dealt.unwrap_or((Dealt::Returned(Returned::Failed), None))).collect()
    }

    /// A message whose handling panics comes back, and its neighbours go on.
    async fn guarded(&self, record: &Record, invocation: &Invocation, calls: &Calls) -> Halfway {
        let call = calls.one();
        AssertUnwindSafe(self.handle_one(record, invocation, call)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(message_id = %record.message_id, "handling panicked; the message comes back");
            Dealt::Returned(Returned::Failed).into()
        })
    }

    async fn handle_one(&self, record: &Record, invocation: &Invocation, call: ExpectedCall<'_>) -> Halfway {
        let message_id = &record.message_id;
        let task = match Message::parse(record, &self.config.event_source) {
            Message::Trigger(trigger) => Task::Trigger(trigger),
            Message::Poll(poll) => Task::Poll(poll),
            Message::Invalid(invalid) => {
                tracing::warn!(%message_id, reason = invalid.reason, "not a trigger; answered with an error event");
                Task::Refuse(Box::new(Event::of_invalid_trigger(invalid)))
            }
            Message::Sweep => {
                drop(call);
                return self.sweep(invocation).await.into();
            }
            Message::OwnEvent => {
                tracing::error!(
                    %message_id,
                    "one of our own events came back as a message and was dropped; narrow the rule that sends it here"
                );
                return Dealt::OwnEvent.into();
            }
            Message::Malformed { reason } => {
                tracing::error!(%message_id, reason, "a broken message of our own was dropped");
                return Dealt::Malformed.into();
            }
            Message::Newer { version } => {
                tracing::warn!(%message_id, version, "a newer worker's message comes back until a newer worker reads it");
                return Dealt::Newer.into();
            }
        };
        self.drive(task, record, invocation, call).await
    }

    /// Carries out one step after the other, up to the end or to the poll that shares a send.
    async fn drive(&self, task: Task, record: &Record, invocation: &Invocation, expected: ExpectedCall<'_>) -> Halfway {
        let (chat_id, calls) = match &task {
            Task::Trigger(message) => (Some(message.chat_id.clone()), true),
            Task::Poll(poll) => (Some(poll.chat_id.clone()), poll.answer.is_none()),
            Task::Refuse(_) => (None, false),
        };
        let is_poll = matches!(task, Task::Poll(_));
        let mut expected = Some(expected).filter(|_| calls);
        // Before the claim, so that no lease runs while its call waits for a place.
        let mut permit = None;
        if chat_id.is_some() {
            permit = self.permit(invocation).await;
            if permit.is_none() {
                return Dealt::Returned(Returned::NoTime).into();
            }
        }
        let call = Call {
            message_id: record.message_id.clone(),
            claim_id: ClaimId::from_random(rand::random()),
            run_id: RunId::from_random(rand::random()),
            lease_until_ms: invocation.lease_until(),
        };
        let (mut handling, mut step) = Handling::begin(task, call, self.tick());
        loop {
            let input = match (step, &chat_id) {
                (Step::Done(verdict), _) => return Halfway::Dealt(verdict.into(), handling.held_until()),
                (Step::Send { poll, delay }, _) if poll.answer.is_none() => {
                    let (handling, body) = (Box::new(handling), poll.to_body());
                    return Halfway::Waits { handling, body, delay, since: Instant::now() };
                }
                // An ending on its way is never held back by neighbours.
                (Step::Send { poll, delay }, _) => self.send_now(&poll.to_body(), delay, invocation).await,
                (Step::Read, Some(chat_id)) => {
                    let read = attempt(invocation.claim_by(), async || self.store.read(chat_id).await).await;
                    read.map_or_else(|error| failed("read the run", &error), |item| Input::Read(item.map(Box::new)))
                }
                (Step::Call, Some(chat_id)) => match invocation.call_deadline() {
                    Some(deadline) => {
                        let answer = self.provider.sync(chat_id, deadline).await;
                        drop((permit.take(), expected.take()));
                        Input::Answered(answer)
                    }
                    None => Input::NoTime,
                },
                (Step::Write(write), _) => self.write(&write, invocation).await,
                (Step::Publish(event), _) => {
                    if is_poll {
                        expected = None; // of a poll, nothing but its end follows; a trigger may still start a run
                    }
                    self.publish(*event, invocation).await
                }
                (Step::Read | Step::Call, None) => Input::Failed,
            };
            step = handling.next(input, self.tick());
        }
    }

    /// The polls that wait, in as few sends as they fit in.
    async fn send_polls(
        &self,
        halfway: Vec<Option<Halfway>>,
        invocation: &Invocation,
    ) -> Vec<Option<(Dealt, Option<Millis>)>> {
        let now = Instant::now();
        let waiting = halfway.iter().flatten().filter_map(|halfway| match halfway {
            Halfway::Waits { body, delay, since, .. } => {
                Some(Outgoing { body: body.clone(), delay: delay.after(now - *since) })
            }
            Halfway::Dealt(..) => None,
        });
        let mut sent = self.send(waiting.collect(), invocation).await.into_iter();
        let mut finish = |halfway| match halfway {
            Halfway::Dealt(dealt, held_until) => (dealt, held_until),
            Halfway::Waits { mut handling, .. } => {
                let input = if sent.next().unwrap_or(false) { Input::Done } else { Input::Failed };
                let dealt = match handling.next(input, self.tick()) {
                    Step::Done(verdict) => verdict.into(),
                    _ => Dealt::Returned(Returned::Failed),
                };
                (dealt, handling.held_until())
            }
        };
        halfway.into_iter().map(|halfway| halfway.map(&mut finish)).collect()
    }

    /// Sends messages, and those again that failed and may pass. Tells for each whether it was sent.
    async fn send(&self, messages: Vec<Outgoing>, invocation: &Invocation) -> Vec<bool> {
        if messages.is_empty() {
            return Vec::new();
        }
        let mut sent = vec![false; messages.len()];
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let result = attempt(invocation.finish_by(), async || {
            let batch: Vec<_> = left.iter().map(|index| messages[*index].clone()).collect();
            let (mut again, mut trouble) = (Vec::new(), None);
            for (index, result) in left.iter().zip(self.queue.send(&batch).await) {
                match result {
                    Ok(_) => sent[*index] = true,
                    Err(error) => {
                        if matches!(error, ServiceError::Passing(_)) {
                            again.push(*index);
                        }
                        trouble = Some(error);
                    }
                }
            }
            match trouble {
                Some(error) if again.is_empty() => Err(ServiceError::Refused(error.to_string())),
                Some(error) => {
                    left = again;
                    Err(ServiceError::Passing(error.to_string()))
                }
                None => Ok(()),
            }
        });
        if let Err(error) = result.await {
            failed("send a poll", &error);
        }
        sent
    }

    /// Sets when each message that is to come back is visible again: it would wait out the whole visibility timeout else,
    /// which is six times the function's. What fails here only means that longer wait.
    async fn hand_back(&self, records: &[Record], dealt: &[(Dealt, Option<Millis>)], invocation: &Invocation) {
        let back = records.iter().zip(dealt).filter(|(_, (dealt, _))| dealt.comes_back());
        let messages: Vec<HandBack> = back
            .map(|(record, (_, held_until))| HandBack {
                receipt_handle: record.receipt_handle.clone(),
                invisible: self.comes_back_after(record.receive_count, *held_until),
            })
            .collect();
        if messages.is_empty() {
            return;
        }
        let results = timeout_at(invocation.finish_by(), self.queue.hand_back(&messages)).await.unwrap_or_default();
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "a message comes back only after its visibility timeout");
        }
    }

    fn comes_back_after(&self, receive_count: u32, held_until: Option<Millis>) -> Duration {
        let held = held_until.map_or(Duration::ZERO, |until| (until + Duration::from_millis(1)).since(self.now()));
        self.config.rules.schedule.comes_back_after(receive_count, rand::random()).max(held)
    }

    async fn send_now(&self, body: &str, delay: Delay, invocation: &Invocation) -> Input {
        let outgoing = Outgoing { body: body.to_owned(), delay: delay.after(Duration::ZERO) };
        match self.send(vec![outgoing], invocation).await[..] {
            [true] => Input::Done,
            _ => Input::Failed,
        }
    }

    async fn write(&self, write: &Write, invocation: &Invocation) -> Input {
        let claims = write.claims().is_some();
        if claims && !invocation.has_time_to_call() {
            return Input::NoTime;
        }
        let until = match write {
            _ if claims => invocation.claim_by(),
            Write::End { .. } => invocation.record_by(),
            _ => invocation.finish_by(),
        };
        match attempt(until, async || self.store.write(write).await).await {
            Ok(written) => {
                log_start(write, &written);
                Input::Written(written)
            }
            Err(error) => failed("write the run", &error),
        }
    }

    async fn publish(&self, event: Event, invocation: &Invocation) -> Input {
        let published = attempt(invocation.finish_by(), async || {
            let mut results = self.bus.publish(std::slice::from_ref(&event)).await;
            results.pop().unwrap_or_else(|| Err(ServiceError::Refused("the bus gave no result".to_owned())))
        });
        match published.await {
            Ok(()) => {
                log_end(&event);
                Input::Done
            }
            Err(error) => failed("publish an event", &error),
        }
    }

    /// A place among the calls at once; nothing if none comes free in time for a claim.
    async fn permit(&self, invocation: &Invocation) -> Option<SemaphorePermit<'_>> {
        timeout_at(invocation.claim_by(), self.permits.acquire()).await.ok()?.ok()
    }

    fn tick(&self) -> Tick<'_> {
        Tick { now: self.now(), jitter: Jitter::from_random(rand::random()), rules: &self.config.rules }
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }
}

fn failed(what: &str, error: &ServiceError) -> Input {
    tracing::error!(%error, "could not {what}");
    Input::Failed
}

fn log_start(write: &Write, written: &Written) {
    if let (Write::Start { .. }, Written::Taken(item)) = (write, written) {
        let message_id = item.triggers.first().map(|trigger| &trigger.message_id);
        tracing::info!(chat_id = %item.chat_id, run_id = %item.run_id, message_id = message_id.map(MessageId::as_str), "run started");
    }
}

fn log_end(event: &Event) {
    let detail = &event.detail;
    tracing::info!(
        chat_id = detail.chat_id.as_ref().map(crate::ids::ChatId::as_str),
        run_id = detail.run_id.map(|id| id.to_string()),
        ending = event.detail_type.as_str(),
        error = detail.error.as_ref().map(|error| error.kind.as_str()),
        polls = detail.polls,
        triggers = detail.triggers.len(),
        "event published"
    );
}
