//! What one sync does to queue, table and bus, counted by stepping the production protocol; and how Lambda's pollers make
//! batches of the messages.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::prices::{LONG_POLL_SECONDS, POLLERS, READ_UNIT_BYTES, WRITE_UNIT_BYTES};
use super::{Deployment, SyncProfile};
use crate::event::Event;
use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use crate::postpress::{Answer, Finish, Progress, Resync};
use crate::run::{
    Claimant, ENDED_SHARDS, EndedBy, Item, Jitter, MessageHandler, Poll, RecentKeys, RunState, Step, StepContext,
    StepResult, Task, Trigger, TriggerMessage, Write, WriteResult, sweep,
};
use crate::store::item_bytes;
use crate::time::Millis;

/// When the stepped sync begins. Any time does; this one has as many digits as today's.
const BEGINNING: Millis = Millis(1_795_514_400_123);
/// The largest jitter of a delay, as a share of it.
const JITTER_MAX: f64 = 0.1;

/// What one sync does, in a healthy deployment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SyncCount {
    /// Calls to the provider.
    pub calls: u32,
    /// Messages received: triggers and polls.
    pub messages: u32,
    /// Polls sent.
    pub polls_sent: u32,
    /// Read request units.
    pub read_units: usize,
    /// Write request units of the table.
    pub table_write_units: usize,
    /// Write request units of the open index, in the shards of active runs.
    pub active_index_units: usize,
    /// Write request units of the open index, in the shards of ended runs.
    pub ended_index_units: usize,
    /// Times that a sweep looks at the run.
    pub sweep_looks: u32,
    /// The item's size in bytes when it is largest.
    pub item_bytes: usize,
    /// The item's size in bytes after its ending is published: what stays in the table.
    pub stored_bytes: usize,
    /// The event's size in bytes, as PutEvents counts it.
    pub event_bytes: usize,
    /// Seconds from the first call to the published event.
    pub seconds: f64,
    /// Seconds between the last two calls, without jitter and the wait for a batch.
    pub last_delay_seconds: f64,
    /// What ended the run: an answer, unless a budget was exhausted before.
    pub ended_by: Option<EndedBy>,
}

impl SyncCount {
    /// All write request units.
    pub fn write_units(&self) -> usize {
        self.table_write_units + self.active_index_units + self.ended_index_units
    }

    /// How late the ending is noticed on average, in seconds, if messages wait `wait` for their batch: a sync ends anywhere
    /// between two calls, so half of the time between them.
    pub fn mean_lateness(&self, wait: f64) -> f64 {
        (self.last_delay_seconds + wait) / 2.0
    }

    /// How late the ending is noticed at worst: the whole delay with the largest jitter, and the longest wait.
    pub fn worst_lateness(&self, longest_wait: f64) -> f64 {
        self.last_delay_seconds * (1.0 + JITTER_MAX) + longest_wait
    }
}

/// Steps one sync through the production protocol, each of whose messages waits `wait` for its batch.
///
/// # Errors
/// If a part of the item cannot be written as JSON, which would be a bug.
pub fn count(profile: &SyncProfile, deployment: &Deployment, wait: Duration) -> anyhow::Result<SyncCount> {
    let mut run = Stepper::new(profile, deployment, wait);
    if profile.earlier_syncs > 0 {
        run.play()?;
        run.remember_earlier_syncs();
        run.count = SyncCount::default();
    }
    run.play()?;
    Ok(run.count)
}

/// A sync that is stepped.
struct Stepper<'a> {
    profile: &'a SyncProfile,
    deployment: &'a Deployment,
    wait: Duration,
    now: Millis,
    next_sweep: Millis,
    /// When the first call began.
    began: Option<Millis>,
    item: Option<Item>,
    messages: u32,
    count: SyncCount,
}

impl<'a> Stepper<'a> {
    fn new(profile: &'a SyncProfile, deployment: &'a Deployment, wait: Duration) -> Self {
        let next_sweep = BEGINNING + deployment.sweep_every / 2;
        let (item, count) = (None, SyncCount::default());
        Self { profile, deployment, wait, now: BEGINNING, next_sweep, began: None, item, messages: 0, count }
    }

    /// Plays a sync from its first trigger to its published event.
    fn play(&mut self) -> anyhow::Result<()> {
        let (first_message, beginning) = (self.messages, self.now);
        self.began = None;
        let mut next = self.deliver(|run| Task::Trigger(run.trigger()))?;
        for _ in 1..self.profile.triggers {
            self.deliver(|run| Task::Trigger(run.trigger()))?;
        }
        while let Some((poll, delay)) = next {
            self.count.polls_sent += 1;
            self.count.last_delay_seconds = delay.as_secs_f64();
            self.pass(delay + self.wait)?;
            next = self.deliver(|_| Task::Poll(poll))?;
        }
        self.count.messages = self.messages - first_message;
        self.count.seconds = self.now.since(beginning).as_secs_f64();
        self.count.ended_by = self.item.as_ref().and_then(|item| item.state.outcome()).map(|outcome| outcome.ended_by);
        self.count.stored_bytes = self.item.as_ref().map(item_bytes).transpose()?.unwrap_or_default();
        Ok(())
    }

    /// Hands one message to the protocol and carries out its steps; returns the poll that it sends, with its delay.
    fn deliver(&mut self, task: impl FnOnce(&Self) -> Task) -> anyhow::Result<Option<(Poll, Duration)>> {
        self.messages += 1;
        let number = u128::from(self.messages);
        let rules = &self.deployment.config.rules;
        let claimant = Claimant {
            message_id: self.message_id(),
            claim_id: ClaimId::from_random(number),
            run_id: RunId::from_random(number),
            lease_until_ms: self.now + self.deployment.function_timeout + rules.lease_margin,
        };
        let context = |now| StepContext { now, jitter: Jitter::NONE, rules };
        let (mut handler, mut step) = MessageHandler::begin(task(self), claimant, context(self.now));
        let mut sent = None;
        loop {
            let result = match step {
                Step::Read(_) => {
                    self.read()?;
                    StepResult::Read(self.item.clone().map(Box::new))
                }
                Step::Admit(_) => StepResult::Admitted,
                Step::Write(write) => StepResult::Written(self.write(&write)?),
                Step::Call(_) => StepResult::Answered(self.call()),
                Step::Send { poll, delay } => {
                    // SQS takes whole seconds.
                    let seconds = delay.after(Duration::ZERO).as_millis().div_ceil(1000);
                    sent = Some((poll, Duration::from_secs(u64::try_from(seconds)?)));
                    StepResult::Done
                }
                Step::Wait { .. } => anyhow::bail!("a trigger of the plan waits, which is a bug"),
                Step::Publish(publication) => {
                    let event = Event::from(publication);
                    self.count.event_bytes = event_bytes(&event, &self.deployment.config.event_source);
                    StepResult::Done
                }
                Step::Done(_) => return Ok(sent),
            };
            step = handler.next(result, context(self.now));
        }
    }

    fn call(&mut self) -> Answer {
        self.count.calls += 1;
        let began = *self.began.get_or_insert(self.now);
        let is_over = self.now.since(began) >= self.profile.length;
        let is_first = self.now == began;
        self.now = self.now + self.deployment.invocation;
        match (is_over, is_first) {
            (true, _) => Answer::Over(Finish::Done),
            (false, true) => Answer::InProgress(Progress::Started),
            (false, false) => Answer::InProgress(Progress::Running),
        }
    }

    /// Lets time pass, with its sweeps.
    fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.now + time;
        while self.next_sweep < until {
            let found = self.item.as_ref().and_then(|item| sweep(item, self.next_sweep, &self.deployment.config.rules));
            if let Some(found) = found {
                self.count.sweep_looks += 1;
                self.read()?;
                self.write(&found.move_to)?;
            }
            self.next_sweep = self.next_sweep + self.deployment.sweep_every;
        }
        self.now = until;
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let bytes = self.item.as_ref().map(item_bytes).transpose()?.unwrap_or_default();
        self.count.read_units += read_units(bytes);
        Ok(())
    }

    fn write(&mut self, write: &Write) -> anyhow::Result<WriteResult> {
        let result = write.apply(self.item.as_ref());
        let WriteResult::Applied(after) = &result else { return Ok(result) };
        let before = self.item.replace(Item::clone(after));
        let bytes_before = before.as_ref().map(item_bytes).transpose()?.unwrap_or_default();
        let bytes = item_bytes(after)?;
        self.count.table_write_units += write_units(bytes_before.max(bytes));
        self.count.item_bytes = self.count.item_bytes.max(bytes);
        // An entry of the index has the keys only, which fit a unit. A changed key is a delete and a put:
        // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes
        let (removed, put) = (before.and_then(|item| item.state.open()), after.state.open());
        if removed != put {
            for entry in [removed, put].into_iter().flatten() {
                let is_ended = ENDED_SHARDS.contains(&entry.shard);
                self.count.ended_index_units += usize::from(is_ended);
                self.count.active_index_units += usize::from(!is_ended);
            }
        }
        Ok(result)
    }

    /// As long as SQS's ids.
    fn message_id(&self) -> MessageId {
        MessageId::new(RunId::from_random(u128::from(self.messages)).to_string())
    }

    /// The trigger of the current message, with ids as long as the provider's and SQS's.
    fn trigger(&self) -> TriggerMessage {
        let metadata = self.profile.metadata();
        let message_id = self.message_id();
        let trigger = Trigger {
            correlation_id: Some("order-17".to_owned()),
            idempotency_key: None,
            metadata,
            requested_at: self.now,
            joined: false,
            message_id,
        };
        TriggerMessage {
            subject: chat(),
            resync: Resync::default(),
            key: TriggerKey::of(trigger.message_id.as_str()),
            fresh_for: None,
            after_request: false,
            waits: 0,
            group: None,
            trigger,
        }
    }

    /// Makes the item remember the triggers of all earlier syncs but the last, whose keys it has.
    fn remember_earlier_syncs(&mut self) {
        let Some(Item { seen, state: RunState::Published { .. }, .. }) = &mut self.item else { return };
        let triggers = self.profile.triggers * (self.profile.earlier_syncs - 1);
        let keys: BTreeSet<_> = (0..triggers).map(|number| TriggerKey::of(&number.to_string())).collect();
        *seen = RecentKeys::default().after(&keys, self.now, self.now, self.deployment.config.rules.run_ttl);
    }
}

/// An id of the provider's form.
fn chat() -> Subject {
    Subject::chat("chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR").expect("the id is valid")
}

/// Write request units of a write, by the larger of the item's sizes before and after it.
pub fn write_units(bytes: usize) -> usize {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1)
}

/// Read request units of a strongly consistent read; one without an item costs as much as the smallest.
pub fn read_units(bytes: usize) -> usize {
    bytes.div_ceil(READ_UNIT_BYTES).max(1)
}

/// The size of an entry in bytes, as
/// [PutEvents counts it](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html): without a time of its
/// own, source, detail type, detail and resources.
fn event_bytes(event: &Event, source: &str) -> usize {
    let resources: usize = event.resources().iter().map(String::len).sum();
    source.len() + event.detail_type.as_str().len() + event.detail_json().len() + resources
}

/// How Lambda's pollers make batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Batching {
    /// Messages received a second.
    pub messages_per_second: f64,
    /// Messages of a batch, on average.
    pub batch: f64,
    /// Invocations a second.
    pub invocations_per_second: f64,
    /// Seconds that a message waits for its batch, on average.
    pub wait_seconds: f64,
    /// Seconds that a message waits for its batch at most.
    pub longest_wait_seconds: f64,
    /// Receives a second, with the empty ones, if each gets one message. AWS does not say how many receives gather a batch; a
    /// receive returns as soon as there is a message.
    pub receives_per_second: f64,
}

/// Batches of messages that arrive at random, this many a second.
///
/// Each of the pollers, five of them at low traffic, gathers its own batch: the first message, and what arrives at this poller
/// during the window. So a batch has `rate / pollers × window + 1` messages, at most as many as the batch size. If the
/// concurrency is exhausted, messages pile up and batches fill until it is enough.
pub fn batching(messages_per_second: f64, deployment: &Deployment) -> Batching {
    let (size, concurrency) = (f64::from(deployment.batch_size), f64::from(deployment.max_concurrency));
    let (window, pollers) = (deployment.batch_window.as_secs_f64(), POLLERS.min(concurrency));
    let rate = messages_per_second / pollers;
    let gathered = rate * window + 1.0;
    let piled_up = messages_per_second * deployment.invocation.as_secs_f64() / concurrency;
    let batch = gathered.max(piled_up).min(size);

    // The first message waits as long as the batch is gathered, the others half of that on average.
    let gathering = if rate > 0.0 { window.min((size - 1.0) / rate) } else { window };
    let others = rate * gathering;
    let wait_seconds = gathering * (1.0 + others / 2.0) / (1.0 + others);
    let is_quiet = window > 0.0 && size > 1.0 && rate * window < 1.0;
    let longest_wait_seconds = if is_quiet { window.max(LONG_POLL_SECONDS) } else { gathering };

    // A long poll ends with a message, or after 20 s. With messages at random it lasts (1 − e^(−20 rate)) / rate on average.
    let is_found = -(-LONG_POLL_SECONDS * rate).exp_m1();
    let receives_per_second = pollers * if rate > 0.0 { rate / is_found } else { 1.0 / LONG_POLL_SECONDS };
    let invocations_per_second = messages_per_second / batch;
    Batching {
        messages_per_second,
        batch,
        invocations_per_second,
        wait_seconds,
        longest_wait_seconds,
        receives_per_second,
    }
}

/// One sync and the batches of all of them, this many syncs a second.
///
/// A fuller batch makes a message wait less, and shorter waits mean more calls, so the two are determined in turn until they
/// agree, beginning with the longest wait.
///
/// # Errors
/// If a part of the item cannot be written as JSON, which would be a bug.
pub fn traffic(
    syncs_per_second: f64,
    profile: &SyncProfile,
    deployment: &Deployment,
) -> anyhow::Result<(SyncCount, Batching)> {
    let sweeps_per_second = 1.0 / deployment.sweep_every.as_secs_f64();
    let mut wait = deployment.batch_window;
    loop {
        let count = count(profile, deployment, wait)?;
        let rate = syncs_per_second * f64::from(count.messages) + sweeps_per_second;
        let batching = batching(rate, deployment);
        let next = Duration::from_secs_f64(batching.wait_seconds);
        // The wait only falls, and a sync has a whole number of calls, so this ends.
        if next >= wait || self::count(profile, deployment, next)?.calls == count.calls {
            return Ok((count, batching));
        }
        wait = next;
    }
}
