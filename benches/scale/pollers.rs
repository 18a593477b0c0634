//! A model of Lambda's pollers for an SQS standard queue.
//!
//! What AWS documents ("Configuring scaling behavior for SQS event source mappings", Lambda developer guide, November 2026,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>): Lambda long-polls; it begins with five batches at
//! a time; while messages are still available it adds up to 300 readers a minute, up to the maximum concurrency; at low
//! traffic it goes back to five. The optimization to fewer than five does not apply with a maximum concurrency, which the
//! template sets.
//!
//! What it leaves open, and this model assumes: a reader has one batch at a time, gathers it with one long poll after another
//! (each answered with at most ten messages, `ReceiveMessage`), from its first message on until the batch is full or the
//! window is over, and reads on once its invocation has ended; each message goes to one of the waiting readers at
//! random; readers are
//! added and withdrawn five at a time each second, the latter only if they wait for a first message.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postpress_bridge::event_source_mapping::{EventSourceMapping, Handler};
use postpress_bridge::message::Record;
use postpress_bridge::queue::MemoryQueue;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Readers at low traffic.
const FEWEST: usize = 5;
/// 300 a minute.
const ADDED_A_SECOND: usize = 5;
/// The most messages of one `ReceiveMessage`.
const RECEIVE_MAX: usize = 10;

/// An event source mapping of a standard queue.
pub(super) struct Pollers {
    /// The batch size, the maximum concurrency, and the function's timeout.
    pub(super) mapping: EventSourceMapping,
    /// `MaximumBatchingWindowInSeconds`.
    pub(super) window: Duration,
    /// `ReceiveMessage` requests that returned messages.
    pub(super) receives: Cell<u64>,
    /// The most readers there were.
    pub(super) peak: Cell<usize>,
}

/// The readers that are not in an invocation. Each has a new number after each invocation.
struct Waiting {
    batches: HashMap<u64, Vec<Record>>,
    /// The numbers of `batches`.
    ids: Vec<u64>,
    random: StdRng,
    /// When the windows close that were opened, soonest first. May have numbers that are gone.
    closings: VecDeque<(Instant, u64)>,
    numbers: u64,
}

impl Waiting {
    fn join(&mut self) {
        self.numbers += 1;
        self.batches.insert(self.numbers, Vec::new());
        self.ids.push(self.numbers);
    }

    /// Takes one of the readers at random.
    fn take_any(&mut self) -> Option<u64> {
        (!self.ids.is_empty()).then(|| self.ids.swap_remove(self.random.random_range(0..self.ids.len())))
    }

    /// Withdraws at most `max` readers that have no message yet, and returns how many.
    fn withdraw(&mut self, max: usize) -> usize {
        let idle: Vec<u64> =
            self.batches.iter().filter(|(_, batch)| batch.is_empty()).map(|(id, _)| *id).take(max).collect();
        idle.iter().for_each(|id| drop(self.batches.remove(id)));
        self.ids.retain(|id| self.batches.contains_key(id));
        idle.len()
    }

    /// The batches whose windows are over.
    fn closed(&mut self, now: Instant) -> Vec<Vec<Record>> {
        let mut closed = Vec::new();
        while let Some((_, id)) = self.closings.pop_front_if(|(at, _)| *at <= now) {
            closed.extend(self.batches.remove(&id));
        }
        if !closed.is_empty() {
            self.ids.retain(|id| self.batches.contains_key(id));
        }
        closed
    }

    /// When the next window closes.
    fn next_closing(&mut self) -> Option<Instant> {
        while self.closings.pop_front_if(|(_, id)| !self.batches.contains_key(id)).is_some() {}
        self.closings.front().map(|(at, _)| *at)
    }
}

impl Pollers {
    /// Consumes until `stop` completes, then waits for the running invocations.
    pub(super) async fn run(&self, queue: &MemoryQueue, handler: &impl Handler, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut invocations = FuturesUnordered::new();
        let mut waiting = Waiting {
            batches: HashMap::new(),
            ids: Vec::new(),
            random: StdRng::seed_from_u64(2),
            closings: VecDeque::new(),
            numbers: 0,
        };
        let most = self.mapping.concurrency;
        let mut readers = FEWEST.min(most);
        (0..readers).for_each(|_| waiting.join());
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let full = self.deal(queue, &mut waiting);
            let ready = full.into_iter().chain(waiting.closed(Instant::now()));
            invocations.extend(ready.map(|batch| self.mapping.invoke(queue, handler, batch)));
            let closing = waiting.next_closing();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(()) = invocations.next() => waiting.join(),
                () = async { sleep_until(closing.expect("there is one")).await }, if closing.is_some() => {}
                _ = second.tick() => {
                    if waiting.batches.is_empty() && queue.has_visible() {
                        let more = ADDED_A_SECOND.min(most - readers);
                        (0..more).for_each(|_| waiting.join());
                        readers += more;
                    } else {
                        readers -= waiting.withdraw(ADDED_A_SECOND.min(readers.saturating_sub(FEWEST)));
                    }
                    self.peak.set(self.peak.get().max(readers));
                }
                () = queue.visible(), if !waiting.batches.is_empty() => {}
            }
        }
        while invocations.next().await.is_some() {}
    }

    /// Deals the visible messages, and returns the batches that became full.
    fn deal(&self, queue: &MemoryQueue, waiting: &mut Waiting) -> Vec<Vec<Record>> {
        let mut full = Vec::new();
        while let Some(id) = waiting.take_any() {
            let Some(batch) = waiting.batches.get_mut(&id) else { continue };
            let received = queue.receive_now(RECEIVE_MAX.min(self.mapping.batch_size - batch.len()));
            if received.is_empty() {
                waiting.ids.push(id);
                break;
            }
            self.receives.set(self.receives.get() + 1);
            if batch.is_empty() {
                waiting.closings.push_back((Instant::now() + self.window, id));
            }
            batch.extend(received);
            if batch.len() == self.mapping.batch_size {
                full.extend(waiting.batches.remove(&id));
            } else {
                waiting.ids.push(id);
            }
        }
        full
    }
}
