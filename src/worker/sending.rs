//! Requests to the queue: sending our own messages, and changing the visibility of messages that are delivered again.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::message::{OwnMessage, Record};
use crate::postpress::Provider;
use crate::queue::{Outgoing, Queue, VisibilityChange};
use crate::service::{ServiceError, retry_until};
use crate::store::RunStore;
use crate::time::Millis;
use crate::trace::TraceHeader;

use super::outbox::{Outbox, Queued};
use super::{Invocation, Settled, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Sends the messages of a batch, in as few requests as possible, until every message is handled.
    pub(super) async fn send_queued(&self, outbox: &Outbox, invocation: &Invocation) {
        while let Some(batch) = outbox.next_batch().await {
            let now = Instant::now();
            let outgoing = |queued: &Queued| {
                let delay = queued.delay.after(now - queued.since);
                self.outgoing(&queued.message, delay, queued.due_at, Some(queued.trace.clone()))
            };
            let results = self.send(batch.iter().map(outgoing).collect(), invocation).await;
            for (queued, result) in batch.into_iter().zip(results) {
                let _ = queued.sent.send(result); // fails only if its message was dropped
            }
        }
    }

    /// A message to send. It is due after its delay, or was due before it was deferred.
    pub(super) fn outgoing(
        &self,
        message: &OwnMessage,
        delay: Duration,
        due_at: Option<Millis>,
        trace: Option<TraceHeader>,
    ) -> Outgoing {
        let due_at = due_at.unwrap_or(self.now() + delay);
        Outgoing { body: message.to_body_due_at(due_at), delay, trace, group: message.group().cloned() }
    }

    /// Sends messages, and retries those that may still be accepted. Returns the result of each.
    pub(super) async fn send(&self, messages: Vec<Outgoing>, invocation: &Invocation) -> Vec<Result<(), ServiceError>> {
        let mut sent: Vec<_> = messages.iter().map(|_| no_result()).collect();
        if messages.is_empty() {
            return sent;
        }
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let result = retry_until(invocation.finish_by(), async || {
            let batch: Vec<_> = left.iter().map(|index| messages[*index].clone()).collect();
            let mut last_error = None;
            for (index, result) in left.iter().zip(self.queue.send(&batch).await) {
                last_error = result.as_ref().err().cloned().or(last_error);
                sent[*index] = result.map(drop);
            }
            left.retain(|index| sent[*index].as_ref().is_err_and(ServiceError::is_retryable));
            match last_error {
                Some(error) if left.is_empty() => Err(ServiceError::Permanent(error.to_string())),
                Some(error) => Err(ServiceError::Transient(error.to_string())),
                None => Ok(()),
            }
        });
        if let Err(error) = result.await {
            // A request that timed out has no results of its own.
            sent.iter_mut()
                .filter(|sent| sent.as_ref().is_err_and(ServiceError::is_retryable))
                .for_each(|sent| *sent = Err(error.clone()));
        }
        sent
    }

    /// Sends one message, and retries as [`Worker::send`] does.
    pub(super) async fn send_one(&self, message: Outgoing, invocation: &Invocation) -> Result<(), ServiceError> {
        self.send(vec![message], invocation).await.pop().unwrap_or_else(no_result)
    }

    /// Sets when each message that is delivered again becomes visible; otherwise it would wait out the whole visibility
    /// timeout, which is six times the function's timeout. A failure only means that longer wait.
    pub(super) async fn change_visibility(&self, records: &[Record], settled: &[Settled], invocation: &Invocation) {
        let now = self.now();
        let retried = records.iter().zip(settled).filter_map(|(record, settled)| Some((record, settled.redelivery?)));
        let changes: Vec<VisibilityChange> = retried
            .map(|(record, redelivery)| VisibilityChange {
                receipt_handle: record.receipt_handle.clone(),
                invisible: redelivery.delay(now),
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        let results = timeout_at(invocation.finish_by(), self.queue.change_visibility(&changes)).await;
        let results = results.unwrap_or_default();
        let failed = changes.len().saturating_sub(results.iter().filter(|result| result.is_ok()).count());
        if failed > 0 {
            let error = results.iter().find_map(|result| result.as_ref().err().map(ToString::to_string));
            let error = error.unwrap_or_else(|| "no result in time".to_owned());
            tracing::warn!(
                error,
                messages = failed,
                "messages are delivered again only after their visibility timeout"
            );
        }
    }
}

fn no_result() -> Result<(), ServiceError> {
    Err(ServiceError::Transient("the queue gave no result, which is a bug".to_owned()))
}
