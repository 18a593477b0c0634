//! Simulates Lambda's event source mapping: receives batches, invokes a handler with each, deletes the handled messages.
//!
//! For the terminal, the memory backend and tests; on AWS the real mapping does this.

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

/// How long to wait after a failed receive.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Handles batches of messages.
pub trait Handler {
    /// Handles a batch before `ends`.
    fn handle(&self, batch: &[Record], ends: Instant) -> impl Future<Output = InvocationResult>;
}

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// It completed and returned these messages to the queue.
    Completed(Vec<MessageId>),
    /// It was killed: every message of the batch is redelivered.
    Killed,
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Handler for Worker<P, S, Q, B> {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        let report = Worker::handle(self, batch, ends).await;
        InvocationResult::Completed(report.batch_item_failures().cloned().collect())
    }
}

/// The configuration of the mapping.
#[derive(Debug, Clone)]
pub struct EventSourceMapping {
    /// Maximum number of messages per invocation.
    pub batch_size: usize,
    /// Maximum number of concurrent invocations.
    pub concurrency: usize,
    /// Time limit of an invocation, after which it is killed, as on Lambda.
    pub invocation: Duration,
}

impl EventSourceMapping {
    /// Consumes until `stop` completes, then waits for the running invocations, so that no answer is lost.
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

    /// Receives a batch, and retries after failures, while the running invocations continue.
    async fn receive(&self, source: &impl Source) -> Vec<Record> {
        loop {
            match source.receive(self.batch_size).await {
                Ok(batch) => return batch,
                Err(error) => tracing::error!(%error, "could not receive messages"),
            }
            sleep(AFTER_FAILURE).await;
        }
    }

    /// Invokes the handler with a batch, and deletes the handled messages.
    pub async fn invoke(&self, source: &impl Source, handler: &impl Handler, batch: Vec<Record>) {
        let ends = Instant::now() + self.invocation;
        let result = timeout_at(ends, handler.handle(&batch, ends)).await.unwrap_or(InvocationResult::Killed);
        let InvocationResult::Completed(returned) = result else { return };
        let done: Vec<_> = batch.into_iter().filter(|record| !returned.contains(&record.message_id)).collect();
        if let Err(error) = source.delete(&done).await {
            tracing::error!(%error, "could not delete messages; they will be redelivered");
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

    /// Records its messages, and hangs or fails as the body says.
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
    async fn unhandled_messages_are_redelivered() {
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
    async fn stop_waits_for_running_invocations() {
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
