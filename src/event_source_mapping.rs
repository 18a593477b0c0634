//! Plays Lambda's event source mapping: receives batches, invokes a handler with each, deletes what it acknowledged.
//!
//! For the terminal, for the memory backend and for tests; on AWS the real mapping does this.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout_at};

use crate::bus::EventBus;
use crate::ids::MessageId;
use crate::message::Record;
use crate::postpress::Provider;
use crate::queue::{Queue, Source};
use crate::store::RunStore;
use crate::worker::Worker;

/// How long to wait after a receive that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Whoever deals with a batch.
pub trait Handler {
    /// Deals with a batch by then, and tells what became of it.
    fn handle(&self, batch: &[Record], ends: Instant) -> impl Future<Output = InvocationResult>;
}

/// What became of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// It came to its end; these messages are to come back.
    Completed(Vec<MessageId>),
    /// It was killed: every message of the batch comes back.
    Killed,
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Handler for Worker<P, S, Q, B> {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        let report = Worker::handle(self, batch, ends).await;
        InvocationResult::Completed(report.batch_item_failures().cloned().collect())
    }
}

/// How messages are consumed.
#[derive(Debug, Clone)]
pub struct EventSourceMapping {
    /// The most messages of one invocation.
    pub batch_size: usize,
    /// The most invocations at once.
    pub concurrency: usize,
    /// How long an invocation may last; then it is killed, as Lambda does.
    pub invocation: Duration,
}

impl EventSourceMapping {
    /// Consumes until `stop`, and then waits for the invocations under way, so that no answer of theirs is lost.
    pub async fn run(&self, source: &impl Source, handler: &impl Handler, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut invocations = FuturesUnordered::new();
        let mut receiving = pin!(self.receive(source).fuse());
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(()) = invocations.next() => {}
                batch = &mut receiving, if invocations.len() < self.concurrency => {
                    invocations.push(self.invoke(source, handler, batch));
                    receiving.set(self.receive(source).fuse());
                }
            }
        }
        while invocations.next().await.is_some() {}
    }

    /// Waits for a batch, through failures. Those under way go on meanwhile.
    async fn receive(&self, source: &impl Source) -> Vec<Record> {
        loop {
            match source.receive(self.batch_size).await {
                Ok(batch) => return batch,
                Err(error) => tracing::error!(%error, "could not receive messages"),
            }
            sleep(AFTER_FAILURE).await;
        }
    }

    async fn invoke(&self, source: &impl Source, handler: &impl Handler, batch: Vec<Record>) {
        let ends = Instant::now() + self.invocation;
        let handled = timeout_at(ends, handler.handle(&batch, ends)).await.unwrap_or(InvocationResult::Killed);
        let InvocationResult::Completed(returned) = handled else { return };
        let done: Vec<_> = batch.into_iter().filter(|record| !returned.contains(&record.message_id)).collect();
        if let Err(error) = source.delete(&done).await {
            tracing::error!(%error, "could not delete messages; they come again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::queue::MemoryQueue;
    use crate::time::{Clock, Millis};

    const SECOND: Duration = Duration::from_secs(1);

    /// Notes what it is given, and takes as long, or fails in the way, that the body says.
    #[derive(Default)]
    struct Scripted(RefCell<Vec<(String, u32)>>);

    impl Handler for Scripted {
        async fn handle(&self, batch: &[Record], _ends: Instant) -> InvocationResult {
            let record = &batch[0];
            self.0.borrow_mut().push((record.body.clone(), record.receive_count));
            match (record.body.as_str(), record.receive_count) {
                ("killed", 1) => InvocationResult::Killed,
                ("returned", 1) => InvocationResult::Completed(vec![record.message_id.clone()]),
                ("hangs", 1) => std::future::pending().await,
                _ => InvocationResult::Completed(Vec::new()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_acknowledged_comes_again() {
        let queue = MemoryQueue::new("test", Clock::starting_at(Millis(0)), 30 * SECOND, 5);
        for body in ["fine", "killed", "returned", "hangs"] {
            queue.put(body, Duration::ZERO);
        }
        let handler = Scripted::default();
        let mapping = EventSourceMapping { batch_size: 1, concurrency: 2, invocation: 10 * SECOND };
        mapping.run(&queue, &handler, queue.drained()).await;
        let mut seen = handler.0.take();
        seen.sort();
        let twice = |body: &str| [(body.to_owned(), 1), (body.to_owned(), 2)];
        let expected =
            [vec![("fine".to_owned(), 1)], twice("hangs").into(), twice("killed").into(), twice("returned").into()];
        assert_eq!(seen, expected.concat());
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_what_is_under_way() {
        struct Slow(RefCell<u32>);
        impl Handler for Slow {
            async fn handle(&self, _batch: &[Record], _ends: Instant) -> InvocationResult {
                sleep(5 * SECOND).await;
                *self.0.borrow_mut() += 1;
                InvocationResult::Completed(Vec::new())
            }
        }
        let queue = MemoryQueue::new("test", Clock::starting_at(Millis(0)), 30 * SECOND, 5);
        queue.put("one", Duration::ZERO);
        queue.put("later", 3 * SECOND);
        let handler = Slow(RefCell::new(0));
        let mapping = EventSourceMapping { batch_size: 1, concurrency: 9, invocation: 10 * SECOND };
        mapping.run(&queue, &handler, sleep(SECOND)).await;
        assert_eq!((*handler.0.borrow(), queue.waiting().len()), (1, 1));
    }
}
